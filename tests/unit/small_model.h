/* A small model with awkward sizes and a packed batch for it: what tests of model, infer and train begin with. */
#ifndef SMALL_MODEL_H
#define SMALL_MODEL_H

#include "check_main.h"

#include <llama2/llama2.h>
#include <string.h>

typedef struct small_batch {
    int32_t tokens[64];
    int64_t offsets[8];
    float weights[64];
    llama2_batch batch;
} small_batch;

static inline llama2_context *small_context(int32_t threads, int32_t isa)
{
    llama2_context *ctx;
    llama2_context_options o;
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = threads;
    o.isa = isa;
    o.seed = 7;
    ck_ok(llama2_context_create(&o, &ctx));
    return ctx;
}

static inline llama2_config small_config(int32_t tied)
{
    llama2_config c;
    llama2_config_init(&c, sizeof c);
    c.vocab_size = 37;
    c.dim = 24;
    c.n_layers = 2;
    c.n_heads = 4;
    c.n_kv_heads = 2;
    c.head_dim = 10;
    c.ffn_dim = 33;
    c.max_seq_len = 160;
    c.tied = tied;
    c.init_std = 0.4; /* far from linear */
    c.bos_id = 1;
    c.eos_id = 2;
    return c;
}

static inline llama2_model *small_model(llama2_context *ctx, int32_t tied, int32_t dtype)
{
    llama2_model *m;
    llama2_config c = small_config(tied);
    llama2_model_options o;
    llama2_model_options_init(&o, sizeof o);
    o.dtype = dtype;
    ck_ok(llama2_model_create(ctx, &c, &o, &m));
    return m;
}

/* Sequences of 1, 3, 17 and 9 tokens with weights 0, 1 and fractions. */
static inline void small_batch_init(small_batch *b)
{
    static const int64_t lengths[] = {1, 3, 17, 9};
    memset(b, 0, sizeof *b);
    int64_t n = 0;
    for (int s = 0; s < 4; s++) {
        for (int64_t i = 0; i < lengths[s]; i++, n++) {
            b->tokens[n] = (int32_t)((n * 7 + s * 13 + n * n) % 37);
            b->weights[n] = (float)(n % 4) / 2;
        }
        b->offsets[s + 1] = n;
    }
    b->batch = (llama2_batch){sizeof b->batch, 4, n, b->tokens, b->offsets, b->weights};
}

#endif
