/*
 * Numbers of a stored matrix (math/stored.h), 16 rows at a time: the lanes are rows, so that a bit of a block lies in the same place of every lane, and
 * what comes out is a panel of gemm_tile as it stands. A block is integers q and, for 16 or 32 of them, a scale and perhaps an offset:
 *
 *     x = scale * q + offset
 *
 * The product is exact in fp32 (11 bits of an fp16 times at most 7 of a scale and 6 of q, or times 8 of q), so that one fused step rounds as the product
 * and the sum do one after the other. Where there is no offset the product is all: adding a zero could change the sign of a zero. The layouts are those of
 * the structs block_* in ggml's ggml-common.h; format/quantised.c has them as a table.
 */
#ifndef L2_KERNEL_UNPACK_H
#define L2_KERNEL_UNPACK_H

#include "math/kernels.h"
#include "math/simd.h"
#include "math/stored.h"

#if !defined(L2_REAL_IS_DOUBLE)

typedef const unsigned char *const *unpack_rows; /* 16 of them */

/* Element p of row j goes to out[p * GEMM_PANEL + j]. */
V_INLINE real *unpack_at(real *out, int64_t p) { return out + p * GEMM_PANEL; }

typedef struct unpack_scale {
    vreal scale, offset;
} unpack_scale;

V_INLINE void unpack_store(real *out, int64_t p, vreal q, unpack_scale s, const int offset)
{
    v_store(unpack_at(out, p), offset ? v_fma(q, s.scale, s.offset) : v_mul(q, s.scale));
}

/* 16 bytes at `at`: 16 numbers of the low halves, 16 of the high halves `apart` further on. */
V_INLINE void unpack_nibbles(unpack_rows rows, int64_t at, vreal table, unpack_scale low, unpack_scale high, const int offset, real *out,
                             const int apart)
{
    vint w[4];
    vi_load_rows(rows, at, w);
    V_UNROLL for (int i = 0; i < 16; i++) unpack_store(out, i, v_lookup(table, w[i / 4], i % 4 * 8), low, offset);
    V_UNROLL for (int i = 0; i < 16; i++) unpack_store(out, apart + i, v_lookup(table, w[i / 4], i % 4 * 8 + 4), high, offset);
}

/* 16 numbers, one a byte. */
V_INLINE void unpack_bytes(const vint w[4], const int bias, unpack_scale s, const int offset, real *out)
{
    V_UNROLL for (int i = 0; i < 16; i++) unpack_store(out, i, v_of_byte(w[i / 4], i % 4, bias), s, offset);
}

/* `bits` bits of each byte of w, shifted up by `up`, and into q. */
V_INLINE void unpack_add(vint q[4], const vint w[4], int shift, uint32_t mask, int up)
{
    V_UNROLL for (int d = 0; d < 4; d++) q[d] = vi_or(q[d], vi_shl(vi_and(vi_shr(w[d], shift), mask * 0x01010101u), up));
}

V_INLINE vreal unpack_table(int from)
{
    real t[V_LANES];
    for (int i = 0; i < V_LANES; i++) t[i] = (real)(from + i);
    return v_load(t);
}

/* --- blocks of 32 ---------------------------------------------------------------------------- */

static void unpack_q4_0(unpack_rows rows, int64_t at, int part, real *out)
{
    (void)part;
    vint h[4];
    vi_load_rows(rows, at, h);
    unpack_scale s = {v_of_f16(h[0]), v_zero()};
    unpack_nibbles(rows, at + 2, unpack_table(-8), s, s, 0, out, 16);
}

static void unpack_iq4_nl(unpack_rows rows, int64_t at, int part, real *out)
{
    static const real values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    (void)part;
    vint h[4];
    vi_load_rows(rows, at, h);
    unpack_scale s = {v_of_f16(h[0]), v_zero()};
    unpack_nibbles(rows, at + 2, v_load(values), s, s, 0, out, 16);
}

static void unpack_q4_1(unpack_rows rows, int64_t at, int part, real *out)
{
    (void)part;
    vint h[4];
    vi_load_rows(rows, at, h);
    unpack_scale s = {v_of_f16(h[0]), v_of_f16(vi_shr(h[0], 16))};
    unpack_nibbles(rows, at + 4, unpack_table(0), s, s, 1, out, 16);
}

