/* Accumulation, update, clipping, bad gradients, host gradients, and what is refused. */
#include "train_test.h"

#include <sys/wait.h>
#include <unistd.h>

static llama2_trainer_options options(void)
{
    llama2_trainer_options o;
    llama2_trainer_options_init(&o, sizeof o);
    return o;
}

/* Gradients of the small batch, in micro-batches of about `tokens` (0: at once), on `threads` threads. */
static float *gradients(int32_t tied, int64_t tokens, int32_t threads, int32_t recompute, double *loss, int64_t *n)
{
    llama2_context *ctx = small_context(threads, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, tied, LLAMA2_F32);
    llama2_trainer_options o = options();
    llama2_loss l = {.struct_size = sizeof l};
    small_batch b;
    small_batch_init(&b);
    o.micro_batch_tokens = tokens;
    o.recompute = recompute;
    llama2_trainer *trainer = small_trainer(ctx, model, 1e-3, &o);
    ck_ok(llama2_trainer_accumulate(trainer, &b.batch, &l));
    float *out = all_gradients(trainer, model, n);
    *loss = l.sum;
    llama2_trainer_free(trainer);
    llama2_model_free(model);
    llama2_context_free(ctx);
    return out;
}

START_TEST(micro_batches_give_the_same_bits)
{
    double loss, other;
    int64_t n;
    float *whole = gradients(0, 0, 1, 0, &loss, &n);
    static const struct {
        int64_t tokens;
        int32_t threads, recompute;
    } ways[] = {{1, 1, 0}, {4, 2, 0}, {20, 3, 0}, {0, 2, 1}, {18, 1, 1}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        float *parts = gradients(0, ways[i].tokens, ways[i].threads, ways[i].recompute, &other, &n);
        ck_assert_msg(memcmp(parts, whole, (size_t)n * sizeof *parts) == 0, "way %zu differs by %g", i,
                      distance(parts, whole, n));
        ck_assert(loss == other);
        free(parts);
    }
    free(whole);
}
END_TEST

START_TEST(tied_micro_batches_agree)
{
    double loss, other;
    int64_t n;
    float *whole = gradients(1, 0, 1, 0, &loss, &n), *parts = gradients(1, 4, 2, 0, &other, &n);
    ck_assert_double_lt(distance(parts, whole, n), 1e-6);
    ck_assert(loss == other);
    free(parts);
    free(whole);
}
END_TEST

START_TEST(accumulated_calls_give_the_same_step)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *a = small_model(ctx, 0, LLAMA2_F32), *b = small_model(ctx, 0, LLAMA2_F32);
    llama2_trainer *at = small_trainer(ctx, a, 1e-2, NULL), *bt = small_trainer(ctx, b, 1e-2, NULL);
    llama2_step_metrics am = {.struct_size = sizeof am}, bm = {.struct_size = sizeof bm};
    small_batch whole;
    small_batch_init(&whole);
    for (int step = 0; step < 3; step++) {
        ck_ok(llama2_pretrain_step(at, &whole.batch, &am));
        for (int32_t s = 0; s < 4; s++) {
            int64_t first = whole.offsets[s], offsets[2] = {0, whole.offsets[s + 1] - first};
            llama2_batch one = {sizeof one, 1, offsets[1], whole.tokens + first, offsets, whole.weights + first};
            ck_ok(llama2_trainer_accumulate(bt, &one, NULL));
        }
        ck_ok(llama2_trainer_update(bt, &bm));
        ck_assert(am.loss == bm.loss && am.weight == bm.weight && am.grad_norm == bm.grad_norm &&
                  am.tokens == bm.tokens);
        ck_assert_int_eq(bm.step, step + 1);
        ck_assert_int_eq(bm.total_tokens, 30 * (step + 1));
    }
    ck_assert(same_weights(a, b));
    llama2_trainer_free(at);
    llama2_trainer_free(bt);
    llama2_model_free(a);
    llama2_model_free(b);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(dropped_batches_do_not_count)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_trainer *trainer = small_trainer(ctx, model, 1e-2, NULL);
    llama2_step_metrics m = {.struct_size = sizeof m};
    small_batch whole;
    small_batch_init(&whole);
    ck_ok(llama2_pretrain_step(trainer, &whole.batch, &m));
    ck_ok(llama2_trainer_accumulate(trainer, &whole.batch, NULL));
    ck_ok(llama2_trainer_clear(trainer));
    ck_ok(llama2_trainer_accumulate(trainer, &whole.batch, NULL));
    llama2_context_cancel(ctx); /* between the batch and its update */
    ck_fails(llama2_trainer_update(trainer, &m), LLAMA2_E_CANCELLED);
    llama2_context_resume(ctx);
    ck_ok(llama2_trainer_clear(trainer));
    ck_ok(llama2_pretrain_step(trainer, &whole.batch, &m));
    ck_assert_int_eq(m.step, 2);
    ck_assert_int_eq(m.tokens, 30);
    ck_assert_int_eq(m.total_tokens, 60);
    llama2_trainer_free(trainer);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

