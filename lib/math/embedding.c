#include "math/ops.h"
#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"
#include <string.h>

enum { TASK_ROWS = 64, TASK_COLUMNS = 128 };

typedef struct embedding_job {
    const l2_kernels *kernels;
    const char *from;
    char *to;
    const int32_t *tokens;
    int64_t n, d;
    size_t size;
} embedding_job;

static embedding_job job_of(llama2_context *ctx, const l2_tensor *y, const int32_t *tokens, const void *from, void *to)
{
    return (embedding_job){l2_kernels_of(ctx, y->dtype), from, to, tokens, y->shape[0], y->shape[1],
                           l2_dtype_size(y->dtype)};
}

static void forward_rows(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const embedding_job *job = arg;
    size_t row = (size_t)job->d * job->size;
    int64_t end = (int64_t)(task + 1) * TASK_ROWS;
    for (int64_t t = (int64_t)task * TASK_ROWS; t < end && t < job->n; t++) {
        memcpy(job->to + (size_t)t * row, job->from + (size_t)job->tokens[t] * row, row);
    }
}

llama2_status l2_op_embedding_forward(llama2_context *ctx, const l2_linear *w, const int32_t *tokens, l2_tensor *y)
{
    if (w->stored) {
        l2_stored_read(ctx, w->stored, y->shape[1], tokens, 0, y->shape[0], y->data);
        return LLAMA2_OK;
    }
    embedding_job job = job_of(ctx, y, tokens, w->weight.data, y->data);
    l2_parallel(ctx, (int32_t)((job.n + TASK_ROWS - 1) / TASK_ROWS), forward_rows, &job);
    return LLAMA2_OK;
}

/* Tokens may repeat, so that the tasks are ranges of columns: each walks all tokens in order. */
static void backward_columns(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const embedding_job *job = arg;
    int64_t first = (int64_t)task * TASK_COLUMNS,
            columns = job->d - first < TASK_COLUMNS ? job->d - first : TASK_COLUMNS;
    size_t at = (size_t)first * job->size;
    job->kernels->embedding_backward(job->n, job->tokens, job->from + at, job->to + at, job->d, columns);
}

llama2_status l2_op_embedding_backward(llama2_context *ctx, l2_tensor *dw, const int32_t *tokens, const l2_tensor *dy)
{
    embedding_job job = job_of(ctx, dy, tokens, dy->data, dw->data);
    l2_parallel(ctx, (int32_t)((job.d + TASK_COLUMNS - 1) / TASK_COLUMNS), backward_columns, &job);
    return LLAMA2_OK;
}
