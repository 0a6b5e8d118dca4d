/* What the reports of the chain, of the loop and of the ablations have in common. */
#ifndef EXAMPLES_SHOW_H
#define EXAMPLES_SHOW_H

#include "common/trend.h"
#include "pipeline/loop.h"

plot_series series_line(const char *name, const series *s);
/* A figure at the top; format: of the note below it. */
__attribute__((format(printf, 5, 6))) void show_figure(report *r, const char *name, double value, const char *label,
                                                       const char *format, ...);
/* All numbers of a result into "numbers" of report.json, by where they stand in it: "sample-1/best/2". */
void show_numbers(report *r, const char *name, const json_t *value);

/* a - b of two shares or means that are independent of each other, with its interval (Newcombe 1998). */
rate difference(rate a, rate b);
/* "0.50 (0.45 to 0.55)"; NAN: none. */
void put_score(cells *c, rate x);
/* A row of what holds: what, the paper, what was expected, the difference, whether it is so. */
void show_trend(cells *c, const char *what, const char *paper, const char *expected, trend_sign sign, rate gain,
                const char *unit);

#endif
