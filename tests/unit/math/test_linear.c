/* The weight object: gradients against differences in double, and that accumulation over micro-batches changes no bit.
 */
#include "gradcheck.h"
#include "math/gemm.h"
#include "math/linear.h"

typedef struct linear_case {
    llama2_context *ctx;
    l2_linear w;
    l2_tensor x, y, dy;
} linear_case;

/* L = sum dy * (x W^T), so that dy is its gradient by y. */
static double loss(void *user)
{
    linear_case *c = user;
    ck_ok(l2_linear_forward(c->ctx, &c->w, &c->x, &c->y, 0));
    double sum = 0;
    for (int64_t i = 0; i < l2_tensor_size(&c->y); i++) sum += ((double *)c->y.data)[i] * ((double *)c->dy.data)[i];
    return sum;
}

static void check_gradients(llama2_context *ctx, int64_t t, int64_t n, int64_t k)
{
    enum { D = LLAMA2_F64 };
    linear_case c = {.ctx = ctx,
                     .w = {.weight = l2_tensor_2d(D, test_numbers(D, n * k, 1, 1), n, k),
                           .grad = l2_tensor_2d(D, test_alloc(n * k, 8), n, k)},
                     .x = l2_tensor_2d(D, test_numbers(D, t * k, 2, 1), t, k),
                     .y = l2_tensor_2d(D, test_alloc(t * n, 8), t, n),
                     .dy = l2_tensor_2d(D, test_numbers(D, t * n, 3, 1), t, n)};
    l2_tensor dx = l2_tensor_2d(D, test_numbers(D, t * k, 4, 1), t, k);
    double *before = test_numbers(D, t * k, 4, 1);
    ck_ok(l2_linear_backward(ctx, &c.w, &c.x, &c.dy, &dx, 1));
    for (int64_t i = 0; i < t * k; i++) ((double *)dx.data)[i] -= before[i];
    gradcheck("dx, accumulated", loss, &c, c.x.data, dx.data, t * k, 40, 1e-8);
    gradcheck("dW", loss, &c, c.w.weight.data, c.w.grad.data, n * k, 40, 1e-8);
    free(c.w.grad.data);
    c.w.grad.data = NULL; /* frozen */
    ck_ok(l2_linear_backward(ctx, &c.w, &c.x, &c.dy, &dx, 0));
    gradcheck("dx", loss, &c, c.x.data, dx.data, t * k, 40, 1e-8);
    void *all[] = {c.w.weight.data, c.x.data, c.y.data, c.dy.data, dx.data, before};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

START_TEST(gradients)
{
    const int64_t sizes[] = {1, 3, 17, 255};
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) check_gradients(ctx, sizes[i], sizes[j], sizes[(i + j) % 4]);
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(micro_batches_and_rows_of_zeros)
{
    enum { T = 530, N = 65, K = 77, F = LLAMA2_F32 };
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    float *w = test_numbers(F, N * K, 1, 1), *x = test_numbers(F, T * K, 2, 1), *dy = test_numbers(F, T * N, 3, 1);
    for (int64_t i = 20 * N; i < 25 * N; i++) dy[i] = 0;
    float *whole = test_alloc(N * K, 4), *parts = test_alloc(N * K, 4);
    l2_linear a = {.weight = l2_tensor_2d(F, w, N, K), .grad = l2_tensor_2d(F, whole, N, K)},
              b = {.weight = a.weight, .grad = l2_tensor_2d(F, parts, N, K)};
    l2_tensor xs = l2_tensor_2d(F, x, T, K), dys = l2_tensor_2d(F, dy, T, N);
    ck_ok(l2_linear_backward(ctx, &a, &xs, &dys, NULL, 0));
    const int64_t cuts[] = {0, 1, 20, 25, 400, T}; /* without the rows of zeros */
    for (int i = 0; i < 5; i++) {
        if (cuts[i] == 20) continue;
        l2_tensor xi = l2_tensor_rows(&xs, cuts[i], cuts[i + 1] - cuts[i]),
                  dyi = l2_tensor_rows(&dys, cuts[i], cuts[i + 1] - cuts[i]);
        ck_ok(l2_linear_backward(ctx, &b, &xi, &dyi, NULL, 0));
    }
    ck_same_bits("dW", whole, parts, N * K, 4);
    free(w), free(x), free(dy), free(whole), free(parts);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(accumulates_into_y)
{
    enum { T = 5, N = 9, K = 530, F = LLAMA2_F32 };
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 1);
    float *w = test_numbers(F, N * K, 1, 1), *x = test_numbers(F, T * K, 2, 1), *y = test_numbers(F, T * N, 3, 1),
          *start = test_numbers(F, T * N, 3, 1);
    l2_linear linear = {.weight = l2_tensor_2d(F, w, N, K)};
    l2_tensor xs = l2_tensor_2d(F, x, T, K), ys = l2_tensor_2d(F, y, T, N);
    ck_ok(l2_linear_forward(ctx, &linear, &xs, &ys, 1));
    for (int i = 0; i < T * N; i++) {
        float sum = start[i], block = 0;
        for (int k = 0; k < K; k++) {
            if (k == L2_GEMM_BLOCK) sum += block, block = 0;
            block = fmaf(x[i / N * K + k], w[i % N * K + k], block);
        }
        sum += block;
        ck_same_bits("y", &sum, y + i, 1, 4);
    }
    free(w), free(x), free(y), free(start);
    llama2_context_free(ctx);
}
END_TEST

/* Weights of several heights at once, for few, some and many rows: the bits of one after the other. */
START_TEST(several_at_once)
{
    enum { K = 77, F = LLAMA2_F32, MOST = 3 };
    static const int64_t heights[MOST] = {96, 5, 130}, row_counts[] = {1, 7, 8, 9, 33, 64, 70};
    for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
        for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++) {
            int64_t rows = row_counts[r];
            llama2_context *ctx = test_context(isa, 2);
            if (!ctx) continue;
            l2_linear w[MOST];
            l2_tensor x = l2_tensor_2d(F, test_numbers(F, rows * K, 9, 1), rows, K), one[MOST], all[MOST];
            for (int i = 0; i < MOST; i++) {
                int64_t n = heights[i];
                w[i] = (l2_linear){.weight = l2_tensor_2d(F, test_numbers(F, n * K, 1 + (uint64_t)i, 1), n, K)};
                one[i] = l2_tensor_2d(F, test_alloc(rows * n, 4), rows, n);
                all[i] = l2_tensor_2d(F, test_alloc(rows * n, 4), rows, n);
                ck_ok(l2_linear_forward(ctx, &w[i], &x, &one[i], 0));
            }
            ck_ok(l2_linears_forward(ctx, MOST, (const l2_linear *[]){&w[0], &w[1], &w[2]}, &x,
                                     (l2_tensor *[]){&all[0], &all[1], &all[2]}));
            for (int i = 0; i < MOST; i++) {
                ck_same_bits("y", one[i].data, all[i].data, rows * heights[i], 4);
                free(w[i].weight.data), free(one[i].data), free(all[i].data);
            }
            free(x.data);
            llama2_context_free(ctx);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/linear");
    ADD_CASE(suite, "linear", gradients, micro_batches_and_rows_of_zeros, accumulates_into_y, several_at_once);
    return suite;
}
