#include "fixture.h"
#include "task_threads.h"

#include "base/alloc.h"
#include "base/threads.h"

#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { MOST_TASKS = 1000 };

typedef struct counting {
    llama2_context *ctx;
    atomic_int ran[MOST_TASKS];
    atomic_int in_worker[16]; /* a worker's index is one thread's at a time */
    atomic_int wrong;
} counting;

static void count(void *arg, int32_t task, int32_t worker)
{
    counting *c = arg;
    if (worker < 0 || worker >= l2_workers(c->ctx) || task < 0 || task >= MOST_TASKS)
        atomic_fetch_add(&c->wrong, 1);
    else {
        if (atomic_fetch_add(&c->in_worker[worker], 1) != 0) atomic_fetch_add(&c->wrong, 1);
        atomic_fetch_add(&c->ran[task], 1);
        atomic_fetch_sub(&c->in_worker[worker], 1);
    }
}

static void each_once(counting *c, int32_t n)
{
    for (int32_t i = 0; i < MOST_TASKS; i++) ck_assert_int_eq(atomic_load(&c->ran[i]), i < n ? 1 : 0);
    ck_assert_int_eq(atomic_load(&c->wrong), 0);
    memset(c->ran, 0, sizeof c->ran);
}

START_TEST(test_each_task_once)
{
    static const int32_t threads[] = {1, 2, 3, 8};
    for (int t = 0; t < 4; t++) {
        llama2_context *ctx = make_context(NULL, threads[t]);
        ck_assert_int_eq(l2_workers(ctx), threads[t]);
        counting *c = calloc(1, sizeof *c);
        c->ctx = ctx;
        for (int round = 0; round < 300; round++) {
            int32_t n = round % 7 == 6 ? MOST_TASKS : round % 20;
            l2_parallel(ctx, n, count, c);
            each_once(c, n);
        }
        free(c);
        llama2_context_free(ctx);
    }
}
END_TEST

/* What tasks have written is there when l2_parallel returns, and the next job sees it: no atomics here, ThreadSanitizer
 * looks. */
static void add_own(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    ((double *)arg)[task] += task;
}

START_TEST(test_memory_is_seen)
{
    llama2_context *ctx = make_context(NULL, 3);
    double values[64] = {0};
    for (int round = 0; round < 5000; round++) l2_parallel(ctx, round % 64 + 1, add_own, values);
    for (int i = 0; i < 64; i++) {
        int rounds = 5000 / 64 * (64 - i) + (5000 % 64 > i ? 5000 % 64 - i : 0);
        ck_assert_double_eq(values[i], (double)i * rounds);
    }
    llama2_context_free(ctx);
}
END_TEST

/* Workers that have gone to sleep wake again. */
START_TEST(test_after_sleep)
{
    llama2_context *ctx = make_context(NULL, 4);
    counting *c = calloc(1, sizeof *c);
    c->ctx = ctx;
    for (int round = 0; round < 30; round++) {
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        l2_parallel(ctx, 50, count, c);
        each_once(c, 50);
    }
    free(c);
    llama2_context_free(ctx);
}
END_TEST

/* Two tasks that wait for each other end only if two threads are at work. */
static void meet(void *arg, int32_t task, int32_t worker)
{
    atomic_int *here = arg;
    (void)task, (void)worker;
    atomic_fetch_add(here, 1);
    while (atomic_load(here) < 3) nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
}

START_TEST(test_really_parallel)
{
    llama2_context *ctx = make_context(NULL, 3);
    for (int i = 0; i < 20; i++) {
        atomic_int here = 0;
        l2_parallel(ctx, 3, meet, &here);
    }
    llama2_context_free(ctx);
}
END_TEST

/* Signals in a worker: those of its own faults come to the host's handler, others to the host's threads. */
typedef struct masks {
    atomic_int here;
    sigset_t blocked[3];
} masks;

static void look_at_mask(void *arg, int32_t task, int32_t worker)
{
    masks *m = arg;
    pthread_sigmask(SIG_SETMASK, NULL, &m->blocked[worker]);
    meet(&m->here, task, worker);
}

START_TEST(test_signals)
{
    llama2_context *ctx = make_context(NULL, 3);
    masks m = {0};
    l2_parallel(ctx, 3, look_at_mask, &m);
    for (int worker = 1; worker < 3; worker++) {
        static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL}, others[] = {SIGINT, SIGTERM, SIGALRM, SIGCHLD};
        for (int i = 0; i < 4; i++) {
            ck_assert_int_eq(sigismember(&m.blocked[worker], faults[i]), 0);
            ck_assert_int_eq(sigismember(&m.blocked[worker], others[i]), 1);
        }
    }
    llama2_context_free(ctx);
}
END_TEST

typedef struct host_thread {
    pthread_t thread;
    llama2_context *ctx;
    int64_t sums[4];
} host_thread;

static void add_task(void *arg, int32_t task, int32_t worker)
{
    int64_t *sums = arg;
    (void)worker;
    sums[task] += task + 1;
}

