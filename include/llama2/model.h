/*
 * The model: a Llama (section 2.2 of the paper): RMSNorm before each block, SwiGLU, rotary positions, grouped-query
 * attention.
 *
 * A model may be used from many threads. Calls that read it run side by side, one that changes it runs alone; a call
 * that comes while one of the other kind is inside returns LLAMA2_E_BUSY and waits for nothing.
 *
 * - What changes it, and is BUSY while anything reads (a rollout does for its whole length): training
 *   (llama2_trainer_accumulate, _backward_*, _update, _clear, every step, llama2_ppo_update), llama2_trainer_create,
 *   llama2_checkpoint_get_trainer, llama2_model_set_tensor, _set_eos_ids, _copy_weights (of the model that is written),
 *   llama2_reward_model_set_tensor and _set_normalisation.
 * - What never looks at the weights, and is never BUSY: llama2_model_config, _parameters, _is_eos, _eos_ids, _tensors,
 *   _tensor_info, _retain and _free; llama2_session_create; and what a session does with what it has read
 *   (llama2_session_sample, _top, _logits, _rewind).
 *
 * All else reads. A reward model is a model in this respect, and one model with its trunk where it shares that.
 */
#ifndef LLAMA2_MODEL_H
#define LLAMA2_MODEL_H

#include "batch.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LLAMA2_PRESET_7B = 0, LLAMA2_PRESET_13B = 1, LLAMA2_PRESET_34B = 2, LLAMA2_PRESET_70B = 3 };

/*
 * What lowers the rotary frequencies f = rope_theta^(-2i / head_dim), so that contexts longer than those of the
 * pretraining stay within what the model knows. LINEAR: f / rope_factor. LLAMA3, as of Llama 3.1: f / rope_factor where
 * the wavelength 2 pi / f is above rope_original_len / rope_low_freq_factor, f where it is below rope_original_len /
 * rope_high_freq_factor, and between these in proportion to f.
 */
enum { LLAMA2_ROPE_SCALING_NONE = 0, LLAMA2_ROPE_SCALING_LINEAR = 1, LLAMA2_ROPE_SCALING_LLAMA3 = 2 };

/* Shape of a model. Also an options struct, but NULL is INVALID and zero fields are not defaults: start from
 * llama2_config_init. */
typedef struct llama2_config {
    uint32_t struct_size;
    int32_t vocab_size;
    int32_t dim; /* width of the residual stream */
    int32_t n_layers;
    int32_t n_heads;    /* query heads */
    int32_t n_kv_heads; /* divides n_heads */
    int32_t head_dim;   /* even; 0 (default): dim / n_heads */
    int32_t ffn_dim;
    int32_t max_seq_len;       /* context length in tokens */
    int32_t tied;              /* 1: the output head is the embedding matrix */
    int32_t bos_id;            /* -1: none; likewise below. Those of the tokenizer; default 1, as in Llama 2 */
    int32_t eos_id;            /* the first of those of llama2_model_eos_ids; default 2 */
    int32_t pad_id;            /* default -1 */
    int32_t reserved;          /* 0 */
    double norm_eps;           /* default 1e-5 */
    double rope_theta;         /* default 10000 */
    double init_std;           /* of the normal distribution that new weights are drawn from; default 0.02 */
    int32_t rope_scaling;      /* LLAMA2_ROPE_SCALING_*; default none: the fields below are not used */
    int32_t rope_original_len; /* with LLAMA3: context length of the pretraining, in tokens */
    double rope_factor;        /* with LINEAR and LLAMA3; above 0 */
    double rope_low_freq_factor, rope_high_freq_factor; /* with LLAMA3; positive, rising */
} llama2_config;

/* The 7B model of the paper; head_dim is 0 here too, so that dim and n_heads alone can be changed. Since 0.1. */
LLAMA2_API void llama2_config_init(llama2_config *config, size_t size);
/* One of LLAMA2_PRESET_*; `config` must have been initialised. Since 0.1. */
LLAMA2_API llama2_status llama2_config_preset(llama2_config *config, int32_t preset);

/*
 * What becomes of the weights of a file. CONVERTED: numbers of options->dtype in memory, which can be trained.
 * AS_STORED: matrices stay in the file, which is mapped, in whatever type they have there, and numbers are made of them
 * while computing, in fp32. Every result has the bits of a converted model; the matrices need no memory of their own,
 * and a token takes less time the smaller their type is. Such a model is for reading alone: what would change its
 * weights, training included, fails with LLAMA2_E_UNSUPPORTED. Its files must stay as they are while it or a clone
 * lives: replacing or removing one by its name does no harm, writing into one or cutting it short does (SIGBUS).
 */
enum { LLAMA2_WEIGHTS_CONVERTED = 0, LLAMA2_WEIGHTS_AS_STORED = 1 };

