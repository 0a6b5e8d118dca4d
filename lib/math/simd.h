/*
 * A vector of 16 virtual lanes of `real`, so that a kernel is written once and gives the same bits on every instruction set. The including
 * file chooses: L2_REAL (float or double; L2_REAL_IS_DOUBLE with the latter) and one of L2_SIMD_AVX512, L2_SIMD_AVX2 or neither for
 * portable C. Only the files that define a table of kernels include this.
 *
 * Every operation is one correctly rounded IEEE operation a lane, or a fixed sequence of them. Nothing here contracts or reorders.
 */
#ifndef L2_MATH_SIMD_H
#define L2_MATH_SIMD_H

#include "math/half.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(L2_SIMD_AVX512) || defined(L2_SIMD_AVX2)
#include <immintrin.h>
#endif

typedef L2_REAL real;

enum { V_LANES = 16 };

/* Loops that must disappear, so that arrays of vectors live in registers; in portable C they had better stay. */
#if !defined(L2_SIMD_AVX512) && !defined(L2_SIMD_AVX2)
#define V_PORTABLE
#define V_UNROLL
#elif defined(__clang__)
#define V_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define V_UNROLL _Pragma("GCC unroll 16")
#else
#define V_UNROLL
#endif

/* With address checks in every lane gcc takes minutes for portable kernels that are all one function. */
#if defined(__GNUC__) && !(defined(V_PORTABLE) && defined(__SANITIZE_ADDRESS__))
#define V_INLINE static inline __attribute__((always_inline))
#else
#define V_INLINE static inline
#endif

#if defined(__GNUC__)
#define V_PREFETCH(p) __builtin_prefetch((const void *)(p), 0, 3)
#define V_PREFETCH_FAR(p) __builtin_prefetch((const void *)(p), 0, 2) /* to L2: of what L1 would lose before it is used */
#else
#define V_PREFETCH(p) ((void)(p))
#define V_PREFETCH_FAR(p) ((void)(p))
#endif

V_INLINE real r_fma(real a, real b, real c)
{
#if defined(L2_REAL_IS_DOUBLE)
    return fma(a, b, c);
#else
    return fmaf(a, b, c);
#endif
}

V_INLINE real r_sqrt(real a)
{
#if defined(L2_REAL_IS_DOUBLE)
    return sqrt(a);
#else
    return sqrtf(a);
#endif
}

/* a > b ? a : b, which is b where one is NaN: the rule of x86, here everywhere. */
V_INLINE real r_max(real a, real b) { return a > b ? a : b; }
V_INLINE real r_min(real a, real b) { return a < b ? a : b; }

#if defined(L2_SIMD_AVX512) /* ------------------------------------------------------------------------------------------- */

typedef __m512 vreal;

/* The first n lanes; n in [0, 16]. */
V_INLINE __mmask16 v_mask_n(int64_t n) { return (__mmask16)((1u << n) - 1u); }

V_INLINE vreal v_zero(void) { return _mm512_setzero_ps(); }
V_INLINE vreal v_set1(real a) { return _mm512_set1_ps(a); }
V_INLINE vreal v_load(const real *p) { return _mm512_loadu_ps(p); }
V_INLINE void v_store(real *p, vreal a) { _mm512_storeu_ps(p, a); }
V_INLINE vreal v_load_n(const real *p, int64_t n) { return _mm512_maskz_loadu_ps(v_mask_n(n), p); }
V_INLINE void v_store_n(real *p, vreal a, int64_t n) { _mm512_mask_storeu_ps(p, v_mask_n(n), a); }
V_INLINE vreal v_add(vreal a, vreal b) { return _mm512_add_ps(a, b); }
V_INLINE vreal v_sub(vreal a, vreal b) { return _mm512_sub_ps(a, b); }
V_INLINE vreal v_mul(vreal a, vreal b) { return _mm512_mul_ps(a, b); }
V_INLINE vreal v_div(vreal a, vreal b) { return _mm512_div_ps(a, b); }
V_INLINE vreal v_fma(vreal a, vreal b, vreal c) { return _mm512_fmadd_ps(a, b, c); }
V_INLINE vreal v_max(vreal a, vreal b) { return _mm512_max_ps(a, b); }
V_INLINE vreal v_min(vreal a, vreal b) { return _mm512_min_ps(a, b); }
V_INLINE vreal v_sqrt(vreal a) { return _mm512_sqrt_ps(a); }

