/* The update: what step 0 must be, the losses against the host's own derivatives, minibatches,
 * failures. */
#include "train/reward_model.h"
#include "task_threads.h"
#include "train_test.h"

typedef struct world {
    llama2_context *ctx;
    llama2_model *policy, *reference;
    llama2_reward_model *critic;
    llama2_trainer *trainer, *critic_trainer;
    llama2_rollouts *rollouts;
} world;

static void begin_in(llama2_context *ctx, world *w, double temperature, int64_t micro_batch)
{
    llama2_trainer_options o;
    llama2_trainer_options_init(&o, sizeof o);
    o.micro_batch_tokens = micro_batch;
    w->ctx = ctx;
    w->policy = small_model(w->ctx, 0, LLAMA2_F32);
    ck_ok(llama2_model_clone(w->policy, &w->reference));
    w->critic = small_reward_model(w->ctx, w->policy, LLAMA2_HEAD_NORMAL);
    w->trainer = small_trainer(w->ctx, w->policy, 1e-2, &o);
    w->critic_trainer = small_reward_trainer(w->ctx, w->critic, 1e-2, &o);
    w->rollouts = small_rollouts(w->policy, 3, 4, temperature, 0);
    score_by_tokens(w->rollouts);
    ck_ok(llama2_rollouts_reference(w->rollouts, w->reference));
    ck_ok(llama2_rollouts_values(w->rollouts, w->critic));
}

static void begin(world *w, int32_t threads, double temperature, int64_t micro_batch)
{
    begin_in(small_context(threads, LLAMA2_ISA_AUTO), w, temperature, micro_batch);
}

static void end(world *w)
{
    llama2_rollouts_free(w->rollouts);
    llama2_trainer_free(w->trainer);
    llama2_trainer_free(w->critic_trainer);
    llama2_reward_model_free(w->critic);
    llama2_model_free(w->policy);
    llama2_model_free(w->reference);
    llama2_context_free(w->ctx);
}

static int64_t response_tokens(const llama2_rollouts_view *v)
{
    int64_t n = 0;
    for (int32_t s = 0; s < v->n_samples; s++) n += v->offsets[s + 1] - v->offsets[s] - v->prompt_lengths[s];
    return n;
}

START_TEST(first_step_is_on_policy_to_the_bit)
{
    static const double temperatures[] = {1, 0.7, 1.3, 0};
    world w;
    begin(&w, 1 + _i % 3, temperatures[_i], _i % 2 ? 5 : 0);
    llama2_ppo_options o;
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    llama2_ppo_options_init(&o, sizeof o);
    ck_ok(llama2_ppo_advantages(w.rollouts, &o, &m));
    ck_assert(m.kl == 0 && m.non_score_reward == 0);
    llama2_rollouts_view v = view_of(w.rollouts);
    ck_assert_mem_eq(v.logprobs, v.ref_logprobs, (size_t)v.n_tokens * sizeof(float));
    ck_ok(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, &m));
    ck_assert_int_eq(m.n_updates, 1);
    ck_assert(m.ratio == 1 && m.ratio_var == 0);
    ck_assert(m.clip_fraction == 0 && m.approx_kl == 0);
    ck_assert_double_eq_tol(m.policy_loss, 0, 1e-6); /* minus the mean of whitened advantages */
    ck_assert_double_gt(m.policy_grad_norm, 0);
    ck_assert_double_gt(m.policy_entropy, 0.1);
    ck_assert(!same_weights(w.policy, w.reference));
    /* and now it has moved */
    ck_ok(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, &m));
    ck_assert(m.ratio != 1 && m.approx_kl > 0);
    end(&w);
}
END_TEST

/* The value at a response token is the critic's at the token before it. */
START_TEST(values_are_of_the_state_before)
{
    world w;
    begin(&w, 2, 1, 0);
    float values[512];
    llama2_rollouts_view v = view_of(w.rollouts);
    llama2_batch batch = {.struct_size = sizeof batch,
                          .n_sequences = v.n_samples,
                          .n_tokens = v.n_tokens,
                          .tokens = v.tokens,
                          .offsets = v.offsets};
    ck_ok(llama2_reward_model_values(w.critic, &batch, values));
    for (int32_t s = 0; s < v.n_samples; s++) {
        for (int64_t t = v.offsets[s]; t < v.offsets[s + 1]; t++) {
            ck_assert(v.values[t] == (t < v.offsets[s] + v.prompt_lengths[s] ? 0 : values[t - 1]));
        }
    }
    end(&w);
}
END_TEST

