/* The transformer, forward (section 2.2). */
#include "model/layer.h"

#include "base/alloc.h"

#include <string.h>

void *l2_carve_bytes(l2_carver *c, size_t bytes)
{
    void *at = c->memory ? c->memory + c->used : NULL;
    c->used += (bytes + 63) & ~(size_t)63;
    return at;
}

l2_tensor l2_carve(l2_carver *c, int32_t n_dims, int64_t n0, int64_t n1, int64_t n2)
{
    l2_tensor t = {c->dtype, n_dims, {n0, n1, n2, 1}, NULL};
    t.data = l2_carve_bytes(c, (size_t)l2_tensor_size(&t) * l2_dtype_size(c->dtype));
    return t;
}

void l2_carve_layer(l2_carver *c, const llama2_config *g, int64_t n, int saved, int with_input, l2_layer_buffers *b)
{
    memset(b, 0, sizeof *b);
    if (with_input) b->x = l2_carve(c, 2, n, g->dim, 1);
    b->q = l2_carve(c, 3, n, g->n_heads, g->head_dim);
    b->o = l2_carve(c, 3, n, g->n_heads, g->head_dim);
    b->k = l2_carve(c, 3, n, g->n_kv_heads, g->head_dim);
    b->v = l2_carve(c, 3, n, g->n_kv_heads, g->head_dim);
    b->gate = l2_carve(c, 2, n, g->ffn_dim, 1);
    b->up = l2_carve(c, 2, n, g->ffn_dim, 1);
    if (!saved) return;
    b->rstd1 = l2_carve(c, 1, n, 1, 1);
    b->rstd2 = l2_carve(c, 1, n, 1, 1);
    b->lse = l2_carve(c, 2, n, g->n_heads, 1);
    b->x2 = l2_carve(c, 2, n, g->dim, 1);
}

void l2_carve_work(l2_carver *c, const llama2_config *g, int64_t n, l2_layer_work *w)
{
    w->normed = l2_carve(c, 2, n, g->dim, 1);
    w->hidden = l2_carve(c, 2, n, g->ffn_dim, 1);
}

size_t l2_carve_activations(const llama2_config *g, int32_t dtype, int64_t n, int recompute, void *memory,
                            int32_t layer, l2_layer_buffers *buffers, l2_tensor *last_x, l2_tensor *last_rstd)
{
    l2_carver c = {memory, 0, dtype};
    l2_tensor x = {0};
    l2_layer_buffers b;
    for (int32_t i = 0; i < g->n_layers; i++) {
        if (recompute)
            b.x = l2_carve(&c, 2, n, g->dim, 1);
        else
            l2_carve_layer(&c, g, n, 1, 1, &b);
        if (i == layer) *buffers = b, x = b.x;
    }
    if (recompute) {
        l2_carve_layer(&c, g, n, 1, 0, &b);
        if (layer >= 0) *buffers = b, buffers->x = x;
    }
    *last_x = l2_carve(&c, 2, n, g->dim, 1);
    *last_rstd = l2_carve(&c, 1, n, 1, 1);
    return c.used;
}

void l2_activations_init(l2_activations *a, llama2_context *ctx, int recompute)
{
    memset(a, 0, sizeof *a);
    a->ctx = ctx;
    a->recompute = recompute;
}

void l2_activations_free(l2_activations *a)
{
    l2_free(a->ctx, a->buffer);
    a->buffer = NULL;
    a->capacity = 0;
}

size_t l2_activations_bytes(const llama2_config *config, int32_t dtype, int64_t n_tokens, int recompute)
{
    l2_tensor x, rstd;
    l2_rotary rotary;
    l2_carver c = {NULL, 0, dtype};
    c.used = l2_carve_activations(config, dtype, n_tokens, recompute, NULL, -1, NULL, &x, &rstd);
    l2_carve_rotary(&c, config, n_tokens, &rotary);
    return c.used;
}

