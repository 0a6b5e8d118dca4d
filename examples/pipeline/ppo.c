/* PPO (section 3.2.3 of the paper). */
#include "pipeline/pipeline.h"

#include <stdlib.h>
#include <string.h>

static double mean_gold(pipeline *p, const llama2_rollouts_view *v, const size_t *index)
{
    double sum = 0;
    for (int32_t i = 0; i < v->n_samples; i++) {
        gold g;
        char *text = response_text(p, v, i);
        judge_answer(p, &p->prompts, index[i], text, &g);
        sum += g.score;
        free(text);
    }
    return sum / v->n_samples;
}

bool ppo_iteration(pipeline *p, const size_t *prompts, size_t n_prompts, llama2_trainer *policy,
                   llama2_trainer *critic_trainer, llama2_reward_model *critic, int64_t iteration, bool *updating,
                   llama2_ppo_metrics *m)
{
    size_t n = (size_t)p->set.ppo_batch, most = prompts ? n_prompts : p->prompts.tokens.n,
           *index = app_must(malloc(n * sizeof *index));
    llama2_batch batch;
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_rollouts *r = NULL;
    llama2_rollout_options o;
    llama2_ppo_options po;
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
    bool ok = prompts_batch(&p->app, &p->prompts, index, n, &batch) && llama2_rollout(p->model, &batch, &o, &r) >= 0 &&
              score_rollouts(p, &p->prompts, index, true, r) && llama2_rollouts_reference(r, p->reference) >= 0 &&
              llama2_rollouts_values(r, critic) >= 0 && llama2_ppo_advantages(r, &po, m) >= 0;
    *updating = ok;
    ok = ok && llama2_ppo_update(policy, critic_trainer, r, &po, m) >= 0 && llama2_rollouts_view_get(r, &v) >= 0;
    if (ok) {
        *updating = false;
        const judges j = pipeline_judges(p);
        double raw = 0, threshold = judges_raw_threshold(&j);
        for (int32_t i = 0; i < v.n_samples; i++) {
            bool safety = p->prompts.of[index[i]]->is_safety || (double)v.safety_scores[i] < threshold;
            raw += (double)(safety ? v.safety_scores[i] : v.helpful_scores[i]);
        }
        series_add(&p->ppo_score, (double)iteration, raw / v.n_samples);
        series_add(&p->ppo_kl, (double)iteration, m->kl);
        if (p->data.judge) series_add(&p->ppo_gold, (double)iteration, mean_gold(p, &v, index));
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
    /* The critic begins as the helpfulness model (checklist item 4). */
    bool ok = llama2_reward_model_clone(p->rewards[0], &critic) >= 0;
    llama2_trainer *policy = ok ? new_trainer(p, p->model, NULL, p->set.ppo_lr, 0) : NULL;
    llama2_trainer *critic_trainer = ok ? new_trainer(p, NULL, critic, p->set.critic_lr, 0) : NULL;
    ok = policy && critic_trainer;
    progress_start(&bar, "ppo", "episodes", (uint64_t)(p->set.ppo_iterations * p->set.ppo_batch), 0, p->app.args.quiet);
    for (int64_t i = 0; ok && i < p->set.ppo_iterations; i++) {
        llama2_ppo_metrics m = {.struct_size = sizeof m};
        ok = ppo_iteration(p, NULL, 0, policy, critic_trainer, critic, i, &updating, &m);
        if (!ok) break;
        json_t *line = json_pack("{s:s, s:I}", "stage", "ppo", "episode", (json_int_t)((i + 1) * p->set.ppo_batch));
        run_put_ppo(line, &m);
        jsonl_append(p->metrics, line);
        snprintf(note, sizeof note, "reward %.2f, KL %.2f", p->ppo_score.y[p->ppo_score.n - 1], m.kl);
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