/* Moves recorded numbers away, so that ratios and values leave their ranges. */
static void perturb(world *w)
{
    llama2_rollouts_view v = view_of(w->rollouts);
    float logprobs[512], values[512];
    uint64_t seed = 77;
    for (int64_t t = 0; t < v.n_tokens; t++) {
        logprobs[t] = v.logprobs[t] + (float)(0.4 * noise(&seed));
        values[t] = v.values[t] + (float)(0.5 * noise(&seed));
    }
    ck_ok(llama2_rollouts_set(w->rollouts, LLAMA2_ROLLOUTS_LOGPROBS, logprobs, v.n_tokens));
    ck_ok(llama2_rollouts_set(w->rollouts, LLAMA2_ROLLOUTS_VALUES, values, v.n_tokens));
}

/* One step by hand from rollouts: derivatives by the formulas, through the host's entrances. Returns the two losses and
 * the clipped shares. */
static void step_by_hand(world *w, double temperature, double out[4])
{
    llama2_rollouts_view v = view_of(w->rollouts);
    llama2_batch batch = {.struct_size = sizeof batch,
                          .n_sequences = v.n_samples,
                          .n_tokens = v.n_tokens,
                          .tokens = v.tokens,
                          .offsets = v.offsets};
    float now[512], values[512], by_logprob[512] = {0}, by_value[512] = {0};
    double n = (double)response_tokens(&v);
    memset(out, 0, 4 * sizeof *out);
    ck_ok(llama2_model_logprobs(w->policy, &batch, temperature, now, NULL));
    ck_ok(llama2_reward_model_values(w->critic, &batch, values));
    for (int32_t s = 0; s < v.n_samples; s++) {
        for (int64_t t = v.offsets[s] + v.prompt_lengths[s]; t < v.offsets[s + 1]; t++) {
            double a = (double)v.advantages[t], rho = exp((double)now[t] - (double)v.logprobs[t]),
                   bounded = rho < 0.8   ? 0.8
                             : rho > 1.2 ? 1.2
                                         : rho;
            int clipped = -a * bounded > -a * rho;
            out[0] += fmax(-a * rho, -a * bounded) / n;
            out[2] += clipped / n;
            by_logprob[t] = clipped ? 0 : (float)(-a * rho);
            double value = (double)values[t - 1], old = (double)v.values[t], target = (double)v.returns[t];
            double near = value < old - 0.2 ? old - 0.2 : value > old + 0.2 ? old + 0.2 : value;
            int value_clipped = (near - target) * (near - target) > (value - target) * (value - target);
            out[1] += fmax((near - target) * (near - target), (value - target) * (value - target)) / 2 / n;
            out[3] += value_clipped / n;
            by_value[t - 1] = value_clipped ? 0 : (float)(value - target);
        }
    }
    ck_ok(llama2_trainer_backward_logprobs(w->trainer, &batch, temperature, by_logprob, 0, n));
    ck_ok(llama2_trainer_update(w->trainer, NULL));
    ck_ok(llama2_trainer_backward_values(w->critic_trainer, &batch, by_value, 0, n));
    ck_ok(llama2_trainer_update(w->critic_trainer, NULL));
}

START_TEST(losses_are_the_formulas)
{
    world a, b;
    llama2_ppo_options o;
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    double hand[4];
    int64_t n;
    llama2_ppo_options_init(&o, sizeof o);
    o.shuffle = 0;
    begin(&a, 2, 0.8, 6);
    begin(&b, 1, 0.8, 0);
    perturb(&a);
    perturb(&b);
    ck_ok(llama2_ppo_advantages(a.rollouts, &o, NULL));
    ck_ok(llama2_ppo_advantages(b.rollouts, &o, NULL));
    ck_ok(llama2_ppo_update(a.trainer, a.critic_trainer, a.rollouts, &o, &m));
    step_by_hand(&b, 0.8, hand);
    ck_assert_double_eq_tol(m.policy_loss, hand[0], 1e-6);
    ck_assert_double_eq_tol(m.value_loss, hand[1], 1e-5);
    ck_assert_double_eq_tol(m.clip_fraction, hand[2], 1e-9);
    ck_assert_double_eq_tol(m.value_clip_fraction, hand[3], 1e-9);
    ck_assert_double_gt(m.clip_fraction, 0.02);
    ck_assert_double_gt(m.value_clip_fraction, 0.02);
    float *x = all_weights(a.policy, &n), *y = all_weights(b.policy, &n), *start = all_weights(a.reference, &n);
    /* the steps agree, measured by their own length */
    for (int64_t i = 0; i < n; i++) x[i] -= start[i], y[i] -= start[i];
    ck_assert_double_lt(distance(x, y, n), 1e-3);
    free(x);
    free(y);
    free(start);
    float head[24], hand_head[24];
    ck_ok(llama2_reward_model_get_tensor(a.critic, "score.weight", head, 24, NULL));
    ck_ok(llama2_reward_model_get_tensor(b.critic, "score.weight", hand_head, 24, NULL));
    ck_assert_double_lt(distance(head, hand_head, 24), 1e-6);
    end(&a);
    end(&b);
}
END_TEST

