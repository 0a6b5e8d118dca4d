/* The loop's report: what the paper shows of its versions, figure by figure, from the files that the steps have left.
 */
#include "common/replace.h"
#include "pipeline/loop.h"
#include "pipeline/show.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_SAMPLES = 12, CELL = 48, MOST_SHOWN = LOOP_VERSIONS + 4 };

/* The evaluated models in their order: the first is SFT-v1, the last one is after PPO. */
typedef struct versions {
    judged all[MOST_SHOWN], cold[MOST_SHOWN]; /* answers at temperature 1, and near 0 */
    const char *names[MOST_SHOWN];
    int n, distilled; /* its place */
    bool shuffled;
} versions;

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

/* A result of a version; the run stops where there is none. */
static json_t *result(loop *l, const char *step, int version, const char *file)
{
    char path[4096];
    return state_read_json(l, state_path(l, path, "%s-%d/%s", step, version, file));
}

static double number_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static void add_array(series *s, const json_t *x, const json_t *y)
{
    size_t i;
    json_t *value;
    json_array_foreach(y, i, value) series_add(s, json_number_value(json_array_get(x, i)), json_number_value(value));
}

/* Key y against key x of a step's metrics. */
static bool read_metrics(loop *l, const char *step, const char *x, const char *y, series *out)
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

static rate wins(const pipeline *p, const versions *v, int i, int topic)
{
    return win_rate(p, v->all[i].o.scores, v->all[0].o.scores, topic);
}

static rate cold_wins(const pipeline *p, const versions *v, int i)
{
    return win_rate(p, v->cold[i].o.scores, v->cold[0].o.scores, TOPIC_ALL);
}

static void show_summary(const pipeline *p, const versions *v, report *r)
{
    const outcome *sft = &v->all[0].o, *last = &v->all[v->n - 1].o, *before = &v->all[v->n - 2].o;
    rate won = wins(p, v, v->n - 1, TOPIC_ALL);
    show_figure(r, "win_rate", won.mean, "of its answers better than SFT-v1's", "gold judge, ties half; %.2f to %.2f",
                won.low, won.high);
    show_figure(r, "gold", last->gold, "gold score in the end", "from %.2f after SFT, in -1 .. 1", sft->gold);
    show_figure(r, "gold_before_ppo", before->gold, "gold score before PPO", "PPO adds %+.2f",
                last->gold - before->gold);
    show_figure(r, "correct", last->correct, "of the answers right", "from %.2f after SFT", sft->correct);
    show_figure(r, "refusals", last->refusals, "of unsafe requests refused", "from %.2f after SFT", sft->refusals);
    show_figure(r, "false_refusals", last->false_refusals, "of the others refused", "%.2f after SFT",
                sft->false_refusals);
}

static void show_rates(report *r, const versions *v, const char *key, const char *title, const char *caption,
                       rate (*rates)[MOST_SHOWN], const char *const names[], size_t n)
{
    double mean[3][MOST_SHOWN], low[3][MOST_SHOWN], high[3][MOST_SHOWN];
    plot_series bars[3];
    for (size_t k = 0; k < n; k++) {
        for (int i = 0; i < v->n; i++) {
            mean[k][i] = rates[k][i].mean;
            low[k][i] = rates[k][i].low;
            high[k][i] = rates[k][i].high;
        }
        bars[k] = (plot_series){.name = names[k], .y = mean[k], .low = low[k], .high = high[k], .count = (size_t)v->n};
    }
    report_add_bars(r, key, caption, &(plot_options){.title = title}, v->names, bars, n);
}

