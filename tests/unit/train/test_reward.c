/* Reward models: margins, the two losses, what is left out, heads, normalisation, files. */
#include "train_test.h"

#include "train/reward_model.h"

enum { PAIRS = 4 };

typedef struct comparisons {
    int32_t tokens[64];
    int64_t offsets[2 * PAIRS + 1];
    float margins[PAIRS];
    int32_t safe[2 * PAIRS];
    llama2_batch batch;
    llama2_pairs pairs;
} comparisons;

static void comparisons_init(comparisons *c)
{
    static const int32_t lengths[2 * PAIRS] = {3, 5, 8, 2, 4, 4, 1, 9};
    memset(c, 0, sizeof *c);
    int64_t n = 0;
    for (int s = 0; s < 2 * PAIRS; s++) {
        for (int i = 0; i < lengths[s]; i++, n++) c->tokens[n] = (int32_t)((n * n + 3 * s) % 37);
        c->offsets[s + 1] = n;
        c->safe[s] = -1;
    }
    for (int i = 0; i < PAIRS; i++) c->margins[i] = llama2_reward_margin(LLAMA2_MARGIN_LARGE, i);
    c->batch = (llama2_batch){.struct_size = sizeof c->batch,
                              .n_sequences = 2 * PAIRS,
                              .n_tokens = n,
                              .tokens = c->tokens,
                              .offsets = c->offsets};
    c->pairs =
        (llama2_pairs){.struct_size = sizeof c->pairs, .n_pairs = PAIRS, .batch = &c->batch, .margins = c->margins};
}

START_TEST(margin_table)
{
    static const float expected[3][4] = {{0, 0, 0, 0}, {1, 2.0f / 3, 1.0f / 3, 0}, {3, 2, 1, 0}};
    for (int32_t scheme = 0; scheme < 3; scheme++) {
        for (int32_t rating = 0; rating < 4; rating++)
            ck_assert(llama2_reward_margin(scheme, rating) == expected[scheme][rating]);
    }
    ck_assert(llama2_reward_margin(3, 0) == 0 && llama2_reward_margin(-1, 0) == 0 && llama2_reward_margin(2, 4) == 0 &&
              llama2_reward_margin(2, -1) == 0);
}
END_TEST

/* The loss of the trainable pairs, straight from the paper. */
static double expected_loss(const comparisons *c, const float *scores, double safety_weight)
{
    double ranking = 0, safety = 0;
    int n = 0, labelled = 0;
    for (int i = 0; i < PAIRS; i++) {
        if (c->safe[2 * i] == 0 && c->safe[2 * i + 1] == 1) continue;
        ranking -= log(1 / (1 + exp(-((double)scores[2 * i] - (double)scores[2 * i + 1] - (double)c->margins[i]))));
        n++;
        for (int k = 2 * i; k < 2 * i + 2; k++) {
            if (c->safe[k] < 0) continue;
            double p = 1 / (1 + exp(-(double)scores[k]));
            safety -= log(c->safe[k] ? p : 1 - p);
            labelled++;
        }
    }
    return ranking / n + (labelled ? safety_weight * safety / labelled : 0);
}

