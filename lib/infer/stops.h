/* Stop strings in a text that comes in pieces. */
#ifndef L2_INFER_STOPS_H
#define L2_INFER_STOPS_H

#include "base/status.h"
#include <llama2/stops.h>

/* One stop string, by Knuth, Morris and Pratt: borders[i] is the length of the longest proper prefix of bytes[0 .. i]
 * that ends it too. */
typedef struct l2_stop {
    unsigned char *bytes;
    size_t *borders;
    size_t length;
    size_t matched; /* longest prefix that the text ends with */
} l2_stop;

struct llama2_stops {
    llama2_context *ctx;
    int32_t n;
    l2_stop *stops;
    int ended;
    char *shown; /* of the last call */
    size_t room;
};

/* INVALID for texts that are no stop strings; the message begins with `call`. */
llama2_status l2_stops_check(const char *const *texts, const size_t *lengths, int32_t n, const char *call);
llama2_status l2_stops_new(llama2_context *ctx, const char *const *texts, const size_t *lengths, int32_t n,
                           llama2_stops **out);
void l2_stops_release(llama2_stops *stops);
llama2_status l2_stops_push(llama2_stops *stops, const char *text, size_t length, size_t *n_shown, int32_t *which);
llama2_status l2_stops_finish(llama2_stops *stops, size_t *n_shown);

/* Where nothing is shown: takes text up to the end of the first stop string, and returns how many bytes these are.
 * *which as in llama2_stops_push. */
size_t l2_stops_find(llama2_stops *stops, const char *text, size_t length, int32_t *which);
/* Makes it ready for another text. */
void l2_stops_reset(llama2_stops *stops);

#endif
