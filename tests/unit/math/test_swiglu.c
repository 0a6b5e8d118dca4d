#include "gradcheck.h"
#include "math/ops.h"

static const int64_t sizes[][2] = {{1, 1},   {1, 3},   {17, 3},   {3, 17},   {255, 17},
                                   {3, 255}, {17, 16}, {255, 33}, {255, 100}};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

typedef struct problem {
    int64_t size;
    l2_tensor gate, up, y, dy, dgate, dup;
} problem;

static problem make(int32_t dtype, int64_t n, int64_t f, double scale)
{
    problem p = {.size = n * f};
    l2_tensor *all[] = {&p.gate, &p.up, &p.y, &p.dy, &p.dgate, &p.dup};
    for (uint64_t i = 0; i < 6; i++)
        *all[i] = l2_tensor_2d(dtype, test_numbers(dtype, n * f, i, i == 0 ? scale : 1), n, f);
    return p;
}

static void drop(problem *p)
{
    l2_tensor *all[] = {&p->gate, &p->up, &p->y, &p->dy, &p->dgate, &p->dup};
    for (int i = 0; i < 6; i++) free(all[i]->data);
}

static void run(llama2_context *ctx, problem *p)
{
    ck_ok(l2_op_swiglu_forward(ctx, &p->gate, &p->up, &p->y));
    ck_ok(l2_op_swiglu_backward(ctx, &p->gate, &p->up, &p->dy, &p->dgate, &p->dup));
}

START_TEST(forward_is_the_definition)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < N_SIZES; i++) {
        problem d = make(LLAMA2_F64, sizes[i][0], sizes[i][1], 6), f = make(LLAMA2_F32, sizes[i][0], sizes[i][1], 6);
        run(ctx, &d);
        run(ctx, &f);
        for (int64_t j = 0; j < d.size; j++) {
            double g = ((double *)d.gate.data)[j], y = g / (1 + exp(-g)) * ((double *)d.up.data)[j];
            ck_assert_double_eq_tol(((double *)d.y.data)[j], y, 1e-14 * (1 + fabs(y)));
            g = (double)((float *)f.gate.data)[j];
            y = g / (1 + exp(-g)) * (double)((float *)f.up.data)[j];
            ck_assert_double_eq_tol((double)((float *)f.y.data)[j], y, 5e-7 * fabs(y));
        }
        drop(&d);
        drop(&f);
    }
    llama2_context_free(ctx);
}
END_TEST

/* exp(-gate) overflows: silu is 0 on the left, the identity on the right, and gradients are numbers. */
START_TEST(large_gates)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 1);
    problem p = make(LLAMA2_F32, 1, 4, 1);
    float *g = p.gate.data, *u = p.up.data, *dy = p.dy.data;
    g[0] = -200;
    g[1] = 200;
    g[2] = -1e30f;
    g[3] = 1e30f;
    run(ctx, &p);
    for (int i = 0; i < 4; i++) {
        ck_assert_float_eq(((float *)p.y.data)[i], i % 2 ? g[i] * u[i] : 0);
        ck_assert_float_eq(((float *)p.dgate.data)[i], i % 2 ? dy[i] * u[i] : 0);
        ck_assert_float_eq(((float *)p.dup.data)[i], i % 2 ? dy[i] * g[i] : 0);
    }
    drop(&p);
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
    ck_ok(l2_op_swiglu_forward(c->ctx, &c->p->gate, &c->p->up, &c->p->y));
    double sum = 0;
    for (int64_t i = 0; i < c->p->size; i++) sum += ((double *)c->p->y.data)[i] * ((double *)c->p->dy.data)[i];
    return sum;
}

START_TEST(gradients)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < N_SIZES; i++) {
        problem p = make(LLAMA2_F64, sizes[i][0], sizes[i][1], 3);
        check c = {ctx, &p};
        run(ctx, &p);
        gradcheck("dgate", loss, &c, p.gate.data, p.dgate.data, p.size, 120, 1e-7);
        gradcheck("dup", loss, &c, p.up.data, p.dup.data, p.size, 120, 1e-7);
        drop(&p);
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(bits)
{
    for (int i = 0; i < N_SIZES; i++) {
        problem ref = make(LLAMA2_F32, sizes[i][0], sizes[i][1], 6);
        llama2_context *ctx = test_context(LLAMA2_ISA_SCALAR, 1);
        run(ctx, &ref);
        llama2_context_free(ctx);
        for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
            for (int32_t threads = 1; threads <= 8; threads += threads < 3 ? 1 : 5) {
                ctx = test_context(isa, threads);
                if (!ctx) continue;
                problem p = make(LLAMA2_F32, sizes[i][0], sizes[i][1], 6);
                run(ctx, &p);
                ck_same_bits("y", ref.y.data, p.y.data, p.size, sizeof(float));
                ck_same_bits("dgate", ref.dgate.data, p.dgate.data, p.size, sizeof(float));
                ck_same_bits("dup", ref.dup.data, p.dup.data, p.size, sizeof(float));
                drop(&p);
                llama2_context_free(ctx);
            }
        }
        drop(&ref);
    }
}
END_TEST

START_TEST(in_place)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    problem a = make(LLAMA2_F32, 255, 33, 6);
    run(ctx, &a);
    for (int up = 0; up < 2; up++) {
        problem b = make(LLAMA2_F32, 255, 33, 6);
        l2_tensor *y = up ? &b.up : &b.gate;
        ck_ok(l2_op_swiglu_forward(ctx, &b.gate, &b.up, y));
        ck_same_bits("y", a.y.data, y->data, a.size, sizeof(float));
        drop(&b);
    }
    problem b = make(LLAMA2_F32, 255, 33, 6);
    ck_ok(l2_op_swiglu_backward(ctx, &b.gate, &b.up, &b.dy, &b.gate, &b.up));
    ck_same_bits("dgate", a.dgate.data, b.gate.data, a.size, sizeof(float));
    ck_same_bits("dup", a.dup.data, b.up.data, a.size, sizeof(float));
    drop(&b);
    drop(&a);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/swiglu");
    ADD_CASE(suite, "swiglu", forward_is_the_definition, large_gates, gradients, bits, in_place);
    return suite;
}
