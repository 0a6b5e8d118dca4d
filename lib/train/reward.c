/*
 * Ranking loss with margin, -log sigmoid(r_c - r_r - m), and the safety model's auxiliary loss: binary cross-entropy of
 * sigmoid(score) against the label, on the same score (ours: the paper gives no formula).
 *
 *     loss of a call = mean over pairs of ranking + safety_weight * mean over labelled responses of bce
 *
 * As sums with the number of pairs P as weight: sum of ranking + safety_weight * P / L * sum of bce, L the number of
 * labelled responses. Both numbers are known before anything is computed, so micro-batches change nothing; several
 * accumulated calls count by their pairs.
 */
#include "train/reward.h"
#include "base/alloc.h"
#include "train/parts.h"
#include "train/stats.h"
#include <inttypes.h>
#include <math.h>

float l2_reward_margin(int32_t scheme, int32_t rating)
{
    /* Table 27, from significantly to negligibly better. */
    static const float margins[3][4] = {{0, 0, 0, 0}, {1, 2.0f / 3, 1.0f / 3, 0}, {3, 2, 1, 0}};
    if (scheme < LLAMA2_MARGIN_NONE || scheme > LLAMA2_MARGIN_LARGE) return 0;
    if (rating < LLAMA2_RATING_SIGNIFICANTLY || rating > LLAMA2_RATING_NEGLIGIBLY) return 0;
    return margins[scheme][rating];
}

static int label(const llama2_pairs *pairs, int64_t response)
{
    return pairs->safe ? pairs->safe[response] : -1;
}

/* Chosen unsafe, the other safe: stored and counted, never trained on. */
static int left_out(const llama2_pairs *pairs, int64_t pair)
{
    return label(pairs, 2 * pair) == 0 && label(pairs, 2 * pair + 1) == 1;
}

static llama2_status check_pairs(const llama2_model *model, const llama2_pairs *pairs)
{
    L2_TRY(l2_batch_check(model, pairs->batch));
    if (pairs->n_pairs < 1 || pairs->batch->n_sequences % 2 != 0 || pairs->batch->n_sequences / 2 != pairs->n_pairs) {
        return l2_fail(LLAMA2_E_INVALID,
                       "pairs: n_pairs is %" PRId32 ", the batch has %" PRId32 " sequences: it needs two a pair",
                       pairs->n_pairs, pairs->batch->n_sequences);
    }
    for (int32_t i = 0; pairs->margins && i < pairs->n_pairs; i++) {
        if (!isfinite(pairs->margins[i]))
            return l2_fail(LLAMA2_E_INVALID, "pairs: margins[%" PRId32 "] is not finite", i);
    }
    for (int32_t i = 0; pairs->safe && i < 2 * pairs->n_pairs; i++) {
        if (pairs->safe[i] < -1 || pairs->safe[i] > 1) {
            return l2_fail(LLAMA2_E_INVALID, "pairs: safe[%" PRId32 "] is %" PRId32 "; 1 safe, 0 unsafe, -1 unknown", i,
                           pairs->safe[i]);
        }
    }
    if (!(pairs->safety_weight >= 0) || isinf(pairs->safety_weight)) {
        return l2_fail(LLAMA2_E_INVALID, "pairs: safety_weight is %g, not finite and >= 0", pairs->safety_weight);
    }
    return LLAMA2_OK;
}

typedef struct ranking {
    const llama2_pairs *pairs;
    double safety_factor; /* of a response's bce in the sum: safety_weight * P / L */
    double *scores;       /* all 2 * n_pairs, raw */
} ranking;

static void pair_losses(void *user, int64_t first, int64_t n, const double *values, double *derivatives)
{
    ranking *r = user;
    for (int64_t i = 0; i < n; i += 2) {
        int64_t pair = (first + i) / 2;
        double margin = r->pairs->margins ? (double)r->pairs->margins[pair] : 0;
        r->scores[2 * pair] = values[i];
        r->scores[2 * pair + 1] = values[i + 1];
        if (left_out(r->pairs, pair)) continue;
        /* d/dx of softplus(-x), x = chosen - rejected - margin */
        double slope = -l2_sigmoid(-(values[i] - values[i + 1] - margin));
        derivatives[i] = slope;
        derivatives[i + 1] = -slope;
        for (int64_t k = 0; k < 2; k++) {
            int y = label(r->pairs, 2 * pair + k);
            if (y >= 0 && r->safety_factor > 0)
                derivatives[i + k] += r->safety_factor * (l2_sigmoid(values[i + k]) - y);
        }
    }
}

/* Everything but the update, from the scores, in the order of the pairs. */
static void measure(const llama2_pairs *pairs, const double *scores, llama2_reward_metrics *m)
{
    double ranking_sum = 0, safety_sum = 0, right = 0, chosen = 0, rejected = 0;
    for (int32_t i = 0; i < pairs->n_pairs; i++) {
        if (left_out(pairs, i)) continue;
        double c = scores[2 * i], r = scores[2 * i + 1], margin = pairs->margins ? (double)pairs->margins[i] : 0;
        ranking_sum += isfinite(c - r) ? l2_softplus(-(c - r - margin)) : NAN; /* no loss of 0 by an infinite score */
        right += c > r ? 1 : c == r ? 0.5 : 0;
        chosen += c;
        rejected += r;
        for (int32_t k = 0; k < 2; k++) {
            double s = scores[2 * i + k];
            int y = label(pairs, 2 * i + k);
            m->min_score = fmin(m->min_score, s);
            m->max_score = fmax(m->max_score, s);
            if (y >= 0) safety_sum += l2_softplus(y ? -s : s);
        }
    }
    if (m->n_pairs == 0) {
        m->min_score = m->max_score = 0;
        return;
    }
    m->ranking_loss = ranking_sum / m->n_pairs;
    m->safety_loss = m->n_labelled > 0 ? safety_sum / m->n_labelled : 0;
    m->loss = m->ranking_loss + pairs->safety_weight * m->safety_loss;
    m->accuracy = right / m->n_pairs;
    m->mean_chosen = chosen / m->n_pairs;
    m->mean_rejected = rejected / m->n_pairs;
    m->mean_margin = m->mean_chosen - m->mean_rejected;
}

