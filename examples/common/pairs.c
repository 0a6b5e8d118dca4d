#include "common/pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool pairs_open(app *a, const llama2_tokenizer *tokenizer, const args_list *files, int64_t max_tokens, int32_t margin,
                bool to_train, pair_set *set)
{
    char error[1024];
    records all = {0};
    size_t read[ARGS_MAX]; /* records up to the end of each file */
    bool ok = true;
    *set = (pair_set){.n = 0};
    for (size_t i = 0; ok && i < files->count; i++) {
        ok = records_read(&all, files->items[i], RECORD_COMPARISON, error, sizeof error) || app_fail(a, "%s", error);
        read[i] = all.n;
    }
    ok = ok && pairs_encode(a, tokenizer, &all, max_tokens, margin, to_train, set);
    for (size_t i = 0, k = 0; ok && i < files->count; i++) {
        while (k < set->n && set->of[k] < all.items + read[i]) k++;
        set->ends[i] = k;
    }
    set->records = all;
    return ok;
}

static llama2_status add_record(llama2_preferences *all, const record *r)
{
    const char *const responses[] = {r->answer, r->rejected};
    const int32_t safe[] = {r->chosen_safe, r->rejected_safe};
    llama2_preference p;
    llama2_preference_init(&p, sizeof p);
    p.n_messages = r->n_messages;
    p.roles = r->roles;
    p.texts = (const char *const *)r->texts;
    p.responses = responses;
    p.safe = safe;
    p.chosen = 0;
    p.rating = r->rating;
    return llama2_preferences_add(all, &p);
}

bool pairs_encode(app *a, const llama2_tokenizer *tokenizer, const records *all, int64_t max_tokens, int32_t margin,
                  bool to_train, pair_set *set)
{
    llama2_preferences *kept = NULL;
    llama2_comparisons_options o;
    llama2_comparisons_counts c = {.struct_size = sizeof c};
    *set = (pair_set){.margin = margin};
    llama2_comparisons_options_init(&o, sizeof o);
    o.margin = margin;
    o.max_tokens = max_tokens;
    o.leave_out_unsafe = to_train;
    bool ok = app_try(a, llama2_preferences_create(a->ctx, &kept), "comparisons");
    for (size_t i = 0; ok && i < all->n; i++) ok = app_try(a, add_record(kept, &all->items[i]), "comparisons");
    ok = ok &&
         app_try(a, llama2_comparisons_create(kept, tokenizer, NULL, 0, (int64_t)all->n, &o, &c, &set->comparisons),
                 "comparisons");
    llama2_preferences_free(kept);
    if (!ok) return false;
    set->n = (size_t)c.n_pairs;
    set->of = app_must(malloc((set->n + 1) * sizeof *set->of));
    for (size_t i = 0; i < set->n; i++)
        set->of[i] = &all->items[llama2_comparisons_record(set->comparisons, (int64_t)i)];
    if (set->n == 0) return app_fail(a, "there is no comparison of at most %lld tokens", (long long)max_tokens);
    if (set->n < all->n && !a->args.quiet)
        fprintf(stderr,
                "%s: of %zu comparisons %zu are left out: %lld longer than %lld tokens, %lld with an unsafe answer "
                "chosen over a safe one, %lld with a marker of the chat format\n",
                a->program->name, all->n, all->n - set->n, (long long)c.n_long, (long long)max_tokens,
                (long long)c.n_unsafe, (long long)c.n_marked);
    return true;
}

bool pairs_batch(app *a, pair_set *set, const size_t *index, size_t first, size_t n, double safety_weight)
{
    if (n > set->room) {
        set->index = app_must(realloc(set->index, n * sizeof *set->index));
        set->room = n;
    }
    for (size_t i = 0; i < n; i++) set->index[i] = (int64_t)(index ? index[i] : first + i);
    set->pairs = (llama2_pairs){.struct_size = sizeof set->pairs};
    bool ok = app_try(a, llama2_comparisons_pairs(set->comparisons, set->index, 0, (int32_t)n, &set->pairs), "packing");
    set->pairs.safety_weight = safety_weight;
    return ok;
}

