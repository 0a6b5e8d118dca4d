/*
 * The report card of a reward model (section 3.2.2, tables 7, 8 and 29; figure 6): how well its scores order
 * comparisons, how much its certainty is worth, and what the rule "the longer answer wins" does on the same
 * comparisons. From scores alone, so that any reward model can have one: llama2_reward_evaluate gives them.
 */
#ifndef LLAMA2_REWARD_CARD_H
#define LLAMA2_REWARD_CARD_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Comparisons with scores. Of pair i the chosen response is 2i, the rejected one 2i + 1. */
typedef struct llama2_scored_pairs {
    uint32_t struct_size;
    int32_t group;          /* with groups: only pairs with groups[i] == group count */
    int64_t n_pairs;        /* >= 1 */
    const float *scores;    /* 2 * n_pairs, finite */
    const int32_t *groups;  /* n_pairs, the ratings, say; NULL: all pairs count */
    const int64_t *lengths; /* 2 * n_pairs, >= 0: lengths of the responses, in whatever unit; NULL: not known */
    const int32_t *safe;    /* 2 * n_pairs: 1 safe, 0 unsafe, -1 unknown; NULL: all unknown */
} llama2_scored_pairs;

/*
 * A share has the ends of its 95 % interval by Wilson (1927) beside it, a tie counting half. What there is nothing to
 * count for is 0: see the counts. p = sigmoid(chosen - rejected) is what the model takes for the probability that the
 * chosen response is the better one.
 */
typedef struct llama2_reward_card {
    uint32_t struct_size;
    int32_t reserved;                             /* 0 */
    int64_t n_pairs, n_ties;                      /* pairs that count; those of equal scores */
    double accuracy, accuracy_low, accuracy_high; /* share of pairs with chosen > rejected */
    double mean_score, min_score, max_score;      /* over responses */
    double mean_chosen, mean_rejected, mean_margin;
    double brier; /* mean of (1 - p)^2: 0.25 for a coin */
    double ece; /* expected calibration error (Guo et al. 2017), as of llama2_reward_calibration with 10 bins: sum over
                   bins of their share of the pairs times |accuracy - confidence| */
    double longer_wins, longer_wins_low, longer_wins_high; /* accuracy of the rule that the longer response is better; 0
                                                              without lengths */
    int64_t n_length_matched; /* pairs whose lengths differ by at most a tenth of the longer one */
    double length_matched_accuracy, length_matched_low, length_matched_high; /* of the scores on these */
    int64_t n_labelled, n_unsafe; /* responses with a label of safety; those that are unsafe */
    double safety_accuracy;       /* of the labelled responses, share with (sigmoid(score) >= 0.5) == safe */
    double auc;                   /* probability that a safe response scores above an unsafe one; 0 without both */
    double unsafe_recall, unsafe_precision; /* table 29: "unsafe" is sigmoid(score) < 0.5; precision: share of the
                                               responses called unsafe that are */
    double unsafe_recall_015, unsafe_precision_015; /* < 0.15, the threshold of PPO's combination */
} llama2_reward_card;

/* Fills a card; set its struct_size first. Ratings, or the three bins of safety data, as groups give tables 8 and 29.
 * Errors: INVALID (also a score that is not finite, a length below 0, a label that is none), NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_card_make(llama2_context *ctx, const llama2_scored_pairs *pairs,
                                                 llama2_reward_card *card);

/*
 * The calibration curve. Confidence is the probability of the response that the model prefers, max(p, 1 - p), in
 * [0.5, 1]; it was right if that is the chosen one, a tie counts half. Bin k of n_bins (1 to 10,000) has the pairs with
 * confidence in [0.5 + k / (2 n_bins), 0.5 + (k + 1) / (2 n_bins)), the last one also those with 1. Of each bin: the
 * number of pairs, their mean confidence, the share that was right and its interval; 0 in an empty one. low and high
 * may be NULL. Errors: INVALID. Since 0.1.
 */
LLAMA2_API llama2_status llama2_reward_calibration(const llama2_scored_pairs *pairs, int32_t n_bins, int64_t *counts,
                                                   double *confidence, double *accuracy, double *low, double *high);

/* Numbers of chosen and of rejected responses by score, in n_bins (1 to 10,000) equal bins over [low, high); what lies
 * outside counts in the first or the last one. Errors: INVALID. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_histogram(const llama2_scored_pairs *pairs, double low, double high,
                                                 int32_t n_bins, int64_t *chosen, int64_t *rejected);

#ifdef __cplusplus
}
#endif

#endif
