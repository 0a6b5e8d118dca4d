/* The whole model against numeric differences in double, and the promises about bits. */
#include "small_model.h"

#include "base/alloc.h"
#include "model/forward.h"

#include <math.h>
#include <stdlib.h>

static double loss_of(const llama2_model *m, const llama2_batch *b)
{
    llama2_loss loss = {.struct_size = sizeof loss};
    ck_ok(llama2_model_evaluate(m, b, &loss));
    return loss.sum;
}

/* Gradients of the language-model loss, in the arena's layout; to be freed. */
static void *gradients(llama2_model *m, const llama2_batch *b, int recompute)
{
    size_t size = l2_dtype_size(m->dtype);
    void *grad = calloc((size_t)m->n_elements, size);
    l2_activations a;
    llama2_loss loss = {.struct_size = sizeof loss};
    l2_activations_init(&a, m->ctx, recompute);
    l2_model_attach_gradients(m, grad);
    ck_ok(l2_model_evaluate(m, b, &a, &loss));
    l2_model_attach_gradients(m, NULL);
    l2_activations_free(&a);
    return grad;
}

/* A few elements of every parameter against central differences. */
static void check_model(int32_t tied)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, tied, LLAMA2_F64);
    small_batch b;
    small_batch_init(&b);
    double *grad = gradients(m, &b.batch, 0), *w = m->weights;
    int64_t checked = 0;
    for (int32_t i = 0; i < m->n_params; i++) {
        const l2_param *p = &m->params[i];
        int64_t n = p->rows * p->columns, step = n / 23 + 1;
        double worst = 0, norm = 0;
        for (int64_t k = p->offset; k < p->offset + n; k++) norm += grad[k] * grad[k];
        ck_assert_msg(norm > 0, "%s has no gradient", p->name);
        norm = sqrt(norm / (double)n);
        for (int64_t k = p->offset; k < p->offset + n; k += step, checked++) {
            double h = 1e-5, before = w[k];
            w[k] = before + h;
            double up = loss_of(m, &b.batch);
            w[k] = before - h;
            double down = loss_of(m, &b.batch);
            w[k] = before;
            double error = fabs((up - down) / (2 * h) - grad[k]);
            if (error > worst) worst = error;
        }
        ck_assert_msg(worst < 1e-6 * (norm + 1e-3), "%s: worst error %g, gradient's size %g", p->name, worst, norm);
    }
    ck_assert_int_gt(checked, 300);
    free(grad);
    llama2_model_free(m);
    llama2_context_free(ctx);
}

START_TEST(numeric_gradient_untied)
{
    check_model(0);
}
END_TEST

START_TEST(numeric_gradient_tied)
{
    check_model(1);
}
END_TEST

static void same_bits(const void *a, const void *b, size_t n, const char *what)
{
    ck_assert_msg(memcmp(a, b, n) == 0, "%s: the bits differ", what);
}

/* Nothing is padded, so a model whose padding token is its EOS, as many files have it, learns the EOS as any
 * other does. */
