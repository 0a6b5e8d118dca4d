/*
 * Batched generation: a sample is a function of its prompt, its id and the options, in tokens and in bits; prompts are
 * read once; blocks of the cache all come back. The engine is compiled into this test, so that its forwards can be
 * counted and its blocks looked at.
 */
#include "small_model.h"

#include "model/kv_cache.h"

static _Thread_local int64_t tokens_read; /* by all forwards of the engine, called by this thread */

static llama2_status counted_forward(const llama2_model *model, l2_kv_cache *cache, const l2_kv_rows *rows,
                                     const int32_t *tokens, const int64_t *wanted, int64_t n, l2_tensor *hidden)
{
    tokens_read += rows->offsets[rows->n_sequences];
    return l2_model_forward_cached(model, cache, rows, tokens, wanted, n, hidden);
}

#define l2_model_forward_cached counted_forward
#include "infer/generate.c" /* NOLINT: white box */
#undef l2_model_forward_cached

#include <stdatomic.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { MOST_PROMPTS = 16, MOST_TOKENS = 2048 };

typedef struct prompt_set {
    int32_t tokens[MOST_TOKENS];
    int64_t offsets[MOST_PROMPTS + 1];
    llama2_batch batch;
} prompt_set;

static void set_prompts(prompt_set *p, int32_t n, const int64_t *lengths)
{
    p->offsets[0] = 0;
    for (int32_t s = 0; s < n; s++) {
        p->offsets[s + 1] = p->offsets[s] + lengths[s];
        for (int64_t i = 0; i < lengths[s]; i++)
            p->tokens[p->offsets[s] + i] = (int32_t)((s * 17 + i * 11 + i * i / 3) % 37);
    }
    p->batch = (llama2_batch){sizeof p->batch, n, p->offsets[n], p->tokens, p->offsets, NULL};
}

/* Around the borders of blocks. */
static const int64_t border_lengths[] = {1, 63, 64, 65, 128, 100, 127, 2};
enum { BORDERS = 8 };

static llama2_rollout_options options_of(int32_t k, int32_t most, double temperature)
{
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = k;
    o.max_new_tokens = most;
    o.temperature = temperature;
    o.seed = 11;
    o.first_sample_id = 1000;
    return o;
}

static llama2_rollouts_view view_of(const llama2_rollouts *r)
{
    llama2_rollouts_view v = {.struct_size = sizeof v};
    ck_ok(llama2_rollouts_view_get(r, &v));
    return v;
}

static int same_sample(const llama2_rollouts_view *a, int32_t i, const llama2_rollouts_view *b, int32_t j)
{
    int64_t n = a->offsets[i + 1] - a->offsets[i];
    return n == b->offsets[j + 1] - b->offsets[j] && a->prompt_lengths[i] == b->prompt_lengths[j] &&
           a->ended[i] == b->ended[j] && a->ended_by[i] == b->ended_by[j] &&
           memcmp(a->tokens + a->offsets[i], b->tokens + b->offsets[j], (size_t)n * sizeof *a->tokens) == 0 &&
           memcmp(a->logprobs + a->offsets[i], b->logprobs + b->offsets[j], (size_t)n * sizeof *a->logprobs) == 0;
}

START_TEST(threads_and_places_change_no_bit)
{
    static const int32_t threads[] = {1, 2, 3, 8}, places[] = {1, 2, 5, 64, 0};
    prompt_set p;
    llama2_rollouts *first = NULL;
    llama2_rollouts_view a = {0};
    set_prompts(&p, BORDERS, border_lengths);
    for (int t = 0; t < 4; t++) {
        llama2_context *ctx = small_context(threads[t], LLAMA2_ISA_AUTO);
        llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
        for (int i = 0; i < 5; i++) {
            llama2_rollout_options o = options_of(3, 40, 0.9);
            llama2_rollouts *r;
            o.max_parallel = places[i];
            ck_ok(llama2_rollout(m, &p.batch, &o, &r));
            llama2_rollouts_view b = view_of(r);
            if (!first) {
                first = r;
                a = b;
                continue;
            }
            for (int32_t s = 0; s < a.n_samples; s++)
                ck_assert_msg(same_sample(&a, s, &b, s), "%d threads, %d places: sample %d differs", threads[t],
                              places[i], s);
            llama2_rollouts_free(r);
        }
        llama2_model_free(m);
        llama2_context_free(ctx);
    }
    int32_t differ = 0;
    for (int32_t s = 0; s < a.n_samples; s += 3) differ += !same_sample(&a, s, &a, s + 1);
    ck_assert_int_gt(differ, BORDERS / 2); /* samples of one prompt are different texts */
    llama2_rollouts_free(first);
}
END_TEST

