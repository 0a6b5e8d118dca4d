/* Threads of a context: one pool, or the host's runner. */
#ifndef L2_BASE_THREADS_H
#define L2_BASE_THREADS_H

#include "base/status.h"
#include <llama2/context.h>

struct l2_pool;

/* `worker` is in [0, l2_workers(ctx)): an index for scratch memory. What a task computes must not depend on it. */
typedef void (*l2_task)(void *arg, int32_t task, int32_t worker);

/*
 * Runs n_tasks tasks; they are taken in rising order by whichever worker is free; returns when all are done. A pool
 * that is at work for another host thread is not waited for: the caller then runs all tasks itself, as worker 0. Tasks
 * can't fail and don't call l2_parallel.
 */
void l2_parallel(llama2_context *ctx, int32_t n_tasks, l2_task task, void *arg);
int32_t l2_workers(const llama2_context *ctx);

/* n_threads 0: one a usable processor. A `run` makes the host's runner do the work with n_threads workers. */
llama2_status l2_pool_create(llama2_context *ctx, int32_t n_threads, llama2_run_fn run, void *run_user,
                             struct l2_pool **out);
void l2_pool_destroy(llama2_context *ctx, struct l2_pool *pool);

#endif
