/* One PPO iteration from recorded rollouts against TRL: log-probabilities, values, advantages, losses, both models
 * after it. */
#include "golden.h"

typedef struct iteration {
    llama2_context *ctx;
    golden g;
    llama2_model *policy, *policy_start;
    llama2_reward_model *critic, *critic_start;
    llama2_rollouts *rollouts;
    llama2_ppo_options options;
} iteration;

static void set(iteration *it, int32_t array, const char *name)
{
    ck_ok(llama2_rollouts_set(it->rollouts, array, golden_floats(&it->g, name), golden_count(&it->g, name)));
}

static iteration begin(const char *name)
{
    iteration it = {0};
    char path[4096];
    ck_ok(llama2_context_create(NULL, &it.ctx));
    it.g = golden_open(it.ctx, name);
    it.policy = golden_model(it.ctx, "gqa_tied", LLAMA2_F32);
    ck_ok(llama2_model_clone(it.policy, &it.policy_start));
    ck_ok(llama2_reward_model_load(it.ctx, golden_path(path, "reward_start", ""), NULL, &it.critic));
    ck_ok(llama2_reward_model_clone(it.critic, &it.critic_start));

    llama2_batch batch = golden_batch(&it.g, "");
    ck_ok(llama2_rollouts_create(it.ctx, &batch, golden_integers(&it.g, "prompt_lengths", L2_ST_I32), 2, 2,
                                 golden_value(&it.g, "hyper/temperature"), &it.rollouts));
    set(&it, LLAMA2_ROLLOUTS_SCORES, "scores");

    llama2_ppo_options_init(&it.options, sizeof it.options);
    it.options.minibatch = (int32_t)golden_value(&it.g, "hyper/minibatch");
    it.options.epochs = (int32_t)golden_value(&it.g, "hyper/epochs");
    it.options.beta = golden_value(&it.g, "hyper/beta");
    it.options.gamma = golden_value(&it.g, "hyper/gamma");
    it.options.lambda = golden_value(&it.g, "hyper/lambda");
    it.options.clip = golden_value(&it.g, "hyper/clip");
    it.options.value_clip = golden_value(&it.g, "hyper/value_clip");
    it.options.shuffle = 0;
    return it;
}

static void end(iteration *it)
{
    llama2_rollouts_free(it->rollouts);
    llama2_model_free(it->policy);
    llama2_model_free(it->policy_start);
    llama2_reward_model_free(it->critic);
    llama2_reward_model_free(it->critic_start);
    golden_close(&it->g);
    llama2_context_free(it->ctx);
}

static llama2_rollouts_view view(const iteration *it)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    ck_ok(llama2_rollouts_view_get(it->rollouts, &v));
    return v;
}

static void set_recorded(iteration *it)
{
    set(it, LLAMA2_ROLLOUTS_LOGPROBS, "logprobs");
    set(it, LLAMA2_ROLLOUTS_REF_LOGPROBS, "ref_logprobs");
    set(it, LLAMA2_ROLLOUTS_VALUES, "values");
}

/* What policy, reference and critic say of the rollouts: the temperature divides the logits of policy and reference; a
 * value is of the state before. */
START_TEST(recorded_numbers)
{
    iteration it = begin("ppo1_on");
    llama2_model *reference = golden_model(it.ctx, "ppo_reference", LLAMA2_F32);
    ck_ok(llama2_rollouts_reference(it.rollouts, reference));
    ck_ok(llama2_rollouts_values(it.rollouts, it.critic));
    golden_check_floats(&it.g, "ref_logprobs", view(&it).ref_logprobs, 1e-6);
    golden_check_floats(&it.g, "values", view(&it).values, 2e-6);
    const int32_t *ended = golden_integers(&it.g, "ended", L2_ST_I32);
    for (int32_t s = 0; s < view(&it).n_samples; s++) ck_assert_int_eq(view(&it).ended[s], ended[s]);

    llama2_batch batch = golden_batch(&it.g, "");
    float *logprobs = golden_memory(&it.g, (size_t)batch.n_tokens * sizeof *logprobs);
    ck_ok(llama2_model_logprobs(it.policy, &batch, golden_value(&it.g, "hyper/temperature"), logprobs, NULL));
    const float *recorded = golden_floats(&it.g, "logprobs");
    for (int64_t t = 0; t < batch.n_tokens; t++) logprobs[t] *= recorded[t] != 0; /* responses alone */
    golden_check_floats(&it.g, "logprobs", logprobs, 1e-6);
    llama2_model_free(reference);
    end(&it);
}
END_TEST

