/* Which bytes of a text each id comes from: written out for small vocabularies, and what holds for any text. */
#include "tokenizer_test.h"

enum { ROOM = 64 };

typedef struct encoded {
    int32_t *ids;
    size_t *begins, *ends;
    int64_t n;
} encoded;

static encoded encode_offsets(const llama2_tokenizer *tok, const char *text, size_t length, uint32_t flags)
{
    int64_t room = 3 * (int64_t)length + 5, n;
    encoded e = {malloc((size_t)room * sizeof *e.ids), malloc((size_t)room * sizeof *e.begins),
                 malloc((size_t)room * sizeof *e.ends), 0};
    ck_ok(llama2_tokenizer_encode_offsets(tok, text, length, flags, e.ids, e.begins, e.ends, room, &e.n));
    int32_t *ids = malloc((size_t)room * sizeof *ids);
    ck_ok(llama2_tokenizer_encode(tok, text, length, flags, ids, room, &n));
    ck_assert_int_eq(n, e.n);
    if (n) ck_assert_mem_eq(ids, e.ids, (size_t)n * sizeof *ids);
    free(ids);
    return e;
}

static void release(encoded e)
{
    free(e.ids);
    free(e.begins);
    free(e.ends);
}

/* wanted: "piece[begin,end) ..." */
static void check_offsets(const llama2_tokenizer *tok, const char *text, size_t length, const char *wanted)
{
    char found[1024] = "";
    size_t at = 0, n;
    const char *piece;
    encoded e = encode_offsets(tok, text, length, 0);
    for (int64_t i = 0; i < e.n; ++i) {
        ck_ok(llama2_tokenizer_piece(tok, e.ids[i], &piece, &n, NULL, NULL));
        at += (size_t)snprintf(found + at, sizeof found - at, "%s%s[%zu,%zu)", i ? " " : "", piece, e.begins[i],
                               e.ends[i]);
    }
    ck_assert_str_eq(found, wanted);
    release(e);
}

#define CHECK(tok, text, wanted) check_offsets(tok, text, sizeof text - 1, wanted)

