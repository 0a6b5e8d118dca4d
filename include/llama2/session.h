/*
 * Session: one sequence with its KV cache, for generating token by token. Many sessions may be on one model, each used
 * by one thread at a time, all at once; or several are read together by one thread (llama2_session_feed_batch).
 *
 * What a session has read is of the weights that the model had then. Once a trainer has updated it, a checkpoint has
 * been read into it, or llama2_model_set_tensor, _copy_weights, or llama2_reward_model_set_tensor on a head that shares
 * its trunk has been called, its keys and logits are those of another model, and may count as such even where the call
 * failed or the update was skipped: feeding, sampling, looking at logits and saving are LLAMA2_E_STATE until
 * llama2_session_sync has read everything again, or llama2_session_rewind to 0 has forgotten it. Calls that only read
 * the model change nothing.
 */
#ifndef LLAMA2_SESSION_H
#define LLAMA2_SESSION_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How a token is drawn from the logits x. In this order:
 *
 *   1. logit bias         x[id] += bias
 *   2. repetition penalty x = x > 0 ? x / r : x * r        of the tokens in the window (Keskar et al. 2019, CTRL)
 *   3. frequency, presence x -= count * frequency + presence   of the tokens in the window, `count` times in it
 *   4. temperature        x /= temperature
 *   5. top-k, 6. top-p    the likeliest k; of these the likeliest whose probabilities reach p
 *   7. min-p              of these the ones with at least min_p times the probability of the likeliest
 *
 * As in transformers, which has no 3; llama.cpp has the same definitions and order, but divides by the temperature last
 * of all, so that its top-p and min-p see the distribution at 1. The window begins with the prompt, as in both;
 * OpenAI's API and vLLM count 3 over the new tokens alone: penalty_start does that. At temperature 0 the token with the
 * largest x after 3 is taken. Penalties cost time for the tokens in the window, not for the vocabulary.
 */
typedef struct llama2_sampling {
    uint32_t struct_size;
    int32_t top_k;                 /* keep the k likeliest; 0 (default): all */
    double temperature;            /* divides the logits; 0: the likeliest token; else 1e-6 .. 1e6; default 1 */
    double top_p;                  /* keep the likeliest whose probabilities reach p; 1 (default): all */
    uint64_t seed;                 /* default: 0 */
    uint64_t sample_id;            /* texts with the same seed and id are the same text; default 0 */
    double min_p;                  /* 0 .. 1; 0 (default): all */
    double repetition_penalty;     /* above 1: against tokens that were there; 1e-6 .. 1e6; 1 (default) and 0: none */
    double presence_penalty;       /* once for each token that was there, however often; -1e6 .. 1e6; default 0 */
    double frequency_penalty;      /* for each time that it was there; -1e6 .. 1e6; default 0 */
    int32_t penalty_window;        /* the last so many tokens count; 0 (default): all */
    int32_t n_logit_bias;          /* default 0 */
    int64_t penalty_start;         /* tokens before this position don't count; default 0. In a rollout -1: the prompt */
    const int32_t *logit_bias_ids; /* n_logit_bias ids; several biases of one id add up */
    const float *logit_bias_values; /* finite, or -INFINITY: never drawn */
} llama2_sampling;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_sampling_init(llama2_sampling *sampling, size_t size);

/* An empty session on a model, which it keeps alive. Since 0.1. */
LLAMA2_API llama2_status llama2_session_create(llama2_model *model, llama2_session **out);
LLAMA2_API void llama2_session_free(llama2_session *session);

/* Reads n > 0 tokens; the cache grows as needed, up to the model's context length (LLAMA2_E_CONTEXT, nothing read; the
 * message says how many would fit). Since 0.1. */
LLAMA2_API llama2_status llama2_session_feed(llama2_session *session, const int32_t *tokens, int64_t n);

/*
 * Several sessions of one model, each once, read tokens in one forward: session i those at offsets[i] .. offsets[i + 1]
 * - 1, at least one; offsets[0] is 0, n_sessions + 1 of them. Each then holds the bits of llama2_session_feed alone;
 * one read of the weights serves all, so that a server decodes many sequences in little more than the time of one. On
 * failure all are as they were. Sample from each as always. Since 0.1.
 */
