/* A value head on the policy's own trunk: one forward and backward for both losses, against numeric differences, two
 * backward passes, and a policy without one; what it takes in memory; what is refused. */
#include "train_test.h"

#include "train/parts.h"
#include "train/reward_model.h"
#include "train/trainer.h"

#include <stdatomic.h>

typedef struct world {
    llama2_context *ctx;
    llama2_model *policy, *reference;
    llama2_reward_model *head;
    llama2_trainer *trainer;
    llama2_rollouts *rollouts;
} world;

static llama2_reward_model *shared_head(llama2_model *model, int32_t how)
{
    llama2_reward_model *head;
    llama2_reward_options o;
    llama2_reward_options_init(&o, sizeof o);
    o.head = how;
    ck_ok(llama2_reward_model_create_shared(model, &o, &head));
    return head;
}

/* with_head 0: the policy alone. */
static void begin(world *w, int32_t threads, int32_t tied, int32_t dtype, int64_t micro_batch, double head_lr_ratio,
                  int with_head)
{
    llama2_trainer_options o;
    llama2_trainer_options_init(&o, sizeof o);
    memset(w, 0, sizeof *w);
    w->ctx = small_context(threads, LLAMA2_ISA_AUTO);
    w->policy = small_model(w->ctx, tied, dtype);
    ck_ok(llama2_model_clone(w->policy, &w->reference));
    w->head = shared_head(w->policy, LLAMA2_HEAD_NORMAL);
    o.micro_batch_tokens = micro_batch;
    o.value_head_lr_ratio = head_lr_ratio;
    o.value_head = with_head ? w->head : NULL;
    w->trainer = small_trainer(w->ctx, w->policy, 1e-2, &o);
    w->rollouts = small_rollouts(w->policy, 3, 4, 0.8, 0);
    score_by_tokens(w->rollouts);
    ck_ok(llama2_rollouts_reference(w->rollouts, w->reference));
    ck_ok(llama2_rollouts_values(w->rollouts, w->head));
    ck_ok(llama2_ppo_advantages(w->rollouts, NULL, NULL));
}

static void end(world *w)
{
    llama2_rollouts_free(w->rollouts);
    llama2_model_free(w->policy); /* in any order */
    llama2_reward_model_free(w->head);
    llama2_trainer_free(w->trainer);
    llama2_model_free(w->reference);
    llama2_context_free(w->ctx);
}

/* A loss of both heads, on tokens of the sequences of 3 and of 17. */
enum { TARGETS = 7 };
static const int64_t targets[TARGETS] = {2, 3, 5, 9, 10, 16, 20};

typedef struct joint {
    double policy[TARGETS], value[TARGETS];
} joint;

static int32_t index_of(int64_t target)
{
    int32_t i = 0;
    while (targets[i] != target) i++;
    return i;
}

static void joint_policy(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy)
{
    joint *j = user;
    double a = 0.5 + (double)(row % 3);
    (void)entropy, (void)dentropy;
    j->policy[index_of(row)] = -a * exp(logprob / 4);
    *dlogprob = -a * exp(logprob / 4) / 4;
}

static void joint_value(void *user, int64_t first, int64_t n, const double *values, double *derivatives)
{
    joint *j = user;
    for (int64_t i = 0; i < n; i++) {
        double error = values[i] - (double)((first + i) % 4);
        j->value[first + i] = 0.3 * error * error / 2;
        derivatives[i] = 0.3 * error;
    }
}

static double joint_loss(const world *w, const llama2_batch *batch, int64_t part, l2_activations *activations)
{
    joint j;
    double sum = 0;
    ck_ok(l2_token_loss_in_parts(w->policy, batch, targets, TARGETS, 0.9, 0, joint_policy, &j, &w->head->model->head,
                                 joint_value, part, activations));
    for (int i = 0; i < TARGETS; i++) sum += j.policy[i] + j.value[i];
    return sum;
}

