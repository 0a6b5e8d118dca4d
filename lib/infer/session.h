/* One sequence and its KV cache. */
#ifndef L2_INFER_SESSION_H
#define L2_INFER_SESSION_H

#include "infer/penalties.h"
#include "infer/sampler.h"
#include "model/kv_cache.h"

struct llama2_session {
    llama2_context *ctx;
    llama2_model *model;
    l2_kv_cache cache;
    l2_kv_sequence sequence;
    int32_t *tokens; /* what has been read; room for all positions of the cache's blocks */
    void *logits;    /* (V) after the last token, in the model's dtype */
    float *logits32; /* the same memory, or a copy in fp32 for the sampler and the host */
    int has_logits;
    uint64_t changes; /* of the model, when the tokens were read */
    int fed;          /* in a call that is checking its sessions */
    void *sample_room;
    l2_penalties penalties; /* made when a draw first asks for them */
};

llama2_status l2_session_new(llama2_model *model, llama2_session **out);
void l2_session_release(llama2_session *session);

/* Is what it has read of the weights that the model has now? */
int l2_session_is_current(const llama2_session *session);
llama2_status l2_session_check_current(const llama2_session *session); /* STATE where it is not */

/* Forgets all tokens but the first n, and the logits. */
void l2_session_rewind(llama2_session *session, int64_t n);

/* feed.c: can the session read these after its first `position` tokens? The message begins with `function`. */
llama2_status l2_session_check_tokens(const llama2_session *session, int64_t position, const int32_t *tokens, int64_t n,
                                      const char *function);
/* feed.c: of a host's batch, all that l2_sessions_feed asks for. sessions[0] is there. */
llama2_status l2_sessions_check(llama2_session *const *sessions, int32_t n, const int32_t *tokens,
                                const int64_t *offsets);
/* feed.c: sessions of one model, all different, read tokens[offsets[s]] .. each, at least one, which fit. On failure
 * they are as they were. */
llama2_status l2_sessions_feed(llama2_session *const *sessions, int32_t n, const int32_t *tokens,
                               const int64_t *offsets);
/* feed.c: makes it one that has read these n tokens, n >= 1, and no others; *reused (may be NULL): how many it had. */
llama2_status l2_session_sync(llama2_session *session, const int32_t *tokens, int64_t n, int64_t *reused);
/* feed.c: blocks of the cache and ids for the first `length` positions. */
llama2_status l2_session_reserve(llama2_session *session, int64_t length);
/* feed.c: the logits are there: their copy in fp32 too. */
llama2_status l2_session_copy_logits(llama2_session *session);

llama2_status l2_session_top(llama2_session *session, double temperature, int32_t n, int32_t *ids, float *logprobs);
llama2_status l2_session_draw(llama2_session *session, const llama2_sampling *sampling, int32_t *token, float *logprob);

#endif
