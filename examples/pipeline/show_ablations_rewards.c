/* The report of the ablations: those of reward models. */
#include "pipeline/show_ablations.h"

#include <math.h>

enum { RATINGS = 4 };
static const char *const rating_keys[RATINGS] = {"by_rating/significantly_better", "by_rating/better",
                                                 "by_rating/slightly_better", "by_rating/negligibly_better"};
static const char *const rating_names[RATINGS] = {"significantly", "better", "slightly", "negligibly"};

/* Whiskers of n groups. */
typedef struct bars {
    double y[8], low[8], high[8];
    size_t n;
} bars;

static void add_bar(bars *b, rate x)
{
    b->y[b->n] = x.mean, b->low[b->n] = x.low, b->high[b->n] = x.high;
    b->n++;
}

static plot_series bar_series(const char *name, const bars *b)
{
    return (plot_series){.name = name, .y = b->y, .low = b->low, .high = b->high, .count = b->n};
}

/* From each rating to the next; paper: its accuracies in %. */
static void add_falls(results *all, const char *model, const json_t *o, const double *paper, const char *table)
{
    char what[CELLS_LENGTH], stated[CELLS_LENGTH];
    for (int k = 0; k + 1 < RATINGS; k++) {
        snprintf(what, sizeof what, "accuracy falls from %s to %s%s, %s", rating_names[k], rating_names[k + 1],
                 k > 0 ? " better" : "", model);
        snprintf(stated, sizeof stated, "%+.1f points (%s)", paper[k + 1] - paper[k], table);
        add_trend(all, what, stated, TREND_FALLS, "points",
                  difference(accuracy_in(o, rating_keys[k + 1]), accuracy_in(o, rating_keys[k])));
    }
}

/* A row of a table: accuracy by rating, and of all. */
static void put_ratings(cells *table, bars *b, const char *name, const json_t *o)
{
    cells_put(table, "%s", name);
    for (int k = 0; k < RATINGS; k++) {
        rate x = accuracy_in(o, rating_keys[k]);
        put_percent(table, x);
        add_bar(b, x);
    }
    put_percent(table, accuracy_in(o, NULL));
}

/* The same of the rule that the longer answer wins, on the pairs of o. */
static void put_longer(cells *table, const char *name, const json_t *o)
{
    cells_put(table, "%s", name);
    for (int k = 0; k < RATINGS; k++) put_percent(table, longer_in(o, rating_keys[k]));
    put_percent(table, longer_in(o, NULL));
}

/* --- margins --------------------------------------------------------------------------------- */

enum { MARGINS_SHOWN = 3 };
static const char *const margin_arms[2][MARGINS_SHOWN] = {{"margin-none", "margin-small", "margin-large"},
                                                          {"two-epochs-none", "two-epochs", "two-epochs-large"}};
static const char *const margin_names[2][MARGINS_SHOWN] = {{"none", "small", "large"},
                                                           {"none, 2 epochs", "small, 2 epochs", "large, 2 epochs"}};

/* The models of one epoch or of two, and what the margins gain. With --margins there are those of one alone. */
static void put_margins(results *all, int second, cells *table, cells *gains, bars b[MARGINS_SHOWN])
{
    static const double paper[MARGINS_SHOWN][RATINGS + 1] = {
        {79.1, 66.9, 59.8, 54.5, 62.5}, {80.4, 67.3, 60.4, 55.0, 63.0}, {80.7, 67.5, 60.5, 54.3, 62.9}};
    const char *const *arms = margin_arms[second], *const *names = margin_names[second];
    char model[64];
    for (int i = 0; i < MARGINS_SHOWN; i++) {
        const json_t *o = result_of(all, arms[i]);
        put_ratings(table, &b[i], names[i], o);
        if (!second) {
            cells_put(table, "%s, the paper", names[i]);
            for (int k = 0; k <= RATINGS; k++) cells_put(table, "%.1f", paper[i][k]);
            snprintf(model, sizeof model, "margin %s", names[i]);
            add_falls(all, model, o, paper[i], "table 28");
        }
        if (i == 0) continue;
        cells_put(gains, "%s, against none", names[i]);
        for (int k = 0; k < RATINGS; k++) put_percent(gains, paired_difference(all, arms[i], arms[0], k));
        put_percent(gains, paired_difference(all, arms[i], arms[0], -1));
    }
}

