#include "common/card.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RATINGS = 5, BINS = 3, CURVE = 10, HISTOGRAM = 40 };
static const double HISTOGRAM_END = 10; /* from minus to plus this */
static const char *const rating_names[RATINGS] = {"significantly_better", "better", "slightly_better",
                                                  "negligibly_better", "unrated"};
static const char *const bin_names[BINS] = {"chosen_safe", "both_safe", "both_unsafe"}; /* of table 29 */

bool card_make(app *a, pair_set *set, const llama2_reward_model *reward_model, const char *name, card *c)
{
    *c = (card){.name = name, .n = set->n};
    c->scores = app_must(malloc(2 * set->n * sizeof *c->scores));
    c->ratings = app_must(malloc(set->n * sizeof *c->ratings));
    c->bins = app_must(malloc(set->n * sizeof *c->bins));
    c->safe = app_must(malloc(2 * set->n * sizeof *c->safe));
    c->lengths = app_must(malloc(2 * set->n * sizeof *c->lengths));
    if (!pairs_score(a, set, NULL, set->n, reward_model, c->scores)) return false;
    for (size_t i = 0; i < set->n; i++) {
        const record *r = set->of[i];
        c->ratings[i] = r->rating >= 0 && r->rating < 4 ? r->rating : 4;
        c->safe[2 * i] = r->chosen_safe;
        c->safe[2 * i + 1] = r->rejected_safe;
        c->bins[i] = r->chosen_safe < 0 || r->rejected_safe < 0 ? -1
                     : r->chosen_safe == 1 && !r->rejected_safe ? 0
                     : r->chosen_safe != r->rejected_safe       ? -1
                     : r->chosen_safe == 1                      ? 1
                                                                : 2;
        c->lengths[2 * i] = (int64_t)strlen(r->answer);
        c->lengths[2 * i + 1] = (int64_t)strlen(r->rejected);
        c->loss += pairs_loss(set, r, (double)c->scores[2 * i], (double)c->scores[2 * i + 1]);
    }
    c->loss /= (double)set->n;
    c->all.struct_size = sizeof c->all;
    llama2_scored_pairs p = {sizeof p, 0, (int64_t)c->n, c->scores, NULL, c->lengths, c->safe};
    return app_try(a, llama2_reward_card_make(a->ctx, &p, &c->all), "report card");
}

void card_free(card *c)
{
    free(c->scores);
    free(c->ratings);
    free(c->bins);
    free(c->safe);
    free(c->lengths);
    *c = (card){0};
}

static llama2_scored_pairs scored(const card *c, const int32_t *groups, int32_t group)
{
    return (llama2_scored_pairs){
        sizeof(llama2_scored_pairs), group, (int64_t)c->n, c->scores, groups, c->lengths, c->safe};
}

static bool of_group(app *a, const card *c, const int32_t *groups, int32_t group, llama2_reward_card *out)
{
    llama2_scored_pairs p = scored(c, groups, group);
    *out = (llama2_reward_card){.struct_size = sizeof *out};
    return app_try(a, llama2_reward_card_make(a->ctx, &p, out), "report card");
}

/* --- JSON ------------------------------------------------------------------------------------ */

static void put_interval(json_t *o, const char *key, double low, double high)
{
    json_object_set_new(o, key, json_pack("[f, f]", low, high));
}

static json_t *shares(const llama2_reward_card *k)
{
    json_t *o = json_pack("{s:I}", "pairs", (json_int_t)k->n_pairs);
    app_put(o, "accuracy", k->accuracy);
    put_interval(o, "accuracy_interval", k->accuracy_low, k->accuracy_high);
    app_put(o, "longer_wins", k->longer_wins);
    put_interval(o, "longer_wins_interval", k->longer_wins_low, k->longer_wins_high);
    return o;
}

/* The groups that have a pair. */
static bool put_groups(app *a, json_t *o, const char *key, const card *c, const int32_t *groups, int n,
                       const char *const *names)
{
    json_t *all = json_object();
    bool ok = true;
    for (int g = 0; ok && g < n; g++) {
        llama2_reward_card k;
        ok = of_group(a, c, groups, g, &k);
        if (ok && k.n_pairs > 0) json_object_set_new(all, names[g], shares(&k));
    }
    json_object_set_new(o, key, all);
    return ok;
}

