/* Blocks of any type that numbers can be made of, filled at random: what tests of stored weights are made of. */
#ifndef RANDOM_BLOCKS_H
#define RANDOM_BLOCKS_H

#include "format/gguf.h"
#include "math/half.h"
#include <stdint.h>

static const int32_t stored_types[] = {L2_GGML_F32,  L2_GGML_F16,  L2_GGML_BF16, L2_GGML_Q4_0,  L2_GGML_Q4_1,
                                       L2_GGML_Q5_0, L2_GGML_Q5_1, L2_GGML_Q8_0, L2_GGML_Q2_K,  L2_GGML_Q3_K,
                                       L2_GGML_Q4_K, L2_GGML_Q5_K, L2_GGML_Q6_K, L2_GGML_IQ4_NL};
enum { N_STORED_TYPES = sizeof stored_types / sizeof *stored_types };

static inline uint32_t random_bits(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

static inline void put_half(unsigned char *p, uint16_t half)
{
    p[0] = (unsigned char)half;
    p[1] = (unsigned char)(half >> 8);
}

/* Where the fp16 units of a block lie, and by how much the integers have to be scaled down for numbers of about 1. */
static inline int units_of(int32_t type, int at[2], float *largest)
{
    at[0] = 0, at[1] = 2;
    switch (type) {
    case L2_GGML_Q4_0: *largest = 8; return 1;
    case L2_GGML_Q5_0: *largest = 16; return 1;
    case L2_GGML_Q8_0: *largest = 128; return 1;
    case L2_GGML_IQ4_NL: *largest = 128; return 1;
    case L2_GGML_Q4_1: *largest = 16; return 2;
    case L2_GGML_Q5_1: *largest = 32; return 2;
    case L2_GGML_Q2_K: at[0] = 80, at[1] = 82, *largest = 45; return 2;
    case L2_GGML_Q3_K: at[0] = 108, *largest = 128; return 1;
    case L2_GGML_Q4_K: *largest = 63 * 15; return 2;
    case L2_GGML_Q5_K: *largest = 63 * 31; return 2;
    case L2_GGML_Q6_K: at[0] = 208, *largest = 128 * 32; return 1;
    default: return 0;
    }
}

/* `bytes` of whole blocks at `to`. range 0: any bits at all, infinities and NaN among the units; else the numbers are
 * of about that size. */
static inline void fill_blocks(int32_t type, unsigned char *to, size_t bytes, uint64_t seed, float range)
{
    uint32_t elements, block;
    int at[2];
    float largest = 1;
    uint64_t state = seed * 0x9e3779b97f4a7c15u + (uint64_t)type;
    l2_ggml_type(type, &elements, &block);
    for (size_t i = 0; i < bytes; i++) to[i] = (unsigned char)random_bits(&state);
    if (range == 0) return;
    int units = units_of(type, at, &largest);
    for (unsigned char *p = to; p < to + bytes; p += block) {
        float x = range * ((float)(random_bits(&state) >> 8) * 0x1p-23f - 1);
        for (int i = 0; i < units; i++) put_half(p + at[i], l2_f16_from_f32(x / largest));
        if (type == L2_GGML_F32) memcpy(p, &x, 4);
        if (type == L2_GGML_F16) put_half(p, l2_f16_from_f32(x));
        if (type == L2_GGML_BF16) put_half(p, l2_bf16_from_f32(x));
    }
}

#endif
