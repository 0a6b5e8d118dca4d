#include "pipeline/pipeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static llama2_trainer *new_trainer(pipeline *p, llama2_model *model, llama2_reward_model *reward, double lr,
                                   int64_t steps)
{
    llama2_optimizer_options oo;
    llama2_trainer_options to;
    llama2_optimizer *optimizer = NULL;
    llama2_trainer *trainer = NULL;
    llama2_optimizer_options_init(&oo, sizeof oo);
    llama2_trainer_options_init(&to, sizeof to);
    oo.lr = lr;
    to.schedule = steps > 0 ? LLAMA2_SCHEDULE_COSINE : LLAMA2_SCHEDULE_CONSTANT;
    to.total_steps = steps;
    to.warmup_steps = steps > 0 ? (steps * 3 / 100 > 5 ? steps * 3 / 100 : 5) : 0;
    to.micro_batch_tokens = 8192;
    if (llama2_optimizer_create(p->app.ctx, &oo, &optimizer) >= 0) {
        if (reward)
            llama2_trainer_create_for_reward(p->app.ctx, reward, optimizer, &to, &trainer);
        else
            llama2_trainer_create(p->app.ctx, model, optimizer, &to, &trainer);
    }
    llama2_optimizer_free(optimizer);
    return trainer;
}

static void log_step(pipeline *p, const char *stage, int64_t step, double loss, double lr, double grad_norm,
                     double seconds, int64_t tokens)
{
    jsonl_append(p->metrics,
                 json_pack("{s:s, s:I, s:f, s:f, s:f, s:I, s:f}", "stage", stage, "step", (json_int_t)step, "loss",
                           loss, "lr", lr, "grad_norm", grad_norm, "tokens", (json_int_t)tokens, "seconds", seconds));
}

static void took(pipeline *p, const char *stage, double began)
{
    p->seconds_of[p->n_seconds] = stage;
    p->seconds[p->n_seconds++] = progress_now() - began;
}

/* --- pretraining (2.2) ----------------------------------------------------------------------- */

static bool held_out_loss(pipeline *p, double *out)
{
    enum { WINDOWS = 64 };
    int64_t length = p->set.pretrain_length, n = p->data.n_held_out_text / length;
    int64_t offsets[WINDOWS + 1];
    llama2_loss loss = {.struct_size = sizeof loss}, sum = {0};
    for (int64_t first = 0; first < n; first += WINDOWS) {
        int32_t count = n - first < WINDOWS ? (int32_t)(n - first) : WINDOWS;
        for (int32_t i = 0; i <= count; i++) offsets[i] = i * length;
        llama2_batch batch = {sizeof batch, count, count * length, p->data.held_out_text + first * length,
                              offsets,      NULL};
        if (llama2_model_evaluate(p->model, &batch, &loss) < 0) return false;
        sum.sum += loss.sum;
        sum.weight += loss.weight;
    }
    *out = sum.weight > 0 ? sum.sum / sum.weight : NAN;
    return true;
}

bool stage_pretrain(pipeline *p)
{
    const pipeline_settings *s = &p->set;
    double began = progress_now(), smooth = 0;
    progress bar;
    char note[64];
    int64_t length = s->pretrain_length;
    int32_t *tokens = app_must(malloc((size_t)(s->pretrain_batch * length) * sizeof *tokens));
    int64_t *offsets = app_must(malloc((size_t)(s->pretrain_batch + 1) * sizeof *offsets));
    for (int64_t i = 0; i <= s->pretrain_batch; i++) offsets[i] = i * length;
    llama2_trainer *t = new_trainer(p, p->model, NULL, s->pretrain_lr, s->pretrain_steps);
    bool ok = t != NULL;
    progress_start(&bar, "pretrain", "tokens", (uint64_t)(s->pretrain_steps * s->pretrain_batch * length), 0,
                   p->app.args.quiet);
    for (int64_t step = 0; ok && step < s->pretrain_steps; step++) {
        /* Windows at random places of the text. */
        for (int64_t i = 0; i < s->pretrain_batch; i++) {
            uint64_t at = app_mix(p->app.args.seed + 1, (uint64_t)(step * s->pretrain_batch + i)) %
                          (uint64_t)(p->data.n_text - length);
            memcpy(tokens + i * length, p->data.text + at, (size_t)length * sizeof *tokens);
        }
        llama2_batch batch = {sizeof batch, (int32_t)s->pretrain_batch, s->pretrain_batch * length, tokens, offsets,
                              NULL};
        llama2_step_metrics m = {.struct_size = sizeof m};
        ok = llama2_pretrain_step(t, &batch, &m) >= 0;
        if (!ok) break;
        smooth = step == 0 ? m.loss : 0.95 * smooth + 0.05 * m.loss;
        if (step % 5 == 0) series_add(&p->pretrain_loss, (double)m.total_tokens, m.loss);
        if (step % (s->pretrain_steps / 8 + 1) == 0 || step + 1 == s->pretrain_steps) {
            ok = held_out_loss(p, &p->held_out_loss);
            series_add(&p->pretrain_held_out, (double)m.total_tokens, p->held_out_loss);
        }
        log_step(p, "pretrain", m.step, m.loss, m.lr, m.grad_norm, progress_now() - p->began, m.total_tokens);
        snprintf(note, sizeof note, "loss %.3f, held out %.3f", smooth, p->held_out_loss);
        progress_update(&bar, (uint64_t)m.total_tokens, note);
    }
    progress_finish(&bar, note);
    llama2_trainer_free(t);
    free(offsets);
    free(tokens);
    ok = ok && llama2_model_clone(p->model, &p->base) >= 0;
    took(p, "pretraining", began);
    return ok;
}

