/* The text that is held back is a prefix of a stop string, so nothing of it has to be kept. */
#include "infer/stops.h"

#include "base/alloc.h"
#include "base/context.h"

#include <stdint.h>
#include <string.h>

static void find_borders(l2_stop *s)
{
    size_t border = 0;
    s->borders[0] = 0;
    for (size_t i = 1; i < s->length; i++) {
        while (border > 0 && s->bytes[i] != s->bytes[border]) border = s->borders[border - 1];
        if (s->bytes[i] == s->bytes[border]) border++;
        s->borders[i] = border;
    }
}

llama2_status l2_stops_check(const char *const *texts, const size_t *lengths, int32_t n, const char *call)
{
    if (n < 0) return l2_fail(LLAMA2_E_INVALID, "%s: the number of stop strings is %d", call, n);
    if (n > 0 && !texts) return l2_fail(LLAMA2_E_INVALID, "%s: the stop strings are NULL, their number is %d", call, n);
    for (int32_t i = 0; i < n; i++)
        if (!texts[i] || (lengths ? lengths[i] == 0 || lengths[i] > SIZE_MAX / 32 : texts[i][0] == 0))
            return l2_fail(LLAMA2_E_INVALID, "%s: stop string %d is NULL or empty, or its length can't be", call, i);
    return LLAMA2_OK;
}

llama2_status l2_stops_new(llama2_context *ctx, const char *const *texts, const size_t *lengths, int32_t n,
                           llama2_stops **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_stops *all;
    *out = NULL;
    L2_TRY(l2_calloc(ctx, 1, sizeof *all, &all));
    all->ctx = l2_context_retain(ctx);
    L2_CHECK(l2_calloc(ctx, (size_t)n, sizeof *all->stops, &all->stops));
    all->n = n;
    for (int32_t i = 0; i < n; i++) {
        l2_stop *s = &all->stops[i];
        s->length = lengths ? lengths[i] : strlen(texts[i]);
        L2_CHECK(l2_alloc(ctx, s->length, 1, &s->bytes));
        L2_CHECK(l2_alloc(ctx, s->length, sizeof *s->borders, &s->borders));
        memcpy(s->bytes, texts[i], s->length);
        find_borders(s);
    }
    *out = all;
    all = NULL;
done:
    l2_stops_release(all);
    return status;
}

void l2_stops_release(llama2_stops *all)
{
    if (!all) return;
    llama2_context *ctx = all->ctx;
    for (int32_t i = 0; i < all->n; i++) {
        l2_free(ctx, all->stops[i].borders);
        l2_free(ctx, all->stops[i].bytes);
    }
    l2_free(ctx, all->stops);
    l2_free(ctx, all->shown);
    l2_free(ctx, all);
    l2_context_release(ctx);
}

/* Is it there with this byte? */
static int step(l2_stop *s, unsigned char byte)
{
    while (s->matched > 0 && byte != s->bytes[s->matched]) s->matched = s->borders[s->matched - 1];
    if (byte == s->bytes[s->matched]) s->matched++;
    return s->matched == s->length;
}

size_t l2_stops_find(llama2_stops *all, const char *text, size_t length, int32_t *which)
{
    size_t i = 0;
    *which = -1;
    while (i < length && *which < 0) {
        unsigned char byte = (unsigned char)text[i++];
        for (int32_t k = 0; k < all->n; k++)
            if (step(&all->stops[k], byte) && (*which < 0 || all->stops[k].length > all->stops[*which].length))
                *which = k;
    }
    return i;
}

void l2_stops_reset(llama2_stops *all)
{
    for (int32_t i = 0; i < all->n; i++) all->stops[i].matched = 0;
    all->ended = 0;
}

/* The stop string that the text goes on with for longest. */
static const l2_stop *holder(const llama2_stops *all)
{
    const l2_stop *longest = NULL;
    for (int32_t i = 0; i < all->n; i++)
        if (all->stops[i].matched > (longest ? longest->matched : 0)) longest = &all->stops[i];
    return longest;
}

/* Puts what is held back at the start of `shown`, with room for `more` bytes and a NUL behind it. */
static llama2_status show_held(llama2_stops *all, size_t more, size_t *held)
{
    const l2_stop *s = all->ended ? NULL : holder(all);
    size_t n = s ? s->matched : 0;
    if (n + more >= all->room) {
        size_t room = 2 * (n + more) + 64;
        L2_TRY(l2_realloc(all->ctx, 0, room, 1, &all->shown));
        all->room = room;
    }
    if (n) memcpy(all->shown, s->bytes, n);
    *held = n;
    return LLAMA2_OK;
}

llama2_status l2_stops_push(llama2_stops *all, const char *text, size_t length, size_t *n_shown, int32_t *which)
{
    size_t held;
    L2_TRY(show_held(all, length, &held));
    if (length) memcpy(all->shown + held, text, length);
    size_t end = held + l2_stops_find(all, text, length, which);
    if (*which >= 0) {
        end -= all->stops[*which].length;
        all->ended = 1;
    } else if (holder(all)) {
        end -= holder(all)->matched;
    }
    all->shown[end] = 0;
    *n_shown = end;
    return LLAMA2_OK;
}

llama2_status l2_stops_finish(llama2_stops *all, size_t *n_shown)
{
    L2_TRY(show_held(all, 0, n_shown));
    all->shown[*n_shown] = 0;
    l2_stops_reset(all);
    return LLAMA2_OK;
}
