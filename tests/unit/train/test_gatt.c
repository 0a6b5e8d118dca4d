/* Ghost Attention: under which prompts the answers are sampled, what the examples are made of, and which dialogues give
 * none. */
#include "train_test.h"

#include "tokenizer/tokenizer_test.h"

enum { PIECES = TINY_PIECES + 1, MARKER = TINY_PIECES, CONTEXT = 400, DIALOGUES = 4, ROOM = 2 * CONTEXT };

/* The tiny vocabulary, and a piece that is a marker of the chat format. */
static llama2_tokenizer *marked_tokenizer(llama2_context *ctx)
{
    tiny t;
    const char *texts[PIECES];
    float scores[PIECES] = {0};
    int32_t types[PIECES];
    llama2_tokenizer *tok;
    fill_tiny(&t);
    memcpy(texts, t.texts, sizeof t.texts);
    memcpy(scores, t.scores, sizeof t.scores);
    memcpy(types, t.types, sizeof t.types);
    texts[MARKER] = "[INST]";
    scores[MARKER] = -1000;
    types[MARKER] = LLAMA2_PIECE_NORMAL;
    t.pieces.n_pieces = PIECES;
    t.pieces.texts = texts;
    t.pieces.scores = scores;
    t.pieces.types = types;
    ck_ok(llama2_tokenizer_create(ctx, &t.pieces, &tok));
    return tok;
}

static const int32_t n_turns[DIALOGUES] = {3, 1, 2, 3};
static const char *const messages[] =
    {"who are you?", "and where?", "why there?", "the only one", "hello", "bye", "a", "b", "c"},
                         *const instructions[] = {"act as Napoleon", "speak French", "you like tennis", "be brief"},
                         *const shortened[] = {"Figure: Napoleon", NULL, "Hobby: tennis", NULL};

typedef struct world {
    llama2_context *ctx;
    llama2_model *model;
    llama2_tokenizer *tok;
    llama2_gatt_dialogues dialogues;
    llama2_gatt_options options;
    llama2_rollout_options rollout;
    llama2_gatt *gatt;
} world;

static void begin(world *w, int32_t threads)
{
    llama2_config c = small_config(0);
    c.vocab_size = PIECES + 3;
    c.max_seq_len = CONTEXT;
    *w = (world){.ctx = small_context(threads, LLAMA2_ISA_AUTO)};
    ck_ok(llama2_model_create(w->ctx, &c, NULL, &w->model));
    w->tok = make_tiny(w->ctx);
    w->dialogues = (llama2_gatt_dialogues){.struct_size = sizeof w->dialogues,
                                           .n_dialogues = DIALOGUES,
                                           .n_turns = n_turns,
                                           .messages = messages,
                                           .instructions = instructions,
                                           .kept_instructions = shortened};
    llama2_gatt_options_init(&w->options, sizeof w->options);
    llama2_rollout_options_init(&w->rollout, sizeof w->rollout);
    w->rollout.max_new_tokens = 8;
    w->rollout.seed = 11;
    w->rollout.first_sample_id = 50;
}

static void end(world *w)
{
    llama2_gatt_free(w->gatt);
    llama2_tokenizer_free(w->tok);
    llama2_model_free(w->model);
    llama2_context_free(w->ctx);
}

static void create(world *w)
{
    ck_ok(llama2_gatt_create(w->tok, &w->dialogues, &w->options, &w->gatt));
}

static void all_turns(world *w)
{
    while (llama2_gatt_turns_left(w->gatt) > 0) ck_ok(llama2_gatt_turn(w->gatt, w->model, &w->rollout, NULL));
}

static llama2_gatt_answer answer_of(const world *w, int32_t d, int32_t t)
{
    llama2_gatt_answer a = {.struct_size = sizeof a};
    ck_ok(llama2_gatt_answer_get(w->gatt, d, t, &a));
    return a;
}

static int64_t first_message(int32_t d)
{
    int64_t first = 0;
    for (int32_t i = 0; i < d; i++) first += n_turns[i];
    return first;
}

