/*
 * How much responses repeat each other and themselves: distinct-n, the share of different runs of n tokens among all
 * (Li et al. 2016), and seq-rep-4, the share of a response's runs of 4 tokens that it has had before (Welleck et al.
 * 2020).
 */
#include "base/alloc.h"
#include "train/ppo.h"
#include <string.h>

static uint64_t hash(const int32_t *run, int32_t n)
{
    uint64_t h = 0;
    for (int32_t i = 0; i < n; i++) {
        h = (h ^ (uint32_t)run[i]) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
    }
    return h;
}

/* The different runs of n tokens in the responses of samples first .. end - 1; *all: the runs. The table, of open
 * addresses, has twice the tokens' room and holds where a run begins, and one more. */
static int64_t count_distinct(const llama2_rollouts *r, int32_t first, int32_t end, int32_t n, int64_t *table,
                              int64_t *all)
{
    uint64_t size = 1;
    int64_t distinct = 0;
    while (size < 2 * (uint64_t)(r->offsets[end] - r->offsets[first])) size *= 2;
    memset(table, 0, size * sizeof *table);
    *all = 0;
    for (int32_t s = first; s < end; s++) {
        for (int64_t t = r->offsets[s] + r->prompt_lengths[s]; t + n <= r->offsets[s + 1]; t++) {
            const int32_t *run = r->tokens + t;
            uint64_t at = hash(run, n) & (size - 1);
            while (table[at] && memcmp(r->tokens + table[at] - 1, run, (size_t)n * sizeof *run) != 0)
                at = (at + 1) & (size - 1);
            distinct += !table[at];
            if (!table[at]) table[at] = t + 1;
            ++*all;
        }
    }
    return distinct;
}

static double share(int64_t part, int64_t all)
{
    return all > 0 ? (double)part / (double)all : 0;
}

llama2_status l2_diversity(const llama2_rollouts *r, double *distinct_1, double *distinct_2, double *repetition)
{
    enum { LONG_RUN = 4 };
    int64_t *table, all;
    int32_t with_runs = 0;
    L2_TRY(l2_scratch_get(r->ctx, 4 * (size_t)r->n_tokens * sizeof *table, &table));
    int64_t distinct = count_distinct(r, 0, r->n_samples, 1, table, &all);
    *distinct_1 = share(distinct, all);
    distinct = count_distinct(r, 0, r->n_samples, 2, table, &all);
    *distinct_2 = share(distinct, all);
    *repetition = 0;
    for (int32_t s = 0; s < r->n_samples; s++) {
        distinct = count_distinct(r, s, s + 1, LONG_RUN, table, &all);
        with_runs += all > 0;
        *repetition += share(all - distinct, all);
    }
    *repetition = share(1, with_runs) * *repetition;
    l2_scratch_put(r->ctx, table);
    return LLAMA2_OK;
}
