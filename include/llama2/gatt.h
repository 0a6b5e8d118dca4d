/*
 * Ghost Attention (section 3.3): a model learns to keep to an instruction ("act as Napoleon") over many turns though it
 * is said once. The answers of a dialogue are sampled with the instruction in every message of the user; then it is
 * dropped from all turns but the first, and the last answer is learnt alone: the loss is 0 on all tokens of earlier
 * turns, answers included, since those would not fit what now stands before them.
 *
 *     llama2_gatt_create(tokenizer, &dialogues, NULL, &gatt);
 *     while (llama2_gatt_turns_left(gatt) > 0) {
 *         llama2_gatt_turn(gatt, policy, &options, NULL);            // the next answer of every dialogue
 *         ... llama2_gatt_answer_get, llama2_gatt_drop ...           // those that broke their instruction go
 *     }
 *     llama2_gatt_examples(gatt, &rollouts);                         // prompt: the dialogue; response: its last answer
 *     llama2_rollouts_pack(rollouts, NULL, packer);                  // or score them first, into a pool
 *
 * What the paper leaves open is decided so:
 *
 * - While sampling, a user's message is the instruction, a blank line, the message; in every turn, no system message.
 * - In the examples the instruction is the system message (the paper speaks of the "final system message"), which in
 *   Llama 2's format is a part of the first user's message; or, by an option, joined to that message as in sampling.
 * - The paper has whole dialogues, and samples one answer to each. Here any of the earlier answers may be the host's
 *   and stay as they are; the others are sampled turn by turn, which needs the user's messages alone.
 * - "Less verbose" instructions, half of them in the paper ("Figure: Napoleon." for "Always act as Napoleon from now"),
 *   are for the examples alone: what is sampled under the long form is learnt under the short one. See
 *   kept_instructions. The instructions are the host's text.
 */
#ifndef LLAMA2_GATT_H
#define LLAMA2_GATT_H

#include "model.h"
#include "rollouts.h"
#include "tokenizer.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where the instruction stands in an example: the system message, or before the first user's message. */
enum { LLAMA2_GATT_SYSTEM = 0, LLAMA2_GATT_USER = 1 };

typedef struct llama2_gatt_options {
    uint32_t struct_size;
    int32_t placement;  /* LLAMA2_GATT_*; default SYSTEM */
    int32_t every_turn; /* 1: an example for each sampled answer, with what stands before it; 0 (default): for the last
                           answer of each dialogue, as in the paper */
    int32_t reserved;
} llama2_gatt_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_gatt_options_init(llama2_gatt_options *options, size_t size);

/* Dialogues without their answers, a view of the caller's memory for the length of a call. Texts are UTF-8; where the
 * array of their lengths in bytes is NULL they end with NUL. */
typedef struct llama2_gatt_dialogues {
    uint32_t struct_size;
    int32_t n_dialogues;
    const int32_t *n_turns;      /* of each, at least 1 */
    const char *const *messages; /* of the user: those of the first dialogue, then those of the second, ... */
    const size_t *message_lengths;
    const char *const *instructions; /* one a dialogue, not empty */
    const size_t *instruction_lengths;
    const char *const
        *kept_instructions; /* what stands in the examples; NULL, the array or one text: the instruction */
    const size_t *kept_lengths;
    const char *const *answers; /* as many as messages: what the assistant has said there, NULL where it is to be
                                   sampled, as the last of each dialogue must be; NULL (the array): all are */
    const size_t *answer_lengths;
} llama2_gatt_dialogues;

/* Keeps the tokenizer alive, copies the texts. Errors: as llama2_chat_encode, with the number of the dialogue
 * (INJECTION for a text that holds markers of the chat format, UNSUPPORTED for a template that is not known); INVALID.
 * Since 0.1. */
LLAMA2_API llama2_status llama2_gatt_create(llama2_tokenizer *tokenizer, const llama2_gatt_dialogues *dialogues,
                                            const llama2_gatt_options *options, llama2_gatt **out);