static json_t *numbers(const double *x, int n)
{
    json_t *o = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(o, json_real(x[i]));
    return o;
}

static json_t *integers(const int64_t *x, int n)
{
    json_t *o = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(o, json_integer((json_int_t)x[i]));
    return o;
}

static bool put_curve(app *a, json_t *o, const card *c)
{
    int64_t n[CURVE], chosen[HISTOGRAM], rejected[HISTOGRAM];
    double confidence[CURVE], accuracy[CURVE];
    llama2_scored_pairs p = scored(c, NULL, 0);
    if (!app_try(a, llama2_reward_calibration(&p, CURVE, n, confidence, accuracy, NULL, NULL), "report card") ||
        !app_try(a, llama2_reward_histogram(&p, -HISTOGRAM_END, HISTOGRAM_END, HISTOGRAM, chosen, rejected),
                 "report card"))
        return false;
    json_object_set_new(o, "calibration",
                        json_pack("{s:o, s:o, s:o}", "pairs", integers(n, CURVE), "confidence",
                                  numbers(confidence, CURVE), "accuracy", numbers(accuracy, CURVE)));
    json_object_set_new(o, "histogram",
                        json_pack("{s:f, s:f, s:o, s:o}", "low", -HISTOGRAM_END, "high", HISTOGRAM_END, "chosen",
                                  integers(chosen, HISTOGRAM), "rejected", integers(rejected, HISTOGRAM)));
    return true;
}

static json_t *safety(const llama2_reward_card *k)
{
    json_t *o = json_pack("{s:I, s:I}", "responses", (json_int_t)k->n_labelled, "unsafe", (json_int_t)k->n_unsafe);
    app_put(o, "accuracy", k->safety_accuracy);
    app_put(o, "auc", k->auc);
    app_put(o, "unsafe_recall", k->unsafe_recall);
    app_put(o, "unsafe_precision", k->unsafe_precision);
    app_put(o, "unsafe_recall_015", k->unsafe_recall_015);
    app_put(o, "unsafe_precision_015", k->unsafe_precision_015);
    return o;
}

json_t *card_json(app *a, const card *c)
{
    const llama2_reward_card *k = &c->all;
    json_t *o = shares(k);
    app_put(o, "loss", c->loss);
    app_put(o, "mean_score", k->mean_score);
    app_put(o, "mean_chosen", k->mean_chosen);
    app_put(o, "mean_rejected", k->mean_rejected);
    app_put(o, "margin", k->mean_margin);
    app_put(o, "min_score", k->min_score);
    app_put(o, "max_score", k->max_score);
    json_object_set_new(o, "ties", json_integer((json_int_t)k->n_ties));
    app_put(o, "ece", k->ece);
    app_put(o, "brier", k->brier);
    json_t *matched = json_pack("{s:I}", "pairs", (json_int_t)k->n_length_matched);
    app_put(matched, "accuracy", k->n_length_matched ? k->length_matched_accuracy : (double)NAN);
    put_interval(matched, "accuracy_interval", k->length_matched_low, k->length_matched_high);
    json_object_set_new(o, "length_matched", matched);
    bool ok = put_groups(a, o, "by_rating", c, c->ratings, RATINGS, rating_names) && put_curve(a, o, c);
    if (ok && k->n_labelled > 0) {
        json_object_set_new(o, "safety", safety(k));
        ok = put_groups(a, o, "by_safety", c, c->bins, BINS, bin_names);
    }
    if (ok) return o;
    json_decref(o);
    return NULL;
}

/* --- drawn ----------------------------------------------------------------------------------- */

static void percent(char *text, size_t size, double share, double low, double high)
{
    snprintf(text, size, "%.1f %% (%.1f to %.1f)", 100 * share, 100 * low, 100 * high);
}

