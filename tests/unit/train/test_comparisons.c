/* Records as pairs for the reward model: tokens, margins, labels, and what is left out. */
#include "preference_test.h"

typedef struct fixture {
    llama2_context *ctx;
    llama2_tokenizer *tokenizer;
    llama2_preferences *p;
} fixture;

static void set_up(fixture *f)
{
    f->ctx = small_context(1, LLAMA2_ISA_AUTO);
    f->tokenizer = small_tokenizer(f->ctx);
    f->p = new_preferences(f->ctx);
}

static void tear_down(fixture *f)
{
    llama2_preferences_free(f->p);
    llama2_tokenizer_free(f->tokenizer);
    llama2_context_free(f->ctx);
}

/* Record i chooses the first response where i is even; its rating is i % 5, or not known; bins in turn, none at last.
 */
static void add_records(llama2_preferences *p, int n)
{
    static const int32_t labels[5][2] = {{1, 0}, {1, 1}, {0, 0}, {0, 1}, {1, -1}};
    for (int32_t i = 0; i < n; i++) {
        char prompt[8] = "", good[8] = "", bad[8] = "";
        small_record r;
        int32_t safe[2];
        for (int k = 0; k <= i % 5; k++) strcat(prompt, k % 2 ? "a" : "b"), strcat(good, "a");
        for (int k = 0; k <= i % 3; k++) strcat(bad, "b");
        small_record_init(&r, prompt, i % 2 ? bad : good, i % 2 ? good : bad, i % 2);
        safe[i % 2] = labels[i % 5][0];
        safe[1 - i % 2] = labels[i % 5][1];
        r.r.safe = safe;
        r.r.rating = i % 5 < 4 ? i % 5 : -1;
        ck_ok(llama2_preferences_add(p, &r.r));
    }
}

/* As sampled answers end, at EOS. */
static int64_t encode(const llama2_tokenizer *tokenizer, const int32_t *roles, const char *const *texts, int32_t n,
                      int32_t tokens[256])
{
    int64_t needed;
    llama2_chat chat;
    llama2_chat_init(&chat, sizeof chat);
    chat.n_messages = n;
    chat.roles = roles;
    chat.texts = texts;
    ck_ok(llama2_chat_encode(tokenizer, &chat, LLAMA2_CHAT_COMPLETE | LLAMA2_CHAT_TO_END, tokens, NULL, 256, &needed));
    return needed;
}

/* Sequence s of the batch is that dialogue. */
static void check_sequence(const llama2_tokenizer *tokenizer, const llama2_batch *b, int32_t s, const int32_t *roles,
                           const char *const *texts, int32_t n)
{
    int32_t tokens[256];
    int64_t length = encode(tokenizer, roles, texts, n, tokens);
    ck_assert_int_eq(b->offsets[s + 1] - b->offsets[s], length);
    ck_assert_mem_eq(b->tokens + b->offsets[s], tokens, (size_t)length * sizeof *tokens);
}

static const int32_t turn[] = {LLAMA2_ROLE_USER, LLAMA2_ROLE_ASSISTANT};

