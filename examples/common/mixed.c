#include "common/mixed.h"

#include <stdlib.h>

bool mixed_weights(app *a, const args_list *given, double *weights)
{
    for (size_t i = 0; i < given->count; i++) {
        char *end = NULL;
        weights[i] = strtod(given->items[i], &end);
        if (end == given->items[i] || *end) return app_fail(a, "--weight %s: expected a number", given->items[i]);
    }
    return true;
}

bool mixed_draw(app *a, const llama2_mixture *mixture, const size_t *ends, uint64_t position, size_t n, size_t *places)
{
    int32_t *sources = app_must(malloc((n + 1) * sizeof *sources));
    int64_t *items = app_must(malloc((n + 1) * sizeof *items));
    bool ok = app_try(a, llama2_mixture_draw(mixture, position, (int64_t)n, sources, items), "drawing");
    for (size_t i = 0; ok && i < n; i++) places[i] = (sources[i] > 0 ? ends[sources[i] - 1] : 0) + (size_t)items[i];
    free(sources);
    free(items);
    return ok;
}
