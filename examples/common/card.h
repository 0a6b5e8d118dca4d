/* The report card of a reward model on a set of comparisons (llama2/reward_card.h): as JSON, and drawn. */
#ifndef EXAMPLES_CARD_H
#define EXAMPLES_CARD_H

#include "common/pairs.h"
#include "common/report.h"

typedef struct card {
    const char *name; /* of the set */
    size_t n;
    float *scores;                  /* two a pair, as all arrays of responses */
    int32_t *ratings, *bins, *safe; /* a pair, a pair, a response; bins: of safety, 0 to 2, -1: labels are missing */
    int64_t *lengths;               /* of the answers in bytes */
    double loss;                    /* mean */
    llama2_reward_card all;
} card;

/* Scores all pairs of a set. */
bool card_make(app *a, pair_set *set, const llama2_reward_model *reward_model, const char *name, card *out);
void card_free(card *c);

/* All of it (docs/formats.md). NULL: failed. */
json_t *card_json(app *a, const card *c);

/* A page with a section for each card, into the folder. */
bool cards_report(app *a, const card *cards, size_t n, const char *model, const char *folder);

#endif