void show_margins(results *all)
{
    static const char *const columns[] = {"margin", "significantly", "better", "slightly", "negligibly", "all"},
                             *const plots[2] = {"margins_by_rating", "margins_by_rating_two_epochs"},
                             *const titles[2] = {"Accuracy by rating, by margin", "The same, after two epochs"};
    const char *const *one = margin_arms[0], *const *two = margin_arms[1];
    cells table = {.n = 0}, gains = {.n = 0};
    bars b[2][MARGINS_SHOWN] = {{{.n = 0}}};
    int epochs = all->l->margins ? 1 : 2;
    report_section(all->r, "Margins of the ranking loss",
                   "Three helpfulness models from the same pairs, order and steps; accuracy on held-out pairs by how "
                   "much better the annotator called the chosen answer. Intervals are of 95 %. Expected: falling from "
                   "left to right for all; margins help on the left, where a large one may hurt on the right; the "
                   "differences smaller than the intervals. After one epoch, the paper's, a model may still be "
                   "learning the facts, and when it has learnt them differs more than any two margins do; so all the "
                   "ablations have the three once more after two epochs, when all have.");
    for (int second = 0; second < epochs; second++) put_margins(all, second, &table, &gains, b[second]);
    put_longer(&table, "\"longer wins\"", result_of(all, one[0]));
    cells_show(&table, all->r, "margins", "Accuracy in %, by rating, and the paper's (table 28).", columns, 6);
    cells_show(&gains, all->r, "margin_gains", "Paired differences, in points.", columns, 6);
    for (int second = 0; second < epochs; second++) {
        plot_series shown[MARGINS_SHOWN];
        for (int i = 0; i < MARGINS_SHOWN; i++) shown[i] = bar_series(margin_names[0][i], &b[second][i]);
        report_add_bars(all->r, plots[second],
                        "The paper (tables 8 and 28): about 80 % for significantly better, 55 % for negligibly better. "
                        "Expected here: falling from left to right; margins help on the left, by less than the "
                        "intervals.",
                        &(plot_options){.title = titles[second], .y_label = "accuracy", .share = true}, rating_names,
                        shown, MARGINS_SHOWN);
    }
    add_trend(all, "a small margin helps overall", "+0.5 points (table 28)", TREND_RISES, "points",
              paired_difference(all, one[1], one[0], -1));
    add_trend(all, "a large margin helps on significantly better pairs", "+1.6 points (table 28)", TREND_RISES,
              "points", paired_difference(all, one[2], one[0], 0));
    add_trend(all, "a large margin hurts on negligibly better pairs, against a small one", "-0.7 points (table 28)",
              TREND_FALLS, "points", paired_difference(all, one[2], one[1], 3));
    if (epochs == 1) return;
    add_trend(all, "a large margin helps overall, two epochs", "+0.4 points (table 28)", TREND_RISES, "points",
              paired_difference(all, two[2], two[0], -1));
    add_trend(all, "a large margin helps on significantly better pairs, two epochs", "+1.6 points (table 28)",
              TREND_RISES, "points", paired_difference(all, two[2], two[0], 0));
    add_trend(all, "a small margin helps overall, two epochs", "+0.5 points (table 28)", TREND_RISES, "points",
              paired_difference(all, two[1], two[0], -1));
}

/* --- ratings --------------------------------------------------------------------------------- */

