/*
 * Batches: sequences of tokens one after the other, without padding. And a packer that makes them.
 */
#ifndef LLAMA2_BATCH_H
#define LLAMA2_BATCH_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A packed batch, a view of the caller's memory for the length of a call. Sequence s is tokens[offsets[s]] ..
 * tokens[offsets[s + 1] - 1]; offsets[0] is 0, offsets[n_sequences] is n_tokens, no sequence is empty. Each sequence
 * has positions from 0 and sees itself alone.
 *
 * A weight belongs to the *target*: loss_weight[t] multiplies -log p(tokens[t] | the tokens before it in its sequence).
 * The first token of a sequence has nothing before it, so its weight is not used. NULL: all weights are 1. Weights are
 * finite and >= 0.
 *
 * Calls that take a batch refuse what is not as said here, or has a token outside the vocabulary (INVALID), and
 * sequences longer than the model's context (CONTEXT).
 */
typedef struct llama2_batch {
    uint32_t struct_size;
    int32_t n_sequences;
    int64_t n_tokens;
    const int32_t *tokens;
    const int64_t *offsets;   /* n_sequences + 1 */
    const float *loss_weight; /* n_tokens, or NULL */
} llama2_batch;

typedef struct llama2_packer_options {
    uint32_t struct_size;
    int32_t concatenate; /* 1: examples are concatenated into sequences of up to max_length tokens that see each other,
                            as the paper does in SFT; 0 (default): each example is a sequence of its own */
    int64_t
        max_length; /* tokens of a sequence; longer examples are cut at the end and counted; 0 (default): no limit */
} llama2_packer_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_packer_options_init(llama2_packer_options *options, size_t size);

/* Makes an empty packer. Errors: INVALID, ABI, NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_packer_create(llama2_context *ctx, const llama2_packer_options *options,
                                              llama2_packer **out);
LLAMA2_API void llama2_packer_free(llama2_packer *packer);

/* Adds an example of n > 0 tokens, which are copied and must not be the packer's own (llama2_packer_batch); `weights`
 * (n values, not its own either) may be NULL: all 1. With `concatenate` the first token of an example that does not
 * begin a sequence gets weight 0: it can't be told from what another example ends with. Errors, which leave the packer
 * as it was: INVALID for n < 1, a token below 0, a weight that is not finite and >= 0; LIMIT where it has 2^30 - 16
 * sequences already; NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_packer_add(llama2_packer *packer, const int32_t *tokens, const float *weights,
                                           int64_t n);

/* What has been added, as a batch; set batch->struct_size first. Valid until the packer is changed or freed. Errors:
 * STATE when it is empty, ABI. Since 0.1. */
LLAMA2_API llama2_status llama2_packer_batch(const llama2_packer *packer, llama2_batch *batch);

/* Empties the packer and keeps its memory. Since 0.1. */
LLAMA2_API void llama2_packer_clear(llama2_packer *packer);

/* Tokens in the packer, and examples that were cut at max_length since it was made. Since 0.1. */
LLAMA2_API int64_t llama2_packer_tokens(const llama2_packer *packer);
LLAMA2_API int64_t llama2_packer_cut(const llama2_packer *packer);

#ifdef __cplusplus
}
#endif

#endif
