/* PPO (section 3.2.3 of the paper). */
#include "pipeline/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A mean over the responses, with half of its 95 % interval. */
static void put_mean(series *to, int64_t iteration, json_t *line, const char *name, const double *x, int32_t n)
{
    char key[32];
    double mean, low, high;
    mean_interval(x, (size_t)n, &mean, &low, &high);
    series_add(to, (double)iteration, mean);
    app_put(line, name, mean);
    snprintf(key, sizeof key, "%s_half", name);
    app_put(line, key, high - mean);
}

/* The combined raw score, which can be compared from iteration to iteration; what the judge says. */
static void put_rewards(pipeline *p, const llama2_rollouts_view *v, const size_t *index, int64_t iteration,
                        json_t *line)
{
    const judges j = pipeline_judges(p);
    double threshold = judges_raw_threshold(&j), *of = app_must(malloc((size_t)v->n_samples * sizeof *of));
    for (int32_t i = 0; i < v->n_samples; i++) {
        bool safety = p->prompts.of[index[i]]->is_safety || (double)v->safety_scores[i] < threshold;
        of[i] = (double)(safety ? v->safety_scores[i] : v->helpful_scores[i]);
    }
    put_mean(&p->ppo_score, iteration, line, "reward", of, v->n_samples);
    for (int32_t i = 0; p->data.judge && i < v->n_samples; i++) {
        gold g;
        char *text = response_text(p, v, i);
        judge_answer(p, &p->prompts, index[i], text, &g);
        of[i] = g.score;
        free(text);
    }
    if (p->data.judge) put_mean(&p->ppo_gold, iteration, line, "gold", of, v->n_samples);
    free(of);
}

bool ppo_iteration(pipeline *p, const size_t *prompts, size_t n_prompts, llama2_trainer *policy,
                   llama2_trainer *critic_trainer, llama2_reward_model *critic, int64_t iteration, bool *updating,
                   json_t **line)
{
    size_t n = (size_t)p->set.ppo_batch, most = prompts ? n_prompts : p->prompts.tokens.n,
           *index = app_must(malloc(n * sizeof *index));
    llama2_batch batch;
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_rollouts *r = NULL;
    llama2_rollout_options o;
    llama2_ppo_options po;
    llama2_ppo_metrics m = {.struct_size = sizeof m};
    double times[RUN_PPO_TIMES] = {progress_now()};
    for (size_t i = 0; i < n; i++) {
        size_t k = (size_t)(app_mix(p->app.args.seed + 71, (uint64_t)iteration * n + i) % most);
        index[i] = prompts ? prompts[k] : k;
    }
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = (int32_t)p->set.max_new_tokens;
    o.seed = p->app.args.seed + 72;
    o.first_sample_id = (uint64_t)iteration * n;
    llama2_ppo_options_init(&po, sizeof po);
    po.minibatch = (int32_t)p->set.ppo_minibatch;
    po.beta = p->set.ppo_beta;
    po.seed = p->app.args.seed + 73 + (uint64_t)iteration;
    /* rollout -> score -> advantages -> update */
    bool ok = prompts_batch(&p->app, &p->prompts, index, n, &batch) && llama2_rollout(p->model, &batch, &o, &r) >= 0;
    times[1] = progress_now();
    ok = ok && score_rollouts(p, &p->prompts, index, true, r);
    times[2] = progress_now();
    ok = ok && llama2_rollouts_reference(r, p->reference) >= 0;
    times[3] = progress_now();
    ok = ok && llama2_rollouts_values(r, critic) >= 0 && llama2_ppo_advantages(r, &po, &m) >= 0;
    times[4] = progress_now();
    *updating = ok;
    ok = ok && llama2_ppo_update(policy, critic_trainer, r, &po, &m) >= 0 && llama2_rollouts_view_get(r, &v) >= 0;
    times[5] = progress_now();
    if (ok) {
        *updating = false;
        *line = json_pack("{s:I}", "episode", (json_int_t)((iteration + 1) * p->set.ppo_batch));
        run_put_ppo(*line, &m, &v, times);
        series_add(&p->ppo_kl, (double)iteration, m.kl);
        put_rewards(p, &v, index, iteration, *line);
    }
    llama2_rollouts_free(r);
    free(index);
    return ok;
}

bool stage_ppo(pipeline *p)
{
    double began = progress_now();
    progress bar;
    char note[96] = "";
    bool updating;
    llama2_reward_model *critic = NULL;
    /* The critic begins as the helpfulness model. */
    bool ok = llama2_reward_model_clone(p->rewards[0], &critic) >= 0;
    llama2_trainer *policy = ok ? new_trainer(p, p->model, NULL, p->set.ppo_lr, 0) : NULL;
    llama2_trainer *critic_trainer = ok ? new_trainer(p, NULL, critic, p->set.critic_lr, 0) : NULL;
    ok = policy && critic_trainer;
    progress_start(&bar, "ppo", "episodes", (uint64_t)(p->set.ppo_iterations * p->set.ppo_batch), 0, p->app.args.quiet);
    for (int64_t i = 0; ok && i < p->set.ppo_iterations; i++) {
        json_t *measured;
        ok = ppo_iteration(p, NULL, 0, policy, critic_trainer, critic, i, &updating, &measured);
        if (!ok) break;
        json_t *line = log_line(p, "ppo", i + 1);
        json_object_update(line, measured);
        json_decref(measured);
        jsonl_append(p->metrics, line);
        snprintf(note, sizeof note, "reward %.2f, KL %.2f", p->ppo_score.y[p->ppo_score.n - 1],
                 p->ppo_kl.y[p->ppo_kl.n - 1]);
        if (p->data.judge)
            snprintf(note + strlen(note), sizeof note - strlen(note), ", gold %.2f", p->ppo_gold.y[p->ppo_gold.n - 1]);
        progress_update(&bar, (uint64_t)((i + 1) * p->set.ppo_batch), note);
    }
    progress_finish(&bar, note);
    llama2_trainer_free(policy);
    llama2_trainer_free(critic_trainer);
    llama2_reward_model_free(critic);
    took(p, "PPO", began);
    return ok;
}
