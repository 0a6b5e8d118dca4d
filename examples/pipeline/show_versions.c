/* The report of the loop: the versions beside one another, on the same held-out prompts. */
#include "pipeline/show_loop.h"

#include <math.h>
#include <string.h>

static rate wins(const loop_report *all, int i, int topic)
{
    return win_rate(all->l->p, all->v.all[i].o.scores, all->v.all[0].o.scores, topic);
}

static rate wins_by_reward(const loop_report *all, int i)
{
    return win_rate(all->l->p, all->v.all[i].reward, all->v.all[0].reward, TOPIC_ALL);
}

static rate cold_wins(const loop_report *all, int i)
{
    return win_rate(all->l->p, all->v.cold[i].o.scores, all->v.cold[0].o.scores, TOPIC_ALL);
}

/* --- the path -------------------------------------------------------------------------------- */

static void show_rates(loop_report *all, const char *key, const char *title, const char *caption,
                       rate (*rates)[MOST_SHOWN], const char *const names[], size_t n)
{
    double mean[3][MOST_SHOWN], low[3][MOST_SHOWN], high[3][MOST_SHOWN];
    const versions *v = &all->v;
    plot_series bars[3];
    for (size_t k = 0; k < n; k++) {
        for (int i = 0; i < v->n; i++) {
            mean[k][i] = rates[k][i].mean;
            low[k][i] = rates[k][i].low;
            high[k][i] = rates[k][i].high;
        }
        bars[k] = (plot_series){.name = names[k], .y = mean[k], .low = low[k], .high = high[k], .count = (size_t)v->n};
    }
    report_add_bars(all->r, key, caption,
                    &(plot_options){.title = title, .y_label = "win rate", .share = true, .level = 0.5}, v->names, bars,
                    n);
}

/* A step from one model to the next. */
static void add_step(loop_report *all, int i)
{
    const versions *v = &all->v;
    bool added = strstr(v->names[i], " with GAtt") || strstr(v->names[i], " distilled"); /* for something else */
    char what[CELLS_LENGTH];
    rate gain = win_gain(all->l->p, v->all[i].o.scores, v->all[i - 1].o.scores, v->all[0].o.scores);
    snprintf(what, sizeof what, "%s is %s %s: win rate", v->names[i], added ? "as good as" : "better than",
             v->names[i - 1]);
    loop_trend(all, what, added ? "not stated" : "rising (fig. 11)", added ? "stays" : "rises",
               added ? TREND_STAYS : TREND_RISES, "points", gain);
}

static void add_path_trends(loop_report *all)
{
    const pipeline *p = all->l->p;
    const versions *v = &all->v;
    int last = v->n - 1;
    char what[CELLS_LENGTH];
    for (int i = 1; i <= last; i++) add_step(all, i);
    rate whole = wins(all, last, TOPIC_ALL);
    snprintf(what, sizeof what, "%s is better than %s: win rate above one half", v->names[last], v->names[0]);
    loop_trend(all, what, "rising (fig. 11)", "rises", TREND_RISES, "points",
               (rate){whole.mean - 0.5, whole.low - 0.5, whole.high - 0.5});
    snprintf(what, sizeof what, "%s's win rate is higher by the own reward models than by the judge", v->names[last]);
    loop_trend(all, what, "higher (fig. 11)", "higher", TREND_RISES, "points",
               difference(wins_by_reward(all, last), whole));
    snprintf(what, sizeof what, "%s is better than %s at temperature 0.1: gold score", v->names[last], v->names[0]);
    loop_trend(all, what, "not stated", "rises", TREND_RISES, "",
               figure_gain(p, &v->cold[last], &v->cold[0], FIGURE_GOLD));
    loop_trend(all, "PPO adds to rejection sampling: gold score", "not stated", "rises", TREND_RISES, "",
               figure_gain(p, &v->all[last], &v->all[last - 1], FIGURE_GOLD));
    loop_trend(all, "PPO adds to rejection sampling at temperature 0.1: gold score", "not stated", "rises", TREND_RISES,
               "", figure_gain(p, &v->cold[last], &v->cold[last - 1], FIGURE_GOLD));
    snprintf(what, sizeof what, "%s wins more on safety than on helpfulness", v->names[1]);
    loop_trend(all, what, "both rise (fig. 11)", "harmlessness first", TREND_RISES, "points",
               difference(wins(all, 1, TOPIC_SAFETY), wins(all, 1, TOPIC_HELPFUL)));
    snprintf(what, sizeof what, "%s refuses more unsafe requests than %s", v->names[last], v->names[0]);
    loop_trend(all, what, "rising (fig. 11)", "rises", TREND_RISES, "points",
               figure_gain(p, &v->all[last], &v->all[0], FIGURE_REFUSED));
}

