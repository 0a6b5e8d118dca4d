/* Forward, loss and every gradient against transformers in float64: MHA, GQA, MQA, tied and untied. */
#include "golden.h"
#include "model/forward.h"

static const char *const cases[] = {"mha_untied", "gqa_untied", "gqa_tied", "mqa_tied"};
#define EACH_CASE(name)                                                                                                \
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)                                                          \
        for (const char *name = cases[c]; name; name = NULL)

static llama2_context *context(void)
{
    llama2_context *ctx;
    ck_ok(llama2_context_create(NULL, &ctx));
    return ctx;
}

START_TEST(forward)
{
    llama2_context *ctx = context();
    EACH_CASE(name)
    {
        golden g = golden_open(ctx, name);
        llama2_model *model = golden_model(ctx, name, LLAMA2_F32);
        llama2_batch batch = golden_batch(&g, "");
        float *rows = golden_memory(&g, (size_t)golden_count(&g, "logits") * sizeof *rows),
              *entropies = rows + batch.n_tokens;
        ck_ok(llama2_model_logits(model, &batch, rows));
        golden_check_floats(&g, "logits", rows, 2e-6);
        ck_ok(llama2_model_hidden(model, &batch, rows));
        golden_check_floats(&g, "hidden", rows, 2e-6);
        ck_ok(llama2_model_logprobs(model, &batch, 1.0, rows, entropies));
        golden_check_floats(&g, "logprobs", rows, 1e-6);
        golden_check_floats(&g, "entropies", entropies, 1e-6);
        ck_ok(llama2_model_logprobs(model, &batch, golden_value(&g, "hyper/temperature"), rows, entropies));
        golden_check_floats(&g, "logprobs_t", rows, 1e-6);
        golden_check_floats(&g, "entropies_t", entropies, 1e-6);
        llama2_model_free(model);
        golden_close(&g);
    }
    llama2_context_free(ctx);
}
END_TEST

static void check_loss(golden *g, const llama2_loss *loss, double limit)
{
    golden_check_at(g, "loss_sum", 0, loss->sum, limit);
    golden_check_at(g, "loss_weight_sum", 0, loss->weight, 1e-14);
}

