#include "train/rejection.h"
#include "base/alloc.h"
#include "format/sort.h"
#include "train/scores.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* The best entries of each prompt among versions first .. last, at most `top`. */
struct l2_sample_pool_best {
    int valid;
    int32_t first, last, top;
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

int l2_sample_pool_compare(const l2_sample_pool_entry *a, const l2_sample_pool_entry *b)
{
    if (a->prompt_id != b->prompt_id) return a->prompt_id < b->prompt_id ? -1 : 1;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    if (a->version != b->version) return a->version > b->version ? -1 : 1;
    return 0;
}

/* Stable bottom-up merge sort; room: n entries. */
static void sort_entries(l2_sample_pool_entry *entries, int64_t n, l2_sample_pool_entry *room)
{
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t left = 0; left < n; left += 2 * width) {
            int64_t middle = left + width < n ? left + width : n, end = middle + width < n ? middle + width : n;
            int64_t a = left, b = middle;
            for (int64_t to = left; to < end; to++) {
                int take_left = a < middle && (b >= end || l2_sample_pool_compare(&entries[a], &entries[b]) <= 0);
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
                                uint64_t prompt_id, int32_t version, int is_safety, l2_sample_pool_entry *out)
{
    l2_sample_pool_entry entry = {.prompt_id = prompt_id,
                                  .version = version,
                                  .prompt_length = r->prompt_lengths[s],
                                  .score = score,
                                  .ended_by = r->ended_by[s],
                                  .is_safety = is_safety != 0};
    entry.n_tokens = r->offsets[s + 1] - r->offsets[s];
    L2_TRY(l2_alloc(ctx, (size_t)entry.n_tokens, sizeof *entry.tokens, &entry.tokens));
    memcpy(entry.tokens, r->tokens + r->offsets[s], (size_t)entry.n_tokens * sizeof *entry.tokens);
    *out = entry;
    return LLAMA2_OK;
}

static int same_tokens(const int32_t *a, int64_t n, const int32_t *b, int64_t m)
{
    return n == m && memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

/* What is sorted to find who says what: entry `at` of a pool, its version where that tells answers apart, else 0. */
typedef struct said {
    const l2_sample_pool_entry *entry;
    int64_t at;
    int32_t version;
    int repeats; /* an earlier one says the same */
} said;

static int compare_said(const said *a, const said *b)
{
    const l2_sample_pool_entry *x = a->entry, *y = b->entry;
    if (x->prompt_id != y->prompt_id) return x->prompt_id < y->prompt_id ? -1 : 1;
    if (a->version != b->version) return a->version < b->version ? -1 : 1;
    if (x->n_tokens != y->n_tokens) return x->n_tokens < y->n_tokens ? -1 : 1;
    return memcmp(x->tokens, y->tokens, (size_t)x->n_tokens * sizeof *x->tokens);
}

static int by_text_then_place(const void *a, const void *b)
{
    const said *x = a, *y = b;
    int order = compare_said(x, y);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static int by_place(const void *a, const void *b)
{
    const said *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* Of equal ones the first keeps repeats 0. They come in the order of the pool and stay in it. */
static void find_repeats(said *all, int64_t n)
{
    l2_sort(all, (size_t)n, sizeof *all, by_text_then_place);
    for (int64_t i = 0; i < n; i++) all[i].repeats = i > 0 && compare_said(&all[i - 1], &all[i]) == 0;
    l2_sort(all, (size_t)n, sizeof *all, by_place);
}

/* Drops what a version has said before: of equal entries the first one stays, in the order of the pool. How many. */
static int64_t drop_duplicates(llama2_pool *pool, said *room)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < pool->n; i++) room[i] = (said){&pool->entries[i], i, pool->entries[i].version, 0};
    find_repeats(room, pool->n);
    for (int64_t i = 0; i < pool->n; i++) {
        if (room[i].repeats)
            l2_free(pool->ctx, pool->entries[i].tokens);
        else
            pool->entries[kept++] = pool->entries[i];
    }
    int64_t dropped = pool->n - kept;
    pool->n = kept;
    return dropped;
}

static llama2_status reserve(llama2_pool *pool, int64_t more)
{
    if (pool->n + more <= pool->capacity) return LLAMA2_OK;
    int64_t capacity = 2 * pool->capacity + more;
    L2_TRY(l2_realloc(pool->ctx, (size_t)pool->n, (size_t)capacity, sizeof *pool->entries, &pool->entries));
    pool->capacity = capacity;
    return LLAMA2_OK;
}

static llama2_status check_threshold(const llama2_pool_add_options *o)
{
    if (!(o->unsafe_below >= 0 && o->unsafe_below <= 1))
        return l2_fail(LLAMA2_E_INVALID, "pool: unsafe_below is %g, not in [0, 1]", o->unsafe_below);
    return LLAMA2_OK;
}

/* NULL where nothing is left out as unsafe. */
static const float *safety_of(const llama2_rollouts *r, const llama2_pool_add_options *o)
{
    return o->leave_out_unsafe ? r->arrays[LLAMA2_ROLLOUTS_SAFETY_SCORES] : NULL;
}

/* The samples of prompt p that may be kept, the best first. order: all K of them, the best first; then its beginning is
 * what was chosen. */
static int32_t choose(const llama2_rollouts *r, int32_t p, const llama2_pool_add_options *o, int32_t *order,
                      llama2_pool_metrics *m)
{
    const float *safety = safety_of(r, o);
    double threshold = l2_logit(o->unsafe_below);
    int32_t k = r->samples_per_prompt, chosen = 0;
    for (int32_t i = 0; i < k && chosen < o->keep; i++) {
        int32_t s = p * k + order[i], same = 0;
        if (o->leave_out_unfinished && !r->ended[s]) {
            m->n_unfinished++;
            continue;
        }
        if (safety && (double)safety[s] < threshold) {
            m->n_unsafe++;
            continue;
        }
        for (int32_t c = 0; c < chosen && !same; c++) {
            int64_t a = r->offsets[s], b = r->offsets[p * k + order[c]];
            same =
                same_tokens(r->tokens + a, r->offsets[s + 1] - a, r->tokens + b, r->offsets[p * k + order[c] + 1] - b);
        }
        if (same)
            m->n_duplicates++;
        else
            order[chosen++] = order[i];
    }
    m->n_empty += chosen == 0;
    return chosen;
}

/* Adds a prompt's part to the means. */
static void add_means(const float *scores, int32_t k, int32_t n_prompts, const int32_t *order, llama2_pool_metrics *m)
{
    double sum = 0;
    for (int32_t i = 0; i < k; i++) sum += (double)scores[i];
    m->mean_score += sum / k / n_prompts;
    m->mean_best += (double)scores[order[0]] / n_prompts;
    m->mean_median += ((double)scores[order[(k - 1) / 2]] + (double)scores[order[k / 2]]) / 2 / n_prompts;
}

llama2_status l2_sample_pool_add(llama2_pool *pool, const llama2_rollouts *r, const uint64_t *prompt_ids,
                                 const llama2_pool_add_options *o, llama2_pool_metrics *m)
{
    llama2_context *ctx = pool->ctx;
    llama2_status status = LLAMA2_OK;
    const float *scores;
    int32_t k = r->samples_per_prompt, n_prompts = r->n_samples / k, keep = o->keep < k ? o->keep : k;
    int32_t *order = NULL;
    l2_sample_pool_entry *room = NULL;
    said *all = NULL;
    int64_t before = pool->n, added = 0;
    if (o->version < 0) return l2_fail(LLAMA2_E_INVALID, "pool: version is %" PRId32 ", less than 0", o->version);
    if (o->keep < 1) return l2_fail(LLAMA2_E_INVALID, "pool: keep is %" PRId32 ", less than 1", o->keep);
    L2_TRY(check_threshold(o));
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_SCORES, &scores));
    *m = (llama2_pool_metrics){.struct_size = sizeof *m, .n_prompts = n_prompts};
    L2_CHECK(reserve(pool, (int64_t)n_prompts * keep));
    L2_CHECK(l2_scratch_get(ctx, (size_t)k * sizeof *order, &order));
    L2_CHECK(l2_scratch_get(ctx, (size_t)(pool->n + (int64_t)n_prompts * keep) * sizeof *room, &room));
    L2_CHECK(l2_scratch_get(ctx, (size_t)(pool->n + (int64_t)n_prompts * keep) * sizeof *all, &all));
    for (int32_t p = 0; p < n_prompts; p++) {
        const float *own = scores + (int64_t)p * k;
        rank_samples(own, order, k);
        add_means(own, k, n_prompts, order, m);
        int32_t chosen = choose(r, p, o, order, m);
        for (int32_t i = 0; i < chosen; i++) {
            L2_CHECK(make_entry(ctx, r, p * k + order[i], own[order[i]], prompt_ids[p], o->version,
                                o->is_safety ? o->is_safety[p] : 0, &pool->entries[before + added]));
            added++;
        }
    }
    pool->n += added;
    pool->best->valid = 0;
    sort_entries(pool->entries, pool->n, room);
    int64_t known = drop_duplicates(pool, all);
    m->n_kept = (int32_t)(added - known);
    m->n_duplicates += (int32_t)known;
done:
    if (status < 0) {
        for (int64_t i = 0; i < added; i++) l2_free(ctx, pool->entries[before + i].tokens);
    }
    l2_scratch_put(ctx, all);
    l2_scratch_put(ctx, room);
    l2_scratch_put(ctx, order);
    return status;
}

/* --- what was best ---------------------------------------------------------------------------- */

/* Those that may be the best, in the pool's order. */
static int64_t candidates(const llama2_pool *pool, said *out)
{
    const struct l2_sample_pool_best *best = pool->best;
    int64_t n = 0;
    for (int64_t i = 0; i < pool->n; i++) {
        const l2_sample_pool_entry *entry = &pool->entries[i];
        if (!entry->unsafe && entry->version >= best->first && entry->version <= best->last)
            out[n++] = (said){entry, i, 0, 0};
    }
    if (best->top > 1) find_repeats(out, n);
    return n;
}

static llama2_status find_best(const llama2_pool *pool, int32_t first, int32_t last, int32_t top)
{
    struct l2_sample_pool_best *best = pool->best;
    said *all;
    if (first < 0 || last < first) {
        return l2_fail(LLAMA2_E_INVALID, "pool: versions %" PRId32 " .. %" PRId32 ": 0 <= first <= last is needed",
                       first, last);
    }
    if (top < 1) return l2_fail(LLAMA2_E_INVALID, "pool: top is %" PRId32 ", less than 1", top);
    if (best->valid && best->first == first && best->last == last && best->top == top) return LLAMA2_OK;
    best->valid = 0;
    if (best->capacity < pool->n) {
        L2_TRY(l2_realloc(pool->ctx, 0, (size_t)pool->n, sizeof *best->entries, &best->entries));
        best->capacity = pool->n;
    }
    L2_TRY(l2_scratch_get(pool->ctx, (size_t)pool->n * sizeof *all, &all));
    best->n = 0;
    best->first = first;
    best->last = last;
    best->top = top;
    int64_t n = candidates(pool, all), own = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i > 0 && all[i - 1].entry->prompt_id != all[i].entry->prompt_id) own = 0;
        if (own >= top || all[i].repeats) continue;
        best->entries[best->n++] = all[i].at;
        own++;
    }
    best->valid = 1;
    l2_scratch_put(pool->ctx, all);
    return LLAMA2_OK;
}