/* What should stand before answer t of dialogue d, encoded from its messages: as it is sampled, or in an example. */
static int64_t expected_prompt(const world *w, int32_t d, int32_t t, int example, int32_t ids[ROOM])
{
    int32_t roles[8];
    const char *texts[8];
    size_t lengths[8]; /* an answer may hold a NUL */
    char joined[4][64];
    llama2_chat chat;
    int64_t n;
    const char *kept = shortened[d] ? shortened[d] : instructions[d];
    llama2_chat_init(&chat, sizeof chat);
    chat.roles = roles;
    chat.texts = texts;
    chat.lengths = lengths;
    if (example && w->options.placement == LLAMA2_GATT_SYSTEM) {
        roles[0] = LLAMA2_ROLE_SYSTEM;
        lengths[0] = strlen(kept);
        texts[chat.n_messages++] = kept;
    }
    for (int32_t i = 0; i <= t; i++) {
        const char *message = messages[first_message(d) + i];
        int instructed = !example || (i == 0 && w->options.placement == LLAMA2_GATT_USER);
        snprintf(joined[i], sizeof joined[i], "%s\n\n%s", example ? kept : instructions[d], message);
        roles[chat.n_messages] = LLAMA2_ROLE_USER;
        texts[chat.n_messages] = instructed ? joined[i] : message;
        lengths[chat.n_messages] = strlen(texts[chat.n_messages]);
        chat.n_messages++;
        if (i == t) break;
        llama2_gatt_answer a = answer_of(w, d, i);
        roles[chat.n_messages] = LLAMA2_ROLE_ASSISTANT;
        lengths[chat.n_messages] = a.length;
        texts[chat.n_messages++] = a.text;
    }
    ck_ok(llama2_chat_encode(w->tok, &chat, 0, ids, NULL, ROOM, &n));
    return n;
}

/* The answer to one prompt, sampled by itself. */
static void check_sampled_alone(const world *w, int32_t d, int32_t t, const int32_t *response, int64_t n_response)
{
    int32_t ids[ROOM];
    int64_t offsets[2] = {0, expected_prompt(w, d, t, 0, ids)};
    llama2_batch prompt = {
        .struct_size = sizeof prompt, .n_sequences = 1, .n_tokens = offsets[1], .tokens = ids, .offsets = offsets};
    llama2_rollout_options o = w->rollout;
    llama2_rollouts *alone;
    o.first_sample_id += (uint64_t)d;
    ck_ok(llama2_rollout(w->model, &prompt, &o, &alone));
    llama2_rollouts_view v = view_of(alone);
    ck_assert_int_eq(v.n_tokens - v.prompt_lengths[0], n_response);
    ck_assert_mem_eq(v.tokens + v.prompt_lengths[0], response, (size_t)n_response * sizeof *response);
    ck_assert_int_eq(answer_of(w, d, t).ended_by, v.ended_by[0]);
    llama2_rollouts_free(alone);
}

/* Where `what` begins for the nth time, from 0, in a text that may hold a NUL; -1: nowhere. */
static long find(const char *text, size_t length, const char *what, int32_t nth)
{
    size_t n = strlen(what);
    for (size_t i = 0; i + n <= length; i++)
        if (memcmp(text + i, what, n) == 0 && nth-- == 0) return (long)i;
    return -1;
}

static int32_t times(const char *text, size_t length, const char *what)
{
    int32_t n = 0;
    while (find(text, length, what, n) >= 0) n++;
    return n;
}

/* Sample s of the examples ends with answer t of dialogue d. */
static void check_example(const world *w, const llama2_rollouts_view *v, int32_t s, int32_t d, int32_t t)
{
    int32_t ids[ROOM];
    int64_t n = expected_prompt(w, d, t, 1, ids), n_response = v->offsets[s + 1] - v->offsets[s] - n;
    const int32_t *tokens = v->tokens + v->offsets[s];
    ck_assert_int_eq(v->prompt_lengths[s], n);
    ck_assert_mem_eq(tokens, ids, (size_t)n * sizeof *ids);
    check_sampled_alone(w, d, t, tokens + n, n_response);
    bytes text = decode(w->tok, tokens, n, 0);
    const char *kept = shortened[d] ? shortened[d] : instructions[d];
    ck_assert_int_eq(times(text.data, text.size, kept), 1);
    ck_assert_int_lt(find(text.data, text.size, kept, 0), find(text.data, text.size, "[/INST]", 0)); /* first turn */
    ck_assert_int_eq(times(text.data, text.size, "[/INST]"), t + 1);
    if (shortened[d]) ck_assert_int_eq(times(text.data, text.size, instructions[d]), 0);
    free(text.data);
}

