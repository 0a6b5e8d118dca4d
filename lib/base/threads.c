/*
 * The pool. One job at a time: workers take task numbers from a counter. A worker that has nothing to do spins for a while, since the next op of a layer
 * follows within microseconds, and then sleeps.
 */
#include "base/threads.h"

#include "base/alloc.h"
#include "base/context.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

enum { MOST_THREADS = 256, SPINS = 20000 };

struct l2_pool {
    int32_t n_workers; /* the caller included */
    llama2_run_fn run;
    void *run_user;
    pid_t pid;
    int32_t n_threads; /* own threads that were started */
    pthread_t *threads;

    atomic_flag busy;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_uint generation; /* of the job; changes wake workers */
    atomic_int stop;

    l2_task task;
    void *arg;
    int32_t n_tasks;
    atomic_int next;      /* task to take */
    atomic_int running;   /* own threads that have not finished this job */
    atomic_int next_worker;
};

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void work(struct l2_pool *p, int32_t worker)
{
    for (;;) {
        int32_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->n_tasks) return;
        p->task(p->arg, i, worker);
    }
}

static void *thread_main(void *arg)
{
    struct l2_pool *p = arg;
    int32_t worker = atomic_fetch_add(&p->next_worker, 1);
    unsigned seen = 0;
    for (;;) {
        int spins = 0;
        while (atomic_load_explicit(&p->generation, memory_order_acquire) == seen && spins++ < SPINS) pause_briefly();
        if (atomic_load_explicit(&p->generation, memory_order_acquire) == seen) {
            pthread_mutex_lock(&p->mutex);
            while (atomic_load_explicit(&p->generation, memory_order_acquire) == seen) pthread_cond_wait(&p->wake, &p->mutex);
            pthread_mutex_unlock(&p->mutex);
        }
        seen = atomic_load_explicit(&p->generation, memory_order_acquire);
        if (atomic_load_explicit(&p->stop, memory_order_relaxed)) return NULL;
        work(p, worker);
        atomic_fetch_sub_explicit(&p->running, 1, memory_order_release);
    }
}

static void new_generation(struct l2_pool *p)
{
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add_explicit(&p->generation, 1, memory_order_release);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

static void runner_task(void *arg, int32_t index)
{
    work(arg, index);
}

void l2_parallel(llama2_context *ctx, int32_t n_tasks, l2_task task, void *arg)
{
    struct l2_pool *p = ctx->pool;
    if (n_tasks <= 0) return;
    if (n_tasks == 1 || p->n_workers == 1 || atomic_flag_test_and_set_explicit(&p->busy, memory_order_acquire)) {
        for (int32_t i = 0; i < n_tasks; i++) task(arg, i, 0);
        return;
    }
    p->task = task;
    p->arg = arg;
    p->n_tasks = n_tasks;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    if (p->run) {
        p->run(p->run_user, p->n_workers, runner_task, p);
        work(p, 0); /* whatever a runner that failed has left */
    } else {
        atomic_store_explicit(&p->running, p->n_threads, memory_order_relaxed);
        new_generation(p);
        work(p, 0);
        for (int spins = 0; atomic_load_explicit(&p->running, memory_order_acquire) > 0; spins++) {
            if (spins < SPINS)
                pause_briefly();
            else
                sched_yield();
        }
    }
    atomic_flag_clear_explicit(&p->busy, memory_order_release);
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

/* Threads of a library take no signals of the host. */
static int start_thread(pthread_t *thread, struct l2_pool *p)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, thread_main, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

llama2_status l2_pool_create(llama2_context *ctx, int32_t n_threads, llama2_run_fn run, void *run_user, struct l2_pool **out)
{
    struct l2_pool *p;
    *out = NULL;
    if (n_threads < 0 || n_threads > MOST_THREADS)
        return l2_fail(LLAMA2_E_INVALID, "n_threads is %d, expected 0 (one a processor) .. %d", n_threads, MOST_THREADS);
    L2_TRY(l2_calloc(ctx, 1, sizeof *p, &p));
    p->n_workers = n_threads > 0 ? n_threads : usable_processors();
    p->run = run;
    p->run_user = run_user;
    p->pid = getpid();
    atomic_flag_clear(&p->busy);
    atomic_init(&p->next_worker, 1);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    llama2_status status = l2_calloc(ctx, (size_t)p->n_workers, sizeof *p->threads, &p->threads);
    while (status >= 0 && !run && p->n_threads < p->n_workers - 1) {
        if (start_thread(&p->threads[p->n_threads], p))
            status = l2_fail(LLAMA2_E_NOMEM, "thread %d of %d could not be started", p->n_threads + 2, p->n_workers);
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
        atomic_store(&p->stop, 1);
        new_generation(p);
        for (int32_t i = 0; i < p->n_threads; i++) pthread_join(p->threads[i], NULL);
        pthread_cond_destroy(&p->wake);
        pthread_mutex_destroy(&p->mutex);
    }
    l2_free(ctx, p->threads);
    l2_free(ctx, p);
}
