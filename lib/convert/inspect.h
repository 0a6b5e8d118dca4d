/* What a file holds, whether or not the library can load it. */
#ifndef L2_CONVERT_INSPECT_H
#define L2_CONVERT_INSPECT_H

#include "base/status.h"
#include <llama2/inspect.h>
#include <llama2/model.h>

typedef struct l2_inspected_key {
    char *key, *value;
} l2_inspected_key;

typedef struct l2_inspected_tensor {
    char *name;
    const char *type;
    int32_t n_dims;
    int64_t shape[8], elements, bytes;
} l2_inspected_tensor;

struct llama2_inspection {
    llama2_context *ctx;
    int32_t format;
    int64_t elements, tensor_bytes, file_bytes;
    l2_inspected_tensor *tensors;
    l2_inspected_key *keys;
    int32_t n_tensors, n_keys;
    char *format_name, *problem, *tokenizer;
    const char *chat;
    llama2_status loads; /* OK, or what `problem` goes with */
    llama2_config config;
};

llama2_status l2_inspect(llama2_context *ctx, const char *path, llama2_inspection **out);
void l2_inspection_free(llama2_inspection *inspection);

#endif
