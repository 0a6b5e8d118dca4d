/* Bias and penalties against a dense reference, and what sessions draw under them: exactly, and by counts. */
#include "small_model.h"

#include "infer/penalties.h"

#include <math.h>
#include <stdlib.h>

enum { VOCAB = 37, LENGTH = 60 };

static uint32_t dice(uint64_t *state, uint32_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % n;
}

/* The definitions of llama2/session.h, over the whole vocabulary. */
static void reference(const llama2_sampling *s, const int32_t *tokens, int64_t n, float *logits)
{
    int64_t first = s->penalty_start;
    if (s->penalty_window > 0 && n - s->penalty_window > first) first = n - s->penalty_window;
    for (int32_t i = 0; i < s->n_logit_bias; i++) logits[s->logit_bias_ids[i]] += s->logit_bias_values[i];
    for (int32_t id = 0; id < VOCAB; id++) {
        int32_t count = 0;
        for (int64_t i = first; i < n; i++) count += tokens[i] == id;
        if (count == 0) continue;
        double x = (double)logits[id];
        if (s->repetition_penalty != 0) x = x > 0 ? x / s->repetition_penalty : x * s->repetition_penalty;
        logits[id] = (float)(x - (count * s->frequency_penalty + s->presence_penalty));
    }
}

START_TEST(logits_are_those_of_the_definitions_and_come_back)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    l2_penalties p;
    uint64_t state = 1;
    ck_ok(l2_penalties_init(ctx, VOCAB, &p));
    int64_t changed = 0;
    for (int run = 0; run < 3000; run++) {
        float before[VOCAB], logits[VOCAB], expected[VOCAB], biases[4];
        int32_t tokens[LENGTH], ids[4];
        for (int i = 0; i < VOCAB; i++) before[i] = (float)dice(&state, 2000) / 100 - 10;
        for (int i = 0; i < LENGTH; i++) tokens[i] = (int32_t)dice(&state, 1 + dice(&state, VOCAB));
        for (int i = 0; i < 4; i++) {
            ids[i] = (int32_t)dice(&state, 6);
            biases[i] = dice(&state, 5) ? (float)dice(&state, 100) / 10 - 5 : -INFINITY;
        }
        llama2_sampling s;
        llama2_sampling_init(&s, sizeof s);
        if (dice(&state, 2)) s.repetition_penalty = dice(&state, 4) / 2.0;
        if (dice(&state, 2)) s.presence_penalty = dice(&state, 20) / 7.0 - 1;
        if (dice(&state, 2)) s.frequency_penalty = dice(&state, 20) / 7.0 - 1;
        if (dice(&state, 2)) s.penalty_window = (int32_t)dice(&state, 2 * LENGTH);
        if (dice(&state, 2)) s.penalty_start = dice(&state, 2 * LENGTH);
        s.n_logit_bias = (int32_t)dice(&state, 5);
        s.logit_bias_ids = ids;
        s.logit_bias_values = biases;
        int64_t n = dice(&state, LENGTH + 1), half = dice(&state, (uint32_t)n + 1);
        l2_text text = {{tokens, tokens + half}, {half, n - half}};
        memcpy(logits, before, sizeof logits);
        memcpy(expected, before, sizeof logits);
        reference(&s, tokens, n, expected);
        l2_penalties_apply(&p, &s, &text, logits);
        ck_assert_mem_eq(logits, expected, sizeof logits);
        if (!l2_penalties_wanted(&s)) ck_assert_mem_eq(logits, before, sizeof logits);
        changed += memcmp(logits, before, sizeof logits) != 0;
        l2_penalties_undo(&p, logits);
        ck_assert_mem_eq(logits, before, sizeof logits);
        if (s.penalty_start == half) { /* what -1 says */
            s.penalty_start = -1;
            l2_penalties_apply(&p, &s, &text, logits);
            ck_assert_mem_eq(logits, expected, sizeof logits);
            l2_penalties_undo(&p, logits);
        }
    }
    ck_assert_int_gt(changed, 1500);
    l2_penalties_free(ctx, &p);
    llama2_context_free(ctx);
}
END_TEST

/* Draws under all options: as often as the reference's probabilities say. Chi-squared with fewer than 37 degrees of
 * freedom is below 80 but for one run in 10^4; the seed is fixed. */