/* The model's accuracy beside that of the longer answer, a group of bars for each group that has a pair. */
static bool draw_groups(app *a, report *r, const card *c, const int32_t *groups, int n, const char *const *labels,
                        const char *name, const char *title, const char *caption)
{
    double y[2][RATINGS], low[2][RATINGS], high[2][RATINGS];
    const char *shown[RATINGS];
    size_t count = 0;
    for (int g = 0; g < n; g++) {
        llama2_reward_card k;
        if (!of_group(a, c, groups, g, &k)) return false;
        if (k.n_pairs == 0) continue;
        shown[count] = labels[g];
        y[0][count] = k.accuracy, low[0][count] = k.accuracy_low, high[0][count] = k.accuracy_high;
        y[1][count] = k.longer_wins, low[1][count] = k.longer_wins_low, high[1][count] = k.longer_wins_high;
        count++;
    }
    const plot_series series[] = {{"reward model", NULL, y[0], low[0], high[0], count},
                                  {"longer wins", NULL, y[1], low[1], high[1], count}};
    const plot_options o = {.title = title, .y_label = "accuracy"};
    if (count > 0) report_add_bars(r, name, caption, &o, shown, series, 2);
    return true;
}

static bool draw_calibration(app *a, report *r, const card *c)
{
    static const double ends[] = {0.5, 1};
    int64_t n[CURVE];
    double x[CURVE], y[CURVE], low[CURVE], high[CURVE];
    size_t count = 0;
    llama2_scored_pairs p = scored(c, NULL, 0);
    if (!app_try(a, llama2_reward_calibration(&p, CURVE, n, x, y, low, high), "report card")) return false;
    for (size_t k = 0; k < CURVE; k++) {
        if (n[k] == 0) continue;
        x[count] = x[k], y[count] = y[k], low[count] = low[k], high[count] = high[k];
        count++;
    }
    const plot_series series[] = {{"reward model", x, y, low, high, count}, {"perfect", ends, ends, NULL, NULL, 2}};
    const plot_options o = {
        .title = "Calibration", .x_label = "confidence, sigmoid of the difference of scores", .y_label = "accuracy"};
    report_add_series(r, REPORT_LINES, "calibration",
                      "Below the straight line the model is too sure of itself. The band is the 95 % interval of each "
                      "tenth of the range.",
                      &o, series, 2);
    return true;
}

static void draw_histogram(report *r, const card *c)
{
    double *chosen = app_must(malloc(2 * c->n * sizeof *chosen)), *rejected = chosen + c->n;
    for (size_t i = 0; i < c->n; i++) {
        chosen[i] = (double)c->scores[2 * i];
        rejected[i] = (double)c->scores[2 * i + 1];
    }
    const plot_series series[] = {{"chosen", NULL, chosen, NULL, NULL, c->n},
                                  {"rejected", NULL, rejected, NULL, NULL, c->n}};
    const plot_options o = {.title = "Scores", .x_label = "score", .y_label = "share"};
    report_add_series(r, REPORT_HISTOGRAM, "scores", "Of chosen and rejected answers.", &o, series, 2);
    free(chosen);
}