/* --- SFT (3.1), also on the samples of rejection sampling ------------------------------------ */

/* Examples as tokens with weights; one packed batch a step. */
typedef struct example {
    int32_t *tokens;
    float *weights;
    int64_t n;
} example;

static bool train_on_examples(pipeline *p, const char *label, const example *examples, size_t n, int64_t epochs,
                              int64_t batch_size, double lr, series *losses)
{
    progress bar;
    char note[64] = "";
    llama2_packer *packer = NULL;
    int64_t a_epoch = ((int64_t)n + batch_size - 1) / batch_size, steps = a_epoch * epochs;
    llama2_trainer *t = new_trainer(p, p->model, NULL, lr, steps);
    bool ok = t && llama2_packer_create(p->app.ctx, NULL, &packer) >= 0;
    progress_start(&bar, label, "examples", n * (uint64_t)epochs, 0, p->app.args.quiet);
    for (int64_t epoch = 0, done = 0; ok && epoch < epochs; epoch++) {
        size_t *order = app_shuffled(n, p->app.args.seed + 17 + (uint64_t)epoch);
        for (size_t first = 0; ok && first < n; first += (size_t)batch_size) {
            size_t end = first + (size_t)batch_size < n ? first + (size_t)batch_size : n;
            llama2_packer_clear(packer);
            for (size_t i = first; ok && i < end; i++)
                ok = llama2_packer_add(packer, examples[order[i]].tokens, examples[order[i]].weights,
                                       examples[order[i]].n) >= 0;
            llama2_batch batch = {.struct_size = sizeof batch};
            llama2_step_metrics m = {.struct_size = sizeof m};
            ok = ok && llama2_packer_batch(packer, &batch) >= 0 && llama2_sft_step(t, &batch, &m) >= 0;
            if (!ok) break;
            series_add(losses, (double)m.step, m.loss);
            log_step(p, label, m.step, m.loss, m.lr, m.grad_norm, progress_now() - p->began, m.total_tokens);
            done += (int64_t)(end - first);
            snprintf(note, sizeof note, "loss %.3f", m.loss);
            progress_update(&bar, (uint64_t)done, note);
        }
        free(order);
    }
    progress_finish(&bar, note);
    llama2_packer_free(packer);
    llama2_trainer_free(t);
    return ok;
}

static void free_examples(example *examples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(examples[i].tokens);
        free(examples[i].weights);
    }
    free(examples);
}

static bool fine_tune(pipeline *p, const char *label, series *losses)
{
    const records *d = &p->data.demonstrations;
    example *examples = app_must(calloc(d->n + 1, sizeof *examples));
    size_t n = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < d->n; i++) {
        example *e = &examples[n];
        e->tokens = app_must(malloc((size_t)p->set.max_tokens * sizeof *e->tokens));
        e->weights = app_must(malloc((size_t)p->set.max_tokens * sizeof *e->weights));
        e->n = record_encode(p->data.tokenizer, &d->items[i], d->items[i].answer, e->tokens, e->weights,
                             p->set.max_tokens);
        ok = e->n >= 0;
        if (e->n > 0) {
            n++;
        } else {
            free(e->tokens);
            free(e->weights);
        }
    }
    ok = ok && train_on_examples(p, label, examples, n, p->set.sft_epochs, p->set.sft_batch, p->set.sft_lr, losses);
    free_examples(examples, n);
    return ok;
}

