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
    *set = (pair_set){0};
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

bool pairs_encode(app *a, const llama2_tokenizer *tokenizer, const records *all, int64_t max_tokens, int32_t margin,
                  bool to_train, pair_set *set)
{
    size_t unsafe = 0;
    bool ok = true;
    *set = (pair_set){.margin = margin};
    int32_t *chosen = app_must(malloc(2 * (size_t)max_tokens * sizeof *chosen)), *rejected = chosen + max_tokens;
    set->of = app_must(malloc((all->n + 1) * sizeof *set->of));
    for (size_t i = 0; ok && i < all->n; i++) {
        const record *r = &all->items[i];
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
    if (ok && set->n < all->n && !a->args.quiet)
        fprintf(stderr,
                "%s: of %zu comparisons %zu are left out: %zu longer than %lld tokens, %zu with an unsafe answer "
                "chosen over a safe one\n",
                a->program->name, all->n, all->n - set->n, all->n - set->n - unsafe, (long long)max_tokens, unsafe);
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

static void count(pair_tally *t, double chosen, double rejected, const record *r)
{
    size_t x = strlen(r->answer), y = strlen(r->rejected);
    t->n++;
    t->right += chosen > rejected ? 1 : chosen == rejected ? 0.5 : 0;
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
        count(&out->all, c, j, r);
        count(&out->by_rating[r->rating >= 0 && r->rating < 4 ? r->rating : 4], c, j, r);
        out->loss += pairs_loss(set, r, c, j);
        out->chosen += c;
        out->rejected += j;
        out->low = fmin(out->low, fmin(c, j));
        out->high = fmax(out->high, fmax(c, j));
    }
    free(scores);
    return ok;
}
