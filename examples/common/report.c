#include "common/report.h"

#include "common/replace.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct report {
    plot_text title, subtitle, figures, body;
    json_t *json, *items; /* items: of the section opened last */
    bool in_section, in_charts, failed;
};

static const char CSS[] =
    ":root{color-scheme:light "
    "dark;--ground:#fbfaf7;--card:#fff;--ink:#23252a;--soft:#63666d;--rule:#e3e1db;--accent:#2b6a9b;"
    "--good:#3d7a3b;--poor:#b1462f}"
    "@media(prefers-color-scheme:dark){:root{--ground:#17191d;--card:#1e2126;--ink:#e3e4e7;--soft:#9b9fa8;--rule:#"
    "31353c;--accent:#6fb1de;"
    "--good:#86c17f;--poor:#ef9480}}"
    "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}"
    "body{margin:0;background:var(--ground);color:var(--ink);font:17px/1.6 system-ui,-apple-system,'Segoe "
    "UI',Roboto,sans-serif}"
    "main{max-width:62rem;margin:0 auto;padding:3.2rem 1.25rem 5rem}"
    "h1,h2{font-family:Charter,'Bitstream Charter','Iowan Old Style',Georgia,'DejaVu "
    "Serif',serif;font-weight:600;line-height:1.2;letter-spacing:-.01em}"
    "h1{font-size:clamp(1.9rem,5vw,2.7rem);margin:0 0 .4rem}h2{font-size:1.6rem;margin:3.4rem 0 .5rem}"
    "h3{font-size:1rem;margin:0;font-weight:600;line-height:1.35}p{margin:.4rem 0 "
    "1rem;max-width:44rem}.lede{color:var(--soft);font-size:1.1rem}"
    ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:1px;background:var(--card);"
    "border:1px solid var(--rule);"
    "border-radius:10px;overflow:hidden;margin:2rem 0 0;padding:0}"
    ".figures div{box-shadow:0 0 0 1px var(--rule);padding:1rem 1.1rem}.figures "
    "dd{margin:0;font-size:1.75rem;font-weight:600;line-height:1.2;"
    "font-variant-numeric:tabular-nums;color:var(--accent)}.figures "
    "dt{font-size:.92rem;line-height:1.35;margin-top:.15rem}.figures div{display:flex;"
    "flex-direction:column}.figures dd{order:-1}.figures "
    "dd.note{order:1;color:var(--soft);font-size:.82rem;font-weight:400;line-height:1.35;margin-top:.2rem}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,25rem),1fr));gap:1.1rem;margin:1.2rem "
    "0}"
    "figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:1rem 1rem "
    ".8rem}figure .plot{margin-top:.6rem}figure:only-child .plot{max-width:38rem}"
    "figcaption p{color:var(--soft);font-size:.86rem;line-height:1.45;margin:.15rem 0 0}"
    ".wide{overflow-x:auto;margin:1.2rem 0;background:var(--card);border:1px solid "
    "var(--rule);border-radius:10px}caption{text-align:left;padding:.8rem .7rem "
    ".4rem;color:var(--soft);line-height:1.45}"
    "table{border-collapse:collapse;width:100%;font-size:.92rem;line-height:1.4}th,td{text-align:left;padding:.5rem "
    ".7rem;border-top:1px solid var(--rule);"
    "vertical-align:top}thead "
    "th{border-top:0;color:var(--soft);font-weight:500;font-size:.84rem;vertical-align:bottom}tbody "
    ".n,.s{white-space:nowrap}.n{text-align:right;font-variant-numeric:"
    "tabular-nums}"
    ".sample{background:var(--card);border:1px solid var(--rule);border-radius:10px;margin:1rem 0;padding:1rem "
    "1.1rem}.sample .ask{margin:0;max-width:none;font-weight:600;"
    "white-space:pre-wrap;overflow-wrap:anywhere}.sample "
    ".kind{float:right;margin-left:1rem;color:var(--soft);font-size:.8rem;font-weight:400}"
    ".answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,13rem),1fr));gap:.3rem "
    "1.4rem;margin-top:.6rem}.answers h4{margin:.4rem 0 .1rem;"
    "font-size:.8rem;font-weight:500;color:var(--soft);display:flex;justify-content:space-between}.answers "
    "p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;"
    "font-size:.95rem;line-height:1.45}.none{color:var(--soft)}.score{font-variant-numeric:tabular-nums}.good{color:"
    "var(--good)}.poor{color:var(--poor)}"
    "@media(max-width:30rem){body{font-size:16px}main{padding-top:2rem}.figures{grid-template-columns:1fr 1fr}.figures "
    "dd{font-size:1.45rem}"
    "figure{padding:.8rem .6rem .6rem}}"
    "@media print{body{font-size:11pt}main{max-width:none;padding:0}.wide{overflow:visible}table{font-size:.72rem}"
    "tbody .n{white-space:normal}figure,tr,.sample{break-inside:avoid}}";

