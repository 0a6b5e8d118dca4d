/* Packing of examples into a batch: SFT concatenates prompts and answers to fill the sequence (section 3.1). */
#ifndef L2_TRAIN_PACKING_H
#define L2_TRAIN_PACKING_H

#include "infer/rollouts.h"
#include <llama2/batch.h>

struct llama2_packer {
    llama2_context *ctx;
    llama2_packer_options options;
    int64_t n_tokens, capacity;
    int32_t n_sequences, sequence_capacity;
    int32_t *tokens;
    float *weights;
    int64_t *offsets; /* sequence_capacity + 1 */
    int64_t cut;
};

llama2_status l2_packer_create(llama2_context *ctx, const llama2_packer_options *options, llama2_packer **out);
void l2_packer_free(llama2_packer *packer);
llama2_status l2_packer_add(llama2_packer *packer, const int32_t *tokens, const float *weights, int64_t n);
llama2_status l2_packer_batch(const llama2_packer *packer, llama2_batch *out);
void l2_packer_clear(llama2_packer *packer);

/* Samples with keep[s] != 0 (NULL: all), weight 1 on their responses; all of them or, on failure, none. */
llama2_status l2_packer_add_rollouts(llama2_packer *packer, const llama2_rollouts *rollouts, const uint8_t *keep);

#endif