/* A token that has become exp(800) times as likely, which the clip keeps out of the gradient: the metrics stay numbers.
 */
START_TEST(ratios_beyond_double_leave_the_metrics_finite)
{
    world w;
    float logprobs[512];
    llama2_ppo_options o;
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    llama2_ppo_options_init(&o, sizeof o);
    begin(&w, 1, 1, 0);
    llama2_rollouts_view v = view_of(w.rollouts);
    int64_t at = v.offsets[0] + v.prompt_lengths[0];
    memcpy(logprobs, v.logprobs, (size_t)v.n_tokens * sizeof *logprobs);
    logprobs[at] = -800;
    ck_ok(llama2_rollouts_set(w.rollouts, LLAMA2_ROLLOUTS_LOGPROBS, logprobs, v.n_tokens));
    ck_ok(llama2_ppo_advantages(w.rollouts, &o, NULL));
    ck_assert(view_of(w.rollouts).advantages[at] > 0);
    ck_ok(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, &m));
    ck_assert_int_gt(m.n_updates, 0);
    ck_assert(isfinite(m.ratio) && isfinite(m.ratio_var) && isfinite(m.policy_loss) && m.ratio > 1e20);
    end(&w);
}
END_TEST

/* The same bits for any number of threads and any micro-batch; the seed decides the order. */
START_TEST(threads_and_micro_batches_change_no_bit)
{
    enum { OTHER_ORDER = 4, RUNS };
    static const int32_t threads[RUNS] = {1, 2, 3, 8, 1};
    world w[RUNS];
    llama2_ppo_options o;
    llama2_ppo_options_init(&o, sizeof o);
    o.minibatch = 5; /* 12 samples: 5, 5, 2 */
    o.epochs = 2;
    o.seed = 3;
    for (int i = 0; i < RUNS; i++) {
        llama2_ppo_metrics m = {.struct_size = sizeof m};
        begin(&w[i], threads[i], 1, i % 2 ? 7 : 0);
        ck_ok(llama2_ppo_advantages(w[i].rollouts, &o, NULL));
        if (i == OTHER_ORDER) o.seed = 4;
        ck_ok(llama2_ppo_update(w[i].trainer, w[i].critic_trainer, w[i].rollouts, &o, &m));
        ck_assert_int_eq(m.n_updates, 6);
        ck_assert_int_eq(llama2_trainer_step(w[i].trainer), 6);
        ck_assert_int_eq(llama2_trainer_step(w[i].critic_trainer), 6);
        ck_assert(same_weights(w[0].policy, w[i].policy) == (i != OTHER_ORDER));
        ck_assert(same_weights(w[0].critic->model, w[i].critic->model) == (i != OTHER_ORDER));
    }
    for (int i = 0; i < RUNS; i++) end(&w[i]);
}
END_TEST

/* --- a model so wide that its products are shared out ----------------------------------------- */

enum { WIDE_VOCABULARY = 515, WIDE_TOKENS = 96 };

static int32_t run_by_host(void *user, int32_t n_tasks, llama2_task_fn task, void *arg)
{
    ++*(int *)user;
    return run_on_threads(n_tasks, task, arg);
}

/* Whatever a host can see of one iteration: logits, gradients, sampled tokens with their log-probabilities, weights. */
typedef struct wide_run {
    float *logits, *gradients, *weights, *logprobs;
    int32_t *sampled;
    int64_t n_parameters, n_sampled;
} wide_run;