/* Rotary positions that are scaled, up to and beyond the context of the pretraining. */
START_TEST(scaled_rope)
{
    static const char *const scaled[] = {"rope_linear", "rope_llama3"};
    llama2_context *ctx = context();
    for (int i = 0; i < 2; i++) {
        golden g = golden_open(ctx, scaled[i]);
        llama2_batch batch = golden_batch(&g, "");
        for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
            llama2_model *model = golden_model(ctx, scaled[i], dtype);
            llama2_config config = {.struct_size = sizeof config};
            ck_ok(llama2_model_config(model, &config));
            ck_assert_int_eq(config.rope_scaling, i ? LLAMA2_ROPE_SCALING_LLAMA3 : LLAMA2_ROPE_SCALING_LINEAR);
            float *logits = golden_memory(&g, (size_t)golden_count(&g, "logits") * sizeof *logits);
            ck_ok(llama2_model_logits(model, &batch, logits));
            golden_check_floats(&g, "logits", logits, dtype == LLAMA2_F32 ? 2e-6 : 1e-7);
            llama2_model_free(model);
        }
        golden_close(&g);
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(evaluate)
{
    llama2_context *ctx = context();
    EACH_CASE(name)
    {
        golden g = golden_open(ctx, name);
        llama2_batch batch = golden_batch(&g, "");
        for (int32_t dtype = LLAMA2_F32; dtype <= LLAMA2_F64; dtype++) {
            llama2_model *model = golden_model(ctx, name, dtype);
            llama2_loss result = {.struct_size = sizeof result};
            ck_ok(llama2_model_evaluate(model, &batch, &result));
            check_loss(&g, &result, dtype == LLAMA2_F32 ? 1e-6 : 1e-12);
            llama2_model_free(model);
        }
        golden_close(&g);
    }
    llama2_context_free(ctx);
}
END_TEST

typedef struct gradients {
    golden *g;
    const llama2_model *model;
    const void *arena;
    double limit;
} gradients;

static void check_gradient(void *user, const char *name, const char *parameter)
{
    gradients *all = user;
    const l2_param *p = l2_model_find(all->model, parameter);
    ck_assert_msg(p != NULL, "%s: the model has no %s", all->g->name, parameter);
    const l2_st_tensor *want = golden_tensor(all->g, name);
    ck_assert_int_eq(p->rows, want->shape[0]);
    ck_assert_int_eq(p->columns, want->n_dims == 2 ? want->shape[1] : 1);
    int64_t n = p->rows * p->columns;
    double *got = golden_memory(all->g, (size_t)n * sizeof *got);
    for (int64_t i = 0; i < n; i++) {
        got[i] = all->model->dtype == LLAMA2_F64 ? ((const double *)all->arena)[p->offset + i]
                                                 : (double)((const float *)all->arena)[p->offset + i];
    }
    golden_check_doubles(all->g, name, got, all->limit);
}

/* All gradients of the weighted loss sum: fp32 to 1e-5, double to 1e-10. */
static void check_gradients(llama2_context *ctx, const char *name, int32_t dtype, int recompute)
{
    golden g = golden_open(ctx, name);
    llama2_model *model = golden_model(ctx, name, dtype);
    llama2_batch batch = golden_batch(&g, "");
    llama2_loss loss = {.struct_size = sizeof loss};
    l2_activations activations;
    void *arena = golden_memory(&g, (size_t)model->n_elements * l2_dtype_size(dtype));
    l2_activations_init(&activations, ctx, recompute);
    l2_model_attach_gradients(model, arena);
    ck_ok(l2_model_evaluate(model, &batch, &activations, &loss));
    l2_model_attach_gradients(model, NULL);
    check_loss(&g, &loss, dtype == LLAMA2_F32 ? 1e-6 : 1e-12);
    gradients all = {&g, model, arena, dtype == LLAMA2_F32 ? 1e-5 : 1e-10};
    ck_assert_int_eq(golden_each(&g, "grad/", check_gradient, &all), model->n_params);
    l2_activations_free(&activations);
    llama2_model_free(model);
    golden_close(&g);
}

/* With the host's BLAS in place of the library's products. */
START_TEST(gradients_by_cblas)
{
    llama2_context *ctx;
    llama2_context_options o;
    llama2_context_options_init(&o, sizeof o);
    o.gemm = LLAMA2_GEMM_CBLAS;
    llama2_status status = llama2_context_create(&o, &ctx);
    if (status == LLAMA2_E_UNSUPPORTED) {
        puts("skipped: gradients by CBLAS: the library was built without one");
        return;
    }
    ck_ok(status);
    EACH_CASE(name) check_gradients(ctx, name, LLAMA2_F32, 0);
    llama2_context_free(ctx);
}
END_TEST

/* With the kernels of every instruction set that this processor has. */
START_TEST(gradients_f32)
{
    for (int32_t isa = LLAMA2_ISA_SCALAR; isa <= LLAMA2_ISA_AVX512; isa++) {
        llama2_context *ctx;
        llama2_context_options o;
        llama2_context_options_init(&o, sizeof o);
        o.isa = isa;
        llama2_status status = llama2_context_create(&o, &ctx);
        if (status == LLAMA2_E_UNSUPPORTED) continue;
        ck_ok(status);
        EACH_CASE(name)
        for (int recompute = 0; recompute < 2; recompute++) check_gradients(ctx, name, LLAMA2_F32, recompute);
        llama2_context_free(ctx);
    }
}
END_TEST

START_TEST(gradients_f64)
{
    llama2_context *ctx = context();
    EACH_CASE(name)
    for (int recompute = 0; recompute < 2; recompute++) check_gradients(ctx, name, LLAMA2_F64, recompute);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("reference/goldens_model");
    ADD_CASE(s, "forward", forward, scaled_rope, evaluate);
    ADD_CASE(s, "gradients", gradients_f32, gradients_f64, gradients_by_cblas);
    return s;
}
