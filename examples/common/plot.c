#include "common/plot.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The picture in its own units: a phone shows it at about 0.8, so 12 units of text stay readable. */
static const double WIDTH = 440, HEIGHT = 280, LEFT = 50, RIGHT = 12, BOTTOM = 42, TOP = 12, CHARACTER = 6.3;
enum { MAX_TICKS = 12, MAX_POINTS = 800 };

typedef struct axis {
    double low, high; /* of the data, in log10 when logarithmic */
    double from, to;  /* pixels */
    bool logarithmic;
    double ticks[MAX_TICKS];
    size_t n_ticks;
} axis;

typedef struct chart {
    plot_text *out;
    const plot_options *options;
    axis x, y;
    double top;
} chart;

const char *plot_style(void)
{
    return ".plot{width:100%;height:auto;display:block;font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;"
           "--ink:#37393d;--rule:#e4e3df;--s0:#2b6a9b;--s1:#c8622a;--s2:#4f8a4c;--s3:#8660a8;--s4:#b5476a;--s5:#77736a}"
           "@media(prefers-color-scheme:dark){.plot{--ink:#b9bcc2;--rule:#33363c;--s0:#6fb1de;--s1:#eb9563;--s2:#"
           "86c17f;--s3:#bd9ddb;"
           "--s4:#e585a2;--s5:#aaa69c}}"
           ".plot text{fill:var(--ink)}.plot .title{font-size:14px;font-weight:600}.plot "
           ".grid{stroke:var(--rule);stroke-width:1}"
           ".plot .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.plot "
           ".faint{stroke-width:1;opacity:.28}"
           ".plot .band{stroke:none;opacity:.16}.plot .dot{stroke:none;opacity:.6}.plot .over rect{opacity:.55}.plot "
           ".whisker{stroke:var(--ink);stroke-width:1.2}"
           ".plot .c0{stroke:var(--s0)}.plot .c1{stroke:var(--s1)}.plot .c2{stroke:var(--s2)}.plot "
           ".c3{stroke:var(--s3)}.plot .c4{stroke:var(--s4)}"
           ".plot .c5{stroke:var(--s5)}.plot .f0{fill:var(--s0)}.plot .f1{fill:var(--s1)}.plot "
           ".f2{fill:var(--s2)}.plot .f3{fill:var(--s3)}"
           ".plot .f4{fill:var(--s4)}.plot .f5{fill:var(--s5)}";
}

/* --- axes ------------------------------------------------------------------------------------ */

static double place(const axis *a, double value)
{
    double v = a->logarithmic ? log10(value) : value;
    return a->from + (v - a->low) / (a->high - a->low) * (a->to - a->from);
}

static bool shown(const axis *a, double value)
{
    return isfinite(value) && (!a->logarithmic || value > 0);
}

static void include(axis *a, double value)
{
    if (!shown(a, value)) return;
    double v = a->logarithmic ? log10(value) : value;
    if (v < a->low) a->low = v;
    if (v > a->high) a->high = v;
}

/* The smallest of 1, 2, 5 times a power of ten that is at least x. */
static double round_step(double x)
{
    double power = pow(10, floor(log10(x)));
    return x <= power * 1.0001 ? power : x <= 2.0001 * power ? 2 * power : x <= 5.0001 * power ? 5 * power : 10 * power;
}

static void linear_ticks(axis *a, bool widen)
{
    double step = round_step((a->high - a->low) / 5), first = floor(a->low / step + 1e-9),
           last = ceil(a->high / step - 1e-9);
    if (!widen) first = ceil(a->low / step - 1e-9), last = floor(a->high / step + 1e-9);
    for (double k = first; k <= last && a->n_ticks < MAX_TICKS; k++) a->ticks[a->n_ticks++] = k * step + 0.0;
    if (widen) {
        a->low = first * step;
        a->high = last * step;
    }
}

static void log_ticks(axis *a)
{
    static const double STEPS[] = {1, 2, 5};
    double decades = a->high - a->low, stride = ceil(decades / 7);
    for (double e = floor(a->low); e <= a->high + 1e-9; e += stride > 1 ? stride : 1)
        for (int s = 0; s < (decades < 2 ? 3 : 1); s++) {
            double v = e + log10(STEPS[s]);
            if (v >= a->low - 1e-9 && v <= a->high + 1e-9 && a->n_ticks < MAX_TICKS)
                a->ticks[a->n_ticks++] = pow(10, v);
        }
}

/* After the data is included: never empty, ticks at round numbers. widen: the axis ends at ticks. */
static void settle(axis *a, bool widen)
{
    if (!(a->low <= a->high)) a->low = 0, a->high = 1;
    if (a->high - a->low < 1e-12 * (1 + fabs(a->low))) {
        double room = a->low != 0 ? 0.1 * fabs(a->low) : 1;
        a->low -= room;
        a->high += room;
    }
    if (a->logarithmic)
        log_ticks(a);
    else
        linear_ticks(a, widen);
}

