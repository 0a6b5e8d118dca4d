/*
 * RMSNorm (Zhang & Sennrich 2019): y = x rstd gain, rstd = 1 / sqrt(mean(x^2) + eps). With h = dy gain:
 * dx = rstd (h - x rstd^2 mean(h x)), dgain = sum over tokens of dy x rstd.
 */
#ifndef L2_KERNEL_RMSNORM_H
#define L2_KERNEL_RMSNORM_H

#include "math/kernels.h"
#include "math/simd.h"

V_INLINE int64_t rmsnorm_lanes(int64_t left) { return left < V_LANES ? left : V_LANES; }

/* sum x y g, or sum x y without g. Four chains of 16 lanes, so that they overlap. */
V_INLINE real rmsnorm_dot(const real *x, const real *y, const real *g, const int gained, int64_t d)
{
    vreal sum[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    int64_t i = 0;
    for (; i + 4 * V_LANES <= d; i += 4 * V_LANES) {
        V_UNROLL for (int v = 0; v < 4; v++) {
            vreal a = v_load(y + i + V_LANES * v);
            if (gained) a = v_mul(a, v_load(g + i + V_LANES * v));
            sum[v] = v_fma(v_load(x + i + V_LANES * v), a, sum[v]);
        }
    }
    for (; i < d; i += V_LANES) {
        int64_t n = rmsnorm_lanes(d - i);
        vreal a = v_load_n(y + i, n);
        if (gained) a = v_mul(a, v_load_n(g + i, n));
        sum[0] = v_fma(v_load_n(x + i, n), a, sum[0]);
    }
    return v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}

static void rmsnorm_forward(int64_t n, int64_t d, const void *x_, const void *gain_, double eps, void *y_, void *rstd)
{
    const real *gain = gain_;
    for (int64_t t = 0; t < n; t++) {
        const real *x = (const real *)x_ + t * d;
        real *y = (real *)y_ + t * d, r = (real)(1 / sqrt((double)rmsnorm_dot(x, x, NULL, 0, d) / (double)d + eps));
        if (rstd) ((real *)rstd)[t] = r;
        for (int64_t i = 0; i < d; i += V_LANES) {
            int64_t m = rmsnorm_lanes(d - i);
            v_store_n(y + i, v_mul(v_mul(v_load_n(x + i, m), v_set1(r)), v_load_n(gain + i, m)), m);
        }
    }
}

static void rmsnorm_backward(int64_t n, int64_t d, const void *x_, const void *gain_, const void *rstd, const void *dy_, void *dx_, int accumulate)
{
    const real *gain = gain_;
    for (int64_t t = 0; t < n; t++) {
        const real *x = (const real *)x_ + t * d, *dy = (const real *)dy_ + t * d;
        real *dx = (real *)dx_ + t * d, r = ((const real *)rstd)[t];
        real slope = -(r * r * r) * (rmsnorm_dot(x, dy, gain, 1, d) / (real)d);
        for (int64_t i = 0; i < d; i += V_LANES) {
            int64_t m = rmsnorm_lanes(d - i);
            vreal h = v_mul(v_load_n(dy + i, m), v_load_n(gain + i, m));
            vreal g = v_fma(v_load_n(x + i, m), v_set1(slope), v_mul(h, v_set1(r)));
            v_store_n(dx + i, accumulate ? v_add(v_load_n(dx + i, m), g) : g, m);
        }
    }
}

/* For a range of columns: a chain over the tokens in order. */
static void rmsnorm_backward_gain(int64_t n, int64_t d, const void *x_, const void *rstd, const void *dy_, void *dgain_, int64_t columns)
{
    real *dgain = dgain_;
    for (int64_t t = 0; t < n; t++) {
        const real *x = (const real *)x_ + t * d, *dy = (const real *)dy_ + t * d;
        vreal r = v_set1(((const real *)rstd)[t]);
        for (int64_t i = 0; i < columns; i += V_LANES) {
            int64_t m = rmsnorm_lanes(columns - i);
            v_store_n(dgain + i, v_fma(v_load_n(dy + i, m), v_mul(v_load_n(x + i, m), r), v_load_n(dgain + i, m)), m);
        }
    }
}

#endif
