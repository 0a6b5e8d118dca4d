/* How much memory a model takes, before anything is allocated. */
#include "model/layer.h"

#include "model/kv_cache.h"

/* Scratch of the ops for two threads or many: packed panels, attention tiles. Bounded by constants in lib/math/. */
static const int64_t op_scratch = INT64_C(64) << 20;
/* Logits of the rows that the head works on at once (lib/math/head.c). */
static const int64_t head_chunk = INT64_C(16) << 20;

static int64_t count_parameters(const llama2_config *c)
{
    int64_t d = c->dim, q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    int64_t per_layer = 2 * q * d + 2 * kv * d + 3 * d * c->ffn_dim + 2 * d;
    return c->n_layers * per_layer + d + (int64_t)c->vocab_size * d * (c->tied ? 1 : 2);
}

llama2_status l2_memory_estimate(const llama2_config *c, const llama2_memory_options *o, llama2_memory *m)
{
    L2_TRY(l2_config_check(c));
    if (o->batch_tokens < 0 || o->kv_tokens < 0)
        return l2_fail(LLAMA2_E_INVALID, "memory estimate: batch_tokens %lld, kv_tokens %lld: expected numbers >= 0", (long long)o->batch_tokens,
                       (long long)o->kv_tokens);
    int64_t size = (int64_t)l2_dtype_size(o->dtype), n = o->batch_tokens, arena = count_parameters(c) * size;
    int64_t tables = (int64_t)c->max_seq_len * c->head_dim * size;
    l2_layer_buffers b;
    l2_layer_work work;
    l2_carver forward = {NULL, 0, o->dtype};
    l2_carve_layer(&forward, c, n, 0, 1, &b);
    l2_carve_work(&forward, c, n, &work);

    m->weights = arena + tables;
    m->gradients = o->train ? arena : 0;
    m->optimizer = o->train ? 2 * arena : 0;
    m->activations = o->train && n > 0 ? (int64_t)l2_activations_bytes(c, o->dtype, n, o->recompute) : 0;
    m->kv_cache = l2_kv_blocks_for(o->kv_tokens) * (int64_t)l2_kv_block_bytes(c, o->dtype);
    /* Working tensors of a forward, twice in a backward; hidden states and the gathered rows of the head with their gradients; op scratch. */
    m->scratch = n > 0 ? (o->train ? 2 : 1) * (int64_t)forward.used + 3 * n * c->dim * size + op_scratch + head_chunk + 64 * (int64_t)c->vocab_size * size : 0;
    m->total = m->weights + m->gradients + m->optimizer + m->activations + m->kv_cache + m->scratch;
    return LLAMA2_OK;
}
