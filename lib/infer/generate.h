/* Batched generation: many sequences at once, prompts shared by their samples, finished places filled again. */
#ifndef L2_INFER_GENERATE_H
#define L2_INFER_GENERATE_H

#include "infer/rollouts.h"
#include "model/model.h"

/*
 * Options are complete and checked, `sampling` among them, which alone says how tokens are drawn; prompts too. ids: of
 * the samples, one each; NULL: those that the sampling counts up from.
 */
llama2_status l2_generate(llama2_model *model, const llama2_batch *prompts, const llama2_rollout_options *options,
                          const uint64_t *ids, llama2_rollouts **out);

/* rollout.c: MISMATCH for a tokenizer with ids that the model does not have; the message begins with `call`. */
llama2_status l2_model_check_tokenizer(const llama2_model *model, const llama2_tokenizer *tokenizer, const char *call);
/* rollout.c: refuses complete options that are none for this model; and prompts too. */
llama2_status l2_rollout_options_check(const llama2_model *policy, const llama2_rollout_options *options);
llama2_status l2_rollout_check(const llama2_model *policy, const llama2_batch *prompts,
                               const llama2_rollout_options *options);
/* Checks, and samples. */
llama2_status l2_rollout(llama2_model *policy, const llama2_batch *prompts, const llama2_rollout_options *options,
                         const uint64_t *ids, llama2_rollouts **out);

#endif