typedef struct llama2_model_options {
    uint32_t struct_size;
    int32_t dtype;    /* of the weights in memory: LLAMA2_F32 (default), or LLAMA2_F64, slow, to check gradients with */
    int32_t weights;  /* LLAMA2_WEIGHTS_*; AS_STORED for loading alone, with dtype LLAMA2_F32 */
    int32_t reserved; /* 0 */
} llama2_model_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_model_options_init(llama2_model_options *options, size_t size);

/* A model with random weights: N(0, init_std), the two matrices that write to the residual stream with init_std /
 * sqrt(2 n_layers), gains 1. A function of the context's seed and the config alone. Since 0.1. */
LLAMA2_API llama2_status llama2_model_create(llama2_context *ctx, const llama2_config *config,
                                             const llama2_model_options *options, llama2_model **out);

/*
 * Reads a model, which is recognised by its content:
 *
 * - A Hugging Face folder: config.json and model.safetensors or its shards, in fp32, bf16, fp16 or fp64.
 * - A folder as Meta releases them: params.json and consolidated.00.pth, with the other shards of model-parallel
 *   training (up to 16), in fp32, bf16 or fp16. Nothing of the pickles in these files is executed: they may hold
 *   tensors in a dict, and what else they name is refused.
 * - A GGUF file (version 2 or 3, architecture "llama") with tensors in F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0,
 *   Q2_K, Q3_K, Q4_K, Q5_K, Q6_K or IQ4_NL.
 * - A .bin of llama2.c, version 0. It has no magic number: its size must be exactly what its header says.
 *
 * The numbers become those of options->dtype, so that a quantised file takes its size in fp32. They may also stay as
 * they are (LLAMA2_WEIGHTS_AS_STORED), but in doubles, in a folder of Meta's of several shards, whose matrices are
 * divided, and where a .pth has a matrix transposed: UNSUPPORTED. What is not supported is refused by its name. Files
 * are mapped while they are read: one that another program cuts short meanwhile ends this one (SIGBUS). Errors:
 * IO, NOT_FOUND, FORMAT, TRUNCATED, LIMIT, UNSUPPORTED, MISMATCH, CORRUPT (a checksum of a .pth; as stored, those of
 * the matrices are not looked at, since they are not read). Since 0.1.
 */
LLAMA2_API llama2_status llama2_model_load(llama2_context *ctx, const char *path, const llama2_model_options *options,
                                           llama2_model **out);

/* The same from a file of the host: a GGUF or a .bin of llama2.c. file->data must stay as it is during the call, with
 * LLAMA2_WEIGHTS_AS_STORED as long as the model or a clone lives; what file->read gives takes file->size bytes of the
 * context's memory for as long. Errors: USER (file->read failed), those of llama2_model_load. Since 0.1. */
LLAMA2_API llama2_status llama2_model_load_host(llama2_context *ctx, const llama2_host_file *file,
                                                const llama2_model_options *options, llama2_model **out);

/* Writes a Hugging Face folder that transformers loads, and makes it and those above it where they are missing; `dtype`
 * LLAMA2_F32, BF16 or F16. An older model in the folder stays as it is until the new weights are on the disk, and after
 * an error unless files of it have been replaced; a save that is cut off while files take their places (over one in as
 * many shards, 5 GB each, from the first of them on) leaves a folder that is refused. For GGUF there is
 * llama2_model_save_gguf in convert.h. Since 0.1. */
LLAMA2_API llama2_status llama2_model_save(const llama2_model *model, const char *path, int32_t dtype);

/* Another reference to the same model, to be freed in its own time. Since 0.1. */
LLAMA2_API llama2_model *llama2_model_retain(llama2_model *model);
LLAMA2_API void llama2_model_free(llama2_model *model);

/* An independent copy, e.g. the frozen reference of PPO. Since 0.1. */
LLAMA2_API llama2_status llama2_model_clone(const llama2_model *model, llama2_model **out);
/* Weights of `from` into `to`, of equal sizes (MISMATCH else: llama2_config up to ffn_dim, tied). rope_theta, the
 * scaling of its frequencies, norm_eps and the context length are not compared, and those of `to` stay: where they
 * differ it computes something else with the same weights. Errors: MISMATCH, UNSUPPORTED, BUSY. Since 0.1. */
LLAMA2_API llama2_status llama2_model_copy_weights(llama2_model *to, const llama2_model *from);

/* Set config->struct_size first. head_dim is what the model has, never 0. Since 0.1. */
LLAMA2_API llama2_status llama2_model_config(const llama2_model *model, llama2_config *config);
LLAMA2_API int64_t llama2_model_parameters(const llama2_model *model);

/*
 * The tokens that end a text, at which generation stops: chat models have several, an end of turn and an end of
 * document. Read from generation_config.json, else config.json; from a GGUF its eos, eot and eom tokens and the control
 * tokens that are known to end turns and documents ("<|eot_id|>", "<|im_end|>", ...), as llama.cpp does. A clone, and a
 * reward model made from the model, have the same.
 */
