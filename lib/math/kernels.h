/*
 * The table of kernels of one instruction set. One source (lib/math/kernel/) is compiled for each: over the 16-lane
 * vector type of math/simd.h for AVX-512, AVX2 and portable C in fp32, and once more for double. All give the same bits
 * in fp32, because what is computed is defined without reference to the vector width: chains over k in order,
 * reductions over 16 interleaved lanes in a fixed tree.
 *
 * Pointers are `void`: the table knows its element type ("real"). Kernels run on one thread and can't fail; the op
 * files (lib/math/<op>.c) split the work.
 */
#ifndef L2_MATH_KERNELS_H
#define L2_MATH_KERNELS_H

#include "base/status.h"
#include <llama2/context.h>

struct l2_attention_rows;
struct l2_attention_segment;

enum { L2_TILE_ROWS = 6, L2_TILE_COLUMNS = 64, L2_FEW_ROWS = 8, L2_SOME_ROWS = 64 };
enum { L2_UNPACK_ROWS = 16, L2_UNPACK_UNIT = 128 };

/* What log-softmax knows of a row: logits / temperature have this maximum; sum of exp(z - max) and its logarithm; see
 * kernel/head.h. */
typedef struct l2_head_row {
    double max, sum, log_sum, logprob, entropy;
} l2_head_row;

/* Constants of an AdamW step: keep = 1 - lr * weight_decay, step = lr / bias1, root = 1 / sqrt(bias2). */
typedef struct l2_adamw_step {
    double beta1, beta2, grad_scale, keep, step, root, eps;
} l2_adamw_step;

