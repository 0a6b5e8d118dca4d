/* Where a run departs from the paper's settings, and why: a table in each report. */
#ifndef EXAMPLES_SHOW_DEPARTURES_H
#define EXAMPLES_SHOW_DEPARTURES_H

#include "pipeline/show.h"

void show_chain_departures(const pipeline *p, report *r);
void show_loop_departures(const loop *l, report *r);
/* parameters: of the trunk; margins: those of the margins alone. */
void show_ablation_departures(const pipeline *p, double parameters, bool margins, report *r);

#endif