/* The fifth bits: those of 32 numbers in a word. */
V_INLINE void unpack_q5(unpack_rows rows, int64_t at, vint fifth, const int bias, unpack_scale s, const int offset, real *out)
{
    vint w[4], q[4];
    vi_load_rows(rows, at, w);
    V_UNROLL for (int half = 0; half < 2; half++) {
        V_UNROLL for (int d = 0; d < 4; d++) {
            q[d] = vi_and(vi_shr(w[d], 4 * half), 0x0f0f0f0f);
            V_UNROLL for (int b = 0; b < 4; b++) q[d] = vi_or(q[d], vi_shl(vi_and(vi_shr(fifth, 16 * half + 4 * d + b), 1), 8 * b + 4));
        }
        unpack_bytes(q, bias, s, offset, unpack_at(out, 16 * half));
    }
}

static void unpack_q5_0(unpack_rows rows, int64_t at, int part, real *out)
{
    (void)part;
    vint h[4];
    vi_load_rows(rows, at, h);
    unpack_scale s = {v_of_f16(h[0]), v_zero()};
    unpack_q5(rows, at + 6, vi_or(vi_shr(h[0], 16), vi_shl(h[1], 16)), 16, s, 0, out);
}

static void unpack_q5_1(unpack_rows rows, int64_t at, int part, real *out)
{
    (void)part;
    vint h[4];
    vi_load_rows(rows, at, h);
    unpack_scale s = {v_of_f16(h[0]), v_of_f16(vi_shr(h[0], 16))};
    unpack_q5(rows, at + 8, h[1], 0, s, 1, out);
}

static void unpack_q8_0(unpack_rows rows, int64_t at, int part, real *out)
{
    (void)part;
    vint h[4];
    vi_load_rows(rows, at, h);
    unpack_scale s = {v_of_f16(h[0]), v_zero()};
    V_UNROLL for (int half = 0; half < 2; half++) {
        vint w[4];
        vi_load_rows(rows, at + 2 + 16 * half, w);
        V_UNROLL for (int d = 0; d < 4; d++) w[d] = vi_xor(w[d], 0x80808080); /* the sign becomes a bias of 128 */
        unpack_bytes(w, 128, s, 0, unpack_at(out, 16 * half));
    }
}

/* --- blocks of 256, one half (`part`) of it a call -------------------------------------------- */

/* Byte i of 16 a row. */
V_INLINE vint unpack_byte(const vint w[4], int i) { return vi_and(vi_shr(w[i / 4], i % 4 * 8), 0xff); }
V_INLINE vreal unpack_number(vint a, int bias) { return v_of_byte(a, 0, bias); }
V_INLINE vreal unpack_minus(vreal a) { return v_mul(a, v_set1(-1)); }

/* Scale and minimum g of 8, 6 bits each, packed into the 12 bytes after the two units (format/quantised.c). */
V_INLINE unpack_scale unpack_scale_k(const vint w[4], vreal unit, vreal minus_unit, int g)
{
    int i = g % 4;
    vint s, m;
    if (g < 4) {
        s = vi_and(unpack_byte(w, 4 + i), 63);
        m = vi_and(unpack_byte(w, 8 + i), 63);
    } else {
        s = vi_or(vi_and(unpack_byte(w, 12 + i), 15), vi_shl(vi_shr(unpack_byte(w, 4 + i), 6), 4));
        m = vi_or(vi_shr(unpack_byte(w, 12 + i), 4), vi_shl(vi_shr(unpack_byte(w, 8 + i), 6), 4));
    }
    return (unpack_scale){v_mul(unit, unpack_number(s, 0)), v_mul(minus_unit, unpack_number(m, 0))};
}

static void unpack_q4_k(unpack_rows rows, int64_t at, int part, real *out)
{
    vint h[4];
    vi_load_rows(rows, at, h);
    vreal unit = v_of_f16(h[0]), minus_unit = unpack_minus(v_of_f16(vi_shr(h[0], 16))), table = unpack_table(0);
    for (int i = 2 * part; i < 2 * part + 2; i++) {
        unpack_scale low = unpack_scale_k(h, unit, minus_unit, 2 * i), high = unpack_scale_k(h, unit, minus_unit, 2 * i + 1);
        for (int c = 0; c < 32; c += 16) unpack_nibbles(rows, at + 16 + 32 * i + c, table, low, high, 1, unpack_at(out, 64 * (i % 2) + c), 32);
    }
}

