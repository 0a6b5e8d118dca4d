/* Generating with a session, printing the text as it comes: generate and chat. */
#ifndef EXAMPLES_STREAM_H
#define EXAMPLES_STREAM_H

#include "common/app.h"

typedef struct stream_settings {
    int64_t max_tokens, top_k;
    double temperature, top_p;
} stream_settings;

/* Temperature and top-p are those of Meta's chat example. */
#define STREAM_DEFAULTS                                                                                                \
    {                                                                                                                  \
        .max_tokens = 256, .temperature = 0.6, .top_p = 0.9                                                            \
    }

#define STREAM_OPTIONS(s)                                                                                               \
    {"max-tokens", ARGS_INTEGER, &(s).max_tokens, "N", "longest text, in tokens (256)", 1, 1e9},                        \
        {"temperature", ARGS_REAL, &(s).temperature, "T", "divides the logits; 0: always the likeliest token (0.6)", 0, \
         1000},                                                                                                         \
        {"top-k", ARGS_INTEGER, &(s).top_k, "K", "only the K likeliest tokens (0: all)", 0, 2147483647},                \
    {                                                                                                                   \
        "top-p", ARGS_REAL, &(s).top_p, "P", "only the likeliest tokens whose probabilities reach P (0.9)", 1e-6, 1     \
    }

typedef struct stream {
    app *a;
    const stream_settings *set;
    llama2_model *model;
    llama2_tokenizer *tokenizer;
    llama2_session *session;
    int32_t *read; /* what the session has read */
    int64_t context, answers;
    bool printed; /* something of the last answer */
} stream;

bool stream_open(stream *g, app *a, const stream_settings *set);
void stream_close(stream *g, int32_t *ids);

/* A dialogue that ends with the user, as ids; to be freed. NULL: failed. */
int32_t *stream_encode_chat(stream *g, const int32_t *roles, const char *const *texts, int32_t n_messages, int64_t *n);

/*
 * Generates after the given ids; what the session has read already is not read again. flags: LLAMA2_DECODE_*; without
 * CONTINUE spaces at the end of the text are kept back, as the chat format puts one there. *text (may be NULL): what
 * was printed, to be freed.
 */
bool stream_answer(stream *g, const int32_t *ids, int64_t n, uint32_t flags, char **text);

#endif