START_TEST(a_sample_alone_is_the_same)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 1, LLAMA2_F32);
    prompt_set p;
    llama2_rollouts *all;
    llama2_rollout_options o = options_of(2, 40, 1);
    set_prompts(&p, BORDERS, border_lengths);
    o.top_p = 0.95;
    ck_ok(llama2_rollout(m, &p.batch, &o, &all));
    llama2_rollouts_view a = view_of(all);
    for (int32_t s = 2 * BORDERS - 1; s >= 0; s--) {
        int32_t i = s / 2;
        int64_t offsets[] = {0, border_lengths[i]};
        llama2_batch one = {sizeof one, 1, border_lengths[i], p.tokens + p.offsets[i], offsets, NULL};
        llama2_rollouts *r;
        o.samples_per_prompt = 1;
        o.first_sample_id = 1000 + (uint64_t)s;
        ck_ok(llama2_rollout(m, &one, &o, &r));
        llama2_rollouts_view b = view_of(r);
        ck_assert_msg(same_sample(&a, s, &b, 0), "sample %d differs", s);
        llama2_rollouts_free(r);
    }
    llama2_rollouts_free(all);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

static void check_logprobs(int32_t dtype, double temperature)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, dtype);
    prompt_set p;
    llama2_rollouts *r;
    llama2_rollout_options o = options_of(2, 40, temperature);
    set_prompts(&p, BORDERS, border_lengths);
    o.top_k = 9; /* changes what is drawn, not the log-probability */
    ck_ok(llama2_rollout(m, &p.batch, &o, &r));
    llama2_rollouts_view v = view_of(r);
    llama2_batch full = {sizeof full, v.n_samples, v.n_tokens, v.tokens, v.offsets, NULL};
    float *logprobs = malloc((size_t)v.n_tokens * sizeof *logprobs);
    ck_ok(llama2_model_logprobs(m, &full, temperature > 0 ? temperature : 1, logprobs, NULL));
    for (int32_t s = 0; s < v.n_samples; s++)
        for (int64_t t = v.offsets[s]; t < v.offsets[s + 1]; t++) {
            float expected = t < v.offsets[s] + v.prompt_lengths[s] ? 0 : logprobs[t];
            ck_assert_msg(v.logprobs[t] == expected, "sample %d, token %d: %g, expected %g", s, (int)(t - v.offsets[s]),
                          (double)v.logprobs[t], (double)expected);
        }
    free(logprobs);
    llama2_rollouts_free(r);
    llama2_model_free(m);
    llama2_context_free(ctx);
}

START_TEST(logprobs_are_those_of_a_full_forward)
{
    check_logprobs(LLAMA2_F32, 1);
    check_logprobs(LLAMA2_F32, 0.7);
    check_logprobs(LLAMA2_F32, 0);
    check_logprobs(LLAMA2_F64, 0.7);
}
END_TEST

static void check_session(llama2_model *m, const prompt_set *p, const llama2_rollout_options *o)
{
    llama2_rollouts *r;
    llama2_session *session;
    llama2_sampling sampling;
    ck_ok(llama2_rollout(m, &p->batch, o, &r));
    ck_ok(llama2_session_create(m, &session));
    llama2_sampling_init(&sampling, sizeof sampling);
    sampling.temperature = o->temperature;
    sampling.top_k = o->top_k;
    sampling.top_p = o->top_p;
    sampling.seed = o->seed;
    uint64_t first_id = o->first_sample_id;
    if (o->sampling) {
        sampling = *o->sampling;
        first_id = sampling.sample_id;
    }
    llama2_rollouts_view v = view_of(r);
    for (int32_t s = 0; s < v.n_samples; s++) {
        int64_t at = v.offsets[s] + v.prompt_lengths[s];
        ck_ok(llama2_session_rewind(session, 0));
        ck_ok(llama2_session_feed(session, v.tokens + v.offsets[s], v.prompt_lengths[s]));
        sampling.sample_id = first_id + (uint64_t)s;
        if (o->sampling && o->sampling->penalty_start < 0) sampling.penalty_start = v.prompt_lengths[s];
        for (; at < v.offsets[s + 1]; at++) {
            int32_t token;
            float logprob;
            ck_ok(llama2_session_sample(session, &sampling, &token, &logprob));
            ck_assert_msg(token == v.tokens[at] && logprob == v.logprobs[at], "sample %d, token %d", s,
                          (int)(at - v.offsets[s]));
            ck_ok(llama2_session_feed(session, &token, 1));
        }
    }
    llama2_session_free(session);
    llama2_rollouts_free(r);
}

