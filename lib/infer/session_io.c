/*
 * The chunk: u32 dtype, u32 layers, u32 kv heads, u32 head dimension, u32 vocabulary, u32 1 where logits follow, u64
 * fingerprint of the model, u64 tokens; the tokens, i32, padded to 8 bytes; the logits, in the model's dtype. Then for
 * each PIECE positions and each layer: keys, values (positions, KVH, Dh), in the cache's dtype. Nothing of how a block
 * lies in memory, so that this may change.
 */
#include "infer/session_io.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <string.h>

#define KIND "session"
enum { VERSION = 1, PIECE = 512 };

/* What keys and values depend on, and the sizes of what follows. */
typedef struct head {
    uint32_t dtype, layers, kv_heads, head_dim, vocab, has_logits;
    uint64_t fingerprint, n;
} head;

static llama2_status head_of(const llama2_model *m, head *out)
{
    const llama2_config *c = &m->config;
    *out = (head){.dtype = (uint32_t)m->dtype,
                  .layers = (uint32_t)c->n_layers,
                  .kv_heads = (uint32_t)c->n_kv_heads,
                  .head_dim = (uint32_t)c->head_dim,
                  .vocab = (uint32_t)c->vocab_size};
    return l2_model_fingerprint(m, &out->fingerprint);
}

static uint64_t padded_tokens(uint64_t n)
{
    return (n + 1) / 2 * 2;
}

/* Bytes after the head. Not for an n that the file can't have. */
static uint64_t body_size(const head *h)
{
    uint64_t size = l2_dtype_size((int32_t)h->dtype);
    uint64_t row = 2 * size * h->layers * h->kv_heads * h->head_dim;
    return padded_tokens(h->n) * 4 + (h->has_logits ? size * h->vocab : 0) + h->n * row;
}

/* Room for the keys and the values of a piece in one layer. */
static llama2_status get_piece(const llama2_model *m, int64_t n, l2_tensor *k, l2_tensor *v)
{
    int64_t heads = m->config.n_kv_heads, dim = m->config.head_dim, longest = n < PIECE ? n : PIECE;
    *k = *v = l2_tensor_3d(m->dtype, NULL, longest, heads, dim);
    size_t bytes = (size_t)l2_tensor_size(k) * l2_dtype_size(m->dtype);
    L2_TRY(l2_scratch_get(m->ctx, 2 * bytes, &k->data));
    v->data = (char *)k->data + bytes;
    return LLAMA2_OK;
}

/* Bytes of a tensor of a piece. */
static size_t piece_bytes(const l2_tensor *t)
{
    return (size_t)l2_tensor_size(t) * l2_dtype_size(t->dtype);
}

static llama2_status write_cache(const llama2_session *s, l2_state_writer *w)
{
    llama2_status status = LLAMA2_OK;
    const llama2_model *m = s->model;
    int64_t n = s->sequence.length;
    l2_tensor k, v;
    L2_TRY(get_piece(m, n, &k, &v));
    for (int64_t first = 0; first < n; first += PIECE) {
        k.shape[0] = v.shape[0] = n - first < PIECE ? n - first : PIECE;
        for (int32_t i = 0; i < m->config.n_layers; i++) {
            L2_CHECK(l2_context_check(s->ctx));
            l2_op_kv_load(&s->cache.layers[i], s->sequence.blocks, first, &k, &v);
            L2_CHECK(l2_state_bytes(w, k.data, piece_bytes(&k)));
            L2_CHECK(l2_state_bytes(w, v.data, piece_bytes(&v)));
        }
    }
done:
    l2_scratch_put(s->ctx, k.data);
    return status;
}

static llama2_status write_all(const llama2_session *s, l2_state_writer *w)
{
    static const int32_t zero = 0;
    head h;
    L2_TRY(l2_session_check_current(s)); /* else the fingerprint would be of weights that the cache is not of */
    L2_TRY(head_of(s->model, &h));
    h.has_logits = s->has_logits != 0;
    h.n = (uint64_t)s->sequence.length;
    L2_TRY(l2_state_begin(w, KIND, "", VERSION, L2_CHUNK_REQUIRED));
    const uint32_t numbers[] = {h.dtype, h.layers, h.kv_heads, h.head_dim, h.vocab, h.has_logits};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) L2_TRY(l2_state_u32(w, numbers[i]));
    L2_TRY(l2_state_u64(w, h.fingerprint));
    L2_TRY(l2_state_u64(w, h.n));
    L2_TRY(l2_state_i32s(w, s->tokens, h.n));
    if (h.n % 2) L2_TRY(l2_state_i32s(w, &zero, 1));
    if (h.has_logits) L2_TRY(l2_state_bytes(w, s->logits, h.vocab * l2_dtype_size(s->model->dtype)));
    L2_TRY(write_cache(s, w));
    L2_TRY(l2_state_end(w));
    return l2_state_commit(w);
}

llama2_status l2_session_write(const llama2_session *s, const char *path, void *buffer, size_t capacity, size_t *needed)
{
    llama2_status status;
    l2_state_writer w;
    L2_CHECK(path ? l2_state_create(s->ctx, path, &w) : l2_state_create_memory(s->ctx, buffer, capacity, needed, &w));
    L2_CHECK(l2_model_enter(s->model, L2_READS));
    status = write_all(s, &w);
    l2_model_leave(s->model, L2_READS);
done:
    l2_state_abort(&w);
    return status;
}

