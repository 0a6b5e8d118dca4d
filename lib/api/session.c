/* include/llama2/session.h: arguments checked, options completed; the work is done in lib/infer/. */
#include "base/options.h"
#include "infer/session_io.h"
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

static llama2_status feed(llama2_session *const *sessions, int32_t n, const int32_t *tokens, const int64_t *offsets)
{
    L2_TRY(l2_model_enter(sessions[0]->model, L2_READS));
    llama2_status status = l2_sessions_feed(sessions, n, tokens, offsets);
    l2_model_leave(sessions[0]->model, L2_READS);
    return status;
}

llama2_status llama2_session_feed(llama2_session *s, const int32_t *tokens, int64_t n)
{
    int64_t offsets[] = {0, n};
    if (!s || !tokens || n < 1)
        return l2_fail(LLAMA2_E_INVALID, "llama2_session_feed: session or tokens is NULL, or n is below 1");
    L2_TRY(l2_context_check(s->ctx));
    L2_TRY(l2_session_check_tokens(s, s->sequence.length, tokens, n, "llama2_session_feed"));
    return feed(&s, 1, tokens, offsets);
}

llama2_status llama2_session_feed_batch(llama2_session *const *sessions, int32_t n_sessions, const int32_t *tokens,
                                        const int64_t *offsets)
{
    if (!sessions || !tokens || !offsets || n_sessions < 1 || !sessions[0])
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_session_feed_batch: sessions, tokens or offsets is NULL, or n_sessions is below 1");
    L2_TRY(l2_context_check(sessions[0]->ctx));
    L2_TRY(l2_sessions_check(sessions, n_sessions, tokens, offsets));
    return feed(sessions, n_sessions, tokens, offsets);
}

llama2_status llama2_session_sync(llama2_session *s, const int32_t *tokens, int64_t n, int64_t *reused)
{
    if (!s || !tokens || n < 1)
        return l2_fail(LLAMA2_E_INVALID, "llama2_session_sync: session or tokens is NULL, or n is below 1");
    L2_TRY(l2_context_check(s->ctx));
    L2_TRY(l2_session_check_tokens(s, 0, tokens, n, "llama2_session_sync"));
    L2_TRY(l2_model_enter(s->model, L2_READS));
    llama2_status status = l2_session_sync(s, tokens, n, reused);
    l2_model_leave(s->model, L2_READS);
    return status;
}

static llama2_status check_logits(const llama2_session *s, const char *function)
{
    llama2_status status = l2_session_check_current(s);
    if (status < 0) return l2_fail_in(status, "%s", function);
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
    if (buffer || capacity != 0) L2_TRY(check_logits(s, "llama2_session_logits"));
    if (needed) *needed = n;
    if (!buffer && capacity == 0) return LLAMA2_OK;
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
    l2_session_rewind(s, n);
    return LLAMA2_OK;
}

/* --- state ----------------------------------------------------------------------------------- */

llama2_status llama2_session_save(const llama2_session *s, const char *path)
{
    if (!s || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_session_save: session or path is NULL");
    L2_TRY(l2_context_check(s->ctx));
    return l2_session_write(s, path, NULL, 0, NULL);
}

llama2_status llama2_session_save_memory(const llama2_session *s, void *buffer, size_t capacity, size_t *needed)
{
    size_t size;
    if (!s || (!buffer && capacity > 0))
        return l2_fail(LLAMA2_E_INVALID, "llama2_session_save_memory: session is NULL, or buffer is with a capacity");
    L2_TRY(l2_context_check(s->ctx));
    return l2_session_write(s, NULL, buffer, capacity, needed ? needed : &size);
}

static llama2_status load(llama2_model *model, const char *path, const void *data, size_t size, llama2_session **out)
{
    L2_TRY(l2_context_check(model->ctx));
    L2_TRY(l2_model_enter(model, L2_READS));
    llama2_status status = l2_session_read(model, path, data, size, out);
    l2_model_leave(model, L2_READS);
    return status;
}

llama2_status llama2_session_load(llama2_model *model, const char *path, llama2_session **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_session_load: out is NULL");
    *out = NULL;
    if (!model || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_session_load: model or path is NULL");
    return load(model, path, NULL, 0, out);
}

llama2_status llama2_session_load_memory(llama2_model *model, const void *data, size_t size, llama2_session **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_session_load_memory: out is NULL");
    *out = NULL;
    if (!model || !data) return l2_fail(LLAMA2_E_INVALID, "llama2_session_load_memory: model or data is NULL");
    return load(model, NULL, data, size, out);
}
