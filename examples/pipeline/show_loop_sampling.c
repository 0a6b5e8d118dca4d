/* The report of the loop: rejection sampling. */
#include "pipeline/show_loop.h"

#include <math.h>
#include <stdlib.h>

/* --- best of N ------------------------------------------------------------------------------- */

/* By N, with their intervals; and what they have above one sample of the same prompt. */
typedef struct best_curve {
    curve all, gain;
} best_curve;

static void read_curve(const json_t *sampled, const char *name, best_curve *out)
{
    char half[NAME_LENGTH], gain_half[NAME_LENGTH];
    size_t points = json_array_size(json_object_get(sampled, "n"));
    snprintf(half, sizeof half, "%s_half", name);
    snprintf(gain_half, sizeof gain_half, "%s_gain_half", name);
    for (size_t k = 0; k < points; k++) {
        double n = number_in_array(sampled, "n", k), y = number_in_array(sampled, name, k);
        curve_add(&out->all, n, y, number_in_array(sampled, half, k));
        curve_add(&out->gain, n, y - number_in_array(sampled, name, 0), number_in_array(sampled, gain_half, k));
    }
}

static bool read_best(loop *l, int version, best_curve *best, best_curve *median)
{
    json_t *sampled = result(l, "sample", version, "sampled.json");
    read_curve(sampled, "best", best);
    read_curve(sampled, "median", median);
    json_decref(sampled);
    return sampled != NULL;
}

static void curve_numbers(report *r, int version, const char *name, const curve *c)
{
    char key[NAME_LENGTH];
    for (size_t i = 0; i < c->y.n; i++) {
        snprintf(key, sizeof key, "%s/%zu/low", name, i);
        json_t *line = json_object();
        app_put(line, key, c->low.y[i]);
        snprintf(key, sizeof key, "%s/%zu/high", name, i);
        app_put(line, key, c->high.y[i]);
        snprintf(key, sizeof key, "sample-%d", version);
        show_numbers(r, key, line);
        json_decref(line);
    }
}

static rate curve_at(const curve *c, size_t i)
{
    return (rate){c->y.y[i], c->low.y[i], c->high.y[i]};
}

static void add_best_trends(loop_report *all, int version, const best_curve *best, const best_curve *median)
{
    char what[CELLS_LENGTH];
    const series *n = &best->all.y;
    if (n->n == 0) return;
    snprintf(what, sizeof what, "best of %.0f against one sample, V%d: reward", n->x[n->n - 1], version);
    loop_trend(all, what, "rising with N (fig. 7)", "rises", TREND_RISES, "", curve_at(&best->gain, n->n - 1));
    snprintf(what, sizeof what, "median of %.0f against one sample, V%d: reward", n->x[n->n - 1], version);
    loop_trend(all, what, "flat (fig. 7)", "stays", TREND_STAYS, "", curve_at(&median->gain, n->n - 1));
}

static bool show_best_of_n(loop_report *all)
{
    int last = (int)all->l->iterations, shown[2] = {1, last}, n = last > 1 ? 2 : 1;
    best_curve c[4] = {{.all = {{0}, {0}, {0}}}};
    plot_series lines[4];
    char names[4][NAME_LENGTH];
    bool ok = true;
    for (int i = 0; ok && i < n; i++) {
        ok = read_best(all->l, shown[i], &c[2 * i], &c[2 * i + 1]);
        for (int k = 0; k < 2; k++) {
            snprintf(names[2 * i + k], NAME_LENGTH, "%s for V%d", k == 0 ? "best" : "median", shown[i]);
            lines[2 * i + k] = curve_line(names[2 * i + k], &c[2 * i + k].gain);
            if (ok && !all->l->shuffled) curve_numbers(all->r, shown[i], k == 0 ? "best" : "median", &c[2 * i + k].all);
        }
        if (ok) add_best_trends(all, shown[i], &c[2 * i], &c[2 * i + 1]);
    }
    if (ok)
        report_add_series(all->r, REPORT_LINES, "best_of_n",
                          "The paper (fig. 7): the best of N rises with N, the median stays; the gap is what rejection "
                          "sampling can gain. Expected here: the gap is narrower for the last version, whose samples "
                          "are more alike. Each by the reward models of its version, above one sample of the same "
                          "prompt; bands of 95 % are over prompts.",
                          &(plot_options){.title = "Best and median reward of N samples",
                                          .x_label = "samples a prompt",
                                          .y_label = "raw reward, gained",
                                          .log_x = true},
                          lines, (size_t)(2 * n));
    for (int i = 0; i < 4; i++) {
        curve_free(&c[i].all);
        curve_free(&c[i].gain);
    }
    return ok;
}

