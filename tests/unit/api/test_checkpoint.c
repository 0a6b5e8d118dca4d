/* A run that stops between any two functions of an iteration goes on bit for bit; and what a full disk may not
 * do. */
#include "base/context.h"
#include "train/reward_model.h"
#include "train/train_test.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where a run is, all of it plain numbers that the host keeps. */
typedef struct position {
    uint64_t iteration;
    double beta;
    llama2_ppo_metrics metrics; /* of this iteration, as far as it is */
} position;

/* A run of PPO: two trainers, or one of a policy with a value head, and what it has sampled. */
typedef struct run {
    llama2_context *ctx;
    llama2_model *policy, *reference;
    llama2_reward_model *helpful, *safety, *critic;
    llama2_trainer *trainer, *critic_trainer;
    llama2_rollouts *rollouts;
    position at;
} run;

/* A reward model that is like no other: a head of its own, and a scale. */
static llama2_reward_model *judge(run *r, uint64_t seed)
{
    float head[24];
    llama2_reward_model *reward = small_reward_model(r->ctx, r->reference, LLAMA2_HEAD_NORMAL);
    for (int i = 0; i < 24; i++) head[i] = (float)noise(&seed);
    ck_ok(llama2_reward_model_set_tensor(reward, "score.weight", head, 24));
    ck_ok(llama2_reward_model_set_normalisation(reward, 0.25, 1.5));
    return reward;
}

static void run_begin_as(run *r, int32_t threads, int32_t dtype, int shared)
{
    llama2_trainer_options o;
    llama2_trainer_options_init(&o, sizeof o);
    o.schedule = LLAMA2_SCHEDULE_COSINE;
    o.warmup_steps = 2;
    o.total_steps = 20;
    memset(r, 0, sizeof *r);
    r->ctx = small_context(threads, LLAMA2_ISA_AUTO);
    r->policy = small_model(r->ctx, 1, dtype);
    ck_ok(llama2_model_clone(r->policy, &r->reference));
    r->helpful = judge(r, 1);
    r->safety = judge(r, 2);
    if (shared)
        ck_ok(llama2_reward_model_create_shared(r->policy, NULL, &r->critic));
    else
        r->critic = small_reward_model(r->ctx, r->policy, LLAMA2_HEAD_NORMAL);
    if (shared) o.value_head = r->critic;
    r->trainer = small_trainer(r->ctx, r->policy, 1e-2, &o);
    o.value_head = NULL;
    if (!shared) r->critic_trainer = small_reward_trainer(r->ctx, r->critic, 1e-2, &o);
    r->at.beta = 0.05;
}

static void run_begin(run *r, int32_t threads, int32_t dtype)
{
    run_begin_as(r, threads, dtype, 0);
}

static void run_end(run *r)
{
    llama2_rollouts_free(r->rollouts);
    llama2_trainer_free(r->trainer);
    llama2_trainer_free(r->critic_trainer);
    llama2_reward_model_free(r->critic);
    llama2_reward_model_free(r->helpful);
    llama2_reward_model_free(r->safety);
    llama2_model_free(r->policy);
    llama2_model_free(r->reference);
    llama2_context_free(r->ctx);
}

/* The functions of an iteration, in order. */
enum {
    ROLLOUT,
    HELPFUL,
    SAFETY,
    COMBINE,
    REFERENCE,
    VALUES,
    ADVANTAGES,
    UPDATE,
    ADAPT, /* the KL controller moves */
    STAGES
};

