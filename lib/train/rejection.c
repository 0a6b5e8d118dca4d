#include "train/rejection.h"
#include "base/alloc.h"
#include "train/scores.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* The best entry of each prompt among versions first .. last. */
struct l2_pool_best {
    int valid;
    int32_t first, last;
    int64_t n, capacity;
    int64_t *entries; /* indices, prompts rising */
};

llama2_status l2_sample_pool_create(llama2_context *ctx, llama2_pool **out)
{
    llama2_pool *pool;
    *out = NULL;
    L2_TRY(l2_calloc(ctx, 1, sizeof *pool, &pool));
    llama2_status status = l2_calloc(ctx, 1, sizeof *pool->best, &pool->best);
    if (status < 0) {
        l2_free(ctx, pool);
        return status;
    }
    pool->ctx = l2_context_retain(ctx);
    *out = pool;
    return LLAMA2_OK;
}

void l2_sample_pool_free(llama2_pool *pool)
{
    if (!pool) return;
    llama2_context *ctx = pool->ctx;
    for (int64_t i = 0; i < pool->n; i++) l2_free(ctx, pool->entries[i].tokens);
    l2_free(ctx, pool->entries);
    l2_free(ctx, pool->best->entries);
    l2_free(ctx, pool->best);
    l2_free(ctx, pool);
    l2_context_release(ctx);
}

int l2_pool_compare(const l2_pool_entry *a, const l2_pool_entry *b)
{
    if (a->prompt_id != b->prompt_id) return a->prompt_id < b->prompt_id ? -1 : 1;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    if (a->version != b->version) return a->version > b->version ? -1 : 1;
    return 0;
}

/* Stable bottom-up merge sort; room: n entries. */
static void sort_entries(l2_pool_entry *entries, int64_t n, l2_pool_entry *room)
{
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t left = 0; left < n; left += 2 * width) {
            int64_t middle = left + width < n ? left + width : n, end = middle + width < n ? middle + width : n;
            int64_t a = left, b = middle;
            for (int64_t to = left; to < end; to++) {
                int take_left = a < middle && (b >= end || l2_pool_compare(&entries[a], &entries[b]) <= 0);
                room[to] = take_left ? entries[a++] : entries[b++];
            }
        }
        memcpy(entries, room, (size_t)n * sizeof *entries);
    }
}

