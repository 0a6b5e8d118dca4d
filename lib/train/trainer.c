#include "train/trainer.h"
#include "base/alloc.h"
#include "train/schedule.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static llama2_status check_options(const llama2_trainer_options *o)
{
    L2_TRY(l2_schedule_check(o));
    if (!(o->clip_norm >= 0) || isinf(o->clip_norm))
        return l2_fail(LLAMA2_E_INVALID, "clip_norm is %g, not finite and >= 0", o->clip_norm);
    if (o->micro_batch_tokens < 0)
        return l2_fail(LLAMA2_E_INVALID, "micro_batch_tokens is %" PRId64 ", less than 0", o->micro_batch_tokens);
    if (o->max_bad_steps < 1)
        return l2_fail(LLAMA2_E_INVALID, "max_bad_steps is %" PRId32 ", less than 1", o->max_bad_steps);
    if (!(o->value_head_lr_ratio >= 0) || isinf(o->value_head_lr_ratio)) {
        return l2_fail(LLAMA2_E_INVALID, "value_head_lr_ratio is %g, not finite and >= 0", o->value_head_lr_ratio);
    }
    return LLAMA2_OK;
}

/* A head on another model's trunk is trained with that model, and only with that. */
static llama2_status check_head(const llama2_model *model, const llama2_reward_model *value_head)
{
    if (model->trunk) {
        return l2_fail(LLAMA2_E_MISMATCH,
                       "the reward model shares the trunk of a language model: give it as value_head "
                       "to the trainer of that");
    }
    if (!value_head || value_head->model->trunk == model) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_MISMATCH, "value_head does not share the trunk of this model: make it by "
                                      "llama2_reward_model_create_shared");
}

/* Points the gradients of model and value head at the arena, or at nothing. */
static void attach(const llama2_trainer *trainer, void *arena)
{
    l2_model_attach_gradients(trainer->model, arena);
    if (trainer->options.value_head) l2_model_attach_gradients(trainer->options.value_head->model, arena);
}

llama2_status l2_trainer_create(llama2_context *ctx, llama2_model *model, llama2_reward_model *reward_model,
                                llama2_optimizer *optimizer, const llama2_trainer_options *options,
                                llama2_trainer **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_trainer *trainer = NULL;
    int untrained = 0, bound = 0, entered = 0;
    *out = NULL;
    L2_TRY(check_options(options));
    if (reward_model) model = reward_model->model;
    llama2_reward_model *value_head = options->value_head;
    L2_TRY(check_head(model, value_head));
    L2_TRY(l2_calloc(ctx, 1, sizeof *trainer, &trainer));
    trainer->options = *options;
    l2_activations_init(&trainer->activations, ctx, options->recompute);
    L2_CHECK(l2_model_check_changeable(model));
    if (!atomic_compare_exchange_strong(&model->trained, &untrained, 1)) {
        L2_CHECK(l2_fail(LLAMA2_E_BUSY, "the model has a trainer already: free that first"));
    }
    entered = 1;
    int64_t head_elements = value_head ? model->config.dim : 0;
    L2_CHECK(l2_optimizer_bind(optimizer, model, head_elements));
    bound = 1;
    trainer->n_elements = model->n_elements + head_elements;
    L2_CHECK(l2_calloc(ctx, (size_t)trainer->n_elements, l2_dtype_size(model->dtype), &trainer->gradients));
    trainer->model = model;
    L2_CHECK(l2_model_enter(model, L2_KEEPS_WEIGHTS));
    attach(trainer, trainer->gradients);
    l2_model_leave(model, L2_KEEPS_WEIGHTS);
    l2_model_retain(model);
    trainer->ctx = l2_context_retain(ctx);
    if (value_head) l2_reward_model_retain(value_head);
    trainer->reward_model = reward_model ? l2_reward_model_retain(reward_model) : NULL;
    trainer->optimizer = l2_optimizer_retain(optimizer);
    *out = trainer;
    return LLAMA2_OK;
done:
    if (bound) l2_optimizer_unbind(optimizer);
    if (entered) atomic_store(&model->trained, 0);
    l2_free(ctx, trainer->gradients);
    l2_free(ctx, trainer);
    return status;
}

void l2_trainer_free(llama2_trainer *trainer)
{
    if (!trainer) return;
    llama2_context *ctx = trainer->ctx;
    /* Calls that only read the model never look at its gradients, so none has to be waited for. */
    attach(trainer, NULL);
    atomic_store(&trainer->model->trained, 0);
    l2_activations_free(&trainer->activations);
    l2_free(ctx, trainer->gradients);
    l2_optimizer_release(trainer->optimizer);
    l2_reward_model_release(trainer->options.value_head);
    l2_reward_model_release(trainer->reward_model);
    l2_model_release(trainer->model);
    l2_free(ctx, trainer);
    l2_context_release(ctx);
}

llama2_status l2_trainer_begin(llama2_trainer *trainer, const llama2_batch *batch, int32_t head_kind)
{
    L2_TRY(l2_context_check(trainer->ctx));
    if (trainer->model->head_kind != head_kind) {
        return l2_fail(LLAMA2_E_MISMATCH,
                       head_kind == L2_HEAD_LM
                           ? "the trainer is for a reward model: this call needs one made by llama2_trainer_create"
                           : "the trainer is for a language model: this call needs one made by "
                             "llama2_trainer_create_for_reward, or one with a value_head in its options");
    }
    L2_TRY(l2_batch_check(trainer->model, batch));
    return l2_model_enter(trainer->model, L2_KEEPS_WEIGHTS);
}

