/*
 * PPO (section 3.2.3): rollout -> score -> advantages -> update, on a llama2_rollouts. Where the paper is silent
 * (gamma, lambda, value clip, value loss, its weight, the critic's learning rate) the defaults are ours.
 */
#ifndef LLAMA2_PPO_H
#define LLAMA2_PPO_H

#include "rollouts.h"
#include "trainer.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Estimators of KL(policy || reference) from samples, with d = log pi - log pi_ref: k1 = d, k2 = d^2 / 2, k3 = exp(-d)
 * - 1 + d. */
enum { LLAMA2_KL_K1 = 1, LLAMA2_KL_K2 = 2, LLAMA2_KL_K3 = 3 };

typedef struct llama2_ppo_options {
    uint32_t struct_size;
    int32_t minibatch;          /* samples of one gradient step; default 64 */
    double beta;                /* of the KL penalty, 0 .. FLT_MAX; default 0.01; with 0 the estimate
                                   does not matter, even where it is infinite */
    double gamma, lambda;       /* default 1, 0.95 */
    double clip;                /* of the ratio; default 0.2 */
    double value_clip;          /* of the critic's change; default 0.2; 0: no clipping */
    double missing_eos_penalty; /* taken from the score of a response that did not end, on top of what
                                   llama2_combine_options took for the same, so set one of the two; at most FLT_MAX;
                                   default 0 */
    int32_t whiten_advantages;  /* 1 (default): mean 0, variance 1 (unbiased, n - 1) over the response tokens of the
                                   rollouts */
    int32_t whiten_rewards;     /* 1: variance 1, mean kept; default 0 */
    int32_t kl_estimator;       /* LLAMA2_KL_*, of the penalty; default K1 */
    int32_t epochs;             /* passes over the rollouts; default 1: one gradient step a minibatch */
    uint64_t seed;              /* of the order of the samples, which is drawn from (seed, epoch) with epochs from 0
                                   in each call: give each iteration another one, or all have the same order; default
                                   0 */
    int32_t shuffle;            /* 1 (default): samples in an order drawn from the seed; 0: as they come */
    int32_t reserved;
    double value_coef; /* of the value loss, where the policy's trainer has a value head: policy loss + value_coef *
                          value loss; default 0.1 */
} llama2_ppo_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_ppo_options_init(llama2_ppo_options *options, size_t size);

/* Means are over response tokens unless said otherwise. The names in brackets are those that users of the Python stacks
 * know. llama2_ppo_advantages sets kl to score, explained_variance, eos_share, response_length and distinct_1 to
 * repetition, llama2_ppo_update the others; each leaves the rest as it finds it, so begin with zeros and struct_size.
 */
typedef struct llama2_ppo_metrics {
    uint32_t struct_size;
    int32_t n_updates;          /* gradient steps on the policy */
    double kl;                  /* sum over a response of k1, mean over samples [objective/kl] */
    double entropy;             /* -log pi summed over a response, mean over samples [objective/entropy] */
    double non_score_reward;    /* sum of -beta KL, mean over samples [objective/non_score_reward] */
    double rlhf_reward;         /* score + non_score_reward [objective/rlhf_reward] */
    double score;               /* with missing_eos_penalty, mean over samples [objective/scores] */
    double policy_loss;         /* [loss/policy_avg] */
    double value_loss;          /* [loss/value_avg] */
    double approx_kl;           /* (new - old)^2 / 2 in the update [policy/approxkl_avg] */
    double clip_fraction;       /* [policy/clipfrac_avg] */
    double value_clip_fraction; /* [val/clipfrac_avg] */
    double policy_entropy;      /* of the distributions in the update [policy/entropy_avg] */
    double ratio, ratio_var;    /* mean and variance [val/ratio, val/ratio_var] */
    double explained_variance;  /* of the returns by the values [val/var_explained] */
    double eos_share;           /* share of responses that ended */
    double response_length;     /* mean, in tokens */
    double policy_grad_norm, value_grad_norm; /* means over gradient steps; with a value head the first is of both
                                                 losses together, the second 0 */
    double policy_lr, value_lr;
    int64_t step; /* the policy trainer's */
    /* What shows a policy that has found a weakness of the reward: */
    double distinct_1, distinct_2; /* different tokens, and pairs of neighbours, as a share of all in the responses (Li
                                      et al. 2016) */
    double repetition; /* share of a response's runs of 4 tokens that it has had before, mean over the responses with
                          such runs (seq-rep-4 of Welleck et al. 2020) */
    int32_t policy_skipped, value_skipped; /* gradient steps that were left out (max_bad_steps); value_skipped counts
                                              a separate critic's. Means are over the others, 0 if there are none */
} llama2_ppo_metrics;

/* REF_LOGPROBS of a frozen reference, VALUES of a critic: what advantages needs. A host may set them itself. Errors: as
 * llama2_rollouts_score. Since 0.1. */
LLAMA2_API llama2_status llama2_rollouts_reference(llama2_rollouts *rollouts, const llama2_model *reference);
LLAMA2_API llama2_status llama2_rollouts_values(llama2_rollouts *rollouts, const llama2_reward_model *critic);

/*
 * Token rewards r_t = -beta KL_t + [t is the last] score; GAE: delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t +
 * gamma lambda A_{t+1}, values past the end 0; returns = A + V before the whitening of A. Needs SCORES, LOGPROBS,
 * REF_LOGPROBS, VALUES. Sets the objective part of the metrics (may be NULL).
 *
 * Errors: INVALID; STATE when an array is not there; NUMERIC when an advantage or return is not finite as a float (of
 * k3, where d is far below 0: exp(-d) passes FLT_MAX at -88.7), and both arrays are then as they were. Since 0.1.
 */
LLAMA2_API llama2_status llama2_ppo_advantages(llama2_rollouts *rollouts, const llama2_ppo_options *options,
                                               llama2_ppo_metrics *metrics);

/*
 * One gradient step a minibatch on policy and critic: policy loss max(-A rho, -A clip(rho, 1 +- clip)), value loss
 * max((V - R)^2, (clip(V, Vold +- value_clip) - R)^2) / 2, both means over the response tokens of the minibatch. Critic
 * NULL: the policy alone, or, where its trainer has a value head, both in one forward, one backward and one update of
 * policy loss + value_coef * value loss. Needs LOGPROBS, ADVANTAGES; for a critic or value head VALUES and RETURNS too.
 * Updates done before a failure or cancellation stay done and count in llama2_trainer_step; the metrics are untouched
 * then. Errors: those of llama2_trainer_accumulate, of both trainers; INVALID for options out of their range; MISMATCH
 * for a critic beside a value head, or a critic's trainer that is not one of llama2_trainer_create_for_reward; STATE
 * when an array is not there, or a trainer has gradients that no update has used; NUMERIC after max_bad_steps. Since
 * 0.1.
 */
LLAMA2_API llama2_status llama2_ppo_update(llama2_trainer *policy, llama2_trainer *critic,
                                           const llama2_rollouts *rollouts, const llama2_ppo_options *options,
                                           llama2_ppo_metrics *metrics);

/* Adaptive KL controller (Ziegler et al. 2019): beta * (1 + clip(kl / target - 1, +-0.2) * samples / horizon), the
 * factor at least 0.1, which only samples above 4.5 horizons would take lower. For finite numbers, beta, target and
 * horizon above 0 and samples >= 0; where it is otherwise, or the result would not be finite, beta stays as it is.
 * Since 0.1. */
LLAMA2_API double llama2_ppo_adapt_beta(double beta, double kl, double target, double horizon, int64_t samples);

#ifdef __cplusplus
}
#endif

#endif