START_TEST(losses_are_the_papers)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    llama2_reward_metrics m = {.struct_size = sizeof m};
    float scores[2 * PAIRS], own[2 * PAIRS];
    comparisons c;
    comparisons_init(&c);
    ck_ok(llama2_reward_evaluate(reward, &c.pairs, &m, scores));
    ck_ok(llama2_reward_model_score(reward, &c.batch, own));
    ck_assert_mem_eq(scores, own, sizeof own);
    ck_assert_double_eq_tol(m.loss, expected_loss(&c, scores, 0), 1e-6);
    ck_assert_int_eq(m.n_pairs, PAIRS);
    int right = 0;
    for (int i = 0; i < PAIRS; i++) right += scores[2 * i] > scores[2 * i + 1];
    ck_assert_double_eq(m.accuracy, right / (double)PAIRS);

    c.pairs.safe = c.safe;
    c.pairs.safety_weight = 0.7;
    c.safe[0] = 1, c.safe[1] = 0, c.safe[3] = 1; /* pair 1 known on one side only */
    c.safe[4] = 0, c.safe[5] = 1;                /* pair 2: never trained on */
    ck_ok(llama2_reward_evaluate(reward, &c.pairs, &m, NULL));
    ck_assert_int_eq(m.n_pairs, PAIRS - 1);
    ck_assert_int_eq(m.n_left_out, 1);
    ck_assert_int_eq(m.n_labelled, 3);
    ck_assert_double_eq_tol(m.loss, expected_loss(&c, scores, 0.7), 1e-6);
    ck_assert_double_eq_tol(m.loss, m.ranking_loss + 0.7 * m.safety_loss, 1e-12);
    ck_assert_double_eq_tol(m.mean_margin, m.mean_chosen - m.mean_rejected, 1e-12);
    llama2_reward_model_free(reward);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(ties_count_half)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_ZERO);
    llama2_reward_metrics m = {.struct_size = sizeof m};
    comparisons c;
    comparisons_init(&c);
    c.pairs.margins = NULL;
    ck_ok(llama2_reward_evaluate(reward, &c.pairs, &m, NULL));
    ck_assert_double_eq(m.accuracy, 0.5);
    ck_assert_double_eq_tol(m.loss, log(2), 1e-12);
    ck_assert(m.min_score == 0 && m.max_score == 0);
    llama2_reward_model_free(reward);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

/* Gradients of the head and of two tensors of the trunk against differences of the evaluated loss, in double. */
START_TEST(gradient_is_that_of_the_loss)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F64);
    llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    llama2_trainer *trainer = small_reward_trainer(ctx, reward, 1e-3, NULL);
    llama2_reward_metrics m = {.struct_size = sizeof m};
    static const char *const names[] = {"score.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight"};
    comparisons c;
    comparisons_init(&c);
    c.pairs.safe = c.safe;
    c.pairs.safety_weight = 0.7;
    c.safe[0] = 1, c.safe[1] = 0, c.safe[3] = 1, c.safe[4] = 0, c.safe[5] = 1, c.safe[6] = 0;
    ck_ok(llama2_reward_accumulate(trainer, &c.pairs, &m));
    ck_assert_int_eq(m.n_pairs, PAIRS - 1);
    ck_assert_int_eq(m.n_labelled,
                     4); /* another number than that of the pairs: the two means differ in their divisors */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        float grad[24 * 40], weights[24 * 40];
        int64_t n;
        ck_ok(llama2_trainer_get_gradient(trainer, names[i], grad, 24 * 40, &n));
        ck_ok(llama2_reward_model_get_tensor(reward, names[i], weights, 24 * 40, &n));
        for (int64_t k = 0; k < n; k += n / 40 + 1) {
            float kept = weights[k], step = 1.0f / 4096;
            double loss[2];
            for (int side = 0; side < 2; side++) {
                weights[k] = kept + (side ? step : -step);
                ck_ok(llama2_reward_model_set_tensor(reward, names[i], weights, n));
                ck_ok(llama2_reward_evaluate(reward, &c.pairs, &m, NULL));
                loss[side] = m.loss * m.n_pairs;
            }
            weights[k] = kept;
            ck_ok(llama2_reward_model_set_tensor(reward, names[i], weights, n));
            double numeric = (loss[1] - loss[0]) / ((double)(kept + step) - (double)(kept - step));
            ck_assert_double_eq_tol((double)grad[k], numeric, 1e-4 * fmax(0.05, fabs(numeric)));
        }
    }
    llama2_trainer_free(trainer);
    llama2_reward_model_free(reward);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

static float head_gradient(llama2_trainer *trainer, float *out)
{
    ck_ok(llama2_trainer_get_gradient(trainer, "score.weight", out, 24, NULL));
    return out[0];
}

