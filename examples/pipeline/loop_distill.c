/*
 * Safety context distillation (section 4.2.4), before the last version: the model answers prompts about safety with and
 * without a safety preprompt, an answer template where the prompt's category of risk is known; where the safety reward
 * model scores the answer under the preprompt higher, it is learnt without it.
 */
#include "common/world.h"
#include "pipeline/loop.h"

#include <stdlib.h>

/* The prompts about safety, none twice, and what stands before each. */
typedef struct adversarial {
    records bare, preprompted;
    prompt_set bare_set, preprompted_set;
    bool *illicit;
} adversarial;

static void choose(loop *l, adversarial *out)
{
    pipeline *p = l->p;
    size_t most = p->prompts.tokens.n, wanted = (size_t)p->set.distill_prompts,
           *order = app_shuffled(most, loop_seed(l, 331));
    out->illicit = app_must(calloc(wanted + 1, sizeof *out->illicit));
    for (size_t i = 0; i < most && out->bare.n < wanted; i++) {
        const record *r = p->prompts.of[order[i]];
        int32_t roles[4] = {LLAMA2_ROLE_SYSTEM};
        const char *texts[4];
        gold g;
        bool known = false;
        for (size_t k = 0; k < out->bare.n && !known; k++) known = out->bare.items[k].id == r->id;
        if (known || !r->is_safety || r->n_messages > 3) continue;
        judge_answer(p, &p->prompts, order[i], "", &g); /* the category, as who wrote the prompt noted it */
        out->illicit[out->bare.n] = g.must_refuse;
        texts[0] = world_preprompt(g.must_refuse, app_mix(loop_seed(l, 332), i));
        for (int32_t k = 0; k < r->n_messages; k++) {
            roles[k + 1] = r->roles[k];
            texts[k + 1] = r->texts[k];
        }
        records_add(&out->bare, roles + 1, texts + 1, r->n_messages, NULL, NULL);
        records_add(&out->preprompted, roles, texts, r->n_messages + 1, NULL, NULL);
    }
    free(order);
}

/* The places in both sets of the prompts that fit with and without what stands before them. How many; in `illicit` they
 * are in the same order then. */
static size_t fitting(adversarial *a, size_t *bare, size_t *preprompted)
{
    size_t n = 0, b = 0, q = 0;
    for (size_t i = 0; i < a->bare.n; i++) {
        bool fits = b < a->bare_set.tokens.n && a->bare_set.of[b] == &a->bare.items[i];
        bool fits_preprompted = q < a->preprompted_set.tokens.n && a->preprompted_set.of[q] == &a->preprompted.items[i];
        if (fits && fits_preprompted) {
            bare[n] = b;
            preprompted[n] = q;
            a->illicit[n++] = a->illicit[i];
        }
        b += fits;
        q += fits_preprompted;
    }
    return n;
}

static void close_adversarial(adversarial *a)
{
    prompts_close(&a->bare_set);
    prompts_close(&a->preprompted_set);
    records_free(&a->bare);
    records_free(&a->preprompted);
    free(a->illicit);
}

/* Scores with and without preprompt, and how many were kept, over the prompts of a category. */
static json_t *figures(const adversarial *a, bool illicit, const llama2_rollouts_view *original,
                       const llama2_rollouts_view *distilled, const uint8_t *keep)
{
    double before = 0, after = 0;
    int64_t n = 0, kept = 0;
    for (int32_t i = 0; i < original->n_samples; i++) {
        if (a->illicit[i] != illicit) continue;
        n++;
        kept += keep[i];
        before += (double)original->safety_scores[i];
        after += (double)distilled->safety_scores[i];
    }
    json_t *line =
        json_pack("{s:s, s:s, s:I, s:I}", "stage", "distill/gate", "preprompt", illicit ? "answer template" : "general",
                  "prompts", (json_int_t)n, "kept", (json_int_t)kept);
    app_put(line, "original", n > 0 ? before / (double)n : 0);
    app_put(line, "distilled", n > 0 ? after / (double)n : 0);
    return line;
}