/* Elements of the whole arena, the head among them, against central differences. */
START_TEST(numeric_gradient)
{
    world w;
    small_batch b;
    begin(&w, 2, _i, LLAMA2_F64, 0, 1, 1);
    small_batch_init(&b);
    double *weights = w.policy->weights, *grad = w.trainer->gradients, squares = 0;
    int64_t n = w.trainer->n_elements, head = w.policy->n_elements;
    ck_assert_int_eq(n, head + w.policy->config.dim);
    joint_loss(&w, &b.batch, 6, &w.trainer->activations);
    for (int64_t k = 0; k < n; k++) squares += grad[k] * grad[k];
    double size = sqrt(squares / (double)n);
    for (int64_t k = 0; k < n; k += k < head ? 71 : 1) {
        double h = 1e-5, before = weights[k];
        weights[k] = before + h;
        double up = joint_loss(&w, &b.batch, 0, NULL);
        weights[k] = before - h;
        double down = joint_loss(&w, &b.batch, 0, NULL), difference = (up - down) / (2 * h);
        weights[k] = before;
        ck_assert_msg(fabs(difference - grad[k]) < 1e-6 * (fabs(grad[k]) + size), "element %lld: %g, by differences %g",
                      (long long)k, grad[k], difference);
    }
    end(&w);
}
END_TEST

/* The gradients of two backward passes, one a loss, add up to those of the joint one. */
START_TEST(one_backward_is_the_sum_of_two)
{
    world w;
    small_batch b;
    float by_logprob[64] = {0}, by_value[64] = {0}, score[24], both_score[24];
    int64_t n;
    begin(&w, 1, _i, LLAMA2_F64, 0, 1, 1);
    small_batch_init(&b);
    float logprobs[64], values[64];
    ck_ok(llama2_model_logprobs(w.policy, &b.batch, 0.9, logprobs, NULL));
    ck_ok(llama2_reward_model_values(w.head, &b.batch, values));
    for (int i = 0; i < TARGETS; i++) {
        int64_t t = targets[i];
        by_logprob[t] = (float)(-(0.5 + (double)(t % 3)) * exp((double)logprobs[t] / 4) / 4);
        by_value[t - 1] = 0.3f * (values[t - 1] - (float)(i % 4));
    }
    ck_ok(llama2_trainer_backward_logprobs(w.trainer, &b.batch, 0.9, by_logprob, 0, TARGETS));
    ck_ok(llama2_trainer_backward_values(w.trainer, &b.batch, by_value, 0, 0));
    float *two = all_gradients(w.trainer, w.policy, &n);
    ck_ok(llama2_trainer_get_gradient(w.trainer, "score.weight", score, 24, NULL));
    ck_ok(llama2_trainer_clear(w.trainer));
    joint_loss(&w, &b.batch, 0, &w.trainer->activations);
    float *one = all_gradients(w.trainer, w.policy, &n);
    ck_ok(llama2_trainer_get_gradient(w.trainer, "score.weight", both_score, 24, NULL));
    ck_assert_double_lt(distance(one, two, n), 1e-6); /* derivatives are handed over in fp32 */
    ck_assert_double_lt(distance(both_score, score, 24), 1e-6);
    free(one);
    free(two);
    end(&w);
}
END_TEST

