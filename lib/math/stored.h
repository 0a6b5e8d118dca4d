/*
 * A matrix as it lies in a file: rows of blocks of one of GGUF's types, never changed and never copied as a whole. What
 * needs its numbers makes them where it needs them, a panel of a product or the rows of some tokens, and they are the
 * bits of a matrix that was made fp32 while it was read (format/quantised.h).
 */
#ifndef L2_MATH_STORED_H
#define L2_MATH_STORED_H

#include "base/status.h"

/* Types of tensors that numbers can be made of, as GGUF files number them. */
enum {
    L2_GGML_F32 = 0,
    L2_GGML_F16 = 1,
    L2_GGML_Q4_0 = 2,
    L2_GGML_Q4_1 = 3,
    L2_GGML_Q5_0 = 6,
    L2_GGML_Q5_1 = 7,
    L2_GGML_Q8_0 = 8,
    L2_GGML_Q2_K = 10,
    L2_GGML_Q3_K = 11,
    L2_GGML_Q4_K = 12,
    L2_GGML_Q5_K = 13,
    L2_GGML_Q6_K = 14,
    L2_GGML_IQ4_NL = 20,
    L2_GGML_F64 = 28, /* not read as numbers */
    L2_GGML_BF16 = 30
};

typedef struct l2_stored {
    int32_t type;              /* L2_GGML_* */
    const unsigned char *data; /* little-endian, perhaps not aligned; NULL: no such matrix */
    size_t row_bytes;          /* whole blocks */
    int64_t head_dim;          /* > 0: the two rows of a rotary pair lie side by side in each head of this many
                                  (0 1 | 2 3 | ...); row 0 ... of this library are half a head apart (0 2 ... | 1 3 ...) */
} l2_stored;

/* Is it what a dense fp32 matrix would be in memory? */
static inline int l2_stored_is_dense(const l2_stored *s)
{
    const uint16_t one = 1;
    return s->type == L2_GGML_F32 && s->head_dim == 0 && (uintptr_t)s->data % sizeof(float) == 0 &&
           *(const unsigned char *)&one == 1;
}

/* Where the library's rows first, first + 1, ... begin: n of them, and row `last` again in place of those beyond it. */
static inline void l2_stored_rows(const l2_stored *s, int64_t first, int64_t n, int64_t last,
                                  const unsigned char **rows)
{
    int64_t half = s->head_dim / 2, in_head = s->head_dim > 0 ? first % s->head_dim : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t row = first + i;
        if (s->head_dim > 0) {
            row += (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1) - in_head;
            if (++in_head == s->head_dim) in_head = 0;
        }
        rows[i] = first + i <= last ? s->data + (size_t)row * s->row_bytes : rows[i - 1];
    }
}

/* out[i] = the row rows[i] of the matrix, or row first + i where rows is NULL, as fp32: (n, columns). On the context's
 * threads; cannot fail. */
void l2_stored_read(llama2_context *ctx, const l2_stored *s, int64_t columns, const int32_t *rows, int64_t first,
                    int64_t n, float *out);

#endif
