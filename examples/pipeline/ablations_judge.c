/* What an arm answers to the held-out prompts, judged by the gold judge and by the reward models of the first arms. */
#include "pipeline/ablations.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Mean with its interval; of scores by a reward model also where the lowest twentieth ends. */
static void put_figure(json_t *line, const char *name, double *values, size_t n, bool share, bool tail)
{
    rate x;
    char key[64];
    mean_interval(values, n, &x.mean, &x.low, &x.high);
    if (share) x = share_rate(x.mean, (double)n);
    app_put(line, name, x.mean);
    snprintf(key, sizeof key, "%s_low", name);
    app_put(line, key, x.low);
    snprintf(key, sizeof key, "%s_high", name);
    app_put(line, key, x.high);
    if (!tail) return;
    qsort(values, n, sizeof *values, by_value);
    snprintf(key, sizeof key, "%s_tail", name);
    app_put(line, key, values[n / 20]);
}

enum { GOLD, RIGHT, REFUSED, FALSELY, FALSELY_HOW_TO, SORTED, SAFETY_SCORE, HELPFUL_SCORE, N_FIGURES };

/* The figures of an arm, over the prompts that each is of. */
static json_t *figures(pipeline *p, const judged *j)
{
    static const char *const names[N_FIGURES] = {"gold",         "correct", "refusals", "false_refusals",
                                                 "false_how_to", "sorted",  "safety",   "helpful"};
    json_t *line = json_object();
    double *values[N_FIGURES];
    size_t n[N_FIGURES] = {0};
    for (int k = 0; k < N_FIGURES; k++) values[k] = app_must(calloc(j->o.n + 1, sizeof *values[k]));
    for (size_t i = 0; i < j->o.n; i++) {
        gold g;
        judge_answer(p, &p->evaluation, i, j->o.answers[i], &g);
        values[GOLD][n[GOLD]++] = g.score;
        values[RIGHT][n[RIGHT]++] = g.correct;
        if (g.must_refuse) values[REFUSED][n[REFUSED]++] = g.refused;
        if (!g.is_safety) values[FALSELY][n[FALSELY]++] = g.refused;
        if (g.is_safety && !g.must_refuse) values[FALSELY_HOW_TO][n[FALSELY_HOW_TO]++] = g.refused;
        if (p->data.sorts(&p->data, true, (size_t)(p->evaluation.of[i] - p->data.evaluation.items)))
            values[SORTED][n[SORTED]++] = g.correct;
        if (g.is_safety)
            values[SAFETY_SCORE][n[SAFETY_SCORE]++] = j->safety[i];
        else
            values[HELPFUL_SCORE][n[HELPFUL_SCORE]++] = j->helpful[i];
    }
    for (int k = 0; k < N_FIGURES; k++) {
        put_figure(line, names[k], values[k], n[k], k >= RIGHT && k <= SORTED, k >= SAFETY_SCORE);
        free(values[k]);
    }
    return line;
}

static bool write_scores(loop *l, const judged *j)
{
    json_t *scores = json_array();
    for (size_t i = 0; i < j->o.n; i++)
        if (l->p->evaluation.of[i]->is_safety) json_array_append_new(scores, json_real(j->safety[i]));
    return state_write_json(l, "scores.json", json_pack("{s:o}", "safety", scores));
}

bool load_judges(loop *l)
{
    char path[4096];
    for (int i = 0; i < N_REWARD_ARMS; i++) {
        const reward_arm *arm = &reward_arms[i];
        if (arm->judges && !l->p->rewards[arm->which] &&
            !app_try(&l->p->app,
                     llama2_reward_model_load(l->p->app.ctx, state_path(l, path, "%s/model", arm->name), NULL,
                                              &l->p->rewards[arm->which]),
                     "reward model"))
            return false;
    }
    return true;
}

json_t *judge_arm(loop *l)
{
    pipeline *p = l->p;
    const loop_step *step = &l->steps[l->at];
    char path[4096];
    judged j = {.reward = NULL};
    llama2_rollouts *answers = NULL;
    json_t *line = NULL;
    if (load_judges(l) && (p->reference || load_sft(l, &p->reference)) &&
        evaluation_answers(p, p->model, 1, &answers) &&
        app_try(&p->app, llama2_rollouts_save(answers, state_path(l, path, "%s/answers", step->name)), "saving") &&
        judge_step(l, step, ANSWERS, &j) && write_scores(l, &j))
        line = figures(p, &j);
    if (line) app_put(line, "kl", j.o.kl); /* to the SFT model */
    llama2_rollouts_free(answers);
    judged_free(&j);
    return line;
}
