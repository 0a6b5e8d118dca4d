#include "common/stream.h"

#include "common/progress.h"

#include <stdlib.h>
#include <string.h>

/* Text on its way out. */
typedef struct sink {
    char *text;
    size_t length, room;
    size_t spaces; /* kept back at the end */
    bool keep_back, silent;
} sink;

static void put(sink *s, const char *text, size_t n)
{
    if (s->length + n + 1 > s->room) s->text = app_must(realloc(s->text, s->room = 2 * (s->length + n + 1)));
    memcpy(s->text + s->length, text, n);
    s->length += n;
    s->text[s->length] = 0;
    if (!s->silent) fwrite(text, 1, n, stdout);
}

static void take(sink *s, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s->keep_back && text[i] == ' ') {
            s->spaces++;
            continue;
        }
        for (; s->spaces > 0; s->spaces--) put(s, " ", 1);
        put(s, text + i, 1);
    }
    if (!s->silent) fflush(stdout);
}

/* "ID=B" */
static bool read_bias(stream *g)
{
    for (size_t i = 0; i < g->set->bias.count; i++) {
        const char *text = g->set->bias.items[i];
        char *end = NULL, *last = NULL;
        long id = strtol(text, &end, 10);
        double bias = end != text && *end == '=' ? strtod(end + 1, &last) : 0;
        if (!last || last == end + 1 || *last || id < 0 || id >= llama2_tokenizer_vocab_size(g->tokenizer) ||
            !(bias < 1e30))
            return app_fail(g->a, "--logit-bias %s: expected ID=NUMBER, a token of 0 .. %d", text,
                            llama2_tokenizer_vocab_size(g->tokenizer) - 1);
        g->bias_ids[i] = (int32_t)id;
        g->bias_values[i] = (float)bias;
    }
    return true;
}

static bool open_session(stream *g)
{
    llama2_status status = LLAMA2_E_NOT_FOUND;
    if (g->set->session) status = llama2_session_load(g->model, g->set->session, &g->session);
    if (status == LLAMA2_E_NOT_FOUND) status = llama2_session_create(g->model, &g->session);
    return app_try(g->a, status, g->set->session ? g->set->session : "session");
}

bool stream_save(stream *g)
{
    return !g->set->session || app_try(g->a, llama2_session_save(g->session, g->set->session), g->set->session);
}

bool stream_open(stream *g, app *a, const stream_settings *set)
{
    llama2_config c = {.struct_size = sizeof c};
    *g = (stream){.a = a, .set = set};
    if (!app_load_to_read(a, a->args.model, &g->model, &g->tokenizer) ||
        !app_try(a, llama2_model_config(g->model, &c), "model"))
        return false;
    g->context = c.max_seq_len;
    return read_bias(g) && open_session(g) &&
           app_try(a, llama2_stops_create(a->ctx, set->stops.items, NULL, (int32_t)set->stops.count, &g->stops),
                   "--stop");
}

void stream_close(stream *g)
{
    llama2_stops_free(g->stops);
    llama2_session_free(g->session);
    llama2_model_free(g->model);
    llama2_tokenizer_free(g->tokenizer);
}

int32_t *stream_encode_chat(stream *g, const int32_t *roles, const char *const *texts, int32_t n_messages, int64_t *n)
{
    llama2_chat chat;
    llama2_chat_init(&chat, sizeof chat);
    chat.n_messages = n_messages;
    chat.roles = roles;
    chat.texts = texts;
    if (!app_try(g->a, llama2_chat_encode(g->tokenizer, &chat, 0, NULL, NULL, 0, n), "dialogue")) return NULL;
    int32_t *ids = app_must(malloc((size_t)*n * sizeof *ids));
    if (app_try(g->a, llama2_chat_encode(g->tokenizer, &chat, 0, ids, NULL, *n, n), "dialogue")) return ids;
    free(ids);
    return NULL;
}

