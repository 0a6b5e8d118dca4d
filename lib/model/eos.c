/* The tokens that end a text: chat models have several, an end of turn and an end of document. */
#include "base/alloc.h"
#include "model/model.h"

const l2_eos *l2_model_eos(const llama2_model *model)
{
    return atomic_load_explicit(&model->eos, memory_order_acquire);
}

static int has(const l2_eos *eos, int32_t token)
{
    for (int32_t i = 0; i < eos->n; i++)
        if (eos->ids[i] == token) return 1;
    return 0;
}

int l2_model_is_eos(const llama2_model *model, int32_t token)
{
    return has(l2_model_eos(model), token);
}

llama2_config l2_model_config(const llama2_model *model)
{
    const l2_eos *eos = l2_model_eos(model);
    llama2_config config = model->config;
    config.eos_id = eos->n > 0 ? eos->ids[0] : -1;
    return config;
}

llama2_status l2_model_set_eos(llama2_model *model, const int32_t *ids, int32_t n)
{
    int32_t vocab = model->config.vocab_size;
    l2_eos *eos;
    if (n < 0 || n > L2_MAX_EOS)
        return l2_fail(LLAMA2_E_LIMIT, "%d tokens that end a text, expected 0 to %d", n, L2_MAX_EOS);
    for (int32_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return l2_fail(LLAMA2_E_INVALID, "a text ends with token %d, which is outside the vocabulary of %d", ids[i],
                           vocab);
    L2_TRY(l2_calloc(model->ctx, 1, sizeof *eos, &eos));
    for (int32_t i = 0; i < n; i++)
        if (!has(eos, ids[i])) eos->ids[eos->n++] = ids[i];
    eos->before = atomic_load_explicit(&model->eos, memory_order_relaxed);
    atomic_store_explicit(&model->eos, eos, memory_order_release);
    return LLAMA2_OK;
}

void l2_model_free_eos(llama2_model *model)
{
    l2_eos *eos = atomic_load_explicit(&model->eos, memory_order_relaxed);
    while (eos) {
        l2_eos *before = eos->before;
        l2_free(model->ctx, eos);
        eos = before;
    }
}
