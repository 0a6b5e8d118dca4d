/*
 * Stop strings: text that ends a generation, wherever the borders of tokens lie. For a host's own loop, behind a
 * decoder:
 *
 *     llama2_session_sample(session, &sampling, &token, NULL);
 *     llama2_decoder_push(decoder, token, &text, &length);
 *     llama2_stops_push(stops, text, length, &text, &length, &which);
 *     show(text, length);
 *     if (which >= 0) done();
 *
 * What is shown never holds a part of a stop string that is cut later: text that may be the beginning of one is held
 * back until that is decided.
 */
#ifndef LLAMA2_STOPS_H
#define LLAMA2_STOPS_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llama2_stops llama2_stops;

/* n >= 0 stop strings, any bytes, none of them empty, which are copied. lengths NULL: the texts end with NUL. Errors:
 * INVALID, NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_stops_create(llama2_context *ctx, const char *const *texts, const size_t *lengths,
                                             int32_t n, llama2_stops **out);
LLAMA2_API void llama2_stops_free(llama2_stops *stops);

/*
 * Takes the next text, of any length, but not what the handle has shown. *shown and *n_shown are what is certain now,
 * NUL-terminated, valid until the next call on the handle; whole characters where text and stop strings are UTF-8.
 * *which: -1, or the number of the stop string that the text has come to first (of those that end at one place, the
 * longest): *shown then ends before it, what follows it is dropped, and the next call must be llama2_stops_finish.
 * Errors: STATE after a stop string; NOMEM, with the handle as it was. Since 0.1.
 */
LLAMA2_API llama2_status llama2_stops_push(llama2_stops *stops, const char *text, size_t length, const char **shown,
                                           size_t *n_shown, int32_t *which);

/* The end of the text: gives what was held back, which is nothing after a stop string, and makes the handle ready for
 * another text. Errors: NOMEM, with the handle as it was. Since 0.1. */
LLAMA2_API llama2_status llama2_stops_finish(llama2_stops *stops, const char **shown, size_t *n_shown);

#ifdef __cplusplus
}
#endif

#endif
