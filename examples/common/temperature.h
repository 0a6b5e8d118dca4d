/* At which temperature to sample: the one whose best of K answers scores highest (Fig. 8 of the paper), found anew for
 * each model. */
#ifndef EXAMPLES_TEMPERATURE_H
#define EXAMPLES_TEMPERATURE_H

#include <llama2/llama2.h>
#include <stdbool.h>

enum { TEMPERATURES = 5 };
extern const double temperature_grid[TEMPERATURES]; /* rising */

/* Of the temperatures so far: the mean over prompts of the highest score, and the moments of all scores. */
typedef struct temperature_curve {
    int n;
    int32_t prompts;
    float *highest[TEMPERATURES]; /* of each prompt */
    double best[TEMPERATURES];
    double sum, squares, samples;
} temperature_curve;

/* The next temperature's scored samples, K a prompt. */
bool temperature_add(temperature_curve *curve, const llama2_rollouts *scored);
void temperature_free(temperature_curve *curve);

/* The one whose best of K is highest; and half of the 95 % interval, over prompts, of what another one's is below it.
 */
int temperature_top(const temperature_curve *curve);
double temperature_half(const temperature_curve *curve, int t);

/* The standard deviation over all samples. */
double temperature_deviation(const temperature_curve *curve);

/* HIGHEST, the paper's: where the best of K is highest. LOWEST: the lowest temperature that comes within a tenth of a
 * standard deviation of that, for curves that are flat: mistakes that the reward models do not see grow with the
 * temperature. */
typedef enum temperature_rule { TEMPERATURE_HIGHEST, TEMPERATURE_LOWEST, TEMPERATURE_RULES } temperature_rule;
extern const char *const temperature_rules[TEMPERATURE_RULES];

/* TEMPERATURE_RULES: there is no such rule. */
temperature_rule temperature_rule_of(const char *name);
double temperature_choose(const temperature_curve *curve, temperature_rule rule);

#endif