/* --- temperature ----------------------------------------------------------------------------- */

typedef struct tuned {
    curve reward, gold;
    double used, top; /* top: whose best of K is highest */
} tuned;

/* Rewards are of the version's own reward models: only against its best temperature's can they be compared. */
static bool read_tuned(loop *l, int version, tuned *t)
{
    json_t *o = result(l, "tune", version, "temperature.json");
    double best = -INFINITY;
    size_t n = json_array_size(json_object_get(o, "temperatures"));
    t->used = number_at(o, "temperature");
    for (size_t k = 0; k < n; k++)
        if (number_in_array(o, "best", k) > best) {
            best = number_in_array(o, "best", k);
            t->top = number_in_array(o, "temperatures", k);
        }
    for (size_t k = 0; k < n; k++) {
        double x = number_in_array(o, "temperatures", k);
        curve_add(&t->reward, x, number_in_array(o, "best", k) - best, number_in_array(o, "below_top_half", k));
        curve_add(&t->gold, x, number_in_array(o, "gold", k), number_in_array(o, "gold_half", k));
    }
    json_decref(o);
    return n > 0 || (o && app_fail(&l->p->app, "state/tune-%d/temperature.json: has no \"temperatures\"", version));
}

static void show_tuned(loop_report *all, const tuned *t, int n)
{
    plot_series lines[2][LOOP_VERSIONS];
    char names[LOOP_VERSIONS][NAME_LENGTH], key[NAME_LENGTH];
    for (int i = 0; i < n; i++) {
        snprintf(names[i], NAME_LENGTH, "V%d (best %.1f, used %.1f)", i + 1, t[i].top, t[i].used);
        lines[0][i] = curve_line(names[i], &t[i].reward);
        lines[1][i] = curve_line(names[i], &t[i].gold);
        snprintf(key, sizeof key, "tune-%d/top", i + 1);
        if (!all->l->shuffled) report_add_number(all->r, key, t[i].top);
    }
    report_add_series(
        all->r, REPORT_LINES, "temperatures",
        "The paper (fig. 8): after RLHF the best temperature is higher, 1.2 to 1.3 for 10 to 100 samples. "
        "Expected here: it does not fall. Each line against its own best, found on the same prompts, and prompt by "
        "prompt: a band of "
        "95 % that reaches 0 says that the two may be equal. 0.6 is the lower edge of the grid: a best one below "
        "it would not show.",
        &(plot_options){.title = "Reward of the best of K, against the best temperature's",
                        .x_label = "temperature",
                        .y_label = "raw reward"},
        lines[0], (size_t)n);
    report_add_series(
        all->r, REPORT_LINES, "temperatures_gold",
        "No figure of the paper's. Expected here before the first run: as the reward. Mistakes in the facts grow with "
        "the temperature, and the reward models see them in part only. Bands of 95 % "
        "are over prompts.",
        &(plot_options){.title = "Gold score of the same samples", .x_label = "temperature", .y_label = "gold score"},
        lines[1], (size_t)n);
    snprintf(names[0], NAME_LENGTH, "the best temperature rises from V1 to V%d", n);
    if (n > 1)
        loop_trend(all, names[0], "rising to 1.2 .. 1.3 (fig. 8)", "does not fall", TREND_RISES, "",
                   (rate){t[n - 1].top - t[0].top, NAN, NAN});
    snprintf(names[0], NAME_LENGTH, "V%d's gold score is higher at %.1f than at %.1f", n,
             t[n - 1].gold.y.x[t[n - 1].gold.y.n - 1], t[n - 1].gold.y.x[0]);
    loop_trend(all, names[0], "not stated", "as the reward", TREND_RISES, "",
               difference(curve_at(&t[n - 1].gold, t[n - 1].gold.y.n - 1), curve_at(&t[n - 1].gold, 0)));
}

