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
    void *sample_room;
    l2_penalties penalties; /* made when a draw first asks for them */
};

llama2_status l2_session_new(llama2_model *model, llama2_session **out);
void l2_session_release(llama2_session *session);
llama2_status l2_session_feed(llama2_session *session, const int32_t *tokens, int64_t n);
llama2_status l2_session_top(llama2_session *session, double temperature, int32_t n, int32_t *ids, float *logprobs);
llama2_status l2_session_draw(llama2_session *session, const llama2_sampling *sampling, int32_t *token, float *logprob);

#endif
