/*
 * What the kernels of attention are given by math/attention.c.
 *
 * The `group` query heads that share a kv head are stacked: row r of a sequence and kv head is position r / group, head
 * r % group. So one tile of rows multiplies each key with as many queries as it can, in training as in decoding.
 */
#ifndef L2_MATH_ATTENTION_H
#define L2_MATH_ATTENTION_H

#include <stdint.h>

/* Rows that a kernel holds at a time, so that each block of keys and values is used that often once it is in the L1
 * cache. Changes no bit. */
enum { L2_ATTENTION_ROWS = 48 };

typedef struct l2_attention_rows {
    int64_t head_dim, group;
    int64_t first_row, n_rows, n_heads; /* rows of each of some kv heads: n_rows * n_heads <= L2_ATTENTION_ROWS */
    int64_t start;                      /* position of row 0 */
    double scale;
    const void *q; /* of row 0 of the first head, as are o and lse */
    void *o;
    void *lse;             /* or NULL */
    int64_t stride;        /* elements from position to position in q and o */
    int64_t lse_stride;    /* and in lse */
    const int32_t *blocks; /* of the sequence */
    void *const *memory;   /* of the blocks */
    int64_t keys, values;  /* elements to the first kv head's part of a block: (heads, Dh, L2_KV_BLOCK), (heads,
                              L2_KV_BLOCK, Dh) */
} l2_attention_rows;

/*
 * Backward for the keys of one segment: their dk and dv, and what they add to dq. Pointers are those of the sequence's
 * first position and the kv head's first query head; all blocks of the sequence follow each other.
 */
typedef struct l2_attention_segment {
    int64_t head_dim, group;
    int64_t n_positions;       /* length of the sequence */
    int64_t first_key, n_keys; /* first_key is a multiple of L2_KV_BLOCK */
    double scale;
    const void *q, *o, *d_o;
    int64_t stride;
    const void *lse;
    int64_t lse_stride;
    const void *keys_t, *keys, *values_t; /* blocks: (Dh, L2_KV_BLOCK), (L2_KV_BLOCK, Dh), (Dh, L2_KV_BLOCK) */
    int64_t block_stride;
    void *dk, *dv;
    int64_t kv_stride;
    void *dq; /* of position first_key, with `stride` */
} l2_attention_segment;

/* Elements of workspace that the two kernels need. */
static inline int64_t l2_attention_width(int64_t head_dim)
{
    return (head_dim + 15) / 16 * 16;
}

static inline int64_t l2_attention_rows_workspace(int64_t head_dim)
{
    return L2_ATTENTION_ROWS * (2 * l2_attention_width(head_dim) + 16 + 1) + 6 * 64;
}

static inline int64_t l2_attention_segment_workspace(int64_t head_dim)
{
    return L2_ATTENTION_ROWS * (3 * l2_attention_width(head_dim) + 2 * 64 + 2);
}

#endif