/* Nor does what no weight divides; a checkpoint, which wants no gradients, can be written at once. */
START_TEST(batches_without_a_weight_leave_nothing)
{
    char folder[64];
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_trainer *trainer = small_trainer(ctx, model, 1e-2, NULL);
    llama2_checkpoint *checkpoint;
    llama2_step_metrics m = {.struct_size = sizeof m};
    small_batch whole, none;
    float grad[64] = {0, 0, 1};
    int64_t n;
    small_batch_init(&whole);
    small_batch_init(&none);
    memset(none.weights, 0, sizeof none.weights);
    ck_ok(llama2_checkpoint_begin(ctx, scratch_folder(folder), 1, &checkpoint));
    ck_fails(llama2_sft_step(trainer, &none.batch, NULL), LLAMA2_E_STATE);
    ck_ok(llama2_checkpoint_add_trainer(checkpoint, "step", trainer));
    ck_ok(llama2_trainer_accumulate(trainer, &none.batch, NULL));
    ck_fails(llama2_trainer_update(trainer, NULL), LLAMA2_E_STATE);
    ck_ok(llama2_checkpoint_add_trainer(checkpoint, "update", trainer));
    ck_ok(llama2_trainer_backward_logprobs(trainer, &whole.batch, 1, grad, 1, 0));
    ck_fails(llama2_trainer_update(trainer, NULL), LLAMA2_E_STATE);
    float *left = all_gradients(trainer, model, &n);
    for (int64_t i = 0; i < n; i++) ck_assert(left[i] == 0);
    free(left);
    /* beside another that has one it counts */
    ck_ok(llama2_trainer_accumulate(trainer, &none.batch, NULL));
    ck_ok(llama2_sft_step(trainer, &whole.batch, &m));
    ck_assert_int_eq(m.tokens, 60);
    ck_assert_int_eq(m.total_tokens, 60);
    llama2_checkpoint_free(checkpoint);
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_trainer_free(trainer);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

typedef struct sft_batch {
    llama2_trainer *trainer;
    small_batch b;
} sft_batch;

static llama2_status sft_step(void *user)
{
    sft_batch *b = user;
    llama2_step_metrics m = {.struct_size = sizeof m};
    L2_TRY(llama2_sft_step(b->trainer, &b->b.batch, &m));
    ck_assert_int_eq(m.tokens, 30);
    ck_assert_int_eq(m.total_tokens, 30 * m.step);
    return LLAMA2_OK;
}

/* The trainer goes on as one that was never cancelled. */
START_TEST(a_cancelled_step_leaves_nothing)
{
    canceller c;
    llama2_context *ctx = cancelling_context(&c);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32), *twin = small_model(ctx, 0, LLAMA2_F32);
    sft_batch b = {.trainer = small_trainer(ctx, model, 1e-3, NULL)};
    small_batch_init(&b.b);
    int done = cancel_at_each_job(&c, b.trainer, sft_step, &b);
    llama2_trainer_free(b.trainer);
    b.trainer = small_trainer(ctx, twin, 1e-3, NULL);
    while (done-- > 0) ck_ok(sft_step(&b));
    ck_assert(same_weights(model, twin));
    llama2_trainer_free(b.trainer);
    llama2_model_free(model);
    llama2_model_free(twin);
    llama2_context_free(ctx);
}
END_TEST

