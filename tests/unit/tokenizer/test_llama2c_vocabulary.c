/* llama2.c's tokenizer.bin: the ids of the tokenizer.model that it was made from; what is none is refused. */
#include "tokenizer_test.h"
#include "base/alloc.h"
#include "format/bytes.h"
#include "tokenizer/tokenizer.h"

static void put(bytes *to, const void *data, size_t size)
{
    memcpy(to->data + to->size, data, size);
    to->size += size;
}

/* The tiny vocabulary as llama2.c writes it: spaces as such, line feeds around BOS and EOS. */
static bytes tiny_file(void)
{
    tiny *t = malloc(sizeof *t);
    bytes file = {malloc(1 << 16), 0};
    uint32_t longest = 6;
    fill_tiny(t);
    put(&file, &longest, 4);
    for (int i = 0; i < TINY_PIECES; ++i) {
        char text[32] = "";
        size_t n = 0;
        for (const char *p = t->texts[i]; *p;) {
            int space = strncmp(p, SPACE, 3) == 0;
            text[n++] = space ? ' ' : *p;
            p += space ? 3 : 1;
        }
        if (i == 1 || i == 2) n = (size_t)snprintf(text, sizeof text, "\n%s\n", t->texts[i]);
        float score = i < TINY_FIRST ? 0 : -(float)i;
        uint32_t length = (uint32_t)n;
        put(&file, &score, 4);
        put(&file, &length, 4);
        put(&file, text, n);
    }
    free(t);
    return file;
}

/* Byte of piece `id`'s record, from its score on. */
static size_t record_of(const bytes *file, int id)
{
    size_t at = 4;
    while (id-- > 0) at += 8 + l2_get_u32((const unsigned char *)file->data + at + 4);
    return at;
}

START_TEST(tiny_one)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok;
    bytes file = tiny_file();
    ck_ok(llama2_tokenizer_load_memory(ctx, file.data, file.size, NULL, &tok));
    ck_assert_int_eq(llama2_tokenizer_vocab_size(tok), TINY_PIECES);
    ck_assert(llama2_tokenizer_bos(tok) == 1 && llama2_tokenizer_eos(tok) == 2 && llama2_tokenizer_unk(tok) == 0);
    ck_assert(llama2_tokenizer_pad(tok) == -1 && llama2_tokenizer_adds_bos(tok) == 1);
    int32_t id, type;
    float score;
    const char *text;
    size_t length;
    ck_ok(llama2_tokenizer_find(tok, SPACE SPACE, 6, &id));
    ck_ok(llama2_tokenizer_piece(tok, id, &text, &length, &score, &type));
    ck_assert(score == -(float)id && type == LLAMA2_PIECE_NORMAL && length == 6);
    ck_ok(llama2_tokenizer_piece(tok, 1, &text, &length, &score, &type));
    ck_assert(strcmp(text, "<s>") == 0 && type == LLAMA2_PIECE_CONTROL);
    int64_t n;
    int32_t *ids = encode(tok, "the abcx", 8, &n);
    bytes back = decode(tok, ids, n, 0);
    ck_assert_msg(back.size == 8 && memcmp(back.data, "the abcx", 8) == 0, "%zu: %s", back.size, back.data);
    free(ids);
    free(back.data);
    free(file.data);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* Every piece, and the ids of texts of all kinds. */
