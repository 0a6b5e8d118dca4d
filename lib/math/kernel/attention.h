/*
 * Attention with online softmax (Milakov & Gimelshein 2018; Dao et al. 2022) over blocks of L2_KV_BLOCK keys, counted from the sequence's start. All
 * arithmetic of a row is its own: products are chains, and no masked key or value is ever multiplied into a result.
 */
#ifndef L2_KERNEL_ATTENTION_H
#define L2_KERNEL_ATTENTION_H

#include "math/attention.h"
#include "math/kernel/gemm.h"
#include "math/ops.h"

/* Positions [column, column + n) of a block from rows of k and v (Dh each, `stride` apart): keys into (Dh, L2_KV_BLOCK), values, unless NULL, into
 * (L2_KV_BLOCK, Dh). Touches nothing of other positions. */
static void attention_store(int64_t n, int64_t column, int64_t dh, const void *k_, const void *v_, int64_t stride, void *keys_, void *values_)
{
    const real *k = k_;
    real *keys = keys_;
    for (int64_t i = 0, step; i < n; i += step) {
        step = (column + i) % V_LANES == 0 && n - i >= V_LANES ? V_LANES : 1;
        for (int64_t d = 0; d < dh; d += V_LANES) {
            int64_t width = dh - d < V_LANES ? dh - d : V_LANES;
            real *to = keys + d * L2_KV_BLOCK + column + i;
            if (step == 1) {
                for (int64_t e = 0; e < width; e++) to[e * L2_KV_BLOCK] = k[i * stride + d + e];
            } else {
                vreal t[V_LANES];
                gemm_load_transposed(t, k + i * stride + d, stride, V_LANES, width);
                for (int e = 0; e < width; e++) v_store(to + e * L2_KV_BLOCK, t[e]);
            }
        }
    }
    if (!values_) return;
    for (int64_t i = 0; i < n; i++) {
        memcpy((real *)values_ + (column + i) * dh, (const real *)v_ + i * stride, (size_t)dh * sizeof(real));
    }
}

/* y[0..n) = factor * x[0..n), and zeros up to the next multiple of 16. */
V_INLINE void attention_take(real *y, const real *x, int64_t n, real factor)
{
    for (int64_t d = 0; d < n; d += V_LANES) {
        v_store(y + d, v_mul(v_load_n(x + d, n - d < V_LANES ? n - d : V_LANES), v_set1(factor)));
    }
}

V_INLINE void attention_give(real *y, const real *x, int64_t n, real factor)
{
    for (int64_t d = 0; d < n; d += V_LANES) {
        v_store_n(y + d, v_mul(v_load(x + d), v_set1(factor)), n - d < V_LANES ? n - d : V_LANES);
    }
}

/* c (m, n) += a (m, k) b (k, n) for any n, chains that go on from c: tiles of columns of about equal width. */
static void attention_product(int64_t k, const real *a, int64_t rsa, int64_t csa, const real *b, int64_t ldb, real *c, int64_t ldc, int m,
                              int64_t n, int accumulate)
{
    int64_t tiles = (n + L2_TILE_COLUMNS - 1) / L2_TILE_COLUMNS, width = ((n + tiles - 1) / tiles + V_LANES - 1) / V_LANES * V_LANES;
    for (int64_t j = 0; j < n; j += width) {
        gemm_tile(k, a, rsa, csa, b + j, ldb, c + j, ldc, m, (int)(n - j < width ? n - j : width),
                  accumulate ? L2_GEMM_CONTINUE : L2_GEMM_ZERO);
    }
}

/* How many keys of the block that begins at first_key the row at `position` sees. */
V_INLINE int attention_visible(int64_t position, int64_t first_key)
{
    int64_t n = position + 1 - first_key;
    return n <= 0 ? 0 : n < L2_KV_BLOCK ? (int)n : L2_KV_BLOCK;
}

V_INLINE int attention_round(int n) { return (n + V_LANES - 1) & -V_LANES; }

V_INLINE real attention_top(const real *s, const int vectors)
{
    vreal top = v_load(s);
    for (int v = 1; v < vectors; v++) top = v_max(top, v_load(s + V_LANES * v));
    return v_max_all(top);
}

