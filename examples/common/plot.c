#include "common/plot.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The picture in its own units: a phone shows it at about 0.8, so 12 units of text stay readable. */
static const double WIDTH = 440, HEIGHT = 280, LEFT = 56, RIGHT = 12, BOTTOM = 42, TOP = 12, CHARACTER = 6.3;
enum { MAX_TICKS = 12, MAX_POINTS = 800, MAX_PLACES = 8 };

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
    double top, height; /* where the plot begins, below the legend; of the picture */
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
           ".plot .band{stroke:none;opacity:.16}.plot .dot{stroke:none;opacity:.6}.plot "
           ".whisker{stroke:var(--ink);stroke-width:1.2}.plot "
           ".level{stroke:var(--ink);stroke-width:1;stroke-dasharray:4 "
           "4;opacity:.7;fill:none}"
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

/* The end of an interval of a share may lie where no share can. */
static double held(const chart *c, double value)
{
    return c->options->share && isfinite(value) ? fmin(fmax(value, 0), 1) : value;
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
        snprintf(text, size, "%.*g%s", k == 0 ? 6 : fabs(value) / scale < 999.5 ? 3 : 4, value / scale, SUFFIX[k]);
    else
        snprintf(text, size, "%.*f%s", digits < 0 ? 0 : digits > 8 ? 8 : digits, value / scale, SUFFIX[k]);
}

static double tick_step(const axis *a)
{
    return a->logarithmic || a->n_ticks < 2 ? 0 : a->ticks[1] - a->ticks[0];
}

static size_t letters(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
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
        double width = 22 + CHARACTER * (double)letters(series[i].name);
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

/* bottom: the room below the plot. */
static void begin(chart *c, plot_text *out, const plot_options *options, const plot_series *series, size_t n,
                  double bottom)
{
    memset(c, 0, sizeof *c);
    c->out = out;
    c->options = options;
    c->height = HEIGHT - BOTTOM + bottom;
    c->x = (axis){.low = INFINITY, .high = -INFINITY, .from = LEFT, .to = WIDTH - RIGHT, .logarithmic = options->log_x};
    c->y = (axis){.low = INFINITY, .high = -INFINITY, .from = HEIGHT - BOTTOM, .logarithmic = options->log_y};
    plot_print(
        out,
        "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %.0f\" role=\"img\" aria-label=\"",
        WIDTH, c->height);
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
        double middle = fmin(x, WIDTH - CHARACTER * (double)strlen(text) / 2); /* not beyond the picture's edge */
        plot_print(c->out,
                   "<path class=\"grid\" d=\"M%.1f %gv4\"/><text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%s</text>",
                   x, HEIGHT - BOTTOM, middle, HEIGHT - BOTTOM + 17, text);
    }
    if (c->options->level != 0)
        plot_print(c->out, "<path class=\"level\" d=\"M%g %.1fH%g\"/>", LEFT, place(&c->y, c->options->level),
                   WIDTH - RIGHT);
    if (c->options->x_label) {
        plot_print(c->out, "<text x=\"%g\" y=\"%.1f\" text-anchor=\"middle\">", (LEFT + WIDTH - RIGHT) / 2,
                   c->height - 6);
        plot_escape(c->out, c->options->x_label);
        plot_put(c->out, "</text>");
    }
    if (c->options->y_label) {
        plot_print(c->out, "<text transform=\"translate(10 %.1f) rotate(-90)\" text-anchor=\"middle\">",
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
        double y = held(c, k < s->count ? s->low[i] : s->high[i]);
        if (!shown(&c->x, x_of(s, i)) || !shown(&c->y, s->low[i]) || !shown(&c->y, s->high[i])) continue;
        plot_print(c->out, "%c%.1f %.1f", command, place(&c->x, x_of(s, i)), place(&c->y, y));
        command = 'L';
    }
    plot_put(c->out, command == 'M' ? "\"/>" : "Z\"/>");
}

/* A few places on a logarithmic axis, not too close, have the ticks: 1, 2, 4, 8 samples. */
static void ticks_at_places(axis *a, const plot_series *series, size_t n)
{
    double places[MAX_PLACES];
    size_t found = 0;
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < series[k].count; i++) {
            double x = x_of(&series[k], i), nearest = INFINITY;
            if (!shown(a, x)) continue;
            for (size_t j = 0; j < found; j++) nearest = fmin(nearest, fabs(place(a, x) - place(a, places[j])));
            if (nearest < 0.5) continue;
            if (nearest < 26 || found == MAX_PLACES) return;
            places[found++] = x;
        }
    memcpy(a->ticks, places, found * sizeof *places);
    a->n_ticks = found;
}

