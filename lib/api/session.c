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

/* Can the session read these after its first `position` tokens? */
static llama2_status check_tokens(const llama2_session *s, int64_t position, const int32_t *tokens, int64_t n,
                                  const char *function)
{
    const llama2_config *c = &s->model->config;
    if (n > c->max_seq_len - position)
        return l2_fail(LLAMA2_E_CONTEXT,
                       "%s: %lld tokens after %lld do not fit the model's context of %d; %lld more do", function,
                       (long long)n, (long long)position, c->max_seq_len, (long long)(c->max_seq_len - position));
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= c->vocab_size)
            return l2_fail(LLAMA2_E_INVALID, "%s: tokens[%lld] is %d, the vocabulary has %d", function, (long long)i,
                           tokens[i], c->vocab_size);
    return LLAMA2_OK;
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
    L2_TRY(check_tokens(s, s->sequence.length, tokens, n, "llama2_session_feed"));
    return feed(&s, 1, tokens, offsets);
}

/* Session i of a batch, all before it having been marked. */
static llama2_status check_fed(llama2_session *const *sessions, int32_t i, const int32_t *tokens,
                               const int64_t *offsets)
{
    llama2_session *s = sessions[i];
    if (!s || s->fed || s->model != sessions[0]->model)
        return l2_fail(LLAMA2_E_INVALID, "llama2_session_feed_batch: sessions[%d] is %s", i,
                       !s       ? "NULL"
                       : s->fed ? "one of those before it"
                                : "of another model than sessions[0]");
    if ((i == 0 && offsets[0] != 0) || offsets[i + 1] <= offsets[i])
        return l2_fail(
            LLAMA2_E_INVALID,
            "llama2_session_feed_batch: sessions[%d] has tokens %lld .. %lld; they begin at 0 and each has one", i,
            (long long)offsets[i], (long long)offsets[i + 1]);
    llama2_status status = check_tokens(s, s->sequence.length, tokens + offsets[i], offsets[i + 1] - offsets[i],
                                        "llama2_session_feed_batch");
    return status < 0 ? l2_fail_in(status, "sessions[%d]", i) : LLAMA2_OK;
}

llama2_status llama2_session_feed_batch(llama2_session *const *sessions, int32_t n_sessions, const int32_t *tokens,
                                        const int64_t *offsets)
{
    llama2_status status = LLAMA2_OK;
    int32_t n = 0;
    if (!sessions || !tokens || !offsets || n_sessions < 1 || !sessions[0])
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_session_feed_batch: sessions, tokens or offsets is NULL, or n_sessions is below 1");
    L2_TRY(l2_context_check(sessions[0]->ctx));
    for (; n < n_sessions; n++) {
        status = check_fed(sessions, n, tokens, offsets);
        if (status < 0) break;
        sessions[n]->fed = 1;
    }
    for (int32_t i = 0; i < n; i++) sessions[i]->fed = 0;
    return status < 0 ? status : feed(sessions, n_sessions, tokens, offsets);
}

static llama2_status sync(llama2_session *s, const int32_t *tokens, int64_t n, int64_t *reused)
{
    if (!l2_session_is_current(s)) L2_TRY(llama2_session_rewind(s, 0));
    int64_t same = 0, held = s->sequence.length;
    while (same < held && same < n && s->tokens[same] == tokens[same]) same++;
    int done = same == n && held == n && s->has_logits;
    if (same == n && !done) same--; /* the last one is read again, for its logits */
    if (!done) {
        int64_t offsets[] = {0, n - same};
        if (same < held) L2_TRY(llama2_session_rewind(s, same));
        L2_TRY(l2_sessions_feed(&s, 1, tokens + same, offsets));
    }
    if (reused) *reused = same;
    return LLAMA2_OK;
}

llama2_status llama2_session_sync(llama2_session *s, const int32_t *tokens, int64_t n, int64_t *reused)
{
    if (!s || !tokens || n < 1)
        return l2_fail(LLAMA2_E_INVALID, "llama2_session_sync: session or tokens is NULL, or n is below 1");
    L2_TRY(l2_context_check(s->ctx));
    L2_TRY(check_tokens(s, 0, tokens, n, "llama2_session_sync"));
    L2_TRY(l2_model_enter(s->model, L2_READS));
    llama2_status status = sync(s, tokens, n, reused);
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
    l2_kv_truncate(&s->cache, &s->sequence, n);
    s->has_logits = 0;
    return LLAMA2_OK;
}

/* --- state ----------------------------------------------------------------------------------- */

/* Into the writer that `status` says was made. */
static llama2_status save(const llama2_session *s, l2_state_writer *writer, llama2_status status)
{
    if (status >= 0) status = l2_model_enter(s->model, L2_READS);
    if (status < 0) {
        l2_state_abort(writer);
        return status;
    }
    status = l2_session_write(s, writer);
    l2_model_leave(s->model, L2_READS);
    return status;
}

llama2_status llama2_session_save(const llama2_session *s, const char *path)
{
    l2_state_writer writer;
    if (!s || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_session_save: session or path is NULL");
    L2_TRY(l2_context_check(s->ctx));
    return save(s, &writer, l2_state_create(s->ctx, path, &writer));
}

llama2_status llama2_session_save_memory(const llama2_session *s, void *buffer, size_t capacity, size_t *needed)
{
    l2_state_writer writer;
    size_t size;
    if (!s || (!buffer && capacity > 0))
        return l2_fail(LLAMA2_E_INVALID, "llama2_session_save_memory: session is NULL, or buffer is with a capacity");
    L2_TRY(l2_context_check(s->ctx));
    return save(s, &writer, l2_state_create_memory(s->ctx, buffer, capacity, needed ? needed : &size, &writer));
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
