#include "train/shards.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "format/shards.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* --- permutations ---------------------------------------------------------------------------- */

/* A mixer of 64 bits (the finaliser of splitmix64, Steele et al. 2014). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t l2_permute(const uint32_t keys[4], uint64_t n, uint64_t index)
{
    enum { ROUNDS = 8 };
    unsigned half = 1;
    while (half < 32 && (n - 1) >> (2 * half)) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = index >> half, right = index & mask;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            uint64_t key = ((uint64_t)keys[round % 4] << 32) ^ (round << 24) ^ keys[(round / 4 + round + 1) % 4];
            uint64_t next = left ^ (mix(right ^ mix(key)) & mask);
            left = right;
            right = next;
        }
        index = left << half | right;
    } while (index >= n);
    return index;
}

/* --- sources --------------------------------------------------------------------------------- */

llama2_status l2_shards_new(llama2_context *ctx, const llama2_shards_options *options, llama2_shards **out)
{
    llama2_shards *shards;
    L2_TRY(l2_calloc(ctx, 1, sizeof *shards, &shards));
    shards->ctx = l2_context_retain(ctx);
    shards->options = *options;
    *out = shards;
    return LLAMA2_OK;
}

void l2_shards_delete(llama2_shards *shards)
{
    if (!shards) return;
    llama2_context *ctx = shards->ctx;
    for (int32_t i = 0; i < shards->n_sources; i++)
        if (shards->sources[i].source.close) shards->sources[i].source.close(ctx, shards->sources[i].source.user);
    l2_free(ctx, shards->sources);
    l2_free(ctx, shards);
    l2_context_release(ctx);
}

/*
 * Shares in proportion to the weights, whole numbers of at least 1 that sum to L2_MIX_BLOCK: rounded down, the rest to
 * the largest remainders; what the minimum of 1 takes too much comes off the largest shares.
 */
static void set_shares(llama2_shards *shards)
{
    double sum = 0;
    int64_t rest = L2_MIX_BLOCK;
    l2_mixed_source *sources = shards->sources;
    for (int32_t i = 0; i < shards->n_sources; i++) sum += sources[i].weight;
    for (int32_t i = 0; i < shards->n_sources; i++) {
        double exact = sources[i].weight / sum * L2_MIX_BLOCK;
        sources[i].share = exact < 1 ? 1 : (uint32_t)exact;
        rest -= sources[i].share;
    }
    for (; rest; rest += rest < 0 ? 1 : -1) {
        int32_t best = 0;
        double most = -INFINITY;
        for (int32_t i = 0; i < shards->n_sources; i++) {
            double lack = rest > 0 ? sources[i].weight / sum * L2_MIX_BLOCK - sources[i].share : sources[i].share;
            if (lack > most) most = lack, best = i;
        }
        sources[best].share += rest > 0 ? 1u : (uint32_t)-1;
    }
    for (int32_t i = 1; i < shards->n_sources; i++) sources[i].before = sources[i - 1].before + sources[i - 1].share;
}

llama2_status l2_shards_add(llama2_shards *shards, const l2_token_source *source, double weight)
{
    if (shards->started) return l2_fail(LLAMA2_E_STATE, "sources are added before the first sequence is read");
    if (!isfinite(weight) || weight <= 0 || weight > 1e100)
        return l2_fail(LLAMA2_E_INVALID, "weight %g, it must be in (0, 1e100]", weight);
    if (shards->n_sources == L2_MAX_SOURCES)
        return l2_fail(LLAMA2_E_LIMIT, "there are %d sources already, the most there can be", L2_MAX_SOURCES);
    if (source->count < (uint64_t)shards->options.length)
        return l2_fail(LLAMA2_E_INVALID, "the source has %" PRIu64 " tokens, less than one sequence of %" PRId64,
                       source->count, shards->options.length);
    if (shards->n_sources && source->vocab_size != shards->sources[0].source.vocab_size)
        return l2_fail(LLAMA2_E_MISMATCH,
                       "the source's vocabulary has %" PRId64 " entries, that of the others %" PRId64,
                       source->vocab_size, shards->sources[0].source.vocab_size);
    if (shards->n_sources == shards->capacity) {
        int32_t capacity = shards->capacity ? 2 * shards->capacity : 8;
        L2_TRY(l2_realloc(shards->ctx, (size_t)shards->capacity, (size_t)capacity, sizeof *shards->sources,
                          &shards->sources));
        shards->capacity = capacity;
    }
    shards->sources[shards->n_sources++] = (l2_mixed_source){
        .source = *source, .weight = weight, .windows = source->count / (uint64_t)shards->options.length};
    set_shares(shards);
    shards->ranked = UINT64_MAX; /* made anew at the next use */
    return LLAMA2_OK;
}

