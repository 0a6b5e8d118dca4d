/* What a host asks of a model without training it: logits, hidden states, log-probabilities, the loss; tensors by name.
 */
#include "base/alloc.h"
#include "model/forward.h"

#include <string.h>

/* Rows that go through the head at once when all logits are asked for: the host's buffer is the only (T, V). */
enum { LOGIT_ROWS = 256 };

static llama2_status hidden_rows(const llama2_model *m, const llama2_batch *batch, l2_tensor *hidden)
{
    *hidden = l2_tensor_2d(m->dtype, NULL, batch->n_tokens, m->config.dim);
    L2_TRY(l2_scratch_get(m->ctx, (size_t)l2_tensor_size(hidden) * l2_dtype_size(m->dtype), &hidden->data));
    return l2_model_forward(m, batch, NULL, hidden);
}

llama2_status l2_model_hidden(const llama2_model *m, const llama2_batch *batch, float *out)
{
    llama2_status status;
    l2_tensor hidden, target = l2_tensor_2d(LLAMA2_F32, out, batch->n_tokens, m->config.dim);
    L2_CHECK(hidden_rows(m, batch, &hidden));
    L2_CHECK(l2_op_copy(m->ctx, &hidden, &target));
done:
    l2_scratch_put(m->ctx, hidden.data);
    return status;
}

llama2_status l2_model_logits(const llama2_model *m, const llama2_batch *batch, float *out)
{
    llama2_status status;
    int64_t vocab = m->config.vocab_size;
    l2_tensor hidden, logits = l2_tensor_2d(m->dtype, NULL, LOGIT_ROWS, vocab);
    L2_CHECK(hidden_rows(m, batch, &hidden));
    if (m->dtype != LLAMA2_F32)
        L2_CHECK(l2_scratch_get(m->ctx, (size_t)l2_tensor_size(&logits) * l2_dtype_size(m->dtype), &logits.data));
    for (int64_t first = 0; first < batch->n_tokens; first += LOGIT_ROWS) {
        int64_t n = batch->n_tokens - first < LOGIT_ROWS ? batch->n_tokens - first : LOGIT_ROWS;
        l2_tensor x = l2_tensor_rows(&hidden, first, n),
                  target = l2_tensor_2d(LLAMA2_F32, out + first * vocab, n, vocab);
        logits.shape[0] = n;
        if (m->dtype == LLAMA2_F32) {
            L2_CHECK(l2_linear_forward(m->ctx, &m->head, &x, &target, 0));
        } else {
            L2_CHECK(l2_linear_forward(m->ctx, &m->head, &x, &logits, 0));
            L2_CHECK(l2_op_copy(m->ctx, &logits, &target));
        }
    }
done:
    l2_scratch_put(m->ctx, logits.data);
    l2_scratch_put(m->ctx, hidden.data);
    return status;
}

typedef struct logprob_output {
    float *logprobs, *entropies;
} logprob_output;

static void keep_logprob(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy)
{
    const logprob_output *o = user;
    (void)dlogprob, (void)dentropy;
    o->logprobs[row] = (float)logprob;
    if (o->entropies) o->entropies[row] = (float)entropy;
}

llama2_status l2_model_logprobs(const llama2_model *m, const llama2_batch *batch, double temperature, float *logprobs,
                                float *entropies)
{
    llama2_status status;
    int64_t *targets = NULL;
    logprob_output o = {logprobs, entropies};
    L2_CHECK(l2_scratch_get(m->ctx, (size_t)batch->n_tokens * sizeof *targets, &targets));
    int64_t n = l2_batch_targets(batch, 0, targets);
    memset(logprobs, 0, (size_t)batch->n_tokens * sizeof *logprobs);
    if (entropies) memset(entropies, 0, (size_t)batch->n_tokens * sizeof *entropies);
    if (n > 0)
        L2_CHECK(
            l2_model_token_loss(m, batch, targets, n, temperature, entropies != NULL, keep_logprob, &o, NULL, NULL));
done:
    l2_scratch_put(m->ctx, targets);
    return status;
}

double l2_lm_weight(const l2_lm_loss *lm, int64_t row)
{
    return lm->weights ? (double)lm->weights[row] : 1;
}