/* The first n lanes of a, the others of b. */
V_INLINE vreal v_blend_n(vreal a, vreal b, int64_t n) { return _mm512_mask_mov_ps(b, v_mask_n(n), a); }

V_INLINE __m256 v_half_low(vreal a) { return _mm512_castps512_ps256(a); }
V_INLINE __m256 v_half_high(vreal a) { return _mm512_extractf32x8_ps(a, 1); }

/* 2^e * p where the low bits of `t` hold the integer e: in two steps, so that the only rounding is that of a subnormal result. */
V_INLINE vreal v_scale_by_bits(vreal p, vreal t)
{
    __m512i e = _mm512_sub_epi32(_mm512_castps_si512(t), _mm512_set1_epi32(0x4b400000));
    __m512i half = _mm512_srai_epi32(e, 1), rest = _mm512_sub_epi32(e, half), bias = _mm512_set1_epi32(127);
    vreal s1 = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(half, bias), 23));
    vreal s2 = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(rest, bias), 23));
    return _mm512_mul_ps(_mm512_mul_ps(p, s1), s2);
}

/* Transposes 16 x 16 in place: v[i] lane j becomes v[j] lane i. */
V_INLINE void v_transpose(vreal v[16])
{
    vreal t[16];
    V_UNROLL for (int i = 0; i < 16; i += 4) { /* 4 x 4 blocks within the 128-bit quarters */
        vreal a = _mm512_unpacklo_ps(v[i], v[i + 1]), b = _mm512_unpackhi_ps(v[i], v[i + 1]);
        vreal c = _mm512_unpacklo_ps(v[i + 2], v[i + 3]), d = _mm512_unpackhi_ps(v[i + 2], v[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    V_UNROLL for (int i = 0; i < 4; i++) { /* t[4 r + i] quarter q holds column 4 q + i of rows 4 r .. 4 r + 3 */
        vreal a = _mm512_shuffle_f32x4(t[i], t[4 + i], 0x88), b = _mm512_shuffle_f32x4(t[8 + i], t[12 + i], 0x88);
        vreal c = _mm512_shuffle_f32x4(t[i], t[4 + i], 0xdd), d = _mm512_shuffle_f32x4(t[8 + i], t[12 + i], 0xdd);
        v[i] = _mm512_shuffle_f32x4(a, b, 0x88);
        v[8 + i] = _mm512_shuffle_f32x4(a, b, 0xdd);
        v[4 + i] = _mm512_shuffle_f32x4(c, d, 0x88);
        v[12 + i] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
}

/* --- 16 unsigned integers of 32 bits: what numbers of a file are made of (kernel/unpack.h) --- */

typedef __m512i vint;
typedef uint32_t v_words __attribute__((vector_size(64)));

V_INLINE vint vi_set1(uint32_t a) { return _mm512_set1_epi32((int)a); }
V_INLINE vint vi_and(vint a, uint32_t mask) { return _mm512_and_si512(a, vi_set1(mask)); }
V_INLINE vint vi_or(vint a, vint b) { return _mm512_or_si512(a, b); }
V_INLINE vint vi_xor(vint a, uint32_t mask) { return _mm512_xor_si512(a, vi_set1(mask)); }
V_INLINE vint vi_shr(vint a, int n) { return (vint)((v_words)a >> (uint32_t)n); }
V_INLINE vint vi_shl(vint a, int n) { return (vint)((v_words)a << (uint32_t)n); }
V_INLINE vreal v_of_bits(vint a) { return _mm512_castsi512_ps(a); }

/* The fp16 in the low half of each lane. */
V_INLINE vreal v_of_f16(vint a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)); }

/* Byte b of each lane, without a sign, minus a bias; exact: 2^23 + q is a number whose last bits are those of q. */
V_INLINE vreal v_of_byte(vint a, int b, int bias)
{
    vint q = _mm512_ternarylogic_epi32(vi_shr(a, 8 * b), vi_set1(0xff), vi_set1(0x4b000000), 0xea); /* a & b | c */
    return _mm512_sub_ps(_mm512_castsi512_ps(q), _mm512_set1_ps((float)(8388608 + bias)));
}

/* The number of the table at the lowest 4 bits of each lane, shifted right before. */
V_INLINE vreal v_lookup(vreal table, vint a, int shift) { return _mm512_permutexvar_ps(vi_shr(a, shift), table); }

/* 16 bytes of 16 rows: out[d] lane j holds those from 4 d on of row j. */
V_INLINE void vi_load_rows(const unsigned char *const rows[16], int64_t at, vint out[4])
{
    vint r[4], t[4];
    V_UNROLL for (int i = 0; i < 4; i++) { /* rows i, 4 + i, 8 + i, 12 + i in the quarters */
        r[i] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)(rows[i] + at)));
        r[i] = _mm512_inserti32x4(r[i], _mm_loadu_si128((const __m128i *)(const void *)(rows[4 + i] + at)), 1);
        r[i] = _mm512_inserti32x4(r[i], _mm_loadu_si128((const __m128i *)(const void *)(rows[8 + i] + at)), 2);
        r[i] = _mm512_inserti32x4(r[i], _mm_loadu_si128((const __m128i *)(const void *)(rows[12 + i] + at)), 3);
    }
    V_UNROLL for (int i = 0; i < 2; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    out[0] = _mm512_unpacklo_epi64(t[0], t[2]);
    out[1] = _mm512_unpackhi_epi64(t[0], t[2]);
    out[2] = _mm512_unpacklo_epi64(t[1], t[3]);
    out[3] = _mm512_unpackhi_epi64(t[1], t[3]);
}


