/* llama2-distill: safety context distillation with the gate of the safety reward model (section 4.2.4 of the paper). */
#include "common/progress.h"
#include "common/prompts.h"
#include "distill/preprompts.h"

#include <stdlib.h>
#include <string.h>

typedef struct distil {
    app a;
    args_list data, preprompts;
    const char *out, *safety_path;
    int64_t samples, max_new_tokens;
    double temperature;
    llama2_model *model;
    llama2_tokenizer *tokenizer;
    llama2_reward_model *safety;
    prompt_set prompts, preprompted; /* prompt i of both is the same */
    const char **used;               /* its preprompt */
    records wrapped;
    progress bar;
    uint64_t before, last; /* samples of the rollout before this one; seen in this one */
    int64_t unfinished, marked;
} distil;

/* --- prompts --------------------------------------------------------------------------------- */

/* The record with the preprompt before its system message, or as that. */
static void wrap(distil *s, const record *r, const char *preprompt)
{
    int32_t roles[RECORD_MESSAGES + 1], has = r->roles[0] == LLAMA2_ROLE_SYSTEM, n = 1;
    const char *texts[RECORD_MESSAGES + 1];
    size_t size = strlen(preprompt) + (has ? strlen(r->texts[0]) : 0) + 3;
    char *system = app_must(malloc(size));
    snprintf(system, size, has ? "%s\n\n%s" : "%s", preprompt, r->texts[0]);
    roles[0] = LLAMA2_ROLE_SYSTEM;
    texts[0] = system;
    for (int32_t i = has; i < r->n_messages; i++) {
        roles[n] = r->roles[i];
        texts[n++] = r->texts[i];
    }
    records_add(&s->wrapped, roles, texts, n, NULL, NULL);
    free(system);
}

/* The prompts of all files that fit with and without their preprompt. */
static bool load_prompts(distil *s, int64_t room)
{
    app *a = &s->a;
    char error[1024];
    records *all = &s->prompts.records;
    int64_t left_out = 0;
    bool ok = true;
    if (room < 8)
        return app_fail(a, "the context of the model leaves %lld tokens for a prompt; give a smaller --max-new-tokens",
                        (long long)room);
    for (size_t i = 0; ok && i < s->data.count; i++)
        ok = records_read(all, s->data.items[i], RECORD_PROMPT, error, sizeof error) || app_fail(a, "%s", error);
    int32_t *tokens = app_must(malloc((size_t)(2 * room) * sizeof *tokens));
    s->prompts.of = app_must(malloc((all->n + 1) * sizeof *s->prompts.of));
    s->used = app_must(malloc((all->n + 1) * sizeof *s->used));
    for (size_t i = 0; ok && i < all->n; i++) {
        const record *r = &all->items[i];
        char place[RECORD_PLACE];
        size_t number = app_mix(a->args.seed, i), k = s->prompts.tokens.n;
        s->used[k] =
            s->preprompts.count ? s->preprompts.items[number % s->preprompts.count] : preprompts_get(r->risk, number);
        wrap(s, r, s->used[k]);
        int64_t n = record_encode(s->tokenizer, r, NULL, tokens, NULL, room),
                m = n > 0 ? record_encode(s->tokenizer, &s->wrapped.items[i], NULL, tokens + room, NULL, room) : n;
        ok = (n >= 0 && m >= 0) || app_fail(a, "%s: %s", record_place(r, "prompt", i, place), llama2_last_error());
        left_out += m == 0;
        if (m <= 0) continue;
        s->prompts.of[k] = r;
        examples_add(&s->prompts.tokens, tokens, NULL, n, n);
        examples_add(&s->preprompted.tokens, tokens + room, NULL, m, m);
    }
    free(tokens);
    if (ok && s->prompts.tokens.n == 0)
        ok = app_fail(a, "there is no prompt of at most %lld tokens to sample from", (long long)room);
    if (ok && left_out && !a->args.quiet)
        fprintf(stderr, "%s: %lld of %zu prompts are too long and left out\n", a->program->name, (long long)left_out,
                all->n);
    return ok && app_try(a, llama2_packer_create(a->ctx, NULL, &s->prompts.packer), "packing") &&
           app_try(a, llama2_packer_create(a->ctx, NULL, &s->preprompted.packer), "packing");
}

static bool load(distil *s)
{
    app *a = &s->a;
    llama2_config c = {.struct_size = sizeof c};
    return app_load_to_read(a, a->args.model, &s->model, &s->tokenizer) &&
           app_try(a, llama2_model_config(s->model, &c), "model") &&
           app_try(a, llama2_reward_model_load(a->ctx, s->safety_path, NULL, &s->safety), "safety reward model") &&
           load_prompts(s, c.max_seq_len - s->max_new_tokens) && app_make_out(a, s->out);
}

