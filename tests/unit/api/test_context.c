#include "../base/fixture.h"

#include "base/alloc.h"
#include "base/threads.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(test_defaults)
{
    llama2_context *ctx;
    ck_ok(llama2_context_create(NULL, &ctx));
    ck_assert_int_ge(llama2_context_threads(ctx), 1);
    ck_assert_ptr_nonnull(strstr(llama2_context_describe(ctx), "builtin"));
    ck_ok(l2_context_check(ctx));
    llama2_context_free(ctx);
    llama2_context_free(NULL);
    llama2_context_cancel(NULL);
    llama2_context_resume(NULL);
}
END_TEST

START_TEST(test_describe)
{
    llama2_context_options o;
    llama2_context *ctx;
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = 3;
    o.isa = LLAMA2_ISA_SCALAR;
    ck_ok(llama2_context_create(&o, &ctx));
    ck_assert_str_eq(llama2_context_describe(ctx), "builtin scalar, 3 threads");
    ck_assert_int_eq(llama2_context_threads(ctx), 3);
    llama2_context_free(ctx);
    o.n_threads = 1;
    ck_ok(llama2_context_create(&o, &ctx));
    ck_assert_str_eq(llama2_context_describe(ctx), "builtin scalar, 1 thread");
    llama2_context_free(ctx);
}
END_TEST

static void refused(const llama2_context_options *o, llama2_status code)
{
    llama2_context *ctx = (llama2_context *)(uintptr_t)o;
    ck_fails(llama2_context_create(o, &ctx), code);
    ck_assert_ptr_null(ctx);
}

START_TEST(test_bad_options)
{
    llama2_context_options o;
    fault_allocator a = {0};
    ck_fails(llama2_context_create(NULL, NULL), LLAMA2_E_INVALID);
    llama2_context_options_init(&o, sizeof o);
    o.alloc = fault_alloc;
    refused(&o, LLAMA2_E_INVALID);
    llama2_context_options_init(&o, sizeof o);
    o.dealloc = fault_dealloc;
    o.alloc_user = &a;
    refused(&o, LLAMA2_E_INVALID);
    static const int32_t bad[] = {-1, 2, INT32_MAX};
    for (int i = 0; i < 3; i++) {
        llama2_context_options_init(&o, sizeof o);
        o.gemm = bad[i];
        refused(&o, LLAMA2_E_INVALID);
        llama2_context_options_init(&o, sizeof o);
        o.isa = bad[i] == 2 ? 4 : bad[i];
        refused(&o, LLAMA2_E_INVALID);
    }
    memset(&o, 0, sizeof o);
    refused(&o, LLAMA2_E_ABI);
}
END_TEST

/* --- programs built for older and newer headers ---------------------------------------------- */

