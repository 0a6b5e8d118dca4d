#include "faults.h"
#include "format/joined.h"
#include "math/half.h"

enum { ROWS = 12, COLUMNS = 600, HEAD = 6, MAX = ROWS * COLUMNS };

static float number(int64_t row, int64_t column)
{
    return (float)(row * 64 + column % 61); /* exact in all types for which it is used */
}

/* The whole matrix as `dtype`, row- or column-major, at an odd address. */
static unsigned char *store(int32_t dtype, int by_columns)
{
    static unsigned char bytes[4 * MAX + 1];
    for (int64_t i = 0; i < MAX; i++) {
        int64_t row = by_columns ? i % ROWS : i / COLUMNS, column = by_columns ? i / ROWS : i % COLUMNS;
        float x = dtype == LLAMA2_BF16 ? (float)(row * 16 + column % 13) : number(row, column);
        uint16_t half = dtype == LLAMA2_BF16 ? l2_bf16_from_f32(x) : l2_f16_from_f32(x);
        if (dtype == LLAMA2_F32)
            memcpy(bytes + 1 + 4 * i, &x, 4);
        else
            memcpy(bytes + 1 + 2 * i, &half, 2);
    }
    return bytes + 1;
}

static double expected(int32_t dtype, int64_t row, int64_t column)
{
    return dtype == LLAMA2_BF16 ? (double)(row * 16 + column % 13) : (double)number(row, column);
}

START_TEST(test_parts)
{
    static float out[MAX];
    static double wide[MAX];
    static const int32_t dtypes[] = {LLAMA2_F32, LLAMA2_F16, LLAMA2_BF16}, counts[] = {1, 2, 3};
    for (int which = 0; which < 3 * 3 * 2 * 2 * 2; which++) {
        int32_t dtype = dtypes[which % 3], n = counts[which / 3 % 3], axis = which / 9 % 2, by_columns = which / 18 % 2;
        int64_t head_dim = which / 36 % 2 ? HEAD : 0, stride = by_columns ? 1 : COLUMNS, across = by_columns ? ROWS : 1;
        const unsigned char *bytes = store(dtype, by_columns);
        size_t size = dtype == LLAMA2_F32 ? 4 : 2;
        l2_part parts[3];
        for (int32_t i = 0; i < n; i++) {
            int64_t first = axis == L2_JOIN_ROWS ? i * (ROWS / n) * stride : i * (COLUMNS / n) * across;
            parts[i] = (l2_part){bytes + (size_t)first * size, stride, across, dtype};
        }
        l2_joined whole = {parts, n, axis, ROWS, COLUMNS, head_dim};
        l2_joined_read(ctx, &whole, 0, ROWS, LLAMA2_F32, out);
        for (int64_t row = 0, step; row < ROWS; row += step) { /* a few rows at a time */
            step = row + 5 < ROWS ? 5 : ROWS - row;
            l2_joined_read(ctx, &whole, row, step, LLAMA2_F64, wide + row * COLUMNS);
        }
        static const int order[HEAD] = {0, 2, 4, 1, 3, 5};
        for (int64_t row = 0; row < ROWS; row++)
            for (int64_t column = 0; column < COLUMNS; column++) {
                int64_t from = head_dim ? row - row % HEAD + order[row % HEAD] : row;
                double want = expected(dtype, from, column);
                ck_assert(wide[row * COLUMNS + column] == want && (double)out[row * COLUMNS + column] == want);
            }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("format/joined");
    TCase *parts = tcase_create("parts");
    tcase_add_checked_fixture(parts, setup, teardown);
    tcase_set_timeout(parts, 120);
    tcase_add_test(parts, test_parts);
    suite_add_tcase(suite, parts);
    return suite;
}
