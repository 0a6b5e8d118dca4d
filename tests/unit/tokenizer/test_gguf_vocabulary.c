/* Vocabularies of GGUF metadata: small ones that are read, and what is refused with which code. */
#include "format/gguf_file.h"
#include <llama2/chat.h>
#include <llama2/context.h>
#include <llama2/tokenizer.h>
#include <math.h>

#define KEY   "tokenizer.ggml."
#define SPACE "\xE2\x96\x81"

/* What a file holds; zero or NULL: no such key. */
typedef struct vocabulary {
    const char *model, *pre, *tokens[8], *merges[8], *template;
    int32_t types[8];
    float scores[8];
    int n_types, n_scores;
    int bos, eos, adds_bos; /* 0: none, else the value + 1 */
} vocabulary;

static const vocabulary gpt2 = {.model = "gpt2",
                                .pre = "gpt-2",
                                .tokens = {"a", "b", "ab", "<s>"},
                                .merges = {"a b"},
                                .types = {1, 1, 1, 3},
                                .n_types = 4,
                                .bos = 4};
static const vocabulary llama = {.model = "llama",
                                 .tokens = {"<unk>", "<s>", "</s>", SPACE "a", SPACE, "a"},
                                 .types = {2, 3, 3, 1, 1, 1},
                                 .scores = {0, 0, 0, -1, -2, -3},
                                 .n_types = 6,
                                 .n_scores = 6,
                                 .bos = 2,
                                 .eos = 3};

static uint64_t length_of(const char *const *texts)
{
    uint64_t n = 0;
    while (n < 8 && texts[n]) ++n;
    return n;
}

static void put_texts(gguf_file *f, const char *key, const char *const *texts)
{
    put_array(f, key, L2_GGUF_STRING, length_of(texts));
    for (uint64_t i = 0; i < length_of(texts); ++i) put_text(f, texts[i]);
}

static gguf_file build(const vocabulary *v)
{
    gguf_file f = {NULL, 0, 0}, keys = {NULL, 0, 0};
    uint64_t n = 0;
    if (v->model && ++n) put_key_string(&keys, KEY "model", v->model);
    if (v->pre && ++n) put_key_string(&keys, KEY "pre", v->pre);
    if (v->tokens[0] && ++n) put_texts(&keys, KEY "tokens", v->tokens);
    if (v->merges[0] && ++n) put_texts(&keys, KEY "merges", v->merges);
    if (v->template && ++n) put_key_string(&keys, "tokenizer.chat_template", v->template);
    if (v->n_types && ++n) {
        put_array(&keys, KEY "token_type", L2_GGUF_I32, (uint64_t)v->n_types);
        for (int i = 0; i < v->n_types; ++i) put_u32(&keys, (uint32_t)v->types[i]);
    }
    if (v->n_scores && ++n) {
        put_array(&keys, KEY "scores", L2_GGUF_F32, (uint64_t)v->n_scores);
        for (int i = 0; i < v->n_scores; ++i) put_f32(&keys, v->scores[i]);
    }
    if (v->bos && ++n) put_key_u32(&keys, KEY "bos_token_id", (uint32_t)v->bos - 1);
    if (v->eos && ++n) put_key_u32(&keys, KEY "eos_token_id", (uint32_t)v->eos - 1);
    if (v->adds_bos && ++n) {
        put_key(&keys, KEY "add_bos_token", L2_GGUF_BOOL);
        put_u8(&keys, (unsigned)v->adds_bos - 1);
    }
    put_header(&f, 0, n);
    put(&f, keys.bytes, keys.size);
    free(keys.bytes);
    return f;
}

static llama2_status load(llama2_context *context, const vocabulary *v, llama2_tokenizer **tok)
{
    gguf_file f = build(v);
    llama2_status status = llama2_tokenizer_load_memory(context, f.bytes, f.size, NULL, tok);
    free(f.bytes);
    return status;
}

static llama2_context *make_context(void)
{
    llama2_context *context;
    ck_ok(llama2_context_create(NULL, &context));
    return context;
}