#elif defined(L2_SIMD_AVX2) /* ------------------------------------------------------------------------------------------- */

typedef struct vreal {
    __m256 low, high;
} vreal;

#define V_EACH(low_expr, high_expr) ((vreal){(low_expr), (high_expr)})

V_INLINE __m256i v_mask_n(int64_t n) /* of 8 lanes, any n */
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

V_INLINE vreal v_zero(void) { return V_EACH(_mm256_setzero_ps(), _mm256_setzero_ps()); }
V_INLINE vreal v_set1(real a) { return V_EACH(_mm256_set1_ps(a), _mm256_set1_ps(a)); }
V_INLINE vreal v_load(const real *p) { return V_EACH(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
V_INLINE void v_store(real *p, vreal a)
{
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}
V_INLINE vreal v_load_n(const real *p, int64_t n)
{
    if (n >= 16) return v_load(p);
    return V_EACH(_mm256_maskload_ps(p, v_mask_n(n)), n > 8 ? _mm256_maskload_ps(p + 8, v_mask_n(n - 8)) : _mm256_setzero_ps());
}

/* n < 8. A masked store is some forty operations on AMD's processors. */
V_INLINE void v_store_part(real *p, __m256 a, int64_t n)
{
    __m128 x = _mm256_castps256_ps128(a);
    if (n & 4) {
        _mm_storeu_ps(p, x);
        x = _mm256_extractf128_ps(a, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, x);
        x = _mm_movehl_ps(x, x);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, x);
}
V_INLINE void v_store_n(real *p, vreal a, int64_t n)
{
    if (n >= 16) {
        v_store(p, a);
    } else if (n >= 8) {
        _mm256_storeu_ps(p, a.low);
        v_store_part(p + 8, a.high, n - 8);
    } else {
        v_store_part(p, a.low, n);
    }
}
V_INLINE vreal v_add(vreal a, vreal b) { return V_EACH(_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)); }
V_INLINE vreal v_sub(vreal a, vreal b) { return V_EACH(_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)); }
V_INLINE vreal v_mul(vreal a, vreal b) { return V_EACH(_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)); }
V_INLINE vreal v_div(vreal a, vreal b) { return V_EACH(_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)); }
V_INLINE vreal v_fma(vreal a, vreal b, vreal c)
{
    return V_EACH(_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high));
}
V_INLINE vreal v_max(vreal a, vreal b) { return V_EACH(_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)); }
V_INLINE vreal v_min(vreal a, vreal b) { return V_EACH(_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)); }
V_INLINE vreal v_sqrt(vreal a) { return V_EACH(_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)); }

