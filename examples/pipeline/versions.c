/* A version by rejection sampling (section 3.2.3): at which temperature, K samples a prompt, fine-tuning on the best.
 */
#include "pipeline/loop.h"

#include <stdlib.h>
#include <string.h>

size_t *choose_prompts(const pipeline *p, uint64_t seed, size_t first, size_t *n)
{
    size_t most = p->prompts.tokens.n, *order = app_shuffled(most, seed), unique = 0;
    for (size_t i = 0; i < most; i++) {
        bool known = false;
        for (size_t k = 0; k < unique && !known; k++)
            known = p->prompts.of[order[k]]->id == p->prompts.of[order[i]]->id;
        if (!known) order[unique++] = order[i];
    }
    if (*n > unique) *n = unique;
    size_t *chosen = app_must(malloc((*n + 1) * sizeof *chosen));
    for (size_t i = 0; i < *n; i++) chosen[i] = order[(first + i) % unique];
    free(order);
    return chosen;
}

bool sample_scored(loop *l, const size_t *index, size_t n, double temperature, uint64_t seed, llama2_rollouts **out)
{
    pipeline *p = l->p;
    llama2_batch batch;
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = (int32_t)p->set.reject_samples;
    o.max_new_tokens = (int32_t)p->set.max_new_tokens;
    o.temperature = temperature;
    o.seed = seed;
    return prompts_batch(&p->app, &p->prompts, index, n, &batch) &&
           app_try(&p->app, llama2_rollout(p->model, &batch, &o, out), "sampling") &&
           score_rollouts(p, &p->prompts, index, false, *out);
}

/* What the judge, on whom no choice depends, says of an answer to prompt i. */
static double gold_of(pipeline *p, size_t i, const int32_t *tokens, int64_t n)
{
    gold g;
    char *text = app_must(prompts_answer(&p->app, p->data.tokenizer, tokens, n));
    judge_answer(p, &p->prompts, i, text, &g);
    free(text);
    return g.score;
}

/* The mean over prompts of the gold score of the sample with the highest reward, and half of its interval. */
static double gold_of_best(pipeline *p, const size_t *index, const llama2_rollouts *r, double *half)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    if (llama2_rollouts_view_get(r, &v) < 0) return 0;
    int32_t k = v.samples_per_prompt, n = v.n_samples / k;
    double sum = 0, squares = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t top = i * k;
        for (int32_t s = i * k; s < (i + 1) * k; s++)
            if (v.scores[s] > v.scores[top]) top = s;
        int64_t first = v.offsets[top] + v.prompt_lengths[top];
        double score = gold_of(p, index[i], v.tokens + first, v.offsets[top + 1] - first);
        sum += score;
        squares += score * score;
    }
    *half = mean_half(n, sum, squares);
    return sum / n;
}

/* On a few prompts, with the same random numbers for each temperature. */
bool step_tune(loop *l)
{
    pipeline *p = l->p;
    size_t n = (size_t)p->set.tune_prompts, *index = choose_prompts(p, loop_seed(l, 261), 0, &n);
    double gold_scores[TEMPERATURES] = {0}, gold_half[TEMPERATURES] = {0}, half[TEMPERATURES] = {0};
    temperature_curve curve = {.n = 0};
    bool ok = newest_model(l, 0, &p->model) && load_rewards(l, l->steps[l->at].version);
    for (size_t t = 0; ok && t < TEMPERATURES; t++) {
        llama2_rollouts *r = NULL;
        ok = sample_scored(l, index, n, temperature_grid[t], loop_seed(l, 262), &r) && temperature_add(&curve, r);
        if (ok) gold_scores[t] = gold_of_best(p, index, r, &gold_half[t]);
        llama2_rollouts_free(r);
    }
    free(index);
    if (ok) {
        for (int t = 0; t < TEMPERATURES; t++) half[t] = temperature_half(&curve, t);
        ok = state_write_json(
            l, "temperature.json",
            json_pack("{s:f, s:f, s:i, s:s, s:o, s:o, s:o, s:o, s:o}", "temperature",
                      temperature_choose(&curve, l->temperature), "deviation", temperature_deviation(&curve), "prompts",
                      (int)n, "rule", temperature_rules[l->temperature], "temperatures",
                      app_numbers(temperature_grid, TEMPERATURES), "best", app_numbers(curve.best, TEMPERATURES),
                      "below_top_half", app_numbers(half, TEMPERATURES), "gold", app_numbers(gold_scores, TEMPERATURES),
                      "gold_half", app_numbers(gold_half, TEMPERATURES)));
    }
    temperature_free(&curve);
    return ok;
}

