/* Drawing a token from a row of logits. */
#ifndef L2_INFER_SAMPLER_H
#define L2_INFER_SAMPLER_H

#include "base/status.h"
#include <llama2/session.h>

/* Refuses values out of range. */
llama2_status l2_sampling_check(double temperature, int32_t top_k, double top_p);

/* Room for l2_sample's candidates: one a token of the vocabulary. */
typedef struct l2_candidate {
    float logit, p;
    int32_t id;
} l2_candidate;

/*
 * The token for a uniform number u in [0, 1): temperature, then top-k, then top-p (nucleus sampling, Holtzman et al.
 * 2020), then the first candidate at which the summed probability exceeds u of the whole. A pure function; -1 where the
 * logits are not numbers. `room`: n candidates.
 */
int32_t l2_sample(const float *logits, int32_t n, double temperature, int32_t top_k, double top_p, double u,
                  l2_candidate *room);

#endif