static llama2_status read_cache(llama2_session *s, l2_cursor *c, int64_t n)
{
    llama2_status status = LLAMA2_OK;
    const llama2_model *m = s->model;
    l2_tensor k, v;
    L2_TRY(get_piece(m, n, &k, &v));
    for (int64_t first = 0; first < n; first += PIECE) {
        int64_t count = n - first < PIECE ? n - first : PIECE, offsets[] = {0, count};
        const int32_t *blocks = s->sequence.blocks;
        l2_kv_rows rows = {1, offsets, &first, &blocks};
        k.shape[0] = v.shape[0] = count;
        for (int32_t i = 0; i < m->config.n_layers; i++) {
            L2_CHECK(l2_context_check(s->ctx));
            L2_CHECK(l2_cursor_bytes(c, k.data, piece_bytes(&k)));
            L2_CHECK(l2_cursor_bytes(c, v.data, piece_bytes(&v)));
            L2_CHECK(l2_op_kv_store(s->ctx, &k, &v, &rows, &s->cache.layers[i]));
        }
    }
done:
    l2_scratch_put(s->ctx, k.data);
    return status;
}

/* Reads the head and holds it against the model and the bytes that follow. */
static llama2_status read_head(const llama2_model *m, l2_cursor *c, head *h)
{
    head own;
    L2_TRY(head_of(m, &own));
    uint32_t *numbers[] = {&h->dtype, &h->layers, &h->kv_heads, &h->head_dim, &h->vocab, &h->has_logits};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) L2_TRY(l2_cursor_u32(c, numbers[i]));
    L2_TRY(l2_cursor_u64(c, &h->fingerprint));
    L2_TRY(l2_cursor_u64(c, &h->n));
    if (h->layers != own.layers || h->kv_heads != own.kv_heads || h->head_dim != own.head_dim || h->vocab != own.vocab)
        return l2_fail(LLAMA2_E_MISMATCH,
                       "the session is of a model with %" PRIu32 " layers of %" PRIu32 " kv heads of %" PRIu32
                       " and %" PRIu32 " pieces; this one has %" PRIu32 ", %" PRIu32 ", %" PRIu32 " and %" PRIu32,
                       h->layers, h->kv_heads, h->head_dim, h->vocab, own.layers, own.kv_heads, own.head_dim,
                       own.vocab);
    if (h->dtype != own.dtype || h->fingerprint != own.fingerprint)
        return l2_fail(LLAMA2_E_MISMATCH,
                       "the session is of a model of this shape with other weights, settings or data type "
                       "(%016" PRIx64 ", this one is %016" PRIx64 ")",
                       h->fingerprint, own.fingerprint);
    if (h->has_logits > (h->n > 0) || h->n > c->size || body_size(h) != c->size - c->at)
        return l2_fail(LLAMA2_E_FORMAT, "session: %" PRIu64 " tokens do not make the %zu bytes that follow", h->n,
                       c->size - c->at);
    if (h->n > (uint64_t)m->config.max_seq_len)
        return l2_fail(LLAMA2_E_CONTEXT, "the session holds %" PRIu64 " tokens, the model's context %" PRId32, h->n,
                       m->config.max_seq_len);
    return LLAMA2_OK;
}

static llama2_status read_tokens(llama2_session *s, l2_cursor *c, int64_t n)
{
    L2_TRY(l2_session_reserve(s, n));
    L2_TRY(l2_cursor_i32s(c, s->tokens, (size_t)n));
    for (int64_t i = 0; i < n; i++)
        if (s->tokens[i] < 0 || s->tokens[i] >= s->model->config.vocab_size)
            return l2_fail(LLAMA2_E_FORMAT, "session: token %lld is %" PRId32 ", the vocabulary has %" PRId32,
                           (long long)i, s->tokens[i], s->model->config.vocab_size);
    return l2_cursor_skip(c, (size_t)(padded_tokens((uint64_t)n) - (uint64_t)n) * 4, NULL);
}

static llama2_status read_all(llama2_model *m, const l2_state_reader *reader, llama2_session **out)
{
    llama2_status status;
    llama2_session *s = NULL;
    l2_cursor c;
    head h;
    L2_TRY(l2_cursor_open(reader, KIND, "", &c));
    L2_TRY(read_head(m, &c, &h));
    L2_TRY(l2_session_new(m, &s));
    s->changes = l2_model_changes(m);
    L2_CHECK(read_tokens(s, &c, (int64_t)h.n));
    if (h.has_logits) L2_CHECK(l2_cursor_bytes(&c, s->logits, h.vocab * l2_dtype_size(m->dtype)));
    L2_CHECK(read_cache(s, &c, (int64_t)h.n));
    L2_CHECK(l2_cursor_end(&c));
    if (h.has_logits) L2_CHECK(l2_session_copy_logits(s));
    *out = s;
    s = NULL;
done:
    l2_session_release(s);
    return status;
}

llama2_status l2_session_read(llama2_model *model, const char *path, const void *data, size_t size,
                              llama2_session **out)
{
    static const l2_chunk_kind known[] = {{KIND, VERSION}};
    l2_state_reader reader;
    *out = NULL;
    llama2_status status = data ? l2_state_parse(model->ctx, data, size, known, 1, &reader)
                                : l2_state_open(model->ctx, path, known, 1, &reader);
    if (status >= 0) status = read_all(model, &reader, out);
    l2_state_close(&reader);
    return status;
}
