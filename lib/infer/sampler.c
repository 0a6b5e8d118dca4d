/* Temperature, top-k, top-p. */
#include "infer/sampler.h"

#include "model/forward.h"

#include <math.h>
#include <stdlib.h>

llama2_status l2_sampling_check(double temperature, int32_t top_k, double top_p)
{
    if (temperature != 0) L2_TRY(l2_temperature_check(temperature));
    if (top_k < 0) return l2_fail(LLAMA2_E_INVALID, "top_k is %d, expected 0 (all) or more", top_k);
    if (!(top_p > 0) || top_p > 1)
        return l2_fail(LLAMA2_E_INVALID, "top_p is %g, expected a number above 0, at most 1", top_p);
    return LLAMA2_OK;
}

/* Likelier first; equal logits by id, so that the order is total. */
static int compare(const void *a, const void *b)
{
    const l2_candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

static int32_t likeliest(const float *logits, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* Candidates in the order of ids: the whole vocabulary. */
static int32_t draw(const l2_candidate *c, int32_t n, double total, double u)
{
    double sum = 0, limit = u * total;
    int32_t last = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += c[i].p;
        if (c[i].p > 0) last = i;
        if (sum > limit) return c[i].id;
    }
    return c[last].id; /* rounding left the sum below the limit */
}

static double sum_of(const l2_candidate *c, int32_t n)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += c[i].p;
    return sum;
}

int32_t l2_sample(const float *logits, int32_t n, double temperature, int32_t top_k, double top_p, double u,
                  l2_candidate *c)
{
    int32_t best = likeliest(logits, n);
    if (!isfinite(logits[best])) return -1;
    if (temperature == 0) return best;
    float scale = (float)(1 / temperature), max = logits[best];
    double total = 0;
    for (int32_t i = 0; i < n; i++) {
        if (isnan(logits[i])) return -1;
        c[i] = (l2_candidate){logits[i], expf((logits[i] - max) * scale), i};
        total += c[i].p;
    }
    int32_t kept = n;
    if ((top_k > 0 && top_k < n) || top_p < 1) {
        /* A token of less than (1 - top_p) / n can't be needed to reach top_p: it need not be sorted. */
        if (!(top_k > 0 && top_k < n)) {
            double least = (1 - top_p) / n * total;
            int32_t m = 0;
            for (int32_t i = 0; i < n; i++)
                if (c[i].p >= least) c[m++] = c[i];
            kept = m;
        }
        qsort(c, (size_t)kept, sizeof *c, compare);
        if (top_k > 0 && top_k < kept) {
            kept = top_k;
            total = sum_of(c, kept);
        }
        if (top_p < 1) {
            double sum = 0;
            int32_t m = 0;
            while (m < kept && sum < top_p * total) sum += c[m++].p;
            kept = m;
            total = sum;
        }
    }
    return draw(c, kept, total, u);
}