START_TEST(sentencepiece_ranges)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    CHECK(tok, "", "");
    CHECK(tok, "the the", SPACE "the[0,3) " SPACE "the[3,7)");
    CHECK(tok, "e", SPACE "[0,0) e[0,1)"); /* a dummy prefix that is an id of its own */
    CHECK(tok, " a", SPACE SPACE "[0,1) a[1,2)");
    CHECK(tok, "a  a", SPACE "a[0,1) " SPACE SPACE "[1,3) a[3,4)");
    CHECK(tok, "\xC3\xA9", SPACE "[0,0) \xC3\xA9[0,2)");
    CHECK(tok, "a\xC3\xAA!", SPACE "a[0,1) <0xC3>[1,2) <0xAA>[2,3) <0x21>[3,4)");
    /* Three pieces for one byte that is not UTF-8. */
    CHECK(tok,
          "a\xFF"
          "b",
          SPACE "a[0,1) <0xEF>[1,2) <0xBF>[2,2) <0xBD>[2,2) b[2,3)");
    CHECK(tok, "a\0b", SPACE "a[0,1) <0x00>[1,2) b[2,3)");
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(extra_whitespaces)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok;
    tiny t;
    fill_tiny(&t);
    t.pieces.remove_extra_whitespaces = 1;
    ck_ok(llama2_tokenizer_create(ctx, &t.pieces, &tok));
    CHECK(tok, "   ", "");
    CHECK(tok, "  the   the  b ", SPACE "the[2,5) " SPACE "the[5,11) " SPACE "[11,13) b[13,14)");
    CHECK(tok, " e", SPACE "[1,1) e[1,2)");
    llama2_tokenizer_free(tok);
    t.pieces.add_dummy_prefix = 0;
    ck_ok(llama2_tokenizer_create(ctx, &t.pieces, &tok));
    CHECK(tok, "  e  e", "e[2,3) " SPACE "[3,5) e[5,6)");
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* Without byte fallback; what is unknown in a row is one id. User-defined pieces are found first. */
START_TEST(unknown_and_user_defined)
{
    static const char *const texts[] = {"<unk>", SPACE, "a", "b", "ab", "[ab]"};
    static const int32_t types[] = {2, 1, 1, 1, 1, 4};
    llama2_context *ctx = make_context();
    llama2_tokenizer_pieces pieces;
    llama2_tokenizer *tok;
    llama2_tokenizer_pieces_init(&pieces, sizeof pieces);
    pieces.n_pieces = 6;
    pieces.texts = texts;
    pieces.types = types;
    pieces.add_dummy_prefix = 0;
    ck_ok(llama2_tokenizer_create(ctx, &pieces, &tok));
    CHECK(tok, "abxy\xC3\xA9zab", "ab[0,2) <unk>[2,7) ab[7,9)");
    CHECK(tok,
          "\xFF\xFE"
          "a?",
          "<unk>[0,2) a[2,3) <unk>[3,4)");
    CHECK(tok, "x[ab]y", "<unk>[0,1) [ab][1,5) <unk>[5,6)");
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

static llama2_tokenizer *load_reference(llama2_context *ctx, const char *name)
{
    char path[1024];
    llama2_tokenizer *tok;
    snprintf(path, sizeof path, "%s/reference/tokenizer/%s", LLAMA2_TEST_SOURCE, name);
    ck_ok(llama2_tokenizer_load(ctx, path, NULL, &tok));
    return tok;
}

/* --- any text --------------------------------------------------------------------------------- */

static const char *const parts[] = {" ",    "  ", "the",  "a",        "\xC3\xA9", "\xE4\xB8\xAD", "\xF0\x9F\x98\x80",
                                    "\n",   "12", "'s",   "[INST]",   " [sep]",   "\xE2\x96\x81", "word",
                                    "xx",   ".",  "\0",   "\t",       "isn't",    "<s>",          "aaaa",
                                    "\x7F", "Zz", "\xFF", "\xE4\xB8", "\xC3",     "\xF5 "};

static size_t random_text(char *text, int n, uint64_t *state)
{
    size_t length = 0;
    for (int i = 0; i < n; ++i) {
        const char *part = parts[next_random(state) % (sizeof parts / sizeof *parts)];
        size_t size = *part ? strlen(part) : 1;
        memcpy(text + length, part, size);
        length += size;
    }
    return length;
}

/* In order, and together the bytes of the text that became ids. */
static void check_order(const char *text, size_t length, const encoded *e, const char *dropped)
{
    size_t at = 0;
    for (int64_t i = 0; i < e->n; ++i) {
        ck_assert(e->begins[i] <= e->ends[i] && e->ends[i] <= length);
        for (; at < e->begins[i]; ++at) ck_assert(memchr(dropped, text[at], 256) != NULL);
        ck_assert_uint_eq(at, e->begins[i]);
        at = e->ends[i];
    }
    for (; at < length; ++at) ck_assert(memchr(dropped, text[at], 256) != NULL);
}

/* Each id decodes to its bytes; a dummy prefix adds a space, and what is dropped may have stood within a piece. */
static void check_decoding(const llama2_tokenizer *tok, const char *text, const encoded *e, const char *dropped)
{
    for (int64_t i = 0; i < e->n; ++i) {
        if (e->ids[i] == llama2_tokenizer_unk(tok)) continue;
        bytes back = decode(tok, &e->ids[i], 1, LLAMA2_DECODE_CONTINUE | LLAMA2_DECODE_BYTES);
        size_t at = i == 0 && back.size == e->ends[0] + 1;
        ck_assert(!at || back.data[0] == ' ');
        for (size_t k = e->begins[i]; k < e->ends[i]; ++k) {
            if (memchr(dropped, text[k], 256)) continue;
            ck_assert(at < back.size && back.data[at] == text[k]);
            ++at;
        }
        ck_assert_uint_eq(at, back.size);
        free(back.data);
    }
}

/* The bytes that become nothing, the rest U+0001, which no text has. Where spaces go, U+2581 goes. */
static void find_dropped(const llama2_tokenizer *tok, char dropped[256])
{
    int64_t n;
    int k = 0;
    memset(dropped, 1, 256);
    for (int i = 0; i < 256; ++i) {
        char byte = (char)i;
        ck_ok(llama2_tokenizer_encode(tok, &byte, 1, 0, NULL, 0, &n));
        if (n == 0) dropped[k++] = byte;
    }
    if (memchr(dropped, ' ', 256)) memcpy(dropped + k, SPACE, strlen(SPACE));
}

static void check_texts(const llama2_tokenizer *tok, uint64_t seed, int byte_level)
{
    char *text = malloc(1 << 16), dropped[256];
    find_dropped(tok, dropped);
    for (int round = 0; round < 400; ++round) {
        size_t length = random_text(text, round < 390 ? round % 40 : 3000, &seed);
        encoded e = encode_offsets(tok, text, length, 0);
        check_order(text, length, &e, dropped);
        if (byte_level) check_decoding(tok, text, &e, dropped);
        release(e);
    }
    free(text);
}

START_TEST(any_text)
{
    static const char *const references[] = {"bpe-gpt2", "bpe-smollm", "bpe-llama3", "spans.model", "words.model"};
    llama2_context *ctx = make_context();
    for (int i = 0; i < 5; ++i) {
        llama2_tokenizer *tok = load_reference(ctx, references[i]);
        check_texts(tok, (uint64_t)i, i < 3);
        llama2_tokenizer_free(tok);
    }
    llama2_tokenizer *tok = make_tiny(ctx);
    check_texts(tok, 5, 0);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* Many bytes without a place to cut at, and Llama 2's own vocabulary. */
START_TEST(llama2_text)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = load_llama2(ctx);
    if (tok) {
        bytes text = read_reference("lines.txt");
        char *letters = malloc(100000), none[256];
        memset(none, 0, sizeof none);
        encoded e = encode_offsets(tok, text.data, text.size, 0);
        check_order(text.data, text.size, &e, none);
        release(e);
        for (int i = 0; i < 100000; ++i) letters[i] = (char)('a' + i % 7);
        e = encode_offsets(tok, letters, 100000, 0);
        check_order(letters, 100000, &e, none);
        check_decoding(tok, letters, &e, none);
        release(e);
        free(letters);
        free(text.data);
    }
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* --- the call --------------------------------------------------------------------------------- */

START_TEST(buffers)
{
    static const char text[] = "the the abc xyz \xC3\xA9";
    const size_t length = sizeof text - 1;
    const uint32_t both = LLAMA2_ENCODE_BOS | LLAMA2_ENCODE_EOS;
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    int32_t ids[ROOM];
    size_t begins[ROOM], ends[ROOM];
    int64_t n, needed;
    encoded e = encode_offsets(tok, text, length, both);
    ck_assert(e.begins[0] == 0 && e.ends[0] == 0 && e.begins[e.n - 1] == length && e.ends[e.n - 1] == length);
    ck_ok(llama2_tokenizer_encode_offsets(tok, text, length, both, NULL, NULL, NULL, 0, &n));
    ck_assert_int_eq(n, e.n);
    for (int64_t room = 0; room < n; ++room) {
        ids[room] = -7;
        begins[room] = ends[room] = 77;
        ck_fails(llama2_tokenizer_encode_offsets(tok, text, length, both, ids, begins, ends, room, &needed),
                 LLAMA2_E_BUFFER);
        ck_assert(needed == n && ids[room] == -7 && begins[room] == 77 && ends[room] == 77);
    }
    ck_ok(llama2_tokenizer_encode_offsets(tok, text, length, both, ids, NULL, ends, n, NULL));
    ck_assert_mem_eq(ends, e.ends, (size_t)n * sizeof *ends);
    ck_ok(llama2_tokenizer_encode_offsets(tok, text, length, both, ids, begins, NULL, n, NULL));
    ck_assert_mem_eq(begins, e.begins, (size_t)n * sizeof *begins);
    ck_ok(llama2_tokenizer_encode_offsets(tok, text, length, both, ids, NULL, NULL, n, NULL));
    ck_assert_mem_eq(ids, e.ids, (size_t)n * sizeof *ids);
    ck_fails(llama2_tokenizer_encode_offsets(NULL, "a", 1, 0, ids, begins, ends, 8, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_encode_offsets(tok, NULL, 1, 0, ids, begins, ends, 8, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_encode_offsets(tok, "a", 1, 4, ids, begins, ends, 8, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_tokenizer_encode_offsets(tok, "a", 1, 0, NULL, begins, ends, 8, &n), LLAMA2_E_INVALID);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "llama2_tokenizer_encode_offsets"));
    release(e);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* Every allocation fails once. */
START_TEST(no_memory)
{
    char text[6000];
    int32_t ids[6001];
    size_t begins[6001];
    memset(text, ' ', sizeof text); /* can't be cut */
    long fail_at = 0;
    for (llama2_status status = LLAMA2_E_NOMEM; status != LLAMA2_OK;) {
        counting c = {.fail_once = 1};
        llama2_context *ctx;
        ck_ok(counting_context(&c, &ctx));
        llama2_tokenizer *tok = make_tiny(ctx);
        c.fail_at = c.calls + ++fail_at;
        status = llama2_tokenizer_encode_offsets(tok, text, sizeof text, 0, ids, begins, NULL, 6001, NULL);
        ck_assert(status == LLAMA2_OK || status == LLAMA2_E_NOMEM);
        llama2_tokenizer_free(tok);
        llama2_context_free(ctx);
        ck_assert_int_eq(c.live, 0);
    }
    ck_assert_int_gt(fail_at, 8);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/offsets");
    ADD_CASE(suite, "written out", sentencepiece_ranges, extra_whitespaces, unknown_and_user_defined);
    ADD_CASE(suite, "any text", any_text, llama2_text);
    ADD_CASE(suite, "the call", buffers, no_memory);
    return suite;
}
