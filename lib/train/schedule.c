#include "train/schedule.h"
#include <inttypes.h>
#include <math.h>

static const double pi = 3.14159265358979323846;

llama2_status l2_schedule_check(const llama2_trainer_options *o)
{
    if (o->schedule != LLAMA2_SCHEDULE_COSINE && o->schedule != LLAMA2_SCHEDULE_CONSTANT) {
        return l2_fail(LLAMA2_E_INVALID,
                       "schedule is %" PRId32 ": neither LLAMA2_SCHEDULE_COSINE nor LLAMA2_SCHEDULE_CONSTANT",
                       o->schedule);
    }
    if (o->warmup_steps < 0)
        return l2_fail(LLAMA2_E_INVALID, "warmup_steps is %" PRId64 ", less than 0", o->warmup_steps);
    if (o->schedule == LLAMA2_SCHEDULE_COSINE && o->total_steps <= o->warmup_steps) {
        return l2_fail(LLAMA2_E_INVALID,
                       "total_steps is %" PRId64 ": the cosine needs more steps than the %" PRId64 " of the warm-up",
                       o->total_steps, o->warmup_steps);
    }
    if (!(o->min_lr_ratio >= 0 && o->min_lr_ratio <= 1)) {
        return l2_fail(LLAMA2_E_INVALID, "min_lr_ratio is %g, not in [0, 1]", o->min_lr_ratio);
    }
    return LLAMA2_OK;
}

double l2_schedule_lr(const llama2_trainer_options *o, double peak, int64_t t)
{
    if (t < o->warmup_steps) return peak * (double)(t + 1) / (double)o->warmup_steps;
    if (o->schedule == LLAMA2_SCHEDULE_CONSTANT) return peak;
    if (t >= o->total_steps) return peak * o->min_lr_ratio;
    double x = (double)(t - o->warmup_steps) / (double)(o->total_steps - o->warmup_steps);
    return peak * (o->min_lr_ratio + (1 - o->min_lr_ratio) * (1 + cos(pi * x)) / 2);
}