/* Counts, which are known before any score is. */
static void count(const llama2_pairs *pairs, llama2_reward_metrics *m)
{
    *m = (llama2_reward_metrics){.struct_size = sizeof *m, .min_score = INFINITY, .max_score = -INFINITY};
    for (int32_t i = 0; i < pairs->n_pairs; i++) {
        if (left_out(pairs, i)) {
            m->n_left_out++;
            continue;
        }
        m->n_pairs++;
        m->n_labelled += (label(pairs, 2 * i) >= 0) + (label(pairs, 2 * i + 1) >= 0);
    }
}

/* Scores of all responses into `scores`, and with a trainer their gradients. */
static llama2_status run(const llama2_model *model, const llama2_pairs *pairs, int64_t max_tokens,
                         l2_activations *activations, double *scores, llama2_reward_metrics *m)
{
    llama2_context *ctx = model->ctx;
    llama2_status status = LLAMA2_OK;
    int64_t *rows = NULL, n = 2 * (int64_t)pairs->n_pairs;
    count(pairs, m);
    ranking r = {pairs, m->n_labelled > 0 ? pairs->safety_weight * m->n_pairs / m->n_labelled : 0, scores};
    L2_CHECK(l2_scratch_get(ctx, (size_t)n * sizeof *rows, &rows));
    for (int64_t s = 0; s < n; s++) rows[s] = pairs->batch->offsets[s + 1] - 1;
    L2_CHECK(l2_value_loss_in_parts(model, pairs->batch, rows, n, 2, pair_losses, &r, max_tokens, activations));
    measure(pairs, scores, m);
done:
    l2_scratch_put(ctx, rows);
    return status;
}

static llama2_status accumulate(llama2_trainer *trainer, const llama2_pairs *pairs, llama2_reward_metrics *m)
{
    llama2_status status = LLAMA2_OK;
    double *scores = NULL;
    L2_CHECK(l2_scratch_get(trainer->ctx, 2 * (size_t)pairs->n_pairs * sizeof *scores, &scores));
    L2_CHECK(run(trainer->model, pairs, trainer->options.micro_batch_tokens, &trainer->activations, scores, m));
    m->step = trainer->step;
    l2_trainer_count(trainer, m->loss * m->n_pairs, m->n_pairs, pairs->batch->n_tokens);
done:
    l2_scratch_put(trainer->ctx, scores);
    return status;
}

llama2_status l2_reward_accumulate(llama2_trainer *trainer, const llama2_pairs *pairs, llama2_reward_metrics *metrics)
{
    L2_TRY(check_pairs(trainer->model, pairs));
    L2_TRY(l2_trainer_begin(trainer, pairs->batch, L2_HEAD_SCORE));
    return l2_trainer_end(trainer, accumulate(trainer, pairs, metrics));
}

llama2_status l2_reward_step(llama2_trainer *trainer, const llama2_pairs *pairs, llama2_reward_metrics *metrics)
{
    llama2_step_metrics step;
    L2_TRY(check_pairs(trainer->model, pairs));
    L2_TRY(l2_trainer_begin(trainer, pairs->batch, L2_HEAD_SCORE));
    int alone = !trainer->accumulated;
    llama2_status status = accumulate(trainer, pairs, metrics);
    if (status >= 0 && alone && metrics->n_pairs == 0) {
        l2_trainer_forget(trainer);
        return l2_trainer_end(trainer, status);
    }
    L2_TRY(l2_trainer_end_step(trainer, status, &step));
    metrics->grad_norm = step.grad_norm;
    metrics->lr = step.lr;
    metrics->step = step.step;
    metrics->skipped = step.skipped;
    return LLAMA2_OK;
}

llama2_status l2_reward_evaluate(const llama2_reward_model *reward_model, const llama2_pairs *pairs,
                                 llama2_reward_metrics *metrics, float *scores)
{
    const llama2_model *model = reward_model->model;
    llama2_status status = LLAMA2_OK;
    double *raw = NULL;
    L2_TRY(l2_context_check(model->ctx));
    L2_TRY(check_pairs(model, pairs));
    L2_TRY(l2_model_enter(model, L2_READS));
    L2_CHECK(l2_scratch_get(model->ctx, 2 * (size_t)pairs->n_pairs * sizeof *raw, &raw));
    L2_CHECK(run(model, pairs, L2_PART_TOKENS, NULL, raw, metrics));
    if (!isfinite(metrics->loss))
        L2_CHECK(l2_fail(LLAMA2_E_NUMERIC, "pairs: the loss of %" PRId32 " is %g", metrics->n_pairs, metrics->loss));
    for (int64_t i = 0; i < 2 * (int64_t)pairs->n_pairs; i++) {
        if (!isfinite((float)raw[i])) /* of a pair that is left out, too */
            L2_CHECK(l2_fail(LLAMA2_E_NUMERIC, "pairs: the score of response %" PRId64 " is %g", i, raw[i]));
    }
    for (int64_t i = 0; scores && i < 2 * (int64_t)pairs->n_pairs; i++) scores[i] = (float)raw[i];
done:
    l2_scratch_put(model->ctx, raw);
    l2_model_leave(model, L2_READS);
    return status;
}