static void check_advantages(iteration *it, const llama2_ppo_options *o, const char *prefix, llama2_ppo_metrics *m)
{
    char name[128];
    ck_ok(llama2_ppo_advantages(it->rollouts, o, m));
    snprintf(name, sizeof name, "%sadvantages", prefix);
    golden_check_floats(&it->g, name, view(it).advantages, 1e-6);
    snprintf(name, sizeof name, "%sreturns", prefix);
    golden_check_floats(&it->g, name, view(it).returns, 1e-6);
}

static void check_objective(const char *name)
{
    iteration it = begin(name);
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    set_recorded(&it);
    check_advantages(&it, &it.options, "", &m);
    golden_check_at(&it.g, "objective/kl", 0, m.kl, 1e-6);
    golden_check_at(&it.g, "objective/entropy", 0, m.entropy, 1e-6);
    golden_check_at(&it.g, "objective/non_score_reward", 0, m.non_score_reward, 1e-6);
    golden_check_at(&it.g, "objective/scores", 0, m.score, 1e-6);
    golden_check_at(&it.g, "objective/rlhf_reward", 0, m.rlhf_reward, 1e-6);
    it.options.whiten_advantages = 0;
    ck_ok(llama2_ppo_advantages(it.rollouts, &it.options, &m));
    golden_check_floats(&it.g, "raw_advantages", view(&it).advantages, 1e-6);
    end(&it);
}

START_TEST(gae)
{
    check_objective("ppo1_on");
    check_objective("ppo1_off");
}
END_TEST

START_TEST(variants)
{
    iteration it = begin("ppo1_on");
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    set_recorded(&it);
    llama2_ppo_options o = it.options;
    o.gamma = 0.97;
    check_advantages(&it, &o, "variant/gamma097/", &m);
    o = it.options;
    o.lambda = 0;
    check_advantages(&it, &o, "variant/lambda0/", &m);
    o.lambda = 1;
    check_advantages(&it, &o, "variant/lambda1/", &m);
    o = it.options;
    o.whiten_rewards = 1;
    check_advantages(&it, &o, "variant/whiten_rewards/", &m);
    o = it.options;
    o.kl_estimator = LLAMA2_KL_K2;
    check_advantages(&it, &o, "variant/k2/", &m);
    end(&it);
}
END_TEST

/* --- the update ------------------------------------------------------------------------------ */

static llama2_trainer_options constant_rate(golden *g)
{
    llama2_trainer_options o;
    llama2_trainer_options_init(&o, sizeof o);
    o.schedule = LLAMA2_SCHEDULE_CONSTANT;
    o.clip_norm = golden_value(g, "hyper/clip_norm");
    return o;
}

static llama2_optimizer *optimizer(golden *g, const char *rate)
{
    llama2_optimizer *out;
    llama2_optimizer_options o;
    llama2_optimizer_options_init(&o, sizeof o);
    o.lr = golden_value(g, rate);
    o.beta1 = golden_value(g, "hyper/beta1");
    o.beta2 = golden_value(g, "hyper/beta2");
    o.eps = golden_value(g, "hyper/eps");
    o.weight_decay = golden_value(g, "hyper/weight_decay");
    ck_ok(llama2_optimizer_create(g->ctx, &o, &out));
    return out;
}

typedef struct moved {
    golden *g;
    const llama2_model *policy, *policy_start;        /* of the policy, or */
    const llama2_reward_model *critic, *critic_start; /* of the critic */
} moved;

static double *tensor(const moved *m, const char *name, int64_t n, int start)
{
    float *values = golden_memory(m->g, (size_t)n * sizeof *values);
    double *wide = golden_memory(m->g, (size_t)n * sizeof *wide);
    if (m->policy)
        ck_ok(llama2_model_get_tensor(start ? m->policy_start : m->policy, name, values, n, NULL));
    else
        ck_ok(llama2_reward_model_get_tensor(start ? m->critic_start : m->critic, name, values, n, NULL));
    for (int64_t i = 0; i < n; i++) wide[i] = (double)values[i];
    return wide;
}

