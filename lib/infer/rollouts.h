/*
 * The container behind llama2_rollouts: samples one after the other, and the arrays that the stages compute on them.
 * The sampling engine fills it by l2_rollouts_append; the stages (lib/train/) read and write its arrays.
 */
#ifndef L2_INFER_ROLLOUTS_H
#define L2_INFER_ROLLOUTS_H

#include "base/context.h"
#include "base/status.h"
#include <llama2/rollouts.h>

enum { L2_ROLLOUTS_ARRAYS = 8 }; /* LLAMA2_ROLLOUTS_LOGPROBS ... LLAMA2_ROLLOUTS_SAFETY_SCORES */

struct llama2_rollouts {
    llama2_context *ctx;
    int32_t n_samples; /* planned; n_done of them are there */
    int32_t n_done;
    int32_t samples_per_prompt;
    double temperature; /* as asked for; 0: greedy */
    int64_t n_tokens, capacity;
    int32_t *tokens;                   /* capacity; prompt and response of each sample */
    int64_t *offsets;                  /* n_samples + 1 */
    int32_t *prompt_lengths;           /* n_samples */
    uint8_t *ended_by;                 /* n_samples, LLAMA2_END_* */
    uint8_t *ended;                    /* n_samples: by EOS or a stop string */
    float *arrays[L2_ROLLOUTS_ARRAYS]; /* NULL: not there; per-token ones have n_tokens values, 0 on the prompt */
};

/* An empty container for n_samples >= 1 samples, K a prompt. */
llama2_status l2_rollouts_new(llama2_context *ctx, int32_t n_samples, int32_t samples_per_prompt, double temperature,
                              llama2_rollouts **out);
void l2_rollouts_free(llama2_rollouts *rollouts);

/*
 * The next sample, in sample order: n_tokens tokens of prompt and response together, prompt_length of them prompt (1 <=
 * prompt_length < n_tokens); logprobs: one a token of the response (n_tokens - prompt_length), or NULL where there are
 * none (then for no sample); ended_by: LLAMA2_END_*. On failure nothing was added.
 */
llama2_status l2_rollouts_append(llama2_rollouts *rollouts, const int32_t *tokens, int64_t n_tokens,
                                 int32_t prompt_length, const float *logprobs, uint8_t ended_by);

/* The sequences of a host's batch as samples; one that ends with eos_id was ended by it. */
llama2_status l2_rollouts_from_batch(llama2_context *ctx, const llama2_batch *sequences, const int32_t *prompt_lengths,
                                     int32_t samples_per_prompt, int32_t eos_id, double temperature,
                                     llama2_rollouts **out);

/* The same responses after other prompts, one for each K samples; without the arrays. */
llama2_status l2_rollouts_after(const llama2_rollouts *from, const llama2_batch *prompts, llama2_rollouts **out);

/* What the host sees of ended_by. */
uint8_t l2_rollouts_has_ended(uint8_t ended_by);

/* All samples as a batch: a view. */
void l2_rollouts_batch(const llama2_rollouts *rollouts, llama2_batch *out);

/* What divides the logits wherever log-probabilities of these samples are computed: the temperature, or 1 where it is
 * 0. */
double l2_rollouts_temperature(const llama2_rollouts *rollouts);

/* Values in an array: n_tokens or n_samples. */
int64_t l2_rollouts_length(const llama2_rollouts *rollouts, int32_t array);

/* The array, made (zeros) where it is not there yet. */
llama2_status l2_rollouts_make(llama2_rollouts *rollouts, int32_t array, float **out);

/* The array, or LLAMA2_E_STATE naming it where it is not there. */
llama2_status l2_rollouts_need(const llama2_rollouts *rollouts, int32_t array, const float **out);

/* A copy of `values` into the array, 0 on the prompts; the host's numbers: n must fit, all finite. */
llama2_status l2_rollouts_put(llama2_rollouts *rollouts, int32_t array, const float *values, int64_t n);

#endif
