/*
 * Sessions read tokens: one, or several of a model in one forward. A forward takes the next PIECE tokens of all that
 * there are to read, whosever they are, to bound the memory of activations. Each session has its own cache; for a
 * forward their blocks stand in one table.
 */
#include "infer/session.h"

#include "base/alloc.h"

#include <string.h>

enum { PIECE = 512 };

typedef struct feed {
    llama2_context *ctx;
    const llama2_model *model;
    llama2_session *const *sessions;
    int32_t n;
    const int32_t *tokens;
    const int64_t *offsets;
    int64_t *before;  /* (n) positions; the arrays below lie behind it */
    l2_tensor hidden; /* (n, D) of each session's last token */

    /* Of one forward: a row a session that takes part in it. */
    int64_t *row_offsets, *start, *wanted; /* (n + 1), (n), (n) */
    const int32_t **blocks;                /* (n) */
    l2_kv_layer *layers;
} feed;

/* --- what a host gives ----------------------------------------------------------------------- */

llama2_status l2_session_check_tokens(const llama2_session *s, int64_t position, const int32_t *tokens, int64_t n,
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
    llama2_status status = l2_session_check_tokens(s, s->sequence.length, tokens + offsets[i],
                                                   offsets[i + 1] - offsets[i], "llama2_session_feed_batch");
    return status < 0 ? l2_fail_in(status, "sessions[%d]", i) : LLAMA2_OK;
}

llama2_status l2_sessions_check(llama2_session *const *sessions, int32_t n, const int32_t *tokens,
                                const int64_t *offsets)
{
    llama2_status status = LLAMA2_OK;
    int32_t marked = 0;
    for (; marked < n; marked++) {
        status = check_fed(sessions, marked, tokens, offsets);
        if (status < 0) break;
        sessions[marked]->fed = 1;
    }
    for (int32_t i = 0; i < marked; i++) sessions[i]->fed = 0;
    return status;
}

/* --- reading --------------------------------------------------------------------------------- */

llama2_status l2_session_reserve(llama2_session *s, int64_t length)
{
    int32_t missing = l2_kv_blocks_for(length) - s->sequence.n_blocks - s->cache.n_free;
    if (missing > 0) { /* by a quarter at least */
        int32_t room = l2_kv_blocks_for(s->model->config.max_seq_len) - s->cache.n_blocks;
        int32_t add = s->cache.n_blocks / 4 > missing ? s->cache.n_blocks / 4 : missing;
        if (add > room) add = room;
        L2_TRY(l2_realloc(s->ctx, (size_t)s->sequence.length, (size_t)(s->cache.n_blocks + add) * L2_KV_BLOCK,
                          sizeof *s->tokens, &s->tokens));
        L2_TRY(l2_kv_cache_grow(&s->cache, add));
    }
    l2_kv_extend(&s->cache, &s->sequence, length);
    return LLAMA2_OK;
}

/* The blocks of the sessions first .. first + n - 1 under numbers of one table, and one forward of their new rows. */
static llama2_status forward(feed *f, int32_t first, int32_t n, const int32_t *tokens, int64_t n_wanted,
                             l2_tensor *hidden)
{
    size_t total = 0;
    void **memory = NULL;
    for (int32_t i = 0; i < n; i++) total += (size_t)f->sessions[first + i]->sequence.n_blocks;
    if (total > INT32_MAX) return l2_fail(LLAMA2_E_LIMIT, "%d sessions hold %zu blocks together", n, total);
    L2_TRY(l2_scratch_get(f->ctx, total * (sizeof *memory + sizeof(int32_t)), &memory));
    int32_t *numbers = (int32_t *)(memory + total);
    total = 0;
    for (int32_t i = 0; i < n; i++) {
        const llama2_session *s = f->sessions[first + i];
        f->blocks[i] = numbers + total;
        for (int32_t b = 0; b < s->sequence.n_blocks; b++, total++) {
            memory[total] = s->cache.blocks[s->sequence.blocks[b]];
            numbers[total] = (int32_t)total;
        }
    }
    memcpy(f->layers, f->sessions[first]->cache.layers, (size_t)f->model->config.n_layers * sizeof *f->layers);
    for (int32_t i = 0; i < f->model->config.n_layers; i++) f->layers[i].blocks = memory;
    l2_kv_cache all = {.model = f->model, .layers = f->layers};
    l2_kv_rows rows = {n, f->row_offsets, f->start, f->blocks};
    llama2_status status = l2_model_forward_cached(f->model, &all, &rows, tokens, f->wanted, n_wanted, hidden);
    l2_scratch_put(f->ctx, memory);
    return status;
}

