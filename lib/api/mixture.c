/* include/llama2/mixture.h */
#include "train/mixture.h"
#include "base/options.h"
#include "train/shards.h"
#include <inttypes.h>

_Static_assert(sizeof(llama2_mixture_options) == 32, "ABI");

static const llama2_mixture_options defaults = {
    .struct_size = sizeof defaults, .recipe = LLAMA2_MIX_ALL, .open_first = 0.5};

void llama2_mixture_options_init(llama2_mixture_options *options, size_t size)
{
    l2_options_init(options, size, &defaults, sizeof defaults);
}

static llama2_status check_options(const llama2_mixture_options *o)
{
    if (o->recipe < LLAMA2_MIX_ALL || o->recipe > LLAMA2_MIX_OPEN_FIRST)
        return l2_fail(LLAMA2_E_INVALID, "llama2_mixture_options: recipe is %" PRId32 ", expected one of LLAMA2_MIX_*",
                       o->recipe);
    if (o->epoch_items < 0 || o->epoch_items > (int64_t)1 << 53)
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_mixture_options: epoch_items is %" PRId64 ", expected 0 to 2^53 (0: as many as can be)",
                       o->epoch_items);
    if (o->epoch_items && o->recipe != LLAMA2_MIX_WEIGHTS)
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_mixture_options: epoch_items is %" PRId64 "; only LLAMA2_MIX_WEIGHTS takes it",
                       o->epoch_items);
    if (!(o->open_first >= 0 && o->open_first <= 1))
        return l2_fail(LLAMA2_E_INVALID, "llama2_mixture_options: open_first is %g, expected 0 to 1", o->open_first);
    return LLAMA2_OK;
}

llama2_status llama2_mixture_create(llama2_context *ctx, int32_t n_sources, const int64_t *counts, const int32_t *kinds,
                                    const double *weights, const llama2_mixture_options *options, llama2_mixture **out)
{
    llama2_mixture_options o = defaults;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_mixture_create: out is NULL");
    *out = NULL;
    if (!ctx || !counts) return l2_fail(LLAMA2_E_INVALID, "llama2_mixture_create: %s is NULL", ctx ? "counts" : "ctx");
    if (n_sources < 1 || n_sources > L2_MAX_SOURCES)
        return l2_fail(LLAMA2_E_INVALID, "llama2_mixture_create: n_sources is %" PRId32 ", expected 1 to %d", n_sources,
                       L2_MAX_SOURCES);
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_mixture_options"));
    L2_TRY(check_options(&o));
    if (o.recipe == LLAMA2_MIX_WEIGHTS && !weights)
        return l2_fail(LLAMA2_E_INVALID, "llama2_mixture_create: weights is NULL, LLAMA2_MIX_WEIGHTS needs them");
    if (o.recipe >= LLAMA2_MIX_HELPFULNESS && !kinds)
        return l2_fail(LLAMA2_E_INVALID, "llama2_mixture_create: kinds is NULL, the recipe needs them");
    l2_mix_sources sources = {n_sources, counts, kinds, weights};
    return l2_mixture_new(ctx, &sources, &o, out);
}

int64_t llama2_mixture_epoch_items(const llama2_mixture *mixture)
{
    return mixture ? (int64_t)mixture->slots : 0;
}

llama2_status llama2_mixture_draw(const llama2_mixture *mixture, uint64_t position, int64_t n, int32_t *sources,
                                  int64_t *items)
{
    static const uint64_t most = (uint64_t)1 << 62;
    if (!mixture || !sources || !items)
        return l2_fail(LLAMA2_E_INVALID, "llama2_mixture_draw: %s is NULL",
                       !mixture   ? "mixture"
                       : !sources ? "sources"
                                  : "items");
    if (n < 0) return l2_fail(LLAMA2_E_INVALID, "llama2_mixture_draw: n is %" PRId64 ", less than 0", n);
    if (position > most || (uint64_t)n > most - position)
        return l2_fail(LLAMA2_E_LIMIT, "llama2_mixture_draw: position %" PRIu64 " and n %" PRId64 " go above 2^62",
                       position, n);
    L2_TRY(l2_context_check(mixture->ctx));
    for (int64_t i = 0; i < n; i++) l2_mixture_at(mixture, position + (uint64_t)i, &sources[i], &items[i]);
    return LLAMA2_OK;
}

void llama2_mixture_free(llama2_mixture *mixture)
{
    l2_mixture_delete(mixture);
}
