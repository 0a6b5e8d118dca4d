/* Rejection sampling (section 3.2.3 of the paper). */
#include "pipeline/pipeline.h"

#include <stdlib.h>

static bool sample_into_pool(pipeline *p, llama2_rollouts **out)
{
    size_t wanted = (size_t)p->set.reject_prompts, most = p->prompts.tokens.n, n = wanted < most ? wanted : most;
    size_t *index = app_shuffled(most, p->app.args.seed + 61);
    llama2_batch batch;
    llama2_rollout_options o;
    const judges j = pipeline_judges(p);
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = (int32_t)p->set.reject_samples;
    o.max_new_tokens = (int32_t)p->set.max_new_tokens;
    o.temperature = p->set.reject_temperature;
    o.seed = p->app.args.seed + 62;
    p->pool_metrics.struct_size = sizeof p->pool_metrics;
    bool ok = prompts_batch(&p->app, &p->prompts, index, n, &batch) && llama2_rollout(p->model, &batch, &o, out) >= 0 &&
              score_rollouts(p, &p->prompts, index, false, *out) && llama2_pool_create(p->app.ctx, &p->pool) >= 0 &&
              pool_add(&p->app, &j, &p->prompts, index, 1, 1, *out, p->pool, &p->pool_metrics);
    free(index);
    return ok;
}

bool stage_rejection(pipeline *p)
{
    double began = progress_now();
    llama2_rollouts *rollouts = NULL;
    example_set chosen = {0};
    bool ok = sample_into_pool(p, &rollouts);
    const best_of_n curve = ok ? best_of_n_of(rollouts) : (best_of_n){.points = 0};
    for (int i = 0; i < curve.points; i++) series_add(&p->best_of, curve.n[i], curve.best[i]);
    ok = ok && pool_examples(&p->app, p->pool, 0, 1, 1, &chosen) &&
         train_on_examples(p, "rejection", &chosen, p->set.reject_epochs, p->set.reject_lr, &p->reject_loss);
    examples_free(&chosen);
    llama2_rollouts_free(rollouts);
    took(p, "rejection sampling", began);
    return ok;
}
