/* include/llama2/convert.h: arguments checked, options completed; the work is done in lib/convert/. */
#include "convert/convert.h"
#include "base/options.h"

static const llama2_convert_options convert_defaults = {.struct_size = sizeof convert_defaults,
                                                        .type = LLAMA2_TYPE_KEEP};

_Static_assert(sizeof(void *) != 8 || (sizeof(llama2_convert_options) == 40 && sizeof(llama2_convert_event) == 40),
               "ABI");
_Static_assert(LLAMA2_FORMAT_AUTO == 0 && LLAMA2_FORMAT_HUGGINGFACE == 1 && LLAMA2_FORMAT_GGUF == 2 &&
                   LLAMA2_FORMAT_LLAMA2C == 3 && LLAMA2_FORMAT_META == 4 && LLAMA2_TYPE_KEEP == -1 &&
                   LLAMA2_Q8_0 == 4 && LLAMA2_Q4_0 == 5 && LLAMA2_Q4_K == 6 && LLAMA2_Q6_K == 7,
               "ABI");

void llama2_convert_options_init(llama2_convert_options *options, size_t size)
{
    l2_options_init(options, size, &convert_defaults, sizeof convert_defaults);
}

static llama2_status read_options(const llama2_convert_options *options, llama2_convert_options *full)
{
    *full = convert_defaults;
    L2_TRY(l2_options_read(options, full, sizeof *full, "llama2_convert_options"));
    if (full->type < LLAMA2_TYPE_KEEP || full->type > LLAMA2_Q6_K || full->type == LLAMA2_F64)
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_convert_options: type is %d, expected LLAMA2_TYPE_KEEP, LLAMA2_F32, BF16, F16, Q8_0, "
                       "Q4_0, Q4_K or Q6_K",
                       full->type);
    if (full->format < LLAMA2_FORMAT_AUTO || full->format > LLAMA2_FORMAT_LLAMA2C)
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_convert_options: format is %d, expected one of LLAMA2_FORMAT_* that is written",
                       full->format);
    return LLAMA2_OK;
}

llama2_status llama2_convert(llama2_context *ctx, const char *from, const char *to,
                             const llama2_convert_options *options)
{
    llama2_convert_options full;
    if (!ctx || !from || !to) return l2_fail(LLAMA2_E_INVALID, "llama2_convert: ctx, from or to is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(read_options(options, &full));
    return l2_convert(ctx, from, to, &full);
}

llama2_status llama2_model_save_gguf(const llama2_model *model, const llama2_tokenizer *tokenizer, const char *path,
                                     const llama2_convert_options *options)
{
    llama2_convert_options full;
    if (!model || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_model_save_gguf: model or path is NULL");
    L2_TRY(l2_context_check(model->ctx));
    L2_TRY(read_options(options, &full));
    L2_TRY(l2_model_enter(model, L2_READS));
    llama2_status status = l2_model_save_gguf(model, tokenizer, path, &full);
    l2_model_leave(model, L2_READS);
    return status;
}
