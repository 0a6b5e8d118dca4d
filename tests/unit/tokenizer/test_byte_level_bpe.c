/* Byte-level BPE: ids against the `tokenizers` library, bytes that come back, files that are refused. */
#include "base/utf8.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer_test.h"
#include <time.h>
#include <unistd.h>

static llama2_tokenizer *load_small(llama2_context *ctx, const char *kind)
{
    char path[1024];
    llama2_tokenizer *tok;
    snprintf(path, sizeof path, "%s/reference/tokenizer/bpe-%s", LLAMA2_TEST_SOURCE, kind);
    ck_ok(llama2_tokenizer_load(ctx, path, NULL, &tok));
    return tok;
}

/* --- ids ------------------------------------------------------------------------------------- */

/* The lines [first, first + 20) one by one, or the whole text where first is -1. */
static void check_row(const llama2_tokenizer *tok, const bytes *text, const char *row, int first, long count,
                      unsigned crc)
{
    const char *at = text->data, *end = text->data + text->size;
    uint32_t found = 0;
    int64_t sum = 0, n;
    for (int line = 0; at < end && (first < 0 ? line == 0 : line < first + 20); ++line) {
        const char *stop = first < 0 ? end : memchr(at, '\n', (size_t)(end - at));
        if (line >= first) {
            int32_t *ids = encode(tok, at, (size_t)(stop - at), &n);
            found = l2_crc32c(found, ids, (size_t)n * sizeof *ids);
            sum += n;
            free(ids);
        }
        at = stop + 1;
    }
    ck_assert_msg(sum == count && found == crc, "%.60s: other ids (%ld, expected %ld)", row, (long)sum, count);
}

/* All rows of bpe.golden for this vocabulary. */
static void check_rows(const llama2_tokenizer *tok, const char *name, int expected)
{
    bytes lines = read_reference("lines.txt"), classes = read_reference("classes.txt"),
          golden = read_reference("bpe.golden");
    int rows = 0;
    for (char *row = strtok(golden.data, "\n"); row; row = strtok(NULL, "\n")) {
        char model[32], text[32];
        int first;
        long count;
        unsigned crc;
        ck_assert_int_eq(sscanf(row, "%31s %31s %d %ld %x", model, text, &first, &count, &crc), 5);
        if (strcmp(model, name) != 0) continue;
        check_row(tok, strcmp(text, "lines.txt") == 0 ? &lines : &classes, row, first, count, crc);
        ++rows;
    }
    ck_assert_int_eq(rows, expected);
    free(lines.data);
    free(classes.data);
    free(golden.data);
}

enum { ROWS = 143 };

/* Every code point has the class that the regular expressions of `tokenizers` give it. */
START_TEST(unicode_classes)
{
    bytes golden = read_reference("bpe.golden");
    char *classes = calloc(0x110000, 1);
    int count;
    unsigned crc;
    for (uint32_t code = 0; code < 0x110000; ++code) {
        char text[4];
        size_t n = (size_t)l2_utf8_encode(code, text), used;
        if (!n) continue; /* a surrogate */
        classes[code] = (char)l2_unicode_class(text, n, &used);
        ck_assert_uint_eq(used, n);
    }
    ck_assert_int_eq(sscanf(golden.data, "unicode classes 0 %d %x", &count, &crc), 2);
    ck_assert_int_eq(count, 0x110000);
    ck_assert_uint_eq(l2_crc32c(0, classes, 0x110000), crc);
    free(classes);
    free(golden.data);
}
END_TEST

START_TEST(small_vocabularies_equal_tokenizers)
{
    llama2_context *ctx = make_context();
    static const char *const kinds[] = {"gpt2", "smollm", "llama3"};
    for (int i = 0; i < 3; ++i) {
        llama2_tokenizer *tok = load_small(ctx, kinds[i]);
        check_rows(tok, kinds[i], ROWS);
        llama2_tokenizer_free(tok);
    }
    llama2_context_free(ctx);
}
END_TEST