void show_path(loop_report *all)
{
    const pipeline *p = all->l->p;
    const versions *v = &all->v;
    rate by_judge[3][MOST_SHOWN], by_topic[2][MOST_SHOWN];
    char text[1024];
    for (int i = 0; i < v->n; i++) {
        by_judge[0][i] = wins(all, i, TOPIC_ALL);
        by_judge[1][i] = wins_by_reward(all, i);
        by_judge[2][i] = cold_wins(all, i);
        by_topic[0][i] = wins(all, i, TOPIC_HELPFUL);
        by_topic[1][i] = wins(all, i, TOPIC_SAFETY);
    }
    snprintf(text, sizeof text,
             "The same %zu held-out prompts for all, in phrasings that no training has seen, one answer each at "
             "temperature 1. %zu of them are different: of equal ones the mean counts once, and intervals of 95 %% are "
             "over the different ones. A win is an answer that scores higher than SFT-v1's to the same prompt, a tie "
             "counts half. At temperature 1 a model gains by being surer of what it says, right or wrong; answers at "
             "temperature 0.1 show what it knows.",
             v->all[0].o.n, different_prompts(p));
    report_section(all->r, "From SFT-v1 to the last version", text);
    if (all->l->shuffled)
        report_add_text(all->r,
                        "A control: the reward models learnt from a coin which answer is better. What is expected of "
                        "the loop is not expected here; nothing may rise.");
    show_rates(all, "win_rates", "Win rate against SFT-v1, by two judges",
               "The paper (fig. 11, against ChatGPT): rising from version to version, past one half after V3, less so "
               "by the independent judge than by the own reward models. Expected here: the same order; the gold judge "
               "stands in for GPT-4. SFT-v1 against itself is one half.",
               by_judge, (const char *const[]){"gold judge", "last reward models", "gold judge, temperature 0.1"}, 3);
    show_rates(all, "win_rates_by_topic", "Win rate by the gold judge, by kind of prompt",
               "The paper (fig. 11): helpfulness and harmlessness rise together. Expected here: harmlessness first, "
               "since what must be refused is soon learnt.",
               by_topic, (const char *const[]){"helpfulness", "safety"}, 2);
    add_path_trends(all);
}

/* --- tables ---------------------------------------------------------------------------------- */