/* One update by hand: decay apart, eps outside the root, clipping by the norm of the mean gradient. */
START_TEST(update_is_adamw_with_eps_outside_the_root)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F64);
    llama2_optimizer_options oo;
    llama2_optimizer *optimizer;
    llama2_trainer *trainer;
    llama2_trainer_options to = options();
    llama2_step_metrics m = {.struct_size = sizeof m};
    small_batch b;
    int64_t n;
    small_batch_init(&b);
    llama2_optimizer_options_init(&oo, sizeof oo);
    oo.lr = 0.01;
    oo.eps = 0.5; /* as large as the gradients, so that its place shows */
    oo.weight_decay = 0.3;
    to.clip_norm = 0.7;
    to.warmup_steps = 4;
    ck_ok(llama2_optimizer_create(ctx, &oo, &optimizer));
    ck_ok(llama2_trainer_create(ctx, model, optimizer, &to, &trainer));
    ck_ok(llama2_trainer_accumulate(trainer, &b.batch, NULL));
    float *g = all_gradients(trainer, model, &n), *before = all_weights(model, &n);
    ck_ok(llama2_trainer_update(trainer, &m));
    float *after = all_weights(model, &n);

    double squares = 0;
    for (int64_t i = 0; i < n; i++) squares += (double)g[i] * (double)g[i];
    double norm = sqrt(squares) / m.weight, factor = 0.7 / (norm + 1e-6) / m.weight, lr = 0.01 / 4;
    ck_assert_double_gt(norm, 0.7);
    ck_assert_double_eq_tol(m.grad_norm, norm, 1e-6 * norm);
    ck_assert_double_eq_tol(m.lr, lr, 1e-15);
    int64_t at = 0;
    double worst = 0, moved = 0;
    for (int32_t i = 0; i < llama2_model_tensors(model); i++) {
        llama2_tensor_info info = {.struct_size = sizeof info};
        ck_ok(llama2_model_tensor_info(model, i, &info));
        double decay = strstr(info.name, "norm") ? 0 : 0.3;
        for (int64_t k = 0; k < info.rows * info.columns; k++, at++) {
            /* after one step m / bias1 is the gradient, v / bias2 its square */
            double grad = (double)g[at] * factor,
                   p = (double)before[at] * (1 - lr * decay) - lr * grad / (fabs(grad) + 0.5);
            worst = fmax(worst, fabs((double)after[at] - p));
            moved = fmax(moved, fabs((double)after[at] - (double)before[at]));
        }
    }
    ck_assert_double_gt(moved, 1e-4);
    ck_assert_double_lt(worst, 3e-7);
    free(g);
    free(before);
    free(after);
    llama2_trainer_free(trainer);
    llama2_optimizer_free(optimizer);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(not_finite_leaves_the_weights_untouched)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32), *twin = small_model(ctx, 0, LLAMA2_F32);
    llama2_trainer_options o = options();
    llama2_step_metrics m = {.struct_size = sizeof m};
    float grad[64] = {0};
    small_batch b;
    small_batch_init(&b);
    o.max_bad_steps = 3;
    llama2_trainer *trainer = small_trainer(ctx, model, 1e-2, &o), *twins = small_trainer(ctx, twin, 1e-2, &o);
    ck_ok(llama2_sft_step(trainer, &b.batch, NULL));
    ck_ok(llama2_sft_step(twins, &b.batch, NULL));
    for (int bad = 0; bad < 3; bad++) {
        grad[9] = bad == 1 ? INFINITY : NAN;
        ck_ok(llama2_trainer_backward_logprobs(trainer, &b.batch, 1, grad, 0, 1));
        if (bad < 2) {
            ck_ok(llama2_trainer_update(trainer, &m));
            ck_assert_int_eq(m.skipped, 1);
            ck_assert_int_eq(m.skipped_total, bad + 1);
            ck_assert_int_eq(m.step, 1);
        } else {
            ck_fails(llama2_trainer_update(trainer, &m), LLAMA2_E_NUMERIC);
        }
        ck_assert(same_weights(model, twin));
    }
    /* a loss that is not finite with a gradient that is */
    ck_ok(llama2_trainer_accumulate(trainer, &b.batch, NULL));
    grad[9] = 0;
    ck_ok(llama2_trainer_backward_logprobs(trainer, &b.batch, 1, grad, INFINITY, 1));
    ck_fails(llama2_trainer_update(trainer, &m), LLAMA2_E_NUMERIC);
    ck_assert(same_weights(model, twin));
    /* and then on as if nothing had been */
    ck_ok(llama2_sft_step(trainer, &b.batch, &m));
    ck_assert_int_eq(m.skipped, 0);
    ck_assert_int_eq(m.skipped_total, 4);
    ck_ok(llama2_sft_step(twins, &b.batch, NULL));
    ck_assert(same_weights(model, twin));
    ck_ok(llama2_trainer_backward_logprobs(trainer, &b.batch, 1, (grad[9] = NAN, grad), 0, 1));
    ck_ok(llama2_trainer_update(trainer, &m)); /* the count began anew */
    ck_assert_int_eq(m.skipped, 1);
    llama2_trainer_free(trainer);
    llama2_trainer_free(twins);
    llama2_model_free(model);
    llama2_model_free(twin);
    llama2_context_free(ctx);
}
END_TEST

