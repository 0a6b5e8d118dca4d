#include "common/temperature.h"

#include "common/best_of_n.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const double temperature_grid[TEMPERATURES] = {0.6, 0.8, 1.0, 1.2, 1.4};
const char *const temperature_rules[TEMPERATURE_RULES] = {"highest", "lowest"};

bool temperature_add(temperature_curve *c, const llama2_rollouts *scored)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    if (llama2_rollouts_view_get(scored, &v) < 0) return false;
    int32_t k = v.samples_per_prompt, prompts = v.n_samples / k;
    float *highest = c->highest[c->n] = malloc((size_t)prompts * sizeof *highest);
    double sum = 0;
    if (!highest) return false;
    for (int32_t p = 0; p < prompts; p++) {
        highest[p] = v.scores[p * k];
        for (int32_t s = p * k; s < (p + 1) * k; s++) {
            highest[p] = fmaxf(highest[p], v.scores[s]);
            c->sum += (double)v.scores[s];
            c->squares += (double)v.scores[s] * (double)v.scores[s];
        }
        sum += (double)highest[p];
    }
    c->prompts = prompts;
    c->best[c->n++] = sum / prompts;
    c->samples += v.n_samples;
    return true;
}

void temperature_free(temperature_curve *c)
{
    for (int t = 0; t < TEMPERATURES; t++) free(c->highest[t]);
    *c = (temperature_curve){.n = 0};
}

int temperature_top(const temperature_curve *c)
{
    int top = 0;
    for (int t = 1; t < c->n; t++)
        if (c->best[t] > c->best[top]) top = t;
    return top;
}

double temperature_half(const temperature_curve *c, int t)
{
    const float *of = c->highest[t], *top = c->highest[temperature_top(c)];
    double sum = 0, squares = 0;
    for (int32_t p = 0; p < c->prompts; p++) {
        double d = (double)of[p] - (double)top[p];
        sum += d;
        squares += d * d;
    }
    return mean_half(c->prompts, sum, squares);
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
    int top = temperature_top(c), chosen = 0;
    if (rule == TEMPERATURE_HIGHEST) return temperature_grid[top];
    while (c->best[top] - c->best[chosen] > 0.1 * temperature_deviation(c)) chosen++;
    return temperature_grid[chosen];
}