static void stage(run *r, int which)
{
    llama2_rollouts *rollouts = r->rollouts;
    llama2_ppo_metrics *m = &r->at.metrics;
    llama2_ppo_options o;
    llama2_combine_options c;
    llama2_ppo_options_init(&o, sizeof o);
    o.beta = r->at.beta;
    o.minibatch = 5;
    o.seed = r->at.iteration;
    o.missing_eos_penalty = 0.5;
    llama2_combine_options_init(&c, sizeof c);
    switch (which) {
    case ROLLOUT:
        llama2_rollouts_free(rollouts);
        r->rollouts = small_rollouts(r->policy, 3, 4, 0.9, 12 * r->at.iteration);
        memset(m, 0, sizeof *m);
        m->struct_size = sizeof *m;
        break;
    case HELPFUL: ck_ok(llama2_rollouts_score_into(rollouts, r->helpful, LLAMA2_ROLLOUTS_HELPFUL_SCORES)); break;
    case SAFETY: ck_ok(llama2_rollouts_score_into(rollouts, r->safety, LLAMA2_ROLLOUTS_SAFETY_SCORES)); break;
    case COMBINE: ck_ok(llama2_rollouts_combine(rollouts, (const uint8_t[]){0, 1, 0}, &c)); break;
    case REFERENCE: ck_ok(llama2_rollouts_reference(rollouts, r->reference)); break;
    case VALUES: ck_ok(llama2_rollouts_values(rollouts, r->critic)); break;
    case ADVANTAGES: ck_ok(llama2_ppo_advantages(rollouts, &o, m)); break;
    case UPDATE: ck_ok(llama2_ppo_update(r->trainer, r->critic_trainer, rollouts, &o, m)); break;
    case ADAPT: r->at.beta = llama2_ppo_adapt_beta(r->at.beta, m->kl, 0.1, 100, 12); break;
    }
}

static void stages(run *r, int from, int to)
{
    for (int which = from; which < to; which++) stage(r, which);
}

/* The first half of an iteration: all that only reads the models. */
static void sample(run *r, uint64_t iteration)
{
    r->at.iteration = iteration;
    stages(r, ROLLOUT, ADVANTAGES);
}

/* The second. */
static void learn(run *r)
{
    stages(r, ADVANTAGES, STAGES);
}

/* The rollouts go into the checkpoint, where there are any; with a path into a file beside it instead. */
static llama2_status save_as(run *r, const char *root, int64_t step, const char *path)
{
    llama2_checkpoint *c;
    llama2_status status = llama2_checkpoint_begin(r->ctx, root, step, &c);
    if (status >= 0) status = llama2_checkpoint_add_trainer(c, "policy", r->trainer);
    if (status >= 0 && r->critic_trainer) status = llama2_checkpoint_add_trainer(c, "critic", r->critic_trainer);
    if (status >= 0 && r->rollouts) {
        status =
            path ? llama2_rollouts_save(r->rollouts, path) : llama2_checkpoint_add_rollouts(c, "rollouts", r->rollouts);
    }
    if (status >= 0) status = llama2_checkpoint_add_bytes(c, "position", &r->at, sizeof r->at);
    if (status >= 0) status = llama2_checkpoint_commit(c, 2);
    llama2_checkpoint_free(c);
    return status;
}

static llama2_status save(run *r, const char *root, int64_t step)
{
    return save_as(r, root, step, NULL);
}

static void load_as(run *r, const char *root, int64_t step, const char *path)
{
    llama2_checkpoint *c;
    size_t needed;
    ck_ok(llama2_checkpoint_open(r->ctx, root, step, &c));
    ck_ok(llama2_checkpoint_get_trainer(c, "policy", r->trainer));
    if (r->critic_trainer) ck_ok(llama2_checkpoint_get_trainer(c, "critic", r->critic_trainer));
    llama2_rollouts_free(r->rollouts);
    if (path)
        ck_ok(llama2_rollouts_load(r->ctx, path, &r->rollouts));
    else
        ck_ok(llama2_checkpoint_get_rollouts(c, "rollouts", &r->rollouts));
    ck_ok(llama2_checkpoint_get_bytes(c, "position", &r->at, sizeof r->at, &needed));
    ck_assert_uint_eq(needed, sizeof r->at);
    llama2_checkpoint_free(c);
}

static void load(run *r, const char *root, int64_t step)
{
    load_as(r, root, step, NULL);
}

/* All bits of the critic: its head, and its trunk through the values that it gives. */
static int same_critic(const run *a, const run *b)
{
    float x[24], y[24], vx[64], vy[64];
    small_batch batch;
    small_batch_init(&batch);
    ck_ok(llama2_reward_model_get_tensor(a->critic, "score.weight", x, 24, NULL));
    ck_ok(llama2_reward_model_get_tensor(b->critic, "score.weight", y, 24, NULL));
    ck_ok(llama2_reward_model_values(a->critic, &batch.batch, vx));
    ck_ok(llama2_reward_model_values(b->critic, &batch.batch, vy));
    return memcmp(x, y, sizeof x) == 0 && memcmp(vx, vy, 30 * sizeof *vx) == 0;
}