static void unpack_q5_k(unpack_rows rows, int64_t at, int part, real *out)
{
    vint h[4], w[4], fifth[4];
    vi_load_rows(rows, at, h);
    vreal unit = v_of_f16(h[0]), minus_unit = unpack_minus(v_of_f16(vi_shr(h[0], 16)));
    for (int i = 2 * part; i < 2 * part + 2; i++) {
        for (int c = 0; c < 32; c += 16) {
            vi_load_rows(rows, at + 48 + 32 * i + c, w);
            vi_load_rows(rows, at + 16 + c, fifth);
            for (int half = 0; half < 2; half++) {
                vint q[4] = {vi_set1(0), vi_set1(0), vi_set1(0), vi_set1(0)};
                unpack_add(q, w, 4 * half, 15, 0);
                unpack_add(q, fifth, 2 * i + half, 1, 4);
                unpack_bytes(q, 0, unpack_scale_k(h, unit, minus_unit, 2 * i + half), 1, unpack_at(out, 64 * (i % 2) + 32 * half + c));
            }
        }
    }
}

static void unpack_q6_k(unpack_rows rows, int64_t at, int part, real *out)
{
    vint scales[4], units[4], low[4], high[4];
    vi_load_rows(rows, at + 194, units);
    vreal unit = v_of_f16(vi_shr(units[3], 16));
    vi_load_rows(rows, at + 192, scales);
    V_UNROLL for (int d = 0; d < 4; d++) scales[d] = vi_xor(scales[d], 0x80808080);
    for (int c = 0; c < 32; c += 16) {
        vi_load_rows(rows, at + 128 + 32 * part + c, high);
        for (int run = 0; run < 4; run++) { /* of 32 numbers: the low halves of 64 bytes, then the high ones */
            vint q[4] = {vi_set1(0), vi_set1(0), vi_set1(0), vi_set1(0)};
            int g = 8 * part + 2 * run + c / 16;
            vi_load_rows(rows, at + 64 * part + run % 2 * 32 + c, low);
            unpack_add(q, low, run / 2 * 4, 15, 0);
            unpack_add(q, high, 2 * run, 3, 4);
            unpack_scale s = {v_mul(unit, unpack_number(unpack_byte(scales, g), 128)), v_zero()};
            unpack_bytes(q, 32, s, 0, unpack_at(out, 32 * run + c));
        }
    }
}

static void unpack_q2_k(unpack_rows rows, int64_t at, int part, real *out)
{
    vint scales[4], units[4], w[4];
    vi_load_rows(rows, at + 68, units);
    vreal unit = v_of_f16(units[3]), minus_unit = unpack_minus(v_of_f16(vi_shr(units[3], 16)));
    vi_load_rows(rows, at, scales);
    for (int c = 0; c < 32; c += 16) {
        vi_load_rows(rows, at + 16 + 32 * part + c, w);
        for (int run = 0; run < 4; run++) {
            vint q[4] = {vi_set1(0), vi_set1(0), vi_set1(0), vi_set1(0)}, packed = unpack_byte(scales, 8 * part + 2 * run + c / 16);
            unpack_scale s = {v_mul(unit, unpack_number(vi_and(packed, 15), 0)), v_mul(minus_unit, unpack_number(vi_shr(packed, 4), 0))};
            unpack_add(q, w, 2 * run, 3, 0);
            unpack_bytes(q, 0, s, 1, unpack_at(out, 32 * run + c));
        }
    }
}

static void unpack_q3_k(unpack_rows rows, int64_t at, int part, real *out)
{
    vint packed[4], w[4], third[4];
    vi_load_rows(rows, at + 94, packed); /* two bytes of the integers, the scales, the unit */
    vreal unit = v_of_f16(vi_shr(packed[3], 16));
    for (int c = 0; c < 32; c += 16) {
        vi_load_rows(rows, at + 32 + 32 * part + c, w);
        vi_load_rows(rows, at + c, third);
        for (int run = 0; run < 4; run++) {
            vint q[4] = {vi_set1(0), vi_set1(0), vi_set1(0), vi_set1(0)};
            int g = 8 * part + 2 * run + c / 16;
            vint low = vi_and(vi_shr(unpack_byte(packed, 2 + g % 8), g / 8 * 4), 15), high = vi_and(vi_shr(unpack_byte(packed, 10 + g % 4), g / 4 * 2), 3);
            unpack_scale s = {v_mul(unit, unpack_number(vi_or(low, vi_shl(high, 4)), 32)), v_zero()};
            unpack_add(q, w, 2 * run, 3, 0);
            unpack_add(q, third, 4 * part + run, 1, 2);
            unpack_bytes(q, 4, s, 0, unpack_at(out, 32 * run + c));
        }
    }
}

