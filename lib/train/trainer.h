/*
 * The trainer: gradients that add up, and the update. All that it holds between two updates is a gradient arena (sums),
 * the sum of the losses and the sum of the weights.
 */
#ifndef L2_TRAIN_TRAINER_H
#define L2_TRAIN_TRAINER_H

#include "model/forward.h"
#include "train/optimizer.h"
#include "train/reward_model.h"
#include <llama2/trainer.h>

struct llama2_trainer {
    llama2_context *ctx;
    llama2_model *model;
    llama2_reward_model *reward_model; /* of which `model` is the model, or NULL */
    llama2_optimizer *optimizer;
    llama2_trainer_options options; /* its value head is kept alive */
    void *gradients;                /* the arena's layout and dtype */
    int64_t n_elements;             /* of them: the model's, and those of the value head behind them */
    l2_activations activations;

    /* since the last update */
    int accumulated; /* anything */
    double loss, weight;
    int64_t tokens;

    /* for ever */
    int64_t step, total_tokens, bad_total;
    int32_t bad_in_a_row;
};

/* One of model and reward_model is NULL. */
llama2_status l2_trainer_create(llama2_context *ctx, llama2_model *model, llama2_reward_model *reward_model,
                                llama2_optimizer *optimizer, const llama2_trainer_options *options,
                                llama2_trainer **out);
void l2_trainer_free(llama2_trainer *trainer);

/* The frame of every call that adds gradients: begin refuses (nothing has changed then) or enters the model for
 * changing; end leaves it and, when the work failed half-way, drops everything that was accumulated: a sum of unknown
 * parts is of no use. head_kind: L2_HEAD_*. */
llama2_status l2_trainer_begin(llama2_trainer *trainer, const llama2_batch *batch, int32_t head_kind);
llama2_status l2_trainer_end(llama2_trainer *trainer, llama2_status status);
/* The end of a whole step: the update, then that. Nothing comes between gradients and update, neither a reader of the
 * model nor a cancellation: a step is done or has left nothing. */
llama2_status l2_trainer_end_step(llama2_trainer *trainer, llama2_status status, llama2_step_metrics *metrics);
/* Drops what was accumulated; the model is entered. */
void l2_trainer_forget(llama2_trainer *trainer);

/* Tells the trainer what a finished piece of work has added. */
void l2_trainer_count(llama2_trainer *trainer, double loss, double weight, int64_t tokens);

/* Without a weight to divide by: STATE, and what was accumulated is dropped. Other failures leave it. */
llama2_status l2_trainer_update(llama2_trainer *trainer, llama2_step_metrics *metrics);
llama2_status l2_trainer_clear(llama2_trainer *trainer);
llama2_status l2_trainer_get_gradient(const llama2_trainer *trainer, const char *name, float *buffer, int64_t capacity,
                                      int64_t *needed);

/* language_model.c: the loss of pretraining and SFT, sum of weight * -log p. */
llama2_status l2_lm_accumulate(llama2_trainer *trainer, const llama2_batch *batch, llama2_loss *loss);
llama2_status l2_lm_step(llama2_trainer *trainer, const llama2_batch *batch, llama2_step_metrics *metrics);

/* host_gradients.c */
llama2_status l2_backward_logprobs(llama2_trainer *trainer, const llama2_batch *batch, double temperature,
                                   const float *grad, double loss, double weight);
llama2_status l2_backward_logits(llama2_trainer *trainer, const llama2_batch *batch, const float *grad, double loss,
                                 double weight);
llama2_status l2_backward_values(llama2_trainer *trainer, const llama2_batch *batch, const float *grad, double loss,
                                 double weight);

#endif
