/* include/llama2/rejection.h */
#include "train/rejection.h"
#include "base/options.h"

static const llama2_pool_add_options defaults = {
    .struct_size = sizeof defaults, .keep = 1, .leave_out_unsafe = 1, .unsafe_below = 0.15, .leave_out_unfinished = 1};

void llama2_pool_add_options_init(llama2_pool_add_options *options, size_t size)
{
    l2_options_init(options, size, &defaults, sizeof defaults);
}

llama2_status llama2_pool_create(llama2_context *ctx, llama2_pool **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_create: out is NULL");
    *out = NULL;
    if (!ctx) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_create: ctx is NULL");
    return l2_sample_pool_create(ctx, out);
}

void llama2_pool_free(llama2_pool *pool)
{
    l2_sample_pool_free(pool);
}

llama2_status llama2_pool_add(llama2_pool *pool, const llama2_rollouts *rollouts, const uint64_t *prompt_ids,
                              const llama2_pool_add_options *options, llama2_pool_metrics *metrics)
{
    llama2_pool_add_options o = defaults;
    llama2_pool_metrics full;
    if (!pool || !rollouts || !prompt_ids)
        return l2_fail(LLAMA2_E_INVALID, "llama2_pool_add: pool, rollouts or prompt_ids is NULL");
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_pool_add_options"));
    L2_TRY(l2_struct_check(metrics, "llama2_pool_metrics"));
    L2_TRY(l2_sample_pool_add(pool, rollouts, prompt_ids, &o, &full));
    return metrics ? l2_struct_write(metrics, &full, sizeof full, "llama2_pool_metrics") : LLAMA2_OK;
}

llama2_status llama2_pool_count(const llama2_pool *pool, int32_t first, int32_t last, int64_t *count)
{
    return llama2_pool_count_top(pool, first, last, 1, count);
}

llama2_status llama2_pool_best(const llama2_pool *pool, int32_t first, int32_t last, int64_t index,
                               llama2_pool_sample *sample)
{
    return llama2_pool_top(pool, first, last, 1, index, sample);
}

llama2_status llama2_pool_count_top(const llama2_pool *pool, int32_t first, int32_t last, int32_t top, int64_t *count)
{
    if (!pool || !count) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_count_top: pool or count is NULL");
    return l2_sample_pool_count(pool, first, last, top, count);
}

llama2_status llama2_pool_top(const llama2_pool *pool, int32_t first, int32_t last, int32_t top, int64_t index,
                              llama2_pool_sample *sample)
{
    llama2_pool_sample full;
    if (!pool || !sample) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_top: pool or sample is NULL");
    L2_TRY(l2_sample_pool_get_best(pool, first, last, top, index, &full));
    return l2_struct_write(sample, &full, sizeof full, "llama2_pool_sample");
}

llama2_status llama2_pool_size(const llama2_pool *pool, int64_t *size)
{
    if (!pool || !size) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_size: pool or size is NULL");
    *size = pool->n;
    return LLAMA2_OK;
}

llama2_status llama2_pool_get(const llama2_pool *pool, int64_t index, llama2_pool_sample *sample)
{
    llama2_pool_sample full;
    if (!pool || !sample) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_get: pool or sample is NULL");
    L2_TRY(l2_sample_pool_get(pool, index, &full));
    return l2_struct_write(sample, &full, sizeof full, "llama2_pool_sample");
}

llama2_status llama2_pool_rollouts(const llama2_pool *pool, llama2_rollouts **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_rollouts: out is NULL");
    *out = NULL;
    if (!pool) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_rollouts: pool is NULL");
    L2_TRY(l2_context_check(pool->ctx));
    return l2_sample_pool_rollouts(pool, out);
}

llama2_status llama2_pool_rescore(llama2_pool *pool, const llama2_rollouts *scored,
                                  const llama2_pool_add_options *options)
{
    llama2_pool_add_options o = defaults;
    if (!pool || !scored) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_rescore: pool or scored is NULL");
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_pool_add_options"));
    return l2_sample_pool_rescore(pool, scored, &o);
}

llama2_status llama2_pool_save(const llama2_pool *pool, const char *path)
{
    if (!pool || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_save: pool or path is NULL");
    L2_TRY(l2_context_check(pool->ctx));
    return l2_sample_pool_save(pool, path);
}

llama2_status llama2_pool_load(llama2_context *ctx, const char *path, llama2_pool **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_load: out is NULL");
    *out = NULL;
    if (!ctx || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_pool_load: ctx or path is NULL");
    L2_TRY(l2_context_check(ctx));
    return l2_sample_pool_load(ctx, path, out);
}