/* --- plain numbers: 16 bytes a call ----------------------------------------------------------- */

static void unpack_f32(unpack_rows rows, int64_t at, int part, real *out)
{
    (void)part;
    vint w[4];
    vi_load_rows(rows, at, w);
    V_UNROLL for (int d = 0; d < 4; d++) v_store(unpack_at(out, d), v_of_bits(w[d]));
}

static void unpack_half(unpack_rows rows, int64_t at, int part, real *out)
{
    (void)part;
    vint w[4];
    vi_load_rows(rows, at, w);
    V_UNROLL for (int d = 0; d < 4; d++) {
        v_store(unpack_at(out, 2 * d), v_of_f16(w[d]));
        v_store(unpack_at(out, 2 * d + 1), v_of_f16(vi_shr(w[d], 16)));
    }
}

static void unpack_bf16(unpack_rows rows, int64_t at, int part, real *out)
{
    (void)part;
    vint w[4];
    vi_load_rows(rows, at, w);
    V_UNROLL for (int d = 0; d < 4; d++) {
        v_store(unpack_at(out, 2 * d), v_of_bits(vi_shl(w[d], 16)));
        v_store(unpack_at(out, 2 * d + 1), v_of_bits(vi_and(w[d], 0xffff0000)));
    }
}

/* --- any type --------------------------------------------------------------------------------- */

/* Part `part` of the block at `at`. */
typedef void (*unpack_part)(unpack_rows rows, int64_t at, int part, real *out);

/* Elements and bytes of a block, elements of a part of it. */
V_INLINE void unpack_parts(unpack_part one, const int block, const int bytes, const int unit, unpack_rows rows, int64_t first, int64_t n, real *out)
{
    int64_t p = first, end = first + n;
    for (; p + unit <= end; p += unit) one(rows, p / block * bytes, (int)(p % block / unit), unpack_at(out, p - first));
    if (p == end || unit > 8) return;
    /* Plain numbers that fill no 16 bytes. */
    unsigned char copy[V_LANES][16] = {{0}};
    const unsigned char *copies[V_LANES];
    real left[8 * GEMM_PANEL];
    for (int j = 0; j < V_LANES; j++) copies[j] = memcpy(copy[j], rows[j] + p / block * bytes, (size_t)((end - p) * bytes / block));
    one(copies, 0, 0, left);
    for (int64_t i = 0; p + i < end; i++) v_store(unpack_at(out, p - first + i), v_load(unpack_at(left, i)));
}

static void unpack_stored(int32_t type, const unsigned char *const *rows, int64_t first, int64_t n, void *out)
{
    switch (type) {
    case L2_GGML_F32: unpack_parts(unpack_f32, 4, 16, 4, rows, first, n, out); break;
    case L2_GGML_F16: unpack_parts(unpack_half, 8, 16, 8, rows, first, n, out); break;
    case L2_GGML_BF16: unpack_parts(unpack_bf16, 8, 16, 8, rows, first, n, out); break;
    case L2_GGML_Q4_0: unpack_parts(unpack_q4_0, 32, 18, 32, rows, first, n, out); break;
    case L2_GGML_Q4_1: unpack_parts(unpack_q4_1, 32, 20, 32, rows, first, n, out); break;
    case L2_GGML_Q5_0: unpack_parts(unpack_q5_0, 32, 22, 32, rows, first, n, out); break;
    case L2_GGML_Q5_1: unpack_parts(unpack_q5_1, 32, 24, 32, rows, first, n, out); break;
    case L2_GGML_Q8_0: unpack_parts(unpack_q8_0, 32, 34, 32, rows, first, n, out); break;
    case L2_GGML_IQ4_NL: unpack_parts(unpack_iq4_nl, 32, 18, 32, rows, first, n, out); break;
    case L2_GGML_Q2_K: unpack_parts(unpack_q2_k, 256, 84, 128, rows, first, n, out); break;
    case L2_GGML_Q3_K: unpack_parts(unpack_q3_k, 256, 110, 128, rows, first, n, out); break;
    case L2_GGML_Q4_K: unpack_parts(unpack_q4_k, 256, 144, 128, rows, first, n, out); break;
    case L2_GGML_Q5_K: unpack_parts(unpack_q5_k, 256, 176, 128, rows, first, n, out); break;
    case L2_GGML_Q6_K: unpack_parts(unpack_q6_k, 256, 210, 128, rows, first, n, out); break;
    default: break;
    }
}

#else

#define unpack_stored NULL /* no products in double are made of stored matrices */

#endif

#endif
