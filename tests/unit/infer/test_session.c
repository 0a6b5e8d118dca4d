/* Sessions: the bits of a full forward, however the tokens were fed; sampling; limits. */
#include "small_model.h"

#include <math.h>
#include <stdlib.h>

enum { N = 150, VOCAB = 37 };

static void make_text(int32_t *tokens)
{
    for (int i = 0; i < N; i++) tokens[i] = (i * 11 + i * i / 3) % VOCAB;
}

/* Logits after each prefix, fed in pieces of `piece` tokens, equal the rows of one full forward. */
static void check_feeding(int32_t dtype)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 1, dtype);
    int32_t tokens[N];
    make_text(tokens);
    int64_t offsets[] = {0, N};
    llama2_batch batch = {sizeof batch, 1, N, tokens, offsets, NULL};
    float *full = malloc(sizeof(float) * N * VOCAB), row[VOCAB];
    ck_ok(llama2_model_logits(m, &batch, full));
    for (int64_t piece = 1; piece <= 149; piece = piece * 3 + 1) {
        llama2_session *s;
        ck_ok(llama2_session_create(m, &s));
        for (int64_t at = 0; at < N; at += piece) {
            int64_t n = at + piece < N ? piece : N - at;
            ck_ok(llama2_session_feed(s, tokens + at, n));
            ck_ok(llama2_session_logits(s, row, VOCAB, NULL));
            ck_assert_msg(memcmp(row, full + (at + n - 1) * VOCAB, sizeof row) == 0,
                          "pieces of %d: logits after %d tokens differ", (int)piece, (int)(at + n));
        }
        ck_assert_int_eq(llama2_session_position(s), N);
        /* Back, and on again. */
        ck_ok(llama2_session_rewind(s, 70));
        ck_fails(llama2_session_logits(s, row, VOCAB, NULL), LLAMA2_E_STATE);
        ck_ok(llama2_session_feed(s, tokens + 70, 30));
        ck_ok(llama2_session_logits(s, row, VOCAB, NULL));
        ck_assert(memcmp(row, full + 99 * VOCAB, sizeof row) == 0);
        llama2_session_free(s);
    }
    free(full);
    llama2_model_free(m);
    llama2_context_free(ctx);
}

START_TEST(prefill_in_any_pieces_and_decode_give_the_bits_of_a_full_forward)
{
    check_feeding(LLAMA2_F32);
}
END_TEST

START_TEST(the_same_in_double)
{
    check_feeding(LLAMA2_F64);
}
END_TEST

START_TEST(reported_logprobs_are_those_of_a_full_forward)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    llama2_session *s;
    llama2_sampling o;
    llama2_sampling_init(&o, sizeof o);
    o.temperature = 0.8;
    o.seed = 3;
    int32_t tokens[60] = {1, 5, 9};
    float reported[60], full[60];
    ck_ok(llama2_session_create(m, &s));
    ck_fails(llama2_session_sample(s, &o, tokens, NULL), LLAMA2_E_STATE);
    ck_ok(llama2_session_feed(s, tokens, 3));
    for (int i = 3; i < 60; i++) {
        ck_ok(llama2_session_sample(s, &o, &tokens[i], &reported[i]));
        ck_ok(llama2_session_feed(s, &tokens[i], 1));
    }
    int64_t offsets[] = {0, 60};
    llama2_batch batch = {sizeof batch, 1, 60, tokens, offsets, NULL};
    ck_ok(llama2_model_logprobs(m, &batch, 0.8, full, NULL));
    ck_assert(memcmp(reported + 3, full + 3, 57 * sizeof(float)) == 0);
    llama2_session_free(s);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* The likeliest next tokens: in order, with the bits that sampling each of them reports. */
