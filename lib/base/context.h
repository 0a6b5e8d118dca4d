/* The context: what all layers share. Made by lib/api/context.c. */
#ifndef L2_BASE_CONTEXT_H
#define L2_BASE_CONTEXT_H

#include <llama2/context.h>
#include <stdatomic.h>
#include <sys/types.h>

struct l2_pool;
struct l2_scratch;
struct l2_file_ops;
struct l2_kernels;

struct llama2_context {
    atomic_int references;
    atomic_int cancelled;
    pid_t pid; /* of the maker: after a fork the pool's threads are gone */
    uint64_t seed;
    llama2_alloc_fn alloc;
    llama2_dealloc_fn dealloc;
    void *alloc_user;
    llama2_log_fn log;
    void *log_user;
    struct l2_pool *pool;
    struct l2_scratch *scratch;
    const struct l2_file_ops *files;      /* replaced by tests that let files fail */
    const struct l2_kernels *kernels_f32; /* chosen by cpuid; see lib/math/kernels.h */
    const struct l2_kernels *kernels_f64;
    int32_t gemm; /* LLAMA2_GEMM_* */
    char description[96];
};

llama2_context *l2_context_retain(llama2_context *ctx);
void l2_context_release(llama2_context *ctx);

/* LLAMA2_E_CANCELLED, LLAMA2_E_FORKED or OK: called at the start of API functions that work, and between layers and
 * steps. */
llama2_status l2_context_check(const llama2_context *ctx);
/* LLAMA2_E_FORKED or OK: of calls that also work while the context is cancelled. A forked child has no pool to run
 * their ops. */
llama2_status l2_context_check_fork(const llama2_context *ctx);

void l2_log(llama2_context *ctx, int32_t level, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#endif
