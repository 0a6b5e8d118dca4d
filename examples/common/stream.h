/* Generating with the settings of the command line: with a session, printing the text as it comes (generate and chat);
 * and what batches need (generate). */
#ifndef EXAMPLES_STREAM_H
#define EXAMPLES_STREAM_H

#include "common/app.h"

typedef struct stream_settings {
    int64_t max_tokens, top_k, penalty_window;
    double temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    args_list bias, stops;
    const char *session; /* file; NULL: none */
    /* Of llama2-generate alone. */
    bool json;            /* a line a token, and one at the end, in place of the text */
    int64_t top_logprobs; /* alternatives of each token, with json */
} stream_settings;

/* Temperature and top-p are those of Meta's chat example. */
#define STREAM_DEFAULTS                                                                                                \
    {                                                                                                                  \
        .max_tokens = 256, .temperature = 0.6, .top_p = 0.9, .repeat_penalty = 1, .penalty_window = 64                 \
    }

#define STREAM_OPTIONS(s)                                                                                               \
    {"max-tokens", ARGS_INTEGER, &(s).max_tokens, "N", "longest text, in tokens (256)", 1, 1e9},                        \
        {"temperature", ARGS_REAL, &(s).temperature, "T", "divides the logits; 0: always the likeliest token (0.6)", 0, \
         1000},                                                                                                         \
        {"top-k", ARGS_INTEGER, &(s).top_k, "K", "only the K likeliest tokens (0: all)", 0, 2147483647},                \
        {"top-p", ARGS_REAL, &(s).top_p, "P", "only the likeliest tokens whose probabilities reach P (0.9)", 1e-6, 1},  \
        {"min-p", ARGS_REAL, &(s).min_p, "P", "only tokens of at least P times the best one's probability (0: all)",    \
         0,       1},                                                                                                   \
        {"repeat-penalty",                                                                                              \
         ARGS_REAL,                                                                                                     \
         &(s).repeat_penalty,                                                                                           \
         "R",                                                                                                           \
         "divides positive logits of tokens that were there, multiplies others (1: none)",                              \
         1e-6,                                                                                                          \
         1e6},                                                                                                          \
        {"presence-penalty",                                                                                            \
         ARGS_REAL,                                                                                                     \
         &(s).presence_penalty,                                                                                         \
         "X",                                                                                                           \
         "taken from the logit of each token that was there (0)",                                                       \
         -1e6,                                                                                                          \
         1e6},                                                                                                          \
        {"frequency-penalty",                                                                                           \
         ARGS_REAL,                                                                                                     \
         &(s).frequency_penalty,                                                                                        \
         "X",                                                                                                           \
         "the same for each time that it was there (0)",                                                                \
         -1e6,                                                                                                          \
         1e6},                                                                                                          \
        {"penalty-window",                                                                                              \
         ARGS_INTEGER,                                                                                                  \
         &(s).penalty_window,                                                                                           \
         "N",                                                                                                           \
         "the last N tokens count for these three (64; 0: all)",                                                        \
         0,                                                                                                             \
         2147483647},                                                                                                   \
        {"logit-bias",                                                                                                  \
         ARGS_LIST,                                                                                                     \
         &(s).bias,                                                                                                     \
         "ID=B",                                                                                                        \
         "adds B to the logit of a token; -inf: never; may be repeated",                                                \
         0,                                                                                                             \
         0},                                                                                                            \
    {                                                                                                                   \
        "stop", ARGS_LIST, &(s).stops, "TEXT", "ends before this text; may be repeated", 0, 0                           \
    }

#define STREAM_USAGE                                                                                                   \
    "[--max-tokens N] [--temperature T] [--top-k K] [--top-p P] [--min-p P] [--stop TEXT]... [penalties, bias]"

typedef struct stream {
    app *a;
    const stream_settings *set;
    llama2_model *model;
    llama2_tokenizer *tokenizer;
    llama2_session *session;
    llama2_stops *stops;
    int32_t bias_ids[ARGS_MAX];
    float bias_values[ARGS_MAX];
    int64_t context, answers;
    bool printed; /* something of the last answer */
} stream;

/* Also goes on with the session's file, if it exists. */
bool stream_open(stream *g, app *a, const stream_settings *set);
/* Writes the session's file, where there is one. */
bool stream_save(stream *g);
void stream_close(stream *g);

/* The settings as the library wants them. */
void stream_sampling(const stream *g, uint64_t sample_id, llama2_sampling *o);

/* Text to go on from, as ids; to be freed. NULL: failed. */
int32_t *stream_encode_text(stream *g, const char *text, int64_t *n);
/* A dialogue that ends with the user, as ids; to be freed. NULL: failed. */
int32_t *stream_encode_chat(stream *g, const int32_t *roles, const char *const *texts, int32_t n_messages, int64_t *n);

/*
 * Generates after the given ids; what the session has read already is not read again. flags: LLAMA2_DECODE_*; without
 * CONTINUE spaces at the end of the text are kept back, as the chat format puts one there. *text (may be NULL): what
 * was printed, to be freed.
 */
bool stream_answer(stream *g, const int32_t *ids, int64_t n, uint32_t flags, char **text);

/* The text of ids that were sampled elsewhere: what stream_answer would print of them, without a stop string at the
 * end; to be freed. An id that the tokenizer does not have is no text. NULL: failed. */
char *stream_text(stream *g, const int32_t *ids, int64_t n, uint32_t flags);

#endif
