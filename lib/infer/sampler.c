/* Temperature, top-k, top-p. */
#include "infer/sampler.h"

#include "format/sort.h"
#include "math/ops.h"
#include "model/forward.h"

#include <math.h>

llama2_status l2_sampling_check(double temperature, int32_t top_k, double top_p)
{
    if (temperature != 0) L2_TRY(l2_temperature_check(temperature));
    if (top_k < 0) return l2_fail(LLAMA2_E_INVALID, "top_k is %d, expected 0 (all) or more", top_k);
    if (!(top_p > 0) || top_p > 1)
        return l2_fail(LLAMA2_E_INVALID, "top_p is %g, expected a number above 0, at most 1", top_p);
    return LLAMA2_OK;
}

typedef struct candidate {
    float logit, p;
    int32_t id;
} candidate;

/* What l2_sample's room holds. */
typedef struct room {
    double *sums; /* of blocks of p */
    float *p;     /* (n) */
    candidate *candidates;
} room;

static size_t blocks_of(int32_t n)
{
    return ((size_t)n + L2_SUM_BLOCK - 1) / L2_SUM_BLOCK;
}

size_t l2_sample_room(int32_t n)
{
    return blocks_of(n) * sizeof(double) + (size_t)n * (sizeof(float) + sizeof(candidate));
}

static room room_in(void *memory, int32_t n)
{
    room r = {.sums = memory};
    r.p = (float *)(r.sums + blocks_of(n));
    r.candidates = (candidate *)(void *)(r.p + n);
    return r;
}

/* Likelier first; equal logits by id, so that the order is total. */
static int compare(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int32_t likeliest(const float *logits, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* From the whole vocabulary, whose p have this total. */
static int32_t draw_any(const room *r, int32_t n, double total, double u)
{
    double sum = 0, limit = u * total;
    int32_t i = 0;
    for (size_t b = 0; i + L2_SUM_BLOCK < n && sum + r->sums[b] <= limit; i += L2_SUM_BLOCK) sum += r->sums[b++];
    for (; i < n && sum + r->p[i] <= limit; i++) sum += r->p[i];
    if (i == n) i--; /* rounding left the sum below the limit */
    while (i > 0 && r->p[i] == 0) i--;
    return i;
}

static int32_t draw_candidate(const candidate *c, int32_t n, double total, double u)
{
    double sum = 0, limit = u * total;
    int32_t last = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += c[i].p;
        if (c[i].p > 0) last = i;
        if (sum > limit) return c[i].id;
    }
    return c[last].id;
}

/* Lets the root of a heap with the least likely on top sink to its place. */
static void sink(candidate *heap, int32_t root, int32_t n)
{
    candidate c = heap[root];
    for (int32_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && compare(&heap[child + 1], &heap[child]) > 0) child++;
        if (compare(&c, &heap[child]) >= 0) break;
        heap[root] = heap[child];
    }
    heap[root] = c;
}

/* The k likeliest of n, in no order. */
static void keep_likeliest(candidate *c, int32_t n, int32_t k)
{
    for (int32_t i = k / 2; i-- > 0;) sink(c, i, k);
    for (int32_t i = k; i < n; i++) {
        if (compare(&c[i], &c[0]) >= 0) continue;
        c[0] = c[i];
        sink(c, 0, k);
    }
}

static double sum_of(const candidate *c, int32_t n)
{
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += c[i].p;
    return sum;
}

/* Fills the candidates that top_k and top_p leave, likelier first. */
static int32_t choose(const room *r, const float *logits, int32_t n, int32_t top_k, double top_p, double *total)
{
    candidate *c = r->candidates;
    int by_rank = top_k > 0 && top_k < n;
    /* A token of less than (1 - top_p) / n can't be needed to reach top_p: it need not be sorted. */
    double least = by_rank ? 0 : (1 - top_p) / n * *total;
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        if (r->p[i] >= least) c[kept++] = (candidate){logits[i], r->p[i], i};
    if (by_rank) {
        keep_likeliest(c, kept, top_k);
        kept = top_k;
    }
    l2_sort(c, (size_t)kept, sizeof *c, compare);
    if (by_rank) *total = sum_of(c, kept);
    if (top_p < 1) {
        double sum = 0, enough = top_p * *total;
        int32_t m = 0;
        while (m < kept && sum < enough) sum += c[m++].p;
        kept = m;
        *total = sum;
    }
    return kept;
}

int32_t l2_sample(const llama2_context *ctx, const float *logits, int32_t n, double temperature, int32_t top_k,
                  double top_p, double u, void *memory)
{
    if (temperature == 0) {
        int32_t best = likeliest(logits, n);
        return isfinite(logits[best]) ? best : -1;
    }
    room r = room_in(memory, n);
    double total = 0, max = l2_op_probabilities(ctx, n, logits, temperature, r.p, r.sums);
    for (size_t b = 0; b < blocks_of(n); b++) total += r.sums[b];
    if (!isfinite(max) || isnan(total)) return -1;
    if ((top_k == 0 || top_k >= n) && top_p == 1) return draw_any(&r, n, total, u);
    int32_t kept = choose(&r, logits, n, top_k, top_p, &total);
    return draw_candidate(r.candidates, kept, total, u);
}