void l2_lm_token_loss(void *user, int64_t row, double logprob, double entropy, double *dlogprob, double *dentropy)
{
    const l2_lm_loss *lm = user;
    double weight = l2_lm_weight(lm, row);
    (void)entropy, (void)dentropy;
    lm->losses[row] = weight * -logprob;
    *dlogprob = -weight;
}

llama2_status l2_model_evaluate(const llama2_model *m, const llama2_batch *batch, l2_activations *activations,
                                llama2_loss *loss)
{
    llama2_status status;
    int64_t *targets = NULL;
    l2_lm_loss lm = {batch->loss_weight, NULL};
    L2_CHECK(l2_scratch_get(m->ctx, (size_t)batch->n_tokens * sizeof *targets, &targets));
    L2_CHECK(l2_scratch_get(m->ctx, (size_t)batch->n_tokens * sizeof *lm.losses, &lm.losses));
    int64_t n = l2_batch_targets(batch, 1, targets);
    if (n > 0) L2_CHECK(l2_model_token_loss(m, batch, targets, n, 1, 0, l2_lm_token_loss, &lm, NULL, activations));
    for (int64_t i = 0; i < n; i++) {
        loss->sum += lm.losses[targets[i]];
        loss->weight += l2_lm_weight(&lm, targets[i]);
    }
    loss->targets += n;
done:
    l2_scratch_put(m->ctx, lm.losses);
    l2_scratch_put(m->ctx, targets);
    return status;
}

static l2_tensor param_in(const llama2_model *m, void *arena, const l2_param *p)
{
    return l2_tensor_1d(m->dtype, (char *)arena + (size_t)p->offset * l2_dtype_size(m->dtype), p->rows * p->columns);
}

/* The tensor of this name, which must fit a host's buffer; NULL with capacity 0 only counts. */
static llama2_status find_to_get(const llama2_model *m, const char *name, const float *buffer, int64_t capacity,
                                 int64_t *needed, const l2_param **p)
{
    *p = l2_model_find(m, name);
    if (!*p) return LLAMA2_E_NOT_FOUND;
    int64_t n = (*p)->rows * (*p)->columns;
    if (needed) *needed = n;
    if (!buffer && capacity == 0) return LLAMA2_OK;
    if (capacity < n || !buffer)
        return l2_fail(LLAMA2_E_BUFFER, "tensor \"%s\" has %lld elements, the buffer %lld", name, (long long)n,
                       (long long)(buffer ? capacity : 0));
    return LLAMA2_OK;
}

llama2_status l2_model_get(const llama2_model *m, const char *name, float *buffer, int64_t capacity, int64_t *needed)
{
    const l2_param *p;
    L2_TRY(find_to_get(m, name, buffer, capacity, needed, &p));
    if (!buffer) return LLAMA2_OK;
    return l2_model_read_rows(m, p, 0, p->rows, LLAMA2_F32, buffer);
}

llama2_status l2_arena_get(const llama2_model *m, void *arena, const char *name, float *buffer, int64_t capacity,
                           int64_t *needed)
{
    const l2_param *p;
    L2_TRY(find_to_get(m, name, buffer, capacity, needed, &p));
    if (!buffer) return LLAMA2_OK;
    l2_tensor source = param_in(m, arena, p), target = l2_tensor_1d(LLAMA2_F32, buffer, p->rows * p->columns);
    return l2_op_copy(m->ctx, &source, &target);
}

llama2_status l2_arena_set(const llama2_model *m, void *arena, const char *name, const float *values, int64_t count)
{
    L2_TRY(l2_model_check_changeable(m));
    const l2_param *p = l2_model_find(m, name);
    if (!p) return LLAMA2_E_NOT_FOUND;
    int64_t n = p->rows * p->columns;
    if (count != n)
        return l2_fail(LLAMA2_E_MISMATCH, "tensor \"%s\" has %lld elements, %lld were given", name, (long long)n,
                       (long long)count);
    l2_tensor source = l2_tensor_1d(LLAMA2_F32, (void *)(uintptr_t)values, n), target = param_in(m, arena, p);
    return l2_op_copy(m->ctx, &source, &target);
}
