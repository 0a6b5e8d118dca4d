/* include/llama2/model.h: arguments checked, options completed; the work is done in lib/model/. */
#include "base/options.h"
#include "model/forward.h"

void llama2_config_init(llama2_config *config, size_t size)
{
    llama2_config defaults;
    l2_config_preset(LLAMA2_PRESET_7B, &defaults);
    l2_options_init(config, size, &defaults, sizeof defaults);
}

llama2_status llama2_config_preset(llama2_config *config, int32_t index)
{
    llama2_config full;
    if (!config) return l2_fail(LLAMA2_E_INVALID, "llama2_config_preset: config is NULL");
    L2_TRY(l2_config_preset(index, &full));
    return l2_struct_write(config, &full, sizeof full, "llama2_config");
}

void llama2_model_options_init(llama2_model_options *options, size_t size)
{
    l2_options_init(options, size, &l2_model_defaults, sizeof l2_model_defaults);
}

llama2_status llama2_model_create(llama2_context *ctx, const llama2_config *config, const llama2_model_options *options,
                                  llama2_model **out)
{
    llama2_model_options o;
    llama2_config full;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_model_create: out is NULL");
    *out = NULL;
    if (!ctx) return l2_fail(LLAMA2_E_INVALID, "llama2_model_create: ctx is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_model_options_read(options, &o));
    if (o.weights == LLAMA2_WEIGHTS_AS_STORED)
        return l2_fail(LLAMA2_E_INVALID, "llama2_model_create: new weights are stored nowhere");
    L2_TRY(l2_config_read(config, &full));
    L2_TRY(l2_model_new(ctx, &full, o.dtype, L2_HEAD_LM, out));
    llama2_status status = l2_model_init(*out);
    if (status < 0) {
        l2_model_release(*out);
        *out = NULL;
    }
    return status;
}

llama2_status llama2_model_load(llama2_context *ctx, const char *path, const llama2_model_options *options,
                                llama2_model **out)
{
    llama2_model_options o;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_model_load: out is NULL");
    *out = NULL;
    if (!ctx || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_model_load: ctx or path is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_model_options_read(options, &o));
    return l2_model_read(ctx, path, &o, L2_HEAD_LM, out, NULL, NULL);
}

llama2_status llama2_model_load_host(llama2_context *ctx, const llama2_host_file *file,
                                     const llama2_model_options *options, llama2_model **out)
{
    llama2_model_options o;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_model_load_host: out is NULL");
    *out = NULL;
    if (!ctx) return l2_fail(LLAMA2_E_INVALID, "llama2_model_load_host: ctx is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_model_options_read(options, &o));
    return l2_model_read_host(ctx, file, &o, out);
}

/* Most calls below read the weights: this is their frame. */
static llama2_status enter(const llama2_model *model, const char *call)
{
    if (!model) return l2_fail(LLAMA2_E_INVALID, "%s: model is NULL", call);
    L2_TRY(l2_context_check(model->ctx));
    return l2_model_enter(model, L2_READS);
}

llama2_status llama2_model_save(const llama2_model *model, const char *path, int32_t dtype)
{
    if (!path) return l2_fail(LLAMA2_E_INVALID, "llama2_model_save: path is NULL");
    L2_TRY(enter(model, "llama2_model_save"));
    llama2_status status = l2_model_write(model, path, dtype, 0, 1, NULL, NULL);
    l2_model_leave(model, L2_READS);
    return status;
}

llama2_model *llama2_model_retain(llama2_model *model)
{
    return model ? l2_model_retain(model) : NULL;
}

void llama2_model_free(llama2_model *model)
{
    l2_model_release(model);
}

llama2_status llama2_model_clone(const llama2_model *model, llama2_model **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_model_clone: out is NULL");
    *out = NULL;
    L2_TRY(enter(model, "llama2_model_clone"));
    llama2_status status = l2_model_clone(model, out);
    l2_model_leave(model, L2_READS);
    return status;
}

llama2_status llama2_model_copy_weights(llama2_model *to, const llama2_model *from)
{
    if (!to || !from) return l2_fail(LLAMA2_E_INVALID, "llama2_model_copy_weights: a model is NULL");
    if (to == from) return LLAMA2_OK;
    L2_TRY(l2_context_check(to->ctx));
    if (!l2_config_same_shape(&to->config, &from->config))
        return l2_fail(LLAMA2_E_MISMATCH, "llama2_model_copy_weights: the two models have different shapes");
    L2_TRY(enter(from, "llama2_model_copy_weights"));
    llama2_status status = l2_model_enter(to, L2_CHANGES);
    if (status >= 0) {
        status = l2_model_copy(to, from);
        l2_model_leave(to, L2_CHANGES);
    }
    l2_model_leave(from, L2_READS);
    return status;
}

llama2_status llama2_model_config(const llama2_model *model, llama2_config *config)
{
    if (!model || !config) return l2_fail(LLAMA2_E_INVALID, "llama2_model_config: an argument is NULL");
    llama2_config full = l2_model_config(model);
    return l2_struct_write(config, &full, sizeof full, "llama2_config");
}

int32_t llama2_model_is_eos(const llama2_model *model, int32_t token)
{
    return model ? l2_model_is_eos(model, token) : 0;
}

llama2_status llama2_model_eos_ids(const llama2_model *model, int32_t *ids, int32_t capacity, int32_t *needed)
{
    if (!model) return l2_fail(LLAMA2_E_INVALID, "llama2_model_eos_ids: model is NULL");
    const l2_eos *eos = l2_model_eos(model);
    if (needed) *needed = eos->n;
    if (!ids && capacity == 0) return LLAMA2_OK;
    if (capacity < eos->n || (!ids && eos->n > 0))
        return l2_fail(LLAMA2_E_BUFFER, "llama2_model_eos_ids: %d tokens end a text, there is room for %d", eos->n,
                       ids ? capacity : 0);
    for (int32_t i = 0; i < eos->n; i++) ids[i] = eos->ids[i];
    return LLAMA2_OK;
}

llama2_status llama2_model_set_eos_ids(llama2_model *model, const int32_t *ids, int32_t n)
{
    if (!model || (!ids && n > 0)) return l2_fail(LLAMA2_E_INVALID, "llama2_model_set_eos_ids: an argument is NULL");
    L2_TRY(l2_context_check(model->ctx));
    L2_TRY(l2_model_enter(model, L2_KEEPS_WEIGHTS));
    llama2_status status = l2_model_set_eos(model, ids, n);
    l2_model_leave(model, L2_KEEPS_WEIGHTS);
    return status < 0 ? l2_fail_in(status, "llama2_model_set_eos_ids") : status;
}

int64_t llama2_model_parameters(const llama2_model *model)
{
    return model ? model->n_elements : 0;
}

int32_t llama2_model_tensors(const llama2_model *model)
{
    return model ? model->n_params : 0;
}

llama2_status llama2_model_tensor_info(const llama2_model *model, int32_t index, llama2_tensor_info *info)
{
    if (!model || !info) return l2_fail(LLAMA2_E_INVALID, "llama2_model_tensor_info: an argument is NULL");
    if (index < 0 || index >= model->n_params)
        return l2_fail(LLAMA2_E_INVALID, "llama2_model_tensor_info: index is %d, the model has %d tensors", index,
                       model->n_params);
    const l2_param *p = &model->params[index];
    llama2_tensor_info full = {sizeof full, model->dtype, p->rows, p->columns, p->name};
    return l2_struct_write(info, &full, sizeof full, "llama2_tensor_info");
}

llama2_status llama2_model_get_tensor(const llama2_model *model, const char *name, float *buffer, int64_t capacity,
                                      int64_t *needed)
{
    if (!name) return l2_fail(LLAMA2_E_INVALID, "llama2_model_get_tensor: name is NULL");
    L2_TRY(enter(model, "llama2_model_get_tensor"));
    llama2_status status = l2_model_get(model, name, buffer, capacity, needed);
    l2_model_leave(model, L2_READS);
    return status;
}

llama2_status llama2_model_set_tensor(llama2_model *model, const char *name, const float *values, int64_t count)
{
    if (!model || !name || !values) return l2_fail(LLAMA2_E_INVALID, "llama2_model_set_tensor: an argument is NULL");
    L2_TRY(l2_context_check(model->ctx));
    L2_TRY(l2_model_enter(model, L2_CHANGES));
    llama2_status status = l2_arena_set(model, model->weights, name, values, count);
    l2_model_leave(model, L2_CHANGES);
    return status;
}

/* --- evaluation ------------------------------------------------------------------------------ */

static llama2_status enter_batch(const llama2_model *model, const llama2_batch *batch, llama2_batch *full,
                                 const void *out, const char *call)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "%s: the output is NULL", call);
    L2_TRY(l2_batch_read(batch, full));
    L2_TRY(enter(model, call));
    llama2_status status = l2_batch_check(model, full);
    if (status < 0) l2_model_leave(model, L2_READS);
    return status;
}

