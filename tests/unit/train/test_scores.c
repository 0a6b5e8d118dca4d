/* Combination of two reward models, whitening, penalties. */
#include "train/scores.h"
#include "train/stats.h"
#include "train_test.h"

/* Rollouts of n samples, one token of prompt and one of response; the response ends with EOS (2) for even samples. */
static llama2_rollouts *recorded(llama2_context *ctx, int32_t n, int32_t k)
{
    int32_t tokens[64], prompts[32];
    int64_t offsets[33];
    llama2_rollouts *rollouts;
    for (int32_t s = 0; s < n; s++) {
        tokens[2 * s] = 1;
        tokens[2 * s + 1] = s % 2 ? 5 : 2;
        prompts[s] = 1;
        offsets[s] = 2 * s;
    }
    offsets[n] = 2 * n;
    llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = n, .n_tokens = 2 * n, .tokens = tokens, .offsets = offsets};
    ck_ok(llama2_rollouts_create(ctx, &batch, prompts, k, 2, 1, &rollouts));
    return rollouts;
}

static void set_both(llama2_rollouts *r, const float *helpful, const float *safety, int32_t n)
{
    ck_ok(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_HELPFUL_SCORES, helpful, n));
    ck_ok(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_SAFETY_SCORES, safety, n));
}

START_TEST(threshold_on_raw_scores)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r = recorded(ctx, 6, 2);
    llama2_combine_options o;
    /* the threshold 0.15 is raw -1.7346..: one float above, one below, and the ends where sigmoids saturate */
    static const float helpful[] = {200, -200, 3, 4, 5, 6};
    float safety[] = {200, -200, -1.7346f, -1.7347f, -1.0f, 2.0f};
    static const uint8_t is_safety[] = {0, 0, 1};
    llama2_combine_options_init(&o, sizeof o);
    o.whiten = 0;
    ck_assert_double_eq_tol(l2_logit(0.15), -1.734601055388106, 1e-14);
    ck_fails(llama2_rollouts_combine(r, is_safety, &o), LLAMA2_E_STATE);
    set_both(r, helpful, safety, 6);
    ck_ok(llama2_rollouts_combine(r, is_safety, &o));
    llama2_rollouts_view v = view_of(r);
    static const float expected[] = {200, -200, 3, -1.7347f, -1.0f, 2.0f};
    ck_assert_mem_eq(v.scores, expected, sizeof expected);
    /* is_safety NULL: none; the raw comparison is the comparison of sigmoids wherever that can be told in double */
    ck_ok(llama2_rollouts_combine(r, NULL, &o));
    for (int s = 0; s < 6; s++) {
        int unsafe = 1 / (1 + exp(-(double)safety[s])) < 0.15;
        ck_assert(v.scores[s] == (unsafe ? safety[s] : helpful[s]));
    }
    o.threshold = 1.5;
    ck_fails(llama2_rollouts_combine(r, NULL, &o), LLAMA2_E_INVALID);
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

/* The same whitened numbers whether the raw score is taken or goes through sigmoid and logit, where these do not
 * saturate. */
START_TEST(logit_undoes_the_sigmoid)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r = recorded(ctx, 8, 1);
    float helpful[8], safety[8];
    double rc[8], mean = 0, squares = 0;
    uint64_t seed = 3;
    for (int s = 0; s < 8; s++) helpful[s] = (float)(4 * noise(&seed)), safety[s] = (float)(4 * noise(&seed));
    set_both(r, helpful, safety, 8);
    ck_ok(llama2_rollouts_combine(r, NULL, NULL));
    llama2_rollouts_view v = view_of(r);
    for (int s = 0; s < 8; s++) {
        double rs = 1 / (1 + exp(-(double)safety[s])), rh = 1 / (1 + exp(-(double)helpful[s])), c = rs < 0.15 ? rs : rh;
        rc[s] = log(c / (1 - c));
        mean += rc[s] / 8;
    }
    for (int s = 0; s < 8; s++) squares += (rc[s] - mean) * (rc[s] - mean);
    for (int s = 0; s < 8; s++) ck_assert_double_eq_tol((double)v.scores[s], (rc[s] - mean) / sqrt(squares / 7), 1e-5);
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(missing_eos_costs_after_the_whitening)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r = recorded(ctx, 4, 1);
    llama2_combine_options o;
    static const float helpful[] = {1, 2, 3, 4}, safety[] = {9, 9, 9, 9};
    float without[4];
    set_both(r, helpful, safety, 4);
    llama2_combine_options_init(&o, sizeof o);
    ck_ok(llama2_rollouts_combine(r, NULL, &o));
    llama2_rollouts_view v = view_of(r);
    memcpy(without, v.scores, sizeof without);
    o.missing_eos_penalty = 0.75;
    ck_ok(llama2_rollouts_combine(r, NULL, &o));
    for (int s = 0; s < 4; s++)
        ck_assert_double_eq_tol((double)v.scores[s], (double)without[s] - (s % 2 ? 0.75 : 0), 1e-6);
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