START_TEST(a_session_says_the_same)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32), *m64 = small_model(ctx, 0, LLAMA2_F64);
    prompt_set p;
    set_prompts(&p, 5, border_lengths);
    llama2_rollout_options plain = options_of(2, 30, 1), nucleus = options_of(2, 30, 0.8),
                           greedy = options_of(2, 30, 0);
    nucleus.top_k = 12;
    nucleus.top_p = 0.8;
    check_session(m, &p, &plain);
    check_session(m, &p, &nucleus);
    check_session(m, &p, &greedy);
    check_session(m64, &p, &nucleus);
    static const int32_t biased[] = {5, 6, 5};
    static const float biases[] = {1.5f, -INFINITY, 0.25f};
    llama2_sampling all;
    llama2_sampling_init(&all, sizeof all);
    all.temperature = 0.9;
    all.min_p = 0.02;
    all.seed = 77;
    all.sample_id = 123;
    all.repetition_penalty = 1.3;
    all.presence_penalty = 0.4;
    all.frequency_penalty = 0.2;
    all.penalty_window = 50;
    all.n_logit_bias = 3;
    all.logit_bias_ids = biased;
    all.logit_bias_values = biases;
    plain.sampling = &all;
    plain.temperature = -1; /* not looked at */
    check_session(m, &p, &plain);
    check_session(m64, &p, &plain);
    all.penalty_start = -1;
    all.penalty_window = 0;
    check_session(m, &p, &plain);
    llama2_model_free(m);
    llama2_model_free(m64);
    llama2_context_free(ctx);
}
END_TEST