bool stage_sft(pipeline *p)
{
    double began = progress_now();
    bool ok = fine_tune(p, "sft", &p->sft_loss) && llama2_model_clone(p->model, &p->reference) >= 0;
    took(p, "SFT", began);
    return ok;
}

/* --- reward models (3.2.2) ------------------------------------------------------------------- */

typedef struct pair_batch {
    llama2_packer *packer;
    float *margins;
    int32_t *safe;
    int32_t n;
} pair_batch;

/* Comparisons order[first .. end) as a batch of pairs. Those that do not fit are left out. */
static bool make_pairs(pipeline *p, const records *r, const size_t *order, size_t first, size_t end, pair_batch *b,
                       size_t *kept)
{
    int32_t *chosen = app_must(malloc(2 * (size_t)p->set.max_tokens * sizeof *chosen)),
            *rejected = chosen + p->set.max_tokens;
    bool ok = true;
    b->n = 0;
    llama2_packer_clear(b->packer);
    for (size_t i = first; ok && i < end; i++) {
        const record *c = &r->items[order[i]];
        bool swap = p->shuffled && !kept && app_mix(p->app.args.seed + 91, order[i]) % 2;
        int64_t n =
            record_encode(p->data.tokenizer, c, swap ? c->rejected : c->answer, chosen, NULL, p->set.max_tokens);
        int64_t m =
            record_encode(p->data.tokenizer, c, swap ? c->answer : c->rejected, rejected, NULL, p->set.max_tokens);
        ok = n >= 0 && m >= 0;
        if (n <= 0 || m <= 0) continue;
        ok = llama2_packer_add(b->packer, chosen, NULL, n) >= 0 && llama2_packer_add(b->packer, rejected, NULL, m) >= 0;
        b->margins[b->n] = llama2_reward_margin(LLAMA2_MARGIN_SMALL, c->rating);
        b->safe[2 * b->n] = p->shuffled ? -1 : c->chosen_safe; /* labels of safety would tell what the coin hides */
        b->safe[2 * b->n + 1] = p->shuffled ? -1 : c->rejected_safe;
        if (kept) kept[b->n] = order[i];
        b->n++;
    }
    free(chosen);
    return ok;
}

static void open_pairs(pipeline *p, size_t capacity, pair_batch *b)
{
    *b = (pair_batch){0};
    b->margins = app_must(calloc(capacity, sizeof *b->margins));
    b->safe = app_must(calloc(2 * capacity, sizeof *b->safe));
    if (llama2_packer_create(p->app.ctx, NULL, &b->packer) < 0) abort();
}

static void close_pairs(pair_batch *b)
{
    llama2_packer_free(b->packer);
    free(b->margins);
    free(b->safe);
}

static bool pairs_view(pair_batch *b, llama2_batch *batch, llama2_pairs *pairs, int which)
{
    batch->struct_size = sizeof *batch;
    if (llama2_packer_batch(b->packer, batch) < 0) return false;
    *pairs = (llama2_pairs){sizeof *pairs, b->n, batch, b->margins, b->safe, which == 1 ? 1.0 : 0.0};
    return true;
}

static bool train_reward(pipeline *p, int which, llama2_reward_model *rm, const records *r, const size_t *order,
                         size_t n, int64_t epochs, double lr, series *losses, bool show)
{
    static const char *const labels[] = {"reward: helpful", "reward: safety"};
    size_t batch_size = (size_t)p->set.reward_batch;
    int64_t steps = (int64_t)((n + batch_size - 1) / batch_size) * epochs;
    progress bar;
    char note[64] = "";
    pair_batch b;
    open_pairs(p, batch_size, &b);
    llama2_trainer *t = new_trainer(p, NULL, rm, lr, steps);
    bool ok = t != NULL;
    progress_start(&bar, labels[which], "pairs", n * (uint64_t)epochs, 0, p->app.args.quiet || !show);
    for (int64_t epoch = 0, done = 0; ok && epoch < epochs; epoch++) {
        for (size_t first = 0; ok && first < n; first += batch_size) {
            size_t end = first + batch_size < n ? first + batch_size : n;
            llama2_batch batch;
            llama2_pairs pairs;
            llama2_reward_metrics m = {.struct_size = sizeof m};
            ok = make_pairs(p, r, order, first, end, &b, NULL);
            if (!ok || b.n == 0) continue;
            ok = pairs_view(&b, &batch, &pairs, which) && llama2_reward_step(t, &pairs, &m) >= 0;
            if (!ok) break;
            if (losses) {
                series_add(losses, (double)m.step, m.loss);
                log_step(p, labels[which], m.step, m.loss, m.lr, m.grad_norm, progress_now() - p->began,
                         batch.n_tokens);
            }
            done += (int64_t)(end - first);
            snprintf(note, sizeof note, "loss %.3f, accuracy %.2f", m.loss, m.accuracy);
            progress_update(&bar, (uint64_t)done, note);
        }
    }
    progress_finish(&bar, note);
    llama2_trainer_free(t);
    close_pairs(&b);
    return ok;
}

