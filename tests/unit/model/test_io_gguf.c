/* Models in GGUF files: the same bits as from a Hugging Face folder, and what can't be computed is refused by its name.
 */
#include "format/gguf_file.h"
#include <llama2/llama2.h>
#include <math.h>

/* --- a small file with one thing changed ------------------------------------------------------ */

enum { DIM = 8, HEADS = 2, KV = 1, HEAD_DIM = 4, WIDE = 12, VOCAB = 16, LAYERS = 2 };

typedef struct entry {
    const char *key;
    int32_t type; /* -1: not there */
    double number;
    const char *text;
} entry;

static const entry keys[] = {
    {"general.architecture", L2_GGUF_STRING, 0, "llama"},
    {"general.name", L2_GGUF_STRING, 0, "small"},
    {"llama.block_count", L2_GGUF_U32, LAYERS, NULL},
    {"llama.context_length", L2_GGUF_U32, 32, NULL},
    {"llama.embedding_length", L2_GGUF_U32, DIM, NULL},
    {"llama.feed_forward_length", L2_GGUF_U32, WIDE, NULL},
    {"llama.attention.head_count", L2_GGUF_U32, HEADS, NULL},
    {"llama.attention.head_count_kv", L2_GGUF_U32, KV, NULL},
    {"llama.attention.layer_norm_rms_epsilon", L2_GGUF_F32, 1e-5, NULL},
    {"llama.rope.dimension_count", L2_GGUF_U32, HEAD_DIM, NULL},
    {"llama.rope.freq_base", L2_GGUF_F32, 12345.678, NULL},
    {"llama.vocab_size", L2_GGUF_U32, VOCAB, NULL},
    {"tokenizer.ggml.bos_token_id", L2_GGUF_U32, 1, NULL},
    {"tokenizer.ggml.eos_token_id", L2_GGUF_U32, 2, NULL},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

typedef struct change {
    entry key;          /* in place of the one of this name, or besides */
    const char *tensor; /* this tensor, or one more */
    int32_t type;       /* of it; -1: not there */
    uint64_t dims[2];   /* in the file's order; 0, 0: as they should be */
} change;

static void put_entry(gguf_file *f, const entry *e)
{
    if (e->type < 0) return;
    put_key(f, e->key, (uint32_t)e->type);
    switch (e->type) {
    case L2_GGUF_U32: put_u32(f, (uint32_t)e->number); break;
    case L2_GGUF_I32: put_u32(f, (uint32_t)(int32_t)e->number); break;
    case L2_GGUF_U64: put_u64(f, (uint64_t)e->number); break;
    case L2_GGUF_F32: put_f32(f, (float)e->number); break;
    case L2_GGUF_F64: put(f, &e->number, 8); break;
    case L2_GGUF_BOOL: put_u8(f, e->number != 0); break;
    case L2_GGUF_ARRAY:
        if (e->text) { /* of three texts */
            put_u32(f, L2_GGUF_STRING), put_u64(f, 3);
            put_text(f, e->text), put_text(f, "<|im_end|>"), put_text(f, "<|im_end|");
            break;
        }
        put_u32(f, L2_GGUF_U32), put_u64(f, 2);
        put_u32(f, (uint32_t)e->number), put_u32(f, (uint32_t)e->number);
        break;
    default: put_text(f, e->text);
    }
}

typedef struct tensors {
    gguf_file infos;
    uint64_t n, offset;
    const change *with;
    int seen;
} tensors;

static void add(void *user, const char *name, uint64_t columns, uint64_t rows)
{
    tensors *t = user;
    uint64_t dims[2] = {columns, rows}, bytes;
    uint32_t type = L2_GGML_F32;
    if (t->with->tensor && strcmp(t->with->tensor, name) == 0) {
        t->seen = 1;
        if (t->with->type < 0) return;
        type = (uint32_t)t->with->type;
        if (t->with->dims[0]) memcpy(dims, t->with->dims, sizeof dims);
    }
    put_tensor(&t->infos, name, dims[1] ? 2 : 1, dims, type, t->offset);
    bytes = 4 * dims[0] * (dims[1] ? dims[1] : 1); /* of smaller types, more than enough */
    t->offset += (bytes + 31) / 32 * 32;
    t->n++;
}

static gguf_file small_file(change with)
{
    gguf_file f = {0};
    tensors t = {.with = &with};
    uint64_t n_values = 0;
    int replaced = !with.key.key;
    put_header(&f, 0, 0);
    for (int i = 0; i < N_KEYS; i++) {
        int same = with.key.key && strcmp(keys[i].key, with.key.key) == 0;
        const entry *e = same ? &with.key : &keys[i];
        replaced |= same;
        n_values += e->type >= 0;
        put_entry(&f, e);
    }
    if (!replaced) put_entry(&f, &with.key), n_values++;
    each_llama_tensor(&(gguf_llama){DIM, HEADS * HEAD_DIM, KV * HEAD_DIM, WIDE, VOCAB, LAYERS, 1}, add, &t);
    if (with.tensor && !t.seen) add(&t, with.tensor, with.dims[0], with.dims[1]);
    put(&f, t.infos.bytes, t.infos.size);
    free(t.infos.bytes);
    l2_put_u64(f.bytes + 8, t.n);
    l2_put_u64(f.bytes + 16, n_values);
    put_padding(&f, 32);
    for (uint64_t i = 0; i < t.offset / 4; i++) put_f32(&f, (float)((i * 37 + i * i) % 101) / 101 - 0.5f);
    return f;
}

static llama2_status load(change with, llama2_model **out)
{
    gguf_file f = small_file(with);
    spill(at("m.gguf"), f.bytes, f.size);
    free(f.bytes);
    return llama2_model_load(ctx, at("m.gguf"), NULL, out);
}

START_TEST(test_config)
{
    llama2_model *m;
    llama2_config c = {.struct_size = sizeof c};
    ck_ok(load((change){0}, &m));
    ck_ok(llama2_model_config(m, &c));
    ck_assert(c.vocab_size == VOCAB && c.dim == DIM && c.n_layers == LAYERS && c.n_heads == HEADS);
    ck_assert(c.n_kv_heads == KV && c.head_dim == HEAD_DIM && c.ffn_dim == WIDE && c.max_seq_len == 32);
    ck_assert(c.tied == 1 && c.bos_id == 1 && c.eos_id == 2 && c.pad_id == -1);
    ck_assert(c.norm_eps == 1e-5 && fabs(c.rope_theta - 12345.678) < 5e-4);
    llama2_model_free(m);
    /* With a head of its own; without what has a default; another integer type; neutral values of odd keys. */
    ck_ok(load((change){.tensor = "output.weight", .dims = {DIM, VOCAB}}, &m));
    ck_ok(llama2_model_config(m, &c));
    ck_assert_int_eq(c.tied, 0);
    llama2_model_free(m);
    ck_ok(load((change){.key = {"llama.rope.freq_base", -1, 0, NULL}}, &m));
    ck_ok(llama2_model_config(m, &c));
    ck_assert(c.rope_theta == 10000);
    llama2_model_free(m);
    /* Without a type a factor means linear scaling. */
    ck_ok(load((change){.key = {"llama.rope.scaling.factor", L2_GGUF_F32, 2.1, NULL}}, &m));
    ck_ok(llama2_model_config(m, &c));
    ck_assert(c.rope_scaling == LLAMA2_ROPE_SCALING_LINEAR && c.rope_factor == 2.1);
    llama2_model_free(m);
    const entry fine[] = {
        {"llama.block_count", L2_GGUF_U64, LAYERS, NULL},
        {"llama.rope.dimension_count", -1, 0, NULL},
        {"llama.attention.key_length", L2_GGUF_U32, HEAD_DIM, NULL},
        {"llama.rope.scaling.type", L2_GGUF_STRING, 0, "none"},
        {"llama.rope.scaling.factor", L2_GGUF_F32, 1, NULL},
        {"llama.expert_count", L2_GGUF_U32, 0, NULL},
        {"llama.attention.sliding_window", L2_GGUF_U32, 0, NULL},
        {"llama.attention.sliding_window", L2_GGUF_U32, 32, NULL},
        {"llama.attention.causal", L2_GGUF_BOOL, 1, NULL},
        {"other.expert_count", L2_GGUF_U32, 8, NULL},
        {"split.count", L2_GGUF_U32, 1, NULL},
        {"tokenizer.ggml.padding_token_id", L2_GGUF_U32, 3, NULL},
    };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        ck_ok(load((change){.key = fine[i]}, &m));
        llama2_model_free(m);
    }
}
END_TEST

