/* llama2-pipeline: from raw text to PPO in one run, with a report. */
#include "pipeline/ablations.h"

#include <stdio.h>
#include <stdlib.h>

static void close_run(pipeline *p)
{
    for (int i = 0; i < N_OUTCOMES; i++) outcome_free(&p->outcomes[i]);
    series *all[] = {&p->pretrain_loss, &p->pretrain_held_out, &p->sft_loss, &p->reward_loss[0], &p->reward_loss[1],
                     &p->reject_loss,   &p->ppo_score,         &p->ppo_kl,   &p->ppo_gold,       &p->best_of};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) series_free(all[i]);
    llama2_pool_free(p->pool);
    llama2_reward_model_free(p->rewards[0]);
    llama2_reward_model_free(p->rewards[1]);
    llama2_model_free(p->reference);
    llama2_model_free(p->base);
    llama2_model_free(p->model);
    prompts_close(&p->prompts);
    prompts_close(&p->evaluation);
    data_free(&p->data);
}

/* The policy as it is; so a run that ends early leaves what it had come to. */
static bool save_policy(pipeline *p)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/model", p->out);
    return llama2_model_save(p->model, path, LLAMA2_F32) >= 0 && llama2_tokenizer_save(p->data.tokenizer, path) >= 0;
}

static bool save_rewards(pipeline *p)
{
    static const char *const names[] = {"reward-helpful", "reward-safety"};
    char path[4096];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", p->out, names[i]);
        if (llama2_reward_model_save(p->rewards[i], path, LLAMA2_F32) < 0) return false;
    }
    return true;
}

/* Begun when the chain has its report, which is not lost with them. */
static bool run_controls(pipeline *p)
{
    p->controls = false;
    bool ok = write_report(p);
    p->controls = true;
    return ok && stage_controls(p);
}

static bool run_stages(pipeline *p)
{
    return llama2_model_create(p->app.ctx, &p->set.config, NULL, &p->model) >= 0 && stage_pretrain(p) && stage_sft(p) &&
           save_policy(p) && stage_rewards(p) && save_rewards(p) &&
           evaluate(p, p->base, STAGE_PRETRAINED, "pretrained") && evaluate(p, p->reference, STAGE_SFT, "SFT") &&
           stage_rejection(p) && save_policy(p) && evaluate(p, p->model, STAGE_REJECTION, "rejection sampling") &&
           stage_ppo(p) && save_policy(p) && evaluate(p, p->model, STAGE_PPO, "PPO") &&
           (!p->controls || run_controls(p));
}

static bool open_data(pipeline *p, const char *data, world_size size)
{
    app *a = &p->app;
    bool ok = data ? data_from_files(a, data, size == WORLD_TINY, &p->data, &p->set)
                   : data_from_world(a, size, &p->data, &p->set);
    int64_t room = p->set.max_tokens - p->set.max_new_tokens;
    return ok && prompts_encode(a, p->data.tokenizer, &p->data.prompts, room, &p->prompts) &&
           prompts_encode(a, p->data.tokenizer, &p->data.evaluation, room, &p->evaluation) && app_make_out(a, p->out) &&
           (!a->args.model || app_apart(a, p->out, "--model", a->args.model)) &&
           (!data || app_apart(a, p->out, "--data", data));
}

static bool run_chain(pipeline *p)
{
    char error[4096], path[4096];
    app *a = &p->app;
    snprintf(path, sizeof path, "%s/metrics.jsonl", p->out);
    p->metrics = jsonl_create(path, false, error, sizeof error);
    if (!p->metrics) return app_fail(a, "%s", error);
    a->doing = "stopped";
    bool ok = run_stages(p) && write_report(p);
    if (!jsonl_finish(p->metrics) && ok) return app_fail(a, "%s could not be written", path);
    return ok;
}

