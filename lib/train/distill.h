/* Context distillation for safety, gated by the safety reward model (section 4.2.4). */
#ifndef L2_TRAIN_DISTILL_H
#define L2_TRAIN_DISTILL_H

#include "infer/rollouts.h"
#include "train/reward_model.h"
#include <llama2/distill.h>

llama2_status l2_distill_gate(const llama2_rollouts *original, const llama2_rollouts *distilled, uint8_t *keep,
                              llama2_distill_metrics *metrics);

/* Options are complete; the batches' structs are this library's. */
llama2_status l2_distill(llama2_model *policy, const llama2_reward_model *safety, const llama2_batch *prompts,
                         const llama2_batch *preprompted, const llama2_rollout_options *options,
                         llama2_rollouts **original, llama2_rollouts **distilled, uint8_t *keep,
                         llama2_distill_metrics *metrics);

#endif
