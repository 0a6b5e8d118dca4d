/* include/llama2/rollouts.h */
#include "api/rollouts.h"
#include "base/options.h"
#include "infer/generate.h"
#include "infer/rollouts_io.h"
#include "model/forward.h"
#include "train/packing.h"
#include "train/scores.h"

static const llama2_rollout_options rollout_defaults = {.struct_size = sizeof rollout_defaults,
                                                        .samples_per_prompt = 1,
                                                        .max_new_tokens = 256,
                                                        .temperature = 1,
                                                        .top_p = 1};
static const llama2_combine_options combine_defaults = {
    .struct_size = sizeof combine_defaults, .whiten = 1, .threshold = 0.15};

void llama2_rollout_options_init(llama2_rollout_options *options, size_t size)
{
    l2_options_init(options, size, &rollout_defaults, sizeof rollout_defaults);
}

void llama2_combine_options_init(llama2_combine_options *options, size_t size)
{
    l2_options_init(options, size, &combine_defaults, sizeof combine_defaults);
}

llama2_status l2_rollout_options_read(const llama2_rollout_options *options, llama2_rollout_options *full,
                                      llama2_sampling *sampling)
{
    *full = rollout_defaults;
    L2_TRY(l2_options_read(options, full, sizeof *full, "llama2_rollout_options"));
    llama2_sampling_init(sampling, sizeof *sampling);
    if (full->sampling) {
        L2_TRY(l2_options_read(full->sampling, sampling, sizeof *sampling, "llama2_sampling"));
    } else {
        sampling->top_k = full->top_k;
        sampling->temperature = full->temperature;
        sampling->top_p = full->top_p;
        sampling->seed = full->seed;
        sampling->sample_id = full->first_sample_id;
    }
    full->sampling = sampling;
    return LLAMA2_OK;
}

llama2_status llama2_rollout(llama2_model *policy, const llama2_batch *prompts, const llama2_rollout_options *options,
                             llama2_rollouts **out)
{
    llama2_rollout_options o;
    llama2_sampling sampling;
    llama2_batch b;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_rollout: out is NULL");
    *out = NULL;
    if (!policy) return l2_fail(LLAMA2_E_INVALID, "llama2_rollout: policy is NULL");
    L2_TRY(l2_context_check(policy->ctx));
    L2_TRY(l2_rollout_options_read(options, &o, &sampling));
    L2_TRY(l2_batch_read(prompts, &b));
    return l2_rollout(policy, &b, &o, NULL, out);
}

llama2_status llama2_rollouts_create(llama2_context *ctx, const llama2_batch *sequences, const int32_t *prompt_lengths,
                                     int32_t samples_per_prompt, int32_t eos_id, double temperature,
                                     llama2_rollouts **out)
{
    llama2_batch b;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_create: out is NULL");
    *out = NULL;
    if (!ctx || !sequences || !prompt_lengths)
        return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_create: ctx, sequences or prompt_lengths is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_batch_read(sequences, &b));
    if (!b.tokens || !b.offsets) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_create: tokens or offsets is NULL");
    return l2_rollouts_from_batch(ctx, &b, prompt_lengths, samples_per_prompt, eos_id, temperature, out);
}

llama2_status llama2_rollouts_after(const llama2_rollouts *rollouts, const llama2_batch *prompts, llama2_rollouts **out)
{
    llama2_batch b;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_after: out is NULL");
    *out = NULL;
    if (!rollouts) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_after: rollouts is NULL");
    L2_TRY(l2_context_check(rollouts->ctx));
    L2_TRY(l2_batch_read(prompts, &b));
    return l2_rollouts_after(rollouts, &b, out);
}

llama2_status llama2_rollouts_pack(const llama2_rollouts *rollouts, const uint8_t *keep, llama2_packer *packer)
{
    if (!rollouts || !packer) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_pack: rollouts or packer is NULL");
    return l2_packer_add_rollouts(packer, rollouts, keep);
}

void llama2_rollouts_free(llama2_rollouts *rollouts)
{
    l2_rollouts_free(rollouts);
}

llama2_status llama2_rollouts_view_get(const llama2_rollouts *r, llama2_rollouts_view *view)
{
    if (!r || !view) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_view_get: rollouts or view is NULL");
    llama2_rollouts_view full = {
        .struct_size = sizeof full,
        .n_samples = r->n_samples,
        .samples_per_prompt = r->samples_per_prompt,
        .n_tokens = r->n_tokens,
        .temperature = r->temperature,
        .tokens = r->tokens,
        .offsets = r->offsets,
        .prompt_lengths = r->prompt_lengths,
        .ended = r->ended,
        .logprobs = r->arrays[LLAMA2_ROLLOUTS_LOGPROBS],
        .ref_logprobs = r->arrays[LLAMA2_ROLLOUTS_REF_LOGPROBS],
        .values = r->arrays[LLAMA2_ROLLOUTS_VALUES],
        .advantages = r->arrays[LLAMA2_ROLLOUTS_ADVANTAGES],
        .returns = r->arrays[LLAMA2_ROLLOUTS_RETURNS],
        .scores = r->arrays[LLAMA2_ROLLOUTS_SCORES],
        .helpful_scores = r->arrays[LLAMA2_ROLLOUTS_HELPFUL_SCORES],
        .safety_scores = r->arrays[LLAMA2_ROLLOUTS_SAFETY_SCORES],
        .ended_by = r->ended_by,
    };
    return l2_struct_write(view, &full, sizeof full, "llama2_rollouts_view");
}

llama2_status llama2_rollouts_set(llama2_rollouts *rollouts, int32_t array, const float *values, int64_t n)
{
    if (!rollouts || !values) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_set: rollouts or values is NULL");
    return l2_rollouts_put(rollouts, array, values, n);
}

llama2_status llama2_rollouts_score(llama2_rollouts *rollouts, const llama2_reward_model *reward_model)
{
    return llama2_rollouts_score_into(rollouts, reward_model, LLAMA2_ROLLOUTS_SCORES);
}

llama2_status llama2_rollouts_score_into(llama2_rollouts *rollouts, const llama2_reward_model *reward_model,
                                         int32_t array)
{
    if (!rollouts || !reward_model)
        return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_score: rollouts or reward_model is NULL");
    return l2_rollouts_score(rollouts, reward_model, array);
}

llama2_status llama2_rollouts_combine(llama2_rollouts *rollouts, const uint8_t *is_safety,
                                      const llama2_combine_options *options)
{
    llama2_combine_options o = combine_defaults;
    if (!rollouts) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_combine: rollouts is NULL");
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_combine_options"));
    return l2_rollouts_combine(rollouts, is_safety, &o);
}

llama2_status llama2_rollouts_save(const llama2_rollouts *rollouts, const char *path)
{
    if (!rollouts || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_save: rollouts or path is NULL");
    L2_TRY(l2_context_check(rollouts->ctx));
    return l2_rollouts_save(rollouts, path);
}

llama2_status llama2_rollouts_load(llama2_context *ctx, const char *path, llama2_rollouts **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_load: out is NULL");
    *out = NULL;
    if (!ctx || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_load: ctx or path is NULL");
    L2_TRY(l2_context_check(ctx));
    return l2_rollouts_load(ctx, path, out);
}