static void check_eos(const llama2_model *m, int32_t n, const int32_t *expected)
{
    int32_t ids[8], found = 0;
    ck_ok(llama2_model_eos_ids(m, ids, 8, &found));
    ck_assert_int_eq(found, n);
    if (n) ck_assert_mem_eq(ids, expected, (size_t)n * sizeof *ids);
}

/* Named by keys, or known by their texts. */
START_TEST(test_ends)
{
    llama2_model *m;
    ck_ok(load((change){.key = {"tokenizer.ggml.eot_token_id", L2_GGUF_U32, 5, NULL}}, &m));
    check_eos(m, 2, (const int32_t[]){2, 5});
    llama2_model_free(m);
    ck_ok(load((change){.key = {"tokenizer.ggml.eom_token_id", L2_GGUF_U32, 2, NULL}}, &m));
    check_eos(m, 1, (const int32_t[]){2});
    llama2_model_free(m);
    ck_ok(load((change){.key = {"tokenizer.ggml.eos_token_id", -1, 0, NULL}}, &m));
    check_eos(m, 0, NULL);
    llama2_model_free(m);
    ck_ok(load((change){.key = {"tokenizer.ggml.tokens", L2_GGUF_ARRAY, 0, "<|eot_id|>"}}, &m));
    check_eos(m, 3, (const int32_t[]){2, 0, 1});
    llama2_model_free(m);
}
END_TEST

