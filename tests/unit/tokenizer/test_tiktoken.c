/* Llama 3's tokenizer.model in tiktoken's format: ids beside a plain merge by ranks, special pieces, what is refused.
 */
#include "tokenizer_test.h"

enum { N_PIECES = 128000, MOST = 8, MOST_RUN = 500 };

/* A file of as many pieces as Llama 3's: all bytes, strings of a, b and c in no order, then what text here has not. */
typedef struct ranks {
    char bytes[N_PIECES][MOST];
    size_t lengths[N_PIECES];
    int n;
    char *file;
    size_t size;
} ranks;

static void put_base64(ranks *r, const char *bytes_, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t group = 0;
        for (size_t k = 0; k < 3; ++k) group = group << 8 | (i + k < n ? (unsigned char)bytes_[i + k] : 0);
        for (size_t k = 0; k < 4; ++k) r->file[r->size++] = i + k > n ? '=' : digits[group >> (18 - 6 * k) & 63];
    }
}

static void put_rank(ranks *r, const char *bytes_, size_t n)
{
    memcpy(r->bytes[r->n], bytes_, n);
    r->lengths[r->n] = n;
    put_base64(r, bytes_, n);
    r->size += (size_t)sprintf(r->file + r->size, " %d\n", r->n++);
}

static int find_rank(const ranks *r, int limit, const char *bytes_, size_t n)
{
    for (int i = 0; i < limit; ++i)
        if (r->lengths[i] == n && memcmp(r->bytes[i], bytes_, n) == 0) return i;
    return -1;
}

enum { N_ABC = 256 + 600 };

static ranks *make_ranks(void)
{
    ranks *r = calloc(1, sizeof *r);
    uint64_t state = 3;
    char piece[MOST];
    r->file = malloc(N_PIECES * 24);
    for (int i = 0; i < 256; ++i) {
        piece[0] = (char)(i * 7 + 33);
        put_rank(r, piece, 1);
    }
    while (r->n < N_ABC) {
        size_t n = 2 + next_random(&state) % (MOST - 2);
        for (size_t i = 0; i < n; ++i) piece[i] = (char)('a' + next_random(&state) % 3);
        if (find_rank(r, r->n, piece, n) < 0) put_rank(r, piece, n);
    }
    for (int i = 0; r->n < N_PIECES; ++i) {
        const char filler[] = {(char)(0x80 | (i & 127)), (char)(0x80 | (i >> 7 & 127)), (char)(0x80 | (i >> 14))};
        put_rank(r, filler, 3);
    }
    return r;
}

static void free_ranks(ranks *r)
{
    free(r->file);
    free(r);
}

static llama2_tokenizer *load_ranks(llama2_context *ctx, const ranks *r)
{
    llama2_tokenizer *tok;
    ck_ok(llama2_tokenizer_load_memory(ctx, r->file, r->size, NULL, &tok));
    return tok;
}

/* What tiktoken does with a stretch: a piece as a whole, else the lowest rank is joined, the leftmost of equal ones. */
static int64_t merge_plainly(const ranks *r, const char *text, size_t length, int32_t *ids)
{
    size_t at[64], n = length;
    int whole = find_rank(r, N_ABC, text, length);
    if (whole >= 0) {
        ids[0] = whole;
        return 1;
    }
    for (size_t i = 0; i <= length; ++i) at[i] = i;
    for (;;) {
        int best = -1;
        size_t where = 0;
        for (size_t i = 0; i + 1 < n; ++i) {
            int rank = find_rank(r, N_ABC, text + at[i], at[i + 2] - at[i]);
            if (rank < 0 || (best >= 0 && rank >= best)) continue;
            best = rank;
            where = i;
        }
        if (best < 0) break;
        memmove(&at[where + 1], &at[where + 2], (n - where - 1) * sizeof *at);
        --n;
    }
    for (size_t i = 0; i < n; ++i) ids[i] = find_rank(r, N_ABC, text + at[i], at[i + 1] - at[i]);
    return (int64_t)n;
}

