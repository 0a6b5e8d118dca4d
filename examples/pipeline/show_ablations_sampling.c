/* The report of the ablations: those that learn the best of K samples. */
#include "pipeline/show_ablations.h"

#include <math.h>

void show_small(results *all)
{
    static const char *const arms[] = {"small-before", "small-own", "small-from-large"}, *const names[] = {
                                                                                             "after SFT",
                                                                                             "its own samples",
                                                                                             "the larger one's"};
    rate gold_of[3];
    report_section(all->r, "A small model trained on a larger one's samples",
                   "The small chat model learns the best of 8 samples of the same prompts, chosen by the same reward "
                   "models: its own, or those of the model of five times its size. Expected: both help, the larger "
                   "model's more.");
    show_answers(all, arms, names, 3, "the small model", "small", "small_gold",
                 "The paper (3.2.3): rejection sampling with the largest model alone, the smaller ones fine-tuned on "
                 "its samples; the effect is not stated. Expected here: both help, the larger one's samples more.",
                 gold_of);
    add_trend(all, "a larger model's samples help a small model more than its own", "not stated (3.2.3)", TREND_RISES,
              "of the gold score", difference(gold_of[2], gold_of[1]));
    add_trend(all, "a larger model's samples help a small model", "not stated (3.2.3)", TREND_RISES,
              "of the gold score", difference(gold_of[2], gold_of[0]));
}

static void pool_row(cells *c, const char *version, const char *samples, const json_t *o)
{
    cells_put(c, "%s", version);
    cells_put(c, "%s", samples);
    put_count(c, number_in(o, "examples"));
    put_count(c, number_in(o, "learnt"));
    put_score(c, score_in(o, "sorted"));
    put_score(c, score_in(o, "correct"));
    put_score(c, score_in(o, "gold"));
}

void show_pools(results *all)
{
    enum { BRANCHES = 2, VERSIONS = 4 };
    static const char *const arms[BRANCHES][VERSIONS] = {{"pool-1", "own-2", "own-3", "own-4"},
                                                         {"pool-1", "pool-2", "pool-3", "pool-4"}},
                             *const names[] = {"the newest version's samples", "the best over all versions"},
                             *const columns[] = {"version",       "learns from",      "different examples",
                                                 "learnt in all", "numbers in order", "right, of all",
                                                 "gold score"};
    static const double x[VERSIONS] = {1, 2, 3, 4};
    const json_t *back = result_of(all, "back-5"), *first = result_of(all, "pool-1"), *lost = result_of(all, "own-4"),
                 *kept = result_of(all, "pool-4");
    char version[8];
    cells table = {.n = 0};
    double y[BRANCHES][VERSIONS], low[BRANCHES][VERSIONS], high[BRANCHES][VERSIONS];
    plot_series lines[BRANCHES];
    report_section(
        all->r, "Samples of all versions against the newest one's",
        "Four versions by rejection sampling, with the same reward models. The prompts of the first ask for "
        "everything, those of the others never to put numbers in order. Each is fine-tuned from the version "
        "before, on the best of its own samples or on the best over all versions. V5 goes on from the former "
        "branch, with the samples of all its versions. The newest samples alone are fewer; they are passed over more "
        "often, so "
        "that about as many examples are learnt in both branches (see the table). "
        "Expected: the ability is lost, and comes back; with all versions it stays.");
    for (int b = 0; b < BRANCHES; b++) {
        for (int v = 0; v < VERSIONS; v++) {
            const json_t *o = result_of(all, arms[b][v]);
            rate q = score_in(o, "sorted");
            y[b][v] = q.mean, low[b][v] = q.low, high[b][v] = q.high;
            snprintf(version, sizeof version, "V%d", v + 1);
            pool_row(&table, version, names[b], o);
        }
        lines[b] =
            (plot_series){.name = names[b], .x = x, .y = y[b], .low = low[b], .high = high[b], .count = VERSIONS};
    }
    pool_row(&table, "V5, behind V4 of the former", names[1], back);
    cells_show(&table, all->r, "pools", "Answers to held-out prompts, by the gold judge.", columns, 7);
    report_add_series(
        all->r, REPORT_LINES, "pools_sorted",
        "The paper (3.2.3): V3, from V2's samples alone, had lost how to write rhyming lines; with the best "
        "samples of all versions it came back. It has no figure of it. Expected here: lost with the newest samples "
        "alone, kept with all.",
        &(plot_options){
            .title = "Numbers put in the right order", .x_label = "version", .y_label = "share", .share = true},
        lines, BRANCHES);
    add_trend(all, "an ability that the newest prompts do not ask for is lost with their samples alone: V4 against V1",
              "lost (3.2.3)", TREND_FALLS, "points", difference(score_in(lost, "sorted"), score_in(first, "sorted")));
    add_trend(all, "it is higher with the samples of all versions, about as many learnt: V4", "not lost (3.2.3)",
              TREND_RISES, "points", difference(score_in(kept, "sorted"), score_in(lost, "sorted")));
    add_trend(all, "it is higher with the samples of all versions: V5 against V4 with its own alone",
              "came back (3.2.3)", TREND_RISES, "points",
              difference(score_in(back, "sorted"), score_in(lost, "sorted")));
}

