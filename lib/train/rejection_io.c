/* A pool as a file: one chunk "pool": u64 entries; each u64 prompt id, i32 version, i32 prompt length, i32 what ended
 * it, i32 flags, f32 score, u64 tokens, i32 tokens. */
#include "base/alloc.h"
#include "format/checkpoint.h"
#include "train/rejection.h"
#include <inttypes.h>
#include <math.h>

static const char kind[] = "pool";
enum { VERSION = 2, ENTRY_HEAD = 36 };
enum { IS_SAFETY = 1, UNSAFE = 2 }; /* flags */

static llama2_status write_pool(const llama2_pool *pool, l2_state_writer *w)
{
    L2_TRY(l2_state_begin(w, kind, "", VERSION, L2_CHUNK_REQUIRED));
    L2_TRY(l2_state_u64(w, (uint64_t)pool->n));
    for (int64_t i = 0; i < pool->n; i++) {
        const l2_sample_pool_entry *e = &pool->entries[i];
        L2_TRY(l2_state_u64(w, e->prompt_id));
        L2_TRY(l2_state_i32s(w, &e->version, 1));
        L2_TRY(l2_state_i32s(w, &e->prompt_length, 1));
        L2_TRY(l2_state_i32s(w, &(int32_t){e->ended_by}, 1));
        L2_TRY(l2_state_i32s(w, &(int32_t){(e->is_safety ? IS_SAFETY : 0) | (e->unsafe ? UNSAFE : 0)}, 1));
        L2_TRY(l2_state_f32s(w, &e->score, 1));
        L2_TRY(l2_state_u64(w, (uint64_t)e->n_tokens));
        L2_TRY(l2_state_i32s(w, e->tokens, (size_t)e->n_tokens));
    }
    return l2_state_end(w);
}

llama2_status l2_sample_pool_save(const llama2_pool *pool, const char *path)
{
    llama2_status status;
    l2_state_writer writer;
    L2_CHECK(l2_state_create(pool->ctx, path, &writer));
    L2_CHECK(write_pool(pool, &writer));
    L2_CHECK(l2_state_commit(&writer));
done:
    l2_state_abort(&writer);
    return status;
}

static llama2_status read_entry(llama2_pool *pool, l2_cursor *c)
{
    l2_sample_pool_entry e = {0};
    int32_t ended_by, flags;
    uint64_t n;
    L2_TRY(l2_cursor_u64(c, &e.prompt_id));
    L2_TRY(l2_cursor_i32s(c, &e.version, 1));
    L2_TRY(l2_cursor_i32s(c, &e.prompt_length, 1));
    L2_TRY(l2_cursor_i32s(c, &ended_by, 1));
    L2_TRY(l2_cursor_i32s(c, &flags, 1));
    L2_TRY(l2_cursor_f32s(c, &e.score, 1));
    L2_TRY(l2_cursor_u64(c, &n));
    if (n < 2 || n > (c->size - c->at) / 4 || e.version < 0 || e.prompt_length < 1 || (uint64_t)e.prompt_length >= n ||
        ended_by < LLAMA2_END_LENGTH || ended_by > LLAMA2_END_CONTEXT || !isfinite(e.score)) {
        return l2_fail(LLAMA2_E_FORMAT,
                       "pool, entry %" PRId64 ": version %" PRId32 ", %" PRIu64 " tokens, %" PRId32
                       " of prompt, score %g are no sample",
                       pool->n, e.version, n, e.prompt_length, (double)e.score);
    }
    e.ended_by = (uint8_t)ended_by;
    e.is_safety = (flags & IS_SAFETY) != 0;
    e.unsafe = (flags & UNSAFE) != 0;
    e.n_tokens = (int64_t)n;
    L2_TRY(l2_alloc(pool->ctx, (size_t)n, sizeof *e.tokens, &e.tokens));
    pool->entries[pool->n++] = e;
    return l2_cursor_i32s(c, e.tokens, (size_t)n);
}

static llama2_status read_pool(llama2_pool *pool, const l2_state_reader *reader)
{
    l2_cursor c;
    uint64_t n;
    L2_TRY(l2_cursor_open(reader, kind, "", &c));
    uint32_t version = l2_state_find(reader, kind, "")->version;
    if (version < VERSION) /* it did not say what ended a sample: no reward model could judge it again */
        return l2_fail(LLAMA2_E_UNSUPPORTED, "a pool of version %" PRIu32 "; %d can be read", version, VERSION);
    L2_TRY(l2_cursor_u64(&c, &n));
    if (n > (c.size - c.at) / ENTRY_HEAD)
        return l2_fail(LLAMA2_E_FORMAT, "pool: %" PRIu64 " entries in %zu bytes", n, c.size - c.at);
    L2_TRY(l2_alloc(pool->ctx, (size_t)n, sizeof *pool->entries, &pool->entries));
    pool->capacity = (int64_t)n;
    while (pool->n < (int64_t)n) L2_TRY(read_entry(pool, &c));
    L2_TRY(l2_cursor_end(&c));
    for (int64_t i = 1; i < pool->n; i++) {
        if (l2_sample_pool_compare(&pool->entries[i - 1], &pool->entries[i]) > 0) {
            return l2_fail(LLAMA2_E_FORMAT, "pool: entry %" PRId64 " is out of order", i);
        }
    }
    return LLAMA2_OK;
}

llama2_status l2_sample_pool_load(llama2_context *ctx, const char *path, llama2_pool **out)
{
    static const l2_chunk_kind known[] = {{kind, VERSION}};
    l2_state_reader reader = {0};
    llama2_pool *pool = NULL;
    llama2_status status;
    *out = NULL;
    L2_TRY(l2_sample_pool_create(ctx, &pool));
    L2_CHECK(l2_state_open(ctx, path, known, 1, &reader));
    L2_CHECK(read_pool(pool, &reader));
    *out = pool;
    pool = NULL;
done:
    l2_state_close(&reader);
    l2_sample_pool_free(pool);
    return status;
}