static bool show_temperatures(loop_report *all)
{
    int n = (int)all->l->iterations;
    tuned *t = app_must(calloc((size_t)n, sizeof *t));
    bool ok = true;
    for (int i = 0; ok && i < n; i++) ok = read_tuned(all->l, i + 1, &t[i]);
    if (ok) show_tuned(all, t, n);
    for (int i = 0; i < n; i++) {
        curve_free(&t[i].reward);
        curve_free(&t[i].gold);
    }
    free(t);
    return ok;
}

/* --- what is learnt -------------------------------------------------------------------------- */

/* How many of the chosen samples are of which version. */
static bool show_provenance(loop_report *all)
{
    enum { FIXED = 7 };
    int n = (int)all->l->iterations;
    char heads[LOOP_VERSIONS][NAME_LENGTH];
    const char *columns[FIXED + LOOP_VERSIONS] = {"version",
                                                  "temperature",
                                                  "prompts sampled",
                                                  "left without a sample",
                                                  "passed over: unsafe",
                                                  "unfinished",
                                                  "gold score of the chosen"};
    cells table = {.n = 0};
    bool ok = true;
    for (int v = 1; v <= n; v++) {
        snprintf(heads[v - 1], NAME_LENGTH, "of V%d's", v);
        columns[FIXED + v - 1] = heads[v - 1];
    }
    for (int v = 1; ok && v <= n; v++) {
        json_t *chosen = result(all->l, "fine-tune", v, "chosen.json"),
               *sampled = result(all->l, "sample", v, "sampled.json");
        ok = chosen && sampled;
        cells_put(&table, "V%d", v);
        cells_put(&table, "%.1f", number_at(sampled, "temperature"));
        cells_put(&table, "%.0f", number_at(sampled, "prompts"));
        cells_put(&table, "%.0f", number_at(sampled, "empty"));
        cells_put(&table, "%.0f", number_at(sampled, "unsafe"));
        cells_put(&table, "%.0f", number_at(sampled, "unfinished"));
        cells_put(&table, "%.2f", number_at(chosen, "gold"));
        for (size_t u = 0; u < (size_t)n; u++) {
            double count = number_in_array(chosen, "by_version", u);
            if (isfinite(count))
                cells_put(&table, "%.0f", count);
            else
                cells_put(&table, "%s", "");
        }
        json_decref(chosen);
        json_decref(sampled);
    }
    if (ok && all->l->last_version)
        cells_show(
            &table, all->r, "chosen",
            "What each version learns from: the best of its own samples of each prompt, by its own reward "
            "models. The paper (3.2.3): so up to V3. Unsafe samples, and those that did not end by themselves, are "
            "passed over where they would have been the best; a prompt that has no other is left out. Expected "
            "here: all are the newest version's.",
            columns, (size_t)(FIXED + n));
    else if (ok)
        cells_show(&table, all->r, "chosen",
                   "What each version learns from: the best sample of each prompt over all versions, by its own reward "
                   "models; on the right, whose samples these are. The paper (3.2.3): from V4 on the samples of all "
                   "versions compete. Expected here: fewer of the newest version's as they become more alike. Unsafe "
                   "samples, and those "
                   "that did not end by themselves, are passed over where they would have been the best; a prompt that "
                   "has no other is left out.",
                   columns, (size_t)(FIXED + n));
    return ok;
}

bool show_sampling(loop_report *all)
{
    char text[512];
    const char *over = all->l->last_version ? "of the newest version" : "over all versions";
    snprintf(text, sizeof text,
             all->l->temperature == TEMPERATURE_HIGHEST
                 ? "K samples a prompt at the temperature whose best of K has the highest reward on a few "
                   "prompts; the best %s is learnt from."
                 : "K samples a prompt; the best %s is learnt from. They are sampled at the lowest "
                   "temperature whose best of K has, on a few prompts, a reward within a tenth of the samples' "
                   "standard deviation of the highest one, not at that one: wrong facts that the reward models do "
                   "not see grow with the temperature.",
             over);
    report_section(all->r, "Rejection sampling", text);
    return show_best_of_n(all) && show_temperatures(all) && show_provenance(all);
}
