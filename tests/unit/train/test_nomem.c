/* Every allocation of a whole RLHF run fails once, and from then on for ever: a status, no leak, no crash, and objects
 * that can be freed. */
#include "train_test.h"

#include <stdatomic.h>

typedef struct scarce {
    atomic_long left;  /* allocations that still succeed */
    atomic_long alive; /* allocations that have not been freed */
    int once;          /* only one fails */
} scarce;

static void *scarce_alloc(void *user, size_t size, size_t alignment)
{
    scarce *s = user;
    long left = atomic_fetch_sub(&s->left, 1);
    if (s->once ? left == 0 : left <= 0) return NULL;
    void *ptr = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (ptr) atomic_fetch_add(&s->alive, 1);
    return ptr;
}

static void scarce_free(void *user, void *ptr)
{
    scarce *s = user;
    if (ptr) atomic_fetch_sub(&s->alive, 1);
    free(ptr);
}

typedef struct handles {
    llama2_context *ctx;
    llama2_model *model, *reference;
    llama2_reward_model *reward, *critic, *head;
    llama2_optimizer *optimizer[4];
    llama2_trainer *trainer, *reward_trainer, *critic_trainer, *head_trainer;
    llama2_packer *packer;
    llama2_rollouts *rollouts, *recorded;
    llama2_pool *pool;
    llama2_rollouts *pooled;
} handles;

static void free_all(handles *h)
{
    llama2_pool_free(h->pool);
    llama2_rollouts_free(h->pooled);
    llama2_rollouts_free(h->rollouts);
    llama2_rollouts_free(h->recorded);
    llama2_packer_free(h->packer);
    llama2_trainer_free(h->trainer);
    llama2_trainer_free(h->reward_trainer);
    llama2_trainer_free(h->critic_trainer);
    llama2_trainer_free(h->head_trainer);
    for (int i = 0; i < 4; i++) llama2_optimizer_free(h->optimizer[i]);
    llama2_reward_model_free(h->reward);
    llama2_reward_model_free(h->critic);
    llama2_reward_model_free(h->head);
    llama2_model_free(h->reference);
    llama2_model_free(h->model);
    llama2_context_free(h->ctx);
}

#define TRY(expr)                                                                                                      \
    do {                                                                                                               \
        llama2_status status = (expr);                                                                                 \
        if (status < 0) return status;                                                                                 \
    } while (0)

/* Everything that this layer makes, once. */
static llama2_status run(handles *h, scarce *s)
{
    static const int32_t prompt_tokens[] = {1, 5, 1, 6, 7}, prompt_lengths[] = {1, 1};
    static const int64_t prompt_offsets[] = {0, 2, 5};
    static const uint64_t ids[] = {4, 9};
    static const float scores[] = {1, 2, 3, 4};
    small_batch b;
    llama2_config config = small_config(0);
    llama2_context_options co;
    llama2_trainer_options to;
    llama2_rollout_options ro;
    llama2_pool_add_options po;
    llama2_batch packed = {.struct_size = sizeof packed};
    llama2_batch prompts = {.struct_size = sizeof prompts,
                            .n_sequences = 2,
                            .n_tokens = 5,
                            .tokens = prompt_tokens,
                            .offsets = prompt_offsets};
    int64_t count;
    small_batch_init(&b);
    llama2_context_options_init(&co, sizeof co);
    co.n_threads = 2;
    co.alloc = scarce_alloc;
    co.dealloc = scarce_free;
    co.alloc_user = s;
    TRY(llama2_context_create(&co, &h->ctx));
    config.n_layers = 1;
    TRY(llama2_model_create(h->ctx, &config, NULL, &h->model));
    TRY(llama2_model_clone(h->model, &h->reference));
    TRY(llama2_reward_model_create(h->ctx, h->model, NULL, &h->reward));
    TRY(llama2_reward_model_clone(h->reward, &h->critic));
    TRY(llama2_reward_model_create_shared(h->reference, NULL, &h->head));
    for (int i = 0; i < 4; i++) TRY(llama2_optimizer_create(h->ctx, NULL, &h->optimizer[i]));
    llama2_trainer_options_init(&to, sizeof to);
    to.micro_batch_tokens = 8;
    TRY(llama2_trainer_create(h->ctx, h->model, h->optimizer[0], &to, &h->trainer));
    TRY(llama2_trainer_create_for_reward(h->ctx, h->reward, h->optimizer[1], &to, &h->reward_trainer));
    TRY(llama2_trainer_create_for_reward(h->ctx, h->critic, h->optimizer[2], NULL, &h->critic_trainer));
    to.value_head = h->head;
    TRY(llama2_trainer_create(h->ctx, h->reference, h->optimizer[3], &to, &h->head_trainer));
    TRY(llama2_packer_create(h->ctx, NULL, &h->packer));
    for (int i = 0; i < 3; i++) TRY(llama2_packer_add(h->packer, b.tokens + 1, NULL, 20));
    TRY(llama2_packer_batch(h->packer, &packed));
    TRY(llama2_sft_step(h->trainer, &packed, NULL));
    llama2_pairs pairs = {.struct_size = sizeof pairs, .n_pairs = 2, .batch = &b.batch};
    TRY(llama2_reward_step(h->reward_trainer, &pairs, NULL));
    llama2_rollout_options_init(&ro, sizeof ro);
    ro.samples_per_prompt = 2;
    ro.max_new_tokens = 5;
    TRY(llama2_rollout(h->model, &prompts, &ro, &h->rollouts));
    TRY(llama2_rollouts_score_into(h->rollouts, h->reward, LLAMA2_ROLLOUTS_HELPFUL_SCORES));
    TRY(llama2_rollouts_set(h->rollouts, LLAMA2_ROLLOUTS_SAFETY_SCORES, scores, 4));
    TRY(llama2_rollouts_combine(h->rollouts, NULL, NULL));
    TRY(llama2_rollouts_reference(h->rollouts, h->reference));
    TRY(llama2_rollouts_values(h->rollouts, h->critic));
    TRY(llama2_ppo_advantages(h->rollouts, NULL, NULL));
    TRY(llama2_ppo_update(h->trainer, h->critic_trainer, h->rollouts, NULL, NULL));
    TRY(llama2_ppo_update(h->head_trainer, NULL, h->rollouts, NULL, NULL));
    TRY(llama2_rollouts_create(h->ctx, &prompts, prompt_lengths, 1, 2, 1, &h->recorded));
    TRY(llama2_pool_create(h->ctx, &h->pool));
    llama2_pool_add_options_init(&po, sizeof po);
    po.leave_out_unfinished = 0;
    po.leave_out_unsafe = 0;
    po.keep = 2;
    TRY(llama2_pool_add(h->pool, h->rollouts, ids, &po, NULL));
    TRY(llama2_pool_rollouts(h->pool, &h->pooled));
    TRY(llama2_rollouts_score(h->pooled, h->reward));
    TRY(llama2_pool_rescore(h->pool, h->pooled, &po));
    return llama2_pool_count_top(h->pool, 0, 5, 2, &count);
}

