#include "common/trend.h"

#include <math.h>
#include <string.h>

static const char *without_interval(trend_sign expected, double mean)
{
    bool holds = expected == TREND_RISES   ? mean > 0
                 : expected == TREND_FALLS ? mean < 0
                 : expected == TREND_STAYS ? mean == 0
                                           : mean <= 0;
    return holds ? "yes, without an interval" : "no, without an interval";
}

const char *trend_expectation(trend_sign sign)
{
    static const char *const texts[] = {"above 0", "0", "below 0", "not above 0"};
    return texts[sign];
}

const char *trend_verdict(trend_sign expected, double mean, double low, double high)
{
    if (!isfinite(mean)) return "not measured";
    if (!isfinite(low) || !isfinite(high)) return without_interval(expected, mean);
    if (expected == TREND_DOES_NOT_RISE) return low <= 0 ? "no gain beyond the interval" : "no: it gains";
    if (expected == TREND_STAYS) return low > 0 ? "no: it rises" : high < 0 ? "no: it falls" : "within the interval";
    if (expected == TREND_FALLS) {
        double kept = low;
        low = -high;
        high = -kept;
    }
    return low > 0 ? "yes" : high < 0 ? "no: the reverse" : "not beyond the interval";
}

void trend_put(cells *c, double mean, double low, double high, const char *unit)
{
    double k = strcmp(unit, "points") == 0 ? 100 : 1;
    const char *space = *unit ? " " : "";
    if (isfinite(low) && isfinite(high))
        cells_put(c, "%+.2f (%+.2f to %+.2f)%s%s", k * mean, k * low, k * high, space, unit);
    else if (isfinite(mean))
        cells_put(c, "%+.2f%s%s", k * mean, space, unit);
    else
        cells_put(c, "-");
}