/* Added pieces of which some are looked for in the text as it is and others in what the normaliser makes of it. */
START_TEST(added_pieces_of_two_kinds)
{
    static const char of_sep[] = "\"[sep]\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":";
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok;
    bytes json = read_reference("bpe-gpt2/tokenizer.json");
    char *at = strstr(json.data, of_sep);
    ck_assert_ptr_nonnull(at);
    at += strlen(of_sep);
    ck_assert(memcmp(at, "false", 5) == 0);
    ck_ok(llama2_tokenizer_load_memory(ctx, json.data, json.size, NULL, &tok));
    llama2_tokenizer_free(tok);
    memcpy(at, "true ", 5);
    ck_fails(llama2_tokenizer_load_memory(ctx, json.data, json.size, NULL, &tok), LLAMA2_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "normalized"));
    free(json.data);
    llama2_context_free(ctx);
}
END_TEST

/* With the vocabularies that models use, from their GGUF files. */
static void check_gguf(const char *file, const char *name)
{
    const char *path = data_file(file);
    if (!path) return;
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok;
    ck_ok(llama2_tokenizer_load(ctx, path, NULL, &tok));
    check_rows(tok, name, ROWS);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}

START_TEST(gpt2_equals_tokenizers)
{
    check_gguf("vocab/ggml-vocab-gpt-2.gguf", "gpt2.gguf");
}
END_TEST

START_TEST(smollm2_equals_tokenizers)
{
    check_gguf("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2.gguf");
}
END_TEST

/* llama.cpp's own texts and the ids that it expects. */
START_TEST(gpt2_equals_llama_cpp)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    const char *path = data_file("vocab/ggml-vocab-gpt-2.gguf");
    if (!path) return;
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok;
    int texts = 0;
    ck_ok(llama2_tokenizer_load(ctx, path, NULL, &tok));
    bytes in = read_whole(data_file("vocab/ggml-vocab-gpt-2.gguf.inp")),
          out = read_whole(data_file("vocab/ggml-vocab-gpt-2.gguf.out"));
    char *row = out.data;
    for (char *at = in.data, *stop; (stop = strstr(at, separator)); at = stop + strlen(separator), ++texts) {
        int64_t n;
        int32_t *ids = encode(tok, at, (size_t)(stop - at), &n);
        for (int64_t i = 0; i < n; ++i) ck_assert_int_eq(ids[i], strtol(row, &row, 10));
        row += strspn(row, " ");
        ck_assert_msg(*row == '\n', "text %d: more ids expected", texts);
        ++row;
        free(ids);
    }
    ck_assert_int_ge(texts, 40);
    free(in.data);
    free(out.data);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* The SentencePiece vocabulary of Llama 2 from a GGUF is that of its tokenizer.model. */
START_TEST(llama2_from_gguf)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *model = load_llama2(ctx), *gguf;
    const char *path = model ? data_file("vocab/ggml-vocab-llama-spm.gguf") : NULL;
    if (path) {
        ck_ok(llama2_tokenizer_load(ctx, path, NULL, &gguf));
        bytes text = read_reference("lines.txt");
        int64_t n, m;
        int32_t *a = encode(model, text.data, text.size, &n), *b = encode(gguf, text.data, text.size, &m);
        ck_assert_int_eq(n, m);
        ck_assert_mem_eq(a, b, (size_t)n * sizeof *a);
        ck_assert_int_eq(llama2_tokenizer_bos(gguf), 1);
        ck_assert_int_eq(llama2_tokenizer_eos(gguf), 2);
        ck_assert_int_eq(llama2_tokenizer_unk(gguf), 0);
        ck_assert_int_eq(llama2_tokenizer_adds_bos(gguf), 1);
        free(a);
        free(b);
        free(text.data);
        llama2_tokenizer_free(gguf);
    }
    llama2_tokenizer_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(special_pieces)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *gpt2 = load_small(ctx, "gpt2"), *smollm = load_small(ctx, "smollm"),
                     *llama3 = load_small(ctx, "llama3");
    ck_assert_int_eq(llama2_tokenizer_bos(gpt2), 0);
    ck_assert_int_eq(llama2_tokenizer_eos(gpt2), 0);
    ck_assert_int_eq(llama2_tokenizer_unk(gpt2), -1);
    ck_assert_int_eq(llama2_tokenizer_adds_bos(gpt2), 0);
    ck_assert_int_eq(llama2_tokenizer_bos(smollm), 1);
    ck_assert_int_eq(llama2_tokenizer_eos(smollm), 2);
    ck_assert_int_eq(llama2_tokenizer_unk(smollm), 0);
    ck_assert_int_eq(llama2_tokenizer_adds_bos(smollm), 0);
    ck_assert_int_eq(llama2_tokenizer_bos(llama3), 0);
    ck_assert_int_eq(llama2_tokenizer_eos(llama3), 1);
    ck_assert_int_eq(llama2_tokenizer_adds_bos(llama3), 1);
    int32_t type, id, ids[32];
    int64_t n;
    ck_ok(llama2_tokenizer_find(gpt2, "[sep]", 5, &id));
    ck_ok(llama2_tokenizer_piece(gpt2, id, NULL, NULL, NULL, &type));
    ck_assert_int_eq(type, LLAMA2_PIECE_USER_DEFINED);
    ck_ok(llama2_tokenizer_encode(gpt2, "[sep]", 5, 0, ids, 32, &n));
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(ids[0], id);
    ck_ok(llama2_tokenizer_piece(smollm, 1, NULL, NULL, NULL, &type));
    ck_assert_int_eq(type, LLAMA2_PIECE_CONTROL);
    ck_ok(llama2_tokenizer_encode(smollm, "<|im_start|>", 12, 0, ids, 32, &n));
    for (int64_t i = 0; i < n; ++i) ck_assert_int_ne(ids[i], 1);
    static const int32_t special[] = {1, 2};
    bytes hidden = decode(smollm, special, 2, 0), shown = decode(smollm, special, 2, LLAMA2_DECODE_SPECIALS);
    ck_assert_str_eq(hidden.data, "");
    ck_assert_str_eq(shown.data, "<|im_start|><|im_end|>");
    free(hidden.data);
    free(shown.data);
    llama2_tokenizer_free(gpt2);
    llama2_tokenizer_free(smollm);
    llama2_tokenizer_free(llama3);
    llama2_context_free(ctx);
}
END_TEST

