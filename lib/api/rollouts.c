/* include/llama2/rollouts.h */
#include "base/options.h"
#include "infer/generate.h"
#include "infer/rollouts_io.h"
#include "infer/sampler.h"
#include "infer/stops.h"
#include "model/forward.h"
#include "tokenizer/tokenizer.h"
#include "train/scores.h"
#include <inttypes.h>

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

static llama2_status check_stops(const llama2_model *policy, const llama2_rollout_options *o)
{
    static const char call[] = "llama2_rollout";
    L2_TRY(l2_stops_check(o->stops, o->stop_lengths, o->n_stops, call));
    if (o->n_stops == 0) return LLAMA2_OK;
    if (!o->tokenizer) return l2_fail(LLAMA2_E_INVALID, "%s: stop strings need the model's tokenizer", call);
    if (o->tokenizer->n_pieces > policy->config.vocab_size)
        return l2_fail(LLAMA2_E_MISMATCH,
                       "%s: the tokenizer has %" PRId32 " pieces, the model a vocabulary of %" PRId32, call,
                       o->tokenizer->n_pieces, policy->config.vocab_size);
    return l2_decode_check(o->decode_flags, call);
}

static llama2_status check_rollout(const llama2_model *policy, const llama2_batch *prompts,
                                   const llama2_rollout_options *o)
{
    L2_TRY(l2_batch_check(policy, prompts));
    L2_TRY(l2_sampling_check(o->sampling, policy->config.vocab_size, -1));
    L2_TRY(check_stops(policy, o));
    if (o->samples_per_prompt < 1 || o->max_new_tokens < 1 || o->max_parallel < 0) {
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_rollout: samples_per_prompt %" PRId32 " and max_new_tokens %" PRId32
                       " must be >= 1, max_parallel %" PRId32 " >= 0",
                       o->samples_per_prompt, o->max_new_tokens, o->max_parallel);
    }
    if (o->samples_per_prompt > INT32_MAX / prompts->n_sequences) {
        return l2_fail(LLAMA2_E_LIMIT,
                       "llama2_rollout: %" PRId32 " samples for each of %" PRId32 " prompts are more than %" PRId32,
                       o->samples_per_prompt, prompts->n_sequences, INT32_MAX);
    }
    for (int32_t s = 0; s < prompts->n_sequences; s++) {
        if (prompts->offsets[s + 1] - prompts->offsets[s] >= policy->config.max_seq_len) {
            return l2_fail(LLAMA2_E_CONTEXT,
                           "llama2_rollout: prompt %" PRId32 " has %" PRId64 " tokens; the context of %" PRId32
                           " holds one of %" PRId32 " with a response",
                           s, prompts->offsets[s + 1] - prompts->offsets[s], policy->config.max_seq_len,
                           policy->config.max_seq_len - 1);
        }
    }
    return LLAMA2_OK;
}

/* How tokens are drawn: what o->sampling says, or else the fields of the options. Into `full`, which they then point
 * to. */
static llama2_status read_sampling(llama2_rollout_options *o, llama2_sampling *full)
{
    llama2_sampling_init(full, sizeof *full);
    if (o->sampling) {
        L2_TRY(l2_options_read(o->sampling, full, sizeof *full, "llama2_sampling"));
    } else {
        full->top_k = o->top_k;
        full->temperature = o->temperature;
        full->top_p = o->top_p;
        full->seed = o->seed;
        full->sample_id = o->first_sample_id;
    }
    o->sampling = full;
    return LLAMA2_OK;
}

llama2_status llama2_rollout(llama2_model *policy, const llama2_batch *prompts, const llama2_rollout_options *options,
                             llama2_rollouts **out)
{
    llama2_rollout_options o = rollout_defaults;
    llama2_sampling sampling;
    llama2_batch b;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_rollout: out is NULL");
    *out = NULL;
    if (!policy) return l2_fail(LLAMA2_E_INVALID, "llama2_rollout: policy is NULL");
    L2_TRY(l2_context_check(policy->ctx));
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_rollout_options"));
    L2_TRY(read_sampling(&o, &sampling));
    L2_TRY(l2_batch_read(prompts, &b));
    L2_TRY(check_rollout(policy, &b, &o));
    L2_TRY(l2_model_enter(policy, 0));
    llama2_status status = l2_generate(policy, &b, &o, out);
    l2_model_leave(policy, 0);
    return status;
}

llama2_status llama2_rollouts_create(llama2_context *ctx, const llama2_batch *sequences, const int32_t *prompt_lengths,
                                     int32_t samples_per_prompt, int32_t eos_id, double temperature,
                                     llama2_rollouts **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_rollouts *rollouts = NULL;
    llama2_batch b;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_create: out is NULL");
    *out = NULL;
    if (!ctx || !sequences || !prompt_lengths)
        return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_create: ctx, sequences or prompt_lengths is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_batch_read(sequences, &b));
    if (!b.tokens || !b.offsets) return l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_create: tokens or offsets is NULL");
    L2_CHECK(l2_rollouts_new(ctx, b.n_sequences, samples_per_prompt, temperature, &rollouts));
    for (int32_t s = 0; s < b.n_sequences; s++) {
        int64_t first = b.offsets[s], end = b.offsets[s + 1];
        if (first != rollouts->n_tokens || end <= first || end > b.n_tokens) {
            L2_CHECK(l2_fail(LLAMA2_E_INVALID,
                             "llama2_rollouts_create: sequence %" PRId32 " is tokens %" PRId64 " .. %" PRId64
                             " of %" PRId64,
                             s, first, end, b.n_tokens));
        }
        L2_CHECK(l2_rollouts_append(rollouts, b.tokens + first, end - first, prompt_lengths[s], NULL,
                                    b.tokens[end - 1] == eos_id ? LLAMA2_END_EOS : LLAMA2_END_LENGTH));
    }
    if (rollouts->n_tokens != b.n_tokens) {
        L2_CHECK(l2_fail(LLAMA2_E_INVALID, "llama2_rollouts_create: offsets end at %" PRId64 ", n_tokens is %" PRId64,
                         rollouts->n_tokens, b.n_tokens));
    }
    *out = rollouts;
    rollouts = NULL;
done:
    l2_rollouts_free(rollouts);
    return status;
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
