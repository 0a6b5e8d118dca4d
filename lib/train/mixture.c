#include "train/mixture.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "train/shards.h"
#include <inttypes.h>
#include <math.h>

static const int64_t MOST_ITEMS = (int64_t)1 << 53;

/* --- what the host says ---------------------------------------------------------------------- */

static llama2_status check_sources(const l2_mix_sources *s, const llama2_mixture_options *o)
{
    int64_t total = 0;
    for (int32_t i = 0; i < s->n; i++) {
        if (s->counts[i] < 0)
            return l2_fail(LLAMA2_E_INVALID, "counts[%" PRId32 "] is %" PRId64 ", less than 0", i, s->counts[i]);
        if (s->counts[i] > MOST_ITEMS - total)
            return l2_fail(LLAMA2_E_LIMIT, "counts: more than 2^53 items up to source %" PRId32, i);
        total += s->counts[i];
    }
    for (int32_t i = 0; o->recipe >= LLAMA2_MIX_HELPFULNESS && i < s->n; i++)
        if (s->kinds[i] < LLAMA2_SOURCE_OWN_HELPFUL || s->kinds[i] > LLAMA2_SOURCE_OPEN_HARMLESS)
            return l2_fail(LLAMA2_E_INVALID, "kinds[%" PRId32 "] is %" PRId32 ", expected one of LLAMA2_SOURCE_*", i,
                           s->kinds[i]);
    for (int32_t i = 0; o->recipe == LLAMA2_MIX_WEIGHTS && i < s->n; i++) {
        if (!(s->weights[i] >= 0) || s->weights[i] > 1e100)
            return l2_fail(LLAMA2_E_INVALID, "weights[%" PRId32 "] is %g, it must be in [0, 1e100]", i, s->weights[i]);
        if (s->weights[i] > 0 && s->counts[i] == 0)
            return l2_fail(LLAMA2_E_INVALID, "source %" PRId32 " has a weight of %g and no items; give it weight 0", i,
                           s->weights[i]);
    }
    return LLAMA2_OK;
}

/* --- groups and parts ------------------------------------------------------------------------ */

/* Opens a group; what is placed until the next call belongs to it. */
static l2_mix_group *open_group(llama2_mixture *m)
{
    l2_mix_group *g = &m->groups[m->n_groups++];
    *g = (l2_mix_group){.first = m->n_placed};
    return g;
}

static void place(llama2_mixture *m, l2_mix_group *g, const l2_mix_sources *s, int32_t source)
{
    if (s->counts[source] == 0) return;
    g->items += (uint64_t)s->counts[source];
    m->sources[m->n_placed] = source;
    m->ends[m->n_placed++] = g->items;
    g->n++;
}

/* Group 0, 1, ...: the sources of these kinds. */
static uint64_t group_of_kinds(llama2_mixture *m, const l2_mix_sources *s, const int32_t *kinds, int n_kinds)
{
    l2_mix_group *g = open_group(m);
    for (int32_t i = 0; i < s->n; i++)
        for (int k = 0; k < n_kinds; k++)
            if (s->kinds[i] == kinds[k]) place(m, g, s, i);
    return g->items;
}

/* The next `slots` slots of the epoch are draws from a group. */
static void add_part(llama2_mixture *m, int32_t group, uint64_t slots)
{
    l2_mix_group *g = &m->groups[group];
    if (slots == 0) return;
    m->parts[m->n_parts++] = (l2_mix_part){.group = group, .before = m->slots, .offset = g->quota};
    m->slots += slots;
    g->quota += slots;
}

static llama2_status nothing(const char *recipe, const char *what)
{
    return l2_fail(LLAMA2_E_INVALID, "the recipe %s needs a source with items of kind %s", recipe, what);
}

/* One in ten beside nine in ten, at least one. */
static uint64_t ninth(uint64_t nine)
{
    uint64_t one = (2 * nine + 9) / 18; /* nine / 9, rounded */
    return one ? one : 1;
}

static llama2_status mix_helpfulness(llama2_mixture *m, const l2_mix_sources *s)
{
    static const int32_t all[] = {LLAMA2_SOURCE_OWN_HELPFUL},
                         rest[] = {LLAMA2_SOURCE_OWN_SAFETY, LLAMA2_SOURCE_OPEN_HELPFUL, LLAMA2_SOURCE_OPEN_HARMLESS};
    uint64_t n = group_of_kinds(m, s, all, 1);
    if (n == 0) return nothing("HELPFULNESS", "OWN_HELPFUL");
    if (group_of_kinds(m, s, rest, 3) == 0) return nothing("HELPFULNESS", "OWN_SAFETY, OPEN_HELPFUL or OPEN_HARMLESS");
    add_part(m, 0, n);
    add_part(m, 1, n);
    return LLAMA2_OK;
}

