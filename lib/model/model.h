/*
 * A Llama in memory. One arena holds all weights in the documented order
 *
 *     [ matrices, decayed: embedding, then per layer q k v o gate up down | gains: per layer two norms, last norm |
 * head ]
 *
 * The head is a linear of dim -> vocab_size (lm_head.weight; with tied weights it is the embedding and not in the arena
 * again), or of dim -> 1 (score.weight): a reward model or critic is the same struct with the other head. Gradients and
 * optimizer state have the arena's layout.
 *
 * A score head may also stand on the trunk of a language model: then it is a model whose weights are in that one's
 * arena, which has room for it behind everything else.
 *
 * A model whose weights are as stored has its matrices in the file that it was loaded from, which stays mapped as long
 * as it lives, and only the gains in an arena. It computes in fp32 and never changes. One that is opened for a single
 * pass over its weights (l2_model_open) may have matrices that are not to be had as l2_stored has them; they can only
 * be read.
 */
#ifndef L2_MODEL_MODEL_H
#define L2_MODEL_MODEL_H

#include "base/context.h"
#include "base/files.h"
#include "math/linear.h"
#include "math/ops.h"
#include <llama2/model.h>
#include <stdatomic.h>

enum { L2_MAX_EOS = 8 };
enum { L2_WEIGHTS_ONE_PASS = -1 }; /* in llama2_model_options, for l2_model_open alone */
enum { L2_HEAD_ANY = -1, L2_HEAD_LM = 0, L2_HEAD_SCORE = 1 };

/* The tokens that end a text. */
typedef struct l2_eos l2_eos;
struct l2_eos {
    l2_eos *before; /* that this took the place of */
    int32_t n, ids[L2_MAX_EOS];
};

typedef struct l2_param {
    char name[64]; /* as in transformers */
    int64_t rows, columns;
    int64_t offset; /* in the arena, in elements; of no meaning where the matrix is stored */
    int decay;      /* weight decay applies */
} l2_param;

/* A gain and its gradient (data NULL: none wanted). */
typedef struct l2_gain {
    l2_tensor weight, grad; /* (D) */
} l2_gain;

typedef struct l2_layer {
    l2_gain attention_norm, ffn_norm;
    l2_linear q, k, v, o, gate, up, down;
} l2_layer;

/* What gives the rows of matrices that are joined from parts, or doubles. */
typedef struct l2_source l2_source;
struct l2_source {
    /* As l2_model_read_rows and l2_model_forget_rows, of a matrix. */
    llama2_status (*read)(l2_source *source, const l2_param *param, int64_t first, int64_t n, int32_t dtype, void *out);
    void (*forget)(l2_source *source, const l2_param *param, int64_t first, int64_t n);
    void (*close)(l2_source *source); /* frees it */
};

struct llama2_model {
    llama2_context *ctx;
    atomic_int references;
    atomic_int users;      /* calls that read the weights; -1: a call that changes them */
    atomic_int trained;    /* a trainer is attached */
    atomic_int shared;     /* a score head stands on its trunk */
    atomic_ullong changes; /* calls that may have changed the weights */
    llama2_model *trunk;   /* whose weights, users and changes these are; NULL: its own */
    llama2_config config;  /* as made: l2_model_config has the eos_id of today */
    _Atomic(l2_eos *) eos; /* one never changes: another takes its place, and it stays as long as the model */
    int32_t head_kind, dtype;
    int32_t n_params;
    l2_param *params; /* in the order of the arena */
    int64_t n_elements;
    void *weights;
    l2_stored *stored;   /* of each parameter, no data for a gain; NULL: all are in the arena */
    l2_file_view *files; /* where they are stored, */
    size_t n_files;
    llama2_model *stored_by; /* or the model whose files these are */
    l2_source *source; /* gives the rows of matrices, of which `stored` then has only the type; else NULL. Owned */
    l2_layer *layers;
    l2_linear embedding; /* (V, D), read by rows */
    l2_gain norm;
    l2_linear head;
    double *frequencies; /* of rotary positions, head_dim / 2 */
};