static void version_numbers(const loop_report *all, int i)
{
    const pipeline *p = all->l->p;
    const judged *own = &all->v.all[i], *cold = &all->v.cold[i];
    char name[NAME_LENGTH];
    json_t *line = json_object();
    put_rate(line, "gold", figure_of(p, own, FIGURE_GOLD));
    put_rate(line, "win_rate", wins(all, i, TOPIC_ALL));
    put_rate(line, "win_rate_by_reward", wins_by_reward(all, i));
    put_rate(line, "correct", figure_of(p, own, FIGURE_RIGHT));
    put_rate(line, "refusals", figure_of(p, own, FIGURE_REFUSED));
    put_rate(line, "false_refusals", figure_of(p, own, FIGURE_HARMLESS));
    put_rate(line, "false_how_to", figure_of(p, own, FIGURE_HOW_TO));
    put_rate(line, "helpful", figure_of(p, own, FIGURE_HELPFUL));
    put_rate(line, "safety", figure_of(p, own, FIGURE_SAFETY));
    put_rate(line, "kl", figure_of(p, own, FIGURE_KL));
    put_rate(line, "tokens", figure_of(p, own, FIGURE_TOKENS));
    put_rate(line, "ended", figure_of(p, own, FIGURE_ENDED));
    put_rate(line, "cold_gold", figure_of(p, cold, FIGURE_GOLD));
    put_rate(line, "cold_win_rate", cold_wins(all, i));
    put_rate(line, "cold_correct", figure_of(p, cold, FIGURE_RIGHT));
    snprintf(name, sizeof name, "%s%s", all->l->shuffled ? "shuffled/" : "", all->v.names[i]);
    show_numbers(all->r, name, line);
    json_decref(line);
}

void show_table(loop_report *all)
{
    static const char *const judge_columns[] = {"model", "gold score",     "win rate",
                                                "right", "unsafe refused", "harmless refused, how-to included"},
                             *const score_columns[] = {"model", "helpfulness score", "safety score", "KL to SFT-v1"},
                             *const length_columns[] = {"model", "tokens", "ended"},
                             *const cold_columns[] = {"model", "gold score at temperature 0.1",
                                                      "win rate at temperature 0.1", "right at temperature 0.1"};
    const pipeline *p = all->l->p;
    const versions *v = &all->v;
    cells table = {.n = 0}, scores = {.n = 0}, length = {.n = 0}, cold = {.n = 0};
    for (int i = 0; i < v->n; i++) {
        const judged *own = &v->all[i];
        cells_put(&table, "%s", v->names[i]);
        put_score(&table, figure_of(p, own, FIGURE_GOLD));
        put_score(&table, wins(all, i, TOPIC_ALL));
        for (answer_figure k = FIGURE_RIGHT; k <= FIGURE_HARMLESS; k++) put_score(&table, figure_of(p, own, k));
        cells_put(&scores, "%s", v->names[i]);
        put_score(&scores, figure_of(p, own, FIGURE_HELPFUL));
        put_score(&scores, figure_of(p, own, FIGURE_SAFETY));
        put_score(&scores, figure_of(p, own, FIGURE_KL));
        cells_put(&length, "%s", v->names[i]);
        put_score(&length, figure_of(p, own, FIGURE_TOKENS));
        put_score(&length, figure_of(p, own, FIGURE_ENDED));
        cells_put(&cold, "%s", v->names[i]);
        put_score(&cold, figure_of(p, &v->cold[i], FIGURE_GOLD));
        put_score(&cold, cold_wins(all, i));
        put_score(&cold, figure_of(p, &v->cold[i], FIGURE_RIGHT));
        version_numbers(all, i);
    }
    cells_show(
        &table, all->r, "versions",
        "Every version on the held-out prompts, by the gold judge. How-to: harmless acts, asked for in the words "
        "of the unsafe ones. The paper has win rates alone (fig. 11). Expected here: all rise from version to version, "
        "but harmless requests refused, which do not.",
        judge_columns, 6);
    cells_show(&scores, all->r, "versions_scores",
               "Raw scores by the last reward models for all: helpfulness on prompts that are not about safety, safety "
               "on those that are; KL in nats a response. The paper (fig. 20): scores move up from version to version. "
               "Expected here: the same.",
               score_columns, 4);
    cells_show(&length, all->r, "versions_length",
               "Tokens of an answer, and the share of answers that ended by themselves. Not in the paper. Expected "
               "here: neither moves.",
               length_columns, 3);
    cells_show(&cold, all->r, "versions_cold",
               "Answers at temperature 0.1, against SFT-v1's at the same temperature. Not in the paper. Expected here: "
               "rising, "
               "by less than at temperature 1.",
               cold_columns, 4);
}

/* --- how the scores move --------------------------------------------------------------------- */

