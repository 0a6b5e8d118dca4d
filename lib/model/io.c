/* Models as Hugging Face folders. The internal order of rotary pairs is Hugging Face's, so nothing is permuted. */
#include "base/alloc.h"
#include "format/gguf.h"
#include "format/huggingface.h"
#include "model/model.h"
#include "model/roles.h"

#include <string.h>

static void config_from_hf(const l2_hf_config *hf, llama2_config *c)
{
    *c = (llama2_config){
        .struct_size = sizeof *c,
        .vocab_size = (int32_t)hf->vocab_size,
        .dim = (int32_t)hf->hidden_size,
        .n_layers = (int32_t)hf->num_hidden_layers,
        .n_heads = (int32_t)hf->num_attention_heads,
        .n_kv_heads = (int32_t)hf->num_key_value_heads,
        .head_dim = (int32_t)hf->head_dim,
        .ffn_dim = (int32_t)hf->intermediate_size,
        .max_seq_len = (int32_t)hf->max_position_embeddings,
        .tied = hf->tie_word_embeddings,
        .bos_id = (int32_t)hf->bos_id,
        .eos_id = -1,
        .pad_id = (int32_t)hf->pad_id,
        .norm_eps = hf->rms_norm_eps,
        .rope_theta = hf->rope.theta,
        .init_std = hf->initializer_range,
        .rope_scaling = (int32_t)hf->rope.scaling,
        .rope_original_len = (int32_t)hf->rope.original_len,
        .rope_factor = hf->rope.factor,
        .rope_low_freq_factor = hf->rope.low_freq_factor,
        .rope_high_freq_factor = hf->rope.high_freq_factor,
    };
}

static void config_to_hf(const llama2_model *m, int32_t dtype, l2_hf_config *hf)
{
    const llama2_config *c = &m->config;
    l2_hf_config_init(hf);
    hf->vocab_size = c->vocab_size;
    hf->hidden_size = c->dim;
    hf->num_hidden_layers = c->n_layers;
    hf->num_attention_heads = c->n_heads;
    hf->num_key_value_heads = c->n_kv_heads;
    hf->head_dim = c->head_dim;
    hf->intermediate_size = c->ffn_dim;
    hf->max_position_embeddings = c->max_seq_len;
    hf->rms_norm_eps = c->norm_eps;
    hf->rope = (l2_hf_rope){.theta = c->rope_theta,
                            .factor = c->rope_factor,
                            .low_freq_factor = c->rope_low_freq_factor,
                            .high_freq_factor = c->rope_high_freq_factor,
                            .original_len = c->rope_original_len,
                            .scaling = c->rope_scaling};
    hf->initializer_range = c->init_std;
    hf->bos_id = c->bos_id;
    hf->pad_id = c->pad_id;
    const l2_eos *eos = l2_model_eos(m);
    hf->n_eos = eos->n;
    for (int32_t i = 0; i < eos->n; i++) hf->eos_ids[i] = eos->ids[i];
    hf->tie_word_embeddings = c->tied;
    hf->dtype = dtype;
    hf->sequence_classification = m->head_kind == L2_HEAD_SCORE;
}

_Static_assert((int)L2_MAX_EOS == (int)L2_HF_MAX_EOS, "what can be read can be kept");

static llama2_status set_eos(llama2_model *m, const l2_hf_config *hf)
{
    int32_t ids[L2_MAX_EOS];
    for (int32_t i = 0; i < hf->n_eos; i++) ids[i] = (int32_t)hf->eos_ids[i];
    return l2_model_set_eos(m, ids, hf->n_eos);
}

static llama2_status keep_stored(llama2_model *m, const l2_param *p, const l2_st_tensor *t)
{
    int32_t type;
    switch (t->dtype) {
    case LLAMA2_F32: type = L2_GGML_F32; break;
    case LLAMA2_BF16: type = L2_GGML_BF16; break;
    case LLAMA2_F16: type = L2_GGML_F16; break;
    case LLAMA2_F64:
        type = L2_GGML_F64;
        if (m->dtype == LLAMA2_F64) break; /* for one pass */
        /* fall through */
    default:
        return l2_fail(LLAMA2_E_UNSUPPORTED, "tensor \"%s\" is %s, which can't be used as stored", p->name,
                       l2_st_dtype_name(t->dtype));
    }
    m->stored[p - m->params] = (l2_stored){type, t->data, (size_t)(t->size / (uint64_t)p->rows), 0};
    return LLAMA2_OK;
}