static wide_run run_wide(llama2_context *ctx)
{
    static const int64_t offsets[] = {0, 1, 34, 39, WIDE_TOKENS};
    int32_t tokens[WIDE_TOKENS];
    llama2_batch batch = {sizeof batch, 4, WIDE_TOKENS, tokens, offsets, NULL};
    llama2_loss loss = {.struct_size = sizeof loss};
    llama2_ppo_options o;
    llama2_config c;
    world w = {.ctx = ctx};
    wide_run r = {.logits = malloc(sizeof(float) * WIDE_TOKENS * WIDE_VOCABULARY)};
    for (int32_t i = 0; i < WIDE_TOKENS; i++) tokens[i] = (i * i + 7 * i) % WIDE_VOCABULARY;
    llama2_config_init(&c, sizeof c);
    c.vocab_size = WIDE_VOCABULARY;
    c.dim = 320;
    c.n_layers = 2;
    c.n_heads = 5;
    c.n_kv_heads = 1;
    c.head_dim = 64;
    c.ffn_dim = 864;
    c.max_seq_len = 96;
    c.init_std = 0.1;
    ck_ok(llama2_model_create(ctx, &c, NULL, &w.policy));
    ck_ok(llama2_model_clone(w.policy, &w.reference));
    w.critic = small_reward_model(ctx, w.policy, LLAMA2_HEAD_NORMAL);
    w.trainer = small_trainer(ctx, w.policy, 1e-3, NULL);
    w.critic_trainer = small_reward_trainer(ctx, w.critic, 1e-3, NULL);
    ck_ok(llama2_model_logits(w.policy, &batch, r.logits));
    ck_ok(llama2_trainer_accumulate(w.trainer, &batch, &loss));
    r.gradients = all_gradients(w.trainer, w.policy, &r.n_parameters);
    llama2_trainer_clear(w.trainer);
    w.rollouts = small_rollouts(w.policy, 3, 4, 1, 0);
    score_by_tokens(w.rollouts);
    ck_ok(llama2_rollouts_reference(w.rollouts, w.reference));
    ck_ok(llama2_rollouts_values(w.rollouts, w.critic));
    llama2_ppo_options_init(&o, sizeof o);
    o.minibatch = 5;
    ck_ok(llama2_ppo_advantages(w.rollouts, &o, NULL));
    ck_ok(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, NULL));
    r.weights = all_weights(w.policy, &r.n_parameters);
    llama2_rollouts_view v = view_of(w.rollouts);
    r.n_sampled = v.n_tokens;
    r.sampled = malloc((size_t)v.n_tokens * sizeof *r.sampled);
    r.logprobs = malloc((size_t)v.n_tokens * sizeof *r.logprobs);
    memcpy(r.sampled, v.tokens, (size_t)v.n_tokens * sizeof *r.sampled);
    memcpy(r.logprobs, v.logprobs, (size_t)v.n_tokens * sizeof *r.logprobs);
    end(&w);
    return r;
}

static void free_wide(wide_run *r)
{
    free(r->logits);
    free(r->gradients);
    free(r->weights);
    free(r->logprobs);
    free(r->sampled);
}

START_TEST(a_wide_model_has_the_same_bits_for_1_2_3_8_threads_and_a_host_s)
{
    static const int32_t threads[] = {1, 2, 3, 8, 5};
    enum { RUNS = 5, BY_HOST = 4 };
    wide_run first = {.logits = NULL};
    int jobs = 0;
    if (getenv("LLAMA2_TEST_FEW")) {
        puts("skipped: a wide model for each number of threads: it computes at length, for valgrind far too long");
        return;
    }
    for (int i = 0; i < RUNS; i++) {
        llama2_context *ctx;
        llama2_context_options o;
        llama2_context_options_init(&o, sizeof o);
        o.n_threads = threads[i];
        if (i == BY_HOST) {
            o.run = run_by_host;
            o.run_user = &jobs;
        }
        ck_ok(llama2_context_create(&o, &ctx));
        wide_run r = run_wide(ctx);
        if (i == 0) {
            first = r;
            continue;
        }
        ck_assert_int_eq(r.n_sampled, first.n_sampled);
        ck_assert_mem_eq(r.logits, first.logits, sizeof(float) * WIDE_TOKENS * WIDE_VOCABULARY);
        ck_assert_mem_eq(r.gradients, first.gradients, (size_t)r.n_parameters * sizeof(float));
        ck_assert_mem_eq(r.sampled, first.sampled, (size_t)r.n_sampled * sizeof *r.sampled);
        ck_assert_mem_eq(r.logprobs, first.logprobs, (size_t)r.n_sampled * sizeof *r.logprobs);
        ck_assert_mem_eq(r.weights, first.weights, (size_t)r.n_parameters * sizeof(float));
        free_wide(&r);
    }
    ck_assert_int_gt(jobs, 500); /* the work was shared out, not done by one */
    free_wide(&first);
}
END_TEST

