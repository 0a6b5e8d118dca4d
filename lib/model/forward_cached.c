/* The transformer over new tokens of cached sequences: prefill and decode. The same layer as in forward.c. */
#include "base/alloc.h"
#include "model/kv_cache.h"
#include "model/layer.h"

llama2_status l2_model_forward_cached(const llama2_model *model, l2_kv_cache *cache, const l2_kv_rows *rows,
                                      const int32_t *tokens, const int64_t *wanted, int64_t n, l2_tensor *hidden)
{
    llama2_context *ctx = model->ctx;
    const llama2_config *g = &model->config;
    llama2_status status;
    int64_t n_tokens = rows->offsets[rows->n_sequences];
    l2_layer_buffers b;
    l2_layer_work work;
    void *memory = NULL;
    l2_rotary rotary;

    l2_carver c = {NULL, 0, model->dtype};
    l2_carve_layer(&c, g, n_tokens, 0, 1, &b);
    l2_carve_work(&c, g, n_tokens, &work);
    l2_carve_rotary(&c, g, n_tokens, &rotary);
    L2_CHECK(l2_scratch_get(ctx, c.used, &memory));
    c = (l2_carver){memory, 0, model->dtype};
    l2_carve_layer(&c, g, n_tokens, 0, 1, &b);
    l2_carve_work(&c, g, n_tokens, &work);
    l2_carve_rotary(&c, g, n_tokens, &rotary);
    for (int32_t s = 0; s < rows->n_sequences; s++)
        for (int64_t t = rows->offsets[s]; t < rows->offsets[s + 1]; t++)
            rotary.positions[t] = (int32_t)(rows->start[s] + t - rows->offsets[s]);
    L2_CHECK(l2_rotary_make(model, n_tokens, &rotary));

    l2_tensor x = b.x;
    L2_CHECK(l2_op_embedding_forward(ctx, &model->embedding, tokens, &x));
    for (int32_t i = 0; i < g->n_layers; i++) {
        L2_CHECK(l2_context_check(ctx));
        L2_CHECK(l2_layer_forward(model, &model->layers[i], &rotary, NULL, &cache->layers[i], rows, &b, &work, &x));
    }
    hidden->shape[0] = n;
    L2_CHECK(l2_op_gather_rows(ctx, &x, wanted, hidden));
    status = l2_op_rmsnorm_forward(ctx, hidden, &model->norm.weight, g->norm_eps, hidden, NULL);
done:
    l2_scratch_put(ctx, memory);
    return status;
}
