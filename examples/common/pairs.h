/* Comparisons as tokens, and how a reward model does on them. */
#ifndef EXAMPLES_PAIRS_H
#define EXAMPLES_PAIRS_H

#include "common/examples.h"

typedef struct pair_set {
    records records;
    const record **of; /* pair i's record */
    size_t n;
    llama2_comparisons *comparisons;
    int32_t margin; /* LLAMA2_MARGIN_* */
    size_t room, ends[ARGS_MAX]; /* ends: pairs up to the end of each file */
    int64_t *index; /* of the pairs of a batch */
    llama2_pairs pairs;
} pair_set;

/* Reads comparisons from all files. A pair is left out when one of its two dialogues has more than max_tokens; and, to
 * train on, when the chosen answer is unsafe and the other safe. */
bool pairs_open(app *a, const llama2_tokenizer *tokenizer, const args_list *files, int64_t max_tokens, int32_t margin,
                bool to_train, pair_set *out);
/* The same of comparisons that are there already; they must outlive the set. */
bool pairs_encode(app *a, const llama2_tokenizer *tokenizer, const records *all, int64_t max_tokens, int32_t margin,
                  bool to_train, pair_set *out);
/* Pairs index[0 .. n) into set->pairs; index NULL: first .. first + n - 1. */
bool pairs_batch(app *a, pair_set *set, const size_t *index, size_t first, size_t n, double safety_weight);
void pairs_close(pair_set *set);

/* A hash of what is learnt from: all tokens and their weights, margins, labels of safety. */
bool pairs_hash(app *a, pair_set *set, uint64_t *hash);

/* Sums over pairs; a tie counts half. longer: of the rule that the longer answer wins. */
typedef struct pair_tally {
    double n, right, longer;
} pair_tally;

typedef struct pair_figures {
    pair_tally all, by_rating[5];  /* by LLAMA2_RATING_*; the last one is of pairs without a rating */
    double loss, chosen, rejected; /* sums */
    double low, high;              /* scores */
} pair_figures;

/* Of the scores of the chosen answer and the other one. */
double pair_right(const float scores[2]);

/* Raw scores of pairs index[0 .. n), two each; index NULL: of the first n. */
bool pairs_score(app *a, pair_set *set, const size_t *index, size_t n, const llama2_reward_model *reward_model,
                 float *scores);
/* Shifts the model's scores so that their mean over the responses of these pairs is 0; spread: and scales them so that
 * their standard deviation is 1. Both are saved with the model. On the way, accuracy (may be NULL): of these pairs. */
bool pairs_centre(app *a, pair_set *set, const size_t *index, size_t n, bool spread, llama2_reward_model *reward_model,
                  double *accuracy);
/* The ranking loss of a pair, with the margin of its rating. */
double pairs_loss(const pair_set *set, const record *r, double chosen, double rejected);
/* How a reward model does on pairs index[0 .. n); index NULL: on the first n. */
bool pairs_judge(app *a, pair_set *set, const size_t *index, size_t n, const llama2_reward_model *reward_model,
                 pair_figures *out);

#endif
