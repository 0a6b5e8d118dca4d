/*
 * Small SVG charts into a growing text: lines, scatter, bars, histograms, cumulative curves. Ticks stand at round
 * numbers, or at the data where it has a few places on a logarithmic axis; colours follow the reader's light or dark
 * mode, nothing outside the text is needed. What is not finite is left out (and breaks a line).
 */
#ifndef EXAMPLES_PLOT_H
#define EXAMPLES_PLOT_H

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialise; free `data`. After a failed allocation `failed` stays set and all calls do nothing. */
typedef struct plot_text {
    char *data; /* NUL-terminated; NULL while empty */
    size_t length, capacity;
    bool failed;
} plot_text;

void plot_put(plot_text *text, const char *string);
void plot_print(plot_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void plot_utf8(plot_text *text, const char *string); /* what is not UTF-8 becomes U+FFFD */
void plot_escape(
    plot_text *text,
    const char *string); /* the same for HTML and XML, also in attributes; control characters become blanks */

enum { PLOT_SERIES = 6 }; /* more share a colour */

typedef struct plot_series {
    const char *name;
    const double *x;          /* count; NULL: 0, 1, 2, ... (lines, scatter); unused by bars and histogram */
    const double *y;          /* count; for a histogram the values */
    const double *low, *high; /* ends of the error bars; may be NULL (bars), or a band around a line */
    size_t count;
} plot_series;

typedef struct plot_options {
    const char *title, *x_label, *y_label; /* each may be NULL */
    bool log_x, log_y;                     /* values that are not positive are left out */
    bool from_zero;                        /* the y axis includes 0; bars and histograms always do */
    bool smooth;                           /* lines: the points faint, and a running mean over a 30th of them */
    bool share;                            /* y is a share: ends of intervals beyond 0 and 1 are drawn there */
    bool diagonal;                         /* scatter: a dashed line where y is x */
    bool embedded;                         /* neither title nor style: the page has them (plot_style()) */
    double level;                          /* a dashed line at this height; 0: none */
} plot_options;

void plot_lines(plot_text *out, const plot_options *options, const plot_series *series, size_t n_series);
void plot_scatter(plot_text *out, const plot_options *options, const plot_series *series, size_t n_series);

/* count of each series is the number of groups, whose names are written in full, slanted where they are long. */
void plot_bars(plot_text *out, const plot_options *options, const char *const *groups, const plot_series *series,
               size_t n_series);

/* Shares of each series' values in `bins` equal bins over their common range; of several series the outlines. */
void plot_histogram(plot_text *out, const plot_options *options, const plot_series *series, size_t n_series,
                    size_t bins);

/* The share of each series' values that is not above x: from 0 on the left to 1. */
void plot_cumulative(plot_text *out, const plot_options *options, const plot_series *series, size_t n_series);

/* CSS of all charts. */
const char *plot_style(void);

#endif
