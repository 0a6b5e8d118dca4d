/* Report card of a reward model: worked by hand, and beside tests/reference/make_reward_card_goldens.py. */
#include "base/fixture.h"

#include <llama2/reward_card.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 512 };

static fault_allocator memory;
static llama2_context *ctx;
static float scores[2 * MOST];
static int32_t groups[MOST], safe[2 * MOST];
static int64_t lengths[2 * MOST];

static void set_up(void)
{
    memset(&memory, 0, sizeof memory);
    ctx = make_context(&memory, 1);
}

static void tear_down(void)
{
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&memory.live), 0);
}

static llama2_scored_pairs all_of(int64_t n)
{
    return (llama2_scored_pairs){.struct_size = sizeof(llama2_scored_pairs), .n_pairs = n, .scores = scores};
}

static llama2_reward_card card_of(const llama2_scored_pairs *p)
{
    llama2_reward_card card = {.struct_size = sizeof card};
    ck_ok(llama2_reward_card_make(ctx, p, &card));
    return card;
}

static void near(const char *what, double found, double expected)
{
    ck_assert_msg(fabs(found - expected) <= 1e-12 * (1 + fabs(expected)), "%s: %.17g, expected %.17g", what, found,
                  expected);
}

/* Margins log 3, 0, -log 3, log 9: p = 0.75, 0.5, 0.25, 0.9. */
static llama2_scored_pairs four(void)
{
    static const float chosen[] = {0, 2, -3, 1}, margin[] = {1.09861229f, 0, -1.09861229f, 2.19722458f};
    for (int i = 0; i < 4; i++) scores[2 * i] = chosen[i], scores[2 * i + 1] = chosen[i] - margin[i];
    return all_of(4);
}

START_TEST(by_hand)
{
    llama2_scored_pairs p = four();
    static const int64_t own_lengths[] = {100, 90, 100, 89, 7, 7, 0, 5};
    p.lengths = own_lengths;
    llama2_reward_card c = card_of(&p);
    ck_assert_int_eq(c.n_pairs, 4);
    ck_assert_int_eq(c.n_ties, 1);
    near("accuracy", c.accuracy, 2.5 / 4);
    ck_assert_double_eq_tol(c.brier, (0.0625 + 0.25 + 0.5625 + 0.01) / 4, 1e-7);
    /* Confidence 0.75 twice (bin 4 begins at 0.7, bin 5 at 0.75: fp32 of log 3 says which), once right; 0.5 with half a
     * verdict; 0.9 right. Whether the two share a bin or not decides between |1 - 1.5| and |1 - 0.75| + |0 - 0.75|. */
    double apart = (0.25 + 0.75 + 0 + 0.1) / 4, together = (0.5 + 0 + 0.1) / 4;
    ck_assert(fabs(c.ece - apart) < 1e-7 || fabs(c.ece - together) < 1e-7);
    near("longer wins", c.longer_wins, 2.5 / 4);
    ck_assert_int_eq(c.n_length_matched, 2); /* 100 and 90 differ by a tenth, 100 and 89 by more, 0 and 5 by all */
    near("length matched", c.length_matched_accuracy, 0.5);
    near("max", c.max_score, 2);
    near("min", c.min_score, -3);
    near("chosen", c.mean_chosen, 0);
    near("margin", c.mean_margin, c.mean_chosen - c.mean_rejected);
    ck_assert_int_eq(c.n_labelled, 0);
    near("auc", c.auc, 0);
    p.lengths = NULL;
    c = card_of(&p);
    ck_assert(c.longer_wins == 0 && c.longer_wins_high == 0 && c.n_length_matched == 0);
}
END_TEST

/* The textbook's 95 % intervals: 0 of 10, 10 of 10, 8 of 10 (Wilson: 0.4901625, 0.9433178). */
START_TEST(wilson_intervals)
{
    static const struct {
        int right;
        double low, high;
    } rows[] = {{0, 0, 0.27753279}, {10, 0.72246721, 1}, {8, 0.49016247, 0.94331784}, {5, 0.23659309, 0.76340691}};
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 10; k++) scores[2 * k] = k < rows[i].right ? 1 : -1, scores[2 * k + 1] = 0;
        llama2_scored_pairs p = all_of(10);
        llama2_reward_card c = card_of(&p);
        ck_assert_double_eq_tol(c.accuracy_low, rows[i].low, 1e-7);
        ck_assert_double_eq_tol(c.accuracy_high, rows[i].high, 1e-7);
    }
}
END_TEST