int main(int argc, char **argv)
{
    const char *data = NULL, *out = "out", *rule = NULL;
    pipeline p = {.began = progress_now()};
    loop l = {.p = &p};
    const args_option options[] = {
        {"data", ARGS_TEXT, &data, "DIR",
         "folder of texts, demonstrations and comparisons (docs/formats.md); without: the embedded world", 0, 0},
        {"out", ARGS_TEXT, &out, "DIR",
         "where report.html, report.json, metrics.jsonl and the models go (default: out)", 0, 0},
        {"controls", ARGS_FLAG, &p.controls, NULL,
         "also SFT for as long again, and the chain with reward models trained on shuffled preferences", 0, 0},
        {"iterations", ARGS_INTEGER, &l.iterations, "N",
         "RLHF-V1 .. VN, each with preferences, reward models and samples of its own; PPO after the last (the paper: "
         "5); from --model PATH, or one that it pretrains",
         1, LOOP_VERSIONS},
        {"ablations", ARGS_FLAG, &l.ablations, NULL,
         "what the parts of the recipe do, each alone: margins, auxiliary loss, number of comparisons, size, data of "
         "SFT, whose samples are learnt from (docs/ablations.md)",
         0, 0},
        {"margins", ARGS_FLAG, &l.margins, NULL, "with --ablations: the margins alone, after one epoch: for many seeds",
         0, 0},
        {"resume", ARGS_FLAG, &l.resume, NULL,
         "with --iterations, --ablations: go on with the run in --out, with the same bits", 0, 0},
        {"last-version", ARGS_FLAG, &l.last_version, NULL,
         "with --iterations: learn from the newest version's samples alone, not from the best of all versions", 0, 0},
        {"from-sft", ARGS_FLAG, &l.from_sft, NULL,
         "with --iterations: each version is fine-tuned from the SFT model, not from the version before", 0, 0},
        {"shuffled", ARGS_FLAG, &l.shuffled, NULL,
         "with --iterations: a control: the reward models learn which answer is better from a coin", 0, 0},
        {"temperature-rule", ARGS_TEXT, &rule, "NAME",
         "with --iterations: at which temperature a version samples: highest (the best of K is highest; default with "
         "--model) or lowest (the lowest within a tenth of a deviation of it; default)",
         0, 0},
        {"tiny", ARGS_FLAG, &l.tiny, NULL,
         "in seconds, to see that it runs and goes on after a stop; it learns nothing", 0, 0},
        {0},
    };
    const args_program program = {
        "llama2-pipeline",
        "Pretraining, SFT, two reward models, rejection sampling and PPO in one run, with a report.",
        "[--data DIR] [--out DIR] [--controls | --ablations [--margins] [--resume] | --iterations N [--resume] "
        "[--model PATH] [--last-version] [--from-sft] [--shuffled] [--temperature-rule NAME]]",
        options,
        0,
        0,
        NULL};
    int status = app_parse(&p.app, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (l.iterations > 0 && data)
        return args_usage(&program, "--iterations needs the embedded world: files have no annotator for new answers");
    if (l.iterations > 0 && p.controls) return args_usage(&program, "--controls goes without --iterations");
    if (l.ablations && (data || p.controls || l.iterations > 0))
        return args_usage(&program, "--ablations goes without --data, --controls and --iterations");
    if (l.margins && !l.ablations) return args_usage(&program, "--margins goes with --ablations");
    if (p.app.args.model && l.iterations == 0)
        return args_usage(&program, "--model goes with --iterations: the others pretrain a model of their own");
    if (l.iterations == 0 && (l.last_version || l.from_sft || l.shuffled || (!l.ablations && l.resume)))
        return args_usage(&program, "--resume, --last-version, --from-sft and --shuffled go with --iterations");
    l.temperature = rule ? temperature_rule_of(rule) : p.app.args.model ? TEMPERATURE_HIGHEST : TEMPERATURE_LOWEST;
    if (rule && l.iterations == 0) return args_usage(&program, "--temperature-rule goes with --iterations");
    if (l.temperature == TEMPERATURE_RULES)
        return args_usage(&program, "--temperature-rule %s: expected highest or lowest", rule);
    p.out = out;
    world_size size = l.tiny             ? WORLD_TINY
                      : p.app.args.model ? WORLD_REAL_MODEL
                      : l.ablations      ? WORLD_ABLATIONS
                      : l.iterations > 0 ? WORLD_LOOP
                                         : WORLD_CHAIN;
    bool ok = app_begin(&p.app) && open_data(&p, data, size) &&
              (l.ablations        ? run_ablations(&l)
               : l.iterations > 0 ? run_loop(&l)
                                  : run_chain(&p));
    close_run(&p);
    return app_end(&p.app, ok);
}
