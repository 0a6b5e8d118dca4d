/* The fused head: values against log-softmax in double, gradients against differences, bits against full logits,
 * chunks, threads and instruction sets. */
#include "gradcheck.h"
#include "math/ops.h"

typedef struct head_case {
    llama2_context *ctx;
    l2_linear head;
    l2_tensor x, dx;
    int32_t *targets;
    l2_head_options options;
    int64_t first;                    /* row of the whole that is row 0 here: the losses' weights go by it */
    double *logprob, *entropy, *loss; /* of each row */
} head_case;

/* w0 logprob + w1 logprob^2 + w2 H + w3 H^2, other weights for each row. */
static void token_loss(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy)
{
    head_case *c = user;
    double w[4];
    for (int i = 0; i < 4; i++) w[i] = test_random(9, (uint64_t)(4 * (c->first + row) + i));
    ck_each(*dlogprob == 0 && *dentropy == 0, "derivatives are not 0 at first");
    c->logprob[row] = logprob;
    c->entropy[row] = entropy;
    c->loss[row] = w[0] * logprob + 0.1 * w[1] * logprob * logprob + w[2] * entropy + w[3] * entropy * entropy;
    *dlogprob = w[0] + 0.2 * w[1] * logprob;
    *dentropy = w[2] + 2 * w[3] * entropy;
}

static head_case make(llama2_context *ctx, int32_t dtype, int64_t rows, int64_t v, int64_t d, double temperature,
                      int entropy)
{
    head_case c = {.ctx = ctx, .options = {temperature, entropy, 1}};
    size_t size = l2_dtype_size(dtype);
    c.head.weight = l2_tensor_2d(dtype, test_numbers(dtype, v * d, 1, 1), v, d);
    c.head.grad = l2_tensor_2d(dtype, test_alloc(v * d, size), v, d);
    c.x = l2_tensor_2d(dtype, test_numbers(dtype, rows * d, 2, 2), rows, d);
    c.dx = l2_tensor_2d(dtype, test_alloc(rows * d, size), rows, d);
    c.targets = test_alloc(rows, 4);
    for (int64_t i = 0; i < rows; i++) c.targets[i] = (int32_t)((test_random(3, (uint64_t)i) + 1) / 2 * (double)v);
    c.logprob = test_alloc(rows, 8);
    c.entropy = test_alloc(rows, 8);
    c.loss = test_alloc(rows, 8);
    return c;
}

static void drop(head_case *c)
{
    void *all[] = {c->head.weight.data, c->head.grad.data, c->x.data,  c->dx.data,
                   c->targets,          c->logprob,        c->entropy, c->loss};
    for (int i = 0; i < 8; i++) free(all[i]);
}

static void run(head_case *c)
{
    ck_ok(l2_op_head(c->ctx, &c->head, &c->x, c->targets, &c->options, token_loss, c, &c->dx));
}

static double forward_loss(void *user)
{
    head_case *c = user;
    c->options.backward = 0;
    run(c);
    c->options.backward = 1;
    double sum = 0;
    for (int64_t i = 0; i < c->x.shape[0]; i++) sum += c->loss[i];
    return sum;
}

