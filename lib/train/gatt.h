/* Ghost Attention (section 3.3): dialogues under an instruction, and the examples that they give. */
#ifndef L2_TRAIN_GATT_H
#define L2_TRAIN_GATT_H

#include "infer/rollouts.h"
#include <llama2/gatt.h>

typedef struct l2_gatt_text {
    char *text; /* NUL-terminated; NULL: not there */
    size_t length;
} l2_gatt_text;

typedef struct l2_gatt_exchange {
    l2_gatt_text message; /* the user's: the instruction, a blank line, and from byte `bare` on the message alone */
    size_t bare;
    l2_gatt_text answer;
    int32_t *tokens; /* of a sampled answer */
    int32_t n_tokens;
    uint8_t ended_by; /* LLAMA2_END_* */
} l2_gatt_exchange;

struct llama2_gatt {
    llama2_context *ctx;
    llama2_tokenizer *tokenizer;
    llama2_gatt_options options;
    int32_t n_dialogues, n_done; /* turns that have been taken */
    int64_t *first;              /* n_dialogues + 1: turn t of dialogue d is turns[first[d] + t] */
    l2_gatt_exchange *turns;
    l2_gatt_text *kept; /* of each dialogue, what says the instruction in its examples: the system message, or (USER)
                           the first message as a whole */
    uint8_t *states;    /* LLAMA2_GATT_* */
    double temperature; /* of the last turn */
    int busy;           /* a turn is being sampled; its progress callback may not change the handle */
    /* Room for the messages of the longest dialogue as a chat. */
    int32_t *roles;
    const char **texts;
    size_t *lengths;
};

/* The struct and the options are this library's. */
llama2_status l2_gatt_create(llama2_tokenizer *tokenizer, const llama2_gatt_dialogues *dialogues,
                             const llama2_gatt_options *options, llama2_gatt **out);
void l2_gatt_free(llama2_gatt *gatt);

/* The options are complete. */
llama2_status l2_gatt_turn(llama2_gatt *gatt, llama2_model *policy, const llama2_rollout_options *options,
                           llama2_gatt_metrics *metrics);
int32_t l2_gatt_turns_left(const llama2_gatt *gatt);
llama2_status l2_gatt_answer(const llama2_gatt *gatt, int32_t dialogue, int32_t turn, llama2_gatt_answer *answer);
llama2_status l2_gatt_drop(llama2_gatt *gatt, int32_t dialogue);
llama2_status l2_gatt_examples(const llama2_gatt *gatt, llama2_rollouts **out);

#endif
