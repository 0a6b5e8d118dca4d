/* y = x W^T and its two gradients are three layouts of one product. */
#include "math/linear.h"
#include "math/gemm.h"

/* x: (..., columns), whatever its leading dimensions are. */
static int64_t rows_of(const l2_tensor *x, int64_t columns)
{
    return columns > 0 ? l2_tensor_size(x) / columns : 0;
}

/* y = x W^T, or += */
static l2_gemm_part part_of(const l2_linear *w, const l2_tensor *y)
{
    int64_t n = w->weight.shape[0], k = w->weight.shape[1];
    l2_gemm_part part = {.n = n, .b = {w->weight.data, 1, k}, .c = y->data, .ldc = n};
    if (w->stored && l2_stored_is_dense(w->stored))
        part.b.data = w->stored->data;
    else
        part.stored = w->stored;
    return part;
}

llama2_status l2_linear_forward(llama2_context *ctx, const l2_linear *w, const l2_tensor *x, l2_tensor *y,
                                int accumulate)
{
    int64_t k = w->weight.shape[1];
    l2_gemm_part part = part_of(w, y);
    return l2_gemm_parts(ctx, x->dtype, rows_of(x, k), k, (l2_matrix){x->data, k, 1}, 1, &part,
                         accumulate ? L2_GEMM_ADD : L2_GEMM_ZERO);
}

llama2_status l2_linears_forward(llama2_context *ctx, int32_t n, const l2_linear *const *w, const l2_tensor *x,
                                 l2_tensor *const *y)
{
    l2_gemm_part parts[L2_MOST_LINEARS];
    int64_t k = w[0]->weight.shape[1];
    for (int32_t i = 0; i < n; i++) parts[i] = part_of(w[i], y[i]);
    return l2_gemm_parts(ctx, x->dtype, rows_of(x, k), k, (l2_matrix){x->data, k, 1}, n, parts, L2_GEMM_ZERO);
}

llama2_status l2_linear_backward(llama2_context *ctx, const l2_linear *w, const l2_tensor *x, const l2_tensor *dy,
                                 l2_tensor *dx, int accumulate)
{
    int64_t n = w->weight.shape[0], k = w->weight.shape[1], rows = rows_of(dy, n);
    if (dx) {
        L2_TRY(l2_gemm(ctx, dy->dtype, rows, k, n, (l2_matrix){dy->data, n, 1}, (l2_matrix){w->weight.data, k, 1},
                       dx->data, k, accumulate ? L2_GEMM_ADD : L2_GEMM_ZERO));
    }
    if (!w->grad.data) return LLAMA2_OK;
    return l2_gemm(ctx, dy->dtype, n, k, rows, (l2_matrix){dy->data, 1, n}, (l2_matrix){x->data, k, 1}, w->grad.data, k,
                   L2_GEMM_CONTINUE);
}
