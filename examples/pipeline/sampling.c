#include "pipeline/pipeline.h"

#include <stdlib.h>
#include <string.h>

void series_add(series *s, double x, double y)
{
    if (s->n == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 64;
        s->x = realloc(s->x, s->capacity * sizeof *s->x);
        s->y = realloc(s->y, s->capacity * sizeof *s->y);
        if (!s->x || !s->y) abort();
    }
    s->x[s->n] = x;
    s->y[s->n++] = y;
}

bool pack_prompts(pipeline *p, const records *prompts, size_t *index, size_t *n, llama2_packer *packer)
{
    int32_t *tokens = malloc((size_t)p->set.max_tokens * sizeof *tokens);
    size_t kept = 0;
    bool ok = tokens != NULL;
    llama2_packer_clear(packer);
    for (size_t i = 0; ok && i < *n; i++) {
        int64_t length = record_encode(p->data.tokenizer, &prompts->items[index[i]], NULL, tokens, NULL,
                                       p->set.max_tokens - p->set.max_new_tokens);
        if (length > 0) {
            ok = llama2_packer_add(packer, tokens, NULL, length) >= 0;
            index[kept++] = index[i];
        }
        ok = ok && length >= 0;
    }
    *n = kept;
    free(tokens);
    return ok;
}

char *response_text(const pipeline *p, const llama2_rollouts_view *v, int32_t sample)
{
    const int32_t *ids = v->tokens + v->offsets[sample] + v->prompt_lengths[sample];
    int64_t n = v->offsets[sample + 1] - v->offsets[sample] - v->prompt_lengths[sample];
    size_t needed = 0;
    llama2_tokenizer_decode(p->data.tokenizer, ids, n, 0, NULL, 0, &needed);
    char *text = malloc(needed + 1);
    if (!text || llama2_tokenizer_decode(p->data.tokenizer, ids, n, 0, text, needed, &needed) < 0) abort();
    text[needed] = 0;
    /* The chat format puts a space before the end. */
    while (needed > 0 && text[needed - 1] == ' ') text[--needed] = 0;
    size_t first = strspn(text, " ");
    memmove(text, text + first, needed - first + 1);
    return text;
}

bool score_rollouts(pipeline *p, llama2_rollouts *rollouts, const records *prompts, const size_t *index, bool whiten)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_combine_options o;
    if (llama2_rollouts_view_get(rollouts, &v) < 0) return false;
    int32_t n = v.n_samples / v.samples_per_prompt;
    uint8_t *is_safety = malloc((size_t)n);
    if (!is_safety) return false;
    for (int32_t i = 0; i < n; i++) is_safety[i] = prompts->items[index[i]].is_safety;
    llama2_combine_options_init(&o, sizeof o);
    o.whiten = whiten;
    o.missing_eos_penalty = 1;
    bool ok = llama2_rollouts_score_into(rollouts, p->rewards[0], LLAMA2_ROLLOUTS_HELPFUL_SCORES) >= 0 &&
              llama2_rollouts_score_into(rollouts, p->rewards[1], LLAMA2_ROLLOUTS_SAFETY_SCORES) >= 0 &&
              llama2_rollouts_combine(rollouts, is_safety, &o) >= 0;
    free(is_safety);
    return ok;
}