/* --- bytes come back ------------------------------------------------------------------------- */

/* Also token by token; without LLAMA2_DECODE_BYTES each part is whole characters. */
static void check_back(llama2_tokenizer *tok, const char *text, size_t length)
{
    int64_t n;
    int32_t *ids = encode(tok, text, length, &n);
    ck_assert_int_le(n, (int64_t)length);
    bytes back = decode(tok, ids, n, LLAMA2_DECODE_BYTES), valid = decode(tok, ids, n, 0);
    ck_assert_uint_eq(back.size, length);
    ck_assert_mem_eq(back.data, text, length);
    ck_assert_uint_eq(l2_utf8_valid_prefix(valid.data, valid.size), valid.size);
    for (uint32_t flags = 0; flags <= LLAMA2_DECODE_BYTES; flags += LLAMA2_DECODE_BYTES) {
        const bytes *whole = flags ? &back : &valid;
        llama2_decoder *decoder;
        size_t at = 0;
        ck_ok(llama2_decoder_create(tok, flags, &decoder));
        for (int64_t i = 0; i <= n; ++i) {
            const char *part;
            size_t size;
            ck_ok(i < n ? llama2_decoder_push(decoder, ids[i], &part, &size)
                        : llama2_decoder_finish(decoder, &part, &size));
            ck_assert(at + size <= whole->size && memcmp(whole->data + at, part, size) == 0);
            if (!flags) ck_assert_uint_eq(l2_utf8_valid_prefix(part, size), size);
            at += size;
        }
        ck_assert_uint_eq(at, whole->size);
        llama2_decoder_free(decoder);
    }
    free(ids);
    free(back.data);
    free(valid.data);
}

START_TEST(all_bytes_come_back)
{
    llama2_context *ctx = make_context();
    static const char *const kinds[] = {"gpt2", "llama3"};
    uint64_t random = 7;
    for (int k = 0; k < 2; ++k) {
        llama2_tokenizer *tok = load_small(ctx, kinds[k]);
        char text[64];
        for (int i = 0; i < 65536; i += 1 + (i > 256) * 6) {
            text[0] = (char)i;
            text[1] = (char)(i >> 8);
            check_back(tok, text, i < 256 ? 1 : 2);
        }
        for (int i = 0; i < 4000; ++i) {
            size_t length = next_random(&random) % sizeof text;
            for (size_t j = 0; j < length; ++j) {
                uint64_t r = next_random(&random);
                text[j] = r & 256 ? (char)(r & 255) : "\xF0\x9F\x98\x80 a1'\xC3\xA9\xE4\xB8\xAD"[r % 13];
            }
            check_back(tok, text, length);
        }
        static const char *const names[] = {"lines.txt", "classes.txt", "invalid.txt", "binary.bin"};
        for (int i = 0; i < 4; ++i) {
            bytes file = read_reference(names[i]);
            check_back(tok, file.data, file.size);
            free(file.data);
        }
        llama2_tokenizer_free(tok);
    }
    llama2_context_free(ctx);
}
END_TEST