llama2_status l2_sample_pool_count(const llama2_pool *pool, int32_t first, int32_t last, int32_t top, int64_t *count)
{
    L2_TRY(find_best(pool, first, last, top));
    *count = pool->best->n;
    return LLAMA2_OK;
}

/* How many of its prompt stand before entry `index`: of the pool, or of the chosen ones. */
static int64_t rank_of(const llama2_pool *pool, const int64_t *chosen, int64_t index)
{
    uint64_t id = pool->entries[chosen ? chosen[index] : index].prompt_id;
    int64_t first = 0, end = index; /* the first of the prompt is among first .. end */
    while (first < end) {
        int64_t middle = first + (end - first) / 2;
        if (pool->entries[chosen ? chosen[middle] : middle].prompt_id < id)
            first = middle + 1;
        else
            end = middle;
    }
    return index - first;
}

static void describe(const l2_sample_pool_entry *entry, int64_t rank, llama2_pool_sample *sample)
{
    *sample = (llama2_pool_sample){
        .struct_size = sizeof *sample,
        .version = entry->version,
        .prompt_id = entry->prompt_id,
        .tokens = entry->tokens,
        .n_tokens = entry->n_tokens,
        .prompt_length = entry->prompt_length,
        .score = entry->score,
        .rank = (int32_t)rank,
        .ended_by = entry->ended_by,
        .is_safety = entry->is_safety,
        .unsafe = entry->unsafe,
    };
}