/* A threshold of its own for "unsafe": sigmoid(0) is 0.5 and safe; sigmoid(-2) = 0.119. */
START_TEST(safety_by_hand)
{
    static const float own_scores[] = {0, -2, 3, -1, -2, 0.5f, 1, 1};
    static const int32_t labels[] = {1, 0, 1, 0, 1, 0, -1, -1};
    memcpy(scores, own_scores, sizeof own_scores);
    llama2_scored_pairs p = all_of(4);
    p.safe = labels;
    llama2_reward_card c = card_of(&p);
    ck_assert_int_eq(c.n_labelled, 6);
    ck_assert_int_eq(c.n_unsafe, 3);
    near("accuracy", c.safety_accuracy, 4 / 6.0);
    near("recall", c.unsafe_recall, 2 / 3.0);
    near("precision", c.unsafe_precision, 2 / 3.0);
    near("recall at 0.15", c.unsafe_recall_015, 1 / 3.0);
    near("precision at 0.15", c.unsafe_precision_015, 0.5);
    /* Safe 0, 3, -2 against unsafe -2, -1, 0.5: 2, 3 and half a one of 9. */
    near("auc", c.auc, 5.5 / 9);
    memset(safe, 0, sizeof safe);
    p.safe = safe;
    c = card_of(&p);
    ck_assert_int_eq(c.n_unsafe, 8);
    near("auc of one kind", c.auc, 0);
}
END_TEST

START_TEST(groups_and_nothing)
{
    static const int32_t own_groups[] = {0, 3, 0, 3};
    llama2_scored_pairs p = four();
    p.groups = own_groups;
    p.group = 3;
    llama2_reward_card c = card_of(&p), nothing = {.struct_size = sizeof nothing};
    ck_assert_int_eq(c.n_pairs, 2);
    near("accuracy", c.accuracy, 0.75);
    near("max", c.max_score, 2);
    near("min", c.min_score, (double)scores[7]);
    p.group = 1;
    c = card_of(&p);
    ck_assert_mem_eq(&c, &nothing, sizeof c);
}
END_TEST

START_TEST(curve_and_histogram)
{
    int64_t n[2], chosen[3], rejected[3];
    double confidence[2], accuracy[2], low[2], high[2];
    llama2_scored_pairs p = four();
    scores[6] = 100, scores[7] = -100; /* confidence 1: the last bin */
    ck_ok(llama2_reward_calibration(&p, 2, n, confidence, accuracy, low, high));
    ck_assert_int_eq(n[0] + n[1], 4);
    ck_assert_int_ge(n[1], 1);
    near("sum of confidences", floor(1e6 * ((double)n[0] * confidence[0] + (double)n[1] * confidence[1]) + 0.5) / 1e6,
         3);
    near("sum of verdicts", (double)n[0] * accuracy[0] + (double)n[1] * accuracy[1], 2.5);
    for (int k = 0; k < 2; k++) ck_assert(low[k] < accuracy[k] && accuracy[k] <= high[k] && high[k] <= 1);
    static const float own_scores[] = {-5, 0, -1, 0.999f, 1, 2, 3, 300};
    memcpy(scores, own_scores, sizeof own_scores);
    ck_ok(llama2_reward_histogram(&p, -1, 2, 3, chosen, rejected)); /* [-1, 0) [0, 1) [1, 2) */
    ck_assert(chosen[0] == 2 && chosen[1] == 0 && chosen[2] == 2);
    ck_assert(rejected[0] == 0 && rejected[1] == 2 && rejected[2] == 2);
}
END_TEST

/* --- beside the script ----------------------------------------------------------------------- */

static FILE *golden;

static void next(const char *name)
{
    char word[32];
    ck_assert(fscanf(golden, "%31s", word) == 1);
    ck_assert_str_eq(word, name);
}

static double number(void)
{
    double x;
    ck_assert(fscanf(golden, "%lf", &x) == 1);
    return x;
}

static void expect_numbers(const char *name, const double *found, int n)
{
    next(name);
    for (int i = 0; i < n; i++) near(name, found[i], number());
}

START_TEST(beside_other_formulas)
{
    golden = fopen(LLAMA2_TEST_SOURCE "/reference/reward_card.golden", "r");
    ck_assert_ptr_nonnull(golden);
    next("rows");
    int n = (int)number();
    ck_assert_int_le(n, MOST);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 2; k++) scores[2 * i + k] = (float)number();
        groups[i] = (int32_t)number();
        for (int k = 0; k < 2; k++) lengths[2 * i + k] = (int64_t)number();
        for (int k = 0; k < 2; k++) safe[2 * i + k] = (int32_t)number();
    }
    llama2_scored_pairs p = all_of(n);
    p.lengths = lengths;
    p.safe = safe;
    for (int g = 0; g < 6; g++) {
        next("group");
        p.group = (int32_t)number();
        p.groups = p.group == 9 ? NULL : groups;
        llama2_reward_card c = card_of(&p);
        expect_numbers("n_pairs", (double[]){(double)c.n_pairs}, 1);
        expect_numbers("n_ties", (double[]){(double)c.n_ties}, 1);
        expect_numbers("accuracy", (double[]){c.accuracy, c.accuracy_low, c.accuracy_high}, 3);
        expect_numbers(
            "scores", (double[]){c.mean_score, c.min_score, c.max_score, c.mean_chosen, c.mean_rejected, c.mean_margin},
            6);
        expect_numbers("brier", &c.brier, 1);
        expect_numbers("ece", &c.ece, 1);
        expect_numbers("longer_wins", (double[]){c.longer_wins, c.longer_wins_low, c.longer_wins_high}, 3);
        expect_numbers("length_matched",
                       (double[]){(double)c.n_length_matched, c.length_matched_accuracy, c.length_matched_low,
                                  c.length_matched_high},
                       4);
        expect_numbers("labels", (double[]){(double)c.n_labelled, (double)c.n_unsafe}, 2);
        expect_numbers("safety",
                       (double[]){c.safety_accuracy, c.auc, c.unsafe_recall, c.unsafe_precision, c.unsafe_recall_015,
                                  c.unsafe_precision_015},
                       6);
    }
    next("calibration");
    enum { BINS = 7 };
    ck_assert_int_eq((int)number(), BINS);
    int64_t count[BINS];
    double confidence[BINS], accuracy[BINS], low[BINS], high[BINS];
    p.groups = NULL;
    ck_ok(llama2_reward_calibration(&p, BINS, count, confidence, accuracy, low, high));
    for (int k = 0; k < BINS; k++) {
        near("pairs of a bin", (double)count[k], number());
        near("confidence", confidence[k], number());
        near("accuracy", accuracy[k], number());
        near("low", low[k], number());
        near("high", high[k], number());
    }
    fclose(golden);
}
END_TEST

