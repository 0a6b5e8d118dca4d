/* How a reward model does on comparisons, from its scores. */
#ifndef L2_TRAIN_REWARD_CARD_H
#define L2_TRAIN_REWARD_CARD_H

#include "base/status.h"
#include <llama2/reward_card.h>

enum { L2_CARD_BINS = 10, L2_MOST_BINS = 10000 };

llama2_status l2_scored_pairs_check(const llama2_scored_pairs *pairs);
llama2_status l2_reward_card_make(llama2_context *ctx, const llama2_scored_pairs *pairs, llama2_reward_card *card);
void l2_reward_calibration(const llama2_scored_pairs *pairs, int32_t n_bins, int64_t *counts, double *confidence,
                           double *accuracy, double *low, double *high);
void l2_reward_histogram(const llama2_scored_pairs *pairs, double low, double high, int32_t n_bins, int64_t *chosen,
                         int64_t *rejected);

#endif
