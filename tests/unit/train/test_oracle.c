/*
 * The exact oracle. The policy answers with one or two tokens of ten, so that every output
 * can be enumerated: the optimum of E[r] - beta KL(pi || ref) is pi* ~ ref exp(r / beta), its value beta log
 * E_ref[exp(r / beta)]. PPO with whitening off, gamma 1 and temperature 1 has to close 98 % of the gap between the
 * reference's and the optimal value, for three betas. The best of N samples is known exactly too: P(y) = F(y)^N -
 * F(y-)^N, F the distribution of the reward under the policy.
 */
#include "train_test.h"

#include <stdio.h>

enum { VOCAB = 10, BOS = 1, EOS = 2, OUTPUTS = 1 + (VOCAB - 1) * VOCAB, SAMPLES = 512 };

/* Two different tokens: after one, the same token again would leave a layer of attention in the same state, and the
 * model could not tell the two positions apart. */
enum { PROMPT = 2 };
static const int32_t prompt[PROMPT] = {BOS, 3};

/* All outputs after the prompt: EOS alone, or another token and any token after it. */
typedef struct outputs {
    int32_t tokens[OUTPUTS * (PROMPT + 2)];
    int64_t offsets[OUTPUTS + 1];
    llama2_batch batch;
} outputs;

static void enumerate(outputs *o)
{
    int64_t n = 0;
    int32_t s = 0;
    o->offsets[0] = 0;
    for (int32_t a = 0; a < VOCAB; a++) {
        for (int32_t b = 0; b < (a == EOS ? 1 : VOCAB); b++) {
            for (int32_t i = 0; i < PROMPT; i++) o->tokens[n++] = prompt[i];
            o->tokens[n++] = a;
            if (a != EOS) o->tokens[n++] = b;
            o->offsets[++s] = n;
        }
    }
    ck_assert_int_eq(s, OUTPUTS);
    o->batch = (llama2_batch){
        .struct_size = sizeof o->batch, .n_sequences = s, .n_tokens = n, .tokens = o->tokens, .offsets = o->offsets};
}

/* The reward of an answer: depends on both tokens and not on their sum alone. */
static double reward(const int32_t *tokens, int64_t length)
{
    const int32_t *answer = tokens + PROMPT;
    length -= PROMPT;
    int32_t a = answer[0], b = length > 1 ? answer[1] : VOCAB;
    return 3 * sin(1.7 * a + 0.9 * b * b) + 1.5 * cos(2.3 * a * b + 1);
}

/* log pi of every output. */
static void log_probabilities(const llama2_model *model, const outputs *o, double *out)
{
    float logprobs[OUTPUTS * (PROMPT + 2)];
    double total = 0;
    ck_ok(llama2_model_logprobs(model, &o->batch, 1, logprobs, NULL));
    for (int32_t s = 0; s < OUTPUTS; s++) {
        out[s] = 0;
        for (int64_t t = o->offsets[s] + PROMPT; t < o->offsets[s + 1]; t++) out[s] += (double)logprobs[t];
        total += exp(out[s]);
    }
    ck_assert_double_eq_tol(total, 1, 1e-5);
}

static double objective(const outputs *o, const double *logpi, const double *logref, double beta)
{
    double value = 0;
    for (int32_t s = 0; s < OUTPUTS; s++) {
        value += exp(logpi[s]) *
                 (reward(o->tokens + o->offsets[s], o->offsets[s + 1] - o->offsets[s]) - beta * (logpi[s] - logref[s]));
    }
    return value;
}

static double optimum(const outputs *o, const double *logref, double beta)
{
    double sum = 0;
    for (int32_t s = 0; s < OUTPUTS; s++) {
        sum += exp(logref[s] + reward(o->tokens + o->offsets[s], o->offsets[s + 1] - o->offsets[s]) / beta);
    }
    return beta * log(sum);
}

static llama2_trainer *trainer_of(llama2_context *ctx, llama2_model *model, llama2_reward_model *critic, double lr,
                                  int64_t steps)
{
    llama2_optimizer_options oo;
    llama2_trainer_options to;
    llama2_optimizer *optimizer;
    llama2_trainer *trainer;
    llama2_optimizer_options_init(&oo, sizeof oo);
    llama2_trainer_options_init(&to, sizeof to);
    oo.lr = lr;
    oo.weight_decay = 0; /* would move the optimum */
    to.schedule = LLAMA2_SCHEDULE_COSINE;
    to.total_steps = steps;
    to.min_lr_ratio = 0.02;
    ck_ok(llama2_optimizer_create(ctx, &oo, &optimizer));
    if (model) to.value_head = critic;
    if (model)
        ck_ok(llama2_trainer_create(ctx, model, optimizer, &to, &trainer));
    else
        ck_ok(llama2_trainer_create_for_reward(ctx, critic, optimizer, &to, &trainer));
    llama2_optimizer_free(optimizer);
    return trainer;
}

