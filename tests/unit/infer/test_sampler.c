/* The sampler against distributions worked out by hand. */
#include "check_main.h"

#include "infer/sampler.h"

#include <math.h>

enum { N = 5 };
/* p = 0.1, 0.4, 0.2, 0.25, 0.05 */
static void logits_of(float *logits)
{
    static const double p[N] = {0.1, 0.4, 0.2, 0.25, 0.05};
    for (int i = 0; i < N; i++) logits[i] = (float)log(p[i]) + 3;
}

/* Share of the interval [0, 1) of u that gives each token. */
static void shares(double temperature, int32_t top_k, double top_p, double *share)
{
    enum { STEPS = 100000 };
    float logits[N];
    l2_candidate room[N];
    logits_of(logits);
    for (int i = 0; i < N; i++) share[i] = 0;
    for (int i = 0; i < STEPS; i++)
        share[l2_sample(logits, N, temperature, top_k, top_p, (i + 0.5) / STEPS, room)] += 1.0 / STEPS;
}

static void expect(double temperature, int32_t top_k, double top_p, double a, double b, double c, double d, double e)
{
    double expected[N] = {a, b, c, d, e}, got[N];
    shares(temperature, top_k, top_p, got);
    for (int i = 0; i < N; i++)
        ck_assert_msg(fabs(got[i] - expected[i]) < 1e-4, "T %g, k %d, p %g: token %d has %g, expected %g", temperature,
                      top_k, top_p, i, got[i], expected[i]);
}

START_TEST(shares_are_the_probabilities)
{
    expect(1, 0, 1, 0.1, 0.4, 0.2, 0.25, 0.05);
    expect(0, 0, 1, 0, 1, 0, 0, 0);
    expect(1, 2, 1, 0, 0.4 / 0.65, 0, 0.25 / 0.65, 0);
    expect(1, 0, 0.6, 0, 0.4 / 0.65, 0, 0.25 / 0.65, 0);
    expect(1, 0, 0.66, 0, 0.4 / 0.85, 0.2 / 0.85, 0.25 / 0.85, 0);
    expect(1, 0, 1e-9, 0, 1, 0, 0, 0);
    /* top-p within the top-k: 0.4 of 0.85 is 0.47 */
    expect(1, 3, 0.45, 0, 1, 0, 0, 0);
    expect(1, 3, 0.5, 0, 0.4 / 0.65, 0, 0.25 / 0.65, 0);
    double squared = 0.01 + 0.16 + 0.04 + 0.0625 + 0.0025;
    expect(0.5, 0, 1, 0.01 / squared, 0.16 / squared, 0.04 / squared, 0.0625 / squared, 0.0025 / squared);
}
END_TEST

START_TEST(what_is_not_a_distribution_is_refused)
{
    float logits[3] = {0, NAN, 1}, infinite[3] = {0, INFINITY, 1}, masked[3] = {-INFINITY, 0, -INFINITY},
          nothing[3] = {-INFINITY, -INFINITY, -INFINITY};
    l2_candidate room[3];
    ck_assert_int_eq(l2_sample(logits, 3, 1, 0, 1, 0.5, room), -1);
    ck_assert_int_eq(l2_sample(infinite, 3, 1, 0, 1, 0.5, room), -1);
    ck_assert_int_eq(l2_sample(nothing, 3, 1, 0, 1, 0.5, room), -1);
    ck_assert_int_eq(l2_sample(masked, 3, 1, 0, 1, 0.999999, room), 1);
    ck_assert_int_eq(l2_sample(masked, 3, 1, 0, 1, 0, room), 1);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("infer/sampler");
    ADD_CASE(s, "sampler", shares_are_the_probabilities, what_is_not_a_distribution_is_refused);
    return s;
}