static llama2_status read_param(llama2_model *m, const l2_param *p, const l2_hf_weights *weights)
{
    const l2_st_tensor *t = l2_hf_weights_find(weights, p->name); /* check_tensors has found it */
    if (m->stored && p->decay) return keep_stored(m, p, t);
    llama2_status status = l2_st_read(m->ctx, t, 0, p->rows * p->columns, m->dtype, l2_param_data(m, p));
    return status < 0 ? l2_fail_in(status, "tensor \"%s\"", p->name) : status;
}

/* A tensor that the architecture has no place for changes what the model computes, unless it is one of these. */
static int is_harmless(const char *name)
{
    size_t n = strlen(name);
    static const char table[] = "rotary_emb.inv_freq";
    return strcmp(name, "lm_head.weight") == 0 ||
           (n >= sizeof table - 1 && strcmp(name + n - (sizeof table - 1), table) == 0);
}

static llama2_status check_tensor(const l2_hf_weights *weights, l2_expected expected, char *used)
{
    int64_t i = l2_hf_weights_index(weights, expected.name);
    if (i < 0) return l2_fail(LLAMA2_E_NOT_FOUND, "tensor \"%s\" is missing", expected.name);
    used[i] = 1;
    return l2_expected_check(&expected, weights->tensors[i]->n_dims, weights->tensors[i]->shape,
                             "config.json asks for");
}

/* All tensors there, of the right shapes, and no others: before memory for the model is taken. Ends at the first layer
 * that is not in the files, so that a huge num_hidden_layers costs nothing. */
static llama2_status check_tensors(const l2_hf_weights *weights, const llama2_config *c, int32_t head_kind)
{
    llama2_status status = LLAMA2_OK;
    int has_output = head_kind != L2_HEAD_SCORE && !c->tied;
    char *used;
    L2_TRY(l2_calloc(weights->ctx, weights->n_tensors, 1, &used));
    for (int32_t layer = 0; layer < c->n_layers; layer++)
        for (int i = 0; i < L2_N_ROLES; i++) {
            if (!l2_role_is_there(i, layer, has_output)) continue;
            L2_CHECK(check_tensor(weights, l2_role_expect(c, &l2_roles[i], layer, L2_NAMES_MODEL), used));
        }
    if (head_kind == L2_HEAD_SCORE) L2_CHECK(check_tensor(weights, (l2_expected){"score.weight", 2, 1, c->dim}, used));
    for (size_t i = 0; i < weights->n_tensors; i++)
        if (!used[i] && !is_harmless(weights->tensors[i]->name))
            L2_CHECK(l2_fail(LLAMA2_E_UNSUPPORTED, "tensor \"%.64s\" is not part of the Llama architecture",
                             weights->tensors[i]->name));
done:
    l2_free(weights->ctx, used);
    return status;
}

/* The model keeps the files that its matrices lie in. */
static void keep_files(llama2_model *m, l2_hf_weights *weights)
{
    for (size_t i = 0; i < weights->n_files; i++) {
        m->files[i] = weights->files[i].view;
        weights->files[i].view = (l2_file_view){.data = NULL};
    }
}

/* --- doubles, for one pass: no product is made of them as they are stored -------------------- */

typedef struct folder {
    l2_source source; /* first: it is the folder's address */
    l2_hf_weights weights;
} folder;

static llama2_status read_source(l2_source *source, const l2_param *p, int64_t first, int64_t n, int32_t dtype,
                                 void *out)
{
    const l2_hf_weights *weights = &((const folder *)source)->weights;
    return l2_st_read(weights->ctx, l2_hf_weights_find(weights, p->name), first * p->columns, n * p->columns, dtype,
                      out);
}

static void forget_source(l2_source *source, const l2_param *p, int64_t first, int64_t n)
{
    const l2_hf_weights *weights = &((const folder *)source)->weights;
    const l2_st_tensor *t = l2_hf_weights_find(weights, p->name);
    size_t row = (size_t)p->columns * l2_st_dtype_size(t->dtype);
    for (size_t i = 0; i < weights->n_files; i++)
        l2_file_forget(&weights->files[i].view, t->data + (size_t)first * row, (size_t)n * row);
}