START_TEST(not_finite_is_skipped)
{
    world w;
    llama2_ppo_options o;
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    float advantages[512];
    begin(&w, 1, 1, 0);
    llama2_ppo_options_init(&o, sizeof o);
    ck_ok(llama2_ppo_advantages(w.rollouts, &o, NULL));
    llama2_rollouts_view v = view_of(w.rollouts);
    for (int64_t t = 0; t < v.n_tokens; t++) advantages[t] = 3e38f;
    ck_ok(llama2_rollouts_set(w.rollouts, LLAMA2_ROLLOUTS_ADVANTAGES, advantages, v.n_tokens));
    ck_ok(llama2_ppo_update(w.trainer, NULL, w.rollouts, &o, &m));
    ck_assert_int_eq(m.n_updates, 0);
    ck_assert_int_gt(m.policy_skipped, 0);
    ck_assert_int_eq(m.value_skipped, 0);
    ck_ok(llama2_rollouts_set(w.rollouts, LLAMA2_ROLLOUTS_RETURNS, advantages, v.n_tokens));
    llama2_ppo_metrics both = {.struct_size = sizeof both};
    ck_ok(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, &both));
    ck_assert(both.policy_skipped == m.policy_skipped && both.value_skipped == m.policy_skipped);
    ck_assert(same_weights(w.policy, w.reference));
    for (int i = 0; i < 2; i++) ck_ok(llama2_ppo_update(w.trainer, NULL, w.rollouts, &o, &m));
    ck_fails(llama2_ppo_update(w.trainer, NULL, w.rollouts, &o, &m), LLAMA2_E_NUMERIC);
    ck_assert(same_weights(w.policy, w.reference));
    advantages[3] = NAN;
    ck_fails(llama2_rollouts_set(w.rollouts, LLAMA2_ROLLOUTS_ADVANTAGES, advantages, v.n_tokens), LLAMA2_E_NUMERIC);
    end(&w);
}
END_TEST

/* Wherever an update is cancelled, no gradients are left that would keep the next from beginning. */
START_TEST(a_cancelled_update_leaves_no_gradients)
{
    world w;
    canceller c;
    llama2_ppo_options o;
    int cancelled = 0;
    begin_in(cancelling_context(&c), &w, 1, 0);
    llama2_ppo_options_init(&o, sizeof o);
    ck_ok(llama2_ppo_advantages(w.rollouts, &o, NULL));
    cancel_at(&c, 0);
    ck_ok(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, NULL));
    for (int jobs = c.jobs, job = 1; job <= jobs; job++) {
        cancel_at(&c, job);
        cancelled += llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, NULL) == LLAMA2_E_CANCELLED;
        llama2_context_resume(w.ctx);
        ck_fails(llama2_trainer_update(w.trainer, NULL), LLAMA2_E_STATE);
        ck_fails(llama2_trainer_update(w.critic_trainer, NULL), LLAMA2_E_STATE);
    }
    ck_assert_int_gt(cancelled, 0);
    end(&w);
}
END_TEST

static int32_t stop(void *user, const llama2_rollout_event *event)
{
    int *calls = user;
    ck_assert_int_eq(event->samples, 12);
    return ++*calls == 3;
}

