/* The report of the loop: PPO on top of the last version. */
#include "pipeline/show_loop.h"

#include <math.h>
#include <stdlib.h>

enum { PPO_SERIES = 11 };

/* half: of the 95 % interval of each point; NULL: there is none. */
static void add_line(report *r, const char *key, const char *caption, const char *title, const char *y, bool from_zero,
                     const series *s, const series *half)
{
    curve c = {{0}, {0}, {0}};
    for (size_t i = 0; half && i < s->n && i < half->n; i++) curve_add(&c, s->x[i], s->y[i], half->y[i]);
    plot_series one[] = {half ? curve_line(title, &c) : series_line(title, s)};
    report_add_series(
        r, REPORT_LINES, key, caption,
        &(plot_options){.title = title, .x_label = "iteration", .y_label = y, .from_zero = from_zero, .smooth = true},
        one, 1);
    curve_free(&c);
}

/* --- proxy and judge ------------------------------------------------------------------------- */

static double deviation(const double *values, size_t n)
{
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; i++) mean += values[i] / (double)n;
    for (size_t i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
    return sqrt(squares / (double)(n > 1 ? n - 1 : 1));
}

typedef struct place {
    double x, y;
} place;

static int by_distance(const void *a, const void *b)
{
    double x = ((const place *)a)->x, y = ((const place *)b)->x;
    return (x > y) - (x < y);
}

/* Means of as many iterations each, by distance. half: of the interval of the first iteration, from which all gains
 * are; a band has that and the spread of its iterations. */
static void binned(const series *distance, const series *gain, double half, curve *out)
{
    enum { BINS = 8 };
    size_t n = distance->n < gain->n ? distance->n : gain->n, bins = n / 3 < BINS ? n / 3 : BINS;
    place *all = app_must(malloc((n + 1) * sizeof *all));
    double *x = app_must(malloc((n + 1) * sizeof *x)), *y = app_must(malloc((n + 1) * sizeof *y)), mean[2], low, high;
    for (size_t i = 0; i < n; i++) all[i] = (place){distance->y[i], gain->y[i]};
    qsort(all, n, sizeof *all, by_distance);
    for (size_t b = 0; b < bins; b++) {
        size_t first = b * n / bins, count = (b + 1) * n / bins - first;
        for (size_t i = 0; i < count; i++) x[i] = all[first + i].x, y[i] = all[first + i].y;
        mean_interval(x, count, &mean[0], &low, &high);
        mean_interval(y, count, &mean[1], &low, &high);
        curve_add(out, mean[0], mean[1], hypot(mean[1] - low, half));
    }
    free(all);
    free(x);
    free(y);
}

/* What the reward models and the judge say of PPO's samples, each against its first iteration, in deviations of what
 * they say of the answers of the model that it began with: so both can stand on one axis. */
static void show_overoptimisation(loop_report *all, const series s[PPO_SERIES])
{
    const judged *start = &all->v.all[all->v.n - 2];
    double units[2] = {deviation(start->reward, start->o.n), deviation(start->o.scores, start->o.n)};
    const series *of[2] = {&s[0], &s[2]};
    series distance = {0}, gain[2] = {{0}};
    curve c[2] = {{{0}, {0}, {0}}};
    for (size_t i = 0; i < s[1].n; i++) series_add(&distance, (double)i, sqrt(fmax(0, s[1].y[i])));
    for (int k = 0; k < 2; k++) {
        const series *half = &s[9 + k]; /* reward_half, gold_half */
        double unit = units[k] > 0 ? units[k] : 1;
        for (size_t i = 0; i < of[k]->n; i++) series_add(&gain[k], (double)i, (of[k]->y[i] - of[k]->y[0]) / unit);
        binned(&distance, &gain[k], half->n > 0 ? half->y[0] / unit : 0, &c[k]);
    }
    plot_series both[] = {curve_line("reward", &c[0]), curve_line("gold score", &c[1])};
    report_add_series(
        all->r, REPORT_LINES, "ppo_overoptimisation",
        "The paper has no figure of it (Gao et al. 2022 do: the proxy goes on rising where the gold score turns). "
        "Expected here: both rise at first. Gains since the first iteration, in standard deviations of the answers of "
        "the model that PPO begins with; means of iterations at about the same distance, with 95 % bands, which have "
        "the "
        "error of the first iteration too.",
        &(plot_options){.title = "Reward and gold score over the distance from the reference",
                        .x_label = "square root of the KL (nats a response)",
                        .y_label = "gain, in standard deviations"},
        both, 2);
    for (int k = 0; k < 2; k++) {
        series_free(&gain[k]);
        curve_free(&c[k]);
    }
    series_free(&distance);
}

/* --- which policy is kept -------------------------------------------------------------------- */

