/*
 * What a model file or folder holds, without reading its weights: tensors, metadata, config, tokenizer. Also of models
 * that the library can't load, as long as the file itself is in order.
 */
#ifndef LLAMA2_INSPECT_H
#define LLAMA2_INSPECT_H

#include "model.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One thread at a time. All pointers that it gives are valid as long as it is; texts are UTF-8 and end with NUL. */
typedef struct llama2_inspection llama2_inspection;

/* Looks into the file or folder at `path`. Errors: those of llama2_model_load that concern the file as such (IO,
 * NOT_FOUND, FORMAT, TRUNCATED, LIMIT, UNSUPPORTED version). Since 0.1. */
LLAMA2_API llama2_status llama2_inspect(llama2_context *ctx, const char *path, llama2_inspection **out);
LLAMA2_API void llama2_inspection_free(llama2_inspection *inspection);

typedef struct llama2_inspection_summary {
    uint32_t struct_size;
    int32_t format; /* LLAMA2_FORMAT_* of convert.h */
    int32_t n_tensors;
    int32_t n_keys;
    int64_t elements;        /* of all tensors */
    int64_t tensor_bytes;    /* that they take in the files */
    int64_t file_bytes;      /* of the files that hold tensors */
    const char *format_name; /* "GGUF version 3", "Hugging Face folder" */
    const char *problem;     /* why llama2_model_load refuses it; NULL: it does not */
    const char *tokenizer;   /* "byte-level BPE (SmolLM2), 49152 pieces"; "none"; or why it can't be read */
    const char *chat;        /* the chat format: "Llama 2", "ChatML", "unknown"; "none" */
} llama2_inspection_summary;

/* Set summary->struct_size first, likewise below. Since 0.1. */
LLAMA2_API llama2_status llama2_inspection_summarise(const llama2_inspection *inspection,
                                                     llama2_inspection_summary *summary);

/* The model's config. Errors: as of llama2_model_load, where it would refuse the model. Since 0.1. */
LLAMA2_API llama2_status llama2_inspection_config(const llama2_inspection *inspection, llama2_config *config);

typedef struct llama2_inspection_tensor {
    uint32_t struct_size;
    int32_t n_dims;       /* 0: a single value */
    const char *name;     /* as the file has it, in Meta's shard NN behind "NN/"; llama2.c's: transformers' names */
    const char *type;     /* "F32", "BF16", "Q4_K" ... */
    const int64_t *shape; /* n_dims of them, the slowest first */
    int64_t elements;
    int64_t bytes;
} llama2_inspection_tensor;

/* index in [0, n_tensors), in the order of names (llama2.c: of the layers). Errors: INVALID for another one. Since 0.1.
 */
LLAMA2_API llama2_status llama2_inspection_get_tensor(const llama2_inspection *inspection, int32_t index,
                                                      llama2_inspection_tensor *tensor);

/* Entry `index` in [0, n_keys) of a GGUF's metadata, or of the outer object of config.json or params.json. The value is
 * a text as it is, a number or true/false; of an array its type and length; of config.json JSON. Errors: INVALID. Since
 * 0.1. */
LLAMA2_API llama2_status llama2_inspection_get_key(const llama2_inspection *inspection, int32_t index, const char **key,
                                                   const char **value);

#ifdef __cplusplus
}
#endif

#endif
