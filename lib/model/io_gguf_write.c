/* Writing GGUF: the keys of the architecture "llama", and which type each tensor becomes. */
#include "base/alloc.h"
#include "format/quantised.h"
#include "model/io_gguf.h"

#include <stdio.h>
#include <string.h>

/* llama.cpp's numbers for what most tensors of a file are (general.file_type). */
static const struct file_type {
    int32_t type, number;
} file_types[] = {
    {L2_GGML_F32, 0},   {L2_GGML_F16, 1},   {L2_GGML_Q4_0, 2}, {L2_GGML_Q8_0, 7}, {L2_GGML_Q4_K, 15} /* Q4_K_M */,
    {L2_GGML_Q6_K, 18}, {L2_GGML_BF16, 32},
};
enum { QUANTISATION_VERSION = 2 };

static int is_quantised(int32_t type)
{
    return type != L2_GGML_F32 && type != L2_GGML_F16 && type != L2_GGML_BF16;
}

/* --- types ----------------------------------------------------------------------------------- */

/*
 * llama.cpp's choice for the same file type: the head (a tied embedding too) has 6 bits where others have 4; so have,
 * in Q4_K_M, the values and the second matrix of the feed-forward block in the first and last eighth of the layers and
 * every third between.
 */
static int takes_more_bits(int32_t layer, int32_t n_layers)
{
    return layer < n_layers / 8 || layer >= 7 * n_layers / 8 || (layer - n_layers / 8) % 3 == 2;
}

/* For rows that are no whole blocks, also as llama.cpp does: the next better type with blocks of 32, else F16. */
static int32_t fitting_type(int32_t type, int64_t columns)
{
    if (type == L2_GGML_Q4_K && columns % 256) type = L2_GGML_Q5_0;
    if (type == L2_GGML_Q6_K && columns % 256) type = L2_GGML_Q8_0;
    return is_quantised(type) && columns % 32 ? L2_GGML_F16 : type;
}

static int32_t choose_type(const llama2_model *model, const l2_param *p, const char *name, int32_t layer, int32_t type)
{
    int head = strcmp(name, model->config.tied ? "token_embd.weight" : "output.weight") == 0;
    int better = strstr(name, ".attn_v.") || strstr(name, ".ffn_down.");
    if (!p->decay) return L2_GGML_F32;
    if ((head && is_quantised(type) && type != L2_GGML_Q8_0) ||
        (better && type == L2_GGML_Q4_K && takes_more_bits(layer, model->config.n_layers)))
        type = L2_GGML_Q6_K;
    return fitting_type(type, p->columns);
}

/* --- metadata -------------------------------------------------------------------------------- */

static llama2_status put_config(l2_gguf_metadata *m, const llama2_config *c, int32_t type)
{
    size_t i = 0;
    while (i < sizeof file_types / sizeof *file_types && file_types[i].type != type) i++;
    if (i == sizeof file_types / sizeof *file_types)
        return l2_fail(LLAMA2_E_INVALID, "a GGUF file is not written as type %d", (int)type);
    l2_gguf_put_string(m, "general.architecture", "llama", 5);
    l2_gguf_put_string(m, "general.type", "model", 5);
    l2_gguf_put_u32(m, "general.file_type", (uint32_t)file_types[i].number);
    if (is_quantised(type)) l2_gguf_put_u32(m, "general.quantization_version", QUANTISATION_VERSION);
    const struct {
        const char *key;
        int32_t value;
    } sizes[] = {
        {"llama.vocab_size", c->vocab_size},
        {"llama.context_length", c->max_seq_len},
        {"llama.embedding_length", c->dim},
        {"llama.block_count", c->n_layers},
        {"llama.feed_forward_length", c->ffn_dim},
        {"llama.attention.head_count", c->n_heads},
        {"llama.attention.head_count_kv", c->n_kv_heads},
        {"llama.attention.key_length", c->head_dim},
        {"llama.attention.value_length", c->head_dim},
        {"llama.rope.dimension_count", c->head_dim},
    };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        l2_gguf_put_u32(m, sizes[k].key, (uint32_t)sizes[k].value);
    l2_gguf_put_f32(m, "llama.attention.layer_norm_rms_epsilon", (float)c->norm_eps);
    l2_gguf_put_f32(m, "llama.rope.freq_base", (float)c->rope_theta);
    if (c->rope_scaling == LLAMA2_ROPE_SCALING_LINEAR) {
        l2_gguf_put_string(m, "llama.rope.scaling.type", "linear", 6);
        l2_gguf_put_f32(m, "llama.rope.scaling.factor", (float)c->rope_factor);
    }
    return LLAMA2_OK;
}

/* --- Llama 3.1's scaling of rotary positions: a tensor of divisors of the frequencies -------- */

static llama2_status fill_factors(void *user, int64_t first, int64_t count, float *out)
{
    const llama2_config *c = &((const llama2_model *)user)->config;
    llama2_context *ctx = ((const llama2_model *)user)->ctx;
    llama2_config plain = *c;
    size_t half = (size_t)c->head_dim / 2;
    double *scaled;
    (void)first, (void)count; /* the one row */
    plain.rope_scaling = LLAMA2_ROPE_SCALING_NONE;
    L2_TRY(l2_alloc(ctx, 2 * half, sizeof *scaled, &scaled));
    l2_config_frequencies(c, scaled);
    l2_config_frequencies(&plain, scaled + half);
    for (size_t i = 0; i < half; i++) out[i] = (float)(scaled[i] = scaled[half + i] / scaled[i]);
    int fits = l2_config_fit_llama3(&plain, scaled);
    l2_free(ctx, scaled);
    if (fits) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_UNSUPPORTED,
                   "rotary positions scaled with low_freq_factor %g and high_freq_factor %g can't be in a GGUF file",
                   c->rope_low_freq_factor, c->rope_high_freq_factor);
}

