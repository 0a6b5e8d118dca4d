/* What the tests of chat formats share: dialogues, and rows of goldens with their ids and weights. */
#ifndef CHAT_TEST_H
#define CHAT_TEST_H

#include "tokenizer_test.h"

enum { MOST = 8, ROOM = 512, S = LLAMA2_ROLE_SYSTEM, U = LLAMA2_ROLE_USER, A = LLAMA2_ROLE_ASSISTANT };

typedef struct dialogue {
    const char *name;
    int32_t roles[MOST];
    const char *texts[MOST]; /* NULL after the last */
} dialogue;

static inline llama2_chat chat_of(const dialogue *d)
{
    llama2_chat chat;
    llama2_chat_init(&chat, sizeof chat);
    chat.roles = d->roles;
    chat.texts = d->texts;
    while (chat.n_messages < MOST && d->texts[chat.n_messages]) ++chat.n_messages;
    return chat;
}

static inline uint32_t flags_of(const llama2_chat *chat)
{
    return chat->roles[chat->n_messages - 1] == A ? LLAMA2_CHAT_COMPLETE : 0;
}

/* ids and weights (may be NULL): ROOM of them. */
static inline llama2_status encode_chat(const llama2_tokenizer *tok, const dialogue *d, const char *date, int32_t *ids,
                                        float *weights, int64_t *n)
{
    llama2_chat chat = chat_of(d);
    chat.date = date;
    return llama2_chat_encode(tok, &chat, flags_of(&chat), ids, weights, ROOM, n);
}

/* row: the number of ids, then "id:weight" for each. */
static inline void check_dialogue(const llama2_tokenizer *tok, const dialogue *d, const char *date, const char *row)
{
    int32_t ids[ROOM];
    float weights[ROOM];
    int64_t n;
    long count;
    int used;
    ck_ok(encode_chat(tok, d, date, ids, weights, &n));
    ck_assert_int_eq(sscanf(row, "%ld%n", &count, &used), 1);
    ck_assert_int_eq(n, count);
    for (int64_t i = 0; i < n; ++i) {
        long id;
        int weight, k;
        row += used;
        ck_assert_int_eq(sscanf(row, "%ld:%d%n", &id, &weight, &k), 2);
        used = k;
        ck_assert_msg(ids[i] == id && weights[i] == (float)weight,
                      "%s, token %ld: %d with weight %g, expected %ld with %d", d->name, (long)i, (int)ids[i],
                      (double)weights[i], id, weight);
    }
    if (d->roles[chat_of(d).n_messages - 1] != A) return;
    while (weights[n - 1] == 0) --n; /* the last that weighs is the answer's end */
    int32_t to_end[ROOM];
    llama2_chat chat = chat_of(d);
    int64_t m;
    chat.date = date;
    ck_ok(llama2_chat_encode(tok, &chat, LLAMA2_CHAT_COMPLETE | LLAMA2_CHAT_TO_END, to_end, NULL, ROOM, &m));
    ck_assert_int_eq(m, n);
    ck_assert_mem_eq(to_end, ids, (size_t)n * sizeof *ids);
}

#endif
