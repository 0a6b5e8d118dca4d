/* The report of the ablations. */
#include "pipeline/show_ablations.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

void put_percent(cells *c, rate x)
{
    if (isfinite(x.mean))
        cells_put(c, "%.1f (%.1f to %.1f)", 100 * x.mean, 100 * x.low, 100 * x.high);
    else
        cells_put(c, "none");
}

void put_count(cells *c, double n)
{
    if (isfinite(n))
        cells_put(c, "%.0f", n);
    else
        cells_put(c, "-");
}

const json_t *result_of(const results *all, const char *arm)
{
    for (int i = 0; i < N_REWARD_ARMS; i++)
        if (strcmp(reward_arms[i].name, arm) == 0) return all->reward[i];
    for (int i = 0; i < N_SFT_ARMS; i++)
        if (strcmp(sft_arms[i].name, arm) == 0) return all->sft[i];
    for (int i = 0; i < N_SMALL_ARMS; i++)
        if (strcmp(small_arms[i].name, arm) == 0) return all->small[i];
    for (int i = 0; i < N_POOL_ARMS; i++)
        if (strcmp(pool_arms[i].name, arm) == 0) return all->pool[i];
    for (int i = 0; i < N_PPO_ARMS; i++)
        if (strcmp(ppo_arms[i].name, arm) == 0) return all->ppo[i];
    return NULL;
}

static const json_t *find(const json_t *o, const char *path)
{
    char key[64];
    while (o && *path) {
        size_t n = strcspn(path, "/");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        o = json_object_get(o, key);
        path += n + (path[n] == '/');
    }
    return o;
}

double number_in(const json_t *o, const char *path)
{
    const json_t *value = find(o, path);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static rate share_in(const json_t *o, const char *path, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "%s_interval", name);
    const json_t *group = path ? find(o, path) : o, *interval = json_object_get(group, key);
    return (rate){number_in(group, name), json_number_value(json_array_get(interval, 0)),
                  json_number_value(json_array_get(interval, 1))};
}

rate accuracy_in(const json_t *o, const char *path)
{
    return share_in(o, path, "accuracy");
}

rate longer_in(const json_t *o, const char *path)
{
    return share_in(o, path, "longer_wins");
}

rate score_in(const json_t *o, const char *name)
{
    char low[64], high[64];
    snprintf(low, sizeof low, "%s_low", name);
    snprintf(high, sizeof high, "%s_high", name);
    return (rate){number_in(o, name), number_in(o, low), number_in(o, high)};
}

static rate difference_in(results *all, const char *file, const char *a, const char *b, int rating)
{
    char path[4096];
    json_t *one = state_read_json(all->l, state_path(all->l, path, "%s/%s", a, file)),
           *other = state_read_json(all->l, state_path(all->l, path, "%s/%s", b, file));
    const json_t *right = json_object_get(one, "right"), *right_too = json_object_get(other, "right");
    size_t n = json_array_size(right), used = 0;
    double *gain = app_must(calloc(n + 1, sizeof *gain));
    rate d = {NAN, NAN, NAN};
    for (size_t i = 0; i < n; i++)
        if (rating < 0 || json_integer_value(json_array_get(json_object_get(one, "ratings"), i)) == rating)
            gain[used++] =
                json_number_value(json_array_get(right, i)) - json_number_value(json_array_get(right_too, i));
    if (used > 0) mean_interval(gain, used, &d.mean, &d.low, &d.high);
    if (!one || !other) all->failed = true;
    free(gain);
    json_decref(one);
    json_decref(other);
    return d;
}

rate paired_difference(results *all, const char *a, const char *b, int rating)
{
    return difference_in(all, "pairs.json", a, b, rating);
}

rate other_difference(results *all, const char *a, const char *b)
{
    return difference_in(all, "other.json", a, b, -1);
}

void add_trend(results *all, const char *what, const char *paper, trend_sign sign, const char *unit, rate gain)
{
    show_trend(&all->trends, what, paper, trend_expectation(sign), sign, gain, unit);
}

static bool read_result(results *all, const char *arm, json_t **out)
{
    char path[4096];
    *out = state_read_json(all->l, state_path(all->l, path, "%s/result.json", arm));
    if (*out) show_numbers(all->r, arm, *out);
    return *out != NULL;
}