static void iterate(llama2_trainer *policy_trainer, llama2_trainer *critic_trainer, llama2_model *policy,
                    const llama2_model *reference, const llama2_reward_model *critic, const llama2_ppo_options *o,
                    int32_t iteration)
{
    static const int64_t offsets[2] = {0, PROMPT};
    llama2_batch prompts = {
        .struct_size = sizeof prompts, .n_sequences = 1, .n_tokens = PROMPT, .tokens = prompt, .offsets = offsets};
    float scores[SAMPLES];
    llama2_rollout_options r;
    llama2_rollouts *rollouts;
    llama2_rollout_options_init(&r, sizeof r);
    r.samples_per_prompt = SAMPLES;
    r.max_new_tokens = 2;
    r.first_sample_id = (uint64_t)iteration * SAMPLES;
    r.max_parallel = SAMPLES;
    ck_ok(llama2_rollout(policy, &prompts, &r, &rollouts));
    llama2_rollouts_view v = view_of(rollouts);
    for (int32_t s = 0; s < SAMPLES; s++)
        scores[s] = (float)reward(v.tokens + v.offsets[s], v.offsets[s + 1] - v.offsets[s]);
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SCORES, scores, SAMPLES));
    ck_ok(llama2_rollouts_reference(rollouts, reference));
    ck_ok(llama2_rollouts_values(rollouts, critic));
    ck_ok(llama2_ppo_advantages(rollouts, o, NULL));
    ck_ok(llama2_ppo_update(policy_trainer, critic_trainer, rollouts, o, NULL));
    llama2_rollouts_free(rollouts);
}

static llama2_model *make_policy(llama2_context *ctx)
{
    llama2_config c = small_config(0);
    llama2_model *policy;
    c.vocab_size = VOCAB;
    c.dim = 24;
    c.n_layers = 1;
    c.n_heads = c.n_kv_heads = 2;
    c.head_dim = 8;
    c.ffn_dim = 48;
    c.max_seq_len = 8;
    c.init_std = 0.15;
    ck_ok(llama2_model_create(ctx, &c, NULL, &policy));
    return policy;
}

/* Share of the gap that PPO closes, with a critic or with a value head on the policy's trunk. */
static double solve(double beta, int shared)
{
    enum { ITERATIONS = 120, EPOCHS = 4, STEPS = ITERATIONS * EPOCHS };
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *policy = make_policy(ctx), *reference;
    llama2_reward_model *critic;
    llama2_reward_options ro;
    outputs all;
    double logref[OUTPUTS], logpi[OUTPUTS];
    ck_ok(llama2_model_clone(policy, &reference));
    llama2_reward_options_init(&ro, sizeof ro);
    ro.head = LLAMA2_HEAD_ZERO;
    ck_ok(shared ? llama2_reward_model_create_shared(policy, &ro, &critic)
                 : llama2_reward_model_create(ctx, policy, &ro, &critic));
    llama2_trainer *trainer = trainer_of(ctx, policy, shared ? critic : NULL, 1e-2, STEPS),
                   *critic_trainer = shared ? NULL : trainer_of(ctx, NULL, critic, 1e-2, STEPS);
    enumerate(&all);
    log_probabilities(reference, &all, logref);

    llama2_ppo_options o;
    llama2_ppo_options_init(&o, sizeof o);
    o.beta = beta;
    o.whiten_advantages = 0;
    o.lambda = 1;
    o.value_clip = 0;
    o.minibatch = SAMPLES;
    o.epochs = EPOCHS;
    for (int32_t i = 0; i < ITERATIONS; i++) iterate(trainer, critic_trainer, policy, reference, critic, &o, i);

    log_probabilities(policy, &all, logpi);
    double start = objective(&all, logref, logref, beta), best = optimum(&all, logref, beta),
           reached = objective(&all, logpi, logref, beta);
    double closed = (reached - start) / (best - start);
    printf("beta %.2f%s: reference %.4f, optimum %.4f, PPO %.4f: %.2f %% of the gap of %.3f\n", beta,
           shared ? ", value head" : "", start, best, reached, 100 * closed, best - start);
    ck_assert_double_ge(best - start, 1);
    ck_assert_double_le(reached, best + 1e-4); /* else the oracle is wrong */
    llama2_trainer_free(trainer);
    llama2_trainer_free(critic_trainer);
    llama2_reward_model_free(critic);
    llama2_model_free(policy);
    llama2_model_free(reference);
    llama2_context_free(ctx);
    return closed;
}

START_TEST(ppo_reaches_the_exact_optimum)
{
    static const double betas[] = {0.4, 0.7, 1.2};
    ck_assert_double_ge(solve(betas[_i % 3], _i / 3), 0.98);
}
END_TEST

/* P(reward of a sample < x) and P(reward <= x). */
static void distribution(const outputs *o, const double *logpi, double x, double *below, double *up_to)
{
    *below = *up_to = 0;
    for (int32_t s = 0; s < OUTPUTS; s++) {
        double r = (double)(float)reward(o->tokens + o->offsets[s], o->offsets[s + 1] - o->offsets[s]);
        *below += r < x ? exp(logpi[s]) : 0;
        *up_to += r <= x ? exp(logpi[s]) : 0;
    }
}

