#include "common/stream.h"

#include "common/progress.h"

#include <stdlib.h>
#include <string.h>

/* Text on its way out. */
typedef struct sink {
    char *text;
    size_t length, room;
    size_t spaces; /* kept back at the end */
    bool keep_back;
} sink;

static void put(sink *s, const char *text, size_t n)
{
    if (s->length + n + 1 > s->room) s->text = app_must(realloc(s->text, s->room = 2 * (s->length + n + 1)));
    memcpy(s->text + s->length, text, n);
    s->length += n;
    s->text[s->length] = 0;
    fwrite(text, 1, n, stdout);
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
    fflush(stdout);
}

bool stream_open(stream *g, app *a, const stream_settings *set)
{
    llama2_config c = {.struct_size = sizeof c};
    *g = (stream){.a = a, .set = set};
    if (!app_load_to_read(a, a->args.model, &g->model, &g->tokenizer) ||
        !app_try(a, llama2_model_config(g->model, &c), "model"))
        return false;
    g->context = c.max_seq_len;
    g->read = app_must(malloc((size_t)g->context * sizeof *g->read));
    return app_try(a, llama2_session_create(g->model, &g->session), "session");
}

void stream_close(stream *g, int32_t *ids)
{
    free(ids);
    free(g->read);
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

static bool feed(stream *g, const int32_t *ids, int64_t n)
{
    int64_t position = llama2_session_position(g->session);
    if (!app_try(g->a, llama2_session_feed(g->session, ids, n), "reading")) return false;
    memcpy(g->read + position, ids, (size_t)n * sizeof *ids);
    return true;
}

/* Reads what is new in ids; at least its last token, so that there are logits. */
static bool read_prompt(stream *g, const int32_t *ids, int64_t n)
{
    int64_t position = llama2_session_position(g->session), same = 0;
    while (same < position && same < n - 1 && g->read[same] == ids[same]) same++;
    if (same < position && !app_try(g->a, llama2_session_rewind(g->session, same), "reading")) return false;
    return feed(g, ids + same, n - same);
}

static void statistics(const stream *g, int64_t n, double first, int64_t generated, double rest)
{
    if (g->a->args.quiet) return;
    fprintf(stderr, "prompt: %lld tokens in %.2f s (%.0f tokens/s); generated: %lld tokens in %.2f s (%.1f tokens/s)\n",
            (long long)n, first, first > 0 ? (double)n / first : 0, (long long)generated, rest,
            rest > 0 ? (double)generated / rest : 0);
}

bool stream_answer(stream *g, const int32_t *ids, int64_t n, uint32_t flags, char **text)
{
    const int32_t eos = llama2_tokenizer_eos(g->tokenizer);
    sink out = {.keep_back = !(flags & LLAMA2_DECODE_CONTINUE)};
    llama2_decoder *decoder = NULL;
    llama2_sampling sampling;
    const char *piece;
    size_t length;
    int64_t done = 0;
    llama2_sampling_init(&sampling, sizeof sampling);
    sampling.temperature = g->set->temperature;
    sampling.top_k = (int32_t)g->set->top_k;
    sampling.top_p = g->set->top_p;
    sampling.seed = g->a->args.seed;
    sampling.sample_id = (uint64_t)g->answers++;
    double began = progress_now();
    bool ok = read_prompt(g, ids, n) && app_try(g->a, llama2_decoder_create(g->tokenizer, flags, &decoder), "decoding");
    double middle = progress_now();
    while (ok && done < g->set->max_tokens) {
        int32_t token;
        ok = app_try(g->a, llama2_session_sample(g->session, &sampling, &token, NULL), "generating");
        if (!ok || token == eos || llama2_model_is_eos(g->model, token)) break;
        done++;
        ok = app_try(g->a, llama2_decoder_push(decoder, token, &piece, &length), "decoding");
        if (ok) take(&out, piece, length);
        if (!ok || done == g->set->max_tokens || llama2_session_position(g->session) == g->context) break;
        ok = feed(g, &token, 1);
    }
    if (ok) ok = app_try(g->a, llama2_decoder_finish(decoder, &piece, &length), "decoding");
    if (ok) take(&out, piece, length);
    g->printed = out.length > 0;
    if (ok) statistics(g, n, middle - began, done, progress_now() - middle);
    llama2_decoder_free(decoder);
    if (text && ok)
        *text = out.text ? out.text : app_must(calloc(1, 1));
    else
        free(out.text);
    return ok;
}