START_TEST(pairs_are_what_was_chosen)
{
    fixture f;
    llama2_comparisons *c;
    llama2_comparisons_options o;
    llama2_comparisons_counts counts = {.struct_size = sizeof counts};
    llama2_pairs pairs = {.struct_size = sizeof pairs};
    static const int64_t order[] = {3, 0, 0};
    set_up(&f);
    add_records(f.p, 10);
    add_choice(f.p, "a", "a", "b", -1, NULL);
    llama2_comparisons_options_init(&o, sizeof o);
    o.margin = LLAMA2_MARGIN_LARGE;
    o.safety_weight = 0.5;
    ck_ok(llama2_comparisons_create(f.p, f.tokenizer, NULL, 0, 11, &o, &counts, &c));
    ck_assert(counts.n_pairs == 8 && counts.n_open == 1 && counts.n_unsafe == 2 && counts.n_long == 0);
    ck_assert_int_eq(llama2_comparisons_count(c), 8);
    ck_assert_int_eq(llama2_comparisons_record(c, 3), 4); /* 3 is of the bin that is left out */
    ck_assert_int_eq(llama2_comparisons_record(c, 8), -1);
    ck_assert_int_eq(llama2_comparisons_record(c, -1), -1);
    for (int way = 0; way < 2; way++) {
        int32_t n = way ? 3 : 8;
        ck_ok(llama2_comparisons_pairs(c, way ? order : NULL, 0, n, &pairs));
        ck_assert_int_eq(pairs.n_pairs, n);
        ck_assert_int_eq(pairs.batch->n_sequences, 2 * n);
        ck_assert(pairs.safety_weight == 0.5);
        for (int32_t i = 0; i < n; i++) {
            int64_t record = llama2_comparisons_record(c, way ? order[i] : i);
            llama2_preference r = record_at(f.p, record);
            const char *chosen[] = {r.texts[0], r.responses[r.chosen]}, *other[] = {r.texts[0], r.responses[!r.chosen]};
            check_sequence(f.tokenizer, pairs.batch, 2 * i, turn, chosen, 2);
            check_sequence(f.tokenizer, pairs.batch, 2 * i + 1, turn, other, 2);
            ck_assert(pairs.margins[i] == llama2_reward_margin(LLAMA2_MARGIN_LARGE, r.rating));
            ck_assert_int_eq(pairs.safe[2 * i], r.safe[r.chosen]);
            ck_assert_int_eq(pairs.safe[2 * i + 1], r.safe[!r.chosen]);
        }
    }
    ck_ok(llama2_comparisons_pairs(c, NULL, 6, 2, &pairs));
    ck_fails(llama2_comparisons_pairs(c, NULL, 7, 2, &pairs), LLAMA2_E_INVALID);
    ck_fails(llama2_comparisons_pairs(c, NULL, 0, 0, &pairs), LLAMA2_E_INVALID);
    ck_fails(llama2_comparisons_pairs(c, NULL, INT64_MAX, 2, &pairs), LLAMA2_E_INVALID);
    ck_fails(llama2_comparisons_pairs(c, NULL, -1, 2, &pairs), LLAMA2_E_INVALID);
    llama2_comparisons_free(c);
    ck_ok(llama2_comparisons_create(f.p, f.tokenizer, order, 0, 3, NULL, &counts, &c)); /* some records, by index */
    ck_assert(counts.n_pairs == 2 && counts.n_unsafe == 1);
    llama2_comparisons_free(c);
    ck_fails(llama2_comparisons_create(f.p, f.tokenizer, NULL, 5, 7, NULL, &counts, &c), LLAMA2_E_INVALID);
    ck_fails(llama2_comparisons_create(f.p, f.tokenizer, NULL, INT64_MAX, 2, NULL, &counts, &c), LLAMA2_E_INVALID);
    ck_assert_ptr_null(c);
    o.margin = 3;
    ck_fails(llama2_comparisons_create(f.p, f.tokenizer, NULL, 0, 1, &o, &counts, &c), LLAMA2_E_INVALID);
    add_choice(f.p, "[INST]", "a", "b", 0, NULL);
    add_choice(f.p, "a", "a", "[/INST]", 0, NULL);
    ck_ok(llama2_comparisons_create(f.p, f.tokenizer, NULL, 9, 4, NULL, &counts, &c)); /* markers: counted */
    ck_assert(counts.n_pairs == 1 && counts.n_open == 1 && counts.n_marked == 2);
    llama2_comparisons_free(c);
    tear_down(&f);
}
END_TEST