/* Prompts once, then each sample's tokens but the last, which nobody asks about. */
START_TEST(a_prompt_is_read_once_for_its_samples)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    prompt_set p;
    set_prompts(&p, BORDERS, border_lengths);
    for (int32_t places = 1; places <= 64; places = places * 3 + 1) {
        llama2_rollouts *r;
        llama2_rollout_options o = options_of(7, 9, 1);
        o.max_parallel = places;
        tokens_read = 0;
        ck_ok(llama2_rollout(m, &p.batch, &o, &r));
        llama2_rollouts_view v = view_of(r);
        int64_t expected = p.offsets[BORDERS];
        for (int32_t s = 0; s < v.n_samples; s++) expected += v.offsets[s + 1] - v.offsets[s] - v.prompt_lengths[s] - 1;
        ck_assert_int_eq(tokens_read, expected);
        llama2_rollouts_free(r);
    }
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* Longer than what one forward reads, alone and beside others. */
START_TEST(long_prompts_are_read_in_pieces)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_config c = small_config(1);
    llama2_model *m;
    c.n_layers = 1;
    c.max_seq_len = 4300;
    ck_ok(llama2_model_create(ctx, &c, NULL, &m));
    enum { LONG = PREFILL_TOKENS + 150 };
    int32_t *tokens = malloc((2 * LONG + 3) * sizeof *tokens);
    for (int i = 0; i < 2 * LONG + 3; i++) tokens[i] = (i * 7 + i * i / 5) % 37;
    int64_t offsets[] = {0, 3, LONG + 3, 2 * LONG + 3};
    llama2_batch batch = {sizeof batch, 3, 2 * LONG + 3, tokens, offsets, NULL};
    prompt_set p;
    p.batch = batch;
    llama2_rollout_options o = options_of(2, 5, 1);
    tokens_read = 0;
    check_session(m, &p, &o);
    ck_assert_int_le(tokens_read, 2 * LONG + 3 + 6 * 4);
    free(tokens);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(responses_end_where_they_should)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    prompt_set p;
    llama2_rollouts *r;
    static const int64_t lengths[] = {1, 155, 159, 40};
    set_prompts(&p, 4, lengths);
    llama2_rollout_options o = options_of(8, 50, 1.5);
    ck_ok(llama2_model_set_eos_ids(m, (const int32_t[]){2, 7}, 2));
    ck_ok(llama2_rollout(m, &p.batch, &o, &r));
    llama2_rollouts_view v = view_of(r);
    int32_t ended = 0, by_other = 0;
    for (int32_t s = 0; s < v.n_samples; s++) {
        int64_t first = v.offsets[s] + v.prompt_lengths[s], n = v.offsets[s + 1] - first,
                room = 160 - v.prompt_lengths[s];
        ck_assert_int_eq(v.prompt_lengths[s], lengths[s / 8]);
        ck_assert_mem_eq(v.tokens + v.offsets[s], p.tokens + p.offsets[s / 8],
                         (size_t)lengths[s / 8] * sizeof *v.tokens);
        for (int64_t t = first; t + 1 < v.offsets[s + 1]; t++) ck_assert(v.tokens[t] != 2 && v.tokens[t] != 7);
        int32_t last = v.tokens[v.offsets[s + 1] - 1];
        ck_assert_int_eq(v.ended[s], last == 2 || last == 7);
        ck_assert_int_eq(v.ended_by[s], v.ended[s]  ? LLAMA2_END_EOS
                                        : room < 50 ? LLAMA2_END_CONTEXT
                                                    : LLAMA2_END_LENGTH);
        by_other += last == 7;
        if (!v.ended[s]) ck_assert_int_eq(n, room < 50 ? room : 50);
        ck_assert_int_ge(n, 1);
        ended += v.ended[s];
    }
    ck_assert(ended > 3 && ended < 32 && by_other > 0);
    ck_ok(llama2_model_set_eos_ids(m, (const int32_t[]){2}, 1));
    llama2_rollouts_free(r);

    o.top_k = 1; /* the likeliest token, as with temperature 0 */
    ck_ok(llama2_rollout(m, &p.batch, &o, &r));
    llama2_rollouts *greedy;
    o.top_k = 0;
    o.temperature = 0;
    ck_ok(llama2_rollout(m, &p.batch, &o, &greedy));
    llama2_rollouts_view a = view_of(r), b = view_of(greedy);
    ck_assert_int_eq(a.n_tokens, b.n_tokens);
    ck_assert_mem_eq(a.tokens, b.tokens, (size_t)a.n_tokens * sizeof *a.tokens);
    llama2_rollouts_free(r);
    llama2_rollouts_free(greedy);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* --- stop strings ---------------------------------------------------------------------------- */

/* Tokens of a response whose text the tokenizer knows: how many until it holds a stop string, 0: it never does. */
static int64_t first_with_stop(const llama2_tokenizer *tokenizer, const llama2_rollout_options *o,
                               const int32_t *tokens, int64_t n)
{
    int32_t known[160];
    char text[1024];
    size_t length;
    int64_t n_known = 0;
    for (int64_t i = 0; i < n; i++) {
        if (tokens[i] < llama2_tokenizer_vocab_size(tokenizer)) known[n_known++] = tokens[i];
        ck_ok(llama2_tokenizer_decode(tokenizer, known, n_known, o->decode_flags, text, sizeof text - 1, &length));
        text[length] = 0;
        for (int32_t k = 0; k < o->n_stops; k++) {
            char stop[32] = "";
            memcpy(stop, o->stops[k], o->stop_lengths ? o->stop_lengths[k] : strlen(o->stops[k]));
            if (strstr(text, stop)) return i + 1;
        }
    }
    return 0;
}