/* Within 1e-4 of the way that the parameters went. */
static void check_moved(void *user, const char *name, const char *rest)
{
    moved *m = user;
    int64_t n = golden_count(m->g, name);
    const double *want = golden_doubles(m->g, name);
    golden_near(m->g, name, tensor(m, rest, n, 0), want, n, golden_norm(want, tensor(m, rest, n, 1), n), 1e-4);
}

/* Mean over the response tokens of the whole update, from the means over minibatches. */
static void check_mean(golden *g, const char *name, double got, const char *weights)
{
    const double *values = golden_doubles(g, name), *w = weights ? golden_doubles(g, weights) : NULL;
    double sum = 0, size = 0, total = 0;
    for (int64_t i = 0; i < golden_count(g, name); i++) {
        sum += values[i] * (w ? w[i] : 1);
        size += fabs(values[i]) * (w ? w[i] : 1);
        total += w ? w[i] : 1;
    }
    double mean = sum / total;
    golden_near(g, name, &got, &mean, 1, size / total, 1e-4);
}

static void check_metrics(golden *g, const llama2_ppo_metrics *m)
{
    ck_assert_int_eq(m->n_updates, golden_count(g, "update/policy_loss"));
    check_mean(g, "update/policy_loss", m->policy_loss, "update/tokens");
    check_mean(g, "update/value_loss", m->value_loss, "update/tokens");
    check_mean(g, "update/approx_kl", m->approx_kl, "update/tokens");
    check_mean(g, "update/clip_fraction", m->clip_fraction, "update/tokens");
    check_mean(g, "update/value_clip_fraction", m->value_clip_fraction, "update/tokens");
    check_mean(g, "update/policy_entropy", m->policy_entropy, "update/tokens");
    check_mean(g, "update/ratio", m->ratio, "update/tokens");
    check_mean(g, "update/policy_grad_norm", m->policy_grad_norm, NULL);
    check_mean(g, "update/value_grad_norm", m->value_grad_norm, NULL);
}

static void check_update(const char *name)
{
    iteration it = begin(name);
    llama2_trainer_options o = constant_rate(&it.g);
    llama2_optimizer *policy_optimizer = optimizer(&it.g, "hyper/lr"),
                     *critic_optimizer = optimizer(&it.g, "hyper/value_lr");
    llama2_trainer *policy, *critic;
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    ck_ok(llama2_trainer_create(it.ctx, it.policy, policy_optimizer, &o, &policy));
    ck_ok(llama2_trainer_create_for_reward(it.ctx, it.critic, critic_optimizer, &o, &critic));
    set_recorded(&it);
    set(&it, LLAMA2_ROLLOUTS_ADVANTAGES, "advantages");
    set(&it, LLAMA2_ROLLOUTS_RETURNS, "returns");
    ck_ok(llama2_ppo_update(policy, critic, it.rollouts, &it.options, &m));
    check_metrics(&it.g, &m);

    moved p = {.g = &it.g, .policy = it.policy, .policy_start = it.policy_start},
          c = {.g = &it.g, .critic = it.critic, .critic_start = it.critic_start};
    ck_assert_int_eq(golden_each(&it.g, "policy_final/", check_moved, &p), llama2_model_tensors(it.policy));
    ck_assert_int_gt(golden_each(&it.g, "critic_final/", check_moved, &c), 0);
    llama2_trainer_free(policy);
    llama2_trainer_free(critic);
    llama2_optimizer_free(policy_optimizer);
    llama2_optimizer_free(critic_optimizer);
    end(&it);
}

START_TEST(update_on_policy)
{
    check_update("ppo1_on");
}
END_TEST

START_TEST(update_off_policy)
{
    check_update("ppo1_off");
}
END_TEST

/* --- the same by a host's own loss ----------------------------------------------------------- */

typedef struct host {
    golden *g;
    const llama2_trainer *trainer;
    double factor;
} host;

