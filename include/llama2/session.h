/*
 * Session: one sequence with its KV cache, for generating token by token.
 */
#ifndef LLAMA2_SESSION_H
#define LLAMA2_SESSION_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a token is drawn. Order: temperature, top-k, top-p. */
typedef struct llama2_sampling {
    uint32_t struct_size;
    int32_t top_k;      /* keep the k likeliest; 0 (default): all */
    double temperature; /* divides the logits; 0: the likeliest token; else 1e-6 .. 1e6; default 1 */
    double top_p;       /* keep the likeliest whose probabilities reach p; 1 (default): all */
    uint64_t seed;      /* default: 0 */
    uint64_t sample_id; /* texts with the same seed and id are the same text; default 0 */
} llama2_sampling;

LLAMA2_API void llama2_sampling_init(llama2_sampling *sampling, size_t size);

/* An empty session on a model, which it keeps alive. Since 0.1. */
LLAMA2_API llama2_status llama2_session_create(llama2_model *model, llama2_session **out);
LLAMA2_API void llama2_session_free(llama2_session *session);

/* Reads n > 0 tokens; the cache grows as needed, up to the model's context length (LLAMA2_E_CONTEXT, nothing read).
 * Since 0.1. */
LLAMA2_API llama2_status llama2_session_feed(llama2_session *session, const int32_t *tokens, int64_t n);

/* Draws the next token from what has been read, without reading it: feed it to go on. *logprob (may be NULL): its
 * log-probability at this temperature (at 1 when the temperature is 0) over the whole vocabulary. Errors: STATE when
 * nothing was read. Since 0.1. */
LLAMA2_API llama2_status llama2_session_sample(llama2_session *session, const llama2_sampling *sampling, int32_t *token,
                                               float *logprob);

/* Copies the vocab_size logits after the last token that was read. Since 0.1. */
LLAMA2_API llama2_status llama2_session_logits(const llama2_session *session, float *buffer, int64_t capacity,
                                               int64_t *needed);

/* Tokens read so far. */
LLAMA2_API int64_t llama2_session_position(const llama2_session *session);
/* Forgets all but the first n tokens; logits are gone until the next feed. Since 0.1. */
LLAMA2_API llama2_status llama2_session_rewind(llama2_session *session, int64_t n);

#ifdef __cplusplus
}
#endif

#endif