START_TEST(equals_the_plain_rule)
{
    llama2_context *ctx = make_context();
    ranks *r = make_ranks();
    llama2_tokenizer *tok = load_ranks(ctx, r);
    uint64_t state = 1;
    for (int round = 0; round < 3000; ++round) {
        char text[60];
        int32_t expected[60];
        int64_t n;
        size_t length = 1 + next_random(&state) % (round % 3 ? 12 : 60);
        for (size_t i = 0; i < length; ++i) text[i] = (char)('a' + next_random(&state) % 3);
        int32_t *ids = encode(tok, text, length, &n);
        ck_assert_int_eq(n, merge_plainly(r, text, length, expected));
        ck_assert_mem_eq(ids, expected, (size_t)n * sizeof *ids);
        free(ids);
    }
    llama2_tokenizer_free(tok);
    free_ranks(r);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(special_pieces)
{
    static const struct {
        const char *text;
        int32_t id;
    } specials[] = {{"<|begin_of_text|>", 128000},
                    {"<|end_of_text|>", 128001},
                    {"<|reserved_special_token_1|>", 128003},
                    {"<|start_header_id|>", 128006},
                    {"<|end_header_id|>", 128007},
                    {"<|eom_id|>", 128008},
                    {"<|eot_id|>", 128009},
                    {"<|python_tag|>", 128010},
                    {"<|reserved_special_token_2|>", 128012},
                    {"<|reserved_special_token_245|>", 128255}};
    llama2_context *ctx = make_context();
    ranks *r = make_ranks();
    llama2_tokenizer *tok = load_ranks(ctx, r);
    int32_t id, type, ids[64];
    int64_t n;
    ck_assert_int_eq(llama2_tokenizer_vocab_size(tok), 128256);
    ck_assert_int_eq(llama2_tokenizer_bos(tok), 128000);
    ck_assert_int_eq(llama2_tokenizer_eos(tok), 128001);
    ck_assert_int_eq(llama2_tokenizer_pad(tok), 128004);
    ck_assert_int_eq(llama2_tokenizer_unk(tok), -1);
    ck_assert_int_eq(llama2_tokenizer_adds_bos(tok), 1);
    for (size_t i = 0; i < sizeof specials / sizeof *specials; ++i) {
        size_t length = strlen(specials[i].text);
        ck_ok(llama2_tokenizer_find(tok, specials[i].text, length, &id));
        ck_assert_int_eq(id, specials[i].id);
        ck_ok(llama2_tokenizer_piece(tok, id, NULL, NULL, NULL, &type));
        ck_assert_int_eq(type, LLAMA2_PIECE_CONTROL);
        ck_ok(llama2_tokenizer_encode(tok, specials[i].text, length, 0, ids, 64, &n));
        ck_assert_int_gt(n, 5); /* text never makes one */
    }
    llama2_tokenizer_free(tok);
    free_ranks(r);
    llama2_context_free(ctx);
}
END_TEST

/* A dialogue in Llama 3's format. */
static int64_t encode_chat(const llama2_tokenizer *tok, int32_t *ids, int64_t room)
{
    static const char *const texts[] = {"abc", "ab"};
    static const int32_t roles[] = {LLAMA2_ROLE_SYSTEM, LLAMA2_ROLE_USER};
    int64_t n;
    llama2_chat chat;
    llama2_chat_init(&chat, sizeof chat);
    chat.n_messages = 2;
    chat.roles = roles;
    chat.texts = texts;
    ck_ok(llama2_chat_encode(tok, &chat, 0, ids, NULL, room, &n));
    return n;
}

/* From a folder as Meta has it; saved, it is a tokenizer.json that says the same. */
START_TEST(folders)
{
    enum { ROOM = 128, LONG = 5000 };
    char folder[] = "/tmp/llama2-tiktoken-XXXXXX", path[64], text[LONG];
    llama2_context *ctx = make_context();
    ranks *r = make_ranks();
    llama2_tokenizer *tok, *again;
    int32_t chat[2][ROOM];
    int64_t n, m;
    uint64_t state = 9;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/tokenizer.model", folder);
    FILE *file = fopen(path, "wb");
    ck_assert(file != NULL && fwrite(r->file, 1, r->size, file) == r->size && fclose(file) == 0);
    llama2_tokenizer_options options;
    llama2_tokenizer_options_init(&options, sizeof options);
    options.max_bytes = r->size - 1;
    ck_fails(llama2_tokenizer_load(ctx, folder, &options, &tok), LLAMA2_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "max_bytes"));
    options.max_bytes = r->size;
    ck_ok(llama2_tokenizer_load(ctx, folder, &options, &tok));
    ck_ok(llama2_tokenizer_save(tok, folder));
    ck_assert_ptr_null(fopen(path, "rb"));
    ck_ok(llama2_tokenizer_load(ctx, folder, NULL, &again));
    for (int i = 0; i < LONG; ++i) text[i] = "abc abc 12\n\xC3\xA9.abcc"[next_random(&state) % 18];
    int32_t *a = encode(tok, text, LONG, &n), *b = encode(again, text, LONG, &m);
    ck_assert_int_eq(n, m);
    ck_assert_mem_eq(a, b, (size_t)n * sizeof *a);
    bytes back = decode(tok, a, n, LLAMA2_DECODE_BYTES);
    ck_assert_uint_eq(back.size, LONG);
    ck_assert_mem_eq(back.data, text, LONG);
    n = encode_chat(tok, chat[0], ROOM);
    m = encode_chat(again, chat[1], ROOM);
    ck_assert_int_eq(n, m);
    ck_assert_mem_eq(chat[0], chat[1], (size_t)n * sizeof *chat[0]);
    bytes shown = decode(tok, chat[0], n, LLAMA2_DECODE_SPECIALS);
    ck_assert_str_eq(shown.data, "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nabc<|eot_id|>"
                                 "<|start_header_id|>user<|end_header_id|>\n\nab<|eot_id|>"
                                 "<|start_header_id|>assistant<|end_header_id|>\n\n");
    for (int32_t id = 0; id < 128256; ++id) {
        const char *ours, *theirs;
        ck_ok(llama2_tokenizer_piece(tok, id, &ours, NULL, NULL, NULL));
        ck_ok(llama2_tokenizer_piece(again, id, &theirs, NULL, NULL, NULL));
        ck_assert_msg(strcmp(ours, theirs) == 0, "piece %d", (int)id);
    }
    ck_assert_int_eq(llama2_tokenizer_pad(again), 128004);
    ck_assert_int_eq(llama2_tokenizer_adds_bos(again), 1);
    free(shown.data);
    free(back.data);
    free(a);
    free(b);
    llama2_tokenizer_free(tok);
    llama2_tokenizer_free(again);
    free_ranks(r);
    llama2_context_free(ctx);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* --- what is refused -------------------------------------------------------------------------- */

static llama2_status load(llama2_context *ctx, const char *data, size_t size, const llama2_tokenizer_options *options)
{
    llama2_tokenizer *tok = (llama2_tokenizer *)&tok;
    char *exact = malloc(size ? size : 1); /* so that a read past the end is seen */
    memcpy(exact, data, size);
    llama2_status status = llama2_tokenizer_load_memory(ctx, exact, size, options, &tok);
    if (status < 0) ck_assert_ptr_null(tok);
    llama2_tokenizer_free(tok);
    free(exact);
    return status;
}

static void refused(llama2_context *ctx, const char *data, size_t size, llama2_status code, const char *says)
{
    llama2_status status = load(ctx, data, size, NULL);
    ck_assert_msg(status == code && strstr(llama2_last_error(), says), "%s: %s (%s), expected %s", says,
                  llama2_status_name(status), llama2_last_error(), llama2_status_name(code));
    ck_assert_int_eq(strncmp(llama2_last_error(), "tiktoken: ", 10), 0);
}

static const struct {
    const char *file;
    llama2_status code;
    const char *says;
} cases[] = {
    {"IQ== 0\nIg== 2\n", LLAMA2_E_FORMAT, "line 2: rank \"2\", expected 1"},
    {"IQ== 1\n", LLAMA2_E_FORMAT, "line 1: rank \"1\", expected 0"},
    {"IQ== 00\n", LLAMA2_E_FORMAT, "rank \"00\""},
    {"IQ== 0 \n", LLAMA2_E_FORMAT, "rank \"0 \""},
    {"IQ== 0\r\n", LLAMA2_E_FORMAT, "rank \"0?\", expected 0"},
    {"IQ== 0\nIg== \n", LLAMA2_E_FORMAT, "line 2: rank \"\""},
    {"IQ== 0\nIg== x\n", LLAMA2_E_FORMAT, "line 2: rank \"x\""},
    {"IQ== 0\nIg== 99999999999999999999999\n", LLAMA2_E_FORMAT, "rank \"99999999999999999999\""},
    {"IQ== 0\nI", LLAMA2_E_TRUNCATED, "line 2"},
    {"IQ== 0\nIg==", LLAMA2_E_TRUNCATED, "line 2"},
    {"IQ== 0\nIg== ", LLAMA2_E_TRUNCATED, "line 2"},
    {"IQ== 0\n\nIg== 1\n", LLAMA2_E_FORMAT, "line 2: byte 7: 0x0A is no base64"},
    {"IQ== 0\n# no\n", LLAMA2_E_FORMAT, "line 2: byte 7: 0x23"},
    {"IQ 0\n", LLAMA2_E_FORMAT, "line 1: byte 2: 0x20"},
    {"IR== 0\n", LLAMA2_E_FORMAT, "bits set"},
    {"ISF= 0\n", LLAMA2_E_FORMAT, "bits set"},
    {"I=== 0\n", LLAMA2_E_FORMAT, "line 1: byte 1: 0x3D"},
    {"IQ== 0\nIQ=A 1\n", LLAMA2_E_FORMAT, "line 2: byte 10: 0x41"},
    {"IQ== 0\nIQ==IQ== 1\n", LLAMA2_E_FORMAT, "line 2: base64 goes on after '='"},
    {"IQ== 0\n 1\n", LLAMA2_E_FORMAT, "line 2: an empty piece"},
    {"IQ== 0\nIg== 1\nIQ== 2\n", LLAMA2_E_FORMAT, "line 3: piece 2 has the text of piece 0"},
    {"IQ== 0\nIg== 1", LLAMA2_E_FORMAT, "no piece is the byte 0x00"},
};

START_TEST(files_that_are_refused)
{
    llama2_context *ctx = make_context();
    ranks *r = make_ranks();
    char file[2000] = "";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i)
        refused(ctx, cases[i].file, strlen(cases[i].file), cases[i].code, cases[i].says);
    memset(file, 'A', 684); /* 513 bytes */
    strcpy(file + 684, " 0\n");
    refused(ctx, file, strlen(file), LLAMA2_E_LIMIT, "line 1: a piece of more than 509 bytes");
    /* All bytes, or one less than Llama 3's: another model's file. */
    const char *end = r->file;
    for (int i = 0; i < 256; ++i) end = strchr(end, '\n') + 1;
    refused(ctx, r->file, (size_t)(end - r->file), LLAMA2_E_UNSUPPORTED, "256 pieces: Llama 3's file has 128000");
    for (end = r->file + r->size - 1; end[-1] != '\n'; --end) continue;
    refused(ctx, r->file, (size_t)(end - r->file), LLAMA2_E_UNSUPPORTED, "127999 pieces");
    refused(ctx, r->file, (size_t)(end - r->file) + 3, LLAMA2_E_TRUNCATED, "line 128000");
    ck_ok(load(ctx, r->file, r->size - 1, NULL)); /* without the last line's end */
    refused(ctx, r->file, r->size - 2, LLAMA2_E_TRUNCATED, "line 128000");
    llama2_tokenizer_options options;
    llama2_tokenizer_options_init(&options, sizeof options);
    options.max_pieces = 128255;
    ck_fails(load(ctx, r->file, r->size, &options), LLAMA2_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "max_pieces"));
    options.max_pieces = 128256;
    options.max_bytes = r->size - 1;
    ck_fails(load(ctx, r->file, r->size, &options), LLAMA2_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "max_bytes"));
    options.max_bytes = r->size;
    ck_ok(load(ctx, r->file, r->size, &options));
    free_ranks(r);
    llama2_context_free(ctx);
}
END_TEST