/* --- JSON ------------------------------------------------------------------------------------ */

static void set(report *r, json_t *object, const char *key, json_t *value)
{
    if (!value || json_object_set_new(object, key, value) != 0) r->failed = true;
}

static void add(report *r, json_t *array, json_t *value)
{
    if (!value || json_array_append_new(array, value) != 0) r->failed = true;
}

/* JSON has no text that is not UTF-8 and no number that is not finite. */
static json_t *text_value(const char *text)
{
    if (!text) return json_null();
    plot_text valid = {0};
    plot_utf8(&valid, text);
    json_t *value = valid.failed ? NULL : json_string(valid.data ? valid.data : "");
    free(valid.data);
    return value;
}

static json_t *number_value(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *numbers(report *r, const double *values, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++) add(r, array, number_value(values[i]));
    return array;
}

static json_t *texts(report *r, const char *const *values, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++) add(r, array, text_value(values[i]));
    return array;
}

static json_t *new_item(report *r, const char *type, const char *name, const char *title)
{
    json_t *item = json_object();
    if (!item || json_array_append_new(r->items, item) != 0) return r->failed = true, NULL;
    set(r, item, "type", json_string(type));
    set(r, item, "name", text_value(name));
    set(r, item, "title", text_value(title));
    return item;
}

/* --- the page -------------------------------------------------------------------------------- */

report *report_create(const char *title, const char *subtitle)
{
    report *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->json = json_object();
    if (!r->json) {
        free(r);
        return NULL;
    }
    plot_escape(&r->title, title);
    plot_escape(&r->subtitle, subtitle);
    set(r, r->json, "title", text_value(title));
    set(r, r->json, "subtitle", text_value(subtitle));
    set(r, r->json, "figures", json_object());
    set(r, r->json, "numbers", json_object());
    set(r, r->json, "sections", json_array());
    return r;
}

void report_free(report *r)
{
    if (!r) return;
    free(r->title.data);
    free(r->subtitle.data);
    free(r->figures.data);
    free(r->body.data);
    json_decref(r->json);
    free(r);
}

static void element(plot_text *out, const char *open, const char *text, const char *close)
{
    plot_put(out, open);
    plot_escape(out, text);
    plot_put(out, close);
}

void report_add_figure(report *r, const char *name, double value, const char *shown, const char *label,
                       const char *note)
{
    set(r, json_object_get(r->json, "figures"), name, number_value(value));
    element(&r->figures, "<div><dt>", label, "</dt>");
    element(&r->figures, "<dd>", shown, "</dd>");
    if (note) element(&r->figures, "<dd class=\"note\">", note, "</dd>");
    plot_put(&r->figures, "</div>\n");
}

void report_add_number(report *r, const char *name, double value)
{
    set(r, json_object_get(r->json, "numbers"), name, number_value(value));
}

static void close_charts(report *r)
{
    if (r->in_charts) plot_put(&r->body, "</div>\n");
    r->in_charts = false;
}

static void open_charts(report *r)
{
    if (!r->in_charts) plot_put(&r->body, "<div class=\"charts\">\n");
    r->in_charts = true;
}

void report_section(report *r, const char *heading, const char *text)
{
    json_t *section = json_object(), *items = json_array();
    close_charts(r);
    if (r->in_section) plot_put(&r->body, "</section>\n");
    r->in_section = true;
    element(&r->body, "<section>\n<h2>", heading, "</h2>\n");
    if (text) element(&r->body, "<p>", text, "</p>\n");
    r->items = items;
    add(r, json_object_get(r->json, "sections"), section);
    if (r->failed) {
        json_decref(items);
        r->items = NULL;
        return;
    }
    set(r, section, "heading", text_value(heading));
    set(r, section, "text", text_value(text));
    set(r, section, "items", items);
}

static void need_section(report *r)
{
    if (!r->in_section) report_section(r, "Results", NULL);
}

void report_add_text(report *r, const char *text)
{
    need_section(r);
    close_charts(r);
    element(&r->body, "<p>", text, "</p>\n");
    json_t *item = new_item(r, "text", NULL, NULL);
    if (item) set(r, item, "text", text_value(text));
}

static void open_figure(report *r, const char *title, const char *caption)
{
    open_charts(r);
    element(&r->body, "<figure><figcaption><h3>", title, "</h3>");
    if (caption) element(&r->body, "<p>", caption, "</p>");
    plot_put(&r->body, "</figcaption>");
}

