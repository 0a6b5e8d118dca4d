/* What the tests of training share. */
#ifndef TRAIN_TEST_H
#define TRAIN_TEST_H

#include "small_model.h"

#include "base/files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Reproducible numbers in [-1, 1). */
static inline double noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) / 4503599627370496.0 - 1;
}

/* A runner that cancels its context as it begins its n-th job. */
typedef struct canceller {
    llama2_context *ctx;
    int jobs, cancel_at; /* cancel_at 0: never */
} canceller;

static inline int32_t run_and_cancel(void *user, int32_t n_tasks, llama2_task_fn task, void *arg)
{
    canceller *c = user;
    if (++c->jobs == c->cancel_at) llama2_context_cancel(c->ctx);
    for (int32_t i = 0; i < n_tasks; i++) task(arg, i);
    return 0;
}

static inline llama2_context *cancelling_context(canceller *c)
{
    llama2_context_options o;
    *c = (canceller){NULL, 0, 0};
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = 2;
    o.run = run_and_cancel;
    o.run_user = c;
    o.seed = 7;
    ck_ok(llama2_context_create(&o, &c->ctx));
    return c->ctx;
}

static inline void cancel_at(canceller *c, int job)
{
    c->jobs = 0;
    c->cancel_at = job;
}

/* Cancels a step of the trainer at each of its jobs: it was done or has left nothing, and is done when called again.
 * Returns the number of steps done. */
static inline int cancel_at_each_job(canceller *c, llama2_trainer *trainer, llama2_status (*step)(void *user),
                                     void *user)
{
    int cancelled = 0, jobs;
    cancel_at(c, 0);
    ck_ok(step(user));
    jobs = c->jobs;
    for (int job = 1; job <= jobs; job++) {
        cancel_at(c, job);
        llama2_status status = step(user);
        llama2_context_resume(c->ctx);
        cancel_at(c, 0);
        ck_assert(status == LLAMA2_OK || status == LLAMA2_E_CANCELLED);
        ck_fails(llama2_trainer_update(trainer, NULL), LLAMA2_E_STATE);
        if (status < 0) ck_ok(step(user));
        cancelled += status < 0;
    }
    ck_assert_int_gt(cancelled, 0);
    return 1 + jobs;
}

static inline llama2_optimizer *small_optimizer(llama2_context *ctx, double lr)
{
    llama2_optimizer *optimizer;
    llama2_optimizer_options o;
    llama2_optimizer_options_init(&o, sizeof o);
    o.lr = lr;
    ck_ok(llama2_optimizer_create(ctx, &o, &optimizer));
    return optimizer;
}

/* A trainer that owns its optimizer; options NULL: defaults. */
static inline llama2_trainer *small_trainer(llama2_context *ctx, llama2_model *model, double lr,
                                            const llama2_trainer_options *options)
{
    llama2_trainer *trainer;
    llama2_optimizer *optimizer = small_optimizer(ctx, lr);
    ck_ok(llama2_trainer_create(ctx, model, optimizer, options, &trainer));
    llama2_optimizer_free(optimizer);
    return trainer;
}

static inline llama2_trainer *small_reward_trainer(llama2_context *ctx, llama2_reward_model *model, double lr,
                                                   const llama2_trainer_options *options)
{
    llama2_trainer *trainer;
    llama2_optimizer *optimizer = small_optimizer(ctx, lr);
    ck_ok(llama2_trainer_create_for_reward(ctx, model, optimizer, options, &trainer));
    llama2_optimizer_free(optimizer);
    return trainer;
}

static inline llama2_reward_model *small_reward_model(llama2_context *ctx, const llama2_model *model, int32_t head)
{
    llama2_reward_model *reward;
    llama2_reward_options o;
    llama2_reward_options_init(&o, sizeof o);
    o.head = head;
    ck_ok(llama2_reward_model_create(ctx, model, &o, &reward));
    return reward;
}

