/* llama2-collect: comparisons for annotators (section 3.2.1 of the paper), and what they made of them. */
#include "common/annotations.h"
#include "common/prompts.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 }; /* prompts at once, so that lines come while it runs */

typedef struct collect {
    app a;
    args_list data, report;
    const char *other, *names[2], *batch, *guideline;
    int64_t max_new_tokens;
    double temperatures[2], top_p;
    llama2_model *models[2];
    llama2_tokenizer *tokenizers[2];
    prompt_set prompts;
    size_t n; /* prompts that both models have room for: the first ones of prompts.of */
    progress bar;
    uint64_t before; /* responses of earlier chunks */
    int64_t equal;   /* comparisons of two equal responses */
} collect;

/* --- sampling -------------------------------------------------------------------------------- */

/* The name of a folder, without those above it. */
static char *last_part(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t first = n;
    while (first > 0 && path[first - 1] != '/') first--;
    char *name = app_must(calloc(1, n - first + 1));
    memcpy(name, path + first, n - first);
    return name;
}

/* The other model's tokenizer may make more tokens of a prompt. */
static bool leave_out_long(collect *s, int64_t room)
{
    app *a = &s->a;
    size_t all = s->prompts.tokens.n;
    int32_t *tokens = app_must(malloc((size_t)room * sizeof *tokens));
    bool ok = true;
    s->n = 0;
    for (size_t i = 0; ok && i < all; i++) {
        char place[RECORD_PLACE];
        int64_t n = record_encode(s->tokenizers[1], s->prompts.of[i], NULL, tokens, NULL, room);
        ok = n >= 0 || app_fail(a, "%s: %s", record_place(s->prompts.of[i], "prompt", i, place), llama2_last_error());
        if (n > 0) s->prompts.of[s->n++] = s->prompts.of[i];
    }
    free(tokens);
    if (ok && s->n == 0)
        return app_fail(a, "there is no prompt of at most %lld tokens of the other model", (long long)room);
    if (ok && s->n < all && !a->args.quiet)
        fprintf(stderr, "%s: %zu of %zu prompts are too long for the other model and left out\n", a->program->name,
                all - s->n, all);
    return ok;
}

static bool load(collect *s)
{
    app *a = &s->a;
    int64_t context = INT32_MAX;
    if (!app_load_to_read(a, a->args.model, &s->models[0], &s->tokenizers[0]) ||
        (s->other && !app_load_to_read(a, s->other, &s->models[1], &s->tokenizers[1])))
        return false;
    if (!s->other) s->models[1] = llama2_model_retain(s->models[0]);
    for (int k = 0; k < 2; k++) {
        llama2_config c = {.struct_size = sizeof c};
        if (!app_try(a, llama2_model_config(s->models[k], &c), "model")) return false;
        if (c.max_seq_len < context) context = c.max_seq_len;
    }
    context -= s->max_new_tokens;
    if (!prompts_open(a, s->tokenizers[0], &s->data, context, &s->prompts)) return false;
    s->n = s->prompts.tokens.n;
    return !s->other || leave_out_long(s, context);
}

static int32_t show_progress(void *user, const llama2_rollout_event *event)
{
    collect *s = user;
    progress_update(&s->bar, s->before + (uint64_t)event->samples_done, NULL);
    return 0;
}

static bool print_records(collect *s, const llama2_preferences *sampled, size_t first)
{
    bool ok = true;
    for (int64_t i = 0; ok && i < llama2_preferences_count(sampled); i++) {
        llama2_preference p = {.struct_size = sizeof p};
        ok = app_try(&s->a, llama2_preferences_get(sampled, i, &p), "sampling");
        if (!ok) break;
        if (strcmp(p.responses[0], p.responses[1]) == 0)
            s->equal++;
        else
            ok = app_print(&s->a, annotation_line(s->prompts.of[first + (size_t)i], &p));
    }
    return ok && (fflush(stdout) == 0 || app_fail(&s->a, "standard output could not be written"));
}

