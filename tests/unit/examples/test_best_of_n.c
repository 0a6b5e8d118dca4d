/* What more samples of a prompt bring, and the intervals of it. */
#include "check_main.h"
#include "common/best_of_n.h"

START_TEST(two_prompts_two_samples)
{
    static const int32_t tokens[] = {1, 2, 1, 2, 1, 2, 1, 2}, lengths[] = {1, 1, 1, 1};
    static const int64_t offsets[] = {0, 2, 4, 6, 8};
    static const float scores[] = {1, 3, -2, -6};
    const llama2_batch batch = {sizeof batch, 4, 8, tokens, offsets, NULL};
    llama2_context *ctx;
    llama2_rollouts *r;
    ck_assert_int_eq(llama2_context_create(NULL, &ctx), LLAMA2_OK);
    ck_assert_int_eq(llama2_rollouts_create(ctx, &batch, lengths, 2, 2, 1, &r), LLAMA2_OK);
    ck_assert_int_eq(best_of_n_of(r).points, 0); /* no scores */
    ck_assert_int_eq(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_SCORES, scores, 4), LLAMA2_OK);
    const best_of_n c = best_of_n_of(r);
    ck_assert_int_eq(c.points, 2);
    ck_assert(c.n[0] == 1 && c.n[1] == 2);
    ck_assert(c.best[0] == -0.5 && c.median[0] == -0.5);
    ck_assert(c.best_gain_half[0] == 0 && c.median_gain_half[0] == 0);
    ck_assert(c.best[1] == 0.5 && c.median[1] == -1);
    /* best 3 and -2; above the first sample 2 and 0. Medians 2 and -4; above it 1 and -2. */
    ck_assert_double_eq_tol(c.best_half[1], 1.96 * 2.5, 1e-12);
    ck_assert_double_eq_tol(c.median_half[1], 1.96 * 3, 1e-12);
    ck_assert_double_eq_tol(c.best_gain_half[1], 1.96 * 1, 1e-12);
    ck_assert_double_eq_tol(c.median_gain_half[1], 1.96 * 1.5, 1e-12);
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("best of n");
    ADD_CASE(suite, "best of n", two_prompts_two_samples);
    return suite;
}
