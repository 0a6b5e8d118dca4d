/* The report: what each stage did, in numbers, curves and answers side by side. */
#include "pipeline/show_departures.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_SAMPLES = 12 };

plot_series series_line(const char *name, const series *s)
{
    return (plot_series){.name = name, .x = s->x, .y = s->y, .count = s->n};
}

void show_figure(report *r, const char *name, double value, const char *label, const char *format, ...)
{
    char shown[32], note[128];
    va_list args;
    va_start(args, format);
    vsnprintf(note, sizeof note, format, args);
    va_end(args);
    snprintf(shown, sizeof shown, "%.2f", value);
    report_add_figure(r, name, value, shown, label, note);
}

void show_numbers(report *r, const char *name, const json_t *value)
{
    const char *key;
    json_t *child;
    char path[256];
    if (json_is_number(value)) report_add_number(r, name, json_number_value(value));
    json_object_foreach((json_t *)(uintptr_t)value, key, child)
    {
        snprintf(path, sizeof path, "%s/%s", name, key);
        show_numbers(r, path, child);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        snprintf(path, sizeof path, "%s/%zu", name, i);
        show_numbers(r, path, json_array_get(value, i));
    }
}

rate difference(rate a, rate b)
{
    double mean = a.mean - b.mean;
    return (rate){mean, mean - hypot(a.mean - a.low, b.high - b.mean), mean + hypot(a.high - a.mean, b.mean - b.low)};
}

void put_score(cells *c, rate x)
{
    if (isfinite(x.mean))
        cells_put(c, "%.2f (%.2f to %.2f)", x.mean, x.low, x.high);
    else
        cells_put(c, "-");
}

void show_trend(cells *c, const char *what, const char *paper, const char *expected, trend_sign sign, rate gain,
                const char *unit)
{
    cells_put(c, "%s", what);
    cells_put(c, "%s", paper);
    cells_put(c, "%s", expected);
    trend_put(c, gain.mean, gain.low, gain.high, unit);
    cells_put(c, "%s", trend_verdict(sign, gain.mean, gain.low, gain.high));
}

static double share(const pair_tally *t, bool longer)
{
    return (longer ? t->longer : t->right) / (t->n > 0 ? t->n : 1);
}

static void show_summary(const pipeline *p, report *r)
{
    const outcome *sft = &p->outcomes[STAGE_SFT], *ppo = &p->outcomes[STAGE_PPO];
    const pair_figures *helpful = &p->reward_reports[0].held_out, *safety = &p->reward_reports[1].held_out;
    show_figure(r, "held_out_loss", p->held_out_loss, "nats a token on held-out text",
                "an interpolated bigram model has %.2f", p->bigram_loss);
    report_add_number(r, "bigram_loss", p->bigram_loss);
    report_add_number(r, "fits_64_helpful", p->reward_reports[0].fit64);
    report_add_number(r, "fits_64_safety", p->reward_reports[1].fit64);
    report_add_number(r, "longer_wins_helpful", share(&helpful->all, true));
    report_add_number(r, "longer_wins_safety", share(&safety->all, true));
    if (p->data.judge) {
        show_figure(r, "gold_ppo", ppo->gold, "gold score after PPO", "from %.2f after SFT, in -1 .. 1", sft->gold);
        show_figure(r, "correct_ppo", ppo->correct, "share of answers right", "from %.2f after SFT", sft->correct);
        show_figure(r, "refusals_ppo", ppo->refusals, "share of unsafe requests refused", "and %.2f of the others",
                    ppo->false_refusals);
    } else {
        show_figure(r, "reward_ppo", ppo->combined, "reward after PPO", "from %.2f after SFT", sft->combined);
    }
    show_figure(r, "accuracy_helpful", share(&helpful->all, false), "accuracy of the helpfulness model",
                "\"longer wins\": %.2f", share(&helpful->all, true));
    show_figure(r, "accuracy_safety", share(&safety->all, false), "accuracy of the safety model",
                "\"longer wins\": %.2f", share(&safety->all, true));
}

static void show_training(const pipeline *p, report *r)
{
    report_section(r, "Pretraining and SFT",
                   "Next-token loss in nats. Pretraining reads plain text; SFT counts the tokens of the answers only.");
    plot_series pretrain[] = {series_line("training", &p->pretrain_loss),
                              series_line("held out", &p->pretrain_held_out)};
    report_add_series(
        r, REPORT_LINES, "pretrain_loss",
        "Text that was held out follows the training loss as long as the model does not learn by heart. The dashed "
        "line: what counting pairs of neighbouring tokens comes to, with weights that suit the held-out text best.",
        &(plot_options){.title = "Pretraining loss",
                        .x_label = "tokens",
                        .y_label = "nats a token",
                        .level = isfinite(p->bigram_loss) ? p->bigram_loss : 0},
        pretrain, 2);
    plot_series sft[] = {series_line("SFT", &p->sft_loss)};
    report_add_series(
        r, REPORT_LINES, "sft_loss", NULL,
        &(plot_options){.title = "SFT loss on answers", .x_label = "step", .y_label = "nats a token", .smooth = true},
        sft, 1);
}