/* Llama 3's template in its key; bytes without a piece, most of the roles', are dropped. */
START_TEST(llama3_template)
{
    static const int32_t roles[] = {LLAMA2_ROLE_USER}, expected[] = {1, 2, 3, 5, 5, 0, 4, 2, 0, 0, 3, 5, 5};
    const char *const texts[] = {" a\n"};
    llama2_context *context = make_context();
    llama2_tokenizer *tok;
    llama2_chat chat;
    int32_t ids[16];
    int64_t n;
    vocabulary v = {
        .model = "gpt2",
        .pre = "llama-bpe",
        .tokens = {"a", "<s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "\xC4\x8A", "ab", "b"},
        .merges = {"a b"},
        .types = {1, 3, 3, 3, 3, 1, 1, 1},
        .n_types = 8,
        .bos = 2,
        .template = "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
                    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + "
                    "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
                    "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ "
                    "'<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"};
    ck_ok(load(context, &v, &tok));
    llama2_chat_init(&chat, sizeof chat);
    chat.n_messages = 1;
    chat.roles = roles;
    chat.texts = texts;
    ck_ok(llama2_chat_encode(tok, &chat, 0, ids, NULL, 16, &n));
    ck_assert_int_eq(n, 13);
    ck_assert_mem_eq(ids, expected, sizeof expected);
    const char *const hidden[] = {"<|eot\xFF_id|>"}; /* which is a marker to a model that does not get the byte */
    chat.texts = hidden;
    ck_fails(llama2_chat_encode(tok, &chat, 0, ids, NULL, 16, &n), LLAMA2_E_INJECTION);
    chat.texts = texts;
    llama2_tokenizer_free(tok);
    v.tokens[4] = "<|eot|>"; /* a piece of the format is missing */
    ck_ok(load(context, &v, &tok));
    ck_fails(llama2_chat_encode(tok, &chat, 0, ids, NULL, 16, &n), LLAMA2_E_STATE);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "<|eot_id|>"));
    llama2_tokenizer_free(tok);
    llama2_context_free(context);
}
END_TEST

/* Merges alone say what becomes of text, in short stretches and in long ones. */
START_TEST(unused_pieces_are_pieces)
{
    enum { TIMES = 40 };
    char text[2 * TIMES];
    int32_t ids[2 * TIMES];
    int64_t n;
    llama2_context *context = make_context();
    llama2_tokenizer *tok;
    for (int i = 0; i < TIMES; ++i) memcpy(text + 2 * i, "ab", 2);
    for (int unused = 0; unused < 3; ++unused) {
        vocabulary v = gpt2;
        v.types[unused] = LLAMA2_PIECE_UNUSED;
        ck_ok(load(context, &v, &tok));
        for (int times = 4; times <= TIMES; times += TIMES - 4) {
            ck_ok(llama2_tokenizer_encode(tok, text, 2 * (size_t)times, 0, ids, 2 * TIMES, &n));
            ck_assert_int_eq(n, times);
            for (int i = 0; i < times; ++i) ck_assert_int_eq(ids[i], 2);
        }
        llama2_tokenizer_free(tok);
    }
    llama2_context_free(context);
}
END_TEST

START_TEST(small_ones)
{
    llama2_context *context = make_context();
    llama2_tokenizer *tok;
    int32_t ids[8];
    int64_t n;
    ck_ok(load(context, &gpt2, &tok));
    ck_ok(llama2_tokenizer_encode(tok, "abba", 4, 0, ids, 8, &n));
    ck_assert_int_eq(n, 3);
    ck_assert(ids[0] == 2 && ids[1] == 1 && ids[2] == 0);
    ck_assert_int_eq(llama2_tokenizer_bos(tok), 3);
    ck_assert_int_eq(llama2_tokenizer_eos(tok), -1);
    ck_assert_int_eq(llama2_tokenizer_adds_bos(tok), 0);
    llama2_tokenizer_free(tok);

    vocabulary llama3 = gpt2;
    llama3.pre = "llama-bpe";
    ck_ok(load(context, &llama3, &tok));
    ck_assert_int_eq(llama2_tokenizer_adds_bos(tok), 1);
    llama2_tokenizer_free(tok);
    llama3.adds_bos = 1;
    ck_ok(load(context, &llama3, &tok));
    ck_assert_int_eq(llama2_tokenizer_adds_bos(tok), 0);
    llama2_tokenizer_free(tok);

    ck_ok(load(context, &llama, &tok));
    ck_ok(llama2_tokenizer_encode(tok, "a a", 3, LLAMA2_ENCODE_BOS | LLAMA2_ENCODE_EOS, ids, 8, &n));
    ck_assert_int_eq(n, 4);
    ck_assert(ids[0] == 1 && ids[1] == 3 && ids[2] == 3 && ids[3] == 2);
    llama2_tokenizer_free(tok);
    llama2_context_free(context);
}
END_TEST

#define REFUSED(base, change, code)                                                                                    \
    do {                                                                                                               \
        vocabulary v = base;                                                                                           \
        llama2_tokenizer *tok;                                                                                         \
        v.change;                                                                                                      \
        ck_fails(load(context, &v, &tok), code);                                                                       \
        ck_assert_ptr_null(tok);                                                                                       \
    } while (0)

