#include "annotate/statistics.h"

#include "common/annotations.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 24 }; /* variants, or batches, at most: the others count together as the last one */

/* Shares of something in each of several groups, in the order in which they were met. */
typedef struct shares {
    char *names[GROUPS];
    double won[GROUPS], n[GROUPS];
    size_t count;
} shares;

typedef struct collected {
    int32_t kind;
    json_t *lines; /* of the kind, with a choice */
    double ratings[4], bins[4], first;
    shares variants, batches[4]; /* won by a variant; by rating, of a batch */
    double *seconds;
    size_t n, n_seconds;
} collected;

static const char *text_at(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text ? text : "";
}

static void count(shares *s, const char *name, double won)
{
    size_t i = 0;
    while (i < s->count && strcmp(s->names[i], name) != 0) i++;
    if (i == GROUPS) i--;
    if (i == s->count) s->names[s->count++] = app_must(strdup(name));
    s->won[i] += won;
    s->n[i] += 1;
}

/* Model and temperature: what a comparison is between. */
static void variant_name(const json_t *line, size_t k, char *name, size_t size)
{
    const char *model = json_string_value(json_array_get(json_object_get(line, "models"), k));
    const json_t *temperature = json_array_get(json_object_get(line, "temperatures"), k);
    snprintf(name, size, "%.80s at %.3g", model ? model : "unknown",
             json_is_number(temperature) ? json_number_value(temperature) : NAN);
}

static bool take(void *user, json_t *line)
{
    collected *c = user;
    char name[2][128];
    int32_t chosen = record_word(line, "choice", record_choices, 2),
            rating = record_word(line, "rating", record_ratings, 4), bin = record_word(line, "bin", record_bins, 4);
    if (chosen < 0 || json_is_true(json_object_get(line, "is_safety")) != (c->kind == LLAMA2_KIND_SAFETY)) {
        json_decref(line);
        return true;
    }
    c->n++;
    c->first += chosen == 0;
    if (rating >= 0) c->ratings[rating] += 1;
    if (bin >= 0) c->bins[bin] += 1;
    for (size_t k = 0; k < 2; k++) variant_name(line, k, name[k], sizeof name[k]);
    if (strcmp(name[0], name[1]) != 0)
        for (int k = 0; k < 2; k++) count(&c->variants, name[k], chosen == k);
    for (int k = 0; k < 4; k++) count(&c->batches[k], text_at(line, "batch"), rating == k);
    const json_t *seconds = json_object_get(line, "seconds");
    if (json_is_number(seconds)) {
        c->seconds = app_must(realloc(c->seconds, (c->n_seconds + 1) * sizeof *c->seconds));
        c->seconds[c->n_seconds++] = json_number_value(seconds);
    }
    json_array_append_new(c->lines, line);
    return true;
}

static void shares_free(shares *s)
{
    for (size_t i = 0; i < s->count; i++) free(s->names[i]);
}

static void collected_free(collected *c)
{
    json_decref(c->lines);
    shares_free(&c->variants);
    for (int k = 0; k < 4; k++) shares_free(&c->batches[k]);
    free(c->seconds);
}

static bool collect(store *s, int32_t kind, collected *c, char *error, size_t error_size)
{
    *c = (collected){.kind = kind, .lines = json_array()};
    if (store_export(s, take, c)) return true;
    snprintf(error, error_size, "%s", store_error());
    collected_free(c);
    return false;
}

/* 95 %, Wilson. */
static void interval(double won, double n, double *low, double *high)
{
    const double z = 1.96, share = won / n, middle = (share + z * z / (2 * n)) / (1 + z * z / n),
                 half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
    *low = fmax(0, middle - half);
    *high = fmin(1, middle + half);
}

/* --- figures --------------------------------------------------------------------------------- */