START_TEST(every_allocation_fails)
{
    long failed = 0;
    for (long n = 0;; n++) {
        handles h = {0};
        scarce s = {.once = _i};
        atomic_init(&s.left, n);
        atomic_init(&s.alive, 0);
        llama2_status status = run(&h, &s);
        ck_assert_msg(status == LLAMA2_OK || status == LLAMA2_E_NOMEM, "allocation %ld: %s: %s", n,
                      llama2_status_name(status), llama2_last_error());
        int done = status == LLAMA2_OK && atomic_load(&s.left) >= 0;
        free_all(&h);
        ck_assert_msg(atomic_load(&s.alive) == 0, "allocation %ld: %ld are left", n, atomic_load(&s.alive));
        if (done) break;
        failed += status == LLAMA2_E_NOMEM;
    }
    ck_assert_int_gt(failed, 100);
}
END_TEST

/* After a failure in the middle of an accumulation nothing of it is left, and the next step is the one that it would
 * have been. */
START_TEST(a_failed_step_leaves_no_trace)
{
    for (long n = 0;; n++) {
        scarce s = {.once = 1};
        llama2_context_options co;
        llama2_config config = small_config(0);
        llama2_model *a, *b;
        llama2_context *ctx;
        small_batch batch;
        llama2_step_metrics ma = {.struct_size = sizeof ma}, mb = {.struct_size = sizeof mb};
        small_batch_init(&batch);
        llama2_context_options_init(&co, sizeof co);
        co.n_threads = 1;
        co.alloc = scarce_alloc;
        co.dealloc = scarce_free;
        co.alloc_user = &s;
        atomic_init(&s.left, 1000000);
        atomic_init(&s.alive, 0);
        ck_ok(llama2_context_create(&co, &ctx));
        ck_ok(llama2_model_create(ctx, &config, NULL, &a));
        ck_ok(llama2_model_clone(a, &b));
        llama2_trainer_options to;
        llama2_trainer_options_init(&to, sizeof to);
        to.micro_batch_tokens =
            4; /* the third part is the largest: its memory is asked for when two have left their gradients */
        llama2_trainer *at = small_trainer(ctx, a, 1e-2, &to), *bt = small_trainer(ctx, b, 1e-2, NULL);
        atomic_store(&s.left, n);
        llama2_status status = llama2_sft_step(at, &batch.batch, &ma);
        long left = atomic_load(&s.left);
        atomic_store(&s.left, 1000000);
        if (status < 0) {
            ck_assert_int_eq(status, LLAMA2_E_NOMEM);
            ck_fails(llama2_trainer_update(at, NULL), LLAMA2_E_STATE);
            ck_ok(llama2_sft_step(at, &batch.batch, &ma));
        }
        ck_ok(llama2_sft_step(bt, &batch.batch, &mb));
        ck_assert(ma.loss == mb.loss && ma.grad_norm == mb.grad_norm);
        ck_assert(same_weights(a, b));
        llama2_trainer_free(at);
        llama2_trainer_free(bt);
        llama2_model_free(a);
        llama2_model_free(b);
        llama2_context_free(ctx);
        if (status >= 0 && left >= 0) break;
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("nomem");
    TCase *tc = tcase_create("allocations");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, every_allocation_fails, 0, 2);
    tcase_add_test(tc, a_failed_step_leaves_no_trace);
    suite_add_tcase(suite, tc);
    return suite;
}
