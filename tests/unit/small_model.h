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

/* A tokenizer for such a model, whose last three ids it does not have: <unk>, <s>, </s>, " ", and all texts of one to
 * four letters a and b. */
static inline llama2_tokenizer *small_tokenizer(llama2_context *ctx)
{
    enum { PIECES = 4 + 2 + 4 + 8 + 16 };
    char letters[PIECES][8];
    const char *texts[PIECES] = {"<unk>", "<s>", "</s>", "\xE2\x96\x81"};
    int32_t types[PIECES] = {LLAMA2_PIECE_UNKNOWN, LLAMA2_PIECE_CONTROL, LLAMA2_PIECE_CONTROL, LLAMA2_PIECE_NORMAL};
    llama2_tokenizer *tokenizer;
    llama2_tokenizer_pieces pieces;
    for (unsigned length = 1, n = 4; length <= 4; length++)
        for (unsigned bits = 0; bits < 1u << length; bits++, n++) {
            for (unsigned i = 0; i < length; i++) letters[n][i] = bits >> i & 1 ? 'b' : 'a';
            letters[n][length] = 0;
            texts[n] = letters[n];
            types[n] = LLAMA2_PIECE_NORMAL;
        }
    llama2_tokenizer_pieces_init(&pieces, sizeof pieces);
    pieces.n_pieces = PIECES;
    pieces.texts = texts;
    pieces.types = types;
    ck_ok(llama2_tokenizer_create(ctx, &pieces, &tokenizer));
    return tokenizer;
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