/* 1: `token` ends a text. Since 0.1. */
LLAMA2_API int32_t llama2_model_is_eos(const llama2_model *model, int32_t token);
/* Copies them out, the first is config.eos_id; *needed is their number, at most 8. Errors: BUFFER. Since 0.1. */
LLAMA2_API llama2_status llama2_model_eos_ids(const llama2_model *model, int32_t *ids, int32_t capacity,
                                              int32_t *needed);
/* Puts n others (0 to 8, or LIMIT) in their place; config.eos_id becomes the first, or -1. llama2_model_save writes
 * them. Calls on other threads see the old ones or the new ones. Each call takes a little memory until the model is
 * freed. Errors: INVALID, LIMIT, BUSY, NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_model_set_eos_ids(llama2_model *model, const int32_t *ids, int32_t n);

/* Tensors by name, those of transformers' LlamaForCausalLM ("model.layers.0.self_attn.q_proj.weight"). A matrix is
 * (rows, columns), row-major; a norm's gain has rows = its length, columns = 1. */
typedef struct llama2_tensor_info {
    uint32_t struct_size;
    int32_t dtype;
    int64_t rows, columns;
    const char *name; /* valid as long as the model */
} llama2_tensor_info;

/* Their number. Since 0.1. */
LLAMA2_API int32_t llama2_model_tensors(const llama2_model *model);
/* index in [0, llama2_model_tensors); set info->struct_size first. Since 0.1. */
LLAMA2_API llama2_status llama2_model_tensor_info(const llama2_model *model, int32_t index, llama2_tensor_info *info);
/* Copies a tensor out, as fp32. *needed is its number of elements. Errors: NOT_FOUND, BUFFER, BUSY. Since 0.1. */
LLAMA2_API llama2_status llama2_model_get_tensor(const llama2_model *model, const char *name, float *buffer,
                                                 int64_t capacity, int64_t *needed);
/* Copies `count` elements in; count must be the tensor's size. Since 0.1. */
LLAMA2_API llama2_status llama2_model_set_tensor(llama2_model *model, const char *name, const float *values,
                                                 int64_t count);

/* --- evaluation: one forward over a batch, nothing kept -------------------------------------- */

/* out: (n_tokens, vocab_size) or (n_tokens, dim); row t comes after reading token t. Hidden states are those after the
 * last norm. Since 0.1. */
LLAMA2_API llama2_status llama2_model_logits(const llama2_model *model, const llama2_batch *batch, float *out);
LLAMA2_API llama2_status llama2_model_hidden(const llama2_model *model, const llama2_batch *batch, float *out);

/* logprobs[t] = log p(tokens[t] | before) at `temperature` (1e-6 .. 1e6), natural logarithm; 0 at the first token of a
 * sequence. entropies[t] (may be NULL): entropy of that distribution. Both n_tokens. The weights of the batch are not
 * used. Bit for bit what generation reports. Since 0.1. */
LLAMA2_API llama2_status llama2_model_logprobs(const llama2_model *model, const llama2_batch *batch, double temperature,
                                               float *logprobs, float *entropies);

/* A loss before its division. */
typedef struct llama2_loss {
    uint32_t struct_size;
    int32_t reserved;
    double sum;      /* of weight * -log p, in nats */
    double weight;   /* sum of the weights */
    int64_t targets; /* tokens with a weight above 0 */
} llama2_loss;

/* Since 0.1. */
LLAMA2_API llama2_status llama2_model_evaluate(const llama2_model *model, const llama2_batch *batch, llama2_loss *loss);

/* --- memory, before anything is allocated ---------------------------------------------------- */

typedef struct llama2_memory {
    uint32_t struct_size;
    int32_t reserved;
    int64_t weights, gradients, optimizer, activations, kv_cache, scratch, total; /* bytes; out */
} llama2_memory;

typedef struct llama2_memory_options {
    uint32_t struct_size;
    int32_t train;     /* 1: gradients and AdamW state too */
    int32_t recompute; /* as in llama2_trainer_options */
    int32_t dtype;
    int64_t batch_tokens; /* tokens of one forward */
    int64_t kv_tokens; /* tokens that a session reads; nearly also: samples at once x longest text of a rollout; default
                          0: none */
    int64_t batch_sequences; /* sequences in the batch; default 0: one */
    int32_t n_threads;       /* of the context; default 0: up to 64 */
    int32_t weights;         /* LLAMA2_WEIGHTS_*. AS_STORED: without the mapped files, whose pages are the system's to
                                keep or to drop */
} llama2_memory_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_memory_options_init(llama2_memory_options *options, size_t size);

/* What a model of this config takes, with a trainer's steps on language-model batches (train) or llama2_model_logprobs
 * on them, and a session. Upper bounds, tested to hold for batches of at most these sizes; with a batch of thousands of
 * tokens they are near to what is taken. Since 0.1. */
LLAMA2_API llama2_status llama2_memory_estimate(const llama2_config *config, const llama2_memory_options *options,
                                                llama2_memory *out);

#ifdef __cplusplus
}
#endif

#endif
