/*
 * Reward models (section 3.2.2): the chat model with a head that gives one number in place of the next token. Also
 * PPO's critic, which is the same thing read at every token.
 */
#ifndef LLAMA2_REWARD_H
#define LLAMA2_REWARD_H

#include "batch.h"
#include "trainer.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the head begins: normal with std 1/sqrt(dim + 1), drawn from the context's seed (two models of one context begin
 * alike), or zero (a value head). */
enum { LLAMA2_HEAD_NORMAL = 0, LLAMA2_HEAD_ZERO = 1 };

typedef struct llama2_reward_options {
    uint32_t struct_size;
    int32_t head; /* LLAMA2_HEAD_*; default NORMAL */
} llama2_reward_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_reward_options_init(llama2_reward_options *options, size_t size);

/* A reward model on a copy of the trunk of `model`. Errors: INVALID, ABI, BUSY, NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_model_create(llama2_context *ctx, const llama2_model *model,
                                                    const llama2_reward_options *options, llama2_reward_model **out);
/* A head on the trunk of `model` itself, which it keeps alive: a critic that takes no memory but the head's, trained in
 * one backward with the model (value_head in llama2_trainer_options). What changes the trunk changes both; saved or
 * cloned it is a reward model with a trunk of its own. BUSY where the model has such a head already; UNSUPPORTED where
 * its weights are as stored. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_model_create_shared(llama2_model *model, const llama2_reward_options *options,
                                                           llama2_reward_model **out);
/* A copy, e.g. a critic that begins as the reward model (set score.weight to zeros for a trunk that knows rewards and
 * values that begin at 0). Errors: BUSY, NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_model_clone(const llama2_reward_model *reward_model, llama2_reward_model **out);
/* A folder as of transformers' LlamaForSequenceClassification with one label: score.weight, no bias. Errors: those of
 * llama2_model_load; of saving IO, INVALID, BUSY, NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_model_load(llama2_context *ctx, const char *path,
                                                  const llama2_model_options *options, llama2_reward_model **out);
LLAMA2_API llama2_status llama2_reward_model_save(const llama2_reward_model *reward_model, const char *path,
                                                  int32_t dtype);
LLAMA2_API void llama2_reward_model_free(llama2_reward_model *reward_model);

/* Tensors by name as for a model, "score.weight" (1, dim) among them, no lm_head. Errors: NOT_FOUND, BUSY; BUFFER;
 * MISMATCH for another count than the tensor's, UNSUPPORTED where the weights are as stored. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_model_get_tensor(const llama2_reward_model *reward_model, const char *name,
                                                        float *buffer, int64_t capacity, int64_t *needed);
LLAMA2_API llama2_status llama2_reward_model_set_tensor(llama2_reward_model *reward_model, const char *name,
                                                        const float *values, int64_t count);

/* Scores are scale * (raw - shift); 0 and 1 at first. To centre a model, shift by its mean over reference samples.
 * Saved with the model. Errors: INVALID unless both are finite and scale > 0 (0 makes all scores equal, less turns
 * every ranking around); BUSY. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_model_set_normalisation(llama2_reward_model *reward_model, double shift,
                                                               double scale);
LLAMA2_API llama2_status llama2_reward_model_normalisation(const llama2_reward_model *reward_model, double *shift,
                                                           double *scale);

/* scores: one a sequence, read at its last token, which is to be that which ends the answer (LLAMA2_CHAT_TO_END). They
 * are not checked: weights with NaN give NaN. Errors: INVALID, CONTEXT, BUSY, NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_model_score(const llama2_reward_model *reward_model, const llama2_batch *batch,
                                                   float *scores);
/* values: one a token, without shift and scale. The same errors. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_model_values(const llama2_reward_model *reward_model, const llama2_batch *batch,
                                                    float *values);

/* --- training on comparisons ----------------------------------------------------------------- */

/* How much better the chosen response is, as the annotator said. */
enum {
    LLAMA2_RATING_SIGNIFICANTLY = 0,
    LLAMA2_RATING_BETTER = 1,
    LLAMA2_RATING_SLIGHTLY = 2,
    LLAMA2_RATING_NEGLIGIBLY = 3
};
/* Margins of table 27: none; small 1, 2/3, 1/3, 0; large 3, 2, 1, 0. */
enum { LLAMA2_MARGIN_NONE = 0, LLAMA2_MARGIN_SMALL = 1, LLAMA2_MARGIN_LARGE = 2 };

/* The margin of a rating; 0 for a rating outside LLAMA2_RATING_*. Since 0.1. */
LLAMA2_API float llama2_reward_margin(int32_t scheme, int32_t rating);

/* Comparisons. Sequence 2i of the batch is pair i's prompt with the chosen response, 2i + 1 with the rejected one. */
typedef struct llama2_pairs {
    uint32_t struct_size;
    int32_t n_pairs;
    const llama2_batch *batch; /* 2 * n_pairs sequences; weights are not used */
    const float *margins;      /* n_pairs, or NULL: 0 */
    const int32_t *safe;  /* 2 * n_pairs labels of the responses: 1 safe, 0 unsafe, -1 unknown; or NULL: all unknown */
    double safety_weight; /* of the auxiliary loss; 0: none */
} llama2_pairs;

typedef struct llama2_reward_metrics {
    uint32_t struct_size;
    int32_t n_pairs;     /* trained on, or evaluated */
    int32_t n_left_out;  /* pairs whose chosen response is unsafe and the other safe: never trained on */
    int32_t n_labelled;  /* responses with a safety label */
    double loss;         /* ranking + safety_weight * safety */
    double ranking_loss; /* mean over pairs of -log sigmoid(chosen - rejected - margin) */
    double safety_loss;  /* mean over labelled responses of the binary cross-entropy of sigmoid(score); ours: the paper
                            gives no formula */
    double accuracy;     /* share of pairs with chosen > rejected; a tie counts half */
    double mean_margin;  /* mean of chosen - rejected */
    double mean_chosen, mean_rejected, min_score, max_score;
    double grad_norm, lr; /* of the update; 0 in an evaluation */
    int64_t step;
    int32_t skipped;  /* of llama2_reward_step: as in llama2_step_metrics */
    int32_t reserved; /* 0 */
} llama2_reward_metrics;

/* Gradients of a batch of pairs; with llama2_trainer_update after it, or llama2_reward_step for both. Scores are raw.
 * With several accumulated calls each call's mean counts by its number of pairs. A step whose pairs are all left out
 * (n_pairs 0 in the metrics) is OK and, unless something was accumulated before it, updates nothing. Errors: INVALID
 * for pairs that are not as said above, or a batch; those of llama2_trainer_accumulate, and of a step NUMERIC after
 * max_bad_steps; a step that fails at work drops all that was accumulated. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_accumulate(llama2_trainer *trainer, const llama2_pairs *pairs,
                                                  llama2_reward_metrics *metrics);
LLAMA2_API llama2_status llama2_reward_step(llama2_trainer *trainer, const llama2_pairs *pairs,
                                            llama2_reward_metrics *metrics);
/* Metrics of pairs without training; `scores` (2 * n_pairs raw scores) may be NULL. Errors: NUMERIC where the loss or a
 * score is not finite; those of llama2_reward_model_score. Since 0.1. */
LLAMA2_API llama2_status llama2_reward_evaluate(const llama2_reward_model *reward_model, const llama2_pairs *pairs,
                                                llama2_reward_metrics *metrics, float *scores);

#ifdef __cplusplus
}
#endif

#endif