static void series_json(report *r, json_t *item, const char *caption, const plot_options *options,
                        const plot_series *series, size_t n)
{
    json_t *list = json_array();
    if (!item || !list) {
        r->failed = true;
        json_decref(list);
        return;
    }
    set(r, item, "caption", text_value(caption));
    set(r, item, "x_label", text_value(options->x_label));
    set(r, item, "y_label", text_value(options->y_label));
    for (size_t i = 0; i < n; i++) {
        const plot_series *s = &series[i];
        json_t *one = json_object();
        add(r, list, one);
        if (r->failed) break;
        set(r, one, "name", text_value(s->name));
        if (s->x) set(r, one, "x", numbers(r, s->x, s->count));
        set(r, one, "y", numbers(r, s->y, s->count));
        if (s->low) set(r, one, "low", numbers(r, s->low, s->count));
        if (s->high) set(r, one, "high", numbers(r, s->high, s->count));
    }
    set(r, item, "series", list);
}

void report_add_series(report *r, report_chart kind, const char *name, const char *caption, const plot_options *options,
                       const plot_series *series, size_t n)
{
    static const char *const TYPES[] = {"lines", "scatter", "histogram", "cumulative"};
    plot_options embedded = *options;
    embedded.embedded = true;
    need_section(r);
    open_figure(r, options->title, caption);
    if (kind == REPORT_HISTOGRAM)
        plot_histogram(&r->body, &embedded, series, n, 30);
    else if (kind == REPORT_CUMULATIVE)
        plot_cumulative(&r->body, &embedded, series, n);
    else if (kind == REPORT_SCATTER)
        plot_scatter(&r->body, &embedded, series, n);
    else
        plot_lines(&r->body, &embedded, series, n);
    plot_put(&r->body, "</figure>\n");
    series_json(r, new_item(r, TYPES[kind], name, options->title), caption, options, series, n);
}

void report_add_bars(report *r, const char *name, const char *caption, const plot_options *options,
                     const char *const *groups, const plot_series *series, size_t n)
{
    plot_options embedded = *options;
    size_t n_groups = 0;
    embedded.embedded = true;
    for (size_t i = 0; i < n; i++)
        if (series[i].count > n_groups) n_groups = series[i].count;
    need_section(r);
    open_figure(r, options->title, caption);
    plot_bars(&r->body, &embedded, groups, series, n);
    plot_put(&r->body, "</figure>\n");
    json_t *item = new_item(r, "bars", name, options->title);
    if (item) set(r, item, "groups", texts(r, groups, n_groups));
    series_json(r, item, caption, options, series, n);
}

static bool looks_like_number(const char *text)
{
    while (*text == ' ' || *text == '-' || *text == '+') text++;
    return isdigit((unsigned char)*text) || strncmp(text, "\u2212", 3) == 0;
}

/* Without a cell that is anything else; what is missing may stand among numbers. */
static bool is_number_column(const char *const *cells, size_t column, size_t n_columns, size_t n_rows)
{
    bool some = false;
    for (size_t row = 0; row < n_rows; row++) {
        const char *cell = cells[row * n_columns + column];
        if (looks_like_number(cell))
            some = true;
        else if (*cell && strcmp(cell, "-") != 0 && strcmp(cell, "none") != 0 && strcmp(cell, "not stated") != 0)
            return false;
    }
    return some;
}

/* Names of a row: a line each. */
static bool is_short_column(const char *const *cells, size_t column, size_t n_columns, size_t n_rows)
{
    for (size_t row = 0; row < n_rows; row++)
        if (strlen(cells[row * n_columns + column]) > 18) return false;
    return true;
}

void report_add_table(report *r, const char *name, const char *title, const char *const *columns, size_t n_columns,
                      const char *const *cells, size_t n_rows)
{
    need_section(r);
    close_charts(r);
    plot_put(&r->body, "<div class=\"wide\">");
    plot_put(&r->body, "<table>");
    if (title) element(&r->body, "<caption>", title, "</caption>");
    plot_put(&r->body, "<thead><tr>");
    for (size_t c = 0; c < n_columns; c++)
        element(&r->body, is_number_column(cells, c, n_columns, n_rows) ? "<th class=\"n\">" : "<th>", columns[c],
                "</th>");
    plot_put(&r->body, "</tr></thead><tbody>\n");
    for (size_t row = 0; row < n_rows; row++) {
        plot_put(&r->body, "<tr>");
        for (size_t c = 0; c < n_columns; c++)
            element(&r->body,
                    is_number_column(cells, c, n_columns, n_rows)            ? "<td class=\"n\">"
                    : c == 0 && is_short_column(cells, c, n_columns, n_rows) ? "<td class=\"s\">"
                                                                             : "<td>",
                    cells[row * n_columns + c], "</td>");
        plot_put(&r->body, "</tr>\n");
    }
    plot_put(&r->body, "</tbody></table></div>\n");
    json_t *item = new_item(r, "table", name, title), *rows = json_array();
    if (!item) {
        json_decref(rows);
        return;
    }
    set(r, item, "columns", texts(r, columns, n_columns));
    for (size_t row = 0; rows && row < n_rows; row++) add(r, rows, texts(r, cells + row * n_columns, n_columns));
    set(r, item, "rows", rows);
}

