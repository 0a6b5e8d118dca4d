/* Conversions for every 16-bit value and every tie between two of them; the small ops; the sum of squares. */
#include "gradcheck.h"
#include "math/ops.h"

static const int32_t isas[] = {LLAMA2_ISA_SCALAR, LLAMA2_ISA_AVX2, LLAMA2_ISA_AVX512};

static l2_tensor vector(int32_t dtype, void *data, int64_t n)
{
    return l2_tensor_1d(dtype, data, n);
}

static void convert(llama2_context *ctx, int32_t from, const void *x, int32_t to, void *y, int64_t n)
{
    l2_tensor a = vector(from, (void *)(uintptr_t)x, n), b = vector(to, y, n);
    if (l2_op_copy(ctx, &a, &b) < 0) ck_abort_msg("copy: %s", llama2_last_error());
}

/* The value of a 16-bit number by its definition. */
static double value_of(int32_t dtype, unsigned bits)
{
    int mantissa_bits = dtype == LLAMA2_F16 ? 10 : 7, bias = dtype == LLAMA2_F16 ? 15 : 127,
        most = dtype == LLAMA2_F16 ? 31 : 255;
    int exponent = (int)(bits >> mantissa_bits) & most, mantissa = (int)bits & ((1 << mantissa_bits) - 1);
    double sign = bits & 0x8000u ? -1 : 1;
    if (exponent == most) return mantissa ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

static void check_format(llama2_context *ctx, int32_t dtype)
{
    static uint16_t all[65536], back[65536];
    static float narrow[65536];
    static double wide[65536];
    for (unsigned i = 0; i < 65536; i++) all[i] = (uint16_t)i;
    convert(ctx, dtype, all, LLAMA2_F32, narrow, 65536);
    convert(ctx, dtype, all, LLAMA2_F64, wide, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        double v = value_of(dtype, i);
        if (isnan(v))
            ck_each(isnan(narrow[i]) && isnan(wide[i]), "%04x is not a NaN", i);
        else
            ck_each((double)narrow[i] == v && wide[i] == v && !signbit(narrow[i]) == !signbit(v), "%04x is %.9g", i,
                    (double)narrow[i]);
    }
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0)
            convert(ctx, LLAMA2_F32, narrow, dtype, back, 65536);
        else
            convert(ctx, LLAMA2_F64, wide, dtype, back, 65536);
        for (unsigned i = 0; i < 65536; i++) {
            if (!isnan(value_of(dtype, i)))
                ck_each(back[i] == i, "%04x comes back as %04x", i, back[i]);
            else
                ck_each(isnan(value_of(dtype, back[i])) && (back[i] & 0x8000u) == (i & 0x8000u),
                        "NaN %04x comes back as %04x", i, back[i]);
        }
    }
}

/* Between each number and the next: the tie goes to the even one, what is a little off to the nearer. Half the last
 * step above the largest is a tie too. */
static void check_ties(llama2_context *ctx, int32_t dtype)
{
    unsigned infinity = dtype == LLAMA2_F16 ? 0x7c00u : 0x7f80u;
    double last_step = value_of(dtype, infinity - 1) - value_of(dtype, infinity - 2);
    for (unsigned i = 0; i < infinity; i++) {
        double low = value_of(dtype, i), high = i + 1 == infinity ? low + last_step : value_of(dtype, i + 1),
               tie = (low + high) / 2;
        unsigned even = i & 1u ? i + 1 : i;
        for (int sign = 0; sign < 2; sign++) {
            unsigned flag = sign ? 0x8000u : 0;
            double s = sign ? -1 : 1, x64[3] = {s * tie, s * nextafter(tie, 0), s * nextafter(tie, INFINITY)};
            float x32[3] = {(float)(s * tie), nextafterf((float)(s * tie), 0),
                            nextafterf((float)(s * tie), (float)s * INFINITY)};
            uint16_t y64[3], y32[3];
            ck_each((double)x32[0] == x64[0], "the tie is no float");
            convert(ctx, LLAMA2_F64, x64, dtype, y64, 3);
            convert(ctx, LLAMA2_F32, x32, dtype, y32, 3);
            for (int j = 0; j < 3; j++) {
                unsigned expected = flag | (j == 0 ? even : j == 1 ? i : i + 1);
                ck_each(y64[j] == expected && y32[j] == expected,
                        "beside %04x, case %d: %04x from double, %04x from float, not %04x", i, j, y64[j], y32[j],
                        expected);
            }
        }
    }
}

START_TEST(every_16_bit_value)
{
    for (int i = 0; i < 3; i++) {
        llama2_context *ctx = test_context(isas[i], 2);
        if (!ctx) continue;
        check_format(ctx, LLAMA2_BF16);
        check_format(ctx, LLAMA2_F16);
        llama2_context_free(ctx);
    }
}
END_TEST

START_TEST(every_tie)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_SCALAR, 1);
    check_ties(ctx, LLAMA2_BF16);
    check_ties(ctx, LLAMA2_F16);
    llama2_context_free(ctx);
}
END_TEST

