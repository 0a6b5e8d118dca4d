/* PPO on rollouts (section 3.2.3). */
#ifndef L2_TRAIN_PPO_H
#define L2_TRAIN_PPO_H

#include "infer/rollouts.h"
#include "train/trainer.h"
#include <llama2/ppo.h>

llama2_status l2_ppo_options_check(const llama2_ppo_options *options);

/* reference.c */
llama2_status l2_rollouts_reference(llama2_rollouts *rollouts, const llama2_model *reference);
llama2_status l2_rollouts_values(llama2_rollouts *rollouts, const llama2_reward_model *critic);

/* advantages.c: each sets its own part of `metrics` and leaves the rest; metrics is not NULL. */
double l2_kl_estimate(int32_t estimator, double log_ratio);
llama2_status l2_ppo_advantages(llama2_rollouts *rollouts, const llama2_ppo_options *options,
                                llama2_ppo_metrics *metrics);

/* diversity.c */
llama2_status l2_diversity(const llama2_rollouts *rollouts, double *distinct_1, double *distinct_2, double *repetition);

/* ppo.c; critic may be NULL. */
llama2_status l2_ppo_update(llama2_trainer *policy, llama2_trainer *critic, const llama2_rollouts *rollouts,
                            const llama2_ppo_options *options, llama2_ppo_metrics *metrics);
double l2_ppo_adapt_beta(double beta, double kl, double target, double horizon, int64_t samples);

#endif