/* Both NULL, or the same bytes. */
static int same(const void *a, const void *b, size_t size)
{
    return a && b ? memcmp(a, b, size) == 0 : a == b;
}

static int same_rollouts(const run *a, const run *b)
{
    llama2_rollouts_view v = view_of(a->rollouts), u = view_of(b->rollouts);
    if (v.n_tokens != u.n_tokens || v.n_samples != u.n_samples || v.samples_per_prompt != u.samples_per_prompt)
        return 0;
    size_t n = (size_t)v.n_samples, per_token = (size_t)v.n_tokens * sizeof(float), per_sample = n * sizeof(float);
    return v.temperature == u.temperature && same(v.tokens, u.tokens, (size_t)v.n_tokens * sizeof *v.tokens) &&
           same(v.offsets, u.offsets, (n + 1) * sizeof *v.offsets) &&
           same(v.prompt_lengths, u.prompt_lengths, n * sizeof *v.prompt_lengths) && same(v.ended, u.ended, n) &&
           same(v.ended_by, u.ended_by, n) && same(v.logprobs, u.logprobs, per_token) &&
           same(v.ref_logprobs, u.ref_logprobs, per_token) && same(v.values, u.values, per_token) &&
           same(v.advantages, u.advantages, per_token) && same(v.returns, u.returns, per_token) &&
           same(v.scores, u.scores, per_sample) && same(v.helpful_scores, u.helpful_scores, per_sample) &&
           same(v.safety_scores, u.safety_scores, per_sample);
}

/* All that a run has come to. */
static void check_same(const run *a, const run *b)
{
    ck_assert(same_rollouts(a, b));
    ck_assert(same_weights(a->policy, b->policy));
    ck_assert(same_critic(a, b));
    ck_assert_mem_eq(&a->at, &b->at, sizeof a->at); /* the metrics and beta too */
    ck_assert_int_eq(llama2_trainer_step(a->trainer), llama2_trainer_step(b->trainer));
    if (a->critic_trainer)
        ck_assert_int_eq(llama2_trainer_step(a->critic_trainer), llama2_trainer_step(b->critic_trainer));
}

/* Runs that stop before each function of an iteration, with two trainers and with a value head, float and double in
 * turns. */
enum { KINDS = 2 };

START_TEST(resume_before_any_function_of_an_iteration)
{
    static const int32_t dtypes[] = {LLAMA2_F32, LLAMA2_F64};
    run a, b, c;
    int32_t shared = _i % KINDS, cut = _i / KINDS, dtype = dtypes[(shared + cut) % 2];
    char folder[64], path[80];
    run_begin_as(&a, 2, dtype, shared);
    sample(&a, 0);
    learn(&a);
    ck_ok(llama2_reward_model_set_normalisation(a.critic, 0.5, 2));
    a.at.iteration = 1;
    stages(&a, ROLLOUT, cut);
    snprintf(path, sizeof path, "%s.rollouts", scratch_folder(folder));
    ck_ok(save(&a, folder, 7)); /* the checkpoint alone, or with a file of the rollouts */
    ck_ok(save_as(&a, folder, 8, path));

    /* another process would begin like these: same reference and reward models, everything else from the files; another
     * number of threads */
    run_begin_as(&b, 1, dtype, shared);
    load_as(&b, folder, 8, path);
    run_begin_as(&c, 3, dtype, shared);
    sample(&c, 9); /* what is there before does not matter, nor how many updates made it */
    learn(&c);
    load(&c, folder, 7);
    check_same(&a, &b);
    check_same(&a, &c);
    run *const all[] = {&a, &b, &c};
    for (int i = 0; i < 3; i++) stages(all[i], cut, STAGES);
    ck_assert(a.at.metrics.n_updates == 3 && a.at.metrics.kl != 0);
    check_same(&a, &b);
    check_same(&a, &c);
    for (int i = 0; i < 3; i++) sample(all[i], 2), learn(all[i]);
    check_same(&a, &b);
    check_same(&a, &c);
    double shift, scale;
    ck_ok(llama2_reward_model_normalisation(b.critic, &shift, &scale));
    ck_assert(shift == 0.5 && scale == 2);
    ck_ok(l2_remove_tree(a.ctx, folder));
    ck_assert_int_eq(unlink(path), 0);
    for (int i = 0; i < 3; i++) run_end(all[i]);
}
END_TEST

