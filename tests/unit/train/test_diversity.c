/* What shows a policy that repeats itself: distinct-n and seq-rep-4 of known responses. */
#include "train_test.h"

/* Rollouts of the given responses behind a prompt of two tokens; each ends with 0. */
static void measure(const int32_t (*responses)[12], int32_t n, llama2_ppo_metrics *m)
{
    int32_t tokens[128], lengths[8];
    int64_t offsets[9] = {0}, at = 0;
    float zeros[128] = {0};
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_rollouts *r;
    for (int32_t s = 0; s < n; s++) {
        tokens[at++] = 7; /* the prompt's tokens are in no run */
        tokens[at++] = 7;
        for (int32_t i = 0; responses[s][i]; i++) tokens[at++] = responses[s][i];
        lengths[s] = 2;
        offsets[s + 1] = at;
    }
    llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = n, .n_tokens = at, .tokens = tokens, .offsets = offsets};
    ck_ok(llama2_rollouts_create(ctx, &batch, lengths, 1, 2, 1, &r));
    for (int32_t array = LLAMA2_ROLLOUTS_LOGPROBS; array <= LLAMA2_ROLLOUTS_VALUES; array++)
        ck_ok(llama2_rollouts_set(r, array, zeros, at));
    ck_ok(llama2_rollouts_set(r, LLAMA2_ROLLOUTS_SCORES, zeros, n));
    *m = (llama2_ppo_metrics){.struct_size = sizeof *m};
    ck_ok(llama2_ppo_advantages(r, NULL, m));
    llama2_rollouts_free(r);
    llama2_context_free(ctx);
}

START_TEST(known_responses)
{
    static const int32_t different[2][12] = {{1, 2, 3, 4, 5}, {6, 7, 8}};
    static const int32_t alike[2][12] = {{1, 2, 3}, {1, 2, 3}};
    /* 7 runs of four, of which the last 3 are the first 3 again; and a response too short for one */
    static const int32_t repeating[2][12] = {{1, 2, 3, 4, 1, 2, 3, 4, 1, 2}, {1, 2, 3}};
    static const int32_t single[1][12] = {{5}};
    llama2_ppo_metrics m;
    measure(different, 2, &m);
    ck_assert(m.distinct_1 == 1 && m.distinct_2 == 1 && m.repetition == 0);
    measure(alike, 2, &m);
    ck_assert(m.distinct_1 == 0.5 && m.distinct_2 == 0.5 && m.repetition == 0);
    measure(repeating, 2, &m);
    ck_assert_double_eq_tol(m.distinct_1, 4.0 / 13, 1e-15);
    ck_assert_double_eq_tol(m.distinct_2, 4.0 / 11, 1e-15); /* 12, 23, 34, 41 */
    ck_assert_double_eq_tol(m.repetition, 3.0 / 7, 1e-15);
    measure(single, 1, &m);
    ck_assert(m.distinct_1 == 1 && m.distinct_2 == 0 && m.repetition == 0);
}
END_TEST

/* Random tokens against counting by comparison. */
START_TEST(random_responses)
{
    int32_t responses[8][12];
    uint64_t seed = 11 + (uint64_t)_i;
    llama2_ppo_metrics m;
    int64_t runs[3] = {0}, different[3] = {0};
    for (int32_t s = 0; s < 8; s++) {
        int32_t length = 1 + (int32_t)((noise(&seed) + 1) * 5);
        for (int32_t i = 0; i < 12; i++) responses[s][i] = i < length ? 1 + (int32_t)((noise(&seed) + 1) * 2) : 0;
    }
    for (int32_t n = 1; n <= 2; n++) {
        for (int32_t k = 0; k < 96; k++) {
            const int32_t *run = &responses[0][0] + k;
            if (k % 12 + n > 12 || !run[0] || !run[n - 1]) continue;
            int seen = 0;
            for (int32_t j = 0; j < k && !seen; j++)
                seen = j % 12 + n <= 12 && memcmp(&responses[0][0] + j, run, (size_t)n * sizeof *run) == 0;
            runs[n]++;
            different[n] += !seen;
        }
    }
    measure((const int32_t(*)[12])responses, 8, &m);
    ck_assert_double_eq_tol(m.distinct_1, (double)different[1] / (double)runs[1], 1e-15);
    ck_assert_double_eq_tol(m.distinct_2, (double)different[2] / (double)runs[2], 1e-15);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("diversity");
    TCase *tc = tcase_create("runs");
    tcase_add_test(tc, known_responses);
    tcase_add_loop_test(tc, random_responses, 0, 5);
    suite_add_tcase(suite, tc);
    return suite;
}
