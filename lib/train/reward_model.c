#include "train/reward_model.h"
#include "base/alloc.h"
#include "train/parts.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Takes over `model`, also on failure. */
static llama2_status wrap(llama2_context *ctx, llama2_model *model, double shift, double scale,
                          llama2_reward_model **out)
{
    llama2_reward_model *reward_model;
    llama2_status status = l2_calloc(ctx, 1, sizeof *reward_model, &reward_model);
    if (status < 0) {
        l2_model_release(model);
        return status;
    }
    reward_model->ctx = l2_context_retain(ctx);
    atomic_init(&reward_model->references, 1);
    reward_model->model = model;
    reward_model->shift = shift;
    reward_model->scale = scale;
    *out = reward_model;
    return LLAMA2_OK;
}

/* A model with the score head and the trunk of `from` (its head too, where that is a score head). */
static llama2_status copy_trunk(llama2_context *ctx, const llama2_model *from, llama2_model **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_model *model = NULL;
    L2_CHECK(l2_model_new_like(ctx, from, L2_HEAD_SCORE, &model));
    L2_CHECK(l2_model_enter(from, L2_READS));
    status = l2_model_copy(model, from);
    l2_model_leave(from, L2_READS);
    if (status < 0) goto done;
    *out = model;
    model = NULL;
done:
    l2_model_release(model);
    return status;
}

static llama2_status check_head(int32_t head)
{
    if (head == LLAMA2_HEAD_NORMAL || head == LLAMA2_HEAD_ZERO) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_INVALID,
                   "reward model: head is %" PRId32 ": neither LLAMA2_HEAD_NORMAL nor LLAMA2_HEAD_ZERO", head);
}

llama2_status l2_reward_model_create(llama2_context *ctx, const llama2_model *from, int32_t head,
                                     llama2_reward_model **out)
{
    llama2_model *model;
    *out = NULL;
    L2_TRY(check_head(head));
    L2_TRY(copy_trunk(ctx, from, &model));
    l2_model_init_head(model, head);
    return wrap(ctx, model, 0, 1, out);
}

llama2_status l2_reward_model_create_shared(llama2_model *from, int32_t head, llama2_reward_model **out)
{
    llama2_model *model;
    *out = NULL;
    L2_TRY(check_head(head));
    L2_TRY(l2_model_share(from, &model));
    l2_model_init_head(model, head);
    return wrap(from->ctx, model, 0, 1, out);
}

llama2_status l2_reward_model_clone(const llama2_reward_model *from, llama2_reward_model **out)
{
    llama2_model *model;
    *out = NULL;
    L2_TRY(l2_model_enter(from->model, L2_READS));
    llama2_status status = copy_trunk(from->ctx, from->model, &model);
    double shift = from->shift, scale = from->scale;
    l2_model_leave(from->model, L2_READS);
    return status < 0 ? status : wrap(from->ctx, model, shift, scale, out);
}

llama2_status l2_reward_model_load(llama2_context *ctx, const char *path, const llama2_model_options *options,
                                   llama2_reward_model **out)
{
    llama2_model *model;
    double shift = 0, scale = 1;
    *out = NULL;
    L2_TRY(l2_model_read(ctx, path, options, L2_HEAD_SCORE, &model, &shift, &scale));
    return wrap(ctx, model, shift, scale, out);
}

llama2_reward_model *l2_reward_model_retain(llama2_reward_model *reward_model)
{
    atomic_fetch_add_explicit(&reward_model->references, 1, memory_order_relaxed);
    return reward_model;
}

void l2_reward_model_release(llama2_reward_model *reward_model)
{
    if (!reward_model || atomic_fetch_sub_explicit(&reward_model->references, 1, memory_order_acq_rel) != 1) return;
    llama2_context *ctx = reward_model->ctx;
    l2_model_release(reward_model->model);
    l2_free(ctx, reward_model);
    l2_context_release(ctx);
}