/* What is finite as a double and no number, or 0, as a weight. */
START_TEST(what_weights_cannot_hold_leaves_them_untouched)
{
    static const struct {
        double weight, lr;
        int32_t dtype, skipped;
        float gradient;
        double clip_norm;
    } updates[] = {
        {1e-43, 1e-2, LLAMA2_F32, 1, 0, 0}, /* 1 / weight is infinite, and 0 times that is NaN */
        {1e300, 1e-2, LLAMA2_F32, 1, 0, 0}, /* 1 / weight is 0: weight decay alone */
        {1, 1e300, LLAMA2_F32, 1, 0, 0},    {1, 1e38, LLAMA2_F32, 1, 0, 0}, /* over 1 - beta1 */
        {1e-30, 1e-2, LLAMA2_F32, 0, 0, 0}, {1e-43, 1e-2, LLAMA2_F64, 0, 0, 0},
        {1e300, 1e-2, LLAMA2_F64, 0, 0, 0}, {1, 1e-2, LLAMA2_F32, 1, 1e25f, 0}, /* its square, for good */
        {1, 1e-2, LLAMA2_F32, 0, 1e25f, 1}, {1, 1e-2, LLAMA2_F64, 0, 1e25f, 0},
    };
    for (size_t i = 0; i < sizeof updates / sizeof *updates; i++) {
        llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
        llama2_model *model = small_model(ctx, 0, updates[i].dtype), *twin = small_model(ctx, 0, updates[i].dtype);
        llama2_optimizer *optimizer = small_optimizer(ctx, updates[i].lr);
        llama2_trainer_options o = options();
        llama2_trainer *trainer;
        llama2_step_metrics m = {.struct_size = sizeof m};
        float grad[64] = {0};
        int64_t n;
        small_batch b;
        small_batch_init(&b);
        o.value_head_lr_ratio = 1e300; /* of a head that there is not */
        o.clip_norm = updates[i].clip_norm;
        grad[9] = updates[i].gradient;
        ck_ok(llama2_trainer_create(ctx, model, optimizer, &o, &trainer));
        ck_ok(llama2_trainer_backward_logprobs(trainer, &b.batch, 1, grad, 0, updates[i].weight));
        ck_ok(llama2_trainer_update(trainer, &m));
        ck_assert_int_eq(m.skipped, updates[i].skipped);
        ck_assert_int_eq(m.step, !updates[i].skipped);
        ck_assert_int_eq(same_weights(model, twin), updates[i].skipped); /* else weight decay has changed them */
        float *weights = all_weights(model, &n);
        for (int64_t k = 0; k < n; k++) ck_assert(isfinite(weights[k]));
        free(weights);
        llama2_trainer_free(trainer);
        llama2_optimizer_free(optimizer);
        llama2_model_free(model);
        llama2_model_free(twin);
        llama2_context_free(ctx);
    }
}
END_TEST