static llama2_status mix_safety(llama2_mixture *m, const l2_mix_sources *s)
{
    static const int32_t all[] = {LLAMA2_SOURCE_OWN_SAFETY, LLAMA2_SOURCE_OPEN_HARMLESS},
                         rest[] = {LLAMA2_SOURCE_OWN_HELPFUL, LLAMA2_SOURCE_OPEN_HELPFUL};
    uint64_t n = group_of_kinds(m, s, all, 2);
    if (n == 0) return nothing("SAFETY", "OWN_SAFETY or OPEN_HARMLESS");
    if (group_of_kinds(m, s, rest, 2) == 0) return nothing("SAFETY", "OWN_HELPFUL or OPEN_HELPFUL");
    add_part(m, 0, n);
    add_part(m, 1, ninth(n));
    return LLAMA2_OK;
}

static const int32_t own_kinds[] = {LLAMA2_SOURCE_OWN_HELPFUL, LLAMA2_SOURCE_OWN_SAFETY},
                     open_kinds[] = {LLAMA2_SOURCE_OPEN_HELPFUL, LLAMA2_SOURCE_OPEN_HARMLESS};

static llama2_status mix_nine_to_one(llama2_mixture *m, const l2_mix_sources *s)
{
    uint64_t n = group_of_kinds(m, s, own_kinds, 2);
    if (n == 0) return nothing("NINE_TO_ONE", "OWN_HELPFUL or OWN_SAFETY");
    if (group_of_kinds(m, s, open_kinds, 2) == 0) return nothing("NINE_TO_ONE", "OPEN_HELPFUL or OPEN_HARMLESS");
    add_part(m, 0, n);
    add_part(m, 1, ninth(n));
    return LLAMA2_OK;
}

/* Either may be missing: open data is there before any of one's own. */
static llama2_status mix_open_first(llama2_mixture *m, const l2_mix_sources *s, double open_first)
{
    uint64_t n_own = group_of_kinds(m, s, own_kinds, 2), n_open = group_of_kinds(m, s, open_kinds, 2),
             alone = (uint64_t)(open_first * (double)n_open + 0.5);
    if (alone > n_open) alone = n_open;
    add_part(m, 1, alone);
    m->first_phase = alone;
    add_part(m, 1, n_open - alone);
    add_part(m, 0, n_own);
    return LLAMA2_OK;
}

/* Shares of n draws, rounded down, the rest to the largest remainders. */
static void set_quotas(llama2_mixture *m, const double *weights, double sum, uint64_t n)
{
    uint64_t rest = n;
    for (int32_t i = 0; i < m->n_groups; i++) {
        l2_mix_group *g = &m->groups[i];
        g->quota = (uint64_t)(weights[m->sources[g->first]] / sum * (double)n);
        if (g->quota > rest) g->quota = rest;
        rest -= g->quota;
    }
    for (; rest; rest--) {
        double most = -INFINITY;
        l2_mix_group *best = m->groups;
        for (int32_t i = 0; i < m->n_groups; i++) {
            l2_mix_group *g = &m->groups[i];
            double lack = weights[m->sources[g->first]] / sum * (double)n - (double)g->quota;
            if (lack > most) most = lack, best = g;
        }
        best->quota++;
    }
}

static int some_item_twice(const llama2_mixture *m)
{
    for (int32_t i = 0; i < m->n_groups; i++)
        if (m->groups[i].quota > m->groups[i].items) return 1;
    return 0;
}

static llama2_status mix_weights(llama2_mixture *m, const l2_mix_sources *s, int64_t epoch_items)
{
    double sum = 0, most = INFINITY;
    for (int32_t i = 0; i < s->n; i++) {
        if (s->weights[i] == 0) continue;
        place(m, open_group(m), s, i);
        sum += s->weights[i];
    }
    if (m->n_groups == 0) return l2_fail(LLAMA2_E_INVALID, "weights: all are 0");
    if (epoch_items) {
        set_quotas(m, s->weights, sum, (uint64_t)epoch_items);
    } else {
        /* n w_i / sum <= items of i for all i; the division is not exact, so n is tried from a little above. */
        for (int32_t i = 0; i < m->n_groups; i++)
            most = fmin(most, (double)m->groups[i].items / (s->weights[m->sources[m->groups[i].first]] / sum));
        uint64_t n = (uint64_t)(most * (1 + 1e-15)) + 1;
        do set_quotas(m, s->weights, sum, n--);
        while (some_item_twice(m));
    }
    for (int32_t i = 0; i < m->n_groups; i++) {
        uint64_t quota = m->groups[i].quota;
        int32_t source = m->sources[m->groups[i].first];
        if (quota == 0)
            return l2_fail(LLAMA2_E_INVALID,
                           "source %" PRId32 " has a weight of %g, which is less than one item of an epoch; give a "
                           "larger epoch_items, or weight 0",
                           source, s->weights[source]);
        m->groups[i].quota = 0;
        add_part(m, i, quota);
    }
    return LLAMA2_OK;
}

