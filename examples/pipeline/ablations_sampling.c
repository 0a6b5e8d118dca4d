/* Arms that learn the best of K samples (section 3.2.3), as chosen by the reward models of the first arms: a small chat
 * model from its own or the large one's, as the paper's smaller models learnt from what its largest one sampled; and
 * versions from the samples of all versions or of the newest: the paper's V3, fine-tuned on V2's alone, had lost how to
 * write rhyming lines, and with those of all versions it came back. Here the prompts after the first version never ask
 * to put numbers in order. */
#include "pipeline/ablations.h"

#include <stdlib.h>

/* The prompts of a version, new ones for each; those that ask for the ability are left out after the first. */
static size_t *version_prompts(const pipeline *p, int version, size_t *n)
{
    size_t all = (size_t)p->set.replay_prompts / 6, kept = 0,
           *index = choose_prompts(p, p->app.args.seed + 63, (size_t)(version - 1) * all, &all);
    for (size_t i = 0; i < all; i++)
        if (version == 1 || !p->data.sorts(&p->data, false, (size_t)(p->prompts.of[index[i]] - p->data.prompts.items)))
            index[kept++] = index[i];
    *n = kept;
    return index;
}

/* K scored samples of p->model to each prompt into p->pool, as a version of their own. */
static bool add_samples(loop *l, const size_t *index, size_t n, uint64_t seed, int32_t version)
{
    pipeline *p = l->p;
    llama2_rollouts *r = NULL;
    p->pool_metrics.struct_size = sizeof p->pool_metrics;
    bool ok = load_judges(l) && sample_scored(l, index, n, p->set.reject_temperature, seed, &r);
    const judges j = pipeline_judges(p);
    ok = ok && pool_add(&p->app, &j, &p->prompts, index, version, 1, r, p->pool, &p->pool_metrics);
    llama2_rollouts_free(r);
    return ok;
}

/* p->model learns them, if there are some, and is judged. */
static bool learn_and_judge(loop *l, ablation of, const example_set *best, int64_t epochs)
{
    pipeline *p = l->p;
    const char *name = l->steps[l->at].name;
    series losses = {0};
    bool ok = best->n == 0 || train_on_examples(p, name, best, epochs, p->set.reject_lr, &losses);
    json_t *line = ok && save_chat_model(l, p->model) ? judge_arm(l) : NULL;
    if (line) {
        json_object_set_new(line, "examples", json_integer((json_int_t)best->n));
        json_object_set_new(line, "learnt", json_integer((json_int_t)best->n * epochs));
    }
    series_free(&losses);
    return line && ablation_result(l, of, name, line);
}

static bool sample_best(loop *l, const char *sampler, example_set *out)
{
    pipeline *p = l->p;
    size_t n = (size_t)p->set.replay_prompts / 2, *index = choose_prompts(p, p->app.args.seed + 61, 0, &n);
    bool ok = load_step_model(l, sampler, &p->model) &&
              app_try(&p->app, llama2_pool_create(p->app.ctx, &p->pool), "pool") &&
              add_samples(l, index, n, p->app.args.seed + 62, 1) && pool_examples(&p->app, p->pool, 1, 1, 1, out);
    llama2_model_free(p->model);
    p->model = NULL;
    free(index);
    return ok;
}

bool step_small_arm(loop *l)
{
    const small_arm *arm = &small_arms[l->steps[l->at].version];
    example_set best = {0};
    bool ok = (!arm->sampler || sample_best(l, arm->sampler, &best)) && load_step_model(l, "small-sft", &l->p->model) &&
              learn_and_judge(l, SMALL, &best, l->p->set.reject_epochs);
    examples_free(&best);
    return ok;
}

/* The newest samples alone are fewer: they are passed over more often, so that as much is learnt as from all of them.
 */
static bool epochs_of(pipeline *p, const pool_arm *arm, int64_t *epochs)
{
    int64_t own, all;
    *epochs = p->set.reject_epochs;
    if (!arm->own) return true;
    bool ok = app_try(&p->app, llama2_pool_count(p->pool, arm->version, arm->version, &own), "pool") &&
              app_try(&p->app, llama2_pool_count(p->pool, 1, arm->version, &all), "pool");
    if (ok && own > 0) *epochs = (*epochs * all + own / 2) / own;
    return ok;
}

bool step_pool_arm(loop *l)
{
    pipeline *p = l->p;
    const pool_arm *arm = &pool_arms[l->steps[l->at].version];
    char path[4096];
    example_set best = {0};
    int64_t epochs;
    size_t n, *index = version_prompts(p, arm->version, &n);
    state_path(l, path, "%s/pool", arm->from);
    bool ok = load_step_model(l, arm->from, &p->model) &&
              app_try(&p->app,
                      arm->version == 1 ? llama2_pool_create(p->app.ctx, &p->pool)
                                        : llama2_pool_load(p->app.ctx, path, &p->pool),
                      "pool") &&
              add_samples(l, index, n, p->app.args.seed + 64 + (uint64_t)arm->version, arm->version) &&
              app_try(&p->app, llama2_pool_save(p->pool, state_path(l, path, "%s/pool", arm->name)), "pool") &&
              pool_examples(&p->app, p->pool, arm->own ? arm->version : 1, arm->version, 1, &best) &&
              epochs_of(p, arm, &epochs) && learn_and_judge(l, POOLS, &best, epochs);
    examples_free(&best);
    free(index);
    return ok;
}
