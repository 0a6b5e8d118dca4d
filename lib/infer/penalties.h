/* Logit bias and penalties of tokens that were there: changes to a few logits of a row, and back. */
#ifndef L2_INFER_PENALTIES_H
#define L2_INFER_PENALTIES_H

#include "base/status.h"
#include <llama2/session.h>

/* What was read, in two parts: a prompt and its response, say. */
typedef struct l2_text {
    const int32_t *tokens[2];
    int64_t lengths[2];
} l2_text;

/* A logit that was changed. */
typedef struct l2_penalised {
    int32_t id, count; /* count: how often it is in the window */
    float original;
} l2_penalised;

typedef struct l2_penalties {
    int32_t *places; /* (V) 1 + index into changed; 0: not there */
    l2_penalised *changed;
    int32_t n_changed;
} l2_penalties;

/* Do these options change any logit? */
int l2_penalties_wanted(const llama2_sampling *sampling);

/* l2_penalties_free is fine on a zeroed one, and after a failure. */
llama2_status l2_penalties_init(llama2_context *ctx, int32_t vocab_size, l2_penalties *out);
void l2_penalties_free(llama2_context *ctx, l2_penalties *p);

/* Changes the logits as llama2/session.h says, steps 1 to 3, in double, rounded once. The options' ids are in range. */
void l2_penalties_apply(l2_penalties *p, const llama2_sampling *sampling, const l2_text *text, float *logits);
/* Puts the bits back. */
void l2_penalties_undo(l2_penalties *p, float *logits);

#endif
