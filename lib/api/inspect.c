/* include/llama2/inspect.h: arguments checked; the work is done in lib/convert/inspect.c. */
#include "convert/inspect.h"
#include "base/context.h"
#include "base/options.h"

_Static_assert(sizeof(void *) != 8 ||
                   (sizeof(llama2_inspection_summary) == 72 && sizeof(llama2_inspection_tensor) == 48),
               "ABI");

llama2_status llama2_inspect(llama2_context *ctx, const char *path, llama2_inspection **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_inspect: out is NULL");
    *out = NULL;
    if (!ctx || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_inspect: ctx or path is NULL");
    L2_TRY(l2_context_check(ctx));
    return l2_inspect(ctx, path, out);
}

void llama2_inspection_free(llama2_inspection *inspection)
{
    l2_inspection_free(inspection);
}

llama2_status llama2_inspection_summarise(const llama2_inspection *in, llama2_inspection_summary *summary)
{
    if (!in) return l2_fail(LLAMA2_E_INVALID, "llama2_inspection_summarise: inspection is NULL");
    llama2_inspection_summary full = {.struct_size = sizeof full,
                                      .format = in->format,
                                      .n_tensors = in->n_tensors,
                                      .n_keys = in->n_keys,
                                      .elements = in->elements,
                                      .tensor_bytes = in->tensor_bytes,
                                      .file_bytes = in->file_bytes,
                                      .format_name = in->format_name,
                                      .problem = in->problem,
                                      .tokenizer = in->tokenizer,
                                      .chat = in->chat};
    return l2_struct_write(summary, &full, sizeof full, "llama2_inspection_summary");
}

llama2_status llama2_inspection_config(const llama2_inspection *in, llama2_config *config)
{
    if (!in) return l2_fail(LLAMA2_E_INVALID, "llama2_inspection_config: inspection is NULL");
    if (in->loads < 0) return l2_fail(in->loads, "%s", in->problem);
    return l2_struct_write(config, &in->config, sizeof in->config, "llama2_config");
}

static llama2_status check_index(const llama2_inspection *in, int32_t index, int32_t n, const char *call)
{
    if (!in) return l2_fail(LLAMA2_E_INVALID, "%s: inspection is NULL", call);
    if (index < 0 || index >= n)
        return l2_fail(LLAMA2_E_INVALID, "%s: index is %d, there are %d", call, (int)index, (int)n);
    return LLAMA2_OK;
}

llama2_status llama2_inspection_get_tensor(const llama2_inspection *in, int32_t index, llama2_inspection_tensor *tensor)
{
    L2_TRY(check_index(in, index, in ? in->n_tensors : 0, "llama2_inspection_get_tensor"));
    const l2_inspected_tensor *t = &in->tensors[index];
    llama2_inspection_tensor full = {sizeof full, t->n_dims, t->name, t->type, t->shape, t->elements, t->bytes};
    return l2_struct_write(tensor, &full, sizeof full, "llama2_inspection_tensor");
}

llama2_status llama2_inspection_get_key(const llama2_inspection *in, int32_t index, const char **key,
                                        const char **value)
{
    L2_TRY(check_index(in, index, in ? in->n_keys : 0, "llama2_inspection_get_key"));
    if (key) *key = in->keys[index].key;
    if (value) *value = in->keys[index].value;
    return LLAMA2_OK;
}