/* Sample s of `stopped` is that of `whole` up to its first stop string. Returns what ended it. */
static uint8_t check_stopped(const llama2_tokenizer *tokenizer, const llama2_rollout_options *o,
                             const llama2_rollouts_view *whole, const llama2_rollouts_view *stopped, int32_t s)
{
    int64_t prompt = whole->prompt_lengths[s], n = whole->offsets[s + 1] - whole->offsets[s] - prompt,
            got = stopped->offsets[s + 1] - stopped->offsets[s] - prompt;
    const int32_t *tokens = whole->tokens + whole->offsets[s];
    int64_t end = first_with_stop(tokenizer, o, tokens + prompt, n);
    uint8_t by = end ? LLAMA2_END_STOP : whole->ended_by[s];
    if (!end) end = n;
    ck_assert_int_eq(stopped->prompt_lengths[s], prompt);
    ck_assert_msg(got == end, "sample %d: %d tokens, expected %d", s, (int)got, (int)end);
    ck_assert_int_eq(stopped->ended_by[s], by);
    ck_assert_int_eq(stopped->ended[s], by == LLAMA2_END_STOP || by == LLAMA2_END_EOS);
    ck_assert_mem_eq(stopped->tokens + stopped->offsets[s], tokens, (size_t)(prompt + end) * sizeof *tokens);
    ck_assert_mem_eq(stopped->logprobs + stopped->offsets[s], whole->logprobs + whole->offsets[s],
                     (size_t)(prompt + end) * sizeof(float));
    return by;
}

START_TEST(a_stop_string_ends_a_response_and_changes_nothing_before)
{
    static const char *const letters[] = {"bbabba", "aaaaaa", " ab"}, *const one[] = {"baaXXX", " "};
    static const size_t lengths[] = {3, 1};
    static const int64_t prompt_lengths[] = {1, 63, 64, 65, 128, 100, 140, 2};
    static const struct {
        int32_t threads, places, n_stops;
        const char *const *stops;
        const size_t *lengths;
        uint32_t flags;
    } cases[] = {
        {1, 0, 3, letters, NULL, 0}, {3, 5, 3, letters, NULL, 0}, {2, 1, 3, letters, NULL, LLAMA2_DECODE_CONTINUE},
        {2, 64, 2, one, lengths, 0}, {1, 3, 2, one, lengths, 0},  {2, 7, 2, one, lengths, LLAMA2_DECODE_CONTINUE},
    };
    prompt_set p;
    int32_t ended_by[4] = {0}, beyond = 0;
    set_prompts(&p, BORDERS, prompt_lengths);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        llama2_context *ctx = small_context(cases[i].threads, LLAMA2_ISA_AUTO);
        llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
        llama2_tokenizer *tokenizer = small_tokenizer(ctx);
        llama2_rollouts *whole, *stopped;
        llama2_rollout_options o = options_of(6, 30, 1.2);
        o.max_parallel = cases[i].places;
        ck_ok(llama2_rollout(m, &p.batch, &o, &whole));
        o.tokenizer = tokenizer;
        o.stops = cases[i].stops;
        o.stop_lengths = cases[i].lengths;
        o.n_stops = cases[i].n_stops;
        o.decode_flags = cases[i].flags;
        ck_ok(llama2_rollout(m, &p.batch, &o, &stopped));
        llama2_rollouts_view a = view_of(whole), b = view_of(stopped);
        for (int32_t s = 0; s < a.n_samples; s++) {
            ended_by[check_stopped(tokenizer, &o, &a, &b, s)]++;
            for (int64_t t = b.offsets[s] + b.prompt_lengths[s]; t < b.offsets[s + 1]; t++) beyond += b.tokens[t] > 33;
        }
        llama2_rollouts_free(whole);
        llama2_rollouts_free(stopped);
        llama2_tokenizer_free(tokenizer);
        llama2_model_free(m);
        llama2_context_free(ctx);
    }
    for (int i = 0; i < 4; i++) ck_assert_int_gt(ended_by[i], 3); /* each way to end was there */
    ck_assert_int_gt(beyond, 3);
}
END_TEST

