/* What was collected, as figures and charts: degrees, bins, bias of position, time, agreement, win rates, batches. */
#ifndef EXAMPLES_ANNOTATE_STATISTICS_H
#define EXAMPLES_ANNOTATE_STATISTICS_H

#include "annotate/store.h"
#include "common/app.h"
#include "common/plot.h"

/* {"figures": [{"value", "label"}, ...], "charts": [{"name", "title", "note"}, ...]} of a kind (LLAMA2_KIND_*);
 * `with_variants`: with the chart of that name. NULL: failed; `error` says why. */
json_t *statistics_json(app *a, store *s, int32_t kind, bool with_variants, char *error, size_t error_size);
/* A chart as SVG; to be freed. NULL: there is none of that name, or it failed. */
char *statistics_chart(store *s, int32_t kind, const char *name, char *error, size_t error_size);

#endif
