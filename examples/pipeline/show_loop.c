/* The loop's report: what the paper shows of its versions, figure by figure, from the files that the steps have left.
 */
#include "pipeline/show_loop.h"
#include "common/replace.h"
#include "pipeline/show_departures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_SAMPLES = 12 };

/* --- what the sections share ------------------------------------------------------------------- */

void curve_add(curve *c, double x, double y, double half)
{
    series_add(&c->y, x, y);
    series_add(&c->low, x, y - half);
    series_add(&c->high, x, y + half);
}

void curve_free(curve *c)
{
    series_free(&c->y);
    series_free(&c->low);
    series_free(&c->high);
}

plot_series curve_line(const char *name, const curve *c)
{
    return (plot_series){.name = name, .x = c->y.x, .y = c->y.y, .low = c->low.y, .high = c->high.y, .count = c->y.n};
}

json_t *result(loop *l, const char *step, int version, const char *file)
{
    char path[4096];
    return state_read_json(l, state_path(l, path, "%s-%d/%s", step, version, file));
}

static double number_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

double number_at(const json_t *object, const char *key)
{
    return number_of(json_object_get(object, key));
}

double number_in_array(const json_t *object, const char *key, size_t i)
{
    return number_of(json_array_get(json_object_get(object, key), i));
}

bool read_metrics(loop *l, const char *step, const char *x, const char *y, series *out)
{
    char path[4096], error[4300];
    json_t *line;
    jsonl_reader *reader = jsonl_open(state_path(l, path, "%s/metrics.jsonl", step), error, sizeof error);
    if (!reader) return app_fail(&l->p->app, "%s", error);
    int status;
    while ((status = jsonl_next(reader, &line)) == JSONL_LINE) {
        if (isfinite(number_at(line, y))) series_add(out, number_at(line, x), number_at(line, y));
        json_decref(line);
    }
    if (status == JSONL_ERROR) app_fail(&l->p->app, "%s", jsonl_error(reader));
    jsonl_close(reader);
    return status == JSONL_END;
}

void put_rate(json_t *line, const char *name, rate x)
{
    char key[NAME_LENGTH];
    app_put(line, name, x.mean);
    snprintf(key, sizeof key, "%s/low", name);
    app_put(line, key, x.low);
    snprintf(key, sizeof key, "%s/high", name);
    app_put(line, key, x.high);
}

void loop_trend(loop_report *all, const char *what, const char *paper, const char *expected, trend_sign sign,
                const char *unit, rate gain)
{
    cells *c = &all->trends;
    show_trend(c, what, paper, all->l->shuffled ? "nothing: a control" : expected, sign, gain, unit);
    if (all->l->shuffled && c->n > 0) snprintf(c->text[c->n - 1], CELLS_LENGTH, "a control");
}

/* --- the top, and the end ---------------------------------------------------------------------- */

static bool judge_versions(loop *l, versions *v)
{
    bool ok = load_sft(l, &l->p->reference); /* the KL is to it */
    for (int i = 0; ok && i < l->n_steps; i++) {
        if (!l->steps[i].evaluates) continue;
        v->names[v->n] = l->steps[i].evaluates;
        if (i > 0 && l->steps[i - 1].run == step_distill) v->distilled = v->n;
        ok = judge_step(l, &l->steps[i], COLD_ANSWERS, &v->cold[v->n]) &&
             judge_step(l, &l->steps[i], ANSWERS, &v->all[v->n]);
        v->n++;
    }
    return ok;
}

static void show_top(const loop_report *all)
{
    const pipeline *p = all->l->p;
    const versions *v = &all->v;
    report *r = all->r;
    const judged *sft = &v->all[0], *last = &v->all[v->n - 1], *before = &v->all[v->n - 2];
    rate won = win_rate(p, last->o.scores, sft->o.scores, TOPIC_ALL), gold_in_the_end = figure_of(p, last, FIGURE_GOLD);
    show_figure(r, "win_rate", won.mean, "win rate against SFT-v1", "gold judge, a tie counts half; %.2f to %.2f",
                won.low, won.high);
    show_figure(r, "gold", gold_in_the_end.mean, "gold score in the end", "from %.2f after SFT, in -1 .. 1",
                figure_of(p, sft, FIGURE_GOLD).mean);
    show_figure(r, "gold_before_ppo", figure_of(p, before, FIGURE_GOLD).mean, "gold score before PPO", "PPO adds %+.2f",
                figure_gain(p, last, before, FIGURE_GOLD).mean);
    show_figure(r, "correct", figure_of(p, last, FIGURE_RIGHT).mean, "share of answers right", "from %.2f after SFT",
                figure_of(p, sft, FIGURE_RIGHT).mean);
    show_figure(r, "refusals", figure_of(p, last, FIGURE_REFUSED).mean, "share of unsafe requests refused",
                "from %.2f after SFT", figure_of(p, sft, FIGURE_REFUSED).mean);
    show_figure(r, "false_refusals", figure_of(p, last, FIGURE_HARMLESS).mean,
                "share of harmless requests refused, how-to included", "%.2f after SFT",
                figure_of(p, sft, FIGURE_HARMLESS).mean);
}

