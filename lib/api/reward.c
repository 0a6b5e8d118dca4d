/* include/llama2/reward.h */
#include "train/reward.h"
#include "base/options.h"

static const llama2_reward_options defaults = {.struct_size = sizeof defaults, .head = LLAMA2_HEAD_NORMAL};

void llama2_reward_options_init(llama2_reward_options *options, size_t size)
{
    l2_options_init(options, size, &defaults, sizeof defaults);
}

llama2_status llama2_reward_model_create(llama2_context *ctx, const llama2_model *model,
                                         const llama2_reward_options *options, llama2_reward_model **out)
{
    llama2_reward_options o = defaults;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_create: out is NULL");
    *out = NULL;
    if (!ctx || !model) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_create: ctx or model is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_reward_options"));
    return l2_reward_model_create(ctx, model, o.head, out);
}

llama2_status llama2_reward_model_create_shared(llama2_model *model, const llama2_reward_options *options,
                                                llama2_reward_model **out)
{
    llama2_reward_options o = defaults;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_create_shared: out is NULL");
    *out = NULL;
    if (!model) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_create_shared: model is NULL");
    L2_TRY(l2_context_check(model->ctx));
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_reward_options"));
    return l2_reward_model_create_shared(model, o.head, out);
}

llama2_status llama2_reward_model_clone(const llama2_reward_model *reward_model, llama2_reward_model **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_clone: out is NULL");
    *out = NULL;
    if (!reward_model) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_clone: reward_model is NULL");
    L2_TRY(l2_context_check(reward_model->ctx));
    return l2_reward_model_clone(reward_model, out);
}

llama2_status llama2_reward_model_load(llama2_context *ctx, const char *path, const llama2_model_options *options,
                                       llama2_reward_model **out)
{
    llama2_model_options o;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_load: out is NULL");
    *out = NULL;
    if (!ctx || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_load: ctx or path is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_model_options_read(options, &o));
    return l2_reward_model_load(ctx, path, &o, out);
}

/* The frame of what reads a reward model. */
static llama2_status enter(const llama2_reward_model *reward_model, const char *call)
{
    if (!reward_model) return l2_fail(LLAMA2_E_INVALID, "%s: reward_model is NULL", call);
    L2_TRY(l2_context_check(reward_model->ctx));
    return l2_model_enter(reward_model->model, L2_READS);
}

llama2_status llama2_reward_model_save(const llama2_reward_model *reward_model, const char *path, int32_t dtype)
{
    if (!path) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_save: path is NULL");
    L2_TRY(enter(reward_model, "llama2_reward_model_save"));
    llama2_status status =
        l2_model_write(reward_model->model, path, dtype, reward_model->shift, reward_model->scale, NULL, NULL);
    l2_model_leave(reward_model->model, L2_READS);
    return status;
}

void llama2_reward_model_free(llama2_reward_model *reward_model)
{
    l2_reward_model_release(reward_model);
}

llama2_status llama2_reward_model_get_tensor(const llama2_reward_model *reward_model, const char *name, float *buffer,
                                             int64_t capacity, int64_t *needed)
{
    if (!name) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_get_tensor: name is NULL");
    L2_TRY(enter(reward_model, "llama2_reward_model_get_tensor"));
    llama2_status status = l2_model_get(reward_model->model, name, buffer, capacity, needed);
    l2_model_leave(reward_model->model, L2_READS);
    return status;
}

llama2_status llama2_reward_model_set_tensor(llama2_reward_model *reward_model, const char *name, const float *values,
                                             int64_t count)
{
    if (!reward_model || !name || !values)
        return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_set_tensor: an argument is NULL");
    L2_TRY(l2_context_check(reward_model->ctx));
    L2_TRY(l2_model_enter(reward_model->model, L2_CHANGES));
    llama2_status status = l2_arena_set(reward_model->model, reward_model->model->weights, name, values, count);
    l2_model_leave(reward_model->model, L2_CHANGES);
    return status;
}