static void check_host_gradient(void *user, const char *name, const char *rest)
{
    host *h = user;
    int64_t n = golden_count(h->g, name);
    float *got = golden_memory(h->g, (size_t)n * sizeof *got);
    ck_ok(llama2_trainer_get_gradient(h->trainer, rest, got, n, NULL));
    for (int64_t i = 0; i < n; i++) got[i] = (float)(h->factor * (double)got[i]);
    golden_check_floats(h->g, name, got, 1e-5);
}

/* Derivatives of both losses over the first minibatch (samples 0 and 1), by log-probability and by value; returns the
 * number of response tokens. */
static int64_t derivatives(iteration *it, const llama2_batch *batch, const float *logprobs, const float *values,
                           float *by_logprob, float *by_value)
{
    golden *g = &it->g;
    const float *old = golden_floats(g, "logprobs"), *old_values = golden_floats(g, "values");
    const float *advantages = golden_floats(g, "advantages"), *returns = golden_floats(g, "returns");
    const int32_t *prompts = golden_integers(g, "prompt_lengths", L2_ST_I32);
    double clip = it->options.clip, value_clip = it->options.value_clip;
    int64_t n = 0;
    for (int32_t s = 0; s < batch->n_sequences; s++) {
        for (int64_t t = batch->offsets[s] + prompts[s]; t < batch->offsets[s + 1]; t++, n++) {
            double a = (double)advantages[t], rho = exp((double)logprobs[t] - (double)old[t]),
                   v = (double)values[t - 1], r = (double)returns[t];
            int limited = (a > 0 && rho > 1 + clip) || (a < 0 && rho < 1 - clip);
            by_logprob[t] = limited ? 0 : (float)(-a * rho);
            double near = fmax((double)old_values[t] - value_clip, fmin((double)old_values[t] + value_clip, v));
            by_value[t - 1] = (near - r) * (near - r) > (v - r) * (v - r) ? 0 : (float)(v - r);
        }
    }
    return n;
}

START_TEST(host_loss)
{
    iteration it = begin("ppo1_off");
    golden *g = &it.g;
    llama2_trainer_options o = constant_rate(g);
    llama2_optimizer *policy_optimizer = optimizer(g, "hyper/lr"), *critic_optimizer = optimizer(g, "hyper/value_lr");
    llama2_trainer *policy, *critic;
    ck_ok(llama2_trainer_create(it.ctx, it.policy, policy_optimizer, &o, &policy));
    ck_ok(llama2_trainer_create_for_reward(it.ctx, it.critic, critic_optimizer, &o, &critic));
    llama2_batch batch = golden_batch(g, "");
    batch.n_sequences = it.options.minibatch;
    batch.n_tokens = batch.offsets[batch.n_sequences];

    float *room = golden_memory(g, 4 * (size_t)batch.n_tokens * sizeof *room);
    float *logprobs = room, *values = room + batch.n_tokens, *by_logprob = room + 2 * batch.n_tokens,
          *by_value = room + 3 * batch.n_tokens;
    double temperature = golden_value(g, "hyper/temperature");
    ck_ok(llama2_model_logprobs(it.policy, &batch, temperature, logprobs, NULL));
    ck_ok(llama2_reward_model_values(it.critic, &batch, values));
    double n = (double)derivatives(&it, &batch, logprobs, values, by_logprob, by_value);
    ck_ok(llama2_trainer_backward_logprobs(policy, &batch, temperature, by_logprob, 0, n));
    ck_ok(llama2_trainer_backward_values(critic, &batch, by_value, 0, n));
    host p = {g, policy, 1 / n}, c = {g, critic, 1 / n};
    ck_assert_int_eq(golden_each(g, "policy_grad/", check_host_gradient, &p), llama2_model_tensors(it.policy));
    ck_assert_int_gt(golden_each(g, "critic_grad/", check_host_gradient, &c), 0);
    llama2_trainer_free(policy);
    llama2_trainer_free(critic);
    llama2_optimizer_free(policy_optimizer);
    llama2_optimizer_free(critic_optimizer);
    end(&it);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("reference/goldens_ppo");
    ADD_CASE(s, "advantages", recorded_numbers, gae, variants);
    ADD_CASE(s, "update", update_on_policy, update_off_policy, host_loss);
    return s;
}