/* Positions restart with every sequence. */
static void count_positions(const llama2_batch *batch, int32_t *positions)
{
    for (int32_t s = 0; s < batch->n_sequences; s++)
        for (int64_t t = batch->offsets[s]; t < batch->offsets[s + 1]; t++)
            positions[t] = (int32_t)(t - batch->offsets[s]);
}

llama2_status l2_layer_forward(const llama2_model *model, const l2_layer *l, const l2_rotary *rotary,
                               const l2_packing *packing, l2_kv_layer *cache, const l2_kv_rows *rows,
                               l2_layer_buffers *b, l2_layer_work *work, l2_tensor *out)
{
    llama2_context *ctx = model->ctx;
    double eps = model->config.norm_eps;
    l2_tensor *normed = &work->normed, *x2 = b->x2.data ? &b->x2 : out;
    l2_tensor *rstd1 = b->rstd1.data ? &b->rstd1 : NULL, *rstd2 = b->rstd2.data ? &b->rstd2 : NULL;

    L2_TRY(l2_op_rmsnorm_forward(ctx, &b->x, &l->attention_norm.weight, eps, normed, rstd1));
    L2_TRY(l2_linears_forward(ctx, 3, (const l2_linear *[]){&l->q, &l->k, &l->v}, normed,
                              (l2_tensor *[]){&b->q, &b->k, &b->v}));
    L2_TRY(l2_op_rope(ctx, &b->q, rotary->rows, &rotary->cosine, &rotary->sine, 0));
    L2_TRY(l2_op_rope(ctx, &b->k, rotary->rows, &rotary->cosine, &rotary->sine, 0));
    if (cache) {
        L2_TRY(l2_op_kv_store(ctx, &b->k, &b->v, rows, cache));
        L2_TRY(l2_op_attention_cached(ctx, &b->q, cache, rows, &b->o));
    } else {
        L2_TRY(l2_op_attention_forward(ctx, &b->q, &b->k, &b->v, packing, &b->o, b->lse.data ? &b->lse : NULL));
    }

    /* x2 = x + Wo o */
    l2_tensor o = l2_tensor_2d(b->o.dtype, b->o.data, b->o.shape[0], b->o.shape[1] * b->o.shape[2]);
    if (x2->data != b->x.data) L2_TRY(l2_op_copy(ctx, &b->x, x2));
    L2_TRY(l2_linear_forward(ctx, &l->o, &o, x2, 1));

    /* out = x2 + Wd (silu(Wg n) * Wu n) */
    L2_TRY(l2_op_rmsnorm_forward(ctx, x2, &l->ffn_norm.weight, eps, normed, rstd2));
    L2_TRY(
        l2_linears_forward(ctx, 2, (const l2_linear *[]){&l->gate, &l->up}, normed, (l2_tensor *[]){&b->gate, &b->up}));
    L2_TRY(l2_op_swiglu_forward(ctx, &b->gate, &b->up, &work->hidden));
    if (x2->data != out->data) L2_TRY(l2_op_copy(ctx, x2, out));
    return l2_linear_forward(ctx, &l->down, &work->hidden, out, 1);
}

static void carve_alone(l2_carver *c, const llama2_config *g, int64_t n, l2_layer_buffers *b, l2_layer_work *work,
                        l2_rotary *rotary)
{
    l2_carve_layer(c, g, n, 0, 0, b);
    l2_carve_work(c, g, n, work);
    l2_carve_rotary(c, g, n, rotary);
}

