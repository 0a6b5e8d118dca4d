/*
 * The inner loops of matrix products. Whatever the path, element (i, j) is made of the same chains of fused multiply-adds, which are added in the same
 * order (math/gemm.h): that is what the bits are defined by. The paths for few and for some rows go from block to block of k themselves; a tile is one
 * block.
 */
#ifndef L2_KERNEL_GEMM_H
#define L2_KERNEL_GEMM_H

#include "math/gemm.h"
#include "math/kernels.h"
#include "math/simd.h"

/*
 * Vectors of 16 columns that stay in registers beside 6 rows: 24 accumulators of the 32 registers of AVX-512, 6 pairs of the 16 of AVX2. A panel of b is as
 * wide, so that it is read in the order of addresses.
 */
#if defined(L2_SIMD_AVX512)
#define GEMM_VECTORS 4
#else
#define GEMM_VECTORS 1
#endif
enum { GEMM_PANEL = 16 * GEMM_VECTORS };

/* The end of the block of k that begins at p. */
V_INLINE int64_t gemm_block_end(int64_t p, int64_t k) { return k - p < L2_GEMM_BLOCK ? k : p + L2_GEMM_BLOCK; }

/* Where to fetch from: further on in the row, of which `left` is to come, or at the beginning of the one that is next, `stride` on. */
enum { GEMM_AHEAD = 128 };
V_INLINE int64_t gemm_ahead(int64_t left, int64_t k, int64_t stride) { return left > GEMM_AHEAD ? GEMM_AHEAD : stride + GEMM_AHEAD - k; }

/* Columns beside one or two vectors of 16 rows in gemm_some. */
enum { GEMM_SOME_COLUMNS = 12 };

#if defined(V_PORTABLE)
#define GEMM_BODY static
#else
#define GEMM_BODY V_INLINE
#endif

/* A row of b times a column of a. Rows that are `apart` are reached from two pointers, to the first and to the fourth: what x86 can address without further
 * registers. */
GEMM_BODY void gemm_step(vreal acc[L2_TILE_ROWS][GEMM_VECTORS], const real *a, const real *a3, int64_t rsa, const real *b, const int m, const int nv,
                         const int masked, int64_t last, const int apart)
{
    vreal bv[GEMM_VECTORS];
    V_UNROLL for (int v = 0; v < nv; v++) bv[v] = masked && v == nv - 1 ? v_load_n(b + V_LANES * v, last) : v_load(b + V_LANES * v);
    V_UNROLL for (int i = 0; i < m; i++) {
        vreal ai = v_set1(!apart || i < 3 ? a[i * rsa] : a3[(i - 3) * rsa]);
        V_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_fma(ai, bv[v], acc[i][v]);
    }
}

/* m rows x nv vectors, both constants at each call; `last` lanes of the last vector, 16 or a run-time number. */
GEMM_BODY void gemm_body(int64_t k, const real *a, int64_t rsa, int64_t csa, const real *b, int64_t ldb, real *c, int64_t ldc, const int m,
                        const int nv, const int masked, int64_t last, int mode, const int apart)
{
    vreal acc[L2_TILE_ROWS][GEMM_VECTORS];
    V_UNROLL for (int i = 0; i < m; i++) {
        V_UNROLL for (int v = 0; v < nv; v++) {
            const real *p = c + i * ldc + V_LANES * v;
            acc[i][v] = mode != L2_GEMM_CONTINUE ? v_zero() : masked && v == nv - 1 ? v_load_n(p, last) : v_load(p);
        }
    }
    const real *a3 = a + 3 * rsa;
    const int steps = apart ? 2 : 4;
    int64_t p = 0;
    for (; p + steps <= k; p += steps, a += steps * csa, a3 += steps * csa, b += steps * ldb) {
        V_UNROLL for (int u = 0; u < steps; u++) gemm_step(acc, a + u * csa, a3 + u * csa, rsa, b + u * ldb, m, nv, masked, last, apart);
    }
    for (; p < k; p++, a += csa, a3 += csa, b += ldb) gemm_step(acc, a, a3, rsa, b, m, nv, masked, last, apart);
    V_UNROLL for (int i = 0; i < m; i++) {
        V_UNROLL for (int v = 0; v < nv; v++) {
            real *q = c + i * ldc + V_LANES * v;
            const int tail = masked && v == nv - 1;
            if (mode == L2_GEMM_ADD) acc[i][v] = v_add(tail ? v_load_n(q, last) : v_load(q), acc[i][v]);
            if (tail) v_store_n(q, acc[i][v], last);
            else v_store(q, acc[i][v]);
        }
    }
}

