/* AdamW (Loshchilov & Hutter 2019), all of a step in one pass over the memory. */
#ifndef L2_KERNEL_ADAMW_H
#define L2_KERNEL_ADAMW_H

#include "math/simd.h"
#include "math/kernels.h"

typedef struct adamw_constants {
    vreal beta1, beta2, rest1, rest2, grad_scale, keep, step, root, eps;
} adamw_constants;

/*
 * g' = grad_scale g;  m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2
 * p = (1 - lr wd) p - lr / bias1 * m / (sqrt(v) / sqrt(bias2) + eps)
 */
V_INLINE void adamw_lanes(const adamw_constants *c, vreal *p, vreal g, vreal *m, vreal *v)
{
    g = v_mul(g, c->grad_scale);
    *m = v_fma(c->beta1, *m, v_mul(c->rest1, g));
    *v = v_fma(c->beta2, *v, v_mul(c->rest2, v_mul(g, g)));
    vreal denominator = v_fma(v_sqrt(*v), c->root, c->eps);
    *p = v_sub(v_mul(*p, c->keep), v_div(v_mul(c->step, *m), denominator));
}

static void adamw(int64_t n, const l2_adamw_step *h, void *p_, const void *g_, void *m_, void *v_)
{
    real *p = p_, *m = m_, *v = v_;
    const real *g = g_;
    adamw_constants c = {.beta1 = v_set1((real)h->beta1), .beta2 = v_set1((real)h->beta2), .rest1 = v_set1((real)(1 - h->beta1)),
                         .rest2 = v_set1((real)(1 - h->beta2)), .grad_scale = v_set1((real)h->grad_scale), .keep = v_set1((real)h->keep),
                         .step = v_set1((real)h->step), .root = v_set1((real)h->root), .eps = v_set1((real)h->eps)};
    int64_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) {
        vreal pi = v_load(p + i), mi = v_load(m + i), vi = v_load(v + i);
        adamw_lanes(&c, &pi, v_load(g + i), &mi, &vi);
        v_store(p + i, pi);
        v_store(m + i, mi);
        v_store(v + i, vi);
    }
    if (i < n) {
        int64_t rest = n - i;
        vreal pi = v_load_n(p + i, rest), mi = v_load_n(m + i, rest), vi = v_load_n(v + i, rest);
        adamw_lanes(&c, &pi, v_load_n(g + i, rest), &mi, &vi);
        v_store_n(p + i, pi, rest);
        v_store_n(m + i, mi, rest);
        v_store_n(v + i, vi, rest);
    }
}

#endif