static const struct {
    change with;
    llama2_status code;
    const char *message;
} refused[] = {
#define KEY(...)                                                                                                       \
    {                                                                                                                  \
        .key = { __VA_ARGS__ }                                                                                         \
    }
    {KEY("general.architecture", -1, 0, NULL), LLAMA2_E_FORMAT, "general.architecture"},
    {KEY("general.architecture", L2_GGUF_STRING, 0, "gemma"), LLAMA2_E_UNSUPPORTED, "\"gemma\""},
    {KEY("general.architecture", L2_GGUF_U32, 1, NULL), LLAMA2_E_FORMAT, "general.architecture"},
    {KEY("split.count", L2_GGUF_U32, 3, NULL), LLAMA2_E_UNSUPPORTED, "one of 3 files"},
    {KEY("llama.block_count", L2_GGUF_U32, 0, NULL), LLAMA2_E_FORMAT, "block_count is 0"},
    {KEY("llama.block_count", L2_GGUF_I32, -2, NULL), LLAMA2_E_FORMAT, "block_count is -2"},
    {KEY("llama.block_count", L2_GGUF_U32, 4294967295.0, NULL), LLAMA2_E_LIMIT, "block_count is 4294967295"},
    {KEY("llama.block_count", L2_GGUF_U32, 65536, NULL), LLAMA2_E_NOT_FOUND, "\"blk.2.attn_norm.weight\" is missing"},
    {KEY("llama.block_count", L2_GGUF_U32, 1, NULL), LLAMA2_E_UNSUPPORTED, "\"blk.1."},
    {KEY("llama.block_count", L2_GGUF_F32, 2, NULL), LLAMA2_E_FORMAT, "block_count is f32"},
    {KEY("llama.block_count", -1, 0, NULL), LLAMA2_E_FORMAT, "llama.block_count"},
    {KEY("llama.context_length", -1, 0, NULL), LLAMA2_E_FORMAT, "llama.context_length"},
    {KEY("llama.context_length", L2_GGUF_U32, 2147483647, NULL), LLAMA2_E_LIMIT, "max_seq_len"},
    {KEY("llama.embedding_length", -1, 0, NULL), LLAMA2_E_FORMAT, "llama.embedding_length"},
    {KEY("llama.embedding_length", L2_GGUF_U32, 9, NULL), LLAMA2_E_FORMAT, "not a multiple of attention.head_count"},
    {KEY("llama.embedding_length", L2_GGUF_U32, 16, NULL), LLAMA2_E_UNSUPPORTED, "dimension_count"},
    {KEY("llama.feed_forward_length", L2_GGUF_ARRAY, WIDE, NULL), LLAMA2_E_UNSUPPORTED, "feed_forward_length"},
    {KEY("llama.feed_forward_length", L2_GGUF_U32, 13, NULL), LLAMA2_E_MISMATCH, "\"blk.0.ffn_gate.weight\""},
    {KEY("llama.attention.head_count", L2_GGUF_U32, 0, NULL), LLAMA2_E_FORMAT, "head_count is 0"},
    {KEY("llama.attention.head_count_kv", L2_GGUF_U32, 0, NULL), LLAMA2_E_FORMAT, "head_count_kv is 0"},
    {KEY("llama.attention.head_count_kv", L2_GGUF_U32, 3, NULL), LLAMA2_E_FORMAT, "not a multiple of head_count_kv"},
    {KEY("llama.attention.head_count_kv", -1, 0, NULL), LLAMA2_E_MISMATCH, "\"blk.0.attn_k.weight\""},
    {KEY("llama.attention.key_length", L2_GGUF_U32, 2, NULL), LLAMA2_E_UNSUPPORTED, "rope.dimension_count"},
    {KEY("llama.attention.value_length", L2_GGUF_U32, 2, NULL), LLAMA2_E_UNSUPPORTED, "value_length"},
    {KEY("llama.rope.dimension_count", L2_GGUF_U32, 2, NULL), LLAMA2_E_UNSUPPORTED, "rope.dimension_count"},
    {KEY("llama.attention.layer_norm_rms_epsilon", L2_GGUF_F32, 0, NULL), LLAMA2_E_FORMAT, "epsilon is 0"},
    {KEY("llama.attention.layer_norm_rms_epsilon", L2_GGUF_F32, (double)NAN, NULL), LLAMA2_E_FORMAT, "epsilon is nan"},
    {KEY("llama.attention.layer_norm_rms_epsilon", -1, 0, NULL), LLAMA2_E_FORMAT, "layer_norm_rms_epsilon"},
    {KEY("llama.rope.freq_base", L2_GGUF_F32, -1, NULL), LLAMA2_E_FORMAT, "freq_base is -1"},
    {KEY("llama.rope.freq_base", L2_GGUF_F64, (double)INFINITY, NULL), LLAMA2_E_FORMAT, "freq_base is inf"},
    {KEY("llama.rope.freq_base", L2_GGUF_U32, 10000, NULL), LLAMA2_E_FORMAT, "freq_base is u32"},
    {KEY("llama.rope.scaling.type", L2_GGUF_STRING, 0, "yarn"), LLAMA2_E_UNSUPPORTED, "scaling.type is \"yarn\""},
    {KEY("llama.rope.scaling.type", L2_GGUF_STRING, 0, "longrope"), LLAMA2_E_UNSUPPORTED, "\"longrope\""},
    {KEY("llama.rope.scaling.factor", L2_GGUF_F32, -2, NULL), LLAMA2_E_FORMAT, "scaling.factor is -2"},
    {KEY("llama.rope.scaling.factor", L2_GGUF_F32, (double)NAN, NULL), LLAMA2_E_FORMAT, "scaling.factor is nan"},
    {KEY("llama.rope.scale_linear", L2_GGUF_F32, 4, NULL), LLAMA2_E_UNSUPPORTED, "scale_linear is 4"},
    {KEY("llama.expert_count", L2_GGUF_U32, 8, NULL), LLAMA2_E_UNSUPPORTED, "expert_count is 8"},
    {KEY("llama.attention.sliding_window", L2_GGUF_U32, 31, NULL), LLAMA2_E_UNSUPPORTED, "sliding_window is 31"},
    {KEY("llama.attention.causal", L2_GGUF_BOOL, 0, NULL), LLAMA2_E_UNSUPPORTED, "causal is 0"},
    {KEY("llama.attention.new_idea", L2_GGUF_BOOL, 0, NULL), LLAMA2_E_UNSUPPORTED, "llama.attention.new_idea"},
    {KEY("llama.vocab_size", -1, 0, NULL), LLAMA2_E_FORMAT, "llama.vocab_size"},
    {KEY("llama.vocab_size", L2_GGUF_U32, 15, NULL), LLAMA2_E_MISMATCH, "\"token_embd.weight\""},
    {KEY("tokenizer.ggml.bos_token_id", L2_GGUF_U32, VOCAB, NULL), LLAMA2_E_FORMAT, "bos_token_id is 16"},
    {KEY("tokenizer.ggml.eos_token_id", L2_GGUF_I32, -1, NULL), LLAMA2_E_FORMAT, "eos_token_id is -1"},
    {KEY("tokenizer.ggml.eot_token_id", L2_GGUF_U32, VOCAB, NULL), LLAMA2_E_FORMAT, "eot_token_id is 16"},
    {KEY("tokenizer.ggml.padding_token_id", L2_GGUF_U32, 4294967295.0, NULL), LLAMA2_E_FORMAT, "padding_token_id"},
    {{.tensor = "blk.1.ffn_up.weight", .type = -1}, LLAMA2_E_NOT_FOUND, "\"blk.1.ffn_up.weight\" is missing"},
    {{.tensor = "output_norm.weight", .type = -1}, LLAMA2_E_NOT_FOUND, "\"output_norm.weight\" is missing"},
    {{.tensor = "blk.0.ffn_up.weight", .dims = {WIDE, DIM}}, LLAMA2_E_MISMATCH, "\"blk.0.ffn_up.weight\" has 2"},
    {{.tensor = "output_norm.weight", .dims = {DIM, 1}}, LLAMA2_E_MISMATCH, "\"output_norm.weight\" has 2"},
    {{.tensor = "output.weight", .dims = {DIM, VOCAB + 1}}, LLAMA2_E_MISMATCH, "\"output.weight\""},
    {{.tensor = "blk.0.attn_norm.weight", .type = 24}, LLAMA2_E_UNSUPPORTED, "\"blk.0.attn_norm.weight\" is I8"},
    {{.tensor = "blk.0.attn_q.bias", .dims = {DIM, 0}}, LLAMA2_E_UNSUPPORTED, "\"blk.0.attn_q.bias\""},
    {{.tensor = "rope_freqs.weight", .dims = {2, 0}}, LLAMA2_E_UNSUPPORTED, "\"rope_freqs.weight\" is not Llama 3.1"},
    {{.tensor = "rope_freqs.weight", .dims = {3, 0}}, LLAMA2_E_MISMATCH, "\"rope_freqs.weight\": expected"},
    {{.tensor = "rope_freqs.weight", .dims = {2, 1}}, LLAMA2_E_MISMATCH, "\"rope_freqs.weight\": expected"},
    {{.key = {"llama.rope.scaling.factor", L2_GGUF_F32, 2, NULL}, .tensor = "rope_freqs.weight", .dims = {2, 0}},
     LLAMA2_E_UNSUPPORTED,
     "rope.scaling.factor together"},
    {{.tensor = "blk.0.ffn_gate_inp.weight", .dims = {DIM, 8}}, LLAMA2_E_UNSUPPORTED, "\"blk.0.ffn_gate_inp.weight\""},
};