static void measure(chart *c, const plot_series *series, size_t n)
{
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < series[k].count; i++) {
            const plot_series *s = &series[k];
            if (!shown(&c->x, x_of(s, i)) || !shown(&c->y, s->y[i])) continue;
            include(&c->x, x_of(s, i));
            include(&c->y, s->y[i]);
            if (s->low) include(&c->y, held(c, s->low[i]));
            if (s->high) include(&c->y, held(c, s->high[i]));
        }
    if (c->options->from_zero && !c->y.logarithmic) include(&c->y, 0);
    /* Estimates of what is never negative may be so by a little: they need no room of their own. */
    if (c->options->from_zero && c->y.low < 0 && c->y.low > -0.05 * c->y.high) c->y.low = 0;
    if (c->options->level != 0) include(&c->y, c->options->level);
    settle(&c->x, false);
    settle(&c->y, true);
    if (c->x.logarithmic) ticks_at_places(&c->x, series, n);
}

/* Where y is x. */
static void draw_diagonal(chart *c)
{
    double low = fmax(c->x.low, c->y.low), high = fmin(c->x.high, c->y.high);
    if (c->options->diagonal && !c->x.logarithmic && !c->y.logarithmic && low < high)
        plot_print(c->out, "<path class=\"level\" d=\"M%.1f %.1fL%.1f %.1f\"/>", place(&c->x, low), place(&c->y, low),
                   place(&c->x, high), place(&c->y, high));
}