typedef struct l2_kernels {
    const char *name; /* "avx512", "avx2", "scalar", "double" */

    /*
     * The heart: one chain a element, sum_k a[i*rsa + k*csa] * b[k*ldb + j] in the order of k, into c[i][j] by mode
     * (L2_GEMM_*), for i < m <= L2_TILE_ROWS and j < n <= L2_TILE_COLUMNS. Where ldb < n b is several panels of ldb =
     * 16 columns, one behind the other. Reads nothing outside these ranges.
     */
    void (*gemm_tile)(int64_t k, const void *a, int64_t rsa, int64_t csa, const void *b, int64_t ldb, void *c,
                      int64_t ldc, int m, int n, int mode);
    /* The width of a panel of b that gemm_tile is fast on: L2_TILE_COLUMNS; or 16, and then a should be packed too. */
    int panel;

    /* Panels for gemm_tile. b: out[p * ldo + j] = b[p * rs + j * cs], ldo >= n rounded up to 16, or 16, and then panels
     * of k * 16. a: panels of 6 rows, panel i / 6 at out + i * k, in it out[p * 6 + i % 6] = a[i * rs + p * cs]. One of
     * the strides is 1. */
    void (*gemm_pack_b)(int64_t k, int n, const void *b, int64_t rs, int64_t cs, void *out, int64_t ldo);
    void (*gemm_pack_a)(int64_t k, int64_t m, const void *a, int64_t rs, int64_t cs, void *out);

    /* c[i][j] = (accumulate ? c[i][j] : 0) + sum_k a[i*rsa + k] * w[j*ldw + k], in blocks of k (math/gemm.h), for i < m
     * <= L2_FEW_ROWS, any n: reads w once. */
    void (*gemm_few)(int64_t k, const void *a, int64_t rsa, const void *w, int64_t ldw, void *c, int64_t ldc, int m,
                     int64_t n, int accumulate);

    /* The same for m <= L2_SOME_ROWS from a's transpose, at[k*ldt + i] with ldt >= m rounded up to 16. */
    void (*gemm_some)(int64_t k, const void *at, int64_t ldt, const void *w, int64_t ldw, void *c, int64_t ldc, int m,
                      int64_t n, int accumulate);

    /* 16 columns of a panel of gemm_tile from 16 rows of a stored matrix (math/stored.h): out[p * panel + j] = element
     * first + p of the row that begins at rows[j], p < n. first is a multiple of L2_UNPACK_UNIT, or of half
     * of it for types of a byte or more an element; n too, unless the rows end there. NULL in the table of double. */
    void (*unpack)(int32_t type, const unsigned char *const *rows, int64_t first, int64_t n, void *out);

    /* The kernels of the ops follow, forward and backward of one op together. */

    /* One row of n logits. forward: fills *row, entropy only where asked for. backward: logits become the loss's
     * derivatives by them. */
    void (*head_forward)(int64_t n, const void *logits, double inverse_temperature, int64_t target, int entropy,
                         l2_head_row *row);
    void (*head_backward)(int64_t n, void *logits, double inverse_temperature, int64_t target, const l2_head_row *row,
                          double dlogprob, double dentropy);

    /* l2_op_probabilities. */
    double (*head_probabilities)(int64_t n, const void *logits, double inverse_temperature, void *p, double *sums);

    void (*adamw)(int64_t n, const l2_adamw_step *step, void *param, const void *grad, void *m, void *v);

    /* Of fp32 in every table. */
    void (*f32_from_bf16)(int64_t n, const uint16_t *x, float *y);
    void (*bf16_from_f32)(int64_t n, const float *x, uint16_t *y);
    void (*f32_from_f16)(int64_t n, const uint16_t *x, float *y);
    void (*f16_from_f32)(int64_t n, const float *x, uint16_t *y);

    void (*exponential)(int64_t n, const void *x, void *y);
    double (*sum_squares)(int64_t n, const void *x);

    /* Embedding: dw[tokens[t]] += dy[t] for a range of columns of rows of `stride`. */
    void (*embedding_backward)(int64_t n, const int32_t *tokens, const void *dy, void *dw, int64_t stride,
                               int64_t columns);

    /* RMSNorm of n rows of d; the gain's gradient for a range of columns. */
    void (*rmsnorm_forward)(int64_t n, int64_t d, const void *x, const void *gain, double eps, void *y, void *rstd);
    void (*rmsnorm_backward)(int64_t n, int64_t d, const void *x, const void *gain, const void *rstd, const void *dy,
                             void *dx, int accumulate);
    void (*rmsnorm_backward_gain)(int64_t n, int64_t d, const void *x, const void *rstd, const void *dy, void *dgain,
                                  int64_t columns);

    /* RoPE of n tokens. */
    void (*rope)(int64_t n, int64_t heads, int64_t half, void *x, const int32_t *rows, const void *cosine,
                 const void *sine, int inverse);

    /* SwiGLU of n elements. */
    void (*swiglu_forward)(int64_t n, const void *gate, const void *up, void *y);
    void (*swiglu_backward)(int64_t n, const void *gate, const void *up, const void *dy, void *dgate, void *dup);

    /* Attention (math/attention.h): rows into the block layout of the KV cache; some rows of queries; the keys of one
     * segment; y += x. */
    void (*attention_store)(int64_t n, int64_t column, int64_t dh, const void *k, const void *v, int64_t stride,
                            void *keys, void *values);
    void (*attention_forward)(const struct l2_attention_rows *rows, void *workspace);
    void (*attention_backward)(const struct l2_attention_segment *segment, void *workspace);
    void (*attention_add)(int64_t n, const void *x, void *y);
} l2_kernels;

extern const l2_kernels l2_kernels_scalar;
extern const l2_kernels l2_kernels_double;
#if defined(__x86_64__)
extern const l2_kernels l2_kernels_avx2;
extern const l2_kernels l2_kernels_avx512;
#endif

/* Picks the tables for LLAMA2_ISA_*; NULL where the processor lacks it. lib/math/kernels.c */
const l2_kernels *l2_kernels_select(int32_t isa);

/* The table of a dtype (F32 or F64). */
const l2_kernels *l2_kernels_of(const llama2_context *ctx, int32_t dtype);

#endif
