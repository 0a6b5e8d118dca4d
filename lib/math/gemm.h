/*
 * C = A B or C += A B with any strides: c[i][j] (+)= sum_k a[i*rsa + k*csa] * b[k*rsb + j*csb]. The result's bits
 * depend on the operands alone: not on threads, blocking, the number of rows or the instruction set. With
 * LLAMA2_GEMM_CBLAS fp32 products go to the BLAS, unless b is stored, and lose that promise.
 *
 * k is cut into blocks of L2_GEMM_BLOCK from 0. A block's sum is a chain of fused multiply-adds from zero in the order
 * of k, and the blocks' sums are added one after the other, to c where there is something in it (L2_GEMM_ADD). So an
 * operation rounds to the size of what it adds up, not to that of the residual stream that the sum goes to.
 *
 * L2_GEMM_CONTINUE is for sums that come in parts: c itself is the chain, over all of k, from what is in c. The bits
 * don't depend on where the parts end, nor on products with zero among them.
 */
#ifndef L2_MATH_GEMM_H
#define L2_MATH_GEMM_H

#include "base/status.h"

enum { L2_GEMM_BLOCK = 512 };
enum { L2_GEMM_ZERO = 0, L2_GEMM_ADD = 1, L2_GEMM_CONTINUE = 2 }; /* modes: what c begins with */

typedef struct l2_matrix {
    const void *data;
    int64_t row_stride, column_stride; /* in elements; one of them is 1 */
} l2_matrix;

struct l2_stored;

/* One of several products of the same a: b: (k, n), c: (m, n) with row stride ldc. */
typedef struct l2_gemm_part {
    int64_t n;
    l2_matrix b;
    const struct l2_stored *stored; /* not NULL: b is the transpose of this matrix, in fp32 */
    void *c;
    int64_t ldc;
} l2_gemm_part;

/* a: (m, k). dtype F32 or F64. Runs on the context's threads. Always succeeds: without scratch memory it is only
 * slower. */
llama2_status l2_gemm_parts(llama2_context *ctx, int32_t dtype, int64_t m, int64_t k, l2_matrix a, int32_t n_parts,
                            const l2_gemm_part *parts, int mode);
/* The same with one part. */
llama2_status l2_gemm(llama2_context *ctx, int32_t dtype, int64_t m, int64_t n, int64_t k, l2_matrix a, l2_matrix b,
                      void *c, int64_t ldc, int mode);

/* Was the library built with a CBLAS (LLAMA2_GEMM_CBLAS can be had)? lib/math/gemm_cblas.c */
int l2_gemm_has_cblas(void);

/* The fp32 product by the BLAS, on its own threads; 0 where its integers are too small for the sizes or there is none,
 * and nothing was done. */
int l2_gemm_cblas(int64_t m, int64_t n, int64_t k, l2_matrix a, l2_matrix b, float *c, int64_t ldc, int accumulate);

#endif
