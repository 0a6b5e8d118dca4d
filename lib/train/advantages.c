/*
 * Token rewards and generalised advantage estimation (Schulman et al. 2016):
 *
 *     r_t = -beta KL_t + [t is the last] score            delta_t = r_t + gamma V_{t+1} - V_t, V past the end 0
 *     A_t = delta_t + gamma lambda A_{t+1}                R_t = A_t + V_t, before the whitening of A
 */
#include "base/alloc.h"
#include "train/ppo.h"
#include "train/stats.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>

llama2_status l2_ppo_options_check(const llama2_ppo_options *o)
{
    if (o->minibatch < 1) return l2_fail(LLAMA2_E_INVALID, "ppo: minibatch is %" PRId32 ", less than 1", o->minibatch);
    if (o->epochs < 1) return l2_fail(LLAMA2_E_INVALID, "ppo: epochs is %" PRId32 ", less than 1", o->epochs);
    if (!(o->beta >= 0 && o->beta <= (double)FLT_MAX))
        return l2_fail(LLAMA2_E_INVALID, "ppo: beta is %g, not in [0, %g]", o->beta, (double)FLT_MAX);
    if (!(o->gamma >= 0 && o->gamma <= 1))
        return l2_fail(LLAMA2_E_INVALID, "ppo: gamma is %g, not in [0, 1]", o->gamma);
    if (!(o->lambda >= 0 && o->lambda <= 1))
        return l2_fail(LLAMA2_E_INVALID, "ppo: lambda is %g, not in [0, 1]", o->lambda);
    if (!(o->clip > 0) || isinf(o->clip))
        return l2_fail(LLAMA2_E_INVALID, "ppo: clip is %g, not finite and > 0", o->clip);
    if (!(o->value_clip >= 0) || isinf(o->value_clip))
        return l2_fail(LLAMA2_E_INVALID, "ppo: value_clip is %g, not finite and >= 0", o->value_clip);
    if (!(o->value_coef >= 0) || isinf(o->value_coef))
        return l2_fail(LLAMA2_E_INVALID, "ppo: value_coef is %g, not finite and >= 0", o->value_coef);
    if (!(fabs(o->missing_eos_penalty) <= (double)FLT_MAX))
        return l2_fail(LLAMA2_E_INVALID, "ppo: missing_eos_penalty is %g, not in +-%g", o->missing_eos_penalty,
                       (double)FLT_MAX);
    if (o->kl_estimator < LLAMA2_KL_K1 || o->kl_estimator > LLAMA2_KL_K3) {
        return l2_fail(LLAMA2_E_INVALID, "ppo: kl_estimator is %" PRId32 ", none of LLAMA2_KL_K1, _K2, _K3",
                       o->kl_estimator);
    }
    return LLAMA2_OK;
}

double l2_kl_estimate(int32_t estimator, double d)
{
    if (estimator == LLAMA2_KL_K2) return d * d / 2;
    if (estimator == LLAMA2_KL_K3) return expm1(-d) + d;
    return d;
}

typedef struct inputs {
    const float *logprobs, *ref, *values, *scores;
} inputs;

/* One sample: rewards, advantages and returns of tokens first .. end - 1, of which the last gets the score. */
static void estimate(const inputs *in, int64_t first, int64_t end, const llama2_ppo_options *o, const double *rewards,
                     double *advantages, double *returns)
{
    double next_value = 0, next_advantage = 0;
    for (int64_t t = end - 1; t >= first; t--) {
        double value = (double)in->values[t];
        double delta = rewards[t] + o->gamma * next_value - value;
        advantages[t] = delta + o->gamma * o->lambda * next_advantage;
        returns[t] = advantages[t] + value;
        next_value = value;
        next_advantage = advantages[t];
    }
}

/* Token rewards of all samples, and the objective's part of the metrics. */
static void reward(const llama2_rollouts *r, const inputs *in, const llama2_ppo_options *o, double *rewards,
                   llama2_ppo_metrics *m)
{
    double kl = 0, entropy = 0, penalty = 0, score = 0, ended = 0;
    int64_t length = 0;
    for (int32_t s = 0; s < r->n_samples; s++) {
        int64_t first = r->offsets[s] + r->prompt_lengths[s], end = r->offsets[s + 1];
        for (int64_t t = first; t < end; t++) {
            double d = (double)in->logprobs[t] - (double)in->ref[t];
            /* Without a penalty it does not matter that k3 may be infinite. */
            rewards[t] = o->beta > 0 ? -o->beta * l2_kl_estimate(o->kl_estimator, d) : 0;
            penalty += rewards[t];
            kl += d;
            entropy -= (double)in->logprobs[t];
        }
        double final = (double)in->scores[s] - (r->ended[s] ? 0 : o->missing_eos_penalty);
        rewards[end - 1] += final;
        score += final;
        ended += r->ended[s];
        length += end - first;
    }
    double n = r->n_samples;
    m->kl = kl / n;
    m->entropy = entropy / n;
    m->non_score_reward = penalty / n;
    m->score = score / n;
    m->rlhf_reward = m->score + m->non_score_reward;
    m->eos_share = ended / n;
    m->response_length = (double)length / n;
}

