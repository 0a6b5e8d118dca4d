#include "gradcheck.h"
#include "math/ops.h"

enum { P = 300 };

typedef struct tables {
    l2_tensor cosine, sine;
} tables;

static tables make_tables(llama2_context *ctx, int32_t dtype, int64_t half)
{
    size_t size = l2_dtype_size(dtype);
    tables t = {l2_tensor_2d(dtype, test_alloc(P * half, size), P, half),
                l2_tensor_2d(dtype, test_alloc(P * half, size), P, half)};
    double frequencies[64];
    int32_t positions[P];
    for (int32_t p = 0; p < P; p++) positions[p] = p;
    l2_op_rope_frequencies(10000, half, frequencies);
    ck_ok(l2_op_rope_table(ctx, frequencies, positions, &t.cosine, &t.sine));
    return t;
}

static void drop(tables *t)
{
    free(t->cosine.data);
    free(t->sine.data);
}

/* Positions of packed sequences: they restart. */
static void positions_of(int64_t n, int32_t *positions)
{
    for (int64_t t = 0; t < n; t++) positions[t] = (int32_t)(n > 100 && t >= 100 ? t - 100 : t);
}

static const int64_t sizes[][3] = {{1, 1, 2}, {3, 2, 6}, {17, 3, 16}, {255, 2, 64}, {255, 1, 80}, {40, 4, 128}};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

START_TEST(the_table)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int64_t half = 1; half <= 64; half *= 4) {
        tables d = make_tables(ctx, LLAMA2_F64, half), f = make_tables(ctx, LLAMA2_F32, half);
        for (int64_t p = 0; p < P; p++) {
            for (int64_t i = 0; i < half; i++) {
                double angle = (double)p / pow(10000, (double)(2 * i) / (double)(2 * half)), c = cos(angle),
                       s = sin(angle);
                ck_assert_double_eq_tol(((double *)d.cosine.data)[p * half + i], c, 1e-12);
                ck_assert_double_eq_tol(((double *)d.sine.data)[p * half + i], s, 1e-12);
                ck_assert_float_eq(((float *)f.cosine.data)[p * half + i],
                                   (float)((double *)d.cosine.data)[p * half + i]);
                ck_assert_float_eq(((float *)f.sine.data)[p * half + i], (float)((double *)d.sine.data)[p * half + i]);
            }
        }
        drop(&d);
        drop(&f);
    }
    llama2_context_free(ctx);
}
END_TEST

/* Pairs are (i, i + Dh/2) of a head, turned as complex numbers. */
START_TEST(forward_is_the_definition)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < N_SIZES; i++) {
        int64_t n = sizes[i][0], h = sizes[i][1], dh = sizes[i][2], half = dh / 2;
        int32_t positions[255];
        positions_of(n, positions);
        for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
            void *x = test_numbers(dtype, n * h * dh, 1, 1);
            tables table = make_tables(ctx, dtype, half);
            l2_tensor tx = l2_tensor_3d(dtype, x, n, h, dh);
            ck_ok(l2_op_rope(ctx, &tx, positions, &table.cosine, &table.sine, 0));
            for (int64_t j = 0; j < n * h * dh; j++) {
                int64_t head = j / dh, e = j % dh, k = e % half;
                double angle = positions[head / h] * pow(10000, -2.0 * (double)k / (double)dh);
                double a = test_random(1, (uint64_t)(head * dh + k)),
                       b = test_random(1, (uint64_t)(head * dh + k + half));
                double expected = e < half ? a * cos(angle) - b * sin(angle) : b * cos(angle) + a * sin(angle);
                double got = dtype == LLAMA2_F64 ? ((double *)x)[j] : (double)((float *)x)[j];
                ck_assert_double_eq_tol(got, expected, dtype == LLAMA2_F64 ? 1e-12 : 3e-7);
            }
            free(x);
            drop(&table);
        }
    }
    llama2_context_free(ctx);
}
END_TEST

typedef struct check {
    llama2_context *ctx;
    const tables *table;
    l2_tensor y;
    const double *x, *dy;
    const int32_t *positions;
} check;

static double loss(void *user)
{
    check *c = user;
    int64_t n = l2_tensor_size(&c->y);
    memcpy(c->y.data, c->x, (size_t)n * sizeof(double));
    ck_ok(l2_op_rope(c->ctx, &c->y, c->positions, &c->table->cosine, &c->table->sine, 0));
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += ((double *)c->y.data)[i] * c->dy[i];
    return sum;
}

/* The rotation back is the gradient. */
START_TEST(gradient)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < N_SIZES; i++) {
        int64_t n = sizes[i][0], h = sizes[i][1], dh = sizes[i][2], all = n * h * dh;
        int32_t positions[255];
        positions_of(n, positions);
        tables table = make_tables(ctx, LLAMA2_F64, dh / 2);
        double *x = test_numbers(LLAMA2_F64, all, 1, 1), *dy = test_numbers(LLAMA2_F64, all, 2, 1),
               *dx = test_numbers(LLAMA2_F64, all, 2, 1);
        l2_tensor tdx = l2_tensor_3d(LLAMA2_F64, dx, n, h, dh);
        ck_ok(l2_op_rope(ctx, &tdx, positions, &table.cosine, &table.sine, 1));
        check c = {ctx, &table, l2_tensor_3d(LLAMA2_F64, test_alloc(all, 8), n, h, dh), x, dy, positions};
        gradcheck("dx", loss, &c, x, dx, all, 150, 1e-7);
        free(c.y.data);
        free(x);
        free(dy);
        free(dx);
        drop(&table);
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(bits)
{
    for (int i = 0; i < N_SIZES; i++) {
        int64_t n = sizes[i][0], h = sizes[i][1], dh = sizes[i][2];
        int32_t positions[255];
        positions_of(n, positions);
        for (int inverse = 0; inverse < 2; inverse++) {
            float *ref = NULL;
            for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
                for (int32_t threads = 1; threads <= 8; threads += threads < 3 ? 1 : 5) {
                    llama2_context *ctx = test_context(isa, threads);
                    if (!ctx) continue;
                    float *x = test_numbers(LLAMA2_F32, n * h * dh, 1, 1);
                    tables table = make_tables(ctx, LLAMA2_F32, dh / 2);
                    l2_tensor tx = l2_tensor_3d(LLAMA2_F32, x, n, h, dh);
                    ck_ok(l2_op_rope(ctx, &tx, positions, &table.cosine, &table.sine, inverse));
                    if (ref) ck_same_bits("x", ref, x, n * h * dh, sizeof(float));
                    if (ref)
                        free(x);
                    else
                        ref = x;
                    drop(&table);
                    llama2_context_free(ctx);
                }
            }
            free(ref);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/rope");
    ADD_CASE(suite, "rope", the_table, forward_is_the_definition, gradient, bits);
    return suite;
}
