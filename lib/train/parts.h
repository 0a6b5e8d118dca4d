/* Losses over a batch that is worked off in parts, to bound memory. What is computed does not depend on the parts. */
#ifndef L2_TRAIN_PARTS_H
#define L2_TRAIN_PARTS_H

#include "model/forward.h"

/* Tokens of a part where the caller has no say (no backward, nothing kept). */
enum { L2_PART_TOKENS = 4096 };

/* l2_model_token_loss: targets and rows are those of the whole batch. */
llama2_status l2_token_loss_in_parts(const llama2_model *model, const llama2_batch *batch, const int64_t *targets,
                                     int64_t n, double temperature, int entropy, l2_token_loss loss, void *user,
                                     int64_t max_tokens, l2_activations *activations);

/*
 * l2_model_value_loss: rows are those of the whole batch; `loss` sees `n` values, those of rows[first], rows[first +
 * 1], ..., and calls come in rising order. Sequences stay together in groups of `group`.
 */
typedef void (*l2_values_loss)(void *user, int64_t first, int64_t n, const double *values, double *derivatives);
llama2_status l2_value_loss_in_parts(const llama2_model *model, const llama2_batch *batch, const int64_t *rows,
                                     int64_t n, int32_t group, l2_values_loss loss, void *user, int64_t max_tokens,
                                     l2_activations *activations);

#endif