static void check_top(int32_t dtype, double temperature)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, dtype);
    llama2_session *s;
    llama2_sampling o;
    int32_t tokens[] = {4, 8, 15}, ids[VOCAB], few[5], token;
    float logprobs[VOCAB], best[5], reported, minus[VOCAB];
    llama2_sampling_init(&o, sizeof o);
    o.temperature = temperature;
    o.logit_bias_ids = ids;
    o.logit_bias_values = minus;
    for (int i = 0; i < VOCAB; i++) minus[i] = -INFINITY;
    ck_ok(llama2_session_create(m, &s));
    ck_fails(llama2_session_top(s, temperature, 5, ids, logprobs), LLAMA2_E_STATE);
    ck_ok(llama2_session_feed(s, tokens, 3));
    ck_ok(llama2_session_top(s, temperature, VOCAB, ids, logprobs));
    ck_ok(llama2_session_top(s, temperature, 5, few, best));
    ck_assert_mem_eq(few, ids, sizeof few);
    ck_assert_mem_eq(best, logprobs, sizeof best);
    ck_ok(llama2_session_top(s, temperature, 1, few, NULL));
    double total = 0;
    for (int i = 0; i < VOCAB; i++) {
        if (i > 0) ck_assert(logprobs[i] <= logprobs[i - 1]);
        total += exp((double)logprobs[i]);
        o.n_logit_bias = i; /* all before it are banned; greedy where the temperature is 0 */
        o.top_k = 1;
        ck_ok(llama2_session_sample(s, &o, &token, &reported));
        ck_assert_int_eq(token, ids[i]);
        ck_assert(reported == logprobs[i]);
    }
    ck_assert_double_eq_tol(total, 1, 1e-5);
    ck_fails(llama2_session_top(s, temperature, 0, ids, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_session_top(s, temperature, VOCAB + 1, ids, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_session_top(s, -1, 1, ids, NULL), LLAMA2_E_INVALID);
    llama2_session_free(s);
    llama2_model_free(m);
    llama2_context_free(ctx);
}

START_TEST(alternatives_are_in_order_and_have_the_reported_bits)
{
    check_top(LLAMA2_F32, 1);
    check_top(LLAMA2_F32, 0.6);
    check_top(LLAMA2_F32, 0);
    check_top(LLAMA2_F64, 0.6);
}
END_TEST

START_TEST(limits_are_errors_and_change_nothing)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    llama2_session *s;
    int32_t tokens[161] = {0}, bad = 37, token;
    ck_ok(llama2_session_create(m, &s));
    int64_t needed = -1;
    float row[VOCAB];
    ck_fails(llama2_session_logits(s, row, VOCAB, &needed), LLAMA2_E_STATE);
    ck_assert_int_eq(needed, -1);
    ck_ok(llama2_session_logits(s, NULL, 0, &needed)); /* counts */
    ck_assert_int_eq(needed, VOCAB);
    ck_fails(llama2_session_feed(s, tokens, 161), LLAMA2_E_CONTEXT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "context of 160; 160 more do"));
    ck_fails(llama2_session_feed(s, &bad, 1), LLAMA2_E_INVALID);
    ck_fails(llama2_session_feed(s, tokens, 0), LLAMA2_E_INVALID);
    ck_assert_int_eq(llama2_session_position(s), 0);
    ck_ok(llama2_session_feed(s, tokens, 160));
    float before[37], after[37];
    ck_ok(llama2_session_logits(s, before, 37, NULL));
    ck_fails(llama2_session_feed(s, tokens, 1), LLAMA2_E_CONTEXT);
    ck_assert_ptr_nonnull(
        strstr(llama2_last_error(), "1 tokens after 160 do not fit the model's context of 160; 0 more"));
    ck_assert_int_eq(llama2_session_position(s), 160);
    ck_ok(llama2_session_logits(s, after, 37, NULL)); /* a last token can still be drawn */
    ck_assert_mem_eq(before, after, sizeof before);
    ck_ok(llama2_session_sample(s, NULL, &token, NULL));
    llama2_sampling o;
    llama2_sampling_init(&o, sizeof o);
    o.top_p = 0;
    ck_fails(llama2_session_sample(s, &o, &token, NULL), LLAMA2_E_INVALID);
    o.top_p = 1;
    o.temperature = -1;
    ck_fails(llama2_session_sample(s, &o, &token, NULL), LLAMA2_E_INVALID);
    llama2_context_cancel(ctx);
    ck_fails(llama2_session_feed(s, tokens, 1), LLAMA2_E_CANCELLED);
    llama2_context_resume(ctx);
    ck_ok(llama2_session_rewind(s, 10));
    ck_ok(llama2_session_feed(s, tokens, 1));
    llama2_session_free(s);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* All that would mix the old weights with the new ones is refused; a sync is what a session of the new ones is. */
