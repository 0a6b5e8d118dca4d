/*
 * A matrix of a model that lies in a file as plain numbers, in one part or, as model-parallel training saves it, in
 * several of equal shape: blocks of rows, or of columns.
 */
#ifndef L2_FORMAT_JOINED_H
#define L2_FORMAT_JOINED_H

#include "base/status.h"

typedef struct l2_part {
    const unsigned char *data;         /* element (0, 0), little-endian, perhaps not aligned */
    int64_t row_stride, column_stride; /* in elements */
    int32_t dtype;                     /* LLAMA2_F32, _F16 or _BF16 */
} l2_part;

enum { L2_JOIN_ROWS = 0, L2_JOIN_COLUMNS = 1 };

typedef struct l2_joined {
    const l2_part *parts;
    int32_t n_parts, axis; /* the parts lie one after the other along it */
    int64_t rows, columns; /* of the whole; n_parts divides the one along the axis */
    int64_t head_dim; /* above 0: the rows are those of heads of this many, with the two rows of a rotary pair side by
                         side (0 1 | 2 3 | ...), as Meta has them */
} l2_joined;

/* Where row `row` of such heads goes in the library's order: half a head apart (0 2 ... | 1 3 ...). */
static inline int64_t l2_rotary_row(int64_t row, int64_t head_dim)
{
    int64_t in_head = row % head_dim;
    return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

/* The other way: which of such rows goes there. */
static inline int64_t l2_rotary_row_of(int64_t row, int64_t head_dim)
{
    int64_t in_head = row % head_dim, half = head_dim / 2;
    return row - in_head + in_head % half * 2 + in_head / half;
}

/* Rows [first, first + count) in the library's order, as LLAMA2_F32 or LLAMA2_F64, on the context's threads; cannot
 * fail. */
void l2_joined_read(llama2_context *ctx, const l2_joined *joined, int64_t first, int64_t count, int32_t dtype,
                    void *out);

#endif