static llama2_status bad_update(const run *r, llama2_step_metrics *m)
{
    float grad[64] = {0};
    small_batch b;
    small_batch_init(&b);
    grad[9] = NAN;
    ck_ok(llama2_trainer_backward_logprobs(r->trainer, &b.batch, 1, grad, 0, 1));
    return llama2_trainer_update(r->trainer, m);
}

/* All updates that were skipped, and those in a row, of which the fifth ends the run. */
START_TEST(skipped_updates_are_counted_over_a_resume)
{
    run a, b;
    llama2_step_metrics m = {.struct_size = sizeof m};
    llama2_checkpoint *c;
    small_batch batch;
    char folder[64];
    small_batch_init(&batch);
    run_begin(&a, 1, LLAMA2_F32);
    run_begin(&b, 1, LLAMA2_F32);
    for (int bad = 1; bad <= 3; bad++) ck_ok(bad_update(&a, &m));
    ck_ok(save(&a, scratch_folder(folder), 1));
    ck_ok(llama2_checkpoint_open(b.ctx, folder, 1, &c));
    ck_ok(llama2_checkpoint_get_trainer(c, "policy", b.trainer));
    llama2_checkpoint_free(c);
    ck_ok(bad_update(&b, &m));
    ck_assert_int_eq(m.skipped_total, 4);
    ck_fails(bad_update(&b, &m), LLAMA2_E_NUMERIC);
    ck_ok(llama2_sft_step(b.trainer, &batch.batch, &m));
    ck_assert(!m.skipped && m.skipped_total == 5);
    ck_ok(l2_remove_tree(a.ctx, folder));
    run_end(&a);
    run_end(&b);
}
END_TEST

START_TEST(what_is_refused)
{
    run a;
    llama2_checkpoint *c, *none;
    char folder[64];
    small_batch b;
    size_t needed;
    llama2_rollouts *rollouts;
    small_batch_init(&b);
    run_begin(&a, 1, LLAMA2_F32);
    sample(&a, 0);
    scratch_folder(folder);
    ck_fails(llama2_checkpoint_open(a.ctx, folder, -1, &none), LLAMA2_E_NOT_FOUND);
    ck_assert_ptr_null(none);
    ck_ok(llama2_checkpoint_begin(a.ctx, folder, 3, &c));
    ck_ok(llama2_trainer_accumulate(a.trainer, &b.batch, NULL)); /* in the middle of an accumulation */
    ck_fails(llama2_checkpoint_add_trainer(c, "policy", a.trainer), LLAMA2_E_STATE);
    ck_ok(llama2_trainer_clear(a.trainer));
    ck_fails(llama2_checkpoint_add_trainer(c, "../policy", a.trainer), LLAMA2_E_INVALID);
    ck_fails(llama2_checkpoint_add_trainer(c, "state", a.trainer), LLAMA2_E_INVALID);
    ck_fails(llama2_checkpoint_add_trainer(c, "", a.trainer), LLAMA2_E_INVALID);
    ck_ok(llama2_checkpoint_add_trainer(c, "policy", a.trainer)); /* refusals have not spoiled it */
    ck_ok(llama2_checkpoint_add_bytes(c, "note", "four", 4));
    ck_ok(llama2_checkpoint_add_bytes(c, "state", "x", 1)); /* a trainer's name is a folder's, this is not */
    ck_fails(llama2_checkpoint_get_rollouts(c, "rollouts", &rollouts), LLAMA2_E_STATE);
    ck_fails(llama2_checkpoint_commit(c, 1), LLAMA2_E_INVALID);
    ck_ok(llama2_checkpoint_commit(c, 2));
    ck_assert_int_eq(llama2_checkpoint_step(c), 3);
    ck_fails(llama2_checkpoint_add_bytes(c, "late", "x", 1), LLAMA2_E_STATE);
    llama2_checkpoint_free(c);

    ck_ok(llama2_checkpoint_open(a.ctx, folder, 3, &c));
    ck_assert_int_eq(llama2_checkpoint_step(c), 3);
    ck_fails(llama2_checkpoint_get_trainer(c, "critic", a.critic_trainer), LLAMA2_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "step-000000000003 has no trainer \"critic\""));
    ck_fails(llama2_checkpoint_get_rollouts(c, "critic", &rollouts), LLAMA2_E_NOT_FOUND);
    ck_fails(llama2_checkpoint_get_trainer(c, "policy", a.critic_trainer), LLAMA2_E_MISMATCH);
    ck_fails(llama2_checkpoint_get_bytes(c, "beta", NULL, 0, &needed), LLAMA2_E_NOT_FOUND);
    char note[4];
    ck_fails(llama2_checkpoint_get_bytes(c, "note", note, 3, NULL), LLAMA2_E_BUFFER);
    ck_fails(llama2_checkpoint_get_bytes(c, "note", note, 0, NULL), LLAMA2_E_BUFFER);
    ck_ok(llama2_checkpoint_get_bytes(c, "note", NULL, 0, &needed)); /* counts */
    ck_assert_uint_eq(needed, 4);
    ck_fails(llama2_checkpoint_open(a.ctx, folder, 4, &none), LLAMA2_E_NOT_FOUND);
    llama2_checkpoint_free(c);

    /* freed without commit: no trace */
    ck_ok(llama2_checkpoint_begin(a.ctx, folder, 5, &c));
    ck_ok(llama2_checkpoint_add_bytes(c, "beta", &a.at.beta, sizeof a.at.beta));
    llama2_checkpoint_free(c);
    ck_fails(llama2_checkpoint_open(a.ctx, folder, 5, &none), LLAMA2_E_NOT_FOUND);
    ck_ok(l2_remove_tree(a.ctx, folder));
    run_end(&a);
}
END_TEST

