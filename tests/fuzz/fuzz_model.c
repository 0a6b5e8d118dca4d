/* Any bytes as a model in the host's memory, a GGUF or a .bin of llama2.c: a status, and a model that is accepted can
 * be run. */
#include <llama2/llama2.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static llama2_context *ctx;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int32_t tokens[] = {0, 0};
    static const int64_t offsets[] = {0, 2};
    const llama2_host_file file = {.struct_size = sizeof file, .size = size, .data = data};
    const llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = 1, .n_tokens = 2, .tokens = tokens, .offsets = offsets};
    llama2_model *model;
    float logprobs[2];
    if (!ctx && llama2_context_create(NULL, &ctx) < 0) return 0;
    if (llama2_model_load_host(ctx, &file, NULL, &model) < 0) {
        if (model || !llama2_last_error()[0]) abort();
        return 0;
    }
    llama2_model_logprobs(model, &batch, 1, logprobs, NULL);
    llama2_model_free(model);
    return 0;
}
