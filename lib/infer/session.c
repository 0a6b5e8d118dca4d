/* Token by token on one sequence. */
#include "infer/session.h"

#include "base/alloc.h"
#include "base/rng.h"

/* A long prompt is read in pieces of this many tokens, to bound the memory of activations. */
enum { PIECE = 512 };
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
    L2_CHECK(l2_kv_cache_init(model, most < FIRST_BLOCKS ? most : FIRST_BLOCKS, &s->cache));
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
    l2_free(ctx, s->sample_room);
    if (s->logits32 != s->logits) l2_free(ctx, s->logits32);
    l2_free(ctx, s->logits);
    l2_model_release(s->model);
    l2_free(ctx, s);
    l2_context_release(ctx);
}

/* Blocks for the first `length` positions; the cache grows by a quarter at least. */
static llama2_status reserve(llama2_session *s, int64_t length)
{
    int32_t missing = l2_kv_blocks_for(length) - s->sequence.n_blocks - s->cache.n_free;
    if (missing > 0) {
        int32_t room = l2_kv_blocks_for(s->model->config.max_seq_len) - s->cache.n_blocks;
        int32_t add = s->cache.n_blocks / 4 > missing ? s->cache.n_blocks / 4 : missing;
        L2_TRY(l2_kv_cache_grow(&s->cache, add < room ? add : room));
    }
    l2_kv_extend(&s->cache, &s->sequence, length);
    return LLAMA2_OK;
}

static llama2_status compute_logits(llama2_session *s, const l2_tensor *hidden)
{
    const llama2_model *m = s->model;
    l2_tensor row = l2_tensor_2d(m->dtype, s->logits, 1, m->config.vocab_size),
              copy = l2_tensor_2d(LLAMA2_F32, s->logits32, 1, m->config.vocab_size);
    L2_TRY(l2_linear_forward(m->ctx, &m->head, hidden, &row, 0));
    return s->logits32 == s->logits ? LLAMA2_OK : l2_op_copy(m->ctx, &row, &copy);
}

llama2_status l2_session_feed(llama2_session *s, const int32_t *tokens, int64_t n)
{
    const llama2_model *m = s->model;
    llama2_status status;
    int64_t before = s->sequence.length;
    l2_tensor hidden = l2_tensor_2d(m->dtype, NULL, 1, m->config.dim);
    L2_CHECK(l2_scratch_get(s->ctx, (size_t)m->config.dim * l2_dtype_size(m->dtype), &hidden.data));
    for (int64_t first = 0; first < n; first += PIECE) {
        int64_t count = n - first < PIECE ? n - first : PIECE;
        int64_t offsets[2] = {0, count}, start = before + first, last = count - 1;
        L2_CHECK(reserve(s, start + count));
        const int32_t *blocks = s->sequence.blocks;
        l2_kv_rows rows = {1, offsets, &start, &blocks};
        L2_CHECK(l2_model_forward_cached(m, &s->cache, &rows, tokens + first, &last, 1, &hidden));
    }
    L2_CHECK(compute_logits(s, &hidden));
    s->has_logits = 1;
done:
    if (status < 0) l2_kv_truncate(&s->cache, &s->sequence, before);
    l2_scratch_put(s->ctx, hidden.data);
    return status;
}

llama2_status l2_session_draw(llama2_session *s, const llama2_sampling *sampling, int32_t *token, float *logprob)
{
    int32_t vocab = s->model->config.vocab_size;
    double u = l2_rng_uniform(sampling->seed, L2_RNG_SAMPLE, sampling->sample_id, (uint32_t)s->sequence.length);
    int32_t id = l2_sample(s->ctx, s->logits32, vocab, sampling->temperature, sampling->top_k, sampling->top_p, u,
                           s->sample_room);
    if (id < 0)
        return l2_fail(LLAMA2_E_NUMERIC, "the logits at position %lld are not finite", (long long)s->sequence.length);
    if (logprob) {
        l2_tensor logits = l2_tensor_2d(s->model->dtype, s->logits, 1, vocab);
        double value;
        L2_TRY(
            l2_op_logprobs(s->ctx, &logits, &id, sampling->temperature > 0 ? sampling->temperature : 1, &value, NULL));
        *logprob = (float)value;
    }
    *token = id;
    return LLAMA2_OK;
}
