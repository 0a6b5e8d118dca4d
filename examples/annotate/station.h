/* The station: what its pages ask for, over store, generator and server. */
#ifndef EXAMPLES_ANNOTATE_STATION_H
#define EXAMPLES_ANNOTATE_STATION_H

#include "annotate/generate.h"
#include "annotate/server.h"

typedef struct station {
    app *a;
    store *s;
    generator *g;
    server *http;
    int32_t kind; /* LLAMA2_KIND_* */
    const char *batch, *guideline;
    int64_t version;         /* of the guideline */
    int64_t target, overlap; /* choices wanted in the batch, 0: any; every so many items a second opinion, 0: none */
} station;

extern const route station_routes[];

/* For server_settings.stream: what the generator has said of an item since. */
char *station_stream(void *user, int64_t item, uint64_t position[2], bool *ended);

#endif
