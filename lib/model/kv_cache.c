/* Blocks of the KV cache: handing out, sharing, growing. */
#include "model/kv_cache.h"

#include "base/alloc.h"

#include <string.h>

/* Elements of the keys (or values) of one block in one layer. */
static size_t block_elements(const llama2_config *c)
{
    return (size_t)c->n_kv_heads * (size_t)c->head_dim * L2_KV_BLOCK;
}

size_t l2_kv_block_bytes(const llama2_config *c, int32_t dtype)
{
    return 2 * (size_t)c->n_layers * block_elements(c) * l2_dtype_size(dtype);
}

llama2_status l2_kv_cache_grow(l2_kv_cache *cache, int32_t n_blocks)
{
    const llama2_model *m = cache->model;
    llama2_context *ctx = m->ctx;
    size_t old = (size_t)cache->n_blocks, now = old + (size_t)n_blocks, chunks = (size_t)cache->n_chunks;
    size_t bytes = l2_kv_block_bytes(&m->config, m->dtype);
    char *memory;
    L2_TRY(l2_realloc(ctx, old, now, sizeof *cache->free_blocks, &cache->free_blocks));
    L2_TRY(l2_realloc(ctx, old, now, sizeof *cache->owners, &cache->owners));
    L2_TRY(l2_realloc(ctx, old, now, sizeof *cache->blocks, &cache->blocks));
    for (int32_t i = 0; i < m->config.n_layers; i++) cache->layers[i].blocks = cache->blocks;
    L2_TRY(l2_realloc(ctx, chunks, chunks + 1, sizeof *cache->chunks, &cache->chunks));
    L2_TRY(l2_alloc(ctx, (size_t)n_blocks, bytes, &memory));
    cache->chunks[cache->n_chunks++] = memory;
    /* Handed out in rising order: the newest numbers lie at the bottom of the stack. */
    memmove(cache->free_blocks + n_blocks, cache->free_blocks, (size_t)cache->n_free * sizeof *cache->free_blocks);
    for (int32_t i = 0; i < n_blocks; i++) {
        cache->free_blocks[i] = (int32_t)now - 1 - i;
        cache->owners[old + (size_t)i] = 0;
        cache->blocks[old + (size_t)i] = memory + (size_t)i * bytes;
    }
    cache->n_free += n_blocks;
    cache->n_blocks = (int32_t)now;
    return LLAMA2_OK;
}

llama2_status l2_kv_cache_init(const llama2_model *m, int32_t n_blocks, l2_kv_cache *out)
{
    memset(out, 0, sizeof *out);
    out->model = m;
    int64_t part = (int64_t)block_elements(&m->config);
    llama2_status status = l2_calloc(m->ctx, (size_t)m->config.n_layers, sizeof *out->layers, &out->layers);
    if (status >= 0) {
        for (int32_t i = 0; i < m->config.n_layers; i++)
            out->layers[i] = (l2_kv_layer){m->dtype, m->config.n_kv_heads, m->config.head_dim,
                                           NULL,     2 * i * part,         (2 * i + 1) * part};
        status = l2_kv_cache_grow(out, n_blocks);
    }
    if (status < 0) l2_kv_cache_free(out);
    return status;
}

void l2_kv_cache_free(l2_kv_cache *cache)
{
    if (!cache->model) return;
    llama2_context *ctx = cache->model->ctx;
    for (int32_t i = 0; i < cache->n_chunks; i++) l2_free(ctx, cache->chunks[i]);
    l2_free(ctx, cache->chunks);
    l2_free(ctx, cache->blocks);
    l2_free(ctx, cache->layers);
    l2_free(ctx, cache->owners);
    l2_free(ctx, cache->free_blocks);
    memset(cache, 0, sizeof *cache);
}

static int32_t take_block(l2_kv_cache *cache)
{
    int32_t b = cache->free_blocks[--cache->n_free];
    cache->owners[b] = 1;
    return b;
}

void l2_kv_extend(l2_kv_cache *cache, l2_kv_sequence *s, int64_t length)
{
    while (s->n_blocks < l2_kv_blocks_for(length)) s->blocks[s->n_blocks++] = take_block(cache);
    if (s->length < length) s->length = length;
}

void l2_kv_fork(l2_kv_cache *cache, const l2_kv_sequence *from, l2_kv_sequence *to)
{
    int32_t whole = (int32_t)(from->length / L2_KV_BLOCK);
    for (int32_t i = 0; i < whole; i++) {
        to->blocks[i] = from->blocks[i];
        cache->owners[from->blocks[i]]++;
    }
    to->n_blocks = whole;
    to->length = from->length;
    if (whole == from->n_blocks) return;
    int32_t source = from->blocks[whole], target = take_block(cache);
    to->blocks[to->n_blocks++] = target;
    memcpy(cache->blocks[target], cache->blocks[source], l2_kv_block_bytes(&cache->model->config, cache->model->dtype));
}

void l2_kv_truncate(l2_kv_cache *cache, l2_kv_sequence *s, int64_t length)
{
    while (s->n_blocks > l2_kv_blocks_for(length)) {
        int32_t b = s->blocks[--s->n_blocks];
        if (--cache->owners[b] == 0) cache->free_blocks[cache->n_free++] = b;
    }
    if (s->length > length) s->length = length;
}