/* Both dialogues of a pair lose the same turns, whichever is the longer. */
START_TEST(earliest_turns_are_lost_first)
{
    static const int32_t roles[] = {LLAMA2_ROLE_SYSTEM, LLAMA2_ROLE_USER, LLAMA2_ROLE_ASSISTANT, LLAMA2_ROLE_USER,
                                    LLAMA2_ROLE_ASSISTANT};
    static const char *const texts[] = {"ab", "aaaa", "bbbb", "ba"}, *const responses[] = {"a", "bab"};
    fixture f;
    int32_t tokens[256];
    llama2_preference r;
    llama2_comparisons_options o;
    set_up(&f);
    llama2_comparisons_options_init(&o, sizeof o);
    llama2_preference_init(&r, sizeof r);
    r.n_messages = 4;
    r.roles = roles;
    r.texts = texts;
    r.responses = responses;
    for (int32_t chosen = 0; chosen < 2; chosen++) {
        const char *all[2][5], *last[2][3];
        int64_t whole = 0, least = 0;
        for (int side = 0; side < 2; side++) {
            const char *answer = responses[side ? 1 - chosen : chosen];
            memcpy(all[side], texts, sizeof texts);
            all[side][4] = answer;
            last[side][0] = texts[0], last[side][1] = texts[3], last[side][2] = answer;
            int64_t n = encode(f.tokenizer, roles, all[side], 5, tokens),
                    m = encode(f.tokenizer, roles, last[side], 3, tokens);
            whole = n > whole ? n : whole;
            least = m > least ? m : least;
        }
        ck_assert_int_gt(whole, least + 2);
        r.chosen = chosen;
        ck_ok(llama2_preferences_add(f.p, &r));
        for (int64_t max = whole; max >= least - 1; max--) {
            llama2_comparisons *c;
            llama2_comparisons_counts counts = {.struct_size = sizeof counts};
            llama2_pairs pairs = {.struct_size = sizeof pairs};
            o.max_tokens = max;
            ck_ok(llama2_comparisons_create(f.p, f.tokenizer, NULL, chosen, 1, &o, &counts, &c));
            ck_assert(counts.n_pairs == (max >= least) && counts.n_long == (max < least));
            if (counts.n_pairs == 1) ck_ok(llama2_comparisons_pairs(c, NULL, 0, 1, &pairs));
            for (int32_t side = 0; side < 2 && counts.n_pairs == 1; side++) {
                if (max == whole)
                    check_sequence(f.tokenizer, pairs.batch, side, roles, all[side], 5);
                else
                    check_sequence(f.tokenizer, pairs.batch, side, roles, last[side], 3);
            }
            llama2_comparisons_free(c);
        }
    }
    tear_down(&f);
}
END_TEST

/* Of many turns as many are left as fit, for every limit; with and without a system message. */
START_TEST(as_many_turns_are_left_as_fit)
{
    enum { MESSAGES = 15 };
    static const char *const text_of[] = {"a", "bab", "b", "aab", "ba"};
    static const char *const responses[] = {"a", "b"};
    for (int32_t system = 0; system < 2; system++) {
        fixture f;
        int32_t roles[MESSAGES + 2], tokens[256], n = MESSAGES + system;
        const char *texts[MESSAGES + 2];
        llama2_preference r;
        llama2_comparisons_options o;
        set_up(&f);
        llama2_comparisons_options_init(&o, sizeof o);
        llama2_preference_init(&r, sizeof r);
        for (int32_t i = 0; i <= n; i++) {
            roles[i] = system && i == 0 ? LLAMA2_ROLE_SYSTEM : 1 + (i - system) % 2;
            texts[i] = i == n ? responses[0] : text_of[i % 5];
        }
        r.n_messages = n;
        r.roles = roles;
        r.texts = texts;
        r.responses = responses;
        r.chosen = 0;
        ck_ok(llama2_preferences_add(f.p, &r));
        int64_t whole = encode(f.tokenizer, roles, texts, n + 1, tokens);
        for (int64_t max = whole; max > 0; max--) {
            llama2_comparisons *c;
            llama2_comparisons_counts counts = {.struct_size = sizeof counts};
            llama2_pairs pairs = {.struct_size = sizeof pairs};
            int32_t first = system, left_roles[MESSAGES + 2];
            const char *left[MESSAGES + 2];
            for (; first < n; first += 2) { /* one after the other, from the longest */
                int32_t left_n = n + 1 - first;
                memcpy(left_roles + system, roles + first, (size_t)left_n * sizeof *roles);
                memcpy(left + system, texts + first, (size_t)left_n * sizeof *texts);
                left_roles[0] = roles[system ? 0 : first], left[0] = texts[system ? 0 : first];
                if (encode(f.tokenizer, left_roles, left, left_n + system, tokens) <= max) break;
            }
            o.max_tokens = max;
            ck_ok(llama2_comparisons_create(f.p, f.tokenizer, NULL, 0, 1, &o, &counts, &c));
            ck_assert(counts.n_pairs == (first < n) && counts.n_long == (first >= n));
            if (first < n) {
                ck_ok(llama2_comparisons_pairs(c, NULL, 0, 1, &pairs));
                check_sequence(f.tokenizer, pairs.batch, 0, left_roles, left, n + 1 - first + system);
            }
            llama2_comparisons_free(c);
        }
        tear_down(&f);
    }
}
END_TEST

/* Where the format puts something after EOS (here ChatML's line break) too: the score of a sampled answer is read at
 * its EOS, and what a reward model learns is read there as well. */