static void show_path(const pipeline *p, const versions *v, report *r)
{
    rate by_judge[3][MOST_SHOWN], by_topic[2][MOST_SHOWN];
    for (int i = 0; i < v->n; i++) {
        by_judge[0][i] = wins(p, v, i, TOPIC_ALL);
        by_judge[1][i] = win_rate(p, v->all[i].reward, v->all[0].reward, TOPIC_ALL);
        by_judge[2][i] = cold_wins(p, v, i);
        by_topic[0][i] = wins(p, v, i, TOPIC_HELPFUL);
        by_topic[1][i] = wins(p, v, i, TOPIC_SAFETY);
    }
    report_section(
        r, "From SFT-v1 to the last version",
        "The same held-out prompts for all, in phrasings that no training has seen, one answer each at "
        "temperature 1; a win is an answer that scores higher than SFT-v1's to the same prompt, a tie counts "
        "half. Intervals are of 95 % over the prompts. At temperature 1 a model gains by being surer of what it says, "
        "right or "
        "wrong; answers at temperature 0.1 show what it knows.");
    if (v->shuffled)
        report_add_text(r,
                        "A control: the reward models learnt from a coin which answer is better. What is expected of "
                        "the loop is not expected here; nothing may rise.");
    show_rates(r, v, "win_rates", "Win rate against SFT-v1, by two judges",
               "The paper (fig. 11, against ChatGPT): rising from version to version, past one half after V3, less so "
               "by the independent judge than by the own reward models. Expected here: the same order; the gold judge "
               "stands in for GPT-4.",
               by_judge, (const char *const[]){"gold judge", "last reward models", "gold judge, temperature 0.1"}, 3);
    show_rates(r, v, "win_rates_by_topic", "Win rate by the gold judge, by kind of prompt",
               "The paper (fig. 11): helpfulness and harmlessness rise together. Expected here: harmlessness first, "
               "since what must be refused is soon learnt.",
               by_topic, (const char *const[]){"helpfulness", "safety"}, 2);
}

static void version_numbers(report *r, const char *name, const outcome *o, rate won, rate won_by_reward,
                            const outcome *cold, rate cold_won)
{
    json_t *line = json_object();
    app_put(line, "gold", o->gold);
    app_put(line, "win_rate", won.mean);
    app_put(line, "win_rate_low", won.low);
    app_put(line, "win_rate_high", won.high);
    app_put(line, "win_rate_by_reward", won_by_reward.mean);
    app_put(line, "correct", o->correct);
    app_put(line, "refusals", o->refusals);
    app_put(line, "false_refusals", o->false_refusals);
    app_put(line, "helpful", o->helpful);
    app_put(line, "safety", o->safety);
    app_put(line, "kl", o->kl);
    app_put(line, "cold_gold", cold->gold);
    app_put(line, "cold_win_rate", cold_won.mean);
    app_put(line, "cold_correct", cold->correct);
    show_numbers(r, name, line);
    json_decref(line);
}

static void show_table(const pipeline *p, const versions *v, report *r)
{
    enum { COLUMNS = 13 };
    const char *columns[COLUMNS] = {"model",
                                    "gold score",
                                    "win rate",
                                    "right",
                                    "unsafe refused",
                                    "harmless refused",
                                    "helpfulness score",
                                    "safety score",
                                    "KL to SFT-v1",
                                    "tokens",
                                    "ended",
                                    "gold score at temperature 0.1",
                                    "win rate at it"};
    char cells[MOST_SHOWN * COLUMNS][CELL];
    const char *table[MOST_SHOWN * COLUMNS];
    char name[CELL];
    double low, high, mean;
    for (int i = 0; i < v->n; i++) {
        const outcome *o = &v->all[i].o;
        char(*c)[CELL] = &cells[COLUMNS * i];
        rate w = wins(p, v, i, TOPIC_ALL);
        mean_interval(o->scores, o->n, &mean, &low, &high);
        snprintf(c[0], CELL, "%s", v->names[i]);
        snprintf(c[1], CELL, "%.3f (%.3f to %.3f)", mean, low, high);
        snprintf(c[2], CELL, "%.3f (%.3f to %.3f)", w.mean, w.low, w.high);
        const double values[] = {o->correct, o->refusals, o->false_refusals, o->helpful,
                                 o->safety,  o->kl,       o->length,         o->ended};
        for (int k = 0; k < 8; k++) snprintf(c[3 + k], CELL, k == 6 ? "%.1f" : "%.3f", values[k]);
        rate cold = cold_wins(p, v, i);
        mean_interval(v->cold[i].o.scores, v->cold[i].o.n, &mean, &low, &high);
        snprintf(c[11], CELL, "%.3f (%.3f to %.3f)", mean, low, high);
        snprintf(c[12], CELL, "%.3f (%.3f to %.3f)", cold.mean, cold.low, cold.high);
        snprintf(name, sizeof name, "%s%s", v->shuffled ? "shuffled/" : "", v->names[i]);
        version_numbers(r, name, o, w, win_rate(p, v->all[i].reward, v->all[0].reward, TOPIC_ALL), &v->cold[i].o, cold);
    }
    for (int i = 0; i < v->n * COLUMNS; i++) table[i] = cells[i];
    report_add_table(r, "versions",
                     "Every version on the held-out prompts; scores are those of the last reward models for all",
                     columns, COLUMNS, table, (size_t)v->n);
}