/* A sample of all floats: the same 16 bits from every instruction set, NaN and all. */
START_TEST(instruction_sets_convert_alike)
{
    enum { N = 1 << 20 };
    uint32_t *x = test_alloc(N, 4);
    uint16_t *y[2] = {test_alloc(N, 2), test_alloc(N, 2)};
    float *z[2] = {test_alloc(65536, 4), test_alloc(65536, 4)};
    for (uint32_t i = 0; i < N; i++) x[i] = i * 4099u;
    for (int32_t dtype = LLAMA2_BF16; dtype <= LLAMA2_F16; dtype++) {
        for (int i = 0; i < 3; i++) {
            llama2_context *ctx = test_context(isas[i], 1);
            if (!ctx) continue;
            convert(ctx, LLAMA2_F32, x, dtype, y[i > 0], N);
            ck_same_bits("from float", y[0], y[i > 0], N, 2);
            for (unsigned j = 0; j < 65536; j++) ((uint16_t *)y[1])[j] = (uint16_t)j;
            convert(ctx, dtype, y[1], LLAMA2_F32, z[i > 0], 65536);
            ck_same_bits("to float", z[0], z[i > 0], 65536, 4);
            llama2_context_free(ctx);
        }
    }
    free(x), free(y[0]), free(y[1]), free(z[0]), free(z[1]);
}
END_TEST

START_TEST(fill)
{
    enum { N = 70001 };
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 3);
    for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
        l2_tensor y = vector(dtype, test_alloc(N, l2_dtype_size(dtype)), N);
        ck_ok(l2_op_fill(ctx, &y, -1.5));
        for (int i = 0; i < N; i++)
            ck_each((dtype == LLAMA2_F32 ? (double)((float *)y.data)[i] : ((double *)y.data)[i]) == -1.5, "element %d",
                    i);
        free(y.data);
    }
    uint16_t half[3];
    l2_tensor h = vector(LLAMA2_BF16, half, 3);
    ck_ok(l2_op_fill(ctx, &h, 1.5));
    ck_assert(half[0] == 0x3fc0 && half[2] == 0x3fc0);
    h.dtype = LLAMA2_F16;
    ck_ok(l2_op_fill(ctx, &h, -2));
    ck_assert(half[0] == 0xc000 && half[2] == 0xc000);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(rows)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 1);
    float x[4 * 3], picked[2 * 3], spread[4 * 3];
    for (int i = 0; i < 12; i++) x[i] = (float)i, spread[i] = 99;
    const int64_t which[] = {3, 1};
    l2_tensor tx = l2_tensor_2d(LLAMA2_F32, x, 4, 3), tp = l2_tensor_2d(LLAMA2_F32, picked, 2, 3),
              ts = l2_tensor_2d(LLAMA2_F32, spread, 4, 3);
    ck_ok(l2_op_gather_rows(ctx, &tx, which, &tp));
    ck_assert(picked[0] == 9 && picked[2] == 11 && picked[3] == 3 && picked[5] == 5);
    ck_ok(l2_op_scatter_rows(ctx, &tp, which, &ts));
    for (int i = 0; i < 12; i++) ck_assert(spread[i] == (i / 3 % 2 ? (float)i : 0));
    llama2_context_free(ctx);
}
END_TEST

START_TEST(squares)
{
    const int64_t sizes[] = {0, 1, 3, 17, 255, 100003};
    for (int s = 0; s < 6; s++) {
        float *x = test_numbers(LLAMA2_F32, sizes[s], 1, 3);
        double plain = 0, first = 0;
        for (int64_t i = 0; i < sizes[s]; i++) plain += (double)x[i] * (double)x[i];
        for (int i = 0; i < 3; i++) {
            for (int32_t threads = 1; threads <= 3; threads++) {
                llama2_context *ctx = test_context(isas[i], threads);
                if (!ctx) continue;
                l2_tensor t = vector(LLAMA2_F32, x, sizes[s]);
                double sum = -1;
                ck_ok(l2_op_sum_squares(ctx, &t, &sum));
                if (i == 0 && threads == 1) first = sum;
                ck_same_bits("sum", &first, &sum, 1, 8);
                ck_assert(fabs(sum - plain) <= 1e-12 * plain);
                if (sizes[s] > 2) {
                    float keep = x[2];
                    x[2] = NAN;
                    ck_ok(l2_op_sum_squares(ctx, &t, &sum));
                    ck_assert(!isfinite(sum));
                    x[2] = -INFINITY;
                    ck_ok(l2_op_sum_squares(ctx, &t, &sum));
                    ck_assert(!isfinite(sum));
                    x[2] = keep;
                }
                llama2_context_free(ctx);
            }
        }
        free(x);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/elementwise");
    ADD_CASE(suite, "conversions", every_16_bit_value, every_tie, instruction_sets_convert_alike);
    ADD_CASE(suite, "ops", fill, rows, squares);
    return suite;
}
