/*
 * The KV cache: blocks of L2_KV_BLOCK positions, given to sequences by number. A block holds all layers, (layers, keys
 * and values, KVH x Dh x L2_KV_BLOCK), so that a short text touches little memory. It may belong to several sequences
 * (a shared prefix); it is written only while it belongs to one. Growing adds a chunk of blocks and moves nothing.
 */
#ifndef L2_MODEL_KV_CACHE_H
#define L2_MODEL_KV_CACHE_H

#include "model/model.h"

typedef struct l2_kv_cache {
    const llama2_model *model;
    int32_t n_blocks; /* capacity */
    int32_t n_free;
    int32_t *free_blocks; /* a stack */
    int32_t *owners;      /* n_blocks: how many sequences hold the block */
    void **blocks;        /* n_blocks: their memory */
    int32_t n_chunks;
    void **chunks;       /* what was allocated */
    l2_kv_layer *layers; /* n_layers */
} l2_kv_cache;

llama2_status l2_kv_cache_init(const llama2_model *model, int32_t n_blocks, l2_kv_cache *out);
void l2_kv_cache_free(l2_kv_cache *cache);

/* Adds blocks, keeping what is there. */
llama2_status l2_kv_cache_grow(l2_kv_cache *cache, int32_t n_blocks);
size_t l2_kv_block_bytes(const llama2_config *config, int32_t dtype); /* of one block, over all layers */

/* The blocks of one sequence. */
typedef struct l2_kv_sequence {
    int32_t *blocks; /* capacity: ceil(max positions / L2_KV_BLOCK) */
    int32_t n_blocks;
    int64_t length; /* positions stored */
} l2_kv_sequence;

static inline int32_t l2_kv_blocks_for(int64_t positions)
{
    return (int32_t)((positions + L2_KV_BLOCK - 1) / L2_KV_BLOCK);
}

/* Gives the sequence blocks for positions 0 .. length - 1. The caller has made sure that there are enough. */
void l2_kv_extend(l2_kv_cache *cache, l2_kv_sequence *sequence, int64_t length);
/* Shares the whole blocks of `from` with the empty `to` and copies its last, partly filled one. Needs one free block
 * for that. */
void l2_kv_fork(l2_kv_cache *cache, const l2_kv_sequence *from, l2_kv_sequence *to);
/* Gives back the blocks after the first `length` positions. */
void l2_kv_truncate(l2_kv_cache *cache, l2_kv_sequence *sequence, int64_t length);

/*
 * forward_cached.c: reads new tokens: rows->offsets[s] .. of `tokens` continue sequence s at rows->start[s]. hidden (n,
 * D): the rows named in `wanted` (rising), after the last norm.
 */
llama2_status l2_model_forward_cached(const llama2_model *model, l2_kv_cache *cache, const l2_kv_rows *rows,
                                      const int32_t *tokens, const int64_t *wanted, int64_t n, l2_tensor *hidden);

#endif