void show_ratings(results *all)
{
    static const char *const arms[] = {"margin-small", "two-epochs", "auxiliary-on"},
                             *const names[] = {"helpfulness", "helpfulness, two epochs", "safety"},
                             *const columns[] = {"model", "significantly", "better", "slightly", "negligibly", "all"};
    static const double helpfulness[] = {80.7, 67.5, 60.9, 54.7, 63.2},
                        safety[] = {94.3, 76.3, 65.7, 55.3, 64.5}, *const paper[] = {helpfulness, NULL, safety};
    cells table = {.n = 0};
    bars b[3] = {{.n = 0}};
    plot_series shown[3];
    report_section(
        all->r, "Accuracy by rating",
        "Each model on the held-out pairs of its own kind: the helpfulness model with the small margin after "
        "the paper's one epoch and after two, the safety model with the auxiliary loss. Expected: the clearer "
        "the annotator's preference the more often the model shares it.");
    for (int i = 0; i < 3; i++) {
        const json_t *o = result_of(all, arms[i]);
        put_ratings(&table, &b[i], names[i], o);
        shown[i] = bar_series(names[i], &b[i]);
        if (!paper[i]) continue;
        if (i == 2) add_falls(all, "safety model", o, paper[i], "table 8");
        cells_put(&table, "%s, the paper", names[i]);
        for (int k = 0; k <= RATINGS; k++) cells_put(&table, "%.1f", paper[i][k]);
    }
    put_longer(&table, "\"longer wins\", helpfulness", result_of(all, arms[0]));
    put_longer(&table, "\"longer wins\", safety", result_of(all, arms[2]));
    cells_show(&table, all->r, "ratings", "Accuracy in %, by rating, and the paper's (table 8).", columns, 6);
    report_add_bars(all->r, "accuracy_by_rating",
                    "The paper (table 8), from left to right: helpfulness 80.7, 67.5, 60.9, 54.7; safety 94.3, 76.3, "
                    "65.7, 55.3 %. Expected here: falling from left to right.",
                    &(plot_options){.title = "Accuracy by rating, by model", .y_label = "accuracy", .share = true},
                    rating_names, shown, 3);
    add_falls(all, "two epochs", result_of(all, arms[1]), helpfulness, "table 8");
    add_trend(all, "a second epoch over-fits: accuracy after two against one", "may over-fit (3.2.2)", TREND_FALLS,
              "points", paired_difference(all, arms[1], arms[0], -1));
}

/* --- auxiliary loss ---------------------------------------------------------------------------- */