static void number_text(double value, double step, char *text, size_t size)
{
    static const char *const SUFFIX[] = {"", "k", "M", "G"};
    int k = 0;
    double scale = 1;
    if (value != 0 && fabs(value) < 1e-3) {
        snprintf(text, size, "%.0e", value);
        return;
    }
    while (fabs(value) / scale >= 10000 && k < 3) scale *= 1000, k++;
    if (k == 0 && fabs(value) >= 1000 && fmod(value, 100) == 0 && step >= 100) scale = 1000, k = 1;
    int digits = step > 0 ? (int)ceil(-log10(step / scale) - 1e-9) : 6;
    if (step <= 0)
        snprintf(text, size, "%g%s", value / scale, SUFFIX[k]);
    else
        snprintf(text, size, "%.*f%s", digits < 0 ? 0 : digits > 8 ? 8 : digits, value / scale, SUFFIX[k]);
}

static double tick_step(const axis *a)
{
    return a->logarithmic || a->n_ticks < 2 ? 0 : a->ticks[1] - a->ticks[0];
}

/* --- frame ----------------------------------------------------------------------------------- */

/* A row of names with their colours; returns the height it took. */
static double draw_legend(chart *c, const plot_series *series, size_t n, double y)
{
    double x = LEFT;
    size_t named = 0;
    for (size_t i = 0; i < n; i++) named += series[i].name != NULL;
    if (named < 2) return 0;
    double start = y;
    for (size_t i = 0; i < n; i++) {
        if (!series[i].name) continue;
        double width = 22 + CHARACTER * (double)strlen(series[i].name);
        if (x > LEFT && x + width > WIDTH - RIGHT) x = LEFT, y += 17;
        plot_print(c->out,
                   "<rect class=\"f%zu\" x=\"%.1f\" y=\"%.1f\" width=\"10\" height=\"10\" rx=\"2\"/><text x=\"%.1f\" "
                   "y=\"%.1f\">",
                   i % PLOT_SERIES, x, y + 1, x + 14, y + 10);
        plot_escape(c->out, series[i].name);
        plot_put(c->out, "</text>");
        x += width + 8;
    }
    return y + 22 - start;
}

static void begin(chart *c, plot_text *out, const plot_options *options, const plot_series *series, size_t n)
{
    memset(c, 0, sizeof *c);
    c->out = out;
    c->options = options;
    c->x = (axis){.low = INFINITY, .high = -INFINITY, .from = LEFT, .to = WIDTH - RIGHT, .logarithmic = options->log_x};
    c->y = (axis){.low = INFINITY, .high = -INFINITY, .from = HEIGHT - BOTTOM, .logarithmic = options->log_y};
    plot_print(
        out,
        "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"",
        WIDTH, HEIGHT);
    plot_escape(out, options->title ? options->title : "chart");
    plot_put(out, "\">");
    c->top = TOP;
    if (!options->embedded) {
        plot_print(out, "<style>%s</style>", plot_style());
        if (options->title) {
            plot_print(out, "<text class=\"title\" x=\"%g\" y=\"%g\">", LEFT, TOP + 8);
            plot_escape(out, options->title);
            plot_put(out, "</text>");
            c->top += 22;
        }
    }
    c->top += draw_legend(c, series, n, c->top - 6);
    c->y.to = c->top;
}

static void draw_axes(chart *c, bool x_ticks)
{
    char text[32];
    for (size_t i = 0; i < c->y.n_ticks; i++) {
        double y = place(&c->y, c->y.ticks[i]);
        number_text(c->y.ticks[i], tick_step(&c->y), text, sizeof text);
        plot_print(c->out,
                   "<path class=\"grid\" d=\"M%g %.1fH%g\"/><text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
                   LEFT, y, WIDTH - RIGHT, LEFT - 6, y + 4, text);
    }
    for (size_t i = 0; x_ticks && i < c->x.n_ticks; i++) {
        double x = place(&c->x, c->x.ticks[i]);
        number_text(c->x.ticks[i], tick_step(&c->x), text, sizeof text);
        plot_print(c->out,
                   "<path class=\"grid\" d=\"M%.1f %gv4\"/><text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%s</text>",
                   x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 17, text);
    }
    if (c->options->x_label) {
        plot_print(c->out, "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6);
        plot_escape(c->out, c->options->x_label);
        plot_put(c->out, "</text>");
    }
    if (c->options->y_label) {
        plot_print(c->out, "<text transform=\"translate(11 %.1f) rotate(-90)\" text-anchor=\"middle\">",
                   (c->y.from + c->y.to) / 2);
        plot_escape(c->out, c->options->y_label);
        plot_put(c->out, "</text>");
    }
}

/* --- lines and points ------------------------------------------------------------------------ */

static double x_of(const plot_series *s, size_t i)
{
    return s->x ? s->x[i] : (double)i;
}

/* Mean of y over [first, last) without what cannot be shown; NAN if nothing is left. */
static double mean_of(const chart *c, const double *y, size_t first, size_t last)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = first; i < last; i++)
        if (shown(&c->y, y[i])) sum += y[i], n++;
    return n ? sum / (double)n : (double)NAN;
}

