/* The tokens that end a text: chat models have several, an end of turn and an end of document. */
#include "model/model.h"

int l2_model_is_eos(const llama2_model *model, int32_t token)
{
    for (int32_t i = 0; i < model->n_eos; i++)
        if (model->eos_ids[i] == token) return 1;
    return 0;
}

llama2_status l2_model_set_eos(llama2_model *model, const int32_t *ids, int32_t n)
{
    int32_t vocab = model->config.vocab_size;
    if (n < 0 || n > L2_MAX_EOS)
        return l2_fail(LLAMA2_E_LIMIT, "%d tokens that end a text, expected 0 to %d", n, L2_MAX_EOS);
    for (int32_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return l2_fail(LLAMA2_E_INVALID, "a text ends with token %d, which is outside the vocabulary of %d", ids[i],
                           vocab);
    model->n_eos = 0;
    for (int32_t i = 0; i < n; i++)
        if (!l2_model_is_eos(model, ids[i])) model->eos_ids[model->n_eos++] = ids[i];
    model->config.eos_id = n > 0 ? ids[0] : -1;
    return LLAMA2_OK;
}