START_TEST(the_instruction_is_said_once_and_the_last_answer_learnt)
{
    for (int32_t placement = LLAMA2_GATT_SYSTEM; placement <= LLAMA2_GATT_USER; placement++) {
        world w;
        llama2_rollouts *examples;
        llama2_packer *packer;
        llama2_batch b = {.struct_size = sizeof b};
        begin(&w, 2);
        w.options.placement = placement;
        create(&w);
        ck_assert_int_eq(llama2_gatt_turns_left(w.gatt), 3);
        all_turns(&w);
        ck_ok(llama2_gatt_examples(w.gatt, &examples));
        llama2_rollouts_view v = view_of(examples);
        ck_assert_int_eq(v.n_samples, DIALOGUES);
        ck_assert_int_eq(v.samples_per_prompt, 1);
        ck_assert_ptr_null(v.logprobs);
        for (int32_t d = 0; d < DIALOGUES; d++) check_example(&w, &v, d, d, n_turns[d] - 1);
        /* the mask: the tokens of the last answer, and no other */
        ck_ok(llama2_packer_create(w.ctx, NULL, &packer));
        ck_ok(llama2_rollouts_pack(examples, NULL, packer));
        ck_ok(llama2_packer_batch(packer, &b));
        ck_assert_int_eq(b.n_tokens, v.n_tokens);
        for (int32_t s = 0; s < v.n_samples; s++)
            for (int64_t i = v.offsets[s]; i < v.offsets[s + 1]; i++)
                ck_assert(b.loss_weight[i] == (i < v.offsets[s] + v.prompt_lengths[s] ? 0 : 1));
        llama2_packer_free(packer);
        llama2_rollouts_free(examples);
        end(&w);
    }
}
END_TEST

START_TEST(an_example_for_each_answer_where_asked)
{
    world w;
    llama2_rollouts *examples;
    begin(&w, 1);
    w.options.every_turn = 1;
    create(&w);
    all_turns(&w);
    ck_ok(llama2_gatt_examples(w.gatt, &examples));
    llama2_rollouts_view v = view_of(examples);
    ck_assert_int_eq(v.n_samples, 9);
    for (int32_t d = 0, s = 0; d < DIALOGUES; d++)
        for (int32_t t = 0; t < n_turns[d]; t++) check_example(&w, &v, s++, d, t);
    llama2_rollouts_free(examples);
    end(&w);
}
END_TEST

START_TEST(answers_of_the_host_stay)
{
    static const char *const answers[] = {"I am a cat", NULL, NULL, NULL, " see you ", NULL, NULL, "", NULL};
    world w;
    llama2_rollouts *examples;
    llama2_gatt_metrics m = {.struct_size = sizeof m};
    begin(&w, 1);
    w.dialogues.answers = answers;
    w.options.every_turn = 1;
    create(&w);
    ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, &m));
    ck_assert(m.turn == 0 && m.n_answers == 2 && m.n_open == 4); /* two of the four are there */
    all_turns(&w);
    ck_assert(!answer_of(&w, 0, 0).sampled && answer_of(&w, 0, 1).sampled);
    ck_assert_str_eq(answer_of(&w, 0, 0).text, "I am a cat");
    ck_assert_str_eq(answer_of(&w, 2, 0).text, " see you ");
    ck_ok(llama2_gatt_examples(w.gatt, &examples));
    llama2_rollouts_view v = view_of(examples);
    static const int32_t of[][2] = {{0, 1}, {0, 2}, {1, 0}, {2, 1}, {3, 0}, {3, 2}}; /* none ends with the host's */
    ck_assert_int_eq(v.n_samples, 6);
    for (int32_t s = 0; s < 6; s++) check_example(&w, &v, s, of[s][0], of[s][1]);
    llama2_rollouts_free(examples);
    end(&w);
}
END_TEST