void plot_lines(plot_text *out, const plot_options *options, const plot_series *series, size_t n)
{
    chart c;
    begin(&c, out, options, series, n, BOTTOM);
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
    begin(&c, out, options, series, n, BOTTOM);
    measure(&c, series, n);
    draw_axes(&c, true);
    draw_diagonal(&c);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < series[k].count; i++) {
            double x = x_of(&series[k], i), y = series[k].y[i];
            if (shown(&c.x, x) && shown(&c.y, y))
                plot_print(out, "<circle class=\"dot f%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"%g\"/>", k % PLOT_SERIES,
                           place(&c.x, x), place(&c.y, y), series[k].count > 200 ? 2 : 3.0);
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

/* Names below groups: in one row, in two, or slanted, where they are too long for that. */
typedef struct group_names {
    double room, angle, bottom; /* of a group; degrees, 0: not slanted; what they take below the plot */
    bool two_rows;
} group_names;

static group_names lay_out(const char *const *groups, size_t n)
{
    static const double ANGLES[] = {35, 50, 65, 90};
    group_names g = {.room = (WIDTH - RIGHT - LEFT) / (double)(n ? n : 1), .bottom = BOTTOM};
    double longest = 0;
    bool fit = true;
    for (size_t i = 0; i < n; i++) {
        double width = CHARACTER * (double)letters(groups[i]);
        longest = fmax(longest, width);
        if (width > g.room - 4) g.two_rows = true;
        /* The last one's half has its group's and the margin. */
        if (width > 2 * g.room - 6 || (i + 1 == n && width > g.room + 2 * RIGHT)) fit = false;
    }
    if (fit || !g.two_rows) return g;
    g.two_rows = false;
    for (size_t k = 0; k < sizeof ANGLES / sizeof *ANGLES; k++) {
        g.angle = ANGLES[k];
        if (longest * cos(g.angle * 0.0174533) < LEFT + g.room / 2) break; /* the first one begins in the picture */
    }
    g.bottom = fmax(BOTTOM, longest * sin(g.angle * 0.0174533) + 34);
    return g;
}

static void draw_group_name(chart *c, const group_names *g, const char *name, double middle, bool lower)
{
    double y = HEIGHT - BOTTOM + (lower ? 29 : 16);
    if (g->angle > 0)
        plot_print(c->out, "<text transform=\"translate(%.1f %.1f) rotate(-%g)\" text-anchor=\"end\">", middle + 4,
                   y - 2, g->angle);
    else
        plot_print(c->out, "<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">", middle, y);
    plot_escape(c->out, name);
    plot_put(c->out, "</text>");
}

void plot_bars(plot_text *out, const plot_options *options, const char *const *groups, const plot_series *series,
               size_t n)
{
    chart c;
    plot_options plain = *options;
    size_t n_groups = 0;
    plain.log_x = plain.log_y = false;
    for (size_t k = 0; k < n; k++)
        if (series[k].count > n_groups) n_groups = series[k].count;
    const group_names names = lay_out(groups, n_groups);
    begin(&c, out, &plain, series, n, names.bottom);
    include(&c.y, 0);
    if (plain.level != 0) include(&c.y, plain.level);
    for (size_t k = 0; k < n; k++) {
        for (size_t g = 0; g < series[k].count; g++) {
            include(&c.y, series[k].y[g]);
            if (series[k].low) include(&c.y, held(&c, series[k].low[g]));
            if (series[k].high) include(&c.y, held(&c, series[k].high[g]));
        }
    }
    settle(&c.y, true);
    draw_axes(&c, false);
    double width = fmin(0.78 * names.room / (double)(n ? n : 1), 44);
    for (size_t g = 0; g < n_groups; g++) {
        double middle = LEFT + ((double)g + 0.5) * names.room;
        for (size_t k = 0; k < n; k++) {
            double x = middle + ((double)k - 0.5 * (double)n) * width;
            if (g >= series[k].count) continue;
            draw_bar(&c, x + 0.5, width - 1, series[k].y[g], k);
            if (series[k].low && series[k].high)
                draw_whisker(&c, x + width / 2, held(&c, series[k].low[g]), held(&c, series[k].high[g]));
        }
        draw_group_name(&c, &names, groups[g], middle, names.two_rows && g % 2);
    }
    plot_put(out, "</svg>");
}

/* --- distributions --------------------------------------------------------------------------- */

/* Where the bins' bars would end, without the bars: several can lie over one another. */
static void draw_outline(chart *c, const double *shares, size_t bins, size_t colour)
{
    double room = (c->x.to - c->x.from) / (double)bins;
    plot_print(c->out, "<path class=\"line c%zu\" d=\"M%.1f %.1f", colour % PLOT_SERIES, c->x.from, place(&c->y, 0));
    for (size_t b = 0; b < bins; b++)
        plot_print(c->out, "V%.1fH%.1f", place(&c->y, shares[b]), c->x.from + (double)(b + 1) * room);
    plot_print(c->out, "V%.1f\"/>", place(&c->y, 0));
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
    begin(&c, out, &plain, series, n, BOTTOM);
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
    for (size_t k = 0; n > 1 && k < n; k++) draw_outline(&c, shares[k], bins, k);
    for (size_t b = 0; n == 1 && b < bins; b++)
        if (shares[0][b] > 0) draw_bar(&c, c.x.from + (double)b * room + 0.3, room - 0.6, shares[0][b], 0);
    plot_put(out, "</svg>");
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The finite values in order; NULL: there is no memory. To be freed. */
static double *in_order(const plot_series *s, size_t *n)
{
    double *values = malloc((s->count + 1) * sizeof *values);
    *n = 0;
    for (size_t i = 0; values && i < s->count; i++)
        if (isfinite(s->y[i])) values[(*n)++] = s->y[i];
    if (values) qsort(values, *n, sizeof *values, by_value);
    return values;
}

void plot_cumulative(plot_text *out, const plot_options *options, const plot_series *series, size_t n)
{
    enum { STEPS = 240 };
    chart c;
    plot_options plain = *options;
    plain.log_x = plain.log_y = false;
    begin(&c, out, &plain, series, n, BOTTOM);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < series[k].count; i++) include(&c.x, series[k].y[i]);
    settle(&c.x, true);
    include(&c.y, 0);
    include(&c.y, 1);
    settle(&c.y, true);
    draw_axes(&c, true);
    for (size_t k = 0; k < n; k++) {
        size_t count, last = SIZE_MAX;
        double *values = in_order(&series[k], &count);
        if (!values) out->failed = true;
        plot_print(out, "<path class=\"line c%zu\" d=\"M%.1f %.1f", k % PLOT_SERIES, c.x.from, place(&c.y, 0));
        for (size_t step = 0; values && count > 0 && step <= STEPS; step++) {
            size_t i = (count - 1) * step / STEPS;
            if (i == last) continue;
            last = i;
            plot_print(out, "H%.1fV%.1f", place(&c.x, values[i]), place(&c.y, (double)(i + 1) / (double)count));
        }
        plot_print(out, "H%.1f\"/>", c.x.to);
        free(values);
    }
    plot_put(out, "</svg>");
}
