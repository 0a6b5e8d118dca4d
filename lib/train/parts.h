/* Losses over a batch that is worked off in parts, to bound memory. What is computed does not depend on the parts. */
#ifndef L2_TRAIN_PARTS_H
#define L2_TRAIN_PARTS_H

#include "model/forward.h"

/* Tokens of a part where the caller has no say (no backward, nothing kept). */
enum { L2_PART_TOKENS = 4096 };

/* Sees `n` values, those of rows[first], rows[first + 1], ...; calls come in rising order. */
typedef void (*l2_values_loss)(void *user, int64_t first, int64_t n, const double *values, double *derivatives);

/* l2_model_token_loss: targets and rows are those of the whole batch. With a value_head (else NULL) its values at the
 * rows before the targets go to value_loss, with the same user. */
llama2_status l2_token_loss_in_parts(const llama2_model *model, const llama2_batch *batch, const int64_t *targets,
                                     int64_t n, double temperature, int entropy, l2_token_loss loss, void *user,
                                     const l2_linear *value_head, l2_values_loss value_loss, int64_t max_tokens,
                                     l2_activations *activations);

/* l2_model_value_loss: rows are those of the whole batch. Sequences stay together in groups of `group`. */
llama2_status l2_value_loss_in_parts(const llama2_model *model, const llama2_batch *batch, const int64_t *rows,
                                     int64_t n, int32_t group, l2_values_loss loss, void *user, int64_t max_tokens,
                                     l2_activations *activations);

#endif
