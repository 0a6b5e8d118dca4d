/* The steps of the loop that take longest: they go on from a checkpoint in their folder. */
#include "common/watch.h"
#include "pipeline/loop.h"

#include <stdlib.h>
#include <string.h>

static train_settings settings(const loop *l, char folder[4096])
{
    state_path(l, folder, "%s", l->steps[l->at].name);
    train_settings set = {TRAIN_DEFAULTS, .out = folder, .part = true};
    set.save_every = l->p->set.save_every;
    return set;
}

bool step_pretrain(loop *l)
{
    pipeline *p = l->p;
    int64_t steps = p->set.pretrain_steps, every = steps / 8 + 1,
            tokens = p->set.pretrain_batch * p->set.pretrain_length;
    char folder[4096], note[64] = "", path[4096];
    const train_settings set = settings(l, folder);
    run r = {0};
    bool ok = app_try(&p->app, llama2_model_create(p->app.ctx, &p->set.config, NULL, &p->model), "model") &&
              run_open(&r, &p->app, "pretrain", &set) &&
              run_add(&r, "model", p->model, NULL, p->set.pretrain_lr, steps) &&
              run_start(&r, run_hash(0, p->data.text, (size_t)p->data.n_text * sizeof *p->data.text));
    progress_start(&r.bar, "pretrain", "tokens", (uint64_t)(steps * tokens), (uint64_t)(r.step * tokens),
                   p->app.args.quiet);
    while (ok && r.step < steps) {
        llama2_step_metrics m = {.struct_size = sizeof m};
        ok = app_try(&p->app, pretrain_step(p, r.trainers[0], r.step, &m) ? 0 : -1, "pretraining");
        if (!ok) break;
        json_t *line = run_metrics(&m);
        if (r.step % every == 0 || r.step + 1 == steps) {
            app_defer(&p->app, true); /* the step is done, but not yet written down */
            r.torn = true;
            ok = app_try(&p->app, held_out_loss(p, &p->held_out_loss) ? 0 : -1, "held-out loss");
            r.torn = !ok;
            app_put(line, "held_out_loss", p->held_out_loss);
        }
        ok = ok ? run_log(&r, line) && run_step(&r, r.step + 1 < steps) : (json_decref(line), false);
        app_defer(&p->app, false);
        snprintf(note, sizeof note, "loss %.3f", m.loss);
        progress_update(&r.bar, (uint64_t)m.total_tokens, note);
    }
    return run_stop(&r, ok) &&
           app_try(&p->app, llama2_model_save(p->model, run_path(&r, "model", path, sizeof path), LLAMA2_F32),
                   "saving");
}

/* Prompts that PPO does not see, none twice, to measure it on: *held_out of them; and the places of all others. To be
 * freed. */
static size_t *choose_held_out(loop *l, size_t *held_out, size_t **others, size_t *n_others)
{
    const pipeline *p = l->p;
    size_t most = p->prompts.tokens.n, *chosen = choose_prompts(p, loop_seed(l, 341), 0, held_out);
    *others = app_must(malloc((most + 1) * sizeof **others));
    *n_others = 0;
    for (size_t i = 0; i < most; i++) {
        bool held = false;
        for (size_t k = 0; k < *held_out && !held; k++) held = p->prompts.of[chosen[k]]->id == p->prompts.of[i]->id;
        if (!held) (*others)[(*n_others)++] = i;
    }
    return chosen;
}

static bool iterate(pipeline *p, run *r, const size_t *prompts, size_t n, llama2_reward_model *critic, bool last)
{
    int64_t batch = p->set.ppo_batch;
    char note[96];
    json_t *line;
    if (!ppo_iteration(p, prompts, n, r->trainers[0], r->trainers[1], critic, r->step, &r->torn, &line)) return false;
    bool ok = run_log(r, line) && run_step(r, !last);
    snprintf(note, sizeof note, "reward %.2f, KL %.2f, gold %.2f", p->ppo_score.y[p->ppo_score.n - 1],
             p->ppo_kl.y[p->ppo_kl.n - 1], p->ppo_gold.y[p->ppo_gold.n - 1]);
    progress_update(&r->bar, (uint64_t)(r->step * batch), note);
    return ok;
}

/* The reference is the policy as rejection sampling left it; the critic begins as the helpfulness model. What is kept
 * is the policy that was best on held-out prompts, be it the one of the start. */
bool step_ppo(loop *l)
{
    pipeline *p = l->p;
    int64_t iterations = p->set.ppo_iterations, batch = p->set.ppo_batch;
    size_t n_held_out = (size_t)p->set.ppo_held_out, n, *others,
           *held_out = choose_held_out(l, &n_held_out, &others, &n);
    char folder[4096], path[4096];
    train_settings set = settings(l, folder);
    set.save_every = (set.save_every + 49) / 50; /* an iteration takes as long as some 50 steps of pretraining */
    run r = {0};
    llama2_reward_model *critic = NULL;
    bool ok =
        (n > 0 || app_fail(&p->app, "PPO: all prompts that fit are held out; none is left to learn from")) &&
        newest_model(l, 0, &p->reference) && app_try(&p->app, llama2_model_clone(p->reference, &p->model), "model") &&
        load_rewards(l, l->steps[l->at].version) &&
        app_try(&p->app, llama2_reward_model_clone(p->rewards[0], &critic), "critic") &&
        run_open(&r, &p->app, "ppo", &set) && run_add(&r, "policy", p->model, NULL, p->set.ppo_lr, 0) &&
        run_add(&r, "critic", NULL, critic, p->set.critic_lr, 0) && run_start(&r, examples_hash(&p->prompts.tokens, 0));
    const judges j = pipeline_judges(p);
    const watch w = {.prompts = &p->prompts,
                     .index = held_out,
                     .n = n_held_out,
                     .judges = &j,
                     .policy = p->model,
                     .reference = p->reference,
                     .tokenizer = p->data.tokenizer,
                     .max_new_tokens = p->set.max_new_tokens,
                     .every = p->set.ppo_every,
                     .patience = p->set.ppo_patience,
                     .seed = loop_seed(l, 342),
                     .beta = p->set.ppo_beta,
                     .temperature = 1};
    if (ok && !r.from) watch_begin(&r);
    progress_start(&r.bar, "ppo", "episodes", (uint64_t)(iterations * batch), (uint64_t)(r.step * batch),
                   p->app.args.quiet);
    while (ok) {
        ok = watch_step(&w, &r, r.step == iterations);
        if (!ok || r.step >= iterations || watch_out_of_patience(&w, &r)) break;
        ok = iterate(p, &r, others, n, critic, r.step + 1 == iterations);
    }
    ok = run_stop(&r, ok);
    llama2_reward_model_free(critic);
    free(held_out);
    free(others);
    llama2_model_free(p->model);
    p->model = NULL;
    return ok &&
           app_try(&p->app, llama2_model_load(p->app.ctx, run_path(&r, "best", path, sizeof path), NULL, &p->model),
                   "model") &&
           save_chat_model(l, p->model);
}
