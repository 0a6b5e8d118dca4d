/* Mixtures of sources: shares of each recipe, each item once, resuming at any position, refusals. */
#include "base/fixture.h"

#include <llama2/mixture.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    H = LLAMA2_SOURCE_OWN_HELPFUL,
    S = LLAMA2_SOURCE_OWN_SAFETY,
    OH = LLAMA2_SOURCE_OPEN_HELPFUL,
    OS = LLAMA2_SOURCE_OPEN_HARMLESS
};
enum { SOURCES = 6, ITEMS = 1000, DRAWS = 40000 };

static fault_allocator memory;
static llama2_context *ctx;
static int32_t sources[DRAWS];
static int64_t items[DRAWS];
static int seen[SOURCES][ITEMS];

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

/* Two sources of own helpfulness (300 and 60), own safety 40, open helpful 500, open harmless 0 and 104. */
static const int64_t counts[SOURCES] = {300, 40, 500, 60, 0, 104};
static const int32_t kinds[SOURCES] = {H, S, OH, H, OS, OS};

static llama2_mixture *make(int32_t recipe, uint64_t seed, const double *weights)
{
    llama2_mixture_options o;
    llama2_mixture *m;
    llama2_mixture_options_init(&o, sizeof o);
    o.recipe = recipe;
    o.seed = seed;
    ck_ok(llama2_mixture_create(ctx, SOURCES, counts, kinds, weights, &o, &m));
    return m;
}

/* Draws an epoch; each item's number of draws into `seen`, each source's into `drawn`. */
static void draw_epoch(const llama2_mixture *m, uint64_t epoch, int64_t drawn[SOURCES])
{
    int64_t n = llama2_mixture_epoch_items(m);
    ck_assert_int_le(n, DRAWS);
    ck_ok(llama2_mixture_draw(m, epoch * (uint64_t)n, n, sources, items));
    memset(seen, 0, sizeof seen);
    memset(drawn, 0, SOURCES * sizeof *drawn);
    for (int64_t i = 0; i < n; i++) {
        ck_assert(sources[i] >= 0 && sources[i] < SOURCES);
        ck_assert(items[i] >= 0 && items[i] < counts[sources[i]]);
        seen[sources[i]][items[i]]++;
        drawn[sources[i]]++;
    }
}

static int most_draws(int source)
{
    int most = 0;
    for (int64_t k = 0; k < counts[source]; k++) most = seen[source][k] > most ? seen[source][k] : most;
    return most;
}

/* Each item of the source exactly once. */
static void all_once(int source, const int64_t drawn[SOURCES])
{
    ck_assert_int_eq(drawn[source], counts[source]);
    ck_assert_int_eq(most_draws(source), counts[source] > 0);
}

START_TEST(helpfulness)
{
    llama2_mixture *m = make(LLAMA2_MIX_HELPFULNESS, 1, NULL);
    int64_t drawn[SOURCES], rest[SOURCES] = {0};
    ck_assert_int_eq(llama2_mixture_epoch_items(m), 720); /* 360 own helpfulness and as many of the other 644 */
    for (uint64_t epoch = 0; epoch < 161; epoch++) {      /* 161 * 360 = 90 * 644 */
        draw_epoch(m, epoch, drawn);
        all_once(0, drawn);
        all_once(3, drawn);
        ck_assert_int_eq(drawn[1] + drawn[2] + drawn[5], 360);
        for (int i = 0; i < SOURCES; i++) rest[i] += drawn[i];
        if (epoch == 0) /* the rest is not used up yet */
            for (int i = 0; i < SOURCES; i++) ck_assert_int_le(most_draws(i), 1);
        if (epoch == 0) ck_assert_double_eq_tol((double)drawn[2] / 360, 500 / 644.0, 0.08);
    }
    /* Over whole passes the rest is uniform to the item. */
    ck_assert(rest[1] == 90 * 40 && rest[2] == 90 * 500 && rest[5] == 90 * 104);
    llama2_mixture_free(m);
}
END_TEST

START_TEST(safety)
{
    llama2_mixture *m = make(LLAMA2_MIX_SAFETY, 2, NULL);
    int64_t drawn[SOURCES];
    ck_assert_int_eq(llama2_mixture_epoch_items(m), 160); /* 144 and 16: 90 to 10 */
    for (uint64_t epoch = 0; epoch < 5; epoch++) {
        draw_epoch(m, epoch, drawn);
        all_once(1, drawn);
        all_once(5, drawn);
        ck_assert_int_eq(drawn[0] + drawn[3] + drawn[2], 16);
    }
    llama2_mixture_free(m);
}
END_TEST