/* --- the pool -------------------------------------------------------------------------------- */

size_t prompt_of(const pipeline *p, uint64_t id)
{
    size_t i = 0;
    while (i < p->prompts.tokens.n && p->prompts.of[i]->id != id) i++;
    return i;
}

/* What earlier versions have in the pool, as the present reward models see it. */
static bool open_pool(loop *l, const judges *j)
{
    pipeline *p = l->p;
    char path[4096];
    int version = l->steps[l->at].version;
    if (version == 1) return app_try(&p->app, llama2_pool_create(p->app.ctx, &p->pool), "pool");
    state_path(l, path, "sample-%d/pool", version - 1);
    return app_try(&p->app, llama2_pool_load(p->app.ctx, path, &p->pool), "pool") && pool_rescore(&p->app, j, p->pool);
}

bool read_temperature(loop *l, double *temperature)
{
    char path[4096];
    json_t *tuned = state_read_json(l, state_path(l, path, "tune-%d/temperature.json", l->steps[l->at].version));
    *temperature = json_real_value(json_object_get(tuned, "temperature"));
    json_decref(tuned);
    return tuned != NULL;
}

/* K answers of the newest model to each prompt; the best joins the pool beside those of earlier versions. A part of the
 * prompts is that of the version before, whose samples compete with these; the others are new. */
bool step_sample(loop *l)
{
    pipeline *p = l->p;
    char path[4096];
    int version = l->steps[l->at].version;
    double temperature = 1;
    size_t n = (size_t)p->set.reject_prompts, first = (size_t)((version - 1) * p->set.reject_shift),
           *index = choose_prompts(p, p->app.args.seed + 61, first, &n);
    llama2_rollouts *r = NULL;
    llama2_pool_metrics *m = &p->pool_metrics;
    m->struct_size = sizeof *m;
    bool ok = read_temperature(l, &temperature) && newest_model(l, 0, &p->model) && load_rewards(l, version);
    const judges j = pipeline_judges(p);
    ok = ok && open_pool(l, &j) && sample_scored(l, index, n, temperature, loop_seed(l, 271), &r) &&
         pool_add(&p->app, &j, &p->prompts, index, version, 1, r, p->pool, m) &&
         app_try(&p->app, llama2_pool_save(p->pool, state_path(l, path, "%s/pool", l->steps[l->at].name)), "pool");
    if (ok) {
        const best_of_n curve = best_of_n_of(r);
        int points = curve.points;
        double gold_half = 0, gold_score = gold_of_best(p, index, r, &gold_half);
        ok = state_write_json(
            l, "sampled.json",
            json_pack("{s:i, s:f, s:f, s:f, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version",
                      version, "temperature", temperature, "gold", gold_score, "gold_half", gold_half, "prompts",
                      m->n_prompts, "kept", m->n_kept, "empty", m->n_empty, "unsafe", m->n_unsafe, "unfinished",
                      m->n_unfinished, "n", app_numbers(curve.n, points), "best", app_numbers(curve.best, points),
                      "median", app_numbers(curve.median, points), "best_half", app_numbers(curve.best_half, points),
                      "median_half", app_numbers(curve.median_half, points), "best_gain_half",
                      app_numbers(curve.best_gain_half, points), "median_gain_half",
                      app_numbers(curve.median_gain_half, points)));
    }
    llama2_rollouts_free(r);
    free(index);
    return ok;
}

/* --- fine-tuning ----------------------------------------------------------------------------- */

/* The best sample of each prompt over all versions, as the paper does since V4; or over the last one alone, as before.
 */
static int32_t first_chosen(const loop *l)
{
    return l->last_version ? l->steps[l->at].version : 1;
}

bool open_chosen(loop *l, int64_t *n)
{
    pipeline *p = l->p;
    char path[4096];
    int version = l->steps[l->at].version;
    state_path(l, path, "sample-%d/pool", version);
    return (p->pool || app_try(&p->app, llama2_pool_load(p->app.ctx, path, &p->pool), "pool")) &&
           app_try(&p->app, llama2_pool_count(p->pool, first_chosen(l), version, n), "pool");
}

