/* Any bytes as a safetensors file and as a config.json: a status, and all that an accepted file declares can be read.
 */
#include "base/context.h"
#include "format/huggingface.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static llama2_context *ctx;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    l2_safetensors file;
    l2_hf_config config;
    if (!ctx && llama2_context_create(NULL, &ctx) < 0) return 0;
    if (l2_safetensors_parse(ctx, data, size, &file) == LLAMA2_OK) {
        for (size_t i = 0; i < file.n_tensors; i++) {
            const l2_st_tensor *t = &file.tensors[i];
            double *out = malloc((size_t)l2_st_count(t) * sizeof *out + 1);
            if (l2_safetensors_find(&file, t->name) != t) abort();
            if (out) l2_st_read(ctx, t, 0, l2_st_count(t), LLAMA2_F64, out);
            free(out);
        }
        l2_safetensors_close(&file);
    }
    l2_hf_config_parse((const char *)data, size, "config.json", &config);
    return 0;
}
