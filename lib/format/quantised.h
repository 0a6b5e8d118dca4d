/* ggml's types of tensors, as numbers. Each gives bit for bit what the `gguf` package of Python computes. */
#ifndef L2_FORMAT_QUANTISED_H
#define L2_FORMAT_QUANTISED_H

#include "format/gguf.h"

/* Whole blocks: `count` elements from `data` on. UNSUPPORTED for a type that is not listed as L2_GGML_*; INVALID for a
 * count that ends within a block. */
llama2_status l2_dequantise(int32_t type, const unsigned char *data, int64_t count, float *out);
int l2_dequantises(int32_t type);

/*
 * The other way: F32, F16, BF16 to nearest even; Q8_0, Q4_0, Q5_0, Q4_K, Q6_K with the scales that lose least
 * (format/quantise.c). UNSUPPORTED for other types; INVALID as above; NUMERIC where a number is not finite or beyond
 * fp16, in all types but F32 and BF16.
 */
llama2_status l2_quantise(int32_t type, const float *x, int64_t count, unsigned char *out);
int l2_quantises(int32_t type);

/*
 * A whole tensor as LLAMA2_F32 or LLAMA2_F64, row by row, on the context's threads. head_dim > 0: its rows are those of
 * heads of this many, in the order of GGUF's "llama", which puts the two rows of a rotary pair side by side (0 1 | 2 3
 * | ...); out gets them as the library has them, half a head apart (0 2 ... | 1 3 ...). UNSUPPORTED as above; INVALID
 * for rows that are no heads.
 */
llama2_status l2_gguf_read(llama2_context *ctx, const l2_gguf_tensor *tensor, int64_t head_dim, int32_t dtype,
                           void *out);

#endif
