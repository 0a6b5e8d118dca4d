/*
 * Trainer: what is trained, its optimizer, its schedule. A step is two calls, apart: batches -> loss and gradients
 * (accumulate, backward_*), gradients -> new weights (update). The data loop is the host's.
 *
 * Losses and gradients are sums; the division by the sum of the weights happens in the update, so any split of a batch
 * into parts gives the same step.
 */
#ifndef LLAMA2_TRAINER_H
#define LLAMA2_TRAINER_H

#include "batch.h"
#include "model.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Learning rate of update t = 0, 1, ...: warm-up peak * (t + 1) / warmup_steps for t < warmup_steps; then constant, or
 * a cosine from the peak to min_lr_ratio * peak, reached at t = total_steps: with x = (t - warmup) / (total - warmup),
 * peak * (r + (1 - r) (1 + cos(pi x)) / 2). */
enum { LLAMA2_SCHEDULE_COSINE = 0, LLAMA2_SCHEDULE_CONSTANT = 1 };

typedef struct llama2_trainer_options {
    uint32_t struct_size;
    int32_t schedule;           /* LLAMA2_SCHEDULE_*; default CONSTANT */
    int64_t warmup_steps;       /* default 0 */
    int64_t total_steps;        /* of the cosine; later updates keep the minimum */
    double min_lr_ratio;        /* default 0.1 */
    double clip_norm;           /* global norm of the gradient; default 1; 0: no clipping */
    int64_t micro_batch_tokens; /* a batch is worked off in parts of about this many tokens, whole sequences each, to
                                   bound memory; 0 (default): at once */
    int32_t recompute;     /* 1: keep only each layer's input and compute the rest again in the backward; default 0 */
    int32_t max_bad_steps; /* updates in a row with a loss or gradient that is not finite, or a divisor, learning
                              rate or squared gradient beyond fp32 (each is left out and counted in skipped_total)
                              before LLAMA2_E_NUMERIC; default 5 */
    llama2_reward_model
        *value_head;            /* on the trunk of the model (llama2_reward_model_create_shared), trained along by
                                   llama2_ppo_update and llama2_trainer_backward_values: kept alive, one gradient,
                                   one norm, one update, in which it decays like the model's matrices whichever call
                                   added the gradients; in checkpoints part of the trainer. MISMATCH for a head of
                                   another trunk, or in a trainer for a reward model. NULL (default): none */
    double value_head_lr_ratio; /* its learning rate, as a multiple of the model's; default 1 */
} llama2_trainer_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_trainer_options_init(llama2_trainer_options *options, size_t size);

/* Trains a model, or a reward model with its trunk. Keeps model and optimizer alive. Errors: BUSY where the model has a
 * trainer already, or a call is at work on it; STATE where the optimizer has been given to a trainer before;
 * UNSUPPORTED where the weights are as stored; MISMATCH for a value_head, or a reward model on the trunk of another,
 * that does not belong here; INVALID, ABI, NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_trainer_create(llama2_context *ctx, llama2_model *model, llama2_optimizer *optimizer,
                                               const llama2_trainer_options *options, llama2_trainer **out);
LLAMA2_API llama2_status llama2_trainer_create_for_reward(llama2_context *ctx, llama2_reward_model *reward_model,
                                                          llama2_optimizer *optimizer,
                                                          const llama2_trainer_options *options, llama2_trainer **out);
LLAMA2_API void llama2_trainer_free(llama2_trainer *trainer);

/* What an update did. */
typedef struct llama2_step_metrics {
    uint32_t struct_size;
    int32_t skipped;       /* 1: left out (max_bad_steps), nothing changed */
    int64_t step;          /* updates done, this one included */
    double loss;           /* mean over the weight since the last update */
    double weight;         /* sum of the weights */
    double grad_norm;      /* of the mean gradient, before clipping */
    double lr;             /* of this update */
    int64_t tokens;        /* tokens read since the last update */
    int64_t total_tokens;  /* tokens read by this trainer, of skipped updates too, not of what was cleared */
    int64_t skipped_total; /* updates of this trainer that were left out, those before a resume too */
} llama2_step_metrics;

