/*
 * C = A B or C += A B with any strides: c[i][j] = c0 + sum_k a[i*rsa + k*csa] * b[k*rsb + j*csb], in one chain of fused
 * multiply-adds in the order of k. The result's bits depend on the operands alone: not on threads, blocking, the number
 * of rows or the instruction set. With LLAMA2_GEMM_CBLAS fp32 products go to the BLAS and lose that promise.
 */
#ifndef L2_MATH_GEMM_H
#define L2_MATH_GEMM_H

#include "base/status.h"

typedef struct l2_matrix {
    const void *data;
    int64_t row_stride, column_stride; /* in elements; one of them is 1 */
} l2_matrix;

/* One of several products of the same a: b: (k, n), c: (m, n) with row stride ldc. */
typedef struct l2_gemm_part {
    int64_t n;
    l2_matrix b;
    void *c;
    int64_t ldc;
} l2_gemm_part;

/* a: (m, k). dtype F32 or F64. Runs on the context's threads. Always succeeds: without scratch memory it is only
 * slower. */
llama2_status l2_gemm_parts(llama2_context *ctx, int32_t dtype, int64_t m, int64_t k, l2_matrix a, int32_t n_parts,
                            const l2_gemm_part *parts, int accumulate);
/* The same with one part. */
llama2_status l2_gemm(llama2_context *ctx, int32_t dtype, int64_t m, int64_t n, int64_t k, l2_matrix a, l2_matrix b,
                      void *c, int64_t ldc, int accumulate);

/* Was the library built with a CBLAS (LLAMA2_GEMM_CBLAS can be had)? lib/math/gemm_cblas.c */
int l2_gemm_has_cblas(void);

/* The fp32 product by the BLAS, on its own threads; 0 where its integers are too small for the sizes or there is none,
 * and nothing was done. */
int l2_gemm_cblas(int64_t m, int64_t n, int64_t k, l2_matrix a, l2_matrix b, float *c, int64_t ldc, int accumulate);

#endif