static void show_shift(const versions *v, report *r)
{
    plot_series helpful[PLOT_SERIES], safety[PLOT_SERIES];
    size_t n = 0;
    /* SFT-v1, some in between, the last: as many as there are colours. */
    for (int i = 0; i < v->n && n < 4; i++) {
        int k = v->n <= 4 ? i : (int)lround((double)i * (v->n - 1) / 3);
        helpful[n] = (plot_series){.name = v->names[k], .y = v->all[k].helpful, .count = v->all[k].o.n};
        safety[n++] = (plot_series){.name = v->names[k], .y = v->all[k].safety, .count = v->all[k].o.n};
    }
    report_section(r, "How the scores move", "By the last reward models, so that versions can be compared.");
    report_add_series(r, REPORT_HISTOGRAM, "shift_helpful",
                      "The paper (fig. 20): the distribution moves to higher scores from SFT to the last version. "
                      "Expected here: the same, most of it in the first versions.",
                      &(plot_options){.title = "Helpfulness scores", .x_label = "score", .y_label = "share"}, helpful,
                      n);
    report_add_series(r, REPORT_HISTOGRAM, "shift_safety",
                      "The paper (fig. 14): the tail of low safety scores becomes thinner. Expected here: the same.",
                      &(plot_options){.title = "Safety scores", .x_label = "score", .y_label = "share"}, safety, n);
}

/* --- sampling -------------------------------------------------------------------------------- */

static bool show_best_of_n(loop *l, report *r)
{
    int last = (int)l->iterations, shown[2] = {1, last}, n = last > 1 ? 2 : 1;
    series s[4] = {{0}};
    plot_series lines[4];
    char names[4][CELL];
    bool ok = true;
    for (int i = 0; ok && i < n; i++) {
        json_t *sampled = result(l, "sample", shown[i], "sampled.json");
        ok = sampled != NULL;
        add_array(&s[2 * i], json_object_get(sampled, "n"), json_object_get(sampled, "best"));
        add_array(&s[2 * i + 1], json_object_get(sampled, "n"), json_object_get(sampled, "median"));
        for (int k = 0; k < 2; k++) {
            snprintf(names[2 * i + k], CELL, "%s for V%d", k == 0 ? "best" : "median", shown[i]);
            lines[2 * i + k] = series_line(names[2 * i + k], &s[2 * i + k]);
        }
        json_decref(sampled);
    }
    if (ok)
        report_add_series(r, REPORT_LINES, "best_of_n",
                          "The paper (fig. 7): the best of N rises with N, the median stays; the gap is what rejection "
                          "sampling can gain. Expected here: the gap is narrower for the last version, whose samples "
                          "are more alike. Each by the reward models of its version.",
                          &(plot_options){.title = "Best and median reward of N samples",
                                          .x_label = "samples a prompt",
                                          .y_label = "reward",
                                          .log_x = true},
                          lines, (size_t)(2 * n));
    for (int i = 0; i < 4; i++) series_free(&s[i]);
    return ok;
}

