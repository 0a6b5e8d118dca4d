/*
 * Philox4x32-10 (Salmon et al. 2011): random numbers as a pure function of (seed, purpose, id, position). Never of a
 * slot, a thread or the order of calls. The values are pinned by tests/unit/base/test_rng.c.
 */
#ifndef L2_BASE_RNG_H
#define L2_BASE_RNG_H

#include <stdint.h>

/* The first word of the counter. Values never change. */
enum {
    L2_RNG_INIT = 1,    /* weights: id = tensor, position = element / 4 */
    L2_RNG_SAMPLE = 2,  /* tokens: id = global sample id, position = position of the token in its sequence */
    L2_RNG_SHUFFLE = 3, /* order of data: id = epoch */
    L2_RNG_MIX = 4,     /* choice of a source: id = sequence number */
    L2_RNG_HEAD = 5,    /* reward and value heads */
    L2_RNG_PLACE = 6    /* which of two responses stands first: id = global sample id */
};

/* key = seed (low, high); counter = (position, purpose, id low, id high). */
void l2_philox(uint64_t seed, uint32_t purpose, uint64_t id, uint32_t position, uint32_t out[4]);

/* Uniform in [0, 1) with 53 bits, from the first two words. */
double l2_rng_uniform(uint64_t seed, uint32_t purpose, uint64_t id, uint32_t position);

/* Four independent N(0, 1) by Box-Muller. */
void l2_rng_normal4(uint64_t seed, uint32_t purpose, uint64_t id, uint32_t position, double out[4]);

/* Uniform integer in [0, n), n > 0, without modulo bias worth the name (64-bit multiply-shift). */
uint64_t l2_rng_below(uint64_t seed, uint32_t purpose, uint64_t id, uint32_t position, uint64_t n);

#endif
