/* Rows of a stored matrix as fp32: 16 of them become columns of a panel, which is transposed. */
#include "math/stored.h"
#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"

enum { DEPTH = L2_UNPACK_UNIT };

typedef struct read_job {
    const l2_kernels *kernels;
    const l2_stored *stored;
    const int32_t *rows;
    int64_t first, n, columns;
    float *out;
} read_job;

static void read_16(const read_job *job, int64_t first, int64_t n, float *panel)
{
    const unsigned char *rows[L2_UNPACK_ROWS];
    for (int64_t i = 0; job->rows && i < L2_UNPACK_ROWS; i++) {
        int64_t row = job->rows[first + (i < n ? i : 0)];
        l2_stored_rows(job->stored, row, 1, row, &rows[i]);
    }
    if (!job->rows) l2_stored_rows(job->stored, job->first + first, L2_UNPACK_ROWS, job->first + job->n - 1, rows);
    for (int64_t at = 0; at < job->columns; at += DEPTH) {
        int64_t depth = job->columns - at < DEPTH ? job->columns - at : DEPTH;
        job->kernels->unpack(job->stored->type, rows, at, depth, panel);
        for (int64_t i = 0; i < n; i++)
            for (int64_t p = 0; p < depth; p++)
                job->out[(first + i) * job->columns + at + p] = panel[p * job->kernels->panel + i];
    }
}

static void read_task(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const read_job *job = arg;
    float panel[DEPTH * L2_TILE_COLUMNS];
    int64_t first = (int64_t)task * L2_UNPACK_ROWS, left = job->n - first;
    read_16(job, first, left < L2_UNPACK_ROWS ? left : L2_UNPACK_ROWS, panel);
}

void l2_stored_read(llama2_context *ctx, const l2_stored *s, int64_t columns, const int32_t *rows, int64_t first,
                    int64_t n, float *out)
{
    read_job job = {ctx->kernels_f32, s, rows, first, n, columns, out};
    l2_parallel(ctx, (int32_t)((n + L2_UNPACK_ROWS - 1) / L2_UNPACK_ROWS), read_task, &job);
}
