/* What the world_*.c files share: the facts, the draws, filling in of patterns. */
#ifndef EXAMPLES_WORLD_INTERNAL_H
#define EXAMPLES_WORLD_INTERNAL_H

#include "common/world.h"

enum {
    WORLD_PEOPLE = 24,
    WORLD_ATTRIBUTES = 4,
    WORLD_OPPOSITE_WORDS = 24,
    WORLD_DIGITS = 9,
    WORLD_THINGS = 6,
    WORLD_TOPICS = 12
};

typedef struct world_act {
    const char *safe, *advice, *safe_key; /* a harmless act, how it is done, the word that tells it */
    const char *unsafe, *deed, *harm;     /* one to be refused; `harm` occurs in no harmless text */
} world_act;

extern const char *const WORLD_NAMES[WORLD_PEOPLE + 1];
extern const char *const *const WORLD_VALUES[WORLD_ATTRIBUTES];
extern const char *const WORLD_ATTRIBUTE_NAMES[WORLD_ATTRIBUTES];
extern const uint8_t WORLD_FACTS[WORLD_PEOPLE][WORLD_ATTRIBUTES];
extern const char *const WORLD_OPPOSITES[WORLD_OPPOSITE_WORDS + 1];
extern const char *const WORLD_NUMBERS[WORLD_DIGITS + 1];
extern const char *const WORLD_ITEMS[WORLD_THINGS];
extern const world_act WORLD_ACTS[WORLD_TOPICS];

/*
 * Draws: the k-th of a stream is mix(key + (k + 1) * 2^64/phi), the key a mix of seed, purpose and index (SplitMix64's
 * finaliser), so nothing depends on what was drawn elsewhere.
 */
typedef enum world_purpose {
    WORLD_FOR_DOCUMENT = 1,
    WORLD_FOR_PROMPT,
    WORLD_FOR_EVALUATION,
    WORLD_FOR_STYLE,
    WORLD_FOR_ANSWER,
    WORLD_FOR_PAIR,
    WORLD_FOR_LABEL,
    WORLD_FOR_INSTRUCTION
} world_purpose;

typedef struct world_rng {
    uint64_t key, count;
} world_rng;

world_rng world_draws(uint64_t seed, world_purpose purpose, uint64_t index);
uint32_t world_below(world_rng *rng, uint32_t n);                        /* 0 .. n - 1 */
double world_uniform(world_rng *rng);                                    /* [0, 1) */
uint32_t world_pick(world_rng *rng, const uint8_t *percent, uint32_t n); /* index by shares that sum to 100 */

/* What stands for $n $v $a $b $c $i $q in a pattern. */
typedef struct world_words {
    const char *n, *v, *a, *b, *c, *i;
    char q[96];
} world_words;

void world_fill(char *text, size_t size, const char *pattern, const world_words *words);
void world_prompt_words(const world_prompt *prompt, world_words *words);
uint32_t world_list_length(const char *const *list);

/* Statement forms of a person's attribute, with $n and $v; NULL-terminated. */
extern const char *const *const WORLD_STATEMENTS[WORLD_ATTRIBUTES];

/* A prompt of a kind, drawn from rng; held_out chooses the phrasings; two: as a second turn, where the kind can be one.
 */
void world_draw_prompt(world_rng *rng, world_kind kind, bool held_out, bool two, world_prompt *prompt);

/* One right sentence without opener and full stop; false past the last. */
bool world_right_sentence(const world_prompt *prompt, uint32_t index, char sentence[WORLD_TEXT]);

extern const char *const WORLD_OPENERS[], *const WORLD_APOLOGIES[], *const WORLD_REFUSALS[], *const WORLD_VAGUENESS[];
extern const char *const WORLD_INSULTS[], *const WORLD_CHATTER[], *const WORLD_RUDE_ENDINGS[],
                                                                      *const WORLD_RUDE_MARKS[];

#endif
