/* Weights at the start, each a function of (seed, tensor, element) alone. */
#include "model/model.h"

#include "base/rng.h"
#include "base/threads.h"

#include <llama2/reward.h>
#include <math.h>
#include <string.h>

/* Four elements are drawn at once; a task does this many of them. */
enum { QUADS_A_TASK = 1 << 14 };

typedef struct normal_fill {
    l2_tensor tensor;
    int64_t size;
    uint64_t seed, id;
    uint32_t purpose;
    double std;
} normal_fill;

static void store(const l2_tensor *t, int64_t i, double value)
{
    if (t->dtype == LLAMA2_F64)
        ((double *)t->data)[i] = (float)value; /* the same weights in both precisions */
    else
        ((float *)t->data)[i] = (float)value;
}

static void fill_task(void *arg, int32_t task, int32_t worker)
{
    const normal_fill *f = arg;
    (void)worker;
    int64_t first = (int64_t)task * QUADS_A_TASK;
    for (int64_t quad = first; quad < first + QUADS_A_TASK && quad * 4 < f->size; quad++) {
        double z[4];
        l2_rng_normal4(f->seed, f->purpose, f->id + ((uint64_t)quad >> 32 << 32), (uint32_t)quad, z);
        for (int64_t i = 0; i < 4 && quad * 4 + i < f->size; i++) store(&f->tensor, quad * 4 + i, z[i] * f->std);
    }
}

static void fill_normal(llama2_context *ctx, l2_tensor tensor, uint32_t purpose, uint64_t id, double std)
{
    normal_fill f = {tensor, l2_tensor_size(&tensor), ctx->seed, id, purpose, std};
    int64_t quads = (f.size + 3) / 4;
    l2_parallel(ctx, (int32_t)((quads + QUADS_A_TASK - 1) / QUADS_A_TASK), fill_task, &f);
}

static l2_tensor flat(const llama2_model *m, const l2_param *p)
{
    return l2_tensor_1d(m->dtype, (char *)m->weights + (size_t)p->offset * l2_dtype_size(m->dtype),
                        p->rows * p->columns);
}

static int ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

llama2_status l2_model_init(llama2_model *m)
{
    /* Writers to the residual stream are scaled down so that its variance does not grow with depth (GPT-2,
     * section 2.3). */
    double residual = m->config.init_std / sqrt(2.0 * m->config.n_layers);
    for (int32_t i = 0; i < m->n_params; i++) {
        const l2_param *p = &m->params[i];
        l2_tensor t = flat(m, p);
        L2_TRY(l2_context_check(m->ctx));
        int writes = ends_with(p->name, "o_proj.weight") || ends_with(p->name, "down_proj.weight");
        if (!p->decay)
            l2_op_fill(m->ctx, &t, 1);
        else
            fill_normal(m->ctx, t, L2_RNG_INIT, (uint64_t)i, writes ? residual : m->config.init_std);
    }
    return LLAMA2_OK;
}

void l2_model_init_head(llama2_model *m, int32_t how)
{
    l2_tensor t = flat(m, &m->params[m->n_params - 1]);
    if (how == LLAMA2_HEAD_ZERO)
        l2_op_fill(m->ctx, &t, 0);
    else
        fill_normal(m->ctx, t, L2_RNG_HEAD, 0, 1 / sqrt(m->config.dim + 1.0));
}

/* Where the arena of `from` has gaps, or is none. */
static llama2_status copy_params(llama2_model *to, const llama2_model *from, int64_t n)
{
    for (int32_t i = 0; i < from->n_params && to->params[i].offset < n; i++) {
        const l2_param *p = &from->params[i];
        L2_TRY(l2_model_read_rows(from, p, 0, p->rows, to->dtype, flat(to, &to->params[i]).data));
    }
    return LLAMA2_OK;
}

llama2_status l2_model_copy(llama2_model *to, const llama2_model *from)
{
    L2_TRY(l2_model_check_changeable(to));
    /* Both arenas begin with the same parameters; the head is last. */
    const l2_param *end = &to->params[to->n_params - 1];
    int64_t trunk = ends_with(end->name, "norm.weight") ? to->n_elements : end->offset;
    int64_t n = to->head_kind == from->head_kind ? to->n_elements : trunk;
    if (from->stored || from->trunk) return copy_params(to, from, n);
    l2_tensor source = l2_tensor_1d(from->dtype, from->weights, n), target = l2_tensor_1d(to->dtype, to->weights, n);
    return l2_op_copy(to->ctx, &source, &target);
}
