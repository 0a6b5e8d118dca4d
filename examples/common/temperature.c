#include "common/temperature.h"

#include "common/best_of_n.h"

#include <math.h>
#include <string.h>

const double temperature_grid[TEMPERATURES] = {0.6, 0.8, 1.0, 1.2, 1.4};
const char *const temperature_rules[TEMPERATURE_RULES] = {"highest", "lowest"};

bool temperature_add(temperature_curve *c, const llama2_rollouts *scored)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    if (llama2_rollouts_view_get(scored, &v) < 0) return false;
    int32_t k = v.samples_per_prompt, prompts = v.n_samples / k;
    double sum = 0, squares = 0;
    for (int32_t p = 0; p < prompts; p++) {
        float highest = v.scores[p * k];
        for (int32_t s = p * k; s < (p + 1) * k; s++) {
            highest = fmaxf(highest, v.scores[s]);
            c->sum += (double)v.scores[s];
            c->squares += (double)v.scores[s] * (double)v.scores[s];
        }
        sum += (double)highest;
        squares += (double)highest * (double)highest;
    }
    c->best[c->n] = sum / prompts;
    c->half[c->n] = mean_half(prompts, sum, squares);
    c->samples += v.n_samples;
    c->n++;
    return true;
}

double temperature_deviation(const temperature_curve *c)
{
    double mean = c->sum / c->samples;
    return sqrt(fmax(0, c->squares / c->samples - mean * mean));
}

temperature_rule temperature_rule_of(const char *name)
{
    temperature_rule rule = TEMPERATURE_HIGHEST;
    while (rule < TEMPERATURE_RULES && strcmp(name, temperature_rules[rule]) != 0) rule++;
    return rule;
}

double temperature_choose(const temperature_curve *c, temperature_rule rule)
{
    int top = 0, chosen = 0;
    for (int t = 1; t < c->n; t++)
        if (c->best[t] > c->best[top]) top = t;
    if (rule == TEMPERATURE_HIGHEST) return temperature_grid[top];
    while (c->best[top] - c->best[chosen] > 0.1 * temperature_deviation(c)) chosen++;
    return temperature_grid[chosen];
}