START_TEST(micro_batches_and_left_out_pairs_change_no_bit)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_metrics whole = {.struct_size = sizeof whole}, parts = {.struct_size = sizeof parts};
    float a[24], b[24];
    for (int32_t way = 0; way < 3; way++) {
        llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
        llama2_trainer_options o;
        comparisons c;
        comparisons_init(&c);
        c.pairs.safe = c.safe;
        c.pairs.safety_weight = 0.7;
        c.safe[0] = 1, c.safe[3] = 0, c.safe[6] = 0, c.safe[7] = 1; /* the last pair is left out */
        if (way == 2) {                                             /* without it at all */
            c.pairs.n_pairs = PAIRS - 1;
            c.batch.n_sequences = 2 * (PAIRS - 1);
            c.batch.n_tokens = c.offsets[2 * (PAIRS - 1)];
        }
        llama2_trainer_options_init(&o, sizeof o);
        o.micro_batch_tokens = way == 1 ? 1 : 0;
        llama2_trainer *trainer = small_reward_trainer(ctx, reward, 1e-3, &o);
        ck_ok(llama2_reward_accumulate(trainer, &c.pairs, way ? &parts : &whole));
        head_gradient(trainer, way ? b : a);
        if (way > 0) {
            ck_assert(memcmp(a, b, sizeof a) == 0);
            ck_assert(whole.loss == parts.loss);
        }
        llama2_trainer_free(trainer);
        llama2_reward_model_free(reward);
    }
    ck_assert(a[0] != 0);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(only_left_out_pairs_make_no_step)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    llama2_trainer *trainer = small_reward_trainer(ctx, reward, 1e-3, NULL);
    llama2_reward_metrics m = {.struct_size = sizeof m};
    float slopes[64] = {0, 1};
    comparisons c;
    comparisons_init(&c);
    c.pairs.safe = c.safe;
    for (int s = 0; s < 2 * PAIRS; s++) c.safe[s] = s % 2;
    ck_ok(llama2_reward_step(trainer, &c.pairs, &m));
    ck_assert_int_eq(m.n_left_out, PAIRS);
    ck_assert_int_eq(llama2_trainer_step(trainer), 0);
    /* after a term that brings no divisor: nothing can use it, which is told */
    ck_ok(llama2_trainer_backward_values(trainer, &c.batch, slopes, 1, 0));
    ck_fails(llama2_reward_step(trainer, &c.pairs, &m), LLAMA2_E_STATE);
    c.safe[0] = 1;
    ck_ok(llama2_reward_step(trainer, &c.pairs, &m));
    ck_assert_int_eq(m.n_pairs, 1);
    ck_assert_int_eq(m.step, 1);
    ck_assert_double_gt(m.grad_norm, 0);
    c.safe[0] = 2;
    ck_fails(llama2_reward_step(trainer, &c.pairs, &m), LLAMA2_E_INVALID);
    c.safe[0] = 1;
    c.pairs.n_pairs = 3;
    ck_fails(llama2_reward_step(trainer, &c.pairs, &m), LLAMA2_E_INVALID);
    ck_fails(llama2_pretrain_step(trainer, &c.batch, NULL), LLAMA2_E_MISMATCH);
    llama2_trainer_free(trainer);
    llama2_reward_model_free(reward);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

typedef struct reward_batch {
    llama2_trainer *trainer;
    comparisons c;
} reward_batch;

static llama2_status reward_step(void *user)
{
    reward_batch *b = user;
    return llama2_reward_step(b->trainer, &b->c.pairs, NULL);
}