START_TEST(test_older_program)
{
    /* One that knew nothing after the seed. */
    struct {
        uint32_t struct_size;
        int32_t n_threads;
        uint64_t seed;
        unsigned char behind[64];
    } old;
    memset(&old, 0xAA, sizeof old);
    llama2_context *ctx;
    llama2_context_options_init((llama2_context_options *)(void *)&old, offsetof(llama2_context_options, alloc));
    ck_assert_uint_eq(old.struct_size, 16);
    ck_assert_uint_eq(old.seed, 0);
    for (size_t i = 0; i < sizeof old.behind; i++) ck_assert_uint_eq(old.behind[i], 0xAA);
    old.n_threads = 2;
    old.seed = 77;
    ck_ok(llama2_context_create((llama2_context_options *)(void *)&old, &ctx));
    ck_assert_int_eq(llama2_context_threads(ctx), 2);
    ck_assert_uint_eq(ctx->seed, 77);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(test_newer_program)
{
    struct {
        llama2_context_options known;
        uint64_t unknown;
    } next;
    llama2_context *ctx;
    memset(&next, 0xAA, sizeof next);
    llama2_context_options_init(&next.known, sizeof next);
    ck_assert_uint_eq(next.known.struct_size, sizeof next);
    ck_assert_uint_eq(next.unknown, 0);
    next.known.n_threads = 1;
    ck_ok(llama2_context_create(&next.known, &ctx));
    llama2_context_free(ctx);
    next.unknown = (uint64_t)1 << 63;
    refused(&next.known, LLAMA2_E_ABI);
}
END_TEST

/* --- memory ---------------------------------------------------------------------------------- */

START_TEST(test_every_allocation_fails)
{
    for (int after = 0; after < 2; after++)
        for (long n = 1;; n++) {
            fault_allocator a = {.fail_at = n, .fail_after = after};
            llama2_context_options o;
            llama2_context *ctx;
            llama2_context_options_init(&o, sizeof o);
            o.n_threads = 3;
            o.alloc = fault_alloc;
            o.dealloc = fault_dealloc;
            o.alloc_user = &a;
            llama2_status status = llama2_context_create(&o, &ctx);
            if (status == LLAMA2_OK) {
                ck_assert_int_ge(n, 4);
                llama2_context_free(ctx);
                ck_assert_int_eq(atomic_load(&a.live), 0);
                break;
            }
            ck_assert_int_eq(status, LLAMA2_E_NOMEM);
            ck_assert_ptr_null(ctx);
            ck_assert_int_eq(atomic_load(&a.live), 0);
        }
}
END_TEST

START_TEST(test_references)
{
    fault_allocator a = {0};
    llama2_context *ctx = make_context(&a, 2);
    ck_assert_ptr_eq(l2_context_retain(ctx), ctx);
    llama2_context_free(ctx);
    ck_assert_int_gt(atomic_load(&a.live), 0);
    ck_ok(l2_context_check(ctx));
    l2_context_release(ctx);
    ck_assert_int_eq(atomic_load(&a.live), 0);
}
END_TEST

/* --- log ------------------------------------------------------------------------------------- */

typedef struct log_record {
    int calls;
    int32_t level;
    char text[2048];
} log_record;

static void record(void *user, int32_t level, const char *message, size_t length)
{
    log_record *r = user;
    r->calls++;
    r->level = level;
    memcpy(r->text, message, length);
    r->text[length] = 0;
}

START_TEST(test_log)
{
    log_record r = {0};
    llama2_context_options o;
    llama2_context *ctx;
    char text[3000];
    llama2_context_options_init(&o, sizeof o);
    o.log = record;
    o.log_user = &r;
    ck_ok(llama2_context_create(&o, &ctx));
    r.calls = 0;
    l2_log(ctx, LLAMA2_LOG_WARN, "step %d of %s", 3, "ten");
    ck_assert_int_eq(r.calls, 1);
    ck_assert_int_eq(r.level, LLAMA2_LOG_WARN);
    ck_assert_str_eq(r.text, "step 3 of ten");
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    l2_log(ctx, LLAMA2_LOG_INFO, "%s", text);
    ck_assert_uint_gt(strlen(r.text), 500);
    llama2_context_free(ctx);
    ctx = make_context(NULL, 1);
    l2_log(ctx, LLAMA2_LOG_ERROR, "nobody listens");
    llama2_context_free(ctx);
}
END_TEST

/* --- cancel and fork ------------------------------------------------------------------------- */

static llama2_context *cancelled_by_signal;

static void on_signal(int number)
{
    (void)number;
    llama2_context_cancel(cancelled_by_signal);
}

START_TEST(test_cancel)
{
    llama2_context *ctx = make_context(NULL, 2);
    llama2_context_cancel(ctx);
    ck_fails(l2_context_check(ctx), LLAMA2_E_CANCELLED);
    ck_fails(l2_context_check(ctx), LLAMA2_E_CANCELLED);
    llama2_context_resume(ctx);
    ck_ok(l2_context_check(ctx));
    cancelled_by_signal = ctx;
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    ck_fails(l2_context_check(ctx), LLAMA2_E_CANCELLED);
    signal(SIGUSR1, SIG_DFL);
    llama2_context_free(ctx);
}
END_TEST

/* Memory from the kernel alone. A forked child may allocate only where malloc is made for it: glibc's is, that of the
 * address sanitizer of gcc 12 is not, and has been met with its lock held. */
enum { PAGE = 4096 };

static void *page_alloc(void *user, size_t size, size_t alignment)
{
    (void)user, (void)alignment;
    char *p = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    *(size_t *)(void *)p = size + PAGE;
    return p + PAGE;
}

static void page_dealloc(void *user, void *ptr)
{
    (void)user;
    char *p = (char *)ptr - PAGE;
    munmap(p, *(size_t *)(void *)p);
}

static void nothing(void *arg, int32_t task, int32_t worker)
{
    (void)arg, (void)task, (void)worker;
}

static atomic_int stop_working;

static void *keep_working(void *arg)
{
    while (!atomic_load(&stop_working)) {
        void *scratch;
        l2_parallel(arg, 8, nothing, NULL);
        if (l2_scratch_get(arg, 1000, &scratch) >= 0) l2_scratch_put(arg, scratch);
    }
    return NULL;
}

/* The child: FORKED for what works, and freeing ends, also if another thread held what fork has copied. */
static int child(llama2_context *ctx)
{
    alarm(20);
    if (l2_context_check(ctx) != LLAMA2_E_FORKED) return 2;
    if (!llama2_last_error()[0]) return 3;
    void *scratch;
    if (l2_scratch_get(ctx, 1000, &scratch) < 0) return 4;
    l2_scratch_put(ctx, scratch);
    l2_log(ctx, LLAMA2_LOG_INFO, "in the child");
    llama2_context_cancel(ctx);
    llama2_context_free(ctx);
    return 0;
}

START_TEST(test_fork)
{
    llama2_context_options o;
    llama2_context *ctx;
    pthread_t thread;
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = 3;
    o.alloc = page_alloc;
    o.dealloc = page_dealloc;
    ck_ok(llama2_context_create(&o, &ctx));
    atomic_store(&stop_working, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, keep_working, ctx), 0);
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) _exit(child(ctx));
        int status = 0;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status 0x%x",
                      (unsigned)status);
    }
    ck_ok(l2_context_check(ctx));
    atomic_store(&stop_working, 1);
    pthread_join(thread, NULL);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("api/context");
    ADD_CASE(s, "create", test_defaults, test_describe, test_bad_options, test_older_program, test_newer_program);
    ADD_CASE(s, "memory", test_every_allocation_fails, test_references);
    ADD_CASE(s, "log", test_log);
    ADD_CASE(s, "cancel and fork", test_cancel, test_fork);
    return s;
}
