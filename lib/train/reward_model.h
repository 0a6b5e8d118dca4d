/* A reward model or critic: a model with the score head, and the normalisation of its scores. */
#ifndef L2_TRAIN_REWARD_MODEL_H
#define L2_TRAIN_REWARD_MODEL_H

#include "model/model.h"
#include <llama2/reward.h>

struct llama2_reward_model {
    llama2_context *ctx;
    atomic_int references;
    llama2_model *model; /* L2_HEAD_SCORE */
    double shift, scale; /* score = scale * (raw - shift), scale > 0; read and written with the model entered */
};

/* `head`: LLAMA2_HEAD_*; on a copy of the trunk, or on that of `from` itself. */
llama2_status l2_reward_model_create(llama2_context *ctx, const llama2_model *from, int32_t head,
                                     llama2_reward_model **out);
llama2_status l2_reward_model_create_shared(llama2_model *from, int32_t head, llama2_reward_model **out);
llama2_status l2_reward_model_clone(const llama2_reward_model *from, llama2_reward_model **out);
llama2_status l2_reward_model_load(llama2_context *ctx, const char *path, const llama2_model_options *options,
                                   llama2_reward_model **out);
llama2_reward_model *l2_reward_model_retain(llama2_reward_model *reward_model);
void l2_reward_model_release(llama2_reward_model *reward_model);
llama2_status l2_reward_model_set_normalisation(llama2_reward_model *reward_model, double shift, double scale);
llama2_status l2_reward_model_normalisation(const llama2_reward_model *reward_model, double *shift, double *scale);

/* The head's value at each sequence's last token, after shift and scale. scores: n_sequences. */
llama2_status l2_reward_model_scores(const llama2_reward_model *reward_model, const llama2_batch *batch, float *scores);
/* The head's value at each token. */
llama2_status l2_reward_model_values(const llama2_reward_model *reward_model, const llama2_batch *batch, float *values);

#endif