static void close_source(l2_source *source)
{
    l2_hf_weights *weights = &((folder *)source)->weights;
    llama2_context *ctx = weights->ctx;
    l2_hf_weights_close(weights);
    l2_free(ctx, source);
}

static int has_doubles(const l2_hf_weights *weights)
{
    for (size_t i = 0; i < weights->n_tensors; i++)
        if (weights->tensors[i]->dtype == LLAMA2_F64) return 1;
    return 0;
}

/* The model gets the folder, all of it. */
static llama2_status give_source(llama2_model *m, l2_hf_weights *weights)
{
    folder *f;
    L2_TRY(l2_calloc(m->ctx, 1, sizeof *f, &f));
    *f = (folder){{read_source, forget_source, close_source}, *weights};
    *weights = (l2_hf_weights){0};
    m->source = &f->source;
    return LLAMA2_OK;
}

/* --- reading --------------------------------------------------------------------------------- */

llama2_status l2_model_read(llama2_context *ctx, const char *path, const llama2_model_options *options,
                            int32_t head_kind, llama2_model **out, double *shift, double *scale)
{
    llama2_status status;
    l2_hf_config hf;
    llama2_config config;
    l2_hf_weights weights = {0};
    llama2_model *m = NULL;
    *out = NULL;
    int is_file = l2_path_kind(path) == 1, is_meta = 0, is_gguf = 0, doubles;
    llama2_model_options o = *options;
    L2_TRY(is_file ? l2_gguf_recognise(ctx, path, &is_gguf) : l2_model_recognise_meta(ctx, path, &is_meta));
    if ((is_file || is_meta) && head_kind == L2_HEAD_SCORE)
        return l2_fail(LLAMA2_E_MISMATCH, "%s: is no folder with a config.json, as a reward model is", path);
    if (is_gguf) return l2_model_read_gguf(ctx, path, options, out);
    if (is_file) return l2_model_read_llama2c(ctx, path, options, out);
    if (is_meta) return l2_model_read_meta(ctx, path, options, out);
    L2_TRY(l2_hf_config_read(ctx, path, &hf));
    if (head_kind == L2_HEAD_ANY) head_kind = hf.sequence_classification ? L2_HEAD_SCORE : L2_HEAD_LM;
    if (hf.sequence_classification != (head_kind == L2_HEAD_SCORE))
        return l2_fail(LLAMA2_E_MISMATCH, "%s: holds a %s, expected a %s", path,
                       hf.sequence_classification ? "reward model" : "language model",
                       hf.sequence_classification ? "language model"
                                                  : "reward model (LlamaForSequenceClassification with one label)");
    config_from_hf(&hf, &config);
    L2_CHECK(l2_config_check_limits(&config, "config.json"));
    L2_CHECK(l2_hf_weights_open(ctx, path, 0, &weights));
    L2_CHECK(check_tensors(&weights, &config, head_kind));
    doubles = o.weights == L2_WEIGHTS_ONE_PASS && has_doubles(&weights);
    if (doubles) o.dtype = LLAMA2_F64;
    L2_CHECK(l2_model_new_for(ctx, &config, &o, head_kind, weights.n_files, &m));
    L2_CHECK(set_eos(m, &hf));
    for (int32_t i = 0; i < m->n_params; i++) {
        L2_CHECK(l2_context_check(ctx));
        L2_CHECK(read_param(m, &m->params[i], &weights));
    }
    if (doubles)
        L2_CHECK(give_source(m, &weights));
    else if (m->stored)
        keep_files(m, &weights);
    if (shift) *shift = hf.score_shift;
    if (scale) *scale = hf.score_scale;
    *out = m;
    m = NULL;
done:
    if (status < 0) l2_fail_in(status, "%s", path);
    l2_hf_weights_close(&weights);
    l2_model_release(m);
    return status;
}