/* All weights, one tensor after the other; free() it. */
static inline float *all_weights(const llama2_model *model, int64_t *n)
{
    int64_t size = llama2_model_parameters(model), at = 0;
    float *out = malloc((size_t)size * sizeof *out);
    for (int32_t i = 0; i < llama2_model_tensors(model); i++) {
        llama2_tensor_info info = {.struct_size = sizeof info};
        ck_ok(llama2_model_tensor_info(model, i, &info));
        ck_ok(llama2_model_get_tensor(model, info.name, out + at, size - at, NULL));
        at += info.rows * info.columns;
    }
    ck_assert_int_eq(at, size);
    *n = size;
    return out;
}

/* All gradients of a trainer on `model`, in the same order. */
static inline float *all_gradients(const llama2_trainer *trainer, const llama2_model *model, int64_t *n)
{
    int64_t size = llama2_model_parameters(model), at = 0;
    float *out = malloc((size_t)size * sizeof *out);
    for (int32_t i = 0; i < llama2_model_tensors(model); i++) {
        llama2_tensor_info info = {.struct_size = sizeof info};
        ck_ok(llama2_model_tensor_info(model, i, &info));
        ck_ok(llama2_trainer_get_gradient(trainer, info.name, out + at, size - at, NULL));
        at += info.rows * info.columns;
    }
    *n = size;
    return out;
}

/* ||a - b|| / ||b|| */
static inline double distance(const float *a, const float *b, int64_t n)
{
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        s += (double)b[i] * (double)b[i];
    }
    return sqrt(d / s);
}

static inline int same_weights(const llama2_model *a, const llama2_model *b)
{
    int64_t n, m;
    float *x = all_weights(a, &n), *y = all_weights(b, &m);
    int same = n == m && memcmp(x, y, (size_t)n * sizeof *x) == 0;
    free(x);
    free(y);
    return same;
}

/* A new folder for files; l2_remove_tree removes it. */
static inline const char *scratch_folder(char path[64])
{
    snprintf(path, 64, "%s/llama2-test-XXXXXX", P_tmpdir);
    ck_assert_ptr_nonnull(mkdtemp(path));
    return path;
}

/* Rollouts of `n_prompts` prompts, K samples each, sampled from the model. */
static inline llama2_rollouts *small_rollouts(llama2_model *policy, int32_t n_prompts, int32_t k, double temperature,
                                              uint64_t first_sample)
{
    int32_t tokens[64];
    int64_t offsets[17] = {0}, n = 0;
    for (int32_t p = 0; p < n_prompts; p++) {
        for (int32_t i = 0; i < 2 + p % 3; i++) tokens[n++] = 3 + (p * 5 + i * 11) % 30;
        offsets[p + 1] = n;
    }
    llama2_batch prompts = {
        .struct_size = sizeof prompts, .n_sequences = n_prompts, .n_tokens = n, .tokens = tokens, .offsets = offsets};
    llama2_rollout_options o;
    llama2_rollouts *rollouts;
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = k;
    o.max_new_tokens = 7;
    o.temperature = temperature;
    o.seed = 5;
    o.first_sample_id = first_sample;
    ck_ok(llama2_rollout(policy, &prompts, &o, &rollouts));
    return rollouts;
}

static inline llama2_rollouts_view view_of(const llama2_rollouts *rollouts)
{
    llama2_rollouts_view view = {.struct_size = sizeof view};
    ck_ok(llama2_rollouts_view_get(rollouts, &view));
    return view;
}

/* Scores that depend on the tokens alone. */
static inline void score_by_tokens(llama2_rollouts *rollouts)
{
    llama2_rollouts_view v = view_of(rollouts);
    float scores[256];
    for (int32_t s = 0; s < v.n_samples; s++) {
        scores[s] = 0;
        for (int64_t t = v.offsets[s] + v.prompt_lengths[s]; t < v.offsets[s + 1]; t++)
            scores[s] += (float)(v.tokens[t] % 5) - 2;
    }
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_SCORES, scores, v.n_samples));
}

#endif
