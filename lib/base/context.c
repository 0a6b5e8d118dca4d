#include "base/context.h"

#include "base/alloc.h"
#include "base/threads.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

llama2_context *l2_context_retain(llama2_context *ctx)
{
    atomic_fetch_add_explicit(&ctx->references, 1, memory_order_relaxed);
    return ctx;
}

void l2_context_release(llama2_context *ctx)
{
    if (!ctx || atomic_fetch_sub_explicit(&ctx->references, 1, memory_order_acq_rel) != 1) return;
    l2_pool_destroy(ctx, ctx->pool);
    l2_scratch_destroy(ctx, ctx->scratch);
    ctx->dealloc(ctx->alloc_user, ctx);
}

llama2_status l2_context_check_fork(const llama2_context *ctx)
{
    if (getpid() == ctx->pid) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_FORKED, "the context was made before fork(); make one in the child");
}

llama2_status l2_context_check(const llama2_context *ctx)
{
    if (atomic_load_explicit(&ctx->cancelled, memory_order_relaxed))
        return l2_fail(LLAMA2_E_CANCELLED,
                       "cancelled by llama2_context_cancel; llama2_context_resume allows calls again");
    return l2_context_check_fork(ctx);
}

void l2_log(llama2_context *ctx, int32_t level, const char *format, ...)
{
    char text[1024];
    if (!ctx->log) return;
    va_list args;
    va_start(args, format);
    int n = l2_format(text, sizeof text, format, args);
    va_end(args);
    if (n < 0) return;
    ctx->log(ctx->log_user, level, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}
