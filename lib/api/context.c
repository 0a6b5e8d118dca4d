/* include/llama2/context.h */
#include "base/context.h"

#include "base/alloc.h"
#include "base/files.h"
#include "base/options.h"
#include "base/threads.h"
#include "math/gemm.h"
#include "math/kernels.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const llama2_context_options defaults = {.struct_size = sizeof defaults};

void llama2_context_options_init(llama2_context_options *options, size_t size)
{
    l2_options_init(options, size, &defaults, sizeof defaults);
}

llama2_status llama2_context_create(const llama2_context_options *options, llama2_context **out)
{
    llama2_context_options o = defaults;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_context_create: out is NULL");
    *out = NULL;
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_context_options"));
    if (!o.alloc != !o.dealloc)
        return l2_fail(LLAMA2_E_INVALID, "llama2_context_options: alloc and dealloc go together");
    if (o.gemm != LLAMA2_GEMM_BUILTIN && o.gemm != LLAMA2_GEMM_CBLAS)
        return l2_fail(LLAMA2_E_INVALID,
                       "llama2_context_options: gemm is %d, expected LLAMA2_GEMM_BUILTIN or LLAMA2_GEMM_CBLAS", o.gemm);
    if (o.gemm == LLAMA2_GEMM_CBLAS && !l2_gemm_has_cblas())
        return l2_fail(LLAMA2_E_UNSUPPORTED, "llama2_context_options: this build has no CBLAS (LLAMA2_CBLAS was off); "
                                             "LLAMA2_GEMM_BUILTIN is always there");
    if (o.isa < LLAMA2_ISA_AUTO || o.isa > LLAMA2_ISA_AVX512)
        return l2_fail(LLAMA2_E_INVALID, "llama2_context_options: isa is %d, expected one of LLAMA2_ISA_*", o.isa);
    const l2_kernels *kernels = l2_kernels_select(o.isa);
    if (!kernels)
        return l2_fail(LLAMA2_E_UNSUPPORTED,
                       "llama2_context_options: this processor or build lacks the instruction set %d; LLAMA2_ISA_AUTO "
                       "takes the best",
                       o.isa);

    llama2_alloc_fn alloc = o.alloc ? o.alloc : l2_system_alloc;
    llama2_context *ctx = alloc(o.alloc_user, (sizeof *ctx + 63) / 64 * 64, 64);
    if (!ctx) return l2_fail(LLAMA2_E_NOMEM, "out of memory: %zu bytes", sizeof *ctx);
    memset(ctx, 0, sizeof *ctx);
    atomic_init(&ctx->references, 1);
    ctx->pid = getpid();
    ctx->seed = o.seed;
    ctx->alloc = alloc;
    ctx->dealloc = o.dealloc ? o.dealloc : l2_system_dealloc;
    ctx->alloc_user = o.alloc_user;
    ctx->log = o.log;
    ctx->log_user = o.log_user;
    ctx->files = &l2_posix_files;
    ctx->kernels_f32 = kernels;
    ctx->kernels_f64 = &l2_kernels_double;
    ctx->gemm = o.gemm;
    llama2_status status = LLAMA2_OK;
    ctx->scratch = l2_scratch_create(ctx);
    if (!ctx->scratch) status = LLAMA2_E_NOMEM;
    if (status >= 0) status = l2_pool_create(ctx, o.n_threads, o.run, o.run_user, &ctx->pool);
    if (status < 0) {
        l2_context_release(ctx);
        return status;
    }
    int32_t n = l2_workers(ctx);
    snprintf(ctx->description, sizeof ctx->description, "%s %s, %d thread%s",
             o.gemm == LLAMA2_GEMM_CBLAS ? "cblas" : "builtin", kernels->name, n, n == 1 ? "" : "s");
    *out = ctx;
    return LLAMA2_OK;
}

void llama2_context_free(llama2_context *ctx)
{
    l2_context_release(ctx);
}

void llama2_context_cancel(llama2_context *ctx)
{
    if (ctx) atomic_store_explicit(&ctx->cancelled, 1, memory_order_relaxed);
}

void llama2_context_resume(llama2_context *ctx)
{
    if (ctx) atomic_store_explicit(&ctx->cancelled, 0, memory_order_relaxed);
}

int32_t llama2_context_threads(const llama2_context *ctx)
{
    return ctx ? l2_workers(ctx) : 0;
}

const char *llama2_context_describe(const llama2_context *ctx)
{
    return ctx ? ctx->description : "";
}