/* A polyline over values; window > 0: the running mean over that many to each side. Long series are drawn as means of
 * neighbours. */
static void draw_path(chart *c, const plot_series *s, const double *y, size_t window, const char *class, size_t colour)
{
    size_t stride = (s->count + MAX_POINTS - 1) / MAX_POINTS;
    bool open = false;
    plot_print(c->out, "<path class=\"%s c%zu\" d=\"", class, colour % PLOT_SERIES);
    for (size_t i = 0; i < s->count; i += stride) {
        size_t end = i + stride < s->count ? i + stride : s->count, middle = (i + end - 1) / 2;
        size_t first = i > window ? i - window : 0, last = end + window < s->count ? end + window : s->count;
        double value = shown(&c->y, y[middle]) || stride > 1 ? mean_of(c, y, first, last) : (double)NAN,
               at = x_of(s, middle);
        if (!shown(&c->x, at) || !shown(&c->y, value)) {
            open = false;
            continue;
        }
        plot_print(c->out, "%c%.1f %.1f", open ? 'L' : 'M', place(&c->x, at), place(&c->y, value));
        open = true;
    }
    plot_put(c->out, "\"/>");
}

static void draw_band(chart *c, const plot_series *s, size_t colour)
{
    char command = 'M';
    plot_print(c->out, "<path class=\"band f%zu\" d=\"", colour % PLOT_SERIES);
    for (size_t k = 0; k < 2 * s->count; k++) {
        size_t i = k < s->count ? k : 2 * s->count - 1 - k;
        double y = k < s->count ? s->low[i] : s->high[i];
        if (!shown(&c->x, x_of(s, i)) || !shown(&c->y, s->low[i]) || !shown(&c->y, s->high[i])) continue;
        plot_print(c->out, "%c%.1f %.1f", command, place(&c->x, x_of(s, i)), place(&c->y, y));
        command = 'L';
    }
    plot_put(c->out, command == 'M' ? "\"/>" : "Z\"/>");
}

static void measure(chart *c, const plot_series *series, size_t n)
{
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < series[k].count; i++) {
            const plot_series *s = &series[k];
            if (!shown(&c->x, x_of(s, i)) || !shown(&c->y, s->y[i])) continue;
            include(&c->x, x_of(s, i));
            include(&c->y, s->y[i]);
            if (s->low) include(&c->y, s->low[i]);
            if (s->high) include(&c->y, s->high[i]);
        }
    if (c->options->from_zero && !c->y.logarithmic) include(&c->y, 0);
    settle(&c->x, false);
    settle(&c->y, true);
}

void plot_lines(plot_text *out, const plot_options *options, const plot_series *series, size_t n)
{
    chart c;
    begin(&c, out, options, series, n);
    measure(&c, series, n);
    draw_axes(&c, true);
    for (size_t k = 0; k < n; k++) {
        bool smooth = options->smooth && series[k].count >= 40;
        if (series[k].low && series[k].high) draw_band(&c, &series[k], k);
        if (smooth) draw_path(&c, &series[k], series[k].y, 0, "line faint", k);
        draw_path(&c, &series[k], series[k].y, smooth ? series[k].count / 60 : 0, "line", k);
    }
    plot_put(out, "</svg>");
}

void plot_scatter(plot_text *out, const plot_options *options, const plot_series *series, size_t n)
{
    chart c;
    begin(&c, out, options, series, n);
    measure(&c, series, n);
    draw_axes(&c, true);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < series[k].count; i++) {
            double x = x_of(&series[k], i), y = series[k].y[i];
            if (shown(&c.x, x) && shown(&c.y, y))
                plot_print(out, "<circle class=\"dot f%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", k % PLOT_SERIES,
                           place(&c.x, x), place(&c.y, y));
        }
    plot_put(out, "</svg>");
}

/* --- bars ------------------------------------------------------------------------------------ */

static void draw_bar(chart *c, double x, double width, double value, size_t colour)
{
    if (!isfinite(value)) return;
    double zero = place(&c->y, 0), at = place(&c->y, value);
    plot_print(c->out, "<rect class=\"f%zu\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
               colour % PLOT_SERIES, x, fmin(zero, at), width, fabs(zero - at));
}

