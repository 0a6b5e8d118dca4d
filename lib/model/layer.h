/*
 * The buffers of one layer over T tokens and how they are laid out in one piece of memory. What the backward needs is
 * kept here (the save set); what is cheap to compute again (both normed inputs, the SwiGLU product) is not.
 */
#ifndef L2_MODEL_LAYER_H
#define L2_MODEL_LAYER_H

#include "model/forward.h"

typedef struct l2_layer_buffers {
    l2_tensor x;            /* (T, D) input */
    l2_tensor rstd1, rstd2; /* (T) */
    l2_tensor q, o;         /* (T, H, Dh) */
    l2_tensor k, v;         /* (T, KVH, Dh) */
    l2_tensor lse;          /* (T, H) */
    l2_tensor x2;           /* (T, D) after the attention */
    l2_tensor gate, up;     /* (T, F) */
} l2_layer_buffers;

/* Memory that is used and forgotten within a layer. */
typedef struct l2_layer_work {
    l2_tensor normed; /* (T, D) */
    l2_tensor hidden; /* (T, F) */
} l2_layer_work;

/* Hands out tensors from a piece of memory, each aligned to 64 bytes; with memory NULL it only counts. */
typedef struct l2_carver {
    char *memory;
    size_t used;
    int32_t dtype;
} l2_carver;

l2_tensor l2_carve(l2_carver *c, int32_t n_dims, int64_t n0, int64_t n1, int64_t n2);
void *l2_carve_bytes(l2_carver *c, size_t bytes);

/* `saved`: everything that a backward needs, else only what a forward does (x2 is x then). `with_input` 0: x lies
 * elsewhere. */
void l2_carve_layer(l2_carver *c, const llama2_config *config, int64_t n_tokens, int saved, int with_input,
                    l2_layer_buffers *out);
void l2_carve_work(l2_carver *c, const llama2_config *config, int64_t n_tokens, l2_layer_work *out);

/* rotary.c: room for the positions of n_tokens; the table from them. */
void l2_carve_rotary(l2_carver *c, const llama2_config *config, int64_t n_tokens, l2_rotary *out);
llama2_status l2_rotary_make(const llama2_model *model, int64_t n_tokens, l2_rotary *rotary);

/* The tensors of the trunk in an l2_activations buffer: layer i's buffers (with recompute all share one set, but for x)
 * and the last norm's input and rstd. Returns the bytes it takes. */
size_t l2_carve_activations(const llama2_config *config, int32_t dtype, int64_t n_tokens, int recompute, void *memory,
                            int32_t layer, l2_layer_buffers *buffers, l2_tensor *last_x, l2_tensor *last_rstd);

/* Runs layer l from b->x into `out` (which may be b->x when nothing is saved). Keys and values come from the packed
 * rows, or through a cache when `cache` is given. */
llama2_status l2_layer_forward(const llama2_model *model, const l2_layer *l, const l2_rotary *rotary,
                               const l2_packing *packing, l2_kv_layer *cache, const l2_kv_rows *rows,
                               l2_layer_buffers *b, l2_layer_work *work, l2_tensor *out);

#endif