START_TEST(a_dropped_dialogue_changes_no_other)
{
    world w;
    llama2_rollouts *examples;
    llama2_gatt_metrics m = {.struct_size = sizeof m};
    begin(&w, 2);
    create(&w);
    ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, &m));
    ck_assert(m.n_answers == 4 && m.n_open == 4 && m.n_dropped == 0);
    ck_ok(llama2_gatt_drop(w.gatt, 0));
    ck_assert_int_eq(answer_of(&w, 0, 0).state, LLAMA2_GATT_DROPPED);
    ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, &m));
    ck_assert(m.turn == 1 && m.n_answers == 2 && m.n_open == 3 && m.n_dropped == 1);
    ck_assert_ptr_null(answer_of(&w, 0, 1).text);
    all_turns(&w);
    ck_ok(llama2_gatt_examples(w.gatt, &examples));
    llama2_rollouts_view v = view_of(examples);
    ck_assert_int_eq(v.n_samples, 3);
    for (int32_t s = 0; s < 3; s++) check_example(&w, &v, s, s + 1, n_turns[s + 1] - 1);
    llama2_rollouts_free(examples);
    for (int32_t d = 0; d < DIALOGUES; d++) ck_ok(llama2_gatt_drop(w.gatt, d));
    ck_fails(llama2_gatt_examples(w.gatt, &examples), LLAMA2_E_STATE);
    ck_assert_ptr_null(examples);
    end(&w);
}
END_TEST

/* The text up to the stop string is what the dialogue goes on from; the tokens stay as they were sampled. */
START_TEST(a_stop_string_is_no_part_of_the_answer)
{
    world plain, w;
    begin(&plain, 1);
    create(&plain);
    ck_ok(llama2_gatt_turn(plain.gatt, plain.model, &plain.rollout, NULL));
    begin(&w, 1);
    create(&w);
    llama2_gatt_answer whole = answer_of(&plain, 0, 0);
    ck_assert_uint_gt(whole.length, 3);
    const char *stops[] = {whole.text + whole.length - 2};
    const size_t lengths[] = {1};
    size_t expected = (size_t)((const char *)memchr(whole.text, *stops[0], whole.length) - whole.text);
    w.rollout.tokenizer = w.tok;
    w.rollout.stops = stops;
    w.rollout.stop_lengths = lengths;
    w.rollout.n_stops = 1;
    all_turns(&w);
    llama2_gatt_answer cut = answer_of(&w, 0, 0);
    ck_assert_int_eq(cut.ended_by, LLAMA2_END_STOP);
    ck_assert_uint_eq(cut.length, expected);
    ck_assert_mem_eq(cut.text, whole.text, expected);
    ck_assert(cut.text[expected] == 0);
    llama2_rollouts *examples; /* whose prompts have the answers as they were cut */
    ck_ok(llama2_gatt_examples(w.gatt, &examples));
    llama2_rollouts_view v = view_of(examples);
    int32_t ids[ROOM];
    ck_assert_int_eq(v.prompt_lengths[0], (int32_t)expected_prompt(&w, 0, n_turns[0] - 1, 1, ids));
    ck_assert_mem_eq(v.tokens, ids, (size_t)v.prompt_lengths[0] * sizeof *ids);
    llama2_rollouts_free(examples);
    end(&w);
    end(&plain);
}
END_TEST

START_TEST(the_same_bits_for_any_number_of_threads)
{
    static int32_t first[4 * CONTEXT];
    for (int32_t threads = 1; threads <= 3; threads++) {
        world w;
        llama2_rollouts *examples;
        begin(&w, threads);
        w.rollout.max_parallel = threads == 1 ? 0 : threads - 1;
        create(&w);
        all_turns(&w);
        ck_ok(llama2_gatt_examples(w.gatt, &examples));
        llama2_rollouts_view v = view_of(examples);
        ck_assert_int_le(v.n_tokens, 4 * CONTEXT);
        if (threads == 1) memcpy(first, v.tokens, (size_t)v.n_tokens * sizeof *first);
        ck_assert_mem_eq(first, v.tokens, (size_t)v.n_tokens * sizeof *first);
        llama2_rollouts_free(examples);
        end(&w);
    }
}
END_TEST