llama2_status llama2_reward_model_set_normalisation(llama2_reward_model *reward_model, double shift, double scale)
{
    if (!reward_model) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_set_normalisation: reward_model is NULL");
    return l2_reward_model_set_normalisation(reward_model, shift, scale);
}

llama2_status llama2_reward_model_normalisation(const llama2_reward_model *reward_model, double *shift, double *scale)
{
    if (!reward_model || !shift || !scale)
        return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_normalisation: an argument is NULL");
    return l2_reward_model_normalisation(reward_model, shift, scale);
}

llama2_status llama2_reward_model_score(const llama2_reward_model *reward_model, const llama2_batch *batch,
                                        float *scores)
{
    llama2_batch b;
    if (!reward_model || !scores)
        return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_score: reward_model or scores is NULL");
    L2_TRY(l2_batch_read(batch, &b));
    return l2_reward_model_scores(reward_model, &b, scores);
}

llama2_status llama2_reward_model_values(const llama2_reward_model *reward_model, const llama2_batch *batch,
                                         float *values)
{
    llama2_batch b;
    if (!reward_model || !values)
        return l2_fail(LLAMA2_E_INVALID, "llama2_reward_model_values: reward_model or values is NULL");
    L2_TRY(l2_batch_read(batch, &b));
    return l2_reward_model_values(reward_model, &b, values);
}

float llama2_reward_margin(int32_t scheme, int32_t rating)
{
    return l2_reward_margin(scheme, rating);
}

/* `batch` is where the pairs' batch is copied to. */
static llama2_status read_pairs(const llama2_pairs *pairs, llama2_pairs *full, llama2_batch *batch)
{
    *full = (llama2_pairs){.struct_size = sizeof *full};
    if (!pairs) return l2_fail(LLAMA2_E_INVALID, "pairs is NULL");
    L2_TRY(l2_options_read(pairs, full, sizeof *full, "llama2_pairs"));
    L2_TRY(l2_batch_read(full->batch, batch));
    full->batch = batch;
    return LLAMA2_OK;
}

static llama2_status give_metrics(llama2_reward_metrics *metrics, const llama2_reward_metrics *full)
{
    return metrics ? l2_struct_write(metrics, full, sizeof *full, "llama2_reward_metrics") : LLAMA2_OK;
}

llama2_status llama2_reward_accumulate(llama2_trainer *trainer, const llama2_pairs *pairs,
                                       llama2_reward_metrics *metrics)
{
    llama2_reward_metrics full;
    llama2_pairs p;
    llama2_batch b;
    if (!trainer) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_accumulate: trainer is NULL");
    L2_TRY(l2_struct_check(metrics, "llama2_reward_metrics"));
    L2_TRY(read_pairs(pairs, &p, &b));
    L2_TRY(l2_reward_accumulate(trainer, &p, &full));
    return give_metrics(metrics, &full);
}

llama2_status llama2_reward_step(llama2_trainer *trainer, const llama2_pairs *pairs, llama2_reward_metrics *metrics)
{
    llama2_reward_metrics full;
    llama2_pairs p;
    llama2_batch b;
    if (!trainer) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_step: trainer is NULL");
    L2_TRY(l2_struct_check(metrics, "llama2_reward_metrics"));
    L2_TRY(read_pairs(pairs, &p, &b));
    L2_TRY(l2_reward_step(trainer, &p, &full));
    return give_metrics(metrics, &full);
}

llama2_status llama2_reward_evaluate(const llama2_reward_model *reward_model, const llama2_pairs *pairs,
                                     llama2_reward_metrics *metrics, float *scores)
{
    llama2_reward_metrics full;
    llama2_pairs p;
    llama2_batch b;
    if (!reward_model) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_evaluate: reward_model is NULL");
    L2_TRY(l2_struct_check(metrics, "llama2_reward_metrics"));
    L2_TRY(read_pairs(pairs, &p, &b));
    L2_TRY(l2_reward_evaluate(reward_model, &p, &full, scores));
    return give_metrics(metrics, &full);
}