/* One instance a number of rows, since accumulators in registers can't be indexed at run time. */
#define GEMM_CASE(rows, nv, masked, last)                                                                    \
    case rows: gemm_body(k, a, rsa, csa, b, ldb, c, ldc, rows, nv, masked, last, mode, apart); break;
#if defined(V_PORTABLE)
#define GEMM_ROWS(nv, masked, last) gemm_body(k, a, rsa, csa, b, ldb, c, ldc, m, nv, masked, last, mode, apart);
#else
#define GEMM_ROWS(nv, masked, last)                                                                          \
    switch (m) {                                                                                             \
        GEMM_CASE(1, nv, masked, last)                                                                       \
        GEMM_CASE(2, nv, masked, last)                                                                       \
        GEMM_CASE(3, nv, masked, last)                                                                       \
        GEMM_CASE(4, nv, masked, last)                                                                       \
        GEMM_CASE(5, nv, masked, last)                                                                       \
        GEMM_CASE(6, nv, masked, last)                                                                       \
    default: break;                                                                                          \
    }
#endif

#define GEMM_INSTANCE(name, nv, masked)                                                                      \
    static void name(int64_t k, const real *a, int64_t rsa, int64_t csa, const real *b, int64_t ldb, real *c, int64_t ldc, int m, \
                     int64_t last, int mode)                                                                 \
    {                                                                                                        \
        enum { apart = 1 };                                                                                  \
        (void)last;                                                                                          \
        GEMM_ROWS(nv, masked, last)                                                                          \
    }

#if GEMM_VECTORS == 4
GEMM_INSTANCE(gemm_rows_64, 4, 0)

/* As the panels lie: with strides that are known the loop has two additions. */
static void gemm_panel_64(int64_t k, const real *a, int64_t rsa, const real *b, real *c, int64_t ldc, int m, int mode)
{
    enum { csa = 1, ldb = L2_TILE_COLUMNS, apart = 1 };
    GEMM_ROWS(4, 0, 16)
}
static void gemm_panels_64(int64_t k, const real *a, const real *b, real *c, int64_t ldc, int m, int mode)
{
    enum { rsa = 1, csa = L2_TILE_ROWS, ldb = L2_TILE_COLUMNS, apart = 1 };
    GEMM_ROWS(4, 0, 16)
}

GEMM_INSTANCE(gemm_rows_tail_64, 4, 1)
GEMM_INSTANCE(gemm_rows_tail_48, 3, 1)
GEMM_INSTANCE(gemm_rows_tail_32, 2, 1)
#else
GEMM_INSTANCE(gemm_rows_16, 1, 0)

/* As the panels lie: a loop of multiply-adds, what they read, and two additions. */
static void gemm_panels_16(int64_t k, const real *a, const real *b, real *c, int64_t ldc, int m, int mode)
{
    enum { rsa = 1, csa = L2_TILE_ROWS, ldb = 16, apart = 0 };
    GEMM_ROWS(1, 0, 16)
}
#endif

GEMM_INSTANCE(gemm_rows_tail_16, 1, 1)