/* A byte that a vocabulary lacks is dropped, and what is around it merges: as `tokenizers` does. */
START_TEST(lacking_bytes_are_dropped)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = load_small(ctx, "smollm");
    int64_t n, m;
    int32_t *a = encode(tok, "--\x04--", 5, &n), *b = encode(tok, "----", 4, &m);
    ck_assert_int_eq(n, m);
    ck_assert_mem_eq(a, b, (size_t)n * sizeof *a);
    free(a);
    free(b);
    a = encode(tok, "\x04", 1, &n);
    ck_assert_int_eq(n, 0);
    free(a);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs of one character: the time of ten times as much is not a hundred times as long. */
START_TEST(long_runs)
{
    llama2_context *ctx = make_context();
    static const char *const kinds[] = {"gpt2", "smollm", "llama3"};
    static const char runs[] = "a 1!\n\t'\xFF";
    enum { SHORT = 100000, LONG = 10 * SHORT };
    char *text = malloc(LONG);
    for (int k = 0; k < 3; ++k) {
        llama2_tokenizer *tok = load_small(ctx, kinds[k]);
        for (size_t i = 0; i + 1 < sizeof runs; ++i) {
            int64_t n, m;
            memset(text, runs[i], LONG);
            double begin = seconds();
            int32_t *ids = encode(tok, text, SHORT, &n);
            double middle = seconds();
            free(ids);
            ids = encode(tok, text, LONG, &m);
            double end = seconds();
            ck_assert_msg(end - middle < 40 * (middle - begin) + 0.1, "%s, byte %d: %g s, then %g s", kinds[k], runs[i],
                          middle - begin, end - middle);
            free(ids);
        }
        llama2_tokenizer_free(tok);
    }
    free(text);
    llama2_context_free(ctx);
}
END_TEST

/* --- saving ---------------------------------------------------------------------------------- */

START_TEST(saved_and_read_again)
{
    llama2_context *ctx = make_context();
    static const char *const kinds[] = {"gpt2", "smollm", "llama3"};
    for (int k = 0; k < 3; ++k) {
        char folder[] = "/tmp/llama2-bpe-XXXXXX", command[64];
        llama2_tokenizer *tok = load_small(ctx, kinds[k]), *again;
        ck_assert_ptr_nonnull(mkdtemp(folder));
        ck_ok(llama2_tokenizer_save(tok, folder));
        ck_ok(llama2_tokenizer_load(ctx, folder, NULL, &again));
        check_rows(again, kinds[k], ROWS);
        ck_assert_int_eq(llama2_tokenizer_vocab_size(again), llama2_tokenizer_vocab_size(tok));
        ck_assert_int_eq(llama2_tokenizer_bos(again), llama2_tokenizer_bos(tok));
        ck_assert_int_eq(llama2_tokenizer_eos(again), llama2_tokenizer_eos(tok));
        ck_assert_int_eq(llama2_tokenizer_unk(again), llama2_tokenizer_unk(tok));
        ck_assert_int_eq(llama2_tokenizer_adds_bos(again), llama2_tokenizer_adds_bos(tok));
        snprintf(command, sizeof command, "rm -r %s", folder);
        ck_assert_int_eq(system(command), 0);
        llama2_tokenizer_free(again);
        llama2_tokenizer_free(tok);
    }
    llama2_context_free(ctx);
}
END_TEST

/* Reading a tokenizer.json of 50,257 pieces takes no more than four times its size. */
START_TEST(memory_of_reading)
{
    const char *path = data_file("vocab/ggml-vocab-gpt-2.gguf");
    if (!path) return;
    char file[] = "/tmp/llama2-json-XXXXXX";
    counting c = {.calls = 0};
    llama2_context *ctx, *counted;
    llama2_tokenizer *tok;
    ck_assert_int_ge(close(mkstemp(file)), 0);
    ctx = make_context();
    ck_ok(llama2_tokenizer_load(ctx, path, NULL, &tok));
    ck_ok(llama2_tokenizer_save(tok, file));
    llama2_tokenizer_free(tok);
    bytes json = read_whole(file);
    ck_ok(counting_context(&c, &counted));
    size_t before = c.now;
    c.peak = before;
    ck_ok(llama2_tokenizer_load_memory(counted, json.data, json.size, NULL, &tok));
    ck_assert_msg(c.peak - before <= 4 * json.size + (1 << 20), "%zu bytes for a file of %zu", c.peak - before,
                  json.size);
    check_rows(tok, "gpt2.gguf", ROWS);
    llama2_tokenizer_free(tok);
    llama2_context_free(counted);
    llama2_context_free(ctx);
    free(json.data);
    unlink(file);
}
END_TEST