START_TEST(stop_strings_that_can_not_be)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32), *small;
    llama2_tokenizer *tokenizer = small_tokenizer(ctx);
    llama2_config c = small_config(0);
    prompt_set p;
    llama2_rollouts *r;
    const char *stops[] = {"a", ""};
    llama2_rollout_options o = options_of(1, 5, 1);
    set_prompts(&p, 1, border_lengths);
    o.stops = stops;
    o.n_stops = 1;
    ck_fails(llama2_rollout(m, &p.batch, &o, &r), LLAMA2_E_INVALID);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "tokenizer"));
    o.tokenizer = tokenizer;
    ck_ok(llama2_rollout(m, &p.batch, &o, &r));
    llama2_rollouts_free(r);
    o.n_stops = 2;
    ck_fails(llama2_rollout(m, &p.batch, &o, &r), LLAMA2_E_INVALID);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "stop string 1"));
    ck_assert_ptr_null(r);
    o.n_stops = -1;
    ck_fails(llama2_rollout(m, &p.batch, &o, &r), LLAMA2_E_INVALID);
    o.n_stops = 1;
    o.decode_flags = 64;
    ck_fails(llama2_rollout(m, &p.batch, &o, &r), LLAMA2_E_INVALID);
    o.decode_flags = 0;
    c.vocab_size = 33;
    ck_ok(llama2_model_create(ctx, &c, NULL, &small));
    ck_fails(llama2_rollout(small, &p.batch, &o, &r), LLAMA2_E_MISMATCH);
    llama2_tokenizer_free(tokenizer);
    llama2_model_free(small);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* --- threads --------------------------------------------------------------------------------- */

enum { THREADS = 6 };

typedef struct worker {
    llama2_model *model;
    const prompt_set *prompts;
    llama2_rollout_options options;
    llama2_status status;
    llama2_rollouts *rollouts;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    w->status = llama2_rollout(w->model, &w->prompts->batch, &w->options, &w->rollouts);
    return NULL;
}

START_TEST(many_rollouts_on_one_model_from_many_threads)
{
    static const char *const stops[] = {"bbab", " a"};
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    llama2_tokenizer *tokenizer = small_tokenizer(ctx);
    prompt_set p;
    worker alone[THREADS], at_once[THREADS];
    pthread_t threads[THREADS];
    set_prompts(&p, BORDERS, border_lengths);
    for (int i = 0; i < THREADS; i++) {
        alone[i] = (worker){.model = m, .prompts = &p, .options = options_of(2, 25, 1)};
        alone[i].options.seed = (uint64_t)i;
        alone[i].options.tokenizer = tokenizer;
        alone[i].options.stops = stops;
        alone[i].options.n_stops = 2;
        at_once[i] = alone[i];
        work(&alone[i]);
        ck_assert_int_eq(alone[i].status, LLAMA2_OK);
    }
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &at_once[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(at_once[i].status, LLAMA2_OK);
        llama2_rollouts_view a = view_of(alone[i].rollouts), b = view_of(at_once[i].rollouts);
        for (int32_t s = 0; s < a.n_samples; s++)
            ck_assert_msg(same_sample(&a, s, &b, s), "thread %d: sample %d differs", i, s);
        llama2_rollouts_free(alone[i].rollouts);
        llama2_rollouts_free(at_once[i].rollouts);
    }
    llama2_tokenizer_free(tokenizer);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* --- refusals -------------------------------------------------------------------------------- */

START_TEST(what_can_not_be_done_is_refused)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    prompt_set p;
    llama2_rollouts *r = (llama2_rollouts *)&p;
    static const int64_t lengths[] = {3, 160};
    set_prompts(&p, 2, lengths);
    llama2_rollout_options o = options_of(1, 5, 1), bad = o;
    ck_fails(llama2_rollout(m, &p.batch, &o, &r), LLAMA2_E_CONTEXT);
    ck_assert_ptr_null(r);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "prompt 1"));
    set_prompts(&p, 1, lengths);
    ck_fails(llama2_rollout(NULL, &p.batch, &o, &r), LLAMA2_E_INVALID);
    ck_fails(llama2_rollout(m, NULL, &o, &r), LLAMA2_E_INVALID);
    ck_fails(llama2_rollout(m, &p.batch, &o, NULL), LLAMA2_E_INVALID);
