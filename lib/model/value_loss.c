/* Values of a score head at chosen tokens, and the backward of any loss on them. */
#include "base/alloc.h"
#include "model/forward.h"

llama2_status l2_value_head(llama2_context *ctx, const l2_linear *head, const l2_tensor *x, l2_value_loss loss,
                            void *user, l2_tensor *dx, int accumulate)
{
    llama2_status status;
    int64_t n = x->shape[0];
    l2_tensor y = l2_tensor_2d(x->dtype, NULL, n, 1);
    double *values = NULL;
    L2_CHECK(l2_scratch_get(ctx, (size_t)n * l2_dtype_size(x->dtype), &y.data));
    L2_CHECK(l2_scratch_get(ctx, (size_t)n * 2 * sizeof *values, &values));
    double *derivatives = values + n;
    for (int64_t i = 0; i < n; i++) derivatives[i] = 0;
    l2_tensor v64 = l2_tensor_2d(LLAMA2_F64, values, n, 1), d64 = l2_tensor_2d(LLAMA2_F64, derivatives, n, 1);
    L2_CHECK(l2_linear_forward(ctx, head, x, &y, 0));
    L2_CHECK(l2_op_copy(ctx, &y, &v64));
    loss(user, n, values, derivatives);
    if (dx) {
        L2_CHECK(l2_op_copy(ctx, &d64, &y));
        L2_CHECK(l2_linear_backward(ctx, head, x, &y, dx, accumulate));
    }
    status = LLAMA2_OK;
done:
    l2_scratch_put(ctx, values);
    l2_scratch_put(ctx, y.data);
    return status;
}

llama2_status l2_model_value_loss(const llama2_model *model, const llama2_batch *batch, const int64_t *rows, int64_t n,
                                  l2_value_loss loss, void *user, l2_activations *activations)
{
    llama2_context *ctx = model->ctx;
    llama2_status status;
    int64_t d = model->config.dim;
    size_t size = l2_dtype_size(model->dtype);
    l2_tensor hidden = l2_tensor_2d(model->dtype, NULL, batch->n_tokens, d);
    l2_tensor x = l2_tensor_2d(model->dtype, NULL, n, d), dx = x;
    L2_CHECK(l2_scratch_get(ctx, (size_t)l2_tensor_size(&hidden) * size, &hidden.data));
    L2_CHECK(l2_scratch_get(ctx, (size_t)(n * d) * size, &x.data));
    L2_CHECK(l2_scratch_get(ctx, (size_t)(n * d) * size, &dx.data));
    L2_CHECK(l2_model_forward(model, batch, activations, &hidden));
    L2_CHECK(l2_op_gather_rows(ctx, &hidden, rows, &x));
    L2_CHECK(l2_value_head(ctx, &model->head, &x, loss, user, activations ? &dx : NULL, 0));
    if (activations) {
        L2_CHECK(l2_op_scatter_rows(ctx, &dx, rows, &hidden));
        L2_CHECK(l2_model_backward(model, activations, &hidden));
    }
    status = LLAMA2_OK;
done:
    l2_scratch_put(ctx, dx.data);
    l2_scratch_put(ctx, x.data);
    l2_scratch_put(ctx, hidden.data);
    return status;
}