/* s = exp(s - top); returns the sums of its lanes. */
V_INLINE vreal attention_exp(real *s, const int vectors, real top)
{
    vreal sum = v_zero();
    for (int v = 0; v < vectors; v++) {
        vreal p = v_exp(v_sub(v_load(s + V_LANES * v), v_set1(top)));
        v_store(s + V_LANES * v, p);
        sum = v_add(sum, p);
    }
    return sum;
}

/*
 * One step of the online softmax for rows [from, m) of a tile: m' = max(m, max s), p = exp(s - m'), l' = l exp(m - m') + sum p, o' = o exp(m - m').
 * l is kept as 16 partial sums.
 */
static void attention_softmax(real *s, int from, int m, const int *visible, real *top, real *lanes, real *o, int64_t width, int first)
{
    real next[V_LANES] = {0}, shrink[V_LANES];
    for (int i = from; i < m; i++) {
        real *row = s + i * L2_KV_BLOCK;
        int end = attention_round(visible[i]);
        for (int j = visible[i]; j < end; j++) row[j] = -INFINITY;
        next[i] = r_max(end == L2_KV_BLOCK ? attention_top(row, 4) : attention_top(row, end / V_LANES), top[i]);
    }
    v_store(shrink, v_exp(v_sub(v_load_n(top, m), v_load(next))));
    for (int i = from; i < m; i++) {
        real *row = s + i * L2_KV_BLOCK, *sum = lanes + i * V_LANES;
        int end = attention_round(visible[i]);
        vreal p = end == L2_KV_BLOCK ? attention_exp(row, 4, next[i]) : attention_exp(row, end / V_LANES, next[i]);
        v_store(sum, first ? p : v_fma(v_load(sum), v_set1(shrink[i]), p));
        top[i] = next[i];
        if (first || shrink[i] == 1) continue;
        for (int64_t d = 0; d < width; d += V_LANES) v_store(o + i * width + d, v_mul(v_load(o + i * width + d), v_set1(shrink[i])));
    }
}

/*
 * o += p v for rows [from, m), each over the keys that it sees: as many rows together as see the same ones. A row's chain goes over its own keys
 * in order, whatever rows stand beside it.
 */
static void attention_values(const real *p, const real *values, real *o, int from, int m, const int *visible, int64_t dh, int64_t width, int first)
{
    for (int i = from, done = 0; i < m; i++) {
        if (visible[i] == done) continue;
        attention_product(visible[i] - done, p + i * L2_KV_BLOCK + done, L2_KV_BLOCK, 1, values + done * dh, dh, o + i * width, width, m - i, dh,
                          !first || done > 0);
        done = visible[i];
    }
}

/* Where the task's row i is: `stride` from position to position, `size` from head to head. */
V_INLINE int64_t attention_at(const l2_attention_rows *t, int64_t i, int64_t stride, int64_t size)
{
    int64_t r = t->first_row + i % t->n_rows;
    return r / t->group * stride + (i / t->n_rows * t->group + r % t->group) * size;
}

/* Heads in turn, block by block, so that what few queries use once is read in the order in which it lies. */
static void attention_forward(const l2_attention_rows *t, void *workspace)
{
    const int64_t dh = t->head_dim, width = l2_attention_width(dh), n = t->n_rows, group = t->group;
    real *q = workspace, *o = q + L2_ATTENTION_ROWS * width, *lanes = o + L2_ATTENTION_ROWS * width;
    real *s = lanes + L2_ATTENTION_ROWS * V_LANES, *top = s + L2_TILE_ROWS * L2_KV_BLOCK;
    for (int64_t i = 0; i < t->n_heads * n; i++) {
        attention_take(q + i * width, (const real *)t->q + attention_at(t, i, t->stride, dh), dh, (real)t->scale);
        top[i] = -INFINITY;
    }

    int64_t last = t->start + (t->first_row + n - 1) / group;
    for (int64_t block = 0; block * L2_KV_BLOCK <= last; block++) {
        const real *memory = t->memory[t->blocks[block]];
        for (int64_t h = 0; h < t->n_heads; h++) {
            const real *keys = memory + t->keys + h * dh * L2_KV_BLOCK, *values = memory + t->values + h * dh * L2_KV_BLOCK;
            for (int64_t i = 0; i < n; i += L2_TILE_ROWS) {
                int m = n - i < L2_TILE_ROWS ? (int)(n - i) : L2_TILE_ROWS, from = 0, visible[L2_TILE_ROWS];
                for (int j = 0; j < m; j++) {
                    visible[j] = attention_visible(t->start + (t->first_row + i + j) / group, block * L2_KV_BLOCK);
                    if (visible[j] == 0) from = j + 1;
                }
                if (from == m) continue;
                int64_t row = h * n + i;
                gemm_tile(dh, q + row * width, width, 1, keys, L2_KV_BLOCK, s, L2_KV_BLOCK, m, attention_round(visible[m - 1]), 0);
                attention_softmax(s, from, m, visible, top + row, lanes + row * V_LANES, o + row * width, width, block == 0);
                attention_values(s, values, o + row * width, from, m, visible, dh, width, block == 0);
            }
        }
    }

    for (int64_t i = 0; i < t->n_heads * n; i++) {
        real sum = v_sum(v_load(lanes + i * V_LANES));
        attention_give((real *)t->o + attention_at(t, i, t->stride, dh), o + i * width, dh, 1 / sum);
        if (t->lse) ((real *)t->lse)[attention_at(t, i, t->lse_stride, 1)] = (real)((double)top[i] + log((double)sum));
    }
}

