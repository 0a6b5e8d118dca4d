#include "format/joined.h"
#include "base/threads.h"
#include "math/kernels.h"
#include "math/tensor.h"
#include <string.h>

enum { PIECE = 256 }; /* elements that are converted at a time */

typedef struct join_job {
    const l2_joined *joined;
    const l2_kernels *kernels;
    int64_t first, count, rows_a_task;
    int32_t dtype;
    char *out;
} join_job;

/* n elements, `stride` apart, side by side and aligned. */
static void gather(const unsigned char *from, int64_t stride, int64_t n, size_t size, void *to)
{
    if (stride == 1)
        memcpy(to, from, (size_t)n * size);
    else
        for (int64_t i = 0; i < n; i++) memcpy((char *)to + (size_t)i * size, from + (size_t)(i * stride) * size, size);
}

static void convert(const l2_kernels *kernels, int32_t dtype, const void *from, int64_t n, float *to)
{
    if (dtype == LLAMA2_BF16)
        kernels->f32_from_bf16(n, from, to);
    else if (dtype == LLAMA2_F16)
        kernels->f32_from_f16(n, from, to);
    else
        memcpy(to, from, (size_t)n * sizeof *to);
}

static void read_run(const join_job *job, const l2_part *part, int64_t row, int64_t n, char *out)
{
    size_t size = l2_dtype_size(part->dtype);
    const unsigned char *from = part->data + (size_t)(row * part->row_stride) * size;
    for (int64_t at = 0, step; at < n; at += step) {
        float raw[PIECE], numbers[PIECE];
        step = n - at < PIECE ? n - at : PIECE;
        gather(from + (size_t)(at * part->column_stride) * size, part->column_stride, step, size, raw);
        if (job->dtype == LLAMA2_F32) {
            convert(job->kernels, part->dtype, raw, step, (float *)(void *)out + at);
            continue;
        }
        convert(job->kernels, part->dtype, raw, step, numbers);
        for (int64_t i = 0; i < step; i++) ((double *)(void *)out)[at + i] = (double)numbers[i];
    }
}

static void read_rows(void *arg, int32_t task, int32_t worker)
{
    const join_job *job = arg;
    const l2_joined *j = job->joined;
    (void)worker;
    size_t size = l2_dtype_size(job->dtype);
    int64_t rows = j->axis == L2_JOIN_ROWS ? j->rows / j->n_parts : j->rows; /* of a part */
    int64_t columns = j->axis == L2_JOIN_ROWS ? j->columns : j->columns / j->n_parts;
    int64_t at = task * job->rows_a_task, end = at + job->rows_a_task < job->count ? at + job->rows_a_task : job->count;
    for (; at < end; at++) {
        int64_t row = j->head_dim ? l2_rotary_row_of(job->first + at, j->head_dim) : job->first + at;
        char *out = job->out + (size_t)(at * j->columns) * size;
        if (j->axis == L2_JOIN_ROWS)
            read_run(job, &j->parts[row / rows], row % rows, columns, out);
        else
            for (int32_t i = 0; i < j->n_parts; i++)
                read_run(job, &j->parts[i], row, columns, out + (size_t)(i * columns) * size);
    }
}

void l2_joined_read(llama2_context *ctx, const l2_joined *joined, int64_t first, int64_t count, int32_t dtype,
                    void *out)
{
    enum { ELEMENTS_A_TASK = 1 << 16, MAX_TASKS = 1 << 20 };
    join_job job = {.joined = joined,
                    .kernels = l2_kernels_of(ctx, LLAMA2_F32),
                    .first = first,
                    .count = count,
                    .dtype = dtype,
                    .out = out};
    job.rows_a_task = count / MAX_TASKS + ELEMENTS_A_TASK / joined->columns + 1;
    l2_parallel(ctx, (int32_t)((count + job.rows_a_task - 1) / job.rows_a_task), read_rows, &job);
}