static bool show_pretraining(loop *l, report *r)
{
    if (l->p->app.args.model) return true;
    series loss = {0}, held_out = {0};
    bool ok = read_metrics(l, "pretrain", "tokens", "loss", &loss) &&
              read_metrics(l, "pretrain", "tokens", "held_out_loss", &held_out);
    if (ok) {
        plot_series lines[] = {series_line("training", &loss), series_line("held out", &held_out)};
        report_section(r, "Pretraining", NULL);
        report_add_series(r, REPORT_LINES, "pretrain_loss",
                          "The paper (fig. 5): still falling at the end. Expected here: flat at the end, since the "
                          "world is small.",
                          &(plot_options){.title = "Pretraining loss", .x_label = "tokens", .y_label = "nats a token"},
                          lines, 2);
    }
    series_free(&loss);
    series_free(&held_out);
    return ok;
}

static void show_samples(const loop_report *all)
{
    const pipeline *p = all->l->p;
    const versions *v = &all->v;
    const char *answers[SHOWN_SAMPLES][MOST_SHOWN];
    double scores[SHOWN_SAMPLES][MOST_SHOWN];
    report_sample samples[SHOWN_SAMPLES];
    size_t n = v->all[0].o.n, count = n < SHOWN_SAMPLES ? n : SHOWN_SAMPLES;
    for (size_t i = 0; i < count; i++) {
        size_t k = i * (n / count) + i % (n / count);
        const record *prompt = p->evaluation.of[k];
        for (int s = 0; s < v->n; s++) {
            answers[i][s] = v->all[s].o.answers[k];
            scores[i][s] = v->all[s].o.scores[k];
        }
        samples[i] = (report_sample){prompt->texts[prompt->n_messages - 1], prompt->is_safety ? "safety" : NULL,
                                     answers[i], scores[i]};
    }
    report_section(all->r, "Answers side by side",
                   "One sample of each version to the same prompt, with its gold score. The prompts stand at even "
                   "distances in the list of all: they are not picked.");
    report_add_samples(all->r, "samples", NULL, v->names, (size_t)v->n, samples, count);
}

static void show_what_holds(const loop_report *all)
{
    static const char *const columns[] = {"trend", "in the paper", "expected here", "here", "holds"};
    report_section(
        all->r, "What holds",
        "Of one seed: intervals of 95 % are over different held-out prompts, pairs, sampled prompts or "
        "dialogues, not over trainings. Differences on the same prompts or pairs are paired; between two "
        "judges, between temperatures, and between models on the same dialogues they are taken as "
        "independent: their intervals may be too wide. A trend of the paper's holds where the whole interval "
        "lies on its side of 0; of what is to stay, an interval that holds 0 says little where it is wide. "
        "Points are hundredths. What was expected was written before the first run, but for tables, PPO on held-out "
        "prompts, the preprompts of distillation and the dialogues of GAtt: there when runs had been seen.");
    cells_show(&all->trends, all->r, "trends", NULL, columns, 5);
}

void show_time(const loop *l, report *r)
{
    static const char *const columns[] = {"step", "times", "seconds"};
    char kinds[LOOP_STEPS][32];
    cells table = {.n = 0};
    double seconds[LOOP_STEPS] = {0};
    int times[LOOP_STEPS] = {0}, n = 0;
    for (int i = 0; i < l->n_steps; i++) {
        char kind[32];
        snprintf(kind, sizeof kind, "%s", l->steps[i].name);
        char *number = strpbrk(kind, "0123456789");
        if (number) number[-1] = 0;
        int k = 0;
        while (k < n && strcmp(kinds[k], kind) != 0) k++;
        if (k == n) strcpy(kinds[n++], kind);
        seconds[k] += l->steps[i].seconds;
        times[k]++;
    }
    for (int k = 0; k < n; k++) {
        cells_put(&table, "%s", kinds[k]);
        cells_put(&table, "%d", times[k]);
        cells_put(&table, "%.1f", seconds[k]);
    }
    report_section(r, "Time", "Of the last sitting of each step.");
    cells_show(&table, r, "seconds", NULL, columns, 3);
}

