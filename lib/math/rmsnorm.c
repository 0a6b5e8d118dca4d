/* The equations stand in kernel/rmsnorm.h. */
#include "math/ops.h"
#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"

enum { TASK_ELEMENTS = 16384, TASK_COLUMNS = 64 };

typedef struct rmsnorm_job {
    const l2_kernels *kernels;
    int64_t n, d, task_rows;
    size_t size;
    const char *x, *gain, *dy;
    char *rstd, *y; /* y or dx */
    char *dgain;
    double eps;
    int accumulate;
} rmsnorm_job;

static rmsnorm_job job_of(llama2_context *ctx, const l2_tensor *x, const l2_tensor *gain)
{
    rmsnorm_job job = {.kernels = l2_kernels_of(ctx, x->dtype),
                       .n = x->shape[0],
                       .d = x->shape[1],
                       .size = l2_dtype_size(x->dtype),
                       .x = x->data,
                       .gain = gain->data};
    job.task_rows = job.d < TASK_ELEMENTS ? TASK_ELEMENTS / job.d : 1;
    return job;
}

static void run_rows(llama2_context *ctx, rmsnorm_job *job, l2_task task)
{
    l2_parallel(ctx, (int32_t)((job->n + job->task_rows - 1) / job->task_rows), task, job);
}

static int64_t rows_of(const rmsnorm_job *job, int32_t task, size_t *first)
{
    int64_t t = task * job->task_rows;
    *first = (size_t)t * job->size;
    return job->n - t < job->task_rows ? job->n - t : job->task_rows;
}

static void forward_rows(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const rmsnorm_job *job = arg;
    size_t at, d = (size_t)job->d;
    int64_t n = rows_of(job, task, &at);
    job->kernels->rmsnorm_forward(n, job->d, job->x + at * d, job->gain, job->eps, job->y + at * d,
                                  job->rstd ? job->rstd + at : NULL);
}

llama2_status l2_op_rmsnorm_forward(llama2_context *ctx, const l2_tensor *x, const l2_tensor *gain, double eps,
                                    l2_tensor *y, l2_tensor *rstd)
{
    rmsnorm_job job = job_of(ctx, x, gain);
    job.eps = eps;
    job.y = y->data;
    job.rstd = rstd ? rstd->data : NULL;
    run_rows(ctx, &job, forward_rows);
    return LLAMA2_OK;
}

static void backward_rows(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const rmsnorm_job *job = arg;
    size_t at, d = (size_t)job->d;
    int64_t n = rows_of(job, task, &at);
    job->kernels->rmsnorm_backward(n, job->d, job->x + at * d, job->gain, job->rstd + at, job->dy + at * d,
                                   job->y + at * d, job->accumulate);
}

static void backward_columns(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const rmsnorm_job *job = arg;
    int64_t first = (int64_t)task * TASK_COLUMNS,
            columns = job->d - first < TASK_COLUMNS ? job->d - first : TASK_COLUMNS;
    size_t at = (size_t)first * job->size;
    job->kernels->rmsnorm_backward_gain(job->n, job->d, job->x + at, job->rstd, job->dy + at, job->dgain + at, columns);
}

/* The gain first: dx may be dy. */
llama2_status l2_op_rmsnorm_backward(llama2_context *ctx, const l2_tensor *x, const l2_tensor *gain,
                                     const l2_tensor *rstd, const l2_tensor *dy, l2_tensor *dx, int accumulate,
                                     l2_tensor *dgain)
{
    rmsnorm_job job = job_of(ctx, x, gain);
    job.rstd = rstd->data;
    job.dy = dy->data;
    job.y = dx->data;
    job.accumulate = accumulate;
    if (dgain && dgain->data) {
        job.dgain = dgain->data;
        l2_parallel(ctx, (int32_t)((job.d + TASK_COLUMNS - 1) / TASK_COLUMNS), backward_columns, &job);
    }
    run_rows(ctx, &job, backward_rows);
    return LLAMA2_OK;
}