START_TEST(gradients)
{
    const int64_t sizes[] = {1, 3, 17, 255};
    const double temperatures[] = {1, 0.6, 2.5};
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            for (int k = 0; k < 3; k++) {
                for (int entropy = 0; entropy < 2; entropy++) {
                    int64_t v = sizes[i], d = sizes[j], rows = sizes[(i + j) % 3];
                    head_case c = make(ctx, LLAMA2_F64, rows, v, d, temperatures[k], entropy);
                    run(&c);
                    gradcheck("dx", forward_loss, &c, c.x.data, c.dx.data, rows * d, 40, 1e-7);
                    gradcheck("dW", forward_loss, &c, c.head.weight.data, c.head.grad.data, v * d, 60, 1e-7);
                    drop(&c);
                }
            }
        }
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(values)
{
    enum { R = 7, V = 1003, D = 5 };
    const double temperatures[] = {1, 0.7, 3};
    for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
        llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
        for (int t = 0; t < 3; t++) {
            head_case c = make(ctx, dtype, R, V, D, temperatures[t], 1);
            run(&c);
            for (int64_t r = 0; r < R; r++) {
                double z[V], most = -INFINITY, s = 0, h = 0;
                for (int j = 0; j < V; j++) {
                    z[j] = 0;
                    for (int k = 0; k < D; k++) {
                        int64_t iw = (int64_t)j * D + k, ix = r * D + k;
                        z[j] += dtype == LLAMA2_F64
                                    ? ((double *)c.head.weight.data)[iw] * ((double *)c.x.data)[ix]
                                    : (double)((float *)c.head.weight.data)[iw] * (double)((float *)c.x.data)[ix];
                    }
                    z[j] /= temperatures[t];
                    most = fmax(most, z[j]);
                }
                for (int j = 0; j < V; j++) s += exp(z[j] - most);
                double lse = most + log(s);
                for (int j = 0; j < V; j++) h -= exp(z[j] - lse) * (z[j] - lse);
                double tolerance = dtype == LLAMA2_F64 ? 1e-12 : 4e-6;
                ck_assert_double_eq_tol(c.logprob[r], z[c.targets[r]] - lse, tolerance);
                ck_assert_double_eq_tol(c.entropy[r], h, tolerance);
            }
            drop(&c);
        }
        llama2_context_free(ctx);
    }
}
END_TEST

/* Three chunks of 64 rows at most at this vocabulary. */
enum { ROWS = 150, VOCABULARY = 66001, WIDTH = 3 };

START_TEST(full_logits_give_the_same_bits)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    head_case c = make(ctx, LLAMA2_F32, ROWS, VOCABULARY, WIDTH, 0.8, 1);
    run(&c);
    l2_tensor logits = l2_tensor_2d(LLAMA2_F32, test_alloc((int64_t)ROWS * VOCABULARY, 4), ROWS, VOCABULARY);
    ck_ok(l2_linear_forward(ctx, &c.head, &c.x, &logits, 0));
    double logprob[ROWS], entropy[ROWS];
    ck_ok(l2_op_logprobs(ctx, &logits, c.targets, 0.8, logprob, entropy));
    ck_same_bits("logprob", logprob, c.logprob, ROWS, 8);
    ck_same_bits("entropy", entropy, c.entropy, ROWS, 8);
    ck_ok(l2_op_logprobs(ctx, &logits, c.targets, 0.8, logprob, NULL));
    ck_same_bits("logprob alone", logprob, c.logprob, ROWS, 8);
    free(logits.data);
    drop(&c);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(chunks_change_no_bit)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    head_case c = make(ctx, LLAMA2_F32, ROWS, VOCABULARY, WIDTH, 1, 1),
              d = make(ctx, LLAMA2_F32, ROWS, VOCABULARY, WIDTH, 1, 1);
    run(&c);
    for (int64_t first = 0; first < ROWS; first += 31) {
        head_case part = d;
        int64_t n = ROWS - first < 31 ? ROWS - first : 31;
        part.x = l2_tensor_rows(&d.x, first, n);
        part.dx = l2_tensor_rows(&d.dx, first, n);
        part.targets += first;
        part.first = first;
        run(&part);
        ck_same_bits("logprob", part.logprob, c.logprob + first, n, 8);
    }
    ck_same_bits("dx", c.dx.data, d.dx.data, ROWS * WIDTH, 4);
    ck_same_bits("dW", c.head.grad.data, d.head.grad.data, VOCABULARY * WIDTH, 4);
    drop(&c), drop(&d);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(threads_and_instruction_sets_change_no_bit)
{
    enum { R = 33, V = 517, D = 40 };
    llama2_context *reference = test_context(LLAMA2_ISA_SCALAR, 1);
    head_case c = make(reference, LLAMA2_F32, R, V, D, 0.9, 1);
    run(&c);
    for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
        for (int32_t threads = 1; threads <= 8; threads = threads == 3 ? 8 : threads + 1) {
            llama2_context *ctx = test_context(isa, threads);
            if (!ctx) continue;
            head_case e = make(ctx, LLAMA2_F32, R, V, D, 0.9, 1);
            run(&e);
            ck_same_bits("logprob", c.logprob, e.logprob, R, 8);
            ck_same_bits("entropy", c.entropy, e.entropy, R, 8);
            ck_same_bits("dx", c.dx.data, e.dx.data, R * D, 4);
            ck_same_bits("dW", c.head.grad.data, e.head.grad.data, V * D, 4);
            drop(&e);
            llama2_context_free(ctx);
        }
    }
    drop(&c);
    llama2_context_free(reference);
}
END_TEST