/* The first one with the highest objective: after how many iterations. */
static double kept_after(const series *objective)
{
    size_t best = 0;
    for (size_t i = 0; i < objective->n; i++)
        if (objective->y[i] > objective->y[best]) best = i;
    return objective->n > 0 ? objective->x[best] : (double)NAN;
}

static void show_held_out(loop_report *all, const series s[2])
{
    const pipeline_settings *set = &all->l->p->set;
    char caption[384];
    plot_series lines[] = {series_line("reward less beta times the KL", &s[0]), series_line("reward", &s[1])};
    snprintf(
        caption, sizeof caption,
        "On %lld prompts that PPO does not see, at the start and after each %lld iterations. The paper stops early "
        "by held-out prompts. Expected here: both rise, then no more. Kept is the policy with the highest reward less "
        "beta times the KL: that after "
        "iteration %.0f.",
        (long long)set->ppo_held_out, (long long)set->ppo_every, kept_after(&s[0]));
    report_add_number(all->r, "ppo/kept", kept_after(&s[0]));
    report_add_series(all->r, REPORT_LINES, "ppo_held_out", caption,
                      &(plot_options){.title = "On held-out prompts", .x_label = "iteration", .y_label = "raw reward"},
                      lines, 2);
}

/* What exploits a reward model shows in the texts themselves: longer, cut off, saying things again. */
static void show_texts(loop_report *all, const series *length, const series shares[3])
{
    plot_series lines[] = {series_line("distinct-2", &shares[0]), series_line("repetition", &shares[1]),
                           series_line("cut off", &shares[2])};
    report_add_series(
        all->r, REPORT_LINES, "ppo_texts",
        "On held-out prompts; no figure of the paper's. distinct-2: different pairs of neighbouring tokens, as a share "
        "of all in the answers; repetition: the share of an answer's runs of 4 tokens that it has had before; cut off: "
        "answers without an end. A policy that exploits its reward model repeats itself and comes to no end. Expected "
        "here: flat.",
        &(plot_options){.title = "Are the answers still texts?",
                        .x_label = "iteration",
                        .y_label = "share",
                        .share = true,
                        .from_zero = true},
        lines, 3);
    add_line(all->r, "ppo_length",
             "On held-out prompts; no figure of the paper's. Expected here: no longer than at the start.", "Length",
             "tokens an answer", true, length, NULL);
}

static void show_curves(loop_report *all, const series s[PPO_SERIES])
{
    report *r = all->r;
    add_line(r, "ppo_reward",
             "The paper: rising until stopped early. Expected here: rising. Bands of 95 % are over the answers of an "
             "iteration.",
             "Mean reward of its samples", "raw reward", false, &s[0], &s[9]);
    add_line(r, "ppo_kl",
             "The paper has no figure of it. Expected here: up to a few nats; far from where the reward is exploited.",
             "KL to its start", "nats a response", true, &s[1], NULL);
    add_line(r, "ppo_gold",
             "No figure of the paper's: the judge knows the right answers; PPO never sees it. Expected here: rising "
             "with the reward. Bands of 95 % are over the answers of an iteration.",
             "Gold score of its samples", "gold score", false, &s[2], &s[10]);
    show_held_out(all, &s[3]);
    show_overoptimisation(all, s);
    show_texts(all, &s[5], &s[6]);
}

bool show_ppo(loop_report *all)
{
    static const char *const keys[PPO_SERIES] = {
        "reward",          "objective/kl",    "gold",           "eval/objective", "eval/scores", "eval/response_length",
        "eval/distinct_2", "eval/repetition", "eval/truncated", "reward_half",    "gold_half"};
    const pipeline_settings *set = &all->l->p->set;
    series s[PPO_SERIES] = {{0}};
    char step[32], about[512], patience[96] = "";
    bool ok = true;
    snprintf(step, sizeof step, "ppo-%d", (int)all->l->iterations);
    for (int i = 0; ok && i < PPO_SERIES; i++) ok = read_metrics(all->l, step, "step", keys[i], &s[i]);
    if (set->ppo_patience > 0)
        snprintf(patience, sizeof patience, ", or ends when %lld measurements in a row were not better",
                 (long long)set->ppo_patience);
    snprintf(about, sizeof about,
             "The reference, and the start, is \"%s\". It takes %lld iterations%s; the policy that was best on "
             "held-out prompts is kept, be it that of "
             "the start.",
             all->v.names[all->v.n - 2], (long long)set->ppo_iterations, patience);
    if (ok) {
        report_section(all->r, "PPO on top of the last version", about);
        show_curves(all, s);
    }
    for (int i = 0; i < PPO_SERIES; i++) series_free(&s[i]);
    return ok;
}
