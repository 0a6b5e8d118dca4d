/* include/llama2/stops.h: arguments checked; the work is done in lib/infer/stops.c. */
#include "base/context.h"
#include "infer/stops.h"

llama2_status llama2_stops_create(llama2_context *ctx, const char *const *texts, const size_t *lengths, int32_t n,
                                  llama2_stops **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_stops_create: out is NULL");
    *out = NULL;
    if (!ctx) return l2_fail(LLAMA2_E_INVALID, "llama2_stops_create: ctx is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_stops_check(texts, lengths, n, "llama2_stops_create"));
    return l2_stops_new(ctx, texts, lengths, n, out);
}

void llama2_stops_free(llama2_stops *stops)
{
    l2_stops_release(stops);
}

llama2_status llama2_stops_push(llama2_stops *stops, const char *text, size_t length, const char **shown,
                                size_t *n_shown, int32_t *which)
{
    size_t n;
    int32_t found;
    if (!stops || (!text && length > 0) || !shown || !n_shown || !which)
        return l2_fail(LLAMA2_E_INVALID, "llama2_stops_push: stops, text or an output is NULL");
    if (stops->ended)
        return l2_fail(LLAMA2_E_STATE,
                       "llama2_stops_push: the text has ended with a stop string; llama2_stops_finish begins another");
    L2_TRY(l2_stops_push(stops, text, length, &n, &found));
    *shown = stops->shown;
    *n_shown = n;
    *which = found;
    return LLAMA2_OK;
}

llama2_status llama2_stops_finish(llama2_stops *stops, const char **shown, size_t *n_shown)
{
    size_t n;
    if (!stops || !shown || !n_shown)
        return l2_fail(LLAMA2_E_INVALID, "llama2_stops_finish: stops or an output is NULL");
    L2_TRY(l2_stops_finish(stops, &n));
    *shown = stops->shown;
    *n_shown = n;
    return LLAMA2_OK;
}