/* --- backward -------------------------------------------------------------------------------- */

/* From s = q k and dp = do v: p = exp(s - lse), ds = p (dp - delta); 0 where the key is not seen. */
V_INLINE void attention_derive(real *s, real *dp, int visible, real lse, real delta)
{
    for (int j = 0; j < visible; j += V_LANES) {
        int64_t lanes = visible - j; /* scores beyond are of what no one has written */
        vreal p = v_exp(v_sub(lanes < V_LANES ? v_load_n(s + j, lanes) : v_load(s + j), v_set1(lse)));
        v_store(s + j, p);
        v_store(dp + j, v_mul(p, v_sub(lanes < V_LANES ? v_load_n(dp + j, lanes) : v_load(dp + j), v_set1(delta))));
    }
    for (int j = visible; j < L2_KV_BLOCK; j++) s[j] = dp[j] = 0;
}

static real attention_dot(const real *x, const real *y, int64_t n)
{
    vreal sum = v_zero();
    for (int64_t i = 0; i < n; i += V_LANES) {
        int64_t lanes = n - i < V_LANES ? n - i : V_LANES;
        sum = v_fma(v_load_n(x + i, lanes), v_load_n(y + i, lanes), sum);
    }
    return v_sum(sum);
}

/* Some rows of queries, as contiguous copies: q (scaled), do, dq; p and ds against one block of keys; log-sum-exp and sum(do o). */
typedef struct attention_chunk {
    int64_t first_row, n;
    real *q, *d_o, *dq, *p, *ds, *lse, *delta;
} attention_chunk;

static void attention_chunk_load(const l2_attention_segment *t, attention_chunk *c)
{
    const int64_t dh = t->head_dim, width = l2_attention_width(dh);
    for (int64_t i = 0; i < c->n; i++) {
        int64_t r = c->first_row + i, at = r / t->group * t->stride + r % t->group * dh;
        attention_take(c->q + i * width, (const real *)t->q + at, dh, (real)t->scale);
        attention_take(c->d_o + i * width, (const real *)t->d_o + at, dh, 1);
        c->delta[i] = attention_dot((const real *)t->d_o + at, (const real *)t->o + at, dh);
        c->lse[i] = ((const real *)t->lse)[r / t->group * t->lse_stride + r % t->group];
    }
}

/* p, ds and dq of the chunk for the block of keys at first_key. */
static void attention_backward_queries(const l2_attention_segment *t, attention_chunk *c, int64_t first_key)
{
    const int64_t dh = t->head_dim, width = l2_attention_width(dh), at = first_key / L2_KV_BLOCK * t->block_stride;
    const real *keys_t = (const real *)t->keys_t + at, *keys = (const real *)t->keys + at, *values_t = (const real *)t->values_t + at;
    for (int64_t i = 0; i < c->n; i += L2_TILE_ROWS) {
        int m = c->n - i < L2_TILE_ROWS ? (int)(c->n - i) : L2_TILE_ROWS;
        int seen = attention_visible((c->first_row + i + m - 1) / t->group, first_key);
        if (seen == 0) continue;
        real *p = c->p + i * L2_KV_BLOCK, *ds = c->ds + i * L2_KV_BLOCK;
        gemm_tile(dh, c->q + i * width, width, 1, keys_t, L2_KV_BLOCK, p, L2_KV_BLOCK, m, attention_round(seen), 0);
        gemm_tile(dh, c->d_o + i * width, width, 1, values_t, L2_KV_BLOCK, ds, L2_KV_BLOCK, m, attention_round(seen), 0);
        for (int j = 0; j < m; j++) {
            int visible = attention_visible((c->first_row + i + j) / t->group, first_key);
            attention_derive(p + j * L2_KV_BLOCK, ds + j * L2_KV_BLOCK, visible, c->lse[i + j], c->delta[i + j]);
        }
        attention_product(seen, ds, L2_KV_BLOCK, 1, keys, dh, c->dq + i * width, width, m, dh, first_key > t->first_key);
    }
}