LLAMA2_API void llama2_gatt_free(llama2_gatt *gatt);

/* What has become of a dialogue. All but OPEN take no further part. */
enum {
    LLAMA2_GATT_OPEN = 0,
    LLAMA2_GATT_DROPPED = 1, /* by llama2_gatt_drop */
    LLAMA2_GATT_FULL = 2,    /* its next prompt, or its example, does not fit the model's context */
    LLAMA2_GATT_MARKED = 3   /* an answer holds markers of the chat format, which no message may */
};

typedef struct llama2_gatt_metrics {
    uint32_t struct_size;
    int32_t turn;                                /* that was sampled, from 0 */
    int32_t n_answers;                           /* sampled in it */
    int32_t n_ended;                             /* of these: ended by EOS or a stop string */
    int32_t n_open, n_dropped, n_full, n_marked; /* dialogues by what has become of them */
} llama2_gatt_metrics;

/*
 * Samples the next answer of every open dialogue that has a further turn, all in one llama2_rollout with these options
 * (samples_per_prompt must be 1; several versions of a dialogue are several dialogues). Dialogue d has the sample id
 * first_sample_id + d in all its turns, whatever became of the others. A dialogue that does not fit the context is
 * closed and counted, no error. On failure no turn was taken. `metrics` may be NULL.
 *
 * Errors: STATE when no turn is left; INVALID for decode_flags with LLAMA2_DECODE_SPECIALS or _BYTES, since answers are
 * messages: UTF-8 without control pieces; MISMATCH when the tokenizer has more pieces than the model; BUSY from the
 * progress callback of a turn of the same handle; those of llama2_rollout. Options are checked in a turn too that
 * samples nothing, since all its answers are the host's. Since 0.1.
 */
LLAMA2_API llama2_status llama2_gatt_turn(llama2_gatt *gatt, llama2_model *policy,
                                          const llama2_rollout_options *options, llama2_gatt_metrics *metrics);

/* Turns that some open dialogue still has to go; 0: llama2_gatt_examples may be called. Since 0.1. */
LLAMA2_API int32_t llama2_gatt_turns_left(const llama2_gatt *gatt);

/* An answer as far as it is there. */
typedef struct llama2_gatt_answer {
    uint32_t struct_size;
    int32_t state;    /* of the dialogue, LLAMA2_GATT_* */
    const char *text; /* UTF-8, `length` bytes and a NUL; as sampled, with white space at its ends, without the stop
                         string that ended it (nor a character that this begins within); NULL: not there yet.
                         Valid until the handle is freed */
    size_t length;
    int32_t sampled;  /* 0: it is the host's */
    int32_t ended_by; /* LLAMA2_END_*, of a sampled one */
} llama2_gatt_answer;

/* Set answer->struct_size first. Since 0.1. */
LLAMA2_API llama2_status llama2_gatt_answer_get(const llama2_gatt *gatt, int32_t dialogue, int32_t turn,
                                                llama2_gatt_answer *answer);

/* Closes a dialogue whose answers broke the instruction, or are not wanted: it gives no example. Errors: INVALID; BUSY
 * from the progress callback of a turn. Since 0.1. */
LLAMA2_API llama2_status llama2_gatt_drop(llama2_gatt *gatt, int32_t dialogue);

/*
 * The examples as rollouts of one sample a prompt, in the order of the dialogues that are open, and of their turns with
 * every_turn; a dialogue that was closed gives none, nor for its earlier answers. The prompt is the dialogue up to the
 * answer, with the instruction in its first turn only; the response has the tokens as they were sampled, those of a
 * stop string too. LOGPROBS are not there: the prompt is another. Errors: STATE while turns are left, or when no
 * dialogue is open. Since 0.1.
 */
LLAMA2_API llama2_status llama2_gatt_examples(const llama2_gatt *gatt, llama2_rollouts **out);

#ifdef __cplusplus
}
#endif

#endif
