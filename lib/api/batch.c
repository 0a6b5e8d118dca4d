/* include/llama2/batch.h */
#include "base/options.h"
#include "train/packing.h"

static const llama2_packer_options packer_defaults = {.struct_size = sizeof packer_defaults};

void llama2_packer_options_init(llama2_packer_options *options, size_t size)
{
    l2_options_init(options, size, &packer_defaults, sizeof packer_defaults);
}

llama2_status llama2_packer_create(llama2_context *ctx, const llama2_packer_options *options, llama2_packer **out)
{
    llama2_packer_options o = packer_defaults;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_packer_create: out is NULL");
    *out = NULL;
    if (!ctx) return l2_fail(LLAMA2_E_INVALID, "llama2_packer_create: ctx is NULL");
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_packer_options"));
    return l2_packer_create(ctx, &o, out);
}

void llama2_packer_free(llama2_packer *packer)
{
    l2_packer_free(packer);
}

llama2_status llama2_packer_add(llama2_packer *packer, const int32_t *tokens, const float *weights, int64_t n)
{
    if (!packer || !tokens) return l2_fail(LLAMA2_E_INVALID, "llama2_packer_add: packer or tokens is NULL");
    return l2_packer_add(packer, tokens, weights, n);
}

llama2_status llama2_packer_batch(const llama2_packer *packer, llama2_batch *batch)
{
    llama2_batch full;
    if (!packer || !batch) return l2_fail(LLAMA2_E_INVALID, "llama2_packer_batch: packer or batch is NULL");
    L2_TRY(l2_packer_batch(packer, &full));
    return l2_struct_write(batch, &full, sizeof full, "llama2_batch");
}

void llama2_packer_clear(llama2_packer *packer)
{
    if (packer) l2_packer_clear(packer);
}

int64_t llama2_packer_tokens(const llama2_packer *packer)
{
    return packer ? packer->n_tokens : 0;
}

int64_t llama2_packer_cut(const llama2_packer *packer)
{
    return packer ? packer->cut : 0;
}
