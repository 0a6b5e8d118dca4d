/* Checking a packed batch, and working it off in parts. */
#include "model/forward.h"
#include "base/options.h"

#include <math.h>

llama2_status l2_batch_read(const llama2_batch *batch, llama2_batch *full)
{
    if (!batch) return l2_fail(LLAMA2_E_INVALID, "batch is NULL");
    *full = (llama2_batch){.struct_size = sizeof *full};
    return l2_options_read(batch, full, sizeof *full, "llama2_batch");
}

llama2_status l2_batch_check(const llama2_model *model, const llama2_batch *b)
{
    if (!b) return l2_fail(LLAMA2_E_INVALID, "batch is NULL");
    if (b->n_sequences < 1 || b->n_tokens < 1)
        return l2_fail(LLAMA2_E_INVALID, "batch: %d sequences and %lld tokens, expected at least one of each",
                       b->n_sequences, (long long)b->n_tokens);
    if (!b->tokens || !b->offsets) return l2_fail(LLAMA2_E_INVALID, "batch: tokens or offsets is NULL");
    if (b->offsets[0] != 0)
        return l2_fail(LLAMA2_E_INVALID, "batch: offsets[0] is %lld, expected 0", (long long)b->offsets[0]);
    for (int32_t s = 0; s < b->n_sequences; s++) {
        if (b->offsets[s + 1] <= b->offsets[s])
            return l2_fail(LLAMA2_E_INVALID,
                           "batch: offsets[%d] is %lld after %lld; every sequence has at least one token", s + 1,
                           (long long)b->offsets[s + 1], (long long)b->offsets[s]);
        int64_t length = b->offsets[s + 1] - b->offsets[s];
        if (length > model->config.max_seq_len)
            return l2_fail(LLAMA2_E_CONTEXT, "batch: sequence %d has %lld tokens, the model's context is %d", s,
                           (long long)length, model->config.max_seq_len);
    }
    if (b->offsets[b->n_sequences] != b->n_tokens)
        return l2_fail(LLAMA2_E_INVALID, "batch: offsets end at %lld, n_tokens is %lld",
                       (long long)b->offsets[b->n_sequences], (long long)b->n_tokens);
    for (int64_t t = 0; t < b->n_tokens; t++)
        if (b->tokens[t] < 0 || b->tokens[t] >= model->config.vocab_size)
            return l2_fail(LLAMA2_E_INVALID, "batch: tokens[%lld] is %d, the vocabulary has %d", (long long)t,
                           b->tokens[t], model->config.vocab_size);
    for (int64_t t = 0; b->loss_weight && t < b->n_tokens; t++)
        if (!(b->loss_weight[t] >= 0) || !isfinite(b->loss_weight[t]))
            return l2_fail(LLAMA2_E_INVALID, "batch: loss_weight[%lld] is %g, expected a number >= 0", (long long)t,
                           (double)b->loss_weight[t]);
    return LLAMA2_OK;
}

int64_t l2_batch_targets(const llama2_batch *batch, int weighted, int64_t *targets)
{
    int64_t n = 0;
    for (int32_t s = 0; s < batch->n_sequences; s++)
        for (int64_t t = batch->offsets[s] + 1; t < batch->offsets[s + 1]; t++)
            if (!weighted || !batch->loss_weight || batch->loss_weight[t] > 0) targets[n++] = t;
    return n;
}

llama2_status l2_temperature_check(double temperature)
{
    if (temperature >= 1e-6 && temperature <= 1e6) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_INVALID, "temperature is %g, expected 1e-6 .. 1e6", temperature);
}

int l2_batch_next_part(const llama2_batch *batch, int64_t max_tokens, int32_t group, int32_t *sequence,
                       int64_t *offsets, llama2_batch *part, int64_t *first_token)
{
    int32_t first = *sequence, end = first;
    if (first >= batch->n_sequences) return 0;
    int64_t begin = batch->offsets[first];
    do {
        end = end + group < batch->n_sequences ? end + group : batch->n_sequences;
    } while (
        end < batch->n_sequences &&
        (max_tokens <= 0 ||
         batch->offsets[end + group < batch->n_sequences ? end + group : batch->n_sequences] - begin <= max_tokens));
    for (int32_t s = first; s <= end; s++) offsets[s - first] = batch->offsets[s] - begin;
    *part = (llama2_batch){
        .struct_size = sizeof *part,
        .n_sequences = end - first,
        .n_tokens = batch->offsets[end] - begin,
        .tokens = batch->tokens + begin,
        .offsets = offsets,
        .loss_weight = batch->loss_weight ? batch->loss_weight + begin : NULL,
    };
    *first_token = begin;
    *sequence = end;
    return 1;
}
