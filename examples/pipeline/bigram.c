/* What counting pairs of neighbours comes to: the loss that a language model has to be below to have learnt more. */
#include "pipeline/pipeline.h"

#include <math.h>
#include <stdlib.h>

enum { PARTS = 3, ROUNDS = 40 };

static int by_pair(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* How many of the sorted pairs are below one. */
static int64_t below(const uint64_t *pairs, int64_t n, uint64_t pair)
{
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (pairs[middle] < pair)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t pair_of(int32_t before, int32_t token)
{
    return (uint64_t)(uint32_t)before << 32 | (uint32_t)token;
}

/* p(w | v) = a c(v, w) / c(v) + b c(w) / n + c / V. The weights a, b, c are those that do best on the held-out text
 * itself (by EM), which is in the bigram model's favour. */
double bigram_loss(const int32_t *text, int64_t n, const int32_t *held_out, int64_t m, int32_t vocab_size)
{
    if (n < 2 || m < 2) return NAN;
    uint64_t *pairs = app_must(malloc((size_t)n * sizeof *pairs));
    int64_t *count = app_must(calloc((size_t)vocab_size, sizeof *count));
    double(*p)[PARTS] = app_must(malloc((size_t)m * sizeof *p));
    double weight[PARTS] = {0.5, 0.4, 0.1}, loss = 0;
    for (int64_t i = 0; i < n; i++) {
        count[text[i]]++;
        if (i > 0) pairs[i - 1] = pair_of(text[i - 1], text[i]);
    }
    qsort(pairs, (size_t)(n - 1), sizeof *pairs, by_pair);
    for (int64_t i = 1; i < m; i++) {
        uint64_t pair = pair_of(held_out[i - 1], held_out[i]);
        int64_t before = count[held_out[i - 1]], seen = below(pairs, n - 1, pair + 1) - below(pairs, n - 1, pair);
        p[i][0] = before > 0 ? (double)seen / (double)before : 0;
        p[i][1] = (double)count[held_out[i]] / (double)n;
        p[i][2] = 1.0 / vocab_size;
    }
    for (int round = 0; round < ROUNDS; round++) {
        double share[PARTS] = {0};
        loss = 0;
        for (int64_t i = 1; i < m; i++) {
            double all = 0;
            for (int k = 0; k < PARTS; k++) all += weight[k] * p[i][k];
            for (int k = 0; k < PARTS; k++) share[k] += weight[k] * p[i][k] / all;
            loss -= log(all);
        }
        for (int k = 0; k < PARTS; k++) weight[k] = share[k] / (double)(m - 1);
    }
    free(pairs);
    free(count);
    free(p);
    return loss / (double)(m - 1);
}
