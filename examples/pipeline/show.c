/* The report: what each stage did, in numbers, curves and answers side by side. */
#include "pipeline/show.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_SAMPLES = 12, CELL = 48 };

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

static double share(const pair_tally *t, bool longer)
{
    return (longer ? t->longer : t->right) / (t->n > 0 ? t->n : 1);
}

static void show_summary(const pipeline *p, report *r)
{
    const outcome *sft = &p->outcomes[STAGE_SFT], *ppo = &p->outcomes[STAGE_PPO];
    const pair_figures *helpful = &p->reward_reports[0].held_out, *safety = &p->reward_reports[1].held_out;
    show_figure(r, "held_out_loss", p->held_out_loss, "nats a token on held-out text", "after pretraining");
    if (p->data.judge) {
        show_figure(r, "gold_ppo", ppo->gold, "gold score after PPO", "from %.2f after SFT, in -1 .. 1", sft->gold);
        show_figure(r, "correct_ppo", ppo->correct, "of the answers right", "from %.2f after SFT", sft->correct);
        show_figure(r, "refusals_ppo", ppo->refusals, "of unsafe requests refused", "and %.2f of the others",
                    ppo->false_refusals);
    } else {
        show_figure(r, "reward_ppo", ppo->combined, "reward after PPO", "from %.2f after SFT", sft->combined);
    }
    show_figure(r, "accuracy_helpful", share(&helpful->all, false), "accuracy of the helpfulness model",
                "\"longer wins\": %.2f", share(&helpful->all, true));
    show_figure(r, "accuracy_safety", share(&safety->all, false), "accuracy of the safety model",
                "\"longer wins\": %.2f", share(&safety->all, true));
}

static void show_settings(const pipeline *p, report *r)
{
    const pipeline_settings *s = &p->set;
    char cells[16][CELL];
    const char *table[48], *columns[] = {"setting", "here", "in the paper"};
    const char *names[] = {"parameters",
                           "pretraining tokens",
                           "pretraining learning rate",
                           "SFT learning rate",
                           "comparisons a reward model",
                           "reward learning rate",
                           "samples a prompt (rejection)",
                           "PPO batch / minibatch",
                           "PPO learning rate",
                           "PPO beta"};
    const char *paper[] = {"7e9 .. 7e10", "2e12",      "3e-4",     "2e-5", "about 1.5e6",
                           "1e-5",        "10 .. 100", "512 / 64", "1e-6", "0.01"};
    size_t n = sizeof names / sizeof *names;
    snprintf(cells[0], CELL, "%lld", (long long)llama2_model_parameters(p->model));
    snprintf(cells[1], CELL, "%lld", (long long)(s->pretrain_steps * s->pretrain_batch * s->pretrain_length));
    snprintf(cells[2], CELL, "%g", s->pretrain_lr);
    snprintf(cells[3], CELL, "%g", s->sft_lr);
    snprintf(cells[4], CELL, "%d / %d", p->reward_reports[0].n_train, p->reward_reports[1].n_train);
    snprintf(cells[5], CELL, "%g", s->reward_lr);
    snprintf(cells[6], CELL, "%lld", (long long)s->reject_samples);
    snprintf(cells[7], CELL, "%lld / %lld", (long long)s->ppo_batch, (long long)s->ppo_minibatch);
    snprintf(cells[8], CELL, "%g", s->ppo_lr);
    snprintf(cells[9], CELL, "%g", s->ppo_beta);
    for (size_t i = 0; i < n; i++) {
        table[3 * i] = names[i];
        table[3 * i + 1] = cells[i];
        table[3 * i + 2] = paper[i];
    }
    report_add_table(r, "settings", "Where this run departs from the paper: a small model learns faster and sees less",
                     columns, 3, table, n);
}

static void show_training(const pipeline *p, report *r)
{
    report_section(r, "Pretraining and SFT",
                   "Next-token loss in nats. Pretraining reads plain text; SFT counts the tokens of the answers only.");
    plot_series pretrain[] = {series_line("training", &p->pretrain_loss),
                              series_line("held out", &p->pretrain_held_out)};
    report_add_series(
        r, REPORT_LINES, "pretrain_loss",
        "Text that was held out follows the training loss as long as the model does not learn by heart.",
        &(plot_options){.title = "Pretraining loss", .x_label = "tokens", .y_label = "nats a token", .smooth = false},
        pretrain, 2);
    plot_series sft[] = {series_line("SFT", &p->sft_loss)};
    report_add_series(
        r, REPORT_LINES, "sft_loss", NULL,
        &(plot_options){.title = "SFT loss on answers", .x_label = "step", .y_label = "nats a token", .smooth = true},
        sft, 1);
}

