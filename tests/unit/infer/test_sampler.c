/* The sampler against distributions worked out by hand. */
#include "check_main.h"

#include "infer/sampler.h"
#include "math/ops.h"
#include <llama2/context.h>

#include <math.h>
#include <stdlib.h>

enum { N = 5 };
/* p = 0.1, 0.4, 0.2, 0.25, 0.05 */
static void logits_of(float *logits)
{
    static const double p[N] = {0.1, 0.4, 0.2, 0.25, 0.05};
    for (int i = 0; i < N; i++) logits[i] = (float)log(p[i]) + 3;
}

static llama2_context *ctx;
static double min_p; /* of every sample below */

static void setup(void)
{
    ck_assert_int_eq(llama2_context_create(NULL, &ctx), LLAMA2_OK);
}

static void teardown(void)
{
    llama2_context_free(ctx);
}

static int32_t sample(const float *logits, int32_t n, double temperature, int32_t top_k, double top_p, double u)
{
    void *room = malloc(l2_sample_room(n));
    llama2_sampling s = {.temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = min_p};
    int32_t id = l2_sample(ctx, logits, n, &s, u, room);
    free(room);
    return id;
}

/* Share of the interval [0, 1) of u that gives each token. */
static void shares(double temperature, int32_t top_k, double top_p, double *share)
{
    enum { STEPS = 100000 };
    float logits[N];
    logits_of(logits);
    for (int i = 0; i < N; i++) share[i] = 0;
    for (int i = 0; i < STEPS; i++)
        share[sample(logits, N, temperature, top_k, top_p, (i + 0.5) / STEPS)] += 1.0 / STEPS;
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
    setup();
    expect(1, 0, 1, 0.1, 0.4, 0.2, 0.25, 0.05);
    expect(0, 0, 1, 0, 1, 0, 0, 0);
    expect(1, 2, 1, 0, 0.4 / 0.65, 0, 0.25 / 0.65, 0);
    expect(1, 0, 0.6, 0, 0.4 / 0.65, 0, 0.25 / 0.65, 0);
    expect(1, 0, 0.66, 0, 0.4 / 0.85, 0.2 / 0.85, 0.25 / 0.85, 0);
    expect(1, 0, 1e-9, 0, 1, 0, 0, 0);
    /* top-p within the top-k: 0.4 of 0.85 is 0.47 */
    expect(1, 3, 0.45, 0, 1, 0, 0, 0);
    expect(1, 3, 0.5, 0, 0.4 / 0.65, 0, 0.25 / 0.65, 0);
    /* min-p: 0.4 is the likeliest; 0.2 >= 0.45 * 0.4 > 0.1; within the top-k and the top-p */
    min_p = 0.45;
    expect(1, 0, 1, 0, 0.4 / 0.85, 0.2 / 0.85, 0.25 / 0.85, 0);
    expect(1, 2, 1, 0, 0.4 / 0.65, 0, 0.25 / 0.65, 0);
    expect(1, 0, 0.6, 0, 0.4 / 0.65, 0, 0.25 / 0.65, 0);
    expect(1, 4, 0.99, 0, 0.4 / 0.85, 0.2 / 0.85, 0.25 / 0.85, 0);
    expect(0, 0, 1, 0, 1, 0, 0, 0);
    /* top-p first: of all, 0.86 takes the 0.1 in, which min-p then drops */
    expect(1, 0, 0.86, 0, 0.4 / 0.85, 0.2 / 0.85, 0.25 / 0.85, 0);
    /* after the temperature: squares, 0.04 < 0.45 * 0.16, 0.0625 < 0.45 * 0.16 */
    expect(0.5, 0, 1, 0, 1, 0, 0, 0);
    min_p = 1;
    expect(1, 0, 1, 0, 1, 0, 0, 0);
    min_p = 0;
    double squared = 0.01 + 0.16 + 0.04 + 0.0625 + 0.0025;
    expect(0.5, 0, 1, 0.01 / squared, 0.16 / squared, 0.04 / squared, 0.0625 / squared, 0.0025 / squared);
    teardown();
}
END_TEST

