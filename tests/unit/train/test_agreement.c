/* What a collection holds, and how far annotators agree: numbers worked out by hand, and Krippendorff's coincidences.
 */
#include "preference_test.h"

static llama2_agreement agreement_of(const llama2_preferences *p, int32_t kind)
{
    llama2_agreement a = {.struct_size = sizeof a};
    ck_ok(llama2_preferences_agreement(p, kind, &a));
    return a;
}

static const char *const names[] = {"ann", "ben", "clara", "dora", "emil"};

/* The nominal data of two observers in Krippendorff (2011), "Computing Krippendorff's alpha-reliability", A: 10 units,
 * of which they disagree on 4. Each unit under both names: o = {12, 8; 8, 12}, n = 40, D_o = 16/40, D_e =
 * 2 * 20 * 20 / (40 * 39), alpha = 0.22. */
START_TEST(two_observers)
{
    static const int32_t meg[] = {0, 1, 0, 0, 0, 0, 0, 0, 1, 0}, owen[] = {1, 1, 1, 0, 0, 1, 0, 0, 0, 0};
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p = new_preferences(ctx);
    for (int i = 0; i < 10; i++) {
        char prompt[] = {(char)('a' + i), 0};
        add_choice(p, prompt, "x", "y", meg[i], "meg");
        /* he is shown every other one in the other order */
        add_choice(p, prompt, i % 2 ? "y" : "x", i % 2 ? "x" : "y", i % 2 ? 1 - owen[i] : owen[i], "owen");
    }
    llama2_agreement a = agreement_of(p, -1);
    ck_assert_int_eq(a.n_comparisons, 10);
    ck_assert_int_eq(a.n_annotations, 20);
    ck_assert_double_eq_tol(a.share, 0.6, 1e-15);
    ck_assert_double_eq_tol(a.alpha, 0.22, 1e-15);
    ck_assert_int_eq(agreement_of(p, LLAMA2_KIND_HELPFUL).n_comparisons, 10);
    a = agreement_of(p, LLAMA2_KIND_SAFETY);
    ck_assert(a.n_comparisons == 0 && a.n_annotations == 0 && a.share == 0 && a.alpha == 0);
    llama2_preferences_free(p);
    llama2_context_free(ctx);
}
END_TEST

/* By hand: annotators 3:0, 2:1, 2:0, 1:1; N = 10, D_o = (0 + 2*2*1/2 + 0 + 2*1*1/1) / 10 = 0.4, D_e = 10/19, alpha =
 * 0.24; of 3 + 3 + 1 + 1 pairs of annotators 3 + 1 + 1 + 0 agree. */
START_TEST(any_number_of_annotators)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p = new_preferences(ctx);
    small_record s;
    for (int i = 0; i < 3; i++) add_choice(p, "a", "x", "y", 1, names[i]);
    for (int i = 0; i < 3; i++) add_choice(p, "b", "x", "y", i == 1, names[i]);
    for (int i = 2; i < 4; i++) add_choice(p, "c", "x", "y", 0, names[i]);
    for (int i = 0; i < 2; i++) add_choice(p, "d", "x", "y", i, names[i]);
    /* None of these counts: one annotator alone, no annotator, no choice, equal responses. */
    add_choice(p, "e", "x", "y", 0, "ann");
    add_choice(p, "c", "x", "y", 1, NULL);
    add_choice(p, "c", "x", "y", -1, "ben");
    for (int i = 0; i < 2; i++) add_choice(p, "f", "x", "x", i, names[i]);
    /* Nor do these two belong together: another kind, with a guideline of its own; another history. */
    add_choice(p, "g", "x", "y", 0, "ann");
    small_record_init(&s, "g", "x", "y", 1)->annotator = "ben";
    s.r.kind = LLAMA2_KIND_SAFETY;
    ck_ok(llama2_preferences_add(p, &s.r));
    llama2_agreement a = agreement_of(p, -1);
    ck_assert_int_eq(a.n_comparisons, 4);
    ck_assert_int_eq(a.n_annotations, 10);
    ck_assert_double_eq_tol(a.share, 0.625, 1e-15);
    ck_assert_double_eq_tol(a.alpha, 0.24, 1e-15);
    /* Who chooses again has changed his mind. */
    add_choice(p, "d", "y", "x", 1, "ben");
    a = agreement_of(p, -1);
    ck_assert_int_eq(a.n_annotations, 10);
    ck_assert_double_eq_tol(a.share, 0.75, 1e-15);
    ck_assert_double_eq_tol(a.alpha, 1 - 0.2 * 19 / 10, 1e-15);
    llama2_agreement none = {.struct_size = sizeof none};
    ck_fails(llama2_preferences_agreement(p, 2, &none), LLAMA2_E_INVALID);
    llama2_preferences_free(p);
    llama2_context_free(ctx);
}
END_TEST

