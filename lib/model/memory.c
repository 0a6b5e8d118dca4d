/* How much memory a model takes, before anything is allocated: bounds, held against a counting allocator by
 * tests/unit/model/test_memory.c. */
#include "model/layer.h"

#include "math/ops.h"
#include "model/kv_cache.h"

/* A worker's share of an op's scratch: packed panels of 64 x 512 and of up to 384 x 512 elements in a product
 * (math/gemm.c). The tiles of attention count as much as the first, and grow with the heads (math/attention.h). */
enum { PANEL = 64 * 512, PANEL_ROWS = 384, PANEL_DEPTH = 512, TILE_ROWS = 4 * 48, MOST_WORKERS = 64 };
/* A layer's structs and names, and what surrounds them: handles, a context. */
enum { LAYER_STRUCTS = 4096, STRUCTS = 128 << 10 };

static int64_t count_parameters(const llama2_config *c)
{
    int64_t d = c->dim, q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    int64_t per_layer = 2 * q * d + 2 * kv * d + 3 * d * c->ffn_dim + 2 * d;
    return c->n_layers * per_layer + d + (int64_t)c->vocab_size * d * (c->tied ? 1 : 2);
}

/* Working tensors of a forward; with training also those of a backward. */
static int64_t count_work(const llama2_config *c, const llama2_memory_options *o, int64_t n)
{
    int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    l2_layer_buffers b;
    l2_layer_work work;
    l2_rotary rotary;
    l2_carver carver = {NULL, 0, o->dtype};
    l2_carve_work(&carver, c, n, &work);
    if (!o->train) {
        l2_carve_layer(&carver, c, n, 0, 1, &b);
        l2_carve_rotary(&carver, c, n, &rotary);
    }
    int64_t backward = 2 * n * (c->dim + c->ffn_dim + q + kv) * (int64_t)l2_dtype_size(o->dtype);
    return (int64_t)carver.used + (o->train ? backward : 0);
}

/* Scratch of the ops over n tokens: a block of each size that they ask for may be kept. */
static int64_t count_scratch(const llama2_config *c, const llama2_memory_options *o, int64_t n)
{
    int64_t size = (int64_t)l2_dtype_size(o->dtype), workers = o->n_threads > 0 ? o->n_threads : MOST_WORKERS;
    int64_t sequences = o->batch_sequences > 0 ? o->batch_sequences : 1, blocks = n / L2_KV_BLOCK + sequences;
    int64_t rows = o->train || n > PANEL_ROWS ? PANEL_ROWS : n;
    int64_t products = workers * ((o->train ? 3 : 2) * PANEL + rows * PANEL_DEPTH + TILE_ROWS * c->head_dim) * size,
            head = l2_head_chunk(c->vocab_size, o->dtype, n) * c->vocab_size * size;

    /* Keys and values of all blocks, three times in a backward, which also adds up the parts of dq: at most one and a
     * half of it (math/attention.c). */
    int64_t keys = blocks * L2_KV_BLOCK * c->n_kv_heads * c->head_dim * size, q = n * c->n_heads * c->head_dim * size;
    int64_t items = 64 * (n * c->n_heads / 48 + 4 * (sequences + blocks) * c->n_kv_heads) + 64 * blocks;
    int64_t attention = o->train ? 3 * keys + q + q / 2 + 2 * items : 2 * keys + items;

    /* Hidden states, the rows before the targets and their gradient; targets, losses, parts of the batch. */
    int64_t rows_of_loss = (o->train ? 3 : 2) * n * c->dim * size + 64 * n + 8 * sequences;
    /* Partial sums of the gradient's norm. */
    int64_t sums = o->train ? count_parameters(c) / 4096 : 0;
    return products + head + attention + rows_of_loss + sums;
}

/* A session has up to a quarter more blocks than it needs, with 16 bytes of tables and the ids of their tokens for
 * each, twice while it grows; logits, their copy in fp32, the sampler's room and the penalties' are under 48 bytes a
 * token of the vocabulary. */
static int64_t count_cache(const llama2_config *c, const llama2_memory_options *o)
{
    if (o->kv_tokens == 0) return 0;
    /* In 64 bits, unlike l2_kv_blocks_for: these blocks are only counted. */
    int64_t bytes = (int64_t)l2_kv_block_bytes(c, o->dtype), blocks = (o->kv_tokens - 1) / L2_KV_BLOCK + 1;
    blocks += blocks / 4 + 4;
    return blocks * (bytes + 32 + 2 * 4 * L2_KV_BLOCK) + (int64_t)c->vocab_size * 48 +
           l2_kv_blocks_for(c->max_seq_len) * 4;
}

/* Refuses numbers whose products below would not fit 64 bits. */
static llama2_status check_sizes(const llama2_config *c, const llama2_memory_options *o)
{
    if (o->batch_tokens < 0 || o->kv_tokens < 0 || o->n_threads < 0)
        return l2_fail(LLAMA2_E_INVALID,
                       "memory estimate: batch_tokens %lld, kv_tokens %lld, n_threads %d: expected numbers >= 0",
                       (long long)o->batch_tokens, (long long)o->kv_tokens, o->n_threads);
    if (o->batch_sequences < 0 || o->batch_sequences > o->batch_tokens)
        return l2_fail(LLAMA2_E_INVALID,
                       "memory estimate: %lld sequences of together %lld tokens; each has at least one",
                       (long long)o->batch_sequences, (long long)o->batch_tokens);
    double width = (double)c->dim + c->ffn_dim + (double)c->head_dim * c->n_heads;
    if (((double)o->batch_tokens + (double)o->kv_tokens) * width * (c->n_layers + 64.0) * 64 > 0x1p62)
        return l2_fail(LLAMA2_E_LIMIT,
                       "memory estimate: %lld and %lld tokens would take more bytes than can be counted",
                       (long long)o->batch_tokens, (long long)o->kv_tokens);
    return LLAMA2_OK;
}

llama2_status l2_memory_estimate(const llama2_config *c, const llama2_memory_options *o, llama2_memory *m)
{
    L2_TRY(l2_config_check(c));
    L2_TRY(check_sizes(c, o));
    if (o->weights == LLAMA2_WEIGHTS_AS_STORED && (o->train || o->dtype != LLAMA2_F32))
        return l2_fail(LLAMA2_E_INVALID,
                       "memory estimate: weights as stored can't be trained, and compute in LLAMA2_F32");
    int64_t size = (int64_t)l2_dtype_size(o->dtype), n = o->batch_tokens, arena = count_parameters(c) * size;
    int64_t frequencies = (int64_t)c->head_dim * 4, structs = STRUCTS + (int64_t)c->n_layers * LAYER_STRUCTS;
    int64_t in_memory = o->weights == LLAMA2_WEIGHTS_AS_STORED ? (2 * (int64_t)c->n_layers + 1) * c->dim * size : arena;
    m->weights = in_memory + frequencies + structs;
    m->gradients = o->train ? arena : 0;
    m->optimizer = o->train ? 2 * arena : 0;
    m->activations = o->train && n > 0 ? (int64_t)l2_activations_bytes(c, o->dtype, n, o->recompute) : 0;
    m->kv_cache = count_cache(c, o);
    /* A third more: blocks for batches of a quarter of the size, of a quarter of that, ... are kept beside the large
     * ones (base/alloc.c). */
    m->scratch = n > 0 ? (count_work(c, o, n) + count_scratch(c, o, n)) / 3 * 4 : 0;
    m->total = m->weights + m->gradients + m->optimizer + m->activations + m->kv_cache + m->scratch;
    return LLAMA2_OK;
}