llama2_status l2_reward_model_set_normalisation(llama2_reward_model *reward_model, double shift, double scale)
{
    if (!isfinite(shift) || !isfinite(scale) || scale <= 0) {
        return l2_fail(LLAMA2_E_INVALID,
                       "reward model: shift is %g and scale %g; both must be finite, and the scale above 0", shift,
                       scale);
    }
    L2_TRY(l2_model_enter(reward_model->model, L2_KEEPS_WEIGHTS));
    reward_model->shift = shift;
    reward_model->scale = scale;
    l2_model_leave(reward_model->model, L2_KEEPS_WEIGHTS);
    return LLAMA2_OK;
}

llama2_status l2_reward_model_normalisation(const llama2_reward_model *reward_model, double *shift, double *scale)
{
    L2_TRY(l2_model_enter(reward_model->model, L2_READS));
    *shift = reward_model->shift;
    *scale = reward_model->scale;
    l2_model_leave(reward_model->model, L2_READS);
    return LLAMA2_OK;
}

typedef struct reading {
    float *out;
    double shift, scale;
} reading;

static void keep_values(void *user, int64_t first, int64_t n, const double *values, double *derivatives)
{
    const reading *r = user;
    (void)derivatives;
    for (int64_t i = 0; i < n; i++) r->out[first + i] = (float)(r->scale * (values[i] - r->shift));
}

/* The values at rows[0 .. n - 1] of a checked batch, or with `normalised` scale * (value - shift); `out` is written
 * when all is well. */
static llama2_status read_values(const llama2_reward_model *reward_model, const llama2_batch *batch,
                                 const int64_t *rows, int64_t n, int normalised, float *out)
{
    const llama2_model *model = reward_model->model;
    llama2_status status = LLAMA2_OK;
    reading r = {NULL, 0, 1};
    L2_TRY(l2_context_check(model->ctx));
    L2_TRY(l2_model_enter(model, L2_READS));
    if (normalised) r.shift = reward_model->shift, r.scale = reward_model->scale;
    L2_CHECK(l2_scratch_get(model->ctx, (size_t)n * sizeof *r.out, &r.out));
    L2_CHECK(l2_value_loss_in_parts(model, batch, rows, n, 1, keep_values, &r, L2_PART_TOKENS, NULL));
    memcpy(out, r.out, (size_t)n * sizeof *out);
done:
    l2_scratch_put(model->ctx, r.out);
    l2_model_leave(model, L2_READS);
    return status;
}

llama2_status l2_reward_model_scores(const llama2_reward_model *reward_model, const llama2_batch *batch, float *scores)
{
    llama2_context *ctx = reward_model->ctx;
    llama2_status status = LLAMA2_OK;
    int64_t *rows = NULL;
    L2_CHECK(l2_batch_check(reward_model->model, batch));
    L2_CHECK(l2_scratch_get(ctx, (size_t)batch->n_sequences * sizeof *rows, &rows));
    for (int32_t s = 0; s < batch->n_sequences; s++) rows[s] = batch->offsets[s + 1] - 1;
    status = read_values(reward_model, batch, rows, batch->n_sequences, 1, scores);
done:
    l2_scratch_put(ctx, rows);
    return status;
}

llama2_status l2_reward_model_values(const llama2_reward_model *reward_model, const llama2_batch *batch, float *values)
{
    llama2_context *ctx = reward_model->ctx;
    llama2_status status = LLAMA2_OK;
    int64_t *rows = NULL;
    L2_CHECK(l2_batch_check(reward_model->model, batch));
    L2_CHECK(l2_scratch_get(ctx, (size_t)batch->n_tokens * sizeof *rows, &rows));
    for (int64_t t = 0; t < batch->n_tokens; t++) rows[t] = t;
    status = read_values(reward_model, batch, rows, batch->n_tokens, 0, values);
done:
    l2_scratch_put(ctx, rows);
    return status;
}