llama2_status l2_model_read_host(llama2_context *ctx, const llama2_host_file *file, const llama2_model_options *options,
                                 llama2_model **out)
{
    l2_file_view view;
    *out = NULL;
    L2_TRY(l2_file_of_host(ctx, file, UINT64_MAX, &view));
    int is_gguf = view.size >= 4 && memcmp(view.data, "GGUF", 4) == 0;
    llama2_status status =
        is_gguf ? l2_model_parse_gguf(ctx, &view, options, out) : l2_model_parse_llama2c(ctx, &view, options, out);
    l2_file_release(ctx, &view);
    return status;
}

llama2_status l2_model_open(llama2_context *ctx, const char *path, llama2_model **out, double *shift, double *scale)
{
    llama2_model_options options = {.struct_size = sizeof options, .dtype = LLAMA2_F32, .weights = L2_WEIGHTS_ONE_PASS};
    *shift = 0;
    *scale = 1;
    return l2_model_read(ctx, path, &options, L2_HEAD_ANY, out, shift, scale);
}

/* --- writing --------------------------------------------------------------------------------- */

/* A parameter on its way into a file. */
typedef struct feed {
    const llama2_model *model;
    const l2_param *param;
    l2_model_step step;
    void *user;
} feed;

enum { FORGET_ELEMENTS = 1 << 20 };

/* Pieces of a file need not be whole rows: those at the ends are made and cut. */
static llama2_status fill(void *user, int64_t first, int64_t count, void *out)
{
    const feed *f = user;
    const llama2_model *m = f->model;
    int64_t columns = f->param->columns, row = first / columns, rows = (first + count - 1) / columns + 1 - row;
    size_t size = l2_dtype_size(m->dtype);
    char *piece;
    if (count == 0) return LLAMA2_OK;
    L2_TRY(l2_context_check(m->ctx));
    L2_TRY(l2_scratch_get(m->ctx, (size_t)(rows * columns) * size, &piece));
    llama2_status status = l2_model_read_rows(m, f->param, row, rows, m->dtype, piece);
    memcpy(out, piece + (size_t)(first - row * columns) * size, (size_t)count * size);
    l2_scratch_put(m->ctx, piece);
    L2_TRY(status);
    /* Pages are let go a band of rows at a time: those of a piece would nearly all be shared with its neighbours. */
    int64_t band = FORGET_ELEMENTS / columns + 1, begin = row / band * band;
    if ((row + rows) / band * band > begin || row + rows == f->param->rows)
        l2_model_forget_rows(m, f->param, begin, row + rows - begin);
    /* Rows end in the piece that has their last element. */
    rows = (first + count) / columns - row;
    return f->step && rows > 0 ? f->step(f->user, f->param, rows) : LLAMA2_OK;
}

llama2_status l2_model_write(const llama2_model *m, const char *path, int32_t dtype, double shift, double scale,
                             l2_model_step step, void *user)
{
    llama2_status status;
    l2_hf_config hf;
    l2_st_entry *entries = NULL;
    feed *feeds = NULL;
    if (dtype != LLAMA2_F32 && dtype != LLAMA2_BF16 && dtype != LLAMA2_F16)
        return l2_fail(LLAMA2_E_INVALID, "%s: dtype is %d, expected LLAMA2_F32, LLAMA2_BF16 or LLAMA2_F16", path,
                       dtype);
    config_to_hf(m, dtype, &hf);
    hf.score_shift = shift;
    hf.score_scale = scale;
    L2_CHECK(l2_calloc(m->ctx, (size_t)m->n_params, sizeof *entries, &entries));
    L2_CHECK(l2_calloc(m->ctx, (size_t)m->n_params, sizeof *feeds, &feeds));
    for (int32_t i = 0; i < m->n_params; i++) {
        const l2_param *p = &m->params[i];
        int there = !step && (!m->stored || !p->decay);
        feeds[i] = (feed){m, p, step, user};
        entries[i] = (l2_st_entry){
            .name = p->name,
            .dtype = dtype,
            .source = m->dtype,
            .n_dims = p->decay ? 2 : 1,
            .shape = {p->rows, p->columns},
            .data = there ? l2_param_data(m, p) : NULL,
            .fill = fill,
            .user = &feeds[i],
        };
    }
    L2_CHECK(l2_hf_write(m->ctx, path, &hf, entries, (size_t)m->n_params, 0));
done:
    l2_free(m->ctx, feeds);
    l2_free(m->ctx, entries);
    return status;
}
