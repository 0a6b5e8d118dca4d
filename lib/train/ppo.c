/*
 * The update: policy loss max(-A rho, -A clip(rho, 1 +- eps)), rho = pi / pi_old; value loss max((V - R)^2, (clip(V,
 * Vold +- eps_v) - R)^2) / 2, of a critic, or times value_coef of a head on the policy's trunk, where one backward
 * serves both. Sums over the response tokens of a minibatch, with their number as weight, so that micro-batches of
 * unequal lengths are exact.
 *
 * New log-probabilities are rounded to fp32, as the recorded ones are: before the first step the ratio is 1 to the bit.
 */
#include "train/ppo.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "train/parts.h"
#include "train/stats.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

double l2_ppo_adapt_beta(double beta, double kl, double target, double horizon, int64_t samples)
{
    if (!(beta > 0 && target > 0 && horizon > 0 && samples >= 0)) return beta;
    if (!isfinite(kl) || isinf(target) || isinf(horizon)) return beta;
    double error = fmax(-0.2, fmin(0.2, kl / target - 1));
    double next = beta * fmax(0.1, 1 + error * (double)samples / horizon); /* a beta of 0 would stay 0 */
    return isfinite(next) ? next : beta;
}

/* The samples of one gradient step, packed, and what the losses need of each of their tokens. */
typedef struct minibatch {
    llama2_batch batch;
    int32_t *tokens;
    int64_t *offsets;
    int64_t *targets; /* response tokens, rising: n_targets; then, for the critic, the tokens before them */
    int64_t *before;
    int64_t n_targets;
    float *logprobs, *values, *advantages, *returns; /* of the rollouts, by token of the minibatch */
    double clip, value_clip, value_coef;             /* value_coef: 1 for a critic */
    /* by token of the minibatch, out of the losses */
    double *loss, *ratio, *log_ratio, *entropy, *value_loss;
    uint8_t *clipped, *value_clipped;
} minibatch;

/* Sums over the whole update. */
typedef struct totals {
    double policy_loss, value_loss, squared_log_ratio, clipped, value_clipped, entropy;
    l2_moments ratio;
    int64_t policy_tokens, value_tokens;
    double policy_norm, value_norm;
    int32_t policy_steps, value_steps, policy_skipped, value_skipped;
    double policy_lr, value_lr;
} totals;

static void policy_loss(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy)
{
    const minibatch *b = user;
    (void)dentropy;
    double advantage = (double)b->advantages[row], log_ratio = (double)(float)logprob - (double)b->logprobs[row];
    double ratio = exp(log_ratio), limited = fmax(1 - b->clip, fmin(1 + b->clip, ratio));
    double plain = -advantage * ratio, clipped = -advantage * limited;
    b->loss[row] = plain >= clipped ? plain : clipped;
    /* d rho / d log pi = rho; where the clipped branch rules, the ratio lies outside and has no slope. */
    *dlogprob = plain >= clipped ? plain : 0;
    b->ratio[row] = ratio > 1e30 ? 1e30 : ratio; /* finite, for its mean, as the clipped branch's gradient is */
    b->log_ratio[row] = log_ratio;
    b->entropy[row] = entropy;
    b->clipped[row] = clipped > plain;
}

static void value_loss(void *user, int64_t first, int64_t n, const double *values, double *derivatives)
{
    const minibatch *b = user;
    for (int64_t i = 0; i < n; i++) {
        int64_t t = b->targets[first + i];
        double value = values[i], target = (double)b->returns[t], old = (double)b->values[t];
        double limited = b->value_clip > 0 ? fmax(old - b->value_clip, fmin(old + b->value_clip, value)) : value;
        double plain = (value - target) * (value - target), clipped = (limited - target) * (limited - target);
        b->value_loss[t] = (plain >= clipped ? plain : clipped) / 2;
        derivatives[i] = plain >= clipped ? b->value_coef * (value - target) : 0;
        b->value_clipped[t] = clipped > plain;
    }
}

static llama2_status allocate(llama2_context *ctx, const llama2_rollouts *r, minibatch *b)
{
    size_t tokens = (size_t)r->n_tokens, samples = (size_t)r->n_samples;
    L2_TRY(l2_scratch_get(ctx, tokens * sizeof *b->tokens, &b->tokens));
    L2_TRY(l2_scratch_get(ctx, (samples + 1) * sizeof *b->offsets, &b->offsets));
    L2_TRY(l2_scratch_get(ctx, 2 * tokens * sizeof *b->targets, &b->targets));
    L2_TRY(l2_scratch_get(ctx, 4 * tokens * sizeof *b->logprobs, &b->logprobs));
    L2_TRY(l2_scratch_get(ctx, 5 * tokens * sizeof *b->loss, &b->loss));
    L2_TRY(l2_scratch_get(ctx, 2 * tokens, &b->clipped));
    b->before = b->targets + tokens;
    b->values = b->logprobs + tokens;
    b->advantages = b->values + tokens;
    b->returns = b->advantages + tokens;
    b->ratio = b->loss + tokens;
    b->log_ratio = b->ratio + tokens;
    b->entropy = b->log_ratio + tokens;
    b->value_loss = b->entropy + tokens;
    b->value_clipped = b->clipped + tokens;
    return LLAMA2_OK;
}