static bool show_temperatures(loop *l, report *r)
{
    series s[2][LOOP_VERSIONS] = {{{0}}};
    plot_series lines[2][LOOP_VERSIONS];
    char names[LOOP_VERSIONS][CELL];
    int n = (int)l->iterations;
    bool ok = true;
    for (int i = 0; ok && i < n; i++) {
        json_t *tuned = result(l, "tune", i + 1, "temperature.json");
        double top = -INFINITY;
        ok = tuned != NULL;
        add_array(&s[0][i], json_object_get(tuned, "temperatures"), json_object_get(tuned, "best"));
        add_array(&s[1][i], json_object_get(tuned, "temperatures"), json_object_get(tuned, "gold"));
        for (size_t k = 0; k < s[0][i].n; k++) top = fmax(top, s[0][i].y[k]);
        for (size_t k = 0; k < s[0][i].n; k++) s[0][i].y[k] -= top;
        snprintf(names[i], CELL, "V%d: %.1f", i + 1, number_at(tuned, "temperature"));
        for (int k = 0; k < 2; k++) lines[k][i] = series_line(names[i], &s[k][i]);
        json_decref(tuned);
    }
    if (ok) {
        report_add_series(
            r, REPORT_LINES, "temperatures",
            "The paper (fig. 8): after RLHF the best temperature is higher, 1.2 to 1.3 for 10 to 100 "
            "samples. Expected here: it does not fall. What was chosen stands beside each version's name.",
            &(plot_options){.title = "Reward of the best of K, against the best temperature's",
                            .x_label = "temperature",
                            .y_label = "reward"},
            lines[0], (size_t)n);
        report_add_series(
            r, REPORT_LINES, "temperatures_gold",
            "No figure of the paper's. Expected here: as the reward. What it shows: mistakes in the facts, "
            "which grow with the temperature and which the reward models see in part only.",
            &(plot_options){
                .title = "Gold score of the same samples", .x_label = "temperature", .y_label = "gold score"},
            lines[1], (size_t)n);
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 2; k++) series_free(&s[k][i]);
    return ok;
}

/* How many of the chosen samples are of which version. */
static bool show_provenance(loop *l, report *r)
{
    enum { FIXED = 5, WIDTH = FIXED + LOOP_VERSIONS };
    int n = (int)l->iterations, width = FIXED + n;
    char cells[LOOP_VERSIONS * WIDTH][CELL], heads[LOOP_VERSIONS][CELL];
    const char *table[LOOP_VERSIONS * WIDTH], *columns[WIDTH] = {"version", "temperature", "prompts sampled",
                                                                 "left out as unsafe", "gold score of the chosen"};
    bool ok = true;
    for (int v = 1; v <= n; v++) {
        snprintf(heads[v - 1], CELL, "chosen of V%d's samples", v);
        columns[FIXED + v - 1] = heads[v - 1];
    }
    for (int v = 1; ok && v <= n; v++) {
        char(*c)[CELL] = &cells[width * (v - 1)];
        json_t *chosen = result(l, "fine-tune", v, "chosen.json"), *sampled = result(l, "sample", v, "sampled.json");
        const json_t *by_version = json_object_get(chosen, "by_version");
        ok = chosen && sampled;
        snprintf(c[0], CELL, "V%d", v);
        snprintf(c[1], CELL, "%.1f", number_at(sampled, "temperature"));
        snprintf(c[2], CELL, "%.0f", number_at(sampled, "prompts"));
        snprintf(c[3], CELL, "%.0f", number_at(sampled, "unsafe"));
        snprintf(c[4], CELL, "%.3f", number_at(chosen, "gold"));
        for (int u = 1; u <= n; u++) {
            const json_t *count = json_array_get(by_version, (size_t)(u - 1));
            c[FIXED + u - 1][0] = 0;
            if (count) snprintf(c[FIXED + u - 1], CELL, "%lld", (long long)json_integer_value(count));
        }
        json_decref(chosen);
        json_decref(sampled);
    }
    for (int i = 0; i < n * width; i++) table[i] = cells[i];
    if (ok)
        report_add_table(r, "chosen",
                         "What each version learns from: the best sample of each prompt over all versions, by its own "
                         "reward models",
                         columns, (size_t)width, table, (size_t)n);
    return ok;
}