START_TEST(test_refused)
{
    llama2_model *none = (llama2_model *)&none;
    long live = memory.live;
    size_t before = memory.bytes;
    memory.peak = before;
    llama2_status status = load(refused[_i].with, &none);
    ck_assert_msg(status == refused[_i].code && strstr(llama2_last_error(), refused[_i].message) &&
                      strstr(llama2_last_error(), "m.gguf: "),
                  "%d: %s: %s; expected %s: %s", _i, llama2_status_name(status), llama2_last_error(),
                  llama2_status_name(refused[_i].code), refused[_i].message);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(memory.live, live);
    ck_assert_uint_le(memory.peak - before, 1 << 20); /* nothing was made for a model that is refused */
}
END_TEST

START_TEST(test_files_that_are_none)
{
    llama2_model *none;
    llama2_reward_model *no_reward;
    spill_text(at("text"), "no model");
    ck_fails(llama2_model_load(ctx, at("text"), NULL, &none), LLAMA2_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "GGUF"));
    ck_fails(llama2_model_load(ctx, at("none.gguf"), NULL, &none), LLAMA2_E_NOT_FOUND);
    ck_fails(llama2_reward_model_load(ctx, at("text"), NULL, &no_reward), LLAMA2_E_MISMATCH);
}
END_TEST