static void release(llama2_context *ctx, minibatch *b)
{
    l2_scratch_put(ctx, b->tokens);
    l2_scratch_put(ctx, b->offsets);
    l2_scratch_put(ctx, b->targets);
    l2_scratch_put(ctx, b->logprobs);
    l2_scratch_put(ctx, b->loss);
    l2_scratch_put(ctx, b->clipped);
}

/* Gathers n samples of the rollouts. */
static void gather(const llama2_rollouts *r, const int32_t *samples, int32_t n, minibatch *b)
{
    static const int32_t sources[4] = {LLAMA2_ROLLOUTS_LOGPROBS, LLAMA2_ROLLOUTS_VALUES, LLAMA2_ROLLOUTS_ADVANTAGES,
                                       LLAMA2_ROLLOUTS_RETURNS};
    float *const to[4] = {b->logprobs, b->values, b->advantages, b->returns};
    int64_t at = 0;
    b->offsets[0] = 0;
    b->n_targets = 0;
    for (int32_t i = 0; i < n; i++) {
        int64_t from = r->offsets[samples[i]], length = r->offsets[samples[i] + 1] - from;
        memcpy(b->tokens + at, r->tokens + from, (size_t)length * sizeof *b->tokens);
        for (int32_t k = 0; k < 4; k++) {
            const float *source = r->arrays[sources[k]];
            if (source) memcpy(to[k] + at, source + from, (size_t)length * sizeof *source);
        }
        for (int64_t t = r->prompt_lengths[samples[i]]; t < length; t++) {
            b->targets[b->n_targets] = at + t;
            b->before[b->n_targets++] = at + t - 1;
        }
        at += length;
        b->offsets[i + 1] = at;
    }
    b->batch = (llama2_batch){
        .struct_size = sizeof b->batch, .n_sequences = n, .n_tokens = at, .tokens = b->tokens, .offsets = b->offsets};
}

static double sum_loss(const minibatch *b, const double *loss)
{
    double sum = 0;
    for (int64_t i = 0; i < b->n_targets; i++) sum += loss[b->targets[i]];
    return sum;
}

static void count_values(const minibatch *b, double loss, totals *sums)
{
    for (int64_t i = 0; i < b->n_targets; i++) sums->value_clipped += b->value_clipped[b->targets[i]];
    sums->value_loss += loss;
    sums->value_tokens += b->n_targets;
}

static llama2_status step_policy(llama2_trainer *policy, minibatch *b, double temperature, totals *sums)
{
    llama2_step_metrics step;
    const llama2_reward_model *head = policy->options.value_head;
    double loss = 0, of_values = 0;
    L2_TRY(l2_trainer_begin(policy, &b->batch, L2_HEAD_LM));
    llama2_status status = l2_token_loss_in_parts(policy->model, &b->batch, b->targets, b->n_targets, temperature, 1,
                                                  policy_loss, b, head ? &head->model->head : NULL, value_loss,
                                                  policy->options.micro_batch_tokens, &policy->activations);
    if (status >= 0) {
        loss = sum_loss(b, b->loss);
        of_values = head ? sum_loss(b, b->value_loss) : 0;
        l2_trainer_count(policy, loss + b->value_coef * of_values, (double)b->n_targets, b->batch.n_tokens);
    }
    L2_TRY(l2_trainer_end_step(policy, status, &step));
    sums->policy_lr = step.lr;
    if (head) sums->value_lr = step.lr * policy->options.value_head_lr_ratio;
    sums->policy_skipped += step.skipped;
    if (step.skipped) return LLAMA2_OK;
    for (int64_t i = 0; i < b->n_targets; i++) {
        int64_t t = b->targets[i];
        sums->squared_log_ratio += b->log_ratio[t] * b->log_ratio[t];
        sums->clipped += b->clipped[t];
        sums->entropy += b->entropy[t];
        l2_moments_add(&sums->ratio, b->ratio[t]);
    }
    sums->policy_loss += loss;
    sums->policy_tokens += b->n_targets;
    sums->policy_norm += step.grad_norm;
    sums->policy_steps++;
    if (head) count_values(b, of_values, sums);
    return LLAMA2_OK;
}

static llama2_status step_critic(llama2_trainer *critic, minibatch *b, totals *sums)
{
    llama2_step_metrics step;
    L2_TRY(l2_trainer_begin(critic, &b->batch, L2_HEAD_SCORE));
    llama2_status status = l2_value_loss_in_parts(critic->model, &b->batch, b->before, b->n_targets, 1, value_loss, b,
                                                  critic->options.micro_batch_tokens, &critic->activations);
    double loss = status < 0 ? 0 : sum_loss(b, b->value_loss);
    if (status >= 0) l2_trainer_count(critic, loss, (double)b->n_targets, b->batch.n_tokens);
    L2_TRY(l2_trainer_end_step(critic, status, &step));
    sums->value_lr = step.lr;
    sums->value_skipped += step.skipped;
    if (step.skipped) return LLAMA2_OK;
    count_values(b, loss, sums);
    sums->value_norm += step.grad_norm;
    sums->value_steps++;
    return LLAMA2_OK;
}

