/* include/llama2/reward_card.h */
#include "train/reward_card.h"
#include "base/context.h"
#include "base/options.h"
#include <inttypes.h>
#include <math.h>

_Static_assert(sizeof(void *) != 8 || sizeof(llama2_scored_pairs) == 48, "ABI");
_Static_assert(sizeof(llama2_reward_card) == 232, "ABI");

static llama2_status read_pairs(const llama2_scored_pairs *pairs, llama2_scored_pairs *full, const char *call)
{
    if (!pairs) return l2_fail(LLAMA2_E_INVALID, "%s: pairs is NULL", call);
    *full = (llama2_scored_pairs){.struct_size = sizeof *full};
    L2_TRY(l2_options_read(pairs, full, sizeof *full, "llama2_scored_pairs"));
    return l2_scored_pairs_check(full);
}

static llama2_status check_bins(int32_t n_bins, const char *call)
{
    if (n_bins >= 1 && n_bins <= L2_MOST_BINS) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_INVALID, "%s: n_bins is %" PRId32 ", expected 1 to %d", call, n_bins, L2_MOST_BINS);
}

llama2_status llama2_reward_card_make(llama2_context *ctx, const llama2_scored_pairs *pairs, llama2_reward_card *card)
{
    llama2_scored_pairs p;
    llama2_reward_card full;
    if (!ctx || !card) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_card_make: %s is NULL", ctx ? "card" : "ctx");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_struct_check(card, "llama2_reward_card"));
    L2_TRY(read_pairs(pairs, &p, "llama2_reward_card_make"));
    L2_TRY(l2_reward_card_make(ctx, &p, &full));
    return l2_struct_write(card, &full, sizeof full, "llama2_reward_card");
}

llama2_status llama2_reward_calibration(const llama2_scored_pairs *pairs, int32_t n_bins, int64_t *counts,
                                        double *confidence, double *accuracy, double *low, double *high)
{
    llama2_scored_pairs p;
    if (!counts || !confidence || !accuracy)
        return l2_fail(LLAMA2_E_INVALID, "llama2_reward_calibration: counts, confidence or accuracy is NULL");
    L2_TRY(check_bins(n_bins, "llama2_reward_calibration"));
    L2_TRY(read_pairs(pairs, &p, "llama2_reward_calibration"));
    l2_reward_calibration(&p, n_bins, counts, confidence, accuracy, low, high);
    return LLAMA2_OK;
}

llama2_status llama2_reward_histogram(const llama2_scored_pairs *pairs, double low, double high, int32_t n_bins,
                                      int64_t *chosen, int64_t *rejected)
{
    llama2_scored_pairs p;
    if (!chosen || !rejected) return l2_fail(LLAMA2_E_INVALID, "llama2_reward_histogram: chosen or rejected is NULL");
    L2_TRY(check_bins(n_bins, "llama2_reward_histogram"));
    if (!(low < high) || !isfinite(high - low))
        return l2_fail(LLAMA2_E_INVALID, "llama2_reward_histogram: from %g to %g; expected low < high, both finite",
                       low, high);
    L2_TRY(read_pairs(pairs, &p, "llama2_reward_histogram"));
    l2_reward_histogram(&p, low, high, n_bins, chosen, rejected);
    return LLAMA2_OK;
}
