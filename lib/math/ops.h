/*
 * The ops that a Llama is made of, forward and backward: all that model, infer and train know of arithmetic. Tensors of
 * one call share a dtype (F32, or F64 for gradient checks) and are dense. Rows are tokens: T of them, packed, no
 * padding.
 *
 * Bits: what an op computes for a token depends on this token's sequence alone, never on the number of threads, on
 * neighbours, or on whether the tokens came in one call or several. Gradients of weights are accumulated (+=) in the
 * order of the tokens. Ops return LLAMA2_E_NOMEM when scratch memory can't be had, before they have written anything,
 * and nothing else.
 */
#ifndef L2_MATH_OPS_H
#define L2_MATH_OPS_H

#include "math/linear.h"
#include "math/tensor.h"

/* Sequences in a packed batch: sequence s is rows offsets[s] .. offsets[s + 1] - 1. */
typedef struct l2_packing {
    int32_t n_sequences;
    const int64_t *offsets; /* n_sequences + 1 */
} l2_packing;

/* --- embedding.c: y[t] = w[tokens[t]] -------------------------------------------------------- */

/* w: (V, D), y: (T, D). Tokens are in range: the caller has checked. */
llama2_status l2_op_embedding_forward(llama2_context *ctx, const l2_linear *w, const int32_t *tokens, l2_tensor *y);
/* dw[tokens[t]] += dy[t] in the order of t. */
llama2_status l2_op_embedding_backward(llama2_context *ctx, l2_tensor *dw, const int32_t *tokens, const l2_tensor *dy);

/* --- rmsnorm.c: y = x * rstd * gain, rstd = 1 / sqrt(mean(x^2) + eps) ------------------------ */

/* x, y: (T, D), gain: (D), rstd: (T) or NULL. y may be x. */
llama2_status l2_op_rmsnorm_forward(llama2_context *ctx, const l2_tensor *x, const l2_tensor *gain, double eps,
                                    l2_tensor *y, l2_tensor *rstd);
/* dx (+= with accumulate); dgain += unless NULL. dx may be dy. */
llama2_status l2_op_rmsnorm_backward(llama2_context *ctx, const l2_tensor *x, const l2_tensor *gain,
                                     const l2_tensor *rstd, const l2_tensor *dy, l2_tensor *dx, int accumulate,
                                     l2_tensor *dgain);

/* --- rope.c: rotates the pairs (i, i + Dh/2) of each head by position * frequency[i] --------- */

/* frequency[i] = theta^(-2i/Dh), half = Dh/2 of them. */
void l2_op_rope_frequencies(double theta, int64_t half, double *frequencies);
/* cosine, sine: (R, Dh/2) of positions[r] * frequencies[i], computed in double and rounded once. */
llama2_status l2_op_rope_table(llama2_context *ctx, const double *frequencies, const int32_t *positions,
                               l2_tensor *cosine, l2_tensor *sine);
/* x: (T, H, Dh), in place; rows[t] < R: the row with the position of token t. inverse: the backward, a rotation the
 * other way. */
llama2_status l2_op_rope(llama2_context *ctx, l2_tensor *x, const int32_t *rows, const l2_tensor *cosine,
                         const l2_tensor *sine, int inverse);

/* --- attention.c: causal, block-diagonal over the sequences, grouped queries; scale 1/sqrt(Dh) --- */

/* q, o: (T, H, Dh), k, v: (T, KVH, Dh), lse: (T, H) log-sum-exp of the scaled scores, or NULL. */
llama2_status l2_op_attention_forward(llama2_context *ctx, const l2_tensor *q, const l2_tensor *k, const l2_tensor *v,
                                      const l2_packing *packing, l2_tensor *o, l2_tensor *lse);
/* dq, dk, dv are overwritten. */
llama2_status l2_op_attention_backward(llama2_context *ctx, const l2_tensor *q, const l2_tensor *k, const l2_tensor *v,
                                       const l2_tensor *o, const l2_tensor *lse, const l2_tensor *d_o,
                                       const l2_packing *packing, l2_tensor *dq, l2_tensor *dk, l2_tensor *dv);

/*
 * The KV cache of one layer: blocks of L2_KV_BLOCK positions. Block b holds keys transposed, (KVH, Dh, L2_KV_BLOCK),
 * `keys` elements after blocks[b], and values (KVH, L2_KV_BLOCK, Dh) `values` elements after it: both as the attention
 * kernel wants them.
 */
enum { L2_KV_BLOCK = 64 };

typedef struct l2_kv_layer {
    int32_t dtype;
    int64_t n_kv_heads, head_dim;
    void *const *blocks;
    int64_t keys, values;
} l2_kv_layer;

/* The new rows of a cached call: rows offsets[s] .. offsets[s + 1] - 1 belong to sequence s and stand at positions
 * start[s], start[s] + 1, ...; position p of s lies in block blocks[s][p / L2_KV_BLOCK]. A block that two sequences
 * share is not written. */
typedef struct l2_kv_rows {
    int32_t n_sequences;
    const int64_t *offsets;
    const int64_t *start;
    const int32_t *const *blocks;
} l2_kv_rows;

