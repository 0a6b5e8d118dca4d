/* Any bytes as a model in the host's memory, a GGUF or a .bin of llama2.c: a status, and a model that is accepted can
 * be run, with its weights as stored too, to the same numbers. */
#include <llama2/llama2.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static llama2_context *ctx;

/* 0: refused. */
static int run(const llama2_host_file *file, int32_t weights, float logprobs[2])
{
    static const int32_t tokens[] = {0, 0};
    static const int64_t offsets[] = {0, 2};
    const llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = 1, .n_tokens = 2, .tokens = tokens, .offsets = offsets};
    const llama2_model_options options = {.struct_size = sizeof options, .dtype = LLAMA2_F32, .weights = weights};
    llama2_model *model;
    if (llama2_model_load_host(ctx, file, &options, &model) < 0) {
        if (model || !llama2_last_error()[0]) abort();
        return 0;
    }
    llama2_status status = llama2_model_logprobs(model, &batch, 1, logprobs, NULL);
    llama2_model_free(model);
    return status == LLAMA2_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const llama2_host_file file = {.struct_size = sizeof file, .size = size, .data = data};
    float converted[2], stored[2];
    if (!ctx && llama2_context_create(NULL, &ctx) < 0) return 0;
    if (!run(&file, LLAMA2_WEIGHTS_CONVERTED, converted) || !run(&file, LLAMA2_WEIGHTS_AS_STORED, stored)) return 0;
    for (int i = 0; i < 2; i++)
        if (converted[i] != stored[i] && (converted[i] == converted[i] || stored[i] == stored[i])) abort();
    return 0;
}
