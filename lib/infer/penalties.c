/* Touches only the logits of biased tokens and of tokens in the window. */
#include "infer/penalties.h"

#include "base/alloc.h"

int l2_penalties_wanted(const llama2_sampling *s)
{
    return s->n_logit_bias > 0 || (s->repetition_penalty != 1 && s->repetition_penalty != 0) ||
           s->presence_penalty != 0 || s->frequency_penalty != 0;
}

llama2_status l2_penalties_init(llama2_context *ctx, int32_t vocab_size, l2_penalties *p)
{
    *p = (l2_penalties){0};
    L2_TRY(l2_calloc(ctx, (size_t)vocab_size, sizeof *p->places, &p->places));
    return l2_alloc(ctx, (size_t)vocab_size, sizeof *p->changed, &p->changed);
}

void l2_penalties_free(llama2_context *ctx, l2_penalties *p)
{
    l2_free(ctx, p->changed);
    l2_free(ctx, p->places);
    *p = (l2_penalties){0};
}

static l2_penalised *touch(l2_penalties *p, int32_t id, const float *logits)
{
    if (!p->places[id]) {
        p->changed[p->n_changed] = (l2_penalised){id, 0, logits[id]};
        p->places[id] = ++p->n_changed;
    }
    return &p->changed[p->places[id] - 1];
}

static void count(l2_penalties *p, const llama2_sampling *s, const l2_text *text, const float *logits)
{
    int64_t n = text->lengths[0] + text->lengths[1], first = s->penalty_start < 0 ? text->lengths[0] : s->penalty_start;
    if (s->penalty_window > 0 && n - s->penalty_window > first) first = n - s->penalty_window;
    for (int part = 0; part < 2; part++) {
        for (int64_t i = first; i < text->lengths[part]; i++) touch(p, text->tokens[part][i], logits)->count++;
        first = first > text->lengths[part] ? first - text->lengths[part] : 0;
    }
}

void l2_penalties_apply(l2_penalties *p, const llama2_sampling *s, const l2_text *text, float *logits)
{
    double repetition = s->repetition_penalty != 0 ? s->repetition_penalty : 1;
    for (int32_t i = 0; i < s->n_logit_bias; i++) {
        touch(p, s->logit_bias_ids[i], logits);
        logits[s->logit_bias_ids[i]] += s->logit_bias_values[i];
    }
    if (repetition == 1 && s->presence_penalty == 0 && s->frequency_penalty == 0) return;
    count(p, s, text, logits);
    for (int32_t i = 0; i < p->n_changed; i++) {
        const l2_penalised *c = &p->changed[i];
        double x = (double)logits[c->id];
        if (c->count == 0) continue; /* biased only */
        x = x > 0 ? x / repetition : x * repetition;
        logits[c->id] = (float)(x - (c->count * s->frequency_penalty + s->presence_penalty));
    }
}

void l2_penalties_undo(l2_penalties *p, float *logits)
{
    for (int32_t i = 0; i < p->n_changed; i++) {
        logits[p->changed[i].id] = p->changed[i].original;
        p->places[p->changed[i].id] = 0;
    }
    p->n_changed = 0;
}