/* Keeps nothing but one layer's buffers. */
static llama2_status forward_alone(const llama2_model *model, const llama2_batch *batch, l2_tensor *x)
{
    llama2_context *ctx = model->ctx;
    llama2_status status;
    l2_layer_buffers b;
    l2_layer_work work;
    l2_rotary rotary;
    void *memory = NULL;
    l2_carver c = {NULL, 0, model->dtype};
    carve_alone(&c, &model->config, batch->n_tokens, &b, &work, &rotary);
    L2_CHECK(l2_scratch_get(ctx, c.used, &memory));
    c = (l2_carver){memory, 0, model->dtype};
    carve_alone(&c, &model->config, batch->n_tokens, &b, &work, &rotary);
    b.x = *x;
    count_positions(batch, rotary.positions);
    L2_CHECK(l2_rotary_make(model, batch->n_tokens, &rotary));
    l2_packing packing = {batch->n_sequences, batch->offsets};
    L2_CHECK(l2_op_embedding_forward(ctx, &model->embedding, batch->tokens, x));
    for (int32_t i = 0; i < model->config.n_layers; i++) {
        L2_CHECK(l2_context_check(ctx));
        L2_CHECK(l2_layer_forward(model, &model->layers[i], &rotary, &packing, NULL, NULL, &b, &work, x));
    }
    status = l2_op_rmsnorm_forward(ctx, x, &model->norm.weight, model->config.norm_eps, x, NULL);
done:
    l2_scratch_put(ctx, memory);
    return status;
}

static llama2_status reserve(l2_activations *a, size_t bytes)
{
    if (a->capacity >= bytes) return LLAMA2_OK;
    l2_activations_free(a);
    L2_TRY(l2_alloc(a->ctx, bytes, 1, &a->buffer));
    a->capacity = bytes;
    return LLAMA2_OK;
}

static llama2_status forward_saved(const llama2_model *model, const llama2_batch *batch, l2_activations *a,
                                   l2_tensor *hidden)
{
    llama2_context *ctx = model->ctx;
    const llama2_config *g = &model->config;
    int64_t n = batch->n_tokens;
    llama2_status status;
    l2_layer_buffers b, next;
    l2_layer_work work;
    l2_tensor last_x, last_rstd;
    void *memory = NULL;
    L2_TRY(reserve(a, l2_activations_bytes(g, model->dtype, n, a->recompute)));
    size_t tensors = l2_carve_activations(g, model->dtype, n, a->recompute, a->buffer, 0, &b, &last_x, &last_rstd);
    l2_carver c = {a->buffer, tensors, model->dtype};
    l2_carve_rotary(&c, g, n, &a->rotary);
    a->n_tokens = n;
    a->tokens = batch->tokens;
    a->packing = (l2_packing){batch->n_sequences, batch->offsets};
    count_positions(batch, a->rotary.positions);
    L2_TRY(l2_rotary_make(model, n, &a->rotary));

    c = (l2_carver){NULL, 0, model->dtype};
    l2_carve_work(&c, g, n, &work);
    L2_CHECK(l2_scratch_get(ctx, c.used, &memory));
    c = (l2_carver){memory, 0, model->dtype};
    l2_carve_work(&c, g, n, &work);

    L2_CHECK(l2_op_embedding_forward(ctx, &model->embedding, batch->tokens, &b.x));
    for (int32_t i = 0; i < g->n_layers; i++) {
        l2_tensor *out = &last_x;
        L2_CHECK(l2_context_check(ctx));
        if (i + 1 < g->n_layers) {
            l2_carve_activations(g, model->dtype, n, a->recompute, a->buffer, i + 1, &next, &last_x, &last_rstd);
            out = &next.x;
        }
        L2_CHECK(l2_layer_forward(model, &model->layers[i], &a->rotary, &a->packing, NULL, NULL, &b, &work, out));
        b = next;
    }
    status = l2_op_rmsnorm_forward(ctx, &last_x, &model->norm.weight, g->norm_eps, hidden, &last_rstd);
done:
    l2_scratch_put(ctx, memory);
    return status;
}

llama2_status l2_model_forward(const llama2_model *model, const llama2_batch *batch, l2_activations *activations,
                               l2_tensor *hidden)
{
    return activations ? forward_saved(model, batch, activations, hidden) : forward_alone(model, batch, hidden);
}
