/* Shapes: the presets of table 1 of the paper, and what is refused. */
#include "small_model.h"

#include <math.h>

/* Parameters as the weights of the four models are counted, with H Dh = D: 2 V D + L (2 D D + 2 D KVH Dh + 3 D F + 2 D)
 * + D. */
static int64_t parameters(const llama2_config *c)
{
    int64_t d = c->dim, per_layer = 2 * d * d + 2 * d * c->n_kv_heads * (d / c->n_heads) + 3 * d * c->ffn_dim + 2 * d;
    return 2 * c->vocab_size * d + c->n_layers * per_layer + d;
}

START_TEST(presets_are_the_models_of_the_paper)
{
    static const struct {
        int64_t parameters;
        int32_t dim, layers, heads, kv_heads;
    } paper[] = {{INT64_C(6738415616), 4096, 32, 32, 32},
                 {INT64_C(13015864320), 5120, 40, 40, 40},
                 {INT64_C(33743970304), 8192, 48, 64, 8},
                 {INT64_C(68976648192), 8192, 80, 64, 8}};
    for (int32_t i = LLAMA2_PRESET_7B; i <= LLAMA2_PRESET_70B; i++) {
        llama2_config c;
        llama2_config_init(&c, sizeof c);
        ck_ok(llama2_config_preset(&c, i));
        ck_assert(c.dim == paper[i].dim && c.n_layers == paper[i].layers && c.n_heads == paper[i].heads &&
                  c.n_kv_heads == paper[i].kv_heads);
        ck_assert_int_eq(parameters(&c), paper[i].parameters);
        ck_assert(c.head_dim == 0 && c.vocab_size == 32000 && c.max_seq_len == 4096 && !c.tied && c.bos_id == 1 &&
                  c.eos_id == 2);
        llama2_memory m = {.struct_size = sizeof m};
        ck_ok(llama2_memory_estimate(&c, NULL, &m)); /* it passes the check */
    }
    llama2_config seven, c;
    llama2_config_init(&seven, sizeof seven);
    llama2_config_init(&c, sizeof c);
    ck_ok(llama2_config_preset(&c, LLAMA2_PRESET_7B));
    ck_assert_mem_eq(&c, &seven, sizeof c);
    ck_fails(llama2_config_preset(&c, 4), LLAMA2_E_INVALID);
    ck_fails(llama2_config_preset(&c, -1), LLAMA2_E_INVALID);
    ck_fails(llama2_config_preset(NULL, 0), LLAMA2_E_INVALID);
    c.struct_size = 0;
    ck_fails(llama2_config_preset(&c, 0), LLAMA2_E_ABI);
}
END_TEST

/* What is not used is not kept: two models that compute the same have the same config. */
START_TEST(what_says_the_same_is_the_same)
{
    static const int32_t scalings[] = {LLAMA2_ROPE_SCALING_NONE, LLAMA2_ROPE_SCALING_LINEAR};
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    for (int i = 0; i < 2; i++) {
        llama2_config c = small_config(2), got = {.struct_size = sizeof got};
        llama2_model *model;
        c.rope_scaling = scalings[i];
        c.rope_factor = i ? 2 : NAN;
        c.rope_low_freq_factor = 1;
        c.rope_high_freq_factor = 4;
        c.rope_original_len = 8192;
        ck_ok(llama2_model_create(ctx, &c, NULL, &model));
        ck_ok(llama2_model_config(model, &got));
        ck_assert_int_eq(got.tied, 1);
        ck_assert(got.rope_factor == (i ? 2 : 0));
        ck_assert(got.rope_low_freq_factor == 0 && got.rope_high_freq_factor == 0 && got.rope_original_len == 0);
        llama2_model_free(model);
    }
    llama2_context_free(ctx);
}
END_TEST

