/* exp over its whole range: error against the C library in double, and equal bits on every instruction set. */
#include "gradcheck.h"
#include "math/kernels.h"

enum { BATCH = 4096 };

static const int32_t isas[] = {LLAMA2_ISA_SCALAR, LLAMA2_ISA_AVX2, LLAMA2_ISA_AVX512};

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The distance between floats at the size of x. */
static double unit(double x)
{
    int e;
    frexp(x, &e);
    return ldexp(1, e - 24 < -149 ? -149 : e - 24);
}

START_TEST(exp_is_accurate_and_the_same_everywhere)
{
    static float x[BATCH + 5], y[3][BATCH + 5];
    double worst = 0;
    for (uint32_t sign = 0; sign < 2; sign++) {
        uint32_t last = sign ? 0x42d40000u : 0x42b20000u; /* -106, 89 */
        for (uint32_t bits = 0; bits < last;) {
            int n = 0;
            for (; n < BATCH + 5; n++, bits += 1009) x[n] = float_of((bits < last ? bits : last) | sign << 31);
            for (int i = 0; i < 3; i++) {
                const l2_kernels *kernels = l2_kernels_select(isas[i]);
                if (!kernels) continue;
                kernels->exponential(n, x, y[i]);
                ck_same_bits(kernels->name, y[0], y[i], n, sizeof y[0][0]);
            }
            for (int j = 0; j < n; j++) {
                double exact = exp((double)x[j]);
                if (exact > 3.4028234e38) continue;
                double error = fabs((double)y[0][j] - exact) / unit(exact);
                if (error > worst) worst = error;
                ck_each(error <= 2, "exp(%.9g) = %.9g, %.3g units off", (double)x[j], (double)y[0][j], error);
            }
        }
    }
    ck_assert(worst > 0);
}
END_TEST

START_TEST(scalar_and_vector_exp_are_equal)
{
    for (int i = 0; i < 3; i++) {
        const l2_kernels *kernels = l2_kernels_select(isas[i]);
        if (!kernels) continue;
        float *x = test_numbers(LLAMA2_F32, 4096, 1, 90), *y = test_alloc(4096, 4), *z = test_alloc(4096, 4);
        kernels->exponential(4096, x, y);
        for (int j = 0; j < 4096; j++) kernels->exponential(1, x + j, z + j);
        ck_same_bits(kernels->name, y, z, 4096, 4);
        free(x), free(y), free(z);
    }
}
END_TEST

START_TEST(exp_at_the_ends)
{
    float x[16] = {0,    -0.0f, -INFINITY, INFINITY, -1000,  1000, -3e38f, 3e38f,
                   -104, 88.7f, NAN,       -NAN,     -87.4f, 1,    -1,     89};
    for (int i = 0; i < 3; i++) {
        const l2_kernels *kernels = l2_kernels_select(isas[i]);
        if (!kernels) continue;
        float y[16];
        kernels->exponential(16, x, y);
        ck_assert(y[0] == 1 && y[1] == 1 && y[2] == 0 && y[4] == 0 && y[6] == 0 && y[8] == 0);
        ck_assert(isinf(y[3]) && isinf(y[5]) && isinf(y[7]) && isinf(y[15]) && isfinite(y[9]));
        ck_assert(isnan(y[10]) && isnan(y[11]) && y[12] > 0);
        for (int j = 0; j < 16; j++) ck_assert(!signbit(y[j]) || isnan(y[j]));
    }
}
END_TEST

START_TEST(instruction_sets)
{
    ck_assert_str_eq(l2_kernels_select(LLAMA2_ISA_SCALAR)->name, "scalar");
    ck_assert_ptr_nonnull(l2_kernels_select(LLAMA2_ISA_AUTO));
    ck_assert_str_eq(l2_kernels_double.name, "double");
    const l2_kernels *wide = l2_kernels_select(LLAMA2_ISA_AVX512);
    if (wide) ck_assert_ptr_eq(wide, l2_kernels_select(LLAMA2_ISA_AUTO));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/simd");
    ADD_CASE(suite, "exp", exp_is_accurate_and_the_same_everywhere, scalar_and_vector_exp_are_equal, exp_at_the_ends);
    ADD_CASE(suite, "dispatch", instruction_sets);
    return suite;
}