START_TEST(test_each_failure_while_loading)
{
    gguf_file f = small_file((change){0});
    spill(at("m.gguf"), f.bytes, f.size);
    free(f.bytes);
    fail_each_load(at("m.gguf"));
}
END_TEST

/* --- goldens --------------------------------------------------------------------------------- */

/* The model that Python wrote as GGUF gives the logits of the folder it was made from, bit for bit. */
static void check_golden(const char *name, int32_t dtype)
{
    enum { N = 24, V = 61 };
    char path[4096];
    llama2_model *folder_model, *file_model;
    llama2_model_options o;
    int32_t tokens[N];
    const int64_t offsets[] = {0, 7, N};
    float *logits[2];
    llama2_config a = {.struct_size = sizeof a}, b = a;
    llama2_model_options_init(&o, sizeof o);
    o.dtype = dtype;
    snprintf(path, sizeof path, "%s/reference/goldens/%s", LLAMA2_TEST_SOURCE, name);
    ck_ok(llama2_model_load(ctx, path, &o, &folder_model));
    snprintf(path, sizeof path, "%s/reference/gguf/%s.gguf", LLAMA2_TEST_SOURCE, name);
    ck_ok(llama2_model_load(ctx, path, &o, &file_model));
    ck_ok(llama2_model_config(folder_model, &a));
    ck_ok(llama2_model_config(file_model, &b));
    ck_assert_mem_eq(&a, &b, sizeof a);
    for (int i = 0; i < N; i++) tokens[i] = (i * i * 7 + 5 * i + 1) % V;
    llama2_batch batch = {.struct_size = sizeof batch, .n_sequences = 2, .n_tokens = N};
    batch.tokens = tokens;
    batch.offsets = offsets;
    for (int i = 0; i < 2; i++) {
        logits[i] = malloc(N * V * sizeof **logits);
        ck_ok(llama2_model_logits(i ? file_model : folder_model, &batch, logits[i]));
    }
    ck_assert_mem_eq(logits[0], logits[1], N * V * sizeof **logits);
    /* And written as a folder again. */
    ck_ok(llama2_model_save(file_model, at("again"), LLAMA2_F32));
    llama2_model_free(file_model);
    ck_ok(llama2_model_load(ctx, at("again"), &o, &file_model));
    ck_ok(llama2_model_config(file_model, &b));
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_ok(llama2_model_logits(file_model, &batch, logits[1]));
    ck_assert_mem_eq(logits[0], logits[1], N * V * sizeof **logits);
    free(logits[0]);
    free(logits[1]);
    llama2_model_free(folder_model);
    llama2_model_free(file_model);
}

START_TEST(test_logits_of_a_folder)
{
    check_golden("rope_linear", LLAMA2_F32);
    check_golden("rope_llama3", LLAMA2_F32);
    check_golden("gqa_untied", LLAMA2_F32);
    check_golden("gqa_untied", LLAMA2_F64);
    check_golden("mqa_tied", LLAMA2_F32);
    check_golden("mqa_tied", LLAMA2_F64);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("model/io_gguf");
    TCase *bad = tcase_create("refused"), *rest = tcase_create("files");
    tcase_add_checked_fixture(bad, setup, teardown);
    tcase_add_checked_fixture(rest, setup, teardown);
    tcase_set_timeout(rest, 120);
    tcase_add_loop_test(bad, test_refused, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_test(rest, test_config);
    tcase_add_test(rest, test_ends);
    tcase_add_test(rest, test_files_that_are_none);
    tcase_add_test(rest, test_each_failure_while_loading);
    tcase_add_test(rest, test_logits_of_a_folder);
    suite_add_tcase(suite, bad);
    suite_add_tcase(suite, rest);
    return suite;
}
