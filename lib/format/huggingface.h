/*
 * A Hugging Face folder of the Llama architecture: config.json, generation_config.json, and model.safetensors or its
 * shards with model.safetensors.index.json. What the library can't compute is refused by name when config.json is read.
 */
#ifndef L2_FORMAT_HUGGINGFACE_H
#define L2_FORMAT_HUGGINGFACE_H

#include "base/json.h"
#include "format/safetensors.h"
#include <llama2/model.h>

enum { L2_HF_MAX_EOS = 8 };

/* Rotary positions: theta, and what lowers frequencies for long contexts. */
typedef struct l2_hf_rope {
    double theta;                             /* 0 while reading: not said */
    double factor;                            /* 0 without scaling */
    double low_freq_factor, high_freq_factor; /* of llama3, else 0; likewise original_len */
    int64_t original_len;                     /* original_max_position_embeddings */
    int64_t scaling;                          /* LLAMA2_ROPE_SCALING_* */
} l2_hf_rope;

typedef struct l2_hf_config {
    int64_t vocab_size;
    int64_t hidden_size;
    int64_t num_hidden_layers;
    int64_t num_attention_heads;
    int64_t num_key_value_heads; /* as num_attention_heads where the file has none */
    int64_t head_dim;            /* hidden_size / num_attention_heads where the file has none */
    int64_t intermediate_size;
    int64_t max_position_embeddings; /* default 2048 */
    double rms_norm_eps;             /* default 1e-6 */
    double initializer_range;        /* default 0.02 */
    l2_hf_rope rope;                 /* theta: default 10000 */
    int64_t bos_id, pad_id;          /* -1: none */
    int64_t eos_ids[L2_HF_MAX_EOS];  /* eos_token_id may be a list; generation_config.json goes first */
    int32_t n_eos;
    int32_t tie_word_embeddings;     /* default 0 */
    int32_t dtype;                   /* LLAMA2_F32 ... of "dtype" or "torch_dtype"; -1: not said */
    int32_t sequence_classification; /* 1: LlamaForSequenceClassification with one label: a reward model with
                                        score.weight */
    double score_shift,
        score_scale; /* "llama2_score_shift", "llama2_score_scale": score = scale * (raw - shift); default 0 and 1 */
} l2_hf_config;

/* Defaults of a LlamaConfig; sizes are 0. */
void l2_hf_config_init(l2_hf_config *config);

/* Reads and checks folder/config.json, and the tokens that end a text from folder/generation_config.json. Errors:
 * NOT_FOUND, IO, FORMAT (with the key), LIMIT, UNSUPPORTED (with the key and what it says), TRUNCATED. */
llama2_status l2_hf_config_read(llama2_context *ctx, const char *folder, l2_hf_config *out);
/* The same on text; `where` names it in messages. */
llama2_status l2_hf_config_parse(const char *text, size_t length, const char *where, l2_hf_config *out);
/* huggingface_rope.c: the members of rope_scaling or rope_parameters; theta 0 where they don't say. UNSUPPORTED,
 * FORMAT.
 */
llama2_status l2_hf_rope_read(l2_json *json, l2_hf_rope *out);
llama2_status l2_hf_rope_check(const l2_hf_rope *rope);
void l2_hf_rope_write(l2_text *text, const l2_hf_rope *rope);

/* Sizes positive and within int32, heads a multiple of kv heads, head_dim even, eps and theta positive, products within
 * int64. FORMAT, LIMIT. */
llama2_status l2_hf_config_check(const l2_hf_config *config);

/* config.json and, for a language model, generation_config.json, written under temporary names; the folder is made. As
 * l2_writer: abort is fine on a zeroed one, and after commit, which needs no memory. */
typedef struct l2_hf_config_writer {
    l2_writer config, generation;
} l2_hf_config_writer;

llama2_status l2_hf_config_prepare(llama2_context *ctx, const char *folder, const l2_hf_config *config,
                                   l2_hf_config_writer *out);
llama2_status l2_hf_config_commit(l2_hf_config_writer *writer);
void l2_hf_config_abort(l2_hf_config_writer *writer);

/* --- weights --------------------------------------------------------------------------------- */

/* All tensors of a folder, whichever file they lie in. */
typedef struct l2_hf_weights {
    llama2_context *ctx;
    l2_safetensors *files;
    size_t n_files;
    const l2_st_tensor **tensors; /* sorted by name */
    size_t n_tensors;
} l2_hf_weights;

/* Opens folder/model.safetensors, or the shards of folder/model.safetensors.index.json. Errors as of
 * l2_safetensors_open; FORMAT for an index with a path outside the folder, a tensor in two shards or one that is not
 * where the index says. */
llama2_status l2_hf_weights_open(llama2_context *ctx, const char *folder, int in_memory, l2_hf_weights *out);
void l2_hf_weights_close(l2_hf_weights *weights);
const l2_st_tensor *l2_hf_weights_find(const l2_hf_weights *weights, const char *name); /* NULL: none; no message */
int64_t l2_hf_weights_index(const l2_hf_weights *weights, const char *name);            /* in `tensors`, -1: none */

/*
 * Writes model.safetensors, or shards and their index where the tensors exceed max_shard_bytes (0: 5 GB), and
 * config.json (NULL: stays as it is). Until the new weights are on the disk an older model in the folder is as it was;
 * then its config.json goes (it is config.json.replaced), and is there again, a new one, when the weights are in place,
 * or the old one where they could not be put there: a folder that was cut off in between is refused. An older one in as
 * many shards is replaced file by file, and refused from the first one on. What an earlier save of the other kind left
 * is removed last.
 */
llama2_status l2_hf_write(llama2_context *ctx, const char *folder, const l2_hf_config *config,
                          const l2_st_entry *entries, size_t n_entries, uint64_t max_shard_bytes);

#endif
