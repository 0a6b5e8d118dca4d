/* AdamW (Loshchilov & Hutter 2019): the constants of the step in double, then one pass over the memory, split among the
 * threads. */
#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"
#include "math/ops.h"
#include <math.h>

enum { BLOCK = 16384 };

typedef struct adamw_job {
    const l2_kernels *kernels;
    l2_adamw_step step;
    int64_t n;
    size_t size;
    char *param, *m, *v;
    const char *grad;
} adamw_job;

static void run_adamw(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const adamw_job *job = arg;
    int64_t first = (int64_t)task * BLOCK, n = job->n - first < BLOCK ? job->n - first : BLOCK;
    size_t at = (size_t)first * job->size;
    job->kernels->adamw(n, &job->step, job->param + at, job->grad + at, job->m + at, job->v + at);
}

llama2_status l2_op_adamw(llama2_context *ctx, const l2_adamw *hyper, l2_tensor *param, const l2_tensor *grad,
                          l2_tensor *m, l2_tensor *v)
{
    adamw_job job = {.kernels = l2_kernels_of(ctx, param->dtype),
                     .step = {.beta1 = hyper->beta1,
                              .beta2 = hyper->beta2,
                              .grad_scale = hyper->grad_scale,
                              .keep = 1 - hyper->lr * hyper->weight_decay,
                              .step = hyper->lr / hyper->bias1,
                              .root = 1 / sqrt(hyper->bias2),
                              .eps = hyper->eps},
                     .n = l2_tensor_size(param),
                     .size = l2_dtype_size(param->dtype),
                     .param = param->data,
                     .grad = grad->data,
                     .m = m->data,
                     .v = v->data};
    l2_parallel(ctx, (int32_t)((job.n + BLOCK - 1) / BLOCK), run_adamw, &job);
    return LLAMA2_OK;
}