START_TEST(equals_tokenizer_model)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *model = load_llama2(ctx), *bin;
    const char *path = model ? data_file("llama2c-tokenizer.bin") : NULL;
    if (path) {
        static const char *const names[] = {"lines.txt", "invalid.txt", "binary.bin"};
        ck_ok(llama2_tokenizer_load(ctx, path, NULL, &bin));
        ck_assert_int_eq(llama2_tokenizer_vocab_size(bin), llama2_tokenizer_vocab_size(model));
        for (int32_t id = 0; id < llama2_tokenizer_vocab_size(bin); ++id) {
            const char *texts[2];
            size_t lengths[2];
            float scores[2];
            int32_t types[2];
            ck_ok(llama2_tokenizer_piece(model, id, &texts[0], &lengths[0], &scores[0], &types[0]));
            ck_ok(llama2_tokenizer_piece(bin, id, &texts[1], &lengths[1], &scores[1], &types[1]));
            ck_assert_msg(strcmp(texts[0], texts[1]) == 0 && scores[0] == scores[1] && types[0] == types[1],
                          "piece %d: \"%s\" %g %d, expected \"%s\" %g %d", (int)id, texts[1], (double)scores[1],
                          types[1], texts[0], (double)scores[0], types[0]);
        }
        for (size_t i = 0; i < 3; ++i) {
            bytes text = read_reference(names[i]);
            int64_t n, m;
            int32_t *a = encode(model, text.data, text.size, &n), *b = encode(bin, text.data, text.size, &m);
            ck_assert_int_eq(n, m);
            ck_assert_mem_eq(a, b, (size_t)n * sizeof *a);
            free(a);
            free(b);
            free(text.data);
        }
        llama2_tokenizer_free(bin);
    }
    llama2_tokenizer_free(model);
    llama2_context_free(ctx);
}
END_TEST

/* What is written of the tokenizer.model is llama2.c's own file, byte for byte. A longer embedding is filled up. */
START_TEST(written_as_llama2c_does)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = load_llama2(ctx), *padded;
    const char *path = tok ? data_file("llama2c-tokenizer.bin") : NULL;
    if (path) {
        bytes expected = read_whole(path);
        char *data;
        size_t size;
        const char *text;
        ck_ok(l2_llama2c_write(tok, 32000, &data, &size));
        ck_assert_uint_eq(size, expected.size);
        ck_assert_mem_eq(data, expected.data, size);
        l2_free(ctx, data);
        free(expected.data);
        ck_ok(l2_llama2c_write(tok, 32005, &data, &size));
        ck_ok(llama2_tokenizer_load_memory(ctx, data, size, NULL, &padded));
        ck_assert_int_eq(llama2_tokenizer_vocab_size(padded), 32005);
        ck_ok(llama2_tokenizer_piece(padded, 32004, &text, NULL, NULL, NULL));
        ck_assert_str_eq(text, "[PAD32004]");
        llama2_tokenizer_free(padded);
        l2_free(ctx, data);
        ck_fails(l2_llama2c_write(tok, 31999, &data, &size), LLAMA2_E_MISMATCH);
    }
    llama2_tokenizer_free(tok);
    /* The tiny one likewise; byte-level BPE has no place there. */
    bytes file = tiny_file();
    char *data;
    size_t size;
    ck_ok(llama2_tokenizer_load_memory(ctx, file.data, file.size, NULL, &tok));
    ck_ok(l2_llama2c_write(tok, TINY_PIECES, &data, &size));
    ck_assert_uint_eq(size, file.size);
    ck_assert_mem_eq(data, file.data, size);
    l2_free(ctx, data);
    free(file.data);
    llama2_tokenizer_free(tok);
    ck_ok(llama2_tokenizer_load(ctx, LLAMA2_TEST_SOURCE "/reference/tokenizer/bpe-gpt2", NULL, &tok));
    ck_fails(l2_llama2c_write(tok, 1 << 20, &data, &size), LLAMA2_E_UNSUPPORTED);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* --- what is refused -------------------------------------------------------------------------- */

/* A change of the piece `id`: its text (of the same length; NULL: as it is), its score. */
static const struct {
    int id;
    const char *text;
    float score;
    llama2_status code;
    const char *message;
} bad[] = {
    {0, "<UNK>", 0, LLAMA2_E_FORMAT, "piece 0 is not <unk>"},
    {1, " <s> ", 0, LLAMA2_E_FORMAT, "piece 1 is not <s>"},
    {1, "\n</s>", 0, LLAMA2_E_FORMAT, "piece 1 is not <s>"},
    {2, "\n<!s>\n", 0, LLAMA2_E_FORMAT, "piece 2 is not </s>"},
    {3, "<0xGG>", 0, LLAMA2_E_FORMAT, "piece 3 is of type byte"},
    {3, "<0x01>", 0, LLAMA2_E_FORMAT, "piece 4 has the text of piece 3"},
    {TINY_FIRST + 1, "b", 0, LLAMA2_E_FORMAT, "has the text of piece 260"},
    {TINY_FIRST + 1, "\xFF", 0, LLAMA2_E_FORMAT, "piece 260 is not UTF-8"},
    {TINY_FIRST + 1, "", 0, LLAMA2_E_FORMAT, "piece 260 has a NUL"},
    {TINY_FIRST, NULL, (float)(0.0 / 0.0), LLAMA2_E_FORMAT, "its score is not a number"},
};