bool pairs_hash(app *a, pair_set *set, uint64_t *hash)
{
    bool ok = true;
    *hash = 0;
    for (size_t i = 0; ok && i < set->n; i++) {
        ok = pairs_batch(a, set, NULL, i, 1, 0);
        const llama2_pairs *p = &set->pairs;
        const llama2_batch *b = p->batch;
        if (ok && p->margins) *hash = run_hash(*hash, p->margins, sizeof *p->margins);
        if (ok && p->safe) *hash = run_hash(*hash, p->safe, 2 * sizeof *p->safe);
        for (int32_t s = 0; ok && s < 2; s++) {
            size_t size = (size_t)(b->offsets[s + 1] - b->offsets[s]) * sizeof *b->tokens;
            *hash = run_hash(*hash, b->tokens + b->offsets[s], size);
            *hash = run_hash(*hash, b->loss_weight + b->offsets[s], size);
        }
    }
    return ok;
}

void pairs_close(pair_set *set)
{
    llama2_comparisons_free(set->comparisons);
    records_free(&set->records);
    free(set->of);
    free(set->index);
    *set = (pair_set){.n = 0};
}

double pair_right(const float scores[2])
{
    return scores[0] > scores[1] ? 1 : scores[0] == scores[1] ? 0.5 : 0;
}

static void count(pair_tally *t, const float scores[2], const record *r)
{
    size_t x = strlen(r->answer), y = strlen(r->rejected);
    t->n++;
    t->right += pair_right(scores);
    t->longer += x > y ? 1 : x == y ? 0.5 : 0;
}

bool pairs_score(app *a, pair_set *set, const size_t *index, size_t n, const llama2_reward_model *reward_model,
                 float *scores)
{
    enum { AT_ONCE = 64 };
    for (size_t first = 0; first < n; first += AT_ONCE) {
        size_t now = n - first < AT_ONCE ? n - first : AT_ONCE;
        llama2_reward_metrics m = {.struct_size = sizeof m};
        if (!pairs_batch(a, set, index ? index + first : NULL, first, now, 0) ||
            !app_try(a, llama2_reward_evaluate(reward_model, &set->pairs, &m, scores + 2 * first), "evaluating"))
            return false;
    }
    return true;
}

bool pairs_centre(app *a, pair_set *set, const size_t *index, size_t n, bool spread, llama2_reward_model *reward_model,
                  double *accuracy)
{
    double sum = 0, squares = 0, right = 0;
    float *scores = app_must(malloc((2 * n + 1) * sizeof *scores));
    bool ok = pairs_score(a, set, index, n, reward_model, scores);
    for (size_t i = 0; ok && i < 2 * n; i++) sum += (double)scores[i];
    double mean = sum / (2 * (double)n);
    for (size_t i = 0; ok && i < 2 * n; i++) squares += ((double)scores[i] - mean) * ((double)scores[i] - mean);
    for (size_t i = 0; ok && i < n; i++) right += pair_right(scores + 2 * i);
    free(scores);
    if (accuracy) *accuracy = right / (double)n;
    double scale = spread && squares > 0 ? sqrt(2 * (double)n / squares) : 1;
    return ok && app_try(a, llama2_reward_model_set_normalisation(reward_model, mean, scale), "centring");
}

double pairs_loss(const pair_set *set, const record *r, double chosen, double rejected)
{
    double z = chosen - rejected - (double)llama2_reward_margin(set->margin, r->rating);
    return z > 0 ? log1p(exp(-z)) : log1p(exp(z)) - z;
}

bool pairs_judge(app *a, pair_set *set, const size_t *index, size_t n, const llama2_reward_model *reward_model,
                 pair_figures *out)
{
    float *scores = app_must(malloc((2 * n + 1) * sizeof *scores));
    bool ok = pairs_score(a, set, index, n, reward_model, scores);
    *out = (pair_figures){.low = INFINITY, .high = -INFINITY};
    for (size_t i = 0; ok && i < n; i++) {
        const record *r = set->of[index ? index[i] : i];
        double c = (double)scores[2 * i], j = (double)scores[2 * i + 1];
        count(&out->all, scores + 2 * i, r);
        count(&out->by_rating[r->rating >= 0 && r->rating < 4 ? r->rating : 4], scores + 2 * i, r);
        out->loss += pairs_loss(set, r, c, j);
        out->chosen += c;
        out->rejected += j;
        out->low = fmin(out->low, fmin(c, j));
        out->high = fmax(out->high, fmax(c, j));
    }
    free(scores);
    return ok;
}
