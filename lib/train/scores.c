#include "train/scores.h"
#include "base/alloc.h"
#include "train/stats.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>

llama2_status l2_rollouts_score(llama2_rollouts *rollouts, const llama2_reward_model *reward_model, int32_t array)
{
    llama2_context *ctx = rollouts->ctx;
    llama2_status status = LLAMA2_OK;
    llama2_batch batch;
    float *scores = NULL;
    if (array != LLAMA2_ROLLOUTS_SCORES && array != LLAMA2_ROLLOUTS_HELPFUL_SCORES &&
        array != LLAMA2_ROLLOUTS_SAFETY_SCORES) {
        return l2_fail(LLAMA2_E_INVALID,
                       "rollouts: array %" PRId32 " is none of LLAMA2_ROLLOUTS_SCORES, _HELPFUL_SCORES, _SAFETY_SCORES",
                       array);
    }
    l2_rollouts_batch(rollouts, &batch);
    L2_CHECK(l2_scratch_get(ctx, (size_t)rollouts->n_samples * sizeof *scores, &scores));
    L2_CHECK(l2_reward_model_scores(reward_model, &batch, scores));
    L2_CHECK(l2_rollouts_put(rollouts, array, scores, rollouts->n_samples));
done:
    l2_scratch_put(ctx, scores);
    return status;
}

double l2_logit(double p)
{
    return log(p) - log1p(-p);
}

/*
 * Rc = Rs if the prompt is about safety or Rs < threshold, else Rh, with R = sigmoid(score); WHITEN(LOGIT(Rc)). The
 * sigmoid is monotone and the logit its inverse, so this is: compare the score Rs to logit(threshold), and take the
 * score as it is.
 */
llama2_status l2_rollouts_combine(llama2_rollouts *rollouts, const uint8_t *is_safety, const llama2_combine_options *o)
{
    llama2_context *ctx = rollouts->ctx;
    llama2_status status = LLAMA2_OK;
    const float *helpful, *safety;
    float *scores = NULL;
    if (!(o->threshold >= 0 && o->threshold <= 1))
        return l2_fail(LLAMA2_E_INVALID, "combine: threshold is %g, not in [0, 1]", o->threshold);
    if (!(fabs(o->missing_eos_penalty) <= (double)FLT_MAX))
        return l2_fail(LLAMA2_E_INVALID, "combine: missing_eos_penalty is %g, not in +-%g", o->missing_eos_penalty,
                       (double)FLT_MAX);
    L2_TRY(l2_rollouts_need(rollouts, LLAMA2_ROLLOUTS_HELPFUL_SCORES, &helpful));
    L2_TRY(l2_rollouts_need(rollouts, LLAMA2_ROLLOUTS_SAFETY_SCORES, &safety));
    L2_CHECK(l2_scratch_get(ctx, (size_t)rollouts->n_samples * sizeof *scores, &scores));
    double threshold = l2_logit(o->threshold);
    l2_moments moments = {0};
    for (int32_t s = 0; s < rollouts->n_samples; s++) {
        int judged_by_safety =
            (is_safety && is_safety[s / rollouts->samples_per_prompt]) || (double)safety[s] < threshold;
        scores[s] = judged_by_safety ? safety[s] : helpful[s];
        l2_moments_add(&moments, (double)scores[s]);
    }
    for (int32_t s = 0; s < rollouts->n_samples; s++) {
        double score = o->whiten ? l2_whiten(&moments, (double)scores[s]) : (double)scores[s];
        if (!rollouts->ended[s]) score -= o->missing_eos_penalty;
        scores[s] = (float)score;
    }
    L2_CHECK(l2_rollouts_put(rollouts, LLAMA2_ROLLOUTS_SCORES, scores, rollouts->n_samples));
done:
    l2_scratch_put(ctx, scores);
    return status;
}