static bool read_results(results *all)
{
    bool ok = true;
    bool some = all->l->margins;
    for (int i = 0; ok && i < N_REWARD_ARMS; i++)
        if (!some || reward_arms[i].of == MARGINS) ok = read_result(all, reward_arms[i].name, &all->reward[i]);
    report_add_number(all->r, "seed", (double)all->l->p->app.args.seed);
    if (some) return ok;
    for (int i = 0; ok && i < N_SFT_ARMS; i++) ok = read_result(all, sft_arms[i].name, &all->sft[i]);
    for (int i = 0; ok && i < N_SMALL_ARMS; i++) ok = read_result(all, small_arms[i].name, &all->small[i]);
    for (int i = 0; ok && i < N_POOL_ARMS; i++) ok = read_result(all, pool_arms[i].name, &all->pool[i]);
    for (int i = 0; ok && i < N_PPO_ARMS; i++) ok = read_result(all, ppo_arms[i].name, &all->ppo[i]);
    if (ok) show_numbers(all->r, "pairs-all", result_of(all, "margin-small")); /* the same arms under two names */
    if (ok) show_numbers(all->r, "own-1", result_of(all, "pool-1"));
    return ok;
}

static void show_figures(results *all)
{
    const json_t *small = result_of(all, "margin-small"), *with = result_of(all, "auxiliary-on"),
                 *without = result_of(all, "auxiliary-off"), *none = result_of(all, "share-0"),
                 *full = result_of(all, "share-100");
    show_figure(all->r, "accuracy", number_in(small, "accuracy"), "accuracy of the helpfulness model", "%.0f pairs",
                number_in(small, "trained_on"));
    if (all->l->margins) return;
    show_figure(all->r, "unsafe_recall", number_in(with, "safety/unsafe_recall"), "of unsafe answers found",
                "%.2f without the auxiliary loss", number_in(without, "safety/unsafe_recall"));
    show_figure(all->r, "safety", number_in(full, "safety"), "mean safety score with all safety data", "%.2f with none",
                number_in(none, "safety"));
}

static void show_others(results *all)
{
    show_ratings(all);
    show_auxiliary(all);
    show_mixes(all);
    show_scaling(all);
    show_shuffled(all);
    show_safety_share(all);
    show_quality(all);
    show_longer(all);
    show_small(all);
    show_pools(all);
    show_distance(all);
}

bool write_ablations_report(loop *l)
{
    static const char *const columns[] = {"trend", "in the paper", "expected here", "here", "holds"};
    pipeline *p = l->p;
    app *a = &p->app;
    char subtitle[256], error[512];
    results *all = app_must(calloc(1, sizeof *all));
    snprintf(subtitle, sizeof subtitle, "%s, seed %llu; libllama2 %s (%s)", p->data.name,
             (unsigned long long)a->args.seed, llama2_version(), llama2_context_describe(a->ctx));
    all->l = l;
    all->r = app_must(report_create("Ablations", subtitle));
    a->doing = "report";
    bool ok = read_results(all);
    if (ok) {
        show_figures(all);
        show_margins(all);
        if (!l->margins) show_others(all);
        report_section(
            all->r, "What holds",
            "Differences have the sign of the paper's: what falls is below 0. A trend holds where the whole "
            "interval lies on its side of 0; of what is to stay, an interval that holds 0 says little where "
            "it is wide. Of one seed: the intervals are over held-out pairs and prompts, not over "
            "trainings; of a prompt that is asked several times the mean counts once. Arms that answer the same "
            "prompts or pairs are taken as independent, but for the accuracies of two reward models on all pairs "
            "or on those of one rating: their intervals may be too wide.");
        cells_show(&all->trends, all->r, "trends", NULL, columns, 5);
        show_ablation_departures(p, number_in(result_of(all, "margin-small"), "parameters"), l->margins, all->r);
        show_time(l, all->r);
    }
    ok = ok && !all->failed && write_metrics(l) &&
         (report_write(all->r, p->out, error, sizeof error) || app_fail(a, "%s", error));
    for (int i = 0; i < N_REWARD_ARMS; i++) json_decref(all->reward[i]);
    for (int i = 0; i < N_SFT_ARMS; i++) json_decref(all->sft[i]);
    for (int i = 0; i < N_SMALL_ARMS; i++) json_decref(all->small[i]);
    for (int i = 0; i < N_POOL_ARMS; i++) json_decref(all->pool[i]);
    for (int i = 0; i < N_PPO_ARMS; i++) json_decref(all->ppo[i]);
    report_free(all->r);
    free(all);
    if (ok) printf("report: %s/report.html\n", p->out);
    return ok;
}
