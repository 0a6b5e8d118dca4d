/* Scores of rollouts: from reward models, and the paper's combination of two (section 3.2.3). */
#ifndef L2_TRAIN_SCORES_H
#define L2_TRAIN_SCORES_H

#include "infer/rollouts.h"
#include "train/reward_model.h"

/* Into `array`: SCORES, HELPFUL_SCORES or SAFETY_SCORES. */
llama2_status l2_rollouts_score(llama2_rollouts *rollouts, const llama2_reward_model *reward_model, int32_t array);

llama2_status l2_rollouts_combine(llama2_rollouts *rollouts, const uint8_t *is_safety,
                                  const llama2_combine_options *options);

/* log(p / (1 - p)) in double; p in [0, 1], the ends give -inf and inf. */
double l2_logit(double p);

#endif