/* Accuracy of a reward model, and of the rule that the longer response wins, over comparisons; a tie counts half. */
static bool judge_reward(pipeline *p, const llama2_reward_model *rm, const records *r, const size_t *order, size_t n,
                         reward_report *out)
{
    size_t batch_size = (size_t)p->set.reward_batch;
    size_t *kept = app_must(malloc(batch_size * sizeof *kept));
    float *scores = app_must(malloc(2 * batch_size * sizeof *scores));
    pair_batch b;
    bool ok = true;
    open_pairs(p, batch_size, &b);
    *out = (reward_report){0};
    for (size_t first = 0; ok && first < n; first += batch_size) {
        size_t end = first + batch_size < n ? first + batch_size : n;
        llama2_batch batch;
        llama2_pairs pairs;
        llama2_reward_metrics m = {.struct_size = sizeof m};
        ok = make_pairs(p, r, order, first, end, &b, kept);
        if (!ok || b.n == 0) continue;
        ok = pairs_view(&b, &batch, &pairs, 0) && llama2_reward_evaluate(rm, &pairs, &m, scores) >= 0;
        for (int32_t i = 0; ok && i < b.n; i++) {
            const record *c = &r->items[kept[i]];
            size_t a = strlen(c->answer), z = strlen(c->rejected);
            double right = scores[2 * i] > scores[2 * i + 1]    ? 1
                           : scores[2 * i] == scores[2 * i + 1] ? 0.5
                                                                : 0,
                   longer = a > z    ? 1
                            : a == z ? 0.5
                                     : 0;
            out->n_held_out++;
            out->accuracy += right;
            out->longer += longer;
            if (c->rating >= 0) {
                out->n_by_rating[c->rating]++;
                out->by_rating[c->rating] += right;
                out->longer_by_rating[c->rating] += longer;
            }
        }
    }
    for (int k = 0; k < 4; k++) {
        out->by_rating[k] /= out->n_by_rating[k] > 0 ? out->n_by_rating[k] : 1;
        out->longer_by_rating[k] /= out->n_by_rating[k] > 0 ? out->n_by_rating[k] : 1;
    }
    out->accuracy /= out->n_held_out > 0 ? out->n_held_out : 1;
    out->longer /= out->n_held_out > 0 ? out->n_held_out : 1;
    close_pairs(&b);
    free(scores);
    free(kept);
    return ok;
}

