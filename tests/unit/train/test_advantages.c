/* Token rewards, GAE, KL estimators. */
#include "train/ppo.h"
#include "train_test.h"

enum { SAMPLES = 3, MAX_TOKENS = 64 };

typedef struct recording {
    int32_t tokens[MAX_TOKENS], prompts[SAMPLES];
    int64_t offsets[SAMPLES + 1], n;
    float logprobs[MAX_TOKENS], ref[MAX_TOKENS], values[MAX_TOKENS], scores[SAMPLES];
} recording;

/* Samples with responses of 1, 4 and 9 tokens; the second does not end. */
static void record(recording *r, uint64_t seed)
{
    static const int32_t prompts[] = {2, 1, 3}, responses[] = {1, 4, 9};
    memset(r, 0, sizeof *r);
    for (int s = 0; s < SAMPLES; s++) {
        r->prompts[s] = prompts[s];
        for (int i = 0; i < prompts[s] + responses[s]; i++, r->n++) {
            r->tokens[r->n] = 5;
            r->logprobs[r->n] = (float)(-1.5 + noise(&seed));
            r->ref[r->n] = (float)(-1.5 + noise(&seed));
            r->values[r->n] = (float)noise(&seed);
        }
        if (s != 1) r->tokens[r->n - 1] = 2;
        r->scores[s] = (float)(2 * noise(&seed));
        r->offsets[s + 1] = r->n;
    }
}

static llama2_rollouts *rollouts_of(llama2_context *ctx, const recording *r, int32_t n_samples)
{
    llama2_rollouts *out;
    llama2_batch batch = {.struct_size = sizeof batch,
                          .n_sequences = n_samples,
                          .n_tokens = r->offsets[n_samples],
                          .tokens = r->tokens,
                          .offsets = r->offsets};
    ck_ok(llama2_rollouts_create(ctx, &batch, r->prompts, 1, 2, 1, &out));
    ck_ok(llama2_rollouts_set(out, LLAMA2_ROLLOUTS_LOGPROBS, r->logprobs, batch.n_tokens));
    ck_ok(llama2_rollouts_set(out, LLAMA2_ROLLOUTS_REF_LOGPROBS, r->ref, batch.n_tokens));
    ck_ok(llama2_rollouts_set(out, LLAMA2_ROLLOUTS_VALUES, r->values, batch.n_tokens));
    ck_ok(llama2_rollouts_set(out, LLAMA2_ROLLOUTS_SCORES, r->scores, n_samples));
    return out;
}

static llama2_ppo_options plain_options(void)
{
    llama2_ppo_options o;
    llama2_ppo_options_init(&o, sizeof o);
    o.beta = 0.1;
    o.gamma = 0.9;
    o.whiten_advantages = 0;
    return o;
}

/* A_t as the sum over k of (gamma lambda)^k delta_{t+k}, not by recursion. */
static double advantage_by_sum(const recording *r, int s, int64_t t, const llama2_ppo_options *o)
{
    int64_t end = r->offsets[s + 1];
    double sum = 0, factor = 1;
    for (int64_t k = t; k < end; k++) {
        double reward =
            -o->beta * ((double)r->logprobs[k] - (double)r->ref[k]) + (k == end - 1 ? (double)r->scores[s] : 0);
        double next = k + 1 < end ? (double)r->values[k + 1] : 0;
        sum += factor * (reward + o->gamma * next - (double)r->values[k]);
        factor *= o->gamma * o->lambda;
    }
    return sum;
}

