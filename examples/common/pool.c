#include "common/pool.h"

#include <stdlib.h>

static void options_of(const judges *j, llama2_pool_add_options *o)
{
    llama2_pool_add_options_init(o, sizeof *o);
    o->leave_out_unsafe = j->safety != NULL;
    o->unsafe_below = j->threshold;
}

bool pool_add(app *a, const judges *j, const prompt_set *prompts, const size_t *index, int32_t version, int32_t keep,
              const llama2_rollouts *scored, llama2_pool *pool, llama2_pool_metrics *metrics)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_pool_add_options o;
    options_of(j, &o);
    if (!app_try(a, llama2_rollouts_view_get(scored, &v), "pool")) return false;
    size_t n = (size_t)(v.n_samples / v.samples_per_prompt);
    uint64_t *ids = app_must(malloc(n * sizeof *ids));
    uint8_t *is_safety = app_must(malloc(n));
    for (size_t i = 0; i < n; i++) {
        ids[i] = prompts->of[index[i]]->id;
        is_safety[i] = prompts->of[index[i]]->is_safety;
    }
    o.version = version;
    o.keep = keep;
    o.is_safety = is_safety;
    bool ok = app_try(a, llama2_pool_add(pool, scored, ids, &o, metrics), "pool");
    free(is_safety);
    free(ids);
    return ok;
}

bool pool_rescore(app *a, const judges *j, llama2_pool *pool)
{
    int64_t n = 0;
    llama2_rollouts *all = NULL;
    llama2_pool_add_options o;
    options_of(j, &o);
    if (!app_try(a, llama2_pool_size(pool, &n), "pool") || n == 0) return n == 0;
    uint8_t *is_safety = app_must(malloc((size_t)n));
    bool ok = app_try(a, llama2_pool_rollouts(pool, &all), "pool");
    for (int64_t i = 0; ok && i < n; i++) {
        llama2_pool_sample s = {.struct_size = sizeof s};
        ok = app_try(a, llama2_pool_get(pool, i, &s), "pool");
        is_safety[i] = (uint8_t)s.is_safety;
    }
    ok = ok && judges_score_as(a, j, is_safety, false, all) && app_try(a, llama2_pool_rescore(pool, all, &o), "pool");
    llama2_rollouts_free(all);
    free(is_safety);
    return ok;
}

bool pool_examples(app *a, const llama2_pool *pool, int32_t first, int32_t last, int32_t top, example_set *out)
{
    int64_t n = 0;
    bool ok = app_try(a, llama2_pool_count_top(pool, first, last, top, &n), "pool");
    for (int64_t i = 0; ok && i < n; i++) {
        llama2_pool_sample s = {.struct_size = sizeof s};
        ok = app_try(a, llama2_pool_top(pool, first, last, top, i, &s), "pool");
        if (ok) examples_add(out, s.tokens, NULL, s.prompt_length, s.n_tokens);
    }
    return ok && (n > 0 || app_fail(a, "nothing was chosen: no sample of any prompt has ended and is safe"));
}
