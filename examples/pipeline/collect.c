/*
 * Fresh preferences of a version (section 3.2.1): two answers to each prompt, from two different models at two
 * temperatures, and the annotator's choice between them.
 */
#include "pipeline/loop.h"

#include <stdlib.h>
#include <string.h>

static const double temperatures[2] = {0.7, 1.2};

enum { HELPFUL, SAFETY, HELD_OUT_HELPFUL, HELD_OUT_SAFETY, N_FILES };
static const char *const files[N_FILES] = {"helpful.jsonl", "safety.jsonl", "held-out-helpful.jsonl",
                                           "held-out-safety.jsonl"};

/* Both answers to prompts index[0 .. n), and which model gave them. */
typedef struct answers {
    const size_t *index;
    size_t n;
    const char *by[2];
    double temperature[2];
    llama2_rollouts *rollouts[2];
} answers;

typedef struct tally {
    json_t *lines[N_FILES];
    int64_t pairs, equal, ratings[4], bins[4]; /* bins: chosen safe, both safe, both unsafe, chosen unsafe */
} tally;

static bool sample_answers(loop *l, llama2_model *const models[2], int half, answers *a)
{
    pipeline *p = l->p;
    for (int k = 0; k < 2; k++) {
        llama2_batch batch;
        llama2_rollout_options o;
        llama2_rollout_options_init(&o, sizeof o);
        o.max_new_tokens = (int32_t)p->set.max_new_tokens;
        a->temperature[k] = o.temperature = temperatures[k ^ half];
        o.seed = loop_seed(l, 201 + (uint64_t)k + 2 * (uint64_t)half);
        if (!prompts_batch(&p->app, &p->prompts, a->index, a->n, &batch) ||
            !app_try(&p->app, llama2_rollout(models[k], &batch, &o, &a->rollouts[k]), "sampling"))
            return false;
    }
    return true;
}

/* A comparison whose chosen answer is unsafe and the other safe is kept and counted: who trains leaves it out. */
static void add_comparison(tally *t, int version, const record *prompt, const char *texts[2], bool first,
                           const record *label, const answers *a)
{
    char batch[16];
    json_t *line = record_line(prompt, NULL);
    int chosen = first ? 0 : 1;
    for (int side = 0; side < 2; side++) {
        int k = side == 0 ? chosen : 1 - chosen;
        const char *const keys[2][3] = {{"chosen", "chosen_by", "chosen_temperature"},
                                        {"rejected", "rejected_by", "rejected_temperature"}};
        json_object_set_new(line, keys[side][0], json_string(texts[k]));
        json_object_set_new(line, keys[side][1], json_string(a->by[k]));
        json_object_set_new(line, keys[side][2], json_real(a->temperature[k]));
    }
    snprintf(batch, sizeof batch, "V%d", version);
    json_object_set_new(line, "batch", json_string(batch));
    json_object_set_new(line, "annotator", json_string("the world"));
    json_object_set_new(line, "guideline", json_string(prompt->is_safety ? "safety" : "helpfulness"));
    json_object_set_new(line, "rating", json_string(record_ratings[label->rating]));
    json_object_set_new(line, "chosen_safe", json_boolean(label->chosen_safe == 1));
    json_object_set_new(line, "rejected_safe", json_boolean(label->rejected_safe == 1));
    json_array_append_new(
        t->lines[(is_held_out(prompt, HELD_OUT_EVERY) ? HELD_OUT_HELPFUL : HELPFUL) + (prompt->is_safety ? 1 : 0)],
        line);
    t->pairs++;
    t->ratings[label->rating]++;
    if (prompt->is_safety)
        t->bins[label->chosen_safe == 1 ? (label->rejected_safe == 1 ? 1 : 0) : (label->rejected_safe == 1 ? 3 : 2)]++;
}

static bool annotate(loop *l, const answers *a, tally *t)
{
    pipeline *p = l->p;
    llama2_rollouts_view v[2] = {{.struct_size = sizeof v[0]}, {.struct_size = sizeof v[0]}};
    for (int k = 0; k < 2; k++)
        if (!app_try(&p->app, llama2_rollouts_view_get(a->rollouts[k], &v[k]), "sampling")) return false;
    for (size_t i = 0; i < a->n; i++) {
        char *one = response_text(p, &v[0], (int32_t)i), *other = response_text(p, &v[1], (int32_t)i);
        const record *prompt = p->prompts.of[a->index[i]];
        record label = {.rating = -1, .chosen_safe = -1, .rejected_safe = -1};
        if (strcmp(one, other) != 0 && *one && *other) {
            const char *texts[2] = {one, other};
            bool first = p->data.annotate(&p->data, (size_t)(prompt - p->data.prompts.items), one, other, &label);
            add_comparison(t, l->steps[l->at].version, prompt, texts, first, &label, a);
        } else {
            t->equal++;
        }
        free(one);
        free(other);
    }
    return true;
}

static bool write_all(loop *l, tally *t)
{
    bool ok = true;
    for (int i = 0; i < N_FILES; i++) ok = state_write_lines(l, files[i], t->lines[i]) && ok;
    json_t *line = json_pack("{s:s, s:i, s:I, s:I, s:[I,I,I,I], s:[I,I,I,I]}", "stage", "collect", "version",
                             l->steps[l->at].version, "pairs", (json_int_t)t->pairs, "equal", (json_int_t)t->equal,
                             "ratings", (json_int_t)t->ratings[0], (json_int_t)t->ratings[1], (json_int_t)t->ratings[2],
                             (json_int_t)t->ratings[3], "bins", (json_int_t)t->bins[0], (json_int_t)t->bins[1],
                             (json_int_t)t->bins[2], (json_int_t)t->bins[3]);
    return ok && state_write_json(l, "collected.json", line);
}

/* Each version has prompts of its own, as long as there are some. In one half of them the newer model has the lower
 * temperature, in the other the older one: which model answered tells nothing of the temperature. */
bool step_collect(loop *l)
{
    pipeline *p = l->p;
    size_t most = p->prompts.tokens.n, wanted = (size_t)p->set.sampled_pairs, n = wanted < most ? wanted : most;
    size_t first = (size_t)(l->steps[l->at].version - 1) * n;
    size_t *order = app_shuffled(most, p->app.args.seed + 31), *index = app_must(malloc((n + 1) * sizeof *index));
    llama2_model *models[2] = {NULL, NULL};
    const char *older = newest_name(l, 1);
    tally t = {0};
    for (size_t i = 0; i < n; i++) index[i] = order[(first + i) % most];
    for (int i = 0; i < N_FILES; i++) t.lines[i] = json_array();
    bool ok = newest_model(l, 0, &models[0]) && newest_model(l, older ? 1 : 0, &models[1]);
    for (int half = 0; ok && half < 2; half++) {
        answers a = {.index = half ? index + n / 2 : index,
                     .n = half ? n - n / 2 : n / 2,
                     .by = {newest_name(l, 0), newest_name(l, older ? 1 : 0)}};
        ok = sample_answers(l, models, half, &a) && annotate(l, &a, &t);
        llama2_rollouts_free(a.rollouts[0]);
        llama2_rollouts_free(a.rollouts[1]);
    }
    if (ok)
        ok = write_all(l, &t);
    else
        for (int i = 0; i < N_FILES; i++) json_decref(t.lines[i]);
    llama2_model_free(models[0]);
    llama2_model_free(models[1]);
    free(index);
    free(order);
    return ok;
}