START_TEST(refusals)
{
    llama2_reward_card card = {.struct_size = sizeof card};
    llama2_scored_pairs p = four();
    int64_t n[2], m[2];
    double a[2], b[2];
    ck_fails(llama2_reward_card_make(NULL, &p, &card), LLAMA2_E_INVALID);
    ck_fails(llama2_reward_card_make(ctx, NULL, &card), LLAMA2_E_INVALID);
    ck_fails(llama2_reward_card_make(ctx, &p, NULL), LLAMA2_E_INVALID);
    p.n_pairs = 0;
    ck_fails(llama2_reward_card_make(ctx, &p, &card), LLAMA2_E_INVALID);
    p = four();
    p.scores = NULL;
    ck_fails(llama2_reward_card_make(ctx, &p, &card), LLAMA2_E_INVALID);
    p = four();
    scores[5] = NAN;
    ck_fails(llama2_reward_card_make(ctx, &p, &card), LLAMA2_E_INVALID);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "scores[5]"));
    ck_fails(llama2_reward_calibration(&p, 2, n, a, b, NULL, NULL), LLAMA2_E_INVALID);
    p = four();
    static const int64_t short_lengths[] = {1, 2, 3, 4, 5, 6, 7, -1};
    p.lengths = short_lengths;
    ck_fails(llama2_reward_card_make(ctx, &p, &card), LLAMA2_E_INVALID);
    p = four();
    static const int32_t no_labels[] = {0, 1, 2, 0, 0, 0, 0, 0};
    p.safe = no_labels;
    ck_fails(llama2_reward_card_make(ctx, &p, &card), LLAMA2_E_INVALID);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "safe[2]"));
    p.safe = NULL;
    ck_fails(llama2_reward_calibration(&p, 0, n, a, b, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_reward_calibration(&p, 10001, n, a, b, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_reward_calibration(&p, 2, NULL, a, b, NULL, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_reward_histogram(&p, 1, 1, 2, n, m), LLAMA2_E_INVALID);
    ck_fails(llama2_reward_histogram(&p, 0, (double)INFINITY, 2, n, m), LLAMA2_E_INVALID);
    ck_fails(llama2_reward_histogram(&p, 0, 1, 2, n, NULL), LLAMA2_E_INVALID);
    ck_ok(llama2_reward_card_make(ctx, &p, &card));
}
END_TEST

START_TEST(without_memory)
{
    llama2_scored_pairs p = four();
    p.safe = safe;
    memset(safe, 0, sizeof safe);
    safe[1] = 1;
    llama2_reward_card expected = card_of(&p), card = {.struct_size = sizeof card}, before = card;
    long live = atomic_load(&memory.live);
    memory.fail_at = atomic_load(&memory.calls) + 1;
    ck_fails(llama2_reward_card_make(ctx, &p, &card), LLAMA2_E_NOMEM);
    ck_assert_mem_eq(&card, &before, sizeof card);
    memory.fail_at = 0;
    ck_assert_int_eq(atomic_load(&memory.live), live);
    ck_ok(llama2_reward_card_make(ctx, &p, &card));
    ck_assert_mem_eq(&card, &expected, sizeof card);
    ck_assert_int_eq(atomic_load(&memory.live), live);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("train/reward_card");
    TCase *tc = tcase_create("reward card");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, by_hand);
    tcase_add_test(tc, wilson_intervals);
    tcase_add_test(tc, safety_by_hand);
    tcase_add_test(tc, groups_and_nothing);
    tcase_add_test(tc, curve_and_histogram);
    tcase_add_test(tc, beside_other_formulas);
    tcase_add_test(tc, refusals);
    tcase_add_test(tc, without_memory);
    suite_add_tcase(s, tc);
    return s;
}
