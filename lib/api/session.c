/* include/llama2/session.h: arguments checked, options completed; the work is done in lib/infer/. */
#include "base/options.h"
#include "infer/session.h"
#include "model/forward.h"

#include <string.h>

static const llama2_sampling sampling_defaults = {
    .struct_size = sizeof sampling_defaults, .temperature = 1, .top_p = 1, .repetition_penalty = 1};

void llama2_sampling_init(llama2_sampling *sampling, size_t size)
{
    l2_options_init(sampling, size, &sampling_defaults, sizeof sampling_defaults);
}

llama2_status llama2_session_create(llama2_model *model, llama2_session **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_session_create: out is NULL");
    *out = NULL;
    if (!model) return l2_fail(LLAMA2_E_INVALID, "llama2_session_create: model is NULL");
    L2_TRY(l2_context_check(model->ctx));
    return l2_session_new(model, out);
}

void llama2_session_free(llama2_session *session)
{
    l2_session_release(session);
}

llama2_status llama2_session_feed(llama2_session *s, const int32_t *tokens, int64_t n)
{
    if (!s || !tokens || n < 1)
        return l2_fail(LLAMA2_E_INVALID, "llama2_session_feed: session or tokens is NULL, or n is below 1");
    L2_TRY(l2_context_check(s->ctx));
    const llama2_config *c = &s->model->config;
    if (n > c->max_seq_len - s->sequence.length)
        return l2_fail(LLAMA2_E_CONTEXT, "%lld tokens after %lld do not fit the model's context of %d: %lld more do",
                       (long long)n, (long long)s->sequence.length, c->max_seq_len,
                       (long long)(c->max_seq_len - s->sequence.length));
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= c->vocab_size)
            return l2_fail(LLAMA2_E_INVALID, "llama2_session_feed: tokens[%lld] is %d, the vocabulary has %d",
                           (long long)i, tokens[i], c->vocab_size);
    L2_TRY(l2_model_enter(s->model, 0));
    llama2_status status = l2_session_feed(s, tokens, n);
    l2_model_leave(s->model, 0);
    return status;
}

static llama2_status check_logits(const llama2_session *s, const char *function)
{
    if (s->has_logits) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_STATE,
                   "%s: nothing has been read since the session began or was rewound; feed tokens first", function);
}

llama2_status llama2_session_sample(llama2_session *s, const llama2_sampling *sampling, int32_t *token, float *logprob)
{
    llama2_sampling full = sampling_defaults;
    if (!s || !token) return l2_fail(LLAMA2_E_INVALID, "llama2_session_sample: session or token is NULL");
    L2_TRY(l2_context_check(s->ctx));
    L2_TRY(l2_options_read(sampling, &full, sizeof full, "llama2_sampling"));
    L2_TRY(l2_sampling_check(&full, s->model->config.vocab_size, 0));
    L2_TRY(check_logits(s, "llama2_session_sample"));
    return l2_session_draw(s, &full, token, logprob);
}

llama2_status llama2_session_top(llama2_session *s, double temperature, int32_t n, int32_t *ids, float *logprobs)
{
    if (!s || !ids) return l2_fail(LLAMA2_E_INVALID, "llama2_session_top: session or ids is NULL");
    L2_TRY(l2_context_check(s->ctx));
    if (temperature != 0) L2_TRY(l2_temperature_check(temperature));
    if (n < 1 || n > s->model->config.vocab_size)
        return l2_fail(LLAMA2_E_INVALID, "llama2_session_top: n is %d, expected 1 .. %d, the vocabulary", n,
                       s->model->config.vocab_size);
    L2_TRY(check_logits(s, "llama2_session_top"));
    return l2_session_top(s, temperature > 0 ? temperature : 1, n, ids, logprobs);
}

llama2_status llama2_session_logits(const llama2_session *s, float *buffer, int64_t capacity, int64_t *needed)
{
    if (!s) return l2_fail(LLAMA2_E_INVALID, "llama2_session_logits: session is NULL");
    int64_t n = s->model->config.vocab_size;
    if (needed) *needed = n;
    L2_TRY(check_logits(s, "llama2_session_logits"));
    if (!buffer || capacity < n)
        return l2_fail(LLAMA2_E_BUFFER, "llama2_session_logits: %lld values are needed", (long long)n);
    memcpy(buffer, s->logits32, (size_t)n * sizeof *buffer);
    return LLAMA2_OK;
}

int64_t llama2_session_position(const llama2_session *s)
{
    return s ? s->sequence.length : 0;
}

llama2_status llama2_session_rewind(llama2_session *s, int64_t n)
{
    if (!s || n < 0 || n > s->sequence.length)
        return l2_fail(LLAMA2_E_INVALID, "llama2_session_rewind: session is NULL, or n is %lld of %lld tokens",
                       (long long)n, (long long)(s ? s->sequence.length : 0));
    l2_kv_truncate(&s->cache, &s->sequence, n);
    s->has_logits = 0;
    return LLAMA2_OK;
}
