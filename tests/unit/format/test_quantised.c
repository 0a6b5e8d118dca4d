/* Quantising: near the best that each type can do, exact where that is possible, and defined for any numbers. */
#include "check_main.h"
#include "format/quantise.h"
#include "format/quantised.h"
#include "math/half.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 64 * 256 };

static const int32_t written[] = {L2_GGML_Q8_0, L2_GGML_Q4_0, L2_GGML_Q5_0, L2_GGML_Q4_K, L2_GGML_Q6_K};
#define EACH_TYPE(i)                                                                                                   \
    size_t i = 0;                                                                                                      \
    i < sizeof written / sizeof *written;                                                                              \
    i++

static double noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) / 4503599627370496.0 - 1;
}

/* Near a normal distribution, as weights are, of another size in each block of 32. */
static void fill(float *x, int n)
{
    uint64_t state = 5;
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 6; k++) sum += noise(&state);
        x[i] = (float)(0.02 * sum * (1 + i / 32 % 5));
    }
}

static void through(int32_t type, const float *x, int n, float *y)
{
    unsigned char *blocks = malloc((size_t)n * 4);
    ck_ok(l2_quantise(type, x, n, blocks));
    ck_ok(l2_dequantise(type, blocks, n, y));
    free(blocks);
}

/* sum w (x - y)², w as lib/format/quantise.c weighs: typical magnitude and own, over `span` numbers. */
static double error(const float *x, const float *y, int n, int span)
{
    double sum = 0;
    for (int at = 0; at < n; at += span) {
        double squares = 0;
        for (int i = at; i < at + span; i++) squares += (double)x[i] * (double)x[i];
        double typical = sqrt(squares / span);
        for (int i = at; i < at + span; i++) {
            double d = (double)x[i] - (double)y[i];
            sum += (typical + fabs((double)x[i])) * d * d;
        }
    }
    return sum;
}

/* The least error of one block with one scale, by trying each fp16 number there is. */
static double least_error(const float *x, int lowest, int highest)
{
    double least = HUGE_VAL;
    float y[32];
    for (unsigned bits = 1; bits < 0x10000; bits++) {
        float scale = l2_f32_from_f16((uint16_t)bits);
        if (!isfinite(scale) || scale == 0) continue;
        for (int i = 0; i < 32; i++) {
            float q = rintf(x[i] / scale);
            y[i] = scale * (q < (float)lowest ? (float)lowest : q > (float)highest ? (float)highest : q);
        }
        double e = error(x, y, 32, 32);
        if (e < least) least = e;
    }
    return least;
}

START_TEST(one_scale_is_near_the_best_there_is)
{
    static const struct {
        int32_t type;
        int lowest, highest;
        double most; /* the search's steps are coarse for 8 bits, where little is to be had */
    } of[] = {{L2_GGML_Q4_0, -8, 7, 1.01}, {L2_GGML_Q5_0, -16, 15, 1.02}, {L2_GGML_Q8_0, -127, 127, 1.12}};
    float x[N], y[N];
    fill(x, N);
    for (size_t i = 0; i < 3; i++) {
        double ours = 0, best = 0;
        through(of[i].type, x, N, y);
        for (int at = 0; at < 24 * 32; at += 32) {
            double least = least_error(x + at, of[i].lowest, of[i].highest);
            ours += error(x + at, y + at, 32, 32);
            best += least;
        }
        ck_assert_msg(ours < of[i].most * best, "%s: %g, the best is %g", l2_ggml_type(of[i].type, NULL, NULL), ours,
                      best);
    }
}
END_TEST

START_TEST(blocks_of_256_lose_little)
{
    static const struct {
        int32_t type;
        double relative; /* root of error / sum w x² */
    } of[] = {{L2_GGML_Q8_0, 0.0055},
              {L2_GGML_Q4_0, 0.080},
              {L2_GGML_Q5_0, 0.040},
              {L2_GGML_Q4_K, 0.064},
              {L2_GGML_Q6_K, 0.0165}};
    float x[N], y[N], zero[N] = {0};
    fill(x, N);
    for (size_t i = 0; i < 5; i++) {
        through(of[i].type, x, N, y);
        double relative = sqrt(error(x, y, N, 32) / error(x, zero, N, 32));
        ck_assert_msg(relative < of[i].relative, "%s: %g", l2_ggml_type(of[i].type, NULL, NULL), relative);
    }
}
END_TEST