#define REFUSED(field, value, code)                                                                                    \
    do {                                                                                                               \
        llama2_model *none = (llama2_model *)ctx;                                                                      \
        llama2_config c = small_config(0);                                                                             \
        c.field = value;                                                                                               \
        ck_fails(llama2_model_create(ctx, &c, NULL, &none), code);                                                     \
        ck_assert_ptr_null(none);                                                                                      \
        ck_assert_msg(strstr(llama2_last_error(), #field), "%s", llama2_last_error());                                 \
    } while (0)

START_TEST(what_is_no_llama_is_refused)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    REFUSED(vocab_size, 0, LLAMA2_E_INVALID);
    REFUSED(dim, -1, LLAMA2_E_INVALID);
    REFUSED(n_layers, 0, LLAMA2_E_INVALID);
    REFUSED(n_heads, 0, LLAMA2_E_INVALID);
    REFUSED(n_kv_heads, 0, LLAMA2_E_INVALID);
    REFUSED(n_kv_heads, 3, LLAMA2_E_INVALID);
    REFUSED(n_kv_heads, 8, LLAMA2_E_INVALID);
    REFUSED(head_dim, 9, LLAMA2_E_INVALID);
    REFUSED(head_dim, -2, LLAMA2_E_INVALID);
    REFUSED(ffn_dim, 0, LLAMA2_E_INVALID);
    REFUSED(max_seq_len, 0, LLAMA2_E_INVALID);
    REFUSED(max_seq_len, INT32_MAX, LLAMA2_E_INVALID);
    REFUSED(norm_eps, 0, LLAMA2_E_INVALID);
    REFUSED(norm_eps, NAN, LLAMA2_E_INVALID);
    REFUSED(rope_theta, -1, LLAMA2_E_INVALID);
    REFUSED(rope_theta, INFINITY, LLAMA2_E_INVALID);
    REFUSED(rope_scaling, -1, LLAMA2_E_INVALID);
    REFUSED(rope_scaling, 3, LLAMA2_E_INVALID);
    static const struct {
        int32_t scaling, length;
        double factor, low, high;
        const char *message; /* NULL: fine */
    } scalings[] = {{LLAMA2_ROPE_SCALING_NONE, -1, -1, NAN, 0, NULL},
                    {LLAMA2_ROPE_SCALING_LINEAR, -1, 2, NAN, 0, NULL},
                    {LLAMA2_ROPE_SCALING_LINEAR, 0, 0, 0, 0, "rope_factor is 0"},
                    {LLAMA2_ROPE_SCALING_LINEAR, 0, NAN, 0, 0, "rope_factor is nan"},
                    {LLAMA2_ROPE_SCALING_LLAMA3, 8192, 8, 1, 4, NULL},
                    {LLAMA2_ROPE_SCALING_LLAMA3, 8192, -8, 1, 4, "rope_factor is -8"},
                    {LLAMA2_ROPE_SCALING_LLAMA3, 8192, 8, 4, 4, "rope_high_freq_factor 4"},
                    {LLAMA2_ROPE_SCALING_LLAMA3, 8192, 8, 0, 4, "rope_low_freq_factor is 0"},
                    {LLAMA2_ROPE_SCALING_LLAMA3, 8192, 8, NAN, 4, "rope_low_freq_factor is nan"},
                    {LLAMA2_ROPE_SCALING_LLAMA3, 8192, 8, 1, INFINITY, "rope_high_freq_factor inf"},
                    {LLAMA2_ROPE_SCALING_LLAMA3, 0, 8, 1, 4, "rope_original_len is 0"}};
    for (size_t i = 0; i < sizeof scalings / sizeof *scalings; i++) {
        llama2_model *made;
        llama2_config with = small_config(0);
        with.rope_scaling = scalings[i].scaling;
        with.rope_original_len = scalings[i].length;
        with.rope_factor = scalings[i].factor;
        with.rope_low_freq_factor = scalings[i].low;
        with.rope_high_freq_factor = scalings[i].high;
        llama2_status status = llama2_model_create(ctx, &with, NULL, &made);
        ck_assert_int_eq(status, scalings[i].message ? LLAMA2_E_INVALID : LLAMA2_OK);
        if (scalings[i].message) ck_assert_ptr_nonnull(strstr(llama2_last_error(), scalings[i].message));
        llama2_model_free(made);
    }
    REFUSED(init_std, -0.1, LLAMA2_E_INVALID);
    REFUSED(bos_id, 37, LLAMA2_E_INVALID);
    REFUSED(eos_id, -2, LLAMA2_E_INVALID);
    REFUSED(pad_id, 37, LLAMA2_E_INVALID);

    llama2_config c = small_config(0);
    llama2_model *m;
    c.head_dim = 0; /* dim / n_heads */
    ck_ok(llama2_model_create(ctx, &c, NULL, &m));
    llama2_config got = {.struct_size = sizeof got};
    ck_ok(llama2_model_config(m, &got));
    ck_assert_int_eq(got.head_dim, 6);
    llama2_model_free(m);
    llama2_config_init(&c, sizeof c); /* and so when nothing is said of it */
    c.dim = 256;
    c.n_heads = c.n_kv_heads = 4;
    c.n_layers = 1;
    c.vocab_size = 8;
    c.ffn_dim = 16;
    ck_ok(llama2_model_create(ctx, &c, NULL, &m));
    ck_ok(llama2_model_config(m, &got));
    ck_assert_int_eq(got.head_dim, 64);
    llama2_tensor_info q = {.struct_size = sizeof q};
    ck_ok(llama2_model_tensor_info(m, 1, &q));
    ck_assert(q.rows == 256 && q.columns == 256);
    llama2_model_free(m);
    c = small_config(0);
    c.head_dim = 0;
    c.dim = 25;
    ck_fails(llama2_model_create(ctx, &c, NULL, &m), LLAMA2_E_INVALID);
    c = small_config(0);
    c.dim = c.n_layers = 1 << 16;
    c.ffn_dim = 1 << 20;
    ck_fails(llama2_model_create(ctx, &c, NULL, &m), LLAMA2_E_LIMIT);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("model/config");
    ADD_CASE(s, "config", presets_are_the_models_of_the_paper, what_says_the_same_is_the_same,
             what_is_no_llama_is_refused);
    return s;
}