static void gemm_tile(int64_t k, const void *a_, int64_t rsa, int64_t csa, const void *b_, int64_t ldb, void *c_, int64_t ldc, int m, int n,
                      int mode)
{
    const real *a = a_, *b = b_;
    real *c = c_;
#if GEMM_VECTORS == 4
    const int packed = n == L2_TILE_COLUMNS && ldb == L2_TILE_COLUMNS;
    if (packed && csa == 1) gemm_panel_64(k, a, rsa, b, c, ldc, m, mode);
    else if (packed && rsa == 1 && csa == L2_TILE_ROWS) gemm_panels_64(k, a, b, c, ldc, m, mode);
    else if (n == 64) gemm_rows_64(k, a, rsa, csa, b, ldb, c, ldc, m, 16, mode);
    else if (n > 48) gemm_rows_tail_64(k, a, rsa, csa, b, ldb, c, ldc, m, n - 48, mode);
    else if (n > 32) gemm_rows_tail_48(k, a, rsa, csa, b, ldb, c, ldc, m, n - 32, mode);
    else if (n > 16) gemm_rows_tail_32(k, a, rsa, csa, b, ldb, c, ldc, m, n - 16, mode);
    else if (n > 0) gemm_rows_tail_16(k, a, rsa, csa, b, ldb, c, ldc, m, n, mode);
#else
    const int64_t column = ldb < n ? k : 1; /* from one panel of 16 columns to the next */
    int j = 0;
    for (; j + 16 <= n; j += 16) {
        if (ldb == 16 && rsa == 1 && csa == L2_TILE_ROWS) gemm_panels_16(k, a, b + j * column, c + j, ldc, m, mode);
        else gemm_rows_16(k, a, rsa, csa, b + j * column, ldb, c + j, ldc, m, 16, mode);
    }
    if (j < n) gemm_rows_tail_16(k, a, rsa, csa, b + j * column, ldb, c + j, ldc, m, n - j, mode);
#endif
}

/* The transpose of `rows` x `depth` elements of a 16 x 16 block, the rest 0. */
V_INLINE void gemm_load_transposed(vreal v[16], const real *w, int64_t ldw, int64_t rows, int64_t depth)
{
    V_UNROLL for (int j = 0; j < 16; j++) v[j] = j < rows ? v_load_n(w + j * ldw, depth < 16 ? depth : 16) : v_zero();
    v_transpose(v);
}

/* V_COLUMNS columns of V_PART rows that are ld apart. */
V_INLINE void gemm_load_columns(const real *w, int64_t ld, vpart v[V_COLUMNS])
{
    const real *rows[V_PART];
    V_UNROLL for (int j = 0; j < V_PART; j++) rows[j] = w + j * ld;
    vp_load_columns(rows, 0, v);
}

/*
 * A panel's part of a row is too short for the hardware to fetch ahead, and 16 rows are more than it follows. What comes next is fetched here: to L2, since rows
 * that are a multiple of 4096 bytes apart share a set of L1. For the same reason lines of V_PART rows are used whole before those of others are touched.
 */
enum { GEMM_PACK_AHEAD = 32 };

/* A panel of b for gemm_tile, or several of ldo columns: out[p * ldo + j] = b[p * rs + j * cs] for p < k, j < n. One of the strides is 1; whole vectors are
 * written. */
static void gemm_pack_b(int64_t k, int n, const void *b_, int64_t rs, int64_t cs, void *out_, int64_t ldo)
{
    const real *b = b_;
    real *out = out_;
    const int64_t column = ldo < n ? k : 1;
    if (cs == 1) {
        for (int64_t p = 0; p < k; p++) {
            int j = 0;
            for (; j + 16 <= n; j += 16) {
                V_PREFETCH_FAR(b + (p + GEMM_PACK_AHEAD) * rs + j);
                v_store(out + j * column + p * ldo, v_load(b + p * rs + j));
            }
            if (j < n) v_store(out + j * column + p * ldo, v_load_n(b + p * rs + j, n - j));
        }
        return;
    }
    for (int j = 0; j < n; j += 16) {
        const real *w = b + j * cs;
        for (int64_t p = 0; p < k; p += 16) {
            const real *ahead = w + p + gemm_ahead(k - p, k, 16 * cs);
            V_UNROLL for (int i = 0; i < 16; i++) V_PREFETCH_FAR(ahead + i * cs);
            int64_t depth = k - p < 16 ? k - p : 16;
            real *q = out + j * column + p * ldo;
            if (n - j >= 16 && depth == 16) {
                V_UNROLL for (int r = 0; r < 16; r += V_PART) {
                    V_UNROLL for (int c = 0; c < 16; c += V_COLUMNS) {
                        vpart v[V_COLUMNS];
                        gemm_load_columns(w + r * cs + p + c, cs, v);
                        V_UNROLL for (int i = 0; i < V_COLUMNS; i++) vp_store(q + (c + i) * ldo + r, v[i]);
                    }
                }
            } else {
                vreal v[16];
                gemm_load_transposed(v, w + p, cs, n - j, depth);
                V_UNROLL for (int i = 0; i < 16; i++) {
                    if (i < depth) v_store(q + i * ldo, v[i]);
                }
            }
        }
    }
}

