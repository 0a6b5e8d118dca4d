/* Gradients through the trainer, twenty AdamW steps of SFT and of the reward model, against PyTorch, transformers and
 * TRL. */
#include "golden.h"

typedef llama2_status (*tensor_fn)(const void *handle, const char *name, float *buffer, int64_t capacity,
                                   int64_t *needed);

static llama2_status model_tensor(const void *model, const char *name, float *buffer, int64_t capacity, int64_t *needed)
{
    return llama2_model_get_tensor(model, name, buffer, capacity, needed);
}

static llama2_status reward_tensor(const void *model, const char *name, float *buffer, int64_t capacity,
                                   int64_t *needed)
{
    return llama2_reward_model_get_tensor(model, name, buffer, capacity, needed);
}

static llama2_status trainer_gradient(const void *trainer, const char *name, float *buffer, int64_t capacity,
                                      int64_t *needed)
{
    return llama2_trainer_get_gradient(trainer, name, buffer, capacity, needed);
}

/* A tensor by its name, times `factor`. */
static double *get(golden *g, tensor_fn tensor, const void *handle, const char *name, int64_t n, double factor)
{
    float *values = golden_memory(g, (size_t)n * sizeof *values);
    double *wide = golden_memory(g, (size_t)n * sizeof *wide);
    int64_t needed = 0;
    ck_ok(tensor(handle, name, values, n, &needed));
    ck_assert_int_eq(needed, n);
    for (int64_t i = 0; i < n; i++) wide[i] = factor * (double)values[i];
    return wide;
}

typedef struct comparison {
    golden *g;
    tensor_fn tensor;
    const void *handle, *start; /* start: of the parameters before training, whose way is the size of the error; NULL:
                                   the tensor's own */
    double factor, limit;
} comparison;

static void compare(void *user, const char *name, const char *rest)
{
    comparison *c = user;
    int64_t n = golden_count(c->g, name);
    const double *want = golden_doubles(c->g, name),
                 *start = c->start ? get(c->g, c->tensor, c->start, rest, n, 1) : NULL;
    golden_near(c->g, name, get(c->g, c->tensor, c->handle, rest, n, c->factor), want, n, golden_norm(want, start, n),
                c->limit);
}

static int32_t steps_of(golden *g)
{
    return (int32_t)golden_count(g, "loss");
}

static llama2_optimizer *optimizer_of(golden *g)
{
    llama2_optimizer *optimizer;
    llama2_optimizer_options o;
    llama2_optimizer_options_init(&o, sizeof o);
    o.lr = golden_value(g, "hyper/lr");
    o.beta1 = golden_value(g, "hyper/beta1");
    o.beta2 = golden_value(g, "hyper/beta2");
    o.eps = golden_value(g, "hyper/eps");
    o.weight_decay = golden_value(g, "hyper/weight_decay");
    ck_ok(llama2_optimizer_create(g->ctx, &o, &optimizer));
    return optimizer;
}

static llama2_trainer_options schedule_of(golden *g)
{
    llama2_trainer_options o;
    llama2_trainer_options_init(&o, sizeof o);
    o.schedule = LLAMA2_SCHEDULE_COSINE;
    o.warmup_steps = (int64_t)golden_value(g, "hyper/warmup_steps");
    o.total_steps = (int64_t)golden_value(g, "hyper/total_steps");
    o.min_lr_ratio = golden_value(g, "hyper/min_lr_ratio");
    o.clip_norm = golden_value(g, "hyper/clip_norm");
    return o;
}

static llama2_context *context(void)
{
    llama2_context *ctx;
    ck_ok(llama2_context_create(NULL, &ctx));
    return ctx;
}

/* --- gradients through the public interface -------------------------------------------------- */

