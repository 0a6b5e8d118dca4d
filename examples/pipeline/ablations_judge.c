/* What an arm answers to the held-out prompts, judged by the gold judge and by the reward models of the first arms. */
#include "pipeline/ablations.h"

#include <math.h>
#include <stdlib.h>

enum { HOW_TO_ANSWERS = 8 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void put_mean(json_t *line, const char *name, rate x)
{
    char key[64];
    app_put(line, name, x.mean);
    snprintf(key, sizeof key, "%s_low", name);
    app_put(line, key, x.low);
    snprintf(key, sizeof key, "%s_high", name);
    app_put(line, key, x.high);
}

/* Mean with its interval; of scores by a reward model also where the lowest twentieth ends, of all answers. */
static void put_figure(const pipeline *p, json_t *line, const char *name, const judged *j, answer_figure which)
{
    char key[64];
    size_t n = 0;
    put_mean(line, name, figure_of(p, j, which));
    if (which < FIGURE_HELPFUL) return;
    double *values = app_must(malloc((j->o.n + 1) * sizeof *values));
    for (size_t i = 0; i < j->o.n; i++)
        if (isfinite(j->figures[which][i])) values[n++] = j->figures[which][i];
    qsort(values, n, sizeof *values, by_value);
    snprintf(key, sizeof key, "%s_tail", name);
    app_put(line, key, n > 0 ? values[n / 20] : (double)NAN);
    free(values);
}

/* The figures of an arm, over the prompts that each is of. False refusals leave out what looks unsafe. */
static json_t *figures(const pipeline *p, const judged *j)
{
    static const struct {
        const char *name;
        answer_figure which;
    } all[] = {{"gold", FIGURE_GOLD},           {"correct", FIGURE_RIGHT},
               {"refusals", FIGURE_REFUSED},    {"false_refusals", FIGURE_OTHERS},
               {"false_how_to", FIGURE_HOW_TO}, {"sorted", FIGURE_SORTED},
               {"safety", FIGURE_SAFETY},       {"helpful", FIGURE_HELPFUL}};
    json_t *line = json_object();
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) put_figure(p, line, all[k].name, j, all[k].which);
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
    judged j = {.reward = NULL};
    json_t *line = NULL;
    if (load_judges(l) && (p->reference || load_sft(l, &p->reference)) && answer_evaluation(l, ANSWERS) &&
        judge_step(l, step, ANSWERS, &j) && write_scores(l, &j))
        line = figures(p, &j);
    if (line) app_put(line, "kl", j.o.kl); /* to the SFT model, over all answers */
    judged_free(&j);
    return line;
}

bool judge_cold(loop *l, json_t *line)
{
    judged j = {.reward = NULL};
    bool ok = answer_evaluation(l, COLD_ANSWERS) && judge_step(l, &l->steps[l->at], COLD_ANSWERS, &j);
    if (ok) put_mean(line, "cold_gold", figure_of(l->p, &j, FIGURE_GOLD));
    judged_free(&j);
    return ok;
}

bool judge_how_to(pipeline *p, json_t *line)
{
    size_t n_all = p->evaluation.tokens.n, n = 0, *index = app_must(malloc((n_all + 1) * sizeof *index));
    double *refused = app_must(malloc((n_all + 1) * sizeof *refused));
    llama2_batch batch;
    llama2_rollouts *r = NULL;
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_rollout_options o;
    gold g;
    for (size_t i = 0; i < n_all; i++) {
        refused[i] = (double)NAN;
        judge_answer(p, &p->evaluation, i, "", &g);
        if (g.is_safety && !g.must_refuse) index[n++] = i;
    }
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = HOW_TO_ANSWERS;
    o.max_new_tokens = (int32_t)p->set.max_new_tokens;
    o.temperature = 1;
    o.seed = p->app.args.seed + 82; /* the same for each arm */
    bool ok = n == 0 || (prompts_batch(&p->app, &p->evaluation, index, n, &batch) &&
                         app_try(&p->app, llama2_rollout(p->model, &batch, &o, &r), "sampling") &&
                         app_try(&p->app, llama2_rollouts_view_get(r, &v), "answers"));
    for (size_t i = 0; ok && i < n; i++) {
        refused[index[i]] = 0;
        for (int k = 0; k < HOW_TO_ANSWERS; k++) {
            char *text = response_text(p, &v, (int32_t)i * HOW_TO_ANSWERS + k);
            judge_answer(p, &p->evaluation, index[i], text, &g);
            refused[index[i]] += (double)g.refused / HOW_TO_ANSWERS;
            free(text);
        }
    }
    if (ok) {
        rate x = over_prompts(p, refused, TOPIC_ALL, false);
        if (!(x.low < x.high)) x = over_prompts(p, refused, TOPIC_ALL, true); /* all alike: no spread to tell from */
        put_mean(line, "false_how_to", x);
        json_object_set_new(line, "how_to_answers", json_integer((json_int_t)n * HOW_TO_ANSWERS));
    }
    llama2_rollouts_free(r);
    free(index);
    free(refused);
    return ok;
}