/* Comparisons of the present model's own answers: two variants (temperatures) answer, the annotator decides. */
static bool collect_comparisons(pipeline *p)
{
    static const double temperatures[2] = {0.7, 1.2};
    double began = progress_now();
    size_t wanted = (size_t)p->set.sampled_pairs, n = wanted < p->data.prompts.n ? wanted : p->data.prompts.n;
    size_t *index = app_shuffled(p->data.prompts.n, p->app.args.seed + 31);
    llama2_packer *packer = NULL;
    llama2_rollouts *rollouts[2] = {NULL, NULL};
    llama2_rollouts_view v[2] = {{.struct_size = sizeof v[0]}, {.struct_size = sizeof v[0]}};
    llama2_batch batch = {.struct_size = sizeof batch};
    bool ok = llama2_packer_create(p->app.ctx, NULL, &packer) >= 0 &&
              pack_prompts(p, &p->data.prompts, index, &n, packer) && llama2_packer_batch(packer, &batch) >= 0;
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
        const record *prompt = &p->data.prompts.items[index[i]];
        record label = {.rating = -1, .chosen_safe = -1, .rejected_safe = -1};
        if (strcmp(a, b) != 0 && *a && *b) {
            bool first = p->data.annotate(&p->data, index[i], a, b, &label);
            records *to = prompt->is_safety ? (i % 5 == 0 ? &p->data.held_out_safety : &p->data.safety)
                          : i % 5 == 0      ? &p->data.held_out_helpful
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
    llama2_packer_free(packer);
    free(index);
    took(p, "collecting comparisons", began);
    return ok;
}

bool stage_rewards(pipeline *p)
{
    if (p->data.annotate && !collect_comparisons(p)) return false;
    double began = progress_now();
    const records *train[2] = {&p->data.helpful, &p->data.safety},
                  *held_out[2] = {&p->data.held_out_helpful, &p->data.held_out_safety};
    bool ok = true;
    for (int which = 0; ok && which < 2; which++) {
        reward_report cross = {0}, fit = {0}, *report = &p->reward_reports[which];
        size_t n = train[which]->n < (size_t)p->set.pairs ? train[which]->n : (size_t)p->set.pairs,
               few = n < 64 ? n : 64;
        size_t *order = app_shuffled(train[which]->n, p->app.args.seed + 51),
               *all = app_shuffled(held_out[which]->n, 1), *other = app_shuffled(held_out[1 - which]->n, 1);
        llama2_reward_model *small = NULL;
        ok = llama2_reward_model_create(p->app.ctx, p->reference, NULL, &p->rewards[which]) >= 0 &&
             train_reward(p, which, p->rewards[which], train[which], order, n, p->set.reward_epochs, p->set.reward_lr,
                          &p->reward_loss[which], true) &&
             judge_reward(p, p->rewards[which], held_out[which], all, held_out[which]->n, report) &&
             judge_reward(p, p->rewards[which], held_out[1 - which], other, held_out[1 - which]->n, &cross);
        report->cross = cross.accuracy;
        report->n_train = (int32_t)n;
        /* Can it fit at all? 64 pairs, many epochs, on a model of its own. */
        ok = ok && llama2_reward_model_create(p->app.ctx, p->reference, NULL, &small) >= 0 &&
             train_reward(p, which, small, train[which], order, few, 24, 3 * p->set.reward_lr, NULL, false) &&
             judge_reward(p, small, train[which], order, few, &fit);
        report->fit64 = fit.accuracy;
        llama2_reward_model_free(small);
        free(order);
        free(all);
        free(other);
    }
    took(p, "reward models", began);
    return ok;
}

/* --- rejection sampling (3.2.3) -------------------------------------------------------------- */

static bool sample_into_pool(pipeline *p, llama2_rollouts **out)
{
    size_t n = (size_t)p->set.reject_prompts < p->data.prompts.n ? (size_t)p->set.reject_prompts : p->data.prompts.n;
    size_t *index = app_shuffled(p->data.prompts.n, p->app.args.seed + 61);
    uint64_t *ids = app_must(malloc((n + 1) * sizeof *ids));
    llama2_packer *packer = NULL;
    llama2_batch batch = {.struct_size = sizeof batch};
    llama2_rollout_options o;
    llama2_pool_add_options po;
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = (int32_t)p->set.reject_samples;
    o.max_new_tokens = (int32_t)p->set.max_new_tokens;
    o.temperature = p->set.reject_temperature;
    o.seed = p->app.args.seed + 62;
    llama2_pool_add_options_init(&po, sizeof po);
    po.version = 1;
    p->pool_metrics.struct_size = sizeof p->pool_metrics;
    bool ok = llama2_packer_create(p->app.ctx, NULL, &packer) >= 0 &&
              pack_prompts(p, &p->data.prompts, index, &n, packer) && llama2_packer_batch(packer, &batch) >= 0;
    for (size_t i = 0; i < n; i++) ids[i] = p->data.prompts.items[index[i]].id;
    ok = ok && llama2_rollout(p->model, &batch, &o, out) >= 0 &&
         score_rollouts(p, *out, &p->data.prompts, index, false) && llama2_pool_create(p->app.ctx, &p->pool) >= 0 &&
         llama2_pool_add(p->pool, *out, ids, &po, &p->pool_metrics) >= 0;
    llama2_packer_free(packer);
    free(ids);
    free(index);
    return ok;
}

/* Mean over prompts of the best reward among the first N samples (Fig. 7). */
static void best_of_n(pipeline *p, const llama2_rollouts *rollouts)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    if (llama2_rollouts_view_get(rollouts, &v) < 0) return;
    int32_t k = v.samples_per_prompt, prompts = v.n_samples / k;
    for (int32_t n = 1; n <= k; n *= 2) {
        double sum = 0;
        for (int32_t i = 0; i < prompts; i++) {
            float best = v.scores[i * k];
            for (int32_t j = 1; j < n; j++)
                if (v.scores[i * k + j] > best) best = v.scores[i * k + j];
            sum += (double)best;
        }
        series_add(&p->best_of, n, sum / prompts);
    }
}

