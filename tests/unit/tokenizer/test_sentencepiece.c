/* tokenizer.model: what is refused and with which words, what is written comes back, memory while reading. */
#include "tokenizer/tokenizer.h"
#include "base/alloc.h"
#include "tokenizer_test.h"
#include <unistd.h>

/* A model by hand, for every deviation. */
typedef struct model {
    unsigned char data[8192];
    size_t size;
} model;

static void put(model *m, const void *bytes_, size_t n)
{
    memcpy(m->data + m->size, bytes_, n);
    m->size += n;
}

#define PUT(m, text) put(m, text, sizeof text - 1)

static void put_piece(model *m, const char *text, size_t length, float score, int type)
{
    const unsigned char head[] = {0x0A, (unsigned char)(length + 2 + 5 + 2), 0x0A, (unsigned char)length};
    const unsigned char kind[] = {0x18, (unsigned char)type};
    put(m, head, sizeof head);
    put(m, text, length);
    PUT(m, "\x15");
    put(m, &score, 4);
    put(m, kind, 2);
}

static void put_pieces(model *m)
{
    put_piece(m, "<unk>", 5, 0, 2);
    put_piece(m, "<s>", 3, 0, 3);
    put_piece(m, "a", 1, -1, 1);
    put_piece(m, "b", 1, -2, 1);
    put_piece(m, "ab", 2, -3, 1);
}

#define TRAINER    "\x12\x02\x18\x02"                 /* model_type 2: BPE */
#define NORMALISER "\x1a\x0c\x0a\x08identity\x20\x00" /* remove_extra_whitespaces 0 */

static model good_model(void)
{
    model m = {.size = 0};
    put_pieces(&m);
    PUT(&m, TRAINER NORMALISER);
    return m;
}

static llama2_status load(llama2_context *ctx, const void *data, size_t size)
{
    llama2_tokenizer *tok = (llama2_tokenizer *)&tok;
    void *exact = malloc(size ? size : 1); /* so that a read past the end is seen */
    memcpy(exact, data, size);
    llama2_status status = llama2_tokenizer_load_memory(ctx, exact, size, NULL, &tok);
    if (status < 0) ck_assert_ptr_null(tok);
    llama2_tokenizer_free(tok);
    free(exact);
    return status;
}

static void refused(llama2_context *ctx, const model *m, llama2_status code, const char *says)
{
    llama2_status status = load(ctx, m->data, m->size);
    ck_assert_msg(status == code, "%s: %s (%s), expected %s", says, llama2_status_name(status), llama2_last_error(),
                  llama2_status_name(code));
    ck_assert_msg(strstr(llama2_last_error(), says) != NULL, "%s: %s", says, llama2_last_error());
}

/* The good pieces, then a bad one, then the sections. */
static void refused_piece(llama2_context *ctx, const char *text, size_t length, float score, int type,
                          llama2_status code, const char *says)
{
    model m = {.size = 0};
    put_pieces(&m);
    put_piece(&m, text, length, score, type);
    PUT(&m, TRAINER NORMALISER);
    refused(ctx, &m, code, says);
}

START_TEST(pieces_that_are_refused)
{
    llama2_context *ctx = make_context();
    model m = good_model();
    ck_ok(load(ctx, m.data, m.size));
    refused_piece(ctx, "", 0, 0, 1, LLAMA2_E_FORMAT, "piece 5 is empty");
    refused_piece(ctx, "x\0y", 3, 0, 1, LLAMA2_E_FORMAT, "piece 5 has a NUL");
    refused_piece(ctx, "ab", 2, 0, 1, LLAMA2_E_FORMAT, "piece 5 has the text of piece 4");
    refused_piece(ctx, "<s>", 3, 0, 1, LLAMA2_E_FORMAT, "piece 5 has the text of piece 1");
    refused_piece(ctx, "x\xC3", 2, 0, 1, LLAMA2_E_FORMAT, "piece 5 is not UTF-8 at its byte 1");
    refused_piece(ctx, "x", 1, (float)strtod("nan", NULL), 1, LLAMA2_E_FORMAT, "not a number");
    refused_piece(ctx, "x", 1, 0, 0, LLAMA2_E_FORMAT, "type 0");
    refused_piece(ctx, "x", 1, 0, 7, LLAMA2_E_FORMAT, "type 7");
    refused_piece(ctx, "<u>", 3, 0, 2, LLAMA2_E_FORMAT, "exactly one");
    refused_piece(ctx, "<0x41>", 6, 0, 6, LLAMA2_E_FORMAT, "byte pieces without byte fallback");
    refused_piece(ctx, "<0x4G>", 6, 0, 6, LLAMA2_E_FORMAT, "not of the form");
    refused_piece(ctx, "", 0, 0, 1, LLAMA2_E_FORMAT, "byte 67"); /* where the piece stands in the file */
    llama2_context_free(ctx);
}
END_TEST

