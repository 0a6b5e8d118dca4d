#include "train/distill.h"
#include "infer/generate.h"
#include "model/forward.h"
#include "train/scores.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static llama2_status check_prompts(const llama2_rollouts *a, const llama2_rollouts *b)
{
    if (a->n_samples != b->n_samples || a->samples_per_prompt != b->samples_per_prompt) {
        return l2_fail(LLAMA2_E_MISMATCH,
                       "distill: %" PRId32 " original and %" PRId32 " distilled samples, %" PRId32 " and %" PRId32
                       " a prompt: the numbers must be the same",
                       a->n_samples, b->n_samples, a->samples_per_prompt, b->samples_per_prompt);
    }
    for (int32_t s = 0; s < a->n_samples; s++) {
        int32_t n = a->prompt_lengths[s];
        if (b->prompt_lengths[s] != n ||
            memcmp(a->tokens + a->offsets[s], b->tokens + b->offsets[s], (size_t)n * sizeof *a->tokens) != 0) {
            return l2_fail(LLAMA2_E_MISMATCH,
                           "distill: sample %" PRId32 " answers another prompt in the distilled rollouts; "
                           "llama2_rollouts_after puts responses after the bare prompts",
                           s);
        }
    }
    return LLAMA2_OK;
}

static llama2_status check_scores(const float *scores, int32_t n, const char *name)
{
    for (int32_t s = 0; s < n; s++) {
        if (!isfinite(scores[s])) {
            return l2_fail(LLAMA2_E_NUMERIC, "distill: the safety score of %s sample %" PRId32 " is %g, not finite",
                           name, s, (double)scores[s]);
        }
    }
    return LLAMA2_OK;
}

llama2_status l2_distill_gate(const llama2_rollouts *original, const llama2_rollouts *distilled, uint8_t *keep,
                              llama2_distill_metrics *m)
{
    const float *before, *after;
    int32_t n = original->n_samples;
    L2_TRY(check_prompts(original, distilled));
    L2_TRY(l2_rollouts_need(original, LLAMA2_ROLLOUTS_SAFETY_SCORES, &before));
    L2_TRY(l2_rollouts_need(distilled, LLAMA2_ROLLOUTS_SAFETY_SCORES, &after));
    L2_TRY(check_scores(before, n, "original"));
    L2_TRY(check_scores(after, n, "distilled"));
    *m = (llama2_distill_metrics){.struct_size = sizeof *m, .n_samples = n};
    for (int32_t s = 0; s < n; s++) {
        keep[s] = after[s] > before[s];
        m->n_equal += after[s] == before[s];
        m->mean_original += (double)before[s];
        m->mean_distilled += (double)after[s];
        if (!keep[s]) continue;
        m->n_kept++;
        m->mean_kept_original += (double)before[s];
        m->mean_kept_distilled += (double)after[s];
    }
    m->kept_share = (double)m->n_kept / n;
    m->mean_original /= n;
    m->mean_distilled /= n;
    if (m->n_kept > 0) {
        m->mean_kept_original /= m->n_kept;
        m->mean_kept_distilled /= m->n_kept;
    }
    return LLAMA2_OK;
}

llama2_status l2_distill(llama2_model *policy, const llama2_reward_model *safety, const llama2_batch *prompts,
                         const llama2_batch *preprompted, const llama2_rollout_options *options,
                         llama2_rollouts **original, llama2_rollouts **distilled, uint8_t *keep,
                         llama2_distill_metrics *metrics)
{
    llama2_status status = LLAMA2_OK;
    llama2_rollouts *before = NULL, *sampled = NULL, *after = NULL;
    llama2_rollout_options behind = *options;
    llama2_sampling sampling = *options->sampling;
    if (prompts->n_sequences != preprompted->n_sequences) {
        return l2_fail(LLAMA2_E_MISMATCH, "distill: %" PRId32 " prompts and %" PRId32 " with a preprompt",
                       prompts->n_sequences, preprompted->n_sequences);
    }
    L2_TRY(l2_rollout_check(policy, preprompted, options)); /* before the other one takes its time */
    L2_TRY(l2_batch_check(safety->model, prompts));
    L2_CHECK(l2_rollout(policy, prompts, options, NULL, &before));
    sampling.sample_id += (uint64_t)before->n_samples;
    behind.sampling = &sampling;
    L2_CHECK(l2_rollout(policy, preprompted, &behind, NULL, &sampled));
    L2_CHECK(l2_rollouts_after(sampled, prompts, &after));
    L2_CHECK(l2_rollouts_score(before, safety, LLAMA2_ROLLOUTS_SAFETY_SCORES));
    L2_CHECK(l2_rollouts_score(after, safety, LLAMA2_ROLLOUTS_SAFETY_SCORES));
    L2_CHECK(l2_distill_gate(before, after, keep, metrics));
    *distilled = after;
    after = NULL;
    if (original) {
        *original = before;
        before = NULL;
    }
done:
    l2_rollouts_free(before);
    l2_rollouts_free(sampled);
    l2_rollouts_free(after);
    return status;
}