bool add_replay(loop *l, example_set *out)
{
    pipeline *p = l->p;
    size_t n = (size_t)p->set.replay_prompts, *index = choose_prompts(p, loop_seed(l, 291), 0, &n);
    llama2_batch batch;
    llama2_rollouts *r = NULL;
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = (int32_t)p->set.max_new_tokens;
    o.seed = loop_seed(l, 292);
    bool ok = prompts_batch(&p->app, &p->prompts, index, n, &batch) &&
              app_try(&p->app, llama2_rollout(p->model, &batch, &o, &r), "sampling") &&
              app_try(&p->app, llama2_rollouts_view_get(r, &v), "sampling");
    for (int32_t i = 0; ok && i < v.n_samples; i++)
        if (v.ended[i])
            examples_add(out, v.tokens + v.offsets[i], NULL, v.prompt_lengths[i], v.offsets[i + 1] - v.offsets[i]);
    llama2_rollouts_free(r);
    free(index);
    return ok;
}

bool chosen_sample(loop *l, int64_t i, llama2_pool_sample *out)
{
    return app_try(&l->p->app, llama2_pool_best(l->p->pool, first_chosen(l), l->steps[l->at].version, i, out), "pool");
}

static bool choose_samples(loop *l, example_set *chosen, json_t *by_version, double *gold_score)
{
    pipeline *p = l->p;
    int version = l->steps[l->at].version;
    int64_t n = 0, from[LOOP_VERSIONS + 1] = {0};
    bool ok = open_chosen(l, &n);
    for (int64_t i = 0; ok && i < n; i++) {
        llama2_pool_sample s = {.struct_size = sizeof s};
        ok = chosen_sample(l, i, &s);
        if (!ok) break;
        examples_add(chosen, s.tokens, NULL, s.prompt_length, s.n_tokens);
        *gold_score +=
            gold_of(p, prompt_of(p, s.prompt_id), s.tokens + s.prompt_length, s.n_tokens - s.prompt_length) / (double)n;
        from[s.version]++;
    }
    for (int v = 1; v <= version; v++) json_array_append_new(by_version, json_integer(from[v]));
    return ok && (n > 0 || app_fail(&p->app, "nothing was chosen: no sample of any prompt has ended and is safe"));
}

bool step_fine_tune(loop *l)
{
    pipeline *p = l->p;
    example_set chosen = {0};
    series losses = {0};
    json_t *by_version = json_array();
    double gold_score = 0;
    bool ok = choose_samples(l, &chosen, by_version, &gold_score) &&
              (l->from_sft ? load_sft(l, &p->model) : newest_model(l, 0, &p->model)) &&
              train_on_examples(p, l->steps[l->at].name, &chosen, p->set.reject_epochs, p->set.reject_lr, &losses) &&
              save_chat_model(l, p->model);
    series_free(&losses);
    examples_free(&chosen);
    if (ok)
        return state_write_json(l, "chosen.json",
                                json_pack("{s:o, s:f}", "by_version", by_version, "gold", gold_score));
    json_decref(by_version);
    return false;
}

bool train_on_mixed(loop *l, const char *label, example_set *fresh, int64_t most, int64_t epochs, double lr)
{
    pipeline *p = l->p;
    int64_t n = 0;
    series losses = {0};
    if (fresh->n == 0) return true;
    bool ok = open_chosen(l, &n);
    size_t *order = app_shuffled((size_t)n, loop_seed(l, 281));
    for (int64_t i = 0; ok && i < n && i < most; i++) {
        llama2_pool_sample s = {.struct_size = sizeof s};
        ok = chosen_sample(l, (int64_t)order[i], &s);
        if (ok) examples_add(fresh, s.tokens, NULL, s.prompt_length, s.n_tokens);
    }
    ok = ok && train_on_examples(p, label, fresh, epochs, lr, &losses);
    series_free(&losses);
    free(order);
    return ok;
}

bool step_sft(loop *l)
{
    pipeline *p = l->p;
    char path[4096];
    series losses = {0};
    bool ok = app_try(&p->app, llama2_model_load(p->app.ctx, state_path(l, path, "pretrain/model"), NULL, &p->model),
                      "model") &&
              fine_tune(p, "sft", &losses) && save_chat_model(l, p->model);
    series_free(&losses);
    return ok;
}
