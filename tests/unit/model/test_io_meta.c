/* Models as Meta releases them: the logits of the source, shards joined; what does not fit is refused. */
#include "reference/golden.h"
#include "format/torch_file.h"
#include "model/model.h"
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *meta_path(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/reference/meta/%s", LLAMA2_TEST_SOURCE, name);
    return path;
}

static llama2_model *load(const char *name, int32_t dtype)
{
    llama2_model *m;
    llama2_model_options o;
    llama2_model_options_init(&o, sizeof o);
    o.dtype = dtype;
    ck_ok(llama2_model_load(ctx, meta_path(name), &o, &m));
    return m;
}

/* --- goldens --------------------------------------------------------------------------------- */

/* The bits of the model in Hugging Face's format. */
static void check_source(const char *name, const char *shards)
{
    char path[64];
    for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
        llama2_model *source, *joined;
        llama2_config a = {.struct_size = sizeof a}, b = a;
        snprintf(path, sizeof path, "%s/source", name);
        source = load(path, dtype);
        snprintf(path, sizeof path, "%s/%s", name, shards);
        joined = load(path, dtype);
        ck_ok(llama2_model_config(source, &a));
        ck_ok(llama2_model_config(joined, &b));
        ck_assert_mem_eq(&a, &b, sizeof a);
        ck_assert_int_eq(source->n_elements, joined->n_elements);
        ck_assert_mem_eq(source->weights, joined->weights, (size_t)source->n_elements * l2_dtype_size(dtype));
        llama2_model_free(source);
        llama2_model_free(joined);
    }
}

/* The logits that the formulas of Meta's own code give. */
static void check_logits(const char *name, const char *shards)
{
    enum { MAX = 24 * 64 };
    static const struct {
        int32_t dtype;
        double limit;
    } kinds[] = {{LLAMA2_F32, 1e-5}, {LLAMA2_F64, 1e-6}};
    static float logits[MAX];
    char path[64];
    for (size_t i = 0; i < 2; i++) {
        golden g = {.ctx = ctx, .name = name};
        snprintf(path, sizeof path, "%s/expected.safetensors", name);
        ck_ok(l2_safetensors_open(ctx, meta_path(path), 1, &g.file));
        int64_t offsets[] = {0, golden_count(&g, "tokens")};
        llama2_batch batch = {.struct_size = sizeof batch, .n_sequences = 1, .n_tokens = offsets[1]};
        batch.tokens = golden_integers(&g, "tokens", L2_ST_I32);
        batch.offsets = offsets;
        ck_assert_int_le(golden_count(&g, "logits"), MAX);
        snprintf(path, sizeof path, "%s/%s", name, shards);
        llama2_model *m = load(path, kinds[i].dtype);
        ck_ok(llama2_model_logits(m, &batch, logits));
        golden_check_floats(&g, "logits", logits, kinds[i].limit);
        llama2_model_free(m);
        golden_close(&g);
    }
}

static const struct {
    const char *name, *shards;
} goldens[] = {{"bf16", "shards1"}, {"bf16", "shards2"}, {"bf16", "shards8"}, {"fp16", "shards2"}, {"fp32", "shards4"}};

START_TEST(test_goldens)
{
    check_source(goldens[_i].name, goldens[_i].shards);
    check_logits(goldens[_i].name, goldens[_i].shards);
}
END_TEST

/* --- rotary frequencies of Llama 3.1 ---------------------------------------------------------- */

#define BF16                                                                                                           \
    "\"dim\": 64, \"multiple_of\": 8, \"ffn_dim_multiplier\": 0.4, \"n_heads\": 16, \"n_kv_heads\": 8, \"n_layers\": " \
    "1"
#define BF16_SOURCE                                                                                                    \
    "\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": 64, "                      \
    "\"num_hidden_layers\": 1, "                                                                                       \
    "\"num_attention_heads\": 16, \"num_key_value_heads\": 8, \"intermediate_size\": 72, \"vocab_size\": 56, "         \
    "\"rms_norm_eps\": 1e-05, \"bos_token_id\": 1, \"eos_token_id\": 2"

