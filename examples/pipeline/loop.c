/* The list of steps, and what runs them. */
#include "pipeline/loop.h"

#include <stdlib.h>
#include <string.h>

static loop_step *add(loop *l, bool (*work)(loop *l), const char *name, int version)
{
    loop_step *s = &l->steps[l->n_steps++];
    *s = (loop_step){.version = version, .run = work};
    snprintf(s->name, sizeof s->name, version > 0 ? "%s-%d" : "%s", name, version);
    return s;
}

/* An evaluation of the newest chat model, which the report calls by its version and what was done to it. */
static void add_evaluation(loop *l, const char *name, int version, const char *done)
{
    loop_step *s = add(l, step_evaluate, name, version);
    snprintf(s->model, sizeof s->model, "V%d%s", version, done);
    s->evaluates = s->model;
}

/* Versions by rejection sampling, on top of the last one PPO: as the paper's V1 .. V4 and V5. Ghost Attention after V3
 * and context distillation after V4, or after the last version but one where there are fewer: the last version's
 * samples then set right what these cost, PPO begins with what rejection sampling made, and the two can be compared. */
static void plan(loop *l)
{
    int last = (int)l->iterations, before = last > 1 ? last - 1 : 1, gatt = before < 3 ? before : 3;
    l->gatt = gatt;
    l->distilled = before;
    if (l->p->app.args.model)
        add(l, step_take_model, "pretrain", 0);
    else
        add(l, step_pretrain, "pretrain", 0)->goes_on = true;
    add(l, step_sft, "sft", 0)->makes_chat_model = true;
    add(l, step_evaluate, "evaluate", 0)->evaluates = "SFT-v1";
    for (int v = 1; v <= last; v++) {
        add(l, step_collect, "collect", v);
        add(l, step_rewards, "rewards", v);
        add(l, step_tune, "tune", v);
        add(l, step_sample, "sample", v);
        add(l, step_fine_tune, "fine-tune", v)->makes_chat_model = true;
        add_evaluation(l, "evaluate", v, v < last || last == 1 ? "" : " (no PPO)");
        if (v == gatt) {
            add(l, step_gatt, "gatt", v)->makes_chat_model = true;
            add_evaluation(l, "evaluate-gatt", v, " with GAtt");
        }
        if (v == before) {
            add(l, step_distill, "distill", v)->makes_chat_model = true;
            add_evaluation(l, "evaluate-distill", v, " distilled");
        }
    }
    loop_step *ppo = add(l, step_ppo, "ppo", last);
    ppo->makes_chat_model = ppo->goes_on = true;
    add_evaluation(l, "evaluate-ppo", last, last == 1 ? " (PPO)" : "");
}

uint64_t loop_seed(const loop *l, uint64_t purpose)
{
    return app_mix(l->p->app.args.seed + purpose, (uint64_t)l->steps[l->at].version);
}

static int newest(const loop *l, int back)
{
    for (int i = l->at - 1; i >= 0; i--)
        if (l->steps[i].makes_chat_model && back-- == 0) return i;
    return -1;
}

const char *newest_name(const loop *l, int back)
{
    int i = newest(l, back);
    return i < 0 ? NULL : l->steps[i].name;
}

bool load_step_model(loop *l, const char *step, llama2_model **out)
{
    char path[4096];
    return app_try(&l->p->app, llama2_model_load(l->p->app.ctx, state_path(l, path, "%s/model", step), NULL, out),
                   "model");
}

bool newest_model(loop *l, int back, llama2_model **out)
{
    const char *name = newest_name(l, back);
    return name && load_step_model(l, name, out);
}

bool load_sft(loop *l, llama2_model **out)
{
    return load_step_model(l, "sft", out);
}

/* --model in place of a pretrained one; as fp32, whatever it is stored as. */
bool step_take_model(loop *l)
{
    char path[4096];
    app *a = &l->p->app;
    return app_load(a, a->args.model, &l->p->model, NULL) &&
           app_try(a, llama2_model_save(l->p->model, state_path(l, path, "pretrain/model"), LLAMA2_F32), "saving");
}