START_TEST(a_padding_token_that_is_the_eos_changes_no_bit)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_config c = small_config(0);
    llama2_model *models[2];
    float *grads[3];
    small_batch b;
    small_batch_init(&b);
    for (int i = 0; i < 2; i++) {
        c.pad_id = i == 0 ? -1 : c.eos_id;
        ck_ok(llama2_model_create(ctx, &c, NULL, &models[i]));
    }
    int64_t last = b.offsets[3] - 1; /* the third sequence ends with an EOS that has a weight */
    b.tokens[last] = c.eos_id;
    b.weights[last] = 1;
    for (int i = 0; i < 2; i++) grads[i] = gradients(models[i], &b.batch, 0);
    same_bits(grads[0], grads[1], (size_t)models[0]->n_elements * sizeof(float), "the padding token");
    b.weights[last] = 0;
    grads[2] = gradients(models[1], &b.batch, 0);
    ck_assert(memcmp(grads[1], grads[2], (size_t)models[1]->n_elements * sizeof(float)) != 0);
    for (int i = 0; i < 3; i++) free(grads[i]);
    for (int i = 0; i < 2; i++) llama2_model_free(models[i]);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(bits_do_not_depend_on_threads_isa_recompute_or_parts)
{
    static const int32_t isas[] = {LLAMA2_ISA_AUTO, LLAMA2_ISA_AVX2, LLAMA2_ISA_SCALAR};
    small_batch b;
    small_batch_init(&b);
    float *first = NULL;
    for (int32_t threads = 1; threads <= 8; threads += threads < 3 ? 1 : 5) {
        for (size_t k = 0; k < sizeof isas / sizeof *isas; k++) {
            llama2_context *ctx = small_context(threads, isas[k]);
            llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
            float *grad = gradients(m, &b.batch, threads == 2);
            if (!first)
                first = grad;
            else
                same_bits(first, grad, (size_t)m->n_elements * sizeof *grad, llama2_context_describe(ctx));
            if (grad != first) free(grad);

            /* Each sequence by itself, one after the other. */
            float *parts = calloc((size_t)m->n_elements, sizeof *parts);
            l2_activations a;
            l2_activations_init(&a, ctx, 0);
            l2_model_attach_gradients(m, parts);
            int32_t sequence = 0;
            int64_t offsets[8], token;
            llama2_batch part;
            llama2_loss loss = {.struct_size = sizeof loss};
            while (l2_batch_next_part(&b.batch, 4, 1, &sequence, offsets, &part, &token))
                ck_ok(l2_model_evaluate(m, &part, &a, &loss));
            l2_model_attach_gradients(m, NULL);
            same_bits(first, parts, (size_t)m->n_elements * sizeof *parts, "in parts");
            l2_activations_free(&a);
            free(parts);
            llama2_model_free(m);
            llama2_context_free(ctx);
        }
    }
    free(first);
}
END_TEST

START_TEST(neighbours_without_weight_change_no_bit)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    small_batch b;
    small_batch_init(&b);
    /* Only the sequence of 17 tokens counts. */
    memset(b.weights, 0, 4 * sizeof(float));
    memset(b.weights + 21, 0, 9 * sizeof(float));
    float *among = gradients(m, &b.batch, 0);
    int64_t offsets[] = {0, 17};
    llama2_batch alone = {sizeof alone, 1, 17, b.tokens + 4, offsets, b.weights + 4};
    float *by_itself = gradients(m, &alone, 0);
    same_bits(among, by_itself, (size_t)m->n_elements * sizeof *among, "a sequence alone and among neighbours");
    free(among);
    free(by_itself);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(batches_are_checked)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    llama2_loss loss = {.struct_size = sizeof loss};
    small_batch b;
    small_batch_init(&b);
    b.tokens[5] = 37;
    ck_fails(llama2_model_evaluate(m, &b.batch, &loss), LLAMA2_E_INVALID);
    small_batch_init(&b);
    b.offsets[2] = b.offsets[1];
    ck_fails(llama2_model_evaluate(m, &b.batch, &loss), LLAMA2_E_INVALID);
    small_batch_init(&b);
    b.weights[6] = NAN;
    ck_fails(llama2_model_evaluate(m, &b.batch, &loss), LLAMA2_E_INVALID);
    small_batch_init(&b);
    b.batch.n_tokens++;
    ck_fails(llama2_model_evaluate(m, &b.batch, &loss), LLAMA2_E_INVALID);
    small_batch_init(&b);
    b.batch.struct_size = 4;
    ck_fails(llama2_model_evaluate(m, &b.batch, &loss), LLAMA2_E_ABI);
    int32_t long_tokens[161] = {0};
    int64_t long_offsets[] = {0, 161};
    llama2_batch too_long = {sizeof too_long, 1, 161, long_tokens, long_offsets, NULL};
    ck_fails(llama2_model_evaluate(m, &too_long, &loss), LLAMA2_E_CONTEXT);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("model/gradients");
    ADD_CASE(s, "gradients", numeric_gradient_untied, numeric_gradient_tied);
    ADD_CASE(s, "bits", a_padding_token_that_is_the_eos_changes_no_bit,
             bits_do_not_depend_on_threads_isa_recompute_or_parts, neighbours_without_weight_change_no_bit);
    ADD_CASE(s, "errors", batches_are_checked);
    return s;
}