/* --- bad files ------------------------------------------------------------------------------- */

/* A small tokenizer.json, in which each row replaces one text by another. */
#define GOOD                                                                                                           \
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":5,\"content\":\"<s>\",\"special\":true}],\"normalizer\":null,"     \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"                        \
    "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"dropout\":null,"       \
    "\"unk_token\":null,\"ignore_merges\":false,\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4},"               \
    "\"merges\":[\"a b\",[\"ab\",\"c\"]]}}"

static const struct bad {
    const char *from, *to;
    llama2_status status;
} bad_files[] = {
    {"{\"version\"", "{\"version\"", LLAMA2_OK},
    {"\"type\":\"BPE\",", "", LLAMA2_OK},
    {"\"dropout\":null", "\"dropout\":0.0", LLAMA2_OK},
    {"\"b\":1", "\"b\":2147483648", LLAMA2_E_FORMAT},
    {"\"b\":1", "\"b\":4294967297", LLAMA2_E_FORMAT},
    {"\"b\":1", "\"b\":99999999999999999999", LLAMA2_E_LIMIT},
    {"\"b\":1", "\"b\":-1", LLAMA2_E_FORMAT},
    {"\"b\":1", "\"b\":1.0", LLAMA2_E_FORMAT},
    {"\"b\":1", "\"b\":\"1\"", LLAMA2_E_FORMAT},
    {"\"b\":1", "\"b\":2", LLAMA2_E_FORMAT},
    {"\"abc\":4", "\"abc\":6", LLAMA2_E_FORMAT},
    {"\"id\":5", "\"id\":6", LLAMA2_E_FORMAT},
    {"\"id\":5", "\"id\":4", LLAMA2_E_FORMAT},
    {"\"id\":5", "\"id\":2147483648", LLAMA2_E_FORMAT},
    {"\"id\":5,", "", LLAMA2_E_FORMAT},
    {"\"<s>\"", "\"a\"", LLAMA2_E_FORMAT},
    {"\"<s>\"", "\"\"", LLAMA2_E_FORMAT},
    {"\"<s>\"", "\"\\u0000\"", LLAMA2_E_FORMAT},
    {"\"<s>\"", "\"\\ud800\"", LLAMA2_E_FORMAT},
    {"\"<s>\"", "\"\xFF\"", LLAMA2_E_FORMAT},
    {"\"c\":2", "\"b\":2", LLAMA2_E_FORMAT},
    {"\"a b\"", "\"a x\"", LLAMA2_E_FORMAT},
    {"\"a b\"", "\"x b\"", LLAMA2_E_FORMAT},
    {"\"a b\"", "\"b a\"", LLAMA2_E_FORMAT},
    {"\"a b\"", "\"ab\"", LLAMA2_E_FORMAT},
    {"\"a b\"", "\"a  b\"", LLAMA2_E_FORMAT},
    {"\"a b\"", "\" b\"", LLAMA2_E_FORMAT},
    {"\"a b\"", "\"a b\",\"a b\"", LLAMA2_E_FORMAT},
    {"\"a b\"", "7", LLAMA2_E_FORMAT},
    {"[\"ab\",\"c\"]", "[\"ab\"]", LLAMA2_E_FORMAT},
    {"[\"ab\",\"c\"]", "[\"ab\",\"c\",\"a\"]", LLAMA2_E_FORMAT},
    {"[\"ab\",\"c\"]", "[\"ab\",3]", LLAMA2_E_FORMAT},
    {"\"content\":\"<s>\"", "\"content\":\"abc\"", LLAMA2_E_FORMAT},
    {"\"id\":5,\"content\":\"<s>\"", "\"id\":4,\"content\":\"abc\"", LLAMA2_E_UNSUPPORTED}, /* a merge makes it */
    {"\"special\":true", "\"special\":false,\"lstrip\":true", LLAMA2_E_UNSUPPORTED},
    {"\"special\":true", "\"special\":true,\"shiny\":true", LLAMA2_E_UNSUPPORTED},
    {"\"normalizer\":null", "\"normalizer\":{\"type\":\"NFC\"}", LLAMA2_E_UNSUPPORTED},
    {"\"normalizer\":null", "\"normalizer\":{}", LLAMA2_E_FORMAT},
    {"\"normalizer\":null", "\"normalizer\":7", LLAMA2_E_FORMAT},
    {"\"add_prefix_space\":false", "\"add_prefix_space\":true", LLAMA2_E_UNSUPPORTED},
    {"\"use_regex\":true", "\"use_regex\":false", LLAMA2_E_UNSUPPORTED},
    {"\"use_regex\":true", "\"use_shears\":true", LLAMA2_E_UNSUPPORTED},
    {"{\"type\":\"ByteLevel\",\"add", "{\"type\":\"Metaspace\",\"add", LLAMA2_E_UNSUPPORTED},
    {"{\"type\":\"ByteLevel\",\"add", "{\"kind\":\"ByteLevel\",\"add", LLAMA2_E_FORMAT},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}",
     "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{L}+\"},"
     "\"behavior\":\"Isolated\",\"invert\":false}]}",
     LLAMA2_E_UNSUPPORTED},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}",
     "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"Isolated\",\"invert\":false}",
     LLAMA2_E_UNSUPPORTED},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}",
     "{\"type\":\"Sequence\",\"pretokenizers\":[]}", LLAMA2_E_UNSUPPORTED},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}",
     "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":false}]}",
     LLAMA2_E_UNSUPPORTED},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}", "null", LLAMA2_E_UNSUPPORTED},
    {"\"post_processor\":null", "\"post_processor\":{\"type\":\"BertProcessing\"}", LLAMA2_E_UNSUPPORTED},
    {"\"post_processor\":null",
     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},"
     "{\"SpecialToken\":{\"id\":\"<s>\"}}]}",
     LLAMA2_E_UNSUPPORTED},
    {"\"post_processor\":null",
     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<t>\"}}]}",
     LLAMA2_E_FORMAT},
    {"\"post_processor\":null", "\"post_processor\":{\"type\":\"Sequence\"}", LLAMA2_E_FORMAT},
    {"\"decoder\":{\"type\":\"ByteLevel\"}", "\"decoder\":{\"type\":\"Metaspace\"}", LLAMA2_E_UNSUPPORTED},
    {"\"decoder\":{\"type\":\"ByteLevel\"},", "", LLAMA2_E_UNSUPPORTED},
    {"\"type\":\"BPE\"", "\"type\":\"Unigram\"", LLAMA2_E_UNSUPPORTED},
    {"\"dropout\":null", "\"dropout\":0.5", LLAMA2_E_UNSUPPORTED},
    {"\"dropout\":null", "\"byte_fallback\":true", LLAMA2_E_UNSUPPORTED},
    {"\"dropout\":null", "\"end_of_word_suffix\":\"</w>\"", LLAMA2_E_UNSUPPORTED},
    {"\"dropout\":null", "\"novelty\":1", LLAMA2_E_UNSUPPORTED},
    {"\"dropout\":null", "\"vocab\":{}", LLAMA2_E_FORMAT},
    {"\"unk_token\":null", "\"unk_token\":\"<s>\",\"fuse_unk\":true", LLAMA2_E_UNSUPPORTED},
    {"\"version\":\"1.0\"", "\"version\":\"2.0\"", LLAMA2_E_UNSUPPORTED},
    {",\"merges\"", ",\"mergers\"", LLAMA2_E_UNSUPPORTED},
    {",\"merges\":[\"a b\",[\"ab\",\"c\"]]", "", LLAMA2_E_FORMAT},
    {"\"model\"", "\"modal\"", LLAMA2_E_FORMAT},
    {"]}}", "]}", LLAMA2_E_TRUNCATED},
    {"]}}", "]}}}", LLAMA2_E_FORMAT},
};