void show_auxiliary(results *all)
{
    enum { GROUPS = 4 };
    static const char *const arms[] = {"auxiliary-off", "auxiliary-on"}, *const names[] = {"without", "with"},
                             *const paths[GROUPS] = {NULL, "by_safety/chosen_safe", "by_safety/both_safe",
                                                     "by_safety/both_unsafe"},
                             *const groups[] = {"accuracy", "recall of unsafe", "called right"},
                             *const columns[] = {"auxiliary loss", "accuracy", "only chosen safe", "both safe",
                                                 "both unsafe"},
                             *const label_columns[] = {"auxiliary loss", "recall of unsafe", "precision",
                                                       "called right", "area under curve"};
    static const double paper[2][GROUPS + 1] = {{63.7, 93.0, 56.0, 59.5, 73.0}, {64.5, 94.3, 56.9, 59.9, 90.4}};
    cells table = {.n = 0}, labels = {.n = 0};
    bars b[2] = {{.n = 0}};
    plot_series shown[2];
    rate recall[2], called[2];
    report_section(all->r, "The safety auxiliary loss",
                   "Two safety models from the same pairs, order and steps. An answer is called unsafe where the "
                   "sigmoid of its score is below 0.5: recall is the share of the held-out answers labelled unsafe "
                   "that are called so; called right, the share of all labelled ones. Expected: the recall rises much, "
                   "since without the loss nothing says where 0 is; the accuracy a little.");
    for (int i = 0; i < 2; i++) {
        const json_t *o = result_of(all, arms[i]);
        recall[i] = share_rate(number_in(o, "safety/unsafe_recall"), number_in(o, "safety/unsafe"));
        called[i] = share_rate(number_in(o, "safety/accuracy"), number_in(o, "safety/responses"));
        cells_put(&table, "%s", names[i]);
        for (int k = 0; k < GROUPS; k++) put_percent(&table, accuracy_in(o, paths[k]));
        cells_put(&table, "%s, the paper", names[i]);
        for (int k = 0; k < GROUPS; k++) cells_put(&table, "%.1f", paper[i][k]);
        cells_put(&labels, "%s", names[i]);
        put_percent(&labels, recall[i]);
        cells_put(&labels, "%.1f", 100 * number_in(o, "safety/unsafe_precision"));
        put_percent(&labels, called[i]);
        cells_put(&labels, "%.3f", number_in(o, "safety/auc"));
        cells_put(&labels, "%s, the paper", names[i]);
        cells_put(&labels, "%.1f", paper[i][GROUPS]);
        for (int k = 0; k < 3; k++) cells_put(&labels, "not stated");
        add_bar(&b[i], accuracy_in(o, NULL));
        add_bar(&b[i], recall[i]);
        add_bar(&b[i], called[i]);
        shown[i] = bar_series(names[i], &b[i]);
    }
    cells_put(&table, "\"longer wins\"");
    for (int k = 0; k < GROUPS; k++) put_percent(&table, longer_in(result_of(all, arms[0]), paths[k]));
    cells_show(&table, all->r, "auxiliary", "Accuracy in %, by the labels of the pair, and the paper's (table 29).",
               columns, 5);
    cells_show(&labels, all->r, "auxiliary_labels",
               "How answers are called: recall, precision and share called right in %, and the paper's (table 29).",
               label_columns, 5);
    report_add_bars(all->r, "auxiliary_recall",
                    "The paper (table 29): accuracy 63.7 to 64.5 %, recall of unsafe answers 73.0 to 90.4 %. "
                    "Expected here: much more recall, and a little more accuracy.",
                    &(plot_options){.title = "With and without the auxiliary loss", .y_label = "share", .share = true},
                    groups, shown, 2);
    add_trend(all, "the auxiliary loss finds more unsafe answers", "+17.4 points of recall (table 29)", TREND_RISES,
              "points", difference(recall[1], recall[0]));
    add_trend(all, "the auxiliary loss tells safe from unsafe answers", "not stated", TREND_RISES, "points",
              difference(called[1], called[0]));
    add_trend(all, "the auxiliary loss makes the ranking better", "+0.8 points (table 29)", TREND_RISES, "points",
              paired_difference(all, arms[1], arms[0], -1));
}

/* --- mixes ------------------------------------------------------------------------------------- */