llama2_status llama2_model_logits(const llama2_model *model, const llama2_batch *batch, float *out)
{
    llama2_batch b;
    L2_TRY(enter_batch(model, batch, &b, out, "llama2_model_logits"));
    llama2_status status = l2_model_logits(model, &b, out);
    l2_model_leave(model, L2_READS);
    return status;
}

llama2_status llama2_model_hidden(const llama2_model *model, const llama2_batch *batch, float *out)
{
    llama2_batch b;
    L2_TRY(enter_batch(model, batch, &b, out, "llama2_model_hidden"));
    llama2_status status = l2_model_hidden(model, &b, out);
    l2_model_leave(model, L2_READS);
    return status;
}

llama2_status llama2_model_logprobs(const llama2_model *model, const llama2_batch *batch, double temperature,
                                    float *logprobs, float *entropies)
{
    llama2_batch b;
    L2_TRY(l2_temperature_check(temperature));
    L2_TRY(enter_batch(model, batch, &b, logprobs, "llama2_model_logprobs"));
    llama2_status status = l2_model_logprobs(model, &b, temperature, logprobs, entropies);
    l2_model_leave(model, L2_READS);
    return status;
}

llama2_status llama2_model_evaluate(const llama2_model *model, const llama2_batch *batch, llama2_loss *loss)
{
    llama2_batch b;
    L2_TRY(l2_struct_check(loss, "llama2_loss"));
    L2_TRY(enter_batch(model, batch, &b, loss, "llama2_model_evaluate"));
    llama2_loss full = {.struct_size = sizeof full};
    llama2_status status = l2_model_evaluate(model, &b, NULL, &full);
    l2_model_leave(model, L2_READS);
    return status < 0 ? status : l2_struct_write(loss, &full, sizeof full, "llama2_loss");
}