/* Nominal alpha from its definition: coincidences of values within units, o, n_c, n; units of two values or more. */
static double krippendorff(const int32_t (*values)[5], int n_units)
{
    double o[2][2] = {{0}}, n[2] = {0};
    for (int u = 0; u < n_units; u++) {
        int m = 0;
        for (int i = 0; i < 5; i++) m += values[u][i] >= 0;
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 5; k++)
                if (i != k && values[u][i] >= 0 && values[u][k] >= 0) o[values[u][i]][values[u][k]] += 1.0 / (m - 1);
    }
    for (int c = 0; c < 2; c++) n[c] = o[c][0] + o[c][1];
    double all = n[0] + n[1];
    return 1 - (o[0][1] + o[1][0]) / all / (2 * n[0] * n[1] / (all * (all - 1)));
}

/* Alpha is that of the data with each comparison under both names; whatever the order of records and responses. */
START_TEST(alpha_is_krippendorffs)
{
    enum { UNITS = 60 };
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    uint64_t state = 5;
    double before = 0;
    static int32_t values[2 * UNITS][5];
    for (int u = 0; u < UNITS; u++)
        for (int i = 0; i < 5; i++) {
            int32_t v = noise(&state) < -0.3 ? -1 : noise(&state) < (u % 3 - 1) * 0.7;
            values[2 * u][i] = v;
            values[2 * u + 1][i] = v < 0 ? -1 : 1 - v;
        }
    for (int order = 0; order < 2; order++) {
        llama2_preferences *p = new_preferences(ctx);
        for (int k = 0; k < 5 * UNITS; k++) {
            int at = order ? 5 * UNITS - 1 - k : k, u = at / 5, i = at % 5, swap = order && (u + i) % 2;
            char prompt[8];
            if (values[2 * u][i] < 0) continue;
            snprintf(prompt, sizeof prompt, "%d", u);
            add_choice(p, prompt, swap ? "good" : "bad", swap ? "bad" : "good", values[2 * u][i] ^ swap, names[i]);
        }
        llama2_agreement a = agreement_of(p, -1);
        ck_assert_double_eq_tol(a.alpha, krippendorff((const int32_t(*)[5])values, 2 * UNITS), 1e-12);
        ck_assert(a.alpha > 0.05 && a.alpha < 0.95 && (order == 0 || a.alpha == before));
        before = a.alpha;
        llama2_preferences_free(p);
    }
    llama2_context_free(ctx);
}
END_TEST

START_TEST(counts)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_preferences *p = new_preferences(ctx);
    llama2_preference_summary s = {.struct_size = sizeof s};
    ck_ok(llama2_preferences_summarise(p, -1, &s));
    ck_assert(s.n_records == 0 && s.first_share == 0.5);
    for (int32_t i = 0; i < 40; i++) { /* safety: 20 records, chosen 0 and 1 in turn, bins and ratings 0 .. 3, -1 */
        static const int32_t labels[5][2] = {{1, 0}, {1, 1}, {0, 0}, {0, 1}, {-1, 1}};
        int32_t chosen = i / 2 % 2, *const safe = (int32_t[2]){0};
        small_record r;
        small_record_init(&r, "a", "b", "c", chosen);
        safe[chosen] = labels[i % 5][0];
        safe[1 - chosen] = labels[i % 5][1];
        r.r.safe = safe;
        r.r.rating = i % 5 == 4 ? -1 : i % 5;
        r.r.kind = i % 2;
        ck_ok(llama2_preferences_add(p, &r.r));
    }
    for (int i = 0; i < 3; i++) add_choice(p, "a", "b", "c", i - 1, NULL);
    ck_ok(llama2_preferences_summarise(p, LLAMA2_KIND_SAFETY, &s));
    ck_assert(s.n_records == 20 && s.n_chosen == 20 && s.n_first == 10 && s.first_share == 0.5);
    ck_assert(s.n_significantly == 4 && s.n_better == 4 && s.n_slightly == 4 && s.n_negligibly == 4);
    ck_assert(s.n_unrated == 4 && s.n_unlabelled == 4);
    ck_assert(s.n_chosen_safe == 4 && s.n_both_safe == 4 && s.n_both_unsafe == 4 && s.n_other_safe == 4);
    ck_ok(llama2_preferences_summarise(p, LLAMA2_KIND_HELPFUL, &s));
    ck_assert(s.n_records == 23 && s.n_chosen == 22 && s.n_first == 11 && s.n_unrated == 6 && s.n_unlabelled == 6);
    add_choice(p, "a", "b", "c", 0, NULL);
    ck_ok(llama2_preferences_summarise(p, -1, &s));
    ck_assert(s.n_records == 44 && s.n_chosen == 43 && s.n_first == 22);
    ck_assert_double_eq_tol(s.first_share, 22.0 / 43, 1e-15);
    ck_fails(llama2_preferences_summarise(p, -2, &s), LLAMA2_E_INVALID);
    llama2_preferences_free(p);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("agreement");
    ADD_CASE(suite, "agreement", two_observers, any_number_of_annotators, alpha_is_krippendorffs);
    ADD_CASE(suite, "counts", counts);
    return suite;
}