START_TEST(gae_with_any_lambda)
{
    static const double lambdas[] = {0, 0.3, 0.95, 1};
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_ppo_options o = plain_options();
    recording r;
    record(&r, 11);
    llama2_rollouts *rollouts = rollouts_of(ctx, &r, SAMPLES);
    for (size_t i = 0; i < sizeof lambdas / sizeof *lambdas; i++) {
        o.lambda = lambdas[i];
        ck_ok(llama2_ppo_advantages(rollouts, &o, NULL));
        llama2_rollouts_view v = view_of(rollouts);
        for (int s = 0; s < SAMPLES; s++) {
            for (int64_t t = r.offsets[s]; t < r.offsets[s + 1]; t++) {
                int response = t >= r.offsets[s] + r.prompts[s];
                double a = response ? advantage_by_sum(&r, s, t, &o) : 0;
                ck_assert_double_eq_tol((double)v.advantages[t], a, 1e-6);
                ck_assert_double_eq_tol((double)v.returns[t], response ? a + (double)r.values[t] : 0, 1e-6);
            }
        }
    }
    /* lambda 1, gamma 1: the return is the rest of the rewards, whatever the values say */
    o.lambda = o.gamma = 1;
    ck_ok(llama2_ppo_advantages(rollouts, &o, NULL));
    llama2_rollouts_view v = view_of(rollouts);
    double rest = (double)r.scores[2];
    for (int64_t t = r.offsets[3] - 1; t >= r.offsets[2] + r.prompts[2]; t--) {
        rest -= o.beta * ((double)r.logprobs[t] - (double)r.ref[t]);
        ck_assert_double_eq_tol((double)v.returns[t], rest, 1e-6);
    }
    llama2_rollouts_free(rollouts);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(what_comes_after_the_end_changes_nothing)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_ppo_options o = plain_options();
    recording r;
    record(&r, 5);
    llama2_rollouts *all = rollouts_of(ctx, &r, SAMPLES), *first = rollouts_of(ctx, &r, 2);
    ck_ok(llama2_ppo_advantages(all, &o, NULL));
    ck_ok(llama2_ppo_advantages(first, &o, NULL));
    llama2_rollouts_view a = view_of(all), f = view_of(first);
    ck_assert_mem_eq(a.advantages, f.advantages, (size_t)f.n_tokens * sizeof(float));
    ck_assert_mem_eq(a.returns, f.returns, (size_t)f.n_tokens * sizeof(float));
    llama2_rollouts_free(all);
    llama2_rollouts_free(first);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(whitened_advantages_and_rewards)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_ppo_options o = plain_options();
    recording r;
    float raw[MAX_TOKENS], returns[MAX_TOKENS];
    record(&r, 7);
    llama2_rollouts *rollouts = rollouts_of(ctx, &r, SAMPLES);
    ck_ok(llama2_ppo_advantages(rollouts, &o, NULL));
    llama2_rollouts_view v = view_of(rollouts);
    memcpy(raw, v.advantages, (size_t)r.n * sizeof *raw);
    memcpy(returns, v.returns, (size_t)r.n * sizeof *raw);
    o.whiten_advantages = 1;
    ck_ok(llama2_ppo_advantages(rollouts, &o, NULL));
    double mean = 0, squares = 0, n = 14;
    for (int64_t t = 0; t < r.n; t++) mean += (double)raw[t] / n; /* prompts are 0 */
    for (int s = 0; s < SAMPLES; s++) {
        for (int64_t t = r.offsets[s] + r.prompts[s]; t < r.offsets[s + 1]; t++)
            squares += ((double)raw[t] - mean) * ((double)raw[t] - mean);
    }
    for (int s = 0; s < SAMPLES; s++) {
        for (int64_t t = r.offsets[s]; t < r.offsets[s + 1]; t++) {
            int response = t >= r.offsets[s] + r.prompts[s];
            ck_assert_double_eq_tol((double)v.advantages[t],
                                    response ? ((double)raw[t] - mean) / sqrt(squares / (n - 1) + 1e-8) : 0, 1e-5);
        }
    }
    ck_assert_mem_eq(v.returns, returns, (size_t)r.n * sizeof *returns); /* from before the whitening */

    /* whitened rewards: lambda 0 and values 0 make advantages of them */
    memset(r.values, 0, sizeof r.values);
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_VALUES, r.values, r.n));
    o.whiten_advantages = 0;
    o.lambda = 0;
    ck_ok(llama2_ppo_advantages(rollouts, &o, NULL));
    memcpy(raw, v.advantages, (size_t)r.n * sizeof *raw);
    o.whiten_rewards = 1;
    ck_ok(llama2_ppo_advantages(rollouts, &o, NULL));
    mean = squares = 0;
    double kept = 0, variance = 0;
    for (int64_t t = 0; t < r.n; t++) mean += (double)raw[t] / n, kept += (double)v.advantages[t] / n;
    for (int s = 0; s < SAMPLES; s++) {
        for (int64_t t = r.offsets[s] + r.prompts[s]; t < r.offsets[s + 1]; t++)
            variance += ((double)v.advantages[t] - kept) * ((double)v.advantages[t] - kept) / (n - 1);
    }
    ck_assert_double_eq_tol(kept, mean, 1e-6); /* the mean is kept */
    ck_assert_double_eq_tol(variance, 1, 1e-5);
    llama2_rollouts_free(rollouts);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(one_element)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_ppo_options o = plain_options();
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    recording r;
    record(&r, 9);
    llama2_rollouts *rollouts = rollouts_of(ctx, &r, 1); /* one response token */
    o.whiten_advantages = o.whiten_rewards = 1;
    ck_ok(llama2_ppo_advantages(rollouts, &o, &m));
    llama2_rollouts_view v = view_of(rollouts);
    ck_assert(v.advantages[2] == 0);
    ck_assert(isfinite(v.returns[2]));
    ck_assert_double_eq(m.explained_variance, 0);
    llama2_rollouts_free(rollouts);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(penalty_and_objective)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_ppo_options o = plain_options();
    llama2_ppo_metrics m = {.struct_size = sizeof m, .n_updates = 17};
    recording r;
    record(&r, 13);
    llama2_rollouts *rollouts = rollouts_of(ctx, &r, SAMPLES);
    o.missing_eos_penalty = 1.25;
    ck_ok(llama2_ppo_advantages(rollouts, &o, &m));
    double kl = 0, entropy = 0, score = ((double)r.scores[0] + (double)r.scores[1] + (double)r.scores[2] - 1.25) / 3;
    for (int s = 0; s < SAMPLES; s++) {
        for (int64_t t = r.offsets[s] + r.prompts[s]; t < r.offsets[s + 1]; t++) {
            kl += ((double)r.logprobs[t] - (double)r.ref[t]) / 3;
            entropy -= (double)r.logprobs[t] / 3;
        }
    }
    ck_assert_double_eq_tol(m.kl, kl, 1e-9);
    ck_assert_double_eq_tol(m.entropy, entropy, 1e-9);
    ck_assert_double_eq_tol(m.non_score_reward, -0.1 * kl, 1e-9);
    ck_assert_double_eq_tol(m.score, score, 1e-9);
    ck_assert_double_eq_tol(m.rlhf_reward, score - 0.1 * kl, 1e-9);
    ck_assert_double_eq_tol(m.eos_share, 2.0 / 3, 1e-12);
    ck_assert_double_eq_tol(m.response_length, 14.0 / 3, 1e-12);
    ck_assert_int_eq(m.n_updates, 17); /* the update's part is left as it was */
    llama2_rollouts_view v = view_of(rollouts);
    int64_t last = r.offsets[2] - 1; /* of the response that did not end */
    double reward = (double)r.scores[1] - 1.25 - 0.1 * ((double)r.logprobs[last] - (double)r.ref[last]);
    ck_assert_double_eq_tol((double)v.returns[last], reward, 1e-6);
    llama2_rollouts_free(rollouts);
    llama2_context_free(ctx);
}
END_TEST