/* AVX-512 masks a store for nothing. Elsewhere whole parts, whose surplus the next store covers, but for the end of the panel. */
V_INLINE void gemm_store_rows(real *q, vpart v, int64_t n, int more)
{
#if defined(L2_SIMD_AVX512)
    (void)more;
    vp_store_n(q, v, n);
#else
    if (more) vp_store(q, v);
    else vp_store_n(q, v, n);
#endif
}

/* Rows that are contiguous: V_PART of them side by side, of which 6 are this panel's. */
V_INLINE void gemm_pack_rows(int64_t k, int64_t m, const real *a, int64_t rs, real *out)
{
    enum { R = L2_TILE_ROWS };
    for (int64_t i = 0; i < m; i += R, a += R * rs, out += R * k) {
        real *q = out;
        int64_t p = 0;
        if (i + V_PART <= m) {
            for (; p + V_COLUMNS <= k; p += V_COLUMNS, q += R * V_COLUMNS) {
                vpart v[V_COLUMNS];
                if (p % 16 == 0) {
                    V_UNROLL for (int r = 0; r < R; r++) V_PREFETCH_FAR(a + (V_PART + r) * rs + p);
                }
                gemm_load_columns(a + p, rs, v);
                V_UNROLL for (int u = 0; u < V_COLUMNS; u++) gemm_store_rows(q + R * u, v[u], R, p + u + 2 < k);
            }
        }
        for (; p < k; p += 16) {
            vreal v[16];
            int64_t depth = k - p < 16 ? k - p : 16;
            gemm_load_transposed(v, a + p, rs, m - i < R ? m - i : R, depth);
            for (int64_t u = 0; u < depth; u++, q += R) v_store_n(q, v[u], R);
        }
    }
}

/* Panels of L2_TILE_ROWS rows of a: panel i / 6 begins at out + i * k; in it out[p * 6 + i % 6] = a[i * rs + p * cs]. One of the strides is 1. */
static void gemm_pack_a(int64_t k, int64_t m, const void *a_, int64_t rs, int64_t cs, void *out_)
{
    const real *a = a_;
    real *out = out_;
    enum { R = L2_TILE_ROWS, STEP = 8 };
    if (rs != 1 && GEMM_VECTORS == 1) {
        gemm_pack_rows(k, m, a, rs, out);
        return;
    }
    for (int64_t p0 = 0; p0 < k; p0 += STEP) {
        int64_t p1 = p0 + STEP < k ? p0 + STEP : k;
        for (int64_t i = 0; i < m; i += R) {
            real *q = out + i * k + p0 * R;
            int64_t n = m - i < R ? m - i : R;
            if (i + V_PART <= m) {
                for (int64_t p = p0; p < p1; p++, q += R) gemm_store_rows(q, vp_load(a + p * cs + i), n, p + 2 < k);
            } else {
                for (int64_t p = p0; p < p1; p++, q += R) v_store_n(q, v_load_n(a + p * cs + i, n), n);
            }
        }
    }
}

/*
 * Few rows times a row-major weight: c[i][j] (+)= sum_k a[i][k] w[j * ldw + k]. The weight is read once, 16 rows at a time, and transposed in registers.
 *
 * It is memory that takes the time. The 16 rows are a sixteenth of all from one to the next: 16 long streams, in each of which GEMM_FEW_AHEAD elements ahead
 * are fetched. On Zen 4 neighbouring rows, whose streams are short, give a tenth less; so do rows that are a multiple of 4096 bytes apart (the same set of the L1
 * cache), in whatever order they are fetched: math/gemm.c makes the distance an odd number of rows. With AVX2 lines of 8 rows are used whole before those of the
 * other 8 are touched.
 */
