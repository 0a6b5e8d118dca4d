/* Rotary positions (Su et al. 2021), pairs (i, i + Dh/2): a' = a cos - b sin, b' = b cos + a sin. */
#ifndef L2_KERNEL_ROPE_H
#define L2_KERNEL_ROPE_H

#include "math/kernels.h"
#include "math/simd.h"

/* x: (n, heads, 2 half) in place; cosine, sine: (R, half), token t has row rows[t]. inverse turns the other way. */
static void rope(int64_t n, int64_t heads, int64_t half, void *x_, const int32_t *rows, const void *cosine_, const void *sine_, int inverse)
{
    const vreal sign = v_set1(inverse ? -1 : 1);
    for (int64_t t = 0; t < n; t++) {
        const real *cosine = (const real *)cosine_ + rows[t] * half, *sine = (const real *)sine_ + rows[t] * half;
        for (int64_t i = 0; i < half; i += V_LANES) {
            int64_t m = half - i < V_LANES ? half - i : V_LANES;
            vreal c = v_load_n(cosine + i, m), s = v_mul(v_load_n(sine + i, m), sign), minus = v_sub(v_zero(), s);
            real *x = (real *)x_ + t * heads * 2 * half + i;
            for (int64_t h = 0; h < heads; h++, x += 2 * half) {
                vreal a = v_load_n(x, m), b = v_load_n(x + half, m);
                v_store_n(x, v_fma(a, c, v_mul(b, minus)), m);
                v_store_n(x + half, v_fma(b, c, v_mul(a, s)), m);
            }
        }
    }
}

#endif
