/*
 * Records of the data files (docs/formats.md): dialogues, demonstrations, comparisons, prompts; read from JSON Lines
 * into memory.
 *
 * - A dialogue: {"messages": [{"role": "user", "content": "..."}, ...]}; or "prompt" (one user message, perhaps
 *   "system").
 * - A demonstration: a dialogue that ends with an answer; or "prompt" and "response"; or self-instruct's "instruction"
 *   and "instances".
 * - A comparison: a dialogue that ends with the user, or "prompt"; "chosen", "rejected"; "rating", "chosen_safe",
 *   "rejected_safe" where known; or "responses", "choice", "rating", "bin", as llama2-collect writes it; or two whole
 *   dialogues "\n\nHuman: ...\n\nAssistant: ..." as "chosen" and "rejected".
 * - A prompt: a dialogue that ends with the user, or "prompt"; "is_safety" where known.
 */
#ifndef EXAMPLES_RECORDS_H
#define EXAMPLES_RECORDS_H

#include <jansson.h>
#include <llama2/llama2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RECORD_MESSAGES = 256 }; /* of a dialogue, at most */

typedef struct record {
    int32_t n_messages; /* of the dialogue; the answers below are not among them */
    int32_t *roles;     /* LLAMA2_ROLE_* */
    char **texts;
    char *answer;                       /* of a demonstration, or the chosen one; NULL for a prompt */
    char *rejected;                     /* of a comparison */
    int32_t rating;                     /* LLAMA2_RATING_*; -1: not known */
    int32_t chosen_safe, rejected_safe; /* 1, 0, -1: not known */
    bool is_safety;
    bool last_only;                       /* of a demonstration: only its last answer is learnt */
    double score;                         /* of a demonstration: how good its maker says it is; NAN: not known */
    char *risk;                           /* of a prompt: the category of what makes it unsafe; NULL: not known */
    char *instruction, *kept_instruction; /* of a dialogue under one (Ghost Attention); NULL: none */
    uint64_t id;                          /* hash of the dialogue: equal prompts have equal ids */
    const char *file;                     /* which it was read from, the records' own; NULL: none */
    uint64_t line;
} record;

/* RECORD_TURNS: messages of a user, with answers or without; roles need not take turns then. */
typedef enum record_kind { RECORD_DEMONSTRATION, RECORD_COMPARISON, RECORD_PROMPT, RECORD_TURNS } record_kind;

typedef struct records {
    record *items;
    size_t n, capacity;
    char **files; /* n_files names */
    size_t n_files;
} records;

/* Adds all records of a file. False: `error` says which line and why. */
bool records_read(records *all, const char *path, record_kind kind, char *error, size_t error_size);

/* Adds one; texts are copied. */
record *records_add(records *all, const int32_t *roles, const char *const *texts, int32_t n_messages,
                    const char *answer, const char *rejected);
void records_free(records *all);

/* Where it was read, "FILE:LINE", for messages; else `what` and its number, from 1. */
enum { RECORD_PLACE = 1024 };
const char *record_place(const record *r, const char *what, size_t index, char place[RECORD_PLACE]);

/* Removes demonstrations whose score is known to be lower; how many. */
size_t records_drop_below(records *all, double least);
/* Hashes of demonstrations, for those that are there twice; begins as {0}, ends with free(seen.hashes). */
typedef struct records_seen {
    uint64_t *hashes; /* 0: free; a power of two of places */
    size_t n, places;
} records_seen;
/* False: it is there already. */
bool records_see(records_seen *seen, uint64_t hash);
/* Removes demonstrations, dialogue and answer, that were seen before; how many. */
size_t records_drop_seen(records *all, records_seen *seen);

/* The id of a dialogue of the first user message alone: the same for all that begin with this prompt. */
uint64_t record_first_prompt(const record *r);

/* Adds the prompt of a line. NULL, or what is wrong. */
const char *records_add_prompt(records *all, const json_t *line);

/* The words of the data files, by LLAMA2_RATING_*, by llama2_preference.chosen, by LLAMA2_BIN_*. */
extern const char *const record_ratings[4], *const record_choices[2], *const record_bins[4];

/* The place of the word under a key; -1: missing or null; -2: another one. */
int32_t record_word(const json_t *line, const char *key, const char *const *words, int32_t n);

/* What an annotator said of a line with "responses": which one is better (-1: nothing yet), by how much, and which are
 * safe. NULL, or what is wrong. */
const char *record_annotation(const json_t *line, int32_t *chosen, int32_t *rating, int32_t *chosen_safe,
                              int32_t *other_safe);

/* The dialogue with `answer` (NULL: without) as a line, {"messages": [...]}. */
json_t *record_line(const record *r, const char *answer);
/* The same as a demonstration of which the last answer alone is learnt. */
json_t *record_line_last(const record *r, const char *answer);

/*
 * Tokens of the dialogue with `answer` (or, NULL, up to where the answer begins); weights 1 on that answer alone, the
 * last one. What does not fit max_tokens loses earliest turns first; a single turn that does not fit gives 0 tokens.
 * Returns their number, or -1: the library's message says why.
 */
int64_t record_encode(const llama2_tokenizer *tokenizer, const record *r, const char *answer, int32_t *tokens,
                      float *weights, int64_t max_tokens);

/* The same with the weight `earlier` on the answers of earlier turns: 1 to learn from a whole dialogue. */
int64_t record_encode_turns(const llama2_tokenizer *tokenizer, const record *r, const char *answer, float earlier,
                            int32_t *tokens, float *weights, int64_t max_tokens);

#endif