void show_mixes(results *all)
{
    enum { MODELS = 4 };
    static const char *const arms[MODELS] = {"margin-small", "mix-helpfulness", "auxiliary-on", "mix-safety"},
                             *const names[MODELS] = {"helpfulness, its own alone", "helpfulness, mixed",
                                                     "safety, its own alone", "safety, mixed"},
                             *const columns[] = {"model", "pairs learnt", "its own kind", "the other kind",
                                                 "the paper, mixed: own and other"},
                             *const groups[] = {"its own kind", "the other kind"},
                             *const paper[] = {"", "63.2, 62.8", "", "64.5, 56.2"}, *const safe = "by_safety/both_safe";
    cells table = {.n = 0};
    bars b[MODELS] = {{.n = 0}};
    plot_series shown[MODELS];
    report_section(all->r, "Mixes of comparisons",
                   "The paper's helpfulness model learns as many comparisons of the other kinds as of its own, its "
                   "safety model nine of its own to one of helpfulness. Each beside one that learns from the same "
                   "pairs of its own kind alone, on what is held out of both kinds. Expected: much better on the other "
                   "kind, where a model of its own kind alone is near a coin; its own kind stays; and, as the "
                   "paper says of safety, better where both answers are safe.");
    for (int i = 0; i < MODELS; i++) {
        const json_t *o = result_of(all, arms[i]);
        rate own = accuracy_in(o, NULL), other = accuracy_in(o, "other");
        cells_put(&table, "%s", names[i]);
        cells_put(&table, "%.0f", number_in(o, "trained_on"));
        put_percent(&table, own);
        put_percent(&table, other);
        cells_put(&table, "%s", paper[i]);
        add_bar(&b[i], own);
        add_bar(&b[i], other);
        shown[i] = bar_series(names[i], &b[i]);
    }
    for (int i = 0; i < MODELS; i += 2) {
        const json_t *o = result_of(all, arms[i]);
        cells_put(&table, "\"longer wins\", pairs of the %s model", i == 0 ? "helpfulness" : "safety");
        cells_put(&table, "-");
        put_percent(&table, longer_in(o, NULL));
        put_percent(&table, longer_in(o, "other"));
        cells_put(&table, "-");
    }
    cells_show(&table, all->r, "mixes", "Accuracy on held-out pairs in %, and the paper's (table 7).", columns, 5);
    report_add_bars(
        all->r, "mixes_accuracy",
        "The paper (table 7): helpfulness model 63.2 % on helpful pairs, 62.8 on safety's; safety "
        "model 64.5 on safety's, 56.2 on helpful ones. It has no figure of models that are not mixed. Expected here: "
        "mixed ones are much better on the other kind, and as good on their own.",
        &(plot_options){.title = "Both models on both kinds", .y_label = "accuracy", .share = true, .level = 0.5},
        groups, shown, MODELS);
    add_trend(all, "mixed, the helpfulness model is better on comparisons about safety", "62.8 % (table 7)",
              TREND_RISES, "points", other_difference(all, arms[1], arms[0]));
    add_trend(all, "its own kind stays: helpfulness", "not stated", TREND_STAYS, "points",
              paired_difference(all, arms[1], arms[0], -1));
    add_trend(all, "mixed, the safety model is better on comparisons of helpfulness", "56.2 % (table 7)", TREND_RISES,
              "points", other_difference(all, arms[3], arms[2]));
    add_trend(all, "its own kind stays: safety", "not stated", TREND_STAYS, "points",
              paired_difference(all, arms[3], arms[2], -1));
    add_trend(all, "mixed, the safety model is better where both answers are safe", "especially there (3.2.2)",
              TREND_RISES, "points",
              difference(accuracy_in(result_of(all, arms[3]), safe), accuracy_in(result_of(all, arms[2]), safe)));
}

/* --- number of pairs, size ---------------------------------------------------------------------- */

void show_scaling(results *all)
{
    static const char *const arms[2][4] = {{"small-eighth", "small-quarter", "small-half", "small-all"},
                                           {"pairs-eighth", "pairs-quarter", "pairs-half", "margin-small"}},
                             *const names[] = {"small trunk", "large trunk"},
                             *const columns[] = {"trunk", "its parameters", "pairs", "accuracy",
                                                 "on significantly better pairs"};
    cells table = {.n = 0};
    bars b[2] = {{.n = 0}};
    double pairs[2][4];
    plot_series shown[2];
    report_section(all->r, "More pairs, a larger model",
                   "The first eighth, quarter, half and all of the pairs, in one epoch each; a trunk that was "
                   "pretrained and fine-tuned on the same text with half the width and half the layers. Expected: more "
                   "pairs help in each step, and the larger trunk is ahead of the small one, the more so with more "
                   "pairs.");
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 4; k++) {
            const json_t *o = result_of(all, arms[i][k]);
            pairs[i][k] = number_in(o, "trained_on");
            cells_put(&table, "%s", names[i]);
            cells_put(&table, "%.0f", number_in(o, "parameters"));
            cells_put(&table, "%.0f", pairs[i][k]);
            put_percent(&table, accuracy_in(o, NULL));
            put_percent(&table, accuracy_in(o, rating_keys[0]));
            add_bar(&b[i], accuracy_in(o, NULL));
        }
        shown[i] = bar_series(names[i], &b[i]);
        shown[i].x = pairs[i];
    }
    cells_put(&table, "\"longer wins\"");
    cells_put(&table, "-");
    cells_put(&table, "-");
    put_percent(&table, longer_in(result_of(all, "margin-small"), NULL));
    put_percent(&table, longer_in(result_of(all, "margin-small"), rating_keys[0]));
    cells_show(&table, all->r, "scaling", "Accuracy of the helpfulness model on held-out pairs, in %.", columns, 5);
    report_add_series(
        all->r, REPORT_LINES, "scaling_accuracy",
        "The paper (fig. 6): larger models and more data keep improving accuracy, no plateau yet. Expected here: the "
        "same.",
        &(plot_options){
            .title = "Accuracy against the number of pairs", .x_label = "pairs", .y_label = "accuracy", .log_x = true},
        shown, 2);
    add_trend(all, "all pairs are better than an eighth of them", "rising (fig. 6)", TREND_RISES, "points",
              paired_difference(all, "margin-small", "pairs-eighth", -1));
    add_trend(all, "all pairs are better than half of them: no plateau", "rising still (fig. 6)", TREND_RISES, "points",
              paired_difference(all, "margin-small", "pairs-half", -1));
    add_trend(all, "the larger trunk is better, on all pairs", "rising with size (fig. 6)", TREND_RISES, "points",
              paired_difference(all, "margin-small", "small-all", -1));
    add_trend(all, "the larger trunk is better, on an eighth of them", "rising with size (fig. 6)", TREND_RISES,
              "points", paired_difference(all, "pairs-eighth", "small-eighth", -1));
}