static char *replaced(const char *from, const char *to)
{
    const char *at = strstr(GOOD, from);
    ck_assert_msg(at != NULL, "%s is not in the file", from);
    char *text = malloc(sizeof GOOD + strlen(to));
    sprintf(text, "%.*s%s%s", (int)(at - GOOD), GOOD, to, at + strlen(from));
    return text;
}

START_TEST(bad_tokenizer_json)
{
    llama2_context *ctx = make_context();
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; ++i) {
        const struct bad *b = &bad_files[i];
        char *text = replaced(b->from, b->to);
        llama2_tokenizer *tok;
        llama2_status status = llama2_tokenizer_load_memory(ctx, text, strlen(text), NULL, &tok);
        ck_assert_msg(status == b->status, "%s for %s: status %d (%s), expected %d", b->to, b->from, (int)status,
                      llama2_last_error(), (int)b->status);
        ck_assert(status == LLAMA2_OK || (tok == NULL && strncmp(llama2_last_error(), "tokenizer.json: ", 16) == 0));
        llama2_tokenizer_free(tok);
        free(text);
    }
    llama2_tokenizer_options options;
    llama2_tokenizer *tok;
    llama2_tokenizer_options_init(&options, sizeof options);
    options.max_pieces = 5;
    ck_fails(llama2_tokenizer_load_memory(ctx, GOOD, strlen(GOOD), &options, &tok), LLAMA2_E_LIMIT);
    options.max_pieces = 6;
    ck_ok(llama2_tokenizer_load_memory(ctx, GOOD, strlen(GOOD), &options, &tok));
    llama2_tokenizer_free(tok);
    options.max_bytes = 100;
    ck_fails(llama2_tokenizer_load_memory(ctx, GOOD, strlen(GOOD), &options, &tok), LLAMA2_E_LIMIT);
    for (size_t n = 1; n < strlen(GOOD); ++n)
        ck_assert_int_lt(llama2_tokenizer_load_memory(ctx, GOOD, n, NULL, &tok), 0);
    llama2_context_free(ctx);
}
END_TEST