#if defined(L2_SIMD_AVX2)
enum { GEMM_FEW_AHEAD = 64 }; /* found on Zen 3 */
#else
enum { GEMM_FEW_AHEAD = 512 };
#endif

/* n lanes from columns of c, or all 16 from columns that are cs apart. */
V_INLINE vreal gemm_few_load(const real *c, int64_t cs, int64_t n)
{
    if (cs == 1) return v_load_n(c, n);
    real lanes[V_LANES];
    for (int j = 0; j < V_LANES; j++) lanes[j] = c[j * cs];
    return v_load(lanes);
}

V_INLINE void gemm_few_store(real *c, int64_t cs, vreal sum, int64_t n)
{
    if (cs == 1) {
        v_store_n(c, sum, n);
        return;
    }
    real lanes[V_LANES];
    v_store(lanes, sum);
    for (int j = 0; j < V_LANES; j++) c[j * cs] = lanes[j];
}

/* 16 columns of 16 rows of w: three rows from each of six pointers, which is what x86 can address without further registers. */
GEMM_BODY void gemm_few_step(vpart part[L2_FEW_ROWS][V_PARTS], const real *a, int64_t rsa, const real *const third[6], int64_t ldw, const int m)
{
    V_UNROLL for (int g = 0; g < V_PARTS; g++) {
        const real *rows[V_PART];
        V_UNROLL for (int j = 0; j < V_PART; j++) {
            rows[j] = third[(V_PART * g + j) / 3] + (V_PART * g + j) % 3 * ldw;
            V_PREFETCH_FAR(rows[j] + GEMM_FEW_AHEAD);
        }
        V_UNROLL for (int s = 0; s < 16; s += V_COLUMNS) {
            vpart v[V_COLUMNS];
            vp_load_columns(rows, s, v);
            V_UNROLL for (int q = 0; q < V_COLUMNS; q++) {
                V_UNROLL for (int i = 0; i < m; i++) part[i][g] = vp_fma(vp_set1(a[i * rsa + s + q]), v[q], part[i][g]);
            }
        }
    }
}

/* n rows of w, columns of c that are cs apart; with `add` to what is in c. */
GEMM_BODY void gemm_few_body(int64_t k, const real *a, int64_t rsa, const real *w, int64_t ldw, real *c, int64_t ldc, int64_t cs, const int m, int64_t n,
                            int add)
{
    vreal sum[L2_FEW_ROWS]; /* of the blocks before */
    int64_t p = 0;
    V_UNROLL for (int i = 0; i < m; i++) sum[i] = add ? gemm_few_load(c + i * ldc, cs, n) : v_zero();
    do {
        const int64_t end = gemm_block_end(p, k);
        vpart part[L2_FEW_ROWS][V_PARTS];
        vreal acc[L2_FEW_ROWS];
        V_UNROLL for (int i = 0; i < m; i++) {
            V_UNROLL for (int g = 0; g < V_PARTS; g++) part[i][g] = vp_zero();
        }
        if (n == 16) {
            const real *third[6], *at = a + p;
            V_UNROLL for (int t = 0; t < 6; t++) third[t] = w + 3 * t * ldw + p;
            for (; p + 16 <= end; p += 16, at += 16) {
                gemm_few_step(part, at, rsa, third, ldw, m);
                V_UNROLL for (int t = 0; t < 6; t++) third[t] += 16;
            }
        }
        V_UNROLL for (int i = 0; i < m; i++) acc[i] = v_join(part[i]);
        for (; p < end; p += 16) {
            vreal v[16];
            int64_t depth = end - p < 16 ? end - p : 16;
            gemm_load_transposed(v, w + p, ldw, n, depth);
            V_UNROLL for (int q = 0; q < 16; q++) {
                if (q < depth) {
                    V_UNROLL for (int i = 0; i < m; i++) acc[i] = v_fma(v_set1(a[i * rsa + p + q]), v[q], acc[i]);
                }
            }
        }
        p = end;
        V_UNROLL for (int i = 0; i < m; i++) sum[i] = add ? v_add(sum[i], acc[i]) : acc[i];
        add = 1;
    } while (p < k);
    V_UNROLL for (int i = 0; i < m; i++) gemm_few_store(c + i * ldc, cs, sum[i], n);
}

