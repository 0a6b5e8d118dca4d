/* Models of known shapes with random weights, and what they cost: floating-point operations and bytes a token. */
#ifndef BENCH_MODELS_H
#define BENCH_MODELS_H

#include <llama2/llama2.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct bench_shape {
    const char *name;
    int32_t vocab_size, dim, n_layers, n_heads, n_kv_heads, ffn_dim;
} bench_shape;

static const bench_shape bench_tiny = {"1M", 768, 128, 4, 4, 4, 352};
static const bench_shape bench_15m = {"15M", 32000, 288, 6, 6, 6, 768};
static const bench_shape bench_110m = {"110M", 32000, 768, 12, 12, 12, 2048};
static const bench_shape bench_135m = {"135M, 3 kv heads", 49152, 576, 30, 9, 3, 1536};

static inline void must(llama2_status status)
{
    if (status >= 0) return;
    fprintf(stderr, "%s\n", llama2_last_error());
    exit(1);
}

static inline llama2_context *bench_context(int32_t n_threads)
{
    llama2_context *ctx;
    llama2_context_options options;
    llama2_context_options_init(&options, sizeof options);
    options.n_threads = n_threads;
    must(llama2_context_create(&options, &ctx));
    return ctx;
}

/* The head is the embedding. No end of text, so that every answer has full length. */
static inline llama2_model *bench_model(llama2_context *ctx, const bench_shape *s)
{
    llama2_model *model;
    llama2_config c;
    llama2_config_init(&c, sizeof c);
    c.vocab_size = s->vocab_size, c.dim = s->dim, c.n_layers = s->n_layers, c.n_heads = s->n_heads,
    c.n_kv_heads = s->n_kv_heads;
    c.head_dim = s->dim / s->n_heads, c.ffn_dim = s->ffn_dim, c.max_seq_len = 2048, c.tied = 1, c.eos_id = -1;
    must(llama2_model_create(ctx, &c, NULL, &model));
    return model;
}

static inline int32_t *bench_tokens(const bench_shape *s, int64_t n)
{
    int32_t *tokens = malloc((size_t)n * sizeof *tokens);
    if (!tokens) exit(1);
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((state >> 8) % (uint32_t)s->vocab_size);
    }
    return tokens;
}

/* Weights that a token is multiplied with, without the head and with it. */
static inline double trunk_weights(const bench_shape *s)
{
    double d = s->dim, kv = d * s->n_kv_heads / s->n_heads;
    return s->n_layers * (2 * d * d + 2 * d * kv + 3 * d * s->ffn_dim);
}
static inline double all_weights(const bench_shape *s)
{
    return trunk_weights(s) + (double)s->vocab_size * s->dim;
}

/* Peak of the memory that was resident, in MiB; 0 where the system does not tell. */
static inline double peak_memory(void)
{
    char line[128];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) sscanf(line, "VmHWM: %lf", &kib);
    if (f) fclose(f);
    return kib / 1024;
}

#endif