/* All bytes, and runs of 2 to `longest` of each of the last n_runs. */
static ranks *make_runs(int n_runs, size_t longest)
{
    ranks *r = calloc(1, sizeof *r);
    char run[MOST_RUN];
    r->file = malloc(N_PIECES * 24 + (size_t)n_runs * longest * longest);
    for (int i = 0; i < 256; ++i) put_rank(r, &(char){(char)i}, 1);
    for (int i = 256 - n_runs; i < 256; ++i) {
        memset(run, i, longest);
        for (size_t n = 2; n <= longest; ++n) {
            put_base64(r, run, n);
            r->size += (size_t)sprintf(r->file + r->size, " %d\n", r->n++);
        }
    }
    return r;
}

/* Frees them. */
static void refused_in_little_memory(ranks *r, llama2_status code, const char *says, size_t most)
{
    counting c = {0};
    llama2_context *ctx;
    ck_ok(counting_context(&c, &ctx));
    size_t before = c.now;
    c.peak = before;
    refused(ctx, r->file, r->size, code, says);
    ck_assert_uint_lt(c.peak - before, most);
    llama2_context_free(ctx);
    free_ranks(r);
}

/* Another model's file is refused before the merges of its pieces are looked for: of runs of one byte there are as
 * many as bytes in them all. */
