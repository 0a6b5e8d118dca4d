/* Where a run departs from the paper's settings, and why: a table in each report. */
#ifndef EXAMPLES_SHOW_DEPARTURES_H
#define EXAMPLES_SHOW_DEPARTURES_H

#include "pipeline/show.h"

void show_chain_departures(const pipeline *p, report *r);
void show_loop_departures(const loop *l, report *r);
/* parameters: of the trunk; refusals: those that all safety data of the SFT arms has. */
void show_ablation_departures(const pipeline *p, double parameters, double refusals, report *r);

#endif