/* The first n lanes of a, the others of b. */
V_INLINE vreal v_blend_n(vreal a, vreal b, int64_t n)
{
    return V_EACH(_mm256_blendv_ps(b.low, a.low, _mm256_castsi256_ps(v_mask_n(n))),
                  _mm256_blendv_ps(b.high, a.high, _mm256_castsi256_ps(v_mask_n(n - 8))));
}

V_INLINE __m256 v_half_low(vreal a) { return a.low; }
V_INLINE __m256 v_half_high(vreal a) { return a.high; }

V_INLINE __m256 v_scale_half(__m256 p, __m256 t)
{
    __m256i e = _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(0x4b400000));
    __m256i half = _mm256_srai_epi32(e, 1), rest = _mm256_sub_epi32(e, half), bias = _mm256_set1_epi32(127);
    __m256 s1 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    __m256 s2 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, s1), s2);
}
V_INLINE vreal v_scale_by_bits(vreal p, vreal t) { return V_EACH(v_scale_half(p.low, t.low), v_scale_half(p.high, t.high)); }

/* 8 x 8: out[j] lane i = in[i] lane j. */
V_INLINE void v_transpose_8(const __m256 in[8], __m256 out[8])
{
    __m256 t[8];
    V_UNROLL for (int i = 0; i < 8; i += 4) {
        __m256 a = _mm256_unpacklo_ps(in[i], in[i + 1]), b = _mm256_unpackhi_ps(in[i], in[i + 1]);
        __m256 c = _mm256_unpacklo_ps(in[i + 2], in[i + 3]), d = _mm256_unpackhi_ps(in[i + 2], in[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    V_UNROLL for (int i = 0; i < 4; i++) {
        out[i] = _mm256_permute2f128_ps(t[i], t[4 + i], 0x20);
        out[4 + i] = _mm256_permute2f128_ps(t[i], t[4 + i], 0x31);
    }
}

V_INLINE void v_transpose(vreal v[16])
{
    __m256 in[8], q[4][8]; /* quadrants: rows 0-7 low and high half, rows 8-15 low and high half */
    V_UNROLL for (int i = 0; i < 8; i++) in[i] = v[i].low;
    v_transpose_8(in, q[0]);
    V_UNROLL for (int i = 0; i < 8; i++) in[i] = v[i].high;
    v_transpose_8(in, q[1]);
    V_UNROLL for (int i = 0; i < 8; i++) in[i] = v[8 + i].low;
    v_transpose_8(in, q[2]);
    V_UNROLL for (int i = 0; i < 8; i++) in[i] = v[8 + i].high;
    v_transpose_8(in, q[3]);
    V_UNROLL for (int i = 0; i < 8; i++) {
        v[i] = V_EACH(q[0][i], q[2][i]);
        v[8 + i] = V_EACH(q[1][i], q[3][i]);
    }
}

/* Two parts of 8 lanes, for loops that go through lanes part by part (kernel/gemm.h). */
enum { V_PARTS = 2, V_PART = 8 };
typedef __m256 vpart;

V_INLINE vpart vp_zero(void) { return _mm256_setzero_ps(); }
V_INLINE vpart vp_set1(real a) { return _mm256_set1_ps(a); }
V_INLINE vpart vp_load(const real *p) { return _mm256_loadu_ps(p); }
V_INLINE void vp_store(real *p, vpart a) { _mm256_storeu_ps(p, a); }
V_INLINE void vp_store_n(real *p, vpart a, int64_t n)
{
    if (n >= 8) vp_store(p, a);
    else v_store_part(p, a, n);
}
V_INLINE vpart vp_fma(vpart a, vpart b, vpart c) { return _mm256_fmadd_ps(a, b, c); }
V_INLINE vreal v_join(const vpart parts[2]) { return V_EACH(parts[0], parts[1]); }

/* Four columns stay in registers, and half of what puts them in order is done by the loads. */
enum { V_COLUMNS = 4 };
V_INLINE void vp_load_columns(const real *const rows[8], int64_t at, vpart out[4])
{
    __m256 r[4], t[4];
    V_UNROLL for (int i = 0; i < 4; i++) r[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[i] + at)), _mm_loadu_ps(rows[4 + i] + at), 1);
    V_UNROLL for (int i = 0; i < 4; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    out[0] = _mm256_shuffle_ps(t[0], t[2], 0x44);
    out[1] = _mm256_shuffle_ps(t[0], t[2], 0xee);
    out[2] = _mm256_shuffle_ps(t[1], t[3], 0x44);
    out[3] = _mm256_shuffle_ps(t[1], t[3], 0xee);
}

/* --- 16 unsigned integers of 32 bits --------------------------------------------------------- */

typedef struct vint {
    __m256i low, high;
} vint;

typedef uint32_t v_words __attribute__((vector_size(32)));

#define VI_EACH(low_expr, high_expr) ((vint){(low_expr), (high_expr)})

V_INLINE vint vi_set1(uint32_t a) { return VI_EACH(_mm256_set1_epi32((int)a), _mm256_set1_epi32((int)a)); }
V_INLINE vint vi_and(vint a, uint32_t mask)
{
    __m256i m = _mm256_set1_epi32((int)mask);
    return VI_EACH(_mm256_and_si256(a.low, m), _mm256_and_si256(a.high, m));
}
V_INLINE vint vi_or(vint a, vint b) { return VI_EACH(_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)); }
V_INLINE vint vi_xor(vint a, uint32_t mask)
{
    __m256i m = _mm256_set1_epi32((int)mask);
    return VI_EACH(_mm256_xor_si256(a.low, m), _mm256_xor_si256(a.high, m));
}
V_INLINE vint vi_shr(vint a, int n)
{
    return VI_EACH((__m256i)((v_words)a.low >> (uint32_t)n), (__m256i)((v_words)a.high >> (uint32_t)n));
}
V_INLINE vint vi_shl(vint a, int n)
{
    return VI_EACH((__m256i)((v_words)a.low << (uint32_t)n), (__m256i)((v_words)a.high << (uint32_t)n));
}
V_INLINE vreal v_of_bits(vint a) { return V_EACH(_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)); }