/* Blocks of random bits are numbers that a type has: they come back as they were, or very nearly. */
START_TEST(numbers_that_a_type_has_come_back)
{
    uint64_t state = 9;
    for (EACH_TYPE(i)) {
        uint32_t elements, bytes;
        float x[256], y[256];
        unsigned char block[256];
        double lost = 0, all = 0;
        l2_ggml_type(written[i], &elements, &bytes);
        for (int trial = 0; trial < 300; trial++) {
            for (uint32_t k = 0; k < bytes; k++) block[k] = (unsigned char)((noise(&state) + 1) * 128);
            /* The fp16 units: between 0.03 and 0.5. */
            static const uint32_t units[][2] = {{0, 0}, {0, 0}, {0, 0}, {0, 2}, {208, 208}};
            for (int k = 0; k < 2; k++) block[units[i][k] + 1] = (unsigned char)(0x28 | (block[units[i][k] + 1] & 15));
            ck_ok(l2_dequantise(written[i], block, elements, x));
            through(written[i], x, (int)elements, y);
            for (uint32_t k = 0; k < elements; k++) {
                lost += ((double)x[k] - (double)y[k]) * ((double)x[k] - (double)y[k]);
                all += (double)x[k] * (double)x[k];
            }
        }
        ck_assert_msg(sqrt(lost / all) < 0.01, "%s: %g", l2_ggml_type(written[i], NULL, NULL), sqrt(lost / all));
    }
}
END_TEST

START_TEST(any_finite_numbers_will_do)
{
    static const float sizes[] = {0, 1e-44f, 1e-30f, 1e-8f, 1e-3f, 1, 1000, 65504};
    float x[256], y[256];
    for (EACH_TYPE(i))
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int shape = 0; shape < 4; shape++) {
                for (int k = 0; k < 256; k++)
                    x[k] = shape == 0   ? sizes[s]
                           : shape == 1 ? -sizes[s]
                           : shape == 2 ? (k % 32 == 7 ? sizes[s] : 0)
                                        : sizes[s] * (float)(k % 16 - 7) / 8;
                through(written[i], x, 256, y);
                for (int k = 0; k < 256; k++) {
                    ck_assert_msg(isfinite(y[k]), "%s: %g becomes %g", l2_ggml_type(written[i], NULL, NULL),
                                  (double)x[k], (double)y[k]);
                    /* Half a unit of fp16 below 2^-14, 63 * 15 times, is 3e-5. */
                    ck_assert_msg(fabsf(y[k] - x[k]) <= 0.13f * sizes[s] + 3e-5f, "%s: %g becomes %g",
                                  l2_ggml_type(written[i], NULL, NULL), (double)x[k], (double)y[k]);
                }
            }
}
END_TEST

/* Every scale and minimum of a block is set. */
static void check_fitted(const float *x)
{
    l2_fitted fitted;
    memset(&fitted, 0x77, sizeof fitted);
    l2_fit_scales_and_minima(x, 256, &fitted);
    for (int g = 0; g < 8; g++)
        ck_assert_msg(fitted.scale[g] >= 0 && fitted.scale[g] <= 63 && fitted.minimum[g] >= 0 &&
                          fitted.minimum[g] <= 63,
                      "%a ..: scale %d, minimum %d", (double)x[0], fitted.scale[g], fitted.minimum[g]);
}

/*
 * Blocks whose two fp16 units are a few times 2^-24: every scale and minimum is found, and the loss is that of the same
 * numbers times 4096, whose units are not subnormal.
 */
START_TEST(scales_in_coarse_units)
{
    uint64_t state = 3;
    float x[256], large[256], y[256], large_y[256];
    for (float amplitude = 1e-5f; amplitude < 1e-3f; amplitude *= 1.01f) {
        for (int i = 0; i < 256; i++) x[i] = amplitude * (float)noise(&state), large[i] = 4096 * x[i];
        check_fitted(x);
        through(L2_GGML_Q4_K, x, 256, y);
        through(L2_GGML_Q4_K, large, 256, large_y);
        double ratio = error(x, y, 256, 256) * 0x1p36 / error(large, large_y, 256, 256);
        ck_assert_msg(ratio < 1.25, "%g: the error is %g times that of larger numbers", (double)amplitude, ratio);
    }
}
END_TEST

