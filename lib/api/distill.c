/* include/llama2/distill.h */
#include "train/distill.h"
#include "api/rollouts.h"
#include "base/options.h"
#include "model/forward.h"

llama2_status llama2_distill_gate(const llama2_rollouts *original, const llama2_rollouts *distilled, uint8_t *keep,
                                  llama2_distill_metrics *metrics)
{
    llama2_distill_metrics full;
    if (!original || !distilled || !keep)
        return l2_fail(LLAMA2_E_INVALID, "llama2_distill_gate: original, distilled or keep is NULL");
    L2_TRY(l2_struct_check(metrics, "llama2_distill_metrics"));
    L2_TRY(l2_distill_gate(original, distilled, keep, &full));
    return metrics ? l2_struct_write(metrics, &full, sizeof full, "llama2_distill_metrics") : LLAMA2_OK;
}

llama2_status llama2_distill(llama2_model *policy, const llama2_reward_model *safety, const llama2_batch *prompts,
                             const llama2_batch *preprompted, const llama2_rollout_options *options,
                             llama2_rollouts **original, llama2_rollouts **distilled, uint8_t *keep,
                             llama2_distill_metrics *metrics)
{
    llama2_rollout_options o;
    llama2_sampling sampling;
    llama2_batch bare, behind;
    llama2_distill_metrics full;
    if (original) *original = NULL;
    if (!distilled) return l2_fail(LLAMA2_E_INVALID, "llama2_distill: distilled is NULL");
    *distilled = NULL;
    if (!policy || !safety || !keep) return l2_fail(LLAMA2_E_INVALID, "llama2_distill: policy, safety or keep is NULL");
    L2_TRY(l2_context_check(policy->ctx));
    L2_TRY(l2_rollout_options_read(options, &o, &sampling));
    L2_TRY(l2_batch_read(prompts, &bare));
    L2_TRY(l2_batch_read(preprompted, &behind));
    L2_TRY(l2_struct_check(metrics, "llama2_distill_metrics"));
    L2_TRY(l2_distill(policy, safety, &bare, &behind, &o, original, distilled, keep, &full));
    return metrics ? l2_struct_write(metrics, &full, sizeof full, "llama2_distill_metrics") : LLAMA2_OK;
}