/* Prompts first .. first + n - 1. A sample's id is the prompt's number among all, so that chunks change nothing. */
static bool sample_chunk(collect *s, size_t first, size_t n)
{
    llama2_chat chats[CHUNK];
    const llama2_chat *dialogues[CHUNK];
    int32_t kinds[CHUNK];
    llama2_preferences *sampled = NULL;
    llama2_preferences_sample_options o;
    for (size_t i = 0; i < n; i++) {
        const record *r = s->prompts.of[first + i];
        llama2_chat_init(&chats[i], sizeof chats[i]);
        chats[i].n_messages = r->n_messages;
        chats[i].roles = r->roles;
        chats[i].texts = (const char *const *)r->texts;
        dialogues[i] = &chats[i];
        kinds[i] = r->is_safety ? LLAMA2_KIND_SAFETY : LLAMA2_KIND_HELPFUL;
    }
    llama2_preferences_sample_options_init(&o, sizeof o);
    o.max_new_tokens = (int32_t)s->max_new_tokens;
    o.temperature_a = s->temperatures[0];
    o.temperature_b = s->temperatures[1];
    o.top_p = s->top_p;
    o.seed = s->a.args.seed;
    o.first_sample_id = first;
    o.model_a = s->names[0];
    o.model_b = s->names[1];
    o.batch = s->batch;
    o.guideline = s->guideline;
    o.kinds = kinds;
    o.tokenizer_b = s->tokenizers[1];
    o.progress = show_progress;
    o.user = s;
    bool ok = app_try(&s->a, llama2_preferences_create(s->a.ctx, &sampled), "sampling") &&
              app_try(&s->a,
                      llama2_preferences_sample(sampled, s->models[0], s->models[1], s->tokenizers[0], dialogues,
                                                (int32_t)n, &o),
                      "sampling") &&
              print_records(s, sampled, first);
    llama2_preferences_free(sampled);
    s->before += 2 * n;
    return ok;
}

static bool sample(collect *s)
{
    char note[64];
    if (!load(s)) return false;
    char *own[2] = {last_part(s->a.args.model), last_part(s->other ? s->other : s->a.args.model)};
    for (int k = 0; k < 2; k++)
        if (!s->names[k]) s->names[k] = own[k];
    size_t n = s->n;
    bool ok = true;
    progress_start(&s->bar, "collect", "responses", 2 * n, 0, s->a.args.quiet);
    for (size_t i = 0; ok && i < n; i += CHUNK) ok = sample_chunk(s, i, n - i < CHUNK ? n - i : CHUNK);
    snprintf(note, sizeof note, "%lld comparisons of equal responses left out", (long long)s->equal);
    progress_finish(&s->bar, !ok ? "stopped" : s->equal ? note : NULL);
    for (int k = 0; k < 2; k++) free(own[k]);
    return ok;
}

/* --- report ---------------------------------------------------------------------------------- */

static json_t *counts(const char *const *words, const char *unknown, const int64_t *n, int64_t n_unknown)
{
    json_t *o = json_object();
    for (int i = 0; i < 4; i++) json_object_set_new(o, words[i], json_integer(n[i]));
    json_object_set_new(o, unknown, json_integer(n_unknown));
    return o;
}

/* The records of a kind into the line; nothing where there are none. */
static bool report_kind(collect *s, const llama2_preferences *all, int32_t kind, const char *name, json_t *line)
{
    llama2_preference_summary m = {.struct_size = sizeof m};
    llama2_agreement g = {.struct_size = sizeof g};
    if (!app_try(&s->a, llama2_preferences_summarise(all, kind, &m), "counting") ||
        !app_try(&s->a, llama2_preferences_agreement(all, kind, &g), "agreement"))
        return false;
    if (m.n_records == 0 && kind >= 0) return true;
    const int64_t ratings[] = {m.n_significantly, m.n_better, m.n_slightly, m.n_negligibly},
                  bins[] = {m.n_chosen_safe, m.n_both_safe, m.n_both_unsafe, m.n_other_safe};
    json_t *o = json_pack("{s:I, s:I, s:I}", "records", (json_int_t)m.n_records, "chosen", (json_int_t)m.n_chosen,
                          "left_out", (json_int_t)m.n_other_safe);
    app_put(o, "first_share", m.first_share);
    json_object_set_new(o, "by_rating", counts(record_ratings, "unrated", ratings, m.n_unrated));
    json_object_set_new(o, "by_bin", counts(record_bins, "unlabelled", bins, m.n_unlabelled));
    if (g.n_comparisons > 0) {
        json_t *agreement = json_pack("{s:I, s:I}", "comparisons", (json_int_t)g.n_comparisons, "annotations",
                                      (json_int_t)g.n_annotations);
        app_put(agreement, "share", g.share);
        app_put(agreement, "alpha", g.alpha);
        json_object_set_new(o, "agreement", agreement);
    }
    json_object_set_new(line, name, o);
    return true;
}