/* --- what comes out -------------------------------------------------------------------------- */

static char *answer_text(distil *s, const llama2_rollouts_view *v, int32_t i)
{
    int64_t first = v->offsets[i] + v->prompt_lengths[i];
    return prompts_answer(&s->a, s->tokenizer, v->tokens + first, v->offsets[i + 1] - first);
}

/* Sample i: into compared.jsonl, and where it is kept into distilled.jsonl. */
static bool write_sample(distil *s, const llama2_rollouts_view *v, const llama2_rollouts_view *w, int32_t i, bool *keep,
                         jsonl_writer *kept, jsonl_writer *compared)
{
    const record *r = s->prompts.of[i / v->samples_per_prompt];
    char *before = answer_text(s, v, i), *after = before ? answer_text(s, w, i) : NULL;
    bool ok = after != NULL;
    if (ok && *keep) {
        bool unfinished = !w->ended[i], marked = false;
        ok = unfinished || prompts_marked(&s->a, s->tokenizer, after, &marked);
        s->unfinished += unfinished;
        s->marked += marked;
        *keep = !unfinished && !marked;
    }
    if (ok) {
        json_t *line = record_line(r, NULL);
        json_object_set_new(line, "preprompt", json_string(s->used[i / v->samples_per_prompt]));
        json_object_set_new(line, "original", json_string(before));
        json_object_set_new(line, "distilled", json_string(after));
        app_put(line, "original_score", (double)v->safety_scores[i]);
        app_put(line, "distilled_score", (double)w->safety_scores[i]);
        json_object_set_new(line, "kept", json_boolean(*keep));
        ok = jsonl_append(compared, line) || app_fail(&s->a, "compared.jsonl could not be written");
    }
    if (ok && *keep) {
        json_t *line = record_line_last(r, after);
        app_put(line, "score", (double)w->safety_scores[i]);
        app_put(line, "original_score", (double)v->safety_scores[i]);
        ok = jsonl_append(kept, line) || app_fail(&s->a, "distilled.jsonl could not be written");
    }
    free(before);
    free(after);
    return ok;
}

static jsonl_writer *create(distil *s, const char *name)
{
    char path[4096], error[4200];
    snprintf(path, sizeof path, "%s/%s", s->out, name);
    jsonl_writer *writer = jsonl_create(path, false, error, sizeof error);
    if (!writer) app_fail(&s->a, "%s", error);
    return writer;
}

static bool write_all(distil *s, const llama2_rollouts *original, const llama2_rollouts *distilled, const uint8_t *keep,
                      int64_t *n)
{
    llama2_rollouts_view v = {.struct_size = sizeof v}, w = {.struct_size = sizeof w};
    jsonl_writer *kept = create(s, "distilled.jsonl"), *compared = kept ? create(s, "compared.jsonl") : NULL;
    bool ok = compared && app_try(&s->a, llama2_rollouts_view_get(original, &v), "answers") &&
              app_try(&s->a, llama2_rollouts_view_get(distilled, &w), "answers");
    for (int32_t i = 0; ok && i < v.n_samples; i++) {
        bool stays = keep[i];
        ok = write_sample(s, &v, &w, i, &stays, kept, compared);
        *n += stays;
    }
    if (!jsonl_finish(kept) && ok) ok = app_fail(&s->a, "distilled.jsonl could not be written");
    if (!jsonl_finish(compared) && ok) ok = app_fail(&s->a, "compared.jsonl could not be written");
    return ok;
}

static int32_t show_progress(void *user, const llama2_rollout_event *event)
{
    distil *s = user;
    uint64_t done = (uint64_t)event->samples_done;
    if (done < s->last) s->before += (uint64_t)event->samples; /* the second rollout has begun */
    s->last = done;
    progress_update(&s->bar, s->before + done, s->before ? "with preprompts" : "without preprompts");
    return 0;
}

static json_t *figures(const distil *s, const llama2_distill_metrics *m, int64_t kept)
{
    json_t *line = json_pack("{s:I, s:i, s:I, s:i, s:I, s:I}", "prompts", (json_int_t)s->prompts.tokens.n, "samples",
                             m->n_samples, "kept", (json_int_t)kept, "equal", m->n_equal, "unfinished",
                             (json_int_t)s->unfinished, "marked", (json_int_t)s->marked);
    app_put(line, "safer_share", m->kept_share);
    app_put(line, "mean_original", m->mean_original);
    app_put(line, "mean_distilled", m->mean_distilled);
    app_put(line, "mean_kept_original", m->mean_kept_original);
    app_put(line, "mean_kept_distilled", m->mean_kept_distilled);
    return line;
}

