/* Losses of the log-probabilities of target tokens, and their backward through head and trunk. */
#include "base/alloc.h"
#include "model/forward.h"

/* The head works on the rows before the targets; the caller's loss knows targets by their index in the batch. */
typedef struct targets_view {
    const int64_t *targets;
    l2_token_loss loss;
    void *user;
} targets_view;

static void by_target(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy)
{
    const targets_view *v = user;
    v->loss(v->user, v->targets[row], logprob, entropy, dlogprob, dentropy);
}

llama2_status l2_model_token_loss(const llama2_model *model, const llama2_batch *batch, const int64_t *targets,
                                  int64_t n, double temperature, int entropy, l2_token_loss loss, void *user,
                                  const l2_values *values, l2_activations *activations)
{
    llama2_context *ctx = model->ctx;
    llama2_status status;
    int64_t d = model->config.dim;
    size_t size = l2_dtype_size(model->dtype);
    l2_tensor hidden = l2_tensor_2d(model->dtype, NULL, batch->n_tokens, d);
    l2_tensor x = l2_tensor_2d(model->dtype, NULL, n, d), dx = x;
    int64_t *rows = NULL;
    int32_t *ids = NULL;
    L2_CHECK(l2_scratch_get(ctx, (size_t)l2_tensor_size(&hidden) * size, &hidden.data));
    L2_CHECK(l2_scratch_get(ctx, (size_t)(n * d) * size, &x.data));
    if (activations) L2_CHECK(l2_scratch_get(ctx, (size_t)(n * d) * size, &dx.data));
    L2_CHECK(l2_scratch_get(ctx, (size_t)n * sizeof *rows, &rows));
    L2_CHECK(l2_scratch_get(ctx, (size_t)n * sizeof *ids, &ids));
    for (int64_t i = 0; i < n; i++) {
        rows[i] = targets[i] - 1;
        ids[i] = batch->tokens[targets[i]];
    }
    L2_CHECK(l2_model_forward(model, batch, activations, &hidden));
    L2_CHECK(l2_op_gather_rows(ctx, &hidden, rows, &x));
    targets_view view = {targets, loss, user};
    l2_head_options options = {temperature, entropy, activations != NULL};
    L2_CHECK(l2_op_head(ctx, &model->head, &x, ids, &options, by_target, &view, activations ? &dx : NULL));
    if (values) L2_CHECK(l2_value_head(ctx, values->head, &x, values->loss, values->user, activations ? &dx : NULL, 1));
    if (activations) {
        L2_CHECK(l2_op_scatter_rows(ctx, &dx, rows, &hidden));
        L2_CHECK(l2_model_backward(model, activations, &hidden));
    }
    status = LLAMA2_OK;
done:
    l2_scratch_put(ctx, ids);
    l2_scratch_put(ctx, rows);
    l2_scratch_put(ctx, dx.data);
    l2_scratch_put(ctx, x.data);
    l2_scratch_put(ctx, hidden.data);
    return status;
}