/* Adds the language-model loss of a batch and its gradients. `loss` (may be NULL) is that of this batch alone. A call
 * that is refused (INVALID, CONTEXT; MISMATCH for a trainer of the other kind; BUSY) changes nothing; one that fails at
 * work (NOMEM) drops all that was accumulated. CANCELLED may be either: call llama2_trainer_clear and accumulate anew.
 * So it is with all functions that add gradients. Since 0.1. */
LLAMA2_API llama2_status llama2_trainer_accumulate(llama2_trainer *trainer, const llama2_batch *batch,
                                                   llama2_loss *loss);

/* Divides the gradients by the weight, clips, updates, and empties the gradients. Errors: STATE when nothing was
 * accumulated, or nothing with a weight, which is dropped; NUMERIC after max_bad_steps; BUSY, CANCELLED, NOMEM, which
 * leave what was accumulated to another try. Since 0.1. */
LLAMA2_API llama2_status llama2_trainer_update(llama2_trainer *trainer, llama2_step_metrics *metrics);

/* Drops what was accumulated; also while the context is cancelled. Errors: BUSY. Since 0.1. */
LLAMA2_API llama2_status llama2_trainer_clear(llama2_trainer *trainer);

/* --- losses of the host's own: forward by llama2_model_logprobs, _logits, llama2_reward_model_score; backward here ---
 */

/* Adds the gradients of a loss whose derivatives by the log-probabilities (llama2_model_logprobs at the same
 * temperature) are grad[t], n_tokens values; those of first tokens are not used. `weight` is added to the divisor of
 * the update (0: a term beside another loss, which brings the divisor) and `loss` to its sum. Since 0.1. */
LLAMA2_API llama2_status llama2_trainer_backward_logprobs(llama2_trainer *trainer, const llama2_batch *batch,
                                                          double temperature, const float *grad, double loss,
                                                          double weight);
/* The same by the logits: grad is (n_tokens, vocab_size). Since 0.1. */
LLAMA2_API llama2_status llama2_trainer_backward_logits(llama2_trainer *trainer, const llama2_batch *batch,
                                                        const float *grad, double loss, double weight);
/* For a reward model, or a value head: by the head's value at each token, n_tokens values (llama2_reward_model_values,
 * before shift and scale). Since 0.1. */
LLAMA2_API llama2_status llama2_trainer_backward_values(llama2_trainer *trainer, const llama2_batch *batch,
                                                        const float *grad, double loss, double weight);

/* A gradient (a sum, not divided) by the tensor's name, as fp32, like llama2_model_get_tensor; "score.weight" is that
 * of a reward model or value head. Errors: NOT_FOUND, BUFFER. Since 0.1. */
LLAMA2_API llama2_status llama2_trainer_get_gradient(const llama2_trainer *trainer, const char *name, float *buffer,
                                                     int64_t capacity, int64_t *needed);

/* Updates done so far. Since 0.1. */
LLAMA2_API int64_t llama2_trainer_step(const llama2_trainer *trainer);

/* --- stages that are one step on a batch ----------------------------------------------------- */

/* accumulate + update: pretraining (2.2) on any text, SFT (3.1) on a batch whose prompt tokens have weight 0
 * (llama2_chat_encode and a llama2_packer make it). A step that is refused, as by llama2_trainer_accumulate, changes
 * nothing; one that fails at work, in whichever half, drops all that was accumulated. Errors: those of both; STATE
 * where no target of the batch, nor anything accumulated before it, has a weight. Since 0.1. */
LLAMA2_API llama2_status llama2_pretrain_step(llama2_trainer *trainer, const llama2_batch *batch,
                                              llama2_step_metrics *metrics);
LLAMA2_API llama2_status llama2_sft_step(llama2_trainer *trainer, const llama2_batch *batch,
                                         llama2_step_metrics *metrics);

#ifdef __cplusplus
}
#endif

#endif
