/* llama2-pipeline: from raw text to PPO in one run, with a report. */
#include "pipeline/pipeline.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static llama2_context *interrupted;

static void on_signal(int number)
{
    (void)number;
    llama2_context_cancel(interrupted);
}

static bool open_run(pipeline *p)
{
    llama2_context_options o;
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = (int32_t)p->args.threads;
    o.seed = p->args.seed;
    if (llama2_context_create(&o, &p->ctx) < 0) return false;
    interrupted = p->ctx;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    return true;
}

static void close_run(pipeline *p)
{
    for (int i = 0; i < N_OUTCOMES; i++) {
        for (size_t k = 0; p->outcomes[i].answers && k < p->outcomes[i].n; k++) free(p->outcomes[i].answers[k]);
        free(p->outcomes[i].answers);
        free(p->outcomes[i].index);
        free(p->outcomes[i].scores);
    }
    series *all[] = {&p->pretrain_loss, &p->pretrain_held_out, &p->sft_loss, &p->reward_loss[0], &p->reward_loss[1], &p->reject_loss, &p->ppo_score, &p->ppo_kl, &p->ppo_gold, &p->best_of};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]->x);
        free(all[i]->y);
    }
    llama2_pool_free(p->pool);
    llama2_reward_model_free(p->rewards[0]);
    llama2_reward_model_free(p->rewards[1]);
    llama2_model_free(p->reference);
    llama2_model_free(p->base);
    llama2_model_free(p->model);
    data_free(&p->data);
    llama2_context_free(p->ctx);
}

static bool run_stages(pipeline *p)
{
    return llama2_model_create(p->ctx, &p->set.config, NULL, &p->model) >= 0 && stage_pretrain(p) && stage_sft(p) && stage_rewards(p) &&
           evaluate(p, p->base, STAGE_PRETRAINED, "pretrained") && evaluate(p, p->reference, STAGE_SFT, "SFT") && stage_rejection(p) &&
           evaluate(p, p->model, STAGE_REJECTION, "rejection sampling") && stage_ppo(p) && evaluate(p, p->model, STAGE_PPO, "PPO") && (!p->controls || stage_controls(p));
}

static bool save_model(pipeline *p)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/model", p->out);
    if (llama2_model_save(p->model, path, LLAMA2_F32) < 0 || llama2_tokenizer_save(p->data.tokenizer, path) < 0) return false;
    static const char *const names[] = {"reward-helpful", "reward-safety"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", p->out, names[i]);
        if (llama2_reward_model_save(p->rewards[i], path, LLAMA2_F32) < 0) return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    const char *data = NULL, *out = "out";
    pipeline p = {.began = progress_now()};
    const args_option options[] = {
        {"data", ARGS_TEXT, &data, "DIR", "folder of texts, demonstrations and comparisons (docs/formats.md); without: the embedded world", 0, 0},
        {"out", ARGS_TEXT, &out, "DIR", "where report.html, report.json, metrics.jsonl and the models go (default: out)", 0, 0},
        {"controls", ARGS_FLAG, &p.controls, NULL, "also SFT for as long again, and the chain with reward models trained on shuffled preferences", 0, 0},
        {0},
    };
    const args_program program = {"llama2-pipeline", "Pretraining, SFT, two reward models, rejection sampling and PPO in one run, with a report.", "[--data DIR] [--out DIR] [--controls]", options, 0, 0, NULL};
    char error[4096] = "", path[4096];
    int status = args_parse(&program, &p.args, argc, argv);
    if (status != ARGS_GO) return status;
    p.program = &program;
    p.out = out;
    if (!open_run(&p)) return args_failed(&program, "cannot begin");
    bool ok = data ? data_from_files(p.ctx, data, p.args.seed, &p.data, &p.set, error, sizeof error) : data_from_world(p.ctx, p.args.seed, &p.data, &p.set, error, sizeof error);
    if (!ok) return args_error(&program, "%s", error);
    mkdir(out, 0777);
    snprintf(path, sizeof path, "%s/metrics.jsonl", out);
    p.metrics = jsonl_create(path, false, error, sizeof error);
    if (!p.metrics) return args_error(&program, "%s", error);
    ok = run_stages(&p) && save_model(&p);
    if (!jsonl_finish(p.metrics)) return args_error(&program, "%s could not be written", path);
    status = !ok ? args_failed(&program, "stopped") : write_report(&p) ? ARGS_OK : ARGS_FAILED;
    close_run(&p);
    return status;
}