/* Samples of one prompt by falling score; equal ones in their order. */
static void rank_samples(const float *scores, int32_t *order, int32_t k)
{
    for (int32_t i = 0; i < k; i++) {
        int32_t at = i;
        for (; at > 0 && scores[order[at - 1]] < scores[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
}

/* A copy of sample s of the rollouts. */
static llama2_status make_entry(llama2_context *ctx, const llama2_rollouts *r, int32_t s, float score,
                                uint64_t prompt_id, int32_t version, l2_pool_entry *out)
{
    l2_pool_entry entry = {
        .prompt_id = prompt_id, .version = version, .prompt_length = r->prompt_lengths[s], .score = score};
    entry.n_tokens = r->offsets[s + 1] - r->offsets[s];
    L2_TRY(l2_alloc(ctx, (size_t)entry.n_tokens, sizeof *entry.tokens, &entry.tokens));
    memcpy(entry.tokens, r->tokens + r->offsets[s], (size_t)entry.n_tokens * sizeof *entry.tokens);
    *out = entry;
    return LLAMA2_OK;
}

static int all_unsafe(const float *safety, int32_t k, double threshold)
{
    for (int32_t i = 0; i < k; i++) {
        if ((double)safety[i] >= threshold) return 0;
    }
    return 1;
}

static llama2_status reserve(llama2_pool *pool, int64_t more)
{
    if (pool->n + more <= pool->capacity) return LLAMA2_OK;
    int64_t capacity = 2 * pool->capacity + more;
    L2_TRY(l2_realloc(pool->ctx, (size_t)pool->n, (size_t)capacity, sizeof *pool->entries, &pool->entries));
    pool->capacity = capacity;
    return LLAMA2_OK;
}

llama2_status l2_sample_pool_add(llama2_pool *pool, const llama2_rollouts *r, const uint64_t *prompt_ids,
                                 const llama2_pool_add_options *o, llama2_pool_metrics *m)
{
    llama2_context *ctx = pool->ctx;
    llama2_status status = LLAMA2_OK;
    const float *scores, *safety = r->arrays[LLAMA2_ROLLOUTS_SAFETY_SCORES];
    int32_t k = r->samples_per_prompt, n_prompts = r->n_samples / k, keep = o->keep < k ? o->keep : k;
    int32_t *order = NULL;
    l2_pool_entry *room = NULL;
    int64_t before = pool->n, added = 0;
    if (o->version < 0) return l2_fail(LLAMA2_E_INVALID, "pool: version is %" PRId32 ", less than 0", o->version);
    if (o->keep < 1) return l2_fail(LLAMA2_E_INVALID, "pool: keep is %" PRId32 ", less than 1", o->keep);
    if (!(o->unsafe_below >= 0 && o->unsafe_below <= 1))
        return l2_fail(LLAMA2_E_INVALID, "pool: unsafe_below is %g, not in [0, 1]", o->unsafe_below);
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_SCORES, &scores));
    double threshold = l2_logit(o->unsafe_below);
    *m = (llama2_pool_metrics){.struct_size = sizeof *m, .n_prompts = n_prompts};
    L2_CHECK(reserve(pool, (int64_t)n_prompts * keep));
    L2_CHECK(l2_scratch_get(ctx, (size_t)k * sizeof *order, &order));
    L2_CHECK(l2_scratch_get(ctx, (size_t)(pool->n + (int64_t)n_prompts * keep) * sizeof *room, &room));
    for (int32_t p = 0; p < n_prompts; p++) {
        const float *own = scores + (int64_t)p * k;
        double sum = 0;
        rank_samples(own, order, k);
        for (int32_t i = 0; i < k; i++) sum += (double)own[i];
        m->mean_score += sum / k / n_prompts;
        m->mean_best += (double)own[order[0]] / n_prompts;
        m->mean_median += ((double)own[order[(k - 1) / 2]] + (double)own[order[k / 2]]) / 2 / n_prompts;
        if (o->leave_out_unsafe && safety && all_unsafe(safety + (int64_t)p * k, k, threshold)) {
            m->n_unsafe++;
            continue;
        }
        for (int32_t i = 0; i < keep; i++) {
            L2_CHECK(make_entry(ctx, r, p * k + order[i], own[order[i]], prompt_ids[p], o->version,
                                &pool->entries[before + added]));
            added++;
        }
    }
    m->n_kept = (int32_t)added;
    pool->n += added;
    pool->best->valid = 0;
    sort_entries(pool->entries, pool->n, room);
done:
    if (status < 0) {
        for (int64_t i = 0; i < added; i++) l2_free(ctx, pool->entries[before + i].tokens);
    }
    l2_scratch_put(ctx, room);
    l2_scratch_put(ctx, order);
    return status;
}

static llama2_status find_best(const llama2_pool *pool, int32_t first, int32_t last)
{
    struct l2_pool_best *best = pool->best;
    if (first < 0 || last < first) {
        return l2_fail(LLAMA2_E_INVALID, "pool: versions %" PRId32 " .. %" PRId32 ": 0 <= first <= last is needed",
                       first, last);
    }
    if (best->valid && best->first == first && best->last == last) return LLAMA2_OK;
    if (best->capacity < pool->n) {
        L2_TRY(l2_realloc(pool->ctx, 0, (size_t)pool->n, sizeof *best->entries, &best->entries));
        best->capacity = pool->n;
    }
    best->n = 0;
    for (int64_t i = 0; i < pool->n; i++) {
        const l2_pool_entry *entry = &pool->entries[i];
        if (entry->version < first || entry->version > last) continue;
        if (best->n > 0 && pool->entries[best->entries[best->n - 1]].prompt_id == entry->prompt_id) continue;
        best->entries[best->n++] = i;
    }
    best->first = first;
    best->last = last;
    best->valid = 1;
    return LLAMA2_OK;
}

llama2_status l2_sample_pool_count(const llama2_pool *pool, int32_t first, int32_t last, int64_t *count)
{
    L2_TRY(find_best(pool, first, last));
    *count = pool->best->n;
    return LLAMA2_OK;
}

llama2_status l2_sample_pool_get_best(const llama2_pool *pool, int32_t first, int32_t last, int64_t index,
                                      llama2_pool_sample *sample)
{
    L2_TRY(find_best(pool, first, last));
    if (index < 0 || index >= pool->best->n) {
        return l2_fail(LLAMA2_E_INVALID,
                       "pool: index %" PRId64 ", of %" PRId64 " prompts in versions %" PRId32 " .. %" PRId32, index,
                       pool->best->n, first, last);
    }
    const l2_pool_entry *entry = &pool->entries[pool->best->entries[index]];
    *sample = (llama2_pool_sample){
        .struct_size = sizeof *sample,
        .version = entry->version,
        .prompt_id = entry->prompt_id,
        .tokens = entry->tokens,
        .n_tokens = entry->n_tokens,
        .prompt_length = entry->prompt_length,
        .score = entry->score,
    };
    return LLAMA2_OK;
}