/* --- dialogues that end ---------------------------------------------------------------------- */

/* One token, again and again. */
static void say_only(world *w, llama2_sampling *sampling, const int32_t *id, const float *bias)
{
    llama2_sampling_init(sampling, sizeof *sampling);
    sampling->n_logit_bias = 1;
    sampling->logit_bias_ids = id;
    sampling->logit_bias_values = bias;
    w->rollout.sampling = sampling;
}

START_TEST(a_full_context_closes_a_dialogue)
{
    static const int32_t a = TINY_FIRST + 1;
    static const float bias = 1000;
    world w;
    llama2_sampling sampling;
    llama2_rollouts *examples;
    llama2_gatt_metrics m = {.struct_size = sizeof m};
    begin(&w, 1);
    say_only(&w, &sampling, &a, &bias);
    create(&w);
    w.rollout.max_new_tokens = 140;
    ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, &m));
    ck_assert(m.n_open == 4 && m.n_ended == 0);
    ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, &m));
    ck_assert(m.n_answers == 3 && m.n_open + m.n_full == 4);
    ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, &m));
    ck_assert_int_gt(m.n_full, 0);
    ck_assert_int_eq(answer_of(&w, 0, 0).state, LLAMA2_GATT_FULL);
    ck_assert_int_eq(llama2_gatt_turns_left(w.gatt), 0);
    ck_ok(llama2_gatt_examples(w.gatt, &examples));
    llama2_rollouts_view v = view_of(examples);
    ck_assert_int_eq(v.n_samples, m.n_open);
    for (int32_t s = 0; s < v.n_samples; s++) ck_assert_int_le(v.offsets[s + 1] - v.offsets[s], CONTEXT);
    llama2_rollouts_free(examples);
    end(&w);
}
END_TEST

/* The example is longer than what was sampled from: a system message has markers of its own. */
START_TEST(an_example_that_does_not_fit_closes_a_dialogue)
{
    static const int32_t a = TINY_FIRST + 1;
    static const float bias = 1000;
    world w;
    llama2_sampling sampling;
    llama2_gatt_metrics m = {.struct_size = sizeof m};
    for (int32_t placement = LLAMA2_GATT_SYSTEM; placement <= LLAMA2_GATT_USER; placement++) {
        begin(&w, 1);
        w.options.placement = placement;
        w.dialogues.n_dialogues = 1;
        w.dialogues.n_turns = n_turns + 1;
        w.dialogues.kept_instructions = NULL;
        say_only(&w, &sampling, &a, &bias);
        create(&w);
        w.rollout.max_new_tokens = CONTEXT;
        ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, &m));
        ck_assert_int_eq(answer_of(&w, 0, 0).ended_by, LLAMA2_END_CONTEXT);
        ck_assert_int_eq(m.n_full, placement == LLAMA2_GATT_SYSTEM);
        end(&w);
    }
}
END_TEST

START_TEST(an_answer_with_markers_closes_a_dialogue)
{
    static const int32_t marker = MARKER, eos = 2;
    static const float bias = 1000;
    world w;
    llama2_sampling sampling;
    llama2_rollouts *examples;
    llama2_gatt_metrics m = {.struct_size = sizeof m};
    begin(&w, 1);
    llama2_tokenizer_free(w.tok);
    w.tok = marked_tokenizer(w.ctx);
    say_only(&w, &sampling, &marker, &bias);
    create(&w);
    ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, &m));
    ck_assert(m.n_answers == 4 && m.n_marked == 4 && m.n_open == 0);
    ck_assert_int_eq(answer_of(&w, 3, 0).state, LLAMA2_GATT_MARKED);
    ck_assert_int_eq(times(answer_of(&w, 3, 0).text, answer_of(&w, 3, 0).length, "[INST]"), 8);
    ck_assert_int_eq(llama2_gatt_turns_left(w.gatt), 0);
    ck_fails(llama2_gatt_turn(w.gatt, w.model, &w.rollout, &m), LLAMA2_E_STATE);
    ck_fails(llama2_gatt_examples(w.gatt, &examples), LLAMA2_E_STATE);
    llama2_gatt_free(w.gatt);
    /* an empty answer is one */
    say_only(&w, &sampling, &eos, &bias);
    create(&w);
    ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, &m));
    ck_assert(m.n_answers == 4 && m.n_ended == 4 && m.n_open == 4);
    ck_assert_str_eq(answer_of(&w, 1, 0).text, "");
    ck_assert_int_eq(answer_of(&w, 1, 0).ended_by, LLAMA2_END_EOS);
    all_turns(&w);
    ck_ok(llama2_gatt_examples(w.gatt, &examples));
    llama2_rollouts_view v = view_of(examples);
    for (int32_t s = 0; s < v.n_samples; s++)
        ck_assert_int_eq(v.offsets[s + 1] - v.offsets[s], v.prompt_lengths[s] + 1);
    llama2_rollouts_free(examples);
    end(&w);
}
END_TEST