START_TEST(refused)
{
    llama2_context *context = make_context();
    REFUSED(gpt2, model = NULL, LLAMA2_E_NOT_FOUND);
    REFUSED(gpt2, model = "none", LLAMA2_E_NOT_FOUND);
    REFUSED(gpt2, model = "bert", LLAMA2_E_UNSUPPORTED);
    REFUSED(gpt2, pre = NULL, LLAMA2_E_UNSUPPORTED);
    REFUSED(gpt2, pre = "qwen2", LLAMA2_E_UNSUPPORTED);
    REFUSED(gpt2, tokens[0] = NULL, LLAMA2_E_FORMAT);
    REFUSED(gpt2, tokens[1] = "a", LLAMA2_E_FORMAT);
    REFUSED(gpt2, tokens[1] = "", LLAMA2_E_FORMAT);
    REFUSED(gpt2, tokens[1] = "\xFF", LLAMA2_E_FORMAT);
    REFUSED(gpt2, tokens[2] = "ba", LLAMA2_E_FORMAT);
    REFUSED(gpt2, tokens[4] = "c", LLAMA2_E_FORMAT); /* more tokens than types */
    REFUSED(gpt2, merges[0] = NULL, LLAMA2_E_FORMAT);
    REFUSED(gpt2, merges[0] = "ab", LLAMA2_E_FORMAT);
    REFUSED(gpt2, merges[0] = "a  b", LLAMA2_E_FORMAT);
    REFUSED(gpt2, merges[0] = "a c", LLAMA2_E_FORMAT);
    REFUSED(gpt2, merges[0] = "b a", LLAMA2_E_FORMAT);
    REFUSED(gpt2, merges[1] = "a b", LLAMA2_E_FORMAT);
    REFUSED(gpt2, types[2] = 3, LLAMA2_E_UNSUPPORTED); /* a merge makes a control piece */
    REFUSED(gpt2, types[1] = 7, LLAMA2_E_FORMAT);
    REFUSED(gpt2, types[1] = 6, LLAMA2_E_FORMAT);
    REFUSED(gpt2, n_types = 3, LLAMA2_E_FORMAT);
    REFUSED(gpt2, bos = 5, LLAMA2_E_FORMAT);
    REFUSED(gpt2, bos = -1, LLAMA2_E_FORMAT); /* 2^32 - 2 */
    REFUSED(llama, n_scores = 5, LLAMA2_E_FORMAT);
    REFUSED(llama, scores[3] = NAN, LLAMA2_E_FORMAT);
    REFUSED(llama, types[0] = 1, LLAMA2_E_FORMAT);
    REFUSED(llama, types[1] = 2, LLAMA2_E_FORMAT);
    REFUSED(llama, types[3] = 6, LLAMA2_E_FORMAT);
    REFUSED(llama, eos = 7, LLAMA2_E_FORMAT);
    REFUSED(llama, template = "{{ '\xC3\xA9\xFF' }}", LLAMA2_E_FORMAT); /* no tokenizer_config.json could hold it */
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "the chat template is not UTF-8 at its byte 6"));
    llama2_context_free(context);
}
END_TEST

/* A SentencePiece model whose template is not Llama 2's is not chatted with in Llama 2's format. */
START_TEST(templates)
{
    llama2_context *context = make_context();
    const int32_t roles[] = {LLAMA2_ROLE_USER};
    const char *const texts[] = {"a"};
    static const struct {
        const char *template;
        llama2_status status;
    } cases[] = {{NULL, LLAMA2_OK},
                 {"{{ bos_token + '[INST] <<SYS>>' }}", LLAMA2_OK},
                 {"{{ '<|user|>' }}", LLAMA2_E_UNSUPPORTED}};
    for (int i = 0; i < 3; ++i) {
        vocabulary v = llama;
        llama2_tokenizer *tok;
        llama2_chat chat;
        int64_t n;
        v.template = cases[i].template;
        ck_ok(load(context, &v, &tok));
        llama2_chat_init(&chat, sizeof chat);
        chat.n_messages = 1;
        chat.roles = roles;
        chat.texts = texts;
        ck_assert_int_eq(llama2_chat_encode(tok, &chat, 0, NULL, NULL, 0, &n), cases[i].status);
        llama2_tokenizer_free(tok);
    }
    llama2_context_free(context);
}
END_TEST

START_TEST(no_memory)
{
    const vocabulary *const both[] = {&gpt2, &llama};
    for (int k = 0; k < 4; ++k) {
        llama2_status status = LLAMA2_E_NOMEM;
        for (long fail_at = 0; status != LLAMA2_OK; ++fail_at) {
            llama2_context_options options;
            llama2_context *context;
            llama2_tokenizer *tok;
            llama2_context_options_init(&options, sizeof options);
            options.alloc = count_alloc;
            options.dealloc = count_dealloc;
            memory.fail_at = -1;
            ck_ok(llama2_context_create(&options, &context));
            memory.for_ever = k / 2;
            memory.fail_at = memory.calls + fail_at;
            status = load(context, both[k % 2], &tok);
            ck_assert(status == LLAMA2_OK || status == LLAMA2_E_NOMEM);
            ck_assert_int_lt(fail_at, 100);
            llama2_tokenizer_free(tok);
            llama2_context_free(context);
            ck_assert_int_eq(memory.live, 0);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/gguf_vocabulary");
    ADD_CASE(suite, "read", small_ones, unused_pieces_are_pieces, templates, llama3_template);
    ADD_CASE(suite, "refused", refused, no_memory);
    return suite;
}