/* A step with the trainer in it. */
static void commit_step(run *r, const char *folder, int64_t step)
{
    llama2_checkpoint *c;
    ck_ok(llama2_checkpoint_begin(r->ctx, folder, step, &c));
    ck_ok(llama2_checkpoint_add_trainer(c, "policy", r->trainer));
    ck_ok(llama2_checkpoint_commit(c, 2));
    llama2_checkpoint_free(c);
}

START_TEST(names_and_steps_as_the_header_has_them)
{
    run a;
    llama2_checkpoint *c, *other;
    char folder[64];
    run_begin(&a, 1, LLAMA2_F32);
    sample(&a, 0);
    scratch_folder(folder);
    ck_ok(llama2_checkpoint_begin(a.ctx, folder, 1, &c)); /* a name is one of its kind */
    ck_ok(llama2_checkpoint_add_bytes(c, "policy", "x", 1));
    ck_ok(llama2_checkpoint_add_rollouts(c, "policy", a.rollouts));
    ck_ok(llama2_checkpoint_add_trainer(c, "policy", a.trainer));
    ck_fails(llama2_checkpoint_add_bytes(c, "policy", "y", 1), LLAMA2_E_INVALID);
    ck_fails(llama2_checkpoint_commit(c, 2), LLAMA2_E_STATE);
    llama2_checkpoint_free(c);

    ck_ok(llama2_checkpoint_begin(a.ctx, folder, 1, &c)); /* one writer a root */
    ck_ok(llama2_checkpoint_begin(a.ctx, folder, 2, &other));
    ck_assert_int_lt(llama2_checkpoint_commit(c, 2), 0);
    llama2_checkpoint_free(other);
    llama2_checkpoint_free(c);

    commit_step(&a, folder, 1);
    ck_ok(llama2_checkpoint_open(a.ctx, folder, 1, &c));
    commit_step(&a, folder, 2);
    ck_ok(llama2_checkpoint_get_trainer(c, "policy", a.trainer));
    commit_step(&a, folder, 3); /* removes what is open */
    ck_assert_int_lt(llama2_checkpoint_get_trainer(c, "policy", a.trainer), 0);
    llama2_checkpoint_free(c);
    ck_fails(llama2_checkpoint_open(a.ctx, folder, 1, &c), LLAMA2_E_NOT_FOUND);
    commit_step(&a, folder, 1); /* back, and on: the later steps are there still */
    ck_ok(llama2_checkpoint_open(a.ctx, folder, -1, &c));
    ck_assert_int_eq(llama2_checkpoint_step(c), 3);
    llama2_checkpoint_free(c);
    ck_ok(l2_remove_tree(a.ctx, folder));
    run_end(&a);
}
END_TEST