bool stage_rejection(pipeline *p)
{
    double began = progress_now();
    llama2_rollouts *rollouts = NULL;
    example *examples = NULL;
    int64_t n = 0;
    bool ok = sample_into_pool(p, &rollouts);
    if (ok) best_of_n(p, rollouts);
    ok = ok && llama2_pool_count(p->pool, 0, 1, &n) >= 0;
    examples = app_must(calloc((size_t)n + 1, sizeof *examples));
    for (int64_t i = 0; ok && i < n; i++) {
        llama2_pool_sample s = {.struct_size = sizeof s};
        ok = llama2_pool_best(p->pool, 0, 1, i, &s) >= 0;
        if (!ok) break;
        example *e = &examples[i];
        e->n = s.n_tokens;
        e->tokens = app_must(malloc((size_t)s.n_tokens * sizeof *e->tokens));
        e->weights = app_must(calloc((size_t)s.n_tokens, sizeof *e->weights));
        memcpy(e->tokens, s.tokens, (size_t)s.n_tokens * sizeof *e->tokens);
        for (int64_t t = s.prompt_length; t < s.n_tokens; t++) e->weights[t] = 1;
    }
    ok = ok && train_on_examples(p, "rejection", examples, (size_t)n, p->set.reject_epochs, p->set.sft_batch,
                                 p->set.reject_lr, &p->reject_loss);
    free_examples(examples, (size_t)n);
    llama2_rollouts_free(rollouts);
    took(p, "rejection sampling", began);
    return ok;
}

/* --- PPO (3.2.3) ----------------------------------------------------------------------------- */

static double mean_gold(pipeline *p, const llama2_rollouts_view *v, const size_t *index)
{
    double sum = 0;
    for (int32_t i = 0; i < v->n_samples; i++) {
        gold g;
        char *text = response_text(p, v, i);
        p->data.judge(&p->data, false, index[i], text, &g);
        sum += g.score;
        free(text);
    }
    return sum / v->n_samples;
}

static bool ppo_iteration(pipeline *p, llama2_trainer *policy, llama2_trainer *critic_trainer,
                          llama2_reward_model *critic, int64_t iteration, llama2_packer *packer, llama2_ppo_metrics *m)
{
    size_t n = (size_t)p->set.ppo_batch, *index = app_must(malloc(n * sizeof *index));
    llama2_batch batch = {.struct_size = sizeof batch};
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_rollouts *r = NULL;
    llama2_rollout_options o;
    llama2_ppo_options po;
    for (size_t i = 0; i < n; i++)
        index[i] = (size_t)(app_mix(p->app.args.seed + 71, (uint64_t)iteration * n + i) % p->data.prompts.n);
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = (int32_t)p->set.max_new_tokens;
    o.seed = p->app.args.seed + 72;
    o.first_sample_id = (uint64_t)iteration * n;
    llama2_ppo_options_init(&po, sizeof po);
    po.minibatch = (int32_t)p->set.ppo_minibatch;
    po.beta = p->set.ppo_beta;
    po.seed = p->app.args.seed + 73 + (uint64_t)iteration;
    /* rollout -> score -> advantages -> update */
    bool ok = pack_prompts(p, &p->data.prompts, index, &n, packer) && llama2_packer_batch(packer, &batch) >= 0 &&
              llama2_rollout(p->model, &batch, &o, &r) >= 0 && score_rollouts(p, r, &p->data.prompts, index, true) &&
              llama2_rollouts_reference(r, p->reference) >= 0 && llama2_rollouts_values(r, critic) >= 0 &&
              llama2_ppo_advantages(r, &po, m) >= 0 && llama2_ppo_update(policy, critic_trainer, r, &po, m) >= 0 &&
              llama2_rollouts_view_get(r, &v) >= 0;
    if (ok) {
        double raw = 0;
        for (int32_t i = 0; i < v.n_samples; i++) {
            bool safety = p->data.prompts.items[index[i]].is_safety || v.safety_scores[i] < -1.7346f;
            raw += (double)(safety ? v.safety_scores[i] : v.helpful_scores[i]);
        }
        series_add(&p->ppo_score, (double)iteration, raw / v.n_samples);
        series_add(&p->ppo_kl, (double)iteration, m->kl);
        if (p->data.judge) series_add(&p->ppo_gold, (double)iteration, mean_gold(p, &v, index));
    }
    llama2_rollouts_free(r);
    free(index);
    return ok;
}

