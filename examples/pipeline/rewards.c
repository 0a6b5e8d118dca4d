/* The two reward models (section 3.2.2 of the paper), and the comparisons of the model's own answers. */
#include "pipeline/pipeline.h"

#include <stdlib.h>
#include <string.h>

bool train_reward(pipeline *p, int which, llama2_reward_model *rm, pair_set *pairs, const size_t *order, size_t n,
                  int64_t epochs, double lr, series *losses)
{
    static const char *const labels[] = {"reward: helpful", "reward: safety"};
    size_t batch_size = (size_t)p->set.reward_batch;
    progress bar;
    char note[64] = "";
    llama2_trainer *t = new_trainer(p, NULL, rm, lr, (int64_t)((n + batch_size - 1) / batch_size) * epochs);
    bool ok = t != NULL;
    progress_start(&bar, labels[which], "pairs", n * (uint64_t)epochs, 0, p->app.args.quiet || !losses);
    for (int64_t epoch = 0; ok && epoch < epochs; epoch++) {
        for (size_t first = 0; ok && first < n; first += batch_size) {
            size_t now = first + batch_size < n ? batch_size : n - first;
            llama2_reward_metrics m = {.struct_size = sizeof m};
            ok = pairs_batch(&p->app, pairs, order + first, 0, now, which == 1 ? p->set.safety_weight : 0) &&
                 llama2_reward_step(t, &pairs->pairs, &m) >= 0;
            if (!ok) break;
            if (losses) {
                series_add(losses, (double)m.step, m.loss);
                log_step(p, labels[which], m.step, m.loss, m.lr, m.grad_norm, pairs->pairs.batch->n_tokens);
            }
            snprintf(note, sizeof note, "loss %.3f, accuracy %.2f", m.loss, m.accuracy);
            progress_update(&bar, (uint64_t)epoch * n + first + now, note);
        }
    }
    progress_finish(&bar, note);
    llama2_trainer_free(t);
    return ok;
}

void copy_records(records *to, const records *from)
{
    for (size_t i = 0; i < from->n; i++) {
        const record *r = &from->items[i];
        record *copy = records_add(to, r->roles, (const char *const *)r->texts, r->n_messages, r->answer, r->rejected);
        copy->rating = r->rating;
        copy->chosen_safe = r->chosen_safe;
        copy->rejected_safe = r->rejected_safe;
    }
}

void shuffle_preferences(records *all, uint64_t seed)
{
    for (size_t i = 0; i < all->n; i++) {
        record *r = &all->items[i];
        char *answer = r->answer;
        r->chosen_safe = r->rejected_safe = -1;
        if (app_mix(seed, i) % 2 == 0) continue;
        r->answer = r->rejected;
        r->rejected = answer;
    }
}

/* Comparisons of the present model's own answers: two variants (temperatures) answer, the annotator decides. */
static bool collect_comparisons(pipeline *p)
{
    static const double temperatures[2] = {0.7, 1.2};
    double began = progress_now();
    size_t wanted = (size_t)p->set.sampled_pairs, most = p->prompts.tokens.n, n = wanted < most ? wanted : most;
    size_t *index = app_shuffled(most, p->app.args.seed + 31);
    llama2_rollouts *rollouts[2] = {NULL, NULL};
    llama2_rollouts_view v[2] = {{.struct_size = sizeof v[0]}, {.struct_size = sizeof v[0]}};
    llama2_batch batch;
    bool ok = prompts_batch(&p->app, &p->prompts, index, n, &batch);
    for (int k = 0; ok && k < 2; k++) {
        llama2_rollout_options o;
        llama2_rollout_options_init(&o, sizeof o);
        o.max_new_tokens = (int32_t)p->set.max_new_tokens;
        o.temperature = temperatures[k];
        o.seed = p->app.args.seed + 41 + (uint64_t)k;
        ok = llama2_rollout(p->model, &batch, &o, &rollouts[k]) >= 0 &&
             llama2_rollouts_view_get(rollouts[k], &v[k]) >= 0;
    }
    for (size_t i = 0; ok && i < n; i++) {
        char *a = response_text(p, &v[0], (int32_t)i), *b = response_text(p, &v[1], (int32_t)i);
        const record *prompt = p->prompts.of[index[i]];
        record label = {.rating = -1, .chosen_safe = -1, .rejected_safe = -1};
        if (strcmp(a, b) != 0 && *a && *b) {
            bool first = p->data.annotate(&p->data, (size_t)(prompt - p->data.prompts.items), a, b, &label);
            bool held = is_held_out(prompt, HELD_OUT_EVERY);
            records *to = prompt->is_safety ? (held ? &p->data.held_out_safety : &p->data.safety)
                          : held            ? &p->data.held_out_helpful
                                            : &p->data.helpful;
            record *r = records_add(to, prompt->roles, (const char *const *)prompt->texts, prompt->n_messages,
                                    first ? a : b, first ? b : a);
            r->rating = label.rating;
            r->chosen_safe = label.chosen_safe;
            r->rejected_safe = label.rejected_safe;
            r->is_safety = prompt->is_safety;
        }
        free(a);
        free(b);
    }
    llama2_rollouts_free(rollouts[0]);
    llama2_rollouts_free(rollouts[1]);
    free(index);
    took(p, "collecting comparisons", began);
    return ok;
}

