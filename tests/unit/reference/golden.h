/* Golden files (tests/reference/README.md): what a case holds, and comparisons with it. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "check_main.h"
#include "format/safetensors.h"

#include <llama2/llama2.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GOLDEN_MAX_BLOCKS = 512 };

/* An open expected.safetensors; what it gives lives until golden_close. */
typedef struct golden {
    llama2_context *ctx;
    const char *name;
    l2_safetensors file;
    void *blocks[GOLDEN_MAX_BLOCKS];
    int n_blocks;
} golden;

static inline const char *golden_path(char path[4096], const char *name, const char *file)
{
    snprintf(path, 4096, "%s/reference/goldens/%s%s%s", LLAMA2_TEST_SOURCE, name, *file ? "/" : "", file);
    return path;
}

static inline golden golden_open(llama2_context *ctx, const char *name)
{
    golden g = {.ctx = ctx, .name = name};
    char path[4096];
    ck_ok(l2_safetensors_open(ctx, golden_path(path, name, "expected.safetensors"), 1, &g.file));
    return g;
}

static inline void golden_close(golden *g)
{
    for (int i = 0; i < g->n_blocks; i++) free(g->blocks[i]);
    l2_safetensors_close(&g->file);
}

static inline void *golden_memory(golden *g, size_t size)
{
    ck_assert_int_lt(g->n_blocks, GOLDEN_MAX_BLOCKS);
    return g->blocks[g->n_blocks++] = calloc(1, size + 1);
}

static inline const l2_st_tensor *golden_tensor(const golden *g, const char *name)
{
    const l2_st_tensor *t = l2_safetensors_find(&g->file, name);
    ck_assert_msg(t != NULL, "%s has no %s", g->name, name);
    return t;
}

static inline int64_t golden_count(const golden *g, const char *name)
{
    return l2_st_count(golden_tensor(g, name));
}

static inline double *golden_doubles(golden *g, const char *name)
{
    const l2_st_tensor *t = golden_tensor(g, name);
    double *out = golden_memory(g, (size_t)l2_st_count(t) * sizeof *out);
    ck_ok(l2_st_read(g->ctx, t, 0, l2_st_count(t), LLAMA2_F64, out));
    return out;
}

static inline float *golden_floats(golden *g, const char *name)
{
    const l2_st_tensor *t = golden_tensor(g, name);
    float *out = golden_memory(g, (size_t)l2_st_count(t) * sizeof *out);
    ck_ok(l2_st_read(g->ctx, t, 0, l2_st_count(t), LLAMA2_F32, out));
    return out;
}

static inline void *golden_integers(golden *g, const char *name, int32_t dtype)
{
    const l2_st_tensor *t = golden_tensor(g, name);
    ck_assert_int_eq(t->dtype, dtype);
    return memcpy(golden_memory(g, (size_t)t->size), t->data, (size_t)t->size);
}

static inline double golden_value(golden *g, const char *name)
{
    ck_assert_int_eq(golden_count(g, name), 1);
    return *golden_doubles(g, name);
}

/* <prefix>tokens, offsets and, where it is there, loss_weight. */
static inline llama2_batch golden_batch(golden *g, const char *prefix)
{
    char name[128];
    llama2_batch b = {.struct_size = sizeof b};
    snprintf(name, sizeof name, "%stokens", prefix);
    b.n_tokens = golden_count(g, name);
    b.tokens = golden_integers(g, name, L2_ST_I32);
    snprintf(name, sizeof name, "%soffsets", prefix);
    b.n_sequences = (int32_t)golden_count(g, name) - 1;
    b.offsets = golden_integers(g, name, L2_ST_I64);
    snprintf(name, sizeof name, "%sloss_weight", prefix);
    if (l2_safetensors_find(&g->file, name)) b.loss_weight = golden_floats(g, name);
    return b;
}

static inline double golden_norm(const double *x, const double *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (x[i] - (y ? y[i] : 0)) * (x[i] - (y ? y[i] : 0));
    return sqrt(sum);
}

/* ||got - want|| <= limit * size, where `size` is ||want|| or, for parameters after training, how far they have moved.
 */
static inline void golden_near(const golden *g, const char *what, const double *got, const double *want, int64_t n,
                               double size, double limit)
{
    double d = golden_norm(got, want, n);
    if (getenv("GOLDEN_VERBOSE")) printf("%s: %s: %.2e\n", g->name, what, size > 0 ? d / size : d);
    ck_assert_msg(d <= limit * size, "%s: %s: error %.3g, size %.3g: relative %.3g, at most %.3g", g->name, what, d,
                  size, d / size, limit);
}

static inline void golden_check_doubles(golden *g, const char *name, const double *got, double limit)
{
    int64_t n = golden_count(g, name);
    const double *want = golden_doubles(g, name);
    golden_near(g, name, got, want, n, golden_norm(want, NULL, n), limit);
}

static inline void golden_check_floats(golden *g, const char *name, const float *got, double limit)
{
    int64_t n = golden_count(g, name);
    double *wide = golden_memory(g, (size_t)n * sizeof *wide);
    for (int64_t i = 0; i < n; i++) wide[i] = (double)got[i];
    golden_check_doubles(g, name, wide, limit);
}

/* The value at `index` of the series `name`. */
static inline void golden_check_at(golden *g, const char *name, int64_t index, double got, double limit)
{
    char what[128];
    const double *series = golden_doubles(g, name);
    snprintf(what, sizeof what, "%s[%d]", name, (int)index);
    golden_near(g, what, &got, &series[index], 1, fabs(series[index]), limit);
}

/* Calls check(user, name, rest of the name) for each tensor whose name begins with `prefix`; returns how many there
 * are. */
typedef void (*golden_each_fn)(void *user, const char *name, const char *rest);

static inline int golden_each(const golden *g, const char *prefix, golden_each_fn check, void *user)
{
    int n = 0;
    for (size_t i = 0; i < g->file.n_tensors; i++) {
        const char *name = g->file.tensors[i].name;
        if (strncmp(name, prefix, strlen(prefix)) != 0) continue;
        check(user, name, name + strlen(prefix));
        n++;
    }
    return n;
}

static inline llama2_model *golden_model(llama2_context *ctx, const char *name, int32_t dtype)
{
    llama2_model *model;
    llama2_model_options o;
    char path[4096];
    llama2_model_options_init(&o, sizeof o);
    o.dtype = dtype;
    ck_ok(llama2_model_load(ctx, golden_path(path, name, ""), &o, &model));
    return model;
}

#endif
