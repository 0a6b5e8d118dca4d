/*
 * A weight matrix of the model, whatever it is made of. The caller does not know whether it is dense, quantised,
 * sharded or adapted. There are two kinds: dense, and stored as a file has it, for fp32 products; both give the same
 * bits for the same numbers.
 */
#ifndef L2_MATH_LINEAR_H
#define L2_MATH_LINEAR_H

#include "math/stored.h"
#include "math/tensor.h"

/* Weights that l2_linears_forward takes at once. */
enum { L2_MOST_LINEARS = 3 };

typedef struct l2_linear {
    l2_tensor weight;        /* (N, K); data NULL: stored */
    l2_tensor grad;          /* (N, K) or data NULL: frozen */
    const l2_stored *stored; /* NULL: dense. A stored one is frozen and has no backward */
} l2_linear;

/* y = x W^T, or y += x W^T with accumulate. x: (T, K), y: (T, N). Each element is a sum over k in fixed blocks
 * (math/gemm.h), added to y (accumulate) block by block: the bits depend on nothing else. */
llama2_status l2_linear_forward(llama2_context *ctx, const l2_linear *w, const l2_tensor *x, l2_tensor *y,
                                int accumulate);

/* y[i] = x W_i^T of n weights that multiply the same x: the bits of one after the other. */
llama2_status l2_linears_forward(llama2_context *ctx, int32_t n, const l2_linear *const *w, const l2_tensor *x,
                                 l2_tensor *const *y);

/* dx = dy W (or += with accumulate; skipped where dx is NULL), and dW += dy^T x where the weight is not frozen: a chain
 * over the rows in their order that starts from the present dW, so that rows of zeros and micro-batches change no bit.
 */
llama2_status l2_linear_backward(llama2_context *ctx, const l2_linear *w, const l2_tensor *x, const l2_tensor *dy,
                                 l2_tensor *dx, int accumulate);

#endif
