/* The only file that sees <cblas.h>. It changes nothing of the BLAS's process-wide state: not its threads, not its core
 * type. */
#include "math/gemm.h"
#include <limits.h>

#if defined(LLAMA2_HAVE_CBLAS)
#include <cblas.h>

/* An operand as row-major, or as the transpose of one. The leading dimension is at least the row's length, also where
 * there is one row only. */
static CBLAS_TRANSPOSE orient(l2_matrix x, int64_t rows, int64_t columns, int64_t *ld)
{
    int plain = x.column_stride == 1 && (x.row_stride >= columns || rows == 1);
    *ld = plain ? x.row_stride : x.column_stride;
    int64_t least = plain ? columns : rows;
    if (*ld < least) *ld = least;
    return plain ? CblasNoTrans : CblasTrans;
}

int l2_gemm_has_cblas(void)
{
    return 1;
}

int l2_gemm_cblas(int64_t m, int64_t n, int64_t k, l2_matrix a, l2_matrix b, float *c, int64_t ldc, int accumulate)
{
    int64_t lda, ldb;
    CBLAS_TRANSPOSE ta = orient(a, m, k, &lda), tb = orient(b, k, n, &ldb);
    if (m > INT_MAX || n > INT_MAX || k > INT_MAX || lda > INT_MAX || ldb > INT_MAX || ldc > INT_MAX) return 0;
    if (ldc < n) ldc = n;
    cblas_sgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, 1.0f, a.data, (int)lda, b.data, (int)ldb,
                accumulate ? 1.0f : 0.0f, c, (int)ldc);
    return 1;
}

#else

int l2_gemm_has_cblas(void)
{
    return 0;
}

int l2_gemm_cblas(int64_t m, int64_t n, int64_t k, l2_matrix a, l2_matrix b, float *c, int64_t ldc, int accumulate)
{
    (void)m, (void)n, (void)k, (void)a, (void)b, (void)c, (void)ldc, (void)accumulate;
    return 0;
}

#endif
