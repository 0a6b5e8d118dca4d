/* include/llama2/gatt.h */
#include "train/gatt.h"
#include "api/rollouts.h"
#include "base/options.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

static const llama2_gatt_options defaults = {.struct_size = sizeof defaults, .placement = LLAMA2_GATT_SYSTEM};

void llama2_gatt_options_init(llama2_gatt_options *options, size_t size)
{
    l2_options_init(options, size, &defaults, sizeof defaults);
}

llama2_status llama2_gatt_create(llama2_tokenizer *tokenizer, const llama2_gatt_dialogues *dialogues,
                                 const llama2_gatt_options *options, llama2_gatt **out)
{
    llama2_gatt_options o = defaults;
    llama2_gatt_dialogues full = {.struct_size = sizeof full};
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_gatt_create: out is NULL");
    *out = NULL;
    if (!tokenizer || !dialogues)
        return l2_fail(LLAMA2_E_INVALID, "llama2_gatt_create: tokenizer or dialogues is NULL");
    L2_TRY(l2_context_check(tokenizer->ctx));
    L2_TRY(l2_options_read(dialogues, &full, sizeof full, "llama2_gatt_dialogues"));
    L2_TRY(l2_options_read(options, &o, sizeof o, "llama2_gatt_options"));
    return l2_gatt_create(tokenizer, &full, &o, out);
}

void llama2_gatt_free(llama2_gatt *gatt)
{
    l2_gatt_free(gatt);
}

llama2_status llama2_gatt_turn(llama2_gatt *gatt, llama2_model *policy, const llama2_rollout_options *options,
                               llama2_gatt_metrics *metrics)
{
    llama2_rollout_options o;
    llama2_sampling sampling;
    llama2_gatt_metrics full;
    if (!gatt || !policy) return l2_fail(LLAMA2_E_INVALID, "llama2_gatt_turn: gatt or policy is NULL");
    L2_TRY(l2_context_check(policy->ctx));
    L2_TRY(l2_rollout_options_read(options, &o, &sampling));
    L2_TRY(l2_struct_check(metrics, "llama2_gatt_metrics"));
    L2_TRY(l2_gatt_turn(gatt, policy, &o, &full));
    return metrics ? l2_struct_write(metrics, &full, sizeof full, "llama2_gatt_metrics") : LLAMA2_OK;
}

int32_t llama2_gatt_turns_left(const llama2_gatt *gatt)
{
    return gatt ? l2_gatt_turns_left(gatt) : 0;
}

llama2_status llama2_gatt_answer_get(const llama2_gatt *gatt, int32_t dialogue, int32_t turn,
                                     llama2_gatt_answer *answer)
{
    llama2_gatt_answer full;
    if (!gatt || !answer) return l2_fail(LLAMA2_E_INVALID, "llama2_gatt_answer_get: gatt or answer is NULL");
    L2_TRY(l2_gatt_answer(gatt, dialogue, turn, &full));
    return l2_struct_write(answer, &full, sizeof full, "llama2_gatt_answer");
}

llama2_status llama2_gatt_drop(llama2_gatt *gatt, int32_t dialogue)
{
    if (!gatt) return l2_fail(LLAMA2_E_INVALID, "llama2_gatt_drop: gatt is NULL");
    return l2_gatt_drop(gatt, dialogue);
}

llama2_status llama2_gatt_examples(const llama2_gatt *gatt, llama2_rollouts **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_gatt_examples: out is NULL");
    *out = NULL;
    if (!gatt) return l2_fail(LLAMA2_E_INVALID, "llama2_gatt_examples: gatt is NULL");
    L2_TRY(l2_context_check(gatt->ctx));
    return l2_gatt_examples(gatt, out);
}