/* The host's derivatives of the language-model loss give the library's own gradients. */
START_TEST(host_gradients_are_the_loss_gradients)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
        llama2_model *model = small_model(ctx, dtype == LLAMA2_F64, dtype);
        llama2_trainer_options o = options();
        small_batch b;
        int64_t n;
        enum { V = 37 };
        static float by_logprob[64], by_logits[64 * V], logits[64 * V];
        small_batch_init(&b);
        o.micro_batch_tokens = 18;
        llama2_trainer *trainer = small_trainer(ctx, model, 1e-3, &o);
        ck_ok(llama2_trainer_accumulate(trainer, &b.batch, NULL));
        float *own = all_gradients(trainer, model, &n);
        ck_ok(llama2_trainer_clear(trainer));
        ck_ok(llama2_model_logits(model, &b.batch, logits));
        memset(by_logits, 0, sizeof by_logits);
        for (int32_t s = 0; s < 4; s++) {
            by_logprob[b.offsets[s]] = 1000; /* not used */
            for (int64_t t = b.offsets[s] + 1; t < b.offsets[s + 1]; t++) {
                double sum = 0, w = (double)b.weights[t];
                by_logprob[t] = -b.weights[t];
                for (int v = 0; v < V; v++) sum += exp((double)logits[(t - 1) * V + v]);
                for (int v = 0; v < V; v++)
                    by_logits[(t - 1) * V + v] =
                        (float)(w * (exp((double)logits[(t - 1) * V + v]) / sum - (v == b.tokens[t])));
            }
        }
        ck_ok(llama2_trainer_backward_logprobs(trainer, &b.batch, 1, by_logprob, 1, 1));
        float *host = all_gradients(trainer, model, &n);
        ck_assert_double_lt(distance(host, own, n), 1e-7);
        free(host);
        ck_ok(llama2_trainer_clear(trainer));
        ck_ok(llama2_trainer_backward_logits(trainer, &b.batch, by_logits, 1, 1));
        host = all_gradients(trainer, model, &n);
        ck_assert_double_lt(distance(host, own, n), 2e-6);
        free(host);
        free(own);
        llama2_trainer_free(trainer);
        llama2_model_free(model);
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(training_lowers_the_loss)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 1, LLAMA2_F32);
    llama2_trainer *trainer = small_trainer(ctx, model, 5e-3, NULL);
    llama2_step_metrics m = {.struct_size = sizeof m};
    small_batch b;
    small_batch_init(&b);
    ck_ok(llama2_pretrain_step(trainer, &b.batch, &m));
    double first = m.loss;
    for (int i = 0; i < 60; i++) ck_ok(llama2_pretrain_step(trainer, &b.batch, &m));
    ck_assert_double_lt(m.loss, 0.2 * first);
    llama2_trainer_free(trainer);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(what_is_refused)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32), *other = small_model(ctx, 0, LLAMA2_F32);
    llama2_optimizer *optimizer = small_optimizer(ctx, 1e-3), *second = small_optimizer(ctx, 1e-3);
    llama2_trainer *trainer, *none = (llama2_trainer *)&trainer;
    llama2_trainer_options o = options();
    float value, grad[64] = {0};
    int64_t needed = 0;
    small_batch b;
    small_batch_init(&b);
    ck_ok(llama2_trainer_create(ctx, model, optimizer, NULL, &trainer));
    ck_fails(llama2_trainer_create(ctx, model, second, NULL, &none), LLAMA2_E_BUSY);
    ck_assert_ptr_null(none);
    ck_fails(llama2_trainer_create(ctx, other, optimizer, NULL, &none), LLAMA2_E_STATE);
    o.schedule = LLAMA2_SCHEDULE_COSINE;
    ck_fails(llama2_trainer_create(ctx, other, second, &o, &none), LLAMA2_E_INVALID); /* total_steps 0 */
    ck_fails(llama2_trainer_update(trainer, NULL), LLAMA2_E_STATE);
    ck_fails(llama2_trainer_get_gradient(trainer, "nonsense", &value, 1, NULL), LLAMA2_E_NOT_FOUND);
    ck_fails(llama2_trainer_get_gradient(trainer, "model.norm.weight", &value, 1, &needed), LLAMA2_E_BUFFER);
    ck_assert_int_eq(needed, 24);
    ck_fails(llama2_trainer_backward_values(trainer, &b.batch, grad, 0, 1), LLAMA2_E_MISMATCH);
    ck_fails(llama2_trainer_backward_logprobs(trainer, &b.batch, 0, grad, 0, 1), LLAMA2_E_INVALID);

    /* refused arguments leave what was accumulated, a cancelled call drops it */
    ck_ok(llama2_trainer_accumulate(trainer, &b.batch, NULL));
    b.tokens[3] = 37;
    ck_fails(llama2_trainer_accumulate(trainer, &b.batch, NULL), LLAMA2_E_INVALID);
    b.tokens[3] = 36;
    llama2_context_cancel(ctx);
    ck_fails(llama2_trainer_accumulate(trainer, &b.batch, NULL), LLAMA2_E_CANCELLED);
    llama2_context_resume(ctx);
    ck_ok(llama2_trainer_update(trainer, NULL));
    ck_assert_int_eq(llama2_trainer_step(trainer), 1);

    /* an eps that fp32 has as 0 */
    llama2_optimizer_options tiny;
    llama2_optimizer *no_optimizer;
    llama2_optimizer_options_init(&tiny, sizeof tiny);
    tiny.eps = 1e-50;
    ck_fails(llama2_optimizer_create(ctx, &tiny, &no_optimizer), LLAMA2_E_INVALID);

    /* weights that are all zero make no step */
    memset(b.weights, 0, sizeof b.weights);
    ck_fails(llama2_sft_step(trainer, &b.batch, NULL), LLAMA2_E_STATE);

    /* any order of frees; a freed trainer leaves the model for another */
    llama2_optimizer_free(optimizer);
    llama2_trainer_free(trainer);
    ck_ok(llama2_trainer_create(ctx, model, second, NULL, &trainer));
    llama2_optimizer_free(second);
    llama2_model_free(model);
    llama2_model_free(other);
    llama2_context_free(ctx);
    llama2_trainer_free(trainer);
}
END_TEST