START_TEST(wire_that_is_refused)
{
    static const struct {
        const char *tail;
        size_t size;
        llama2_status code;
        const char *says;
    } cases[] = {
        {"\x30\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 12, LLAMA2_E_FORMAT, "more than 64 bits or 10 bytes"},
        {"\x30\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 11, LLAMA2_E_FORMAT, "more than 64 bits"},
        {"\x30\xFF", 2, LLAMA2_E_TRUNCATED, "ends within the number"},
        {"\x32\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11, LLAMA2_E_TRUNCATED, "claims 18446744073709551615 bytes"},
        {"\x32\x05"
         "1234",
         6, LLAMA2_E_TRUNCATED, "claims 5 bytes, but 4 remain"},
        {"\x35\x01\x02\x03", 4, LLAMA2_E_TRUNCATED, "ends within the 4-byte number"},
        {"\x31\x01\x02\x03", 4, LLAMA2_E_TRUNCATED, "ends within the 8-byte number"},
        {"\x33", 1, LLAMA2_E_FORMAT, "wire type 3"},
        {"\x37", 1, LLAMA2_E_FORMAT, "wire type 7"},
        {"\x00\x00", 2, LLAMA2_E_FORMAT, "no valid field"},
        {"\x08\x01", 2, LLAMA2_E_FORMAT, "wire type 0, expected 2"},
        {"\x10\x01", 2, LLAMA2_E_FORMAT, "wire type 0, expected 2"},
        {"\x0A\x02\x08\x01", 4, LLAMA2_E_FORMAT, "field 1"},
        {"\x0A\x02\x10\x01", 4, LLAMA2_E_FORMAT, "field 2"},
        {"\x0A\x03\x1A\x01\x01", 5, LLAMA2_E_FORMAT, "field 3"},
        {"\x12\x03\x1A\x01\x01", 5, LLAMA2_E_FORMAT, "trainer_spec"},
        {"\x12\x02\x18\x01", 4, LLAMA2_E_UNSUPPORTED, "unigram"},
        {"\x12\x02\x18\x03", 4, LLAMA2_E_UNSUPPORTED, "word"},
        {"\x12\x02\x18\x09", 4, LLAMA2_E_UNSUPPORTED, "model type 9"},
        {"\x12\x03\xC0\x01\x01", 5, LLAMA2_E_UNSUPPORTED, "treat_whitespace_as_suffix"},
        {"\x12\x03\x98\x02\x01", 5, LLAMA2_E_FORMAT, "<0x00> is missing"},
        {"\x1A\x0D\x0A\x08nmt_nfkc\x12\x01z", 15, LLAMA2_E_UNSUPPORTED, "nmt_nfkc"},
        {"\x2A\x03\x12\x01z", 5, LLAMA2_E_UNSUPPORTED, "denormaliser"},
    };
    llama2_context *ctx = make_context();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; ++k) {
        model m = good_model();
        put(&m, cases[k].tail, cases[k].size);
        refused(ctx, &m, cases[k].code, cases[k].says);
    }
    model m = good_model(); /* unknown fields of every wire type are passed over, as protobuf does */
    PUT(&m, "\x30\x01\x32\x01z\x35"
            "1234\x31"
            "12345678");
    ck_ok(load(ctx, m.data, m.size));
    llama2_context_free(ctx);
}
END_TEST

START_TEST(sections_that_are_missing)
{
    llama2_context *ctx = make_context();
    model m = {.size = 0};
    refused(ctx, &m, LLAMA2_E_TRUNCATED, "no trainer_spec");
    put_pieces(&m);
    refused(ctx, &m, LLAMA2_E_TRUNCATED, "no trainer_spec");
    PUT(&m, TRAINER);
    refused(ctx, &m, LLAMA2_E_TRUNCATED, "no normalizer_spec");
    m.size = 0;
    PUT(&m, TRAINER NORMALISER);
    refused(ctx, &m, LLAMA2_E_FORMAT, "no pieces");
    m.size = 0;
    put_piece(&m, "a", 1, 0, 1);
    PUT(&m, TRAINER NORMALISER);
    refused(ctx, &m, LLAMA2_E_FORMAT, "no piece is of type unknown");
    llama2_context_free(ctx);
}
END_TEST

/* A file that was cut off anywhere is refused, with nothing left allocated. */
static void check_truncated(const unsigned char *data, size_t size, size_t step)
{
    counting c = {0};
    llama2_context *ctx;
    ck_ok(counting_context(&c, &ctx));
    long before = c.live;
    for (size_t n = 0; n<size; n += n + 600> size ? 1 : step) {
        llama2_tokenizer *tok;
        llama2_status status = llama2_tokenizer_load_memory(ctx, data, n, NULL, &tok);
        ck_assert_msg(status == LLAMA2_E_TRUNCATED, "cut off at byte %zu of %zu: %s", n, size,
                      llama2_status_name(status));
        ck_assert_int_eq(c.live, before);
    }
    llama2_context_free(ctx);
    ck_assert_int_eq(c.live, 0);
}

START_TEST(truncated)
{
    model m = good_model();
    check_truncated(m.data, m.size, 1);
    bytes words = read_reference("words.model"), spans = read_reference("spans.model");
    check_truncated((unsigned char *)words.data, words.size, 1);
    check_truncated((unsigned char *)spans.data, spans.size, 1);
    free(words.data);
    free(spans.data);
}
END_TEST

/* Every offset with LLAMA2_TEST_LONG set (a minute), else every 61st and the last 600. */
START_TEST(truncated_llama2)
{
    const char *path = data_file("llama2-tokenizer.model");
    if (path) {
        bytes file = read_whole(path);
        check_truncated((unsigned char *)file.data, file.size, getenv("LLAMA2_TEST_LONG") ? 1 : 61);
        free(file.data);
    }
}
END_TEST

/* Any change of one byte: accepted or refused, never worse; what is accepted encodes and decodes. */
START_TEST(changed_bytes)
{
    llama2_context *ctx = make_context();
    bytes spans = read_reference("spans.model");
    uint64_t random = 11;
    int accepted = 0;
    for (int round = 0; round < 3000; ++round) {
        size_t at = next_random(&random) % spans.size;
        char old = spans.data[at];
        spans.data[at] = (char)(next_random(&random) & 255);
        llama2_tokenizer *tok;
        if (llama2_tokenizer_load_memory(ctx, spans.data, spans.size, NULL, &tok) == LLAMA2_OK) {
            int64_t n;
            int32_t *ids = encode(tok, "the world [x] q  a\xFF\xC3\xA9", 22, &n);
            free(decode(tok, ids, n, LLAMA2_DECODE_SPECIALS).data);
            free(ids);
            ++accepted;
        } else {
            ck_assert(llama2_last_error()[0] != 0);
        }
        llama2_tokenizer_free(tok);
        spans.data[at] = old;
    }
    ck_assert_int_gt(accepted, 100);
    free(spans.data);
    llama2_context_free(ctx);
}
END_TEST

/* Peak while reading: at most 4 times the file and 1 MiB, whether it is accepted or refused at its end. */
START_TEST(memory_while_reading)
{
    const char *path = data_file("llama2-tokenizer.model");
    if (path) {
        bytes file = read_whole(path);
        for (int k = 0; k < 2; ++k) {
            counting c = {0};
            llama2_context *ctx;
            llama2_tokenizer *tok;
            ck_ok(counting_context(&c, &ctx));
            size_t before = c.now;
            llama2_status status = llama2_tokenizer_load_memory(ctx, file.data, file.size - (size_t)k, NULL, &tok);
            ck_assert_int_eq(status, k ? LLAMA2_E_TRUNCATED : LLAMA2_OK);
            ck_assert_uint_le(c.peak - before, 4 * file.size + (1 << 20));
            llama2_tokenizer_free(tok);
            llama2_context_free(ctx);
            ck_assert_int_eq(c.live, 0);
        }
        free(file.data);
    }
}
END_TEST

START_TEST(limits)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer_options options;
    llama2_tokenizer *tok;
    model m = good_model();
    llama2_tokenizer_options_init(&options, sizeof options);
    options.max_pieces = 4;
    ck_fails(llama2_tokenizer_load_memory(ctx, m.data, m.size, &options, &tok), LLAMA2_E_LIMIT);
    options.max_pieces = 5;
    options.max_bytes = m.size - 1;
    ck_fails(llama2_tokenizer_load_memory(ctx, m.data, m.size, &options, &tok), LLAMA2_E_LIMIT);
    options.max_bytes = m.size;
    ck_ok(llama2_tokenizer_load_memory(ctx, m.data, m.size, &options, &tok));
    llama2_tokenizer_free(tok);
    options.max_pieces = 0;
    ck_fails(llama2_tokenizer_load_memory(ctx, m.data, m.size, &options, &tok), LLAMA2_E_INVALID);
    llama2_context_free(ctx);
}
END_TEST

/* --- writing --------------------------------------------------------------------------------- */

START_TEST(written_comes_back)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx), *again;
    char *data;
    size_t size;
    ck_ok(l2_sentencepiece_write(tok, &data, &size));
    ck_ok(llama2_tokenizer_load_memory(ctx, data, size, NULL, &again));
    l2_free(ctx, data);
    ck_assert_int_eq(llama2_tokenizer_vocab_size(again), TINY_PIECES);
    ck_assert(llama2_tokenizer_bos(again) == 1 && llama2_tokenizer_eos(again) == 2 &&
              llama2_tokenizer_unk(again) == 0 && llama2_tokenizer_pad(again) == -1);
    for (int32_t id = 0; id < TINY_PIECES; ++id) {
        const char *a, *b;
        float score_a, score_b;
        int32_t type_a, type_b;
        ck_ok(llama2_tokenizer_piece(tok, id, &a, NULL, &score_a, &type_a));
        ck_ok(llama2_tokenizer_piece(again, id, &b, NULL, &score_b, &type_b));
        ck_assert_str_eq(a, b);
        ck_assert(score_a == score_b && type_a == type_b);
    }
    int64_t n, m;
    int32_t *x = encode(tok, "the the  abc \xFF", 14, &n), *y = encode(again, "the the  abc \xFF", 14, &m);
    ck_assert(n == m && memcmp(x, y, (size_t)n * sizeof *x) == 0);
    free(x);
    free(y);
    llama2_tokenizer_free(tok);
    llama2_tokenizer_free(again);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(loaded_is_saved_byte_for_byte)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok, *again;
    char path[1024], folder[] = "llama2-tokenizer-XXXXXX";
    bytes words = read_reference("words.model");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_ok(llama2_tokenizer_load_memory(ctx, words.data, words.size, NULL, &tok));
    ck_ok(llama2_tokenizer_save(tok, folder));
    snprintf(path, sizeof path, "%s/tokenizer.model", folder);
    bytes saved = read_whole(path);
    ck_assert(saved.size == words.size && memcmp(saved.data, words.data, words.size) == 0);
    ck_ok(llama2_tokenizer_load(ctx, folder, NULL, &again));
    llama2_tokenizer_free(again);
    ck_assert_int_eq(unlink(path), 0);
    ck_fails(llama2_tokenizer_load(ctx, folder, NULL, &again), LLAMA2_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "tokenizer.model"));
    ck_fails(llama2_tokenizer_load(ctx, path, NULL, &again), LLAMA2_E_NOT_FOUND);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
    ck_assert(llama2_tokenizer_save(tok, path) < 0);
    llama2_tokenizer_free(tok);
    free(words.data);
    free(saved.data);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/sentencepiece");
    ADD_CASE(suite, "refused", pieces_that_are_refused, wire_that_is_refused, sections_that_are_missing, limits);
    ADD_CASE(suite, "truncated", truncated, truncated_llama2);
    ADD_CASE(suite, "robust", changed_bytes, memory_while_reading);
    ADD_CASE(suite, "writing", written_comes_back, loaded_is_saved_byte_for_byte);
    return suite;
}
