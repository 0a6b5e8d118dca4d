/*
 * bf16 and fp16 (IEEE binary16) from and to fp32, to nearest even. Exactly what the processor's instructions do, so
 * that it does not matter which of the two is used: a NaN keeps its sign and the upper bits of its payload and becomes
 * quiet (from bf16 it is taken as it is).
 */
#ifndef L2_MATH_HALF_H
#define L2_MATH_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t l2_f32_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float l2_f32_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float l2_f32_from_bf16(uint16_t x)
{
    return l2_f32_of_bits((uint32_t)x << 16);
}

static inline uint16_t l2_bf16_from_f32(float x)
{
    uint32_t bits = l2_f32_bits(x);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16, nan = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

static inline float l2_f32_from_f16(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16, exponent = (x >> 10) & 31u, mantissa = x & 0x3ffu;
    if (exponent == 31) return l2_f32_of_bits(sign | 0x7f800000u | (mantissa ? 0x400000u | mantissa << 13 : 0));
    if (exponent == 0) { /* subnormal: mantissa * 2^-24, exact */
        float magnitude = (float)mantissa * 0x1p-24f;
        return l2_f32_of_bits(sign | l2_f32_bits(magnitude));
    }
    return l2_f32_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static inline uint16_t l2_f16_from_f32(float x)
{
    uint32_t bits = l2_f32_bits(x), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and more round to infinity */
    if (magnitude < 0x38800000u) { /* below 2^-14: added to 0.5, whose unit is 2^-24, it is rounded by the addition */
        float shifted = l2_f32_of_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (l2_f32_bits(shifted) - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((rounded >> 13) - (112u << 10)));
}

/*
 * fp64 to fp32 rounded to odd: what is inexact gets an odd last bit, so that rounding once more, to fewer bits, is as
 * if there had been only one rounding.
 */
static inline float l2_f32_from_f64_odd(double x)
{
    float f = (float)x;
    if ((double)f == x || x != x) return f;
    uint32_t bits = l2_f32_bits(f);
    if (bits & 1u) return f;
    /* An even neighbour was taken: the odd one lies on the other side of x. Infinity is the even neighbour of the
     * largest number. */
    int away = fabs((double)f) < fabs(x); /* from zero */
    return l2_f32_of_bits(away ? bits + 1 : bits - 1);
}

#endif