/* A stop string may be any bytes, one that begins within a character too: é is C3 A9. */
START_TEST(an_answer_is_utf8_wherever_it_is_cut)
{
    static const int32_t e_acute = TINY_FIRST + 15;
    static const float bias = 1000;
    static const char *const stops[] = {"\xA9"};
    world w;
    llama2_sampling sampling;
    begin(&w, 1);
    say_only(&w, &sampling, &e_acute, &bias);
    w.rollout.tokenizer = w.tok;
    w.rollout.stops = stops;
    w.rollout.n_stops = 1;
    create(&w);
    ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, NULL));
    ck_assert_int_eq(answer_of(&w, 0, 0).ended_by, LLAMA2_END_STOP);
    ck_assert_uint_eq(answer_of(&w, 0, 0).length, 0);
    end(&w);
}
END_TEST

/* --- callbacks ------------------------------------------------------------------------------- */

/* Calls back in with the handle whose turn is sampled. */
static int32_t meddle(void *user, const llama2_rollout_event *event)
{
    world *w = user;
    (void)event;
    llama2_rollout_options o = w->rollout;
    o.progress = NULL;
    ck_fails(llama2_gatt_turn(w->gatt, w->model, &o, NULL), LLAMA2_E_BUSY);
    ck_fails(llama2_gatt_drop(w->gatt, 0), LLAMA2_E_BUSY);
    return 0;
}

START_TEST(a_callback_does_not_change_its_own_handle)
{
    world plain, w;
    begin(&plain, 1);
    create(&plain);
    all_turns(&plain);
    begin(&w, 1);
    create(&w);
    w.rollout.progress = meddle;
    w.rollout.user = &w;
    all_turns(&w);
    for (int32_t d = 0; d < DIALOGUES; d++)
        for (int32_t t = 0; t < n_turns[d]; t++) {
            llama2_gatt_answer a = answer_of(&w, d, t), b = answer_of(&plain, d, t);
            ck_assert_int_eq(a.state, LLAMA2_GATT_OPEN);
            ck_assert_uint_eq(a.length, b.length);
            ck_assert_mem_eq(a.text, b.text, a.length);
        }
    ck_ok(llama2_gatt_drop(w.gatt, 0));
    ck_assert_int_eq(answer_of(&w, 0, 0).state, LLAMA2_GATT_DROPPED);
    end(&w);
    end(&plain);
}
END_TEST

static int32_t stop(void *user, const llama2_rollout_event *event)
{
    (void)user, (void)event;
    return 1;
}

START_TEST(a_turn_that_a_callback_stopped_is_not_taken)
{
    world w;
    begin(&w, 1);
    create(&w);
    w.rollout.progress = stop;
    ck_fails(llama2_gatt_turn(w.gatt, w.model, &w.rollout, NULL), LLAMA2_E_USER);
    ck_assert_int_eq(llama2_gatt_turns_left(w.gatt), 3);
    w.rollout.progress = NULL;
    all_turns(&w);
    end(&w);
}
END_TEST

/* --- refusals -------------------------------------------------------------------------------- */

