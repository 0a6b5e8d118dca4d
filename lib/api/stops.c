/* include/llama2/stops.h: arguments checked; the work is done in lib/infer/stops.c. */
#include "base/context.h"
#include "infer/stops.h"

#include <stdint.h>

llama2_status llama2_stops_create(llama2_context *ctx, const char *const *texts, const size_t *lengths, int32_t n,
                                  llama2_stops **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_stops_create: out is NULL");
    *out = NULL;
    if (!ctx || n < 0 || (n > 0 && !texts))
        return l2_fail(LLAMA2_E_INVALID, "llama2_stops_create: ctx or texts is NULL, or n is below 0");
    L2_TRY(l2_context_check(ctx));
    for (int32_t i = 0; i < n; i++)
        if (!texts[i] || (lengths ? lengths[i] == 0 || lengths[i] > SIZE_MAX / 32 : texts[i][0] == 0))
            return l2_fail(LLAMA2_E_INVALID, "llama2_stops_create: texts[%d] is NULL or empty, or has no length", i);
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
