/* The options of a rollout, which several stages take. */
#ifndef L2_API_ROLLOUTS_H
#define L2_API_ROLLOUTS_H

#include <llama2/rollouts.h>

/* A host's options over the defaults. How tokens are drawn goes into `sampling`, which full->sampling then points to.
 */
llama2_status l2_rollout_options_read(const llama2_rollout_options *options, llama2_rollout_options *full,
                                      llama2_sampling *sampling);

#endif
