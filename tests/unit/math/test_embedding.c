#include "gradcheck.h"
#include "math/ops.h"

enum { V = 11 };

static void tokens_of(int64_t n, int32_t *tokens)
{
    for (int64_t t = 0; t < n; t++) tokens[t] = (int32_t)((test_random(9, (uint64_t)t) + 1) / 2 * V);
}

static const int64_t sizes[][2] = {{1, 1}, {3, 5}, {17, 16}, {255, 130}, {255, 300}, {200, 17}};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

START_TEST(rows_are_copied)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < N_SIZES; i++) {
        int64_t n = sizes[i][0], d = sizes[i][1];
        int32_t tokens[255];
        tokens_of(n, tokens);
        for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
            size_t size = l2_dtype_size(dtype);
            void *w = test_numbers(dtype, V * d, 1, 1), *y = test_alloc(n * d, size);
            l2_linear tw = {.weight = l2_tensor_2d(dtype, w, V, d)};
            l2_tensor ty = l2_tensor_2d(dtype, y, n, d);
            ck_ok(l2_op_embedding_forward(ctx, &tw, tokens, &ty));
            for (int64_t t = 0; t < n; t++) {
                ck_same_bits("row", (char *)w + (size_t)(tokens[t] * d) * size, (char *)y + (size_t)(t * d) * size, d,
                             size);
            }
            free(w);
            free(y);
        }
    }
    llama2_context_free(ctx);
}
END_TEST

typedef struct check {
    llama2_context *ctx;
    l2_linear w;
    l2_tensor y;
    const int32_t *tokens;
    const double *dy;
} check;

static double loss(void *user)
{
    check *c = user;
    ck_ok(l2_op_embedding_forward(c->ctx, &c->w, c->tokens, &c->y));
    double sum = 0;
    for (int64_t i = 0; i < l2_tensor_size(&c->y); i++) sum += ((double *)c->y.data)[i] * c->dy[i];
    return sum;
}

START_TEST(gradient)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < N_SIZES; i++) {
        int64_t n = sizes[i][0], d = sizes[i][1];
        int32_t tokens[255];
        tokens_of(n, tokens);
        double *w = test_numbers(LLAMA2_F64, V * d, 1, 1), *y = test_alloc(n * d, 8),
               *dy = test_numbers(LLAMA2_F64, n * d, 2, 1);
        double *dw = test_alloc(V * d, 8);
        l2_tensor tdw = l2_tensor_2d(LLAMA2_F64, dw, V, d), tdy = l2_tensor_2d(LLAMA2_F64, dy, n, d);
        ck_ok(l2_op_embedding_backward(ctx, &tdw, tokens, &tdy));
        check c = {ctx, {.weight = l2_tensor_2d(LLAMA2_F64, w, V, d)}, l2_tensor_2d(LLAMA2_F64, y, n, d), tokens, dy};
        gradcheck("dw", loss, &c, w, dw, V * d, 100, 1e-7);
        free(w);
        free(y);
        free(dy);
        free(dw);
    }
    llama2_context_free(ctx);
}
END_TEST

/* The sum in the order of the tokens, from what is there; any threads, any instruction set. */
START_TEST(bits)
{
    for (int i = 0; i < N_SIZES; i++) {
        int64_t n = sizes[i][0], d = sizes[i][1];
        int32_t tokens[255];
        tokens_of(n, tokens);
        float *dy = test_numbers(LLAMA2_F32, n * d, 2, 1), *expected = test_numbers(LLAMA2_F32, V * d, 3, 1);
        for (int64_t t = 0; t < n; t++) {
            for (int64_t j = 0; j < d; j++) expected[tokens[t] * d + j] += dy[t * d + j];
        }
        for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
            for (int32_t threads = 1; threads <= 8; threads += threads < 3 ? 1 : 5) {
                llama2_context *ctx = test_context(isa, threads);
                if (!ctx) continue;
                float *dw = test_numbers(LLAMA2_F32, V * d, 3, 1);
                l2_tensor tdw = l2_tensor_2d(LLAMA2_F32, dw, V, d), tdy = l2_tensor_2d(LLAMA2_F32, dy, n, d);
                ck_ok(l2_op_embedding_backward(ctx, &tdw, tokens, &tdy));
                ck_same_bits("dw", expected, dw, V * d, sizeof(float));
                free(dw);
                llama2_context_free(ctx);
            }
        }
        free(dy);
        free(expected);
    }
}
END_TEST

/* Tokens of weight 0 in between change no bit, not even of their own rows. */
START_TEST(rows_of_zeros_leave_no_trace)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    enum { N = 40, D = 33 };
    int32_t tokens[N], wide[2 * N];
    tokens_of(N, tokens);
    float *dy = test_numbers(LLAMA2_F32, N * D, 2, 1), *dy2 = test_alloc(2 * N * D, 4), *a = test_alloc(V * D, 4),
          *b = test_alloc(V * D, 4);
    for (int t = 0; t < N; t++) {
        wide[2 * t] = (t * 5 + 1) % V;
        wide[2 * t + 1] = tokens[t];
        for (int j = 0; j < D; j++) dy2[2 * t * D + j] = -0.0f;
        memcpy(dy2 + (2 * t + 1) * D, dy + t * D, D * sizeof(float));
    }
    l2_tensor ta = l2_tensor_2d(LLAMA2_F32, a, V, D), tb = l2_tensor_2d(LLAMA2_F32, b, V, D);
    l2_tensor t1 = l2_tensor_2d(LLAMA2_F32, dy, N, D), t2 = l2_tensor_2d(LLAMA2_F32, dy2, 2 * N, D);
    ck_ok(l2_op_embedding_backward(ctx, &ta, tokens, &t1));
    ck_ok(l2_op_embedding_backward(ctx, &tb, wide, &t2));
    ck_same_bits("dw", a, b, V * D, sizeof(float));
    free(dy);
    free(dy2);
    free(a);
    free(b);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/embedding");
    ADD_CASE(suite, "embedding", rows_are_copied, gradient, bits, rows_of_zeros_leave_no_trace);
    return suite;
}