static bool work(distil *s)
{
    app *a = &s->a;
    size_t n = s->prompts.tokens.n, *index = app_must(malloc(n * sizeof *index));
    uint8_t *keep = app_must(malloc(n * (size_t)s->samples));
    int64_t kept = 0;
    double began = progress_now();
    llama2_rollouts *original = NULL, *distilled = NULL;
    llama2_batch bare, preprompted;
    llama2_rollout_options o;
    llama2_distill_metrics m = {.struct_size = sizeof m};
    for (size_t i = 0; i < n; i++) index[i] = i;
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = (int32_t)s->samples;
    o.max_new_tokens = (int32_t)s->max_new_tokens;
    o.temperature = s->temperature;
    o.seed = a->args.seed;
    o.progress = show_progress;
    o.user = s;
    progress_start(&s->bar, "distill", "samples", 2 * n * (uint64_t)s->samples, 0, a->args.quiet);
    bool ok = prompts_batch(a, &s->prompts, index, n, &bare) &&
              prompts_batch(a, &s->preprompted, index, n, &preprompted) &&
              app_try(a, llama2_distill(s->model, s->safety, &bare, &preprompted, &o, &original, &distilled, keep, &m),
                      "distilling") &&
              write_all(s, original, distilled, keep, &kept);
    if (ok) progress_update(&s->bar, 2 * n * (uint64_t)s->samples, NULL);
    progress_finish(&s->bar, ok ? NULL : "stopped");
    jsonl_writer *metrics = ok ? create(s, "metrics.jsonl") : NULL;
    if (metrics) {
        json_t *line = json_pack("{s:s, s:i}", "stage", "distill", "step", 1), *all = figures(s, &m, kept);
        app_put(line, "seconds", progress_now() - began);
        json_object_update(line, all);
        json_decref(all);
        ok = jsonl_append(metrics, line);
        if (!jsonl_finish(metrics) || !ok) ok = app_fail(a, "metrics.jsonl could not be written");
    } else {
        ok = false;
    }
    llama2_rollouts_free(original);
    llama2_rollouts_free(distilled);
    free(index);
    free(keep);
    if (!ok) return false;
    json_t *result = figures(s, &m, kept);
    json_object_set_new(result, "out", json_string(s->out));
    return app_print(a, result);
}

int main(int argc, char **argv)
{
    distil s = {.samples = 1, .max_new_tokens = 256, .temperature = 1};
    const args_option options[] = {
        {"safety-reward", ARGS_TEXT, &s.safety_path, "DIR", "reward model for safety, of llama2-reward", 0, 0},
        {"data", ARGS_LIST, &s.data, "FILE",
         "adversarial prompts, JSON Lines (docs/formats.md); may be given several times", 0, 0},
        {"out", ARGS_TEXT, &s.out, "DIR", "where distilled.jsonl, compared.jsonl and metrics.jsonl go", 0, 0},
        {"preprompt", ARGS_LIST, &s.preprompts, "TEXT",
         "a safety preprompt; of several each prompt gets one (default: own ones, by the \"risk\" of a prompt)", 0, 0},
        {"samples", ARGS_INTEGER, &s.samples, "K", "answers to each prompt, with and without preprompt (1)", 1, 1e6},
        {"temperature", ARGS_REAL, &s.temperature, "T", "of the samples (1)", 0, 100},
        {"max-new-tokens", ARGS_INTEGER, &s.max_new_tokens, "N", "longest answer in tokens (256)", 1, 1e9},
        {0},
    };
    const args_program program = {
        .name = "llama2-distill",
        .summary = "Safety context distillation: answers under a safety preprompt, to be learnt without it.",
        .usage = "--model DIR --safety-reward DIR --data FILE --out DIR [--preprompt TEXT]... [options]",
        .options = options,
        .notes =
            "An answer under the preprompt is kept where the reward model scores it higher than the answer without "
            "one, both after the bare prompt.\ndistilled.jsonl has the kept ones as demonstrations for "
            "llama2-sft; compared.jsonl has all, with both scores. Answers that did not end are not kept."};
    int status = app_parse(&s.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!s.a.args.model) return args_usage(&program, "--model is missing");
    if (!s.safety_path) return args_usage(&program, "--safety-reward is missing");
    if (s.data.count == 0) return args_usage(&program, "--data is missing");
    if (!s.out) return args_usage(&program, "--out is missing");
    bool ok = app_begin(&s.a) && load(&s) && work(&s);
    prompts_close(&s.prompts);
    prompts_close(&s.preprompted);
    records_free(&s.wrapped);
    free(s.used);
    llama2_reward_model_free(s.safety);
    llama2_model_free(s.model);
    llama2_tokenizer_free(s.tokenizer);
    return app_end(&s.a, ok);
}