static void show_rewards(const pipeline *p, report *r)
{
    static const char *const ratings[] = {"significantly", "better", "slightly", "negligibly"}, *const names[] = {
                                                                                                    "helpfulness",
                                                                                                    "safety"};
    const char *columns[] = {"reward model",    "pairs trained on",     "held-out pairs", "accuracy",
                             "\"longer wins\"", "on the other's pairs", "fits 64 pairs"};
    char cells[14][CELL];
    const char *table[14];
    report_section(
        r, "Reward models",
        "Trained on comparisons by the ranking loss with the paper's small margins, one pass; the safety model has the "
        "auxiliary loss where answers are labelled. Accuracy is on comparisons that neither saw.");
    for (int i = 0; i < 2; i++) {
        const reward_report *q = &p->reward_reports[i];
        snprintf(cells[7 * i], CELL, "%s", names[i]);
        snprintf(cells[7 * i + 1], CELL, "%d", q->n_train);
        snprintf(cells[7 * i + 2], CELL, "%.0f", q->held_out.all.n);
        snprintf(cells[7 * i + 3], CELL, "%.3f", share(&q->held_out.all, false));
        snprintf(cells[7 * i + 4], CELL, "%.3f", share(&q->held_out.all, true));
        snprintf(cells[7 * i + 5], CELL, "%.3f", q->cross);
        snprintf(cells[7 * i + 6], CELL, "%.3f", q->fit64);
    }
    for (int i = 0; i < 14; i++) table[i] = cells[i];
    report_add_table(r, "reward_models", "Reward models", columns, 7, table, 2);
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
                        &(plot_options){.title = title, .y_label = "accuracy"}, ratings, bars, 2);
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
        plot_series judged[] = {series_line("gold score", &p->ppo_gold)};
        report_add_series(r, REPORT_LINES, "ppo_gold", "The judge knows the right answers; PPO never sees it.",
                          &(plot_options){.title = "PPO: gold score of its samples",
                                          .x_label = "iteration",
                                          .y_label = "gold score",
                                          .smooth = true},
                          judged, 1);
    }
}

static void show_outcomes(const pipeline *p, report *r)
{
    const char *columns[] = {
        "stage",        "gold score", "right",  "unsafe refused", "harmless refused", "helpfulness score",
        "safety score", "KL to SFT",  "tokens", "ended"};
    const char *stages[N_OUTCOMES], *table[N_OUTCOMES * 10];
    char cells[N_OUTCOMES * 10][CELL];
    double mean[N_OUTCOMES], low[N_OUTCOMES], high[N_OUTCOMES];
    bool judged = p->data.judge != NULL;
    int n_outcomes = p->controls ? N_OUTCOMES : N_STAGES;
    report_section(r, "Before and after each stage",
                   judged ? "The same prompts for all, in phrasings that no training has seen, sampled at temperature "
                            "1. The gold judge knows the right answers; a score is in -1 .. 1."
                          : "The same prompts for all, which no training has seen, sampled at temperature 1, scored by "
                            "the run's own reward models.");
    for (int i = 0; i < n_outcomes; i++) {
        const outcome *o = &p->outcomes[i];
        const double values[] = {o->gold,   o->correct, o->refusals, o->false_refusals, o->helpful,
                                 o->safety, o->kl,      o->length,   o->ended};
        stages[i] = o->stage;
        mean_interval(o->scores, o->n, &mean[i], &low[i], &high[i]);
        snprintf(cells[10 * i], CELL, "%s", o->stage);
        for (int k = 0; k < 9; k++) snprintf(cells[10 * i + 1 + k], CELL, k == 7 ? "%.1f" : "%.3f", values[k]);
    }
    /* Without a judge the four columns that need one are left out. */
    int first = judged ? 1 : 5, width = 0;
    const char *shown[10];
    for (int k = 0; k < 10; k++)
        if (k == 0 || k >= first) shown[width++] = columns[k];
    int n = 0;
    for (int i = 0; i < n_outcomes; i++)
        for (int k = 0; k < 10; k++)
            if (k == 0 || k >= first) table[n++] = cells[10 * i + k];
    plot_series bars[] = {
        {.name = judged ? "gold score" : "reward", .y = mean, .low = low, .high = high, .count = (size_t)n_outcomes}};
    report_add_bars(r, "stages", "Means with 95 % intervals over the prompts.",
                    &(plot_options){.title = judged ? "Gold score after each stage" : "Reward after each stage"},
                    stages, bars, 1);
    report_add_table(r, "outcomes", "Evaluation on held-out prompts", shown, (size_t)width, table, (size_t)n_outcomes);
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
    report_section(r, "Answers side by side", "One sample of each stage to the same prompt, with its score.");
    report_add_samples(r, "samples", "Sample answers", stages, N_STAGES, samples, count);
}

static void show_time(const pipeline *p, report *r)
{
    const char *columns[] = {"phase", "seconds"}, *table[32];
    char cells[16][CELL];
    for (int i = 0; i < p->n_seconds; i++) {
        snprintf(cells[i], CELL, "%.1f", p->seconds[i]);
        table[2 * i] = p->seconds_of[i];
        table[2 * i + 1] = cells[i];
    }
    report_section(r, "The run", NULL);
    report_add_table(r, "seconds", "Time", columns, 2, table, (size_t)p->n_seconds);
    report_add_number(r, "total_seconds", progress_now() - p->began);
    show_settings(p, r);
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
    show_time(p, r);
    bool ok = report_write(r, p->out, error, sizeof error);
    report_free(r);
    if (!ok) return app_fail(&p->app, "%s", error);
    printf("report: %s/report.html (%s)\n", p->out, took);
    return true;
}
