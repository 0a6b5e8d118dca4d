/* include/llama2/trainer.h */
#include "train/trainer.h"
#include "base/options.h"

static const llama2_trainer_options defaults = {.struct_size = sizeof defaults,
                                                .schedule = LLAMA2_SCHEDULE_CONSTANT,
                                                .min_lr_ratio = 0.1,
                                                .clip_norm = 1,
                                                .max_bad_steps = 5,
                                                .value_head_lr_ratio = 1};

void llama2_trainer_options_init(llama2_trainer_options *options, size_t size)
{
    l2_options_init(options, size, &defaults, sizeof defaults);
}

static llama2_status create(llama2_context *ctx, llama2_model *model, llama2_reward_model *reward_model,
                            llama2_optimizer *optimizer, const llama2_trainer_options *options, llama2_trainer **out,
                            const char *call)
{
    llama2_trainer_options o = defaults;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "%s: out is NULL", call);
    *out = NULL;
    if (!ctx || (!model && !reward_model) || !optimizer)
        return l2_fail(LLAMA2_E_INVALID, "%s: ctx, model or optimizer is NULL", call);
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_trainer_options"));
    return l2_trainer_create(ctx, model, reward_model, optimizer, &o, out);
}

llama2_status llama2_trainer_create(llama2_context *ctx, llama2_model *model, llama2_optimizer *optimizer,
                                    const llama2_trainer_options *options, llama2_trainer **out)
{
    return create(ctx, model, NULL, optimizer, options, out, "llama2_trainer_create");
}

llama2_status llama2_trainer_create_for_reward(llama2_context *ctx, llama2_reward_model *reward_model,
                                               llama2_optimizer *optimizer, const llama2_trainer_options *options,
                                               llama2_trainer **out)
{
    return create(ctx, NULL, reward_model, optimizer, options, out, "llama2_trainer_create_for_reward");
}

void llama2_trainer_free(llama2_trainer *trainer)
{
    l2_trainer_free(trainer);
}

llama2_status llama2_trainer_accumulate(llama2_trainer *trainer, const llama2_batch *batch, llama2_loss *loss)
{
    llama2_loss full;
    llama2_batch b;
    if (!trainer) return l2_fail(LLAMA2_E_INVALID, "llama2_trainer_accumulate: trainer is NULL");
    L2_TRY(l2_struct_check(loss, "llama2_loss"));
    L2_TRY(l2_batch_read(batch, &b));
    L2_TRY(l2_lm_accumulate(trainer, &b, &full));
    return loss ? l2_struct_write(loss, &full, sizeof full, "llama2_loss") : LLAMA2_OK;
}

static llama2_status give_metrics(llama2_step_metrics *metrics, const llama2_step_metrics *full)
{
    return metrics ? l2_struct_write(metrics, full, sizeof *full, "llama2_step_metrics") : LLAMA2_OK;
}

llama2_status llama2_trainer_update(llama2_trainer *trainer, llama2_step_metrics *metrics)
{
    llama2_step_metrics full;
    if (!trainer) return l2_fail(LLAMA2_E_INVALID, "llama2_trainer_update: trainer is NULL");
    L2_TRY(l2_struct_check(metrics, "llama2_step_metrics"));
    L2_TRY(l2_trainer_update(trainer, &full));
    return give_metrics(metrics, &full);
}

llama2_status llama2_trainer_clear(llama2_trainer *trainer)
{
    if (!trainer) return l2_fail(LLAMA2_E_INVALID, "llama2_trainer_clear: trainer is NULL");
    return l2_trainer_clear(trainer);
}

llama2_status llama2_trainer_backward_logprobs(llama2_trainer *trainer, const llama2_batch *batch, double temperature,
                                               const float *grad, double loss, double weight)
{
    llama2_batch b;
    if (!trainer || !grad)
        return l2_fail(LLAMA2_E_INVALID, "llama2_trainer_backward_logprobs: trainer or grad is NULL");
    L2_TRY(l2_batch_read(batch, &b));
    return l2_backward_logprobs(trainer, &b, temperature, grad, loss, weight);
}

llama2_status llama2_trainer_backward_logits(llama2_trainer *trainer, const llama2_batch *batch, const float *grad,
                                             double loss, double weight)
{
    llama2_batch b;
    if (!trainer || !grad) return l2_fail(LLAMA2_E_INVALID, "llama2_trainer_backward_logits: trainer or grad is NULL");
    L2_TRY(l2_batch_read(batch, &b));
    return l2_backward_logits(trainer, &b, grad, loss, weight);
}

llama2_status llama2_trainer_backward_values(llama2_trainer *trainer, const llama2_batch *batch, const float *grad,
                                             double loss, double weight)
{
    llama2_batch b;
    if (!trainer || !grad) return l2_fail(LLAMA2_E_INVALID, "llama2_trainer_backward_values: trainer or grad is NULL");
    L2_TRY(l2_batch_read(batch, &b));
    return l2_backward_values(trainer, &b, grad, loss, weight);
}

llama2_status llama2_trainer_get_gradient(const llama2_trainer *trainer, const char *name, float *buffer,
                                          int64_t capacity, int64_t *needed)
{
    if (!trainer || !name || (!buffer && capacity > 0)) {
        return l2_fail(LLAMA2_E_INVALID, "llama2_trainer_get_gradient: trainer, name or buffer is NULL");
    }
    return l2_trainer_get_gradient(trainer, name, buffer, capacity, needed);
}

int64_t llama2_trainer_step(const llama2_trainer *trainer)
{
    return trainer ? trainer->step : 0;
}

static llama2_status step(llama2_trainer *trainer, const llama2_batch *batch, llama2_step_metrics *metrics,
                          const char *call)
{
    llama2_step_metrics full;
    llama2_batch b;
    if (!trainer) return l2_fail(LLAMA2_E_INVALID, "%s: trainer is NULL", call);
    L2_TRY(l2_struct_check(metrics, "llama2_step_metrics"));
    L2_TRY(l2_batch_read(batch, &b));
    L2_TRY(l2_lm_step(trainer, &b, &full));
    return give_metrics(metrics, &full);
}

llama2_status llama2_pretrain_step(llama2_trainer *trainer, const llama2_batch *batch, llama2_step_metrics *metrics)
{
    return step(trainer, batch, metrics, "llama2_pretrain_step");
}

llama2_status llama2_sft_step(llama2_trainer *trainer, const llama2_batch *batch, llama2_step_metrics *metrics)
{
    return step(trainer, batch, metrics, "llama2_sft_step");
}
