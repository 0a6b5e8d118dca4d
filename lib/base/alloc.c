#include "base/alloc.h"

#include "base/context.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64 };

/* Weights, gradients and activations are walked over and over: the system is asked for huge pages for large blocks,
 * which saves most misses of the TLB. */
enum { HUGE_PAGE = 2 << 20, LARGE_BLOCK = 4 << 20 };

void *l2_system_alloc(void *user, size_t size, size_t alignment)
{
    void *block;
    (void)user;
    if (posix_memalign(&block, size < LARGE_BLOCK ? alignment : HUGE_PAGE, size)) return NULL;
#if defined(MADV_HUGEPAGE)
    if (size >= LARGE_BLOCK) madvise(block, size, MADV_HUGEPAGE); /* advice: it does not matter whether it is taken */
#endif
    return block;
}

void l2_system_dealloc(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

llama2_status l2_alloc(llama2_context *ctx, size_t count, size_t size, void *out)
{
    void *p = NULL;
    size_t bytes = 0;
    memcpy(out, &p, sizeof p);
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX - ALIGNMENT)
        return l2_fail(LLAMA2_E_NOMEM, "out of memory: %zu elements of %zu bytes", count, size);
    p = ctx->alloc(ctx->alloc_user, (bytes + ALIGNMENT) & ~(size_t)(ALIGNMENT - 1), ALIGNMENT);
    if (!p) return l2_fail(LLAMA2_E_NOMEM, "out of memory: %zu bytes", bytes);
    if ((uintptr_t)p % ALIGNMENT != 0) {
        ctx->dealloc(ctx->alloc_user, p);
        return l2_fail(LLAMA2_E_NOMEM,
                       "the host's alloc gave an address that is no multiple of the alignment asked for, %d",
                       ALIGNMENT);
    }
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
    *out = NULL;
    if (length == SIZE_MAX) return l2_fail(LLAMA2_E_NOMEM, "out of memory: a text of %zu bytes", length);
    L2_TRY(l2_alloc(ctx, length + 1, 1, out));
    memcpy(*out, text, length);
    (*out)[length] = 0;
    return LLAMA2_OK;
}

/* --- scratch --------------------------------------------------------------------------------- */

/*
 * Blocks that wait to be used again; each carries its size before the memory. A block belongs to whoever exchanges it
 * out of its place: no lock, so that none can be held for ever in the child of a fork. sizes[i] is a hint about
 * kept[i], looked at without taking the block.
 */
enum { KEPT_BLOCKS = 16, WASTE_FACTOR = 4, SMALL_WASTE = 65536 };

typedef struct block {
    size_t size;
    char padding[ALIGNMENT - sizeof(size_t)];
} block;

struct l2_scratch {
    _Atomic(block *) kept[KEPT_BLOCKS];
    _Atomic size_t sizes[KEPT_BLOCKS];
};

struct l2_scratch *l2_scratch_create(llama2_context *ctx)
{
    struct l2_scratch *s;
    return l2_calloc(ctx, 1, sizeof *s, &s) < 0 ? NULL : s;
}

void l2_scratch_destroy(llama2_context *ctx, struct l2_scratch *s)
{
    if (!s) return;
    for (int i = 0; i < KEPT_BLOCKS; i++) l2_free(ctx, atomic_load(&s->kept[i]));
    l2_free(ctx, s);
}

/* The smallest kept block that is large enough and not wastefully larger, or NULL. */
static block *take_kept(llama2_context *ctx, size_t bytes)
{
    struct l2_scratch *s = ctx->scratch;
    int best = -1;
    size_t best_size = 0;
    for (int i = 0; i < KEPT_BLOCKS; i++) {
        size_t size = atomic_load_explicit(&s->sizes[i], memory_order_relaxed);
        if (!atomic_load_explicit(&s->kept[i], memory_order_relaxed) || size < bytes ||
            size / WASTE_FACTOR > bytes + SMALL_WASTE)
            continue;
        if (best >= 0 && size >= best_size) continue;
        best = i;
        best_size = size;
    }
    block *b = best >= 0 ? atomic_exchange_explicit(&s->kept[best], NULL, memory_order_acq_rel) : NULL;
    if (b && b->size < bytes) { /* another thread was between the look and the exchange */
        l2_scratch_put(ctx, b + 1);
        b = NULL;
    }
    return b;
}

/* Frees the largest kept block that is too small for `bytes` and that a block of that size can stand for: requests that
 * grow leave no blocks behind. */
static void drop_smaller(llama2_context *ctx, size_t bytes)
{
    struct l2_scratch *s = ctx->scratch;
    int best = -1;
    size_t best_size = 0;
    for (int i = 0; i < KEPT_BLOCKS; i++) {
        size_t size = atomic_load_explicit(&s->sizes[i], memory_order_relaxed);
        if (!atomic_load_explicit(&s->kept[i], memory_order_relaxed) || size >= bytes ||
            bytes / WASTE_FACTOR > size + SMALL_WASTE)
            continue;
        if (best >= 0 && size <= best_size) continue;
        best = i;
        best_size = size;
    }
    if (best >= 0) l2_free(ctx, atomic_exchange_explicit(&s->kept[best], NULL, memory_order_acq_rel));
}

llama2_status l2_scratch_get(llama2_context *ctx, size_t bytes, void *out)
{
    block *b = take_kept(ctx, bytes);
    void *p = NULL;
    memcpy(out, &p, sizeof p);
    if (!b) {
        drop_smaller(ctx, bytes);
        if (bytes > PTRDIFF_MAX - sizeof *b)
            return l2_fail(LLAMA2_E_NOMEM, "out of memory: %zu bytes of scratch", bytes);
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
    size_t size = b->size, smallest = SIZE_MAX;
    int place = 0;
    for (int i = 0; i < KEPT_BLOCKS; i++) {
        block *none = NULL;
        if (atomic_compare_exchange_strong_explicit(&s->kept[i], &none, b, memory_order_acq_rel,
                                                    memory_order_relaxed)) {
            atomic_store_explicit(&s->sizes[i], size, memory_order_relaxed);
            return;
        }
        size_t kept = atomic_load_explicit(&s->sizes[i], memory_order_relaxed);
        if (kept < smallest) {
            smallest = kept;
            place = i;
        }
    }
    /* All places are taken: it goes instead of the smallest. */
    if (smallest < size) {
        b = atomic_exchange_explicit(&s->kept[place], b, memory_order_acq_rel);
        atomic_store_explicit(&s->sizes[place], size, memory_order_relaxed);
    }
    if (b) l2_free(ctx, b);
}
