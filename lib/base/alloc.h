/* Memory of a context. Everything is aligned to 64 bytes. */
#ifndef L2_BASE_ALLOC_H
#define L2_BASE_ALLOC_H

#include "base/status.h"

/*
 * l2_alloc(ctx, n, sizeof *p, &p): n elements, uninitialised; *out is set to NULL on failure. n == 0 gives a valid
 * pointer. l2_calloc: zeroed. l2_realloc: keeps the first `old_count` elements.
 */
llama2_status l2_alloc(llama2_context *ctx, size_t count, size_t size, void *out);
llama2_status l2_calloc(llama2_context *ctx, size_t count, size_t size, void *out);
llama2_status l2_realloc(llama2_context *ctx, size_t old_count, size_t count, size_t size, void *in_out);
void l2_free(llama2_context *ctx, void *ptr);

/* The memory of a context whose host gives none. */
void *l2_system_alloc(void *user, size_t size, size_t alignment);
void l2_system_dealloc(void *user, void *ptr);

/* A copy of `length` bytes with a NUL after them. */
llama2_status l2_strndup(llama2_context *ctx, const char *text, size_t length, char **out);

/*
 * Scratch memory of an op: big, short-lived, uninitialised, reused from call to call. The context keeps a few blocks,
 * so that an op in a loop does not go to the allocator. Thread-safe. l2_scratch_put(ctx, NULL) does nothing.
 */
struct l2_scratch;
llama2_status l2_scratch_get(llama2_context *ctx, size_t bytes, void *out);
void l2_scratch_put(llama2_context *ctx, void *ptr);
struct l2_scratch *l2_scratch_create(llama2_context *ctx);
void l2_scratch_destroy(llama2_context *ctx, struct l2_scratch *scratch);

#endif
