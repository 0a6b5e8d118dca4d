/* Text into ids and back, against sentencepiece's own programs and against a plain quadratic merge. */
#include "tokenizer_test.h"

static uint32_t crc_ids(uint32_t crc, const int32_t *ids, int64_t n)
{
    return l2_crc32c(crc, ids, (size_t)n * sizeof *ids); /* goldens are little-endian */
}

/* Each line's count, checksum of ids and of the decoded text. */
static void check_each_line(const llama2_tokenizer *tok, const char *text_name, const char *golden_name)
{
    bytes text = read_reference(text_name), golden = read_reference(golden_name);
    char *row = golden.data;
    int line = 0;
    for (char *at = text.data, *end; at < text.data + text.size; at = end + 1, ++line) {
        long count;
        unsigned ids_crc, text_crc;
        int used;
        end = memchr(at, '\n', text.size - (size_t)(at - text.data));
        ck_assert_int_eq(sscanf(row, "%ld %8x %8x%n", &count, &ids_crc, &text_crc, &used), 3);
        row += used;
        int64_t n;
        int32_t *ids = encode(tok, at, (size_t)(end - at), &n);
        bytes back = decode(tok, ids, n, 0);
        ck_assert_msg(n == count && crc_ids(0, ids, n) == ids_crc, "%s, line %d: other ids (%ld for %ld)", text_name,
                      line + 1, (long)n, count);
        ck_assert_msg(l2_crc32c(0, back.data, back.size) == text_crc, "%s, line %d: other decoded text", text_name,
                      line + 1);
        free(ids);
        free(back.data);
    }
    ck_assert_int_ge(line, 300);
    free(text.data);
    free(golden.data);
}

START_TEST(llama2_lines_equal_sentencepiece)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = load_llama2(ctx);
    if (tok) {
        check_each_line(tok, "lines.txt", "llama2.lines.golden");
        check_each_line(tok, "invalid.txt", "llama2.invalid.golden");
    }
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

static const char *line_at(const bytes *text, int line, size_t *length)
{
    const char *at = text->data;
    while (line-- > 0) at = strchr(at, '\n') + 1;
    *length = strcspn(at, "\n");
    return at;
}

START_TEST(llama2_ids_written_out)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = load_llama2(ctx);
    if (tok) {
        bytes lines = read_reference("lines.txt"), invalid = read_reference("invalid.txt"),
              golden = read_reference("llama2.ids.golden");
        int rows = 0;
        for (char *row = strtok(golden.data, "\n"); row; row = strtok(NULL, "\n"), ++rows) {
            char name[16];
            int line, used;
            long count;
            ck_assert_int_eq(sscanf(row, "%15s %d %ld%n", name, &line, &count, &used), 3);
            size_t length;
            const char *text = line_at(strcmp(name, "lines") == 0 ? &lines : &invalid, line, &length);
            int64_t n;
            int32_t *ids = encode(tok, text, length, &n);
            ck_assert_int_eq(n, count);
            char *at = row + used;
            for (int64_t i = 0; i < n; ++i) ck_assert_int_eq(ids[i], strtol(at, &at, 10));
            free(ids);
        }
        ck_assert_int_eq(rows, 46);
        free(lines.data);
        free(invalid.data);
        free(golden.data);
    }
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

static void check_text(const llama2_tokenizer *tok, const bytes *text, int by_line, const char *row, long count,
                       unsigned ids_crc, unsigned text_crc)
{
    long total = 0;
    uint32_t a = 0, b = 0;
    for (size_t at = 0; at < text->size;) {
        const char *end = by_line ? memchr(text->data + at, '\n', text->size - at) : NULL;
        size_t length = end ? (size_t)(end - text->data) - at : text->size - at;
        int64_t n;
        int32_t *ids = encode(tok, text->data + at, length, &n);
        bytes back = decode(tok, ids, n, 0);
        total += (long)n;
        a = crc_ids(a, ids, n);
        b = l2_crc32c(b, back.data, back.size);
        at += length + 1;
        free(ids);
        free(back.data);
    }
    ck_assert_msg(total == count && a == ids_crc, "%s: other ids, %ld of them", row, total);
    ck_assert_msg(b == text_crc, "%s: other decoded text", row);
}

static bytes read_text(const char *name)
{
    if (strcmp(name, "tinyshakespeare.txt") != 0) return read_reference(name);
    const char *path = data_file(name);
    return path ? read_whole(path) : (bytes){NULL, 0};
}

/* Whole files, newlines and NUL included, with three models: user-defined pieces, pieces over words, unused pieces,
 * with and without byte fallback. */
