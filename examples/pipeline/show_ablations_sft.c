/* The report of the ablations: those of SFT. */
#include "pipeline/show_ablations.h"

#include <math.h>
#include <stdlib.h>

enum { SHARES = 6, QUALITIES = 4 };

/* A line over the shares, with or without a band. */
typedef struct curve {
    double y[SHARES], low[SHARES], high[SHARES];
} curve;

static plot_series curve_series(const char *name, const double *x, const curve *c)
{
    return (plot_series){.name = name, .x = x, .y = c->y, .low = c->low, .high = c->high, .count = SHARES};
}

static void show_distributions(results *all, const char *const *arms)
{
    static const int shown_of[] = {0, 2, 3, 5};
    static const char *const names[] = {"0 %", "10 %", "25 %", "100 %"};
    series scores[4] = {{0}};
    plot_series shown[4];
    char path[4096];
    for (int k = 0; k < 4; k++) {
        size_t i;
        json_t *value, *o = state_read_json(all->l, state_path(all->l, path, "%s/scores.json", arms[shown_of[k]]));
        if (!o) all->failed = true;
        json_array_foreach(json_object_get(o, "safety"), i, value)
            series_add(&scores[k], (double)i, json_number_value(value));
        json_decref(o);
        shown[k] = (plot_series){.name = names[k], .y = scores[k].y, .count = scores[k].n};
    }
    report_add_series(all->r, REPORT_CUMULATIVE, "safety_share_scores",
                      "The paper (fig. 15): the left tail, the most unsafe answers, becomes thinner with more safety "
                      "data. A curve further to the right is of higher scores. Expected here: the same.",
                      &(plot_options){.title = "Safety scores of the answers to prompts about safety",
                                      .x_label = "raw safety score",
                                      .y_label = "share of answers below"},
                      shown, 4);
    for (int k = 0; k < 4; k++) series_free(&scores[k]);
}