START_TEST(sessions_draw_from_the_distribution_of_the_definitions)
{
    enum { DRAWS = 40000, N = 12 };
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    llama2_session *session;
    static const int32_t tokens[N] = {3, 7, 7, 7, 9, 20, 20, 1, 30, 30, 30, 30}, ids[] = {4, 5, 7};
    static const float biases[] = {2, -INFINITY, 0.5f};
    llama2_sampling s;
    llama2_sampling_init(&s, sizeof s);
    s.temperature = 1.7;
    s.min_p = 0.03;
    s.repetition_penalty = 1.2;
    s.presence_penalty = 0.3;
    s.frequency_penalty = 0.15;
    s.penalty_window = 10;
    s.penalty_start = 1;
    s.n_logit_bias = 3;
    s.logit_bias_ids = ids;
    s.logit_bias_values = biases;
    ck_ok(llama2_session_create(m, &session));
    ck_ok(llama2_session_feed(session, tokens, N));
    float logits[VOCAB], after[VOCAB], reported[VOCAB];
    double p[VOCAB], total = 0, best = 0, raw[VOCAB], raw_total = 0;
    ck_ok(llama2_session_logits(session, logits, VOCAB, NULL));
    memcpy(after, logits, sizeof after);
    reference(&s, tokens, N, after);
    for (int i = 0; i < VOCAB; i++) {
        raw_total += raw[i] = exp((double)logits[i] / s.temperature);
        p[i] = exp((double)after[i] / s.temperature);
        if (p[i] > best) best = p[i];
    }
    int kept = 0;
    for (int i = 0; i < VOCAB; i++) {
        if (p[i] < s.min_p * best) p[i] = 0;
        total += p[i];
        kept += p[i] > 0;
    }
    ck_assert_int_gt(kept, 4);
    ck_assert_int_lt(kept, VOCAB - 4);
    double counts[VOCAB] = {0};
    for (int i = 0; i < DRAWS; i++) {
        int32_t token;
        float logprob;
        s.sample_id = (uint64_t)i;
        ck_ok(llama2_session_sample(session, &s, &token, &logprob));
        counts[token]++;
        reported[token] = logprob;
    }
    double chi = 0;
    for (int i = 0; i < VOCAB; i++) {
        double expected = DRAWS * p[i] / total;
        ck_assert_msg(p[i] > 0 || !(counts[i] > 0), "token %d was drawn", i);
        if (p[i] > 0) chi += (counts[i] - expected) * (counts[i] - expected) / expected;
        /* the model's own */
        if (counts[i] > 0)
            ck_assert_msg(fabs((double)reported[i] - log(raw[i] / raw_total)) < 1e-5, "token %d: %g", i,
                          (double)reported[i]);
    }
    ck_assert_msg(chi < 80, "chi-squared %g", chi);
    ck_ok(llama2_session_logits(session, after, VOCAB, NULL));
    ck_assert_mem_eq(after, logits, sizeof after);
    llama2_session_free(session);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(greedy_takes_the_largest_after_penalties)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    llama2_session *session;
    llama2_sampling s;
    int32_t tokens[LENGTH] = {1, 5};
    float logits[VOCAB];
    llama2_sampling_init(&s, sizeof s);
    s.temperature = 0;
    s.repetition_penalty = 1.5;
    s.frequency_penalty = 0.1;
    s.penalty_window = 7;
    ck_ok(llama2_session_create(m, &session));
    ck_ok(llama2_session_feed(session, tokens, 2));
    for (int64_t n = 2; n < LENGTH; n++) {
        ck_ok(llama2_session_logits(session, logits, VOCAB, NULL));
        reference(&s, tokens, n, logits);
        int32_t best = 0;
        for (int32_t i = 1; i < VOCAB; i++)
            if (logits[i] > logits[best]) best = i;
        ck_ok(llama2_session_sample(session, &s, &tokens[n], NULL));
        ck_assert_int_eq(tokens[n], best);
        ck_ok(llama2_session_feed(session, &tokens[n], 1));
    }
    llama2_session_free(session);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(what_is_out_of_range_is_refused)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    llama2_session *session;
    int32_t token = 1, ids[VOCAB];
    float bias = 0, all[VOCAB];
    ck_ok(llama2_session_create(m, &session));
    ck_ok(llama2_session_feed(session, &token, 1));
    llama2_sampling s;
#define REFUSED(field, value)                                                                                          \
    do {                                                                                                               \
        llama2_sampling_init(&s, sizeof s);                                                                            \
        s.field = value;                                                                                               \
        ck_fails(llama2_session_sample(session, &s, &token, NULL), LLAMA2_E_INVALID);                                  \
        ck_assert_ptr_nonnull(strstr(llama2_last_error(), #field));                                                    \
    } while (0)
    REFUSED(min_p, -0.1);
    REFUSED(min_p, 1.1);
    REFUSED(min_p, (double)NAN);
    REFUSED(repetition_penalty, -1);
    REFUSED(repetition_penalty, 1e7);
    REFUSED(repetition_penalty, (double)NAN);
    REFUSED(presence_penalty, (double)INFINITY);
    REFUSED(frequency_penalty, -1e7);
    REFUSED(penalty_window, -1);
    REFUSED(penalty_start, -1);
    REFUSED(n_logit_bias, -1);
    REFUSED(n_logit_bias, 1);
    llama2_sampling_init(&s, sizeof s);
    s.n_logit_bias = 1;
    s.logit_bias_ids = &token;
    s.logit_bias_values = &bias;
    for (token = -1; token <= VOCAB; token += VOCAB + 1)
        ck_fails(llama2_session_sample(session, &s, &ids[0], NULL), LLAMA2_E_INVALID);
    token = 1;
    bias = NAN;
    ck_fails(llama2_session_sample(session, &s, &ids[0], NULL), LLAMA2_E_INVALID);
    bias = INFINITY;
    ck_fails(llama2_session_sample(session, &s, &ids[0], NULL), LLAMA2_E_INVALID);
    for (int i = 0; i < VOCAB; i++) {
        ids[i] = i;
        all[i] = -INFINITY;
    }
    s.n_logit_bias = VOCAB;
    s.logit_bias_ids = ids;
    s.logit_bias_values = all;
    ck_fails(llama2_session_sample(session, &s, &token, NULL), LLAMA2_E_NUMERIC);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "leaves no token"));
    all[11] = 0;
    ck_ok(llama2_session_sample(session, &s, &token, NULL));
    ck_assert_int_eq(token, 11);
    llama2_session_free(session);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("infer/penalties");
    ADD_CASE(s, "penalties", logits_are_those_of_the_definitions_and_come_back,
             sessions_draw_from_the_distribution_of_the_definitions, greedy_takes_the_largest_after_penalties,
             what_is_out_of_range_is_refused);
    return s;
}
