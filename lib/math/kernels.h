/*
 * The table of kernels of one instruction set. One source (lib/math/kernel/) is compiled for each: over the 16-lane vector type of
 * math/simd.h for AVX-512, AVX2 and portable C in fp32, and once more for double. All give the same bits in fp32, because what is computed is
 * defined without reference to the vector width: chains over k in order, reductions over 16 interleaved lanes in a fixed tree.
 *
 * Pointers are `void`: the table knows its element type ("real"). Kernels run on one thread and can't fail; the op files (lib/math/<op>.c)
 * split the work.
 */
#ifndef L2_MATH_KERNELS_H
#define L2_MATH_KERNELS_H

#include "base/status.h"
#include <llama2/context.h>

enum { L2_TILE_ROWS = 6, L2_TILE_COLUMNS = 64, L2_FEW_ROWS = 8 };

typedef struct l2_kernels {
    const char *name; /* "avx512", "avx2", "scalar", "double" */

    /*
     * The heart: c[i][j] = (accumulate ? c[i][j] : 0) + sum_k a[i*rsa + k*csa] * b[k*ldb + j], one chain a element in the order of k, for
     * i < m <= L2_TILE_ROWS and j < n <= L2_TILE_COLUMNS. Reads nothing outside these ranges.
     */
    void (*gemm_tile)(int64_t k, const void *a, int64_t rsa, int64_t csa, const void *b, int64_t ldb, void *c, int64_t ldc, int m, int n,
                      int accumulate);

    /* Panels for gemm_tile. b: out[p * 64 + j] = b[p * rs + j * cs], n <= 64, one of the strides 1. a, whose rows lie side by side: panels of 6
     * rows, panel i / 6 at out + i * k, in it out[p * 6 + i % 6] = a[p * cs + i]. */
    void (*gemm_pack_b)(int64_t k, int n, const void *b, int64_t rs, int64_t cs, void *out);
    void (*gemm_pack_a)(int64_t k, int64_t m, const void *a, int64_t cs, void *out);

    /* c[i][j] = (accumulate ? c[i][j] : 0) + sum_k a[i*rsa + k] * w[j*ldw + k] for i < m <= L2_FEW_ROWS, any n: reads w once. */
    void (*gemm_few)(int64_t k, const void *a, int64_t rsa, const void *w, int64_t ldw, void *c, int64_t ldc, int m, int64_t n, int accumulate);

    /* The kernels of the ops follow, forward and backward of one op together. */
} l2_kernels;

extern const l2_kernels l2_kernels_scalar;
extern const l2_kernels l2_kernels_double;
#if defined(__x86_64__)
extern const l2_kernels l2_kernels_avx2;
extern const l2_kernels l2_kernels_avx512;
#endif

/* Picks the tables for LLAMA2_ISA_*; NULL where the processor lacks it. lib/math/kernels.c */
const l2_kernels *l2_kernels_select(int32_t isa);

/* The table of a dtype (F32 or F64). */
const l2_kernels *l2_kernels_of(const llama2_context *ctx, int32_t dtype);

#endif
