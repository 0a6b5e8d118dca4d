#include "train_test.h"
#include "train/schedule.h"

START_TEST(warm_up_then_cosine)
{
    llama2_trainer_options o;
    llama2_trainer_options_init(&o, sizeof o);
    o.schedule = LLAMA2_SCHEDULE_COSINE;
    o.warmup_steps = 4;
    o.total_steps = 104;
    ck_ok(l2_schedule_check(&o));
    ck_assert_double_eq_tol(l2_schedule_lr(&o, 2, 0), 0.5, 1e-15);
    ck_assert_double_eq_tol(l2_schedule_lr(&o, 2, 3), 2, 1e-15);
    ck_assert_double_eq_tol(l2_schedule_lr(&o, 2, 4), 2, 1e-15);
    ck_assert_double_eq_tol(l2_schedule_lr(&o, 2, 29), 2 * (0.1 + 0.9 * (1 + sqrt(0.5)) / 2), 1e-14);
    ck_assert_double_eq_tol(l2_schedule_lr(&o, 2, 54), 1.1, 1e-14);
    ck_assert_double_eq_tol(l2_schedule_lr(&o, 2, 104), 0.2, 1e-15);
    ck_assert_double_eq_tol(l2_schedule_lr(&o, 2, 1000000), 0.2, 1e-15);
    o.schedule = LLAMA2_SCHEDULE_CONSTANT;
    ck_assert_double_eq_tol(l2_schedule_lr(&o, 2, 1), 1, 1e-15);
    ck_assert_double_eq_tol(l2_schedule_lr(&o, 2, 5000), 2, 1e-15);
}
END_TEST

START_TEST(refused)
{
    llama2_trainer_options o;
    llama2_trainer_options_init(&o, sizeof o);
    o.schedule = 7;
    ck_fails(l2_schedule_check(&o), LLAMA2_E_INVALID);
    o.schedule = LLAMA2_SCHEDULE_COSINE;
    o.warmup_steps = 10;
    o.total_steps = 10;
    ck_fails(l2_schedule_check(&o), LLAMA2_E_INVALID);
    o.total_steps = 11;
    o.min_lr_ratio = NAN;
    ck_fails(l2_schedule_check(&o), LLAMA2_E_INVALID);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("schedule");
    ADD_CASE(suite, "schedule", warm_up_then_cosine, refused);
    return suite;
}