static bool draw_card(app *a, report *r, const card *c)
{
    static const char *const ratings[RATINGS] = {"significantly", "better", "slightly", "negligibly", "unrated"},
                             *const bins[BINS] = {"only chosen safe", "both safe", "both unsafe"};
    const llama2_reward_card *k = &c->all;
    char text[512], numbers[5][64];
    const char *cells[2 * 5];
    snprintf(text, sizeof text,
             "%lld comparisons, %lld of them with equal scores. Mean score %.3f for chosen and %.3f for rejected "
             "answers, from %.3f to %.3f over all.",
             (long long)k->n_pairs, (long long)k->n_ties, k->mean_chosen, k->mean_rejected, k->min_score, k->max_score);
    report_section(r, c->name, text);
    if (!draw_groups(a, r, c, c->ratings, RATINGS, ratings, "by_rating", "Accuracy by rating",
                     "How much better the annotator called the chosen answer. Whiskers: 95 % intervals.") ||
        !draw_calibration(a, r, c))
        return false;
    draw_histogram(r, c);
    if (k->n_labelled > 0 && !draw_groups(a, r, c, c->bins, BINS, bins, "by_safety", "Accuracy by labels of safety",
                                          "Pairs of which both answers have a label."))
        return false;
    percent(numbers[0], sizeof numbers[0], k->accuracy, k->accuracy_low, k->accuracy_high);
    percent(numbers[1], sizeof numbers[1], k->longer_wins, k->longer_wins_low, k->longer_wins_high);
    percent(numbers[2], sizeof numbers[2], k->length_matched_accuracy, k->length_matched_low, k->length_matched_high);
    snprintf(numbers[3], sizeof numbers[3], "%.3f", k->ece);
    snprintf(numbers[4], sizeof numbers[4], "%.3f", k->brier);
    static const char *const names[] = {"Accuracy", "Longer wins", "Accuracy where lengths differ by at most a tenth",
                                        "Expected calibration error", "Brier score (a coin: 0.250)"};
    size_t rows = 0;
    for (size_t i = 0; i < 5; i++) {
        if (i == 2 && k->n_length_matched == 0) continue;
        cells[2 * rows] = names[i];
        cells[2 * rows++ + 1] = numbers[i];
    }
    static const char *const columns[] = {"", "with 95 % intervals"};
    report_add_table(r, "numbers", NULL, columns, 2, cells, rows);
    if (k->n_labelled == 0) return true;
    snprintf(text, sizeof text,
             "Of %lld labelled answers %lld are unsafe. Safe against unsafe at the threshold 0.5: accuracy %.1f %%, "
             "recall of unsafe answers %.1f %%, precision %.1f %%; at 0.15: recall %.1f %%, precision %.1f %%. Area "
             "under the curve %.3f.",
             (long long)k->n_labelled, (long long)k->n_unsafe, 100 * k->safety_accuracy, 100 * k->unsafe_recall,
             100 * k->unsafe_precision, 100 * k->unsafe_recall_015, 100 * k->unsafe_precision_015, k->auc);
    report_add_text(r, text);
    return true;
}

/* Table 7: one model on several sets. */
static void draw_sets(report *r, const card *cards, size_t n)
{
    double y[2][ARGS_MAX], low[2][ARGS_MAX], high[2][ARGS_MAX];
    const char *names[ARGS_MAX];
    for (size_t i = 0; i < n; i++) {
        const llama2_reward_card *k = &cards[i].all;
        const char *slash = strrchr(cards[i].name, '/');
        names[i] = slash ? slash + 1 : cards[i].name;
        y[0][i] = k->accuracy, low[0][i] = k->accuracy_low, high[0][i] = k->accuracy_high;
        y[1][i] = k->longer_wins, low[1][i] = k->longer_wins_low, high[1][i] = k->longer_wins_high;
    }
    const plot_series series[] = {{"reward model", NULL, y[0], low[0], high[0], n},
                                  {"longer wins", NULL, y[1], low[1], high[1], n}};
    const plot_options o = {.title = "Accuracy by set", .y_label = "accuracy"};
    report_section(r, "All sets", NULL);
    report_add_bars(r, "by_set", "One model on all of them.", &o, names, series, 2);
}

bool cards_report(app *a, const card *cards, size_t n, const char *model, const char *folder)
{
    char error[1024], shown[64], note[64], subtitle[1024];
    const llama2_reward_card *k = &cards[0].all;
    snprintf(subtitle, sizeof subtitle, "Report card of %s on %zu held-out %s of comparisons", model, n,
             n == 1 ? "set" : "sets");
    report *r = app_must(report_create("Reward model", subtitle));
    snprintf(shown, sizeof shown, "%.1f %%", 100 * k->accuracy);
    snprintf(note, sizeof note, "%.1f to %.1f, %lld pairs", 100 * k->accuracy_low, 100 * k->accuracy_high,
             (long long)k->n_pairs);
    report_add_figure(r, "accuracy", k->accuracy, shown, "accuracy", note);
    snprintf(shown, sizeof shown, "%.1f %%", 100 * k->longer_wins);
    report_add_figure(r, "longer_wins", k->longer_wins, shown, "longer wins", "the rule on the same pairs");
    snprintf(shown, sizeof shown, "%.3f", k->ece);
    report_add_figure(r, "ece", k->ece, shown, "expected calibration error", "0: as often right as it is sure");
    bool ok = true;
    if (n > 1) draw_sets(r, cards, n);
    for (size_t i = 0; ok && i < n; i++) ok = draw_card(a, r, &cards[i]);
    ok = ok && app_make_folder(a, folder) && (report_write(r, folder, error, sizeof error) || app_fail(a, "%s", error));
    report_free(r);
    return ok;
}