/* Tokens begin .. end - 1, the first of which belongs to session `first`. */
static llama2_status read_piece(feed *f, int32_t first, int64_t begin, int64_t end)
{
    int32_t n = 0;
    int64_t n_wanted = 0;
    for (int32_t i = first; i < f->n && f->offsets[i] < end; i++, n++) {
        llama2_session *s = f->sessions[i];
        int64_t from = f->offsets[i] > begin ? f->offsets[i] : begin,
                to = f->offsets[i + 1] < end ? f->offsets[i + 1] : end;
        f->start[n] = s->sequence.length;
        f->row_offsets[n] = from - begin;
        L2_TRY(l2_session_reserve(s, f->start[n] + to - from));
        memcpy(s->tokens + f->start[n], f->tokens + from, (size_t)(to - from) * sizeof *s->tokens);
        if (to == f->offsets[i + 1]) f->wanted[n_wanted++] = to - begin - 1;
    }
    f->row_offsets[n] = end - begin;
    l2_tensor hidden = l2_tensor_rows(&f->hidden, first, n_wanted);
    return forward(f, first, n, f->tokens + begin, n_wanted, &hidden);
}

static llama2_status read_all(feed *f)
{
    int32_t first = 0;
    int64_t total = f->offsets[f->n];
    for (int64_t begin = 0; begin < total; begin += PIECE) {
        while (f->offsets[first + 1] <= begin) first++;
        L2_TRY(read_piece(f, first, begin, total - begin < PIECE ? total : begin + PIECE));
    }
    return LLAMA2_OK;
}

llama2_status l2_session_copy_logits(llama2_session *s)
{
    int32_t vocab = s->model->config.vocab_size;
    l2_tensor logits = l2_tensor_1d(s->model->dtype, s->logits, vocab),
              copy = l2_tensor_1d(LLAMA2_F32, s->logits32, vocab);
    if (s->logits32 != s->logits) L2_TRY(l2_op_copy(s->ctx, &logits, &copy));
    s->has_logits = 1;
    return LLAMA2_OK;
}

static llama2_status compute_logits(feed *f)
{
    const llama2_model *m = f->model;
    int32_t vocab = m->config.vocab_size;
    llama2_status status;
    l2_tensor rows = l2_tensor_2d(m->dtype, f->sessions[0]->logits, f->n, vocab);
    void *several = NULL;
    size_t row = (size_t)vocab * l2_dtype_size(m->dtype);
    if (f->n > 1) {
        L2_TRY(l2_scratch_get(f->ctx, (size_t)f->n * row, &several));
        rows.data = several;
    }
    L2_CHECK(l2_linear_forward(f->ctx, &m->head, &f->hidden, &rows, 0));
    for (int32_t i = 0; i < f->n; i++) {
        llama2_session *s = f->sessions[i];
        if (several) memcpy(s->logits, (char *)several + (size_t)i * row, row);
        L2_CHECK(l2_session_copy_logits(s));
    }
done:
    l2_scratch_put(f->ctx, several);
    return status;
}

llama2_status l2_sessions_feed(llama2_session *const *sessions, int32_t n, const int32_t *tokens,
                               const int64_t *offsets)
{
    const llama2_model *m = sessions[0]->model;
    llama2_context *ctx = m->ctx;
    llama2_status status;
    for (int32_t i = 0; i < n; i++) {
        status = l2_session_check_current(sessions[i]);
        if (status < 0) return n > 1 ? l2_fail_in(status, "sessions[%d]", i) : status;
    }
    size_t rows = (size_t)n, layers = (size_t)m->config.n_layers;
    feed f = {.ctx = ctx, .model = m, .sessions = sessions, .n = n, .tokens = tokens, .offsets = offsets};
    f.hidden = l2_tensor_2d(m->dtype, NULL, n, m->config.dim);
    L2_CHECK(l2_scratch_get(ctx, (4 * rows + 1) * sizeof(int64_t) + rows * sizeof *f.blocks + layers * sizeof *f.layers,
                            &f.before));
    f.start = f.before + rows;
    f.wanted = f.start + rows;
    f.row_offsets = f.wanted + rows;
    f.blocks = (const int32_t **)(f.row_offsets + rows + 1);
    f.layers = (l2_kv_layer *)(void *)(f.blocks + rows);
    for (int32_t i = 0; i < n; i++) {
        f.before[i] = sessions[i]->sequence.length;
        sessions[i]->changes = l2_model_changes(m);
    }
    L2_CHECK(l2_scratch_get(ctx, rows * (size_t)m->config.dim * l2_dtype_size(m->dtype), &f.hidden.data));
    L2_CHECK(read_all(&f));
    L2_CHECK(compute_logits(&f));
done:
    for (int32_t i = 0; f.before && status < 0 && i < n; i++)
        l2_kv_truncate(&sessions[i]->cache, &sessions[i]->sequence, f.before[i]);
    l2_scratch_put(ctx, f.hidden.data);
    l2_scratch_put(ctx, f.before);
    return status;
}

llama2_status l2_session_sync(llama2_session *s, const int32_t *tokens, int64_t n, int64_t *reused)
{
    if (!l2_session_is_current(s)) l2_session_rewind(s, 0);
    int64_t same = 0, held = s->sequence.length;
    while (same < held && same < n && s->tokens[same] == tokens[same]) same++;
    int done = same == n && held == n && s->has_logits;
    if (same == n && !done) same--; /* the last one is read again, for its logits */
    if (!done) {
        int64_t offsets[] = {0, n - same};
        if (same < held) l2_session_rewind(s, same);
        L2_TRY(l2_sessions_feed(&s, 1, tokens + same, offsets));
    }
    if (reused) *reused = same;
    return LLAMA2_OK;
}