static const struct {
    const char *params, *config;
} scaled[] = {
    {"{" BF16 ", \"rope_theta\": 500000.0, \"use_scaled_rope\": true}",
     "{" BF16_SOURCE
     ", \"rope_theta\": 500000.0, \"max_position_embeddings\": 131072, \"rope_scaling\": {\"rope_type\": "
     "\"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
     "\"original_max_position_embeddings\": 8192}}"},
    {"{" BF16
     ", \"rope_theta\": 500000.0, \"max_seq_len\": 4096, \"use_scaled_rope\": true, \"rope_scaling_factor\": 32, "
     "\"rope_high_freq_factor\": 2}",
     "{" BF16_SOURCE ", \"rope_theta\": 500000.0, \"max_position_embeddings\": 4096, \"rope_scaling\": {\"rope_type\": "
     "\"llama3\", \"factor\": 32.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 2.0, "
     "\"original_max_position_embeddings\": 8192}}"},
    {"{" BF16 ", \"use_scaled_rope\": false, \"rope_scaling_factor\": 32}",
     "{" BF16_SOURCE ", \"rope_theta\": 10000.0, \"max_position_embeddings\": 4096}"},
};

/* The folders of a golden with other JSON; the frequencies and the config are those that transformers' file says. */
START_TEST(test_scaled_rope)
{
    llama2_model *meta, *source;
    llama2_config a = {.struct_size = sizeof a}, b = a;
    char one[128], other[128];
    ck_assert(mkdir(at("meta"), 0777) == 0 && mkdir(at("source"), 0777) == 0);
    spill_text(at("meta/params.json"), scaled[_i].params);
    spill_text(at("source/config.json"), scaled[_i].config);
    ck_assert_int_eq(symlink(meta_path("bf16/shards1/consolidated.00.pth"), at("meta/consolidated.00.pth")), 0);
    ck_assert_int_eq(symlink(meta_path("bf16/source/model.safetensors"), at("source/model.safetensors")), 0);
    snprintf(one, sizeof one, "%s", at("meta"));
    snprintf(other, sizeof other, "%s", at("source"));
    ck_ok(llama2_model_load(ctx, one, NULL, &meta));
    ck_ok(llama2_model_load(ctx, other, NULL, &source));
    ck_ok(llama2_model_config(meta, &a));
    ck_ok(llama2_model_config(source, &b));
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_assert_mem_eq(meta->frequencies, source->frequencies, 2 * sizeof *meta->frequencies);
    ck_assert(_i == 2 ? a.rope_scaling == LLAMA2_ROPE_SCALING_NONE : meta->frequencies[1] < 0.9 * pow(5e5, -0.5));
    llama2_model_free(meta);
    llama2_model_free(source);
}
END_TEST

/* --- a small folder with one thing changed ---------------------------------------------------- */

enum { DIM = 8, HEADS = 4, KV = 2, WIDE = 24, VOCAB = 6, LAYERS = 2, SHARDS = 2 };

static const char params[] = "{\"dim\": 8, \"n_layers\": 2, \"n_heads\": 4, \"n_kv_heads\": 2, \"vocab_size\": -1, "
                             "\"multiple_of\": 8, \"norm_eps\": 1e-05}";

typedef struct change {
    const char *params; /* NULL: as above */
    const char *tensor; /* this one, or one more */
    int shard;          /* where; -1: in both */
    int n_dims;         /* of it; -1: not there */
    int64_t sizes[3];
    const char *type; /* NULL: "FloatStorage" */
    int64_t vocab;    /* 0: VOCAB */
    int64_t wide;     /* 0: WIDE. Else the matrices of this width that have one shape are one and the same */
} change;

typedef struct shard {
    torch_tensor tensors[40];
    size_t sizes[40];
    char keys[40][4], names[40][64];
    int n, seen;
} shard;

