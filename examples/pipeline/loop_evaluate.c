/* After each version: its answers to the held-out prompts, and what the gold judge and the reward models say of them.
 */
#include "pipeline/loop.h"

#include <stdlib.h>

rate win_rate(const pipeline *p, const double *own, const double *other, int topic)
{
    size_t n = p->evaluation.tokens.n, counted = 0;
    double *wins = app_must(malloc((n + 1) * sizeof *wins));
    rate r;
    for (size_t i = 0; i < n; i++)
        if (topic == TOPIC_ALL || topic == (p->evaluation.of[i]->is_safety ? TOPIC_SAFETY : TOPIC_HELPFUL))
            wins[counted++] = own[i] > other[i] ? 1 : own[i] == other[i] ? 0.5 : 0;
    mean_interval(wins, counted, &r.mean, &r.low, &r.high);
    free(wins);
    return r;
}

static double *copy_scores(const float *scores, size_t n)
{
    double *copy = app_must(calloc(n + 1, sizeof *copy));
    for (size_t i = 0; scores && i < n; i++) copy[i] = (double)scores[i];
    return copy;
}

const char *const ANSWERS = "answers", *const COLD_ANSWERS = "cold-answers";
static const double COLD = 0.1;

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
    rate wins = win_rate(l->p, own->o.scores, sft->o.scores, TOPIC_ALL);
    json_t *line = json_pack("{s:s, s:s}", "stage", "evaluate", "model", s->evaluates);
    app_put(line, "gold", own->o.gold);
    app_put(line, "win_rate", wins.mean);
    app_put(line, "win_rate_low", wins.low);
    app_put(line, "win_rate_high", wins.high);
    app_put(line, "correct", own->o.correct);
    app_put(line, "refusals", own->o.refusals);
    app_put(line, "false_refusals", own->o.false_refusals);
    if (has_rewards) {
        app_put(line, "reward/helpful", own->o.helpful);
        app_put(line, "reward/safety", own->o.safety);
        app_put(line, "shift/helpful", own->o.helpful - sft->o.helpful);
        app_put(line, "shift/safety", own->o.safety - sft->o.safety);
    }
    return line;
}

static bool answer(loop *l, double temperature, const char *file)
{
    pipeline *p = l->p;
    char path[4096];
    llama2_rollouts *r = NULL;
    bool ok =
        evaluation_answers(p, p->model, temperature, &r) &&
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
    bool ok = newest_model(l, 0, &p->model) && (!has_rewards || load_rewards(l, s->version)) && answer(l, 1, ANSWERS) &&
              answer(l, COLD, COLD_ANSWERS) && judge_step(l, s, ANSWERS, &own) &&
              judge_step(l, first_evaluation(l), ANSWERS, &sft) && judge_step(l, s, COLD_ANSWERS, &cold) &&
              judge_step(l, first_evaluation(l), COLD_ANSWERS, &cold_sft);
    if (ok) {
        json_t *line = line_of(l, &own, &sft, has_rewards);
        app_put(line, "cold_gold", cold.o.gold);
        app_put(line, "cold_win_rate", win_rate(p, cold.o.scores, cold_sft.o.scores, TOPIC_ALL).mean);
        if (!p->app.args.quiet)
            fprintf(stderr, "%s: gold score %.3f (%.3f at temperature %g), wins over %s %.3f\n", s->evaluates,
                    own.o.gold, cold.o.gold, COLD, sft.o.stage, json_real_value(json_object_get(line, "win_rate")));
        ok = jsonl_append(p->metrics, line) || app_fail(&p->app, "metrics.jsonl could not be written");
    }
    judged_free(&own);
    judged_free(&sft);
    judged_free(&cold);
    judged_free(&cold_sft);
    return ok;
}
