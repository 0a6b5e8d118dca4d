/*
 * The inner loops of matrix products. Whatever the path, element (i, j) is one chain of fused multiply-adds over k in rising order: that is what
 * the bits are defined by.
 */
#ifndef L2_KERNEL_GEMM_H
#define L2_KERNEL_GEMM_H

#include "math/simd.h"
#include "math/kernels.h"

/* Vectors of 16 columns that stay in registers beside 6 rows: 24 accumulators of the 32 registers of AVX-512, 6 pairs of the 16 of AVX2. */
#if defined(L2_SIMD_AVX512)
#define GEMM_VECTORS 4
#else
#define GEMM_VECTORS 1
#endif

/* m rows x nv vectors, both constants at each call; `last` lanes of the last vector, 16 or a run-time number. */
V_INLINE void gemm_body(int64_t k, const real *a, int64_t rsa, int64_t csa, const real *b, int64_t ldb, real *c, int64_t ldc, const int m,
                        const int nv, const int masked, int64_t last, int accumulate)
{
    vreal acc[L2_TILE_ROWS][GEMM_VECTORS];
    V_UNROLL for (int i = 0; i < m; i++) {
        V_UNROLL for (int v = 0; v < nv; v++) {
            const real *p = c + i * ldc + V_LANES * v;
            acc[i][v] = !accumulate ? v_zero() : masked && v == nv - 1 ? v_load_n(p, last) : v_load(p);
        }
    }
    const real *a3 = a + 3 * rsa; /* rows 0-2 and 3-5 from two pointers: what x86 can address without further registers */
    for (int64_t p = 0; p < k; p++, a += csa, a3 += csa, b += ldb) {
        vreal bv[GEMM_VECTORS];
        V_UNROLL for (int v = 0; v < nv; v++) {
            bv[v] = masked && v == nv - 1 ? v_load_n(b + V_LANES * v, last) : v_load(b + V_LANES * v);
        }
        V_UNROLL for (int i = 0; i < m; i++) {
            vreal ai = v_set1(i < 3 ? a[i * rsa] : a3[(i - 3) * rsa]);
            V_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = v_fma(ai, bv[v], acc[i][v]);
        }
    }
    V_UNROLL for (int i = 0; i < m; i++) {
        V_UNROLL for (int v = 0; v < nv; v++) {
            real *q = c + i * ldc + V_LANES * v;
            if (masked && v == nv - 1) v_store_n(q, acc[i][v], last);
            else v_store(q, acc[i][v]);
        }
    }
}

/* One instance a number of rows: the accumulators can't be indexed at run time. */
#define GEMM_ROWS(nv, masked, last)                                                                          \
    switch (m) {                                                                                             \
    case 6: gemm_body(k, a, rsa, csa, b, ldb, c, ldc, 6, nv, masked, last, accumulate); break;               \
    case 5: gemm_body(k, a, rsa, csa, b, ldb, c, ldc, 5, nv, masked, last, accumulate); break;               \
    case 4: gemm_body(k, a, rsa, csa, b, ldb, c, ldc, 4, nv, masked, last, accumulate); break;               \
    case 3: gemm_body(k, a, rsa, csa, b, ldb, c, ldc, 3, nv, masked, last, accumulate); break;               \
    case 2: gemm_body(k, a, rsa, csa, b, ldb, c, ldc, 2, nv, masked, last, accumulate); break;               \
    default: gemm_body(k, a, rsa, csa, b, ldb, c, ldc, 1, nv, masked, last, accumulate); break;              \
    }

#define GEMM_INSTANCE(name, nv, masked)                                                                      \
    static void name(int64_t k, const real *a, int64_t rsa, int64_t csa, const real *b, int64_t ldb, real *c, int64_t ldc, int m, \
                     int64_t last, int accumulate)                                                           \
    {                                                                                                        \
        (void)last;                                                                                          \
        GEMM_ROWS(nv, masked, last)                                                                          \
    }

#if GEMM_VECTORS == 4
GEMM_INSTANCE(gemm_rows_64, 4, 0)
GEMM_INSTANCE(gemm_rows_tail_64, 4, 1)
GEMM_INSTANCE(gemm_rows_tail_48, 3, 1)
GEMM_INSTANCE(gemm_rows_tail_32, 2, 1)
#else
GEMM_INSTANCE(gemm_rows_16, 1, 0)
#endif
GEMM_INSTANCE(gemm_rows_tail_16, 1, 1)

static void gemm_tile(int64_t k, const void *a_, int64_t rsa, int64_t csa, const void *b_, int64_t ldb, void *c_, int64_t ldc, int m, int n,
                      int accumulate)
{
    const real *a = a_, *b = b_;
    real *c = c_;
#if GEMM_VECTORS == 4
    if (n == 64) gemm_rows_64(k, a, rsa, csa, b, ldb, c, ldc, m, 16, accumulate);
    else if (n > 48) gemm_rows_tail_64(k, a, rsa, csa, b, ldb, c, ldc, m, n - 48, accumulate);
    else if (n > 32) gemm_rows_tail_48(k, a, rsa, csa, b, ldb, c, ldc, m, n - 32, accumulate);
    else if (n > 16) gemm_rows_tail_32(k, a, rsa, csa, b, ldb, c, ldc, m, n - 16, accumulate);
    else if (n > 0) gemm_rows_tail_16(k, a, rsa, csa, b, ldb, c, ldc, m, n, accumulate);
#else
    int j = 0;
    for (; j + 16 <= n; j += 16) gemm_rows_16(k, a, rsa, csa, b + j, ldb, c + j, ldc, m, 16, accumulate);
    if (j < n) gemm_rows_tail_16(k, a, rsa, csa, b + j, ldb, c + j, ldc, m, n - j, accumulate);
#endif
}

#endif
