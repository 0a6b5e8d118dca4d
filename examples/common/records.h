/*
 * Records of the data files (docs/formats.md): dialogues, demonstrations, comparisons, prompts; read from JSON Lines
 * into memory.
 *
 *     {"messages": [{"role": "user", "content": "..."}, ...]}                    a dialogue; or "prompt" (one user
 * message, perhaps "system") demonstration: a dialogue that ends with an answer; or "prompt" and "response"; or
 * self-instruct's "instruction" and "instances" comparison:    a dialogue that ends with the user, or "prompt";
 * "chosen", "rejected"; "rating", "chosen_safe", "rejected_safe" where known; or two whole dialogues "\n\nHuman:
 * ...\n\nAssistant: ..." as "chosen" and "rejected" prompt:        a dialogue that ends with the user, or "prompt";
 * "is_safety", "id" where known
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
    char *risk;                           /* of a prompt: the category of what makes it unsafe; NULL: not known */
    char *instruction, *kept_instruction; /* of a dialogue under one (Ghost Attention); NULL: none */
    uint64_t id;                          /* hash of the dialogue: equal prompts have equal ids */
} record;

/* RECORD_TURNS: messages of a user, with answers or without; roles need not take turns then. */
typedef enum record_kind { RECORD_DEMONSTRATION, RECORD_COMPARISON, RECORD_PROMPT, RECORD_TURNS } record_kind;

typedef struct records {
    record *items;
    size_t n, capacity;
} records;

/* Adds all records of a file. False: `error` says which line and why. */
bool records_read(records *all, const char *path, record_kind kind, char *error, size_t error_size);

/* Adds one; texts are copied. */
record *records_add(records *all, const int32_t *roles, const char *const *texts, int32_t n_messages,
                    const char *answer, const char *rejected);
void records_free(records *all);

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