/* The pool's choices of N samples each, measured: KL to the policy, and how often they beat another sample (a tie
 * counts half), within four standard errors of the exact numbers, which keep the bounds. */
START_TEST(best_of_n_keeps_its_bounds)
{
    static const int32_t counts[] = {1, 2, 4, 16};
    enum { GROUPS = 1024, MOST = 16 };
    const int32_t n = counts[_i];
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *policy = make_policy(ctx);
    llama2_rollouts *rollouts;
    llama2_rollout_options ro;
    llama2_pool *pool;
    outputs all;
    double logpi[OUTPUTS], exact_kl = 0, exact_wins = 0, sums[4] = {0};
    int32_t tokens[GROUPS * PROMPT];
    int64_t offsets[GROUPS + 1];
    uint64_t ids[GROUPS];
    static float scores[GROUPS * MOST];
    enumerate(&all);
    log_probabilities(policy, &all, logpi);
    for (int32_t g = 0; g < GROUPS; g++) {
        memcpy(tokens + g * PROMPT, prompt, sizeof prompt);
        offsets[g] = (int64_t)g * PROMPT;
        ids[g] = (uint64_t)g;
    }
    offsets[GROUPS] = (int64_t)GROUPS * PROMPT;
    llama2_batch prompts = {.struct_size = sizeof prompts,
                            .n_sequences = GROUPS,
                            .n_tokens = offsets[GROUPS],
                            .tokens = tokens,
                            .offsets = offsets};
    llama2_rollout_options_init(&ro, sizeof ro);
    ro.samples_per_prompt = n;
    ro.max_new_tokens = 2;
    ro.seed = 23;
    ck_ok(llama2_rollout(policy, &prompts, &ro, &rollouts));
    llama2_rollouts_view v = view_of(rollouts);
    for (int32_t s = 0; s < v.n_samples; s++)
        scores[s] = (float)reward(v.tokens + v.offsets[s], v.offsets[s + 1] - v.offsets[s]);
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SCORES, scores, v.n_samples));
    llama2_pool_add_options po;
    llama2_pool_add_options_init(&po, sizeof po);
    po.leave_out_unfinished = 0; /* the task's outputs end where they are full */
    ck_ok(llama2_pool_create(ctx, &pool));
    ck_ok(llama2_pool_add(pool, rollouts, ids, &po, NULL));

    for (int32_t s = 0; s < OUTPUTS; s++) {
        double below, up_to,
            r = (double)(float)reward(all.tokens + all.offsets[s], all.offsets[s + 1] - all.offsets[s]);
        distribution(&all, logpi, r, &below, &up_to);
        double p = pow(up_to, n) - pow(below, n);
        exact_kl += p > 0 ? p * (log(p) - logpi[s]) : 0;
        exact_wins += p * (below + up_to) / 2;
    }
    for (int32_t g = 0; g < GROUPS; g++) {
        llama2_pool_sample best = {.struct_size = sizeof best};
        double below, up_to;
        ck_ok(llama2_pool_best(pool, 0, 0, g, &best));
        distribution(&all, logpi, (double)best.score, &below, &up_to);
        double kl = log((pow(up_to, n) - pow(below, n)) / (up_to - below)), wins = (below + up_to) / 2;
        sums[0] += kl;
        sums[1] += kl * kl;
        sums[2] += wins;
        sums[3] += wins * wins;
    }
    double kl = sums[0] / GROUPS, kl_error = sqrt(fmax(0, sums[1] / GROUPS - kl * kl) / GROUPS);
    double wins = sums[2] / GROUPS, wins_error = sqrt((sums[3] / GROUPS - wins * wins) / GROUPS);
    double most_kl = log(n) - (n - 1.0) / n, most_wins = n / (n + 1.0);
    printf("best of %2d: KL %.3f, exact %.3f, at most %.3f; wins %.3f, exact %.3f, at most %.3f\n", n, kl, exact_kl,
           most_kl, wins, exact_wins, most_wins);
    ck_assert_double_le(exact_kl, most_kl + 1e-5);
    ck_assert_double_le(exact_wins, most_wins + 1e-5);
    ck_assert_double_le(fabs(kl - exact_kl), 4 * kl_error + 1e-5);
    ck_assert_double_le(fabs(wins - exact_wins), 4 * wins_error + 1e-5);
    llama2_pool_free(pool);
    llama2_rollouts_free(rollouts);
    llama2_model_free(policy);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("oracle");
    TCase *tc = tcase_create("exact");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, ppo_reaches_the_exact_optimum, 0, 6);
    tcase_add_loop_test(tc, best_of_n_keeps_its_bounds, 0, 4);
    suite_add_tcase(suite, tc);
    return suite;
}
