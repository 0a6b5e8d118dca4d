/* Temperature, top-k, top-p, min-p. */
#include "infer/sampler.h"

#include "format/sort.h"
#include "math/ops.h"
#include "model/forward.h"

#include <math.h>

enum { LIKELIEST_BLOCK = 256 };

/* Is it in [low, high]? Not for NaN. */
static llama2_status check_range(const char *name, double value, double low, double high)
{
    if (value >= low && value <= high) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_INVALID, "%s is %g, expected a number from %g to %g", name, value, low, high);
}

static llama2_status check_bias(const llama2_sampling *s, int32_t vocab)
{
    if (s->n_logit_bias < 0 || (s->n_logit_bias > 0 && (!s->logit_bias_ids || !s->logit_bias_values)))
        return l2_fail(LLAMA2_E_INVALID, "n_logit_bias is %d, below 0 or without logit_bias_ids and logit_bias_values",
                       s->n_logit_bias);
    for (int32_t i = 0; i < s->n_logit_bias; i++) {
        int32_t id = s->logit_bias_ids[i];
        float bias = s->logit_bias_values[i];
        if (id < 0 || id >= vocab)
            return l2_fail(LLAMA2_E_INVALID, "logit_bias_ids[%d] is %d, the vocabulary has %d", i, id, vocab);
        if (!isfinite(bias) && bias != -INFINITY)
            return l2_fail(LLAMA2_E_INVALID, "logit_bias_values[%d] is %g, expected a finite number or -INFINITY", i,
                           (double)bias);
    }
    return LLAMA2_OK;
}

llama2_status l2_sampling_check(const llama2_sampling *s, int32_t vocab, int64_t least_start)
{
    if (s->temperature != 0) L2_TRY(l2_temperature_check(s->temperature));
    if (s->top_k < 0) return l2_fail(LLAMA2_E_INVALID, "top_k is %d, expected 0 (all) or more", s->top_k);
    if (!(s->top_p > 0) || s->top_p > 1)
        return l2_fail(LLAMA2_E_INVALID, "top_p is %g, expected a number above 0, at most 1", s->top_p);
    L2_TRY(check_range("min_p", s->min_p, 0, 1));
    if (s->repetition_penalty != 0) L2_TRY(check_range("repetition_penalty", s->repetition_penalty, 1e-6, 1e6));
    L2_TRY(check_range("presence_penalty", s->presence_penalty, -1e6, 1e6));
    L2_TRY(check_range("frequency_penalty", s->frequency_penalty, -1e6, 1e6));
    if (s->penalty_window < 0)
        return l2_fail(LLAMA2_E_INVALID, "penalty_window is %d, expected 0 (all) or more", s->penalty_window);
    if (s->penalty_start < least_start)
        return l2_fail(LLAMA2_E_INVALID, "penalty_start is %lld, expected %lld or more", (long long)s->penalty_start,
                       (long long)least_start);
    return check_bias(s, vocab);
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

/* Is one of n larger than top, or no number? Without a branch in it, so that it becomes vector instructions. */
static int any_above(const float *logits, int32_t n, float top)
{
    int above = 0;
    for (int32_t i = 0; i < n; i++) above |= !(logits[i] <= top);
    return above;
}

/* -1 where the logits are no numbers: a comparison alone would pass over a NaN. */
static int32_t likeliest(const float *logits, int32_t n)
{
    int32_t best = 0;
    if (isnan(logits[0])) return -1;
    for (int32_t first = 0; first < n; first += LIKELIEST_BLOCK) {
        int32_t end = n - first < LIKELIEST_BLOCK ? n : first + LIKELIEST_BLOCK;
        if (!any_above(logits + first, end - first, logits[best])) continue;
        for (int32_t i = first; i < end; i++) {
            if (isnan(logits[i])) return -1;
            if (logits[i] > logits[best]) best = i;
        }
    }
    return isfinite(logits[best]) ? best : -1;
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

/* Fills the candidates that top_k, top_p and min_p leave, likelier first. The likeliest has p = 1 here. */
static int32_t choose(const room *r, const float *logits, int32_t n, const llama2_sampling *s, double *total)
{
    candidate *c = r->candidates;
    int by_rank = s->top_k > 0 && s->top_k < n;
    /* A token of less than (1 - top_p) / n can't be needed to reach top_p: it need not be sorted. Nor one that min_p
     * drops: it stands behind those that it keeps. */
    double least = by_rank ? 0 : fmax((1 - s->top_p) / n * *total, s->min_p);
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        if (r->p[i] >= least) c[kept++] = (candidate){logits[i], r->p[i], i};
    if (by_rank) {
        keep_likeliest(c, kept, s->top_k);
        kept = s->top_k;
    }
    l2_sort(c, (size_t)kept, sizeof *c, compare);
    if (by_rank) *total = sum_of(c, kept);
    if (s->top_p < 1) {
        double sum = 0, enough = s->top_p * *total;
        int32_t m = 0;
        while (m < kept && sum < enough) sum += c[m++].p;
        kept = m;
        *total = sum;
    }
    if (s->min_p > 0) {
        while (c[kept - 1].p < s->min_p) kept--;
        *total = sum_of(c, kept);
    }
    return kept;
}

int32_t l2_sample(const llama2_context *ctx, const float *logits, int32_t n, const llama2_sampling *s, double u,
                  void *memory)
{
    if (s->temperature == 0) return likeliest(logits, n);
    room r = room_in(memory, n);
    double total = 0, max = l2_op_probabilities(ctx, n, logits, s->temperature, r.p, r.sums);
    for (size_t b = 0; b < blocks_of(n); b++) total += r.sums[b];
    if (!isfinite(max) || isnan(total)) return -1;
    if ((s->top_k == 0 || s->top_k >= n) && s->top_p == 1 && s->min_p == 0) return draw_any(&r, n, total, u);
    int32_t kept = choose(&r, logits, n, s, &total);
    return draw_candidate(r.candidates, kept, total, u);
}

int l2_likeliest(const float *logits, int32_t n, int32_t k, int32_t *ids, void *memory)
{
    candidate *c = room_in(memory, n).candidates;
    for (int32_t i = 0; i < n; i++) {
        if (isnan(logits[i])) return 0;
        c[i] = (candidate){logits[i], 0, i};
    }
    keep_likeliest(c, n, k);
    l2_sort(c, (size_t)k, sizeof *c, compare);
    for (int32_t i = 0; i < k; i++) ids[i] = c[i].id;
    return isfinite(c[0].logit);
}
