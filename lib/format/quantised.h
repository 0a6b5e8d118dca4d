/* ggml's types of tensors, as numbers. Each gives bit for bit what the `gguf` package of Python computes. */
#ifndef L2_FORMAT_QUANTISED_H
#define L2_FORMAT_QUANTISED_H

#include "format/gguf.h"

/* Whole blocks: `count` elements from `data` on. UNSUPPORTED for a type that is not listed as L2_GGML_*; INVALID for a
 * count that ends within a block. */
llama2_status l2_dequantise(int32_t type, const unsigned char *data, int64_t count, float *out);
int l2_dequantises(int32_t type);

/*
 * A whole tensor as LLAMA2_F32 or LLAMA2_F64, row by row, on the context's threads. head_dim > 0: its rows are those of
 * heads of this many, in the order of GGUF's "llama", which puts the two rows of a rotary pair side by side (0 1 | 2 3
 * |
 * ...); out gets them as the library has them, half a head apart (0 2 ... | 1 3 ...). UNSUPPORTED as above.
 */
llama2_status l2_gguf_read(llama2_context *ctx, const l2_gguf_tensor *tensor, int64_t head_dim, int32_t dtype,
                           void *out);

#endif
