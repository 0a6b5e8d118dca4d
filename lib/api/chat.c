/* include/llama2/chat.h: arguments checked; the work is done in lib/tokenizer/chat.c. */
#include "base/context.h"
#include "base/options.h"
#include "tokenizer/tokenizer.h"

static const llama2_chat chat_defaults = {.struct_size = sizeof chat_defaults};

_Static_assert(sizeof(void *) != 8 || sizeof(llama2_chat) == 48, "ABI");
_Static_assert(LLAMA2_ROLE_SYSTEM == 0 && LLAMA2_ROLE_USER == 1 && LLAMA2_ROLE_ASSISTANT == 2 &&
                   LLAMA2_CHAT_COMPLETE == 1 && LLAMA2_CHAT_TO_END == 2,
               "ABI");

void llama2_chat_init(llama2_chat *chat, size_t size)
{
    l2_options_init(chat, size, &chat_defaults, sizeof chat_defaults);
}

llama2_status llama2_chat_encode(const llama2_tokenizer *tokenizer, const llama2_chat *chat, uint32_t flags,
                                 int32_t *ids, float *weights, int64_t capacity, int64_t *needed)
{
    static const char call[] = "llama2_chat_encode";
    llama2_chat full = chat_defaults;
    if (!tokenizer || !chat) return l2_fail(LLAMA2_E_INVALID, "%s: %s is NULL", call, tokenizer ? "chat" : "tokenizer");
    L2_TRY(l2_context_check(tokenizer->ctx));
    L2_TRY(l2_options_read(chat, &full, sizeof full, "llama2_chat"));
    if (full.n_messages < 0 || (full.n_messages > 0 && (!full.roles || !full.texts)))
        return l2_fail(LLAMA2_E_INVALID, "%s: n_messages is %d, or roles or texts is NULL", call, (int)full.n_messages);
    if (flags & ~(uint32_t)(LLAMA2_CHAT_COMPLETE | LLAMA2_CHAT_TO_END))
        return l2_fail(LLAMA2_E_INVALID, "%s: unknown flags %#x", call, (unsigned)flags);
    if (flags == LLAMA2_CHAT_TO_END)
        return l2_fail(LLAMA2_E_INVALID, "%s: LLAMA2_CHAT_TO_END goes with LLAMA2_CHAT_COMPLETE", call);
    if (capacity < 0 || (!ids && (capacity || weights)))
        return l2_fail(LLAMA2_E_INVALID, "%s: capacity %lld does not fit ids and weights; both NULL goes with 0", call,
                       (long long)capacity);
    l2_ids out = {.ids = ids, .capacity = capacity};
    L2_TRY(l2_chat_encode(tokenizer, &full, flags, &out, weights));
    if (needed) *needed = out.count;
    if (out.count > capacity && ids)
        return l2_fail(LLAMA2_E_BUFFER, "%s: room for %lld ids, %lld are needed", call, (long long)capacity,
                       (long long)out.count);
    return LLAMA2_OK;
}