/* --- shard files read as one text ------------------------------------------------------------ */

typedef struct file_source {
    int32_t n;
    l2_shard_file *files;
    uint64_t *ends; /* tokens up to the end of each file */
} file_source;

static llama2_status read_files(void *user, uint64_t first, uint64_t n, int32_t *out)
{
    file_source *s = user;
    int32_t low = 0, high = s->n - 1; /* the first file that ends after `first` */
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (s->ends[middle] > first)
            high = middle;
        else
            low = middle + 1;
    }
    for (int32_t i = low; n; i++) {
        uint64_t at = first - (s->ends[i] - s->files[i].count), rest = s->ends[i] - first, take = n < rest ? n : rest;
        L2_TRY(l2_shard_read(&s->files[i], at, take, out));
        if (out) out += take;
        first += take;
        n -= take;
    }
    return LLAMA2_OK;
}

static void close_files(llama2_context *ctx, void *user)
{
    file_source *s = user;
    if (!s) return;
    for (int32_t i = 0; s->files && i < s->n; i++) l2_shard_close(&s->files[i]);
    l2_free(ctx, s->files);
    l2_free(ctx, s->ends);
    l2_free(ctx, s);
}

llama2_status l2_shards_add_files(llama2_shards *shards, const char *const *paths, int32_t n_paths, double weight)
{
    llama2_status status;
    llama2_context *ctx = shards->ctx;
    file_source *s = NULL;
    uint64_t count = 0;
    L2_CHECK(l2_calloc(ctx, 1, sizeof *s, &s));
    L2_CHECK(l2_calloc(ctx, (size_t)n_paths, sizeof *s->files, &s->files));
    L2_CHECK(l2_alloc(ctx, (size_t)n_paths, sizeof *s->ends, &s->ends));
    for (; s->n < n_paths; s->n++) {
        l2_shard_file *file = &s->files[s->n];
        L2_CHECK(l2_shard_open(ctx, paths[s->n], shards->options.verify, file));
        s->ends[s->n] = count += file->count;
        if (file->vocab_size != s->files[0].vocab_size) {
            status = l2_fail(LLAMA2_E_MISMATCH, "%s: a vocabulary of %" PRId64 " entries, that of %s has %" PRId64,
                             paths[s->n], file->vocab_size, paths[0], s->files[0].vocab_size);
            s->n++;
            goto done;
        }
    }
    l2_token_source source = {
        .count = count, .vocab_size = s->files[0].vocab_size, .read = read_files, .close = close_files, .user = s};
    status = l2_shards_add(shards, &source, weight);
    if (status < 0) l2_fail_in(status, "%s", paths[0]);
done:
    if (status < 0) close_files(ctx, s);
    return status;
}

/* --- the order ------------------------------------------------------------------------------- */

static uint32_t mix_slot(const llama2_shards *shards, const uint32_t keys[4], uint64_t sequence)
{
    return shards->n_sources == 1 ? (uint32_t)(sequence % L2_MIX_BLOCK)
                                  : (uint32_t)l2_permute(keys, L2_MIX_BLOCK, sequence % L2_MIX_BLOCK);
}

