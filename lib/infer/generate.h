/* Batched generation: many sequences at once, prompts shared by their samples, finished places filled again. */
#ifndef L2_INFER_GENERATE_H
#define L2_INFER_GENERATE_H

#include "infer/rollouts.h"
#include "model/model.h"

/* Options are complete and checked, `sampling` among them, which alone says how tokens are drawn; prompts too. */
llama2_status l2_generate(llama2_model *model, const llama2_batch *prompts, const llama2_rollout_options *options,
                          llama2_rollouts **out);

#endif