static int64_t product(const torch_tensor *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->n_sizes; i++) count *= t->sizes[i];
    return count;
}

static void add(shard *s, const char *name, int n_dims, int64_t rows, int64_t columns, const change *with, int index)
{
    torch_tensor *t = &s->tensors[s->n];
    *t = (torch_tensor){.name = s->names[s->n], .type = "FloatStorage", .storage = s->keys[s->n], .n_sizes = n_dims};
    snprintf(s->names[s->n], sizeof s->names[0], "%s", name);
    snprintf(s->keys[s->n], sizeof s->keys[0], "%d", s->n);
    t->sizes[0] = rows, t->sizes[1] = columns;
    int named = with->tensor && strcmp(with->tensor, name) == 0;
    s->seen |= named;
    if (named && (with->shard < 0 || with->shard == index)) {
        if (with->n_dims < 0) return;
        if (with->n_dims) t->n_sizes = with->n_dims, memcpy(t->sizes, with->sizes, sizeof with->sizes);
        if (with->type) t->type = with->type;
    }
    t->n_strides = t->n_sizes;
    for (int i = 0; i < t->n_sizes; i++) {
        t->strides[i] = 1;
        for (int j = i + 1; j < t->n_sizes; j++) t->strides[i] *= t->sizes[j];
    }
    t->count = product(t);
    s->sizes[s->n] = (size_t)t->count * (t->type[0] == 'F' ? 4 : 2);
    for (int i = 0; i < s->n && with->wide; i++)
        if (t->sizes[0] == with->wide / SHARDS && s->tensors[i].sizes[0] == t->sizes[0])
            t->storage = s->tensors[i].storage, s->sizes[s->n] = 0;
    s->n++;
}

static void spill_shard(const change *with, int index)
{
    const int64_t wide = with->wide ? with->wide : WIDE, vocab = with->vocab ? with->vocab : VOCAB;
    const struct {
        const char *name;
        int64_t rows, columns;
    } of_layer[] = {{"attention_norm", DIM, 0},
                    {"ffn_norm", DIM, 0},
                    {"attention.wq", DIM / SHARDS, DIM},
                    {"attention.wk", DIM / HEADS * KV / SHARDS, DIM},
                    {"attention.wv", DIM / HEADS * KV / SHARDS, DIM},
                    {"attention.wo", DIM, DIM / SHARDS},
                    {"feed_forward.w1", wide / SHARDS, DIM},
                    {"feed_forward.w3", wide / SHARDS, DIM},
                    {"feed_forward.w2", DIM, wide / SHARDS}};
    shard s = {.n = 0};
    char name[64];
    add(&s, "tok_embeddings.weight", 2, vocab, DIM / SHARDS, with, index);
    add(&s, "norm.weight", 1, DIM, 0, with, index);
    add(&s, "output.weight", 2, vocab / SHARDS, DIM, with, index);
    add(&s, "rope.freqs", 1, 1, 0, with, index);
    for (int layer = 0; layer < LAYERS; layer++)
        for (size_t i = 0; i < sizeof of_layer / sizeof *of_layer; i++) {
            snprintf(name, sizeof name, "layers.%d.%s.weight", layer, of_layer[i].name);
            add(&s, name, of_layer[i].columns ? 2 : 1, of_layer[i].rows, of_layer[i].columns, with, index);
        }
    if (with->tensor && !s.seen && (with->shard < 0 || with->shard == index))
        add(&s, with->tensor, 1, 1, 0, with, index);
    buffer p = pickle_dict(s.tensors, s.n);
    archive a = torch_archive(p.bytes, p.size, s.sizes, s.n);
    snprintf(name, sizeof name, "consolidated.%02d.pth", index);
    spill(at(name), a.file.bytes, a.file.size);
    free(a.file.bytes);
    free(p.bytes);
}

static void spill_folder(const change *with)
{
    for (int i = 0; i < SHARDS; i++) spill_shard(with, i);
    spill_text(at("params.json"), with->params ? with->params : params);
}

