/* Sessions that read together, from many threads, and again from a prefix: always the bits of one alone. */
#include "small_model.h"

#include <pthread.h>
#include <stdlib.h>

enum { VOCAB = 37, CONTEXT = 1300, MOST = 20 };

static llama2_model *long_model(llama2_context *ctx, int32_t dtype)
{
    llama2_model *m;
    llama2_config c = small_config(0);
    llama2_model_options o;
    llama2_model_options_init(&o, sizeof o);
    o.dtype = dtype;
    c.max_seq_len = CONTEXT;
    ck_ok(llama2_model_create(ctx, &c, &o, &m));
    return m;
}

static int32_t token_at(int32_t text, int64_t i)
{
    return (int32_t)((text * 17 + i * 11 + i * i / 3) % VOCAB);
}

static void check_logits(const llama2_session *a, const llama2_session *b, const char *what, int32_t i)
{
    float x[VOCAB], y[VOCAB];
    ck_ok(llama2_session_logits(a, x, VOCAB, NULL));
    ck_ok(llama2_session_logits(b, y, VOCAB, NULL));
    ck_assert_msg(memcmp(x, y, sizeof x) == 0, "%s: session %d has other logits", what, i);
}

/* Rounds of uneven pieces, longer than one forward takes and down to a token each. */
static void check_batch(int32_t dtype)
{
    static const int64_t most[] = {300, 1, 40, 1, 1};
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = long_model(ctx, dtype);
    for (int32_t n = 1; n <= MOST; n += 6) {
        llama2_session *together[MOST], *alone[MOST];
        int64_t at[MOST] = {0};
        for (int32_t i = 0; i < n; i++) {
            ck_ok(llama2_session_create(m, &together[i]));
            ck_ok(llama2_session_create(m, &alone[i]));
        }
        for (int round = 0; round < 5; round++) {
            int32_t *tokens = malloc(sizeof *tokens * (size_t)(MOST * most[round]));
            int64_t offsets[MOST + 1] = {0};
            for (int32_t i = 0; i < n; i++) {
                int64_t length = 1 + (i * 37 + round) % most[round], from = offsets[i];
                for (int64_t k = 0; k < length; k++) tokens[from + k] = token_at(i, at[i]++);
                offsets[i + 1] = from + length;
                ck_ok(llama2_session_feed(alone[i], tokens + from, length));
            }
            ck_ok(llama2_session_feed_batch(together, n, tokens, offsets));
            free(tokens);
            for (int32_t i = 0; i < n; i++) {
                ck_assert_int_eq(llama2_session_position(together[i]), at[i]);
                check_logits(together[i], alone[i], "together", i);
            }
        }
        for (int32_t i = 0; i < n; i++) {
            llama2_session_free(together[i]);
            llama2_session_free(alone[i]);
        }
    }
    llama2_model_free(m);
    llama2_context_free(ctx);
}

START_TEST(together_as_alone)
{
    check_batch(LLAMA2_F32);
    check_batch(LLAMA2_F64);
}
END_TEST

START_TEST(a_batch_that_can_not_be_changes_nothing)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = long_model(ctx, LLAMA2_F32), *other = long_model(ctx, LLAMA2_F32);
    llama2_session *s[3], *before, *all[3];
    static int32_t tokens[CONTEXT + 10];
    static const int64_t offsets[] = {0, 2, 3, 6}, gap[] = {1, 2, 3, 6}, empty[] = {0, 2, 2, 6},
                         long_offsets[] = {0, 1, 2, CONTEXT + 1};
    for (int i = 0; i < 3; i++) ck_ok(llama2_session_create(i == 2 ? other : m, &s[i]));
    ck_ok(llama2_session_create(m, &before));
    for (int i = 0; i < 2; i++) ck_ok(llama2_session_feed(s[i], tokens, 5));
    ck_ok(llama2_session_feed(before, tokens, 5));
