/*
 * The chat format that the tokenizer's files ask for: that of which tokenizer_config.json, chat_template.jinja or the
 * GGUF has the template. Templates are recognised, not run; another one is refused when a dialogue is encoded.
 *
 * Llama 2 (appendix A.2 and Meta's reference), also for a SentencePiece vocabulary without a template: for each pair of
 * a user's message and its answer
 *
 *     BOS "[INST] " user " [/INST] " answer " " EOS
 *
 * the first user's message with "<<SYS>>\n" system "\n<</SYS>>\n\n" before it where there is a system message. Each
 * pair is encoded by itself; white space at both ends of (system +) user and of answer is dropped.
 *
 * ChatML, as SmolLM2: each message as
 *
 *     "<|im_start|>" role "\n" text "<|im_end|>" "\n"
 *
 * a message to be answered followed by "<|im_start|>assistant\n"; a dialogue without a system message begins with that
 * of the template, if there is one.
 *
 * Llama 3: BOS, then each message, without white space at both ends, as
 *
 *     "<|start_header_id|>" role "<|end_header_id|>" "\n\n" text "<|eot_id|>"
 *
 * a message to be answered followed by the assistant's header. From 3.1 on there is always a system message, which
 * begins with "Cutting Knowledge Date: December 2023\nToday Date: " date "\n\n".
 *
 * Zephyr, as TinyLlama's chat model: each message as "<|" role "|>\n" text EOS "\n", a message to be answered followed
 * by "<|assistant|>\n". No BOS.
 */
#ifndef LLAMA2_CHAT_H
#define LLAMA2_CHAT_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LLAMA2_ROLE_SYSTEM = 0, LLAMA2_ROLE_USER = 1, LLAMA2_ROLE_ASSISTANT = 2 };

/* Bits of llama2_chat_encode's flags. */
enum {
    LLAMA2_CHAT_COMPLETE = 1, /* the dialogue ends with an answer, as for SFT; without: with the user's message, to be
                                answered */
    LLAMA2_CHAT_TO_END = 2    /* with COMPLETE: without what the format puts after the answer's last piece (ChatML's and
                                 Zephyr's line break), so that it ends as a sampled answer does: for scores, which are read
                                 at the last token */
};

/* A dialogue: at most one system message, which comes first, then user and assistant in turn, beginning with the user.
 * A view of the caller's memory for the length of a call. */
typedef struct llama2_chat {
    uint32_t struct_size;
    int32_t n_messages;
    const int32_t *roles;      /* LLAMA2_ROLE_* */
    const char *const *texts;  /* UTF-8 */
    const size_t *lengths;     /* bytes; NULL: the texts end with NUL */
    const float *loss_weights; /* of each message, whatever its role finite and >= 0, else INVALID: what the tokens
                                  of an answer weigh (other roles: not used); NULL (default): 1. Ghost Attention gives
                                  0 to earlier turns */
    const char *date;          /* today, as "26 Jul 2024", where the template says it; NULL (default): the date that
                                  stands in the template, so that ids do not depend on the day */
} llama2_chat;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_chat_init(llama2_chat *chat, size_t size);

/*
 * A dialogue into ids. weights[t] (the array may be NULL) is the loss weight of token t as the target: 0 for BOS and
 * the prompt up to "[/INST]", and that of the message for the tokens of an answer with the space and the EOS that end
 * it: all that the model has to say itself (in the other formats the answer with the piece that ends it). ids, weights:
 * `capacity` each; *needed (may be NULL) is the number of tokens; ids and weights NULL with capacity 0 only counts.
 *
 * Errors: INJECTION when a text holds one of the markers of the format as text, [INST] [/INST] <<SYS>> <</SYS>> or the
 * pieces and role lines above; UNSUPPORTED for another template, or none in a byte-level vocabulary; INVALID for a
 * wrong order of roles (the message says which would be right) and for unknown flags or TO_END without COMPLETE; STATE
 * when the vocabulary lacks a control piece of the format; BUFFER; NOMEM. Since 0.1.
 */
LLAMA2_API llama2_status llama2_chat_encode(const llama2_tokenizer *tokenizer, const llama2_chat *chat, uint32_t flags,
                                            int32_t *ids, float *weights, int64_t capacity, int64_t *needed);

#ifdef __cplusplus
}
#endif

#endif
