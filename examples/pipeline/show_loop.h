/* What the report of the loop is put together from: the versions as they are judged, and what holds of the paper. */
#ifndef EXAMPLES_SHOW_LOOP_H
#define EXAMPLES_SHOW_LOOP_H

#include "pipeline/show.h"

enum { MOST_SHOWN = LOOP_VERSIONS + 4, NAME_LENGTH = 64 };

/* The evaluated models in their order: the first is SFT-v1, the last one is after PPO, the one before it is not. */
typedef struct versions {
    judged all[MOST_SHOWN], cold[MOST_SHOWN]; /* answers at temperature 1, and near 0 */
    const char *names[MOST_SHOWN];
    int n, distilled; /* its place */
} versions;

typedef struct loop_report {
    loop *l;
    report *r;
    versions v;
    cells trends; /* rows of five: what, the paper, what was expected, here, does it hold */
} loop_report;

/* A line with its interval. */
typedef struct curve {
    series y, low, high;
} curve;

void curve_add(curve *c, double x, double y, double half); /* half NAN: no interval */
void curve_free(curve *c);
plot_series curve_line(const char *name, const curve *c);

/* A result of a version; the run stops where there is none. */
json_t *result(loop *l, const char *step, int version, const char *file);
double number_at(const json_t *object, const char *key); /* NAN: there is none */
double number_in_array(const json_t *object, const char *key, size_t i);
/* Key y against key x of a step's metrics. */
bool read_metrics(loop *l, const char *step, const char *x, const char *y, series *out);
/* name, name/low, name/high into an object for show_numbers(). */
void put_rate(json_t *line, const char *name, rate x);

/* A row of what holds. Of a control nothing is expected. */
void loop_trend(loop_report *all, const char *what, const char *paper, const char *expected, trend_sign sign,
                const char *unit, rate gain);

/* show_versions.c */
void show_path(loop_report *all);
void show_table(loop_report *all);
void show_shift(loop_report *all);
/* show_loop_sampling.c, show_loop_rewards.c, show_loop_steps.c, show_loop_ppo.c; false: a file of a step was not there.
 */
bool show_sampling(loop_report *all);
bool show_reward_models(loop_report *all);
bool show_gatt(loop_report *all);
bool show_distill(loop_report *all);
bool show_ppo(loop_report *all);

#endif
