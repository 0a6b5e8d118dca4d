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
    int32_t version;              /* of the model that sampled, >= 0; default 0 */
    int32_t keep;                 /* best samples of a prompt to keep; default 1 */
    int32_t leave_out_unsafe;     /* 1 (default): samples with a safety score below the threshold are left out; needs
                                     SAFETY_SCORES, else none is */
    double unsafe_below;          /* on sigmoid of the safety score; default 0.15 */
    int32_t leave_out_unfinished; /* 1 (default): samples that neither EOS nor a stop string has ended are left out */
    int32_t reserved;
    const uint8_t *is_safety; /* one a prompt: what llama2_pool_sample says of it; NULL (default): 0 */
} llama2_pool_add_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_pool_add_options_init(llama2_pool_add_options *options, size_t size);

typedef struct llama2_pool_metrics {
    uint32_t struct_size;
    int32_t n_prompts, n_kept, n_unsafe;       /* prompts; samples kept, and left out as unsafe */
    double mean_score, mean_best, mean_median; /* over prompts: of all samples, of the best, of the median */
    int32_t n_unfinished, n_duplicates;        /* samples left out; like n_unsafe among those that were looked at */
    int32_t n_empty, reserved;                 /* prompts that have no sample to be kept */
} llama2_pool_metrics;

/*
 * Keeps the best samples of scored rollouts. prompt_ids: one a prompt, the host's names for them: kept samples of equal
 * id compete. The K samples of a prompt are looked at from the best on until `keep` are kept (of two prompts of one id
 * in one call, each keeps as many): left out are, in this order, those that have not ended, unsafe ones, and those that
 * say the same as one that is kept. What the version has said before is not kept twice. Errors: STATE without SCORES;
 * INVALID for options out of their range; NOMEM. The pool is then as it was. Since 0.1.
 */
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
    int32_t rank;      /* 0: the best of its prompt among those asked for, 1: the next one, ... */
    int32_t ended_by;  /* LLAMA2_END_* */
    int32_t is_safety; /* its prompt is about safety */
    int32_t unsafe;    /* 1: llama2_pool_rescore found it so; then it is not among the best ones */
} llama2_pool_sample;

/* The best sample of each prompt among versions first .. last, prompts by rising id: their number, and the i-th. Scores
 * of different versions are comparable when one reward gave them without whitening: llama2_pool_rescore. As an example
 * for llama2_sft_step a sample goes into a packer with weight 0 on its first prompt_length tokens and 1 on the others.
 *
 * These and the two below keep their last answer in the pool, `const` though it is: like calls that change it, they are
 * for one thread at a time. Errors: INVALID for versions or an index that can't be; NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_pool_count(const llama2_pool *pool, int32_t first, int32_t last, int64_t *count);
LLAMA2_API llama2_status llama2_pool_best(const llama2_pool *pool, int32_t first, int32_t last, int64_t index,
                                          llama2_pool_sample *sample);

/* The same of the best `top` samples of each prompt, the best first: no two of them say the same, of whatever versions
 * they are. A pool has them where `keep` was as large. Since 0.1. */
LLAMA2_API llama2_status llama2_pool_count_top(const llama2_pool *pool, int32_t first, int32_t last, int32_t top,
                                               int64_t *count);
LLAMA2_API llama2_status llama2_pool_top(const llama2_pool *pool, int32_t first, int32_t last, int32_t top,
                                         int64_t index, llama2_pool_sample *sample);

/* Every sample that the pool holds, in its order: prompts by rising id, then by falling score, then newer versions
 * first. Since 0.1. */
LLAMA2_API llama2_status llama2_pool_size(const llama2_pool *pool, int64_t *size);
LLAMA2_API llama2_status llama2_pool_get(const llama2_pool *pool, int64_t index, llama2_pool_sample *sample);

/*
 * Reward models are trained again for each version, and scores of different ones can't be compared. So, before a new
 * version's samples join: all samples of the pool as rollouts in the pool's order, one to a prompt, to be scored like
 * any others; and their SCORES (and SAFETY_SCORES, where they are there) in place of those that the pool had. Of the
 * options leave_out_unsafe and unsafe_below count: an unsafe sample stays in the pool, and is not among the best ones.
 * Without SAFETY_SCORES what was unsafe still is; with leave_out_unsafe 0 nothing is.
 * Errors: STATE for an empty pool, or without SCORES; MISMATCH for rollouts that are not this pool's. Since 0.1.
 */
LLAMA2_API llama2_status llama2_pool_rollouts(const llama2_pool *pool, llama2_rollouts **out);
LLAMA2_API llama2_status llama2_pool_rescore(llama2_pool *pool, const llama2_rollouts *scored,
                                             const llama2_pool_add_options *options);

/* Everything in the pool as a file and back. Since 0.1. */
LLAMA2_API llama2_status llama2_pool_save(const llama2_pool *pool, const char *path);
LLAMA2_API llama2_status llama2_pool_load(llama2_context *ctx, const char *path, llama2_pool **out);

#ifdef __cplusplus
}
#endif

#endif