/* Rows at a time: with a transposed block 16 + 8 registers of AVX-512's 32. Elsewhere the 16 rows of the weight are read again, from the cache. */
#if defined(L2_SIMD_AVX512)
enum { GEMM_FEW_STEP = 8 };
#else
enum { GEMM_FEW_STEP = 4 };
#endif

#define GEMM_FEW_CASE(rows) case rows: gemm_few_body(k, a, rsa, w, ldw, c, ldc, cs, rows, n, add); break;

static void gemm_few_columns(int64_t k, const real *a, int64_t rsa, const real *w, int64_t ldw, real *c, int64_t ldc, int64_t cs, int m, int64_t n,
                             int add)
{
#if defined(V_PORTABLE)
    gemm_few_body(k, a, rsa, w, ldw, c, ldc, cs, m, n, add);
#else
    switch (m) {
        GEMM_FEW_CASE(1)
        GEMM_FEW_CASE(2)
        GEMM_FEW_CASE(3)
        GEMM_FEW_CASE(4)
#if defined(L2_SIMD_AVX512)
        GEMM_FEW_CASE(5)
        GEMM_FEW_CASE(6)
        GEMM_FEW_CASE(7)
        GEMM_FEW_CASE(8)
#endif
    default: break;
    }
#endif
}

static void gemm_few(int64_t k, const void *a_, int64_t rsa, const void *w_, int64_t ldw, void *c_, int64_t ldc, int m, int64_t n, int accumulate)
{
    const real *a = a_, *w = w_;
    real *c = c_;
    int64_t apart = n / V_LANES, whole = apart * V_LANES;
    for (int64_t t = 0; t < n; t += V_LANES) {
        int64_t j = t < whole ? t / V_LANES : t, cs = t < whole ? apart : 1;
        for (int i = 0; i < m; i += GEMM_FEW_STEP) {
            gemm_few_columns(k, a + i * rsa, rsa, w + j * ldw, ldw * cs, c + i * ldc + j, ldc, cs, m - i < GEMM_FEW_STEP ? m - i : GEMM_FEW_STEP,
                             n - t < V_LANES ? n - t : V_LANES, accumulate);
        }
    }
}

/*
 * Some rows more, times a row-major weight: c[i][j] (+)= sum_k a[i][k] w[j * ldw + k] for the m rows of a panel, at[k * ldt + i] = a[i][k]. Here the
 * lanes are the rows of a, so that elements of w are what is broadcast, and w is read where it lies, once, without transposing it. It is the transpose of c
 * that grows in the registers, a block of k at a time.
 */
