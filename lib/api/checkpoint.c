/* include/llama2/checkpoint.h */
#include "train/resume.h"

llama2_status llama2_checkpoint_begin(llama2_context *ctx, const char *root, int64_t step, llama2_checkpoint **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_begin: out is NULL");
    *out = NULL;
    if (!ctx || !root || step < 0)
        return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_begin: ctx or root is NULL, or step is below 0");
    L2_TRY(l2_context_check(ctx));
    return l2_resume_begin(ctx, root, step, out);
}

llama2_status llama2_checkpoint_add_trainer(llama2_checkpoint *checkpoint, const char *name,
                                            const llama2_trainer *trainer)
{
    if (!checkpoint || !name || !trainer)
        return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_add_trainer: an argument is NULL");
    return l2_resume_add_trainer(checkpoint, name, trainer);
}

llama2_status llama2_checkpoint_add_rollouts(llama2_checkpoint *checkpoint, const char *name,
                                             const llama2_rollouts *rollouts)
{
    if (!checkpoint || !name || !rollouts)
        return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_add_rollouts: an argument is NULL");
    return l2_resume_add_rollouts(checkpoint, name, rollouts);
}

llama2_status llama2_checkpoint_add_bytes(llama2_checkpoint *checkpoint, const char *name, const void *data,
                                          size_t size)
{
    if (!checkpoint || !name || (!data && size > 0))
        return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_add_bytes: an argument is NULL");
    return l2_resume_add_bytes(checkpoint, name, data, size);
}

llama2_status llama2_checkpoint_commit(llama2_checkpoint *checkpoint, int32_t keep)
{
    if (!checkpoint) return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_commit: checkpoint is NULL");
    L2_TRY(l2_context_check(checkpoint->ctx));
    return l2_resume_commit(checkpoint, keep);
}

llama2_status llama2_checkpoint_open(llama2_context *ctx, const char *root, int64_t step, llama2_checkpoint **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_open: out is NULL");
    *out = NULL;
    if (!ctx || !root || step < -1)
        return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_open: ctx or root is NULL, or step is below -1");
    L2_TRY(l2_context_check(ctx));
    return l2_resume_open(ctx, root, step, out);
}

int64_t llama2_checkpoint_step(const llama2_checkpoint *checkpoint)
{
    return checkpoint ? checkpoint->step : -1;
}

llama2_status llama2_checkpoint_get_trainer(llama2_checkpoint *checkpoint, const char *name, llama2_trainer *trainer)
{
    if (!checkpoint || !name || !trainer)
        return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_get_trainer: an argument is NULL");
    L2_TRY(l2_context_check(checkpoint->ctx));
    return l2_resume_get_trainer(checkpoint, name, trainer);
}

llama2_status llama2_checkpoint_get_rollouts(llama2_checkpoint *checkpoint, const char *name, llama2_rollouts **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_get_rollouts: out is NULL");
    *out = NULL;
    if (!checkpoint || !name) return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_get_rollouts: an argument is NULL");
    return l2_resume_get_rollouts(checkpoint, name, out);
}

llama2_status llama2_checkpoint_get_bytes(llama2_checkpoint *checkpoint, const char *name, void *buffer,
                                          size_t capacity, size_t *needed)
{
    if (!checkpoint || !name || (!buffer && capacity > 0))
        return l2_fail(LLAMA2_E_INVALID, "llama2_checkpoint_get_bytes: an argument is NULL");
    llama2_status status = l2_resume_get_bytes(checkpoint, name, buffer, capacity, needed);
    return status == LLAMA2_E_BUFFER && !buffer ? LLAMA2_OK : status; /* only counted */
}

void llama2_checkpoint_free(llama2_checkpoint *checkpoint)
{
    l2_resume_free(checkpoint);
}
