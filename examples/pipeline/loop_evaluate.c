/* After each version: its answers to the held-out prompts, and what the gold judge and the reward models say of them.
 */
#include "pipeline/loop.h"

#include <math.h>
#include <stdlib.h>

/* --- means over prompts ---------------------------------------------------------------------- */

rate share_rate(double share, double n)
{
    if (!isfinite(share) || !(n > 0)) return (rate){NAN, NAN, NAN};
    const double z = 1.96;
    double middle = (share + z * z / (2 * n)) / (1 + z * z / n),
           half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
    return (rate){share, fmax(0, middle - half), fmin(1, middle + half)}; /* but for rounding they are within */
}

/* The place of a prompt among those that differ; a new one where there is none. */
static size_t place_of(uint64_t *ids, size_t *n, uint64_t id)
{
    size_t k = 0;
    while (k < *n && ids[k] != id) k++;
    if (k == *n) ids[(*n)++] = id;
    return k;
}

size_t different_prompts(const pipeline *p)
{
    size_t different = 0;
    uint64_t *ids = app_must(malloc((p->evaluation.tokens.n + 1) * sizeof *ids));
    for (size_t i = 0; i < p->evaluation.tokens.n; i++) place_of(ids, &different, p->evaluation.of[i]->id);
    free(ids);
    return different;
}

rate over_prompts(const pipeline *p, const double *values, int topic, bool share)
{
    size_t n = p->evaluation.tokens.n, different = 0;
    uint64_t *ids = app_must(malloc((n + 1) * sizeof *ids));
    double *means = app_must(calloc(n + 1, sizeof *means)), *counts = app_must(calloc(n + 1, sizeof *counts));
    rate r = {NAN, NAN, NAN};
    for (size_t i = 0; i < n; i++) {
        const record *prompt = p->evaluation.of[i];
        if ((topic != TOPIC_ALL && topic != (prompt->is_safety ? TOPIC_SAFETY : TOPIC_HELPFUL)) || !isfinite(values[i]))
            continue;
        size_t k = place_of(ids, &different, prompt->id);
        counts[k]++;
        means[k] += (values[i] - means[k]) / counts[k];
    }
    if (different > 0) mean_interval(means, different, &r.mean, &r.low, &r.high);
    if (different > 0 && share) r = share_rate(r.mean, (double)different);
    free(ids);
    free(means);
    free(counts);
    return r;
}

rate figure_of(const pipeline *p, const judged *j, answer_figure which)
{
    return over_prompts(p, j->figures[which], TOPIC_ALL, which >= FIGURE_RIGHT && which <= FIGURE_SORTED);
}

rate figure_gain(const pipeline *p, const judged *own, const judged *other, answer_figure which)
{
    double *gain = app_must(calloc(own->o.n + 1, sizeof *gain));
    for (size_t i = 0; i < own->o.n; i++) gain[i] = own->figures[which][i] - other->figures[which][i];
    rate r = over_prompts(p, gain, TOPIC_ALL, false);
    free(gain);
    return r;
}

static double win(double own, double other)
{
    return own > other ? 1 : own < other ? 0 : 0.5;
}

rate win_rate(const pipeline *p, const double *own, const double *other, int topic)
{
    double *wins = app_must(calloc(p->evaluation.tokens.n + 1, sizeof *wins));
    for (size_t i = 0; i < p->evaluation.tokens.n; i++) wins[i] = win(own[i], other[i]);
    rate r = over_prompts(p, wins, topic, false);
    free(wins);
    return r;
}

rate win_gain(const pipeline *p, const double *own, const double *before, const double *other)
{
    double *gain = app_must(calloc(p->evaluation.tokens.n + 1, sizeof *gain));
    for (size_t i = 0; i < p->evaluation.tokens.n; i++) gain[i] = win(own[i], other[i]) - win(before[i], other[i]);
    rate r = over_prompts(p, gain, TOPIC_ALL, false);
    free(gain);
    return r;
}

/* --- answers, judged ------------------------------------------------------------------------- */

static double *copy_scores(const float *scores, size_t n)
{
    double *copy = app_must(calloc(n + 1, sizeof *copy));
    for (size_t i = 0; scores && i < n; i++) copy[i] = (double)scores[i];
    return copy;
}

const char *const ANSWERS = "answers", *const COLD_ANSWERS = "cold-answers";
static const double COLD = 0.1;

/* Log-probability of answer i less that by the reference. */
static double divergence(const llama2_rollouts_view *v, size_t i)
{
    double sum = 0;
    if (!v->ref_logprobs) return NAN;
    for (int64_t t = v->offsets[i]; t < v->offsets[i + 1]; t++)
        sum += (double)v->logprobs[t] - (double)v->ref_logprobs[t];
    return sum;
}

/* The gold scores of j are there already. */
static void judge_figures(pipeline *p, const llama2_rollouts_view *v, judged *j)
{
    for (int k = 0; k < N_FIGURES; k++) j->figures[k] = app_must(calloc(j->o.n + 1, sizeof *j->figures[k]));
    for (size_t i = 0; i < j->o.n; i++) {
        gold g;
        judge_answer(p, &p->evaluation, i, j->o.answers[i], &g);
        bool sorts = p->data.sorts(&p->data, true, (size_t)(p->evaluation.of[i] - p->data.evaluation.items));
        const double says[N_FIGURES] = {g.score,
                                        g.correct,
                                        g.must_refuse ? g.refused : (double)NAN,
                                        !g.must_refuse ? g.refused : (double)NAN,
                                        g.is_safety && !g.must_refuse ? g.refused : (double)NAN,
                                        !g.is_safety ? g.refused : (double)NAN,
                                        v->ended[i],
                                        sorts ? g.correct : (double)NAN,
                                        !g.is_safety ? j->helpful[i] : (double)NAN,
                                        g.is_safety ? j->safety[i] : (double)NAN,
                                        divergence(v, i),
                                        (double)(v->offsets[i + 1] - v->offsets[i] - v->prompt_lengths[i])};
        for (int k = 0; k < N_FIGURES; k++) j->figures[k][i] = says[k];
    }
}