/* r_t, which nothing returns: with gamma 0 it is A_t + V_t, and A_t itself where the critic says 0. */
START_TEST(token_rewards)
{
    static const double betas[] = {0, 0.1, 2};
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_ppo_options o = plain_options();
    recording r;
    record(&r, 19);
    memset(r.values, 0, sizeof r.values);
    llama2_rollouts *rollouts = rollouts_of(ctx, &r, SAMPLES);
    o.gamma = 0;
    for (size_t i = 0; i < sizeof betas / sizeof *betas; i++) {
        o.beta = betas[i];
        ck_ok(llama2_ppo_advantages(rollouts, &o, NULL));
        llama2_rollouts_view v = view_of(rollouts);
        for (int s = 0; s < SAMPLES; s++) {
            int64_t first = r.offsets[s] + r.prompts[s], last = r.offsets[s + 1] - 1;
            for (int64_t t = r.offsets[s]; t <= last; t++) {
                double reward = t < first ? 0 : -o.beta * ((double)r.logprobs[t] - (double)r.ref[t]);
                if (t == last) reward += (double)r.scores[s]; /* there and nowhere else, ended or not */
                ck_assert_double_eq_tol((double)v.advantages[t], reward, 1e-6);
                ck_assert_double_eq_tol((double)v.returns[t], reward, 1e-6);
            }
        }
    }

    /* a token that the policy likes better than the reference does costs, one that it likes less pays */
    memset(r.scores, 0, sizeof r.scores);
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SCORES, r.scores, SAMPLES));
    ck_ok(llama2_ppo_advantages(rollouts, &o, NULL));
    llama2_rollouts_view v = view_of(rollouts);
    int costs = 0, pays = 0;
    for (int s = 0; s < SAMPLES; s++) {
        for (int64_t t = r.offsets[s] + r.prompts[s]; t < r.offsets[s + 1]; t++) {
            costs += r.logprobs[t] > r.ref[t] && v.advantages[t] < 0;
            pays += r.logprobs[t] < r.ref[t] && v.advantages[t] > 0;
        }
    }
    ck_assert_int_eq(costs + pays, 14);
    ck_assert(costs > 0 && pays > 0);
    llama2_rollouts_free(rollouts);
    llama2_context_free(ctx);
}
END_TEST