START_TEST(nine_to_one)
{
    llama2_mixture *m = make(LLAMA2_MIX_NINE_TO_ONE, 3, NULL);
    int64_t drawn[SOURCES];
    draw_epoch(m, 0, drawn); /* 400 own, 400 / 9 = 44.4 open */
    all_once(0, drawn);
    all_once(1, drawn);
    all_once(3, drawn);
    ck_assert_int_eq(drawn[2] + drawn[4] + drawn[5], 44);
    llama2_mixture_free(m);
    /* One in ten of few is one. */
    llama2_mixture_options o;
    llama2_mixture_options_init(&o, sizeof o);
    o.recipe = LLAMA2_MIX_NINE_TO_ONE;
    ck_ok(llama2_mixture_create(ctx, 2, (const int64_t[]){2, 50}, (const int32_t[]){H, OH}, NULL, &o, &m));
    ck_assert_int_eq(llama2_mixture_epoch_items(m), 3);
    llama2_mixture_free(m);
}
END_TEST

START_TEST(open_first)
{
    llama2_mixture *m = make(LLAMA2_MIX_OPEN_FIRST, 4, NULL);
    int64_t drawn[SOURCES];
    int64_t first_own, last_open;
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        draw_epoch(m, epoch, drawn);
        for (int i = 0; i < SOURCES; i++) all_once(i, drawn);
        first_own = last_open = -1;
        for (int64_t i = 0; i < 1004; i++) {
            int own = kinds[sources[i]] == H || kinds[sources[i]] == S;
            if (own && first_own < 0) first_own = i;
            if (!own) last_open = i;
        }
        ck_assert_int_ge(first_own, 302); /* half of 604 */
        ck_assert_int_le(first_own, 312);
        ck_assert_int_ge(last_open, 990); /* kept throughout */
    }
    llama2_mixture_free(m);
    llama2_mixture_options o;
    llama2_mixture_options_init(&o, sizeof o);
    o.recipe = LLAMA2_MIX_OPEN_FIRST;
    static const double ends[] = {0, 1};
    for (int k = 0; k < 2; k++) { /* none alone, all alone */
        o.open_first = ends[k];
        ck_ok(llama2_mixture_create(ctx, 2, (const int64_t[]){20, 10}, (const int32_t[]){H, OH}, NULL, &o, &m));
        ck_ok(llama2_mixture_draw(m, 0, 30, sources, items));
        int open_ones = 0;
        for (int i = 0; i < 10; i++) open_ones += sources[i];
        ck_assert(k ? open_ones == 10 : open_ones < 10);
        llama2_mixture_free(m);
    }
    /* Before there is any own data, and without open data. */
    for (int k = 0; k < 2; k++) {
        ck_ok(llama2_mixture_create(ctx, 2, k ? (const int64_t[]){0, 7} : (const int64_t[]){7, 0},
                                    (const int32_t[]){H, OH}, NULL, &o, &m));
        ck_assert_int_eq(llama2_mixture_epoch_items(m), 7);
        ck_ok(llama2_mixture_draw(m, 0, 21, sources, items));
        for (int i = 0; i < 21; i++) ck_assert_int_eq(sources[i], k);
        llama2_mixture_free(m);
    }
}
END_TEST

START_TEST(all_and_equal)
{
    llama2_mixture *m = make(LLAMA2_MIX_ALL, 5, NULL), *other = make(LLAMA2_MIX_ALL, 6, NULL);
    int64_t drawn[SOURCES];
    static int32_t before[1004];
    double place = 0;
    draw_epoch(other, 0, drawn);
    memcpy(before, sources, sizeof before);
    draw_epoch(m, 0, drawn);
    ck_assert_mem_ne(before, sources, sizeof before); /* another seed, another order */
    memcpy(before, sources, sizeof before);
    for (int i = 0; i < SOURCES; i++) all_once(i, drawn);
    for (int i = 0; i < 1004; i++) place += sources[i] == 2 ? i / 1004.0 / 500 : 0;
    ck_assert_double_eq_tol(place, 0.5, 0.05); /* spread over the epoch */
    draw_epoch(m, 1, drawn);
    for (int i = 0; i < SOURCES; i++) all_once(i, drawn);
    ck_assert_mem_ne(before, sources, sizeof before); /* another epoch, another order */
    llama2_mixture_free(other);
    llama2_mixture_free(m);
    llama2_mixture_options o;
    llama2_mixture_options_init(&o, sizeof o);
    o.recipe = LLAMA2_MIX_EQUAL;
    ck_ok(llama2_mixture_create(ctx, 3, (const int64_t[]){30, 7, 9}, NULL, NULL, &o, &m));
    ck_assert_int_eq(llama2_mixture_epoch_items(m), 21);
    int of[3] = {0}, first[30] = {0};
    ck_ok(llama2_mixture_draw(m, 0, 90 * 7, sources, items));
    for (int i = 0; i < 90 * 7; i++) {
        of[sources[i]]++;
        if (sources[i] == 0) first[items[i]]++;
    }
    ck_assert(of[0] == 210 && of[1] == 210 && of[2] == 210);
    for (int i = 0; i < 30; i++) ck_assert_int_eq(first[i], 7); /* the largest is gone through, not begun anew */
    llama2_mixture_free(m);
}
END_TEST