/* For the report: the safety score of each answer without and with its preprompt, and which one that was. */
static bool write_scores(loop *l, const adversarial *a, const llama2_rollouts_view *original,
                         const llama2_rollouts_view *distilled)
{
    json_t *illicit = json_array(), *before = json_array(), *after = json_array();
    for (int32_t i = 0; i < original->n_samples; i++) {
        json_array_append_new(illicit, json_boolean(a->illicit[i]));
        json_array_append_new(before, json_real((double)original->safety_scores[i]));
        json_array_append_new(after, json_real((double)distilled->safety_scores[i]));
    }
    return state_write_json(l, "scores.json",
                            json_pack("{s:o, s:o, s:o}", "template", illicit, "original", before, "distilled", after));
}

/* The answers that are kept, behind their bare prompts. An answer that did not end is none. */
static bool gate(loop *l, adversarial *a, example_set *out, json_t *lines)
{
    pipeline *p = l->p;
    size_t *index = app_must(malloc((a->bare.n + 1) * sizeof *index)),
           *with = app_must(malloc((a->bare.n + 1) * sizeof *with)), n = fitting(a, index, with);
    uint8_t *keep = app_must(calloc(n + 1, sizeof *keep));
    llama2_batch bare, preprompted;
    llama2_rollouts *original = NULL, *distilled = NULL;
    llama2_rollouts_view v = {.struct_size = sizeof v}, w = {.struct_size = sizeof w};
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = (int32_t)p->set.max_new_tokens;
    o.seed = loop_seed(l, 333);
    bool ok =
        (n > 0 || app_fail(&p->app, "no prompt fits the context with a safety preprompt before it")) &&
        read_temperature(l, &o.temperature) && prompts_batch(&p->app, &a->bare_set, index, n, &bare) &&
        prompts_batch(&p->app, &a->preprompted_set, with, n, &preprompted) &&
        app_try(&p->app,
                llama2_distill(p->model, p->rewards[1], &bare, &preprompted, &o, &original, &distilled, keep, NULL),
                "distilling") &&
        app_try(&p->app, llama2_rollouts_view_get(original, &v), "answers") &&
        app_try(&p->app, llama2_rollouts_view_get(distilled, &w), "answers");
    for (int32_t i = 0; ok && i < w.n_samples; i++) {
        keep[i] = keep[i] && w.ended[i];
        if (keep[i])
            examples_add(out, w.tokens + w.offsets[i], NULL, w.prompt_lengths[i], w.offsets[i + 1] - w.offsets[i]);
    }
    for (int illicit = 0; ok && illicit < 2; illicit++) {
        json_t *line = figures(a, illicit == 1, &v, &w, keep);
        json_array_append(lines, line);
        ok = jsonl_append(p->metrics, line) || app_fail(&p->app, "metrics.jsonl could not be written");
    }
    ok = ok && write_scores(l, a, &v, &w);
    llama2_rollouts_free(original);
    llama2_rollouts_free(distilled);
    free(keep);
    free(with);
    free(index);
    return ok;
}

bool step_distill(loop *l)
{
    pipeline *p = l->p;
    int64_t room = p->set.config.max_seq_len - p->set.max_new_tokens;
    adversarial a = {0};
    example_set kept = {0};
    json_t *lines = json_array();
    choose(l, &a);
    bool ok = newest_model(l, 0, &p->model) && load_rewards(l, l->steps[l->at].version) &&
              prompts_encode(&p->app, p->data.tokenizer, &a.bare, room, &a.bare_set) &&
              prompts_encode(&p->app, p->data.tokenizer, &a.preprompted, room, &a.preprompted_set) &&
              gate(l, &a, &kept, lines) && add_replay(l, &kept) &&
              train_on_mixed(l, "distill", &kept, INT64_MAX, p->set.reject_epochs, p->set.reject_lr) &&
              save_chat_model(l, p->model);
    close_adversarial(&a);
    examples_free(&kept);
    if (ok) return state_write_lines(l, "gate.jsonl", lines);
    json_decref(lines);
    return false;
}
