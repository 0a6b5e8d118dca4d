#include "pipeline/pipeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void series_add(series *s, double x, double y)
{
    if (s->n == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 64;
        s->x = app_must(realloc(s->x, s->capacity * sizeof *s->x));
        s->y = app_must(realloc(s->y, s->capacity * sizeof *s->y));
    }
    s->x[s->n] = x;
    s->y[s->n++] = y;
}

void series_free(series *s)
{
    free(s->x);
    free(s->y);
    *s = (series){0};
}

void mean_interval(const double *values, size_t n, double *mean, double *low, double *high)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += values[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (values[i] - *mean) * (values[i] - *mean);
    double half = 1.96 * sqrt(squares / (double)n / (double)(n > 1 ? n - 1 : 1));
    *low = *mean - half;
    *high = *mean + half;
}

void add_tokens(int32_t **to, int64_t *n, const int32_t *ids, int64_t count)
{
    *to = app_must(realloc(*to, (size_t)(*n + count) * sizeof *ids));
    memcpy(*to + *n, ids, (size_t)count * sizeof *ids);
    *n += count;
}

void tiny_settings(pipeline_settings *s)
{
    s->config.dim = 32;
    s->config.n_layers = 2;
    s->config.head_dim = 8;
    s->config.ffn_dim = 64;
    s->pretrain_steps = 60;
    s->pretrain_batch = 4;
    s->sft_epochs = 1;
    s->sft_batch = 8;
    s->sampled_pairs = 60;
    s->reward_batch = 8;
    s->tune_prompts = 4;
    s->reject_prompts = 24;
    s->reject_samples = 4;
    s->reject_shift = 12;
    s->replay_prompts = 24;
    s->ppo_iterations = 12;
    s->ppo_every = 4;
    s->ppo_held_out = 4;
    s->ppo_batch = 8;
    s->ppo_minibatch = 4;
    s->max_new_tokens = 12;
    s->save_every = 5;
    s->gatt_dialogues = 6;
    s->gatt_turns = 3;
    s->gatt_evaluations = 2;
    s->distill_prompts = 16;
    s->longer_epochs = 6;
}

llama2_trainer *new_trainer(pipeline *p, llama2_model *model, llama2_reward_model *reward, double lr, int64_t steps)
{
    const train_settings set = {TRAIN_DEFAULTS};
    return run_trainer(&p->app, &set, model, reward, lr, steps);
}

json_t *log_line(const pipeline *p, const char *stage, int64_t step)
{
    return json_pack("{s:s, s:I, s:f}", "stage", stage, "step", (json_int_t)step, "seconds", progress_now() - p->began);
}

void log_step(pipeline *p, const char *stage, int64_t step, double loss, double lr, double grad_norm, int64_t tokens)
{
    json_t *line = log_line(p, stage, step);
    app_put(line, "loss", loss);
    app_put(line, "lr", lr);
    app_put(line, "grad_norm", grad_norm);
    json_object_set_new(line, "tokens", json_integer(tokens));
    jsonl_append(p->metrics, line);
}

bool is_held_out(const record *r, uint64_t every)
{
    return r->id % every == 0;
}

void split_by_prompt(records *all, records *held, bool (*is_held)(const record *r, uint64_t every), uint64_t every)
{
    size_t kept = 0;
    for (size_t i = 0; i < all->n; i++) {
        record *r = &all->items[i];
        if (!is_held(r, every)) {
            all->items[kept++] = *r;
            continue;
        }
        if (held->n == held->capacity) {
            held->capacity = held->capacity ? 2 * held->capacity : 64;
            held->items = app_must(realloc(held->items, held->capacity * sizeof *r));
        }
        held->items[held->n++] = *r;
    }
    all->n = kept;
}

void took(pipeline *p, const char *stage, double began)
{
    p->seconds_of[p->n_seconds] = stage;
    p->seconds[p->n_seconds++] = progress_now() - began;
}

char *response_text(pipeline *p, const llama2_rollouts_view *v, int32_t sample)
{
    int64_t first = v->offsets[sample] + v->prompt_lengths[sample];
    return app_must(prompts_answer(&p->app, p->data.tokenizer, v->tokens + first, v->offsets[sample + 1] - first));
}

judges pipeline_judges(const pipeline *p)
{
    return (judges){JUDGES_DEFAULTS, .helpful = p->rewards[0], .safety = p->rewards[1]};
}

bool score_rollouts(pipeline *p, const prompt_set *prompts, const size_t *index, bool whiten, llama2_rollouts *rollouts)
{
    const judges j = pipeline_judges(p);
    return judges_score(&p->app, &j, prompts, index, whiten, rollouts);
}

void judge_answer(pipeline *p, const prompt_set *prompts, size_t i, const char *answer, gold *out)
{
    bool evaluation = prompts == &p->evaluation;
    const records *all = evaluation ? &p->data.evaluation : &p->data.prompts;
    p->data.judge(&p->data, evaluation, (size_t)(prompts->of[i] - all->items), answer, out);
}