START_TEST(dialogues_that_can_not_be)
{
    world w;
    static const int32_t no_turns[] = {3, 0, 2, 3};
    static const char *const marked[] = {"who [INST] are you?", "and", "why", "the", "hello", "bye", "a", "b", "c"},
                             *const holes[] = {"who", "and", "why", "the", "hello", NULL, "a", "b", "c"},
                             *const no_instruction[] = {"act", "", "you", "be"},
                             *const marked_instruction[] = {"act", "be", "<<SYS>>", "be"},
                             *const last[] = {NULL, NULL, "mine", NULL, NULL, NULL, NULL, NULL, NULL};
    begin(&w, 1);
    const llama2_gatt_dialogues good = w.dialogues;
#define REFUSED(field, value, status, says)                                                                            \
    do {                                                                                                               \
        w.dialogues = good;                                                                                            \
        w.dialogues.field = value;                                                                                     \
        ck_fails(llama2_gatt_create(w.tok, &w.dialogues, &w.options, &w.gatt), status);                                \
        ck_assert_ptr_null(w.gatt);                                                                                    \
        ck_assert_msg(strstr(llama2_last_error(), says) != NULL, "%s does not say %s", llama2_last_error(), says);     \
    } while (0)
    REFUSED(n_dialogues, 0, LLAMA2_E_INVALID, "0 dialogues");
    REFUSED(n_turns, NULL, LLAMA2_E_INVALID, "NULL");
    REFUSED(n_turns, no_turns, LLAMA2_E_INVALID, "dialogue 1");
    REFUSED(messages, NULL, LLAMA2_E_INVALID, "NULL");
    REFUSED(messages, holes, LLAMA2_E_INVALID, "message 1 of dialogue 2");
    REFUSED(messages, marked, LLAMA2_E_INJECTION, "dialogue 0");
    REFUSED(instructions, NULL, LLAMA2_E_INVALID, "NULL");
    REFUSED(instructions, no_instruction, LLAMA2_E_INVALID, "dialogue 1");
    REFUSED(instructions, marked_instruction, LLAMA2_E_INJECTION, "dialogue 2");
    REFUSED(kept_instructions, no_instruction, LLAMA2_E_INVALID, "dialogue 1");
    REFUSED(kept_instructions, marked_instruction, LLAMA2_E_INJECTION, "dialogue 2");
    REFUSED(answers, last, LLAMA2_E_INVALID, "last answer of dialogue 0");
#undef REFUSED
    w.dialogues = good;
    w.options.placement = 2;
    ck_fails(llama2_gatt_create(w.tok, &w.dialogues, &w.options, &w.gatt), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_create(NULL, &w.dialogues, NULL, &w.gatt), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_create(w.tok, NULL, NULL, &w.gatt), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_create(w.tok, &w.dialogues, NULL, NULL), LLAMA2_E_INVALID);
    end(&w);
}
END_TEST

