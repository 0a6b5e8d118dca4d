/* A tensor: dense, row-major, somebody else's memory. */
#ifndef L2_MATH_TENSOR_H
#define L2_MATH_TENSOR_H

#include "base/status.h"

enum { L2_MAX_DIMS = 4 };

typedef struct l2_tensor {
    int32_t dtype; /* LLAMA2_F32 ... */
    int32_t n_dims;
    int64_t shape[L2_MAX_DIMS]; /* shape[0] is the slowest */
    void *data;                 /* NULL: no tensor (a frozen weight's gradient, say) */
} l2_tensor;

static inline int64_t l2_tensor_size(const l2_tensor *t)
{
    int64_t n = 1;
    for (int32_t i = 0; i < t->n_dims; i++) n *= t->shape[i];
    return n;
}

static inline size_t l2_dtype_size(int32_t dtype)
{
    return dtype == LLAMA2_F64 ? 8 : dtype == LLAMA2_F32 ? 4 : 2;
}

static inline l2_tensor l2_tensor_1d(int32_t dtype, void *data, int64_t n0)
{
    return (l2_tensor){dtype, 1, {n0, 1, 1, 1}, data};
}

static inline l2_tensor l2_tensor_2d(int32_t dtype, void *data, int64_t n0, int64_t n1)
{
    return (l2_tensor){dtype, 2, {n0, n1, 1, 1}, data};
}

static inline l2_tensor l2_tensor_3d(int32_t dtype, void *data, int64_t n0, int64_t n1, int64_t n2)
{
    return (l2_tensor){dtype, 3, {n0, n1, n2, 1}, data};
}

/* Rows [first, first + n) of a tensor, as a view. */
static inline l2_tensor l2_tensor_rows(const l2_tensor *t, int64_t first, int64_t n)
{
    l2_tensor v = *t;
    int64_t row = 1;
    for (int32_t i = 1; i < t->n_dims; i++) row *= t->shape[i];
    v.shape[0] = n;
    v.data = (char *)t->data + (size_t)(first * row) * l2_dtype_size(t->dtype);
    return v;
}

#endif
