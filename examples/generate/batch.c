#include "generate/batch.h"

#include "common/progress.h"
#include "common/records.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512 }; /* samples of one rollout: some places' worth, so that lines come while it runs */

/* All prompts, as ids one after the other. */
typedef struct prompts {
    size_t n;
    int32_t *tokens;
    int64_t *offsets; /* n + 1 */
} prompts;

typedef struct watch {
    progress bar;
    uint64_t before; /* samples of earlier chunks */
    int64_t tokens;  /* sampled in all */
} watch;

static bool is_text(const record *r)
{
    return r->n_messages == 1 && r->roles[0] == LLAMA2_ROLE_USER;
}

static int32_t *encode(stream *g, const record *r, bool chat, int64_t *n)
{
    if (chat) return stream_encode_chat(g, r->roles, (const char *const *)r->texts, r->n_messages, n);
    return stream_encode_text(g, r->texts[0], n);
}

static bool encode_all(stream *g, const batch_settings *set, const records *all, prompts *p)
{
    p->n = all->n;
    p->offsets = app_must(calloc(all->n + 1, sizeof *p->offsets));
    for (size_t i = 0; i < all->n; i++) {
        int64_t n = 0, at = p->offsets[i];
        char place[RECORD_PLACE];
        record_place(&all->items[i], "prompt", i, place);
        if (!set->chat && !is_text(&all->items[i])) return app_fail(g->a, "%s: a dialogue, which needs --chat", place);
        int32_t *ids = encode(g, &all->items[i], set->chat, &n);
        if (!ids) return app_fail(g->a, "%s: %s", place, llama2_last_error());
        if (n > 0 && n < g->context) {
            p->tokens = app_must(realloc(p->tokens, (size_t)(at + n) * sizeof *p->tokens));
            memcpy(p->tokens + at, ids, (size_t)n * sizeof *ids);
        }
        free(ids);
        if (n == 0) return app_fail(g->a, "%s: is empty", place);
        if (n >= g->context)
            return app_fail(g->a, "%s: %lld tokens; the context of %lld has room for %lld with an answer", place,
                            (long long)n, (long long)g->context, (long long)g->context - 1);
        p->offsets[i + 1] = at + n;
    }
    return p->n > 0 || app_fail(g->a, "there is no prompt");
}

static bool read_prompts(stream *g, const batch_settings *set, prompts *p)
{
    char error[1024];
    records all = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < set->data.count; i++)
        ok = records_read(&all, set->data.items[i], RECORD_PROMPT, error, sizeof error) || app_fail(g->a, "%s", error);
    ok = ok && encode_all(g, set, &all, p);
    records_free(&all);
    return ok;
}

static int32_t show_progress(void *user, const llama2_rollout_event *event)
{
    watch *w = user;
    progress_update(&w->bar, w->before + (uint64_t)event->samples_done, NULL);
    return 0;
}

/* The line of sample s of a rollout, which answers prompt number `prompt`. */
static bool print_sample(stream *g, const llama2_rollouts_view *v, int32_t s, size_t prompt, uint32_t flags)
{
    static const char *const ends[] = {"length", "eos", "stop", "context"};
    int64_t first = v->offsets[s] + v->prompt_lengths[s], end = v->offsets[s + 1];
    int64_t n = end - first - (v->ended_by[s] == LLAMA2_END_EOS);
    char *text = stream_text(g, v->tokens + first, n, flags);
    json_t *ids = json_array(), *logprobs = json_array();
    double sum = 0;
    if (!text) return false;
    for (int64_t t = first; t < end; t++) {
        sum += (double)v->logprobs[t];
        json_array_append_new(ids, json_integer(v->tokens[t]));
        json_array_append_new(logprobs, json_real((double)v->logprobs[t]));
    }
    json_t *line =
        json_pack("{s:I, s:i, s:s, s:I, s:s}", "prompt", (json_int_t)prompt, "sample", (int)(s % v->samples_per_prompt),
                  "text", text, "tokens", (json_int_t)n, "end", ends[v->ended_by[s]]);
    app_put(line, "logprob", sum);
    if (g->set->json) {
        json_object_set(line, "ids", ids);
        json_object_set(line, "logprobs", logprobs);
    }
    json_decref(ids);
    json_decref(logprobs);
    free(text);
    return app_print(g->a, line);
}

/* Prompts first .. first + n - 1. A sample's id is its number among all, so that chunks change nothing. */
static bool sample_chunk(stream *g, const batch_settings *set, const prompts *p, size_t first, size_t n, watch *w)
{
    uint32_t flags = set->chat ? 0 : LLAMA2_DECODE_CONTINUE;
    int64_t *offsets = app_must(malloc((n + 1) * sizeof *offsets)), begin = p->offsets[first];
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_rollouts *rollouts = NULL;
    llama2_sampling sampling;
    llama2_rollout_options o;
    for (size_t i = 0; i <= n; i++) offsets[i] = p->offsets[first + i] - begin;
    llama2_batch batch = {.struct_size = sizeof batch,
                          .n_sequences = (int32_t)n,
                          .n_tokens = offsets[n],
                          .tokens = p->tokens + begin,
                          .offsets = offsets};
    stream_sampling(g, first * (uint64_t)set->samples, &sampling);
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = (int32_t)set->samples;
    o.max_new_tokens = (int32_t)g->set->max_tokens;
    o.sampling = &sampling;
    o.tokenizer = g->tokenizer;
    o.stops = g->set->stops.items;
    o.n_stops = (int32_t)g->set->stops.count;
    o.decode_flags = flags;
    o.progress = show_progress;
    o.user = w;
    bool ok = app_try(g->a, llama2_rollout(g->model, &batch, &o, &rollouts), "sampling") &&
              app_try(g->a, llama2_rollouts_view_get(rollouts, &v), "sampling");
    for (int32_t s = 0; ok && s < v.n_samples; s++) {
        ok = print_sample(g, &v, s, first + (size_t)(s / v.samples_per_prompt), flags);
        w->tokens += v.offsets[s + 1] - v.offsets[s] - v.prompt_lengths[s];
    }
    llama2_rollouts_free(rollouts);
    free(offsets);
    if (ok && fflush(stdout) != 0) ok = app_fail(g->a, "standard output could not be written");
    w->before += n * (uint64_t)set->samples;
    return ok;
}

bool batch_generate(stream *g, const batch_settings *set)
{
    prompts p = {0};
    watch w = {.tokens = 0};
    size_t chunk = CHUNK > set->samples ? CHUNK / (size_t)set->samples : 1;
    bool ok = read_prompts(g, set, &p);
    if (ok) {
        progress_start(&w.bar, "generate", "samples", p.n * (uint64_t)set->samples, 0, g->a->args.quiet);
        for (size_t i = 0; ok && i < p.n; i += chunk)
            ok = sample_chunk(g, set, &p, i, p.n - i < chunk ? p.n - i : chunk, &w);
        char note[64];
        snprintf(note, sizeof note, "%lld tokens", (long long)w.tokens);
        progress_finish(&w.bar, ok ? note : "stopped");
    }
    free(p.tokens);
    free(p.offsets);
    return ok;
}