/* Expectations under an enumerable policy: k1 and k3 are unbiased to rounding, k2 is not but close for near
 * distributions; k3 is never negative. */
START_TEST(kl_estimators)
{
    enum { N = 12 };
    uint64_t seed = 21;
    double p[N], q[N], zp = 0, zq = 0, kl = 0, k1 = 0, k2 = 0, k3 = 0;
    for (int i = 0; i < N; i++) {
        p[i] = exp(noise(&seed));
        q[i] = p[i] * exp(0.4 * noise(&seed));
        zp += p[i], zq += q[i];
    }
    for (int i = 0; i < N; i++) {
        double d = log(p[i] / zp) - log(q[i] / zq);
        kl += p[i] / zp * d;
        k1 += p[i] / zp * l2_kl_estimate(LLAMA2_KL_K1, d);
        k2 += p[i] / zp * l2_kl_estimate(LLAMA2_KL_K2, d);
        k3 += p[i] / zp * l2_kl_estimate(LLAMA2_KL_K3, d);
        ck_assert_double_ge(l2_kl_estimate(LLAMA2_KL_K3, d), 0);
        ck_assert_double_eq_tol(l2_kl_estimate(LLAMA2_KL_K3, d), exp(-d) - 1 + d, 1e-14);
    }
    ck_assert_double_gt(kl, 0.01);
    ck_assert_double_eq_tol(k1, kl, 1e-14);
    ck_assert_double_eq_tol(k3, kl, 1e-14);
    ck_assert_double_eq_tol(k2, kl, 0.2 * kl);
    ck_assert_double_gt(fabs(k2 - kl), 1e-6);
}
END_TEST

START_TEST(estimator_is_used_in_the_penalty)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_ppo_options o = plain_options();
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    recording r;
    record(&r, 17);
    llama2_rollouts *rollouts = rollouts_of(ctx, &r, SAMPLES);
    for (o.kl_estimator = LLAMA2_KL_K1; o.kl_estimator <= LLAMA2_KL_K3; o.kl_estimator++) {
        double sum = 0, k1 = 0;
        for (int s = 0; s < SAMPLES; s++) {
            for (int64_t t = r.offsets[s] + r.prompts[s]; t < r.offsets[s + 1]; t++) {
                double d = (double)r.logprobs[t] - (double)r.ref[t];
                sum += l2_kl_estimate(o.kl_estimator, d) / 3;
                k1 += d / 3;
            }
        }
        ck_ok(llama2_ppo_advantages(rollouts, &o, &m));
        ck_assert_double_eq_tol(m.non_score_reward, -0.1 * sum, 1e-9);
        ck_assert_double_eq_tol(m.kl, k1, 1e-9);
    }
    ck_fails(llama2_ppo_advantages(rollouts, &o, &m), LLAMA2_E_INVALID);
    llama2_rollouts_free(rollouts);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(needs_its_inputs)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *rollouts;
    recording r;
    record(&r, 2);
    llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = SAMPLES, .n_tokens = r.n, .tokens = r.tokens, .offsets = r.offsets};
    ck_ok(llama2_rollouts_create(ctx, &batch, r.prompts, 1, 2, 1, &rollouts));
    const float *const arrays[] = {r.logprobs, r.ref, r.values};
    for (int32_t i = 0; i < 3; i++) {
        ck_fails(llama2_ppo_advantages(rollouts, NULL, NULL), LLAMA2_E_STATE);
        ck_ok(llama2_rollouts_set(rollouts, i, arrays[i], r.n));
    }
    ck_fails(llama2_ppo_advantages(rollouts, NULL, NULL), LLAMA2_E_STATE);
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SCORES, r.scores, SAMPLES));
    ck_ok(llama2_ppo_advantages(rollouts, NULL, NULL));
    llama2_rollouts_free(rollouts);
    llama2_context_free(ctx);
}
END_TEST

