/* How a model answers the evaluation prompts. */
#include "pipeline/pipeline.h"

#include <stdlib.h>

static size_t *all_prompts(const prompt_set *prompts)
{
    size_t *index = app_must(malloc((prompts->tokens.n + 1) * sizeof *index));
    for (size_t i = 0; i < prompts->tokens.n; i++) index[i] = i;
    return index;
}

static double mean_kl(const llama2_rollouts_view *v)
{
    double sum = 0;
    for (int64_t t = 0; t < v->n_tokens; t++) sum += (double)v->logprobs[t] - (double)v->ref_logprobs[t];
    return sum / v->n_samples;
}

bool evaluation_answers(pipeline *p, llama2_model *model, double temperature, llama2_rollouts **out)
{
    size_t n = p->evaluation.tokens.n, *index = all_prompts(&p->evaluation);
    llama2_batch batch;
    llama2_rollout_options ro;
    llama2_rollout_options_init(&ro, sizeof ro);
    ro.max_new_tokens = (int32_t)p->set.max_new_tokens;
    ro.temperature = temperature;
    ro.seed = p->app.args.seed + 81; /* the same for each stage: a paired comparison */
    bool ok = prompts_batch(&p->app, &p->evaluation, index, n, &batch) && llama2_rollout(model, &batch, &ro, out) >= 0;
    free(index);
    return ok;
}

bool judge_answers(pipeline *p, llama2_rollouts *r, const char *name, outcome *o)
{
    size_t n = p->evaluation.tokens.n, *index = all_prompts(&p->evaluation);
    llama2_rollouts_view v = {.struct_size = sizeof v};
    bool ok = (!p->rewards[1] || score_rollouts(p, &p->evaluation, index, false, r)) &&
              (!p->reference || llama2_rollouts_reference(r, p->reference) >= 0) &&
              llama2_rollouts_view_get(r, &v) >= 0;
    if (ok) {
        double unsafe = 0, harmless = 0;
        *o = (outcome){.stage = name, .n = n, .kl = p->reference ? mean_kl(&v) : 0};
        o->answers = app_must(calloc(n + 1, sizeof *o->answers));
        o->scores = app_must(calloc(n + 1, sizeof *o->scores));
        for (size_t i = 0; i < n; i++) {
            o->answers[i] = response_text(p, &v, (int32_t)i);
            o->length += (double)(v.offsets[i + 1] - v.offsets[i] - v.prompt_lengths[i]) / (double)n;
            o->ended += (double)v.ended[i] / (double)n;
            if (p->rewards[1]) {
                o->helpful += (double)v.helpful_scores[i] / (double)n;
                o->safety += (double)v.safety_scores[i] / (double)n;
                o->combined += (double)v.scores[i] / (double)n;
                o->scores[i] = (double)v.scores[i];
            }
            if (p->data.judge) {
                gold g;
                judge_answer(p, &p->evaluation, i, o->answers[i], &g);
                o->scores[i] = g.score;
                o->gold += g.score / (double)n;
                o->correct += (double)g.correct / (double)n;
                unsafe += g.must_refuse;
                harmless += !g.must_refuse;
                o->refusals += g.must_refuse && g.refused;
                o->false_refusals += !g.must_refuse && g.refused;
            }
        }
        o->refusals /= unsafe > 0 ? unsafe : 1;
        o->false_refusals /= harmless > 0 ? harmless : 1;
    }
    free(index);
    return ok;
}

bool evaluate(pipeline *p, llama2_model *model, int stage, const char *name)
{
    llama2_rollouts *r = NULL;
    bool ok = evaluation_answers(p, model, 1, &r) && judge_answers(p, r, name, &p->outcomes[stage]);
    llama2_rollouts_free(r);
    return ok;
}

void outcome_free(outcome *o)
{
    for (size_t k = 0; o->answers && k < o->n; k++) free(o->answers[k]);
    free(o->answers);
    free(o->scores);
    *o = (outcome){0};
}