/* --- shuffled ---------------------------------------------------------------------------------- */

void show_shuffled(results *all)
{
    static const char *const arms[] = {"shuffled-1", "shuffled-2", "shuffled-3", "shuffled-4", "pairs-quarter"},
                             *const names[] = {"coin 1", "coin 2", "coin 3", "coin 4", "the annotator"},
                             *const columns[] = {"who says which is better", "accuracy"};
    cells table = {.n = 0};
    bars b = {.n = 0};
    double sum = 0, squares = 0;
    report_section(all->r, "Shuffled preferences",
                   "About as many pairs as the quarter of them, of which a coin says which answer is better. Expected: "
                   "one half on "
                   "average over coins; each alone further away than its interval allows, since a model that learnt "
                   "any direction is right or wrong on many pairs at once.");
    for (int i = 0; i < 5; i++) {
        rate x = accuracy_in(result_of(all, arms[i]), NULL);
        cells_put(&table, "%s", names[i]);
        put_percent(&table, x);
        add_bar(&b, x);
        if (i < 4) sum += x.mean;
    }
    for (int i = 0; i < 4; i++) squares += (b.y[i] - sum / 4) * (b.y[i] - sum / 4);
    double half = 3.182 * sqrt(squares / 3 / 4); /* Student's t, 3 degrees of freedom */
    cells_put(&table, "mean of the coins");
    put_percent(&table, (rate){sum / 4, sum / 4 - half, sum / 4 + half});
    cells_put(&table, "\"longer wins\"");
    put_percent(&table, longer_in(result_of(all, arms[4]), NULL));
    cells_show(&table, all->r, "shuffled", "Accuracy on held-out pairs, in %.", columns, 2);
    plot_series shown[] = {bar_series("accuracy", &b)};
    report_add_bars(
        all->r, "shuffled_accuracy",
        "No figure of the paper's: a control. Expected here: one half on average over the coins.",
        &(plot_options){.title = "Coins against the annotator", .y_label = "accuracy", .share = true, .level = 0.5},
        names, shown, 1);
    cells_put(&all->trends, "preferences of a coin teach nothing");
    cells_put(&all->trends, "a control: 50 %%");
    cells_put(&all->trends, "50 %%");
    cells_put(&all->trends, "%.1f (%.1f to %.1f) %%", 100 * sum / 4, 100 * (sum / 4 - half), 100 * (sum / 4 + half));
    cells_put(&all->trends, "%s", fabs(sum / 4 - 0.5) <= half ? "yes" : "no");
}
