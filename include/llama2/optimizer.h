/*
 * Optimizer: AdamW with decoupled weight decay (section 2.2 of the paper: 0.9, 0.95, 1e-5, decay 0.1).
 */
#ifndef LLAMA2_OPTIMIZER_H
#define LLAMA2_OPTIMIZER_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* p *= 1 - lr wd;  p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).  Weight decay applies to matrices, not to
 * the gains of norms. */
typedef struct llama2_optimizer_options {
    uint32_t struct_size;
    int32_t reserved;
    double lr;           /* peak learning rate, >= 0; default 3e-4 */
    double beta1, beta2; /* in [0, 1); 0.9, 0.95 */
    double eps;          /* FLT_MIN to FLT_MAX; 1e-5, outside the square root, as in PyTorch */
    double weight_decay; /* >= 0; 0.1 */
} llama2_optimizer_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_optimizer_options_init(llama2_optimizer_options *options, size_t size);

/* An optimizer belongs to the first trainer that it is given to; its state (two values a parameter) is made then.
 * Errors: INVALID, ABI, NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_optimizer_create(llama2_context *ctx, const llama2_optimizer_options *options,
                                                 llama2_optimizer **out);
LLAMA2_API void llama2_optimizer_free(llama2_optimizer *optimizer);

/* Changes the peak learning rate from the next update on; not while another thread trains with it. Errors: INVALID.
 * Since 0.1. */
LLAMA2_API llama2_status llama2_optimizer_set_lr(llama2_optimizer *optimizer, double lr);

#ifdef __cplusplus
}
#endif

#endif