/* The order of an epoch: as they come, or a Fisher-Yates shuffle drawn from (seed, epoch). */
static void order_samples(int32_t *order, int32_t n, const llama2_ppo_options *o, int32_t epoch)
{
    for (int32_t i = 0; i < n; i++) order[i] = i;
    if (!o->shuffle) return;
    for (int32_t i = n - 1; i > 0; i--) {
        int32_t j = (int32_t)l2_rng_below(o->seed, L2_RNG_SHUFFLE, (uint64_t)epoch, (uint32_t)i, (uint64_t)i + 1);
        int32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

static double share(double sum, double n)
{
    return n > 0 ? sum / n : 0;
}

static void report(const totals *sums, const llama2_trainer *policy, llama2_ppo_metrics *m)
{
    double tokens = (double)sums->policy_tokens;
    m->n_updates = sums->policy_steps;
    m->policy_loss = share(sums->policy_loss, tokens);
    m->approx_kl = share(sums->squared_log_ratio / 2, tokens);
    m->clip_fraction = share(sums->clipped, tokens);
    m->policy_entropy = share(sums->entropy, tokens);
    m->ratio = sums->ratio.mean;
    m->ratio_var = l2_moments_variance(&sums->ratio);
    m->value_loss = share(sums->value_loss, (double)sums->value_tokens);
    m->value_clip_fraction = share(sums->value_clipped, (double)sums->value_tokens);
    m->policy_grad_norm = share(sums->policy_norm, sums->policy_steps);
    m->value_grad_norm = share(sums->value_norm, sums->value_steps);
    m->policy_lr = sums->policy_lr;
    m->value_lr = sums->value_lr;
    m->step = policy->step;
    m->policy_skipped = sums->policy_skipped;
    m->value_skipped = sums->value_skipped;
}

static llama2_status check(llama2_trainer *policy, llama2_trainer *critic, const llama2_rollouts *r,
                           const llama2_ppo_options *o)
{
    const float *array;
    llama2_batch batch;
    L2_TRY(l2_context_check(policy->ctx));
    L2_TRY(l2_ppo_options_check(o));
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_LOGPROBS, &array));
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_ADVANTAGES, &array));
    l2_rollouts_batch(r, &batch);
    L2_TRY(l2_batch_check(policy->model, &batch));
    if (policy->accumulated || (critic && critic->accumulated)) {
        return l2_fail(LLAMA2_E_STATE, "ppo: a trainer has gradients that no update has used: call "
                                       "llama2_trainer_update or llama2_trainer_clear first");
    }
    if (!critic && !policy->options.value_head) return LLAMA2_OK;
    if (critic && policy->options.value_head) {
        return l2_fail(LLAMA2_E_MISMATCH, "ppo: the policy's trainer has a value head: the critic must be NULL");
    }
    if (critic && critic->model->head_kind != L2_HEAD_SCORE) {
        return l2_fail(LLAMA2_E_MISMATCH, "ppo: the critic's trainer must be one of llama2_trainer_create_for_reward");
    }
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_VALUES, &array));
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_RETURNS, &array));
    return critic ? l2_batch_check(critic->model, &batch) : LLAMA2_OK;
}

llama2_status l2_ppo_update(llama2_trainer *policy, llama2_trainer *critic, const llama2_rollouts *rollouts,
                            const llama2_ppo_options *o, llama2_ppo_metrics *metrics)
{
    llama2_context *ctx = policy->ctx;
    llama2_status status = LLAMA2_OK;
    minibatch b = {.clip = o->clip, .value_clip = o->value_clip, .value_coef = critic ? 1 : o->value_coef};
    totals sums = {0};
    int32_t *order = NULL, n = rollouts->n_samples;
    L2_TRY(check(policy, critic, rollouts, o));
    L2_CHECK(l2_scratch_get(ctx, (size_t)n * sizeof *order, &order));
    L2_CHECK(allocate(ctx, rollouts, &b));
    for (int32_t epoch = 0; epoch < o->epochs; epoch++) {
        order_samples(order, n, o, epoch);
        for (int64_t first = 0; first < n; first += o->minibatch) {
            gather(rollouts, order + first, n - first < o->minibatch ? n - (int32_t)first : o->minibatch, &b);
            L2_CHECK(step_policy(policy, &b, l2_rollouts_temperature(rollouts), &sums));
            if (critic) L2_CHECK(step_critic(critic, &b, &sums));
        }
    }
    report(&sums, policy, metrics);
done:
    release(ctx, &b);
    l2_scratch_put(ctx, order);
    return status;
}
