/*
 * The pool. One job at a time. A worker that finds nothing to do spins for a while, since the next op of a layer
 * follows within microseconds, and then sleeps. A job doesn't wait for workers that sleep on: it is done when its tasks
 * are done.
 */
#include "base/threads.h"

#include "base/alloc.h"
#include "base/context.h"

#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { MOST_THREADS = 256, SPIN_NANOSECONDS = 100000, CACHE_LINE = 64 };

struct l2_pool {
    int32_t n_workers; /* the caller included */
    int32_t n_threads; /* own threads that were started */
    int64_t spin;      /* nanoseconds */
    llama2_run_fn run;
    void *run_user;
    pid_t pid;
    struct worker *workers;
    pthread_mutex_t mutex;
    pthread_cond_t wake, finished;
    atomic_int sleepers, caller_sleeps, stop;
    atomic_flag busy;

    /* The job. These change only while no task is left, so a worker that takes a task has read those of its job. */
    _Atomic(l2_task) task;
    _Atomic(void *) arg;
    atomic_int n_tasks;

    /* Number of the job (high half) and tasks that nobody has taken (low half): counted down, so that a worker that
     * comes late finds 0. */
    _Alignas(CACHE_LINE) _Atomic uint64_t ticket;
    _Alignas(CACHE_LINE) atomic_int unfinished;
};

struct worker {
    struct l2_pool *pool;
    int32_t index;
    pthread_t thread;
};

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pause_briefly(void)
{
#if defined(__SSE2__)
    for (int i = 0; i < 16; i++) _mm_pause();
#endif
}

/*
 * Arithmetic as the standard begins it: what a host has set (flush to zero, another rounding) must not reach results,
 * and differ between the caller and the workers.
 */
#if defined(__SSE2__)
typedef unsigned arithmetic;
static arithmetic set_arithmetic(void)
{
    unsigned before = _mm_getcsr();
    if (before != 0x1F80) _mm_setcsr(0x1F80);
    return before;
}
static void restore_arithmetic(arithmetic before)
{
    _mm_setcsr(before);
}
#else
typedef fenv_t arithmetic;
static arithmetic set_arithmetic(void)
{
    fenv_t before;
    fegetenv(&before);
    fesetenv(FE_DFL_ENV);
    return before;
}
static void restore_arithmetic(arithmetic before)
{
    fesetenv(&before);
}
#endif

static uint32_t left(const struct l2_pool *p)
{
    return (uint32_t)atomic_load(&p->ticket);
}

/* Takes tasks until none is left. */
static void work(struct l2_pool *p, int32_t worker)
{
    int32_t done = 0;
    uint64_t ticket = atomic_load_explicit(&p->ticket, memory_order_acquire);
    while ((uint32_t)ticket > 0) {
        l2_task task = atomic_load_explicit(&p->task, memory_order_relaxed);
        void *arg = atomic_load_explicit(&p->arg, memory_order_relaxed);
        int32_t n_tasks = atomic_load_explicit(&p->n_tasks, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&p->ticket, &ticket, ticket - 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        task(arg, n_tasks - (int32_t)(uint32_t)ticket, worker);
        done++;
        ticket = atomic_load_explicit(&p->ticket, memory_order_acquire);
    }
    /* The job can't end before this, so all of `done` are of one job. */
    if (done > 0 && atomic_fetch_sub(&p->unfinished, done) == done && atomic_load(&p->caller_sleeps)) {
        pthread_mutex_lock(&p->mutex);
        pthread_cond_signal(&p->finished);
        pthread_mutex_unlock(&p->mutex);
    }
}

/* Until there is a task, or the pool ends (returns 0). */
static int wait_for_work(struct l2_pool *p)
{
    for (int64_t end = p->spin ? now() + p->spin : 0; end > 0 && now() < end; pause_briefly())
        if (left(p) > 0 || atomic_load(&p->stop)) return !atomic_load(&p->stop);
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->sleepers, 1); /* before the look at the ticket: whoever publishes looks in the other order */
    while (left(p) == 0 && !atomic_load(&p->stop)) pthread_cond_wait(&p->wake, &p->mutex);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
    return !atomic_load(&p->stop);
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    set_arithmetic();
    while (wait_for_work(w->pool)) work(w->pool, w->index);
    return NULL;
}

static void wait_for_others(struct l2_pool *p)
{
    for (int64_t end = p->spin ? now() + p->spin : 0; atomic_load(&p->unfinished) > 0 && now() < end;) pause_briefly();
    if (atomic_load(&p->unfinished) == 0) return;
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->caller_sleeps, 1);
    while (atomic_load(&p->unfinished) > 0) pthread_cond_wait(&p->finished, &p->mutex);
    atomic_store(&p->caller_sleeps, 0);
    pthread_mutex_unlock(&p->mutex);
}