/* --- at the same distance ---------------------------------------------------------------------- */

enum { POINTS = 5 };

/* The gold score where a method's path has gone so far, between the two models beside it; the first is the SFT model.
 */
static double gold_at(const double *x, const double *y, size_t n, double distance)
{
    size_t i = 1;
    while (i + 1 < n && x[i] < distance) i++;
    double share = x[i] > x[i - 1] ? (distance - x[i - 1]) / (x[i] - x[i - 1]) : 1;
    return y[i - 1] + share * (y[i] - y[i - 1]);
}

void show_distance(results *all)
{
    static const char *const arms[2][POINTS - 1] = {{"pool-1", "pool-2", "pool-3", "pool-4"},
                                                    {"ppo-8", "ppo-16", "ppo-32", NULL}},
                                              *const names[] = {"rejection sampling", "PPO"},
                                              *const columns[] = {"method", "KL to the SFT model", "gold score",
                                                                  "right",  "helpfulness score",   "safety score"};
    cells table = {.n = 0};
    double x[2][POINTS], y[2][POINTS], low[2][POINTS], high[2][POINTS], furthest[2] = {0, 0};
    size_t n[2] = {1, 1};
    plot_series lines[2];
    report_section(
        all->r, "Rejection sampling and PPO at the same distance",
        "Both begin as the SFT model and have the same reward models: four versions on the samples of all "
        "versions, as above; 8, 16 and 32 iterations of PPO. A path that gains more for the same divergence "
        "makes better use of the reward models. They are compared at the smaller of the two furthest distances, "
        "between the points beside it. Expected: PPO is ahead where it has as much data.");
    const rate sft = score_in(result_of(all, "ppo-0"), "gold");
    for (int m = 0; m < 2; m++) {
        x[m][0] = 0, y[m][0] = sft.mean, low[m][0] = sft.low, high[m][0] = sft.high;
        for (int i = 0; i < POINTS - 1 && arms[m][i]; i++) {
            const json_t *o = result_of(all, arms[m][i]);
            rate gold_score = score_in(o, "gold");
            double kl = number_in(o, "kl");
            cells_put(&table, "%s, %s", names[m], arms[m][i]);
            cells_put(&table, "%.2f", kl);
            put_score(&table, gold_score);
            put_score(&table, score_in(o, "correct"));
            put_score(&table, score_in(o, "helpful"));
            put_score(&table, score_in(o, "safety"));
            x[m][n[m]] = sqrt(fmax(0, kl));
            y[m][n[m]] = gold_score.mean, low[m][n[m]] = gold_score.low, high[m][n[m]] = gold_score.high;
            furthest[m] = fmax(furthest[m], x[m][n[m]]);
            n[m]++;
        }
        lines[m] = (plot_series){.name = names[m], .x = x[m], .y = y[m], .low = low[m], .high = high[m], .count = n[m]};
    }
    cells_show(&table, all->r, "distance",
               "Answers to held-out prompts, by the gold judge and by the reward models that were learnt from; KL in "
               "nats a response, as measured on these answers. Proxy against gold: where the scores go on rising and "
               "the gold score does not, the reward models are exploited.",
               columns, 6);
    report_add_series(all->r, REPORT_LINES, "distance_gold",
                      "The paper has no figure of it. Expected here: PPO is ahead.",
                      &(plot_options){.title = "Gold score over the distance from the SFT model",
                                      .x_label = "square root of the KL (nats a response)",
                                      .y_label = "gold score"},
                      lines, 2);
    rate at[2];
    for (int m = 0; m < 2; m++) {
        double distance = fmin(furthest[0], furthest[1]);
        at[m] = (rate){gold_at(x[m], y[m], n[m], distance), gold_at(x[m], low[m], n[m], distance),
                       gold_at(x[m], high[m], n[m], distance)};
        report_add_number(all->r, m == 0 ? "matched/rejection" : "matched/ppo", at[m].mean);
    }
    add_trend(all, "PPO gains more than rejection sampling at the same distance", "not stated", TREND_RISES,
              "of the gold score", difference(at[1], at[0]));
}
