/* What PPO needs of frozen models: log-probabilities of the reference, values of the critic. */
#include "base/alloc.h"
#include "train/parts.h"
#include "train/ppo.h"
#include <string.h>

/* Tokens of the responses, rising; returns their number. */
static int64_t response_tokens(const llama2_rollouts *rollouts, int64_t *tokens)
{
    int64_t n = 0;
    for (int32_t s = 0; s < rollouts->n_samples; s++) {
        for (int64_t t = rollouts->offsets[s] + rollouts->prompt_lengths[s]; t < rollouts->offsets[s + 1]; t++)
            tokens[n++] = t;
    }
    return n;
}

static void keep_logprob(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy)
{
    float *logprobs = user;
    (void)entropy, (void)dlogprob, (void)dentropy;
    logprobs[row] = (float)logprob;
}

llama2_status l2_rollouts_reference(llama2_rollouts *rollouts, const llama2_model *reference)
{
    llama2_context *ctx = rollouts->ctx;
    llama2_status status = LLAMA2_OK;
    size_t n_tokens = (size_t)rollouts->n_tokens;
    llama2_batch batch;
    float *logprobs = NULL;
    int64_t *targets = NULL;
    L2_TRY(l2_context_check(ctx));
    l2_rollouts_batch(rollouts, &batch);
    L2_TRY(l2_batch_check(reference, &batch));
    L2_TRY(l2_model_enter(reference, L2_READS));
    L2_CHECK(l2_scratch_get(ctx, n_tokens * sizeof *targets, &targets));
    L2_CHECK(l2_scratch_get(ctx, n_tokens * sizeof *logprobs, &logprobs));
    memset(logprobs, 0, n_tokens * sizeof *logprobs);
    int64_t n = response_tokens(rollouts, targets);
    L2_CHECK(l2_token_loss_in_parts(reference, &batch, targets, n, l2_rollouts_temperature(rollouts), 0, keep_logprob,
                                    logprobs, NULL, NULL, L2_PART_TOKENS, NULL));
    L2_CHECK(l2_rollouts_put(rollouts, LLAMA2_ROLLOUTS_REF_LOGPROBS, logprobs, rollouts->n_tokens));
done:
    l2_scratch_put(ctx, logprobs);
    l2_scratch_put(ctx, targets);
    l2_model_leave(reference, L2_READS);
    return status;
}

typedef struct kept_values {
    const int64_t *rows;
    float *values;
} kept_values;

/* The value at response token t is that of the state before it: the critic's output at token t - 1. */
static void keep_values(void *user, int64_t first, int64_t n, const double *values, double *derivatives)
{
    const kept_values *kept = user;
    (void)derivatives;
    for (int64_t i = 0; i < n; i++) kept->values[kept->rows[first + i] + 1] = (float)values[i];
}

llama2_status l2_rollouts_values(llama2_rollouts *rollouts, const llama2_reward_model *critic)
{
    llama2_context *ctx = rollouts->ctx;
    llama2_status status = LLAMA2_OK;
    size_t n_tokens = (size_t)rollouts->n_tokens;
    llama2_batch batch;
    int64_t *rows = NULL;
    kept_values kept = {NULL, NULL};
    L2_TRY(l2_context_check(ctx));
    l2_rollouts_batch(rollouts, &batch);
    L2_TRY(l2_batch_check(critic->model, &batch));
    L2_TRY(l2_model_enter(critic->model, L2_READS));
    L2_CHECK(l2_scratch_get(ctx, n_tokens * sizeof *rows, &rows));
    L2_CHECK(l2_scratch_get(ctx, n_tokens * sizeof *kept.values, &kept.values));
    memset(kept.values, 0, n_tokens * sizeof *kept.values);
    int64_t n = response_tokens(rollouts, rows);
    for (int64_t i = 0; i < n; i++) rows[i]--;
    kept.rows = rows;
    L2_CHECK(l2_value_loss_in_parts(critic->model, &batch, rows, n, 1, keep_values, &kept, L2_PART_TOKENS, NULL));
    L2_CHECK(l2_rollouts_put(rollouts, LLAMA2_ROLLOUTS_VALUES, kept.values, rollouts->n_tokens));
done:
    l2_scratch_put(ctx, kept.values);
    l2_scratch_put(ctx, rows);
    l2_model_leave(critic->model, L2_READS);
    return status;
}
