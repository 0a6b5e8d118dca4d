/* What more samples bring (Fig. 7 of the paper). */
#ifndef EXAMPLES_BEST_OF_N_H
#define EXAMPLES_BEST_OF_N_H

#include <llama2/llama2.h>

enum { BEST_OF_POINTS = 31 };

typedef struct best_of_n {
    int points;
    double n[BEST_OF_POINTS];                            /* 1, 2, 4, ... up to K */
    double best[BEST_OF_POINTS], median[BEST_OF_POINTS]; /* means over prompts, among the first n samples of each */
    double best_half[BEST_OF_POINTS], median_half[BEST_OF_POINTS]; /* half of their 95 % intervals */
    /* The same of what they are above the first sample of the same prompt. */
    double best_gain_half[BEST_OF_POINTS], median_gain_half[BEST_OF_POINTS];
} best_of_n;

/* Half of the 95 % interval of a mean over n, by its sum and the sum of its squares. */
double mean_half(double n, double sum, double squares);

/* Of scored rollouts; no points: they have no scores. */
best_of_n best_of_n_of(const llama2_rollouts *scored);

#endif
