/* Rotary positions of one call: the rows of the table that its tokens need, computed once for all layers. */
#include "model/layer.h"

#include "base/alloc.h"

llama2_status l2_model_frequencies(llama2_context *ctx, const llama2_config *config, double **out)
{
    int64_t half = config->head_dim / 2;
    L2_TRY(l2_alloc(ctx, (size_t)half, sizeof **out, out));
    l2_op_rope_frequencies(config->rope_theta, half, *out);
    return LLAMA2_OK;
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