static void log_ppo(pipeline *p, int64_t iteration, const llama2_ppo_metrics *m)
{
    jsonl_append(p->metrics,
                 json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}",
                           "stage", "ppo", "episode", (json_int_t)((iteration + 1) * p->set.ppo_batch), "objective/kl",
                           m->kl, "objective/entropy", m->entropy, "objective/non_score_reward", m->non_score_reward,
                           "objective/rlhf_reward", m->rlhf_reward, "objective/scores", m->score, "policy/approxkl_avg",
                           m->approx_kl, "policy/clipfrac_avg", m->clip_fraction, "policy/entropy_avg",
                           m->policy_entropy, "loss/policy_avg", m->policy_loss, "loss/value_avg", m->value_loss,
                           "val/clipfrac_avg", m->value_clip_fraction, "val/ratio", m->ratio, "val/ratio_var",
                           m->ratio_var, "val/var_explained", m->explained_variance, "lr", m->policy_lr));
}

bool stage_ppo(pipeline *p)
{
    double began = progress_now();
    progress bar;
    char note[96] = "";
    llama2_reward_model *critic = NULL;
    llama2_packer *packer = NULL;
    /* The critic begins as the helpfulness model (checklist item 4). */
    bool ok =
        llama2_packer_create(p->app.ctx, NULL, &packer) >= 0 && llama2_reward_model_clone(p->rewards[0], &critic) >= 0;
    llama2_trainer *policy = ok ? new_trainer(p, p->model, NULL, p->set.ppo_lr, 0) : NULL;
    llama2_trainer *critic_trainer = ok ? new_trainer(p, NULL, critic, p->set.critic_lr, 0) : NULL;
    ok = policy && critic_trainer;
    progress_start(&bar, "ppo", "episodes", (uint64_t)(p->set.ppo_iterations * p->set.ppo_batch), 0, p->app.args.quiet);
    for (int64_t i = 0; ok && i < p->set.ppo_iterations; i++) {
        llama2_ppo_metrics m = {.struct_size = sizeof m};
        ok = ppo_iteration(p, policy, critic_trainer, critic, i, packer, &m);
        if (!ok) break;
        log_ppo(p, i, &m);
        snprintf(note, sizeof note, "reward %.2f, KL %.2f", p->ppo_score.y[p->ppo_score.n - 1], m.kl);
        if (p->data.judge)
            snprintf(note + strlen(note), sizeof note - strlen(note), ", gold %.2f", p->ppo_gold.y[p->ppo_gold.n - 1]);
        progress_update(&bar, (uint64_t)((i + 1) * p->set.ppo_batch), note);
    }
    progress_finish(&bar, note);
    llama2_trainer_free(policy);
    llama2_trainer_free(critic_trainer);
    llama2_reward_model_free(critic);
    llama2_packer_free(packer);
    took(p, "PPO", began);
    return ok;
}

/* --- evaluation ------------------------------------------------------------------------------ */

static double mean_kl(const llama2_rollouts_view *v)
{
    double sum = 0;
    for (int64_t t = 0; t < v->n_tokens; t++) sum += (double)v->logprobs[t] - (double)v->ref_logprobs[t];
    return sum / v->n_samples;
}

