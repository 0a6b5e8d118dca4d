/* The report of the loop: comparisons, and the reward models that learn from them. */
#include "pipeline/show_loop.h"

#include <math.h>

static bool show_comparisons(loop_report *all)
{
    enum { COLUMNS = 11 };
    static const char *const columns[COLUMNS] = {
        "batch for",         "pairs",        "equal answers",  "significantly",      "better", "slightly", "negligibly",
        "safe preferred, %", "both safe, %", "both unsafe, %", "unsafe preferred, %"};
    cells table = {.n = 0};
    for (int v = 1; v <= all->l->iterations; v++) {
        json_t *o = result(all->l, "collect", v, "collected.json");
        double binned = 0;
        if (!o) return false;
        cells_put(&table, "V%d", v);
        cells_put(&table, "%.0f", number_at(o, "pairs"));
        cells_put(&table, "%.0f", number_at(o, "equal"));
        for (size_t k = 0; k < 4; k++) cells_put(&table, "%.0f", number_in_array(o, "ratings", k));
        for (size_t k = 0; k < 4; k++) binned += number_in_array(o, "bins", k);
        for (size_t k = 0; k < 4; k++)
            cells_put(&table, "%.1f", binned > 0 ? 100 * number_in_array(o, "bins", k) / binned : 0);
        json_decref(o);
    }
    cells_show(&table, all->r, "collected",
               "Fresh comparisons of each version, by degree; those about safety by bin, in % (the paper: 18 % safe "
               "preferred over unsafe, 47 % both safe, 35 % both unsafe). Unsafe preferred over safe is stored, never "
               "trained on.",
               columns, COLUMNS);
    return true;
}

typedef struct accuracies {
    double mean[3][LOOP_VERSIONS], low[3][LOOP_VERSIONS], high[3][LOOP_VERSIONS];
} accuracies;

/* Of the model before and of this one on the new batch, of this one on all that is held out. Older runs have no number
 * of pairs, so no intervals. */
static bool read_accuracies(loop_report *all, int which, accuracies *a)
{
    static const char *const models[] = {"helpful", "safety"}, *const keys[] = {"fresh_before", "fresh", "held_out"},
                             *const counts[] = {"fresh_pairs", "fresh_pairs", "held_out_pairs"};
    for (int i = 0; i < all->l->iterations; i++) {
        char name[NAME_LENGTH];
        json_t *both = result(all->l, "rewards", i + 1, "accuracy.json"), *line = json_object();
        const json_t *o = json_object_get(both, models[which]);
        for (int k = 0; k < 3; k++) {
            rate x = share_rate(number_at(o, keys[k]), number_at(o, counts[k]));
            a->mean[k][i] = x.mean, a->low[k][i] = x.low, a->high[k][i] = x.high;
            if (!isfinite(x.low)) continue;
            snprintf(name, sizeof name, "%s/low", keys[k]);
            app_put(line, name, x.low);
            snprintf(name, sizeof name, "%s/high", keys[k]);
            app_put(line, name, x.high);
        }
        snprintf(name, sizeof name, "rewards-%d/%s", i + 1, models[which]);
        if (!all->l->shuffled) show_numbers(all->r, name, line);
        json_decref(line);
        json_decref(both);
        if (!both) return false;
    }
    return true;
}

static rate accuracy_at(const accuracies *a, int k, int i)
{
    return (rate){a->mean[k][i], a->low[k][i], a->high[k][i]};
}

static bool show_accuracies(loop_report *all)
{
    static const char *const kinds[] = {"helpfulness", "safety"};
    int n = (int)all->l->iterations;
    char names[LOOP_VERSIONS][16], title[NAME_LENGTH], key[NAME_LENGTH], what[CELLS_LENGTH];
    const char *groups[LOOP_VERSIONS];
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "V%d", i + 1);
        groups[i] = names[i];
    }
    for (int which = 0; which < 2; which++) {
        static const char *const series_names[] = {"the model before, on the new batch", "retrained, on the new batch",
                                                   "retrained, on all held out"};
        accuracies a;
        plot_series bars[3];
        if (!read_accuracies(all, which, &a)) return false;
        for (int k = 0; k < 3; k++)
            bars[k] = (plot_series){
                .name = series_names[k], .y = a.mean[k], .low = a.low[k], .high = a.high[k], .count = (size_t)n};
        snprintf(key, sizeof key, "accuracy_%s", which == 0 ? "helpful" : "safety");
        snprintf(title, sizeof title, "Accuracy of the %s model", kinds[which]);
        report_add_bars(all->r, key,
                        which == 0 ? "The paper (3.2.2, 3.2.1): about 63 % on its own test set, falling on newer "
                                     "batches whose answers are closer to each other; reward models must stay on the "
                                     "newest model's distribution. Expected here: retraining helps on the new batch. "
                                     "Before V1 there is no model. Intervals of 95 % (Wilson) over pairs."
                                   : "The paper: about 64 % on its own safety test set. Before V1 there is no model.",
                        &(plot_options){.title = title, .y_label = "accuracy", .share = true, .level = 0.5}, groups,
                        bars, 3);
        for (int i = 1; i < n; i++) {
            snprintf(what, sizeof what, "retraining helps on V%d's batch: accuracy of the %s model", i + 1,
                     kinds[which]);
            loop_trend(all, what, "needed (3.2.1)", "helps", TREND_RISES, "points",
                       difference(accuracy_at(&a, 1, i), accuracy_at(&a, 0, i)));
        }
    }
    return true;
}

bool show_reward_models(loop_report *all)
{
    report_section(
        all->r, "Preferences and reward models",
        "For each version the annotator compares answers of the newest model with those of the one before, and "
        "both reward models are trained again, from the SFT model, on all comparisons so far.");
    return show_accuracies(all) && show_comparisons(all);
}