/* Stores k, v: (T, KVH, Dh) of the new rows (keys already rotated). */
llama2_status l2_op_kv_store(llama2_context *ctx, const l2_tensor *k, const l2_tensor *v, const l2_kv_rows *rows,
                             l2_kv_layer *layer);
/* Copies k, v: (T, KVH, Dh) of positions start .. start + T - 1 of a sequence, whose blocks these are, out again. */
void l2_op_kv_load(const l2_kv_layer *layer, const int32_t *blocks, int64_t start, l2_tensor *k, l2_tensor *v);
/* o = attention of the new rows over positions 0 .. own of their sequence, from the cache. The bits of
 * l2_op_attention_forward. */
llama2_status l2_op_attention_cached(llama2_context *ctx, const l2_tensor *q, const l2_kv_layer *layer,
                                     const l2_kv_rows *rows, l2_tensor *o);

/* --- swiglu.c: y = silu(gate) * up ----------------------------------------------------------- */

/* all (T, F); y may be gate or up. */
llama2_status l2_op_swiglu_forward(llama2_context *ctx, const l2_tensor *gate, const l2_tensor *up, l2_tensor *y);
/* dgate may be gate, dup may be up. */
llama2_status l2_op_swiglu_backward(llama2_context *ctx, const l2_tensor *gate, const l2_tensor *up,
                                    const l2_tensor *dy, l2_tensor *dgate, l2_tensor *dup);

/* --- head.c: linear + log-softmax + a loss of the token's log-probability, in chunks of rows: never all logits --- */

/*
 * The loss of one row as a function of its target's log-probability and (where asked for) the entropy of its
 * distribution, natural logarithms, both after the temperature. Returns nothing: it keeps what it wants in `user` and
 * writes the derivatives of the loss, which it finds set to 0. Called from several threads, once a row.
 */
typedef void (*l2_token_loss)(void *user, int64_t row, double logprob, double entropy, double *dlogprob,
                              double *dentropy);

typedef struct l2_head_options {
    double temperature; /* divides the logits; > 0 */
    int entropy;        /* compute the entropy (else it is 0) */
    int backward;       /* use the derivatives */
} l2_head_options;

/* Rows of logits that exist at a time. */
int64_t l2_head_chunk(int64_t vocabulary, int32_t dtype, int64_t rows);

/* x: (R, D), targets: R token ids. With backward: dx is overwritten (unless NULL) and the head's gradient accumulated
 * (unless frozen). */
llama2_status l2_op_head(llama2_context *ctx, const l2_linear *head, const l2_tensor *x, const int32_t *targets,
                         const l2_head_options *options, l2_token_loss loss, void *user, l2_tensor *dx);

/* The same log-probabilities (bit for bit) from logits that exist: logits (R, V), targets R ids; logprob, entropy: R
 * values, each may be NULL. logits are left as they are. */
llama2_status l2_op_logprobs(llama2_context *ctx, const l2_tensor *logits, const int32_t *targets, double temperature,
                             double *logprob, double *entropy);
/* Of one row of logits (V) and n targets: the same bits. */
void l2_op_logprobs_of_row(const llama2_context *ctx, const l2_tensor *logits, const int32_t *targets, int32_t n,
                           double temperature, double *logprob);

/* What a token is drawn by: p = exp(z - max z), z = logits / temperature, of one row, and the sums of p over blocks of
 * L2_SUM_BLOCK. Returns max z. On the calling thread; can't fail. A NaN among the logits is one among the sums. */
enum { L2_SUM_BLOCK = 256 };
double l2_op_probabilities(const llama2_context *ctx, int64_t n, const float *logits, double temperature, float *p,
                           double *sums);

/* --- elementwise.c --------------------------------------------------------------------------- */

llama2_status l2_op_fill(llama2_context *ctx, l2_tensor *y, double value);
llama2_status l2_op_copy(llama2_context *ctx, const l2_tensor *x,
                         l2_tensor *y); /* converts between all dtypes, round to nearest even */
llama2_status l2_op_gather_rows(llama2_context *ctx, const l2_tensor *x, const int64_t *rows,
                                l2_tensor *y); /* y[i] = x[rows[i]] */
llama2_status l2_op_scatter_rows(llama2_context *ctx, const l2_tensor *x, const int64_t *rows,
                                 l2_tensor *y); /* y = 0, then y[rows[i]] = x[i]; rows distinct */
/* Sum of squares in double: a sum over fixed blocks in order. Not finite where an element is not. */
llama2_status l2_op_sum_squares(llama2_context *ctx, const l2_tensor *x, double *out);

/* --- adamw.c: Loshchilov & Hutter 2019; eps outside the square root, as in PyTorch ----------- */

typedef struct l2_adamw {
    double lr, beta1, beta2, eps, weight_decay;
    double grad_scale;   /* multiplies the gradient first: 1/weight and clipping */
    double bias1, bias2; /* 1 - beta1^t, 1 - beta2^t */
} l2_adamw;

/* p -= lr * (m/bias1 / (sqrt(v/bias2) + eps)), after p *= 1 - lr * weight_decay. All 1-D of one length. */
llama2_status l2_op_adamw(llama2_context *ctx, const l2_adamw *hyper, l2_tensor *param, const l2_tensor *grad,
                          l2_tensor *m, l2_tensor *v);

#endif
