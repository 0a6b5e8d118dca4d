/* Backward from derivatives that the host supplies: by log-probabilities, logits, or values. */
#include "base/alloc.h"
#include "train/parts.h"
#include "train/trainer.h"
#include <math.h>

static llama2_status check_sums(double loss, double weight)
{
    if (!(weight >= 0) || isinf(weight))
        return l2_fail(LLAMA2_E_INVALID, "backward: weight is %g, not finite and >= 0", weight);
    if (isnan(loss)) return l2_fail(LLAMA2_E_INVALID, "backward: loss is not a number");
    return LLAMA2_OK;
}

static void given_logprob(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy)
{
    const float *grad = user;
    (void)logprob, (void)entropy, (void)dentropy;
    *dlogprob = (double)grad[row];
}

llama2_status l2_backward_logprobs(llama2_trainer *trainer, const llama2_batch *batch, double temperature,
                                   const float *grad, double loss, double weight)
{
    llama2_status status = LLAMA2_OK;
    int64_t *targets = NULL, n = 0;
    L2_TRY(check_sums(loss, weight));
    L2_TRY(l2_temperature_check(temperature));
    L2_TRY(l2_trainer_begin(trainer, batch, L2_HEAD_LM));
    L2_CHECK(l2_scratch_get(trainer->ctx, (size_t)batch->n_tokens * sizeof *targets, &targets));
    for (int32_t s = 0; s < batch->n_sequences; s++) {
        for (int64_t t = batch->offsets[s] + 1; t < batch->offsets[s + 1]; t++) {
            if (grad[t] != 0) targets[n++] = t;
        }
    }
    L2_CHECK(l2_token_loss_in_parts(trainer->model, batch, targets, n, temperature, 0, given_logprob,
                                    (void *)(uintptr_t)grad, NULL, NULL, trainer->options.micro_batch_tokens,
                                    &trainer->activations));
    l2_trainer_count(trainer, loss, weight, batch->n_tokens);
done:
    l2_scratch_put(trainer->ctx, targets);
    return l2_trainer_end(trainer, status);
}

/* dhidden = dlogits W, dW += dlogits^T hidden, with the host's fp32 rows converted a chunk at a time where the model is
 * in double. */
static llama2_status head_backward(llama2_trainer *trainer, const l2_tensor *hidden, const float *grad,
                                   l2_tensor *dhidden)
{
    enum { CHUNK = 64 };
    llama2_context *ctx = trainer->ctx;
    const llama2_model *model = trainer->model;
    llama2_status status = LLAMA2_OK;
    int64_t n = hidden->shape[0], vocab = model->config.vocab_size;
    l2_tensor given = l2_tensor_2d(LLAMA2_F32, (void *)(uintptr_t)grad, n, vocab);
    l2_tensor converted = l2_tensor_2d(model->dtype, NULL, CHUNK, vocab);
    if (model->dtype == LLAMA2_F32) return l2_linear_backward(ctx, &model->head, hidden, &given, dhidden, 0);
    L2_CHECK(l2_scratch_get(ctx, (size_t)(CHUNK * vocab) * l2_dtype_size(model->dtype), &converted.data));
    for (int64_t first = 0; first < n; first += CHUNK) {
        int64_t rows = n - first < CHUNK ? n - first : CHUNK;
        l2_tensor from = l2_tensor_rows(&given, first, rows), to = l2_tensor_rows(&converted, 0, rows);
        l2_tensor x = l2_tensor_rows(hidden, first, rows), dx = l2_tensor_rows(dhidden, first, rows);
        L2_CHECK(l2_op_copy(ctx, &from, &to));
        L2_CHECK(l2_linear_backward(ctx, &model->head, &x, &to, &dx, 0));
    }
done:
    l2_scratch_put(ctx, converted.data);
    return status;
}

static llama2_status logits_part(llama2_trainer *trainer, const llama2_batch *part, const float *grad)
{
    llama2_context *ctx = trainer->ctx;
    const llama2_model *model = trainer->model;
    llama2_status status = LLAMA2_OK;
    l2_tensor hidden = l2_tensor_2d(model->dtype, NULL, part->n_tokens, model->config.dim), dhidden = hidden;
    size_t bytes = (size_t)l2_tensor_size(&hidden) * l2_dtype_size(model->dtype);
    L2_CHECK(l2_scratch_get(ctx, bytes, &hidden.data));
    L2_CHECK(l2_scratch_get(ctx, bytes, &dhidden.data));
    L2_CHECK(l2_model_forward(model, part, &trainer->activations, &hidden));
    L2_CHECK(head_backward(trainer, &hidden, grad, &dhidden));
    L2_CHECK(l2_model_backward(model, &trainer->activations, &dhidden));
done:
    l2_scratch_put(ctx, dhidden.data);
    l2_scratch_put(ctx, hidden.data);
    return status;
}

llama2_status l2_backward_logits(llama2_trainer *trainer, const llama2_batch *batch, const float *grad, double loss,
                                 double weight)
{
    llama2_status status = LLAMA2_OK;
    int64_t *offsets = NULL, first_token;
    int32_t sequence = 0;
    llama2_batch part;
    L2_TRY(check_sums(loss, weight));
    L2_TRY(l2_trainer_begin(trainer, batch, L2_HEAD_LM));
    L2_CHECK(l2_scratch_get(trainer->ctx, ((size_t)batch->n_sequences + 1) * sizeof *offsets, &offsets));
    while (l2_batch_next_part(batch, trainer->options.micro_batch_tokens, 1, &sequence, offsets, &part, &first_token)) {
        L2_CHECK(l2_context_check(trainer->ctx));
        L2_CHECK(logits_part(trainer, &part, grad + first_token * trainer->model->config.vocab_size));
    }
    l2_trainer_count(trainer, loss, weight, batch->n_tokens);
done:
    l2_scratch_put(trainer->ctx, offsets);
    return l2_trainer_end(trainer, status);
}

typedef struct given_values {
    const float *grad;
    const int64_t *rows;
} given_values;

static void given_value(void *user, int64_t first, int64_t n, const double *values, double *derivatives)
{
    const given_values *g = user;
    (void)values;
    for (int64_t i = 0; i < n; i++) derivatives[i] = (double)g->grad[g->rows[first + i]];
}

llama2_status l2_backward_values(llama2_trainer *trainer, const llama2_batch *batch, const float *grad, double loss,
                                 double weight)
{
    llama2_status status = LLAMA2_OK;
    const llama2_reward_model *head = trainer->options.value_head;
    int64_t *rows = NULL, n = 0;
    L2_TRY(check_sums(loss, weight));
    L2_TRY(l2_trainer_begin(trainer, batch, head ? L2_HEAD_LM : L2_HEAD_SCORE));
    L2_CHECK(l2_scratch_get(trainer->ctx, (size_t)batch->n_tokens * sizeof *rows, &rows));
    for (int64_t t = 0; t < batch->n_tokens; t++) {
        if (grad[t] != 0) rows[n++] = t;
    }
    given_values given = {grad, rows};
    L2_CHECK(l2_value_loss_in_parts(head ? head->model : trainer->model, batch, rows, n, 1, given_value, &given,
                                    trainer->options.micro_batch_tokens, &trainer->activations));
    l2_trainer_count(trainer, loss, weight, batch->n_tokens);
done:
    l2_scratch_put(trainer->ctx, rows);
    return l2_trainer_end(trainer, status);
}