/* config.c */
llama2_status l2_config_check(const llama2_config *config);
/* The same of sizes that stand in a file and make sense: LIMIT, with `where` in front, for those too large. */
llama2_status l2_config_check_limits(const llama2_config *config, const char *where);
/* One of LLAMA2_PRESET_*. */
llama2_status l2_config_preset(int32_t index, llama2_config *out);
/* A host's config over the defaults, those of 7B; head_dim 0 becomes dim / n_heads. */
llama2_status l2_config_read(const llama2_config *config, llama2_config *full);
/* Do weights of the one fit the other? */
int l2_config_same_shape(const llama2_config *a, const llama2_config *b);
extern const llama2_model_options l2_model_defaults;
/* A host's options over the defaults, checked. */
llama2_status l2_model_options_read(const llama2_model_options *options, llama2_model_options *full);

/* rotary.c: the frequency of each pair of a head, head_dim / 2. */
void l2_config_frequencies(const llama2_config *config, double *frequencies);
/* The LLAMA3 scaling (with the factors 1 and 4 that all such models have) that divides the frequencies by `factors`
 * (head_dim / 2); 0: none does, and the config is left as it is. */
int l2_config_fit_llama3(llama2_config *config, const double *factors);

/* params.c: a model with uninitialised weights. */
llama2_status l2_model_new(llama2_context *ctx, const llama2_config *config, int32_t dtype, int32_t head_kind,
                           llama2_model **out);
/* One of the shape of `from`, with its tokens that end a text. */
llama2_status l2_model_new_like(llama2_context *ctx, const llama2_model *from, int32_t head_kind, llama2_model **out);
/* The same as l2_model_new for options->weights, which may be L2_WEIGHTS_ONE_PASS. If not converted: with n_files
 * files, which the model releases; the caller fills them, and model->stored[i] of each matrix. */
llama2_status l2_model_new_for(llama2_context *ctx, const llama2_config *config, const llama2_model_options *options,
                               int32_t head_kind, size_t n_files, llama2_model **out);
/* A score head on the trunk of the language model `from`, uninitialised. BUSY where it has one. */
llama2_status l2_model_share(llama2_model *from, llama2_model **out);
/* A model of its own; matrices that are stored are those of `from`. */
llama2_status l2_model_clone(const llama2_model *from, llama2_model **out);
/* LLAMA2_E_UNSUPPORTED, with what to do, for a model whose weights are as stored. */
llama2_status l2_model_check_changeable(const llama2_model *model);
/* Rows [first, first + n) of a parameter as LLAMA2_F32 or F64; a gain has one element a row. */
llama2_status l2_model_read_rows(const llama2_model *model, const l2_param *param, int64_t first, int64_t n,
                                 int32_t dtype, void *out);
/* Those rows are not needed soon: where they lie in a mapped file, they take no memory until they are read again. */
void l2_model_forget_rows(const llama2_model *model, const l2_param *param, int64_t first, int64_t n);
const l2_param *l2_model_find(const llama2_model *model,
                              const char *name); /* NULL: sets LLAMA2_E_NOT_FOUND's message */
static inline void *l2_param_data(const llama2_model *model, const l2_param *param)
{
    return (char *)model->weights + (size_t)param->offset * l2_dtype_size(model->dtype);
}
/* Points the grads of all weights into `arena` (n_elements of the model's dtype), or at nothing. */
void l2_model_attach_gradients(llama2_model *model, void *arena);
llama2_model *l2_model_retain(llama2_model *model);
void l2_model_release(llama2_model *model);

/* eos.c: what ends a text, which any thread may ask at any time, without entering the model. */
const l2_eos *l2_model_eos(const llama2_model *model);
int l2_model_is_eos(const llama2_model *model, int32_t token);
llama2_config l2_model_config(const llama2_model *model);
/* One thread at a time. LIMIT, INVALID, NOMEM: nothing is changed. */
llama2_status l2_model_set_eos(llama2_model *model, const int32_t *ids, int32_t n);
void l2_model_free_eos(llama2_model *model);