/* dv += p^T do, dk += ds^T q for the block at first_key: chains over the rows in order, from the first that sees one of the tile's keys. */
static void attention_backward_keys(const l2_attention_segment *t, const attention_chunk *c, int64_t first_key, int64_t n_keys)
{
    const int64_t dh = t->head_dim, width = l2_attention_width(dh);
    for (int64_t j = 0; j < n_keys; j += L2_TILE_ROWS) {
        int m = n_keys - j < L2_TILE_ROWS ? (int)(n_keys - j) : L2_TILE_ROWS;
        int64_t from = (first_key + j) * t->group - c->first_row, at = (first_key + j) * t->kv_stride;
        if (from < 0) from = 0;
        if (from >= c->n) return;
        attention_product(c->n - from, c->p + from * L2_KV_BLOCK + j, 1, L2_KV_BLOCK, c->d_o + from * width, width, (real *)t->dv + at,
                          t->kv_stride, m, dh, 1);
        attention_product(c->n - from, c->ds + from * L2_KV_BLOCK + j, 1, L2_KV_BLOCK, c->q + from * width, width, (real *)t->dk + at,
                          t->kv_stride, m, dh, 1);
    }
}

static void attention_backward(const l2_attention_segment *t, void *workspace)
{
    const int64_t dh = t->head_dim, width = l2_attention_width(dh), size = L2_ATTENTION_ROWS * width, end = t->n_positions * t->group;
    attention_chunk c = {.q = workspace};
    c.d_o = c.q + size;
    c.dq = c.d_o + size;
    c.p = c.dq + size;
    c.ds = c.p + L2_ATTENTION_ROWS * L2_KV_BLOCK;
    c.lse = c.ds + L2_ATTENTION_ROWS * L2_KV_BLOCK;
    c.delta = c.lse + L2_ATTENTION_ROWS;
    for (int64_t i = t->first_key; i < t->first_key + t->n_keys; i++) {
        memset((real *)t->dk + i * t->kv_stride, 0, (size_t)dh * sizeof(real));
        memset((real *)t->dv + i * t->kv_stride, 0, (size_t)dh * sizeof(real));
    }
    for (c.first_row = t->first_key * t->group; c.first_row < end; c.first_row += L2_ATTENTION_ROWS) {
        c.n = end - c.first_row < L2_ATTENTION_ROWS ? end - c.first_row : L2_ATTENTION_ROWS;
        attention_chunk_load(t, &c);
        int64_t last = (c.first_row + c.n - 1) / t->group;
        for (int64_t j = 0; j < t->n_keys && t->first_key + j <= last; j += L2_KV_BLOCK) {
            attention_backward_queries(t, &c, t->first_key + j);
            attention_backward_keys(t, &c, t->first_key + j, t->n_keys - j < L2_KV_BLOCK ? t->n_keys - j : L2_KV_BLOCK);
        }
        for (int64_t i = 0; i < c.n; i++) {
            int64_t r = c.first_row + i;
            attention_give((real *)t->dq + (r / t->group - t->first_key) * t->stride + r % t->group * dh, c.dq + i * width, dh, (real)t->scale);
        }
    }
}

static void attention_add(int64_t n, const void *x, void *y)
{
    for (int64_t i = 0; i < n; i += V_LANES) {
        int64_t m = n - i < V_LANES ? n - i : V_LANES;
        v_store_n((real *)y + i, v_add(v_load_n((real *)y + i, m), v_load_n((const real *)x + i, m)), m);
    }
}

#endif
