/* Whether a difference goes where the paper, or what was expected, says: for tables of what holds. */
#ifndef EXAMPLES_TREND_H
#define EXAMPLES_TREND_H

#include "common/cells.h"

/* What the whole interval is to do: lie above 0, hold it, lie below, not lie above. */
typedef enum trend_sign { TREND_RISES, TREND_STAYS, TREND_FALLS, TREND_DOES_NOT_RISE } trend_sign;

/* In words: "above 0". */
const char *trend_expectation(trend_sign sign);

/* An interval that is not finite is none: the verdict, of the mean alone, says so. */
const char *trend_verdict(trend_sign expected, double mean, double low, double high);
/* "+1.20 (+0.30 to +2.10) points"; unit "points": of shares. */
void trend_put(cells *c, double mean, double low, double high, const char *unit);

#endif