static llama2_status work(llama2_context *ctx, const char *folder)
{
    static const char text[] = "It's 12 dogs -- \x04!! isn't it?", *const texts[] = {"Hello"};
    static const int32_t roles[] = {LLAMA2_ROLE_USER};
    llama2_tokenizer *tok;
    llama2_chat chat;
    int32_t ids[64];
    int64_t n;
    llama2_status status = llama2_tokenizer_load(ctx, LLAMA2_TEST_SOURCE "/reference/tokenizer/bpe-smollm", NULL, &tok);
    if (status == LLAMA2_OK) status = llama2_tokenizer_encode(tok, text, sizeof text - 1, 0, ids, 64, &n);
    llama2_chat_init(&chat, sizeof chat);
    chat.n_messages = 1;
    chat.roles = roles;
    chat.texts = texts;
    if (status == LLAMA2_OK) status = llama2_chat_encode(tok, &chat, 0, ids, NULL, 64, &n);
    if (status == LLAMA2_OK) status = llama2_tokenizer_save(tok, folder);
    llama2_tokenizer_free(tok);
    return status;
}

/* Every allocation of reading, encoding, a dialogue and saving fails once, and from there on. */
START_TEST(no_memory)
{
    char folder[] = "/tmp/llama2-bpe-XXXXXX", command[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (int once = 0; once < 2; ++once) {
        llama2_status status = LLAMA2_E_NOMEM;
        for (long fail_at = 1; status != LLAMA2_OK; ++fail_at) {
            counting c = {.fail_once = once};
            llama2_context *ctx;
            ck_ok(counting_context(&c, &ctx));
            c.fail_at = c.calls + fail_at;
            status = work(ctx, folder);
            ck_assert(status == LLAMA2_OK || status == LLAMA2_E_NOMEM);
            ck_assert_int_lt(fail_at, 200);
            llama2_context_free(ctx);
            ck_assert_int_eq(c.live, 0);
        }
    }
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("byte_level_bpe");
    ADD_CASE(suite, "ids", unicode_classes, small_vocabularies_equal_tokenizers, gpt2_equals_tokenizers,
             smollm2_equals_tokenizers, gpt2_equals_llama_cpp, llama2_from_gguf, special_pieces,
             lacking_bytes_are_dropped);
    ADD_CASE(suite, "bytes", all_bytes_come_back, long_runs);
    ADD_CASE(suite, "files", added_pieces_of_two_kinds, saved_and_read_again, memory_of_reading, bad_tokenizer_json,
             no_memory);
    return suite;
}
