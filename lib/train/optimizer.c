#include "train/optimizer.h"
#include "base/alloc.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>

static llama2_status check_options(const llama2_optimizer_options *o)
{
    if (!(o->lr >= 0) || isinf(o->lr))
        return l2_fail(LLAMA2_E_INVALID, "optimizer: lr is %g, not finite and >= 0", o->lr);
    if (!(o->beta1 >= 0 && o->beta1 < 1))
        return l2_fail(LLAMA2_E_INVALID, "optimizer: beta1 is %g, not in [0, 1)", o->beta1);
    if (!(o->beta2 >= 0 && o->beta2 < 1))
        return l2_fail(LLAMA2_E_INVALID, "optimizer: beta2 is %g, not in [0, 1)", o->beta2);
    if (!(o->eps >= FLT_MIN && o->eps <= FLT_MAX)) {
        return l2_fail(LLAMA2_E_INVALID, "optimizer: eps is %g, not one that a weight can hold (%g to %g)", o->eps,
                       (double)FLT_MIN, (double)FLT_MAX);
    }
    if (!(o->weight_decay >= 0) || isinf(o->weight_decay)) {
        return l2_fail(LLAMA2_E_INVALID, "optimizer: weight_decay is %g, not finite and >= 0", o->weight_decay);
    }
    return LLAMA2_OK;
}

llama2_status l2_optimizer_create(llama2_context *ctx, const llama2_optimizer_options *options, llama2_optimizer **out)
{
    llama2_optimizer *optimizer;
    *out = NULL;
    L2_TRY(check_options(options));
    L2_TRY(l2_calloc(ctx, 1, sizeof *optimizer, &optimizer));
    optimizer->ctx = l2_context_retain(ctx);
    atomic_init(&optimizer->references, 1);
    optimizer->options = *options;
    *out = optimizer;
    return LLAMA2_OK;
}

llama2_optimizer *l2_optimizer_retain(llama2_optimizer *optimizer)
{
    atomic_fetch_add_explicit(&optimizer->references, 1, memory_order_relaxed);
    return optimizer;
}

void l2_optimizer_release(llama2_optimizer *optimizer)
{
    if (!optimizer || atomic_fetch_sub_explicit(&optimizer->references, 1, memory_order_acq_rel) != 1) return;
    llama2_context *ctx = optimizer->ctx;
    l2_free(ctx, optimizer->m);
    l2_free(ctx, optimizer->v);
    l2_free(ctx, optimizer);
    l2_context_release(ctx);
}

llama2_status l2_optimizer_set_lr(llama2_optimizer *optimizer, double lr)
{
    llama2_optimizer_options changed = optimizer->options;
    changed.lr = lr;
    L2_TRY(check_options(&changed));
    optimizer->options.lr = lr;
    return LLAMA2_OK;
}

llama2_status l2_optimizer_bind(llama2_optimizer *optimizer, const llama2_model *model, int64_t value_head)
{
    llama2_status status = LLAMA2_OK;
    if (optimizer->bound)
        return l2_fail(LLAMA2_E_STATE, "the optimizer belongs to another trainer already: make one for each trainer");
    size_t size = l2_dtype_size(model->dtype), n = (size_t)(model->n_elements + value_head);
    L2_CHECK(l2_calloc(optimizer->ctx, n, size, &optimizer->m));
    L2_CHECK(l2_calloc(optimizer->ctx, n, size, &optimizer->v));
    optimizer->dtype = model->dtype;
    optimizer->n_elements = model->n_elements + value_head;
    optimizer->bound = 1;
done:
    if (status < 0) l2_optimizer_unbind(optimizer);
    return status;
}

void l2_optimizer_unbind(llama2_optimizer *optimizer)
{
    l2_free(optimizer->ctx, optimizer->m);
    l2_free(optimizer->ctx, optimizer->v);
    optimizer->m = optimizer->v = NULL;
    optimizer->n_elements = 0;
    optimizer->bound = 0;
}

/* Elements [first, end) of an arena. */
static l2_tensor range(int32_t dtype, void *arena, int64_t first, int64_t end)
{
    return l2_tensor_1d(dtype, (char *)arena + (size_t)first * l2_dtype_size(dtype), end - first);
}

static llama2_status apply_range(llama2_optimizer *optimizer, llama2_model *model, void *gradients, int64_t first,
                                 int64_t end, int decay, l2_adamw *hyper)
{
    int32_t dtype = model->dtype;
    l2_tensor p = range(dtype, model->weights, first, end), g = range(dtype, gradients, first, end);
    l2_tensor m = range(dtype, optimizer->m, first, end), v = range(dtype, optimizer->v, first, end);
    hyper->weight_decay = decay ? optimizer->options.weight_decay : 0;
    return l2_op_adamw(model->ctx, hyper, &p, &g, &m, &v);
}

/* 1 - beta^t of an update: what its mean of gradients or of their squares is divided by. */
static double bias(double beta, int64_t t)
{
    return 1 - pow(beta, (double)t);
}

int l2_optimizer_holds(const llama2_optimizer *optimizer, double lr, double grad_scale, double norm)
{
    const llama2_optimizer_options *o = &optimizer->options;
    int single = optimizer->dtype == LLAMA2_F32;
    double most = single ? (double)FLT_MAX : DBL_MAX, least = single ? (double)FLT_TRUE_MIN : DBL_TRUE_MIN;
    return grad_scale >= least && grad_scale <= most && lr / bias(o->beta1, optimizer->updates + 1) <= most &&
           lr * o->weight_decay <= most && norm < sqrt(most);
}

llama2_status l2_optimizer_apply(llama2_optimizer *optimizer, llama2_model *model, void *gradients, double lr,
                                 double head_lr, double grad_scale)
{
    const llama2_optimizer_options *o = &optimizer->options;
    int64_t t = optimizer->updates + 1;
    l2_adamw hyper = {
        .lr = lr,
        .beta1 = o->beta1,
        .beta2 = o->beta2,
        .eps = o->eps,
        .grad_scale = grad_scale,
        .bias1 = bias(o->beta1, t),
        .bias2 = bias(o->beta2, t),
    };
    /* Runs of parameters with the same decay: [matrices | gains | head]. */
    for (int32_t i = 0; i < model->n_params;) {
        int64_t first = model->params[i].offset;
        int decay = model->params[i].decay;
        while (i < model->n_params && model->params[i].decay == decay) i++;
        int64_t end = i < model->n_params ? model->params[i].offset : model->n_elements;
        L2_TRY(apply_range(optimizer, model, gradients, first, end, decay, &hyper));
    }
    if (optimizer->n_elements > model->n_elements) {
        hyper.lr = head_lr;
        L2_TRY(apply_range(optimizer, model, gradients, model->n_elements, optimizer->n_elements, 1, &hyper));
    }
    optimizer->updates = t;
    return LLAMA2_OK;
}