START_TEST(refused)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok;
    bytes file = tiny_file();
    size_t at = record_of(&file, bad[_i].id);
    memcpy(file.data + at, &bad[_i].score, 4);
    if (bad[_i].text) memcpy(file.data + at + 8, bad[_i].text, l2_get_u32((unsigned char *)file.data + at + 4));
    llama2_status status = llama2_tokenizer_load_memory(ctx, file.data, file.size, NULL, &tok);
    ck_assert_msg(status == bad[_i].code && strstr(llama2_last_error(), bad[_i].message), "%d: %s: %s; expected %s", _i,
                  llama2_status_name(status), llama2_last_error(), bad[_i].message);
    ck_assert_ptr_null(tok);
    free(file.data);
    llama2_context_free(ctx);
}
END_TEST

/* A file is recognised by its sizes alone: one byte off, and it is none. */
START_TEST(sizes)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok;
    bytes file = tiny_file();
    for (size_t size = 0; size < file.size; ++size) {
        if (llama2_tokenizer_load_memory(ctx, file.data, size, NULL, &tok) == LLAMA2_OK) {
            ck_assert(size == record_of(&file, llama2_tokenizer_vocab_size(tok))); /* fewer pieces */
            ck_assert_int_ge(llama2_tokenizer_vocab_size(tok), TINY_FIRST);
            llama2_tokenizer_free(tok);
        }
    }
    file.data[0]++; /* the longest piece */
    ck_fails(llama2_tokenizer_load_memory(ctx, file.data, file.size, NULL, &tok), LLAMA2_E_FORMAT);
    file.data[0]--;
    l2_put_u32((unsigned char *)file.data + record_of(&file, 5) + 4, UINT32_MAX);
    ck_assert_int_lt(llama2_tokenizer_load_memory(ctx, file.data, file.size, NULL, &tok), 0);
    free(file.data);

    llama2_tokenizer_options o;
    llama2_tokenizer_options_init(&o, sizeof o);
    file = tiny_file();
    o.max_pieces = TINY_PIECES - 1;
    ck_fails(llama2_tokenizer_load_memory(ctx, file.data, file.size, &o, &tok), LLAMA2_E_LIMIT);
    o.max_pieces = TINY_PIECES;
    o.max_bytes = file.size - 1;
    ck_fails(llama2_tokenizer_load_memory(ctx, file.data, file.size, &o, &tok), LLAMA2_E_LIMIT);
    o.max_bytes = file.size;
    ck_ok(llama2_tokenizer_load_memory(ctx, file.data, file.size, &o, &tok));
    llama2_tokenizer_free(tok);
    free(file.data);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(failing_memory)
{
    counting c = {0};
    llama2_context *ctx;
    llama2_tokenizer *tok;
    bytes file = tiny_file();
    ck_ok(counting_context(&c, &ctx));
    long live = c.live;
    for (int once = 0; once < 2; ++once) {
        llama2_status status = LLAMA2_E_NOMEM;
        c.fail_once = once;
        for (long at = 1; status < 0; ++at) {
            c.calls = 0;
            c.fail_at = at;
            status = llama2_tokenizer_load_memory(ctx, file.data, file.size, NULL, &tok);
            c.fail_at = 0;
            ck_assert(status == LLAMA2_OK || (status == LLAMA2_E_NOMEM && !tok));
            llama2_tokenizer_free(tok);
            ck_assert_int_eq(c.live, live);
        }
    }
    free(file.data);
    llama2_context_free(ctx);
    ck_assert_int_eq(c.live, 0);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/llama2c_vocabulary");
    ADD_CASE(suite, "files", tiny_one, equals_tokenizer_model, written_as_llama2c_does, sizes, failing_memory);
    TCase *bads = tcase_create("refused");
    tcase_add_loop_test(bads, refused, 0, (int)(sizeof bad / sizeof *bad));
    suite_add_tcase(suite, bads);
    return suite;
}
