/* What the tests of base share: a context whose allocations can be counted and made to fail. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "check_main.h"

#include "base/context.h"

#include <stdatomic.h>
#include <stdlib.h>

typedef struct fault_allocator {
    atomic_long calls, live; /* allocations asked for, and not yet given back */
    long fail_at;            /* number of the call that fails, from 1; 0: none */
    int fail_after;          /* and all after it */
} fault_allocator;

static inline void *fault_alloc(void *user, size_t size, size_t alignment)
{
    fault_allocator *a = user;
    long call = atomic_fetch_add(&a->calls, 1) + 1;
    if (a->fail_at && (call == a->fail_at || (a->fail_after && call > a->fail_at))) return NULL;
    void *p = aligned_alloc(alignment, size);
    if (p) atomic_fetch_add(&a->live, 1);
    return p;
}

static inline void fault_dealloc(void *user, void *ptr)
{
    fault_allocator *a = user;
    atomic_fetch_sub(&a->live, 1);
    free(ptr);
}

static inline llama2_context *make_context(fault_allocator *a, int32_t n_threads)
{
    llama2_context_options o;
    llama2_context *ctx;
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = n_threads;
    if (a) {
        o.alloc = fault_alloc;
        o.dealloc = fault_dealloc;
        o.alloc_user = a;
    }
    ck_ok(llama2_context_create(&o, &ctx));
    return ctx;
}

#endif
