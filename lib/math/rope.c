#include "math/ops.h"
#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"
#include <math.h>

enum { TASK_ELEMENTS = 16384, TASK_ANGLES = 1024 };

typedef struct table_job {
    const double *frequencies;
    const int32_t *positions;
    const l2_tensor *cosine, *sine;
    int64_t task_rows;
} table_job;

static void put(const l2_tensor *t, int64_t i, double value)
{
    if (t->dtype == LLAMA2_F64)
        ((double *)t->data)[i] = value;
    else
        ((float *)t->data)[i] = (float)value;
}

static void table_rows(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const table_job *job = arg;
    int64_t half = job->cosine->shape[1], first = task * job->task_rows, end = first + job->task_rows;
    for (int64_t r = first; r < end && r < job->cosine->shape[0]; r++) {
        for (int64_t i = 0; i < half; i++) {
            double angle = (double)job->positions[r] * job->frequencies[i];
            put(job->cosine, r * half + i, cos(angle));
            put(job->sine, r * half + i, sin(angle));
        }
    }
}

void l2_op_rope_frequencies(double theta, int64_t half, double *frequencies)
{
    for (int64_t i = 0; i < half; i++) frequencies[i] = pow(theta, -(double)i / (double)half);
}

llama2_status l2_op_rope_table(llama2_context *ctx, const double *frequencies, const int32_t *positions,
                               l2_tensor *cosine, l2_tensor *sine)
{
    int64_t rows = cosine->shape[0], half = cosine->shape[1];
    table_job job = {frequencies, positions, cosine, sine, half < TASK_ANGLES ? TASK_ANGLES / half : 1};
    l2_parallel(ctx, (int32_t)((rows + job.task_rows - 1) / job.task_rows), table_rows, &job);
    return LLAMA2_OK;
}

typedef struct rope_job {
    const l2_kernels *kernels;
    int64_t n, heads, half, task_rows;
    char *x;
    size_t row_bytes;
    const int32_t *rows;
    const void *cosine, *sine;
    int inverse;
} rope_job;

static void rotate_rows(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const rope_job *job = arg;
    int64_t t = task * job->task_rows, n = job->n - t < job->task_rows ? job->n - t : job->task_rows;
    job->kernels->rope(n, job->heads, job->half, job->x + (size_t)t * job->row_bytes, job->rows + t, job->cosine,
                       job->sine, job->inverse);
}

llama2_status l2_op_rope(llama2_context *ctx, l2_tensor *x, const int32_t *rows, const l2_tensor *cosine,
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
                    rows,
                    cosine->data,
                    sine->data,
                    inverse};
    l2_parallel(ctx, (int32_t)((job.n + job.task_rows - 1) / job.task_rows), rotate_rows, &job);
    return LLAMA2_OK;
}
