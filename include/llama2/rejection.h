/*
 * Rejection sampling (section 3.2.3): the best of K samples a prompt, over the pools of all versions so far, to be
 * fine-tuned on as in SFT.
 */
#ifndef LLAMA2_REJECTION_H
#define LLAMA2_REJECTION_H

#include "batch.h"
#include "rollouts.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An empty pool. Since 0.1. */
LLAMA2_API llama2_status llama2_pool_create(llama2_context *ctx, llama2_pool **out);
LLAMA2_API void llama2_pool_free(llama2_pool *pool);

typedef struct llama2_pool_add_options {
    uint32_t struct_size;
    int32_t version;          /* of the model that sampled, >= 0; default 0 */
    int32_t keep;             /* best samples of a prompt to keep; default 1 */
    int32_t leave_out_unsafe; /* 1 (default): a prompt whose samples all have a safety score below the threshold is left
                                 out; needs SAFETY_SCORES, else nothing is */
    double unsafe_below;      /* on sigmoid of the safety score; default 0.15 */
} llama2_pool_add_options;

LLAMA2_API void llama2_pool_add_options_init(llama2_pool_add_options *options, size_t size);

typedef struct llama2_pool_metrics {
    uint32_t struct_size;
    int32_t n_prompts, n_kept, n_unsafe;       /* prompts, samples kept, prompts left out as unsafe */
    double mean_score, mean_best, mean_median; /* over prompts: of all samples, of the best, of the median */
} llama2_pool_metrics;

/* Keeps the best samples of scored rollouts. prompt_ids: one a prompt, the host's names for them: samples of equal id
 * compete. Since 0.1. */
LLAMA2_API llama2_status llama2_pool_add(llama2_pool *pool, const llama2_rollouts *rollouts, const uint64_t *prompt_ids,
                                         const llama2_pool_add_options *options, llama2_pool_metrics *metrics);

/* A sample in the pool. Pointers are valid until the pool is changed or freed. */
typedef struct llama2_pool_sample {
    uint32_t struct_size;
    int32_t version;
    uint64_t prompt_id;
    const int32_t *tokens; /* prompt and response */
    int64_t n_tokens;
    int32_t prompt_length;
    float score;
} llama2_pool_sample;

/* The best sample of each prompt among versions first .. last, prompts by rising id: their number, and the i-th. Scores
 * of different versions are comparable when one reward gave them without whitening. Since 0.1. */
LLAMA2_API llama2_status llama2_pool_count(const llama2_pool *pool, int32_t first, int32_t last, int64_t *count);
LLAMA2_API llama2_status llama2_pool_best(const llama2_pool *pool, int32_t first, int32_t last, int64_t index,
                                          llama2_pool_sample *sample);

/* Everything in the pool as a file and back. Since 0.1. */
LLAMA2_API llama2_status llama2_pool_save(const llama2_pool *pool, const char *path);
LLAMA2_API llama2_status llama2_pool_load(llama2_context *ctx, const char *path, llama2_pool **out);

#ifdef __cplusplus
}
#endif

#endif