#define REFUSED(field, value)                                                                                          \
    do {                                                                                                               \
        bad = o;                                                                                                       \
        bad.field = value;                                                                                             \
        ck_fails(llama2_rollout(m, &p.batch, &bad, &r), LLAMA2_E_INVALID);                                             \
    } while (0)
    REFUSED(samples_per_prompt, 0);
    REFUSED(max_new_tokens, 0);
    REFUSED(max_parallel, -1);
    REFUSED(top_k, -1);
    REFUSED(top_p, 0);
    REFUSED(top_p, 1.1);
    REFUSED(temperature, -1);
    REFUSED(temperature, 1e-300); /* the logits would overflow */
    REFUSED(decode_flags, 64);    /* without stop strings too */
    llama2_sampling own;
    llama2_sampling_init(&own, sizeof own);
    own.penalty_start = -2;
    REFUSED(sampling, &own);
    own.penalty_start = 0;
    own.struct_size = 4;
    bad.sampling = &own;
    ck_fails(llama2_rollout(m, &p.batch, &bad, &r), LLAMA2_E_ABI);
    bad = o;
    bad.struct_size = 4;
    ck_fails(llama2_rollout(m, &p.batch, &bad, &r), LLAMA2_E_ABI);
    bad = o;
    bad.samples_per_prompt = INT32_MAX;
    set_prompts(&p, 2, (const int64_t[]){1, 1});
    ck_fails(llama2_rollout(m, &p.batch, &bad, &r), LLAMA2_E_LIMIT);
    llama2_context_cancel(ctx);
    ck_fails(llama2_rollout(m, &p.batch, &o, &r), LLAMA2_E_CANCELLED);
    llama2_context_resume(ctx);
    float *w = m->weights;
    w[5] = NAN; /* a column of the embedding that token 0 has */
    ck_fails(llama2_rollout(m, &p.batch, &o, &r), LLAMA2_E_NUMERIC);
    ck_assert_ptr_null(r);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* --- callbacks and memory -------------------------------------------------------------------- */

static void *counting_alloc(void *user, size_t size, size_t alignment)
{
    atomic_fetch_add((atomic_long *)user, 1);
    return aligned_alloc(alignment, size);
}

static void counting_free(void *user, void *ptr)
{
    atomic_fetch_sub((atomic_long *)user, 1);
    free(ptr);
}

typedef struct watcher {
    int64_t calls, stop_at;
    llama2_rollout_event last;
} watcher;

static int32_t watch(void *user, const llama2_rollout_event *e)
{
    watcher *w = user;
    ck_assert_int_ge(e->samples_done, w->last.samples_done);
    ck_assert_int_gt(e->tokens, w->last.tokens);
    w->last = *e;
    return ++w->calls == w->stop_at;
}

START_TEST(the_host_can_stop_it_anywhere)
{
    atomic_long alive = 0;
    llama2_context *ctx;
    llama2_context_options co;
    llama2_context_options_init(&co, sizeof co);
    co.n_threads = 2;
    co.alloc = counting_alloc;
    co.dealloc = counting_free;
    co.alloc_user = &alive;
    ck_ok(llama2_context_create(&co, &ctx));
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    prompt_set p;
    set_prompts(&p, BORDERS, border_lengths);
    llama2_rollout_options o = options_of(2, 6, 1);
    o.max_parallel = 4;
    int64_t stop_at = 1;
    for (;; stop_at++) {
        watcher w = {.stop_at = stop_at};
        llama2_rollouts *r;
        o.progress = watch;
        o.user = &w;
        llama2_status status = llama2_rollout(m, &p.batch, &o, &r);
        if (status == LLAMA2_OK) {
            llama2_rollouts_view v = view_of(r);
            int64_t sampled = v.n_tokens;
            for (int32_t s = 0; s < v.n_samples; s++) sampled -= v.prompt_lengths[s];
            ck_assert_int_eq(w.last.samples_done, 16);
            ck_assert_int_eq(w.last.samples, 16);
            ck_assert_int_eq(w.last.tokens, sampled);
            llama2_rollouts_free(r);
            break;
        }
        ck_assert_int_eq(status, LLAMA2_E_USER);
        ck_assert_int_eq(w.calls, stop_at);
        ck_assert_ptr_null(r);
    }
    ck_assert_int_gt(stop_at, 10);
    llama2_model_free(m);
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&alive), 0);
}
END_TEST

static int32_t cancel_at_once(void *user, const llama2_rollout_event *e)
{
    ck_assert_int_lt(e->samples_done, e->samples); /* never asked again */
    llama2_context_cancel(user);
    return 0;
}