START_TEST(turns_that_can_not_be)
{
    world w;
    llama2_model *small;
    llama2_rollouts *examples = NULL;
    llama2_gatt_answer a = {.struct_size = sizeof a};
    begin(&w, 1);
    create(&w);
    small = small_model(w.ctx, 0, LLAMA2_F32);
    ck_fails(llama2_gatt_turn(w.gatt, small, &w.rollout, NULL), LLAMA2_E_MISMATCH);
    w.rollout.samples_per_prompt = 2;
    ck_fails(llama2_gatt_turn(w.gatt, w.model, &w.rollout, NULL), LLAMA2_E_INVALID);
    w.rollout.samples_per_prompt = 1;
    w.rollout.max_new_tokens = 0;
    ck_fails(llama2_gatt_turn(w.gatt, w.model, &w.rollout, NULL), LLAMA2_E_INVALID);
    w.rollout.max_new_tokens = 8;
    ck_fails(llama2_gatt_turn(NULL, w.model, &w.rollout, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_turn(w.gatt, NULL, &w.rollout, NULL), LLAMA2_E_INVALID);
    ck_assert_int_eq(llama2_gatt_turns_left(w.gatt), 3); /* none was taken */
    ck_assert_int_eq(llama2_gatt_turns_left(NULL), 0);
    ck_fails(llama2_gatt_examples(w.gatt, &examples), LLAMA2_E_STATE);
    ck_assert_ptr_null(examples);
    ck_fails(llama2_gatt_examples(w.gatt, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_examples(NULL, &examples), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_answer_get(w.gatt, DIALOGUES, 0, &a), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_answer_get(w.gatt, 1, 1, &a), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_answer_get(w.gatt, -1, 0, &a), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_answer_get(w.gatt, 0, 0, NULL), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_drop(w.gatt, DIALOGUES), LLAMA2_E_INVALID);
    ck_fails(llama2_gatt_drop(NULL, 0), LLAMA2_E_INVALID);
    llama2_gatt_free(NULL);
    llama2_model_free(small);
    end(&w);
}
END_TEST

/* The first turn has something to sample, or all its answers are the host's. */
START_TEST(options_that_can_not_be)
{
    static const char *const answers[] = {"a", NULL, NULL, NULL, "b", NULL, "c", NULL, NULL}, *const hole[] = {NULL},
                             *const empty[] = {""};
    static const size_t nothing[] = {0};
    for (int all = 0; all < 2; all++) {
        world w;
        begin(&w, 1);
        if (all) w.dialogues.answers = answers;
        create(&w);
        if (all) ck_ok(llama2_gatt_drop(w.gatt, 1)); /* whose only answer is to be sampled */
        const llama2_rollout_options good = w.rollout;
#define REFUSED(...)                                                                                                   \
    do {                                                                                                               \
        w.rollout = good;                                                                                              \
        w.rollout.tokenizer = w.tok;                                                                                   \
        __VA_ARGS__;                                                                                                   \
        ck_fails(llama2_gatt_turn(w.gatt, w.model, &w.rollout, NULL), LLAMA2_E_INVALID);                               \
        ck_assert_int_eq(llama2_gatt_turns_left(w.gatt), 3);                                                           \
    } while (0)
        REFUSED(w.rollout.n_stops = 1);
        REFUSED(w.rollout.n_stops = -1);
        REFUSED(w.rollout.n_stops = 1, w.rollout.stops = hole);
        REFUSED(w.rollout.n_stops = 1, w.rollout.stops = empty);
        REFUSED(w.rollout.n_stops = 1, w.rollout.stops = instructions, w.rollout.stop_lengths = nothing);
        REFUSED(w.rollout.n_stops = 1, w.rollout.stops = instructions, w.rollout.tokenizer = NULL);
        REFUSED(w.rollout.decode_flags = LLAMA2_DECODE_BYTES);
        REFUSED(w.rollout.decode_flags = LLAMA2_DECODE_SPECIALS);
        REFUSED(w.rollout.decode_flags = 8);
        REFUSED(w.rollout.top_p = 2);
#undef REFUSED
        w.rollout = good;
        w.rollout.decode_flags = LLAMA2_DECODE_CONTINUE;
        ck_ok(llama2_gatt_turn(w.gatt, w.model, &w.rollout, NULL));
        end(&w);
    }
}
END_TEST

/* The tokenizer may be freed before what was made with it. */
START_TEST(handles_are_freed_in_any_order)
{
    world w;
    begin(&w, 1);
    create(&w);
    llama2_tokenizer_free(w.tok);
    w.tok = NULL;
    all_turns(&w);
    end(&w);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("train/gatt");
    ADD_CASE(suite, "examples", the_instruction_is_said_once_and_the_last_answer_learnt,
             an_example_for_each_answer_where_asked, answers_of_the_host_stay, a_dropped_dialogue_changes_no_other,
             the_same_bits_for_any_number_of_threads, a_stop_string_is_no_part_of_the_answer);
    ADD_CASE(suite, "dialogues that end", a_full_context_closes_a_dialogue,
             an_example_that_does_not_fit_closes_a_dialogue, an_answer_with_markers_closes_a_dialogue,
             an_answer_is_utf8_wherever_it_is_cut);
    ADD_CASE(suite, "callbacks", a_callback_does_not_change_its_own_handle,
             a_turn_that_a_callback_stopped_is_not_taken);
    ADD_CASE(suite, "refusals", dialogues_that_can_not_be, turns_that_can_not_be, options_that_can_not_be,
             handles_are_freed_in_any_order);
    return suite;
}
