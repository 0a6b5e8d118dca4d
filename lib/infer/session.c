/* A sequence with its cache: making, drawing from it. What it reads: infer/feed.c. */
#include "infer/session.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <string.h>

enum { FIRST_BLOCKS = 4 };

llama2_status l2_session_new(llama2_model *model, llama2_session **out)
{
    llama2_context *ctx = model->ctx;
    llama2_status status;
    llama2_session *s;
    *out = NULL;
    L2_TRY(l2_calloc(ctx, 1, sizeof *s, &s));
    s->ctx = l2_context_retain(ctx);
    s->model = l2_model_retain(model);
    int32_t vocab = model->config.vocab_size, most = l2_kv_blocks_for(model->config.max_seq_len);
    L2_CHECK(l2_alloc(ctx, (size_t)vocab, l2_dtype_size(model->dtype), &s->logits));
    s->logits32 = s->logits;
    if (model->dtype != LLAMA2_F32) L2_CHECK(l2_alloc(ctx, (size_t)vocab, sizeof *s->logits32, &s->logits32));
    L2_CHECK(l2_alloc(ctx, l2_sample_room(vocab), 1, &s->sample_room));
    L2_CHECK(l2_alloc(ctx, (size_t)most, sizeof *s->sequence.blocks, &s->sequence.blocks));
    int32_t first = most < FIRST_BLOCKS ? most : FIRST_BLOCKS;
    L2_CHECK(l2_alloc(ctx, (size_t)first * L2_KV_BLOCK, sizeof *s->tokens, &s->tokens));
    L2_CHECK(l2_kv_cache_init(model, first, &s->cache));
    *out = s;
    s = NULL;
done:
    l2_session_release(s);
    return status;
}

void l2_session_release(llama2_session *s)
{
    if (!s) return;
    llama2_context *ctx = s->ctx;
    l2_kv_cache_free(&s->cache);
    l2_free(ctx, s->sequence.blocks);
    l2_free(ctx, s->tokens);
    l2_penalties_free(ctx, &s->penalties);
    l2_free(ctx, s->sample_room);
    if (s->logits32 != s->logits) l2_free(ctx, s->logits32);
    l2_free(ctx, s->logits);
    l2_model_release(s->model);
    l2_free(ctx, s);
    l2_context_release(ctx);
}

int l2_session_is_current(const llama2_session *s)
{
    return s->sequence.length == 0 || s->changes == l2_model_changes(s->model);
}

llama2_status l2_session_check_current(const llama2_session *s)
{
    if (l2_session_is_current(s)) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_STATE, "the model's weights may have changed since the session read its tokens: "
                                   "llama2_session_sync reads them again, llama2_session_rewind to 0 forgets them");
}

void l2_session_rewind(llama2_session *s, int64_t n)
{
    l2_kv_truncate(&s->cache, &s->sequence, n);
    s->has_logits = 0;
}

/* The sampler on the logits with their bias and penalties, which are taken back afterwards. */
static llama2_status draw(llama2_session *s, const llama2_sampling *sampling, int32_t *id)
{
    int32_t vocab = s->model->config.vocab_size;
    int penalised = l2_penalties_wanted(sampling);
    double u = l2_rng_uniform(sampling->seed, L2_RNG_SAMPLE, sampling->sample_id, (uint32_t)s->sequence.length);
    if (penalised) {
        l2_text text = {{s->tokens}, {s->sequence.length}};
        if (!s->penalties.changed) {
            llama2_status status = l2_penalties_init(s->ctx, vocab, &s->penalties);
            if (status < 0) l2_penalties_free(s->ctx, &s->penalties);
            L2_TRY(status);
        }
        l2_penalties_apply(&s->penalties, sampling, &text, s->logits32);
    }
    *id = l2_sample(s->ctx, s->logits32, vocab, sampling, u, s->sample_room);
    if (penalised) l2_penalties_undo(&s->penalties, s->logits32);
    if (*id < 0)
        return l2_fail(LLAMA2_E_NUMERIC, "the logits at position %lld are not finite%s", (long long)s->sequence.length,
                       sampling->n_logit_bias > 0 ? ", or the logit bias leaves no token" : "");
    return LLAMA2_OK;
}

llama2_status l2_session_draw(llama2_session *s, const llama2_sampling *sampling, int32_t *token, float *logprob)
{
    int32_t id;
    L2_TRY(draw(s, sampling, &id));
    if (logprob) {
        l2_tensor logits = l2_tensor_2d(s->model->dtype, s->logits, 1, s->model->config.vocab_size);
        double value;
        L2_TRY(
            l2_op_logprobs(s->ctx, &logits, &id, sampling->temperature > 0 ? sampling->temperature : 1, &value, NULL));
        *logprob = (float)value;
    }
    *token = id;
    return LLAMA2_OK;
}

llama2_status l2_session_top(llama2_session *s, double temperature, int32_t n, int32_t *ids, float *logprobs)
{
    int32_t vocab = s->model->config.vocab_size;
    llama2_status status;
    l2_tensor logits = l2_tensor_1d(s->model->dtype, s->logits, vocab);
    int32_t *best = NULL;
    double *values = NULL;
    L2_CHECK(l2_alloc(s->ctx, (size_t)n, sizeof *best, &best));
    L2_CHECK(l2_alloc(s->ctx, (size_t)n, sizeof *values, &values));
    if (!l2_likeliest(s->logits32, vocab, n, best, s->sample_room))
        L2_CHECK(
            l2_fail(LLAMA2_E_NUMERIC, "the logits at position %lld are not finite", (long long)s->sequence.length));
    l2_op_logprobs_of_row(s->ctx, &logits, best, n, temperature, values);
    memcpy(ids, best, (size_t)n * sizeof *ids);
    for (int32_t i = 0; logprobs && i < n; i++) logprobs[i] = (float)values[i];
done:
    l2_free(s->ctx, values);
    l2_free(s->ctx, best);
    return status;
}