static void drop(llama2_trainer *trainer)
{
    l2_tensor all = l2_tensor_1d(trainer->model->dtype, trainer->gradients, trainer->n_elements);
    l2_op_fill(trainer->ctx, &all, 0); /* elementwise: needs no memory, can't fail */
    trainer->accumulated = 0;
    trainer->loss = trainer->weight = 0;
    trainer->tokens = 0;
}

/* What no update will use counts as not read: a run that was cancelled in the middle of a batch goes on with the
 * counters of one at a stretch. */
void l2_trainer_forget(llama2_trainer *trainer)
{
    trainer->total_tokens -= trainer->tokens;
    drop(trainer);
}

llama2_status l2_trainer_end(llama2_trainer *trainer, llama2_status status)
{
    if (status < 0) l2_trainer_forget(trainer);
    l2_model_leave(trainer->model, L2_KEEPS_WEIGHTS);
    return status;
}

void l2_trainer_count(llama2_trainer *trainer, double loss, double weight, int64_t tokens)
{
    trainer->accumulated = 1;
    trainer->loss += loss;
    trainer->weight += weight;
    trainer->tokens += tokens;
    trainer->total_tokens += tokens;
}

llama2_status l2_trainer_clear(llama2_trainer *trainer)
{
    L2_TRY(l2_context_check_fork(trainer->ctx));
    L2_TRY(l2_model_enter(trainer->model, L2_KEEPS_WEIGHTS));
    l2_trainer_forget(trainer);
    l2_model_leave(trainer->model, L2_KEEPS_WEIGHTS);
    return LLAMA2_OK;
}

/* The gradient is left out, and counted. */
static llama2_status skip(llama2_trainer *trainer, const llama2_step_metrics *m)
{
    drop(trainer);
    trainer->bad_total++;
    trainer->bad_in_a_row++;
    if (trainer->bad_in_a_row < trainer->options.max_bad_steps) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_NUMERIC,
                   "update %" PRId64 ": loss %g, gradient norm %g, weight %g, learning rate %g; %" PRId32
                   " in a row were beyond what the weights can hold and have been left out",
                   trainer->step + 1, isnan(m->loss) ? fabs(m->loss) : m->loss, fabs(m->grad_norm), m->weight, m->lr,
                   trainer->bad_in_a_row); /* a NaN may have a sign */
}

static llama2_status update(llama2_trainer *trainer, llama2_step_metrics *m)
{
    const llama2_trainer_options *o = &trainer->options;
    l2_tensor gradients = l2_tensor_1d(trainer->model->dtype, trainer->gradients, trainer->n_elements);
    double squares;
    if (!trainer->accumulated || trainer->weight == 0) {
        l2_trainer_forget(trainer); /* nothing could ever use it */
        return l2_fail(LLAMA2_E_STATE, "update: nothing with a weight has been accumulated since the last one");
    }
    L2_TRY(l2_op_sum_squares(trainer->ctx, &gradients, &squares));
    double norm = sqrt(squares) / trainer->weight;
    *m = (llama2_step_metrics){
        .struct_size = sizeof *m,
        .step = trainer->step,
        .loss = trainer->loss / trainer->weight,
        .weight = trainer->weight,
        .grad_norm = norm,
        .lr = l2_schedule_lr(o, trainer->optimizer->options.lr, trainer->step),
        .tokens = trainer->tokens,
        .total_tokens = trainer->total_tokens,
        .skipped_total = trainer->bad_total,
    };
    /* As torch.nn.utils.clip_grad_norm_: min(1, max_norm / (norm + 1e-6)). */
    double clip = o->clip_norm > 0 ? fmin(1, o->clip_norm / (norm + 1e-6)) : 1;
    double scale = clip / trainer->weight, head_lr = o->value_head ? m->lr * o->value_head_lr_ratio : 0;
    if (!isfinite(norm) || !isfinite(m->loss) ||
        !l2_optimizer_holds(trainer->optimizer, fmax(m->lr, head_lr), scale, clip * norm)) {
        m->skipped = 1;
        m->skipped_total++;
        return skip(trainer, m);
    }
    L2_TRY(l2_optimizer_apply(trainer->optimizer, trainer->model, trainer->gradients, m->lr, head_lr, scale));
    drop(trainer);
    trainer->bad_in_a_row = 0;
    m->step = ++trainer->step;
    return LLAMA2_OK;
}

llama2_status l2_trainer_update(llama2_trainer *trainer, llama2_step_metrics *metrics)
{
    L2_TRY(l2_context_check(trainer->ctx));
    L2_TRY(l2_model_enter(trainer->model, L2_CHANGES));
    llama2_status status = update(trainer, metrics);
    l2_model_leave(trainer->model, L2_CHANGES);
    return status;
}

llama2_status l2_trainer_end_step(llama2_trainer *trainer, llama2_status status, llama2_step_metrics *metrics)
{
    if (status < 0) return l2_trainer_end(trainer, status);
    status = update(trainer, metrics);
    if (status < 0) l2_trainer_forget(trainer);
    l2_model_leave(trainer->model, L2_CHANGES);
    return status;
}

llama2_status l2_trainer_get_gradient(const llama2_trainer *trainer, const char *name, float *buffer, int64_t capacity,
                                      int64_t *needed)
{
    L2_TRY(l2_context_check(trainer->ctx));
    const llama2_reward_model *head = trainer->options.value_head;
    const llama2_model *model = head && strcmp(name, "score.weight") == 0 ? head->model : trainer->model;
    return l2_arena_get(model, trainer->gradients, name, buffer, capacity, needed);
}
