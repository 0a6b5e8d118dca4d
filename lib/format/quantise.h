/* Between lib/format/quantised.c, which knows where a block's bits lie, and lib/format/quantise.c, which finds them. */
#ifndef L2_FORMAT_QUANTISE_H
#define L2_FORMAT_QUANTISE_H

#include <stdint.h>

enum { L2_MAX_BLOCK = 256, L2_MAX_GROUPS = 16 };

/* x = unit * scale * q - unit_of_minimum * minimum, scale and minimum a group; a block of one scale has that as unit.
 */
typedef struct l2_fitted {
    int16_t q[L2_MAX_BLOCK];
    float unit, unit_of_minimum; /* numbers that fp16 has */
    int16_t scale[L2_MAX_GROUPS], minimum[L2_MAX_GROUPS];
} l2_fitted;

/* x: `n` finite numbers of a block. q in [lowest, highest], one scale. */
void l2_fit_one_scale(const float *x, int n, int lowest, int highest, l2_fitted *out);
/* A scale of 8 bits with its sign for each 16 numbers; q in [-32, 31]. */
void l2_fit_scales(const float *x, int n, l2_fitted *out);
/* A scale and a minimum of 6 bits for each 32 numbers; q in [0, 15]. */
void l2_fit_scales_and_minima(const float *x, int n, l2_fitted *out);

#endif