/* init.c: random weights, and a head alone (LLAMA2_HEAD_*). */
llama2_status l2_model_init(llama2_model *model);
void l2_model_init_head(llama2_model *model, int32_t how);
/* The trunk of `from` (and the head, where both have the same kind) into `to`, of equal shape. UNSUPPORTED where the
 * weights of `to` are as stored. */
llama2_status l2_model_copy(llama2_model *to, const llama2_model *from);

/* io.c: Hugging Face folders, and for reading all that the other io_*.c read. Options are complete. `shift`, `scale`:
 * of a reward model's scores, else NULL. head_kind may be L2_HEAD_ANY. */
llama2_status l2_model_read(llama2_context *ctx, const char *path, const llama2_model_options *options,
                            int32_t head_kind, llama2_model **out, double *shift, double *scale);
llama2_status l2_model_read_host(llama2_context *ctx, const llama2_host_file *file, const llama2_model_options *options,
                                 llama2_model **out);
/* A model of either kind for one pass over its weights: l2_model_read_rows, not more. Its dtype is LLAMA2_F64 where
 * some of its numbers are doubles. */
llama2_status l2_model_open(llama2_context *ctx, const char *path, llama2_model **out, double *shift, double *scale);
/* `rows` rows of a parameter have been taken; a failure ends the writing. NULL: nothing is called. */
typedef llama2_status (*l2_model_step)(void *user, const l2_param *param, int64_t rows);
llama2_status l2_model_write(const llama2_model *model, const char *path, int32_t dtype, double shift, double scale,
                             l2_model_step step, void *user);

/* io_gguf.c: a language model. */
llama2_status l2_model_read_gguf(llama2_context *ctx, const char *path, const llama2_model_options *options,
                                 llama2_model **out);
/* The same of bytes. What is left in *view is the caller's to release. */
llama2_status l2_model_parse_gguf(llama2_context *ctx, l2_file_view *view, const llama2_model_options *options,
                                  llama2_model **out);

/* io_meta.c: a folder as Meta releases them: params.json and consolidated.NN.pth, no config.json. */
llama2_status l2_model_recognise_meta(llama2_context *ctx, const char *folder, int *yes);
llama2_status l2_model_read_meta(llama2_context *ctx, const char *folder, const llama2_model_options *options,
                                 llama2_model **out);

/* io_llama2c.c: a .bin of llama2.c, version 0. */
llama2_status l2_model_read_llama2c(llama2_context *ctx, const char *path, const llama2_model_options *options,
                                    llama2_model **out);
/* The same of bytes. What is left in *view is the caller's to release. */
llama2_status l2_model_parse_llama2c(llama2_context *ctx, l2_file_view *view, const llama2_model_options *options,
                                     llama2_model **out);
/* UNSUPPORTED where the model has what the format can't say. */
llama2_status l2_model_write_llama2c(const llama2_model *model, const char *path, l2_model_step step, void *user);

/* memory.c: options are complete. */
llama2_status l2_memory_estimate(const llama2_config *config, const llama2_memory_options *options, llama2_memory *out);

/* fingerprint.c: differs between models whose caches differ, as far as can be told without reading all weights: the
 * config (context length and special ids apart), and three rows of each matrix. */
llama2_status l2_model_fingerprint(const llama2_model *model, uint64_t *out);

/* What a call does: it reads the weights, changes them, or changes something else of the model that readers use. */
enum { L2_READS = 0, L2_CHANGES = 1, L2_KEEPS_WEIGHTS = 2 };
/* Enters such a call, or fails with LLAMA2_E_BUSY: readers are many, the others alone. */
llama2_status l2_model_enter(const llama2_model *model, int change);
void l2_model_leave(const llama2_model *model, int change);
/* Equal between two looks of readers: no L2_CHANGES came between them. */
uint64_t l2_model_changes(const llama2_model *model);

#endif
