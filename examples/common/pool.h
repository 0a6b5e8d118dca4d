/* The best samples of all versions, as the programs use them (section 3.2.3): judged, kept, judged again, learnt. */
#ifndef EXAMPLES_POOL_H
#define EXAMPLES_POOL_H

#include "common/prompts.h"

/* Keeps the best `keep` of the scored samples of each prompt: prompts[index[.]]. Those that the safety model, where
 * there is one, puts below the threshold are left out. */
bool pool_add(app *a, const judges *j, const prompt_set *prompts, const size_t *index, int32_t version, int32_t keep,
              const llama2_rollouts *scored, llama2_pool *pool, llama2_pool_metrics *metrics);

/* Scores by these reward models in place of those that the pool had: only then can they be compared with those of new
 * samples. */
bool pool_rescore(app *a, const judges *j, llama2_pool *pool);

/* Adds the best `top` samples of each prompt among versions first .. last; it is an error if there is none. */
bool pool_examples(app *a, const llama2_pool *pool, int32_t first, int32_t last, int32_t top, example_set *out);

#endif