/* In one piece and in micro-batches: the loss is exact either way. Host gradients follow on the same trainer. */
static void check_trainer_gradients(llama2_context *ctx, const char *name, int64_t micro_batch_tokens)
{
    golden g = golden_open(ctx, name);
    llama2_model *model = golden_model(ctx, name, LLAMA2_F32);
    llama2_optimizer *optimizer;
    llama2_trainer *trainer;
    llama2_trainer_options o;
    llama2_loss loss = {.struct_size = sizeof loss};
    llama2_batch batch = golden_batch(&g, "");
    llama2_trainer_options_init(&o, sizeof o);
    o.micro_batch_tokens = micro_batch_tokens;
    ck_ok(llama2_optimizer_create(ctx, NULL, &optimizer));
    ck_ok(llama2_trainer_create(ctx, model, optimizer, &o, &trainer));

    ck_ok(llama2_trainer_accumulate(trainer, &batch, &loss));
    golden_check_at(&g, "loss_sum", 0, loss.sum, 1e-6);
    golden_check_at(&g, "loss_weight_sum", 0, loss.weight, 1e-14);
    comparison c = {&g, trainer_gradient, trainer, NULL, 1, 1e-5};
    ck_assert_int_eq(golden_each(&g, "grad/", compare, &c), llama2_model_tensors(model));

    ck_ok(llama2_trainer_clear(trainer));
    ck_ok(llama2_trainer_backward_logprobs(trainer, &batch, golden_value(&g, "hyper/temperature"),
                                           golden_floats(&g, "host/by_logprob"), 0, 1));
    ck_assert_int_eq(golden_each(&g, "host/grad_by_logprob/", compare, &c), 3);

    ck_ok(llama2_trainer_clear(trainer));
    ck_ok(llama2_trainer_backward_logits(trainer, &batch, golden_floats(&g, "host/by_logits"), 0, 1));
    ck_assert_int_eq(golden_each(&g, "host/grad_by_logits/", compare, &c), 3);

    llama2_trainer_free(trainer);
    llama2_optimizer_free(optimizer);
    llama2_model_free(model);
    golden_close(&g);
}

START_TEST(gradients)
{
    static const char *const cases[] = {"mha_untied", "gqa_untied", "gqa_tied", "mqa_tied"};
    llama2_context *ctx = context();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_trainer_gradients(ctx, cases[i], 0);
        check_trainer_gradients(ctx, cases[i], 10);
    }
    llama2_context_free(ctx);
}
END_TEST

/* --- SFT ------------------------------------------------------------------------------------- */

/* Parameters within 1e-4 of the way that they went, which is far stricter than of their size. */
static void check_sft(const char *name, const char *start_name)
{
    llama2_context *ctx = context();
    golden g = golden_open(ctx, name);
    llama2_model *start = golden_model(ctx, start_name, LLAMA2_F32), *model = golden_model(ctx, start_name, LLAMA2_F32);
    llama2_optimizer *optimizer = optimizer_of(&g);
    llama2_trainer_options o = schedule_of(&g);
    llama2_trainer *trainer;
    llama2_batch batches[3] = {golden_batch(&g, "batch0/"), golden_batch(&g, "batch1/"), golden_batch(&g, "batch2/")};
    ck_ok(llama2_trainer_create(ctx, model, optimizer, &o, &trainer));
    ck_assert_int_eq(steps_of(&g), 20);
    for (int32_t t = 0; t < steps_of(&g); t++) {
        llama2_step_metrics m = {.struct_size = sizeof m};
        ck_ok(llama2_sft_step(trainer, &batches[t % 3], &m));
        ck_assert_int_eq(m.step, t + 1);
        golden_check_at(&g, "loss", t, m.loss, 1e-4);
        golden_check_at(&g, "weight", t, m.weight, 1e-14);
        golden_check_at(&g, "grad_norm", t, m.grad_norm, 1e-4);
        golden_check_at(&g, "lr", t, m.lr, 1e-12);
    }
    comparison c = {&g, model_tensor, model, start, 1, 1e-4};
    ck_assert_int_eq(golden_each(&g, "final/", compare, &c), llama2_model_tensors(model));
    llama2_trainer_free(trainer);
    llama2_optimizer_free(optimizer);
    llama2_model_free(model);
    llama2_model_free(start);
    golden_close(&g);
    llama2_context_free(ctx);
}

START_TEST(sft_untied)
{
    check_sft("sft20", "gqa_untied");
}
END_TEST

START_TEST(sft_tied)
{
    check_sft("sft20_tied", "gqa_tied");
}
END_TEST

/* --- reward model ---------------------------------------------------------------------------- */

static llama2_pairs pairs_of(golden *g, const llama2_batch *batch)
{
    llama2_pairs p = {.struct_size = sizeof p, .n_pairs = batch->n_sequences / 2, .batch = batch};
    p.margins = golden_floats(g, "margins");
    p.safe = golden_integers(g, "safe", L2_ST_I32);
    p.safety_weight = golden_value(g, "hyper/safety_weight");
    if (p.safety_weight == 0) p.safe = NULL;
    return p;
}

static void check_margins(golden *g, int32_t scheme)
{
    const int32_t *ratings = golden_integers(g, "ratings", L2_ST_I32);
    const float *margins = golden_floats(g, "margins");
    for (int64_t i = 0; i < golden_count(g, "ratings"); i++)
        ck_assert(llama2_reward_margin(scheme, ratings[i]) == margins[i]);
}

