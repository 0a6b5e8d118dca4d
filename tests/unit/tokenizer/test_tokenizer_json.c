/* SentencePiece's BPE in a tokenizer.json: the ids of the tokenizer.model that it was made from. */
#include "tokenizer_test.h"
#include <unistd.h>

typedef struct json_text {
    char *data;
    size_t size;
} json_text;

static void put(json_text *j, const char *text, size_t length)
{
    memcpy(j->data + j->size, text, length);
    j->size += length;
}

static void put_string(json_text *j, const char *text, size_t length)
{
    put(j, "\"", 1);
    for (size_t i = 0; i < length; ++i) {
        char escape[8];
        if ((unsigned char)text[i] < ' ' || text[i] == '"' || text[i] == '\\') {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)text[i] & 255u);
            put(j, escape, 6);
            continue;
        }
        put(j, text + i, 1);
    }
    put(j, "\"", 1);
}

static int has(const llama2_tokenizer *tok, const char *text, size_t length)
{
    int32_t id;
    return llama2_tokenizer_find(tok, text, length, &id) == LLAMA2_OK;
}

/* All ways to make each piece of two; the pieces of Llama 2 stand in the order of their scores but for one. `left_out`
 * counts down to a merge that is left out. */
static void put_merges(json_text *j, const llama2_tokenizer *tok, int left_out)
{
    const char *comma = "";
    for (int32_t i = 260, end = llama2_tokenizer_vocab_size(tok); i <= end; ++i) {
        int32_t id = i < end ? i : 259; /* two spaces come last */
        const char *text;
        size_t length;
        ck_ok(llama2_tokenizer_piece(tok, id, &text, &length, NULL, NULL));
        for (size_t n = 1; n < length; ++n) {
            if (((unsigned char)text[n] & 0xC0) == 0x80 || !has(tok, text, n) || !has(tok, text + n, length - n))
                continue;
            if (left_out-- == 0) continue;
            put(j, comma, strlen(comma));
            put(j, "[", 1);
            put_string(j, text, n);
            put(j, ",", 1);
            put_string(j, text + n, length - n);
            put(j, "]", 1);
            comma = ",\n";
        }
    }
}

#define NORMALIZERS                                                                                                    \
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" SPACE                               \
    "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE "\"}]}"
#define METASPACE(scheme, split)                                                                                       \
    "{\"type\":\"Metaspace\",\"replacement\":\"" SPACE "\",\"prepend_scheme\":\"" scheme "\",\"split\":" split "}"

static void put_text(json_text *j, const char *text)
{
    put(j, text, strlen(text));
}

static json_text make_json(const llama2_tokenizer *tok, int left_out, const char *normaliser, const char *pre)
{
    static const char head[] =
        "{\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true},{\"id\":2,\"content\":\"</s>\",\"special\":"
        "true}],\"post_processor\":null,\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
        "\"Replace\",\"pattern\":{\"String\":\"" SPACE
        "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \","
        "\"start\":1,\"stop\":0}]},\"normalizer\":";
    json_text j = {malloc(16 << 20), 0};
    put_text(&j, head);
    put_text(&j, normaliser);
    put_text(&j, ",\"pre_tokenizer\":");
    put_text(&j, pre);
    put_text(&j, ",\"model\":{\"type\":\"BPE\",\"fuse_unk\":true,\"byte_fallback\":true,");
    put_text(&j, strcmp(pre, "null") == 0 ? "\"unk_token\":\"<unk>\",\"vocab\":{" : "\"unk_token\":null,\"vocab\":{");
    for (int32_t id = 0; id < llama2_tokenizer_vocab_size(tok); ++id) {
        const char *text;
        size_t length;
        char number[16];
        ck_ok(llama2_tokenizer_piece(tok, id, &text, &length, NULL, NULL));
        if (id) put(&j, ",", 1);
        put_string(&j, text, length);
        snprintf(number, sizeof number, ":%d", (int)id);
        put(&j, number, strlen(number));
    }
    put(&j, "},\"merges\":[", 12);
    put_merges(&j, tok, left_out);
    put(&j, "]}}", 3);
    return j;
}

