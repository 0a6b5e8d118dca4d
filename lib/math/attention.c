/*
 * Attention: causal, block-diagonal over the sequences, grouped queries. Keys and values are worked on in blocks of
 * L2_KV_BLOCK positions, counted from the sequence's start, in the layout of the KV cache; the training forward is a
 * prefill into a cache that lives for the call. So a query's result has the same bits wherever it comes from. The
 * arithmetic is in kernel/attention.h.
 */
#include "math/attention.h"
#include "math/ops.h"
#include "base/alloc.h"
#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"
#include <math.h>
#include <string.h>

/* In place of l2_kv_layer.values: store no values. */
enum { NO_VALUES = -1 };

/* A piece of work: what `first` counts depends on the task. */
typedef struct attention_item {
    int32_t sequence;
    int64_t head, first;
    char *dq;        /* backward: where this segment's part goes */
    int64_t n_heads; /* forward: from `head` on */
} attention_item;

typedef struct attention_job {
    const l2_kernels *kernels;
    size_t size; /* of an element */
    int64_t heads, kv_heads, dh;
    const l2_kv_rows *rows;
    const l2_kv_layer *layer;
    const char *q, *k, *v;
    char *o, *lse;
    attention_item *items;
    char *workspace;
    size_t workspace_size; /* of a worker */
    /* backward */
    const int64_t *first_block; /* of each sequence in the call's own blocks */
    const char *keys_t, *keys, *values_t, *d_o, *out, *log_sum;
    char *dq, *dk, *dv;
} attention_job;