static void draw_whisker(chart *c, double x, double low, double high)
{
    if (!isfinite(low) || !isfinite(high)) return;
    double a = place(&c->y, low), b = place(&c->y, high);
    plot_print(c->out, "<path class=\"whisker\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh6M%.1f %.1fh6\"/>", x, a, b, x - 3, a,
               x - 3, b);
}

/* The group's name below its bars, cut where it would run into the next. */
static void draw_group_name(chart *c, const char *name, double middle, double room, bool lower)
{
    size_t fits = (size_t)(room / CHARACTER), length = strlen(name);
    char text[64];
    if (fits > sizeof text - 4) fits = sizeof text - 4;
    size_t kept = length <= fits ? length : fits > 1 ? fits - 1 : 1;
    while (kept < length && kept > 0 && ((unsigned char)name[kept] & 0xC0) == 0x80) kept--; /* not within a character */
    snprintf(text, sizeof text, "%.*s%s", (int)kept, name, length <= fits ? "" : "\u2026");
    plot_print(c->out, "<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">", middle,
               HEIGHT - BOTTOM + (lower ? 29 : 16));
    plot_escape(c->out, text);
    plot_put(c->out, "</text>");
}

void plot_bars(plot_text *out, const plot_options *options, const char *const *groups, const plot_series *series,
               size_t n)
{
    chart c;
    plot_options plain = *options;
    size_t n_groups = 0;
    bool crowded = false;
    plain.log_x = plain.log_y = false;
    begin(&c, out, &plain, series, n);
    include(&c.y, 0);
    for (size_t k = 0; k < n; k++) {
        if (series[k].count > n_groups) n_groups = series[k].count;
        for (size_t g = 0; g < series[k].count; g++) {
            include(&c.y, series[k].y[g]);
            if (series[k].low) include(&c.y, series[k].low[g]);
            if (series[k].high) include(&c.y, series[k].high[g]);
        }
    }
    settle(&c.y, true);
    draw_axes(&c, false);
    double room = (WIDTH - RIGHT - LEFT) / (double)(n_groups ? n_groups : 1),
           width = fmin(0.78 * room / (double)(n ? n : 1), 44);
    for (size_t g = 0; g < n_groups; g++) crowded = crowded || CHARACTER * (double)strlen(groups[g]) > room;
    for (size_t g = 0; g < n_groups; g++) {
        double middle = LEFT + ((double)g + 0.5) * room;
        for (size_t k = 0; k < n; k++) {
            double x = middle + ((double)k - 0.5 * (double)n) * width;
            if (g >= series[k].count) continue;
            draw_bar(&c, x + 0.5, width - 1, series[k].y[g], k);
            if (series[k].low && series[k].high) draw_whisker(&c, x + width / 2, series[k].low[g], series[k].high[g]);
        }
        draw_group_name(&c, groups[g], middle, crowded ? 2 * room - 6 : room, crowded && g % 2);
    }
    plot_put(out, "</svg>");
}

void plot_histogram(plot_text *out, const plot_options *options, const plot_series *series, size_t n, size_t bins)
{
    enum { MAX_BINS = 80 };
    chart c;
    plot_options plain = *options;
    double shares[PLOT_SERIES][MAX_BINS] = {{0}};
    plain.log_x = plain.log_y = false;
    if (bins < 1) bins = 1;
    if (bins > MAX_BINS) bins = MAX_BINS;
    if (n > PLOT_SERIES) n = PLOT_SERIES;
    begin(&c, out, &plain, series, n);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < series[k].count; i++) include(&c.x, series[k].y[i]);
    settle(&c.x, true);
    for (size_t k = 0; k < n; k++) {
        size_t total = 0;
        for (size_t i = 0; i < series[k].count; i++) {
            double value = series[k].y[i];
            if (!isfinite(value)) continue;
            size_t bin = (size_t)((value - c.x.low) / (c.x.high - c.x.low) * (double)bins);
            shares[k][bin < bins ? bin : bins - 1]++;
            total++;
        }
        for (size_t b = 0; b < bins; b++) {
            shares[k][b] /= total ? (double)total : 1;
            include(&c.y, shares[k][b]);
        }
    }
    include(&c.y, 0);
    settle(&c.y, true);
    draw_axes(&c, true);
    double room = (c.x.to - c.x.from) / (double)bins;
    plot_put(out, n > 1 ? "<g class=\"over\">" : "<g>"); /* several lie over one another */
    for (size_t k = 0; k < n; k++)
        for (size_t b = 0; b < bins; b++)
            if (shares[k][b] > 0) draw_bar(&c, c.x.from + (double)b * room + 0.3, room - 0.6, shares[k][b], k);
    plot_put(out, "</g></svg>");
}
