/*
 * A progress bar on standard error, with rate and time left. On a terminal it redraws one line, at most ten times a
 * second; elsewhere it writes a line at most every ten seconds. Quiet: nothing at all.
 */
#ifndef EXAMPLES_PROGRESS_H
#define EXAMPLES_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct progress {
    FILE *stream;
    char label[48], unit[24];
    uint64_t total, begun_at, done; /* begun_at: done when it started, after a resume */
    double started, last_drawn;     /* seconds */
    bool terminal, quiet, line_open;
} progress;

/* total 0: unknown, so no bar and no time left. Unit is the plural: "tokens". done > 0 after a resume. */
void progress_start(progress *p, const char *label, const char *unit, uint64_t total, uint64_t done, bool quiet);

/* note (may be NULL): a few words behind the numbers, "loss 2.31". */
void progress_update(progress *p, uint64_t done, const char *note);

/* Leaves a last line: what was done, in which time, at which rate. */
void progress_finish(progress *p, const char *note);

/* A line of its own that does not tear the bar. */
void progress_say(progress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Seconds of a clock that never goes back. */
double progress_now(void);

/* "1h 02m", "3m 05s", "12.3s". */
void progress_duration(double seconds, char *text, size_t size);

/* "1.23M", "45.6k", "123". */
void progress_count(double count, char *text, size_t size);

/* The line as it would be drawn at the time `now`, without line ends. */
void progress_line(const progress *p, double now, const char *note, char *text, size_t size);

#endif