LLAMA2_API llama2_status llama2_session_feed_batch(llama2_session *const *sessions, int32_t n_sessions,
                                                   const int32_t *tokens, const int64_t *offsets);

/*
 * Makes the session hold exactly these n > 0 tokens, with logits after the last: what it holds already of their
 * beginning is kept, the rest forgotten, the missing tokens read; all of them where the model's weights have changed.
 * *reused (may be NULL): how many were not read again. Errors: CONTEXT where n is more than the context, INVALID, BUSY:
 * nothing has changed; where reading fails, the session holds the common beginning, without its last token where the
 * session had no logits after it. Since 0.1.
 */
LLAMA2_API llama2_status llama2_session_sync(llama2_session *session, const int32_t *tokens, int64_t n,
                                             int64_t *reused);

/* Draws the next token from what has been read, without reading it: feed it to go on. *logprob (may be NULL): its
 * log-probability at this temperature (at 1 when the temperature is 0) over the whole vocabulary, as the model has it:
 * before bias, penalties, top-k, top-p and min-p, the number that llama2_model_logprobs gives and that RL needs.
 * Errors: STATE when nothing was read, or of other weights; NUMERIC when the logits are not numbers, or a bias leaves
 * no token. Since 0.1.
 */
LLAMA2_API llama2_status llama2_session_sample(llama2_session *session, const llama2_sampling *sampling, int32_t *token,
                                               float *logprob);

/* The n likeliest next tokens, likelier first, 1 <= n <= vocab_size: *logprobs (may be NULL) are what
 * llama2_session_sample would report for them at this temperature (1e-6 .. 1e6; 0: 1). Errors as there. Since 0.1. */
LLAMA2_API llama2_status llama2_session_top(llama2_session *session, double temperature, int32_t n, int32_t *ids,
                                            float *logprobs);

/* Copies the vocab_size logits after the last token that was read. Errors: STATE as for llama2_session_sample, BUFFER.
 * Since 0.1. */
LLAMA2_API llama2_status llama2_session_logits(const llama2_session *session, float *buffer, int64_t capacity,
                                               int64_t *needed);

/* Tokens read so far. Since 0.1. */
LLAMA2_API int64_t llama2_session_position(const llama2_session *session);
/* Forgets all but the first n tokens; logits are gone until the next feed. Since 0.1. */
LLAMA2_API llama2_status llama2_session_rewind(llama2_session *session, int64_t n);

/* --- state ----------------------------------------------------------------------------------- */

/*
 * What a session has read, its logits and its KV cache, to go on elsewhere or later with the same bits: in a file,
 * written atomically, or a buffer. It has a version and checksums, and a fingerprint of the model: its config, data
 * type and a sample of its weights (three rows of each matrix, all gains): it tells what training changed, but not what
 * llama2_model_set_tensor did to rows between. Another model is refused (MISMATCH); one with a longer or shorter
 * context is the same as long as the tokens fit. Size: about tokens x layers x 2 x kv heads x head_dim x 4 bytes in
 * fp32. Errors of saving: IO, NOT_FOUND (no such folder), NOMEM, CANCELLED, BUSY, STATE. Since 0.1.
 */
LLAMA2_API llama2_status llama2_session_save(const llama2_session *session, const char *path);
/* *needed: bytes. Errors: BUFFER, and as above. Since 0.1. */
LLAMA2_API llama2_status llama2_session_save_memory(const llama2_session *session, void *buffer, size_t capacity,
                                                    size_t *needed);

/* A new session on `model` with that state. Errors: MISMATCH (another model), CONTEXT (more tokens than its context),
 * CORRUPT, TRUNCATED, FORMAT, UNSUPPORTED (a newer version), NOT_FOUND, IO, NOMEM. Since 0.1. */
LLAMA2_API llama2_status llama2_session_load(llama2_model *model, const char *path, llama2_session **out);
LLAMA2_API llama2_status llama2_session_load_memory(llama2_model *model, const void *data, size_t size,
                                                    llama2_session **out);

#ifdef __cplusplus
}
#endif

#endif
