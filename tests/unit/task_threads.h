/* A host's runner: a thread for each task. */
#ifndef TASK_THREADS_H
#define TASK_THREADS_H

#include <llama2/llama2.h>
#include <pthread.h>

enum { TASK_THREADS = 8 };

typedef struct task_thread {
    pthread_t thread;
    llama2_task_fn task;
    void *arg;
    int32_t index;
} task_thread;

static inline void *task_thread_main(void *arg)
{
    task_thread *t = arg;
    t->task(t->arg, t->index);
    return NULL;
}

/* 0, or 1 where not all could be begun; those that were have ended. */
static inline int32_t run_on_threads(int32_t n_tasks, llama2_task_fn task, void *arg)
{
    task_thread threads[TASK_THREADS];
    int32_t begun = 0;
    while (begun < n_tasks && begun < TASK_THREADS) {
        threads[begun] = (task_thread){.task = task, .arg = arg, .index = begun};
        if (pthread_create(&threads[begun].thread, NULL, task_thread_main, &threads[begun]) != 0) break;
        begun++;
    }
    for (int32_t i = 0; i < begun; i++) pthread_join(threads[i].thread, NULL);
    return begun < n_tasks;
}

#endif
