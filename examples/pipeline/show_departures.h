/* Where a run departs from the paper's settings, and why: a table in each report. */
#ifndef EXAMPLES_SHOW_DEPARTURES_H
#define EXAMPLES_SHOW_DEPARTURES_H

#include "pipeline/show.h"

void show_chain_departures(const pipeline *p, report *r);
/* rule: how the temperature of a version is chosen, "lowest" or "highest". */
void show_loop_departures(const loop *l, const char *rule, report *r);
/* parameters: of the trunk; refusals: those that all safety data of the SFT arms has. */
void show_ablation_departures(const pipeline *p, double parameters, double refusals, report *r);

#endif
