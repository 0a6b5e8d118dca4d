/*
 * Several sources of data as one: which item of which source comes next (section 3.2.2 for reward models; "several
 * sources mixed by weight" of SFT). The host says how many items each source has and fetches them itself; nothing here
 * knows what an item is.
 *
 * Draw number p = 0, 1, 2, ... is a pure function of the seed, the recipe, the sources and p, in time that grows
 * with the logarithm of the number of sources: a data loop resumes from one number, and any part of the sequence can be
 * had without what comes before it.
 */
#ifndef LLAMA2_MIXTURE_H
#define LLAMA2_MIXTURE_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a source is to the paper's recipes: one's own annotators' comparisons, or open data. */
enum {
    LLAMA2_SOURCE_OWN_HELPFUL = 0,
    LLAMA2_SOURCE_OWN_SAFETY = 1,
    LLAMA2_SOURCE_OPEN_HELPFUL = 2,
    LLAMA2_SOURCE_OPEN_HARMLESS = 3
};

/*
 * Recipes. Sources named together are drawn from as if they were one. "All" is each item once an epoch; of the rest
 * items are drawn uniformly, without replacement until each has come (over as many epochs as that takes), then anew in
 * another order.
 */
enum {
    LLAMA2_MIX_ALL = 0,         /* all items */
    LLAMA2_MIX_WEIGHTS = 1,     /* each source its share of the epoch by weight, see epoch_items */
    LLAMA2_MIX_EQUAL = 2,       /* as many of each source as the smallest has */
    LLAMA2_MIX_HELPFULNESS = 3, /* helpfulness model: all own helpfulness, as many of own safety and open data */
    LLAMA2_MIX_SAFETY = 4,      /* safety model: all own safety and open harmless, and nine to one of them own and open
                                   helpfulness */
    LLAMA2_MIX_NINE_TO_ONE = 5, /* all own, and nine to one of them open data */
    LLAMA2_MIX_OPEN_FIRST = 6   /* all items; a part of the open ones (open_first) comes before the first own one, the
                                   rest among the own ones */
};

typedef struct llama2_mixture_options {
    uint32_t struct_size;
    int32_t recipe;      /* LLAMA2_MIX_*; default ALL */
    uint64_t seed;       /* of the order; default 0 */
    int64_t epoch_items; /* WEIGHTS: draws of an epoch, <= 2^53; 0 (default): as many as can be made without drawing an
                            item twice */
    double open_first;   /* OPEN_FIRST: share of the open items, 0 to 1; default 0.5 */
} llama2_mixture_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_mixture_options_init(llama2_mixture_options *options, size_t size);

/*
 * A mixture of n_sources sources, 1 to 1,024. All arrays have n_sources elements, and are copied. counts: items of each
 * source, >= 0, 2^53 in all at most. kinds: LLAMA2_SOURCE_*, needed by HELPFULNESS to OPEN_FIRST, else NULL will do.
 * weights: needed by WEIGHTS, 0 (never drawn from) to 1e100, else NULL will do. The share of a source in an epoch is
 * its weight divided by the sum of all, to the nearest item; one in ten is at least one item. Errors: INVALID, also
 * where a recipe has nothing to draw from, a source without items has a weight above 0 or is one of EQUAL's, or a
 * weight above 0 is less than one item of an epoch; LIMIT, NOMEM. Since 0.1.
 */
LLAMA2_API llama2_status llama2_mixture_create(llama2_context *ctx, int32_t n_sources, const int64_t *counts,
                                               const int32_t *kinds, const double *weights,
                                               const llama2_mixture_options *options, llama2_mixture **out);

/* Draws of an epoch; 0 for NULL. Since 0.1. */
LLAMA2_API int64_t llama2_mixture_epoch_items(const llama2_mixture *mixture);

/* Draws position ... position + n - 1: sources[i], and the item in it, items[i] in [0, counts[sources[i]]). Draw p is
 * of epoch p / epoch_items. Many threads may draw from one mixture. Errors: INVALID, LIMIT above 2^62. Since 0.1. */
LLAMA2_API llama2_status llama2_mixture_draw(const llama2_mixture *mixture, uint64_t position, int64_t n,
                                             int32_t *sources, int64_t *items);

LLAMA2_API void llama2_mixture_free(llama2_mixture *mixture);

#ifdef __cplusplus
}
#endif

#endif