START_TEST(refused_before_its_merges)
{
    refused_in_little_memory(make_runs(1, MOST_RUN), LLAMA2_E_UNSUPPORTED, "755 pieces", 1 << 20);
}
END_TEST

/* One of the right size, whose merges would take twenty times its own. */
START_TEST(refused_for_its_merges)
{
    ranks *r = make_runs(256, 150);
    for (int i = 0; r->n < N_PIECES; ++i) {
        const char filler[] = {(char)i, (char)(i >> 8), (char)(i >> 16), 7};
        put_rank(r, filler, 4);
    }
    refused_in_little_memory(r, LLAMA2_E_LIMIT, "in more than 16 ways each", 6 * r->size);
}
END_TEST

/* Every allocation fails once. */
START_TEST(no_memory)
{
    ranks *r = make_ranks();
    long fail_at = 0;
    for (llama2_status status = LLAMA2_E_NOMEM; status != LLAMA2_OK;) {
        counting c = {.fail_once = 1};
        llama2_context *ctx;
        ck_ok(counting_context(&c, &ctx));
        c.fail_at = c.calls + ++fail_at;
        status = load(ctx, r->file, r->size, NULL);
        ck_assert(status == LLAMA2_OK || status == LLAMA2_E_NOMEM);
        llama2_context_free(ctx);
        ck_assert_int_eq(c.live, 0);
    }
    ck_assert_int_gt(fail_at, 10);
    free_ranks(r);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/tiktoken");
    ADD_CASE(suite, "ids", equals_the_plain_rule, special_pieces, folders);
    ADD_CASE(suite, "refused", files_that_are_refused, refused_before_its_merges, refused_for_its_merges, no_memory);
    return suite;
}
