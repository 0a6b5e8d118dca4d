/* Which temperature a curve of best-of-K scores asks for. */
#include "check_main.h"
#include "common/temperature.h"

#include <math.h>

/* Two prompts, two samples each, every token an EOS. */
static llama2_rollouts *scored(llama2_context *ctx, const float scores[4])
{
    static const int32_t tokens[] = {1, 2, 1, 2, 1, 2, 1, 2}, lengths[] = {1, 1, 1, 1};
    static const int64_t offsets[] = {0, 2, 4, 6, 8};
    const llama2_batch batch = {sizeof batch, 4, 8, tokens, offsets, NULL};
    llama2_rollouts *r;
    ck_assert_int_eq(llama2_rollouts_create(ctx, &batch, lengths, 2, 2, 1, &r), LLAMA2_OK);
    ck_assert_int_eq(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_SCORES, scores, 4), LLAMA2_OK);
    return r;
}

START_TEST(curve)
{
    llama2_context *ctx;
    temperature_curve c = {.n = 0};
    static const float scores[2][4] = {{1, 3, -2, -6}, {0, 0, 4, 4}};
    ck_assert_int_eq(llama2_context_create(NULL, &ctx), LLAMA2_OK);
    for (int t = 0; t < 2; t++) {
        llama2_rollouts *r = scored(ctx, scores[t]);
        ck_assert(temperature_add(&c, r));
        llama2_rollouts_free(r);
    }
    ck_assert_int_eq(c.n, 2);
    ck_assert_double_eq(c.best[0], (3 - 2) / 2.0);
    ck_assert_double_eq(c.best[1], (0 + 4) / 2.0);
    /* mean 4 / 8, squares 82 / 8 */
    ck_assert_double_eq_tol(temperature_deviation(&c), sqrt(82 / 8.0 - 0.25), 1e-12);
    /* the two prompts are 3 and -2 there, 0 and 4 here: 3 above, 6 below */
    ck_assert_int_eq(temperature_top(&c), 1);
    ck_assert_double_eq(temperature_half(&c, 1), 0);
    ck_assert_double_eq_tol(temperature_half(&c, 0), 1.96 * sqrt((9 + 36 - 9 / 2.0) / 1 / 2), 1e-12);
    temperature_free(&c);
    llama2_context_free(ctx);
}
END_TEST

/* A standard deviation of 1: sum 0, as many squares as samples. */
static temperature_curve of(double a, double b, double c, double d, double e)
{
    return (temperature_curve){.n = TEMPERATURES, .best = {a, b, c, d, e}, .squares = 10, .samples = 10};
}

START_TEST(rules)
{
    const temperature_curve peak = of(0, 1, 3, 2, 1), flat = of(1.95, 1.97, 2, 1.99, 1),
                            near = of(1.89, 1.91, 2, 1.8, 1), rising = of(1, 2, 3, 4, 5), equal = of(1, 1, 1, 1, 1);
    ck_assert_double_eq(temperature_choose(&peak, TEMPERATURE_HIGHEST), 1.0);
    ck_assert_double_eq(temperature_choose(&peak, TEMPERATURE_LOWEST), 1.0);
    ck_assert_double_eq(temperature_choose(&flat, TEMPERATURE_HIGHEST), 1.0);
    ck_assert_double_eq(temperature_choose(&flat, TEMPERATURE_LOWEST), 0.6);
    ck_assert_double_eq(temperature_choose(&near, TEMPERATURE_LOWEST), 0.8); /* 1.89 is more than a tenth away */
    ck_assert_double_eq(temperature_choose(&rising, TEMPERATURE_HIGHEST), 1.4);
    ck_assert_double_eq(temperature_choose(&equal, TEMPERATURE_HIGHEST), 0.6);
    ck_assert_int_eq(temperature_rule_of("highest"), TEMPERATURE_HIGHEST);
    ck_assert_int_eq(temperature_rule_of("lowest"), TEMPERATURE_LOWEST);
    ck_assert_int_eq(temperature_rule_of("best"), TEMPERATURE_RULES);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("temperature");
    ADD_CASE(suite, "temperature", curve, rules);
    return suite;
}
