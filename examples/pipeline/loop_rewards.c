/* Both reward models of a version: from the SFT model's trunk, on all comparisons so far (section 3.2.2). */
#include "pipeline/loop.h"

#include <stdlib.h>

static const char *const names[] = {"helpful", "safety"};

bool read_collected(loop *l, const char *prefix, int which, int first, int last, records *out)
{
    char path[4096], error[1024];
    for (int v = first; v <= last; v++)
        if (!records_read(out, state_path(l, path, "collect-%d/%s%s.jsonl", v, prefix, names[which]), RECORD_COMPARISON,
                          error, sizeof error))
            return app_fail(&l->p->app, "%s", error);
    return true;
}

/* How the models of this version and of the one before do on what this one collected, and what is gained, pair by pair.
 */
static bool judge_fresh(loop *l, int which, const llama2_reward_model *before, pair_set *fresh, json_t *line)
{
    app *a = &l->p->app;
    size_t n = fresh->n;
    float *now = app_must(malloc(4 * n * sizeof *now)), *then = now + 2 * n;
    double sum = 0, sum_before = 0, squares = 0;
    bool ok = pairs_score(a, fresh, NULL, n, l->p->rewards[which], now) &&
              (!before || pairs_score(a, fresh, NULL, n, before, then));
    for (size_t i = 0; ok && i < n; i++) {
        double right = pair_right(now + 2 * i), right_before = before ? pair_right(then + 2 * i) : 0;
        sum += right;
        sum_before += right_before;
        squares += (right - right_before) * (right - right_before);
    }
    free(now);
    app_put(line, "fresh", sum / (double)n);
    app_put(line, "fresh_pairs", (double)n);
    if (!before) return ok;
    app_put(line, "fresh_before", sum_before / (double)n);
    app_put(line, "fresh_gain", (sum - sum_before) / (double)n);
    app_put(line, "fresh_gain_half", mean_half((double)n, sum - sum_before, squares));
    return ok;
}

/* How this version's model does on all that is held out, of its own kind and of the other one. */
static bool judge_model(loop *l, int which, pair_set *own, pair_set *other, json_t *line)
{
    app *a = &l->p->app;
    pair_figures f, g;
    json_t *by_rating = json_array(), *counts = json_array();
    bool ok = pairs_judge(a, own, NULL, own->n, l->p->rewards[which], &f) &&
              pairs_judge(a, other, NULL, other->n, l->p->rewards[which], &g);
    for (int k = 0; ok && k < 4; k++) {
        const pair_tally *t = &f.by_rating[k];
        json_array_append_new(by_rating, t->n > 0 ? json_real(t->right / t->n) : json_null());
        json_array_append_new(counts, json_real(t->n));
    }
    json_object_set_new(line, "by_rating", by_rating);
    json_object_set_new(line, "by_rating_pairs", counts);
    if (!ok) return false;
    app_put(line, "held_out", f.all.right / f.all.n);
    app_put(line, "held_out_pairs", f.all.n);
    app_put(line, "longer_wins", f.all.longer / f.all.n);
    app_put(line, "other_kind", g.all.right / g.all.n);
    app_put(line, "other_kind_pairs", g.all.n);
    return true;
}

/* Comparisons leave open where 0 lies, by which the combination goes: it is put at the mean answer. Not where the
 * auxiliary loss has put it between safe and unsafe answers; in the control no label has. */
static bool centre(loop *l, int which, pair_set *train, const size_t *order)
{
    enum { REFERENCE = 512 };
    if (which == 1 && !l->shuffled) return true;
    return pairs_centre(&l->p->app, train, order, train->n < REFERENCE ? train->n : REFERENCE, false,
                        l->p->rewards[which], NULL);
}

static bool one_reward(loop *l, int which, const llama2_model *trunk, const llama2_reward_model *before, json_t *line)
{
    pipeline *p = l->p;
    char path[4096];
    int version = l->steps[l->at].version;
    records train = {0}, fresh = {0}, all = {0}, other = {0};
    pair_set sets[4] = {{.n = 0}};
    const records *first[2] = {&p->data.held_out_helpful, &p->data.held_out_safety};
    copy_records(&train, which == 0 ? &p->data.helpful : &p->data.safety);
    copy_records(&all, first[which]);
    copy_records(&other, first[1 - which]);
    bool ok = read_collected(l, "", which, 1, version, &train) &&
              read_collected(l, "held-out-", which, 1, version, &all) &&
              read_collected(l, "held-out-", 1 - which, 1, version, &other) &&
              read_collected(l, "held-out-", which, version, version, &fresh);
    if (l->shuffled) shuffle_preferences(&train, p->app.args.seed + 91 + (uint64_t)which);
    const records *from[4] = {&train, &fresh, &all, &other};
    for (int i = 0; ok && i < 4; i++)
        ok =
            (i == 1 && fresh.n == 0) || /* may happen where few are collected: then nothing is said of them */
            pairs_encode(&p->app, p->data.tokenizer, from[i], p->set.max_tokens, LLAMA2_MARGIN_SMALL, i == 0, &sets[i]);
    size_t *order = app_shuffled(sets[0].n, loop_seed(l, 251));
    series losses = {0};
    state_path(l, path, "%s/%s", l->steps[l->at].name, names[which]);
    ok = ok &&
         app_try(&p->app, llama2_reward_model_create(p->app.ctx, trunk, NULL, &p->rewards[which]), "reward model") &&
         train_reward(p, which, p->rewards[which], &sets[0], order, sets[0].n, p->set.reward_epochs, p->set.reward_lr,
                      &losses) &&
         centre(l, which, &sets[0], order) && (fresh.n == 0 || judge_fresh(l, which, before, &sets[1], line)) &&
         judge_model(l, which, &sets[2], &sets[3], line) &&
         app_try(&p->app, llama2_reward_model_save(p->rewards[which], path, LLAMA2_F32), "saving");
    json_object_set_new(line, "pairs", json_integer((json_int_t)sets[0].n));
    json_object_set_new(line, "left_out", json_integer((json_int_t)(train.n - sets[0].n)));
    free(order);
    series_free(&losses);
    for (int i = 0; i < 4; i++) pairs_close(&sets[i]);
    records_free(&train);
    records_free(&fresh);
    records_free(&all);
    records_free(&other);
    return ok;
}

bool step_rewards(loop *l)
{
    pipeline *p = l->p;
    int version = l->steps[l->at].version;
    llama2_reward_model *before[2] = {NULL, NULL};
    json_t *lines[2] = {json_object(), json_object()};
    bool ok = load_sft(l, &p->model) && (version == 1 || load_rewards(l, version - 1));
    for (int which = 0; which < 2; which++) {
        before[which] = p->rewards[which];
        p->rewards[which] = NULL;
    }
    for (int which = 0; ok && which < 2; which++) ok = one_reward(l, which, p->model, before[which], lines[which]);
    json_t *both = json_pack("{s:s, s:i, s:o, s:o}", "stage", "rewards", "version", version, names[0], lines[0],
                             names[1], lines[1]);
    if (ok)
        ok = state_write_json(l, "accuracy.json", both);
    else
        json_decref(both);
    llama2_reward_model_free(before[0]);
    llama2_reward_model_free(before[1]);
    return ok;
}
