/* Fill, copy with conversion, gather, scatter and the sum of squares: memory-bound, in blocks over the threads. */
#include "base/alloc.h"
#include "base/context.h"
#include "base/threads.h"
#include "math/half.h"
#include "math/kernels.h"
#include "math/ops.h"

enum {
    BLOCK = 32768, /* elements a task; l2_op_sum_squares adds up block by block */
    STEP = 256
}; /* of a conversion through a buffer */

typedef struct element_job {
    const l2_kernels *kernels;
    int64_t n;
    int32_t from, to; /* dtypes of x and y */
    const char *x;
    char *y;
    double number, *sums;
} element_job;

static int32_t blocks(int64_t n)
{
    return (int32_t)((n + BLOCK - 1) / BLOCK);
}
static int64_t first_of(int32_t task)
{
    return (int64_t)task * BLOCK;
}
static int64_t count_of(const element_job *job, int32_t task)
{
    return job->n - first_of(task) < BLOCK ? job->n - first_of(task) : BLOCK;
}

/* fp64 to 16 bits in one rounding; other pairs through fp32 are exact up to their last step. */
static void to_f32(const element_job *job, const char *x, int64_t n, int odd, float *y)
{
    if (job->from == LLAMA2_BF16)
        job->kernels->f32_from_bf16(n, (const uint16_t *)(const void *)x, y);
    else if (job->from == LLAMA2_F16)
        job->kernels->f32_from_f16(n, (const uint16_t *)(const void *)x, y);
    else if (job->from == LLAMA2_F32)
        memcpy(y, x, (size_t)n * sizeof *y);
    else {
        const double *wide = (const double *)(const void *)x;
        for (int64_t i = 0; i < n; i++) y[i] = odd ? l2_f32_from_f64_odd(wide[i]) : (float)wide[i];
    }
}

static void from_f32(const element_job *job, const float *x, int64_t n, char *y)
{
    if (job->to == LLAMA2_BF16)
        job->kernels->bf16_from_f32(n, x, (uint16_t *)(void *)y);
    else if (job->to == LLAMA2_F16)
        job->kernels->f16_from_f32(n, x, (uint16_t *)(void *)y);
    else if (job->to == LLAMA2_F32)
        memcpy(y, x, (size_t)n * sizeof *x);
    else {
        double *wide = (double *)(void *)y;
        for (int64_t i = 0; i < n; i++) wide[i] = (double)x[i];
    }
}

static void run_copy(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const element_job *job = arg;
    size_t in = l2_dtype_size(job->from), out = l2_dtype_size(job->to);
    const char *x = job->x + (size_t)first_of(task) * in;
    char *y = job->y + (size_t)first_of(task) * out;
    int64_t n = count_of(job, task);
    if (job->from == job->to) {
        memmove(y, x, (size_t)n * in);
        return;
    }
    int odd = job->to == LLAMA2_BF16 || job->to == LLAMA2_F16;
    for (int64_t i = 0; i < n; i += STEP) {
        float buffer[STEP];
        int64_t step = n - i < STEP ? n - i : STEP;
        to_f32(job, x + (size_t)i * in, step, odd, buffer);
        from_f32(job, buffer, step, y + (size_t)i * out);
    }
}

llama2_status l2_op_copy(llama2_context *ctx, const l2_tensor *x, l2_tensor *y)
{
    element_job job = {.kernels = l2_kernels_of(ctx, LLAMA2_F32),
                       .n = l2_tensor_size(x),
                       .from = x->dtype,
                       .to = y->dtype,
                       .x = x->data,
                       .y = y->data};
    l2_parallel(ctx, blocks(job.n), run_copy, &job);
    return LLAMA2_OK;
}

static void run_fill(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const element_job *job = arg;
    size_t size = l2_dtype_size(job->to);
    char *y = job->y + (size_t)first_of(task) * size;
    int64_t n = count_of(job, task);
    if (job->number == 0 && !signbit(job->number)) {
        memset(y, 0, (size_t)n * size);
    } else if (job->to == LLAMA2_F64) {
        for (int64_t i = 0; i < n; i++) ((double *)(void *)y)[i] = job->number;
    } else if (job->to == LLAMA2_F32) {
        for (int64_t i = 0; i < n; i++) ((float *)(void *)y)[i] = (float)job->number;
    } else {
        float odd = l2_f32_from_f64_odd(job->number);
        uint16_t half = job->to == LLAMA2_BF16 ? l2_bf16_from_f32(odd) : l2_f16_from_f32(odd);
        for (int64_t i = 0; i < n; i++) ((uint16_t *)(void *)y)[i] = half;
    }
}

llama2_status l2_op_fill(llama2_context *ctx, l2_tensor *y, double value)
{
    element_job job = {.n = l2_tensor_size(y), .to = y->dtype, .y = y->data, .number = value};
    l2_parallel(ctx, blocks(job.n), run_fill, &job);
    return LLAMA2_OK;
}

/* Bytes of a row: all dimensions but the first. */
static size_t row_bytes(const l2_tensor *t)
{
    size_t size = l2_dtype_size(t->dtype);
    for (int32_t i = 1; i < t->n_dims; i++) size *= (size_t)t->shape[i];
    return size;
}

llama2_status l2_op_gather_rows(llama2_context *ctx, const l2_tensor *x, const int64_t *rows, l2_tensor *y)
{
    (void)ctx;
    size_t size = row_bytes(y);
    for (int64_t i = 0; i < y->shape[0]; i++)
        memcpy((char *)y->data + (size_t)i * size, (const char *)x->data + (size_t)rows[i] * size, size);
    return LLAMA2_OK;
}

llama2_status l2_op_scatter_rows(llama2_context *ctx, const l2_tensor *x, const int64_t *rows, l2_tensor *y)
{
    L2_TRY(l2_op_fill(ctx, y, 0));
    size_t size = row_bytes(x);
    for (int64_t i = 0; i < x->shape[0]; i++)
        memcpy((char *)y->data + (size_t)rows[i] * size, (const char *)x->data + (size_t)i * size, size);
    return LLAMA2_OK;
}

static void run_squares(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const element_job *job = arg;
    job->sums[task] =
        job->kernels->sum_squares(count_of(job, task), job->x + (size_t)first_of(task) * l2_dtype_size(job->from));
}

llama2_status l2_op_sum_squares(llama2_context *ctx, const l2_tensor *x, double *out)
{
    element_job job = {.kernels = l2_kernels_of(ctx, x->dtype), .n = l2_tensor_size(x), .from = x->dtype, .x = x->data};
    int32_t n = blocks(job.n);
    L2_TRY(l2_scratch_get(ctx, (size_t)n * sizeof *job.sums, &job.sums));
    l2_parallel(ctx, n, run_squares, &job);
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += job.sums[i];
    l2_scratch_put(ctx, job.sums);
    *out = sum;
    return LLAMA2_OK;
}