START_TEST(pairs_end_where_samples_do)
{
    fixture f;
    llama2_comparisons *c;
    llama2_pairs pairs = {.struct_size = sizeof pairs};
    set_up(&f);
    llama2_tokenizer_free(f.tokenizer);
    ck_ok(llama2_tokenizer_load(f.ctx, LLAMA2_TEST_SOURCE "/reference/tokenizer/bpe-smollm/tokenizer.json", NULL,
                                &f.tokenizer));
    add_choice(f.p, "How are you?", "Well.", "No.", 0, NULL);
    ck_ok(llama2_comparisons_create(f.p, f.tokenizer, NULL, 0, 1, NULL, NULL, &c));
    ck_ok(llama2_comparisons_pairs(c, NULL, 0, 1, &pairs));
    for (int32_t side = 0; side < 2; side++)
        ck_assert_int_eq(pairs.batch->tokens[pairs.batch->offsets[side + 1] - 1], llama2_tokenizer_eos(f.tokenizer));
    llama2_comparisons_free(c);
    tear_down(&f);
}
END_TEST

/* Chosen unsafe, the other safe: it leaves no trace in the weights, whether it is left out here or by the step. */
START_TEST(unsafe_choices_are_never_trained_on)
{
    fixture f;
    llama2_model *model;
    llama2_reward_metrics m[2] = {{.struct_size = sizeof m[0]}, {.struct_size = sizeof m[0]}};
    float heads[2][24];
    set_up(&f);
    add_records(f.p, 20);
    model = small_model(f.ctx, 0, LLAMA2_F32);
    for (int keep = 0; keep < 2; keep++) {
        llama2_reward_model *reward = small_reward_model(f.ctx, model, LLAMA2_HEAD_NORMAL);
        llama2_trainer *trainer = small_reward_trainer(f.ctx, reward, 1e-2, NULL);
        llama2_comparisons *c;
        llama2_comparisons_options o;
        llama2_pairs pairs = {.struct_size = sizeof pairs};
        llama2_comparisons_options_init(&o, sizeof o);
        o.leave_out_unsafe = !keep;
        o.safety_weight = 1;
        ck_ok(llama2_comparisons_create(f.p, f.tokenizer, NULL, 0, 20, &o, NULL, &c));
        ck_assert_int_eq(llama2_comparisons_count(c), keep ? 20 : 16);
        ck_ok(llama2_comparisons_pairs(c, NULL, 0, keep ? 20 : 16, &pairs));
        ck_ok(llama2_reward_step(trainer, &pairs, &m[keep]));
        ck_ok(llama2_reward_model_get_tensor(reward, "score.weight", heads[keep], 24, NULL));
        llama2_comparisons_free(c);
        llama2_trainer_free(trainer);
        llama2_reward_model_free(reward);
    }
    ck_assert(m[0].n_left_out == 0 && m[1].n_left_out == 4 && m[0].n_pairs == 16 && m[1].n_pairs == 16);
    ck_assert(m[0].loss == m[1].loss && m[0].n_labelled == m[1].n_labelled);
    ck_assert_mem_eq(heads[0], heads[1], sizeof heads[0]);
    llama2_model_free(model);
    tear_down(&f);
}
END_TEST

START_TEST(the_collection_may_go)
{
    fixture f;
    llama2_comparisons *c;
    llama2_pairs pairs = {.struct_size = sizeof pairs};
    set_up(&f);
    add_records(f.p, 7);
    ck_ok(llama2_comparisons_create(f.p, f.tokenizer, NULL, 0, 7, NULL, NULL, &c));
    tear_down(&f);
    ck_ok(llama2_comparisons_pairs(c, NULL, 0, 6, &pairs));
    llama2_comparisons_free(c);
    llama2_comparisons_free(NULL);
}
END_TEST

START_TEST(options_that_can_not_be)
{
    static const double weights[] = {-1, NAN, INFINITY};
    fixture f;
    llama2_comparisons *c;
    llama2_comparisons_options o;
    set_up(&f);
    add_records(f.p, 7);
    llama2_comparisons_options_init(&o, sizeof o);
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        o.safety_weight = weights[i]; /* of which llama2_reward_step would say so much later */
        ck_fails(llama2_comparisons_create(f.p, f.tokenizer, NULL, 0, 7, &o, NULL, &c), LLAMA2_E_INVALID);
        ck_assert_ptr_null(c);
    }
    tear_down(&f);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("comparisons");
    ADD_CASE(suite, "comparisons", pairs_are_what_was_chosen, earliest_turns_are_lost_first,
             as_many_turns_are_left_as_fit, pairs_end_where_samples_do, unsafe_choices_are_never_trained_on,
             the_collection_may_go, options_that_can_not_be);
    return suite;
}