/* With its tokenizer: a folder that llama2-chat talks with. */
bool save_chat_model(loop *l, const llama2_model *model)
{
    char path[4096];
    state_path(l, path, "%s/model", l->steps[l->at].name);
    return app_try(&l->p->app, llama2_model_save(model, path, LLAMA2_F32), "saving") &&
           app_try(&l->p->app, llama2_tokenizer_save(l->p->data.tokenizer, path), "saving");
}

bool load_rewards(loop *l, int version)
{
    static const char *const names[] = {"helpful", "safety"};
    char path[4096];
    for (int i = 0; i < 2; i++)
        if (!app_try(&l->p->app,
                     llama2_reward_model_load(l->p->app.ctx, state_path(l, path, "rewards-%d/%s", version, names[i]),
                                              NULL, &l->p->rewards[i]),
                     "reward model"))
            return false;
    return true;
}

/* Nothing goes from one step to the next but by files. */
static void forget(pipeline *p)
{
    llama2_model **models[] = {&p->model, &p->reference};
    series *all[] = {&p->ppo_score, &p->ppo_kl, &p->ppo_gold};
    for (int i = 0; i < 2; i++) {
        llama2_model_free(*models[i]);
        *models[i] = NULL;
        llama2_reward_model_free(p->rewards[i]);
        p->rewards[i] = NULL;
    }
    for (int i = 0; i < 3; i++) series_free(all[i]);
    llama2_pool_free(p->pool);
    p->pool = NULL;
}

static bool run_step_alone(loop *l)
{
    char path[4096], error[4300];
    pipeline *p = l->p;
    app *a = &p->app;
    loop_step *s = &l->steps[l->at];
    double began = progress_now();
    if (!app_make_folder(a, state_path(l, path, "%s", s->name))) return false;
    if (!s->goes_on) {
        p->metrics = jsonl_create(state_path(l, path, "%s/metrics.jsonl", s->name), false, error, sizeof error);
        if (!p->metrics) return app_fail(a, "%s", error);
    }
    a->doing = s->name;
    bool ok = s->run(l);
    if (p->metrics && !jsonl_finish(p->metrics)) ok = app_fail(a, "%s could not be written", path);
    p->metrics = NULL;
    forget(p);
    if (!ok && app_interrupted() && !(s->goes_on && a->message[0])) {
        snprintf(error, sizeof error, "%s", a->message); /* of what was being done then, or an error of its own */
        app_fail(a, "%s%sinterrupted in step %s; --resume %s", error, error[0] ? ": " : "", s->name,
                 s->goes_on ? "goes on with it" : "begins it again");
    }
    return ok && state_done(l, progress_now() - began);
}

/* The results where the chain has them too. */
static bool save_results(loop *l)
{
    pipeline *p = l->p;
    char path[4096];
    l->at = l->n_steps;
    bool ok = newest_model(l, 0, &p->model) && load_rewards(l, (int)l->iterations);
    snprintf(path, sizeof path, "%s/model", p->out);
    ok = ok && app_try(&p->app, llama2_model_save(p->model, path, LLAMA2_F32), "saving") &&
         app_try(&p->app, llama2_tokenizer_save(p->data.tokenizer, path), "saving");
    for (int i = 0; ok && i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", p->out, i == 0 ? "reward-helpful" : "reward-safety");
        ok = app_try(&p->app, llama2_reward_model_save(p->rewards[i], path, LLAMA2_F32), "saving");
    }
    return ok;
}

bool run_steps(loop *l)
{
    bool ok = state_open(l);
    for (l->at = l->n_done; ok && l->at < l->n_steps; l->at++) ok = run_step_alone(l);
    return ok;
}

bool run_loop(loop *l)
{
    plan(l);
    return run_steps(l) && save_results(l) && write_loop_report(l);
}
