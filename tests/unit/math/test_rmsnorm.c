#include "gradcheck.h"
#include "math/ops.h"

static const double eps = 1e-5;

typedef struct problem {
    int32_t dtype;
    int64_t n, d;
    void *x, *gain, *y, *rstd, *dy, *dx, *dgain;
} problem;

static problem make(int32_t dtype, int64_t n, int64_t d)
{
    size_t size = l2_dtype_size(dtype);
    return (problem){dtype,
                     n,
                     d,
                     test_numbers(dtype, n * d, 1, 2),
                     test_numbers(dtype, d, 2, 1),
                     test_alloc(n * d, size),
                     test_alloc(n, size),
                     test_numbers(dtype, n * d, 3, 1),
                     test_alloc(n * d, size),
                     test_alloc(d, size)};
}

static void drop(problem *p)
{
    void *all[] = {p->x, p->gain, p->y, p->rstd, p->dy, p->dx, p->dgain};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void run(llama2_context *ctx, problem *p, int accumulate)
{
    l2_tensor x = l2_tensor_2d(p->dtype, p->x, p->n, p->d), gain = l2_tensor_1d(p->dtype, p->gain, p->d);
    l2_tensor y = l2_tensor_2d(p->dtype, p->y, p->n, p->d), rstd = l2_tensor_1d(p->dtype, p->rstd, p->n);
    l2_tensor dy = l2_tensor_2d(p->dtype, p->dy, p->n, p->d), dx = l2_tensor_2d(p->dtype, p->dx, p->n, p->d);
    l2_tensor dgain = l2_tensor_1d(p->dtype, p->dgain, p->d);
    ck_ok(l2_op_rmsnorm_forward(ctx, &x, &gain, eps, &y, &rstd));
    ck_ok(l2_op_rmsnorm_backward(ctx, &x, &gain, &rstd, &dy, &dx, accumulate, &dgain));
}

static const int64_t sizes[][2] = {{1, 1},     {255, 1}, {1, 3},   {17, 3},   {3, 17},  {1, 255}, {3, 255},
                                   {255, 255}, {3, 16},  {17, 31}, {255, 64}, {5, 200}, {70, 577}};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

START_TEST(forward_is_the_definition)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < N_SIZES; i++) {
        problem p = make(LLAMA2_F64, sizes[i][0], sizes[i][1]), f = make(LLAMA2_F32, sizes[i][0], sizes[i][1]);
        run(ctx, &p, 0);
        run(ctx, &f, 0);
        for (int64_t t = 0; t < p.n; t++) {
            double sum = 0, *x = (double *)p.x + t * p.d;
            for (int64_t j = 0; j < p.d; j++) sum += x[j] * x[j];
            double r = 1 / sqrt(sum / (double)p.d + eps);
            ck_assert_double_eq_tol(r, ((double *)p.rstd)[t], 1e-13 * r);
            for (int64_t j = 0; j < p.d; j++) {
                double y = x[j] * r * ((double *)p.gain)[j];
                ck_assert_double_eq_tol(y, ((double *)p.y)[t * p.d + j], 1e-13 * (1 + fabs(y)));
                ck_assert_double_eq_tol(y, (double)((float *)f.y)[t * p.d + j], 1e-6 * (1 + fabs(y)));
            }
        }
        drop(&p);
        drop(&f);
    }
    llama2_context_free(ctx);
}
END_TEST

typedef struct check {
    llama2_context *ctx;
    problem *p;
} check;

static double loss(void *user)
{
    check *c = user;
    problem *p = c->p;
    l2_tensor x = l2_tensor_2d(p->dtype, p->x, p->n, p->d), gain = l2_tensor_1d(p->dtype, p->gain, p->d),
              y = l2_tensor_2d(p->dtype, p->y, p->n, p->d);
    ck_ok(l2_op_rmsnorm_forward(c->ctx, &x, &gain, eps, &y, NULL));
    double sum = 0;
    for (int64_t i = 0; i < p->n * p->d; i++) sum += ((double *)p->y)[i] * ((double *)p->dy)[i];
    return sum;
}

START_TEST(gradients)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 2; i < N_SIZES; i++) { /* with d = 1 the gradient is all but 0, and differences do not see it */
        problem p = make(LLAMA2_F64, sizes[i][0], sizes[i][1]);
        check c = {ctx, &p};
        run(ctx, &p, 0);
        gradcheck("dx", loss, &c, p.x, p.dx, p.n * p.d, 60, 1e-7);
        gradcheck("dgain", loss, &c, p.gain, p.dgain, p.d, 60, 1e-7);
        drop(&p);
    }
    llama2_context_free(ctx);
}
END_TEST