static void sample_html(plot_text *out, const char *const *stages, size_t n_stages, const report_sample *s)
{
    plot_put(out, "<article class=\"sample\"><p class=\"ask\">");
    if (s->kind) element(out, "<span class=\"kind\">", s->kind, "</span>");
    plot_escape(out, s->prompt);
    plot_put(out, "</p><div class=\"answers\">");
    for (size_t i = 0; i < n_stages; i++) {
        element(out, "<div><h4><span>", stages[i], "</span>");
        if (s->scores && isfinite(s->scores[i]))
            plot_print(out, "<span class=\"score %s\">%+.2f</span>",
                       s->scores[i] >= 0.5 ? "good"
                       : s->scores[i] < 0  ? "poor"
                                           : "",
                       s->scores[i]);
        if (s->answers[i][0])
            element(out, "</h4><p>", s->answers[i], "</p></div>");
        else
            plot_put(out, "</h4><p class=\"none\">(empty)</p></div>");
    }
    plot_put(out, "</div></article>\n");
}

void report_add_samples(report *r, const char *name, const char *title, const char *const *stages, size_t n_stages,
                        const report_sample *samples, size_t n)
{
    need_section(r);
    close_charts(r);
    if (title) element(&r->body, "<h3>", title, "</h3>\n");
    json_t *item = new_item(r, "samples", name, title), *list = json_array();
    for (size_t i = 0; i < n; i++) {
        sample_html(&r->body, stages, n_stages, &samples[i]);
        json_t *one = json_object();
        if (!list || !one || json_array_append_new(list, one) != 0) {
            r->failed = true;
            break;
        }
        set(r, one, "prompt", text_value(samples[i].prompt));
        set(r, one, "kind", text_value(samples[i].kind));
        set(r, one, "answers", texts(r, samples[i].answers, n_stages));
        if (samples[i].scores) set(r, one, "scores", numbers(r, samples[i].scores, n_stages));
    }
    if (!item) {
        json_decref(list);
        return;
    }
    set(r, item, "stages", texts(r, stages, n_stages));
    set(r, item, "samples", list);
}

/* --- files ----------------------------------------------------------------------------------- */

static bool write_file(const char *folder, const char *name, const char *bytes, char *error, size_t error_size)
{
    char path[4096];
    int used = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (used < 0 || (size_t)used >= sizeof path)
        return snprintf(error, error_size, "%.200s...: the path is too long", folder), false;
    return replace_file(path, bytes, strlen(bytes), error, error_size);
}

static void write_page(const report *r, plot_text *page)
{
    plot_print(page,
               "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
               "content=\"width=device-width,initial-scale=1\">\n"
               "<title>%s</title>\n<style>\n%s\n%s\n</style>\n</head>\n<body>\n<main>\n<header>\n<h1>%s</h1>\n",
               r->title.data ? r->title.data : "", CSS, plot_style(), r->title.data ? r->title.data : "");
    if (r->subtitle.data) plot_print(page, "<p class=\"lede\">%s</p>\n", r->subtitle.data);
    if (r->figures.data) plot_print(page, "<dl class=\"figures\">\n%s</dl>\n", r->figures.data);
    plot_print(page, "</header>\n%s%s%s</main>\n</body>\n</html>\n", r->body.data ? r->body.data : "",
               r->in_charts ? "</div>\n" : "", r->in_section ? "</section>\n" : "");
}

bool report_write(report *r, const char *folder, char *error, size_t error_size)
{
    plot_text page = {0};
    write_page(r, &page);
    char *json = json_dumps(r->json, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    bool good = json && !r->failed && !page.failed && !r->body.failed && !r->figures.failed && !r->title.failed &&
                !r->subtitle.failed;
    if (!good)
        snprintf(error, error_size, "%s: out of memory for the report", folder);
    else if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        snprintf(error, error_size, "%s: %s", folder, strerror(errno));
        good = false;
    }
    good = good && write_file(folder, "report.html", page.data, error, error_size) &&
           write_file(folder, "report.json", json, error, error_size);
    free(json);
    free(page.data);
    return good;
}