static llama2_status mix_equal(llama2_mixture *m, const l2_mix_sources *s)
{
    uint64_t least = UINT64_MAX;
    for (int32_t i = 0; i < s->n; i++) {
        if (s->counts[i] == 0)
            return l2_fail(LLAMA2_E_INVALID, "source %" PRId32 " has no items; the recipe EQUAL takes some of each", i);
        place(m, open_group(m), s, i);
        if ((uint64_t)s->counts[i] < least) least = (uint64_t)s->counts[i];
    }
    for (int32_t i = 0; i < m->n_groups; i++) add_part(m, i, least);
    return LLAMA2_OK;
}

static llama2_status mix(llama2_mixture *m, const l2_mix_sources *s, const llama2_mixture_options *o)
{
    switch (o->recipe) {
    case LLAMA2_MIX_WEIGHTS: return mix_weights(m, s, o->epoch_items);
    case LLAMA2_MIX_EQUAL: return mix_equal(m, s);
    case LLAMA2_MIX_HELPFULNESS: return mix_helpfulness(m, s);
    case LLAMA2_MIX_SAFETY: return mix_safety(m, s);
    case LLAMA2_MIX_NINE_TO_ONE: return mix_nine_to_one(m, s);
    case LLAMA2_MIX_OPEN_FIRST: return mix_open_first(m, s, o->open_first);
    default: break; /* ALL */
    }
    l2_mix_group *g = open_group(m);
    for (int32_t i = 0; i < s->n; i++) place(m, g, s, i);
    add_part(m, 0, g->items);
    return LLAMA2_OK;
}

llama2_status l2_mixture_new(llama2_context *ctx, const l2_mix_sources *sources, const llama2_mixture_options *options,
                             llama2_mixture **out)
{
    llama2_status status;
    llama2_mixture *m = NULL;
    size_t most = (size_t)sources->n + 2; /* groups; parts are at most one more than groups that are not empty */
    L2_TRY(check_sources(sources, options));
    L2_TRY(l2_calloc(ctx, 1, sizeof *m, &m));
    m->ctx = l2_context_retain(ctx);
    m->seed = options->seed;
    L2_CHECK(l2_alloc(ctx, most, sizeof *m->groups, &m->groups));
    L2_CHECK(l2_alloc(ctx, most, sizeof *m->parts, &m->parts));
    L2_CHECK(l2_alloc(ctx, most, sizeof *m->sources, &m->sources));
    L2_CHECK(l2_alloc(ctx, most, sizeof *m->ends, &m->ends));
    L2_CHECK(mix(m, sources, options));
    if (m->slots == 0) status = l2_fail(LLAMA2_E_INVALID, "counts: no source has an item");
done:
    if (status < 0)
        l2_mixture_delete(m);
    else
        *out = m;
    return status;
}

void l2_mixture_delete(llama2_mixture *m)
{
    if (!m) return;
    llama2_context *ctx = m->ctx;
    l2_free(ctx, m->groups);
    l2_free(ctx, m->parts);
    l2_free(ctx, m->sources);
    l2_free(ctx, m->ends);
    l2_free(ctx, m);
    l2_context_release(ctx);
}

/* --- the order ------------------------------------------------------------------------------- */

/* Keys of permutations: other positions than those of llama2/shards.h, which may have the same seed. */
enum { SLOTS_POSITION = 1 };
static const uint32_t ITEMS_POSITION = 0x80000000u;

void l2_mixture_at(const llama2_mixture *m, uint64_t position, int32_t *source, int64_t *item)
{
    uint32_t keys[4];
    uint64_t epoch = position / m->slots, slot = position % m->slots;
    uint32_t phase = m->first_phase != 0 && slot >= m->first_phase;
    uint64_t begin = phase ? m->first_phase : 0, end = m->first_phase && !phase ? m->first_phase : m->slots;
    l2_philox(m->seed, L2_RNG_MIX, epoch, SLOTS_POSITION + phase, keys);
    slot = begin + l2_permute(keys, end - begin, slot - begin);

    int32_t low = 0, high = m->n_parts - 1; /* the last part that begins at or before the slot */
    while (low < high) {
        int32_t middle = low + (high - low + 1) / 2;
        if (m->parts[middle].before <= slot)
            low = middle;
        else
            high = middle - 1;
    }
    const l2_mix_part *part = &m->parts[low];
    const l2_mix_group *g = &m->groups[part->group];
    uint64_t k = epoch * g->quota + part->offset + (slot - part->before);
    l2_philox(m->seed, L2_RNG_SHUFFLE, k / g->items, ITEMS_POSITION + (uint32_t)part->group, keys);
    uint64_t index = l2_permute(keys, g->items, k % g->items);

    low = g->first, high = g->first + g->n - 1; /* the first source that ends after the index */
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (m->ends[middle] > index)
            high = middle;
        else
            low = middle + 1;
    }
    *source = m->sources[low];
    *item = (int64_t)(index - (low > g->first ? m->ends[low - 1] : 0));
}