#define REFUSED(words, a, b, c, off, code)                                                                             \
    do {                                                                                                               \
        all[0] = a, all[1] = b, all[2] = c;                                                                            \
        ck_fails(llama2_session_feed_batch(all, 3, tokens, off), code);                                                \
        ck_assert_msg(strstr(llama2_last_error(), words) != NULL, "%s", llama2_last_error());                          \
    } while (0)
    REFUSED("sessions[2] is of another model", s[0], s[1], s[2], offsets, LLAMA2_E_INVALID);
    REFUSED("sessions[2] is one of those", s[0], s[1], s[0], offsets, LLAMA2_E_INVALID);
    REFUSED("sessions[1] is NULL", s[0], NULL, s[1], offsets, LLAMA2_E_INVALID);
    REFUSED("NULL", NULL, s[0], s[1], offsets, LLAMA2_E_INVALID);
    REFUSED("sessions[0] has tokens 1", s[0], s[1], before, gap, LLAMA2_E_INVALID);
    REFUSED("sessions[1] has tokens 2", s[0], s[1], before, empty, LLAMA2_E_INVALID);
    REFUSED("sessions[2]: llama2_session_feed_batch: 1299 tokens after 5", s[0], s[1], before, long_offsets,
            LLAMA2_E_CONTEXT);
    tokens[4] = VOCAB;
    REFUSED("tokens[1] is 37", s[0], s[1], before, offsets, LLAMA2_E_INVALID);
    ck_fails(llama2_session_feed_batch(all, 0, tokens, offsets), LLAMA2_E_INVALID);
    ck_fails(llama2_session_feed_batch(NULL, 3, tokens, offsets), LLAMA2_E_INVALID);
    ck_fails(llama2_session_feed_batch(all, 3, NULL, offsets), LLAMA2_E_INVALID);
    ck_fails(llama2_session_feed_batch(all, 3, tokens, NULL), LLAMA2_E_INVALID);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(llama2_session_position(s[i]), 5);
        check_logits(s[i], before, "refused", i);
    }
    tokens[4] = 0;
    ck_ok(llama2_session_feed_batch((llama2_session *const[]){s[0], s[1], before}, 3, tokens, offsets));
    for (int i = 0; i < 3; i++) llama2_session_free(s[i]);
    llama2_session_free(before);
    llama2_model_free(other);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(a_common_beginning_is_not_read_again)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = long_model(ctx, LLAMA2_F32);
    llama2_session *s, *fresh;
    static int32_t a[CONTEXT + 1], b[CONTEXT];
    int64_t reused = -1;
    for (int64_t i = 0; i < CONTEXT; i++) a[i] = b[i] = token_at(1, i);
    for (int64_t i = 130; i < CONTEXT; i++) b[i] = (a[i] + 1) % VOCAB;
    ck_ok(llama2_session_create(m, &s));
    /* tokens, how many, how many of them are there */
    const struct {
        const int32_t *tokens;
        int64_t n, reused;
    } steps[] = {{a, 200, 0},   {a, 300, 200},  {b, 300, 130}, {a, 130, 129}, {a, 130, 130},
                 {a, 700, 130}, {a + 1, 50, 0}, {a, 1, 0},     {a, 1, 1},     {a, CONTEXT, 1}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        ck_ok(llama2_session_sync(s, steps[i].tokens, steps[i].n, &reused));
        ck_assert_msg(reused == steps[i].reused, "step %zu: %lld of %lld", i, (long long)reused,
                      (long long)steps[i].reused);
        ck_assert_int_eq(llama2_session_position(s), steps[i].n);
        ck_ok(llama2_session_create(m, &fresh));
        ck_ok(llama2_session_feed(fresh, steps[i].tokens, steps[i].n));
        check_logits(s, fresh, "synced", (int32_t)i);
        llama2_session_free(fresh);
    }
    /* Rewound: the last token is read again, for its logits. */
    ck_ok(llama2_session_rewind(s, 10));
    ck_ok(llama2_session_sync(s, a, 10, &reused));
    ck_assert_int_eq(reused, 9);
    ck_fails(llama2_session_sync(s, a, CONTEXT + 1, &reused), LLAMA2_E_CONTEXT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "1300 more do"));
    ck_fails(llama2_session_sync(s, a, 0, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_session_sync(NULL, a, 1, NULL), LLAMA2_E_INVALID);
    a[3] = -1;
    ck_fails(llama2_session_sync(s, a, 5, NULL), LLAMA2_E_INVALID);
    ck_assert_int_eq(llama2_session_position(s), 10);
    ck_ok(llama2_session_sync(s, b, 5, NULL));
    llama2_session_free(s);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* --- threads --------------------------------------------------------------------------------- */

enum { THREADS = 8, TEXT = 90 };

typedef struct talker {
    llama2_model *model;
    int32_t number;
    llama2_status status;
    int32_t tokens[TEXT];
    float logprobs[TEXT];
} talker;

/* The session's state in memory, and another session that goes on from it. */
static llama2_status pass_on(llama2_model *m, llama2_session **s)
{
    size_t size = 0;
    void *state = NULL;
    llama2_session *next = NULL;
    llama2_status status = llama2_session_save_memory(*s, NULL, 0, &size);
    if (status == LLAMA2_OK) state = malloc(size);
    if (state) status = llama2_session_save_memory(*s, state, size, &size);
    if (status == LLAMA2_OK) status = llama2_session_load_memory(m, state, size, &next);
    free(state);
    if (status < 0) return status;
    llama2_session_free(*s);
    *s = next;
    return LLAMA2_OK;
}

/* Two sessions that talk in turns, one of them with penalties, which is saved and loaded now and then; its tokens are
 * kept. Check's assertions are for the main thread: the status goes there. */
static void *talk(void *arg)
{
    talker *t = arg;
    llama2_session *s = NULL, *other = NULL;
    llama2_sampling o;
    llama2_sampling_init(&o, sizeof o);
    o.sample_id = (uint64_t)t->number;
    o.repetition_penalty = 1.2;
    t->status = llama2_session_create(t->model, &s);
    if (t->status == LLAMA2_OK) t->status = llama2_session_create(t->model, &other);
    t->tokens[0] = t->number;
    for (int i = 1; i < TEXT && t->status == LLAMA2_OK; i++) {
        int32_t pair[] = {t->tokens[i - 1], t->tokens[i - 1]};
        t->status = llama2_session_feed_batch((llama2_session *const[]){other, s}, 2, pair, (const int64_t[]){0, 1, 2});
        if (t->status == LLAMA2_OK) t->status = llama2_session_sample(s, &o, &t->tokens[i], &t->logprobs[i]);
        if (t->status == LLAMA2_OK) t->status = llama2_session_sample(other, NULL, &pair[0], NULL);
        if (t->status == LLAMA2_OK && i % 30 == 7) t->status = pass_on(t->model, &s);
    }
    llama2_session_free(other);
    llama2_session_free(s);
    return NULL;
}

START_TEST(many_sessions_on_one_model_from_many_threads)
{
    llama2_context *ctx = small_context(3, LLAMA2_ISA_AUTO);
    static talker alone[THREADS], at_once[THREADS];
    pthread_t threads[THREADS];
    llama2_model *m = long_model(ctx, LLAMA2_F32);
    for (int32_t i = 0; i < THREADS; i++) {
        alone[i] = at_once[i] = (talker){.model = m, .number = i};
        talk(&alone[i]);
        ck_assert_int_eq(alone[i].status, LLAMA2_OK);
    }
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, talk, &at_once[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(at_once[i].status, LLAMA2_OK);
        ck_assert_mem_eq(at_once[i].tokens, alone[i].tokens, sizeof alone[i].tokens);
        ck_assert_mem_eq(at_once[i].logprobs, alone[i].logprobs, sizeof alone[i].logprobs);
    }
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("infer/feed");
    ADD_CASE(s, "feed", together_as_alone, a_batch_that_can_not_be_changes_nothing,
             a_common_beginning_is_not_read_again, many_sessions_on_one_model_from_many_threads);
    return s;
}