static void *many_jobs(void *arg)
{
    host_thread *h = arg;
    for (int i = 0; i < 3000; i++) l2_parallel(h->ctx, 4, add_task, h->sums);
    return NULL;
}

START_TEST(test_several_host_threads)
{
    llama2_context *ctx = make_context(NULL, 3);
    host_thread hosts[4] = {0};
    for (int i = 0; i < 4; i++) {
        hosts[i].ctx = ctx;
        ck_assert_int_eq(pthread_create(&hosts[i].thread, NULL, many_jobs, &hosts[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(hosts[i].thread, NULL);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) ck_assert_int_eq(hosts[i].sums[k], 3000 * (k + 1));
    llama2_context_free(ctx);
}
END_TEST

/* A pool at work for another is not waited for. */
typedef struct nested {
    llama2_context *ctx;
    atomic_int inner, other_worker;
} nested;

static void inner_task(void *arg, int32_t task, int32_t worker)
{
    nested *n = arg;
    (void)task;
    atomic_fetch_add(&n->inner, 1);
    if (worker != 0) atomic_fetch_add(&n->other_worker, 1);
}

static void *use_busy_pool(void *arg)
{
    nested *n = arg;
    l2_parallel(n->ctx, 10, inner_task, n);
    return NULL;
}

static void start_other(void *arg, int32_t task, int32_t worker)
{
    pthread_t thread;
    (void)worker;
    if (task != 0 || pthread_create(&thread, NULL, use_busy_pool, arg) != 0) return;
    pthread_join(thread, NULL);
}

START_TEST(test_busy_pool)
{
    nested n = {.ctx = make_context(NULL, 2)};
    l2_parallel(n.ctx, 2, start_other, &n);
    ck_assert_int_eq(atomic_load(&n.inner), 10);
    ck_assert_int_eq(atomic_load(&n.other_worker), 0);
    llama2_context_free(n.ctx);
}
END_TEST

/* --- the host's runner ----------------------------------------------------------------------- */

typedef struct runner {
    int32_t mode, calls, n_tasks;
} runner;

enum { RUN_THREADS, RUN_IN_TURN, RUN_NOTHING };

static int32_t run(void *user, int32_t n_tasks, llama2_task_fn task, void *arg)
{
    runner *r = user;
    r->calls++;
    r->n_tasks = n_tasks;
    if (r->mode == RUN_NOTHING) return 1;
    if (r->mode == RUN_THREADS) return run_on_threads(n_tasks, task, arg);
    for (int32_t i = 0; i < n_tasks; i++) task(arg, i);
    return 0;
}

START_TEST(test_host_runner)
{
    for (int32_t mode = RUN_THREADS; mode <= RUN_NOTHING; mode++) {
        runner r = {.mode = mode};
        llama2_context_options o;
        llama2_context *ctx;
        llama2_context_options_init(&o, sizeof o);
        o.n_threads = 5;
        o.run = run;
        o.run_user = &r;
        ck_ok(llama2_context_create(&o, &ctx));
        counting *c = calloc(1, sizeof *c);
        c->ctx = ctx;
        for (int round = 0; round < 20; round++) {
            l2_parallel(ctx, 100, count, c);
            each_once(c, 100);
        }
        ck_assert_int_eq(r.calls, 20);
        ck_assert_int_eq(r.n_tasks, 5);
        free(c);
        llama2_context_free(ctx);
    }
}
END_TEST

/* --- arithmetic ------------------------------------------------------------------------------ */

static void third(void *arg, int32_t task, int32_t worker)
{
    volatile double one = 1, three = 3;
    (void)worker;
    ((double *)arg)[task] = one / three;
}

START_TEST(test_host_rounding_stays_outside)
{
    volatile double one = 1, three = 3;
    double nearest = one / three, values[64];
    llama2_context *ctx = make_context(NULL, 2);
    fesetround(FE_UPWARD);
    double upward = one / three;
    for (int32_t n = 1; n <= 64; n += 63) {
        memset(values, 0, sizeof values);
        l2_parallel(ctx, n, third, values);
        for (int32_t i = 0; i < n; i++)
            if (values[i] != nearest)
                fesetround(FE_TONEAREST), ck_abort_msg("task %d of %d rounds as the host has set", i, n);
    }
    ck_assert_int_eq(fegetround(), FE_UPWARD);
    fesetround(FE_TONEAREST);
    ck_assert(upward != nearest);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(test_bad_counts)
{
    llama2_context_options o;
    static const int32_t bad[] = {-1, 257, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        llama2_context *ctx = (llama2_context *)&o;
        llama2_context_options_init(&o, sizeof o);
        o.n_threads = bad[i];
        ck_fails(llama2_context_create(&o, &ctx), LLAMA2_E_INVALID);
        ck_assert_ptr_null(ctx);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("base/threads");
    ADD_CASE(s, "pool", test_each_task_once, test_memory_is_seen, test_after_sleep, test_really_parallel, test_signals,
             test_several_host_threads, test_busy_pool);
    ADD_CASE(s, "runner", test_host_runner);
    ADD_CASE(s, "rest", test_host_rounding_stays_outside, test_bad_counts);
    return s;
}