/* A forked child has no pool: what would run on it is refused instead of waiting for ever. */
START_TEST(a_forked_child_is_told)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_config config = small_config(0);
    llama2_model *model;
    static float gradient[1000 * 40];
    config.vocab_size = 1000; /* enough elements for several tasks */
    config.dim = 40;
    ck_ok(llama2_model_create(ctx, &config, NULL, &model));
    llama2_trainer *trainer = small_trainer(ctx, model, 1e-3, NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        alarm(20);
        if (llama2_trainer_clear(trainer) != LLAMA2_E_FORKED) _exit(2);
        if (llama2_trainer_get_gradient(trainer, "lm_head.weight", gradient, 1000 * 40, NULL) != LLAMA2_E_FORKED)
            _exit(3);
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status 0x%x", (unsigned)status);
    llama2_context_cancel(ctx);
    ck_ok(llama2_trainer_clear(trainer)); /* dropping things is no work */
    llama2_trainer_free(trainer);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("trainer");
    ADD_CASE(suite, "steps", micro_batches_give_the_same_bits, tied_micro_batches_agree,
             accumulated_calls_give_the_same_step, dropped_batches_do_not_count, a_cancelled_step_leaves_nothing,
             batches_without_a_weight_leave_nothing, update_is_adamw_with_eps_outside_the_root,
             training_lowers_the_loss);
    ADD_CASE(suite, "failures", not_finite_leaves_the_weights_untouched, what_weights_cannot_hold_leaves_them_untouched,
             what_is_refused, a_forked_child_is_told);
    ADD_CASE(suite, "host", host_gradients_are_the_loss_gradients);
    return suite;
}