static void make_factors(const llama2_model *model, l2_gguf_entry *out)
{
    *out = (l2_gguf_entry){.name = "rope_freqs.weight",
                           .type = L2_GGML_F32,
                           .n_dims = 1,
                           .rows = 1,
                           .columns = model->config.head_dim / 2,
                           .fill = fill_factors,
                           .user = (void *)(uintptr_t)model};
}

/* --- tensors --------------------------------------------------------------------------------- */

typedef struct feed {
    const llama2_model *model;
    const l2_param *param;
    l2_model_step step;
    void *user;
    int32_t type; /* in the file */
} feed;

/* Doubles that become halves, as fp32 which has these exactly: they are not rounded twice. */
static llama2_status read_halves(const feed *f, int64_t first, int64_t count, float *out)
{
    enum { PIECE = 1 << 16 };
    const llama2_model *m = f->model;
    int64_t columns = f->param->columns, rows = PIECE / columns + 1;
    llama2_status status = LLAMA2_OK;
    double *wide = NULL;
    uint16_t *halves = NULL;
    L2_CHECK(l2_scratch_get(m->ctx, (size_t)(rows * columns) * sizeof *wide, &wide));
    L2_CHECK(l2_scratch_get(m->ctx, (size_t)(rows * columns) * sizeof *halves, &halves));
    for (int64_t at = 0, n; at < count; at += n) {
        n = count - at < rows ? count - at : rows;
        l2_tensor doubles = l2_tensor_1d(LLAMA2_F64, wide, n * columns), narrow = doubles, floats = doubles;
        narrow.dtype = f->type == L2_GGML_F16 ? LLAMA2_F16 : LLAMA2_BF16, narrow.data = halves;
        floats.dtype = LLAMA2_F32, floats.data = out + at * columns;
        L2_CHECK(l2_model_read_rows(m, f->param, first + at, n, LLAMA2_F64, wide));
        L2_CHECK(l2_op_copy(m->ctx, &doubles, &narrow));
        L2_CHECK(l2_op_copy(m->ctx, &narrow, &floats));
    }
done:
    l2_scratch_put(m->ctx, halves);
    l2_scratch_put(m->ctx, wide);
    return status;
}

/* A gain, which is a column of the model, is a row of one-dimensional tensors. */
static llama2_status fill(void *user, int64_t first, int64_t count, float *out)
{
    const feed *f = user;
    int halves = f->model->dtype == LLAMA2_F64 && (f->type == L2_GGML_F16 || f->type == L2_GGML_BF16);
    if (!f->param->decay) count = f->param->rows;
    L2_TRY(halves ? read_halves(f, first, count, out)
                  : l2_model_read_rows(f->model, f->param, first, count, LLAMA2_F32, out));
    l2_model_forget_rows(f->model, f->param, first, count);
    return f->step ? f->step(f->user, f->param, count) : LLAMA2_OK;
}

static llama2_status make_entry(feed *f, int32_t type, l2_gguf_entry *out)
{
    const l2_param *p = f->param;
    int32_t layer;
    int rotary = 0;
    L2_TRY(l2_gguf_name(p, out->name, &layer, &rotary));
    out->type = f->type = choose_type(f->model, p, out->name, layer, type);
    out->n_dims = p->decay ? 2 : 1;
    out->rows = p->decay ? p->rows : 1;
    out->columns = p->decay ? p->columns : p->rows;
    out->head_dim = rotary ? f->model->config.head_dim : 0;
    out->fill = fill;
    out->user = f;
    return LLAMA2_OK;
}

llama2_status l2_model_write_gguf(const llama2_model *model, const char *path, int32_t type,
                                  const l2_gguf_metadata *more, l2_model_step step, void *user)
{
    llama2_status status;
    l2_gguf_metadata metadata;
    l2_gguf_entry *entries = NULL;
    feed *feeds = NULL;
    size_t n = (size_t)model->n_params;
    int has_factors = model->config.rope_scaling == LLAMA2_ROPE_SCALING_LLAMA3;
    l2_gguf_metadata_begin(&metadata, model->ctx);
    if (model->head_kind != L2_HEAD_LM)
        L2_CHECK(l2_fail(LLAMA2_E_UNSUPPORTED, "a reward model can't be a GGUF file, which has no place for its head"));
    L2_CHECK(put_config(&metadata, &model->config, type));
    L2_CHECK(more->text.status);
    l2_text_add(&metadata.text, more->text.data, more->text.length);
    metadata.count += more->count;
    L2_CHECK(l2_calloc(model->ctx, n + 1, sizeof *entries, &entries));
    L2_CHECK(l2_calloc(model->ctx, n, sizeof *feeds, &feeds));
    if (has_factors) make_factors(model, &entries[n]);
    for (size_t i = 0; i < n; i++) {
        feeds[i] = (feed){model, &model->params[i], step, user, type};
        L2_CHECK(make_entry(&feeds[i], type, &entries[i]));
    }
    L2_CHECK(l2_gguf_write(model->ctx, path, &metadata, entries, n + (size_t)has_factors));
done:
    l2_free(model->ctx, feeds);
    l2_free(model->ctx, entries);
    l2_gguf_metadata_free(&metadata);
    return status;
}