/* Just beyond the reach of a unit of k * 2^-24, where rounding may not say that it is within. */
START_TEST(scales_at_the_edge_of_a_unit)
{
    for (int k = 1; k <= 60; k++) {
        float x[256], at = 64.5f * (float)k * 0x1p-24f;
        for (int step = 0; step < 3; step++, at = nextafterf(at, 1)) {
            for (int i = 0; i < 256; i++) x[i] = -at;
            check_fitted(x);
        }
    }
}
END_TEST

/*
 * The other types in units of 2^-24 or a few: no number is lost or out of reach. A step is amplitude / highest, and
 * where a group has a scale it may be half a unit too small for 32 integers.
 */
START_TEST(numbers_in_coarse_units)
{
    static const struct {
        int32_t type;
        float relative, absolute;
    } of[] = {{L2_GGML_Q8_0, 0.008f, 0x1p-24f},
              {L2_GGML_Q4_0, 0.15f, 0x1p-24f},
              {L2_GGML_Q5_0, 0.08f, 0x1p-24f},
              {L2_GGML_Q6_K, 0.03f, 17 * 0x1p-24f}};
    uint64_t state = 3;
    float x[256], y[256];
    for (float amplitude = 1e-7f; amplitude < 1e-2f; amplitude *= 1.01f) {
        for (int i = 0; i < 256; i++) x[i] = amplitude * (float)noise(&state);
        for (size_t t = 0; t < sizeof of / sizeof *of; t++) {
            through(of[t].type, x, 256, y);
            for (int i = 0; i < 256; i++)
                ck_assert_msg(fabsf(y[i] - x[i]) <= of[t].relative * amplitude + of[t].absolute, "%s: %g becomes %g",
                              l2_ggml_type(of[t].type, NULL, NULL), (double)x[i], (double)y[i]);
        }
    }
}
END_TEST

START_TEST(halves_keep_their_bits)
{
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        unsigned char in[2] = {(unsigned char)bits, (unsigned char)(bits >> 8)}, out[2] = {0, 0};
        float x;
        ck_ok(l2_dequantise(L2_GGML_BF16, in, 1, &x));
        if (!isnan(x)) {
            ck_ok(l2_quantise(L2_GGML_BF16, &x, 1, out));
            ck_assert_mem_eq(in, out, 2);
        }
        ck_ok(l2_dequantise(L2_GGML_F16, in, 1, &x));
        if (!isfinite(x)) continue;
        ck_ok(l2_quantise(L2_GGML_F16, &x, 1, out));
        ck_assert_mem_eq(in, out, 2);
    }
}
END_TEST

START_TEST(refused)
{
    float x[256] = {1, 2, 3};
    unsigned char out[1024];
    for (EACH_TYPE(i)) {
        ck_fails(l2_quantise(written[i], x, 31, out), LLAMA2_E_INVALID);
        ck_fails(l2_quantise(written[i], x, -256, out), LLAMA2_E_INVALID);
        ck_ok(l2_quantise(written[i], x, 0, out));
        static const float bad[] = {NAN, INFINITY, -INFINITY, 65520, -1e30f};
        for (size_t k = 0; k < 5; k++) {
            x[77] = bad[k];
            ck_fails(l2_quantise(written[i], x, 256, out), LLAMA2_E_NUMERIC);
            ck_assert_ptr_nonnull(strstr(llama2_last_error(), "element 77"));
        }
        x[77] = 0;
    }
    ck_fails(l2_quantise(L2_GGML_Q4_K, x, 32, out), LLAMA2_E_INVALID);
    static const int32_t others[] = {L2_GGML_Q4_1, L2_GGML_Q2_K, L2_GGML_IQ4_NL, L2_GGML_F64, 24, -1, 1000};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ck_assert(!l2_quantises(others[i]));
        ck_fails(l2_quantise(others[i], x, 256, out), LLAMA2_E_UNSUPPORTED);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("format/quantised");
    ADD_CASE(suite, "quality", one_scale_is_near_the_best_there_is, blocks_of_256_lose_little,
             numbers_that_a_type_has_come_back);
    ADD_CASE(suite, "numbers", any_finite_numbers_will_do, scales_in_coarse_units, scales_at_the_edge_of_a_unit,
             numbers_in_coarse_units, halves_keep_their_bits, refused);
    return suite;
}