START_TEST(weights)
{
    static const double third[] = {1, 0, 2, 0, 0, 0};
    llama2_mixture *m = make(LLAMA2_MIX_WEIGHTS, 7, third);
    int64_t drawn[SOURCES];
    ck_assert_int_eq(llama2_mixture_epoch_items(m), 750); /* 250 and 500: no item twice */
    draw_epoch(m, 0, drawn);
    ck_assert(drawn[0] == 250 && drawn[2] == 500 && most_draws(0) == 1 && most_draws(2) == 1);
    llama2_mixture_free(m);
    /* The longest epoch, to the item, for many counts and weights. */
    llama2_mixture_options o;
    llama2_mixture_options_init(&o, sizeof o);
    o.recipe = LLAMA2_MIX_WEIGHTS;
    for (int a = 1; a < 12; a++)
        for (int b = 1; b < 12; b++) {
            const double w[] = {a / 10.0, b / 10.0};
            const int64_t n[] = {20 * b, 30 * a};
            int64_t in_order = 20 * b * (a + b) / a, other = 30 * a * (a + b) / b;
            ck_ok(llama2_mixture_create(ctx, 2, n, NULL, w, &o, &m));
            int64_t made = llama2_mixture_epoch_items(m), least = in_order < other ? in_order : other, of[2] = {0};
            ck_assert_msg(made == least || made == least + 1, "%d %d: %d of %d", a, b, (int)made, (int)least);
            ck_ok(llama2_mixture_draw(m, 0, made, sources, items));
            for (int64_t i = 0; i < made; i++) of[sources[i]]++;
            ck_assert(of[0] <= n[0] && of[1] <= n[1]);
            ck_assert_double_eq_tol((double)of[0], (double)made * a / (a + b), 0.5 + 1e-9);
            llama2_mixture_free(m);
        }
    o.epoch_items = 100; /* 62.5 and 37.5 */
    ck_ok(llama2_mixture_create(ctx, 2, (const int64_t[]){10, 500}, NULL, (const double[]){5, 3}, &o, &m));
    int64_t of[2] = {0}, times[10] = {0};
    ck_ok(llama2_mixture_draw(m, 300, 100, sources, items));
    for (int i = 0; i < 100; i++) {
        of[sources[i]]++;
        if (sources[i] == 0) times[items[i]]++;
    }
    ck_assert(of[0] == 63 && of[1] == 37);
    for (int i = 0; i < 10; i++) ck_assert(times[i] >= 5 && times[i] <= 8); /* repeated in passes, not at random */
    llama2_mixture_free(m);
}
END_TEST

/* Any part of the sequence is the same, however it is asked for, up to the last position. */
START_TEST(any_position)
{
    static const double w[] = {1, 2, 3, 4, 0, 5};
    static const uint64_t starts[] = {
        0, 1, 719, 720, 721, 123456789, ((uint64_t)1 << 53) + 7, ((uint64_t)1 << 62) - 300};
    for (int32_t recipe = LLAMA2_MIX_ALL; recipe <= LLAMA2_MIX_OPEN_FIRST; recipe++) {
        llama2_mixture *m, *again;
        if (recipe == LLAMA2_MIX_EQUAL) continue; /* one source is empty */
        m = make(recipe, 8, w);
        again = make(recipe, 8, w);
        for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
            ck_ok(llama2_mixture_draw(m, starts[s], 300, sources, items));
            for (int i = 299; i >= 0; i--) { /* backwards, one by one */
                int32_t source;
                int64_t item;
                ck_ok(llama2_mixture_draw(again, starts[s] + (uint64_t)i, 1, &source, &item));
                ck_assert(source == sources[i] && item == items[i]);
                ck_assert(item >= 0 && item < counts[source]);
            }
        }
        ck_fails(llama2_mixture_draw(m, ((uint64_t)1 << 62) - 300, 301, sources, items), LLAMA2_E_LIMIT);
        llama2_mixture_free(m);
        llama2_mixture_free(again);
    }
}
END_TEST

