/* Arms that are versions by rejection sampling (section 3.2.3): the paper's V3, fine-tuned on the samples of V2 alone,
 * had lost how to write rhyming lines; with the best samples of all versions it came back. Here the prompts after the
 * first version never ask to put numbers in order. */
#include "pipeline/ablations.h"

#include <stdlib.h>

static const double TEMPERATURE = 0.6; /* what the loop comes to */

/* The prompts of a version, new ones for each; those that ask for the ability are left out after the first. */
static size_t *version_prompts(const pipeline *p, int version, size_t *n)
{
    size_t all = (size_t)p->set.reject_prompts, kept = 0,
           *index = choose_prompts(p, p->app.args.seed + 63, (size_t)(version - 1) * all, &all);
    for (size_t i = 0; i < all; i++)
        if (version == 1 || !p->data.sorts(&p->data, false, (size_t)(p->prompts.of[index[i]] - p->data.prompts.items)))
            index[kept++] = index[i];
    *n = kept;
    return index;
}

/* The pool of the branch so far, and the best of K samples of each prompt of this version. */
static bool add_samples(loop *l, const pool_arm *arm)
{
    pipeline *p = l->p;
    char path[4096];
    size_t n, *index = version_prompts(p, arm->version, &n);
    uint64_t *ids = app_must(malloc((n + 1) * sizeof *ids));
    llama2_rollouts *r = NULL;
    llama2_pool_add_options o;
    llama2_pool_add_options_init(&o, sizeof o);
    o.version = arm->version;
    p->pool_metrics.struct_size = sizeof p->pool_metrics;
    for (size_t i = 0; i < n; i++) ids[i] = p->prompts.of[index[i]]->id;
    state_path(l, path, "%s/pool", arm->from);
    bool ok = app_try(&p->app,
                      arm->version == 1 ? llama2_pool_create(p->app.ctx, &p->pool)
                                        : llama2_pool_load(p->app.ctx, path, &p->pool),
                      "pool") &&
              sample_scored(l, index, n, TEMPERATURE, p->app.args.seed + 64 + (uint64_t)arm->version, &r) &&
              app_try(&p->app, llama2_pool_add(p->pool, r, ids, &o, &p->pool_metrics), "pool") &&
              app_try(&p->app, llama2_pool_save(p->pool, state_path(l, path, "%s/pool", arm->name)), "pool");
    llama2_rollouts_free(r);
    free(ids);
    free(index);
    return ok;
}

static bool best_samples(loop *l, const pool_arm *arm, example_set *out)
{
    pipeline *p = l->p;
    int64_t n = 0;
    int32_t first = arm->own ? arm->version : 1;
    bool ok = app_try(&p->app, llama2_pool_count(p->pool, first, arm->version, &n), "pool");
    for (int64_t i = 0; ok && i < n; i++) {
        llama2_pool_sample s = {.struct_size = sizeof s};
        ok = app_try(&p->app, llama2_pool_best(p->pool, first, arm->version, i, &s), "pool");
        if (ok) examples_add(out, s.tokens, NULL, s.prompt_length, s.n_tokens);
    }
    return ok && (n > 0 || app_fail(&p->app, "all samples of all prompts were judged unsafe"));
}

bool step_pool_arm(loop *l)
{
    pipeline *p = l->p;
    const pool_arm *arm = &pool_arms[l->steps[l->at].version];
    char path[4096];
    example_set best = {0};
    series losses = {0};
    bool ok =
        app_try(&p->app, llama2_model_load(p->app.ctx, state_path(l, path, "%s/model", arm->from), NULL, &p->model),
                "model") &&
        load_judges(l) && add_samples(l, arm) && best_samples(l, arm, &best) &&
        train_on_examples(p, arm->name, &best, p->set.reject_epochs, p->set.reject_lr, &losses) &&
        save_chat_model(l, p->model);
    json_t *line = ok ? judge_arm(l) : NULL;
    if (line) {
        json_object_set_new(line, "examples", json_integer((json_int_t)best.n));
        json_object_set_new(line, "learnt", json_integer((json_int_t)best.n * p->set.reject_epochs));
    }
    series_free(&losses);
    examples_free(&best);
    return line && ablation_result(l, POOLS, arm->name, line);
}