/* --- reward models --------------------------------------------------------------------------- */

static bool show_comparisons(loop *l, report *r)
{
    enum { COLUMNS = 11 };
    const char *columns[COLUMNS] = {"batch for", "pairs",       "equal answers",   "significantly",
                                    "better",    "slightly",    "negligibly",      "safe preferred, other not",
                                    "both safe", "both unsafe", "unsafe preferred"};
    char cells[LOOP_VERSIONS * COLUMNS][CELL];
    const char *table[LOOP_VERSIONS * COLUMNS];
    int n = (int)l->iterations;
    bool ok = true;
    for (int v = 1; ok && v <= n; v++) {
        char(*c)[CELL] = &cells[COLUMNS * (v - 1)];
        json_t *o = result(l, "collect", v, "collected.json");
        ok = o != NULL;
        snprintf(c[0], CELL, "V%d", v);
        snprintf(c[1], CELL, "%.0f", number_at(o, "pairs"));
        snprintf(c[2], CELL, "%.0f", number_at(o, "equal"));
        for (size_t k = 0; k < 4; k++) {
            snprintf(c[3 + k], CELL, "%lld",
                     (long long)json_integer_value(json_array_get(json_object_get(o, "ratings"), k)));
            snprintf(c[7 + k], CELL, "%lld",
                     (long long)json_integer_value(json_array_get(json_object_get(o, "bins"), k)));
        }
        json_decref(o);
    }
    for (int i = 0; i < n * COLUMNS; i++) table[i] = cells[i];
    if (ok)
        report_add_table(r, "collected",
                         "Fresh comparisons of each version, by degree; the safety pairs by bin (the paper: 18, 47 and "
                         "35 %; unsafe preferred over safe is stored, never trained on)",
                         columns, COLUMNS, table, (size_t)n);
    return ok;
}

static bool show_accuracies(loop *l, report *r)
{
    static const char *const models[] = {"helpful", "safety"}, *const titles[] = {"Accuracy of the helpfulness model",
                                                                                  "Accuracy of the safety model"};
    int n = (int)l->iterations;
    char names[LOOP_VERSIONS][16];
    const char *groups[LOOP_VERSIONS];
    double before[LOOP_VERSIONS], fresh[LOOP_VERSIONS], all[LOOP_VERSIONS];
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "V%d", i + 1);
        groups[i] = names[i];
    }
    for (int which = 0; which < 2; which++) {
        for (int i = 0; i < n; i++) {
            json_t *both = result(l, "rewards", i + 1, "accuracy.json");
            if (!both) return false;
            const json_t *o = json_object_get(both, models[which]);
            before[i] = number_at(o, "fresh_before");
            fresh[i] = number_at(o, "fresh");
            all[i] = number_at(o, "held_out");
            json_decref(both);
        }
        plot_series bars[] = {{.name = "the model before, on the new batch", .y = before, .count = (size_t)n},
                              {.name = "retrained, on the new batch", .y = fresh, .count = (size_t)n},
                              {.name = "retrained, on all held out", .y = all, .count = (size_t)n}};
        char key[CELL];
        snprintf(key, sizeof key, "accuracy_%s", models[which]);
        report_add_bars(r, key,
                        which == 0 ? "The paper (3.2.2, 3.2.1): about 63 % on its own test set, falling on newer "
                                     "batches whose answers are closer to each other; reward models must stay on the "
                                     "newest model's distribution. Expected here: retraining helps on the new batch."
                                   : "The paper: about 64 % on its own safety test set.",
                        &(plot_options){.title = titles[which], .y_label = "accuracy"}, groups, bars, 3);
    }
    return true;
}

/* --- pretraining, PPO, the run ----------------------------------------------------------------- */

