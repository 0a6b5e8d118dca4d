/*
 * SwiGLU (Shazeer 2020): y = silu(g) u, silu(g) = g sigma(g), sigma(g) = 1 / (1 + exp(-g)).
 * dg = dy u sigma (1 + g (1 - sigma)), du = dy silu(g).
 */
#ifndef L2_KERNEL_SWIGLU_H
#define L2_KERNEL_SWIGLU_H

#include "math/kernels.h"
#include "math/simd.h"

V_INLINE vreal swiglu_sigma(vreal g)
{
    vreal one = v_set1(1);
    return v_div(one, v_add(one, v_exp(v_sub(v_zero(), g))));
}

static void swiglu_forward(int64_t n, const void *gate, const void *up, void *y)
{
    for (int64_t i = 0; i < n; i += V_LANES) {
        int64_t m = n - i < V_LANES ? n - i : V_LANES;
        vreal g = v_load_n((const real *)gate + i, m), u = v_load_n((const real *)up + i, m);
        v_store_n((real *)y + i, v_mul(v_mul(g, swiglu_sigma(g)), u), m);
    }
}

static void swiglu_backward(int64_t n, const void *gate, const void *up, const void *dy_, void *dgate, void *dup)
{
    const vreal one = v_set1(1);
    for (int64_t i = 0; i < n; i += V_LANES) {
        int64_t m = n - i < V_LANES ? n - i : V_LANES;
        vreal g = v_load_n((const real *)gate + i, m), u = v_load_n((const real *)up + i, m), dy = v_load_n((const real *)dy_ + i, m);
        vreal sigma = swiglu_sigma(g);
        v_store_n((real *)dgate + i, v_mul(v_mul(dy, u), v_mul(sigma, v_fma(g, v_sub(one, sigma), one))), m);
        v_store_n((real *)dup + i, v_mul(dy, v_mul(g, sigma)), m);
    }
}

#endif
