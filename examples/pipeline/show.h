/* What the reports of the chain and of the loop have in common. */
#ifndef EXAMPLES_SHOW_H
#define EXAMPLES_SHOW_H

#include "common/report.h"
#include "pipeline/pipeline.h"

plot_series series_line(const char *name, const series *s);
/* A figure at the top; format: of the note below it. */
__attribute__((format(printf, 5, 6))) void show_figure(report *r, const char *name, double value, const char *label,
                                                       const char *format, ...);
/* All numbers of a result into "numbers" of report.json, by where they stand in it: "sample-1/best/2". */
void show_numbers(report *r, const char *name, const json_t *value);

#endif