static void nothing(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy)
{
    (void)user, (void)row, (void)logprob, (void)entropy, (void)dlogprob, (void)dentropy;
}

START_TEST(a_loss_without_derivatives_changes_no_gradient)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 2);
    head_case c = make(ctx, LLAMA2_F32, 9, 300, 20, 1, 1);
    run(&c);
    float *before = test_alloc(300 * 20, 4);
    memcpy(before, c.head.grad.data, 300 * 20 * 4);
    ck_ok(l2_op_head(ctx, &c.head, &c.x, c.targets, &c.options, nothing, NULL, &c.dx));
    ck_same_bits("dW", before, c.head.grad.data, 300 * 20, 4);
    for (int i = 0; i < 9 * 20; i++) ck_assert(((float *)c.dx.data)[i] == 0);
    free(before);
    drop(&c);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(impossible_tokens)
{
    llama2_context *ctx = test_context(LLAMA2_ISA_AUTO, 1);
    float row[20];
    for (int i = 0; i < 20; i++) row[i] = i % 2 ? -INFINITY : 0;
    int32_t targets[1] = {4};
    l2_tensor logits = l2_tensor_2d(LLAMA2_F32, row, 1, 20);
    double logprob, entropy;
    ck_ok(l2_op_logprobs(ctx, &logits, targets, 1, &logprob, &entropy));
    ck_assert_double_eq_tol(logprob, -log(10), 1e-12);
    ck_assert_double_eq_tol(entropy, log(10), 1e-12);
    llama2_context_free(ctx);
}
END_TEST

/* exp(z - max z) and its sums, against double; the same bits for every instruction set. */
START_TEST(probabilities)
{
    static const int64_t sizes[] = {1, 3, 17, 255, 256, 257, 1000};
    for (int i = 0; i < 7; i++) {
        int64_t n = sizes[i];
        float *logits = test_numbers(LLAMA2_F32, n, 5, 8), *p = test_alloc(n, 4), *first = test_alloc(n, 4);
        double sums[4], first_sums[4], max = -INFINITY;
        for (int64_t j = 0; j < n; j++) max = fmax(max, (double)(logits[j] * (float)(1 / 0.7)));
        for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
            llama2_context *ctx = test_context(isa, 1);
            if (!ctx) continue;
            ck_each(l2_op_probabilities(ctx, n, logits, 0.7, p, sums) == max, "another maximum");
            for (int64_t b = 0, j = 0; j < n; b++) {
                double sum = 0;
                for (int64_t end = j + L2_SUM_BLOCK < n ? j + L2_SUM_BLOCK : n; j < end; j++) {
                    double expected = exp((double)(logits[j] * (float)(1 / 0.7)) - max);
                    ck_each(fabs((double)p[j] - expected) <= 2e-6 * expected, "p[%d]: %g, expected %g", (int)j,
                            (double)p[j], expected);
                    sum += (double)p[j];
                }
                ck_each(fabs(sums[b] - sum) <= 2e-6 * sum, "sum %d: %g, expected %g", (int)b, sums[b], sum);
            }
            if (isa == LLAMA2_ISA_SCALAR) memcpy(first, p, (size_t)n * 4), memcpy(first_sums, sums, sizeof sums);
            ck_same_bits("p", first, p, n, 4);
            ck_same_bits("sums", first_sums, sums, (n + L2_SUM_BLOCK - 1) / L2_SUM_BLOCK, 8);
            llama2_context_free(ctx);
        }
        free(logits), free(p), free(first);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("math/head");
    ADD_CASE(suite, "values", values, gradients, impossible_tokens, a_loss_without_derivatives_changes_no_gradient);
    ADD_CASE(suite, "bits", full_logits_give_the_same_bits, chunks_change_no_bit,
             threads_and_instruction_sets_change_no_bit, probabilities);
    return suite;
}
