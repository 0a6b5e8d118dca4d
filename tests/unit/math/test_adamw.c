/* AdamW against the textbook in double for ten steps, and the same bits from every instruction set and any number of
 * threads. */
#include "gradcheck.h"
#include "math/ops.h"

typedef struct state {
    l2_tensor p, m, v;
} state;

static l2_adamw hyper_of(int step)
{
    return (l2_adamw){.lr = 1e-2 * (1 + step),
                      .beta1 = 0.9,
                      .beta2 = 0.95,
                      .eps = 1e-5,
                      .weight_decay = 0.1,
                      .grad_scale = 0.37,
                      .bias1 = 1 - pow(0.9, step + 1),
                      .bias2 = 1 - pow(0.95, step + 1)};
}

static state make(int32_t dtype, int64_t n)
{
    size_t size = l2_dtype_size(dtype);
    return (state){l2_tensor_1d(dtype, test_numbers(dtype, n, 1, 1), n), l2_tensor_1d(dtype, test_alloc(n, size), n),
                   l2_tensor_1d(dtype, test_alloc(n, size), n)};
}

static void drop(state *s)
{
    free(s->p.data), free(s->m.data), free(s->v.data);
}

static void ten_steps(llama2_context *ctx, int32_t dtype, int64_t n, state *s)
{
    for (int step = 0; step < 10; step++) {
        l2_adamw hyper = hyper_of(step);
        l2_tensor g = l2_tensor_1d(dtype, test_numbers(dtype, n, (uint64_t)(100 + step), 2), n);
        ck_ok(l2_op_adamw(ctx, &hyper, &s->p, &g, &s->m, &s->v));
        free(g.data);
    }
}

static double textbook(uint64_t i)
{
    double p = test_random(1, i), m = 0, v = 0;
    for (int step = 0; step < 10; step++) {
        l2_adamw h = hyper_of(step);
        double g = 2 * test_random((uint64_t)(100 + step), i) * h.grad_scale;
        p *= 1 - h.lr * h.weight_decay;
        m = h.beta1 * m + (1 - h.beta1) * g;
        v = h.beta2 * v + (1 - h.beta2) * g * g;
        p -= h.lr * (m / h.bias1) / (sqrt(v / h.bias2) + h.eps);
    }
    return p;
}

START_TEST(ten_steps_as_in_the_book)
{
    const int64_t sizes[] = {1, 3, 17, 255, 40000};
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < 5; i++) {
        for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
            state s = make(dtype, sizes[i]);
            ten_steps(ctx, dtype, sizes[i], &s);
            for (int64_t j = 0; j < sizes[i]; j++) {
                double p = dtype == LLAMA2_F64 ? ((double *)s.p.data)[j] : (double)((float *)s.p.data)[j];
                double book = textbook((uint64_t)j);
                ck_each(fabs(p - book) <= (dtype == LLAMA2_F64 ? 1e-13 : 2e-6), "parameter %lld is %.17g, not %.17g",
                        (long long)j, p, book);
            }
            drop(&s);
        }
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(the_same_bits)
{
    enum { N = 50003 };
    llama2_context *reference = test_context(LLAMA2_ISA_SCALAR, 1);
    state a = make(LLAMA2_F32, N);
    ten_steps(reference, LLAMA2_F32, N, &a);
    for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
        for (int32_t threads = 1; threads <= 8; threads = threads == 3 ? 8 : threads + 1) {
            llama2_context *ctx = test_context(isa, threads);
            if (!ctx) continue;
            state b = make(LLAMA2_F32, N);
            ten_steps(ctx, LLAMA2_F32, N, &b);
            ck_same_bits("p", a.p.data, b.p.data, N, 4);
            ck_same_bits("m", a.m.data, b.m.data, N, 4);
            ck_same_bits("v", a.v.data, b.v.data, N, 4);
            drop(&b);
            llama2_context_free(ctx);
        }
    }
    drop(&a);
    llama2_context_free(reference);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/adamw");
    ADD_CASE(suite, "adamw", ten_steps_as_in_the_book, the_same_bits);
    return suite;
}