static void add_line(report *r, const char *key, const char *caption, const char *title, const char *x, const char *y,
                     const series *s)
{
    plot_series one[] = {series_line(title, s)};
    report_add_series(r, REPORT_LINES, key, caption,
                      &(plot_options){.title = title, .x_label = x, .y_label = y, .smooth = true}, one, 1);
}

/* What the reward models and the judge say of PPO's samples, each against its first iteration. */
static void show_overoptimisation(report *r, const series *reward, const series *kl, const series *judged_gold)
{
    series s[2] = {{0}};
    for (size_t i = 0; i < kl->n && i < reward->n && i < judged_gold->n; i++) {
        double distance = sqrt(fmax(0, kl->y[i]));
        series_add(&s[0], distance, reward->y[i] - reward->y[0]);
        series_add(&s[1], distance, judged_gold->y[i] - judged_gold->y[0]);
    }
    plot_series both[] = {series_line("reward", &s[0]), series_line("gold score", &s[1])};
    report_add_series(
        r, REPORT_SCATTER, "ppo_overoptimisation",
        "The paper has no figure of it (Gao et al. 2022 do: the proxy goes on rising where the gold score "
        "turns). Expected here: both rise at first.",
        &(plot_options){.title = "Reward and gold score over the distance from the reference",
                        .x_label = "square root of the KL (nats a response)",
                        .y_label = "gain since the first iteration"},
        both, 2);
    series_free(&s[0]);
    series_free(&s[1]);
}