static bool report(collect *s)
{
    char error[1024];
    llama2_preferences *all = NULL;
    json_t *line = json_object();
    bool ok = app_try(&s->a, llama2_preferences_create(s->a.ctx, &all), "reading");
    for (size_t i = 0; ok && i < s->report.count; i++)
        ok = annotations_read(all, s->report.items[i], error, sizeof error) || app_fail(&s->a, "%s", error);
    ok = ok && report_kind(s, all, -1, "all", line) && report_kind(s, all, LLAMA2_KIND_HELPFUL, "helpful", line) &&
         report_kind(s, all, LLAMA2_KIND_SAFETY, "safety", line);
    llama2_preferences_free(all);
    if (ok) return app_print(&s->a, line);
    json_decref(line);
    return false;
}

int main(int argc, char **argv)
{
    collect s = {.max_new_tokens = 256, .temperatures = {0.7, 1.2}, .top_p = 1};
    const args_option options[] = {
        {"data", ARGS_LIST, &s.data, "FILE", "prompts, JSON Lines (docs/formats.md); may be given several times", 0, 0},
        {"other", ARGS_TEXT, &s.other, "DIR", "the model of the other response (default: --model)", 0, 0},
        {"temperature", ARGS_REAL, &s.temperatures[0], "T", "of --model (0.7)", 0, 1000},
        {"other-temperature", ARGS_REAL, &s.temperatures[1], "T", "of --other (1.2)", 0, 1000},
        {"top-p", ARGS_REAL, &s.top_p, "P", "only the likeliest tokens whose probabilities reach P (1)", 1e-6, 1},
        {"max-new-tokens", ARGS_INTEGER, &s.max_new_tokens, "N", "longest response (256)", 1, 1e9},
        {"name", ARGS_TEXT, &s.names[0], "TEXT", "the version of --model (default: its folder's name)", 0, 0},
        {"other-name", ARGS_TEXT, &s.names[1], "TEXT", "the version of --other", 0, 0},
        {"batch", ARGS_TEXT, &s.batch, "TEXT", "what is collected together, the week for instance", 0, 0},
        {"guideline", ARGS_TEXT, &s.guideline, "TEXT", "that annotators follow, or its name", 0, 0},
        {"report", ARGS_LIST, &s.report, "FILE",
         "what annotators gave back: counts, bias of position, agreement; may be given several times", 0, 0},
        {0},
    };
    const args_program program = {
        .name = "llama2-collect",
        .summary = "Samples two responses to each prompt for annotators to choose from; reports on what they chose.",
        .usage = "--model DIR [--other DIR] --data FILE [options]\n"
                 "       llama2-collect --report FILE",
        .options = options,
        .notes = "A line of JSON for each comparison; which response stands first is drawn, so that its place tells "
                 "nothing of the model. Annotators set\n\"choice\" (first or second), \"rating\", \"bin\" and "
                 "\"annotator\"; llama2-reward reads the lines as they are then. Equal responses are left out."};
    int status = app_parse(&s.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (s.report.count > 0 && (s.data.count > 0 || s.a.args.model || s.other))
        return args_usage(&program, "--report goes without --model, --other and --data");
    if (s.report.count == 0 && !s.a.args.model) return args_usage(&program, "--model is missing");
    if (s.report.count == 0 && s.data.count == 0) return args_usage(&program, "--data is missing");
    bool ok = app_begin(&s.a) && (s.report.count > 0 ? report(&s) : sample(&s));
    prompts_close(&s.prompts);
    for (int k = 0; k < 2; k++) {
        llama2_model_free(s.models[k]);
        llama2_tokenizer_free(s.tokenizers[k]);
    }
    return app_end(&s.a, ok);
}
