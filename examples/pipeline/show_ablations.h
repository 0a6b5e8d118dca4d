/* What the report of the ablations is put together from: results of the arms, tables, and what holds of the paper. */
#ifndef EXAMPLES_SHOW_ABLATIONS_H
#define EXAMPLES_SHOW_ABLATIONS_H

#include "common/cells.h"
#include "pipeline/ablations.h"
#include "pipeline/show.h"
#include "pipeline/show_departures.h"

typedef struct results {
    loop *l;
    report *r;
    json_t *reward[N_REWARD_ARMS], *sft[N_SFT_ARMS], *small[N_SMALL_ARMS], *pool[N_POOL_ARMS],
        *ppo[N_PPO_ARMS]; /* result.json */
    cells trends;         /* rows of five: what, the paper, what was expected, here, does it hold */
    bool failed;
} results;

void put_percent(cells *c, rate x); /* with its interval */
void put_count(cells *c, double n); /* NAN: none */

/* By the name of the step. */
const json_t *result_of(const results *all, const char *arm);
double number_in(const json_t *o, const char *path); /* "safety/auc"; NAN: there is none */
rate accuracy_in(const json_t *o, const char *path); /* of a card or a group of it; NULL: of the card */
rate longer_in(const json_t *o, const char *path);   /* the same of the rule that the longer answer wins */
rate score_in(const json_t *o, const char *name);    /* name, name_low, name_high */
/* a - b of two arms on the same held-out pairs, of a rating (-1: all); on those of the other kind. */
rate paired_difference(results *all, const char *a, const char *b, int rating);
rate other_difference(results *all, const char *a, const char *b);

/* A row of what holds; `gain` has the sign of the paper's figure. */
void add_trend(results *all, const char *what, const char *paper, trend_sign sign, const char *unit, rate gain);

/* Arms beside one another, by the gold judge: a table, and bars of their gold scores; at most ANSWERS_MOST. */
enum { ANSWERS_MOST = 4 };
void show_answers(results *all, const char *const *arms, const char *const *names, size_t n, const char *first,
                  const char *table_name, const char *plot_name, const char *caption, rate *gold_of);

/* show_ablations_rewards.c, show_ablations_sft.c, show_ablations_sampling.c: a section for each ablation. */
void show_margins(results *all);
void show_ratings(results *all);
void show_auxiliary(results *all);
void show_scaling(results *all);
void show_mixes(results *all);
void show_shuffled(results *all);
void show_safety_share(results *all);
void show_quality(results *all);
void show_longer(results *all);
void show_small(results *all);
void show_pools(results *all);
void show_distance(results *all);

#endif