/* The order is a part of what a run can be resumed with: these values never change. */
START_TEST(pinned)
{
    llama2_mixture *m = make(LLAMA2_MIX_HELPFULNESS, 20, NULL);
    ck_ok(llama2_mixture_draw(m, 1000, 8, sources, items));
    static const int32_t expected_sources[8] = {2, 2, 2, 2, 0, 2, 2, 5};
    static const int64_t expected_items[8] = {492, 186, 115, 6, 2, 48, 369, 4};
    for (int i = 0; i < 8; i++)
        ck_assert_msg(sources[i] == expected_sources[i] && items[i] == expected_items[i], "%d: source %d, item %d", i,
                      (int)sources[i], (int)items[i]);
    llama2_mixture_free(m);
}
END_TEST

static void refused(int32_t recipe, int32_t n, const int64_t *c, const int32_t *k, const double *w,
                    llama2_status status, const char *words)
{
    llama2_mixture_options o;
    llama2_mixture *m = (llama2_mixture *)&o;
    llama2_mixture_options_init(&o, sizeof o);
    o.recipe = recipe;
    ck_fails(llama2_mixture_create(ctx, n, c, k, w, &o, &m), status);
    ck_assert_ptr_null(m);
    ck_assert_msg(strstr(llama2_last_error(), words) != NULL, "no \"%s\": %s", words, llama2_last_error());
}

