/* include/llama2/optimizer.h */
#include "train/optimizer.h"
#include "base/options.h"

static const llama2_optimizer_options defaults = {
    .struct_size = sizeof defaults, .lr = 3e-4, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-5, .weight_decay = 0.1};

void llama2_optimizer_options_init(llama2_optimizer_options *options, size_t size)
{
    l2_options_init(options, size, &defaults, sizeof defaults);
}

llama2_status llama2_optimizer_create(llama2_context *ctx, const llama2_optimizer_options *options,
                                      llama2_optimizer **out)
{
    llama2_optimizer_options o = defaults;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_optimizer_create: out is NULL");
    *out = NULL;
    if (!ctx) return l2_fail(LLAMA2_E_INVALID, "llama2_optimizer_create: ctx is NULL");
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_optimizer_options"));
    return l2_optimizer_create(ctx, &o, out);
}

void llama2_optimizer_free(llama2_optimizer *optimizer)
{
    l2_optimizer_release(optimizer);
}

llama2_status llama2_optimizer_set_lr(llama2_optimizer *optimizer, double lr)
{
    if (!optimizer) return l2_fail(LLAMA2_E_INVALID, "llama2_optimizer_set_lr: optimizer is NULL");
    return l2_optimizer_set_lr(optimizer, lr);
}
