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
               "preferred over unsafe, 47 % both safe, 35 % both unsafe). Expected here: fewer unsafe answers from "
               "version to version. Unsafe preferred over safe is stored, never "
               "trained on.",
               columns, COLUMNS);
    return true;
}

/* Of the model before and of this one on the new batch, of this one on all that is held out, of the rule that the
 * longer answer is better there; of what this one tells right in the new batch above the one before. */
enum { ACCURACIES = 4 };
typedef struct accuracies {
    double mean[ACCURACIES][LOOP_VERSIONS], low[ACCURACIES][LOOP_VERSIONS], high[ACCURACIES][LOOP_VERSIONS];
    rate gain[LOOP_VERSIONS];
} accuracies;

static const char *const models[] = {"helpful", "safety"}, *const kinds[] = {"helpfulness", "safety"};

static bool read_accuracies(loop_report *all, int which, accuracies *a)
{
    static const struct {
        const char *share, *pairs;
    } keys[ACCURACIES] = {{"fresh_before", "fresh_pairs"},
                          {"fresh", "fresh_pairs"},
                          {"held_out", "held_out_pairs"},
                          {"longer_wins", "held_out_pairs"}};
    for (int i = 0; i < all->l->iterations; i++) {
        char name[NAME_LENGTH];
        json_t *both = result(all->l, "rewards", i + 1, "accuracy.json"), *line = json_object();
        const json_t *o = json_object_get(both, models[which]);
        for (int k = 0; k < ACCURACIES; k++) {
            rate x = share_rate(number_at(o, keys[k].share), number_at(o, keys[k].pairs));
            a->mean[k][i] = x.mean, a->low[k][i] = x.low, a->high[k][i] = x.high;
            if (!isfinite(x.low)) continue;
            snprintf(name, sizeof name, "%s/low", keys[k].share);
            app_put(line, name, x.low);
            snprintf(name, sizeof name, "%s/high", keys[k].share);
            app_put(line, name, x.high);
        }
        double gain = number_at(o, "fresh_gain"), half = number_at(o, "fresh_gain_half");
        a->gain[i] = (rate){gain, gain - half, gain + half};
        snprintf(name, sizeof name, "rewards-%d/%s", i + 1, models[which]);
        if (!all->l->shuffled) show_numbers(all->r, name, line);
        json_decref(line);
        json_decref(both);
        if (!both) return false;
    }
    return true;
}

static bool show_accuracies(loop_report *all)
{
    int n = (int)all->l->iterations;
    char names[LOOP_VERSIONS][16], title[NAME_LENGTH], key[NAME_LENGTH], what[CELLS_LENGTH];
    const char *groups[LOOP_VERSIONS];
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "V%d", i + 1);
        groups[i] = names[i];
    }
    for (int which = 0; which < 2; which++) {
        static const char *const series_names[] = {"the model before, on the new batch", "retrained, on the new batch",
                                                   "retrained, on all held out", "\"longer wins\", on all held out"};
        accuracies a;
        plot_series bars[ACCURACIES];
        if (!read_accuracies(all, which, &a)) return false;
        for (int k = 0; k < ACCURACIES; k++)
            bars[k] = (plot_series){
                .name = series_names[k], .y = a.mean[k], .low = a.low[k], .high = a.high[k], .count = (size_t)n};
        snprintf(key, sizeof key, "accuracy_%s", which == 0 ? "helpful" : "safety");
        snprintf(title, sizeof title, "Accuracy of the %s model", kinds[which]);
        report_add_bars(
            all->r, key,
            which == 0 ? "The paper (3.2.2, 3.2.1): about 63 % on its own test set, falling on newer "
                         "batches whose answers are closer to each other; reward models must stay on the "
                         "newest model's distribution. Expected here: retraining helps on the new batch. "
                         "Before V1 there is no model. Intervals of 95 % (Wilson) over pairs."
                       : "The paper: about 64 % on its own safety test set. Expected here: retraining helps on the "
                         "new batch. Before V1 there is no model. Intervals of 95 % (Wilson) over pairs.",
            &(plot_options){.title = title, .y_label = "accuracy", .share = true, .level = 0.5}, groups, bars,
            ACCURACIES);
        for (int i = 1; i < n; i++) {
            snprintf(what, sizeof what, "retraining helps on V%d's batch: accuracy of the %s model", i + 1,
                     kinds[which]);
            loop_trend(all, what, "needed (3.2.1)", "helps", TREND_RISES, "points", a.gain[i]);
        }
    }
    return true;
}

static void put_accuracy(cells *c, double share, double pairs)
{
    rate x = share_rate(share, pairs);
    if (isfinite(x.low))
        cells_put(c, "%.1f (%.1f to %.1f)", 100 * x.mean, 100 * x.low, 100 * x.high);
    else
        cells_put(c, "-");
}

/* Tables 7 and 8 of the paper: on both kinds of comparisons, and by degree. */
static bool show_kinds_and_degrees(loop_report *all)
{
    static const char *const kind_columns[] = {"version",        "model",           "pairs trained on",
                                               "its own kind's", "\"longer wins\"", "the other kind's"},
                             *const degree_columns[] = {"version", "model",    "significantly",
                                                        "better",  "slightly", "negligibly"};
    cells by_kind = {.n = 0}, by_degree = {.n = 0};
    for (int i = 0; i < (int)all->l->iterations; i++) {
        json_t *both = result(all->l, "rewards", i + 1, "accuracy.json");
        if (!both) return false;
        for (int which = 0; which < 2; which++) {
            const json_t *o = json_object_get(both, models[which]);
            cells_put(&by_kind, "V%d", i + 1);
            cells_put(&by_kind, "%s", kinds[which]);
            cells_put(&by_kind, "%.0f", number_at(o, "pairs"));
            put_accuracy(&by_kind, number_at(o, "held_out"), number_at(o, "held_out_pairs"));
            cells_put(&by_kind, "%.1f", 100 * number_at(o, "longer_wins"));
            put_accuracy(&by_kind, number_at(o, "other_kind"), number_at(o, "other_kind_pairs"));
            cells_put(&by_degree, "V%d", i + 1);
            cells_put(&by_degree, "%s", kinds[which]);
            for (size_t k = 0; k < 4; k++)
                put_accuracy(&by_degree, number_in_array(o, "by_rating", k), number_in_array(o, "by_rating_pairs", k));
        }
        json_decref(both);
    }
    cells_show(&by_kind, all->r, "reward_models",
               "Accuracy in % on all held-out comparisons, with 95 % intervals (Wilson) over pairs. The paper (table "
               "7): helpfulness model 63.2 % on helpful pairs, 62.8 on safety's; safety model 64.5 and 56.2. "
               "Expected here: each model is the better one on its own kind.",
               kind_columns, 6);
    cells_show(&by_degree, all->r, "reward_models_by_degree",
               "The same by degree, of its own kind's. The paper (table 8): helpfulness 80.7, 67.5, 60.9, 54.7; safety "
               "94.3, 76.3, 65.7, 55.3. Expected here: accuracy falls with the degree.",
               degree_columns, 6);
    return true;
}

bool show_reward_models(loop_report *all)
{
    report_section(all->r, "Preferences and reward models",
                   "For each version the annotator compares answers of the newest model with those of the one before, "
                   "and both reward models are trained again, from the SFT model, each on all comparisons of its own "
                   "kind so far.");
    return show_accuracies(all) && show_kinds_and_degrees(all) && show_comparisons(all);
}