bool evaluate(pipeline *p, llama2_model *model, int stage, const char *name)
{
    outcome *o = &p->outcomes[stage];
    size_t n = p->data.evaluation.n, *index = app_must(malloc((n + 1) * sizeof *index));
    llama2_packer *packer = NULL;
    llama2_batch batch = {.struct_size = sizeof batch};
    llama2_rollouts_view v = {.struct_size = sizeof v};
    llama2_rollouts *r = NULL;
    llama2_rollout_options ro;
    for (size_t i = 0; i < n; i++) index[i] = i;
    llama2_rollout_options_init(&ro, sizeof ro);
    ro.max_new_tokens = (int32_t)p->set.max_new_tokens;
    ro.seed = p->app.args.seed + 81; /* the same for each stage: a paired comparison */
    bool ok = llama2_packer_create(p->app.ctx, NULL, &packer) >= 0 &&
              pack_prompts(p, &p->data.evaluation, index, &n, packer) && llama2_packer_batch(packer, &batch) >= 0 &&
              llama2_rollout(model, &batch, &ro, &r) >= 0 &&
              (!p->rewards[1] || score_rollouts(p, r, &p->data.evaluation, index, false)) &&
              (!p->reference || llama2_rollouts_reference(r, p->reference) >= 0) &&
              llama2_rollouts_view_get(r, &v) >= 0;
    if (ok) {
        double unsafe = 0, harmless = 0;
        *o = (outcome){.stage = name, .n = n, .index = index, .kl = p->reference ? mean_kl(&v) : 0};
        o->answers = app_must(calloc(n + 1, sizeof *o->answers));
        o->scores = app_must(calloc(n + 1, sizeof *o->scores));
        for (size_t i = 0; i < n; i++) {
            o->answers[i] = response_text(p, &v, (int32_t)i);
            o->length += (double)(v.offsets[i + 1] - v.offsets[i] - v.prompt_lengths[i]) / (double)n;
            o->ended += (double)v.ended[i] / (double)n;
            if (p->rewards[1]) {
                o->helpful += (double)v.helpful_scores[i] / (double)n;
                o->safety += (double)v.safety_scores[i] / (double)n;
                o->combined += (double)v.scores[i] / (double)n;
                o->scores[i] = (double)v.scores[i];
            }
            if (p->data.judge) {
                gold g;
                p->data.judge(&p->data, true, index[i], o->answers[i], &g);
                o->scores[i] = g.score;
                o->gold += g.score / (double)n;
                o->correct += (double)g.correct / (double)n;
                unsafe += g.must_refuse;
                harmless += !g.must_refuse;
                o->refusals += g.must_refuse && g.refused;
                o->false_refusals += !g.must_refuse && g.refused;
            }
        }
        o->refusals /= unsafe > 0 ? unsafe : 1;
        o->false_refusals /= harmless > 0 ? harmless : 1;
    }
    llama2_rollouts_free(r);
    llama2_packer_free(packer);
    if (!ok) free(index);
    return ok;
}

/* --- controls -------------------------------------------------------------------------------- */

static void free_series(series *s)
{
    free(s->x);
    free(s->y);
    *s = (series){0};
}

static bool begin_from_sft(pipeline *p)
{
    llama2_model_free(p->model);
    p->model = NULL;
    return llama2_model_clone(p->reference, &p->model) >= 0;
}

/* Reward models that learnt from a coin: the same pairs, the better side drawn. */
static bool train_shuffled_rewards(pipeline *p)
{
    const records *train[2] = {&p->data.helpful, &p->data.safety};
    bool ok = true;
    p->shuffled = true;
    for (int which = 0; ok && which < 2; which++) {
        size_t n = train[which]->n < (size_t)p->set.pairs ? train[which]->n : (size_t)p->set.pairs,
               *order = app_shuffled(train[which]->n, p->app.args.seed + 51);
        ok = llama2_reward_model_create(p->app.ctx, p->reference, NULL, &p->rewards[which]) >= 0 &&
             train_reward(p, which, p->rewards[which], train[which], order, n, p->set.reward_epochs, p->set.reward_lr,
                          NULL, true);
        free(order);
    }
    p->shuffled = false;
    return ok;
}

/* SFT for as long again, and the same chain after reward models that know nothing. All are scored by the real ones. */
bool stage_controls(pipeline *p)
{
    pipeline c = *p; /* its curves and pool are its own */
    c.n_seconds = 0;
    c.model = NULL;
    c.pool = NULL;
    series *own[] = {&c.sft_loss, &c.reject_loss, &c.ppo_score, &c.ppo_kl, &c.ppo_gold, &c.best_of};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) *own[i] = (series){0};
    bool ok = begin_from_sft(&c) && fine_tune(&c, "sft again", &c.sft_loss) &&
              evaluate(&c, c.model, CONTROL_SFT, "SFT, twice as long");
    ok = ok && begin_from_sft(&c) && train_shuffled_rewards(&c) && stage_rejection(&c);
    for (int k = 0; ok && k < 2; k++) {
        llama2_reward_model *coin[2] = {c.rewards[0], c.rewards[1]};
        ok = k == 0 || stage_ppo(&c);
        memcpy(c.rewards, p->rewards, sizeof c.rewards);
        ok = ok && evaluate(&c, c.model, k == 0 ? CONTROL_REJECTION : CONTROL_PPO,
                            k == 0 ? "rejection, shuffled" : "PPO, shuffled");
        memcpy(c.rewards, coin, sizeof c.rewards);
    }
    for (int which = 0; which < 2; which++)
        if (c.rewards[which] != p->rewards[which]) llama2_reward_model_free(c.rewards[which]);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) free_series(own[i]);
    memcpy(p->outcomes, c.outcomes, sizeof p->outcomes);
    llama2_pool_free(c.pool);
    llama2_model_free(c.model);
    return ok;
}
