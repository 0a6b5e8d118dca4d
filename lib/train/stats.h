/* Means, variances and whitening in double, in the order of the elements; the logistic function. */
#ifndef L2_TRAIN_STATS_H
#define L2_TRAIN_STATS_H

#include <stdint.h>

/* Moments of what has been added: the shifted sums of Welford (1962). */
typedef struct l2_moments {
    int64_t n;
    double mean, squares; /* squares: sum of (x - mean)^2 */
} l2_moments;

void l2_moments_add(l2_moments *moments, double x);
/* The unbiased estimate, squares / (n - 1), as torch.var and TRL's masked_whiten; 0 for less than two. */
double l2_moments_variance(const l2_moments *moments);

/* (x - mean) / sqrt(variance + L2_WHITEN_EPS), with the unbiased variance: of one element, or of equal ones, it makes
 * 0. */
#define L2_WHITEN_EPS 1e-8
double l2_whiten(const l2_moments *moments, double x);

/* 1 / (1 + exp(-x)), and log(1 + exp(x)) = -log sigmoid(-x), without overflow. The inverse of the first is l2_logit
 * (scores.h). */
double l2_sigmoid(double x);
double l2_softplus(double x);

#endif