static void check_scores(golden *g, const llama2_reward_model *model, const llama2_pairs *pairs, int32_t step)
{
    llama2_reward_metrics m = {.struct_size = sizeof m};
    int64_t n = 2 * (int64_t)pairs->n_pairs;
    float *got = golden_memory(g, (size_t)n * sizeof *got), *alone = golden_memory(g, (size_t)n * sizeof *alone);
    double *wide = golden_memory(g, (size_t)n * sizeof *wide);
    const double *want = golden_doubles(g, "scores") + step * n;
    ck_ok(llama2_reward_evaluate(model, pairs, &m, got));
    ck_ok(llama2_reward_model_score(model, pairs->batch, alone));
    for (int64_t i = 0; i < n; i++) {
        ck_assert(got[i] == alone[i]);
        wide[i] = (double)got[i];
    }
    golden_near(g, "scores", wide, want, n, golden_norm(want, NULL, n), 1e-4);
    golden_check_at(g, "loss", step, m.loss, 1e-4);
    golden_check_at(g, "accuracy", step, m.accuracy, 1e-14);
}

static void check_reward(const char *name, int32_t scheme)
{
    llama2_context *ctx = context();
    golden g = golden_open(ctx, name);
    char path[4096];
    llama2_reward_model *start, *model;
    llama2_optimizer *optimizer = optimizer_of(&g);
    llama2_trainer_options o = schedule_of(&g);
    llama2_trainer *trainer;
    llama2_batch batch = golden_batch(&g, "");
    llama2_pairs pairs = pairs_of(&g, &batch);
    ck_ok(llama2_reward_model_load(ctx, golden_path(path, "reward_start", ""), NULL, &model));
    ck_ok(llama2_reward_model_clone(model, &start));
    ck_ok(llama2_trainer_create_for_reward(ctx, model, optimizer, &o, &trainer));
    check_margins(&g, scheme);

    llama2_reward_metrics m = {.struct_size = sizeof m};
    ck_ok(llama2_reward_accumulate(trainer, &pairs, &m));
    comparison gradient = {&g, trainer_gradient, trainer, NULL, 1.0 / pairs.n_pairs, 1e-5};
    int compared = golden_each(&g, "grad/", compare, &gradient);
    ck_assert(compared > 0 || pairs.safety_weight == 0);
    ck_ok(llama2_trainer_clear(trainer));

    for (int32_t t = 0; t < steps_of(&g); t++) {
        check_scores(&g, model, &pairs, t);
        ck_ok(llama2_reward_step(trainer, &pairs, &m));
        golden_check_at(&g, "loss", t, m.loss, 1e-4);
        golden_check_at(&g, "ranking_loss", t, m.ranking_loss, 1e-4);
        golden_check_at(&g, "safety_loss", t, m.safety_loss, 1e-4);
        golden_check_at(&g, "accuracy", t, m.accuracy, 1e-14);
        golden_check_at(&g, "mean_margin", t, m.mean_margin, 1e-4);
        golden_check_at(&g, "grad_norm", t, m.grad_norm, 1e-4);
        golden_check_at(&g, "lr", t, m.lr, 1e-12);
    }
    comparison c = {&g, reward_tensor, model, start, 1, 1e-4};
    ck_assert_int_gt(golden_each(&g, "final/", compare, &c), 0);
    llama2_trainer_free(trainer);
    llama2_optimizer_free(optimizer);
    llama2_reward_model_free(model);
    llama2_reward_model_free(start);
    golden_close(&g);
    llama2_context_free(ctx);
}

START_TEST(reward_no_margin)
{
    check_reward("reward20_none", LLAMA2_MARGIN_NONE);
}
END_TEST

START_TEST(reward_small_margin)
{
    check_reward("reward20_small", LLAMA2_MARGIN_SMALL);
}
END_TEST

START_TEST(reward_large_margin)
{
    check_reward("reward20_large", LLAMA2_MARGIN_LARGE);
}
END_TEST

START_TEST(reward_safety)
{
    check_reward("reward20_safety", LLAMA2_MARGIN_SMALL);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("reference/goldens_train");
    ADD_CASE(s, "gradients", gradients);
    ADD_CASE(s, "sft", sft_untied, sft_tied);
    ADD_CASE(s, "reward", reward_no_margin, reward_small_margin, reward_large_margin, reward_safety);
    return s;
}
