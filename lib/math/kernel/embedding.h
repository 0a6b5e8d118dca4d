/* Backward of the embedding, for a range of columns. */
#ifndef L2_KERNEL_EMBEDDING_H
#define L2_KERNEL_EMBEDDING_H

#include "math/kernels.h"
#include "math/simd.h"

/* dw[tokens[t]][0..columns) += dy[t][0..columns) in the order of t; both have rows of `stride`. */
static void embedding_backward(int64_t n, const int32_t *tokens, const void *dy_, void *dw_, int64_t stride, int64_t columns)
{
    for (int64_t t = 0; t < n; t++) {
        const real *dy = (const real *)dy_ + t * stride;
        real *dw = (real *)dw_ + tokens[t] * stride;
        for (int64_t i = 0; i < columns; i += V_LANES) {
            int64_t lanes = columns - i < V_LANES ? columns - i : V_LANES;
            v_store_n(dw + i, v_add(v_load_n(dw + i, lanes), v_load_n(dy + i, lanes)), lanes);
        }
    }
}

#endif
