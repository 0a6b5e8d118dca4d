/* Learning rates (section 2.2: cosine with warm-up). */
#ifndef L2_TRAIN_SCHEDULE_H
#define L2_TRAIN_SCHEDULE_H

#include "base/status.h"
#include <llama2/trainer.h>

/* Refuses a schedule that is none; the message says which field. */
llama2_status l2_schedule_check(const llama2_trainer_options *options);

/* Rate of update t = 0, 1, ... */
double l2_schedule_lr(const llama2_trainer_options *options, double peak, int64_t t);

#endif