/* llama2_reward_step passes over a pair whose chosen answer is unsafe and the other safe. The first n pairs of an order
 * that are trained on; to be freed. */
static size_t *trained_on(const pair_set *pairs, const size_t *order, size_t *n)
{
    size_t all = *n, *kept = app_must(malloc((all + 1) * sizeof *kept));
    *n = 0;
    for (size_t i = 0; i < all; i++) {
        const record *r = pairs->of[order[i]];
        if (r->chosen_safe != 0 || r->rejected_safe != 1) kept[(*n)++] = order[i];
    }
    return kept;
}

static bool one_reward(pipeline *p, int which, pair_set *train, pair_set *held_out, pair_set *other)
{
    reward_report *report = &p->reward_reports[which];
    pair_figures cross, fit;
    size_t n = train->n < (size_t)p->set.pairs ? train->n : (size_t)p->set.pairs, few = n < 64 ? n : 64;
    size_t *order = app_shuffled(train->n, p->app.args.seed + 51), learnt = n, learnt_of_few = few,
           *all_learnt = trained_on(train, order, &learnt), *few_learnt = trained_on(train, order, &learnt_of_few);
    llama2_reward_model *small = NULL;
    bool ok = llama2_reward_model_create(p->app.ctx, p->reference, NULL, &p->rewards[which]) >= 0 &&
              train_reward(p, which, p->rewards[which], train, order, n, p->set.reward_epochs, p->set.reward_lr,
                           &p->reward_loss[which]) &&
              pairs_judge(&p->app, held_out, NULL, held_out->n, p->rewards[which], &report->held_out) &&
              pairs_judge(&p->app, other, NULL, other->n, p->rewards[which], &cross) &&
              /* Can it fit at all? 64 pairs, many epochs, on a model of its own. */
              llama2_reward_model_create(p->app.ctx, p->reference, NULL, &small) >= 0 &&
              train_reward(p, which, small, train, order, few, 24, 3 * p->set.reward_lr, NULL) &&
              pairs_judge(&p->app, train, few_learnt, learnt_of_few, small, &fit);
    if (ok) {
        report->n_train = (int32_t)learnt;
        report->cross = cross.all.right / cross.all.n;
        report->fit64 = fit.all.right / fit.all.n;
    }
    llama2_reward_model_free(small);
    free(all_learnt);
    free(few_learnt);
    free(order);
    return ok;
}

bool stage_rewards(pipeline *p)
{
    if (p->data.annotate && !collect_comparisons(p)) return false;
    double began = progress_now();
    const records *all[4] = {&p->data.helpful, &p->data.safety, &p->data.held_out_helpful, &p->data.held_out_safety};
    pair_set sets[4] = {0};
    bool ok = true;
    for (int i = 0; ok && i < 4; i++)
        ok = pairs_encode(&p->app, p->data.tokenizer, all[i], p->set.max_tokens, LLAMA2_MARGIN_SMALL, false, &sets[i]);
    for (int which = 0; ok && which < 2; which++)
        ok = one_reward(p, which, &sets[which], &sets[2 + which], &sets[3 - which]);
    for (int i = 0; i < 4; i++) pairs_close(&sets[i]);
    took(p, "reward models", began);
    return ok;
}