/* A disk that is full after `room` bytes. Tests run one after the other in processes of their own. */
static size_t room;

static ssize_t write_until_full(int fd, const void *buffer, size_t count)
{
    if (room == 0) {
        errno = ENOSPC;
        return -1;
    }
    if (count > room) count = room;
    ssize_t done = write(fd, buffer, count);
    if (done > 0) room -= (size_t)done;
    return done;
}

START_TEST(a_full_disk_leaves_the_older_checkpoint_and_the_run)
{
    run a, b;
    char folder[64];
    llama2_checkpoint *none;
    int failed = 0;
    run_begin(&a, 1, LLAMA2_F32);
    sample(&a, 0);
    ck_ok(save(&a, scratch_folder(folder), 1));
    learn(&a);
    l2_file_ops full = l2_posix_files;
    full.write = write_until_full;
    a.ctx->files = &full;
    for (size_t limit = 0;; limit = 2 * limit + 97) {
        room = limit;
        llama2_status status = save(&a, folder, 2);
        if (status >= 0) break;
        ck_assert_int_eq(status, LLAMA2_E_IO);
        failed++;
        ck_fails(llama2_checkpoint_open(a.ctx, folder, 2, &none), LLAMA2_E_NOT_FOUND);
    }
    ck_assert_int_ge(failed, 8);
    a.ctx->files = &l2_posix_files;

    /* the older one is whole; the run, undisturbed, goes on as one from the newer one does */
    run_begin(&b, 1, LLAMA2_F32);
    load(&b, folder, 1);
    learn(&b);
    ck_assert(same_weights(a.policy, b.policy));
    load(&b, folder, 2);
    sample(&a, 1);
    sample(&b, 1);
    learn(&a);
    learn(&b);
    ck_assert(same_weights(a.policy, b.policy));
    ck_ok(l2_remove_tree(a.ctx, folder));
    run_end(&a);
    run_end(&b);
}
END_TEST

/* A trainer that can't be restored is as it was. */
START_TEST(a_failed_restore_changes_nothing)
{
    run a, b;
    char folder[64];
    llama2_checkpoint *c;
    llama2_config config = small_config(1);
    llama2_model *other;
    run_begin(&a, 1, LLAMA2_F32);
    run_begin(&b, 1, LLAMA2_F32);
    sample(&a, 0);
    ck_ok(save(&a, scratch_folder(folder), 1));
    config.ffn_dim = 34;
    ck_ok(llama2_model_create(b.ctx, &config, NULL, &other));
    llama2_trainer *trainer = small_trainer(b.ctx, other, 1e-2, NULL);
    ck_ok(llama2_checkpoint_open(b.ctx, folder, 1, &c));
    ck_fails(llama2_checkpoint_get_trainer(c, "policy", trainer), LLAMA2_E_MISMATCH);
    llama2_trainer_free(trainer);
    llama2_model_free(other);
    config = small_config(1); /* matrices of the same sizes, other heads in them */
    config.n_heads /= 2;
    config.n_kv_heads /= 2;
    config.head_dim *= 2;
    ck_ok(llama2_model_create(b.ctx, &config, NULL, &other));
    trainer = small_trainer(b.ctx, other, 1e-2, NULL);
    ck_fails(llama2_checkpoint_get_trainer(c, "policy", trainer), LLAMA2_E_MISMATCH);
    /* the folder of weights is damaged behind the back of the open checkpoint */
    char path[160];
    snprintf(path, sizeof path, "%s/step-000000000001/policy/model.safetensors", folder);
    ck_ok(l2_write_file(b.ctx, path, "short", 5));
    sample(&b, 4);
    learn(&b);
    float *before = NULL, *after = NULL;
    int64_t n;
    before = all_weights(b.policy, &n);
    ck_assert_int_lt(llama2_checkpoint_get_trainer(c, "policy", b.trainer), 0);
    after = all_weights(b.policy, &n);
    ck_assert_mem_eq(before, after, (size_t)n * sizeof *before);
    ck_assert_int_eq(llama2_trainer_step(b.trainer), 3);
    llama2_checkpoint_free(c);
    ck_fails(llama2_checkpoint_open(b.ctx, folder, -1, &c), LLAMA2_E_NOT_FOUND); /* not valid any more */
    ck_ok(l2_remove_tree(a.ctx, folder));
    free(before);
    free(after);
    llama2_trainer_free(trainer);
    llama2_model_free(other);
    run_end(&a);
    run_end(&b);
}
END_TEST

