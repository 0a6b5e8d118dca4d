#include "train/stats.h"
#include <math.h>

void l2_moments_add(l2_moments *moments, double x)
{
    double before = x - moments->mean;
    moments->n++;
    moments->mean += before / (double)moments->n;
    moments->squares += before * (x - moments->mean);
}

double l2_moments_variance(const l2_moments *moments)
{
    return moments->n > 1 ? moments->squares / (double)(moments->n - 1) : 0;
}

double l2_whiten(const l2_moments *moments, double x)
{
    return (x - moments->mean) / sqrt(l2_moments_variance(moments) + L2_WHITEN_EPS);
}

double l2_sigmoid(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

double l2_softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
