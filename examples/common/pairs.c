#include "common/pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool pairs_open(app *a, const llama2_tokenizer *tokenizer, const args_list *files, int64_t max_tokens, int32_t margin,
                bool to_train, pair_set *set)
{
    char error[1024];
    size_t unsafe = 0;
    bool ok = true;
    *set = (pair_set){.margin = margin};
    for (size_t i = 0; ok && i < files->count; i++)
        ok = records_read(&set->records, files->items[i], RECORD_COMPARISON, error, sizeof error) ||
             app_fail(a, "%s", error);
    int32_t *chosen = app_must(malloc(2 * (size_t)max_tokens * sizeof *chosen)), *rejected = chosen + max_tokens;
    set->of = app_must(malloc((set->records.n + 1) * sizeof *set->of));
    for (size_t i = 0; ok && i < set->records.n; i++) {
        const record *r = &set->records.items[i];
        if (to_train && r->chosen_safe == 0 && r->rejected_safe == 1) {
            unsafe++;
            continue;
        }
        int64_t n = record_encode(tokenizer, r, r->answer, chosen, NULL, max_tokens),
                m = record_encode(tokenizer, r, r->rejected, rejected, NULL, max_tokens);
        ok = (n >= 0 && m >= 0) || app_fail(a, "comparison %zu: %s", i + 1, llama2_last_error());
        if (n <= 0 || m <= 0) continue;
        examples_add(&set->tokens, chosen, NULL, 0, n);
        examples_add(&set->tokens, rejected, NULL, 0, m);
        set->of[set->n++] = r;
    }
    free(chosen);
    if (ok && set->n == 0) ok = app_fail(a, "there is no comparison of at most %lld tokens", (long long)max_tokens);
    if (ok && set->n < set->records.n && !a->args.quiet)
        fprintf(stderr,
                "%s: of %zu comparisons %zu are left out: %zu longer than %lld tokens, %zu with an unsafe answer "
                "chosen over a safe one\n",
                a->program->name, set->records.n, set->records.n - set->n, set->records.n - set->n - unsafe,
                (long long)max_tokens, unsafe);
    return ok && app_try(a, llama2_packer_create(a->ctx, NULL, &set->packer), "packing");
}

bool pairs_batch(app *a, pair_set *set, const size_t *index, size_t first, size_t n, double safety_weight)
{
    if (n > set->room) {
        set->margins = app_must(realloc(set->margins, n * sizeof *set->margins));
        set->scores = app_must(realloc(set->scores, 2 * n * sizeof *set->scores));
        set->safe = app_must(realloc(set->safe, 2 * n * sizeof *set->safe));
        set->room = n;
    }
    llama2_packer_clear(set->packer);
    for (size_t i = 0; i < n; i++) {
        size_t k = index ? index[i] : first + i;
        const record *r = set->of[k];
        for (size_t side = 0; side < 2; side++) {
            const example *e = &set->tokens.items[2 * k + side];
            if (!app_try(a, llama2_packer_add(set->packer, e->tokens, NULL, e->n), "packing")) return false;
        }
        set->margins[i] = llama2_reward_margin(set->margin, r->rating);
        set->safe[2 * i] = r->chosen_safe;
        set->safe[2 * i + 1] = r->rejected_safe;
    }
    set->batch = (llama2_batch){.struct_size = sizeof set->batch};
    set->pairs = (llama2_pairs){sizeof set->pairs, (int32_t)n, &set->batch, set->margins, set->safe, safety_weight};
    return app_try(a, llama2_packer_batch(set->packer, &set->batch), "packing");
}

void pairs_close(pair_set *set)
{
    llama2_packer_free(set->packer);
    examples_free(&set->tokens);
    records_free(&set->records);
    free(set->of);
    free(set->margins);
    free(set->scores);
    free(set->safe);
    *set = (pair_set){0};
}

/* Sums over pairs; a tie counts half. */
typedef struct tally {
    double n, right, longer;
} tally;

static void count(tally *t, double chosen, double rejected, const record *r)
{
    size_t x = strlen(r->answer), y = strlen(r->rejected);
    t->n++;
    t->right += chosen > rejected ? 1 : chosen == rejected ? 0.5 : 0;
    t->longer += x > y ? 1 : x == y ? 0.5 : 0;
}

static json_t *shown(const tally *t)
{
    json_t *o = json_pack("{s:I}", "pairs", (json_int_t)t->n);
    app_put(o, "accuracy", t->right / t->n);
    app_put(o, "longer_wins", t->longer / t->n);
    return o;
}

json_t *pairs_evaluate(app *a, pair_set *set, const llama2_reward_model *reward_model)
{
    enum { AT_ONCE = 64 };
    static const char *const ratings[] = {"significantly_better", "better", "slightly_better", "negligibly_better",
                                          "unrated"};
    tally all = {0}, by[5] = {{0}};
    double loss = 0, chosen = 0, rejected = 0, low = INFINITY, high = -INFINITY;
    for (size_t first = 0; first < set->n; first += AT_ONCE) {
        size_t n = set->n - first < AT_ONCE ? set->n - first : AT_ONCE;
        llama2_reward_metrics m = {.struct_size = sizeof m};
        if (!pairs_batch(a, set, NULL, first, n, 0) ||
            !app_try(a, llama2_reward_evaluate(reward_model, &set->pairs, &m, set->scores), "evaluating"))
            return NULL;
        for (size_t i = 0; i < n; i++) {
            const record *r = set->of[first + i];
            double c = (double)set->scores[2 * i], j = (double)set->scores[2 * i + 1];
            count(&all, c, j, r);
            count(&by[r->rating >= 0 && r->rating < 4 ? r->rating : 4], c, j, r);
            double z = c - j - (double)set->margins[i];
            loss += z > 0 ? log1p(exp(-z)) : log1p(exp(z)) - z;
            chosen += c;
            rejected += j;
            low = fmin(low, fmin(c, j));
            high = fmax(high, fmax(c, j));
        }
    }
    json_t *o = shown(&all), *rated = json_object();
    app_put(o, "loss", loss / all.n);
    app_put(o, "mean_chosen", chosen / all.n);
    app_put(o, "mean_rejected", rejected / all.n);
    app_put(o, "min_score", low);
    app_put(o, "max_score", high);
    for (int i = 0; i < 5; i++)
        if (by[i].n > 0) json_object_set_new(rated, ratings[i], shown(&by[i]));
    json_object_set_new(o, "by_rating", rated);
    return o;
}