/* Responses of one token to a prompt that has been read need no forward, which would look at it. */
START_TEST(cancelled_between_samples_of_a_prompt)
{
    llama2_context *ctx = small_context(1, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    llama2_rollouts *r = (llama2_rollouts *)&r;
    prompt_set p;
    set_prompts(&p, 1, border_lengths);
    llama2_rollout_options o = options_of(8, 1, 1);
    o.max_parallel = 4;
    o.progress = cancel_at_once;
    o.user = ctx;
    ck_fails(llama2_rollout(m, &p.batch, &o, &r), LLAMA2_E_CANCELLED);
    ck_assert_ptr_null(r);
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

/* Every block is free or owned by as many sequences as hold it. */
static void check_blocks(const engine *e)
{
    int32_t *held = calloc((size_t)e->cache.n_blocks, sizeof *held), n_free = 0;
    for (int32_t i = 0; i <= e->n_slots; i++) {
        const l2_kv_sequence *pair[] = {&e->prefixes[i], i < e->n_slots ? &e->slots[i].sequence : NULL};
        for (int j = 0; j < 2 && pair[j]; j++)
            for (int32_t b = 0; b < pair[j]->n_blocks; b++) held[pair[j]->blocks[b]]++;
        if (i < e->n_slots && e->slots[i].sample < 0) ck_assert_int_eq(e->slots[i].sequence.n_blocks, 0);
    }
    for (int32_t b = 0; b < e->cache.n_blocks; b++) {
        ck_assert_int_eq(e->cache.owners[b], held[b]);
        n_free += held[b] == 0;
    }
    ck_assert_int_eq(e->cache.n_free, n_free);
    for (int32_t i = 0; i < e->cache.n_free; i++) ck_assert_int_eq(held[e->cache.free_blocks[i]]++, 0);
    free(held);
}

static uint32_t dice(uint64_t *state, uint32_t sides)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % sides;
}

START_TEST(all_blocks_come_back)
{
    llama2_context *ctx = small_context(2, LLAMA2_ISA_AUTO);
    llama2_model *m = small_model(ctx, 0, LLAMA2_F32);
    uint64_t state = 5;
    for (int run = 0; run < 60; run++) {
        prompt_set p;
        int64_t lengths[MOST_PROMPTS];
        int32_t n = 1 + (int32_t)dice(&state, 12);
        for (int32_t i = 0; i < n; i++) lengths[i] = dice(&state, 3) ? 1 + dice(&state, 20) : 60 + dice(&state, 95);
        set_prompts(&p, n, lengths);
        llama2_rollout_options o = options_of(1 + (int32_t)dice(&state, 5), 1 + (int32_t)dice(&state, 40), 1);
        o.max_parallel = 1 + (int32_t)dice(&state, 12);
        llama2_sampling sampling;
        llama2_sampling_init(&sampling, sizeof sampling);
        sampling.seed = (uint64_t)run;
        o.sampling = &sampling;
        engine e = {.ctx = ctx, .model = m, .prompts = &p.batch, .options = &o};
        e.n_samples = n * o.samples_per_prompt;
        ck_ok(set_up(&e));
        while (e.n_done < e.n_samples) {
            ck_ok(fill_slots(&e));
            check_blocks(&e);
            ck_ok(decode(&e));
            check_blocks(&e);
        }
        l2_kv_truncate(&e.cache, &e.prefixes[0], 0);
        check_blocks(&e);
        ck_assert_int_eq(e.cache.n_free, e.cache.n_blocks);
        tear_down(&e);
    }
    llama2_model_free(m);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("infer/generate");
    ADD_CASE(s, "bits", threads_and_places_change_no_bit, a_sample_alone_is_the_same,
             logprobs_are_those_of_a_full_forward, a_session_says_the_same);
    ADD_CASE(s, "work", a_prompt_is_read_once_for_its_samples, long_prompts_are_read_in_pieces, all_blocks_come_back);
    ADD_CASE(s, "edges", responses_end_where_they_should, what_can_not_be_done_is_refused,
             the_host_can_stop_it_anywhere, cancelled_between_samples_of_a_prompt);
    ADD_CASE(s, "threads", many_rollouts_on_one_model_from_many_threads);
    ADD_CASE(s, "stop strings", a_stop_string_ends_a_response_and_changes_nothing_before, stop_strings_that_can_not_be);
    return s;
}
