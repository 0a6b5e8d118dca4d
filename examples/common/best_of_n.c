#include "common/best_of_n.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double mean_half(double n, double sum, double squares)
{
    return n > 1 ? 1.96 * sqrt(fmax(0, squares - sum * sum / n) / (n - 1) / n) : 0;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

best_of_n best_of_n_of(const llama2_rollouts *scored)
{
    best_of_n out = {.points = 0};
    llama2_rollouts_view v = {.struct_size = sizeof v};
    if (llama2_rollouts_view_get(scored, &v) < 0 || !v.scores) return out;
    int32_t k = v.samples_per_prompt, prompts = v.n_samples / k;
    float *first = malloc((size_t)k * sizeof *first);
    for (int32_t n = 1; first && n <= k && out.points < BEST_OF_POINTS; n *= 2) {
        double sum[2] = {0}, squares[2] = {0}, gain[2] = {0}, gain_squares[2] = {0};
        for (int32_t i = 0; i < prompts; i++) {
            memcpy(first, v.scores + (size_t)i * (size_t)k, (size_t)n * sizeof *first);
            qsort(first, (size_t)n, sizeof *first, by_value);
            double of[2] = {(double)first[n - 1], ((double)first[(n - 1) / 2] + (double)first[n / 2]) / 2};
            for (int m = 0; m < 2; m++) {
                sum[m] += of[m];
                squares[m] += of[m] * of[m];
                of[m] -= (double)v.scores[(size_t)i * (size_t)k];
                gain[m] += of[m];
                gain_squares[m] += of[m] * of[m];
            }
        }
        out.n[out.points] = n;
        out.best[out.points] = sum[0] / prompts;
        out.median[out.points] = sum[1] / prompts;
        out.best_half[out.points] = mean_half(prompts, sum[0], squares[0]);
        out.median_half[out.points] = mean_half(prompts, sum[1], squares[1]);
        out.best_gain_half[out.points] = mean_half(prompts, gain[0], gain_squares[0]);
        out.median_gain_half[out.points++] = mean_half(prompts, gain[1], gain_squares[1]);
    }
    free(first);
    return out;
}