static void check_texts_of(const char *model)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = NULL;
    bytes golden = read_reference("texts.golden");
    char path[1024];
    int rows = 0;
    if (strcmp(model, "llama2") == 0) {
        tok = load_llama2(ctx);
    } else {
        snprintf(path, sizeof path, "%s/reference/tokenizer/%s.model", LLAMA2_TEST_SOURCE, model);
        ck_ok(llama2_tokenizer_load(ctx, path, NULL, &tok));
    }
    for (char *row = strtok(golden.data, "\n"); tok && row; row = strtok(NULL, "\n")) {
        char name[16], text_name[32], mode[8];
        long count;
        unsigned ids_crc, text_crc;
        ck_assert_int_eq(sscanf(row, "%15s %31s %7s %ld %8x %8x", name, text_name, mode, &count, &ids_crc, &text_crc),
                         6);
        if (strcmp(name, model) != 0) continue;
        bytes text = read_text(text_name);
        if (text.data) check_text(tok, &text, strcmp(mode, "lines") == 0, row, count, ids_crc, text_crc);
        free(text.data);
        ++rows;
    }
    ck_assert(!tok || rows == 7);
    free(golden.data);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}

START_TEST(llama2_texts)
{
    check_texts_of("llama2");
}
END_TEST

START_TEST(words_texts)
{
    check_texts_of("words");
}
END_TEST

START_TEST(spans_texts)
{
    check_texts_of("spans");
}
END_TEST

/* --- the rule itself, on random vocabularies ------------------------------------------------- */

enum { PLAIN_SYMBOLS = 3000 };

/* Merges a text of one-byte characters by the definition: over and over the best pair of the whole text. */
static int64_t merge_plainly(const llama2_tokenizer *tok, const char *text, size_t length, int32_t *ids)
{
    static size_t at[PLAIN_SYMBOLS + 1];
    size_t n = 0;
    for (; n < length; ++n) at[n] = n;
    at[n] = length;
    for (;;) {
        size_t best = n;
        float best_score = 0;
        for (size_t i = 0; i + 1 < n; ++i) {
            int32_t id;
            float score;
            if (llama2_tokenizer_find(tok, text + at[i], at[i + 2] - at[i], &id) < 0) continue;
            ck_ok(llama2_tokenizer_piece(tok, id, NULL, NULL, &score, NULL));
            if (best == n || score > best_score) best = i, best_score = score;
        }
        if (best == n) break;
        memmove(&at[best + 1], &at[best + 2], (n - best - 1) * sizeof *at);
        --n;
    }
    int64_t count = 0;
    for (size_t i = 0; i < n; ++i) {
        int32_t id = llama2_tokenizer_unk(tok);
        llama2_tokenizer_find(tok, text + at[i], at[i + 1] - at[i], &id);
        if (id != 0 || count == 0 || ids[count - 1] != 0) ids[count++] = id; /* neighbouring unknowns are one */
    }
    return count;
}

/* Random pieces over "abcd" with few distinct scores, so that ties are common; "d" is no piece by itself, but joins. */
static llama2_tokenizer *random_vocabulary(llama2_context *ctx, uint64_t *random)
{
    enum { MOST = 60 };
    static char storage[MOST][8];
    const char *texts[MOST] = {"<unk>", "a", "b", "c"};
    int32_t types[MOST] = {LLAMA2_PIECE_UNKNOWN, LLAMA2_PIECE_NORMAL, LLAMA2_PIECE_NORMAL, LLAMA2_PIECE_NORMAL};
    float scores[MOST] = {0};
    int32_t n = 4, wanted = 8 + (int32_t)(next_random(random) % (MOST - 8));
    for (int tries = 0; n < wanted && tries < 1000; ++tries) {
        size_t length = 2 + next_random(random) % 4;
        for (size_t i = 0; i < length; ++i) storage[n][i] = "abcd"[next_random(random) % 4];
        storage[n][length] = 0;
        int known = 0;
        for (int32_t i = 0; i < n; ++i) known |= strcmp(texts[i], storage[n]) == 0;
        if (known) continue;
        texts[n] = storage[n];
        types[n] = LLAMA2_PIECE_NORMAL;
        scores[n] = (float)(next_random(random) % 5);
        ++n;
    }
    llama2_tokenizer_pieces pieces;
    llama2_tokenizer *tok;
    llama2_tokenizer_pieces_init(&pieces, sizeof pieces);
    pieces.n_pieces = n;
    pieces.texts = texts;
    pieces.types = types;
    pieces.scores = scores;
    pieces.add_dummy_prefix = 0;
    ck_ok(llama2_tokenizer_create(ctx, &pieces, &tok));
    return tok;
}