START_TEST(test_small_folder)
{
    llama2_model *m;
    llama2_config c = {.struct_size = sizeof c};
    spill_folder(&(change){.n_dims = 0});
    ck_ok(llama2_model_load(ctx, folder, NULL, &m));
    ck_ok(llama2_model_config(m, &c));
    ck_assert(c.vocab_size == VOCAB && c.dim == DIM && c.n_layers == LAYERS && c.n_heads == HEADS);
    ck_assert(c.n_kv_heads == KV && c.head_dim == 2 && c.ffn_dim == WIDE && c.max_seq_len == 4096 && c.tied == 0);
    ck_assert(c.bos_id == 1 && c.eos_id == 2 && c.pad_id == -1 && c.norm_eps == 1e-5 && c.rope_theta == 1e4);
    llama2_model_free(m);
    /* Shards may differ in type; no head: it is the embedding; other names of the rotary table. */
    spill_folder(&(change){.tensor = "layers.1.attention.wo.weight", .shard = 1, .type = "BFloat16Storage"});
    ck_ok(llama2_model_load(ctx, folder, NULL, &m));
    llama2_model_free(m);
    spill_folder(&(change){.tensor = "output.weight", .shard = -1, .n_dims = -1});
    ck_ok(llama2_model_load(ctx, folder, NULL, &m));
    ck_ok(llama2_model_config(m, &c));
    ck_assert_int_eq(c.tied, 1);
    llama2_model_free(m);
    spill_folder(&(change){.tensor = "layers.0.attention.inner_attention.rope.freqs", .shard = -1});
    ck_ok(llama2_model_load(ctx, folder, NULL, &m));
    llama2_model_free(m);
}
END_TEST

/* The vocabulary says whose ids they are. */
START_TEST(test_llama3_ids)
{
    llama2_model *m;
    llama2_config c = {.struct_size = sizeof c};
    spill_folder(&(change){.vocab = 128256});
    ck_ok(llama2_model_load(ctx, folder, NULL, &m));
    ck_ok(llama2_model_config(m, &c));
    ck_assert(c.vocab_size == 128256 && c.bos_id == 128000 && c.eos_id == 128001);
    ck_assert(l2_model_is_eos(m, 128001) && l2_model_is_eos(m, 128009) && !l2_model_is_eos(m, 2));
    llama2_model_free(m);
}
END_TEST

/* --- what is refused -------------------------------------------------------------------------- */

#define SIZES "\"dim\": 8, \"n_layers\": 2, \"n_heads\": 4, \"n_kv_heads\": 2, \"multiple_of\": 8"
#define SHAPE(tensor_name, in, dims, ...)                                                                              \
    {                                                                                                                  \
        .tensor = tensor_name, .shard = in, .n_dims = dims, .sizes = { __VA_ARGS__ }                                   \
    }

