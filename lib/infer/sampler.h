/* Drawing a token from a row of logits. */
#ifndef L2_INFER_SAMPLER_H
#define L2_INFER_SAMPLER_H

#include "base/status.h"
#include <llama2/session.h>

/* Refuses values out of range; penalty_start below least_start is one. */
llama2_status l2_sampling_check(const llama2_sampling *sampling, int32_t vocab_size, int64_t least_start);

/* Bytes that l2_sample works in, for n logits. */
size_t l2_sample_room(int32_t n);

/*
 * The token for a uniform number u in [0, 1): temperature, then top-k, then top-p (nucleus sampling, Holtzman et al.
 * 2020), then min-p (Nguyen et al. 2024), then the first candidate at which the summed probability exceeds u of the
 * whole: in the order of ids where all are candidates, else likelier ones first. A pure function; -1 where the logits
 * are not numbers. room: l2_sample_room bytes, aligned as malloc aligns. Bias and penalties: infer/penalties.h.
 */
int32_t l2_sample(const llama2_context *ctx, const float *logits, int32_t n, const llama2_sampling *sampling, double u,
                  void *room);

/* The k <= n likeliest ids, likelier first, equal ones by id, in the same room. 0 where the logits are not numbers. */
int l2_likeliest(const float *logits, int32_t n, int32_t k, int32_t *ids, void *room);

#endif