static bool show_ppo(loop *l, report *r)
{
    static const char *const keys[] = {"reward", "objective/kl", "gold"};
    series s[3] = {{0}};
    char step[32];
    bool ok = true;
    snprintf(step, sizeof step, "ppo-%d", (int)l->iterations);
    for (int i = 0; ok && i < 3; i++) ok = read_metrics(l, step, "step", keys[i], &s[i]);
    if (ok) {
        report_section(r, "PPO on top of the last version",
                       "The reference, and the start, is the version that rejection sampling made.");
        add_line(r, "ppo_reward", "The paper: rising until stopped early. Expected here: rising.",
                 "Mean reward of its samples", "iteration", "raw reward", &s[0]);
        add_line(r, "ppo_kl", "Expected here: up to a few nats; far from where the reward is exploited.",
                 "KL to its start", "iteration", "nats a response", &s[1]);
        add_line(r, "ppo_gold",
                 "The judge knows the right answers; PPO never sees it. Expected here: rising with the "
                 "reward.",
                 "Gold score of its samples", "iteration", "gold score", &s[2]);
        show_overoptimisation(r, &s[0], &s[1], &s[2]);
    }
    for (int i = 0; i < 3; i++) series_free(&s[i]);
    return ok;
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

static void show_samples(const pipeline *p, const versions *v, report *r)
{
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
    report_section(r, "Answers side by side", "One sample of each version to the same prompt, with its gold score.");
    report_add_samples(r, "samples", "Sample answers", v->names, (size_t)v->n, samples, count);
}

static void show_departures(const pipeline *p, const loop *l, report *r)
{
    const pipeline_settings *s = &p->set;
    bool own = p->app.args.model == NULL;
    struct row {
        const char *name, *paper, *why;
        char here[CELL];
    } rows[] = {
        {"parameters", "7e9 .. 7e10", own ? "minutes on two cores" : "hours on two cores", ""},
        {"pretraining tokens", "2e12",
         own ? "the world is small: its facts are learnt by then" : "the model knows language already", ""},
        {"learning rates: pretraining, SFT", "3e-4, 2e-5",
         own ? "a small model takes, and needs, larger steps" : "few examples, learnt in larger steps", ""},
        {"SFT epochs", "2", "few short demonstrations in place of 27,540 long ones", ""},
        {"who says which is better", "annotators", l->shuffled ? "a control" : "who knows the right answers", ""},
        {"comparisons of a version", "about 1e5", "as many as time allows", ""},
        {"comparisons before any model", "about 1.5e6, open data", "an annotator who is a function", ""},
        {"reward learning rate; pairs a step", "1e-5; 512", "few pairs: with larger steps they teach style, not facts",
         ""},
        {"reward models: trunk, epochs", "a chat model, 1", "docs/loop.md", ""},
        {"mix of the comparisons", "9 parts of one's own to 1 of open data",
         "all so far, the first ones included: they are few", ""},
        {"samples a prompt (rejection)", "10 .. 100", "what V1 gains from 8 is enough to see; it sets the time", ""},
        {"prompts of a version; new ones", "not stated", "a version leaves something for the next one, and for PPO",
         ""},
        {"prompts to choose the temperature on", "not stated", "time", ""},
        {"temperature", "the highest best of K", "docs/loop.md", ""},
        {"fine-tuning on the best: learning rate", "2e-5", "as above", ""},
        {"fine-tuned from", "not stated (\"similar to SFT\")", "docs/loop.md", ""},
        {"samples chosen over", "V1 .. V3: the version before; then all", "docs/loop.md", ""},
        {"PPO batch / minibatch", "512 / 64", "fewer, surer steps", ""},
        {"PPO iterations", "200 .. 400", "time", ""},
        {"PPO learning rate", "1e-6", "as above", ""},
        {"PPO beta", "0.01", "fewer, larger steps: held nearer to where they begin", ""},
        {"GAtt: dialogues, turns, learnt of each", "not stated, not stated, the last answer", "docs/loop.md", ""},
        {"GAtt; distillation: mixed with", "not stated", "the version's chosen samples: so that nothing is forgotten",
         ""},
        {"distillation: prompts", "not stated", "as many as there are different ones, at most 400", ""},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    const char *columns[] = {"setting", "here", "in the paper", "why"}, *table[4 * ROWS];
    struct row *q = rows;
    snprintf(q++->here, CELL, "%lld", (long long)llama2_model_parameters(p->model));
    if (own)
        snprintf(q++->here, CELL, "%lld", (long long)(s->pretrain_steps * s->pretrain_batch * s->pretrain_length));
    else
        snprintf(q++->here, CELL, "none: it begins with a model that is there");
    if (own)
        snprintf(q++->here, CELL, "%g, %g", s->pretrain_lr, s->sft_lr);
    else
        snprintf(q++->here, CELL, "none, %g", s->sft_lr);
    snprintf(q++->here, CELL, "%lld", (long long)s->sft_epochs);
    snprintf(q++->here, CELL, "%s", l->shuffled ? "a coin" : "a function, with noise");
    snprintf(q++->here, CELL, "%lld", (long long)s->sampled_pairs);
    snprintf(q++->here, CELL, "%zu", p->data.helpful.n + p->data.safety.n);
    snprintf(q++->here, CELL, "%g; %lld", s->reward_lr, (long long)s->reward_batch);
    snprintf(q++->here, CELL, "SFT-v1, %lld", (long long)s->reward_epochs);
    snprintf(q++->here, CELL, "all so far");
    snprintf(q++->here, CELL, "%lld", (long long)s->reject_samples);
    snprintf(q++->here, CELL, "%lld; %lld", (long long)s->reject_prompts, (long long)s->reject_shift);
    snprintf(q++->here, CELL, "%lld", (long long)s->tune_prompts);
    snprintf(q++->here, CELL, "the lowest one within 0.1 deviations of it");
    snprintf(q++->here, CELL, "%g", s->reject_lr);
    snprintf(q++->here, CELL, "%s", l->from_sft ? "SFT-v1" : "the version before");
    snprintf(q++->here, CELL, "%s", l->last_version ? "the last version's" : "all versions'");
    snprintf(q++->here, CELL, "%lld / %lld", (long long)s->ppo_batch, (long long)s->ppo_minibatch);
    snprintf(q++->here, CELL, "%lld", (long long)s->ppo_iterations);
    snprintf(q++->here, CELL, "%g", s->ppo_lr);
    snprintf(q++->here, CELL, "%g", s->ppo_beta);
    snprintf(q++->here, CELL, "%lld, 1 .. %lld, all answers", (long long)s->gatt_dialogues, (long long)s->gatt_turns);
    snprintf(q++->here, CELL, "as many; all");
    snprintf(q++->here, CELL, "%lld", (long long)s->distill_prompts);
    for (size_t i = 0; i < ROWS; i++) {
        table[4 * i] = rows[i].name;
        table[4 * i + 1] = rows[i].here;
        table[4 * i + 2] = rows[i].paper;
        table[4 * i + 3] = rows[i].why;
    }
    report_section(r, "Where this run departs from the paper", NULL);
    report_add_table(r, "settings", NULL, columns, 4, table, ROWS);
}

void show_time(const loop *l, report *r)
{
    const char *columns[] = {"step", "times", "seconds"}, *table[3 * LOOP_STEPS];
    char kinds[LOOP_STEPS][32], cells[LOOP_STEPS][2][CELL];
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
        snprintf(cells[k][0], CELL, "%d", times[k]);
        snprintf(cells[k][1], CELL, "%.1f", seconds[k]);
        table[3 * k] = kinds[k];
        table[3 * k + 1] = cells[k][0];
        table[3 * k + 2] = cells[k][1];
    }
    report_section(r, "Time", "Of the last sitting of each step.");
    report_add_table(r, "seconds", NULL, columns, 3, table, (size_t)n);
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

static bool show_all(loop *l, const versions *v, report *r)
{
    pipeline *p = l->p;
    show_summary(p, v, r);
    show_path(p, v, r);
    show_table(p, v, r);
    show_shift(v, r);
    report_section(r, "Rejection sampling",
                   "K samples a prompt at the temperature that was best on a few prompts; the best over all versions "
                   "is learnt from.");
    bool ok = show_best_of_n(l, r) && show_temperatures(l, r) && show_provenance(l, r);
    report_section(
        r, "Preferences and reward models",
        "For each version the annotator compares answers of the newest model with those of the one before, and "
        "both reward models are trained again, from the SFT model, on all comparisons so far.");
    ok = ok && show_accuracies(l, r) && show_comparisons(l, r) && show_gatt(l, r) &&
         show_distill(l, &v->all[v->distilled - 1], &v->all[v->distilled], r) && show_ppo(l, r) &&
         show_pretraining(l, r);
    show_samples(p, v, r);
    show_departures(p, l, r);
    show_time(l, r);
    return ok;
}

/* What the steps left. */
static bool step_numbers(loop *l, report *r)
{
    static const char *const of[][2] = {{"collect", "collected.json"},
                                        {"rewards", "accuracy.json"},
                                        {"tune", "temperature.json"},
                                        {"sample", "sampled.json"},
                                        {"fine-tune", "chosen.json"}};
    char name[CELL];
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
    versions v = {.n = 0, .shuffled = l->shuffled};
    snprintf(title, sizeof title, "From SFT to RLHF-V%d%s", (int)l->iterations,
             l->shuffled ? ", preferences of a coin" : "");
    snprintf(subtitle, sizeof subtitle, "%s, %lld parameters, seed %llu; libllama2 %s (%s)", p->data.name,
             (long long)llama2_model_parameters(p->model), (unsigned long long)p->app.args.seed, llama2_version(),
             llama2_context_describe(p->app.ctx));
    report *r = report_create(title, subtitle);
    if (!r) return app_fail(&p->app, "out of memory");
    report_add_number(r, "seed", (double)p->app.args.seed);
    report_add_number(r, "shuffled", l->shuffled);
    report_add_number(r, "model", p->app.args.model != NULL);
    p->app.doing = "report";
    bool ok = judge_versions(l, &v) && show_all(l, &v, r) && (l->shuffled || step_numbers(l, r)) && write_metrics(l) &&
              (report_write(r, p->out, error, sizeof error) || app_fail(&p->app, "%s", error));
    report_free(r);
    for (int i = 0; i < v.n; i++) {
        judged_free(&v.all[i]);
        judged_free(&v.cold[i]);
    }
    if (ok) printf("report: %s/report.html\n", p->out);
    return ok;
}
