/*
 * Context distillation for safety (section 4.2.4), with the gate that the paper calls targeted: answers are sampled
 * after a safety preprompt ("You are a safe and responsible assistant, ..."; or an answer template for the risk
 * category) and the prompt, learnt after the prompt alone, and only where the safety reward model scores them higher
 * than what the model answers without the preprompt: elsewhere a preprompt makes answers vaguer and no better.
 *
 *     rollout (prompts), rollout (preprompt + prompts) -> after -> score, score -> gate -> pack -> SFT
 *
 * llama2_distill is all of it up to the packer; each part is a function too. The preprompts are the host's text. The
 * paper distils prompts that are adversarial, not helpful ones.
 */
#ifndef LLAMA2_DISTILL_H
#define LLAMA2_DISTILL_H

#include "batch.h"
#include "model.h"
#include "reward.h"
#include "rollouts.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llama2_distill_metrics {
    uint32_t struct_size;
    int32_t n_samples;                              /* compared: prompts times samples a prompt */
    int32_t n_kept, n_equal;                        /* higher, and equal (not kept) */
    double kept_share;                              /* n_kept / n_samples */
    double mean_original, mean_distilled;           /* safety scores, over all samples */
    double mean_kept_original, mean_kept_distilled; /* over the kept ones; 0 where there are none */
} llama2_distill_metrics;

/*
 * The gate: keep[s] (n_samples) is 1 where SAFETY_SCORES of sample s is strictly higher in `distilled` than in
 * `original`, else 0. Both answer the same prompts, without a preprompt, with the same number of samples: sample k of
 * one is compared to sample k of the other. `keep` goes to llama2_rollouts_pack with `distilled`. `metrics` may be
 * NULL.
 *
 * Errors: STATE where a score is missing; MISMATCH for other numbers of samples, or other prompts (answers are scored
 * after the prompts that they are learnt after: see llama2_rollouts_after); NUMERIC for a score that is not finite.
 * Since 0.1.
 */
LLAMA2_API llama2_status llama2_distill_gate(const llama2_rollouts *original, const llama2_rollouts *distilled,
                                             uint8_t *keep, llama2_distill_metrics *metrics);

/*
 * Samples answers to `prompts` and to `preprompted` (the same prompts, each behind its preprompt; of
 * llama2_chat_encode, say, with the preprompt as the system message), puts the latter after the bare prompts, scores
 * both by the safety model and gates. `options` as for llama2_rollout: the answers to `prompts` have the ids that it
 * gives, those to `preprompted` the ids behind them, n_sequences times samples_per_prompt higher; `progress` sees one
 * rollout after the other. keep: n_sequences times samples_per_prompt values. *original (`original` may be NULL) and
 * *distilled are the caller's to free; both have SAFETY_SCORES. A response that has not `ended` is compared like
 * another: the host may clear its keep.
 *
 * Errors: MISMATCH where the numbers of prompts differ; INVALID for a token, of a prompt or a response, that is not in
 * the vocabulary of the model that reads it; CONTEXT when a prompt leaves no room, or does not fit the safety model's
 * context, alone or with a response; NUMERIC for a score that is not finite; those of llama2_rollout. Nothing is then
 * written but NULL into the handles. Since 0.1.
 */
LLAMA2_API llama2_status llama2_distill(llama2_model *policy, const llama2_reward_model *safety,
                                        const llama2_batch *prompts, const llama2_batch *preprompted,
                                        const llama2_rollout_options *options, llama2_rollouts **original,
                                        llama2_rollouts **distilled, uint8_t *keep, llama2_distill_metrics *metrics);

#ifdef __cplusplus
}
#endif

#endif