static void put(json_t *figures, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void put(json_t *figures, const char *label, const char *format, ...)
{
    char value[64];
    va_list ap;
    va_start(ap, format);
    vsnprintf(value, sizeof value, format, ap);
    va_end(ap);
    json_array_append_new(figures, json_pack("{s:s, s:s}", "value", value, "label", label));
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool put_agreement(app *a, const collected *c, json_t *figures, char *error, size_t error_size)
{
    llama2_preferences *all = NULL;
    llama2_agreement g = {.struct_size = sizeof g};
    char label[128];
    const char *wrong = NULL;
    bool ok = llama2_preferences_create(a->ctx, &all) >= 0;
    for (size_t i = 0; ok && !wrong && i < json_array_size(c->lines); i++)
        wrong = annotations_add(all, json_array_get(c->lines, i));
    ok = ok && !wrong && llama2_preferences_agreement(all, c->kind, &g) >= 0;
    if (!ok) snprintf(error, error_size, "%s", wrong ? wrong : llama2_last_error());
    llama2_preferences_free(all);
    if (!ok || g.n_comparisons == 0) return ok;
    snprintf(label, sizeof label, "agree of %lld comparisons that two chose in; alpha %.2f", (long long)g.n_comparisons,
             g.alpha);
    put(figures, label, "%.0f %%", 100 * g.share);
    return true;
}

static json_t *charts_of(const collected *c, bool with_variants)
{
    json_t *charts = json_array();
    const double n = (double)c->n;
    char note[256];
    if (c->n == 0) return charts;
    snprintf(note, sizeof note, "%.0f %% are significantly better, %.0f %% negligibly, of %zu", 100 * c->ratings[0] / n,
             100 * c->ratings[3] / n, c->n);
    json_array_append_new(charts, json_pack("{s:s, s:s, s:s}", "name", "degrees", "title", "Degrees", "note", note));
    if (c->kind == LLAMA2_KIND_SAFETY) {
        snprintf(note, sizeof note,
                 "the paper: 18 %% only the chosen one, 47 %% both, 35 %% neither; here %.0f, %.0f, %.0f %%",
                 100 * c->bins[0] / n, 100 * c->bins[1] / n, 100 * c->bins[2] / n);
        json_array_append_new(charts,
                              json_pack("{s:s, s:s, s:s}", "name", "bins", "title", "Which are safe", "note", note));
    }
    if (with_variants && c->variants.count > 0)
        json_array_append_new(charts,
                              json_pack("{s:s, s:s, s:s}", "name", "variants", "title", "Win rate of each variant",
                                        "note", "share of its comparisons; intervals of 95 %"));
    if (c->n_seconds > 0)
        json_array_append_new(charts, json_pack("{s:s, s:s, s:s}", "name", "seconds", "title", "Time a comparison",
                                                "note", "from the end of both answers to the choice"));
    if (c->batches[0].count > 1)
        json_array_append_new(
            charts, json_pack("{s:s, s:s, s:s}", "name", "batches", "title", "Degrees over the batches", "note",
                              "the paper (fig. 25): as models get better, clear preferences get rarer"));
    return charts;
}

json_t *statistics_json(app *a, store *s, int32_t kind, bool with_variants, char *error, size_t error_size)
{
    collected c;
    char label[128];
    if (!collect(s, kind, &c, error, error_size)) return NULL;
    json_t *figures = json_array();
    put(figures, "choices", "%zu", c.n);
    bool ok = true;
    if (c.n > 0) {
        double low, high;
        interval(c.first, (double)c.n, &low, &high);
        snprintf(label, sizeof label, "chose what stood first (%.0f to %.0f %%; 50 without a bias of position)",
                 100 * low, 100 * high);
        put(figures, label, "%.0f %%", 100 * c.first / (double)c.n);
        if (c.n_seconds > 0) {
            qsort(c.seconds, c.n_seconds, sizeof *c.seconds, by_size);
            put(figures, "a comparison, half of them take less", "%.0f s", c.seconds[c.n_seconds / 2]);
        }
        ok = put_agreement(a, &c, figures, error, error_size);
        if (kind == LLAMA2_KIND_SAFETY)
            put(figures, "chose an unsafe answer before a safe one: kept, never trained on", "%.0f", c.bins[3]);
    }
    json_t *all = json_pack("{s:o, s:o}", "figures", figures, "charts", charts_of(&c, with_variants));
    collected_free(&c);
    if (ok) return all;
    json_decref(all);
    return NULL;
}

/* --- charts ---------------------------------------------------------------------------------- */

static void bars(plot_text *out, const char *const *names, const double *counts, size_t n, double of)
{
    double y[4], low[4], high[4];
    for (size_t i = 0; i < n; i++) {
        y[i] = counts[i] / of;
        interval(counts[i], of, &low[i], &high[i]);
    }
    plot_bars(out, &(plot_options){.y_label = "share"}, names,
              &(plot_series){.y = y, .low = low, .high = high, .count = n}, 1);
}

static void bars_of(plot_text *out, const shares *s, const char *label)
{
    double y[GROUPS], low[GROUPS], high[GROUPS];
    for (size_t i = 0; i < s->count; i++) {
        y[i] = s->won[i] / s->n[i];
        interval(s->won[i], s->n[i], &low[i], &high[i]);
    }
    plot_bars(out, &(plot_options){.y_label = label}, (const char *const *)s->names,
              &(plot_series){.y = y, .low = low, .high = high, .count = s->count}, 1);
}

/* The degrees of each batch, side by side. */
static void bars_over_batches(plot_text *out, const char *const *names, const collected *c)
{
    double y[4][GROUPS];
    plot_series series[4];
    for (int k = 0; k < 4; k++) {
        const shares *s = &c->batches[k];
        for (size_t i = 0; i < s->count; i++) y[k][i] = s->won[i] / s->n[i];
        series[k] = (plot_series){.name = names[k], .y = y[k], .count = s->count};
    }
    plot_bars(out, &(plot_options){.y_label = "share"}, (const char *const *)c->batches[0].names, series, 4);
}

char *statistics_chart(store *s, int32_t kind, const char *name, char *error, size_t error_size)
{
    static const char *const rating_names[] = {"significantly", "better", "slightly", "negligibly"},
                             *const bin_names[] = {"only the chosen", "both", "neither", "only the other"};
    collected c;
    plot_text out = {0};
    *error = 0;
    if (!collect(s, kind, &c, error, error_size)) return NULL;
    if (c.n == 0)
        ;
    else if (strcmp(name, "degrees") == 0)
        bars(&out, rating_names, c.ratings, 4, (double)c.n);
    else if (strcmp(name, "bins") == 0)
        bars(&out, bin_names, c.bins, 4, (double)c.n);
    else if (strcmp(name, "variants") == 0)
        bars_of(&out, &c.variants, "win rate");
    else if (strcmp(name, "seconds") == 0)
        plot_histogram(&out, &(plot_options){.x_label = "seconds"},
                       &(plot_series){.y = c.seconds, .count = c.n_seconds}, 1, 20);
    else if (strcmp(name, "batches") == 0)
        bars_over_batches(&out, rating_names, &c);
    collected_free(&c);
    return out.data;
}
