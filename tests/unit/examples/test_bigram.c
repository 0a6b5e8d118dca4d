/* The loss of an interpolated bigram model: where the pairs say all, nothing, or were never seen. */
#include "check_main.h"
#include "pipeline/pipeline.h"

#include <math.h>

enum { N = 4000, VOCABULARY = 8 };

START_TEST(pairs_that_say_all)
{
    int32_t text[N];
    for (int i = 0; i < N; i++) text[i] = i % VOCABULARY;
    ck_assert_double_le(bigram_loss(text, N, text, 400, VOCABULARY), 1e-3);
}
END_TEST

/* Two of eight tokens, one three times as often as the other, in no order: the entropy of one draw. */
START_TEST(pairs_that_say_nothing)
{
    int32_t text[N], held_out[N];
    uint64_t state = 1;
    for (int i = 0; i < 2 * N; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        (i < N ? text : held_out)[i % N] = state >> 62 ? 3 : 5;
    }
    double entropy = -0.75 * log(0.75) - 0.25 * log(0.25);
    ck_assert_double_eq_tol(bigram_loss(text, N, held_out, N, VOCABULARY), entropy, 0.02);
}
END_TEST

/* Tokens that the text does not have: one of eight. */
START_TEST(tokens_that_were_never_seen)
{
    int32_t text[N] = {0}, held_out[] = {6, 7, 6, 6, 7, 7};
    ck_assert_double_eq_tol(bigram_loss(text, N, held_out, 6, VOCABULARY), log(VOCABULARY), 1e-3);
}
END_TEST

START_TEST(too_little)
{
    const int32_t text[] = {1, 2, 3};
    ck_assert(isnan(bigram_loss(text, 1, text, 3, VOCABULARY)));
    ck_assert(isnan(bigram_loss(text, 3, text, 1, VOCABULARY)));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("bigram");
    ADD_CASE(suite, "bigram", pairs_that_say_all, pairs_that_say_nothing, tokens_that_were_never_seen, too_little);
    return suite;
}