/* The moments of the step that was opened never come beside the weights of one that took its place. */
START_TEST(a_step_that_was_replaced_is_not_read)
{
    run a, b;
    char folder[64];
    llama2_checkpoint *c;
    int64_t n;
    run_begin(&a, 1, LLAMA2_F32);
    run_begin(&b, 1, LLAMA2_F32);
    sample(&a, 0);
    ck_ok(save(&a, scratch_folder(folder), 1));
    ck_ok(llama2_checkpoint_open(b.ctx, folder, 1, &c));
    ck_ok(llama2_checkpoint_get_trainer(c, "policy", b.trainer));
    learn(&a);
    ck_ok(save(&a, folder, 1));
    float *before = all_weights(b.policy, &n);
    ck_fails(llama2_checkpoint_get_trainer(c, "policy", b.trainer), LLAMA2_E_STATE);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "replaced or removed"));
    float *after = all_weights(b.policy, &n);
    ck_assert_mem_eq(before, after, (size_t)n * sizeof *before);
    llama2_checkpoint_free(c);
    ck_ok(llama2_checkpoint_open(b.ctx, folder, 1, &c));
    ck_ok(llama2_checkpoint_get_trainer(c, "policy", b.trainer));
    ck_assert(same_weights(a.policy, b.policy));
    for (int64_t step = 2; step < 4; step++) ck_ok(save(&a, folder, step)); /* the second removes the first */
    ck_fails(llama2_checkpoint_get_trainer(c, "policy", b.trainer), LLAMA2_E_STATE);
    llama2_checkpoint_free(c);
    ck_ok(l2_remove_tree(a.ctx, folder));
    free(before);
    free(after);
    run_end(&a);
    run_end(&b);
}
END_TEST

START_TEST(a_value_head_whose_scores_could_not_be_is_refused)
{
    static const double bad[][2] = {{0, 0}, {0, -1}, {0, NAN}, {0, INFINITY}, {NAN, 1}, {INFINITY, 1}};
    run a, b;
    char folder[64];
    llama2_checkpoint *c;
    run_begin_as(&a, 1, LLAMA2_F32, 1);
    run_begin_as(&b, 1, LLAMA2_F32, 1);
    sample(&a, 0);
    learn(&a);
    scratch_folder(folder);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        a.critic->shift = bad[i][0];
        a.critic->scale = bad[i][1];
        ck_ok(save(&a, folder, 1));
        ck_ok(llama2_checkpoint_open(b.ctx, folder, 1, &c));
        ck_fails(llama2_checkpoint_get_trainer(c, "policy", b.trainer), LLAMA2_E_FORMAT);
        llama2_checkpoint_free(c);
    }
    ck_assert(b.critic->shift == 0 && b.critic->scale == 1);
    ck_assert(same_weights(b.policy, b.reference)); /* as at first */
    ck_assert_int_eq(llama2_trainer_step(b.trainer), 0);
    ck_ok(l2_remove_tree(a.ctx, folder));
    run_end(&a);
    run_end(&b);
}
END_TEST

static const char kept[] = "kept";

/* What was kept under "x" in the newest step. */
static void ck_kept(llama2_context *ctx, const char *root)
{
    llama2_checkpoint *c;
    char bytes[sizeof kept];
    size_t needed;
    ck_ok(llama2_checkpoint_open(ctx, root, -1, &c));
    ck_ok(llama2_checkpoint_get_bytes(c, "x", bytes, sizeof bytes, &needed));
    ck_assert_str_eq(bytes, kept);
    llama2_checkpoint_free(c);
}