/* The same ids of all reference texts, and the same texts from them. */
static void check_same(const llama2_tokenizer *tok, const llama2_tokenizer *model)
{
    static const char *const names[] = {"lines.txt", "invalid.txt", "binary.bin"};
    for (int i = 0; i < 3; ++i) {
        bytes text = read_reference(names[i]);
        int64_t n, m;
        int32_t *a = encode(model, text.data, text.size, &n), *b = encode(tok, text.data, text.size, &m);
        ck_assert_int_eq(n, m);
        ck_assert_mem_eq(a, b, (size_t)n * sizeof *a);
        bytes back = decode(tok, b, m, 0), expected = decode(model, a, n, 0);
        ck_assert_str_eq(back.data, expected.data);
        free(back.data);
        free(expected.data);
        free(a);
        free(b);
        free(text.data);
    }
}

START_TEST(llama2_as_json)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *model = load_llama2(ctx), *json;
    if (model) {
        json_text j = make_json(model, -1, NORMALIZERS, "null");
        ck_ok(llama2_tokenizer_load_memory(ctx, j.data, j.size, NULL, &json));
        free(j.data);
        check_same(json, model);
        ck_assert_int_eq(llama2_tokenizer_unk(json), 0);
        ck_assert_int_eq(llama2_tokenizer_bos(json), 1);
        ck_assert_int_eq(llama2_tokenizer_eos(json), 2);
        llama2_tokenizer_free(json);
    }
    llama2_tokenizer_free(model);
    llama2_context_free(ctx);
}
END_TEST

/* Merges that scores can't stand for. */
START_TEST(a_merge_is_missing)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *model = load_llama2(ctx), *json;
    if (model) {
        json_text j = make_json(model, 1000, NORMALIZERS, "null");
        ck_fails(llama2_tokenizer_load_memory(ctx, j.data, j.size, NULL, &json), LLAMA2_E_UNSUPPORTED);
        free(j.data);
    }
    llama2_tokenizer_free(model);
    llama2_context_free(ctx);
}
END_TEST

/* A piece of 512 bytes, or of more. */
static char long_text[514];

static void long_piece(tiny *t, size_t length)
{
    memset(long_text, 'a', length);
    long_text[length] = 0;
    t->texts[TINY_FIRST + 3] = long_text;
}

START_TEST(long_pieces)
{
    llama2_context *ctx = make_context();
    for (size_t length = 512; length <= 513; ++length) {
        tiny t;
        llama2_tokenizer *tok, *json;
        fill_tiny(&t);
        long_piece(&t, length);
        ck_ok(llama2_tokenizer_create(ctx, &t.pieces, &tok));
        json_text j = make_json(tok, -1, NORMALIZERS, "null");
        ck_assert_int_eq(llama2_tokenizer_load_memory(ctx, j.data, j.size, NULL, &json),
                         length == 512 ? LLAMA2_OK : LLAMA2_E_LIMIT);
        free(j.data);
        llama2_tokenizer_free(json);
        llama2_tokenizer_free(tok);
    }
    llama2_context_free(ctx);
}
END_TEST

