/* The shape of a model: presets of the paper (table 1) and the check of free sizes; how its weights are kept. */
#include "base/options.h"
#include "model/model.h"

#include <math.h>

/* The products below are indices; a model whose arena has more elements than this can't be addressed. */
static const int64_t max_elements = INT64_C(1) << 46;

static llama2_status check_count(const char *name, int64_t value, int64_t limit)
{
    if (value < 1 || value > limit)
        return l2_fail(LLAMA2_E_INVALID, "config: %s is %lld, expected 1 .. %lld", name, (long long)value,
                       (long long)limit);
    return LLAMA2_OK;
}

static llama2_status check_id(const char *name, int32_t id, int32_t vocab_size)
{
    if (id < -1 || id >= vocab_size)
        return l2_fail(LLAMA2_E_INVALID, "config: %s is %d, expected -1 (none) or a token below %d", name, id,
                       vocab_size);
    return LLAMA2_OK;
}

static llama2_status check_rope_scaling(const llama2_config *c)
{
    if (c->rope_scaling < LLAMA2_ROPE_SCALING_NONE || c->rope_scaling > LLAMA2_ROPE_SCALING_LLAMA3)
        return l2_fail(LLAMA2_E_INVALID, "config: rope_scaling is %d, expected one of LLAMA2_ROPE_SCALING_*",
                       c->rope_scaling);
    if (c->rope_scaling == LLAMA2_ROPE_SCALING_NONE) return LLAMA2_OK;
    if (!(c->rope_factor > 0) || !isfinite(c->rope_factor))
        return l2_fail(LLAMA2_E_INVALID, "config: rope_factor is %g, expected a number above 0", c->rope_factor);
    if (c->rope_scaling == LLAMA2_ROPE_SCALING_LINEAR) return LLAMA2_OK;
    if (!(c->rope_low_freq_factor > 0) || !(c->rope_high_freq_factor > c->rope_low_freq_factor) ||
        !isfinite(c->rope_high_freq_factor))
        return l2_fail(LLAMA2_E_INVALID,
                       "config: rope_low_freq_factor is %g and rope_high_freq_factor %g, expected positive numbers "
                       "that rise",
                       c->rope_low_freq_factor, c->rope_high_freq_factor);
    return check_count("rope_original_len", c->rope_original_len, 1 << 28);
}

llama2_status l2_config_check(const llama2_config *c)
{
    L2_TRY(check_count("vocab_size", c->vocab_size, 1 << 24));
    L2_TRY(check_count("dim", c->dim, 1 << 20));
    L2_TRY(check_count("n_layers", c->n_layers, 1 << 16));
    L2_TRY(check_count("n_heads", c->n_heads, 1 << 16));
    L2_TRY(check_count("n_kv_heads", c->n_kv_heads, c->n_heads));
    L2_TRY(check_count("head_dim", c->head_dim, 1 << 16));
    L2_TRY(check_count("ffn_dim", c->ffn_dim, 1 << 22));
    L2_TRY(check_count("max_seq_len", c->max_seq_len, 1 << 28));
    if (c->n_heads % c->n_kv_heads)
        return l2_fail(LLAMA2_E_INVALID, "config: n_heads %d is not a multiple of n_kv_heads %d", c->n_heads,
                       c->n_kv_heads);
    if (c->head_dim % 2)
        return l2_fail(LLAMA2_E_INVALID, "config: head_dim %d is odd; rotary positions need pairs", c->head_dim);
    if (!(c->norm_eps > 0) || !isfinite(c->norm_eps))
        return l2_fail(LLAMA2_E_INVALID, "config: norm_eps is %g, expected a number above 0", c->norm_eps);
    if (!(c->rope_theta > 0) || !isfinite(c->rope_theta))
        return l2_fail(LLAMA2_E_INVALID, "config: rope_theta is %g, expected a number above 0", c->rope_theta);
    L2_TRY(check_rope_scaling(c));
    if (!(c->init_std >= 0) || !isfinite(c->init_std))
        return l2_fail(LLAMA2_E_INVALID, "config: init_std is %g, expected a number >= 0", c->init_std);
    L2_TRY(check_id("bos_id", c->bos_id, c->vocab_size));
    L2_TRY(check_id("eos_id", c->eos_id, c->vocab_size));
    L2_TRY(check_id("pad_id", c->pad_id, c->vocab_size));

    /* No product of two fields wraps given the limits above; their sum over layers is checked in floating point. */
    double per_layer =
        2.0 * c->head_dim * c->dim * (c->n_heads + (double)c->n_kv_heads) + 3.0 * c->dim * c->ffn_dim + 2.0 * c->dim;
    double elements = per_layer * c->n_layers + 2.0 * c->vocab_size * c->dim + c->dim;
    if (elements > (double)max_elements)
        return l2_fail(LLAMA2_E_LIMIT, "config: the model would have %.3g parameters, the limit is %.3g", elements,
                       (double)max_elements);
    return LLAMA2_OK;
}