llama2_status l2_sample_pool_get_best(const llama2_pool *pool, int32_t first, int32_t last, int32_t top, int64_t index,
                                      llama2_pool_sample *sample)
{
    L2_TRY(find_best(pool, first, last, top));
    const struct l2_sample_pool_best *best = pool->best;
    if (index < 0 || index >= best->n) {
        return l2_fail(LLAMA2_E_INVALID,
                       "pool: index %" PRId64 ", of %" PRId64 " samples in versions %" PRId32 " .. %" PRId32, index,
                       best->n, first, last);
    }
    describe(&pool->entries[best->entries[index]], rank_of(pool, best->entries, index), sample);
    return LLAMA2_OK;
}

llama2_status l2_sample_pool_get(const llama2_pool *pool, int64_t index, llama2_pool_sample *sample)
{
    if (index < 0 || index >= pool->n)
        return l2_fail(LLAMA2_E_INVALID, "pool: index %" PRId64 ", of %" PRId64 " samples", index, pool->n);
    describe(&pool->entries[index], rank_of(pool, NULL, index), sample);
    return LLAMA2_OK;
}

/* --- scores of newer reward models ------------------------------------------------------------ */

llama2_status l2_sample_pool_rollouts(const llama2_pool *pool, llama2_rollouts **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_rollouts *r = NULL;
    *out = NULL;
    if (pool->n < 1) return l2_fail(LLAMA2_E_STATE, "pool: it is empty");
    if (pool->n > INT32_MAX) return l2_fail(LLAMA2_E_INVALID, "pool: %" PRId64 " samples are too many", pool->n);
    L2_TRY(l2_rollouts_new(pool->ctx, (int32_t)pool->n, 1, 1, &r));
    for (int64_t i = 0; i < pool->n; i++) {
        const l2_sample_pool_entry *e = &pool->entries[i];
        L2_CHECK(l2_rollouts_append(r, e->tokens, e->n_tokens, e->prompt_length, NULL, e->ended_by));
    }
    *out = r;
    r = NULL;
done:
    l2_rollouts_free(r);
    return status;
}