START_TEST(what_is_refused)
{
    world w;
    llama2_ppo_options o;
    small_batch b;
    int calls = 0;
    begin(&w, 1, 1, 0);
    llama2_ppo_options_init(&o, sizeof o);
    ck_fails(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, NULL), LLAMA2_E_STATE); /* no advantages */
    ck_ok(llama2_ppo_advantages(w.rollouts, &o, NULL));
    ck_fails(llama2_ppo_update(w.critic_trainer, NULL, w.rollouts, &o, NULL), LLAMA2_E_MISMATCH);
    ck_fails(llama2_ppo_update(w.trainer, w.trainer, w.rollouts, &o, NULL), LLAMA2_E_MISMATCH);
    small_batch_init(&b);
    ck_ok(llama2_trainer_accumulate(w.trainer, &b.batch, NULL));
    ck_fails(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, NULL), LLAMA2_E_STATE);
    ck_ok(llama2_trainer_clear(w.trainer));
    o.clip = 0;
    ck_fails(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, NULL), LLAMA2_E_INVALID);
    o.clip = 0.2;
    llama2_context_cancel(w.ctx);
    ck_fails(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, NULL), LLAMA2_E_CANCELLED);
    llama2_context_resume(w.ctx);
    ck_ok(llama2_ppo_update(w.trainer, w.critic_trainer, w.rollouts, &o, NULL));

    /* a callback that stops the sampling */
    llama2_rollout_options r;
    llama2_rollouts *none;
    llama2_rollout_options_init(&r, sizeof r);
    r.samples_per_prompt = 3;
    r.max_new_tokens = 9;
    r.progress = stop;
    r.user = &calls;
    ck_fails(llama2_rollout(w.policy, &b.batch, &r, &none), LLAMA2_E_USER);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(calls, 3);
    end(&w);
}
END_TEST

START_TEST(adaptive_kl)
{
    ck_assert_double_eq_tol(llama2_ppo_adapt_beta(0.1, 6, 6, 10000, 512), 0.1, 1e-15);
    ck_assert_double_eq_tol(llama2_ppo_adapt_beta(0.1, 60, 6, 10000, 512), 0.1 * (1 + 0.2 * 0.0512), 1e-15);
    ck_assert_double_eq_tol(llama2_ppo_adapt_beta(0.1, 0, 6, 10000, 512), 0.1 * (1 - 0.2 * 0.0512), 1e-15);
    ck_assert_double_eq_tol(llama2_ppo_adapt_beta(0.1, 6.6, 6, 10000, 512), 0.1 * (1 + 0.1 * 0.0512), 1e-14);
    ck_assert(llama2_ppo_adapt_beta(0.1, 6.6, 6, 1000, 4000) == 0.1 * (1 + (6.6 / 6 - 1) * 4000 / 1000));
}
END_TEST

/* Whatever it is given, beta stays a coefficient of a penalty, and one that can grow again. */
START_TEST(adaptive_kl_outside_its_domain)
{
    ck_assert_double_eq_tol(llama2_ppo_adapt_beta(0.1, 0, 6, 100, 600), 0.01, 1e-15);
    ck_assert(llama2_ppo_adapt_beta(0.1, 0, 6, 1e-300, INT64_MAX) > 0);
    ck_assert(llama2_ppo_adapt_beta(0.1, 60, 6, 1e-300, INT64_MAX) == 0.1);
    static const double bad[][3] = {/* kl, target, horizon */
                                    {NAN, 6, 100}, {INFINITY, 6, 100}, {-INFINITY, 6, 100}, {1, 0, 100}, {0, 0, 100},
                                    {1, -6, 100},  {1, NAN, 100},      {1, INFINITY, 100},  {1, 6, 0},   {6, 6, 0},
                                    {1, 6, -100},  {1, 6, NAN},        {1, 6, INFINITY}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert(llama2_ppo_adapt_beta(0.1, bad[i][0], bad[i][1], bad[i][2], 64) == 0.1);
    ck_assert(llama2_ppo_adapt_beta(0.1, 60, 6, 100, -64) == 0.1);
    ck_assert(llama2_ppo_adapt_beta(0, 60, 6, 100, 64) == 0);
    ck_assert(llama2_ppo_adapt_beta(-1, 60, 6, 100, 64) == -1);
    ck_assert(isnan(llama2_ppo_adapt_beta(NAN, 60, 6, 100, 64)));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("ppo");
    TCase *tc = tcase_create("step 0");
    tcase_add_loop_test(tc, first_step_is_on_policy_to_the_bit, 0, 4);
    suite_add_tcase(suite, tc);
    ADD_CASE(suite, "update", values_are_of_the_state_before, losses_are_the_formulas,
             ratios_beyond_double_leave_the_metrics_finite, threads_and_micro_batches_change_no_bit,
             a_wide_model_has_the_same_bits_for_1_2_3_8_threads_and_a_host_s, adaptive_kl,
             adaptive_kl_outside_its_domain);
    ADD_CASE(suite, "failures", a_cancelled_update_leaves_no_gradients, not_finite_is_skipped, what_is_refused);
    return suite;
}
