/* Conversions between fp32 and the 16-bit formats, rounding to nearest even; a NaN stays one and becomes quiet. exp, a sum of squares. */
#ifndef L2_KERNEL_ELEMENTWISE_H
#define L2_KERNEL_ELEMENTWISE_H

#include "math/simd.h"
#include "math/kernels.h"
#include "math/half.h"

static void f32_from_bf16(int64_t n, const uint16_t *x, float *y)
{
    for (int64_t i = 0; i < n; i++) y[i] = l2_f32_from_bf16(x[i]);
}

static void bf16_from_f32(int64_t n, const float *x, uint16_t *y)
{
    for (int64_t i = 0; i < n; i++) y[i] = l2_bf16_from_f32(x[i]);
}

static void f32_from_f16(int64_t n, const uint16_t *x, float *y)
{
    int64_t i = 0;
#if !defined(V_PORTABLE)
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(x + i))));
#endif
    for (; i < n; i++) y[i] = l2_f32_from_f16(x[i]);
}

static void f16_from_f32(int64_t n, const float *x, uint16_t *y)
{
    int64_t i = 0;
#if !defined(V_PORTABLE)
    for (; i + 8 <= n; i += 8) {
        _mm_storeu_si128((__m128i *)(void *)(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
#endif
    for (; i < n; i++) y[i] = l2_f16_from_f32(x[i]);
}

/* y = exp(x): the vector form, and the scalar one for the rest. Their bits are equal. */
static void exponential(int64_t n, const void *x_, void *y_)
{
    const real *x = x_;
    real *y = y_;
    int64_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) v_store(y + i, v_exp(v_load(x + i)));
    for (; i < n; i++) y[i] = r_exp(x[i]);
}

/* In double, over 16 interleaved lanes and the tree of v_sum. */
static double sum_squares(int64_t n, const void *x_)
{
    const real *x = x_;
    double lane[V_LANES] = {0};
    int64_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) {
        for (int j = 0; j < V_LANES; j++) lane[j] += (double)x[i + j] * (double)x[i + j];
    }
    for (int j = 0; i < n; i++, j++) lane[j] += (double)x[i] * (double)x[i];
    for (int step = V_LANES / 2; step > 0; step /= 2) {
        for (int j = 0; j < step; j++) lane[j] += lane[j + step];
    }
    return lane[0];
}

#endif