llama2_status l2_sample_pool_rescore(llama2_pool *pool, const llama2_rollouts *r, const llama2_pool_add_options *o)
{
    const float *scores, *safety = safety_of(r, o);
    double threshold = l2_logit(o->unsafe_below);
    l2_sample_pool_entry *room;
    L2_TRY(check_threshold(o));
    L2_TRY(l2_rollouts_need(r, LLAMA2_ROLLOUTS_SCORES, &scores));
    if (r->n_samples != pool->n)
        return l2_fail(LLAMA2_E_MISMATCH, "pool: %" PRId32 " rollouts, %" PRId64 " samples", r->n_samples, pool->n);
    for (int32_t i = 0; i < r->n_samples; i++) {
        const l2_sample_pool_entry *e = &pool->entries[i];
        if (!same_tokens(e->tokens, e->n_tokens, r->tokens + r->offsets[i], r->offsets[i + 1] - r->offsets[i]))
            return l2_fail(LLAMA2_E_MISMATCH, "pool: rollout %" PRId32 " is not its sample of that number", i);
    }
    L2_TRY(l2_scratch_get(pool->ctx, (size_t)pool->n * sizeof *room, &room));
    for (int32_t i = 0; i < r->n_samples; i++) {
        pool->entries[i].score = scores[i];
        if (safety || !o->leave_out_unsafe) pool->entries[i].unsafe = safety && (double)safety[i] < threshold;
    }
    sort_entries(pool->entries, pool->n, room);
    pool->best->valid = 0;
    l2_scratch_put(pool->ctx, room);
    return LLAMA2_OK;
}
