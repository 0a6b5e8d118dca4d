/*
 * report.html, one page without outside resources, and report.json with the same data. Items appear in the order of the
 * calls, under the section opened last. All text is escaped. An allocation that fails is reported by report_write().
 */
#ifndef EXAMPLES_REPORT_H
#define EXAMPLES_REPORT_H

#include "common/plot.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct report report;

report *report_create(const char *title, const char *subtitle); /* NULL without memory */
void report_free(report *r);

/* A figure at the top of the page: "0.91", "gold reward after PPO", "from 0.47 after SFT" (may be NULL). */
void report_add_figure(report *r, const char *name, double value, const char *shown, const char *label,
                       const char *note);

/* A number for report.json alone, under "numbers". */
void report_add_number(report *r, const char *name, double value);

void report_section(report *r, const char *heading, const char *text); /* text may be NULL */
void report_add_text(report *r, const char *text);

typedef enum report_chart { REPORT_LINES, REPORT_SCATTER, REPORT_HISTOGRAM, REPORT_CUMULATIVE } report_chart;

/* A chart; options->title is its heading, caption (may be NULL) what to see in it. name: its key in report.json. */
void report_add_series(report *r, report_chart kind, const char *name, const char *caption, const plot_options *options,
                       const plot_series *series, size_t n_series);
void report_add_bars(report *r, const char *name, const char *caption, const plot_options *options,
                     const char *const *groups, const plot_series *series, size_t n_series);

/* cells: rows x columns texts; columns of numbers are aligned as such. title: a sentence, or NULL. */
void report_add_table(report *r, const char *name, const char *title, const char *const *columns, size_t n_columns,
                      const char *const *cells, size_t n_rows);

typedef struct report_sample {
    const char *prompt;
    const char *kind;           /* a word beside the prompt; may be NULL */
    const char *const *answers; /* one a stage */
    const double *scores;       /* one a stage; may be NULL */
} report_sample;

/* Answers of several stages to the same prompts, side by side. */
void report_add_samples(report *r, const char *name, const char *title, const char *const *stages, size_t n_stages,
                        const report_sample *samples, size_t n_samples);

/* Writes folder/report.html and folder/report.json, each by way of a temporary file and rename; makes the folder if it
 * is missing. */
bool report_write(report *r, const char *folder, char *error, size_t error_size);

#endif