static size_t align(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static int64_t blocks_of(int64_t n)
{
    return (n + L2_KV_BLOCK - 1) / L2_KV_BLOCK;
}

static int64_t length_of(const l2_kv_rows *rows, int32_t sequence)
{
    return rows->offsets[sequence + 1] - rows->offsets[sequence];
}

static char *at(const void *base, int64_t element, size_t size)
{
    return (char *)base + (size_t)element * size;
}

/* --- storing keys and values ----------------------------------------------------------------- */

/* Rows of one sequence that fall into one block; item->first counts the sequence's blocks. */
static void store_block(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const attention_job *job = arg;
    const attention_item *item = &job->items[task];
    const l2_kv_rows *rows = job->rows;
    int64_t start = rows->start[item->sequence], end = start + length_of(rows, item->sequence),
            p0 = item->first * L2_KV_BLOCK;
    int64_t from = p0 > start ? p0 : start, to = p0 + L2_KV_BLOCK < end ? p0 + L2_KV_BLOCK : end;
    int64_t row = rows->offsets[item->sequence] + from - start, stride = job->kv_heads * job->dh;
    const l2_kv_layer *layer = job->layer;
    void *block = layer->blocks[rows->blocks[item->sequence][item->first]];
    for (int64_t h = 0; h < job->kv_heads; h++) {
        int64_t source = row * stride + h * job->dh, target = h * job->dh * L2_KV_BLOCK;
        job->kernels->attention_store(to - from, from - p0, job->dh, at(job->k, source, job->size),
                                      at(job->v, source, job->size), stride, at(block, layer->keys + target, job->size),
                                      layer->values == NO_VALUES ? NULL : at(block, layer->values + target, job->size));
    }
}

llama2_status l2_op_kv_store(llama2_context *ctx, const l2_tensor *k, const l2_tensor *v, const l2_kv_rows *rows,
                             l2_kv_layer *layer)
{
    attention_job job = {.kernels = l2_kernels_of(ctx, k->dtype),
                         .size = l2_dtype_size(k->dtype),
                         .kv_heads = layer->n_kv_heads,
                         .dh = layer->head_dim,
                         .rows = rows,
                         .layer = layer,
                         .k = k->data,
                         .v = v->data};
    int64_t n = 0;
    for (int32_t s = 0; s < rows->n_sequences; s++) n += blocks_of(length_of(rows, s)) + 1;
    L2_TRY(l2_scratch_get(ctx, (size_t)n * sizeof *job.items, &job.items));
    n = 0;
    for (int32_t s = 0; s < rows->n_sequences; s++) {
        int64_t end = blocks_of(rows->start[s] + length_of(rows, s));
        if (length_of(rows, s) == 0) continue;
        for (int64_t b = rows->start[s] / L2_KV_BLOCK; b < end; b++)
            job.items[n++] = (attention_item){.sequence = s, .first = b};
    }
    l2_parallel(ctx, (int32_t)n, store_block, &job);
    l2_scratch_put(ctx, job.items);
    return LLAMA2_OK;
}

void l2_op_kv_load(const l2_kv_layer *layer, const int32_t *blocks, int64_t start, l2_tensor *k, l2_tensor *v)
{
    size_t size = l2_dtype_size(layer->dtype);
    int64_t dh = layer->head_dim;
    for (int64_t t = 0; t < k->shape[0]; t++) {
        const void *block = layer->blocks[blocks[(start + t) / L2_KV_BLOCK]];
        int64_t p = (start + t) % L2_KV_BLOCK;
        for (int64_t h = 0; h < layer->n_kv_heads; h++) {
            int64_t row = (t * layer->n_kv_heads + h) * dh, part = h * dh * L2_KV_BLOCK;
            for (int64_t i = 0; i < dh; i++)
                memcpy(at(k->data, row + i, size), at(block, layer->keys + part + i * L2_KV_BLOCK + p, size), size);
            memcpy(at(v->data, row, size), at(block, layer->values + part + p * dh, size), (size_t)dh * size);
        }
    }
}

/* --- forward --------------------------------------------------------------------------------- */

static double scale_of(int64_t head_dim)
{
    return 1 / sqrt((double)head_dim);
}

/* Up to L2_ATTENTION_ROWS stacked rows of one sequence, from row item->first: of one kv head, or a few rows of each of
 * several. */
static void forward_rows(void *arg, int32_t task, int32_t worker)
{
    const attention_job *job = arg;
    const attention_item *item = &job->items[task];
    const l2_kv_rows *rows = job->rows;
    int64_t group = job->heads / job->kv_heads, left = length_of(rows, item->sequence) * group - item->first;
    int64_t head = rows->offsets[item->sequence] * job->heads + item->head * group,
            kv_part = item->head * job->dh * L2_KV_BLOCK;
    l2_attention_rows r = {
        .head_dim = job->dh,
        .group = group,
        .first_row = item->first,
        .n_rows = left < L2_ATTENTION_ROWS ? left : L2_ATTENTION_ROWS,
        .n_heads = item->n_heads,
        .start = rows->start[item->sequence],
        .scale = scale_of(job->dh),
        .q = at(job->q, head * job->dh, job->size),
        .o = at(job->o, head * job->dh, job->size),
        .lse = job->lse ? at(job->lse, head, job->size) : NULL,
        .stride = job->heads * job->dh,
        .lse_stride = job->heads,
        .blocks = rows->blocks[item->sequence],
        .memory = job->layer->blocks,
        .keys = job->layer->keys + kv_part,
        .values = job->layer->values + kv_part,
    };
    job->kernels->attention_forward(&r, job->workspace + (size_t)worker * job->workspace_size);
}

static int64_t keys_of(const l2_kv_rows *rows, int32_t sequence)
{
    return rows->start[sequence] + length_of(rows, sequence);
}

/*
 * kv heads of a sequence that a task takes together, `all_keys` being those of all sequences. Many rows use keys and
 * values again and again: one head, whose block stays in the cache. Few use them once, and memory gives most when it is
 * read on: as many heads as leave each worker a task, or four of about equal length where there are several sequences.
 */
static int64_t heads_together(const attention_job *job, int32_t sequence, int64_t n_rows, int64_t all_keys,
                              int64_t workers)
{
    if (n_rows > L2_FEW_ROWS) return 1;
    int64_t keys = keys_of(job->rows, sequence), share = (keys < all_keys ? 4 * workers : workers) * keys;
    int64_t heads = (job->kv_heads * all_keys + share - 1) / share;
    return heads * n_rows < L2_ATTENTION_ROWS ? heads : L2_ATTENTION_ROWS / n_rows;
}

static llama2_status forward(llama2_context *ctx, const l2_tensor *q, const l2_kv_layer *layer, const l2_kv_rows *rows,
                             l2_tensor *o, l2_tensor *lse)
{
    attention_job job = {.kernels = l2_kernels_of(ctx, q->dtype),
                         .size = l2_dtype_size(q->dtype),
                         .heads = q->shape[1],
                         .kv_heads = layer->n_kv_heads,
                         .dh = layer->head_dim,
                         .rows = rows,
                         .layer = layer,
                         .q = q->data,
                         .o = o->data,
                         .lse = lse ? lse->data : NULL};
    int64_t group = job.heads / job.kv_heads, n = 0, all_keys = 0;
    for (int32_t s = 0; s < rows->n_sequences; s++) {
        all_keys += length_of(rows, s) > 0 ? keys_of(rows, s) : 0;
        n += (length_of(rows, s) * group + L2_ATTENTION_ROWS - 1) / L2_ATTENTION_ROWS * job.kv_heads;
    }
    size_t items = align((size_t)n * sizeof *job.items);
    job.workspace_size = align((size_t)l2_attention_rows_workspace(job.dh) * job.size);
    char *scratch;
    L2_TRY(l2_scratch_get(ctx, items + job.workspace_size * (size_t)l2_workers(ctx), &scratch));
    job.items = (attention_item *)scratch;
    job.workspace = scratch + items;

    /* The last rows of a sequence see most keys: they come first, so that what is left at the end is short. */
    n = 0;
    for (int32_t s = 0; s < rows->n_sequences; s++) {
        int64_t n_rows = length_of(rows, s) * group, first = (n_rows - 1) / L2_ATTENTION_ROWS * L2_ATTENTION_ROWS;
        if (n_rows == 0) continue;
        for (; first >= 0; first -= L2_ATTENTION_ROWS) {
            int64_t heads = heads_together(&job, s, n_rows - first, all_keys, l2_workers(ctx));
            for (int64_t h = 0; h < job.kv_heads; h += heads) {
                int64_t n_heads = job.kv_heads - h < heads ? job.kv_heads - h : heads;
                job.items[n++] = (attention_item){.sequence = s, .head = h, .n_heads = n_heads, .first = first};
            }
        }
    }
    l2_parallel(ctx, (int32_t)n, forward_rows, &job);
    l2_scratch_put(ctx, scratch);
    return LLAMA2_OK;
}

llama2_status l2_op_attention_cached(llama2_context *ctx, const l2_tensor *q, const l2_kv_layer *layer,
                                     const l2_kv_rows *rows, l2_tensor *o)
{
    return forward(ctx, q, layer, rows, o, NULL);
}

/* --- a cache that lives for the call --------------------------------------------------------- */

typedef struct attention_cache {
    l2_kv_rows rows;
    int64_t *start;
    int32_t *ids;
    const int32_t **blocks;
    int64_t *first_block;
    int64_t n_blocks;
    void **memory; /* of the blocks: of the first part */
    int64_t part;  /* elements of all keys, or of all values */
    char *data;    /* `parts` parts */
} attention_cache;

static void cache_free(llama2_context *ctx, attention_cache *cache)
{
    l2_scratch_put(ctx, cache->start);
    l2_scratch_put(ctx, cache->data);
}

static llama2_status cache_create(llama2_context *ctx, const l2_packing *packing, const l2_tensor *k, size_t parts,
                                  attention_cache *cache)
{
    llama2_status status;
    size_t n = (size_t)packing->n_sequences;
    *cache = (attention_cache){.rows = {.n_sequences = packing->n_sequences, .offsets = packing->offsets}};
    for (size_t s = 0; s < n; s++) cache->n_blocks += blocks_of(packing->offsets[s + 1] - packing->offsets[s]);
    size_t size = l2_dtype_size(k->dtype), blocks = (size_t)cache->n_blocks;
    int64_t block = L2_KV_BLOCK * k->shape[1] * k->shape[2];
    cache->part = cache->n_blocks * block;
    size_t tables = n * (2 * sizeof(int64_t) + sizeof(int32_t *)) + blocks * (sizeof(void *) + sizeof(int32_t));
    L2_CHECK(l2_scratch_get(ctx, tables, &cache->start));
    L2_CHECK(l2_scratch_get(ctx, parts * (size_t)cache->part * size, &cache->data));
    cache->first_block = cache->start + n;
    cache->blocks = (const int32_t **)(cache->first_block + n);
    cache->memory = (void **)(cache->blocks + n);
    cache->ids = (int32_t *)(cache->memory + blocks);
    for (int64_t b = 0; b < cache->n_blocks; b++) {
        cache->ids[b] = (int32_t)b;
        cache->memory[b] = at(cache->data, b * block, size);
    }
    int64_t first = 0;
    for (size_t s = 0; s < n; s++) {
        cache->start[s] = 0;
        cache->first_block[s] = first;
        cache->blocks[s] = cache->ids + first;
        first += blocks_of(packing->offsets[s + 1] - packing->offsets[s]);
    }
    cache->rows.start = cache->start;
    cache->rows.blocks = cache->blocks;
done:
    if (status < 0) cache_free(ctx, cache);
    return status;
}

llama2_status l2_op_attention_forward(llama2_context *ctx, const l2_tensor *q, const l2_tensor *k, const l2_tensor *v,
                                      const l2_packing *packing, l2_tensor *o, l2_tensor *lse)
{
    llama2_status status;
    attention_cache cache;
    L2_TRY(cache_create(ctx, packing, k, 2, &cache));
    l2_kv_layer layer = {k->dtype, k->shape[1], k->shape[2], cache.memory, 0, cache.part};
    L2_CHECK(l2_op_kv_store(ctx, k, v, &cache.rows, &layer));
    L2_CHECK(forward(ctx, q, &layer, &cache.rows, o, lse));
done:
    cache_free(ctx, &cache);
    return status;
}

/* --- backward -------------------------------------------------------------------------------- */

/*
 * A sequence's keys are cut into at most 4 segments of at least 256, by the sequence's length alone. Each is a task: it
 * writes its dk and dv, and its part of dq (the first segment into dq itself). Then the parts are added in the order of
 * the segments.
 */
static int64_t segment_of(int64_t length)
{
    int64_t n = (length + 3) / 4;
    return n <= 256 ? 256 : blocks_of(n) * L2_KV_BLOCK;
}

static int64_t segments_of(int64_t length)
{
    return (length + segment_of(length) - 1) / segment_of(length);
}

/* item->first is the segment's first key. */
static void backward_segment(void *arg, int32_t task, int32_t worker)
{
    const attention_job *job = arg;
    const attention_item *item = &job->items[task];
    int64_t first_row = job->rows->offsets[item->sequence], length = length_of(job->rows, item->sequence),
            group = job->heads / job->kv_heads;
    int64_t head = first_row * job->heads + item->head * group, kv = (first_row * job->kv_heads + item->head) * job->dh;
    int64_t n_keys = segment_of(length),
            block = (job->first_block[item->sequence] * job->kv_heads + item->head) * job->dh * L2_KV_BLOCK;
    l2_attention_segment t = {
        .head_dim = job->dh,
        .group = group,
        .n_positions = length,
        .first_key = item->first,
        .n_keys = length - item->first < n_keys ? length - item->first : n_keys,
        .scale = scale_of(job->dh),
        .q = at(job->q, head * job->dh, job->size),
        .o = at(job->out, head * job->dh, job->size),
        .d_o = at(job->d_o, head * job->dh, job->size),
        .stride = job->heads * job->dh,
        .lse = at(job->log_sum, head, job->size),
        .lse_stride = job->heads,
        .keys_t = at(job->keys_t, block, job->size),
        .keys = at(job->keys, block, job->size),
        .values_t = at(job->values_t, block, job->size),
        .block_stride = job->kv_heads * job->dh * L2_KV_BLOCK,
        .dk = at(job->dk, kv, job->size),
        .dv = at(job->dv, kv, job->size),
        .kv_stride = job->kv_heads * job->dh,
        .dq = at(item->dq, item->head * group * job->dh, job->size),
    };
    job->kernels->attention_backward(&t, job->workspace + (size_t)worker * job->workspace_size);
}

/* dq of one position += the parts of the later segments; item->first is the position. */
static void add_parts(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const attention_job *job = arg;
    const attention_item *item = &job->items[task];
    int64_t length = length_of(job->rows, item->sequence), segment = segment_of(length), row = job->heads * job->dh;
    char *part = item->dq, *dq = at(job->dq, job->rows->offsets[item->sequence] * row, job->size);
    for (int64_t first = segment; first < length; first += segment) {
        int64_t from = item->first > first ? item->first : first,
                to = item->first + L2_KV_BLOCK < length ? item->first + L2_KV_BLOCK : length;
        if (from < to)
            job->kernels->attention_add((to - from) * row, at(part, (from - first) * row, job->size),
                                        at(dq, from * row, job->size));
        part = at(part, (length - first) * row, job->size);
    }
}

/* Rows of all parts of a sequence's dq but the first. */
static int64_t part_rows(int64_t length)
{
    int64_t n = 0;
    for (int64_t first = segment_of(length); first < length; first += segment_of(length)) n += length - first;
    return n;
}

static int64_t list_segments(attention_job *job, char *parts)
{
    int64_t n = 0, row = job->heads * job->dh, most = 0;
    for (int32_t s = 0; s < job->rows->n_sequences; s++) {
        if (segments_of(length_of(job->rows, s)) > most) most = segments_of(length_of(job->rows, s));
    }
    for (int64_t i = 0; i < most; i++) { /* the earlier a segment, the more queries see it */
        char *part = parts;
        for (int32_t s = 0; s < job->rows->n_sequences; s++) {
            int64_t length = length_of(job->rows, s), segment = segment_of(length);
            if (i < segments_of(length)) {
                char *dq = at(job->dq, job->rows->offsets[s] * row, job->size);
                if (i > 0) {
                    dq = part;
                    for (int64_t j = 1; j < i; j++) dq = at(dq, (length - j * segment) * row, job->size);
                }
                for (int64_t h = 0; h < job->kv_heads; h++)
                    job->items[n++] = (attention_item){.sequence = s, .head = h, .first = i * segment, .dq = dq};
            }
            part = at(part, part_rows(length) * row, job->size);
        }
    }
    return n;
}

static int64_t list_sums(attention_job *job, char *parts)
{
    int64_t n = 0;
    for (int32_t s = 0; s < job->rows->n_sequences; s++) {
        int64_t length = length_of(job->rows, s), segment = segment_of(length);
        for (int64_t p = segment; p < length; p += L2_KV_BLOCK)
            job->items[n++] = (attention_item){.sequence = s, .first = p, .dq = parts};
        parts = at(parts, part_rows(length) * job->heads * job->dh, job->size);
    }
    return n;
}

llama2_status l2_op_attention_backward(llama2_context *ctx, const l2_tensor *q, const l2_tensor *k, const l2_tensor *v,
                                       const l2_tensor *o, const l2_tensor *lse, const l2_tensor *d_o,
                                       const l2_packing *packing, l2_tensor *dq, l2_tensor *dk, l2_tensor *dv)
{
    llama2_status status;
    char *scratch = NULL;
    attention_cache cache;
    L2_TRY(cache_create(ctx, packing, k, 3, &cache));
    attention_job job = {.kernels = l2_kernels_of(ctx, q->dtype),
                         .size = l2_dtype_size(q->dtype),
                         .heads = q->shape[1],
                         .kv_heads = k->shape[1],
                         .dh = k->shape[2],
                         .rows = &cache.rows,
                         .first_block = cache.first_block,
                         .q = q->data,
                         .out = o->data,
                         .d_o = d_o->data,
                         .log_sum = lse->data,
                         .keys_t = cache.data,
                         .keys = at(cache.data, cache.part, l2_dtype_size(k->dtype)),
                         .values_t = at(cache.data, 2 * cache.part, l2_dtype_size(k->dtype)),
                         .dq = dq->data,
                         .dk = dk->data,
                         .dv = dv->data};
    int64_t rows = 0, n = 0;
    for (int32_t s = 0; s < packing->n_sequences; s++) {
        int64_t length = length_of(&cache.rows, s), segments = segments_of(length) * job.kv_heads,
                sums = blocks_of(length);
        rows += part_rows(length);
        n += segments > sums ? segments : sums;
    }
    size_t items = align((size_t)n * sizeof *job.items), parts = align((size_t)(rows * job.heads * job.dh) * job.size);
    job.workspace_size = align((size_t)l2_attention_segment_workspace(job.dh) * job.size);
    L2_CHECK(l2_scratch_get(ctx, items + parts + job.workspace_size * (size_t)l2_workers(ctx), &scratch));
    job.items = (attention_item *)scratch;
    job.workspace = scratch + items + parts;

    l2_kv_layer keys = {k->dtype, job.kv_heads, job.dh, cache.memory, 0, cache.part};
    l2_kv_layer values = {k->dtype, job.kv_heads, job.dh, cache.memory, 2 * cache.part, NO_VALUES};
    L2_CHECK(l2_op_kv_store(ctx, k, k, &cache.rows, &keys));
    L2_CHECK(l2_op_kv_store(ctx, v, v, &cache.rows, &values));
    l2_parallel(ctx, (int32_t)list_segments(&job, scratch + items), backward_segment, &job);
    if (rows > 0) l2_parallel(ctx, (int32_t)list_sums(&job, scratch + items), add_parts, &job);
done:
    l2_scratch_put(ctx, scratch);
    cache_free(ctx, &cache);
    return status;
}