static const struct {
    change with;
    llama2_status code;
    const char *message;
} refused[] = {
    {{.params = "[]"}, LLAMA2_E_FORMAT, "params.json: JSON byte 0"},
    {{.params = ""}, LLAMA2_E_TRUNCATED, "params.json: JSON ends"},
    {{.params = "{" SIZES "} x"}, LLAMA2_E_FORMAT, "JSON byte"},
    {{.params = "{\"dim\": 8"}, LLAMA2_E_TRUNCATED, "JSON ends"},
    {{.params = "{}"}, LLAMA2_E_FORMAT, "\"dim\" is 0"},
    {{.params = "{\"dim\": \"8\"}"}, LLAMA2_E_FORMAT, "\"dim\": JSON byte 8"},
    {{.params = "{\"dim\": 9223372036854775807}"}, LLAMA2_E_LIMIT, "\"dim\" is 9223372036854775807"},
    {{.params = "{\"dim\": -8}"}, LLAMA2_E_FORMAT, "\"dim\" is -8"},
    {{.params = "{" SIZES ", \"n_layers\": 0}"}, LLAMA2_E_FORMAT, "\"n_layers\" is 0"},
    {{.params = "{" SIZES ", \"n_layers\": 65536}"}, LLAMA2_E_NOT_FOUND, "\"layers.2."},
    {{.params = "{" SIZES ", \"n_layers\": 1}"}, LLAMA2_E_UNSUPPORTED, "\"layers.1."},
    {{.params = "{" SIZES ", \"n_heads\": 0}"}, LLAMA2_E_FORMAT, "\"n_heads\" is 0"},
    {{.params = "{" SIZES ", \"n_heads\": 3}"}, LLAMA2_E_FORMAT, "no multiple of \"n_kv_heads\""},
    {{.params = "{" SIZES ", \"n_heads\": 8}"}, LLAMA2_E_FORMAT, "no even multiple of \"n_heads\""},
    {{.params = "{" SIZES ", \"n_kv_heads\": -1}"}, LLAMA2_E_FORMAT, "\"n_kv_heads\" is -1"},
    {{.params = "{" SIZES ", \"n_kv_heads\": 1}"}, LLAMA2_E_UNSUPPORTED, "whole heads in each (n_kv_heads is 1)"},
    {{.params = "{" SIZES ", \"n_kv_heads\": 4}"}, LLAMA2_E_MISMATCH, "\"layers.0.attention.wk.weight\""},
    {{.params = "{" SIZES ", \"multiple_of\": 0}"}, LLAMA2_E_FORMAT, "\"multiple_of\" is 0"},
    {{.params = "{" SIZES ", \"multiple_of\": 32}"}, LLAMA2_E_MISMATCH, "\"layers.0.feed_forward.w1.weight\""},
    {{.params = "{" SIZES ", \"ffn_dim_multiplier\": 0}"}, LLAMA2_E_FORMAT, "\"ffn_dim_multiplier\" is 0"},
    {{.params = "{" SIZES ", \"ffn_dim_multiplier\": 1e300}"}, LLAMA2_E_FORMAT, "\"ffn_dim_multiplier\" is 1e+300"},
    {{.params = "{" SIZES ", \"vocab_size\": 0}"}, LLAMA2_E_FORMAT, "\"vocab_size\" is 0"},
    {{.params = "{" SIZES ", \"vocab_size\": 7}"}, LLAMA2_E_MISMATCH, "\"tok_embeddings.weight\""},
    {{.params = "{" SIZES ", \"norm_eps\": 0}"}, LLAMA2_E_FORMAT, "\"norm_eps\" is 0"},
    {{.params = "{" SIZES ", \"rope_theta\": -1}"}, LLAMA2_E_FORMAT, "\"rope_theta\" is -1"},
    {{.params = "{" SIZES ", \"use_scaled_rope\": 8}"}, LLAMA2_E_FORMAT, "\"use_scaled_rope\""},
    {{.params = "{" SIZES ", \"rope_scaling_factor\": 0}"}, LLAMA2_E_FORMAT, "\"rope_scaling_factor\" is 0"},
    {{.params = "{" SIZES ", \"rope_high_freq_factor\": 1}"}, LLAMA2_E_FORMAT, "\"rope_high_freq_factor\" is 1"},
    {{.params = "{" SIZES ", \"max_seq_len\": 2147483648}"}, LLAMA2_E_LIMIT, "\"max_seq_len\""},
    {{.params = "{" SIZES ", \"moe\": {\"num_experts\": 8}}"}, LLAMA2_E_UNSUPPORTED, "\"moe\": is not known"},
    {{.tensor = "tok_embeddings.weight", .n_dims = -1}, LLAMA2_E_NOT_FOUND, "\"tok_embeddings.weight\" is missing"},
    {{.tensor = "norm.weight", .n_dims = -1}, LLAMA2_E_NOT_FOUND, "00.pth: tensor \"norm.weight\" is missing"},
    {{.tensor = "norm.weight", .shard = 1, .n_dims = -1}, LLAMA2_E_NOT_FOUND, "01.pth: tensor \"norm.weight\""},
    {{.tensor = "layers.1.attention.wq.weight", .shard = 1, .n_dims = -1},
     LLAMA2_E_NOT_FOUND,
     "\"layers.1.attention.wq"},
    {{.tensor = "layers.0.attention.wq.weight", .n_dims = -1}, LLAMA2_E_NOT_FOUND, "\"layers.0.attention.wq.weight\""},
    {SHAPE("layers.0.attention.wq.weight", 0, 2, 3, DIM), LLAMA2_E_MISMATCH, "\"layers.0.attention.wq.weight\""},
    {SHAPE("layers.0.attention.wq.weight", 0, 2, DIM, DIM), LLAMA2_E_MISMATCH, "shapes of 1 shards"},
    {SHAPE("layers.0.attention.wq.weight", 0, 2, 2, DIM), LLAMA2_E_UNSUPPORTED, "those of 4 shards"},
    {SHAPE("layers.0.attention.wq.weight", 1, 2, 2, DIM), LLAMA2_E_MISMATCH, "01.pth: tensor \"layers.0.attention.wq"},
    {SHAPE("layers.0.attention.wq.weight", 0, 1, DIM), LLAMA2_E_MISMATCH, "\"layers.0.attention.wq.weight\""},
    {SHAPE("layers.1.feed_forward.w2.weight", 1, 2, WIDE / SHARDS, DIM), LLAMA2_E_MISMATCH, "has 2 dimensions (12, 8)"},
    {SHAPE("layers.1.feed_forward.w1.weight", 1, 2, WIDE, DIM), LLAMA2_E_MISMATCH, "expected (12, 8)"},
    {SHAPE("layers.1.ffn_norm.weight", 0, 2, DIM, 1), LLAMA2_E_MISMATCH, "\"layers.1.ffn_norm.weight\""},
    {SHAPE("norm.weight", 1, 1, DIM / 2), LLAMA2_E_MISMATCH, "01.pth: tensor \"norm.weight\""},
    {SHAPE("tok_embeddings.weight", 0, 2, VOCAB, 3), LLAMA2_E_MISMATCH, "\"tok_embeddings.weight\""},
    {SHAPE("tok_embeddings.weight", 0, 1, VOCAB), LLAMA2_E_MISMATCH, "\"tok_embeddings.weight\""},
    {SHAPE("tok_embeddings.weight", 1, 2, VOCAB + 1, 4), LLAMA2_E_MISMATCH, "01.pth: tensor \"tok_embeddings"},
    {SHAPE("tok_embeddings.weight", -1, 2, 7, 4), LLAMA2_E_MISMATCH, "\"output.weight\""},
    {SHAPE("output.weight", 0, 2, VOCAB, DIM), LLAMA2_E_MISMATCH, "\"output.weight\""},
    {SHAPE("layers.0.attention.wq.bias", 0, 1, DIM), LLAMA2_E_UNSUPPORTED, "\"layers.0.attention.wq.bias\" is not"},
    {SHAPE("layers.0.attention.wq.bias", 1, 1, DIM), LLAMA2_E_UNSUPPORTED, "01.pth: tensor \"layers.0.attention.wq.b"},
    {SHAPE("layers.2.ffn_norm.weight", 0, 1, DIM), LLAMA2_E_UNSUPPORTED, "\"layers.2.ffn_norm.weight\""},
    {{.params = "{" SIZES ", \"multiple_of\": 4096}", .wide = 4096}, LLAMA2_E_UNSUPPORTED, "are the same numbers"},
    {{.tensor = "norm.weight", .type = "DoubleStorage"}, LLAMA2_E_UNSUPPORTED, "torch.DoubleStorage"},
};

