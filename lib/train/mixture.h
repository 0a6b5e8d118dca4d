/*
 * Mixing sources of items. A recipe is a few groups of sources; a group is drawn from as one run of N items. An epoch
 * has E slots in one or two phases; a permutation that depends on (seed, epoch, phase) spreads the parts of a phase
 * over its slots. A slot of a part is draw number
 *
 *     k = epoch * quota of the group + offset of the part + place in the part
 *
 * of its group: item P_{group, k / N}(k mod N), P a permutation for each pass through the group. So nothing is counted,
 * and draws are without replacement within a pass.
 */
#ifndef L2_TRAIN_MIXTURE_H
#define L2_TRAIN_MIXTURE_H

#include "base/context.h"
#include "base/status.h"
#include <llama2/mixture.h>

typedef struct l2_mix_group {
    int32_t first, n;      /* of `sources` and `ends` */
    uint64_t items, quota; /* N; draws an epoch */
} l2_mix_group;

typedef struct l2_mix_part {
    int32_t group, reserved;
    uint64_t before, offset; /* slots of the epoch before it; draws of its group in the epoch before it */
} l2_mix_part;

struct llama2_mixture {
    llama2_context *ctx;
    uint64_t seed, slots, first_phase; /* slots of an epoch, and of its first phase; 0: there is one phase */
    int32_t n_groups, n_parts, n_placed;
    l2_mix_group *groups;
    l2_mix_part *parts;
    int32_t *sources; /* n_placed: those that are drawn from, group by group */
    uint64_t *ends;   /* n_placed: items up to the end of each within its group */
};

/* The sources as the host gives them. */
typedef struct l2_mix_sources {
    int32_t n;
    const int64_t *counts;
    const int32_t *kinds;
    const double *weights;
} l2_mix_sources;

llama2_status l2_mixture_new(llama2_context *ctx, const l2_mix_sources *sources, const llama2_mixture_options *options,
                             llama2_mixture **out);
void l2_mixture_at(const llama2_mixture *mixture, uint64_t position, int32_t *source, int64_t *item);
void l2_mixture_delete(llama2_mixture *mixture);

#endif