V_INLINE vreal v_of_f16(vint a)
{
    a = vi_and(a, 0xffff);
    __m256i h = _mm256_permute4x64_epi64(_mm256_packus_epi32(a.low, a.high), 0xd8);
    return V_EACH(_mm256_cvtph_ps(_mm256_castsi256_si128(h)), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1)));
}

V_INLINE vreal v_of_byte(vint a, int b, int bias)
{
    vint q = vi_or(vi_and(vi_shr(a, 8 * b), 0xff), vi_set1(0x4b000000));
    return v_sub(v_of_bits(q), v_set1((float)(8388608 + bias)));
}

V_INLINE __m256 v_lookup_half(vreal table, __m256i a)
{
    __m256 low = _mm256_permutevar8x32_ps(table.low, a), high = _mm256_permutevar8x32_ps(table.high, a);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(a, 28)));
}
V_INLINE vreal v_lookup(vreal table, vint a, int shift)
{
    a = vi_shr(a, shift);
    return V_EACH(v_lookup_half(table, a.low), v_lookup_half(table, a.high));
}

/* 8 rows: out[d] holds dword d of each. */
V_INLINE void vi_load_rows_8(const unsigned char *const rows[8], int64_t at, __m256i out[4])
{
    __m256i r[4], t[4];
    V_UNROLL for (int i = 0; i < 4; i++) {
        r[i] = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(rows[i] + at)));
        r[i] = _mm256_inserti128_si256(r[i], _mm_loadu_si128((const __m128i *)(const void *)(rows[4 + i] + at)), 1);
    }
    V_UNROLL for (int i = 0; i < 2; i++) {
        t[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    out[0] = _mm256_unpacklo_epi64(t[0], t[2]);
    out[1] = _mm256_unpackhi_epi64(t[0], t[2]);
    out[2] = _mm256_unpacklo_epi64(t[1], t[3]);
    out[3] = _mm256_unpackhi_epi64(t[1], t[3]);
}
V_INLINE void vi_load_rows(const unsigned char *const rows[16], int64_t at, vint out[4])
{
    __m256i low[4], high[4];
    vi_load_rows_8(rows, at, low);
    vi_load_rows_8(rows + 8, at, high);
    V_UNROLL for (int d = 0; d < 4; d++) out[d] = VI_EACH(low[d], high[d]);
}

#else /* portable ------------------------------------------------------------------------------------------------------ */

typedef struct vreal {
    real lane[16];
} vreal;

#define V_EACH(expr)                                                                                         \
    vreal r;                                                                                                 \
    for (int i = 0; i < V_LANES; i++) r.lane[i] = (expr);                                                    \
    return r

V_INLINE vreal v_set1(real a) { V_EACH(a); }
V_INLINE vreal v_zero(void) { return v_set1(0); }
V_INLINE vreal v_load(const real *p) { V_EACH(p[i]); }
V_INLINE void v_store(real *p, vreal a) { memcpy(p, a.lane, sizeof a.lane); }
V_INLINE vreal v_load_n(const real *p, int64_t n) { V_EACH(i < n ? p[i] : 0); }
V_INLINE void v_store_n(real *p, vreal a, int64_t n)
{
    for (int i = 0; i < V_LANES && i < n; i++) p[i] = a.lane[i];
}
V_INLINE vreal v_add(vreal a, vreal b) { V_EACH(a.lane[i] + b.lane[i]); }
V_INLINE vreal v_sub(vreal a, vreal b) { V_EACH(a.lane[i] - b.lane[i]); }
V_INLINE vreal v_mul(vreal a, vreal b) { V_EACH(a.lane[i] * b.lane[i]); }
V_INLINE vreal v_div(vreal a, vreal b) { V_EACH(a.lane[i] / b.lane[i]); }
V_INLINE vreal v_fma(vreal a, vreal b, vreal c) { V_EACH(r_fma(a.lane[i], b.lane[i], c.lane[i])); }
V_INLINE vreal v_max(vreal a, vreal b) { V_EACH(r_max(a.lane[i], b.lane[i])); }
V_INLINE vreal v_min(vreal a, vreal b) { V_EACH(r_min(a.lane[i], b.lane[i])); }
V_INLINE vreal v_sqrt(vreal a) { V_EACH(r_sqrt(a.lane[i])); }
V_INLINE vreal v_blend_n(vreal a, vreal b, int64_t n) { V_EACH(i < n ? a.lane[i] : b.lane[i]); }

V_INLINE void v_transpose(vreal v[16])
{
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < i; j++) {
            real t = v[i].lane[j];
            v[i].lane[j] = v[j].lane[i];
            v[j].lane[i] = t;
        }
    }
}

