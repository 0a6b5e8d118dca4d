#include "common/progress.h"
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double TERMINAL_PERIOD = 0.1, LOG_PERIOD = 10.0;
enum { BAR = 24 };

double progress_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_duration(double seconds, char *text, size_t size)
{
    if (!(seconds >= 0) || seconds > 1e9)
        snprintf(text, size, "?");
    else if (seconds < 59.95)
        snprintf(text, size, "%.1fs", seconds);
    else if (seconds < 3599.5) {
        int whole = (int)(seconds + 0.5);
        snprintf(text, size, "%dm %02ds", whole / 60, whole % 60);
    } else {
        int minutes = (int)(seconds / 60 + 0.5);
        snprintf(text, size, "%dh %02dm", minutes / 60, minutes % 60);
    }
}

void progress_count(double count, char *text, size_t size)
{
    static const char suffix[] = {0, 'k', 'M', 'G', 'T', 'P'};
    int step = 0;
    double value = count;
    while (value >= 999.5 && step < 5) value /= 1000, step++;
    int digits = step == 0 && count == floor(count) ? 0 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(text, size, "%.*f%s", digits, value, step ? (const char[]){suffix[step], 0} : "");
}

static double rate(const progress *p, double now)
{
    double elapsed = now - p->started;
    return elapsed > 0 && p->done >= p->begun_at ? (double)(p->done - p->begun_at) / elapsed : 0;
}

void progress_line(const progress *p, double now, const char *note, char *text, size_t size)
{
    char done[24], total[24], speed[24], left[24], bar[BAR + 1];
    double per_second = rate(p, now), remaining = p->total > p->done ? (double)(p->total - p->done) : 0;
    double share = p->total ? fmin((double)p->done / (double)p->total, 1) : 0;
    int filled = (int)(share * BAR);
    memset(bar, '-', BAR);
    memset(bar, '#', (size_t)filled);
    bar[BAR] = 0;
    progress_count((double)p->done, done, sizeof done);
    progress_count((double)p->total, total, sizeof total);
    progress_count(per_second, speed, sizeof speed);
    progress_duration(per_second > 0 ? remaining / per_second : -1, left, sizeof left);
    const char *gap = note && *note ? "  " : "";
    if (!note) note = "";
    if (p->total)
        snprintf(text, size, "%s [%s] %3.0f%%  %s/%s %s  %s/s  %s left%s%s", p->label, bar, floor(100 * share), done,
                 total, p->unit, speed, left, gap, note);
    else
        snprintf(text, size, "%s  %s %s  %s/s%s%s", p->label, done, p->unit, speed, gap, note);
}

void progress_start(progress *p, const char *label, const char *unit, uint64_t total, uint64_t done, bool quiet)
{
    memset(p, 0, sizeof *p);
    p->stream = stderr;
    snprintf(p->label, sizeof p->label, "%s", label);
    snprintf(p->unit, sizeof p->unit, "%s", unit);
    p->total = total;
    p->begun_at = p->done = done;
    p->quiet = quiet;
    p->terminal = isatty(STDERR_FILENO) == 1;
    p->started = p->last_drawn = progress_now();
    if (p->terminal) p->last_drawn -= 1; /* the first update is drawn */
}

void progress_update(progress *p, uint64_t done, const char *note)
{
    double now = progress_now();
    char line[256];
    p->done = done;
    if (p->quiet || now - p->last_drawn < (p->terminal ? TERMINAL_PERIOD : LOG_PERIOD)) return;
    p->last_drawn = now;
    progress_line(p, now, note, line, sizeof line);
    fprintf(p->stream, p->terminal ? "\r%s\033[K" : "%s\n", line);
    fflush(p->stream);
    p->line_open = p->terminal;
}

void progress_finish(progress *p, const char *note)
{
    char done[24], time[24], speed[24];
    double now = progress_now();
    if (p->quiet) return;
    progress_count((double)p->done, done, sizeof done);
    progress_duration(now - p->started, time, sizeof time);
    progress_count(rate(p, now), speed, sizeof speed);
    fprintf(p->stream, "%s%s: %s %s in %s (%s/s)%s%s%s\n", p->line_open ? "\r" : "", p->label, done, p->unit, time,
            speed, note && *note ? "  " : "", note ? note : "", p->line_open ? "\033[K" : "");
    fflush(p->stream);
    p->line_open = false;
}

void progress_say(progress *p, const char *format, ...)
{
    va_list list;
    if (p->quiet) return;
    if (p->line_open) fputs("\r\033[K", p->stream);
    p->line_open = false;
    va_start(list, format);
    vfprintf(p->stream, format, list);
    va_end(list);
    fputc('\n', p->stream);
    fflush(p->stream);
}