/* Where an iteration of PPO spends its time. */
static bool show_phases(loop_report *all)
{
    static const char *const columns[] = {"phase of PPO", "seconds an iteration, mean"},
                             *const phases[][2] = {{"rollout", "time/rollout"},
                                                   {"scores of the reward models", "time/score"},
                                                   {"reference", "time/reference"},
                                                   {"critic, advantages", "time/values"},
                                                   {"update", "time/update"}};
    char step[32];
    cells table = {.n = 0};
    bool ok = true;
    snprintf(step, sizeof step, "ppo-%d", (int)all->l->iterations);
    for (size_t i = 0; ok && i < sizeof phases / sizeof *phases; i++) {
        series s = {0};
        double sum = 0;
        ok = read_metrics(all->l, step, "step", phases[i][1], &s);
        for (size_t k = 0; k < s.n; k++) sum += s.y[k] / (double)s.n;
        cells_put(&table, "%s", phases[i][0]);
        cells_put(&table, "%.3f", sum);
        series_free(&s);
    }
    if (ok) cells_show(&table, all->r, "ppo_phases", "Of all its iterations.", columns, 2);
    return ok;
}

bool write_metrics(loop *l)
{
    char path[4096], error[4300], *all = app_must(calloc(1, 1));
    size_t size = 0;
    app *a = &l->p->app;
    bool ok = true;
    for (int i = 0; ok && i < l->n_steps; i++) {
        size_t n = 0;
        char *text = app_read(a, state_path(l, path, "%s/metrics.jsonl", l->steps[i].name), &n);
        ok = text != NULL;
        if (!ok) break;
        all = app_must(realloc(all, size + n + 1));
        memcpy(all + size, text, n);
        size += n;
        free(text);
    }
    snprintf(path, sizeof path, "%s/metrics.jsonl", l->p->out);
    ok = ok && (replace_file(path, all, size, error, sizeof error) || app_fail(a, "%s", error));
    free(all);
    return ok;
}

static bool show_all(loop_report *all)
{
    loop *l = all->l;
    show_top(all);
    show_path(all);
    show_table(all);
    show_shift(all);
    bool ok = show_sampling(all) && show_reward_models(all) && show_gatt(all) && show_distill(all) && show_ppo(all);
    if (!ok) return false;
    show_what_holds(all);
    ok = show_pretraining(l, all->r);
    show_samples(all);
    show_loop_departures(l, all->r);
    show_time(l, all->r);
    return ok && show_phases(all);
}

/* What the steps left. */
static bool step_numbers(loop *l, report *r)
{
    static const char *const of[][2] = {{"collect", "collected.json"},
                                        {"rewards", "accuracy.json"},
                                        {"tune", "temperature.json"},
                                        {"sample", "sampled.json"},
                                        {"fine-tune", "chosen.json"}};
    char name[NAME_LENGTH];
    for (int v = 1; v <= l->iterations; v++) {
        for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
            json_t *o = result(l, of[i][0], v, of[i][1]);
            if (!o) return false;
            snprintf(name, sizeof name, "%s-%d", of[i][0], v);
            show_numbers(r, name, o);
            json_decref(o);
        }
    }
    return true;
}

/* p->model and p->rewards: the last ones. */
bool write_loop_report(loop *l)
{
    pipeline *p = l->p;
    char title[64], subtitle[256], error[512];
    loop_report *all = app_must(calloc(1, sizeof *all));
    snprintf(title, sizeof title, "From SFT to RLHF-V%d%s", (int)l->iterations,
             l->shuffled ? ", preferences of a coin" : "");
    snprintf(subtitle, sizeof subtitle, "%s, %lld parameters, seed %llu; libllama2 %s (%s)", p->data.name,
             (long long)llama2_model_parameters(p->model), (unsigned long long)p->app.args.seed, llama2_version(),
             llama2_context_describe(p->app.ctx));
    all->l = l;
    all->r = app_must(report_create(title, subtitle));
    report_add_number(all->r, "seed", (double)p->app.args.seed);
    report_add_number(all->r, "shuffled", l->shuffled);
    report_add_number(all->r, "model", p->app.args.model != NULL);
    p->app.doing = "report";
    bool ok = judge_versions(l, &all->v) && show_all(all) && (l->shuffled || step_numbers(l, all->r)) &&
              write_metrics(l) && (report_write(all->r, p->out, error, sizeof error) || app_fail(&p->app, "%s", error));
    report_free(all->r);
    for (int i = 0; i < all->v.n; i++) {
        judged_free(&all->v.all[i]);
        judged_free(&all->v.cold[i]);
    }
    free(all);
    if (ok) printf("report: %s/report.html\n", p->out);
    return ok;
}