/* dx += and dgain +=; y in place of x, dx in place of dy; no gradient for a frozen gain. */
START_TEST(accumulation_and_aliases)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    problem a = make(LLAMA2_F32, 33, 40), b = make(LLAMA2_F32, 33, 40);
    run(ctx, &a, 0);
    for (int64_t i = 0; i < 33 * 40; i++) ((float *)b.dx)[i] = 1;
    for (int64_t i = 0; i < 40; i++) ((float *)b.dgain)[i] = 0;
    run(ctx, &b, 1);
    for (int64_t i = 0; i < 33 * 40; i++) ck_assert_float_eq(((float *)b.dx)[i], 1 + ((float *)a.dx)[i]);

    l2_tensor x = l2_tensor_2d(LLAMA2_F32, b.x, 33, 40), gain = l2_tensor_1d(LLAMA2_F32, b.gain, 40),
              rstd = l2_tensor_1d(LLAMA2_F32, b.rstd, 33);
    l2_tensor dy = l2_tensor_2d(LLAMA2_F32, b.dy, 33, 40), dgain = l2_tensor_1d(LLAMA2_F32, b.dgain, 40);
    memset(b.dgain, 0, 40 * sizeof(float));
    ck_ok(l2_op_rmsnorm_backward(ctx, &x, &gain, &rstd, &dy, &dy, 0, &dgain));
    ck_same_bits("dx in dy", a.dx, b.dy, 33 * 40, sizeof(float));
    ck_same_bits("dgain", a.dgain, b.dgain, 40, sizeof(float));
    ck_ok(l2_op_rmsnorm_forward(ctx, &x, &gain, eps, &x, NULL));
    ck_same_bits("y in x", a.y, b.x, 33 * 40, sizeof(float));
    l2_tensor frozen = {0};
    ck_ok(l2_op_rmsnorm_backward(ctx, &x, &gain, &rstd, &dy, &dy, 0, &frozen));
    ck_ok(l2_op_rmsnorm_backward(ctx, &x, &gain, &rstd, &dy, &dy, 0, NULL));
    drop(&a);
    drop(&b);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(bits)
{
    for (int i = 0; i < N_SIZES; i++) {
        problem ref = make(LLAMA2_F32, sizes[i][0], sizes[i][1]);
        llama2_context *ctx = test_context(LLAMA2_ISA_SCALAR, 1);
        run(ctx, &ref, 0);
        llama2_context_free(ctx);
        for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
            for (int32_t threads = 1; threads <= 8; threads += threads < 3 ? 1 : 5) {
                ctx = test_context(isa, threads);
                if (!ctx) continue;
                problem p = make(LLAMA2_F32, sizes[i][0], sizes[i][1]);
                run(ctx, &p, 0);
                ck_same_bits("y", ref.y, p.y, p.n * p.d, sizeof(float));
                ck_same_bits("rstd", ref.rstd, p.rstd, p.n, sizeof(float));
                ck_same_bits("dx", ref.dx, p.dx, p.n * p.d, sizeof(float));
                ck_same_bits("dgain", ref.dgain, p.dgain, p.d, sizeof(float));
                drop(&p);
                llama2_context_free(ctx);
            }
        }
        drop(&ref);
    }
}
END_TEST

/* Rows without a gradient (weight 0), wherever they stand, and a batch in two calls leave the gain's gradient as it is.
 */
START_TEST(neighbours_leave_no_trace)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    enum { D = 77, N = 20, WIDE = 60 };
    problem a = make(LLAMA2_F32, N, D), b = make(LLAMA2_F32, WIDE, D);
    run(ctx, &a, 0);
    memset(b.dy, 0, WIDE * D * sizeof(float));
    for (int64_t t = 0; t < N; t++) { /* at rows 2, 5, 8, ...; the others keep their numbers in x */
        memcpy((float *)b.x + (3 * t + 2) * D, (float *)a.x + t * D, D * sizeof(float));
        memcpy((float *)b.dy + (3 * t + 2) * D, (float *)a.dy + t * D, D * sizeof(float));
    }
    run(ctx, &b, 0);
    ck_same_bits("dgain", a.dgain, b.dgain, D, sizeof(float));
    for (int64_t t = 0; t < N; t++) {
        ck_same_bits("y", (float *)a.y + t * D, (float *)b.y + (3 * t + 2) * D, D, sizeof(float));
        ck_same_bits("dx", (float *)a.dx + t * D, (float *)b.dx + (3 * t + 2) * D, D, sizeof(float));
    }
    problem first = make(LLAMA2_F32, 7, D), rest = make(LLAMA2_F32, N - 7, D);
    memcpy(rest.x, (float *)a.x + 7 * D, (N - 7) * D * sizeof(float));
    memcpy(rest.dy, (float *)a.dy + 7 * D, (N - 7) * D * sizeof(float));
    run(ctx, &first, 0);
    memcpy(rest.dgain, first.dgain, D * sizeof(float));
    run(ctx, &rest, 0);
    ck_same_bits("dgain in two calls", a.dgain, rest.dgain, D, sizeof(float));
    problem *all[] = {&a, &b, &first, &rest};
    for (int i = 0; i < 4; i++) drop(all[i]);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/rmsnorm");
    ADD_CASE(suite, "rmsnorm", forward_is_the_definition, gradients, accumulation_and_aliases, bits,
             neighbours_leave_no_trace);
    return suite;
}
