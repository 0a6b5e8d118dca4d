#include "check_main.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

/* The known answers that Random123 publishes (kat_vectors, philox4x32 10). */
START_TEST(test_known_answers)
{
    static const struct {
        uint64_t seed;
        uint32_t position, purpose;
        uint64_t id;
        uint32_t out[4];
    } cases[] = {
        {0, 0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822,
         0x243f6a88,
         0x85a308d3,
         0x0370734413198a2e,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        l2_philox(cases[i].seed, cases[i].purpose, cases[i].id, cases[i].position, out);
        for (int w = 0; w < 4; w++) ck_assert_uint_eq(out[w], cases[i].out[w]);
    }
}
END_TEST

START_TEST(test_uniform)
{
    ck_assert_double_eq(l2_rng_uniform(0, 0, 0, 0), (double)(0x6627e8d5e169c58du >> 11) * 0x1p-53);
    ck_assert(l2_rng_uniform(UINT64_MAX, UINT32_MAX, UINT64_MAX, UINT32_MAX) < 1);
    double sum = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        double u = l2_rng_uniform(1, L2_RNG_SAMPLE, 2, i);
        ck_assert(u >= 0 && u < 1);
        sum += u;
    }
    ck_assert_double_lt(fabs(sum / 100000 - 0.5), 5 * sqrt(1.0 / 12 / 100000));
}
END_TEST

/* The library's own logarithm and sine against the C library's. */
START_TEST(test_normal_is_box_muller)
{
    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t w[4];
        double z[4];
        l2_philox(3, L2_RNG_INIT, 4, i, w);
        l2_rng_normal4(3, L2_RNG_INIT, 4, i, z);
        for (int k = 0; k < 2; k++) {
            double radius = sqrt(-2 * log((w[2 * k] + 0.5) / 4294967296.0)),
                   angle = 2 * acos(-1.0) * (w[2 * k + 1] / 4294967296.0);
            double error = fmax(fabs(z[2 * k] - radius * cos(angle)), fabs(z[2 * k + 1] - radius * sin(angle)));
            if (!(error < 1e-14)) ck_abort_msg("position %u: off by %g", i, error);
        }
    }
}
END_TEST

START_TEST(test_normal_moments)
{
    enum { N = 100000 };
    double sum[4] = {0}, square[4] = {0}, product = 0;
    for (uint32_t i = 0; i < N; i++) {
        double z[4];
        l2_rng_normal4(5, L2_RNG_INIT, 6, i, z);
        for (int k = 0; k < 4; k++) {
            sum[k] += z[k];
            square[k] += z[k] * z[k];
        }
        product += z[0] * z[1];
    }
    for (int k = 0; k < 4; k++) {
        ck_assert_double_lt(fabs(sum[k] / N), 5 / sqrt(N));
        ck_assert_double_lt(fabs(square[k] / N - 1), 5 * sqrt(2.0 / N));
    }
    ck_assert_double_lt(fabs(product / N), 5 / sqrt(N));
}
END_TEST

/* Bits that must be the same on every machine: weights made from a seed depend on them. */
START_TEST(test_pinned)
{
    double z[4];
    l2_rng_normal4(42, L2_RNG_INIT, 7, 9, z);
    static const double expected[4] = {-0x1.8c55dbc6185dp-1, -0x1.03710403de626p+0, 0x1.75dc59e3c50b1p-2,
                                       0x1.e0f90c06612a3p-6};
    for (int k = 0; k < 4; k++) ck_assert_msg(z[k] == expected[k], "%d: %a, expected %a", k, z[k], expected[k]);
    double u = l2_rng_uniform(42, L2_RNG_SAMPLE, 7, 9);
    ck_assert_msg(u == 0x1.79864f2ddf608p-2, "%a", u);
    uint64_t b = l2_rng_below(42, L2_RNG_SHUFFLE, 7, 9, 1000003);
    ck_assert_msg(b == 26802, "%llu", (unsigned long long)b);
}
END_TEST

START_TEST(test_below)
{
    int seen[7] = {0};
    for (uint32_t i = 0; i < 70000; i++) {
        uint64_t r = l2_rng_below(8, L2_RNG_SHUFFLE, 0, i, 7);
        ck_assert_uint_lt(r, 7);
        seen[r]++;
    }
    for (int i = 0; i < 7; i++) ck_assert_int_lt(abs(seen[i] - 10000), 500);
    ck_assert_uint_eq(l2_rng_below(8, L2_RNG_SHUFFLE, 0, 0, 1), 0);
    /* A range beyond 32 bits is filled. */
    uint64_t high = 0;
    for (uint32_t i = 0; i < 100; i++) high |= l2_rng_below(8, L2_RNG_SHUFFLE, 1, i, UINT64_MAX);
    ck_assert_uint_gt(high >> 60, 7);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("base/rng");
    ADD_CASE(s, "rng", test_known_answers, test_uniform, test_normal_is_box_muller, test_normal_moments, test_pinned,
             test_below);
    return s;
}