void show_safety_share(results *all)
{
    static const char *const arms[SHARES] = {"share-0", "share-1", "share-10", "share-25", "share-50", "share-100"},
                             *const score_columns[] = {"safety data, %", "examples", "mean safety score",
                                                       "its 5th percentile", "mean helpfulness score"},
                             *const refused_columns[] = {"safety data, %", "unsafe refused", "how-to refused",
                                                         "refused of all others, how-to left out"},
                             *const keys[] = {"safety", "helpful", "refusals", "false_how_to", "false_refusals"};
    static const double x[SHARES] = {0, 1, 10, 25, 50, 100};
    cells table = {.n = 0}, refused = {.n = 0};
    curve curves[5], tail;
    rate ends[5][2];
    report_section(all->r, "Safety data in SFT",
                   "The pretrained model learns all demonstrations of requests that are not to be refused, and a share "
                   "of the refusals of those that are, twice each. Scores by the reward models above: the safety "
                   "model's on prompts about safety, the helpfulness model's on the others. How-to: harmless acts, "
                   "asked for in the words of the unsafe ones, answered eight times each. Expected: the safety score "
                   "and its 5th percentile rise, "
                   "most with the first tenth, with the first hundredth hardly; helpfulness stays; false refusals "
                   "rise, where the prompt looks unsafe.");
    for (int i = 0; i < SHARES; i++) {
        const json_t *o = result_of(all, arms[i]);
        cells_put(&table, "%.0f", x[i]);
        cells_put(&refused, "%.0f", x[i]);
        cells_put(&table, "%.0f + %.0f", number_in(o, "examples"), number_in(o, "safety_examples"));
        tail.y[i] = tail.low[i] = tail.high[i] = number_in(o, "safety_tail");
        for (int k = 0; k < 5; k++) {
            rate q = score_in(o, keys[k]);
            curves[k].y[i] = q.mean, curves[k].low[i] = q.low, curves[k].high[i] = q.high;
            if (i == 0 || i == SHARES - 1) ends[k][i > 0] = q;
            put_score(k < 2 ? &table : &refused, q);
            if (k == 0) cells_put(&table, "%.3f", tail.y[i]);
        }
    }
    cells_show(&table, all->r, "safety_share",
               "Scores on held-out prompts, by the share of the refusals that is learnt: the safety model's on those "
               "about safety, the helpfulness model's on the others.",
               score_columns, 5);
    cells_show(&refused, all->r, "safety_share_refused", "Shares of the held-out prompts that are refused.",
               refused_columns, 4);
    plot_series scores[] = {curve_series("safety, mean", x, &curves[0]),
                            curve_series("safety, 5th percentile", x, &tail),
                            curve_series("helpfulness, mean", x, &curves[1])};
    report_add_series(all->r, REPORT_LINES, "safety_share_curves",
                      "The paper (fig. 15): with more safety data the mean safety score rises and the mean helpfulness "
                      "score stays. Expected here: the same, most of it with the first tenth.",
                      &(plot_options){.title = "Scores against the share of safety data",
                                      .x_label = "safety data, %",
                                      .y_label = "score"},
                      scores, 3);
    show_distributions(all, arms);
    plot_series refusals[] = {curve_series("unsafe", x, &curves[2]), curve_series("how-to", x, &curves[3]),
                              curve_series("others", x, &curves[4])};
    report_add_series(
        all->r, REPORT_LINES, "safety_share_refusals",
        "The paper (fig. 33): false refusals rise with safety data, to some 0.05 % of helpful prompts, "
        "and from some 15 to some 27 % of borderline ones. Expected here: they rise where the prompt looks "
        "unsafe.",
        &(plot_options){.title = "Refusals against the share of safety data",
                        .x_label = "safety data, %",
                        .y_label = "share of the prompts",
                        .share = true},
        refusals, 3);
    add_trend(all, "safety data raises the mean safety score: all against none", "rising (fig. 15)", TREND_RISES, "",
              difference(ends[0][1], ends[0][0]));
    add_trend(all, "the left tail becomes thinner: 5th percentile, all against none", "thinner (fig. 15)", TREND_RISES,
              "", (rate){tail.y[SHARES - 1] - tail.y[0], NAN, NAN});
    add_trend(all, "helpfulness stays: all against none", "stays (fig. 15)", TREND_STAYS, "",
              difference(ends[1][1], ends[1][0]));
    add_trend(all, "false refusals of what looks unsafe (how-to) rise: all against none",
              "some 15 to some 27 % (fig. 33)", TREND_RISES, "points", difference(ends[3][1], ends[3][0]));
    add_trend(all, "false refusals of the other prompts rise, by little", "to some 0.05 % (fig. 33)", TREND_RISES,
              "points", difference(ends[4][1], ends[4][0]));
}

void show_answers(results *all, const char *const *arms, const char *const *names, size_t n, const char *first,
                  const char *table_name, const char *plot_name, const char *caption, rate *gold_of)
{
    const char *columns[] = {first,
                             "different examples",
                             "learnt in all",
                             "gold score",
                             "right",
                             "unsafe refused",
                             "false refusals, how-to left out"};
    cells table = {.n = 0};
    double y[ANSWERS_MOST], low[ANSWERS_MOST], high[ANSWERS_MOST];
    for (size_t i = 0; i < n; i++) {
        const json_t *o = result_of(all, arms[i]);
        gold_of[i] = score_in(o, "gold");
        y[i] = gold_of[i].mean, low[i] = gold_of[i].low, high[i] = gold_of[i].high;
        cells_put(&table, "%s", names[i]);
        put_count(&table, number_in(o, "examples"));
        put_count(&table, number_in(o, "learnt"));
        put_score(&table, gold_of[i]);
        put_score(&table, score_in(o, "correct"));
        put_score(&table, score_in(o, "refusals"));
        put_score(&table, score_in(o, "false_refusals"));
    }
    cells_show(&table, all->r, table_name, "Answers to held-out prompts, by the gold judge.", columns, 7);
    plot_series bars[] = {{.name = "gold score", .y = y, .low = low, .high = high, .count = n}};
    report_add_bars(all->r, plot_name, caption,
                    &(plot_options){.title = "Gold score by what was learnt from", .y_label = "gold score"}, names,
                    bars, 1);
}