/* Two worlds of which one takes the update, the other the same step through the host's entrances. */
START_TEST(update_is_policy_loss_and_value_coef_times_value_loss)
{
    world a, b;
    llama2_ppo_options o;
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    float now[512], values[512], by_logprob[512] = {0}, by_value[512] = {0}, x[24], y[24];
    double n = 0, policy_loss = 0, value_loss = 0;
    int64_t size;
    begin(&a, 2, 0, LLAMA2_F32, 6, 3, 1);
    begin(&b, 1, 0, LLAMA2_F32, 0, 3, 1);
    llama2_ppo_options_init(&o, sizeof o);
    o.value_coef = 0.25;
    o.shuffle = 0;
    ck_ok(llama2_ppo_update(a.trainer, NULL, a.rollouts, &o, &m));
    llama2_rollouts_view v = view_of(b.rollouts);
    llama2_batch batch = {.struct_size = sizeof batch,
                          .n_sequences = v.n_samples,
                          .n_tokens = v.n_tokens,
                          .tokens = v.tokens,
                          .offsets = v.offsets};
    ck_ok(llama2_model_logprobs(b.policy, &batch, 0.8, now, NULL));
    ck_ok(llama2_reward_model_values(b.head, &batch, values));
    for (int32_t s = 0; s < v.n_samples; s++) {
        for (int64_t t = v.offsets[s] + v.prompt_lengths[s]; t < v.offsets[s + 1]; t++, n++) {
            double error = (double)values[t - 1] - (double)v.returns[t];
            ck_assert(now[t] == v.logprobs[t] && values[t - 1] == v.values[t]); /* nothing has moved */
            by_logprob[t] = -v.advantages[t];
            by_value[t - 1] = (float)(0.25 * error);
            policy_loss -= (double)v.advantages[t];
            value_loss += error * error / 2;
        }
    }
    ck_ok(llama2_trainer_backward_logprobs(b.trainer, &batch, 0.8, by_logprob, 0, n));
    ck_ok(llama2_trainer_backward_values(b.trainer, &batch, by_value, 0, 0));
    llama2_step_metrics step = {.struct_size = sizeof step};
    ck_ok(llama2_trainer_update(b.trainer, &step));
    ck_assert_int_eq(m.n_updates, 1);
    ck_assert(m.ratio == 1 && m.clip_fraction == 0 && m.value_clip_fraction == 0);
    ck_assert_double_eq_tol(m.policy_loss, policy_loss / n, 1e-6);
    ck_assert_double_eq_tol(m.value_loss, value_loss / n, 1e-5);
    ck_assert_double_eq_tol(m.policy_grad_norm, step.grad_norm, 1e-5 * step.grad_norm);
    ck_assert(m.policy_lr == 1e-2 && m.value_lr == 3e-2 && m.value_grad_norm == 0);
    float *p = all_weights(a.policy, &size), *q = all_weights(b.policy, &size),
          *start = all_weights(a.reference, &size);
    for (int64_t i = 0; i < size; i++) p[i] -= start[i], q[i] -= start[i];
    ck_assert_double_lt(distance(p, q, size), 1e-3);
    ck_ok(llama2_reward_model_get_tensor(a.head, "score.weight", x, 24, NULL));
    ck_ok(llama2_reward_model_get_tensor(b.head, "score.weight", y, 24, NULL));
    ck_assert_double_lt(distance(x, y, 24), 1e-5);
    free(p);
    free(q);
    free(start);
    end(&a);
    end(&b);
}
END_TEST

START_TEST(threads_and_micro_batches_change_no_bit)
{
    world w[3];
    float head[3][24];
    llama2_ppo_options o;
    llama2_ppo_options_init(&o, sizeof o);
    o.minibatch = 5;
    o.epochs = 2;
    for (int i = 0; i < 3; i++) {
        begin(&w[i], 1 + i, 0, LLAMA2_F32, i == 1 ? 7 : 0, 1, 1);
        ck_ok(llama2_ppo_update(w[i].trainer, NULL, w[i].rollouts, &o, NULL));
        ck_ok(llama2_reward_model_get_tensor(w[i].head, "score.weight", head[i], 24, NULL));
        ck_assert(same_weights(w[0].policy, w[i].policy));
        ck_assert_mem_eq(head[0], head[i], sizeof head[0]);
    }
    for (int i = 0; i < 3; i++) end(&w[i]);
}
END_TEST

