/*
 * Models from one file format to another, and from memory to GGUF. Weights pass through memory a few rows at a time:
 * what a conversion takes does not depend on the model's size, but for the tokenizer. The shards of a folder of Meta's
 * are joined on the way.
 */
#ifndef LLAMA2_CONVERT_H
#define LLAMA2_CONVERT_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Kinds of model files. */
enum {
    LLAMA2_FORMAT_AUTO = 0,        /* to be written: by the path's end, GGUF ".gguf", LLAMA2C ".bin", else a folder */
    LLAMA2_FORMAT_HUGGINGFACE = 1, /* a folder: config.json, model.safetensors or its shards, tokenizer files */
    LLAMA2_FORMAT_GGUF = 2,        /* one file, version 3, architecture "llama" */
    LLAMA2_FORMAT_LLAMA2C = 3,     /* one file of llama2.c, version 0, F32; its tokenizer.bin in the same folder */
    LLAMA2_FORMAT_META = 4         /* a folder: params.json, consolidated.NN.pth; read, not written */
};

enum { LLAMA2_TYPE_KEEP = -1 };

/* How far it is: after each few rows. A pointer in it is valid during the call only. */
typedef struct llama2_convert_event {
    uint32_t struct_size;
    int32_t tensor;        /* index of the tensor that is being written */
    int32_t n_tensors;     /* of all */
    int32_t reserved;      /* 0 */
    int64_t elements_done; /* parameters written */
    int64_t elements;      /* of all tensors */
    const char *name;      /* of the tensor, as transformers calls it */
} llama2_convert_event;

/* Non-zero stops with LLAMA2_E_USER. Called from the thread that converts. */
typedef int32_t (*llama2_convert_fn)(void *user, const llama2_convert_event *event);

typedef struct llama2_convert_options {
    uint32_t struct_size;
    /*
     * What matrices become. LLAMA2_TYPE_KEEP (default): F16 or BF16 where all are that, else F32, and always F32 in a
     * file of llama2.c, which has no other type. LLAMA2_F32, F16, BF16; in a GGUF also LLAMA2_Q8_0, Q4_0, Q4_K, Q6_K,
     * which are llama.cpp's file types of these names (Q4_K: Q4_K_M) with its choices: gains are F32; the output head
     * (or the tied embedding) is Q6_K in Q4_0 and Q4_K; in Q4_K so are the values and down projections of some layers;
     * where rows are no multiple of 256, Q4_K becomes Q5_0 and Q6_K Q8_0, and where they are none of 32, F16.
     */
    int32_t type;
    int32_t format;        /* LLAMA2_FORMAT_*, of what is written; default AUTO */
    int32_t reserved;      /* 0 */
    const char *tokenizer; /* path, as for llama2_tokenizer_load; NULL (default): the one that the model's files have,
                              or none */
    llama2_convert_fn progress; /* NULL (default): none */
    void *progress_user;
} llama2_convert_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_convert_options_init(llama2_convert_options *options, size_t size);

/*
 * Reads the model at `from`, as llama2_model_load does, and writes it to `to` with its tokenizer and chat template.
 * Each file is written atomically: after a failure an older GGUF file is as it was, unless what failed is the last
 * step, syncing its folder (then it is the new one, which a loss of power may undo). In a folder the tokenizer of an
 * older model goes with that model, also where the new one has none (which takes no file away where there is no older
 * model, or the older one is `from`); cut off in between, the folder is refused or has no tokenizer. A tokenizer.bin,
 * which may be other models' too, is replaced and never removed. Numbers are rounded to nearest even, once (doubles of
 * a folder too); F32, F16 and BF16 of a model that has them keep their bits there and back. A file of llama2.c can't
 * say everything: what it leaves open has to be as llama2.c has it (norm_eps 1e-5, rope_theta 10000, BOS 1, EOS 2,
 * SentencePiece's BPE), else UNSUPPORTED. Quantised types are those scales and integers that lose least
 * (lib/format/quantise.c); the bytes do not depend on the number of threads.
 *
 * Errors: as of llama2_model_load and llama2_tokenizer_load (but no tokenizer is fine); INVALID for a type that the
 * format does not have; CORRUPT (a checksum of a .pth); NUMERIC for a number that is not finite, or beyond fp16, where
 * the type needs that; MISMATCH for a tokenizer with more pieces than the model's vocabulary; IO, NOMEM, CANCELLED,
 * USER. Since 0.1.
 */
LLAMA2_API llama2_status llama2_convert(llama2_context *ctx, const char *from, const char *to,
                                        const llama2_convert_options *options);

/*
 * Writes a model in memory as a GGUF file that llama.cpp loads, atomically. `tokenizer` may be NULL: the file then says
 * that it has none. `options` (NULL: all defaults) as above, where weights that are not as stored count as F32; its
 * format and tokenizer are not used. Errors: as above, BUSY while the model is being trained. Since 0.1.
 */
LLAMA2_API llama2_status llama2_model_save_gguf(const llama2_model *model, const llama2_tokenizer *tokenizer,
                                                const char *path, const llama2_convert_options *options);

#ifdef __cplusplus
}
#endif

#endif
