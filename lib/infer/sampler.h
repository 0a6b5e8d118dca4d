/* Drawing a token from a row of logits. */
#ifndef L2_INFER_SAMPLER_H
#define L2_INFER_SAMPLER_H

#include "base/status.h"
#include <llama2/session.h>

/* Refuses values out of range. */
llama2_status l2_sampling_check(double temperature, int32_t top_k, double top_p);

/* Bytes that l2_sample works in, for n logits. */
size_t l2_sample_room(int32_t n);

/*
 * The token for a uniform number u in [0, 1): temperature, then top-k, then top-p (nucleus sampling, Holtzman et al.
 * 2020), then the first candidate at which the summed probability exceeds u of the whole: in the order of ids where all
 * are candidates, else likelier ones first. A pure function; -1 where the logits are not numbers. room: l2_sample_room
 * bytes, aligned as malloc aligns.
 */
int32_t l2_sample(const llama2_context *ctx, const float *logits, int32_t n, double temperature, int32_t top_k,
                  double top_p, double u, void *room);

#endif