START_TEST(equals_the_plain_rule)
{
    static const size_t lengths[] = {0, 1, 2, 5, 31, 32, 33, 64, 129, 300, 2500};
    llama2_context *ctx = make_context();
    uint64_t random = 17;
    char text[PLAIN_SYMBOLS];
    static int32_t expected[PLAIN_SYMBOLS];
    for (int round = 0; round < 60; ++round) {
        llama2_tokenizer *tok = random_vocabulary(ctx, &random);
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths - (round % 10 != 0); ++k) {
            for (size_t i = 0; i < lengths[k]; ++i)
                text[i] = "aabbcde"[next_random(&random) % 7]; /* 'e' is in no piece */
            int64_t n, n_expected = merge_plainly(tok, text, lengths[k], expected);
            int32_t *ids = encode(tok, text, lengths[k], &n);
            ck_assert_int_eq(n, n_expected);
            ck_assert_int_eq(memcmp(ids, expected, (size_t)n * sizeof *ids), 0);
            free(ids);
        }
        llama2_tokenizer_free(tok);
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(tiny_by_hand)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    static const struct {
        const char *text;
        size_t length;
        const char *pieces;
    } cases[] = {
        {"", 0, ""},
        {" ", 1, SPACE SPACE " "},
        {"the", 3, SPACE "the "},
        {"abc", 3, SPACE " abc "}, /* ab (-16) goes before bc (-17), and has taken the a from _a (-24) */
        {"z", 1, SPACE " <0x7A> "},
        {"a\0b", 3, SPACE "a <0x00> b "},
        {"\xC3\xA9", 2, SPACE " é "},
        {"\xC3", 1, SPACE " <0xEF> <0xBF> <0xBD> "},
        {"</s>", 4, SPACE " <0x3C> / <0x73> <0x3E> "},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; ++k) {
        char joined[256] = "";
        int64_t n;
        int32_t *ids = encode(tok, cases[k].text, cases[k].length, &n);
        for (int64_t i = 0; i < n; ++i) {
            const char *piece;
            ck_ok(llama2_tokenizer_piece(tok, ids[i], &piece, NULL, NULL, NULL));
            strcat(strcat(joined, piece), " ");
        }
        ck_assert_str_eq(joined, cases[k].pieces);
        free(ids);
    }
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* --- properties ------------------------------------------------------------------------------ */

START_TEST(valid_text_comes_back)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tiny_tok = make_tiny(ctx), *llama2 = load_llama2(ctx);
    bytes text = read_reference("lines.txt");
    for (int k = 0; k < 2; ++k) {
        llama2_tokenizer *tok = k ? llama2 : tiny_tok;
        for (size_t at = 0; tok && at < text.size;) {
            size_t length = strcspn(text.data + at, "\n");
            text.data[at + length] = 0;
            if (!strstr(text.data + at, SPACE)) {
                int64_t n;
                int32_t *ids = encode(tok, text.data + at, length, &n);
                bytes back = decode(tok, ids, n, 0);
                ck_assert_uint_eq(back.size, length);
                ck_assert_int_eq(memcmp(back.data, text.data + at, length), 0);
                free(ids);
                free(back.data);
            }
            text.data[at + length] = '\n';
            at += length + 1;
        }
    }
    free(text.data);
    llama2_tokenizer_free(tiny_tok);
    llama2_tokenizer_free(llama2);
    llama2_context_free(ctx);
}
END_TEST

/* Any bytes: no crash under the sanitizers, ids in range, the bound of the header holds, and the decoded text is that
 * of the text with U+FFFD in it. */
START_TEST(random_bytes)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *toks[2] = {make_tiny(ctx), load_llama2(ctx)};
    uint64_t random = 5;
    char text[4000];
    for (int round = 0; round < 400; ++round) {
        llama2_tokenizer *tok = toks[round % 2];
        if (!tok) continue;
        size_t length = next_random(&random) % (round % 8 ? 60 : sizeof text);
        int ascii = round % 3 == 0;
        for (size_t i = 0; i < length; ++i)
            text[i] = (char)(ascii ? " abcthe"[next_random(&random) % 7] : (int)(next_random(&random) & 255));
        int64_t n, again;
        int32_t *ids = encode(tok, text, length, &n);
        for (int64_t i = 0; i < n; ++i) ck_assert(ids[i] >= 3 && ids[i] < llama2_tokenizer_vocab_size(tok));
        bytes once = decode(tok, ids, n, 0);
        int32_t *second = encode(tok, once.data, once.size, &again);
        bytes twice = decode(tok, second, again, 0);
        ck_assert(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
        free(ids);
        free(second);
        free(once.data);
        free(twice.data);
    }
    llama2_tokenizer_free(toks[0]);
    llama2_tokenizer_free(toks[1]);
    llama2_context_free(ctx);
}
END_TEST

/* A stretch that can't be cut, and a text that can: the same ids as in parts, in time that a quadratic merge would not
 * meet. */
START_TEST(long_stretches)
{
    enum { LONG = 2000000 };
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    char *text = malloc(LONG);
    for (size_t i = 0; i < LONG; ++i) text[i] = "abc"[i % 3];
    int64_t n;
    int32_t *ids = encode(tok, text, LONG, &n);
    ck_assert_int_eq(n, 1 + LONG / 3 + 1); /* the space, abc each time, and "ab" at the end */
    free(ids);
    memset(text, ' ', LONG);
    ids = encode(tok, text, LONG, &n);
    ck_assert_int_eq(n, LONG / 2 + 1);
    free(ids);
    free(text);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/encode");
    ADD_CASE(suite, "sentencepiece", llama2_lines_equal_sentencepiece, llama2_ids_written_out, llama2_texts,
             words_texts, spans_texts);
    ADD_CASE(suite, "rule", equals_the_plain_rule, tiny_by_hand);
    ADD_CASE(suite, "properties", valid_text_comes_back, random_bytes, long_stretches);
    return suite;
}