/* What is stored can be saved and loaded: numbers that a float does not hold are refused, and the scores stay. */
START_TEST(what_no_float_holds)
{
    static const float helpful[] = {1, -3e38f, 3, 4}, safety[] = {9, 9, 9, 9};
    static const double beyond[] = {1e39, -1e39, INFINITY, NAN};
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r = recorded(ctx, 4, 1);
    llama2_combine_options o;
    set_both(r, helpful, safety, 4);
    llama2_combine_options_init(&o, sizeof o);
    o.whiten = 0;
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        o.missing_eos_penalty = beyond[i];
        ck_fails(llama2_rollouts_combine(r, NULL, &o), LLAMA2_E_INVALID);
    }
    o.missing_eos_penalty = 3e38;
    ck_fails(llama2_rollouts_combine(r, NULL, &o), LLAMA2_E_NUMERIC);
    ck_assert_ptr_null(view_of(r).scores);
    o.missing_eos_penalty = 0;
    ck_ok(llama2_rollouts_combine(r, NULL, &o));
    o.missing_eos_penalty = 3e38;
    ck_fails(llama2_rollouts_combine(r, NULL, &o), LLAMA2_E_NUMERIC);
    ck_assert_mem_eq(view_of(r).scores, helpful, sizeof helpful);
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(whitening_of_one_and_of_equals)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    static const float scores[] = {7, 7, 7, 7};
    for (int32_t n = 1; n <= 4; n++) {
        llama2_rollouts *r = recorded(ctx, n, 1);
        set_both(r, scores, scores, n);
        ck_ok(llama2_rollouts_combine(r, NULL, NULL));
        llama2_rollouts_view v = view_of(r);
        for (int32_t s = 0; s < n; s++) ck_assert(v.scores[s] == 0);
        llama2_rollouts_free(r);
    }
    l2_moments none = {0};
    ck_assert(l2_moments_variance(&none) == 0);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(moments)
{
    l2_moments m = {0};
    static const double x[] = {1e9 + 1, 1e9 + 2, 1e9 + 4};
    for (int i = 0; i < 3; i++) l2_moments_add(&m, x[i]);
    ck_assert_double_eq_tol(m.mean, 1e9 + 7.0 / 3, 1e-6);
    ck_assert_double_eq_tol(l2_moments_variance(&m), 7.0 / 3, 1e-6);
}
END_TEST

START_TEST(scores_of_reward_models)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *model = small_model(ctx, 0, LLAMA2_F32);
    llama2_reward_model *reward = small_reward_model(ctx, model, LLAMA2_HEAD_NORMAL);
    llama2_rollouts *r = recorded(ctx, 6, 2);
    ck_ok(llama2_rollouts_score_into(r, reward, LLAMA2_ROLLOUTS_SAFETY_SCORES)); /* raw still */
    ck_ok(llama2_reward_model_set_normalisation(reward, 0.5, 3));
    ck_ok(llama2_rollouts_score(r, reward));
    ck_ok(llama2_rollouts_score_into(r, reward, LLAMA2_ROLLOUTS_HELPFUL_SCORES));
    ck_fails(llama2_rollouts_score_into(r, reward, LLAMA2_ROLLOUTS_VALUES), LLAMA2_E_INVALID);
    llama2_rollouts_view v = view_of(r);
    for (int s = 0; s < 6; s++) {
        ck_assert(v.helpful_scores[s] == v.scores[s]);
        ck_assert_double_eq_tol((double)v.scores[s], 3 * ((double)v.safety_scores[s] - 0.5), 1e-6);
    }
    llama2_rollouts_free(r);
    llama2_reward_model_free(reward);
    llama2_model_free(model);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("scores");
    ADD_CASE(suite, "combination", threshold_on_raw_scores, logit_undoes_the_sigmoid,
             missing_eos_costs_after_the_whitening, what_no_float_holds);
    ADD_CASE(suite, "whitening", whitening_of_one_and_of_equals, moments);
    ADD_CASE(suite, "models", scores_of_reward_models);
    return suite;
}