/* --- 16 unsigned integers of 32 bits --------------------------------------------------------- */

typedef struct vint {
    uint32_t lane[16];
} vint;

#define VI_EACH(expr)                                                                                        \
    vint r;                                                                                                  \
    for (int i = 0; i < V_LANES; i++) r.lane[i] = (expr);                                                    \
    return r

V_INLINE vint vi_set1(uint32_t a) { VI_EACH(a); }
V_INLINE vint vi_and(vint a, uint32_t mask) { VI_EACH(a.lane[i] & mask); }
V_INLINE vint vi_or(vint a, vint b) { VI_EACH(a.lane[i] | b.lane[i]); }
V_INLINE vint vi_xor(vint a, uint32_t mask) { VI_EACH(a.lane[i] ^ mask); }
V_INLINE vint vi_shr(vint a, int n) { VI_EACH(a.lane[i] >> n); }
V_INLINE vint vi_shl(vint a, int n) { VI_EACH(a.lane[i] << n); }
V_INLINE vreal v_of_bits(vint a) { V_EACH((real)l2_f32_of_bits(a.lane[i])); }
V_INLINE vreal v_of_f16(vint a) { V_EACH((real)l2_f32_from_f16((uint16_t)a.lane[i])); }
V_INLINE vreal v_of_byte(vint a, int b, int bias) { V_EACH((real)((int)(a.lane[i] >> 8 * b & 0xff) - bias)); }
V_INLINE vreal v_lookup(vreal table, vint a, int shift) { V_EACH(table.lane[a.lane[i] >> shift & 15]); }
V_INLINE uint32_t vi_dword(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
V_INLINE void vi_load_rows(const unsigned char *const rows[16], int64_t at, vint out[4])
{
    for (int d = 0; d < 4; d++) {
        for (int j = 0; j < V_LANES; j++) out[d].lane[j] = vi_dword(rows[j] + at + 4 * d);
    }
}

#endif

#if !defined(L2_SIMD_AVX2) /* one part is all lanes */

enum { V_PARTS = 1, V_PART = V_LANES, V_COLUMNS = 16 };
typedef vreal vpart;

V_INLINE vpart vp_zero(void) { return v_zero(); }
V_INLINE vpart vp_set1(real a) { return v_set1(a); }
V_INLINE vpart vp_load(const real *p) { return v_load(p); }
V_INLINE void vp_store(real *p, vpart a) { v_store(p, a); }
V_INLINE void vp_store_n(real *p, vpart a, int64_t n) { v_store_n(p, a, n); }
V_INLINE vpart vp_fma(vpart a, vpart b, vpart c) { return v_fma(a, b, c); }
V_INLINE vreal v_join(const vpart parts[1]) { return parts[0]; }

/* V_COLUMNS columns of V_PART rows: out[p] lane j = rows[j][at + p]. */
V_INLINE void vp_load_columns(const real *const rows[V_PART], int64_t at, vpart out[V_COLUMNS])
{
    V_UNROLL for (int j = 0; j < V_PART; j++) out[j] = v_load(rows[j] + at);
    v_transpose(out);
}

#endif

/* --- reductions: lane i with i + 8, then i + 4, i + 2, i + 1 --------------------------------- */

#if defined(L2_SIMD_AVX512) || defined(L2_SIMD_AVX2)

V_INLINE real v_sum(vreal a)
{
    __m256 s8 = _mm256_add_ps(v_half_low(a), v_half_high(a));
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
}

V_INLINE real v_max_all(vreal a)
{
    __m256 s8 = _mm256_max_ps(v_half_low(a), v_half_high(a));
    __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_max_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
}

#else

V_INLINE real v_sum(vreal a)
{
    for (int step = 8; step > 0; step /= 2) {
        for (int i = 0; i < step; i++) a.lane[i] = a.lane[i] + a.lane[i + step];
    }
    return a.lane[0];
}

V_INLINE real v_max_all(vreal a)
{
    for (int step = 8; step > 0; step /= 2) {
        for (int i = 0; i < step; i++) a.lane[i] = r_max(a.lane[i], a.lane[i + step]);
    }
    return a.lane[0];
}

#endif

/* --- exp ------------------------------------------------------------------------------------- */

#if defined(L2_REAL_IS_DOUBLE)

V_INLINE real r_exp(real x) { return exp(x); }
V_INLINE vreal v_exp(vreal a) { V_EACH(exp(a.lane[i])); }

#else

/*
 * exp(x) = 2^e exp(r), r = x - e ln 2 in [-ln 2 / 2, ln 2 / 2], exp(r) = 1 + r + r^2 q(r) with the minimax q of degree 5 (relative error
 * 5e-11 before rounding). Below -105 the result is 0 and above 89 infinite in any case, so x is cut there and e stays in range; the order of the
 * operands of max and min lets a NaN through. Adding 1.5 * 2^23 rounds x / ln 2 to the integer e and leaves it in the low bits.
 */
#define L2_EXP_LOWEST  -105.0f
#define L2_EXP_HIGHEST 89.0f
#define L2_EXP_INV_LN2 0x1.715476p+0f
#define L2_EXP_ROUND   12582912.0f /* bits 0x4b400000 */
#define L2_EXP_LN2_HIGH 0x1.62e43p-1f
#define L2_EXP_LN2_LOW -0x1.05c61p-29f
#define L2_EXP_Q5 0x1.9f06e6p-13f
#define L2_EXP_Q4 0x1.6d8f2ap-10f
#define L2_EXP_Q3 0x1.111274p-7f
#define L2_EXP_Q2 0x1.55548cp-5f
#define L2_EXP_Q1 0x1.555554p-3f
#define L2_EXP_Q0 0.5f

V_INLINE real r_power_of_two(int32_t e)
{
    uint32_t bits = (uint32_t)(e + 127) << 23;
    real s;
    memcpy(&s, &bits, sizeof s);
    return s;
}

V_INLINE real r_scale_by_bits(real p, real t)
{
    int32_t e;
    memcpy(&e, &t, sizeof e);
    e = (int32_t)((uint32_t)e - 0x4b400000u);
    int32_t half = e >= 0 ? e / 2 : -((1 - e) / 2); /* rounds down, as an arithmetic shift does */
    return p * r_power_of_two(half) * r_power_of_two((int32_t)((uint32_t)e - (uint32_t)half));
}

/* The same operations, and so the same bits, as v_exp. */
V_INLINE real r_exp(real x)
{
    x = r_min(L2_EXP_HIGHEST, r_max(L2_EXP_LOWEST, x));
    real t = r_fma(x, L2_EXP_INV_LN2, L2_EXP_ROUND), e = t - L2_EXP_ROUND;
    real r = r_fma(e, -L2_EXP_LN2_LOW, r_fma(e, -L2_EXP_LN2_HIGH, x));
    real q = r_fma(L2_EXP_Q5, r, L2_EXP_Q4);
    q = r_fma(q, r, L2_EXP_Q3);
    q = r_fma(q, r, L2_EXP_Q2);
    q = r_fma(q, r, L2_EXP_Q1);
    q = r_fma(q, r, L2_EXP_Q0);
    return r_scale_by_bits(r_fma(q, r * r, r) + 1.0f, t);
}

#if defined(V_PORTABLE)

V_INLINE vreal v_exp(vreal a) { V_EACH(r_exp(a.lane[i])); }

#else

V_INLINE vreal v_exp(vreal x)
{
    x = v_min(v_set1(L2_EXP_HIGHEST), v_max(v_set1(L2_EXP_LOWEST), x));
    vreal t = v_fma(x, v_set1(L2_EXP_INV_LN2), v_set1(L2_EXP_ROUND)), e = v_sub(t, v_set1(L2_EXP_ROUND));
    vreal r = v_fma(e, v_set1(-L2_EXP_LN2_LOW), v_fma(e, v_set1(-L2_EXP_LN2_HIGH), x));
    vreal q = v_fma(v_set1(L2_EXP_Q5), r, v_set1(L2_EXP_Q4));
    q = v_fma(q, r, v_set1(L2_EXP_Q3));
    q = v_fma(q, r, v_set1(L2_EXP_Q2));
    q = v_fma(q, r, v_set1(L2_EXP_Q1));
    q = v_fma(q, r, v_set1(L2_EXP_Q0));
    return v_scale_by_bits(v_add(v_fma(q, v_mul(r, r), r), v_set1(1.0f)), t);
}

#endif
#endif

#endif
