/*
 * Rotary positions: the frequencies of a model, lowered where its config says so, and the rows of a call's table, which
 * are computed once for all layers.
 */
#include "model/layer.h"

#include <math.h>

/*
 * With w = original_len f / (2 pi), the turns within the original context: f where w > high, f / factor where w < low,
 * between them (1 - s) f / factor + s f with s = (w - low) / (high - low).
 */
static double scaled_llama3(const llama2_config *c, double f)
{
    const double two_pi = 6.283185307179586;
    double turns = c->rope_original_len * f / two_pi, low = c->rope_low_freq_factor, high = c->rope_high_freq_factor;
    if (turns > high) return f;
    if (turns < low) return f / c->rope_factor;
    double s = (turns - low) / (high - low);
    return (1 - s) * f / c->rope_factor + s * f;
}

void l2_config_frequencies(const llama2_config *c, double *f)
{
    int64_t half = c->head_dim / 2;
    l2_op_rope_frequencies(c->rope_theta, half, f);
    for (int64_t i = 0; i < half; i++) {
        if (c->rope_scaling == LLAMA2_ROPE_SCALING_LINEAR) f[i] /= c->rope_factor;
        if (c->rope_scaling == LLAMA2_ROPE_SCALING_LLAMA3) f[i] = scaled_llama3(c, f[i]);
    }
}

/* The factors are in fp32, and so may have been what they were computed from. */
static int divides(const llama2_config *c, const double *factors)
{
    int64_t half = c->head_dim / 2;
    for (int64_t i = 0; i < half; i++) {
        double f = pow(c->rope_theta, -(double)i / (double)half), expected = f / scaled_llama3(c, f);
        if (!(fabs(factors[i] - expected) <= 1e-4 * expected)) return 0;
    }
    return 1;
}

int l2_config_fit_llama3(llama2_config *c, const double *factors)
{
    llama2_config fit = *c;
    fit.rope_scaling = LLAMA2_ROPE_SCALING_LLAMA3;
    fit.rope_factor = factors[c->head_dim / 2 - 1]; /* that of the lowest frequency */
    fit.rope_low_freq_factor = 1;
    fit.rope_high_freq_factor = 4;
    if (!isfinite(fit.rope_factor) || fit.rope_factor <= 0) return 0;
    for (int32_t k = 3; k <= 20; k++) {
        fit.rope_original_len = k == 3 ? 8192 : 1 << k; /* Llama 3's own first: few pairs may fit several */
        if (!divides(&fit, factors)) continue;
        *c = fit;
        return 1;
    }
    return 0;
}

void l2_carve_rotary(l2_carver *c, const llama2_config *g, int64_t n, l2_rotary *r)
{
    r->cosine = l2_carve(c, 2, n, g->head_dim / 2, 1);
    r->sine = l2_carve(c, 2, n, g->head_dim / 2, 1);
    r->positions = l2_carve_bytes(c, (size_t)n * sizeof *r->positions);
    r->rows = l2_carve_bytes(c, (size_t)n * sizeof *r->rows);
}

llama2_status l2_rotary_make(const llama2_model *model, int64_t n, l2_rotary *r)
{
    int32_t first = r->positions[0], last = first;
    for (int64_t t = 1; t < n; t++) {
        if (r->positions[t] < first) first = r->positions[t];
        if (r->positions[t] > last) last = r->positions[t];
    }
    /* All positions from the first to the last, which sequences share, or a row for each token. */
    int64_t span = (int64_t)last - first + 1, rows = span < n ? span : n;
    for (int64_t t = 0; t < n; t++) r->rows[t] = span < n ? r->positions[t] - first : (int32_t)t;
    for (int64_t i = 0; span < n && i < span; i++) r->positions[i] = (int32_t)(first + i);
    r->cosine.shape[0] = r->sine.shape[0] = rows;
    return l2_op_rope_table(model->ctx, model->frequencies, r->positions, &r->cosine, &r->sine);
}
