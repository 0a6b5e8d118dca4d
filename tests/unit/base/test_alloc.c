#include "fixture.h"

#include "base/alloc.h"

#include <pthread.h>
#include <string.h>

START_TEST(test_alignment_and_zero)
{
    fault_allocator a = {0};
    llama2_context *ctx = make_context(&a, 1);
    static const size_t counts[] = {0, 1, 63, 64, 65, 1000, 100000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        unsigned char *p = NULL, *q = NULL;
        ck_ok(l2_alloc(ctx, counts[i], 1, &p));
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % 64, 0);
        memset(p, 0xAA, counts[i]);
        l2_free(ctx, p);
        ck_ok(l2_calloc(ctx, counts[i], 1, &q));
        for (size_t k = 0; k < counts[i]; k++) ck_assert_uint_eq(q[k], 0);
        l2_free(ctx, q);
    }
    l2_free(ctx, NULL);
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&a.live), 0);
}
END_TEST

START_TEST(test_sizes_that_wrap)
{
    llama2_context *ctx = make_context(NULL, 1);
    static const size_t bad[][2] = {
        {SIZE_MAX, 2}, {SIZE_MAX / 2 + 1, 2}, {SIZE_MAX, 1}, {SIZE_MAX / 2, 1}, {(size_t)1 << 33, (size_t)1 << 33}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int there;
        void *p = &there;
        ck_fails(l2_alloc(ctx, bad[i][0], bad[i][1], &p), LLAMA2_E_NOMEM);
        ck_assert_ptr_null(p);
        p = &there;
        ck_fails(l2_calloc(ctx, bad[i][0], bad[i][1], &p), LLAMA2_E_NOMEM);
        ck_assert_ptr_null(p);
    }
    char *text = (char *)1;
    ck_fails(l2_strndup(ctx, "", SIZE_MAX, &text), LLAMA2_E_NOMEM);
    ck_assert_ptr_null(text);
    void *scratch;
    ck_fails(l2_scratch_get(ctx, SIZE_MAX, &scratch), LLAMA2_E_NOMEM);
    ck_assert_ptr_null(scratch);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(test_realloc)
{
    fault_allocator a = {0};
    llama2_context *ctx = make_context(&a, 1);
    int32_t *p = NULL;
    size_t n = 0;
    for (size_t next = 1; next < 5000; n = next, next *= 3) {
        ck_ok(l2_realloc(ctx, n, next, sizeof *p, &p));
        for (size_t i = 0; i < n; i++) ck_assert_int_eq(p[i], (int32_t)i);
        for (size_t i = n; i < next; i++) p[i] = (int32_t)i;
    }
    int32_t *before = p;
    a.fail_at = atomic_load(&a.calls) + 1;
    ck_fails(l2_realloc(ctx, n, 2 * n, sizeof *p, &p), LLAMA2_E_NOMEM);
    ck_assert_ptr_eq(p, before);
    for (size_t i = 0; i < n; i++) ck_assert_int_eq(p[i], (int32_t)i);
    ck_ok(l2_realloc(ctx, n, 10, sizeof *p, &p));
    for (size_t i = 0; i < 10; i++) ck_assert_int_eq(p[i], (int32_t)i);
    l2_free(ctx, p);
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&a.live), 0);
}
END_TEST

START_TEST(test_strndup)
{
    llama2_context *ctx = make_context(NULL, 1);
    char *p;
    ck_ok(l2_strndup(ctx, "a\0bcd", 4, &p));
    ck_assert_mem_eq(p, "a\0bc", 5);
    l2_free(ctx, p);
    llama2_context_free(ctx);
}
END_TEST

static void *misaligned(void *user, size_t size, size_t alignment)
{
    char *p = fault_alloc(user, size + alignment, alignment);
    return p ? p + 32 : NULL;
}

static void misaligned_free(void *user, void *ptr)
{
    fault_dealloc(user, (char *)ptr - 32);
}

START_TEST(test_misaligned_host)
{
    fault_allocator a = {0};
    llama2_context_options o;
    llama2_context *ctx;
    llama2_context_options_init(&o, sizeof o);
    o.alloc = misaligned;
    o.dealloc = misaligned_free;
    o.alloc_user = &a;
    ck_fails(llama2_context_create(&o, &ctx), LLAMA2_E_NOMEM);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "alignment"));
    ck_assert_ptr_null(ctx);
    ck_assert_int_eq(atomic_load(&a.live), 0);
}
END_TEST

START_TEST(test_scratch_is_reused)
{
    fault_allocator a = {0};
    llama2_context *ctx = make_context(&a, 1);
    long before = atomic_load(&a.calls);
    for (int i = 0; i < 1000; i++) {
        void *p, *q;
        ck_ok(l2_scratch_get(ctx, 100000, &p));
        ck_ok(l2_scratch_get(ctx, 3000000, &q));
        ck_assert_uint_eq((uintptr_t)p % 64, 0);
        ck_assert_ptr_ne(p, q);
        memset(p, 1, 100000);
        memset(q, 2, 3000000);
        l2_scratch_put(ctx, p);
        l2_scratch_put(ctx, q);
    }
    ck_assert_int_eq(atomic_load(&a.calls) - before, 2);
    l2_scratch_put(ctx, NULL);
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&a.live), 0);
}
END_TEST

START_TEST(test_scratch_keeps_few)
{
    fault_allocator a = {0};
    llama2_context *ctx = make_context(&a, 1);
    long before = atomic_load(&a.live);
    void *p[100];
    for (size_t i = 0; i < 100; i++) ck_ok(l2_scratch_get(ctx, 1000 * (i + 1), &p[i]));
    for (size_t i = 0; i < 100; i++) l2_scratch_put(ctx, p[i]);
    ck_assert_int_le(atomic_load(&a.live) - before, 16);
    /* The largest ones are those kept. */
    long calls = atomic_load(&a.calls);
    ck_ok(l2_scratch_get(ctx, 100000, &p[0]));
    ck_assert_int_eq(atomic_load(&a.calls), calls);
    l2_scratch_put(ctx, p[0]);
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&a.live), 0);
}
END_TEST

static void *use_scratch(void *arg)
{
    for (size_t i = 0; i < 20000; i++) {
        size_t n = 64 + i * 7919 % 5000;
        unsigned char *p;
        if (l2_scratch_get(arg, n, &p) < 0) return "no memory";
        memset(p, (int)(i & 255), n);
        for (size_t k = 0; k < n; k += 61)
            if (p[k] != (i & 255)) return "two threads had one block";
        l2_scratch_put(arg, p);
    }
    return NULL;
}

START_TEST(test_scratch_from_threads)
{
    fault_allocator a = {0};
    llama2_context *ctx = make_context(&a, 1);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, use_scratch, ctx), 0);
    for (int i = 0; i < 4; i++) {
        void *complaint;
        pthread_join(threads[i], &complaint);
        ck_assert_ptr_null(complaint);
    }
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&a.live), 0);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("base/alloc");
    ADD_CASE(s, "alloc", test_alignment_and_zero, test_sizes_that_wrap, test_realloc, test_strndup,
             test_misaligned_host);
    ADD_CASE(s, "scratch", test_scratch_is_reused, test_scratch_keeps_few, test_scratch_from_threads);
    return s;
}