START_TEST(refusals)
{
    static const int64_t two[] = {5, 5}, none[] = {0, 0}, negative[] = {5, -1}, many[] = {(int64_t)1 << 53, 1};
    static const int32_t own[] = {H, S}, open_kinds[] = {OH, OS}, unknown[] = {H, 4};
    refused(7, 2, two, own, NULL, LLAMA2_E_INVALID, "recipe is 7");
    refused(-1, 2, two, own, NULL, LLAMA2_E_INVALID, "recipe is -1");
    refused(LLAMA2_MIX_ALL, 0, two, NULL, NULL, LLAMA2_E_INVALID, "n_sources is 0");
    refused(LLAMA2_MIX_ALL, 1025, two, NULL, NULL, LLAMA2_E_INVALID, "1024");
    refused(LLAMA2_MIX_ALL, 2, NULL, NULL, NULL, LLAMA2_E_INVALID, "counts is NULL");
    refused(LLAMA2_MIX_ALL, 2, none, NULL, NULL, LLAMA2_E_INVALID, "no source has an item");
    refused(LLAMA2_MIX_ALL, 2, negative, NULL, NULL, LLAMA2_E_INVALID, "counts[1]");
    refused(LLAMA2_MIX_ALL, 2, many, NULL, NULL, LLAMA2_E_LIMIT, "2^53");
    refused(LLAMA2_MIX_EQUAL, 2, (const int64_t[]){3, 0}, NULL, NULL, LLAMA2_E_INVALID, "source 1 has no items");
    refused(LLAMA2_MIX_HELPFULNESS, 2, two, NULL, NULL, LLAMA2_E_INVALID, "kinds is NULL");
    refused(LLAMA2_MIX_HELPFULNESS, 2, two, unknown, NULL, LLAMA2_E_INVALID, "kinds[1]");
    refused(LLAMA2_MIX_HELPFULNESS, 2, two, open_kinds, NULL, LLAMA2_E_INVALID, "OWN_HELPFUL");
    refused(LLAMA2_MIX_HELPFULNESS, 1, two, own, NULL, LLAMA2_E_INVALID, "OWN_SAFETY");
    refused(LLAMA2_MIX_SAFETY, 1, two, own, NULL, LLAMA2_E_INVALID, "OPEN_HARMLESS");
    refused(LLAMA2_MIX_SAFETY, 1, two, own + 1, NULL, LLAMA2_E_INVALID, "OPEN_HELPFUL");
    refused(LLAMA2_MIX_NINE_TO_ONE, 2, two, own, NULL, LLAMA2_E_INVALID, "OPEN_HELPFUL");
    refused(LLAMA2_MIX_NINE_TO_ONE, 2, two, open_kinds, NULL, LLAMA2_E_INVALID, "OWN_HELPFUL");
    refused(LLAMA2_MIX_OPEN_FIRST, 2, none, own, NULL, LLAMA2_E_INVALID, "no source has an item");
    refused(LLAMA2_MIX_WEIGHTS, 2, two, NULL, NULL, LLAMA2_E_INVALID, "weights is NULL");
    refused(LLAMA2_MIX_WEIGHTS, 2, two, NULL, (const double[]){0, 0}, LLAMA2_E_INVALID, "all are 0");
    refused(LLAMA2_MIX_WEIGHTS, 2, two, NULL, (const double[]){1, -1}, LLAMA2_E_INVALID, "weights[1]");
    refused(LLAMA2_MIX_WEIGHTS, 2, two, NULL, (const double[]){NAN, 1}, LLAMA2_E_INVALID, "weights[0]");
    refused(LLAMA2_MIX_WEIGHTS, 2, two, NULL, (const double[]){(double)INFINITY, 1}, LLAMA2_E_INVALID, "weights[0]");
    refused(LLAMA2_MIX_WEIGHTS, 2, (const int64_t[]){5, 0}, NULL, (const double[]){1, 1}, LLAMA2_E_INVALID,
            "source 1 has a weight of 1 and no items");
    refused(LLAMA2_MIX_WEIGHTS, 2, two, NULL, (const double[]){1, 0.001}, LLAMA2_E_INVALID, "less than one item");

    llama2_mixture_options o;
    llama2_mixture *m;
    llama2_mixture_options_init(&o, sizeof o);
    o.epoch_items = 5;
    ck_fails(llama2_mixture_create(ctx, 2, two, NULL, NULL, &o, &m), LLAMA2_E_INVALID);
    o.recipe = LLAMA2_MIX_WEIGHTS;
    o.epoch_items = -1;
    ck_fails(llama2_mixture_create(ctx, 2, two, NULL, (const double[]){1, 1}, &o, &m), LLAMA2_E_INVALID);
    o.recipe = LLAMA2_MIX_OPEN_FIRST;
    o.epoch_items = 0;
    o.open_first = NAN;
    ck_fails(llama2_mixture_create(ctx, 2, two, own, NULL, &o, &m), LLAMA2_E_INVALID);
    ck_fails(llama2_mixture_create(NULL, 2, two, NULL, NULL, NULL, &m), LLAMA2_E_INVALID);
    ck_fails(llama2_mixture_create(ctx, 2, two, NULL, NULL, NULL, NULL), LLAMA2_E_INVALID);

    ck_ok(llama2_mixture_create(ctx, 2, two, NULL, NULL, NULL, &m));
    ck_fails(llama2_mixture_draw(NULL, 0, 1, sources, items), LLAMA2_E_INVALID);
    ck_fails(llama2_mixture_draw(m, 0, 1, NULL, items), LLAMA2_E_INVALID);
    ck_fails(llama2_mixture_draw(m, 0, 1, sources, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_mixture_draw(m, 0, -1, sources, items), LLAMA2_E_INVALID);
    ck_ok(llama2_mixture_draw(m, 0, 0, sources, items));
    ck_assert_int_eq(llama2_mixture_epoch_items(NULL), 0);
    llama2_context_cancel(ctx);
    ck_fails(llama2_mixture_draw(m, 0, 1, sources, items), LLAMA2_E_CANCELLED);
    llama2_context_resume(ctx);
    llama2_mixture_free(m);
    llama2_mixture_free(NULL);
}
END_TEST

START_TEST(without_memory)
{
    llama2_mixture_options o;
    llama2_mixture *m;
    llama2_mixture_options_init(&o, sizeof o);
    o.recipe = LLAMA2_MIX_SAFETY;
    long live = atomic_load(&memory.live), failed = 0;
    for (int n = 1;; n++) {
        memory.fail_at = atomic_load(&memory.calls) + n;
        llama2_status status = llama2_mixture_create(ctx, SOURCES, counts, kinds, NULL, &o, &m);
        memory.fail_at = 0;
        if (status == LLAMA2_OK) break;
        failed++;
        ck_assert_int_eq(status, LLAMA2_E_NOMEM);
        ck_assert_ptr_null(m);
        ck_assert_int_eq(atomic_load(&memory.live), live);
    }
    ck_assert_int_eq(failed, 5);
    llama2_mixture_free(m);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("train/mixture");
    TCase *tc = tcase_create("mixture");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, helpfulness);
    tcase_add_test(tc, safety);
    tcase_add_test(tc, nine_to_one);
    tcase_add_test(tc, open_first);
    tcase_add_test(tc, all_and_equal);
    tcase_add_test(tc, weights);
    tcase_add_test(tc, any_position);
    tcase_add_test(tc, pinned);
    tcase_add_test(tc, refusals);
    tcase_add_test(tc, without_memory);
    suite_add_tcase(s, tc);
    return s;
}