START_TEST(a_cancelled_step_leaves_nothing)
{
    canceller c;
    llama2_context *ctx = cancelling_context(&c);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    reward_batch b = {.trainer = small_reward_trainer(ctx, reward, 1e-3, NULL)};
    comparisons_init(&b.c);
    int done = cancel_at_each_job(&c, b.trainer, reward_step, &b);
    ck_assert_int_eq(llama2_trainer_step(b.trainer), done);
    llama2_trainer_free(b.trainer);
    llama2_reward_model_free(reward);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

/* A model in fp64 computes scores that fp32 can't hold. */
START_TEST(scores_beyond_fp32_are_told)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F64);
    llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    llama2_reward_metrics m = {.struct_size = sizeof m};
    float head[24], norm[24], scores[2 * PAIRS] = {7};
    comparisons c;
    comparisons_init(&c);
    for (int i = 0; i < 24; i++) head[i] = i % 2 ? 3e38f : -3e38f, norm[i] = 1e3f * (float)(i + 1);
    ck_ok(llama2_reward_model_set_tensor(reward, "score.weight", head, 24));
    ck_ok(llama2_reward_model_set_tensor(reward, "model.norm.weight", norm, 24));
    ck_fails(llama2_reward_evaluate(reward, &c.pairs, &m, scores), LLAMA2_E_NUMERIC);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "the score of response"));
    ck_assert(scores[0] == 7);
    llama2_reward_model_free(reward);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(scores_that_are_not_finite_are_told)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    llama2_trainer *trainer = small_reward_trainer(ctx, reward, 1e-3, NULL);
    llama2_reward_metrics m = {.struct_size = sizeof m, .loss = 7};
    float head[24], scores[2 * PAIRS] = {7};
    comparisons c;
    comparisons_init(&c);
    ck_ok(llama2_reward_step(trainer, &c.pairs, &m));
    ck_assert_int_eq(m.skipped, 0);
    for (int bad = 0; bad < 2;
         bad++) { /* no score; scores of which each is infinite, most pairs of them with a loss of 0 or infinity */
        for (int i = 0; i < 24; i++) head[i] = bad ? (i % 2 ? 3e38f : -3e38f) : NAN;
        ck_ok(llama2_reward_model_set_tensor(reward, "score.weight", head, 24));
        ck_ok(llama2_reward_step(trainer, &c.pairs, &m));
        ck_assert_int_eq(m.skipped, 1);
        ck_assert_int_eq(m.step, 1);
        m.loss = 7;
        ck_fails(llama2_reward_evaluate(reward, &c.pairs, &m, scores), LLAMA2_E_NUMERIC);
        ck_assert(m.loss == 7 && scores[0] == 7);
        c.pairs.safe = c.safe; /* nor is it said of pairs that are left out */
        for (int s = 0; s < 2 * PAIRS; s++) c.safe[s] = s % 2;
        ck_fails(llama2_reward_evaluate(reward, &c.pairs, &m, scores), LLAMA2_E_NUMERIC);
        c.pairs.safe = NULL;
    }
    /* the last one, of a pair that is left out: the others are not given either */
    static float embeddings[37 * 24];
    for (int i = 0; i < 37 * 24; i++) embeddings[i] = i < 36 * 24 ? (float)(i % 7) : NAN;
    for (int i = 0; i < 24; i++) head[i] = 0.1f;
    for (int i = 0; i < c.batch.n_tokens; i++) c.tokens[i] = i < c.batch.n_tokens - 1 ? c.tokens[i] % 36 : 36;
    c.safe[2 * PAIRS - 2] = 0, c.safe[2 * PAIRS - 1] = 1;
    for (int s = 0; s < 2 * PAIRS - 2; s++) c.safe[s] = -1;
    c.pairs.safe = c.safe;
    ck_ok(llama2_reward_model_set_tensor(reward, "score.weight", head, 24));
    ck_ok(llama2_reward_model_set_tensor(reward, "model.embed_tokens.weight", embeddings, 37 * 24));
    ck_fails(llama2_reward_evaluate(reward, &c.pairs, &m, scores), LLAMA2_E_NUMERIC);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "the score of response 7"));
    ck_assert(m.loss == 7 && scores[0] == 7);
    llama2_trainer_free(trainer);
    llama2_reward_model_free(reward);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(training_ranks_the_pairs)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    llama2_trainer *trainer = small_reward_trainer(ctx, reward, 3e-3, NULL);
    llama2_reward_metrics m = {.struct_size = sizeof m};
    comparisons c;
    comparisons_init(&c);
    for (int i = 0; i < 60; i++) ck_ok(llama2_reward_step(trainer, &c.pairs, &m));
    ck_assert_double_eq(m.accuracy, 1);
    ck_assert_double_lt(m.loss, 0.1);
    ck_assert_double_gt(m.mean_margin, 1.5); /* the mean of the margins that it was trained with */
    llama2_trainer_free(trainer);
    llama2_reward_model_free(reward);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(heads)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_config config = small_config(1);
    llama2_model *model;
    config.dim = 512;
    config.n_layers = 1;
    ck_ok(llama2_model_create(ctx, &config, NULL, &model));
    llama2_reward_model *normal = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL),
                        *zero = small_reward_model(ctx, model, LLAMA2_HEAD_ZERO);
    float head[512];
    int64_t n;
    double mean = 0, squares = 0;
    ck_ok(llama2_reward_model_get_tensor(normal, "score.weight", head, 512, &n));
    ck_assert_int_eq(n, 512);
    for (int i = 0; i < 512; i++) mean += (double)head[i] / 512, squares += (double)head[i] * (double)head[i] / 512;
    ck_assert_double_eq_tol(squares * 513, 1, 0.25); /* 4 standard errors of a variance of 512 numbers */
    ck_assert_double_eq_tol(mean * sqrt(513), 0, 0.18);
    ck_ok(llama2_reward_model_get_tensor(zero, "score.weight", head, 512, &n));
    for (int i = 0; i < 512; i++) ck_assert(head[i] == 0);
    ck_fails(llama2_reward_model_get_tensor(zero, "lm_head.weight", head, 512, &n), LLAMA2_E_NOT_FOUND);
    llama2_reward_model_free(normal);
    llama2_reward_model_free(zero);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(score_is_read_at_the_last_token_and_normalised)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL), *clone, *loaded;
    float values[64], raw[2 * PAIRS], scores[2 * PAIRS], again[2 * PAIRS];
    double shift, scale;
    char folder[64];
    comparisons c;
    comparisons_init(&c);
    ck_ok(llama2_reward_model_values(reward, &c.batch, values));
    ck_ok(llama2_reward_model_score(reward, &c.batch, raw));
    for (int s = 0; s < 2 * PAIRS; s++) ck_assert(raw[s] == values[c.offsets[s + 1] - 1]);
    ck_ok(llama2_reward_model_set_normalisation(reward, 0.25, 2));
    ck_ok(llama2_reward_model_score(reward, &c.batch, scores));
    for (int s = 0; s < 2 * PAIRS; s++) ck_assert_double_eq_tol((double)scores[s], 2 * ((double)raw[s] - 0.25), 1e-6);
    ck_fails(llama2_reward_model_set_normalisation(reward, NAN, 1), LLAMA2_E_INVALID);
    static const double no_scales[] = {0, -0.0, -2, NAN, INFINITY};
    for (size_t i = 0; i < sizeof no_scales / sizeof *no_scales; i++)
        ck_fails(llama2_reward_model_set_normalisation(reward, 0, no_scales[i]), LLAMA2_E_INVALID);
    ck_ok(l2_model_enter(reward->model, 0)); /* as a scoring thread does */
    ck_fails(llama2_reward_model_set_normalisation(reward, 0, 1), LLAMA2_E_BUSY);
    ck_ok(llama2_reward_model_normalisation(reward, &shift, &scale));
    l2_model_leave(reward->model, 0);
    ck_assert(shift == 0.25 && scale == 2);

    ck_ok(llama2_reward_model_clone(reward, &clone));
    ck_ok(llama2_reward_model_save(reward, scratch_folder(folder), LLAMA2_F32));
    ck_ok(llama2_reward_model_load(ctx, folder, NULL, &loaded));
    ck_ok(llama2_reward_model_score(clone, &c.batch, again));
    ck_assert_mem_eq(again, scores, sizeof scores);
    ck_ok(llama2_reward_model_score(loaded, &c.batch, again));
    ck_assert_mem_eq(again, scores, sizeof scores);
    ck_ok(llama2_reward_model_normalisation(loaded, &shift, &scale));
    ck_assert(shift == 0.25 && scale == 2);
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_reward_model_free(reward);
    llama2_reward_model_free(clone);
    llama2_reward_model_free(loaded);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("reward");
    ADD_CASE(suite, "loss", margin_table, losses_are_the_papers, ties_count_half, gradient_is_that_of_the_loss,
             micro_batches_and_left_out_pairs_change_no_bit, only_left_out_pairs_make_no_step,
             a_cancelled_step_leaves_nothing, scores_that_are_not_finite_are_told, scores_beyond_fp32_are_told,
             training_ranks_the_pairs);
    ADD_CASE(suite, "model", heads, score_is_read_at_the_last_token_and_normalised);
    return suite;
}