/* With its interval over pairs. */
static void put_share(cells *c, const pair_tally *t, bool longer)
{
    put_score(c, share_rate(share(t, longer), t->n > 0 ? t->n : 1));
}

static void show_rewards(const pipeline *p, report *r)
{
    static const char *const ratings[] = {"significantly", "better", "slightly", "negligibly"}, *const names[] = {
                                                                                                    "helpfulness",
                                                                                                    "safety"};
    const char *columns[] = {"reward model",    "pairs trained on",     "held-out pairs", "accuracy",
                             "\"longer wins\"", "on the other's pairs", "fits 64 pairs"};
    cells table = {.n = 0};
    report_section(
        r, "Reward models",
        "Trained on comparisons by the ranking loss with the paper's small margins, one pass; the safety model has the "
        "auxiliary loss where answers are labelled. Accuracy is on comparisons that neither saw.");
    for (int i = 0; i < 2; i++) {
        const reward_report *q = &p->reward_reports[i];
        cells_put(&table, "%s", names[i]);
        cells_put(&table, "%d", q->n_train);
        cells_put(&table, "%.0f", q->held_out.all.n);
        put_share(&table, &q->held_out.all, false);
        put_share(&table, &q->held_out.all, true);
        cells_put(&table, "%.2f", q->cross);
        cells_put(&table, "%.2f", q->fit64);
    }
    cells_show(&table, r, "reward_models", NULL, columns, 7);
    for (int i = 0; i < 2; i++) {
        const pair_figures *f = &p->reward_reports[i].held_out;
        double model[4], longer[4];
        if (f->by_rating[4].n == f->all.n) continue;
        for (int k = 0; k < 4; k++) {
            model[k] = share(&f->by_rating[k], false);
            longer[k] = share(&f->by_rating[k], true);
        }
        char key[48], title[64];
        snprintf(key, sizeof key, "accuracy_by_rating_%s", names[i]);
        snprintf(title, sizeof title, "Accuracy by degree of preference: %s", names[i]);
        plot_series bars[] = {{.name = "reward model", .y = model, .count = 4},
                              {.name = "longer wins", .y = longer, .count = 4}};
        report_add_bars(r, key, "The surer the annotator, the easier the comparison (the paper's table 8).",
                        &(plot_options){.title = title, .y_label = "accuracy", .share = true}, ratings, bars, 2);
    }
    plot_series losses[] = {series_line("helpfulness", &p->reward_loss[0]), series_line("safety", &p->reward_loss[1])};
    report_add_series(r, REPORT_LINES, "reward_loss", NULL,
                      &(plot_options){.title = "Loss of the reward models", .x_label = "step", .smooth = true}, losses,
                      2);
}

static void show_alignment(const pipeline *p, report *r)
{
    report_section(r, "Rejection sampling and PPO",
                   "The combined reward of the paper: the safety model's score where the prompt is about safety or the "
                   "answer looks unsafe, else the helpfulness model's.");
    plot_series best[] = {series_line("mean of the best", &p->best_of)};
    report_add_series(r, REPORT_LINES, "best_of_n",
                      "The best of more samples has a higher reward (the paper's figure 7).",
                      &(plot_options){.title = "Reward of the best of N samples",
                                      .x_label = "samples a prompt",
                                      .y_label = "reward",
                                      .log_x = true},
                      best, 1);
    plot_series reward[] = {series_line("reward", &p->ppo_score)};
    report_add_series(r, REPORT_LINES, "ppo_reward", NULL,
                      &(plot_options){.title = "PPO: reward of its samples",
                                      .x_label = "iteration",
                                      .y_label = "mean raw reward",
                                      .smooth = true},
                      reward, 1);
    plot_series kl[] = {series_line("KL", &p->ppo_kl)};
    report_add_series(r, REPORT_LINES, "ppo_kl", "How far the policy has gone from the SFT model.",
                      &(plot_options){.title = "PPO: KL to the SFT model",
                                      .x_label = "iteration",
                                      .y_label = "nats a response",
                                      .from_zero = true,
                                      .smooth = true},
                      kl, 1);
    if (p->ppo_gold.n > 0) {
        plot_series gold_line[] = {series_line("gold score", &p->ppo_gold)};
        report_add_series(r, REPORT_LINES, "ppo_gold", "The judge knows the right answers; PPO never sees it.",
                          &(plot_options){.title = "PPO: gold score of its samples",
                                          .x_label = "iteration",
                                          .y_label = "gold score",
                                          .smooth = true},
                          gold_line, 1);
    }
}