/* With weight 0 the policy takes the steps that it takes without a head. */
START_TEST(without_weight_the_policy_is_the_same_to_the_bit)
{
    world a, b;
    llama2_ppo_options o;
    llama2_ppo_options_init(&o, sizeof o);
    o.minibatch = 5;
    o.value_coef = 0;
    begin(&a, 2, _i, LLAMA2_F32, 0, 1, 1);
    begin(&b, 2, _i, LLAMA2_F32, 0, 1, 0);
    ck_ok(llama2_ppo_update(a.trainer, NULL, a.rollouts, &o, NULL));
    ck_ok(llama2_ppo_update(b.trainer, NULL, b.rollouts, &o, NULL));
    ck_assert(same_weights(a.policy, b.policy));
    ck_assert(!same_weights(a.policy, a.reference));
    end(&a);
    end(&b);
}
END_TEST

/* A shared head is a reward model like any other, and what is saved or cloned has a trunk of its own. */
START_TEST(head_is_a_reward_model)
{
    world w;
    small_batch b;
    char folder[64];
    float values[64], copied[64], loaded[64], zeros[24] = {0};
    llama2_reward_model *clone, *from_file;
    begin(&w, 2, 0, LLAMA2_F32, 0, 1, 1);
    small_batch_init(&b);
    ck_ok(llama2_ppo_update(w.trainer, NULL, w.rollouts, NULL, NULL));
    ck_ok(llama2_reward_model_clone(w.head, &clone));
    ck_ok(llama2_reward_model_save(w.head, scratch_folder(folder), LLAMA2_F32));
    ck_ok(llama2_reward_model_load(w.ctx, folder, NULL, &from_file));
    ck_ok(llama2_reward_model_values(w.head, &b.batch, values));
    ck_ok(llama2_ppo_update(w.trainer, NULL, w.rollouts, NULL, NULL)); /* moves the head and its trunk alone */
    ck_ok(llama2_reward_model_values(clone, &b.batch, copied));
    ck_ok(llama2_reward_model_values(from_file, &b.batch, loaded));
    ck_assert_mem_eq(values, copied, (size_t)b.batch.n_tokens * sizeof *values);
    ck_assert_mem_eq(values, loaded, (size_t)b.batch.n_tokens * sizeof *values);
    ck_ok(llama2_reward_model_values(w.head, &b.batch, copied));
    ck_assert_mem_ne(values, copied, (size_t)b.batch.n_tokens * sizeof *values);
    ck_ok(llama2_reward_model_set_tensor(w.head, "score.weight", zeros, 24));
    ck_ok(llama2_reward_model_values(w.head, &b.batch, values));
    for (int64_t t = 0; t < b.batch.n_tokens; t++) ck_assert(values[t] == 0);
    ck_ok(llama2_model_save(w.policy, folder, LLAMA2_F32)); /* no trace of the head in the policy's folder */
    llama2_model *plain;
    ck_ok(llama2_model_load(w.ctx, folder, NULL, &plain));
    ck_assert(same_weights(plain, w.policy));
    ck_ok(l2_remove_tree(w.ctx, folder));
    llama2_model_free(plain);
    llama2_reward_model_free(clone);
    llama2_reward_model_free(from_file);
    end(&w);
}
END_TEST