static void check_outdated(llama2_model *m, llama2_session *s, const char *by)
{
    static const int32_t tokens[] = {4, 8, 15, 16};
    llama2_session *fresh;
    int32_t id;
    float row[VOCAB], expected[VOCAB];
    int64_t reused = -1;
    size_t size;
    ck_ok(llama2_session_create(m, &fresh));
    ck_fails(llama2_session_feed(s, tokens, 1), LLAMA2_E_STATE);
    ck_assert_msg(strstr(llama2_last_error(), "llama2_session_sync") != NULL, "%s: %s", by, llama2_last_error());
    ck_fails(llama2_session_feed_batch((llama2_session *const[]){fresh, s}, 2, tokens, (const int64_t[]){0, 1, 2}),
             LLAMA2_E_STATE);
    ck_assert_msg(strstr(llama2_last_error(), "sessions[1]") != NULL, "%s: %s", by, llama2_last_error());
    ck_fails(llama2_session_sample(s, NULL, &id, NULL), LLAMA2_E_STATE);
    ck_fails(llama2_session_top(s, 1, 1, &id, NULL), LLAMA2_E_STATE);
    ck_fails(llama2_session_logits(s, row, VOCAB, NULL), LLAMA2_E_STATE);
    ck_fails(llama2_session_save_memory(s, NULL, 0, &size), LLAMA2_E_STATE);
    ck_assert_int_eq(llama2_session_position(s), 4);
    ck_assert_int_eq(llama2_session_position(fresh), 0);
    ck_ok(llama2_session_sync(s, tokens, 4, &reused));
    ck_assert_msg(reused == 0, "%s: %lld tokens reused", by, (long long)reused);
    ck_ok(llama2_session_feed(fresh, tokens, 4));
    ck_ok(llama2_session_logits(s, row, VOCAB, NULL));
    ck_ok(llama2_session_logits(fresh, expected, VOCAB, NULL));
    ck_assert_mem_eq(row, expected, sizeof row);
    ck_ok(llama2_session_sync(s, tokens, 4, &reused));
    ck_assert_int_eq(reused, 4);
    llama2_session_free(fresh);
}

START_TEST(weights_that_changed_are_noticed)
{
    static const int32_t tokens[] = {4, 8, 15, 16};
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32), *other;
    llama2_session *s;
    llama2_reward_model *head;
    llama2_rollouts *rollouts;
    llama2_optimizer *optimizer;
    llama2_trainer *trainer;
    llama2_rollout_options o;
    small_batch b;
    int32_t id;
    float gains[24];
    for (int i = 0; i < 24; i++) gains[i] = 1.5F;
    small_batch_init(&b);
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = 2;
    ck_ok(llama2_session_create(m, &s));
    ck_ok(llama2_session_feed(s, tokens, 4));
    ck_ok(llama2_model_clone(m, &other));

    /* What leaves them alone. */
    llama2_loss loss = {.struct_size = sizeof loss};
    ck_ok(llama2_model_evaluate(m, &b.batch, &loss));
    ck_ok(llama2_rollout(m, &b.batch, &o, &rollouts));
    ck_ok(llama2_model_set_eos_ids(m, tokens, 1));
    ck_ok(llama2_model_set_tensor(other, "model.norm.weight", gains, 24));
    ck_ok(llama2_session_sample(s, NULL, &id, NULL));
    ck_ok(llama2_session_feed(s, &id, 1));
    ck_ok(llama2_session_sync(s, tokens, 4, NULL));

    ck_ok(llama2_model_set_tensor(m, "model.norm.weight", gains, 24));
    check_outdated(m, s, "set_tensor");
    ck_ok(llama2_model_copy_weights(m, other));
    check_outdated(m, s, "copy_weights");
    ck_ok(llama2_reward_model_create_shared(m, NULL, &head));
    ck_ok(llama2_reward_model_set_tensor(head, "model.norm.weight", gains, 24));
    check_outdated(m, s, "a model on its trunk");
    ck_ok(llama2_optimizer_create(ctx, NULL, &optimizer));
    ck_ok(llama2_trainer_create(ctx, m, optimizer, NULL, &trainer));
    ck_ok(llama2_trainer_accumulate(trainer, &b.batch, NULL));
    ck_ok(llama2_trainer_clear(trainer));
    ck_ok(llama2_session_sample(s, NULL, &id, NULL)); /* gradients are no weights */
    ck_ok(llama2_pretrain_step(trainer, &b.batch, NULL));
    check_outdated(m, s, "a step");

    ck_ok(llama2_pretrain_step(trainer, &b.batch, NULL));
    ck_ok(llama2_session_rewind(s, 0));
    ck_ok(llama2_session_feed(s, tokens, 4));
    ck_ok(llama2_session_sample(s, NULL, &id, NULL));
    llama2_trainer_free(trainer);
    llama2_optimizer_free(optimizer);
    llama2_reward_model_free(head);
    llama2_rollouts_free(rollouts);
    llama2_session_free(s);
    llama2_model_free(other);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("infer/session");
    ADD_CASE(s, "session", prefill_in_any_pieces_and_decode_give_the_bits_of_a_full_forward, the_same_in_double,
             reported_logprobs_are_those_of_a_full_forward, alternatives_are_in_order_and_have_the_reported_bits,
             limits_are_errors_and_change_nothing, weights_that_changed_are_noticed);
    return s;
}