/* --- memory ---------------------------------------------------------------------------------- */

static const llama2_memory_options memory_defaults = {.struct_size = sizeof memory_defaults};

void llama2_memory_options_init(llama2_memory_options *options, size_t size)
{
    l2_options_init(options, size, &memory_defaults, sizeof memory_defaults);
}

llama2_status llama2_memory_estimate(const llama2_config *config, const llama2_memory_options *options,
                                     llama2_memory *out)
{
    llama2_config full;
    llama2_memory_options o = memory_defaults;
    llama2_memory m = {.struct_size = sizeof m};
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_memory_estimate: out is NULL");
    L2_TRY(l2_config_read(config, &full));
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_memory_options"));
    if (o.dtype != LLAMA2_F32 && o.dtype != LLAMA2_F64)
        return l2_fail(LLAMA2_E_INVALID, "llama2_memory_estimate: dtype is %d, expected LLAMA2_F32 or LLAMA2_F64",
                       o.dtype);
    if (o.weights != LLAMA2_WEIGHTS_CONVERTED && o.weights != LLAMA2_WEIGHTS_AS_STORED)
        return l2_fail(LLAMA2_E_INVALID, "llama2_memory_estimate: weights is %d, expected LLAMA2_WEIGHTS_*", o.weights);
    L2_TRY(l2_memory_estimate(&full, &o, &m));
    return l2_struct_write(out, &m, sizeof m, "llama2_memory");
}