int32_t *stream_encode_text(stream *g, const char *text, int64_t *n)
{
    uint32_t flags = llama2_tokenizer_adds_bos(g->tokenizer) ? LLAMA2_ENCODE_BOS : 0;
    return app_encode(g->a, g->tokenizer, text, strlen(text), flags, n);
}

static void statistics(const stream *g, int64_t n, int64_t reused, double first, int64_t generated, double rest)
{
    char known[64] = "";
    if (g->a->args.quiet) return;
    if (reused > 0) snprintf(known, sizeof known, ", %lld of them known", (long long)reused);
    fprintf(stderr,
            "prompt: %lld tokens%s in %.2f s (%.0f tokens/s); generated: %lld tokens in %.2f s (%.1f tokens/s)\n",
            (long long)n, known, first, first > 0 ? (double)(n - reused) / first : 0, (long long)generated, rest,
            rest > 0 ? (double)generated / rest : 0);
}

void stream_sampling(const stream *g, uint64_t sample_id, llama2_sampling *o)
{
    llama2_sampling_init(o, sizeof *o);
    o->temperature = g->set->temperature;
    o->top_k = (int32_t)g->set->top_k;
    o->top_p = g->set->top_p;
    o->min_p = g->set->min_p;
    o->repetition_penalty = g->set->repeat_penalty;
    o->presence_penalty = g->set->presence_penalty;
    o->frequency_penalty = g->set->frequency_penalty;
    o->penalty_window = (int32_t)g->set->penalty_window;
    o->n_logit_bias = (int32_t)g->set->bias.count;
    o->logit_bias_ids = g->bias_ids;
    o->logit_bias_values = g->bias_values;
    o->seed = g->a->args.seed;
    o->sample_id = sample_id;
}

/* {"id", "piece", "logprob"}; NULL: failed. */
static json_t *token_line(stream *g, int32_t id, float logprob)
{
    const char *text;
    size_t length;
    if (!app_try(g->a, llama2_tokenizer_piece(g->tokenizer, id, &text, &length, NULL, NULL), "vocabulary")) return NULL;
    json_t *line = json_pack("{s:I, s:o}", "id", (json_int_t)id, "piece", json_stringn(text, length));
    app_put(line, "logprob", (double)logprob);
    return line;
}

/* A token with its alternatives, from the logits that it was drawn from. */
static bool print_token(stream *g, int32_t token, float logprob)
{
    int32_t n = (int32_t)g->set->top_logprobs, *ids = app_must(calloc((size_t)n + 1, sizeof *ids));
    float *logprobs = app_must(calloc((size_t)n + 1, sizeof *logprobs));
    json_t *line = token_line(g, token, logprob), *top = json_array();
    bool ok = line != NULL;
    if (ok && n > 0)
        ok = app_try(g->a, llama2_session_top(g->session, g->set->temperature, n, ids, logprobs), "alternatives");
    for (int32_t i = 0; ok && i < n; i++) {
        json_t *one = token_line(g, ids[i], logprobs[i]);
        ok = one && json_array_append_new(top, one) == 0;
    }
    if (ok && n > 0) json_object_set(line, "top", top);
    if (ok) json_incref(line); /* which printing takes */
    ok = ok && app_print(g->a, line) && fflush(stdout) == 0;
    json_decref(top);
    json_decref(line);
    free(logprobs);
    free(ids);
    return ok;
}

/* The line at the end: the text, and what ended it. */
static bool print_end(stream *g, const sink *out, int64_t tokens, const char *end)
{
    return app_print(g->a, json_pack("{s:o, s:I, s:s}", "text", json_stringn(out->text ? out->text : "", out->length),
                                     "tokens", (json_int_t)tokens, "end", end));
}

/* The text of a token, as far as it is certain. *which: the stop string that it has come to, -1: none. */
static bool emit(stream *g, llama2_decoder *decoder, int32_t token, sink *out, int32_t *which)
{
    const char *piece;
    size_t length;
    if (!app_try(g->a, llama2_decoder_push(decoder, token, &piece, &length), "decoding") ||
        !app_try(g->a, llama2_stops_push(g->stops, piece, length, &piece, &length, which), "decoding"))
        return false;
    take(out, piece, length);
    return true;
}