/* Numbers that a float does not hold are refused, by name where it is an option's fault; nothing is stored then. */
START_TEST(what_no_float_holds)
{
    static const double beyond[] = {1e39, INFINITY, NAN};
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_ppo_metrics m = {.struct_size = sizeof m, .score = 17};
    llama2_ppo_options o = plain_options();
    recording r;
    record(&r, 29);
    llama2_rollouts *rollouts = rollouts_of(ctx, &r, SAMPLES);
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        o.missing_eos_penalty = beyond[i];
        ck_fails(llama2_ppo_advantages(rollouts, &o, &m), LLAMA2_E_INVALID);
        o = plain_options();
        o.beta = beyond[i];
        ck_fails(llama2_ppo_advantages(rollouts, &o, &m), LLAMA2_E_INVALID);
        o = plain_options();
    }
    r.logprobs[r.n - 1] = -720; /* exp(-d) is more than a double holds */
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_LOGPROBS, r.logprobs, r.n));
    o.kl_estimator = LLAMA2_KL_K3;
    for (int whiten = 0; whiten < 2; whiten++) {
        o.whiten_advantages = whiten;
        ck_fails(llama2_ppo_advantages(rollouts, &o, &m), LLAMA2_E_NUMERIC);
        ck_assert(m.score == 17);
        ck_assert_ptr_null(view_of(rollouts).advantages);
        ck_assert_ptr_null(view_of(rollouts).returns);
    }
    o.beta = 0;
    ck_ok(llama2_ppo_advantages(rollouts, &o, &m)); /* of which nothing is to be seen without a penalty */
    ck_assert(m.non_score_reward == 0 && m.rlhf_reward == m.score);
    o = plain_options();
    ck_ok(llama2_ppo_advantages(rollouts, &o, &m));
    llama2_rollouts_view v = view_of(rollouts);
    float advantages[MAX_TOKENS], returns[MAX_TOKENS];
    memcpy(advantages, v.advantages, (size_t)r.n * sizeof *advantages);
    memcpy(returns, v.returns, (size_t)r.n * sizeof *returns);
    r.logprobs[r.n - 1] = -200; /* whitened it would do, but for its return */
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_LOGPROBS, r.logprobs, r.n));
    o.kl_estimator = LLAMA2_KL_K3;
    ck_fails(llama2_ppo_advantages(rollouts, &o, &m), LLAMA2_E_NUMERIC);
    v = view_of(rollouts);
    ck_assert_mem_eq(v.advantages, advantages, (size_t)r.n * sizeof *advantages);
    ck_assert_mem_eq(v.returns, returns, (size_t)r.n * sizeof *returns);
    llama2_rollouts_free(rollouts);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("advantages");
    ADD_CASE(suite, "gae", gae_with_any_lambda, what_comes_after_the_end_changes_nothing,
             whitened_advantages_and_rewards, one_element, penalty_and_objective, token_rewards, needs_its_inputs,
             what_no_float_holds);
    ADD_CASE(suite, "kl", kl_estimators, estimator_is_used_in_the_penalty);
    return suite;
}
