/* A rollout, checked against its model before the sampling engine sees it. */
#include "infer/generate.h"
#include "infer/sampler.h"
#include "infer/stops.h"
#include "model/forward.h"
#include "tokenizer/tokenizer.h"
#include <inttypes.h>

llama2_status l2_model_check_tokenizer(const llama2_model *model, const llama2_tokenizer *tokenizer, const char *call)
{
    if (tokenizer->n_pieces <= model->config.vocab_size) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_MISMATCH, "%s: the tokenizer has %" PRId32 " pieces, the model a vocabulary of %" PRId32,
                   call, tokenizer->n_pieces, model->config.vocab_size);
}

static llama2_status check_stops(const llama2_model *policy, const llama2_rollout_options *o)
{
    static const char call[] = "llama2_rollout";
    L2_TRY(l2_decode_check(o->decode_flags, call));
    L2_TRY(l2_stops_check(o->stops, o->stop_lengths, o->n_stops, call));
    if (o->n_stops == 0) return LLAMA2_OK;
    if (!o->tokenizer) return l2_fail(LLAMA2_E_INVALID, "%s: stop strings need the model's tokenizer", call);
    return l2_model_check_tokenizer(policy, o->tokenizer, call);
}

llama2_status l2_rollout_options_check(const llama2_model *policy, const llama2_rollout_options *o)
{
    L2_TRY(l2_sampling_check(o->sampling, policy->config.vocab_size, -1));
    L2_TRY(check_stops(policy, o));
    if (o->samples_per_prompt < 1 || o->max_new_tokens < 1 || o->max_parallel < 0) {
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_rollout: samples_per_prompt %" PRId32 " and max_new_tokens %" PRId32
                       " must be >= 1, max_parallel %" PRId32 " >= 0",
                       o->samples_per_prompt, o->max_new_tokens, o->max_parallel);
    }
    return LLAMA2_OK;
}

llama2_status l2_rollout_check(const llama2_model *policy, const llama2_batch *prompts, const llama2_rollout_options *o)
{
    L2_TRY(l2_batch_check(policy, prompts));
    L2_TRY(l2_rollout_options_check(policy, o));
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

llama2_status l2_rollout(llama2_model *policy, const llama2_batch *prompts, const llama2_rollout_options *options,
                         const uint64_t *ids, llama2_rollouts **out)
{
    *out = NULL;
    L2_TRY(l2_rollout_check(policy, prompts, options));
    L2_TRY(l2_model_enter(policy, L2_READS));
    llama2_status status = l2_generate(policy, prompts, options, ids, out);
    l2_model_leave(policy, L2_READS);
    return status;
}