/* Draws until something ends it, and says what: "eos", "stop", "length", "context"; NULL: failed. */
static const char *generate(stream *g, llama2_decoder *decoder, sink *out, int64_t *done)
{
    const int32_t eos = llama2_tokenizer_eos(g->tokenizer);
    llama2_sampling sampling;
    int32_t token, which;
    float logprob;
    stream_sampling(g, (uint64_t)g->answers++, &sampling);
    while (*done < g->set->max_tokens) {
        if (!app_try(g->a, llama2_session_sample(g->session, &sampling, &token, &logprob), "generating")) return NULL;
        if (token == eos || llama2_model_is_eos(g->model, token)) return "eos";
        ++*done;
        if ((g->set->json && !print_token(g, token, logprob)) || !emit(g, decoder, token, out, &which)) return NULL;
        if (which >= 0) return "stop";
        if (*done == g->set->max_tokens) break;
        if (llama2_session_position(g->session) == g->context) return "context";
        if (!app_try(g->a, llama2_session_feed(g->session, &token, 1), "reading")) return NULL;
    }
    return "length";
}

/* What decoder and stops hold back. */
static bool finish(stream *g, llama2_decoder *decoder, sink *out, bool stopped)
{
    const char *piece;
    size_t length;
    int32_t which = -1;
    if (!app_try(g->a, llama2_decoder_finish(decoder, &piece, &length), "decoding")) return false;
    if (!stopped && !app_try(g->a, llama2_stops_push(g->stops, piece, length, &piece, &length, &which), "decoding"))
        return false;
    if (!stopped) take(out, piece, length);
    if (!app_try(g->a, llama2_stops_finish(g->stops, &piece, &length), "decoding")) return false;
    take(out, piece, length);
    return true;
}

bool stream_answer(stream *g, const int32_t *ids, int64_t n, uint32_t flags, char **text)
{
    sink out = {.keep_back = !(flags & LLAMA2_DECODE_CONTINUE), .silent = g->set->json};
    llama2_decoder *decoder = NULL;
    const char *end = NULL;
    int64_t done = 0, reused = 0;
    double began = progress_now();
    bool ok = app_try(g->a, llama2_session_sync(g->session, ids, n, &reused), "reading") &&
              app_try(g->a, llama2_decoder_create(g->tokenizer, flags, &decoder), "decoding");
    double middle = progress_now();
    if (ok) end = generate(g, decoder, &out, &done);
    ok = end && finish(g, decoder, &out, strcmp(end, "stop") == 0);
    g->printed = out.length > 0 && !out.silent;
    if (ok && g->set->json) ok = print_end(g, &out, done, end);
    if (ok) statistics(g, n, reused, middle - began, done, progress_now() - middle);
    if (ok && strcmp(end, "context") == 0 && !g->a->args.quiet)
        fprintf(stderr, "the context of %lld tokens is full\n", (long long)g->context);
    llama2_decoder_free(decoder);
    if (text && ok)
        *text = out.text ? out.text : app_must(calloc(1, 1));
    else
        free(out.text);
    return ok;
}

char *stream_text(stream *g, const int32_t *ids, int64_t n, uint32_t flags)
{
    const int32_t vocab = llama2_tokenizer_vocab_size(g->tokenizer);
    sink out = {.keep_back = !(flags & LLAMA2_DECODE_CONTINUE), .silent = true};
    llama2_decoder *decoder = NULL;
    int32_t which = -1;
    bool ok = app_try(g->a, llama2_decoder_create(g->tokenizer, flags, &decoder), "decoding");
    for (int64_t i = 0; ok && which < 0 && i < n; i++)
        if (ids[i] < vocab) ok = emit(g, decoder, ids[i], &out, &which);
    ok = ok && finish(g, decoder, &out, which >= 0);
    llama2_decoder_free(decoder);
    if (ok) return out.text ? out.text : app_must(calloc(1, 1));
    free(out.text);
    return NULL;
}