static void check_ids(const llama2_tokenizer *tok, const char *text, const llama2_tokenizer *model, const char *same)
{
    int64_t n, m;
    int32_t *a = encode(tok, text, strlen(text), &n), *b = encode(model, same, strlen(same), &m);
    ck_assert_int_eq(n, m);
    ck_assert_mem_eq(a, b, (size_t)n * sizeof *a);
    free(a);
    free(b);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

/* What transformers 5 writes: a text that begins with a space gets none before it, and the file comes out as it was. */
START_TEST(metaspace)
{
    static const char *const forms[] = {METASPACE("always", "false"), METASPACE("first", "false")};
    llama2_context *ctx = make_context();
    llama2_tokenizer *model = load_llama2(ctx), *json, *again;
    for (int i = 0; model && i < 2; ++i) {
        json_text j = make_json(model, -1, "null", forms[i]);
        ck_ok(llama2_tokenizer_load_memory(ctx, j.data, j.size, NULL, &json));
        check_ids(json, "Hello  world ", model, "Hello  world ");
        check_ids(json, " Hello", model, "Hello");
        check_ids(json, SPACE "Hello", model, "Hello");
        check_ids(json, "  Hello", model, " Hello");
        check_ids(json, "", model, "");
        ck_assert_int_eq(llama2_tokenizer_unk(json), 0);
        char folder[] = "/tmp/llama2-json-XXXXXX", path[64], command[64];
        ck_assert_ptr_nonnull(mkdtemp(folder));
        ck_ok(llama2_tokenizer_save(json, folder));
        snprintf(path, sizeof path, "%s/tokenizer.json", folder);
        bytes saved = read_whole(path);
        ck_assert_int_eq((int64_t)saved.size, (int64_t)j.size);
        ck_assert_mem_eq(saved.data, j.data, j.size);
        ck_ok(llama2_tokenizer_load(ctx, folder, NULL,
                                    &again)); /* with the tokenizer_config.json, which names <unk> too */
        check_ids(again, " Hello", model, "Hello");
        ck_assert_int_eq(llama2_tokenizer_unk(again), 0);
        ck_assert_int_eq(llama2_tokenizer_pad(again), -1);
        llama2_tokenizer_free(again);
        snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
        write_text(path, "{\"pad_token\":\"<unk>\",\"unk_token\":\"<unk>\"}"); /* as many folders have it */
        ck_ok(llama2_tokenizer_load(ctx, folder, NULL, &again));
        ck_assert_int_eq(llama2_tokenizer_pad(again), 0);
        snprintf(command, sizeof command, "rm -r %s", folder);
        ck_assert_int_eq(system(command), 0);
        llama2_tokenizer_free(again);
        llama2_tokenizer_free(json);
        free(saved.data);
        free(j.data);
    }
    llama2_tokenizer_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(other_metaspace)
{
    static const char *const forms[] = {METASPACE("always", "true"), METASPACE("never", "false"),
                                        "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"}",
                                        "{\"type\":\"Whitespace\"}"};
    llama2_context *ctx = make_context();
    llama2_tokenizer *model = load_llama2(ctx), *json;
    for (int i = 0; model && i < 4; ++i) {
        json_text j = make_json(model, -1, "null", forms[i]);
        ck_fails(llama2_tokenizer_load_memory(ctx, j.data, j.size, NULL, &json), LLAMA2_E_UNSUPPORTED);
        free(j.data);
    }
    llama2_tokenizer_free(model);
    llama2_context_free(ctx);
}
END_TEST

/* The file with a text in place of another. */
static llama2_status load_changed(llama2_context *ctx, const llama2_tokenizer *tok, const char *from, const char *to,
                                  llama2_tokenizer **out)
{
    json_text j = make_json(tok, -1, NORMALIZERS, "null");
    j.data[j.size] = 0;
    char *at = strstr(j.data, from);
    ck_assert_ptr_nonnull(at);
    memmove(at + strlen(to), at + strlen(from), j.size - (size_t)(at - j.data) - strlen(from));
    memcpy(at, to, strlen(to));
    llama2_status status = llama2_tokenizer_load_memory(ctx, j.data, j.size + strlen(to) - strlen(from), NULL, out);
    free(j.data);
    return status;
}

/* Settings that would give other ids, or other texts. */
START_TEST(what_would_change_ids_is_refused)
{
    static const char *const changes[][2] = {
        {"{\"String\":\" \"}", "{\"String\":\"\\n\"}"},
        {"{\"String\":\" \"}", "{\"Regex\":\"\\\\s+\"}"},
        {"{\"String\":\" \"}", "\" \""},
        {"{\"String\":\"" SPACE "\"}", "{\"String\":\"_\"}"},
        {"\"start\":1", "\"start\":0"},
        {"\"stop\":0", "\"stop\":1"},
        {"\"Strip\",\"content\":\" \"", "\"Strip\",\"content\":\"a\""},
        {"\"byte_fallback\":true", "\"byte_fallback\":true,\"ignore_merges\":true"},
    };
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx), *json;
    ck_ok(load_changed(ctx, tok, "\"stop\":0", "\"stop\": 0", &json));
    llama2_tokenizer_free(json);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; ++i) {
        llama2_status status = load_changed(ctx, tok, changes[i][0], changes[i][1], &json);
        ck_assert_msg(status == LLAMA2_E_UNSUPPORTED, "%s: %s", changes[i][1], llama2_status_name(status));
    }
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

