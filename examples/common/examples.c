#include "common/examples.h"
#include "common/mixed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void examples_add(example_set *set, const int32_t *tokens, const float *weights, int64_t prompt, int64_t n)
{
    if (set->n == set->capacity) {
        set->capacity = set->capacity ? 2 * set->capacity : 256;
        set->items = app_must(realloc(set->items, set->capacity * sizeof *set->items));
    }
    example *e = &set->items[set->n++];
    e->n = n;
    e->tokens = app_must(malloc((size_t)n * sizeof *e->tokens));
    e->weights = app_must(malloc((size_t)n * sizeof *e->weights));
    memcpy(e->tokens, tokens, (size_t)n * sizeof *e->tokens);
    for (int64_t t = 0; t < n; t++) e->weights[t] = weights ? weights[t] : t < prompt ? 0 : 1;
}

bool examples_encode(app *a, const llama2_tokenizer *tokenizer, const records *r, float earlier, int64_t max_tokens,
                     example_set *set, int64_t *left_out)
{
    int32_t *tokens = app_must(malloc((size_t)max_tokens * sizeof *tokens));
    float *weights = app_must(malloc((size_t)max_tokens * sizeof *weights));
    bool ok = true;
    *left_out = 0;
    for (size_t i = 0; ok && i < r->n; i++) {
        const record *one = &r->items[i];
        char place[RECORD_PLACE];
        int64_t n =
            record_encode_turns(tokenizer, one, one->answer, one->last_only ? 0 : earlier, tokens, weights, max_tokens);
        if (n > 0) examples_add(set, tokens, weights, 0, n);
        *left_out += n == 0;
        ok = n >= 0 || app_fail(a, "%s: %s", record_place(one, "example", i, place), llama2_last_error());
    }
    free(tokens);
    free(weights);
    if (*left_out && !a->args.quiet)
        fprintf(stderr, "%s: %lld of %zu examples are longer than %lld tokens and left out\n", a->program->name,
                (long long)*left_out, r->n, (long long)max_tokens);
    return ok;
}

bool examples_batch(app *a, const example_set *set, const size_t *index, size_t n, llama2_packer *packer,
                    llama2_batch *batch)
{
    llama2_packer_clear(packer);
    for (size_t i = 0; i < n; i++) {
        const example *e = &set->items[index[i]];
        if (!app_try(a, llama2_packer_add(packer, e->tokens, e->weights, e->n), "packing")) return false;
    }
    *batch = (llama2_batch){.struct_size = sizeof *batch};
    return app_try(a, llama2_packer_batch(packer, batch), "packing");
}

bool examples_evaluate(app *a, const llama2_model *model, const example_set *set, double *loss)
{
    double sum = 0, weight = 0;
    for (size_t i = 0; i < set->n; i++) {
        const example *e = &set->items[i];
        const int64_t offsets[] = {0, e->n};
        const llama2_batch batch = {sizeof batch, 1, e->n, e->tokens, offsets, e->weights};
        llama2_loss one = {.struct_size = sizeof one};
        if (!app_try(a, llama2_model_evaluate(model, &batch, &one), "evaluating")) return false;
        sum += one.sum;
        weight += one.weight;
    }
    *loss = weight > 0 ? sum / weight : NAN;
    return true;
}

void examples_free(example_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        free(set->items[i].tokens);
        free(set->items[i].weights);
    }
    free(set->items);
    *set = (example_set){0};
}

uint64_t examples_hash(const example_set *set, uint64_t hash)
{
    for (size_t i = 0; i < set->n; i++) {
        const example *e = &set->items[i];
        hash = run_hash(hash, e->tokens, (size_t)e->n * sizeof *e->tokens);
        hash = run_hash(hash, e->weights, (size_t)e->n * sizeof *e->weights);
    }
    return hash;
}

static int64_t examples_of_epoch(const example_set *set, const example_steps *o)
{
    return o->mixture ? llama2_mixture_epoch_items(o->mixture) : (int64_t)set->n;
}

static int64_t steps_of_epoch(const example_set *set, const example_steps *o)
{
    return (examples_of_epoch(set, o) + o->batch - 1) / o->batch;
}

static size_t *order_of(app *a, const example_set *set, const example_steps *o, int64_t epoch)
{
    size_t n = (size_t)examples_of_epoch(set, o), *order;
    if (!o->mixture) return app_shuffled(n, app_mix(a->args.seed, (uint64_t)epoch));
    order = app_must(malloc((n + 1) * sizeof *order));
    if (mixed_draw(a, o->mixture, o->ends, (uint64_t)epoch * n, n, order)) return order;
    free(order);
    return NULL;
}

int64_t examples_steps(const example_set *set, const example_steps *o)
{
    return steps_of_epoch(set, o) * o->epochs;
}

bool examples_train(run *r, llama2_trainer *trainer, const example_set *set, const example_steps *o, double *loss)
{
    app *a = r->a;
    int64_t an_epoch = steps_of_epoch(set, o), steps = an_epoch * o->epochs, in_order = -1,
            n = examples_of_epoch(set, o);
    char note[48] = "";
    size_t *order = NULL;
    llama2_packer *packer = NULL;
    llama2_packer_options po;
    llama2_packer_options_init(&po, sizeof po);
    po.concatenate = o->concatenate > 0;
    po.max_length = o->concatenate;
    bool ok = app_try(a, llama2_packer_create(a->ctx, &po, &packer), "packing");
    progress_start(&r->bar, r->stage, "examples", (uint64_t)(n * o->epochs),
                   (uint64_t)(r->step / an_epoch * n + r->step % an_epoch * o->batch), a->args.quiet);
    while (ok && r->step < steps) {
        int64_t epoch = r->step / an_epoch, first = r->step % an_epoch * o->batch,
                end = first + o->batch < n ? first + o->batch : n;
        llama2_batch batch;
        llama2_step_metrics m = {.struct_size = sizeof m};
        if (in_order != epoch) {
            free(order);
            order = order_of(a, set, o, epoch);
            in_order = epoch;
        }
        ok = order && examples_batch(a, set, order + first, (size_t)(end - first), packer, &batch) &&
             app_try(a, llama2_sft_step(trainer, &batch, &m), "fine-tuning");
        if (!ok) break;
        *loss = m.loss;
        ok = run_log(r, run_metrics(&m)) && run_step(r, r->step + 1 < steps);
        snprintf(note, sizeof note, "loss %.3f", m.loss);
        progress_update(&r->bar, (uint64_t)(epoch * n + end), note);
    }
    free(order);
    llama2_packer_free(packer);
    return ok;
}