llama2_status l2_config_check_limits(const llama2_config *config, const char *where)
{
    llama2_status status = l2_config_check(config);
    return status == LLAMA2_E_INVALID ? l2_fail_in(LLAMA2_E_LIMIT, "%s", where) : status;
}

typedef struct preset {
    int32_t dim, n_layers, n_heads, n_kv_heads, ffn_dim;
} preset;

/* Indexed by LLAMA2_PRESET_*. */
static const preset presets[] = {
    {4096, 32, 32, 32, 11008},
    {5120, 40, 40, 40, 13824},
    {8192, 48, 64, 8, 22016},
    {8192, 80, 64, 8, 28672},
};

llama2_status l2_config_preset(int32_t index, llama2_config *out)
{
    if (index < 0 || index >= (int32_t)(sizeof presets / sizeof *presets))
        return l2_fail(LLAMA2_E_INVALID, "llama2_config_preset: preset is %d, expected one of LLAMA2_PRESET_*", index);
    const preset *p = &presets[index];
    *out = (llama2_config){
        .struct_size = sizeof *out,
        .vocab_size = 32000,
        .dim = p->dim,
        .n_layers = p->n_layers,
        .n_heads = p->n_heads,
        .n_kv_heads = p->n_kv_heads,
        .head_dim = 0, /* of whatever dim and n_heads become */
        .ffn_dim = p->ffn_dim,
        .max_seq_len = 4096,
        .bos_id = 1,
        .eos_id = 2,
        .pad_id = -1,
        .norm_eps = 1e-5,
        .rope_theta = 10000,
        .init_std = 0.02,
    };
    return LLAMA2_OK;
}

llama2_status l2_config_read(const llama2_config *config, llama2_config *full)
{
    if (!config) return l2_fail(LLAMA2_E_INVALID, "config is NULL; start from llama2_config_init");
    L2_TRY(l2_config_preset(LLAMA2_PRESET_7B, full));
    L2_TRY(l2_options_read(config, full, sizeof *full, "llama2_config"));
    if (full->head_dim == 0 && full->n_heads > 0) {
        if (full->dim % full->n_heads)
            return l2_fail(LLAMA2_E_INVALID, "config: dim %d is not a multiple of n_heads %d; set head_dim", full->dim,
                           full->n_heads);
        full->head_dim = full->dim / full->n_heads;
    }
    /* What says the same is the same: the config is a part of a session's fingerprint. */
    full->tied = full->tied != 0;
    if (full->rope_scaling == LLAMA2_ROPE_SCALING_NONE) full->rope_factor = 0;
    if (full->rope_scaling != LLAMA2_ROPE_SCALING_LLAMA3) {
        full->rope_low_freq_factor = full->rope_high_freq_factor = 0;
        full->rope_original_len = 0;
    }
    return LLAMA2_OK;
}

int l2_config_same_shape(const llama2_config *a, const llama2_config *b)
{
    return a->vocab_size == b->vocab_size && a->dim == b->dim && a->n_layers == b->n_layers &&
           a->n_heads == b->n_heads && a->n_kv_heads == b->n_kv_heads && a->head_dim == b->head_dim &&
           a->ffn_dim == b->ffn_dim && a->tied == b->tied;
}

const llama2_model_options l2_model_defaults = {.struct_size = sizeof l2_model_defaults, .dtype = LLAMA2_F32};

llama2_status l2_model_options_read(const llama2_model_options *options, llama2_model_options *full)
{
    *full = l2_model_defaults;
    L2_TRY(l2_options_read(options, full, sizeof *full, "llama2_model_options"));
    if (full->dtype != LLAMA2_F32 && full->dtype != LLAMA2_F64)
        return l2_fail(LLAMA2_E_INVALID, "llama2_model_options: dtype is %d, expected LLAMA2_F32 or LLAMA2_F64",
                       full->dtype);
    if (full->weights != LLAMA2_WEIGHTS_CONVERTED && full->weights != LLAMA2_WEIGHTS_AS_STORED)
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_model_options: weights is %d, expected LLAMA2_WEIGHTS_CONVERTED or "
                       "LLAMA2_WEIGHTS_AS_STORED",
                       full->weights);
    if (full->weights == LLAMA2_WEIGHTS_AS_STORED && full->dtype != LLAMA2_F32)
        return l2_fail(LLAMA2_E_INVALID, "llama2_model_options: weights as stored compute in LLAMA2_F32 alone");
    return LLAMA2_OK;
}