/* SFT-v1 and the versions as they ended, without what was done between; as many as there are colours. A single version
 * ends as "V1 (PPO)". */
static size_t plain_versions(const loop_report *all, int shown[PLOT_SERIES])
{
    const versions *v = &all->v;
    int plain[MOST_SHOWN], n = 0;
    for (int i = 0; i < v->n; i++)
        if (i == 0 || i == v->n - 1 || (all->l->iterations > 1 && !strchr(v->names[i], ' '))) plain[n++] = i;
    int count = n < PLOT_SERIES ? n : PLOT_SERIES;
    for (int i = 0; i < count; i++)
        shown[i] = plain[n <= PLOT_SERIES ? i : (int)lround((double)i * (n - 1) / (PLOT_SERIES - 1))];
    return (size_t)count;
}

static void add_scatter(loop_report *all)
{
    const versions *v = &all->v;
    const judged *last = &v->all[v->n - 1];
    char y[NAME_LENGTH];
    snprintf(y, sizeof y, "raw safety score of %s", v->names[v->n - 1]);
    plot_series points[] = {{.name = "prompts about safety",
                             .x = v->all[0].figures[FIGURE_SAFETY],
                             .y = last->figures[FIGURE_SAFETY],
                             .count = last->o.n}};
    report_add_series(all->r, REPORT_SCATTER, "shift_safety_scatter",
                      "The paper (fig. 14): answers that were unsafe before gather in the top left corner after safety "
                      "RLHF. Expected here: the same. Above the dashed line an answer scores higher than before.",
                      &(plot_options){.title = "Safety score of each answer, before and after",
                                      .x_label = "raw safety score of SFT-v1",
                                      .y_label = y,
                                      .diagonal = true},
                      points, 1);
}

void show_shift(loop_report *all)
{
    const versions *v = &all->v;
    plot_series curves[2][PLOT_SERIES];
    int shown[PLOT_SERIES], last = v->n - 1;
    size_t n = plain_versions(all, shown);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 2; k++)
            curves[k][i] = (plot_series){.name = v->names[shown[i]],
                                         .y = v->all[shown[i]].figures[k == 0 ? FIGURE_HELPFUL : FIGURE_SAFETY],
                                         .count = v->all[shown[i]].o.n};
    report_section(all->r, "How the scores move",
                   "By the last reward models, so that versions can be compared; each model's scores on prompts of its "
                   "own kind. Shown are SFT-v1 and the versions as they ended: what came of GAtt, of distillation and "
                   "of the last version before PPO is in the table above.");
    report_add_series(all->r, REPORT_CUMULATIVE, "shift_helpful",
                      "The paper (fig. 20): the distribution moves to higher scores from SFT to the last version. "
                      "Expected here: the same, most of it in the first versions. A curve further to the right is of "
                      "higher scores.",
                      &(plot_options){.title = "Helpfulness scores",
                                      .x_label = "raw helpfulness score",
                                      .y_label = "share of answers below"},
                      curves[0], n);
    report_add_series(
        all->r, REPORT_CUMULATIVE, "shift_safety",
        "The paper (fig. 20): as for helpfulness. Expected here: the left tail becomes thinner.",
        &(plot_options){.title = "Safety scores", .x_label = "raw safety score", .y_label = "share of answers below"},
        curves[1], n);
    add_scatter(all);
    char what[2][CELLS_LENGTH];
    for (int k = 0; k < 2; k++) {
        snprintf(what[k], sizeof what[k], "%s scores move up from %s to %s", k == 0 ? "helpfulness" : "safety",
                 v->names[0], v->names[last]);
        loop_trend(all, what[k], k == 0 ? "rising (fig. 20)" : "rising (figs. 14, 20)", "rise", TREND_RISES, "",
                   figure_gain(all->l->p, &v->all[last], &v->all[0], k == 0 ? FIGURE_HELPFUL : FIGURE_SAFETY));
    }
}