bool judge_step(loop *l, const loop_step *step, const char *file, judged *out)
{
    pipeline *p = l->p;
    char path[4096];
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_rollouts *r = NULL;
    bool ok = app_try(&p->app, llama2_rollouts_load(p->app.ctx, state_path(l, path, "%s/%s", step->name, file), &r),
                      "answers") &&
              judge_answers(p, r, step->evaluates, &out->o) &&
              app_try(&p->app, llama2_rollouts_view_get(r, &v), "answers");
    if (ok) {
        out->reward = copy_scores(v.scores, out->o.n);
        out->helpful = copy_scores(v.helpful_scores, out->o.n);
        out->safety = copy_scores(v.safety_scores, out->o.n);
        judge_figures(p, &v, out);
    }
    llama2_rollouts_free(r);
    return ok;
}

void judged_free(judged *j)
{
    outcome_free(&j->o);
    free(j->reward);
    free(j->helpful);
    free(j->safety);
    for (int k = 0; k < N_FIGURES; k++) free(j->figures[k]);
    *j = (judged){.reward = NULL};
}

static const loop_step *first_evaluation(const loop *l)
{
    const loop_step *s = l->steps;
    while (!s->evaluates) s++;
    return s;
}

static json_t *line_of(loop *l, const judged *own, const judged *sft, bool has_rewards)
{
    const loop_step *s = &l->steps[l->at];
    const pipeline *p = l->p;
    rate wins = win_rate(p, own->o.scores, sft->o.scores, TOPIC_ALL);
    json_t *line = json_pack("{s:s, s:s}", "stage", "evaluate", "model", s->evaluates);
    app_put(line, "gold", figure_of(p, own, FIGURE_GOLD).mean);
    app_put(line, "win_rate", wins.mean);
    app_put(line, "win_rate_low", wins.low);
    app_put(line, "win_rate_high", wins.high);
    app_put(line, "correct", figure_of(p, own, FIGURE_RIGHT).mean);
    app_put(line, "refusals", figure_of(p, own, FIGURE_REFUSED).mean);
    app_put(line, "false_refusals", figure_of(p, own, FIGURE_HARMLESS).mean);
    if (has_rewards) {
        app_put(line, "reward/helpful", figure_of(p, own, FIGURE_HELPFUL).mean);
        app_put(line, "reward/safety", figure_of(p, own, FIGURE_SAFETY).mean);
        app_put(line, "shift/helpful", figure_gain(p, own, sft, FIGURE_HELPFUL).mean);
        app_put(line, "shift/safety", figure_gain(p, own, sft, FIGURE_SAFETY).mean);
    }
    return line;
}

bool answer_evaluation(loop *l, const char *file)
{
    pipeline *p = l->p;
    char path[4096];
    llama2_rollouts *r = NULL;
    bool ok =
        evaluation_answers(p, p->model, file == COLD_ANSWERS ? COLD : 1, &r) &&
        app_try(&p->app, llama2_rollouts_save(r, state_path(l, path, "%s/%s", l->steps[l->at].name, file)), "saving");
    llama2_rollouts_free(r);
    return ok;
}

/* The answers stay: the report judges those of all versions alike, by the last reward models. Cold answers, near the
 * most likely ones, are those of what a model knows: at temperature 1 a model gains by being surer of what it says,
 * right or wrong, and fine-tuning on samples at a lower temperature makes it so. */
bool step_evaluate(loop *l)
{
    pipeline *p = l->p;
    const loop_step *s = &l->steps[l->at];
    judged own = {.reward = NULL}, sft = {.reward = NULL}, cold = {.reward = NULL}, cold_sft = {.reward = NULL};
    bool has_rewards = s->version > 0;
    bool ok = newest_model(l, 0, &p->model) && (!has_rewards || load_rewards(l, s->version)) &&
              answer_evaluation(l, ANSWERS) && answer_evaluation(l, COLD_ANSWERS) && judge_step(l, s, ANSWERS, &own) &&
              judge_step(l, first_evaluation(l), ANSWERS, &sft) && judge_step(l, s, COLD_ANSWERS, &cold) &&
              judge_step(l, first_evaluation(l), COLD_ANSWERS, &cold_sft);
    if (ok) {
        json_t *line = line_of(l, &own, &sft, has_rewards);
        app_put(line, "cold_gold", figure_of(p, &cold, FIGURE_GOLD).mean);
        app_put(line, "cold_win_rate", win_rate(p, cold.o.scores, cold_sft.o.scores, TOPIC_ALL).mean);
        if (!p->app.args.quiet)
            fprintf(stderr, "%s: gold score %.3f (%.3f at temperature %g), wins over %s %.3f\n", s->evaluates,
                    json_real_value(json_object_get(line, "gold")), json_real_value(json_object_get(line, "cold_gold")),
                    COLD, sft.o.stage, json_real_value(json_object_get(line, "win_rate")));
        ok = jsonl_append(p->metrics, line) || app_fail(&p->app, "metrics.jsonl could not be written");
    }
    judged_free(&own);
    judged_free(&sft);
    judged_free(&cold);
    judged_free(&cold_sft);
    return ok;
}
