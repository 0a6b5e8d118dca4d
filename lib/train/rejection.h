/* Rejection sampling (section 3.2.3): the pool of the best samples of all versions. */
#ifndef L2_TRAIN_REJECTION_H
#define L2_TRAIN_REJECTION_H

#include "infer/rollouts.h"
#include <llama2/rejection.h>

typedef struct l2_sample_pool_entry {
    uint64_t prompt_id;
    int32_t version, prompt_length;
    int32_t *tokens;
    int64_t n_tokens;
    float score;
    uint8_t ended_by, is_safety, unsafe;
} l2_sample_pool_entry;

struct llama2_pool {
    llama2_context *ctx;
    int64_t n, capacity;
    l2_sample_pool_entry *entries;    /* by prompt, then by falling score, newer version first, then as added */
    struct l2_sample_pool_best *best; /* the answer to the last question, kept */
};

llama2_status l2_sample_pool_create(llama2_context *ctx, llama2_pool **out);
void l2_sample_pool_free(llama2_pool *pool);
llama2_status l2_sample_pool_add(llama2_pool *pool, const llama2_rollouts *rollouts, const uint64_t *prompt_ids,
                                 const llama2_pool_add_options *options, llama2_pool_metrics *metrics);
llama2_status l2_sample_pool_count(const llama2_pool *pool, int32_t first, int32_t last, int32_t top, int64_t *count);
llama2_status l2_sample_pool_get_best(const llama2_pool *pool, int32_t first, int32_t last, int32_t top, int64_t index,
                                      llama2_pool_sample *sample);
llama2_status l2_sample_pool_get(const llama2_pool *pool, int64_t index, llama2_pool_sample *sample);
llama2_status l2_sample_pool_rollouts(const llama2_pool *pool, llama2_rollouts **out);
llama2_status l2_sample_pool_rescore(llama2_pool *pool, const llama2_rollouts *scored,
                                     const llama2_pool_add_options *options);

/* < 0: a stands before b; 0: as they were added. */
int l2_sample_pool_compare(const l2_sample_pool_entry *a, const l2_sample_pool_entry *b);

/* rejection_io.c */
llama2_status l2_sample_pool_save(const llama2_pool *pool, const char *path);
llama2_status l2_sample_pool_load(llama2_context *ctx, const char *path, llama2_pool **out);

#endif
