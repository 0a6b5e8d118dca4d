#include "base/alloc.h"

#include "base/context.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

enum { ALIGNMENT = 64 };

llama2_status l2_alloc(llama2_context *ctx, size_t count, size_t size, void *out)
{
    void *p = NULL;
    size_t bytes = 0;
    memcpy(out, &p, sizeof p);
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX - ALIGNMENT)
        return l2_fail(LLAMA2_E_NOMEM, "out of memory: %zu elements of %zu bytes", count, size);
    p = ctx->alloc(ctx->alloc_user, (bytes + ALIGNMENT) & ~(size_t)(ALIGNMENT - 1), ALIGNMENT);
    if (!p) return l2_fail(LLAMA2_E_NOMEM, "out of memory: %zu bytes", bytes);
    memcpy(out, &p, sizeof p);
    return LLAMA2_OK;
}

llama2_status l2_calloc(llama2_context *ctx, size_t count, size_t size, void *out)
{
    void *p;
    L2_TRY(l2_alloc(ctx, count, size, out));
    memcpy(&p, out, sizeof p);
    memset(p, 0, count * size);
    return LLAMA2_OK;
}

llama2_status l2_realloc(llama2_context *ctx, size_t old_count, size_t count, size_t size, void *in_out)
{
    void *old, *now;
    memcpy(&old, in_out, sizeof old);
    L2_TRY(l2_alloc(ctx, count, size, &now));
    if (old) memcpy(now, old, (old_count < count ? old_count : count) * size);
    l2_free(ctx, old);
    memcpy(in_out, &now, sizeof now);
    return LLAMA2_OK;
}

void l2_free(llama2_context *ctx, void *ptr)
{
    if (ptr) ctx->dealloc(ctx->alloc_user, ptr);
}

llama2_status l2_strndup(llama2_context *ctx, const char *text, size_t length, char **out)
{
    L2_TRY(l2_alloc(ctx, length + 1, 1, out));
    memcpy(*out, text, length);
    (*out)[length] = 0;
    return LLAMA2_OK;
}

/* --- scratch -------------------------------------------------------------------------------------------------------------- */

/* Blocks that wait to be used again; each carries its size before the memory. */
enum { KEPT_BLOCKS = 16 };

typedef struct block {
    size_t size;
    char padding[ALIGNMENT - sizeof(size_t)];
} block;

struct l2_scratch {
    pthread_mutex_t mutex;
    block *kept[KEPT_BLOCKS];
};

struct l2_scratch *l2_scratch_create(llama2_context *ctx)
{
    struct l2_scratch *s;
    if (l2_calloc(ctx, 1, sizeof *s, &s) < 0) return NULL;
    pthread_mutex_init(&s->mutex, NULL);
    return s;
}

void l2_scratch_destroy(llama2_context *ctx, struct l2_scratch *s)
{
    if (!s) return;
    for (int i = 0; i < KEPT_BLOCKS; i++) l2_free(ctx, s->kept[i]);
    pthread_mutex_destroy(&s->mutex);
    l2_free(ctx, s);
}

/* The smallest kept block that is large enough and not wastefully larger, or NULL. */
static block *take_kept(struct l2_scratch *s, size_t bytes)
{
    int best = -1;
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; i < KEPT_BLOCKS; i++)
        if (s->kept[i] && s->kept[i]->size >= bytes && s->kept[i]->size / 4 <= bytes + 65536 && (best < 0 || s->kept[i]->size < s->kept[best]->size))
            best = i;
    block *b = best >= 0 ? s->kept[best] : NULL;
    if (b) s->kept[best] = NULL;
    pthread_mutex_unlock(&s->mutex);
    return b;
}

llama2_status l2_scratch_get(llama2_context *ctx, size_t bytes, void *out)
{
    block *b = take_kept(ctx->scratch, bytes);
    void *p = NULL;
    memcpy(out, &p, sizeof p);
    if (!b) {
        L2_TRY(l2_alloc(ctx, bytes + sizeof *b, 1, &b));
        b->size = bytes;
    }
    p = b + 1;
    memcpy(out, &p, sizeof p);
    return LLAMA2_OK;
}

void l2_scratch_put(llama2_context *ctx, void *ptr)
{
    if (!ptr) return;
    struct l2_scratch *s = ctx->scratch;
    block *b = (block *)ptr - 1;
    /* Kept in a free place, or instead of the smallest. */
    int place = 0;
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; i < KEPT_BLOCKS; i++) {
        if (!s->kept[i]) {
            place = i;
            break;
        }
        if (s->kept[i]->size < s->kept[place]->size) place = i;
    }
    block *gone = s->kept[place];
    if (gone && gone->size >= b->size)
        gone = b;
    else
        s->kept[place] = b;
    pthread_mutex_unlock(&s->mutex);
    l2_free(ctx, gone);
}