GEMM_BODY void gemm_some_body(int64_t k, const real *at, int64_t ldt, const real *w, int64_t ldw, real *c, int64_t ldc, int64_t m, const int columns,
                             const int nv, int accumulate)
{
    vreal acc[GEMM_SOME_COLUMNS][GEMM_VECTORS], sum[GEMM_SOME_COLUMNS][GEMM_VECTORS], t[16]; /* a block; those before it, in the L1 cache */
    V_UNROLL for (int v = 0; v < nv; v++) {
        if (accumulate) gemm_load_transposed(t, c + V_LANES * v * ldc, ldc, m - V_LANES * v, columns);
        V_UNROLL for (int j = 0; j < columns; j++) sum[j][v] = accumulate ? t[j] : v_zero();
    }
    const real *w3 = w + 3 * ldw, *w6 = w + 6 * ldw, *w9 = w + 9 * ldw; /* three rows from each pointer, as above */
    int64_t p = 0;
    do {
        V_UNROLL for (int j = 0; j < columns; j++) {
            V_UNROLL for (int v = 0; v < nv; v++) acc[j][v] = v_zero();
        }
        for (int64_t stop = gemm_block_end(p, k); p < stop; p += 16) {
            const real *end = w + (k - p < 16 ? k - p : 16);
            const real *ahead = w + gemm_ahead(k - p, k, columns * ldw);
            V_UNROLL for (int j = 0; j < columns; j++) V_PREFETCH(ahead + j * ldw);
            for (; w < end; at += ldt, w++, w3++, w6++, w9++) {
                vreal av[GEMM_VECTORS];
                V_UNROLL for (int v = 0; v < nv; v++) av[v] = v_load(at + V_LANES * v);
                V_UNROLL for (int j = 0; j < columns; j++) {
                    vreal wj = v_set1(j < 3 ? w[j * ldw] : j < 6 ? w3[(j - 3) * ldw] : j < 9 ? w6[(j - 6) * ldw] : w9[(j - 9) * ldw]);
                    V_UNROLL for (int v = 0; v < nv; v++) acc[j][v] = v_fma(wj, av[v], acc[j][v]);
                }
            }
        }
        V_UNROLL for (int j = 0; j < columns; j++) {
            V_UNROLL for (int v = 0; v < nv; v++) sum[j][v] = accumulate ? v_add(sum[j][v], acc[j][v]) : acc[j][v];
        }
        accumulate = 1;
    } while (p < k);
    V_UNROLL for (int v = 0; v < nv; v++) {
        V_UNROLL for (int j = 0; j < 16; j++) t[j] = j < columns ? sum[j][v] : v_zero();
        v_transpose(t);
        V_UNROLL for (int i = 0; i < V_LANES; i++) {
            if (V_LANES * v + i < m) v_store_n(c + (V_LANES * v + i) * ldc, t[i], columns);
        }
    }
}

/* Columns of c, which are rows of w, by the most that stay in registers, then by 4, then one by one. */
#define GEMM_SOME_INSTANCE(name, nv, most)                                                                   \
    static void name(int64_t k, const real *at, int64_t ldt, const real *w, int64_t ldw, real *c, int64_t ldc, int64_t m, int64_t n, \
                     int accumulate)                                                                         \
    {                                                                                                        \
        int64_t j = 0;                                                                                       \
        for (; j + most <= n; j += most) gemm_some_body(k, at, ldt, w + j * ldw, ldw, c + j, ldc, m, most, nv, accumulate); \
        for (; j + 4 <= n; j += 4) gemm_some_body(k, at, ldt, w + j * ldw, ldw, c + j, ldc, m, 4, nv, accumulate); \
        for (; j < n; j++) gemm_some_body(k, at, ldt, w + j * ldw, ldw, c + j, ldc, m, 1, nv, accumulate);   \
    }

#if GEMM_VECTORS == 4
GEMM_SOME_INSTANCE(gemm_some_16, 1, 12)
GEMM_SOME_INSTANCE(gemm_some_32, 2, 12)
GEMM_SOME_INSTANCE(gemm_some_48, 3, 8)
GEMM_SOME_INSTANCE(gemm_some_64, 4, 6)
#else
GEMM_SOME_INSTANCE(gemm_some_16, 1, 6)
#endif

static void gemm_some(int64_t k, const void *at_, int64_t ldt, const void *w_, int64_t ldw, void *c_, int64_t ldc, int m, int64_t n, int accumulate)
{
    const real *at = at_, *w = w_;
    real *c = c_;
#if GEMM_VECTORS == 4
    if (m > 48) gemm_some_64(k, at, ldt, w, ldw, c, ldc, m, n, accumulate);
    else if (m > 32) gemm_some_48(k, at, ldt, w, ldw, c, ldc, m, n, accumulate);
    else if (m > 16) gemm_some_32(k, at, ldt, w, ldw, c, ldc, m, n, accumulate);
    else gemm_some_16(k, at, ldt, w, ldw, c, ldc, m, n, accumulate);
#else
    for (int i = 0; i < m; i += V_LANES) gemm_some_16(k, at + i, ldt, w, ldw, c + i * ldc, ldc, m - i < V_LANES ? m - i : V_LANES, n, accumulate);
#endif
}

#endif