START_TEST(test_refused)
{
    llama2_model *none = (llama2_model *)&none;
    long live = memory.live;
    spill_folder(&refused[_i].with);
    size_t before = memory.bytes;
    memory.peak = before;
    llama2_status status = llama2_model_load(ctx, folder, NULL, &none);
    ck_assert_msg(status == refused[_i].code && strstr(llama2_last_error(), refused[_i].message) &&
                      strncmp(llama2_last_error(), folder, strlen(folder)) == 0,
                  "%d: %s: %s; expected %s: %s", _i, llama2_status_name(status), llama2_last_error(),
                  llama2_status_name(refused[_i].code), refused[_i].message);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(memory.live, live);
    ck_assert_uint_le(memory.peak - before, (1 << 20) + (1 << 16)); /* nothing was made for a model that is refused */
}
END_TEST

START_TEST(test_folders_that_are_none)
{
    llama2_model *none;
    llama2_reward_model *no_reward;
    unsigned char bytes[1 << 16];
    size_t n;
    spill_folder(&(change){.n_dims = 0});
    ck_fails(llama2_reward_model_load(ctx, folder, NULL, &no_reward), LLAMA2_E_MISMATCH);
    /* More shards than the shapes say; fewer; none; no params.json. */
    spill_text(at("consolidated.02.pth"), "");
    ck_fails(llama2_model_load(ctx, folder, NULL, &none), LLAMA2_E_MISMATCH);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "there is consolidated.02.pth"));
    unlink(at("consolidated.02.pth"));
    unlink(at("consolidated.01.pth"));
    ck_fails(llama2_model_load(ctx, folder, NULL, &none), LLAMA2_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "there are 2 shards"));
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "consolidated.01.pth"));
    unlink(at("consolidated.00.pth"));
    ck_fails(llama2_model_load(ctx, folder, NULL, &none), LLAMA2_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "consolidated.00.pth"));
    spill_folder(&(change){.n_dims = 0});
    unlink(at("params.json"));
    ck_fails(llama2_model_load(ctx, folder, NULL, &none), LLAMA2_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "params.json"));
    spill_text(at("params.json"), "");
    ck_assert_int_eq(truncate(at("params.json"), (off_t)100 << 30), 0);
    ck_fails(llama2_model_load(ctx, folder, NULL, &none), LLAMA2_E_LIMIT);
    /* A number that was changed: its CRC. */
    spill_folder(&(change){.n_dims = 0});
    n = slurp(at("consolidated.01.pth"), bytes, sizeof bytes);
    unsigned char *name = memmem(bytes, n, "m/data/5", 8);
    ck_assert_ptr_nonnull(name);
    bytes[(name - bytes + 12 + 63) / 64 * 64] ^= 1;
    spill(at("consolidated.01.pth"), bytes, n);
    ck_fails(llama2_model_load(ctx, folder, NULL, &none), LLAMA2_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "consolidated.01.pth: entry m/data/5"));
}
END_TEST

START_TEST(test_each_failure_while_loading)
{
    spill_folder(&(change){.n_dims = 0});
    fail_each_load(folder);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("model/io_meta");
    TCase *good = tcase_create("goldens"), *bad = tcase_create("refused"), *rest = tcase_create("folders");
    tcase_add_checked_fixture(good, setup, teardown);
    tcase_add_checked_fixture(bad, setup, teardown);
    tcase_add_checked_fixture(rest, setup, teardown);
    tcase_set_timeout(rest, 120);
    tcase_add_loop_test(good, test_goldens, 0, (int)(sizeof goldens / sizeof *goldens));
    tcase_add_loop_test(good, test_scaled_rope, 0, (int)(sizeof scaled / sizeof *scaled));
    tcase_add_loop_test(bad, test_refused, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_test(rest, test_small_folder);
    tcase_add_test(rest, test_llama3_ids);
    tcase_add_test(rest, test_folders_that_are_none);
    tcase_add_test(rest, test_each_failure_while_loading);
    suite_add_tcase(suite, good);
    suite_add_tcase(suite, bad);
    suite_add_tcase(suite, rest);
    return suite;
}
