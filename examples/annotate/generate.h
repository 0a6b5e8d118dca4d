/*
 * Answers items: two responses each, of two variants of a model. One thread decodes everything that is wanted at the
 * moment, a token of each sequence a round, in one forward for all sequences of a model; so both responses of an item
 * grow side by side, and several annotators wait little longer than one.
 */
#ifndef EXAMPLES_ANNOTATE_GENERATE_H
#define EXAMPLES_ANNOTATE_GENERATE_H

#include "annotate/store.h"
#include "common/app.h"

typedef struct generator_settings {
    llama2_model *models[2];
    llama2_tokenizer *tokenizers[2];
    const char *names[2]; /* what the records say of them */
    double temperatures[2], top_p;
    int64_t max_new_tokens;
    uint64_t seed;
    void (*news)(void *user); /* from the generator's thread: an item has more text, or is done */
    void *user;
} generator_settings;

typedef struct generator generator;

/* The settings are copied, what they point to stays the caller's. NULL: failed. */
generator *generator_start(app *a, store *s, const generator_settings *set);
void generator_stop(generator *g);

/* Whether a dialogue can be answered by both variants: that it fits, and has no marker of the chat format. NULL, or
 * what is wrong. */
const char *generator_check(generator *g, const json_t *dialogue);

/* Both responses of an item are wanted; nothing happens where they are on their way. False: `error` says what is wrong
 * with the dialogue. */
bool generator_want(generator *g, int64_t item, const json_t *dialogue, char *error, size_t error_size);

/* The responses are wanted no more: what goes on others need not wait for. */
void generator_forget(generator *g, int64_t item);

typedef enum generator_state { GENERATOR_GOES_ON, GENERATOR_DONE, GENERATOR_FAILED, GENERATOR_UNKNOWN } generator_state;

/* The text of the first (0) or second (1) response from byte `from` on, whole characters; to be freed; of what
 * failed, why. What is unknown has been done, and is in the store, or was never wanted. */
generator_state generator_text(generator *g, int64_t item, int which, size_t from, char **text);

#endif
