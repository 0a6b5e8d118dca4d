/* Training a reward model on comparisons (section 3.2.2). */
#ifndef L2_TRAIN_REWARD_H
#define L2_TRAIN_REWARD_H

#include "train/trainer.h"
#include <llama2/reward.h>

float l2_reward_margin(int32_t scheme, int32_t rating);

llama2_status l2_reward_accumulate(llama2_trainer *trainer, const llama2_pairs *pairs, llama2_reward_metrics *metrics);
/* Where all pairs are left out, nothing is updated. */
llama2_status l2_reward_step(llama2_trainer *trainer, const llama2_pairs *pairs, llama2_reward_metrics *metrics);
llama2_status l2_reward_evaluate(const llama2_reward_model *reward_model, const llama2_pairs *pairs,
                                 llama2_reward_metrics *metrics, float *scores);

#endif
