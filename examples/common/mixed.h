/* Several files as one: which item comes next, by a llama2_mixture. The items of all files lie one after the other;
 * those of file i end before ends[i]. */
#ifndef EXAMPLES_MIXED_H
#define EXAMPLES_MIXED_H

#include "common/app.h"
#include "common/args.h"

/* The numbers of an option that is given once a file. */
bool mixed_weights(app *a, const args_list *given, double *weights);
/* Draws position .. position + n - 1, as places among all items. */
bool mixed_draw(app *a, const llama2_mixture *mixture, const size_t *ends, uint64_t position, size_t n, size_t *places);

#endif