static int is_in(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

/* A folder holds both files; the tokenizer.json alone gives the same ids, special pieces and texts. */
static void check_folder(llama2_context *ctx, const llama2_tokenizer *tok)
{
    char folder[] = "llama2-json-XXXXXX", path[64], command[64];
    llama2_tokenizer *json;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_ok(llama2_tokenizer_save(tok, folder));
    snprintf(path, sizeof path, "%s/tokenizer.model", folder);
    ck_assert_int_eq(unlink(path), 0);
    ck_ok(llama2_tokenizer_load(ctx, folder, NULL, &json));
    check_same(json, tok);
    for (const char *const *text = (const char *const[]){"", " a", "  the", SPACE "the abc", "a\n    the", NULL}; *text;
         ++text)
        check_ids(json, *text, tok, *text);
    ck_assert_int_eq(llama2_tokenizer_unk(json), llama2_tokenizer_unk(tok));
    ck_assert_int_eq(llama2_tokenizer_bos(json), llama2_tokenizer_bos(tok));
    ck_assert_int_eq(llama2_tokenizer_eos(json), llama2_tokenizer_eos(tok));
    ck_assert_int_eq(llama2_tokenizer_adds_bos(json), llama2_tokenizer_adds_bos(tok));
    llama2_tokenizer_free(json);
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* Llama 2's pieces of equal score are its runs of spaces. */
START_TEST(saved_beside_the_model)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *small = make_tiny(ctx), *model = load_llama2(ctx);
    check_folder(ctx, small);
    if (model) check_folder(ctx, model);
    llama2_tokenizer_free(model);
    llama2_tokenizer_free(small);
    llama2_context_free(ctx);
}
END_TEST

static void equal_scores(tiny *t)
{
    t->scores[TINY_FIRST + 16] = t->scores[TINY_FIRST + 17]; /* "ab" and "bc" */
}

static void user_defined(tiny *t)
{
    t->types[TINY_FIRST + 19] = LLAMA2_PIECE_USER_DEFINED;
}

static void unused(tiny *t)
{
    t->types[TINY_FIRST + 19] = LLAMA2_PIECE_UNUSED;
}

static void no_dummy_prefix(tiny *t)
{
    t->pieces.add_dummy_prefix = 0;
}

static void fewer_spaces(tiny *t)
{
    t->pieces.remove_extra_whitespaces = 1;
}

static void unknown_character(tiny *t)
{
    t->texts[TINY_FIRST + 3] = "d"; /* instead of the "c" of "bc" */
}

static void too_long(tiny *t)
{
    long_piece(t, 513);
    t->texts[TINY_FIRST + 9] = "c"; /* "bc" and "abc" need it */
}

/* What merges can't tell is in a tokenizer.model alone, and what an earlier save left beside it goes. */
START_TEST(not_beside_the_model)
{
    static void (*const changes[])(tiny *) = {equal_scores, user_defined,      unused,  no_dummy_prefix,
                                              fewer_spaces, unknown_character, too_long};
    llama2_context *ctx = make_context();
    llama2_tokenizer *listed = make_tiny(ctx), *tok, *again;
    char folder[] = "llama2-json-XXXXXX", command[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (size_t i = 0; i < sizeof changes / sizeof *changes; ++i) {
        tiny t;
        fill_tiny(&t);
        changes[i](&t);
        ck_ok(llama2_tokenizer_create(ctx, &t.pieces, &tok));
        ck_ok(llama2_tokenizer_save(listed, folder));
        ck_assert(is_in(folder, "tokenizer.json") && is_in(folder, "tokenizer.model"));
        ck_ok(llama2_tokenizer_save(tok, folder));
        ck_assert_msg(!is_in(folder, "tokenizer.json"), "change %zu", i);
        ck_ok(llama2_tokenizer_load(ctx, folder, NULL, &again));
        check_same(again, tok);
        llama2_tokenizer_free(again);
        llama2_tokenizer_free(tok);
    }
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
    llama2_tokenizer_free(listed);
    llama2_context_free(ctx);
}
END_TEST

/* Whichever allocation fails, saving says so and leaves nothing behind. */
START_TEST(no_memory_while_saving)
{
    counting c = {0};
    llama2_context *ctx;
    char folder[] = "llama2-json-XXXXXX", command[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_ok(counting_context(&c, &ctx));
    llama2_tokenizer *tok = make_tiny(ctx);
    llama2_status status = LLAMA2_E_NOMEM;
    long live = c.live, n = 0;
    while (status < 0) {
        c.fail_at = c.calls + ++n;
        status = llama2_tokenizer_save(tok, folder);
        ck_assert(status == LLAMA2_OK || status == LLAMA2_E_NOMEM);
        ck_assert_int_eq(c.live, live);
    }
    ck_assert_int_gt(n, 10);
    ck_assert(is_in(folder, "tokenizer.json"));
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
    c.fail_at = 0;
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/tokenizer_json");
    ADD_CASE(suite, "sentencepiece", llama2_as_json, a_merge_is_missing, long_pieces, metaspace, other_metaspace,
             what_would_change_ids_is_refused);
    ADD_CASE(suite, "folders", saved_beside_the_model, not_beside_the_model, no_memory_while_saving);
    return suite;
}
