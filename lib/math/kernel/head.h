/*
 * Log-softmax of one row of logits and the gradient of its loss. With z = logits / temperature, m = max z, d = z - m, e = exp(d), s = sum e, p = e / s:
 *
 *   logprob(t) = d_t - log s                      entropy H = -sum p log p = log s - sum(e d) / s
 *   dlogprob(t)/dz_j = [j = t] - p_j              dH/dz_j = -p_j (log p_j + H) = -p_j (d_j - log s + H)
 *
 * Sums run over 4 x 16 interleaved lanes, each in order, and then a fixed tree.
 */
#ifndef L2_KERNEL_HEAD_H
#define L2_KERNEL_HEAD_H

#include "math/simd.h"
#include "math/kernels.h"
#include "math/ops.h"

enum { HEAD_WIDTH = 4 };

/* Below this, e is 0 anyway: keeps 0 * infinity out of the sums where a logit is -infinity. */
#define HEAD_LEAST ((real)-1e30)

static real head_max(int64_t n, const real *logits, real inverse)
{
    vreal most = v_set1((real)-INFINITY);
    int64_t j = 0;
    for (; j + V_LANES <= n; j += V_LANES) most = v_max(most, v_mul(v_load(logits + j), v_set1(inverse)));
    if (j < n) most = v_max(most, v_blend_n(v_mul(v_load_n(logits + j, n - j), v_set1(inverse)), most, n - j));
    return v_max_all(most);
}

/* Adds lanes of e and e d of 16 logits. */
V_INLINE void head_sum(vreal logits, vreal inverse, vreal most, int64_t n, int entropy, vreal *sum, vreal *weighted)
{
    vreal d = v_sub(v_mul(logits, inverse), most), e = v_exp(d);
    if (n < V_LANES) e = v_blend_n(e, v_zero(), n);
    *sum = v_add(*sum, e);
    if (entropy) *weighted = v_fma(e, v_max(v_set1(HEAD_LEAST), d), *weighted);
}

static void head_forward(int64_t n, const void *logits_, double inverse_temperature, int64_t target, int entropy, l2_head_row *row)
{
    const real *logits = logits_;
    real most = head_max(n, logits, (real)inverse_temperature);
    vreal sum[HEAD_WIDTH], weighted[HEAD_WIDTH], inverse = v_set1((real)inverse_temperature), m = v_set1(most);
    V_UNROLL for (int i = 0; i < HEAD_WIDTH; i++) sum[i] = weighted[i] = v_zero();
    int64_t j = 0;
    for (; j + HEAD_WIDTH * V_LANES <= n; j += HEAD_WIDTH * V_LANES) {
        V_UNROLL for (int i = 0; i < HEAD_WIDTH; i++) {
            head_sum(v_load(logits + j + i * V_LANES), inverse, m, V_LANES, entropy, &sum[i], &weighted[i]);
        }
    }
    V_UNROLL for (int i = 0; i < HEAD_WIDTH; i++, j += V_LANES) {
        int64_t rest = n - j < V_LANES ? n - j : V_LANES;
        if (rest > 0) head_sum(v_load_n(logits + j, rest), inverse, m, rest, entropy, &sum[i], &weighted[i]);
    }
    row->max = most;
    row->sum = v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    row->log_sum = log(row->sum);
    row->logprob = (double)(logits[target] * (real)inverse_temperature) - row->max - row->log_sum;
    row->entropy = entropy ? row->log_sum - (double)v_sum(v_add(v_add(weighted[0], weighted[1]), v_add(weighted[2], weighted[3]))) / row->sum : 0;
}

/* logits become d loss / d logits = (dlogprob ([j = t] - p_j) - dentropy p_j (d_j - log s + H)) / temperature. */
static void head_backward(int64_t n, void *logits_, double inverse_temperature, int64_t target, const l2_head_row *row, double dlogprob,
                          double dentropy)
{
    real *logits = logits_;
    vreal inverse = v_set1((real)inverse_temperature), most = v_set1((real)row->max), scale = v_set1((real)(-inverse_temperature / row->sum));
    vreal constant = v_set1((real)(dlogprob + dentropy * (row->entropy - row->log_sum))), slope = v_set1((real)dentropy);
    for (int64_t j = 0; j < n; j += V_LANES) {
        int64_t rest = n - j < V_LANES ? n - j : V_LANES;
        vreal z = rest == V_LANES ? v_load(logits + j) : v_load_n(logits + j, rest);
        vreal d = v_sub(v_mul(z, inverse), most);
        vreal factor = dentropy != 0 ? v_fma(slope, v_max(v_set1(HEAD_LEAST), d), constant) : constant;
        vreal g = v_mul(v_mul(v_exp(d), scale), factor);
        if (rest == V_LANES) v_store(logits + j, g);
        else v_store_n(logits + j, g, rest);
    }
    logits[target] += (real)(inverse_temperature * dlogprob);
}

static double head_probabilities(int64_t n, const void *logits_, double inverse_temperature, void *p_, double *sums)
{
    const real *logits = logits_;
    real *p = p_, most = head_max(n, logits, (real)inverse_temperature);
    vreal inverse = v_set1((real)inverse_temperature), m = v_set1(most);
    for (int64_t first = 0; first < n; first += L2_SUM_BLOCK) {
        int64_t end = n - first < L2_SUM_BLOCK ? n : first + L2_SUM_BLOCK, j = first;
        vreal sum = v_zero();
        for (; j + V_LANES <= end; j += V_LANES) {
            vreal e = v_exp(v_sub(v_mul(v_load(logits + j), inverse), m));
            v_store(p + j, e);
            sum = v_add(sum, e);
        }
        if (j < end) {
            vreal e = v_blend_n(v_exp(v_sub(v_mul(v_load_n(logits + j, end - j), inverse), m)), v_zero(), end - j);
            v_store_n(p + j, e, end - j);
            sum = v_add(sum, e);
        }
        *sums++ = v_sum(sum);
    }
    return most;
}

#endif
