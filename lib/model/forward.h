/* Forward and backward of the trunk over a packed batch, and the losses on top of it. */
#ifndef L2_MODEL_FORWARD_H
#define L2_MODEL_FORWARD_H

#include "model/model.h"

/* batch.c: refuses what is not a batch for this model; the message says which token or offset. LLAMA2_E_CONTEXT for
 * sequences beyond max_seq_len. */
/* A caller's batch of whatever struct_size as this library's. */
llama2_status l2_batch_read(const llama2_batch *batch, llama2_batch *full);
llama2_status l2_batch_check(const llama2_model *model, const llama2_batch *batch);

/*
 * batch.c: parts of a batch of whole sequences, in groups of `group` (2 for pairs), each of at most max_tokens tokens
 * unless one group is longer; 0: one part. `sequence` (0 at first) is where to go on. The part's offsets are written to
 * `offsets` (n_sequences + 1 of them). Returns 0 at the end.
 */
int l2_batch_next_part(const llama2_batch *batch, int64_t max_tokens, int32_t group, int32_t *sequence,
                       int64_t *offsets, llama2_batch *part, int64_t *first_token);

/* batch.c: into `targets` (room for n_tokens), rising, the tokens that have something before them and, with `weighted`,
 * a weight above 0. Returns their number. */
int64_t l2_batch_targets(const llama2_batch *batch, int weighted, int64_t *targets);

/* batch.c: what may divide logits. Beyond, their quotient is no number any more. */
llama2_status l2_temperature_check(double temperature);

/* Rotary positions of a call: token t turns by row rows[t] of the table. */
typedef struct l2_rotary {
    l2_tensor cosine, sine; /* (R, Dh/2), R <= T */
    int32_t *positions;     /* T; written by the caller first, then used up */
    int32_t *rows;          /* T */
} l2_rotary;

/* What the forward keeps for the backward: a buffer that grows with the largest batch and is used again. */
typedef struct l2_activations {
    llama2_context *ctx;
    void *buffer;
    size_t capacity;
    int recompute; /* keep only each layer's input */
    int64_t n_tokens;
    const int32_t *tokens; /* of the last forward; must live until the backward */
    l2_rotary rotary;
    l2_packing packing;
} l2_activations;

void l2_activations_init(l2_activations *activations, llama2_context *ctx, int recompute);
void l2_activations_free(l2_activations *activations);
/* Bytes that a forward over n_tokens keeps. */
size_t l2_activations_bytes(const llama2_config *config, int32_t dtype, int64_t n_tokens, int recompute);

/* forward.c: hidden (T, D) after the last norm. activations NULL: nothing is kept. */
llama2_status l2_model_forward(const llama2_model *model, const llama2_batch *batch, l2_activations *activations,
                               l2_tensor *hidden);

/* backward.c: from the gradient of `hidden`, of which the contents are lost, into the attached gradients. */
llama2_status l2_model_backward(const llama2_model *model, l2_activations *activations, l2_tensor *dhidden);

/* A loss on the values of a score head: sees all of them at once and, where there is a backward, writes their
 * derivatives (zero at first). */
typedef void (*l2_value_loss)(void *user, int64_t n, const double *values, double *derivatives);

/* A score head beside the model's own, with a loss on its values. */
typedef struct l2_values {
    const l2_linear *head;
    l2_value_loss loss;
    void *user;
} l2_values;

/*
 * token_loss.c: log-probabilities of target tokens, and the gradient of any loss on them. targets[i] (n of them,
 * rising) are indices of tokens in the batch that are not first in their sequence; `loss` is called with row =
 * targets[i] (from any thread, once each). With activations: backward too. Only the rows that predict a target go
 * through the head. `values` (may be NULL): the same rows through that head too, its loss seeing row i as i; one
 * backward serves both losses.
 */
llama2_status l2_model_token_loss(const llama2_model *model, const llama2_batch *batch, const int64_t *targets,
                                  int64_t n, double temperature, int entropy, l2_token_loss loss, void *user,
                                  const l2_values *values, l2_activations *activations);

/* value_loss.c: values of `head` at the rows of x (n, D), and, unless dx is NULL, the gradients of the loss. */
llama2_status l2_value_head(llama2_context *ctx, const l2_linear *head, const l2_tensor *x, l2_value_loss loss,
                            void *user, l2_tensor *dx, int accumulate);
/* The same with the trunk, at rows[i] (n tokens of the batch, rising); with activations, backward too. */
llama2_status l2_model_value_loss(const llama2_model *model, const llama2_batch *batch, const int64_t *rows, int64_t n,
                                  l2_value_loss loss, void *user, l2_activations *activations);

/* evaluate.c: the language-model loss of one target, weight * -log p, as an l2_token_loss (user: l2_lm_loss); kept by
 * row, so that their sum has one order. */
typedef struct l2_lm_loss {
    const float *weights; /* NULL: all 1 */
    double *losses;
} l2_lm_loss;
double l2_lm_weight(const l2_lm_loss *lm, int64_t row);
void l2_lm_token_loss(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy);

/* evaluate.c: the batch is checked, the model entered. */
llama2_status l2_model_hidden(const llama2_model *model, const llama2_batch *batch, float *out);
llama2_status l2_model_logits(const llama2_model *model, const llama2_batch *batch, float *out);
llama2_status l2_model_logprobs(const llama2_model *model, const llama2_batch *batch, double temperature,
                                float *logprobs, float *entropies);
/* Adds the language-model loss to *loss; with activations its gradients to those attached. */
llama2_status l2_model_evaluate(const llama2_model *model, const llama2_batch *batch, l2_activations *activations,
                                llama2_loss *loss);

/* A weight by name, wherever it lies. */
llama2_status l2_model_get(const llama2_model *model, const char *name, float *buffer, int64_t capacity,
                           int64_t *needed);
/* Tensors by name in any memory with the arena's layout: the weights, or a trainer's gradients. */
llama2_status l2_arena_get(const llama2_model *model, void *arena, const char *name, float *buffer, int64_t capacity,
                           int64_t *needed);
llama2_status l2_arena_set(const llama2_model *model, void *arena, const char *name, const float *values,
                           int64_t count);

#endif
