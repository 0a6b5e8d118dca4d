/*
 * What of the paper's trends holds in the embedded world over several seeds: reads report.json of runs of
 * `llama2-pipeline --iterations N`, the same with --shuffled, and `--ablations`, and writes a report of means over the
 * runs with 95 % intervals (Student's t), each figure beside the paper's. Differences are paired: within each run, then
 * over the runs. See examples/world/trends.sh.
 */
#include "common/args.h"
#include "common/student.h"
#include "common/trend.h"
#include "world/trends_of_the_paper.h"
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RUNS = 64, MOST_POINTS = 1024, MOST_MODELS = 16, NAME = 128 };

typedef struct figure {
    double mean, low, high;
    int runs;
} figure;

#define LENGTH(a) (sizeof(a) / sizeof *(a))

static json_t *numbers[MOST_RUNS]; /* of all reports of a seed */
static double seeds[MOST_RUNS];
static int n_runs;
static char *models[MOST_MODELS]; /* SFT-v1, V1, ..: those that the loop evaluated, in its order */
static size_t n_models;

/* --- numbers over the runs ------------------------------------------------------------------- */

static double number(int run, const char *key)
{
    const json_t *value = json_object_get(numbers[run], key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* Of a, or of a - b, over the runs that have them. */
static figure over_runs(const char *a, const char *b)
{
    double x[MOST_RUNS], squares = 0;
    figure f = {0, 0, 0, 0}; /* NAN where there is none */
    for (int i = 0; i < n_runs; i++) {
        double value = number(i, a) - (b ? number(i, b) : 0);
        if (isfinite(value)) x[f.runs++] = value;
    }
    if (f.runs == 0) f.mean = NAN;
    for (int i = 0; i < f.runs; i++) f.mean += x[i] / f.runs;
    for (int i = 0; i < f.runs; i++) squares += (x[i] - f.mean) * (x[i] - f.mean);
    double half = f.runs > 1 ? student_quantile(f.runs - 1) * sqrt(squares / (f.runs - 1) / f.runs) : 0;
    f.low = f.mean - half;
    f.high = f.mean + half;
    return f;
}

__attribute__((format(printf, 1, 2))) static figure named(const char *format, ...)
{
    char key[NAME];
    va_list args;
    va_start(args, format);
    vsnprintf(key, sizeof key, format, args);
    va_end(args);
    return over_runs(key, NULL);
}

static void put_figure(cells *c, figure f)
{
    if (f.runs > 1)
        cells_put(c, "%.2f (%.2f to %.2f)", f.mean, f.low, f.high);
    else if (f.runs == 1)
        cells_put(c, "%.2f", f.mean);
    else
        cells_put(c, "-");
}

/* --- charts ---------------------------------------------------------------------------------- */

/* Series by name, with their whiskers; a figure that there is not leaves its place empty. The interval of two runs, six
 * times as wide as that of ten, would leave nothing else to see: it stands in the tables alone. */
typedef struct chart {
    plot_series series[PLOT_SERIES];
    double x[PLOT_SERIES][MOST_POINTS], y[PLOT_SERIES][MOST_POINTS], low[PLOT_SERIES][MOST_POINTS],
        high[PLOT_SERIES][MOST_POINTS];
    size_t n;
} chart;

static void add_point(chart *c, size_t series, const char *name, double x, figure f)
{
    plot_series *s = &c->series[series];
    if (series >= c->n) c->n = series + 1;
    if (s->count == MOST_POINTS) return;
    c->x[series][s->count] = x;
    c->y[series][s->count] = f.mean;
    c->low[series][s->count] = f.runs > 2 ? f.low : (double)NAN;
    c->high[series][s->count] = f.runs > 2 ? f.high : (double)NAN;
    *s = (plot_series){.name = name,
                       .x = c->x[series],
                       .y = c->y[series],
                       .low = c->low[series],
                       .high = c->high[series],
                       .count = s->count + 1};
}

/* --- what holds ------------------------------------------------------------------------------ */

static const char *verdict(const trend *t, figure f)
{
    if (f.runs == 0) return "not measured";
    return f.runs == 1 ? "one run: no interval" : trend_verdict(t->expected, f.mean, f.low, f.high);
}

static void show_trends(report *r)
{
    static const char *const columns[] = {"trend", "in the paper", "expected here", "here", "runs", "holds"};
    cells *table = calloc(1, sizeof *table);
    if (!table) return;
    report_section(
        r, "What holds",
        "Differences within each run, their mean over the runs, and its 95 % interval (Student's t). They are "
        "over trainings: all runs answer the same held-out prompts. They have the sign of the paper's figures: what "
        "falls is below 0. A trend holds where the whole interval lies on its side of 0; of what is to stay, an "
        "interval that holds 0 says little where it is wide. Points are hundredths. What is expected here is what a "
        "row's name says; the column was added when runs had been seen. Where the runs depart from the "
        "paper's settings, and why, stands at the end of each run's own report, of the loop and of the ablations.");
    for (size_t i = 0; i < LENGTH(trends); i++) {
        const trend *t = &trends[i];
        figure f = over_runs(t->a, t->b);
        cells_put(table, "%s", t->what);
        cells_put(table, "%s", t->paper);
        cells_put(table, "%s", trend_expectation(t->expected));
        trend_put(table, f.mean, f.runs > 1 ? f.low : (double)NAN, f.high, t->unit);
        cells_put(table, "%d", f.runs);
        cells_put(table, "%s", verdict(t, f));
        printf("%-98s %-34s %s\n", t->what, table->text[table->n - 3], verdict(t, f));
    }
    cells_show(table, r, "trends", NULL, columns, 6);
    free(table);
}

/* What a loop gains whose reward models learnt from a coin. */
static void show_control(report *r)
{
    static const char *const columns[] = {"model",
                                          "gold score, against SFT-v1's",
                                          "at temperature 0.1",
                                          "win rate, against one half",
                                          "at temperature 0.1",
                                          "gains anywhere"},
                             *const keys[] = {"gold", "cold_gold", "win_rate", "cold_win_rate"};
    cells table = {.n = 0};
    char key[2][NAME];
    for (size_t i = 1; i < n_models; i++) {
        bool gains = false;
        int runs = 0;
        cells_put(&table, "%s", models[i]);
        for (size_t k = 0; k < LENGTH(keys); k++) {
            snprintf(key[0], NAME, "shuffled/%s/%s", models[i], keys[k]);
            snprintf(key[1], NAME, "shuffled/%s/%s", models[0], keys[k]);
            figure f = over_runs(key[0], key[1]);
            trend_put(&table, f.mean, f.runs > 1 ? f.low : (double)NAN, f.high, "");
            gains |= f.runs > 1 && f.low > 0;
            if (f.runs > runs) runs = f.runs;
        }
        cells_put(&table, "%s", runs == 0 ? "not measured" : runs == 1 ? "one run: no interval" : gains ? "yes" : "no");
        printf("%-40s by a coin: gold %s, at 0.1 %s, wins %s, at 0.1 %s: gains anywhere: %s\n", models[i],
               table.text[table.n - 5], table.text[table.n - 4], table.text[table.n - 3], table.text[table.n - 2],
               table.text[table.n - 1]);
    }
    report_section(r, "A control: preferences of a coin",
                   "The same loop, but that a coin says which of two answers is better. Expected here: it gains "
                   "nothing, in no model. Not in the paper. Differences within each run, mean and 95 % interval over "
                   "the runs; a gain is an interval above 0, as one in forty is by chance.");
    cells_show(&table, r, "control", NULL, columns, LENGTH(keys) + 2);
}

/* --- the sections ---------------------------------------------------------------------------- */

/* How often a model's win rate falls below the interval, over prompts, of the one before it in the same run, and where,
 * in words; `which`: "win_rate", at temperature 1, or "cold_win_rate". */
static int count_falls(const char *which, int *steps, char *where, size_t size)
{
    int falls = 0;
    char key[2][NAME];
    *steps = 0;
    where[0] = 0;
    for (int i = 0; i < n_runs; i++) {
        for (size_t k = 1; k < n_models; k++) {
            snprintf(key[0], NAME, "%s/%s", models[k], which);
            snprintf(key[1], NAME, "%s/%s/low", models[k - 1], which);
            double own = number(i, key[0]), before = number(i, key[1]);
            *steps += isfinite(own) && isfinite(before);
            if (!(own < before)) continue;
            falls++;
            size_t used = strlen(where);
            snprintf(where + used, size - used, "%s%s of seed %.0f", used ? ", " : ": ", models[k], seeds[i]);
        }
    }
    return falls;
}

/* Each model once a seed. */
static void show_distance(report *r)
{
    chart *c = calloc(1, sizeof *c);
    char key[2][NAME];
    if (!c) return;
    for (size_t i = 0; i < n_models; i++) {
        size_t series = i + 1 == n_models ? 1 : 0;
        snprintf(key[0], NAME, "%s/kl", models[i]);
        snprintf(key[1], NAME, "%s/gold", models[i]);
        for (int run = 0; run < n_runs; run++) {
            double x = sqrt(number(run, key[0])), y = number(run, key[1]); /* below 0 by chance: left out */
            add_point(c, series, series ? "after PPO" : "before", x, (figure){y, y, y, 1});
        }
    }
    report_add_series(
        r, REPORT_SCATTER, "distance",
        "The paper has no figure of it. Expected here: more of the gold score the further a model is from "
        "SFT-v1. More of it for the same distance is better.",
        &(plot_options){.title = "Gold score over the distance from SFT-v1",
                        .x_label = "square root of the KL (nats a response)",
                        .y_label = "gold score"},
        c->series, c->n);
    free(c);
}

/* Figures of all models, a row each. */
typedef struct models_table {
    const char *name, *title;
    size_t n;
    const char *columns[6], *keys[5]; /* the first column is the model */
} models_table;

static const models_table of_models[] = {
    {"versions",
     "Means over the runs. The paper has win rates alone (fig. 11). Expected here: all rise but harmless requests "
     "refused, which do not.",
     5,
     {"model", "gold score", "win rate", "right", "unsafe refused", "harmless refused, how-to included"},
     {"gold", "win_rate", "correct", "refusals", "false_refusals"}},
    {"versions_scores",
     "Raw scores by the last reward models, each on prompts of its own kind; KL in nats a response. The paper (fig. "
     "20): scores move up. Expected here: the same.",
     3,
     {"model", "helpfulness score", "safety score", "KL to SFT-v1"},
     {"helpful", "safety", "kl"}},
    {"versions_length",
     "Tokens of an answer, and the share of answers that ended by themselves. Not in the paper. Expected here: neither "
     "moves.",
     2,
     {"model", "tokens", "ended"},
     {"tokens", "ended"}},
    {"versions_cold",
     "Answers at temperature 0.1. Not in the paper. Expected here: rising, by less than at temperature 1.",
     3,
     {"model", "gold score at temperature 0.1", "win rate at temperature 0.1", "right at temperature 0.1"},
     {"cold_gold", "cold_win_rate", "cold_correct"}},
};

static void show_models(report *r, const models_table *t)
{
    cells table = {.n = 0};
    for (size_t i = 0; i < n_models; i++) {
        cells_put(&table, "%s", models[i]);
        for (size_t k = 0; k < t->n; k++) put_figure(&table, named("%s/%s", models[i], t->keys[k]));
    }
    cells_show(&table, r, t->name, t->title, t->columns, t->n + 1);
}

static void show_path(report *r)
{
    char text[2048], where[2][768];
    int steps[2], falls = count_falls("win_rate", &steps[0], where[0], sizeof where[0]),
                  cold_falls = count_falls("cold_win_rate", &steps[1], where[1], sizeof where[1]);
    chart *c = calloc(1, sizeof *c);
    if (!c) return;
    snprintf(
        text, sizeof text,
        "%d of %d steps from a model to the next end, by the win rate, below the interval, over prompts, of the one "
        "before in the same run%s. At temperature 0.1: %d of %d%s.",
        falls, steps[0], where[0], cold_falls, steps[1], where[1]);
    printf("%s\n", text);
    report_section(r, "From SFT-v1 to the last version", text);
    for (size_t i = 0; i < n_models; i++) {
        add_point(c, 0, "gold judge", 0, named("%s/win_rate", models[i]));
        add_point(c, 1, "last reward models", 0, named("%s/win_rate_by_reward", models[i]));
        add_point(c, 2, "gold judge, temperature 0.1", 0, named("%s/cold_win_rate", models[i]));
    }
    report_add_bars(
        r, "win_rates",
        "The paper (fig. 11, against ChatGPT): rising from version to version, less so by the independent "
        "judge than by the own reward models. Expected here: the same. SFT-v1 against itself is one half.",
        &(plot_options){.title = "Win rate against SFT-v1", .y_label = "win rate", .share = true, .level = 0.5},
        (const char *const *)models, c->series, c->n);
    for (size_t i = 0; i < LENGTH(of_models); i++) show_models(r, &of_models[i]);
    report_add_number(r, "falls", falls);
    report_add_number(r, "cold_falls", cold_falls);
    free(c);
    show_distance(r);
}

/* A line of a chart: a group's part of the key stands for the * in it. */
typedef struct line_of {
    const char *name, *format;
} line_of;

/* What the groups are called in keys, and on the page (NULL: the same). */
typedef struct groups_of {
    const char *const *keys, *const *labels;
    size_t n;
} groups_of;

/* The key of a line's group. */
static void key_of(const line_of *line, const char *group, char key[NAME])
{
    const char *hole = strchr(line->format, '*');
    snprintf(key, NAME, "%.*s%s%s", (int)(hole - line->format), line->format, group, hole + 1);
}

/* Lines over x, or bars where it is NULL; gained: on the first group, in each run. */
static void draw(report *r, const char *name, const char *caption, const plot_options *options, const line_of *lines,
                 size_t n, const double *x, groups_of groups, bool gained)
{
    chart *c = calloc(1, sizeof *c);
    char key[2][NAME];
    if (!c) return;
    for (size_t i = 0; i < n; i++) {
        key_of(&lines[i], groups.keys[0], key[0]);
        for (size_t k = 0; k < groups.n; k++) {
            key_of(&lines[i], groups.keys[k], key[1]);
            add_point(c, i, lines[i].name, x ? x[k] : 0, over_runs(key[1], gained ? key[0] : NULL));
        }
    }
    if (x)
        report_add_series(r, REPORT_LINES, name, caption, options, c->series, c->n);
    else
        report_add_bars(r, name, caption, options, groups.labels ? groups.labels : groups.keys, c->series, c->n);
    free(c);
}

static void show_lines(report *r, const char *name, const char *caption, const plot_options *options,
                       const line_of *lines, size_t n, const double *x, groups_of groups)
{
    draw(r, name, caption, options, lines, n, x, groups, false);
}

static void show_gains(report *r, const char *name, const char *caption, const plot_options *options,
                       const line_of *lines, size_t n, const double *x, groups_of groups)
{
    draw(r, name, caption, options, lines, n, x, groups, true);
}

/* PPO's proxies beside the judge, as far as PPO goes from the SFT model. */
static void show_proxy(report *r)
{
    static const char *const arms[] = {"ppo-0", "ppo-8", "ppo-16", "ppo-32"};
    static const line_of lines[] = {{"helpfulness score", "*/helpful"}, {"safety score", "*/safety"}},
                         judged[] = {{"gold score", "*/gold"}};
    double x[LENGTH(arms)];
    if (named("%s/kl", arms[0]).runs == 0) return; /* there are no ablations among the runs */
    for (size_t i = 0; i < LENGTH(arms); i++) x[i] = sqrt(fmax(0, named("%s/kl", arms[i]).mean));
    report_section(r, "Proxy against gold",
                   "PPO from the SFT model for 0, 8, 16 and 32 iterations; gains in each run.");
    show_gains(r, "proxy", "The paper has no figure of it (Gao et al. 2022 do). Expected here: they rise all the way.",
               &(plot_options){.title = "What the reward models say",
                               .x_label = "square root of the KL (nats a response)",
                               .y_label = "raw score, gained"},
               lines, LENGTH(lines), x, (groups_of){arms, NULL, LENGTH(arms)});
    show_gains(r, "proxy_gold", "No figure of the paper's. Expected here: it rises at first, and ends before they do.",
               &(plot_options){.title = "What the judge says of the same answers",
                               .x_label = "square root of the KL (nats a response)",
                               .y_label = "gold score, gained"},
               judged, LENGTH(judged), x, (groups_of){arms, NULL, LENGTH(arms)});
}

static void show_sampling(report *r)
{
    static const double n[] = {1, 2, 4, 8}, t[] = {0.6, 0.8, 1.0, 1.2, 1.4};
    static const char *const index[] = {"0", "1", "2", "3", "4"};
    static const line_of best[] = {{"best for V1", "sample-1/best/*"},
                                   {"median for V1", "sample-1/median/*"},
                                   {"best for V5", "sample-5/best/*"},
                                   {"median for V5", "sample-5/median/*"}},
                         reward[] = {{"V1", "tune-1/best/*"}, {"V3", "tune-3/best/*"}, {"V5", "tune-5/best/*"}},
                         judged[] = {{"V1", "tune-1/gold/*"}, {"V3", "tune-3/gold/*"}, {"V5", "tune-5/gold/*"}};
    report_section(r, "Rejection sampling", NULL);
    show_gains(
        r, "best_of_n",
        "The paper (fig. 7): the best of N rises with N, the median stays. Expected here: the same, and less to gain "
        "for V5, whose samples are more alike. Each by its version's reward models; what "
        "is gained on one sample in the same run.",
        &(plot_options){.title = "Best and median reward of N samples",
                        .x_label = "samples a prompt",
                        .y_label = "raw reward, gained",
                        .log_x = true},
        best, LENGTH(best), n, (groups_of){index, NULL, 4});
    show_gains(
        r, "temperatures",
        "The paper (fig. 8): after RLHF the best temperature is higher, 1.2 to 1.3. Expected here: it does not fall. "
        "0.6 is the lower edge of the "
        "grid: a best one below it would not show. Each version by its own reward models; differences from the reward "
        "at 0.6 in the same run.",
        &(plot_options){
            .title = "Reward of the best of 8", .x_label = "temperature", .y_label = "raw reward, against 0.6"},
        reward, LENGTH(reward), t, (groups_of){index, NULL, 5});
    show_lines(
        r, "temperatures_gold", "No figure of the paper's. Expected here before the first run: as the reward.",
        &(plot_options){.title = "Gold score of the same samples", .x_label = "temperature", .y_label = "gold score"},
        judged, LENGTH(judged), t, (groups_of){index, NULL, 5});
}

static void show_rewards(report *r)
{
    static const char *const ratings[] = {"significantly_better", "better", "slightly_better", "negligibly_better"},
                             *const rating_names[] = {"significantly", "better", "slightly", "negligibly"},
                             *const arms[] = {"auxiliary-off", "auxiliary-on"},
                             *const arm_names[] = {"without", "with"}, *const versions[] = {"1", "2", "3", "4", "5"},
                             *const version_names[] = {"V1", "V2", "V3", "V4", "V5"};
    static const double pairs[] = {0.125, 0.25, 0.5, 1};
    static const char *const mixed_arms[] = {"pairs-all", "mix-helpfulness", "auxiliary-on",
                                             "mix-safety"}, /* pairs-all: margin-small */
        *const mixed_names[] = {"helpfulness, own", "helpfulness, mixed", "safety, own", "safety, mixed"};
    static const char *const parts[] = {"eighth", "quarter", "half", "all"};
    static const line_of margins[] = {{"none", "margin-none/by_rating/*/accuracy"},
                                      {"small", "margin-small/by_rating/*/accuracy"},
                                      {"large", "margin-large/by_rating/*/accuracy"},
                                      {"\"longer wins\"", "margin-small/by_rating/*/longer_wins"}},
                         margins_twice[] = {{"none", "two-epochs-none/by_rating/*/accuracy"},
                                            {"small", "two-epochs/by_rating/*/accuracy"},
                                            {"large", "two-epochs-large/by_rating/*/accuracy"}},
                         auxiliary[] = {{"accuracy", "*/accuracy"},
                                        {"recall of unsafe", "*/safety/unsafe_recall"},
                                        {"called right", "*/safety/accuracy"},
                                        {"\"longer wins\", accuracy", "*/longer_wins"}},
                         mixes[] = {{"its own kind", "*/accuracy"},
                                    {"\"longer wins\", its own kind", "*/longer_wins"},
                                    {"the other kind", "*/other/accuracy"},
                                    {"\"longer wins\", the other kind", "*/other/longer_wins"}},
                         scaling[] = {{"small trunk", "small-*/accuracy"},
                                      {"large trunk", "pairs-*/accuracy"},
                                      {"\"longer wins\"", "pairs-*/longer_wins"}},
                         held_out[] = {{"helpfulness", "rewards-*/helpful/held_out"},
                                       {"\"longer wins\", helpfulness", "rewards-*/helpful/longer_wins"},
                                       {"safety", "rewards-*/safety/held_out"},
                                       {"\"longer wins\", safety", "rewards-*/safety/longer_wins"}},
                         kinds[] = {{"helpfulness model, its own kind", "rewards-*/helpful/held_out"},
                                    {"on comparisons about safety", "rewards-*/helpful/other_kind"},
                                    {"safety model, its own kind", "rewards-*/safety/held_out"},
                                    {"on comparisons about helpfulness", "rewards-*/safety/other_kind"}};
    report_section(r, "Reward models", NULL);
    show_lines(r, "margins",
               "The paper (table 28), from left to right: none 79.1, 66.9, 59.8, 54.5; small 80.4, 67.3, 60.4, 55.0; "
               "large 80.7, 67.5, 60.5, 54.3 %. Expected here: it falls with the rating; margins help where answers "
               "differ most, by less than a point.",
               &(plot_options){.title = "Accuracy by rating and margin", .y_label = "accuracy", .share = true}, margins,
               LENGTH(margins), NULL, (groups_of){ratings, rating_names, 4});
    show_lines(
        r, "margins_two_epochs", "The paper has one epoch. Expected here: as after one, with less noise.",
        &(plot_options){.title = "Accuracy by rating and margin, two epochs", .y_label = "accuracy", .share = true},
        margins_twice, LENGTH(margins_twice), NULL, (groups_of){ratings, rating_names, 4});
    show_lines(
        r, "auxiliary",
        "The paper (table 29): accuracy 63.7 to 64.5 %, recall of unsafe answers 73.0 to 90.4 %. "
        "Expected here: the same directions.",
        &(plot_options){.title = "Without and with the safety auxiliary loss", .y_label = "share", .share = true},
        auxiliary, LENGTH(auxiliary), NULL, (groups_of){arms, arm_names, 2});
    show_lines(r, "mixes",
               "The paper (table 7): helpfulness model 63.2 % on helpful pairs, 62.8 on safety's; safety model 64.5 "
               "on safety's, 56.2 on helpful ones, both mixed. Expected here: mixes help on the other kind, and cost "
               "nothing on a model's own.",
               &(plot_options){.title = "Models of one kind of comparisons and of the paper's mixes",
                               .y_label = "accuracy",
                               .share = true,
                               .level = 0.5},
               mixes, LENGTH(mixes), NULL, (groups_of){mixed_arms, mixed_names, 4});
    show_lines(r, "scaling",
               "The paper (fig. 6): larger models and more data keep improving accuracy, no plateau yet. "
               "Expected here: the same.",
               &(plot_options){.title = "Accuracy against the share of the pairs",
                               .x_label = "share of the pairs",
                               .y_label = "accuracy",
                               .log_x = true,
                               .share = true},
               scaling, LENGTH(scaling), pairs, (groups_of){parts, NULL, 4});
    show_lines(
        r, "accuracy",
        "The paper: about 63 and 64 % on its own test sets. Expected here: above the rule that the longer answer is "
        "better, and not falling from version to version.",
        &(plot_options){.title = "Accuracy of each version's reward models on all that is held out",
                        .y_label = "accuracy",
                        .share = true,
                        .level = 0.5},
        held_out, LENGTH(held_out), NULL, (groups_of){versions, version_names, 5});
    show_lines(
        r, "kinds",
        "The paper (table 7): helpfulness model 63.2 % on helpful pairs, 62.8 on safety's; safety model 64.5 "
        "on safety's, 56.2 on helpful ones. Expected here: each is the better one on its own kind.",
        &(plot_options){
            .title = "Both models on both kinds of comparisons", .y_label = "accuracy", .share = true, .level = 0.5},
        kinds, LENGTH(kinds), NULL, (groups_of){versions, version_names, 5});
}

static void show_data(report *r)
{
    static const double shares[] = {0, 1, 10, 25, 50, 100};
    static const char *const names[] = {"0", "1", "10", "25", "50", "100"}, *const sets[] = {"few-good", "few-mixed",
                                                                                             "many-poor", "many-mixed"};
    static const line_of scores[] = {{"safety, mean", "share-*/safety"},
                                     {"safety, 5th percentile", "share-*/safety_tail"},
                                     {"helpfulness, mean", "share-*/helpful"}},
                         refusals[] = {{"unsafe", "share-*/refusals"},
                                       {"how-to", "share-*/false_how_to"},
                                       {"others, how-to left out", "share-*/false_refusals"}},
                         quality[] = {{"gold score", "*/gold"}},
                         pools[] = {{"the newest version's samples", "own-*/sorted"},
                                    {"the best over all versions", "pool-*/sorted"}},
                         small[] = {{"gold score", "small-*/gold"}};
    static const double version_numbers[] = {1, 2, 3, 4};
    static const char *const versions[] = {"1", "2", "3", "4"}, *const samples[] = {"before", "own", "from-large"},
                             *const set_names[] = {"few good", "few mixed", "many poor", "many mixed"},
                             *const sampled_by[] = {"after SFT", "its own samples", "the larger one's"};
    report_section(r, "Data of fine-tuning", NULL);
    show_lines(r, "safety_share",
               "The paper (fig. 15): the mean safety score rises, its left tail becomes thinner, helpfulness stays. "
               "Expected here: the same.",
               &(plot_options){.title = "Scores against the share of the safety data",
                               .x_label = "safety data, %",
                               .y_label = "raw score"},
               scores, LENGTH(scores), shares, (groups_of){names, NULL, LENGTH(names)});
    show_lines(
        r, "safety_share_refusals",
        "The paper (fig. 33): false refusals of borderline prompts rise from some 15 to some 27 %. Expected here: "
        "they rise too.",
        &(plot_options){.title = "Refusals against the share of the safety data",
                        .x_label = "safety data, %",
                        .y_label = "share of the prompts",
                        .share = true},
        refusals, LENGTH(refusals), shares, (groups_of){names, NULL, LENGTH(names)});
    show_lines(r, "quality",
               "The paper (3.1): fewer but better examples improved results notably. Expected here: "
               "the same.",
               &(plot_options){.title = "Gold score by the demonstrations", .y_label = "gold score"}, quality,
               LENGTH(quality), NULL, (groups_of){sets, set_names, 4});
    show_lines(
        r, "small",
        "The paper (3.2.3): its smaller models learn from the largest one's samples. Expected here: they gain more "
        "than "
        "from its own.",
        &(plot_options){.title = "Gold score of a small model after the best of 8 samples", .y_label = "gold score"},
        small, 1, NULL, (groups_of){samples, sampled_by, 3});
    show_lines(r, "pools",
               "The paper (3.2.3): V3, from V2's samples alone, had lost how to write rhyming lines. The prompts of V2 "
               "to V4 never ask to put numbers in order. About as many examples are learnt in both branches. "
               "Expected here: lost with the newest samples alone, kept with all.",
               &(plot_options){
                   .title = "Numbers put in the right order", .x_label = "version", .y_label = "share", .share = true},
               pools, LENGTH(pools), version_numbers, (groups_of){versions, NULL, 4});
}

static void show_dialogues(report *r)
{
    static const char *const turns[] = {"1", "2", "3", "4", "5", "6", "8", "10", "12", "16", "20"};
    static const double x[] = {1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20};
    static const line_of kept[] = {{"V3", "gatt/V3/*"},
                                   {"V3, instructed", "gatt/V3, instructed/*"},
                                   {"V3, instructed, new figures", "gatt/V3, instructed, new figures/*"},
                                   {"V3 with GAtt", "gatt/V3 with GAtt/*"},
                                   {"V3 with GAtt, new figures", "gatt/V3 with GAtt, new figures/*"}},
                         distilled[] = {{"mean safety score", "distill/*/safety"}};
    static const char *const both[] = {"V4", "V4 distilled"};
    report_section(r, "Ghost Attention and context distillation", NULL);
    show_lines(
        r, "gatt",
        "The paper (table 30): 100, 10, 0, 0 % kept at turns 2, 4, 6, 20 without GAtt, 100 % with it. Instructed: V3 "
        "after it learnt to follow an instruction that stands with the question, as the paper's could already. "
        "New figures: no training acts as them. Expected here: kept more often with GAtt than without.",
        &(plot_options){.title = "Instruction followed",
                        .x_label = "turn",
                        .y_label = "share of dialogues",
                        .share = true,
                        .from_zero = true},
        kept, LENGTH(kept), x, (groups_of){turns, NULL, LENGTH(turns)});
    show_lines(r, "distill", "The paper (fig. 16): safer with context distillation. Expected here: little to gain.",
               &(plot_options){.title = "Safety score before and after distillation", .y_label = "raw safety score"},
               distilled, 1, NULL, (groups_of){both, NULL, 2});
}

/* --- the runs -------------------------------------------------------------------------------- */

/* The place of a seed; a new one where there is none. */
static int run_of(double seed)
{
    int i = 0;
    while (i < n_runs && seeds[i] != seed) i++;
    if (i == n_runs && i < MOST_RUNS) {
        seeds[n_runs] = seed;
        numbers[n_runs++] = json_object();
    }
    return i;
}

static bool refuse(const char *path, const char *why)
{
    fprintf(stderr, "%s: %s\n", path, why);
    return false;
}

/* Of a run with preferences of a coin only what says so in its name: the others are those of the run proper. */
static bool merge(const char *path, const json_t *own)
{
    const char *key, *coin = "shuffled/";
    json_t *value;
    int run = run_of(json_number_value(json_object_get(own, "seed")));
    bool shuffled = json_number_value(json_object_get(own, "shuffled")) > 0;
    if (json_number_value(json_object_get(own, "model")) > 0)
        return refuse(path, "began with a model of its own: it is no run in the embedded world alone");
    if (run == MOST_RUNS) return refuse(path, "that are too many seeds");
    json_object_foreach((json_t *)(uintptr_t)own, key, value)
    {
        if (strchr(key, '/') == NULL || (shuffled && strncmp(key, coin, strlen(coin)) != 0)) continue;
        if (json_object_get(numbers[run], key)) return refuse(path, "is the second report of this kind with this seed");
        json_object_set(numbers[run], key, value);
    }
    return true;
}

static bool read_report(const char *path)
{
    json_error_t error;
    json_t *page = json_load_file(path, 0, &error), *own = json_object_get(page, "numbers");
    bool ok = json_is_number(json_object_get(own, "seed"))
                  ? merge(path, own)
                  : refuse(path, page ? "is no report of the loop or of the ablations" : error.text);
    json_decref(page);
    return ok;
}

/* Those of the first run of a loop. */
static void find_models(void)
{
    const char *key;
    json_t *value;
    for (int i = 0; i < n_runs && n_models == 0; i++) {
        json_object_foreach(numbers[i], key, value)
        {
            const char *end = strstr(key, "/win_rate/low");
            if (!end || strncmp(key, "shuffled/", 9) == 0 || n_models == MOST_MODELS) continue;
            char *name = strdup(key);
            if (!name) return;
            name[end - key] = 0;
            models[n_models++] = name;
        }
    }
}

int main(int argc, char **argv)
{
    char error[512], subtitle[64];
    report *r = NULL;
    const args_program program = {.name = "llama2-world-trends",
                                  .summary = "Writes FOLDER/report.html and report.json: what of the paper's trends "
                                             "holds over runs of llama2-pipeline with different seeds.",
                                  .usage = "FOLDER REPORT.json ...",
                                  .minimum_rest = 2,
                                  .maximum_rest = ARGS_MAX,
                                  .notes = "The reports are of --iterations, of the same with --shuffled, and of "
                                           "--ablations. --model, --threads and --seed say nothing here."};
    args_common common;
    int status = args_parse(&program, &common, argc, argv);
    if (status != ARGS_GO) return status;
    const char *folder = common.rest.items[0];
    bool ok = true;
    for (size_t i = 1; ok && i < common.rest.count; i++) ok = read_report(common.rest.items[i]);
    if (ok) {
        find_models();
        snprintf(subtitle, sizeof subtitle, "the embedded world, %d seeds", n_runs);
        r = report_create("The paper's trends, over seeds", subtitle);
        ok = r != NULL;
    }
    if (ok) {
        show_trends(r);
        show_control(r);
        show_path(r);
        show_sampling(r);
        show_rewards(r);
        show_data(r);
        show_dialogues(r);
        show_proxy(r);
        ok = report_write(r, folder, error, sizeof error);
        if (ok)
            printf("report: %s/report.html\n", folder);
        else
            fprintf(stderr, "%s\n", error);
    }
    report_free(r);
    for (size_t i = 0; i < n_models; i++) free(models[i]);
    for (int i = 0; i < n_runs; i++) json_decref(numbers[i]);
    return args_end(&program, ok);
}