/* A host tries again before it frees what failed: the new one has its folder to itself. */
START_TEST(one_that_is_begun_again_is_not_spoilt_by_the_first)
{
    run r;
    char folder[64];
    llama2_checkpoint *first, *second;
    run_begin(&r, 1, LLAMA2_F32);
    ck_ok(llama2_checkpoint_begin(r.ctx, scratch_folder(folder), 100, &first));
    ck_ok(llama2_checkpoint_add_bytes(first, "x", "lost", sizeof "lost"));
    ck_ok(llama2_checkpoint_begin(r.ctx, folder, 100, &second));
    ck_ok(llama2_checkpoint_add_bytes(second, "x", kept, sizeof kept));
    ck_fails(llama2_checkpoint_add_trainer(first, "policy", r.trainer), LLAMA2_E_STATE);
    ck_fails(llama2_checkpoint_add_bytes(first, "y", "lost", sizeof "lost"), LLAMA2_E_STATE);
    ck_fails(llama2_checkpoint_commit(first, 2), LLAMA2_E_STATE);
    llama2_checkpoint_free(first);
    ck_ok(llama2_checkpoint_add_trainer(second, "policy", r.trainer));
    ck_ok(llama2_checkpoint_commit(second, 2));
    llama2_checkpoint_free(second);
    ck_kept(r.ctx, folder);
    ck_ok(l2_remove_tree(r.ctx, folder));
    run_end(&r);
}
END_TEST

/* What a forked child frees, its parent goes on writing. */
START_TEST(a_forked_child_leaves_the_files_alone)
{
    run r;
    char folder[64], shard[80];
    llama2_checkpoint *c;
    llama2_shard_writer *w;
    const int32_t tokens[] = {1, 2, 3};
    run_begin(&r, 1, LLAMA2_F32);
    ck_ok(llama2_checkpoint_begin(r.ctx, scratch_folder(folder), 1, &c));
    ck_ok(llama2_checkpoint_add_bytes(c, "x", kept, sizeof kept));
    snprintf(shard, sizeof shard, "%s/shard", folder);
    ck_ok(llama2_shard_writer_create(r.ctx, shard, 100, &w));
    ck_ok(llama2_shard_writer_append(w, tokens, 3));
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        alarm(20);
        if (llama2_checkpoint_add_bytes(c, "y", kept, sizeof kept) != LLAMA2_E_FORKED) _exit(2);
        if (llama2_checkpoint_commit(c, 2) != LLAMA2_E_FORKED) _exit(3);
        if (llama2_shard_writer_finish(w) != LLAMA2_E_FORKED) _exit(4);
        llama2_checkpoint_free(c);
        llama2_shard_writer_free(w);
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status 0x%x", (unsigned)status);
    ck_ok(llama2_shard_writer_finish(w));
    llama2_shard_writer_free(w);
    ck_ok(llama2_checkpoint_commit(c, 2));
    llama2_checkpoint_free(c);
    ck_kept(r.ctx, folder);
    ck_ok(l2_remove_tree(r.ctx, folder));
    run_end(&r);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *tc = tcase_create("resume");
    tcase_set_timeout(tc, 120);
    /* valgrind.sh asks for one function: they differ in bits, not in what they do with memory. */
    int first = getenv("LLAMA2_TEST_FEW") ? ADVANTAGES : ROLLOUT, end = getenv("LLAMA2_TEST_FEW") ? first + 1 : STAGES;
    tcase_add_loop_test(tc, resume_before_any_function_of_an_iteration, first * KINDS, end * KINDS);
    suite_add_tcase(suite, tc);
    ADD_CASE(suite, "failures", skipped_updates_are_counted_over_a_resume, what_is_refused,
             names_and_steps_as_the_header_has_them, a_full_disk_leaves_the_older_checkpoint_and_the_run,
             a_failed_restore_changes_nothing, a_step_that_was_replaced_is_not_read,
             a_value_head_whose_scores_could_not_be_is_refused);
    ADD_CASE(suite, "ownership", one_that_is_begun_again_is_not_spoilt_by_the_first,
             a_forked_child_leaves_the_files_alone);
    return suite;
}