START_TEST(what_is_not_a_distribution_is_refused)
{
    float logits[3] = {0, NAN, 1}, infinite[3] = {0, INFINITY, 1}, masked[3] = {-INFINITY, 0, -INFINITY},
          nothing[3] = {-INFINITY, -INFINITY, -INFINITY};
    setup();
    for (int temperature = 0; temperature < 2; temperature++) {
        ck_assert_int_eq(sample(logits, 3, temperature, 0, 1, 0.5), -1);
        ck_assert_int_eq(sample(infinite, 3, temperature, 0, 1, 0.5), -1);
        ck_assert_int_eq(sample(nothing, 3, temperature, 0, 1, 0.5), -1);
    }
    ck_assert_int_eq(sample(masked, 3, 1, 0, 1, 0.999999), 1);
    ck_assert_int_eq(sample(masked, 3, 1, 0, 1, 0), 1);
    teardown();
}
END_TEST

/* A vocabulary of several blocks of sums that ends within one: every token is drawn where its share of [0, 1) begins
 * and ends, as summed here in double; likewise among the likeliest, whose order is worked out by insertion. */
START_TEST(large_vocabularies)
{
    enum { LARGE = 5 * L2_SUM_BLOCK + 19, KEPT = 37 };
    float logits[LARGE];
    double p[LARGE], total = 0;
    int32_t order[KEPT], n = 0;
    setup();
    for (int i = 0; i < LARGE; i++) {
        logits[i] = (float)((i * 7919) % LARGE) / LARGE * 4; /* all different */
        p[i] = exp((double)logits[i] / 0.8);
        total += p[i];
    }
    double sum = 0;
    for (int i = 0; i < LARGE; i++) {
        double width = p[i] / total;
        ck_assert_int_eq(sample(logits, LARGE, 0.8, 0, 1, sum + 0.01 * width), i);
        ck_assert_int_eq(sample(logits, LARGE, 0.8, 0, 1, sum + 0.99 * width), i);
        sum += width;
    }
    for (int i = 0; i < LARGE; i++) {
        int at = n < KEPT ? n++ : KEPT;
        for (; at > 0 && logits[order[at - 1]] < logits[i]; at--)
            if (at < KEPT) order[at] = order[at - 1];
        if (at < KEPT) order[at] = i;
    }
    total = 0;
    for (int i = 0; i < KEPT; i++) total += p[order[i]];
    sum = 0;
    for (int i = 0; i < KEPT; i++) {
        ck_assert_int_eq(sample(logits, LARGE, 0.8, KEPT, 1, sum + 0.5 * p[order[i]] / total), order[i]);
        sum += p[order[i]] / total;
    }
    ck_assert_int_eq(sample(logits, LARGE, 0.8, 0, 1, 1 - 1e-16), LARGE - 1);
    ck_assert_int_eq(sample(logits, LARGE, 0, 0, 1, 0.5), order[0]);
    for (int i = 0; i < LARGE; i++) logits[i] = i % 600 == 599 ? 2 : 1; /* the first of equals */
    ck_assert_int_eq(sample(logits, LARGE, 0, 0, 1, 0.5), 599);
    for (int temperature = 0; temperature < 2; temperature++) {
        for (int i = 0; i < LARGE; i += 90) {
            logits[i] = NAN;
            ck_assert_int_eq(sample(logits, LARGE, temperature, 0, 1, 0.5), -1);
            logits[i] = 1;
        }
        logits[LARGE - 1] = NAN;
        ck_assert_int_eq(sample(logits, LARGE, temperature, 0, 1, 0.5), -1);
        logits[LARGE - 1] = 1;
    }
    teardown();
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("infer/sampler");
    ADD_CASE(s, "sampler", shares_are_the_probabilities, what_is_not_a_distribution_is_refused, large_vocabularies);
    return s;
}
