#include "math/ops.h"
#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"
#include <math.h>

enum { TASK_ELEMENTS = 16384 };

typedef struct table_job {
    double theta;
    const l2_tensor *cosine, *sine;
} table_job;

static void put(const l2_tensor *t, int64_t i, double value)
{
    if (t->dtype == LLAMA2_F64)
        ((double *)t->data)[i] = value;
    else
        ((float *)t->data)[i] = (float)value;
}

/* One frequency, all positions. */
static void table_column(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const table_job *job = arg;
    int64_t half = job->cosine->shape[1];
    double frequency = pow(job->theta, -(double)task / (double)half);
    for (int64_t p = 0; p < job->cosine->shape[0]; p++) {
        put(job->cosine, p * half + task, cos((double)p * frequency));
        put(job->sine, p * half + task, sin((double)p * frequency));
    }
}

llama2_status l2_op_rope_table(llama2_context *ctx, double theta, l2_tensor *cosine, l2_tensor *sine)
{
    table_job job = {theta, cosine, sine};
    l2_parallel(ctx, (int32_t)cosine->shape[1], table_column, &job);
    return LLAMA2_OK;
}

typedef struct rope_job {
    const l2_kernels *kernels;
    int64_t n, heads, half, task_rows;
    char *x;
    size_t row_bytes;
    const int32_t *positions;
    const void *cosine, *sine;
    int inverse;
} rope_job;

static void rotate_rows(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const rope_job *job = arg;
    int64_t t = task * job->task_rows, n = job->n - t < job->task_rows ? job->n - t : job->task_rows;
    job->kernels->rope(n, job->heads, job->half, job->x + (size_t)t * job->row_bytes, job->positions + t, job->cosine,
                       job->sine, job->inverse);
}

llama2_status l2_op_rope(llama2_context *ctx, l2_tensor *x, const int32_t *positions, const l2_tensor *cosine,
                         const l2_tensor *sine, int inverse)
{
    int64_t row = x->shape[1] * x->shape[2];
    rope_job job = {l2_kernels_of(ctx, x->dtype),
                    x->shape[0],
                    x->shape[1],
                    x->shape[2] / 2,
                    row < TASK_ELEMENTS ? TASK_ELEMENTS / row : 1,
                    x->data,
                    (size_t)row * l2_dtype_size(x->dtype),
                    positions,
                    cosine->data,
                    sine->data,
                    inverse};
    l2_parallel(ctx, (int32_t)((job.n + job.task_rows - 1) / job.task_rows), rotate_rows, &job);
    return LLAMA2_OK;
}
