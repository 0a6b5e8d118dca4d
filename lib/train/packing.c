#include "train/packing.h"
#include "base/alloc.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

llama2_status l2_packer_create(llama2_context *ctx, const llama2_packer_options *options, llama2_packer **out)
{
    llama2_packer *packer;
    *out = NULL;
    if (options->max_length < 0)
        return l2_fail(LLAMA2_E_INVALID, "packer: max_length is %" PRId64 ", less than 0", options->max_length);
    L2_TRY(l2_calloc(ctx, 1, sizeof *packer, &packer));
    packer->ctx = l2_context_retain(ctx);
    packer->options = *options;
    *out = packer;
    return LLAMA2_OK;
}

void l2_packer_free(llama2_packer *packer)
{
    if (!packer) return;
    llama2_context *ctx = packer->ctx;
    l2_free(ctx, packer->tokens);
    l2_free(ctx, packer->weights);
    l2_free(ctx, packer->offsets);
    l2_free(ctx, packer);
    l2_context_release(ctx);
}

static llama2_status reserve(llama2_packer *packer, int64_t more)
{
    if (packer->n_tokens + more > packer->capacity) {
        int64_t capacity = 2 * packer->capacity + more;
        size_t used = (size_t)packer->n_tokens;
        L2_TRY(l2_realloc(packer->ctx, used, (size_t)capacity, sizeof *packer->tokens, &packer->tokens));
        L2_TRY(l2_realloc(packer->ctx, used, (size_t)capacity, sizeof *packer->weights, &packer->weights));
        packer->capacity = capacity;
    }
    if (packer->n_sequences == packer->sequence_capacity) {
        if (packer->n_sequences > INT32_MAX / 4)
            return l2_fail(LLAMA2_E_LIMIT, "packer: it takes no more than these %d sequences",
                           (int)packer->n_sequences);
        int32_t capacity = 2 * packer->sequence_capacity + 16;
        size_t used = packer->offsets ? (size_t)packer->n_sequences + 1 : 0;
        L2_TRY(l2_realloc(packer->ctx, used, (size_t)capacity + 1, sizeof *packer->offsets, &packer->offsets));
        packer->offsets[0] = 0;
        packer->sequence_capacity = capacity;
    }
    return LLAMA2_OK;
}

/* Does an example of n tokens go on in the last sequence? */
static int joins(const llama2_packer *packer, int64_t n)
{
    if (!packer->options.concatenate || packer->n_sequences == 0) return 0;
    int64_t length = packer->n_tokens - packer->offsets[packer->n_sequences - 1];
    return packer->options.max_length == 0 || length + n <= packer->options.max_length;
}

llama2_status l2_packer_add(llama2_packer *packer, const int32_t *tokens, const float *weights, int64_t n)
{
    int64_t max = packer->options.max_length;
    if (n < 1) return l2_fail(LLAMA2_E_INVALID, "packer: an example of %" PRId64 " tokens; at least one is needed", n);
    for (int64_t i = 0; i < n; i++) {
        if (tokens[i] < 0)
            return l2_fail(LLAMA2_E_INVALID, "packer: token %" PRId64 " is %" PRId32 ", less than 0", i, tokens[i]);
        if (weights && (!(weights[i] >= 0) || isinf(weights[i]))) {
            return l2_fail(LLAMA2_E_INVALID, "packer: weight %" PRId64 " is %g, not finite and >= 0", i,
                           (double)weights[i]);
        }
    }
    int64_t kept = max > 0 && n > max ? max : n;
    L2_TRY(reserve(packer, kept));
    int join = joins(packer, kept);
    memcpy(packer->tokens + packer->n_tokens, tokens, (size_t)kept * sizeof *tokens);
    float *to = packer->weights + packer->n_tokens;
    for (int64_t i = 0; i < kept; i++) to[i] = weights ? weights[i] : 1;
    if (join) to[0] = 0; /* what another example ends with says nothing about it */
    packer->n_tokens += kept;
    packer->n_sequences += !join;
    packer->offsets[packer->n_sequences] = packer->n_tokens;
    packer->cut += kept < n;
    return LLAMA2_OK;
}

llama2_status l2_packer_batch(const llama2_packer *packer, llama2_batch *out)
{
    if (packer->n_tokens == 0)
        return l2_fail(LLAMA2_E_STATE, "packer: nothing has been added, and a batch has at least one token");
    *out = (llama2_batch){
        .struct_size = sizeof *out,
        .n_sequences = packer->n_sequences,
        .n_tokens = packer->n_tokens,
        .tokens = packer->tokens,
        .offsets = packer->offsets,
        .loss_weight = packer->weights,
    };
    return LLAMA2_OK;
}

void l2_packer_clear(llama2_packer *packer)
{
    packer->n_tokens = 0;
    packer->n_sequences = 0;
}

llama2_status l2_packer_add_rollouts(llama2_packer *packer, const llama2_rollouts *r, const uint8_t *keep)
{
    llama2_status status = LLAMA2_OK;
    int64_t n_tokens = packer->n_tokens, cut = packer->cut, longest = 0;
    int32_t n_sequences = packer->n_sequences;
    float *weights = NULL;
    for (int32_t s = 0; s < r->n_samples; s++) {
        int64_t n = r->offsets[s + 1] - r->offsets[s];
        if (n > longest) longest = n;
    }
    L2_CHECK(l2_scratch_get(packer->ctx, (size_t)longest * sizeof *weights, &weights));
    for (int32_t s = 0; s < r->n_samples; s++) {
        int64_t n = r->offsets[s + 1] - r->offsets[s];
        if (keep && !keep[s]) continue;
        for (int64_t i = 0; i < n; i++) weights[i] = i < r->prompt_lengths[s] ? 0 : 1;
        L2_CHECK(l2_packer_add(packer, r->tokens + r->offsets[s], weights, n));
    }
done:
    l2_scratch_put(packer->ctx, weights);
    if (status < 0) {
        packer->n_tokens = n_tokens;
        packer->n_sequences = n_sequences;
        packer->cut = cut;
        if (packer->offsets) packer->offsets[n_sequences] = n_tokens;
    }
    return status;
}