START_TEST(what_is_refused)
{
    world w, other;
    char folder[64];
    llama2_reward_model *none, *free_one;
    llama2_trainer *no_trainer, *critic_trainer;
    llama2_trainer_options o;
    llama2_ppo_options po;
    llama2_checkpoint *c;
    begin(&w, 1, 0, LLAMA2_F32, 0, 1, 1);
    begin(&other, 1, 0, LLAMA2_F32, 0, 1, 0);
    llama2_optimizer *adamw = small_optimizer(w.ctx, 1e-2);
    llama2_trainer_options_init(&o, sizeof o);
    ck_fails(llama2_reward_model_create_shared(w.policy, NULL, &none), LLAMA2_E_BUSY);
    ck_assert_ptr_null(none);
    ck_fails(llama2_trainer_create_for_reward(w.ctx, w.head, adamw, &o, &no_trainer), LLAMA2_E_MISMATCH);
    o.value_head = w.head;
    ck_fails(llama2_trainer_create(w.ctx, w.reference, adamw, &o, &no_trainer), LLAMA2_E_MISMATCH);
    free_one = small_reward_model(w.ctx, w.policy, LLAMA2_HEAD_ZERO);
    o.value_head = free_one;
    ck_fails(llama2_trainer_create(w.ctx, w.reference, adamw, &o, &no_trainer), LLAMA2_E_MISMATCH);
    o.value_head = NULL;
    o.value_head_lr_ratio = -1;
    ck_fails(llama2_trainer_create(w.ctx, w.reference, adamw, &o, &no_trainer), LLAMA2_E_INVALID);
    critic_trainer = small_reward_trainer(w.ctx, free_one, 1e-2, NULL);
    ck_fails(llama2_ppo_update(w.trainer, critic_trainer, w.rollouts, NULL, NULL), LLAMA2_E_MISMATCH);
    llama2_ppo_options_init(&po, sizeof po);
    po.value_coef = -0.1;
    ck_fails(llama2_ppo_update(w.trainer, NULL, w.rollouts, &po, NULL), LLAMA2_E_INVALID);

    /* a checkpoint of a policy with a head is not for one without, nor the other way round */
    ck_ok(llama2_checkpoint_begin(w.ctx, scratch_folder(folder), 1, &c));
    ck_ok(llama2_checkpoint_add_trainer(c, "with", w.trainer));
    ck_ok(llama2_checkpoint_add_trainer(c, "without", other.trainer));
    ck_ok(llama2_checkpoint_commit(c, 2));
    llama2_checkpoint_free(c);
    ck_ok(llama2_checkpoint_open(w.ctx, folder, 1, &c));
    ck_fails(llama2_checkpoint_get_trainer(c, "with", other.trainer), LLAMA2_E_MISMATCH);
    ck_fails(llama2_checkpoint_get_trainer(c, "without", w.trainer), LLAMA2_E_MISMATCH);
    ck_ok(llama2_checkpoint_get_trainer(c, "with", w.trainer));
    llama2_checkpoint_free(c);
    ck_ok(l2_remove_tree(w.ctx, folder));

    /* freed, it makes room for another one; a model whose weights are as stored has none */
    llama2_reward_model_free(other.head);
    other.head = shared_head(other.policy, LLAMA2_HEAD_ZERO);
    llama2_model_options mo;
    llama2_model *stored;
    llama2_model_options_init(&mo, sizeof mo);
    mo.weights = LLAMA2_WEIGHTS_AS_STORED;
    ck_ok(llama2_model_save(w.reference, scratch_folder(folder), LLAMA2_F32));
    ck_ok(llama2_model_load(w.ctx, folder, &mo, &stored));
    ck_fails(llama2_reward_model_create_shared(stored, NULL, &none), LLAMA2_E_UNSUPPORTED);
    llama2_model_free(stored);
    ck_ok(l2_remove_tree(w.ctx, folder));
    llama2_trainer_free(critic_trainer);
    llama2_reward_model_free(free_one);
    llama2_optimizer_free(adamw);
    end(&w);
    end(&other);
}
END_TEST

/* --- memory ---------------------------------------------------------------------------------- */

typedef struct counter {
    atomic_llong now, most;
} counter;

enum { HEADER = 64 };

static void *counting_alloc(void *user, size_t size, size_t alignment)
{
    counter *c = user;
    ck_assert(alignment <= HEADER);
    char *p = aligned_alloc(HEADER, (size + 2 * HEADER - 1) / HEADER * HEADER);
    if (!p) return NULL;
    memcpy(p, &size, sizeof size);
    long long now = atomic_fetch_add(&c->now, (long long)size) + (long long)size, most = atomic_load(&c->most);
    while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now)) continue;
    return p + HEADER;
}

