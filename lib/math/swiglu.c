/* The equations stand in kernel/swiglu.h. */
#include "math/ops.h"
#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"

enum { TASK_ELEMENTS = 8192 };

typedef struct swiglu_job {
    const l2_kernels *kernels;
    int64_t n;
    size_t size;
    const char *gate, *up, *dy;
    char *y, *dgate, *dup;
} swiglu_job;

static int64_t range_of(const swiglu_job *job, int32_t task, size_t *first)
{
    int64_t i = (int64_t)task * TASK_ELEMENTS;
    *first = (size_t)i * job->size;
    return job->n - i < TASK_ELEMENTS ? job->n - i : TASK_ELEMENTS;
}

static int32_t count_tasks(const swiglu_job *job)
{
    return (int32_t)((job->n + TASK_ELEMENTS - 1) / TASK_ELEMENTS);
}

static void forward_range(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const swiglu_job *job = arg;
    size_t at;
    int64_t n = range_of(job, task, &at);
    job->kernels->swiglu_forward(n, job->gate + at, job->up + at, job->y + at);
}

llama2_status l2_op_swiglu_forward(llama2_context *ctx, const l2_tensor *gate, const l2_tensor *up, l2_tensor *y)
{
    swiglu_job job = {.kernels = l2_kernels_of(ctx, y->dtype),
                      .n = l2_tensor_size(y),
                      .size = l2_dtype_size(y->dtype),
                      .gate = gate->data,
                      .up = up->data,
                      .y = y->data};
    l2_parallel(ctx, count_tasks(&job), forward_range, &job);
    return LLAMA2_OK;
}

static void backward_range(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const swiglu_job *job = arg;
    size_t at;
    int64_t n = range_of(job, task, &at);
    job->kernels->swiglu_backward(n, job->gate + at, job->up + at, job->dy + at, job->dgate + at, job->dup + at);
}

llama2_status l2_op_swiglu_backward(llama2_context *ctx, const l2_tensor *gate, const l2_tensor *up,
                                    const l2_tensor *dy, l2_tensor *dgate, l2_tensor *dup)
{
    swiglu_job job = {.kernels = l2_kernels_of(ctx, dy->dtype),
                      .n = l2_tensor_size(dy),
                      .size = l2_dtype_size(dy->dtype),
                      .gate = gate->data,
                      .up = up->data,
                      .dy = dy->data,
                      .dgate = dgate->data,
                      .dup = dup->data};
    l2_parallel(ctx, count_tasks(&job), backward_range, &job);
    return LLAMA2_OK;
}
