/*
 * Context: where memory, threads, log messages and the seed come from. Every other handle is made from one and keeps it
 * alive.
 *
 * Results do not depend on what the calling thread has set for subnormal numbers. A thread that rounds otherwise than
 * to nearest sets that back for the calls: small sums, and numbers read from files, are made on it.
 */
#ifndef LLAMA2_CONTEXT_H
#define LLAMA2_CONTEXT_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LLAMA2_LOG_ERROR = 0, LLAMA2_LOG_WARN = 1, LLAMA2_LOG_INFO = 2, LLAMA2_LOG_DEBUG = 3 };

/* Who multiplies matrices. BUILTIN keeps the promise of equal bits for any thread count; CBLAS does not. */
enum { LLAMA2_GEMM_BUILTIN = 0, LLAMA2_GEMM_CBLAS = 1 };

/* Instruction sets. AUTO takes the best that the processor has. */
enum { LLAMA2_ISA_AUTO = 0, LLAMA2_ISA_SCALAR = 1, LLAMA2_ISA_AVX2 = 2, LLAMA2_ISA_AVX512 = 3 };

/* Returns `size` bytes aligned to `alignment` (a power of two), or NULL. Called from any thread. */
typedef void *(*llama2_alloc_fn)(void *user, size_t size, size_t alignment);
typedef void (*llama2_dealloc_fn)(void *user, void *ptr);

/* `message` is valid during the call only. Called from any thread that uses the context. */
typedef void (*llama2_log_fn)(void *user, int32_t level, const char *message, size_t length);

/*
 * The host's threads at work: runs task(arg, 0) ... task(arg, n_tasks - 1), each once, possibly in parallel, and
 * returns when all have returned. n_tasks is the number of workers (n_threads of the options) and not of pieces of
 * work: the workers share those out among themselves, so that one that comes late, or never, costs time and no result.
 * What a worker leaves undone the calling thread does afterwards. The result is therefore not looked at: a host that
 * can't get its threads may return at once, with any number.
 */
typedef void (*llama2_task_fn)(void *arg, int32_t index);
typedef int32_t (*llama2_run_fn)(void *user, int32_t n_tasks, llama2_task_fn task, void *arg);

typedef struct llama2_context_options {
    uint32_t struct_size;
    int32_t n_threads;     /* workers, 1 .. 256, or INVALID; 0: one a processor that this process may use (default) */
    uint64_t seed;         /* of the weights that llama2_model_create and a new head draw; what samples or shuffles has
                              a seed of its own; default 0 */
    llama2_alloc_fn alloc; /* NULL: the C library's (default); alloc and dealloc go together */
    llama2_dealloc_fn dealloc;
    void *alloc_user;
    llama2_log_fn log; /* NULL: messages are dropped (default) */
    void *log_user;
    llama2_run_fn run; /* NULL: the library's own threads (default) */
    void *run_user;
    int32_t gemm; /* LLAMA2_GEMM_*; default BUILTIN */
    int32_t isa;  /* LLAMA2_ISA_*; default AUTO; one that the processor lacks is LLAMA2_E_UNSUPPORTED */
} llama2_context_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_context_options_init(llama2_context_options *options, size_t size);

/* Makes a context. `options` may be NULL. Errors: NOMEM, INVALID, UNSUPPORTED, ABI. Since 0.1. */
LLAMA2_API llama2_status llama2_context_create(const llama2_context_options *options, llama2_context **out);

/* Drops the caller's reference. Handles made from the context keep it alive until they are freed. Since 0.1. */
LLAMA2_API void llama2_context_free(llama2_context *ctx);

/*
 * Makes running and coming calls on this context return LLAMA2_E_CANCELLED soon, until llama2_context_resume(). From
 * any thread; also from a signal handler. A cancelled call leaves its objects usable, but a checkpoint that is being
 * written may have to be freed and begun again. Loading and creating a model look at it between tensors. What is
 * writing weights that are in memory (llama2_model_save, llama2_checkpoint_add_trainer) goes on to its end;
 * what is to be saved after a cancel needs llama2_context_resume() first. Since 0.1.
 */
LLAMA2_API void llama2_context_cancel(llama2_context *ctx);
LLAMA2_API void llama2_context_resume(llama2_context *ctx);

/* Number of threads that work for this context. Since 0.1. */
LLAMA2_API int32_t llama2_context_threads(const llama2_context *ctx);

/* What the context computes with, e.g. "builtin avx512, 2 threads"; valid as long as the context. Since 0.1. */
LLAMA2_API const char *llama2_context_describe(const llama2_context *ctx);

#ifdef __cplusplus
}
#endif

#endif