/* For each token of the responses, in order. */
#define EACH_RESPONSE_TOKEN(r, t)                                                                                      \
    for (int32_t each_s = 0; each_s < (r)->n_samples; each_s++)                                                        \
        for (int64_t t = (r)->offsets[each_s] + (r)->prompt_lengths[each_s]; t < (r)->offsets[each_s + 1]; t++)

/* Variance 1, mean kept. */
static void whiten_rewards(const llama2_rollouts *r, double *rewards)
{
    l2_moments moments = {0};
    EACH_RESPONSE_TOKEN(r, t) l2_moments_add(&moments, rewards[t]);
    EACH_RESPONSE_TOKEN(r, t) rewards[t] = l2_whiten(&moments, rewards[t]) + moments.mean;
}

static void whiten_advantages(const llama2_rollouts *r, double *advantages)
{
    l2_moments moments = {0};
    EACH_RESPONSE_TOKEN(r, t) l2_moments_add(&moments, advantages[t]);
    EACH_RESPONSE_TOKEN(r, t) advantages[t] = l2_whiten(&moments, advantages[t]);
}

/* 1 - Var(R - V) / Var(R); 0 where the returns do not vary. */
static double explained_variance(const llama2_rollouts *r, const double *returns, const float *values)
{
    l2_moments all = {0}, rest = {0};
    EACH_RESPONSE_TOKEN(r, t)
    {
        l2_moments_add(&all, returns[t]);
        l2_moments_add(&rest, returns[t] - (double)values[t]);
    }
    double variance = l2_moments_variance(&all);
    return variance > 0 ? 1 - l2_moments_variance(&rest) / variance : 0;
}

/* Stored as floats: llama2_rollouts_load takes finite ones only. */
static llama2_status check_finite(const llama2_rollouts *r, const double *advantages, const double *returns)
{
    EACH_RESPONSE_TOKEN(r, t)
    {
        if (!isfinite((float)advantages[t]) || !isfinite((float)returns[t]))
            return l2_fail(LLAMA2_E_NUMERIC,
                           "ppo: the advantage of a token of sample %" PRId32
                           " is %g, its return %g: not finite as floats",
                           each_s, advantages[t], returns[t]);
    }
    return LLAMA2_OK;
}

llama2_status l2_ppo_advantages(llama2_rollouts *r, const llama2_ppo_options *o, llama2_ppo_metrics *m)
{
    llama2_context *ctx = r->ctx;
    llama2_status status = LLAMA2_OK;
    inputs in;
    size_t n = (size_t)r->n_tokens;
    double *work = NULL;
    float *advantages, *returns;
    int made = !r->arrays[LLAMA2_ROLLOUTS_ADVANTAGES];
    L2_TRY(l2_ppo_options_check(o));
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_LOGPROBS, &in.logprobs));
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_REF_LOGPROBS, &in.ref));
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_VALUES, &in.values));
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_SCORES, &in.scores));
    L2_CHECK(l2_scratch_get(ctx, 3 * n * sizeof *work, &work));
    L2_CHECK(l2_diversity(r, &m->distinct_1, &m->distinct_2, &m->repetition));
    double *rewards = work, *a = work + n, *ret = work + 2 * n;
    reward(r, &in, o, rewards, m);
    if (o->whiten_rewards) whiten_rewards(r, rewards);
    for (int32_t s = 0; s < r->n_samples; s++) {
        estimate(&in, r->offsets[s] + r->prompt_lengths[s], r->offsets[s + 1], o, rewards, a, ret);
    }
    m->explained_variance = explained_variance(r, ret, in.values);
    if (o->whiten_advantages) whiten_advantages(r, a);
    L2_CHECK(check_finite(r, a, ret));
    L2_CHECK(l2_rollouts_make(r, LLAMA2_ROLLOUTS_ADVANTAGES, &advantages));
    L2_CHECK(l2_rollouts_make(r, LLAMA2_ROLLOUTS_RETURNS, &returns));
    EACH_RESPONSE_TOKEN(r, t)
    {
        advantages[t] = (float)a[t];
        returns[t] = (float)ret[t];
    }
done:
    if (status < 0 && made) {
        l2_free(ctx, r->arrays[LLAMA2_ROLLOUTS_ADVANTAGES]);
        r->arrays[LLAMA2_ROLLOUTS_ADVANTAGES] = NULL;
    }
    l2_scratch_put(ctx, work);
    return status;
}