static void runner_task(void *arg, int32_t index)
{
    struct l2_pool *p = arg;
    if (index < 0 || index >= p->n_workers) return;
    arithmetic before = set_arithmetic();
    work(p, index);
    restore_arithmetic(before);
}

static void run_job(struct l2_pool *p, int32_t n_tasks, l2_task task, void *arg)
{
    atomic_store_explicit(&p->task, task, memory_order_relaxed);
    atomic_store_explicit(&p->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&p->n_tasks, n_tasks, memory_order_relaxed);
    atomic_store(&p->unfinished, n_tasks);
    uint64_t job = atomic_load_explicit(&p->ticket, memory_order_relaxed) >> 32;
    atomic_store(&p->ticket, (job + 1) << 32 | (uint32_t)n_tasks);
    if (p->run)
        p->run(p->run_user, p->n_workers, runner_task, p);
    else if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->mutex);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mutex);
    }
    work(p, 0); /* with a runner: what one that failed has left */
    wait_for_others(p);
}

void l2_parallel(llama2_context *ctx, int32_t n_tasks, l2_task task, void *arg)
{
    struct l2_pool *p = ctx->pool;
    if (n_tasks <= 0) return;
    arithmetic before = set_arithmetic();
    if (n_tasks == 1 || p->n_workers == 1 || atomic_flag_test_and_set_explicit(&p->busy, memory_order_acquire)) {
        for (int32_t i = 0; i < n_tasks; i++) task(arg, i, 0);
    } else {
        run_job(p, n_tasks, task, arg);
        atomic_flag_clear_explicit(&p->busy, memory_order_release);
    }
    restore_arithmetic(before);
}

int32_t l2_workers(const llama2_context *ctx)
{
    return ctx->pool->n_workers;
}

static int32_t usable_processors(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : n;
}

/* Threads of a library take no signals of the host, but those of their own faults: where one is blocked the system ends
 * the process without asking the host's handler (a mapped file cut short, a crash reporter). A profiler's counts the
 * thread that it comes to. */
static int start_thread(struct worker *w)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGPROF};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&blocked, own[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int failed = pthread_create(&w->thread, NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

llama2_status l2_pool_create(llama2_context *ctx, int32_t n_threads, llama2_run_fn run, void *run_user,
                             struct l2_pool **out)
{
    struct l2_pool *p;
    *out = NULL;
    if (n_threads < 0 || n_threads > MOST_THREADS)
        return l2_fail(LLAMA2_E_INVALID, "n_threads is %d, expected 0 (one a processor) .. %d", n_threads,
                       MOST_THREADS);
    L2_TRY(l2_calloc(ctx, 1, sizeof *p, &p));
    p->n_workers = n_threads > 0 ? n_threads : usable_processors();
    /* More threads than processors: a spinning one would only keep another from its task. */
    p->spin = p->n_workers <= usable_processors() ? SPIN_NANOSECONDS : 0;
    p->run = run;
    p->run_user = run_user;
    p->pid = getpid();
    atomic_flag_clear(&p->busy);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->finished, NULL);
    llama2_status status = l2_calloc(ctx, (size_t)p->n_workers, sizeof *p->workers, &p->workers);
    while (status >= 0 && !run && p->n_threads < p->n_workers - 1) {
        struct worker *w = &p->workers[p->n_threads];
        w->pool = p;
        w->index = p->n_threads + 1;
        if (start_thread(w))
            status = l2_fail(LLAMA2_E_NOMEM, "thread %d of %d could not be started", w->index + 1, p->n_workers);
        else
            p->n_threads++;
    }
    if (status < 0) {
        l2_pool_destroy(ctx, p);
        return status;
    }
    *out = p;
    return LLAMA2_OK;
}

void l2_pool_destroy(llama2_context *ctx, struct l2_pool *p)
{
    if (!p) return;
    /* In a child of fork the threads are not there, and the mutex may be held for ever. */
    if (p->pid == getpid()) {
        pthread_mutex_lock(&p->mutex);
        atomic_store(&p->stop, 1);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mutex);
        for (int32_t i = 0; i < p->n_threads; i++) pthread_join(p->workers[i].thread, NULL);
        pthread_cond_destroy(&p->wake);
        pthread_cond_destroy(&p->finished);
        pthread_mutex_destroy(&p->mutex);
    }
    l2_free(ctx, p->workers);
    l2_free(ctx, p);
}