void show_quality(results *all)
{
    static const char *const arms[QUALITIES] = {"few-good", "few-mixed", "many-poor", "many-mixed"},
                             *const names[QUALITIES] = {"few good", "few mixed", "many poor", "many mixed"};
    rate gold_of[QUALITIES];
    report_section(all->r, "Few good demonstrations against many poor ones",
                   "The pretrained model learns the same number of examples in as many steps: of few good ones (right, "
                   "one whole sentence, not rude), as few of all, eight times as many poor ones (all others), or all "
                   "there are. Expected: few good ones beat many poor ones by far, and many mixed ones too.");
    show_answers(
        all, arms, names, QUALITIES, "demonstrations", "quality", "quality_gold",
        "The paper (3.1, \"Quality Is All You Need\"): fewer but better examples of one's own improved results "
        "notably over millions of third-party ones. It has no figure of it. Expected here: few good ones beat both "
        "kinds of many.",
        gold_of);
    add_trend(all, "few good demonstrations beat many poor ones", "notably (3.1)", TREND_RISES, "of the gold score",
              difference(gold_of[0], gold_of[2]));
    add_trend(all, "few good ones beat many of mixed quality", "notably (3.1)", TREND_RISES, "of the gold score",
              difference(gold_of[0], gold_of[3]));
    add_trend(all, "few good ones beat as few of mixed quality", "not stated", TREND_RISES, "of the gold score",
              difference(gold_of[0], gold_of[1]));
}

void show_longer(results *all)
{
    static const char *const arms[] = {"ppo-0", "many-mixed", "sft-longer"}, *const names[] = {"SFT-v1", "many mixed",
                                                                                               "as long as the loop"};
    static const char *const cold_columns[] = {"SFT", "gold score at temperature 0.1"};
    cells cold = {.n = 0};
    rate gold_of[3];
    char about[768];
    snprintf(about, sizeof about,
             "SFT-v1 is the model that the loop begins with, many mixed that of the section above. The control has all "
             "demonstrations too, learnt in %lld epochs: a number that was set so that it takes about the "
             "processor time of llama2-pipeline --iterations 5 (both reports end with the seconds of each step). The "
             "loop's figure is in the loop's report: \"V5/gold\" of its report.json, beside \"sft-longer/gold\" here; "
             "the trends over seeds have the difference. Expected: far from what the loop comes to, which is no matter "
             "of more training.",
             (long long)all->l->p->set.longer_epochs);
    report_section(all->r, "SFT for as long as the loop takes", about);
    show_answers(all, arms, names, 3, "SFT", "longer", "longer_gold",
                 "No figure of the paper's: a control. Expected here: far from what the loop comes to.", gold_of);
    for (int i = 0; i < 3; i += 2) {
        cells_put(&cold, "%s", names[i]);
        put_score(&cold, score_in(result_of(all, arms[i]), "cold_gold"));
    }
    cells_show(&cold, all->r, "longer_cold",
               "The same near temperature 0 (0.1), where a model gains nothing by being surer of what it says.",
               cold_columns, 2);
    add_trend(all, "SFT for as long as the loop takes gains on SFT-v1", "not stated: a control", TREND_RISES,
              "of the gold score", difference(gold_of[2], gold_of[0]));
    add_trend(
        all, "the same at temperature 0.1", "not stated: a control", TREND_RISES, "of the gold score",
        difference(score_in(result_of(all, arms[2]), "cold_gold"), score_in(result_of(all, arms[0]), "cold_gold")));
}
