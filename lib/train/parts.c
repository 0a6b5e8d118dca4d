#include "train/parts.h"
#include "base/alloc.h"

/* One pass over the parts of a batch, with those of the n rows that lie in each. */
typedef struct walk {
    const llama2_batch *batch;
    const int64_t *rows;
    int64_t n, first, count; /* the part has rows[first .. first + count - 1] */
    int64_t *local;          /* they, counted from the part's first token */
    int64_t *offsets;
    int32_t sequence;
    llama2_batch part;
    int64_t first_token;
} walk;

static llama2_status walk_begin(llama2_context *ctx, const llama2_batch *batch, const int64_t *rows, int64_t n, walk *w)
{
    *w = (walk){.batch = batch, .rows = rows, .n = n};
    L2_TRY(l2_scratch_get(ctx, ((size_t)batch->n_sequences + 1 + (size_t)n) * sizeof *w->offsets, &w->offsets));
    w->local = w->offsets + batch->n_sequences + 1;
    return LLAMA2_OK;
}

/* The next part that has rows at all; 0 at the end. */
static int walk_next(walk *w, int64_t max_tokens, int32_t group)
{
    while (l2_batch_next_part(w->batch, max_tokens, group, &w->sequence, w->offsets, &w->part, &w->first_token)) {
        int64_t end = w->first_token + w->part.n_tokens;
        w->first += w->count;
        w->count = 0;
        while (w->first + w->count < w->n && w->rows[w->first + w->count] < end) {
            w->local[w->count] = w->rows[w->first + w->count] - w->first_token;
            w->count++;
        }
        if (w->count > 0) return 1;
    }
    return 0;
}

typedef struct token_call {
    l2_token_loss loss;
    void *user;
    int64_t first_token;
} token_call;

static void call_token_loss(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy)
{
    const token_call *call = user;
    call->loss(call->user, call->first_token + row, logprob, entropy, dlogprob, dentropy);
}

typedef struct values_call {
    l2_values_loss loss;
    void *user;
    int64_t first;
} values_call;

static void call_values_loss(void *user, int64_t n, const double *values, double *derivatives)
{
    const values_call *call = user;
    call->loss(call->user, call->first, n, values, derivatives);
}

llama2_status l2_token_loss_in_parts(const llama2_model *model, const llama2_batch *batch, const int64_t *targets,
                                     int64_t n, double temperature, int entropy, l2_token_loss loss, void *user,
                                     const l2_linear *value_head, l2_values_loss value_loss, int64_t max_tokens,
                                     l2_activations *activations)
{
    llama2_status status = LLAMA2_OK;
    walk w;
    L2_TRY(walk_begin(model->ctx, batch, targets, n, &w));
    while (walk_next(&w, max_tokens, 1)) {
        token_call call = {loss, user, w.first_token};
        values_call of_values = {value_loss, user, w.first};
        l2_values values = {value_head, call_values_loss, &of_values};
        L2_CHECK(l2_context_check(model->ctx));
        L2_CHECK(l2_model_token_loss(model, &w.part, w.local, w.count, temperature, entropy, call_token_loss, &call,
                                     value_head ? &values : NULL, activations));
    }
done:
    l2_scratch_put(model->ctx, w.offsets);
    return status;
}

llama2_status l2_value_loss_in_parts(const llama2_model *model, const llama2_batch *batch, const int64_t *rows,
                                     int64_t n, int32_t group, l2_values_loss loss, void *user, int64_t max_tokens,
                                     l2_activations *activations)
{
    llama2_status status = LLAMA2_OK;
    walk w;
    L2_TRY(walk_begin(model->ctx, batch, rows, n, &w));
    while (walk_next(&w, max_tokens, group)) {
        values_call call = {loss, user, w.first};
        L2_CHECK(l2_context_check(model->ctx));
        L2_CHECK(l2_model_value_loss(model, &w.part, w.local, w.count, call_values_loss, &call, activations));
    }
done:
    l2_scratch_put(model->ctx, w.offsets);
    return status;
}