static void show_outcomes(const pipeline *p, report *r)
{
    const char *columns[10] = {"stage"}, *stages[N_OUTCOMES],
               *const judge_columns[] = {"gold score", "right", "unsafe refused", "harmless refused, how-to included"},
               *const score_columns[] = {"helpfulness score, all prompts", "safety score, all prompts", "KL to SFT",
                                         "tokens", "ended"};
    cells table = {.n = 0};
    double mean[N_OUTCOMES], low[N_OUTCOMES], high[N_OUTCOMES];
    bool by_judge = p->data.judge != NULL; /* without one the four columns that need it are left out */
    int n_outcomes = p->controls ? N_OUTCOMES : N_STAGES;
    size_t width = 1;
    report_section(r, "Before and after each stage",
                   by_judge
                       ? "The same prompts for all, in phrasings that no training has seen, sampled at temperature "
                         "1. The gold judge knows the right answers; a score is in -1 .. 1."
                       : "The same prompts for all, which no training has seen, sampled at temperature 1, scored "
                         "by the run's own reward models.");
    for (int k = 0; by_judge && k < 4; k++) columns[width++] = judge_columns[k];
    for (int k = 0; k < 5; k++) columns[width++] = score_columns[k];
    for (int i = 0; i < n_outcomes; i++) {
        const outcome *o = &p->outcomes[i];
        const double says[] = {o->gold, o->correct, o->refusals, o->false_refusals};
        stages[i] = o->stage;
        mean_interval(o->scores, o->n, &mean[i], &low[i], &high[i]);
        cells_put(&table, "%s", o->stage);
        for (int k = 0; by_judge && k < 4; k++) cells_put(&table, "%.3f", says[k]);
        cells_put(&table, "%.2f", o->helpful);
        cells_put(&table, "%.2f", o->safety);
        cells_put(&table, "%.2f", o->kl);
        cells_put(&table, "%.1f", o->length);
        cells_put(&table, "%.3f", o->ended);
    }
    plot_series bars[] = {
        {.name = by_judge ? "gold score" : "reward", .y = mean, .low = low, .high = high, .count = (size_t)n_outcomes}};
    report_add_bars(r, "stages", "Means with 95 % intervals over the prompts.",
                    &(plot_options){.title = by_judge ? "Gold score after each stage" : "Reward after each stage",
                                    .y_label = by_judge ? "gold score" : "raw reward"},
                    stages, bars, 1);
    cells_show(&table, r, "outcomes", "Evaluation on held-out prompts.", columns, width);
}

static void show_samples(const pipeline *p, report *r)
{
    const char *stages[N_STAGES], *answers[SHOWN_SAMPLES][N_STAGES];
    double scores[SHOWN_SAMPLES][N_STAGES];
    report_sample samples[SHOWN_SAMPLES];
    size_t n = p->outcomes[0].n, count = n < SHOWN_SAMPLES ? n : SHOWN_SAMPLES;
    for (size_t i = 0; i < count; i++) {
        size_t k = i * (n / count) + i % (n / count > 0 ? n / count : 1);
        const record *prompt = p->evaluation.of[k];
        for (int s = 0; s < N_STAGES; s++) {
            answers[i][s] = p->outcomes[s].answers[k];
            scores[i][s] = p->outcomes[s].scores[k];
            stages[s] = p->outcomes[s].stage;
        }
        samples[i] = (report_sample){prompt->texts[prompt->n_messages - 1], prompt->is_safety ? "safety" : NULL,
                                     answers[i], scores[i]};
    }
    report_section(r, "Answers side by side",
                   "One sample of each stage to the same prompt, with its score. The prompts stand at even distances "
                   "in the list of all: "
                   "they are not picked.");
    report_add_samples(r, "samples", NULL, stages, N_STAGES, samples, count);
}

static void show_seconds(const pipeline *p, report *r)
{
    const char *columns[] = {"phase", "seconds"};
    cells table = {.n = 0};
    for (int i = 0; i < p->n_seconds; i++) {
        cells_put(&table, "%s", p->seconds_of[i]);
        cells_put(&table, "%.1f", p->seconds[i]);
    }
    report_section(r, "Time", NULL);
    cells_show(&table, r, "seconds", NULL, columns, 2);
    report_add_number(r, "total_seconds", progress_now() - p->began);
}

bool write_report(pipeline *p)
{
    char subtitle[256], error[512], took[32];
    progress_duration(progress_now() - p->began, took, sizeof took);
    snprintf(subtitle, sizeof subtitle, "%s, %lld parameters, seed %llu, %s; libllama2 %s (%s)", p->data.name,
             (long long)llama2_model_parameters(p->model), (unsigned long long)p->app.args.seed, took, llama2_version(),
             llama2_context_describe(p->app.ctx));
    report *r = report_create("From raw text to PPO", subtitle);
    if (!r) return app_fail(&p->app, "out of memory");
    show_summary(p, r);
    show_outcomes(p, r);
    show_samples(p, r);
    show_training(p, r);
    show_rewards(p, r);
    show_alignment(p, r);
    show_chain_departures(p, r);
    show_seconds(p, r);
    bool ok = report_write(r, p->out, error, sizeof error);
    report_free(r);
    if (!ok) return app_fail(&p->app, "%s", error);
    printf("report: %s/report.html (%s)\n", p->out, took);
    return true;
}
