/* The transformer, backward: each layer from its save set, last to first. */
#include "model/layer.h"

#include "base/alloc.h"

typedef struct backward_work {
    l2_tensor normed, dnormed; /* (T, D) */
    l2_tensor hidden, dhidden; /* (T, F) */
    l2_tensor d_o, dq;         /* (T, H, Dh) */
    l2_tensor dk, dv;          /* (T, KVH, Dh) */
} backward_work;

static void carve_backward(l2_carver *c, const llama2_config *g, int64_t n, backward_work *w)
{
    w->normed = l2_carve(c, 2, n, g->dim, 1);
    w->dnormed = l2_carve(c, 2, n, g->dim, 1);
    w->hidden = l2_carve(c, 2, n, g->ffn_dim, 1);
    w->dhidden = l2_carve(c, 2, n, g->ffn_dim, 1);
    w->d_o = l2_carve(c, 3, n, g->n_heads, g->head_dim);
    w->dq = l2_carve(c, 3, n, g->n_heads, g->head_dim);
    w->dk = l2_carve(c, 3, n, g->n_kv_heads, g->head_dim);
    w->dv = l2_carve(c, 3, n, g->n_kv_heads, g->head_dim);
}

static l2_tensor flat(const l2_tensor *t)
{
    return l2_tensor_2d(t->dtype, t->data, t->shape[0], t->shape[1] * t->shape[2]);
}

static l2_tensor *grad_of(const l2_gain *gain)
{
    return gain->grad.data ? (l2_tensor *)&gain->grad : NULL;
}

/* dx: the gradient of the layer's output; becomes that of its input. b->gate and b->up are used up. */
static llama2_status layer_backward(const llama2_model *model, const l2_layer *l, const l2_activations *a,
                                    l2_layer_buffers *b, backward_work *w, l2_tensor *dx)
{
    llama2_context *ctx = model->ctx;
    double eps = model->config.norm_eps;

    /* out = x2 + Wd (silu(Wg n) * Wu n), n = rmsnorm(x2) */
    L2_TRY(l2_op_swiglu_forward(ctx, &b->gate, &b->up, &w->hidden));
    L2_TRY(l2_linear_backward(ctx, &l->down, &w->hidden, dx, &w->dhidden, 0));
    L2_TRY(l2_op_swiglu_backward(ctx, &b->gate, &b->up, &w->dhidden, &b->gate, &b->up));
    L2_TRY(l2_op_rmsnorm_forward(ctx, &b->x2, &l->ffn_norm.weight, eps, &w->normed, NULL));
    L2_TRY(l2_linear_backward(ctx, &l->gate, &w->normed, &b->gate, &w->dnormed, 0));
    L2_TRY(l2_linear_backward(ctx, &l->up, &w->normed, &b->up, &w->dnormed, 1));
    L2_TRY(
        l2_op_rmsnorm_backward(ctx, &b->x2, &l->ffn_norm.weight, &b->rstd2, &w->dnormed, dx, 1, grad_of(&l->ffn_norm)));

    /* x2 = x + Wo attention(rope(Wq n), rope(Wk n), Wv n), n = rmsnorm(x) */
    l2_tensor o = flat(&b->o), d_o = flat(&w->d_o), dq = flat(&w->dq), dk = flat(&w->dk), dv = flat(&w->dv);
    L2_TRY(l2_linear_backward(ctx, &l->o, &o, dx, &d_o, 0));
    L2_TRY(l2_op_attention_backward(ctx, &b->q, &b->k, &b->v, &b->o, &b->lse, &w->d_o, &a->packing, &w->dq, &w->dk,
                                    &w->dv));
    L2_TRY(l2_op_rope(ctx, &w->dq, a->rotary.rows, &a->rotary.cosine, &a->rotary.sine, 1));
    L2_TRY(l2_op_rope(ctx, &w->dk, a->rotary.rows, &a->rotary.cosine, &a->rotary.sine, 1));
    L2_TRY(l2_op_rmsnorm_forward(ctx, &b->x, &l->attention_norm.weight, eps, &w->normed, NULL));
    L2_TRY(l2_linear_backward(ctx, &l->q, &w->normed, &dq, &w->dnormed, 0));
    L2_TRY(l2_linear_backward(ctx, &l->k, &w->normed, &dk, &w->dnormed, 1));
    L2_TRY(l2_linear_backward(ctx, &l->v, &w->normed, &dv, &w->dnormed, 1));
    return l2_op_rmsnorm_backward(ctx, &b->x, &l->attention_norm.weight, &b->rstd1, &w->dnormed, dx, 1,
                                  grad_of(&l->attention_norm));
}

llama2_status l2_model_backward(const llama2_model *model, l2_activations *a, l2_tensor *dx)
{
    llama2_context *ctx = model->ctx;
    const llama2_config *g = &model->config;
    int64_t n = a->n_tokens;
    llama2_status status;
    l2_layer_buffers b;
    l2_layer_work again; /* of the recomputed forward */
    backward_work w;
    l2_tensor last_x, last_rstd, out;
    void *memory = NULL;

    l2_carver c = {NULL, 0, model->dtype};
    carve_backward(&c, g, n, &w);
    L2_CHECK(l2_scratch_get(ctx, c.used, &memory));
    c = (l2_carver){memory, 0, model->dtype};
    carve_backward(&c, g, n, &w);
    again = (l2_layer_work){w.normed, w.hidden};

    l2_carve_activations(g, model->dtype, n, a->recompute, a->buffer, -1, NULL, &last_x, &last_rstd);
    L2_CHECK(l2_op_rmsnorm_backward(ctx, &last_x, &model->norm.weight, &last_rstd, dx, dx, 0, grad_of(&model->norm)));
    for (int32_t i = g->n_layers - 1; i >= 0; i--) {
        L2_CHECK(l2_context_check(ctx));
        l2_carve_activations(g, model->dtype, n, a->recompute, a->buffer, i, &b, &last_x, &last_rstd);
        if (a->recompute) {
            /* The layer's output is known: it goes where the next backward step overwrites it. */
            out = w.dnormed;
            L2_CHECK(l2_layer_forward(model, &model->layers[i], &a->rotary, &a->packing, NULL, NULL, &b, &again, &out));
        }
        L2_CHECK(layer_backward(model, &model->layers[i], a, &b, &w, dx));
    }
    if (model->embedding.grad.data) {
        l2_tensor dw = model->embedding.grad;
        L2_CHECK(l2_op_embedding_backward(ctx, &dw, a->tokens, dx));
    }
    status = LLAMA2_OK;
done:
    l2_scratch_put(ctx, memory);
    return status;
}
