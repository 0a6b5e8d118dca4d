/* What the chat formats share: messages as stretches of text, and where ids and their weights go. */
#ifndef L2_TOKENIZER_CHAT_H
#define L2_TOKENIZER_CHAT_H

#include "tokenizer/tokenizer.h"
#include <string.h>

typedef struct l2_span {
    const char *text;
    size_t length;
} l2_span;

static inline l2_span l2_span_of(const char *text)
{
    return (l2_span){text, strlen(text)};
}

static inline l2_span l2_chat_message(const llama2_chat *chat, int32_t i)
{
    return (l2_span){chat->texts[i], chat->lengths ? chat->lengths[i] : strlen(chat->texts[i])};
}

/* Without white space at both ends, as Python's str.strip() and Jinja's trim see it. */
l2_span l2_chat_strip(l2_span s);
const char *l2_chat_role_name(int32_t role);
/* An optional system message, then user and assistant in turn; flags: as of llama2_chat_encode. */
llama2_status l2_chat_check_roles(const llama2_chat *chat, uint32_t flags);

static inline char *l2_chat_put(char *to, l2_span s)
{
    if (s.length) memcpy(to, s.text, s.length);
    return to + s.length;
}

static inline void l2_chat_weigh(float *weights, int64_t capacity, int64_t from, int64_t to, float value)
{
    for (int64_t t = from; weights && t < to && t < capacity; ++t) weights[t] = value;
}

/* chat_turns.c: ChatML, Llama 3, Zephyr. The texts that no message may hold end with NULL. */
const char *const *l2_chat_turn_markers(const llama2_tokenizer *tok);
llama2_status l2_chat_encode_turns(const llama2_tokenizer *tok, const llama2_chat *chat, uint32_t flags, l2_ids *out,
                                   float *weights);

#endif
