/*
 * The language-model head fused with log-softmax and the loss of each token: logits exist for a chunk of rows only, and
 * their gradient takes their place at once. The chunk's size is seen in no bit: rows are independent, and the weight's
 * gradient is a chain over the rows in order.
 */
#include "base/alloc.h"
#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"
#include "math/ops.h"

enum { CHUNK_BYTES = 32 << 20, CHUNK_LEAST_ROWS = 64, TASK_ELEMENTS = 8192 };

int64_t l2_head_chunk(int64_t vocabulary, int32_t dtype, int64_t rows)
{
    int64_t n = CHUNK_BYTES / (vocabulary * (int64_t)l2_dtype_size(dtype));
    if (n < CHUNK_LEAST_ROWS) n = CHUNK_LEAST_ROWS;
    return n < rows ? n : rows;
}

/* Rows of a task: more than one where they are short. */
static int64_t rows_of_task(int64_t vocabulary)
{
    return vocabulary < TASK_ELEMENTS ? TASK_ELEMENTS / vocabulary : 1;
}

static int32_t count_tasks(int64_t rows, int64_t vocabulary)
{
    int64_t each = rows_of_task(vocabulary);
    return (int32_t)((rows + each - 1) / each);
}

typedef struct head_job {
    const l2_kernels *kernels;
    const l2_head_options *options;
    const int32_t *targets;
    l2_token_loss loss;
    void *user;
    char *logits;
    size_t row_size;
    int64_t vocabulary, first, n; /* rows first .. first + n - 1 are in the chunk */
} head_job;

static void head_row(const head_job *job, int64_t i)
{
    int64_t row = job->first + i;
    char *logits = job->logits + (size_t)i * job->row_size;
    double inverse = 1 / job->options->temperature, dlogprob = 0, dentropy = 0;
    l2_head_row stats;
    job->kernels->head_forward(job->vocabulary, logits, inverse, job->targets[row], job->options->entropy, &stats);
    job->loss(job->user, row, stats.logprob, stats.entropy, &dlogprob, &dentropy);
    if (!job->options->entropy) dentropy = 0;
    if (job->options->backward)
        job->kernels->head_backward(job->vocabulary, logits, inverse, job->targets[row], &stats, dlogprob, dentropy);
}

static void run_rows(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const head_job *job = arg;
    int64_t each = rows_of_task(job->vocabulary);
    for (int64_t i = task * each; i < (task + 1) * each && i < job->n; i++) head_row(job, i);
}

llama2_status l2_op_head(llama2_context *ctx, const l2_linear *head, const l2_tensor *x, const int32_t *targets,
                         const l2_head_options *options, l2_token_loss loss, void *user, l2_tensor *dx)
{
    int64_t vocabulary = head->weight.shape[0], rows = x->shape[0];
    size_t row_size = (size_t)vocabulary * l2_dtype_size(x->dtype);
    int64_t chunk = l2_head_chunk(vocabulary, x->dtype, rows);
    head_job job = {.kernels = l2_kernels_of(ctx, x->dtype),
                    .options = options,
                    .targets = targets,
                    .loss = loss,
                    .user = user,
                    .row_size = row_size,
                    .vocabulary = vocabulary};
    L2_TRY(l2_scratch_get(ctx, (size_t)chunk * row_size, &job.logits));
    llama2_status status = LLAMA2_OK;
    for (; job.first < rows; job.first += chunk) {
        int64_t n = rows - job.first < chunk ? rows - job.first : chunk;
        job.n = n;
        l2_tensor xs = l2_tensor_rows(x, job.first, n), logits = l2_tensor_2d(x->dtype, job.logits, n, vocabulary);
        L2_CHECK(l2_linear_forward(ctx, head, &xs, &logits, 0));
        l2_parallel(ctx, count_tasks(n, vocabulary), run_rows, &job);
        if (!options->backward) continue;
        l2_tensor dxs = {0};
        if (dx) dxs = l2_tensor_rows(dx, job.first, n);
        L2_CHECK(l2_linear_backward(ctx, head, &xs, &logits, dx ? &dxs : NULL, 0));
    }
done:
    l2_scratch_put(ctx, job.logits);
    return status;
}

typedef struct logprob_job {
    const l2_kernels *kernels;
    const char *logits;
    size_t row_size;
    const int32_t *targets;
    int64_t vocabulary, rows;
    double temperature, *logprob, *entropy;
} logprob_job;

static void run_logprobs(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const logprob_job *job = arg;
    int64_t each = rows_of_task(job->vocabulary);
    for (int64_t i = task * each; i < (task + 1) * each && i < job->rows; i++) {
        l2_head_row row;
        job->kernels->head_forward(job->vocabulary, job->logits + (size_t)i * job->row_size, 1 / job->temperature,
                                   job->targets[i], job->entropy != NULL, &row);
        if (job->logprob) job->logprob[i] = row.logprob;
        if (job->entropy) job->entropy[i] = row.entropy;
    }
}

llama2_status l2_op_logprobs(llama2_context *ctx, const l2_tensor *logits, const int32_t *targets, double temperature,
                             double *logprob, double *entropy)
{
    int64_t rows = logits->shape[0], vocabulary = logits->shape[1];
    logprob_job job = {.kernels = l2_kernels_of(ctx, logits->dtype),
                       .logits = logits->data,
                       .targets = targets,
                       .vocabulary = vocabulary,
                       .rows = rows,
                       .row_size = (size_t)vocabulary * l2_dtype_size(logits->dtype),
                       .temperature = temperature,
                       .logprob = logprob,
                       .entropy = entropy};
    l2_parallel(ctx, count_tasks(rows, vocabulary), run_logprobs, &job);
    return LLAMA2_OK;
}

void l2_op_logprobs_of_row(const llama2_context *ctx, const l2_tensor *logits, const int32_t *targets, int32_t n,
                           double temperature, double *logprob)
{
    const l2_kernels *kernels = l2_kernels_of(ctx, logits->dtype);
    double inverse = 1 / temperature;
    l2_head_row row;
    kernels->head_forward(l2_tensor_size(logits), logits->data, inverse, targets[0], 0, &row);
    for (int32_t i = 0; i < n; i++) { /* rounded as in the kernel */
        double z = logits->dtype == LLAMA2_F64 ? ((const double *)logits->data)[targets[i]] * inverse
                                               : (double)(((const float *)logits->data)[targets[i]] * (float)inverse);
        logprob[i] = z - row.max - row.log_sum;
    }
}

double l2_op_probabilities(const llama2_context *ctx, int64_t n, const float *logits, double temperature, float *p,
                           double *sums)
{
    return l2_kernels_of(ctx, LLAMA2_F32)->head_probabilities(n, logits, 1 / temperature, p, sums);
}