static void counting_free(void *user, void *ptr)
{
    counter *c = user;
    size_t size;
    if (!ptr) return;
    memcpy(&size, (char *)ptr - HEADER, sizeof size);
    atomic_fetch_sub(&c->now, (long long)size);
    free((char *)ptr - HEADER);
}

/* The most bytes that policy and critic take from rollout to update, with gradients, optimizer states, activations. */
static long long bytes_of_an_update(int shared)
{
    counter c = {0};
    llama2_context *ctx;
    llama2_context_options co;
    llama2_config config = small_config(0);
    llama2_model *policy;
    llama2_reward_model *critic;
    llama2_trainer *trainer, *critic_trainer = NULL;
    llama2_trainer_options o;
    llama2_context_options_init(&co, sizeof co);
    co.n_threads = 1;
    co.alloc = counting_alloc;
    co.dealloc = counting_free;
    co.alloc_user = &c;
    ck_ok(llama2_context_create(&co, &ctx));
    config.vocab_size = 2000;
    config.dim = 192;
    config.n_heads = config.n_kv_heads = 4;
    config.head_dim = 48;
    config.ffn_dim = 512;
    config.n_layers = 4;
    config.tied = 1;
    config.init_std = 0.02;
    ck_ok(llama2_model_create(ctx, &config, NULL, &policy));
    critic = shared ? shared_head(policy, LLAMA2_HEAD_ZERO) : small_reward_model(ctx, policy, LLAMA2_HEAD_ZERO);
    llama2_trainer_options_init(&o, sizeof o);
    o.value_head = shared ? critic : NULL;
    trainer = small_trainer(ctx, policy, 1e-5, &o);
    if (!shared) critic_trainer = small_reward_trainer(ctx, critic, 1e-5, NULL);
    llama2_rollouts *rollouts = small_rollouts(policy, 3, 4, 1, 0);
    llama2_rollouts_view v = view_of(rollouts);
    ck_ok(llama2_rollouts_set(rollouts, LLAMA2_ROLLOUTS_REF_LOGPROBS, v.logprobs, v.n_tokens));
    score_by_tokens(rollouts);
    ck_ok(llama2_rollouts_values(rollouts, critic));
    ck_ok(llama2_ppo_advantages(rollouts, NULL, NULL));
    ck_ok(llama2_ppo_update(trainer, critic_trainer, rollouts, NULL, NULL));
    llama2_rollouts_free(rollouts);
    llama2_trainer_free(trainer);
    llama2_trainer_free(critic_trainer);
    llama2_reward_model_free(critic);
    llama2_model_free(policy);
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&c.now), 0);
    return atomic_load(&c.most);
}

START_TEST(takes_half_the_memory)
{
    long long apart = bytes_of_an_update(0), shared = bytes_of_an_update(1);
    printf("policy and critic in an update: %lld bytes, with a shared trunk %lld (%.1f %%)\n", apart, shared,
           100.0 * (double)shared / (double)apart);
    ck_assert_double_lt((double)shared, 0.6 * (double)apart);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("value head");
    TCase *tc = tcase_create("gradients");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, numeric_gradient, 0, 2);
    tcase_add_loop_test(tc, one_backward_is_the_sum_of_two, 0, 2);
    tcase_add_loop_test(tc, without_weight_the_policy_is_the_same_to_the_bit, 0, 2);
    suite_add_tcase(suite, tc);
    ADD_CASE(suite, "update", update_is_policy_loss_and_value_coef_times_value_loss,
             threads_and_micro_batches_change_no_bit);
    ADD_CASE(suite, "handle", head_is_a_reward_model, what_is_refused, takes_half_the_memory);
    return suite;
}