static int32_t source_of(const llama2_shards *shards, uint32_t slot)
{
    int32_t low = 0, high = shards->n_sources - 1;
    while (low < high) {
        int32_t middle = low + (high - low + 1) / 2;
        if (shards->sources[middle].before <= slot)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Brings the ranks to `sequence`, within its block. */
static void rank_slots(llama2_shards *shards, const uint32_t keys[4], uint64_t sequence)
{
    uint64_t begin = sequence - sequence % L2_MIX_BLOCK;
    if (shards->ranked < begin || shards->ranked > sequence) {
        for (int32_t i = 0; i < shards->n_sources; i++) shards->sources[i].rank = 0;
        shards->ranked = begin;
    }
    for (; shards->ranked < sequence; shards->ranked++)
        shards->sources[source_of(shards, mix_slot(shards, keys, shards->ranked))].rank++;
}

void l2_shards_place(llama2_shards *shards, uint64_t sequence, l2_place *out)
{
    uint32_t keys[4];
    uint64_t seed = shards->options.seed, block = sequence / L2_MIX_BLOCK, length = (uint64_t)shards->options.length;
    l2_philox(seed, L2_RNG_MIX, block, 0, keys);
    if (shards->ranked / L2_MIX_BLOCK != block) shards->ranked = UINT64_MAX;
    rank_slots(shards, keys, sequence);
    out->source = source_of(shards, mix_slot(shards, keys, sequence));
    const l2_mixed_source *s = &shards->sources[out->source];
    uint64_t k = block * s->share + s->rank;
    out->epoch = k / s->windows;
    /* Windows begin anywhere in what is left over, another place each epoch, so that no token is always left out. */
    uint32_t position = 2 * (uint32_t)out->source;
    uint64_t shift =
        l2_rng_below(seed, L2_RNG_SHUFFLE, out->epoch, position, s->source.count - s->windows * length + 1);
    l2_philox(seed, L2_RNG_SHUFFLE, out->epoch, position + 1, keys);
    out->first = shift + l2_permute(keys, s->windows, k % s->windows) * length;
}

llama2_status l2_shards_next(llama2_shards *shards, int64_t n, int32_t *tokens, int32_t *sources)
{
    llama2_status status = LLAMA2_OK;
    l2_place *places;
    uint64_t length = (uint64_t)shards->options.length;
    if (shards->n_sources == 0) return l2_fail(LLAMA2_E_STATE, "there is no source; llama2_shards_add_source adds one");
    L2_TRY(l2_alloc(shards->ctx, (size_t)n, sizeof *places, &places));
    for (int64_t i = 0; i < n; i++) l2_shards_place(shards, shards->position + (uint64_t)i, &places[i]);
    for (int copy = 0; copy <= 1;
         copy++) { /* once to see that all can be had, so that a failure leaves the outputs untouched */
        for (int64_t i = 0; i < n; i++) {
            if (!copy) L2_CHECK(l2_context_check(shards->ctx));
            const l2_token_source *source = &shards->sources[places[i].source].source;
            L2_CHECK(source->read(source->user, places[i].first, length, copy ? tokens + (uint64_t)i * length : NULL));
            if (copy && sources) sources[i] = places[i].source;
        }
    }
    shards->position += (uint64_t)n;
    shards->started = 1;
done:
    l2_free(shards->ctx, places);
    return status;
}

uint64_t l2_shards_served(const llama2_shards *shards, int32_t source, uint64_t position)
{
    uint32_t keys[4];
    uint64_t block = position / L2_MIX_BLOCK, served = block * shards->sources[source].share;
    l2_philox(shards->options.seed, L2_RNG_MIX, block, 0, keys);
    for (uint64_t s = block * L2_MIX_BLOCK; s < position; s++)
        served += source_of(shards, mix_slot(shards, keys, s)) == source;
    return served;
}

void l2_shards_describe(const llama2_shards *shards, int32_t source, llama2_shards_source *out)
{
    const l2_mixed_source *s = &shards->sources[source];
    uint64_t sequences = l2_shards_served(shards, source, shards->position), length = (uint64_t)shards->options.length;
    *out = (llama2_shards_source){
        .struct_size = sizeof *out,
        .share = (int32_t)s->share,
        .tokens = s->source.count,
        .served = sequences > UINT64_MAX / length ? UINT64_MAX : sequences * length, /* seek may go anywhere */
        .epochs = (double)sequences / (double)s->windows,
    };
}
