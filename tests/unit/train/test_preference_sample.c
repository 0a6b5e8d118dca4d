/* Comparisons sampled from two models at two temperatures. */
#include "preference_test.h"

#include "base/rng.h"

enum { DIALOGUES = 40 };

typedef struct fixture {
    llama2_context *ctx;
    llama2_tokenizer *tokenizer;
    llama2_model *a, *b;
    char prompts[DIALOGUES][8];
    const char *texts[DIALOGUES][1];
    llama2_chat chats[DIALOGUES];
    const llama2_chat *dialogues[DIALOGUES];
} fixture;

static void set_up(fixture *f, int32_t threads)
{
    f->ctx = small_context(threads, LLAMA2_ISA_AUTO);
    f->tokenizer = small_tokenizer(f->ctx);
    f->a = small_model(f->ctx, 0, LLAMA2_F32);
    f->b = small_model(f->ctx, 1, LLAMA2_F32);
    for (int i = 0; i < DIALOGUES; i++) {
        for (int k = 0; k < 5; k++) f->prompts[i][k] = i >> k & 1 ? 'a' : 'b';
        f->prompts[i][5] = i < 32 ? 0 : 'a';
        f->prompts[i][6] = 0;
        f->texts[i][0] = f->prompts[i];
        llama2_chat_init(&f->chats[i], sizeof f->chats[i]);
        f->chats[i].n_messages = 1;
        f->chats[i].roles = one_role;
        f->chats[i].texts = f->texts[i];
        f->dialogues[i] = &f->chats[i];
    }
}

static void tear_down(fixture *f)
{
    llama2_model_free(f->a);
    llama2_model_free(f->b);
    llama2_tokenizer_free(f->tokenizer);
    llama2_context_free(f->ctx);
}

static llama2_preferences_sample_options small_options(void)
{
    llama2_preferences_sample_options o;
    llama2_preferences_sample_options_init(&o, sizeof o);
    o.max_new_tokens = 9;
    o.temperature_a = 0.8;
    o.temperature_b = 1.2;
    o.seed = 11;
    o.first_sample_id = 100;
    o.model_a = "V1";
    o.model_b = "V2";
    o.batch = "W1";
    o.guideline = "g";
    return o;
}

/* What a model says by itself, as text. */
static void say(const fixture *f, llama2_model *model, double temperature, uint64_t seed, uint64_t first_id, int i,
                char text[64])
{
    int32_t ids[64];
    int64_t n, offsets[2] = {0};
    size_t length;
    llama2_rollouts *r;
    llama2_rollout_options o;
    ck_ok(llama2_chat_encode(f->tokenizer, f->dialogues[i], 0, ids, NULL, 64, &n));
    offsets[1] = n;
    const llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = 1, .n_tokens = n, .tokens = ids, .offsets = offsets};
    llama2_rollout_options_init(&o, sizeof o);
    o.max_new_tokens = 9;
    o.temperature = temperature;
    o.seed = seed;
    o.first_sample_id = first_id + (uint64_t)i;
    ck_ok(llama2_rollout(model, &batch, &o, &r));
    llama2_rollouts_view v = view_of(r);
    int32_t kept[64], k = 0;
    for (int64_t t = n; t < v.n_tokens; t++)
        if (v.tokens[t] < llama2_tokenizer_vocab_size(f->tokenizer)) kept[k++] = v.tokens[t];
    ck_ok(llama2_tokenizer_decode(f->tokenizer, kept, k, 0, text, 63, &length));
    while (length > 0 && text[length - 1] == ' ') length--;
    text[length] = 0;
    size_t spaces = strspn(text, " ");
    memmove(text, text + spaces, length - spaces + 1);
    llama2_rollouts_free(r);
}

START_TEST(records_without_a_choice)
{
    fixture f;
    llama2_preferences_sample_options o = small_options();
    static int32_t kinds[DIALOGUES];
    int first[2] = {0};
    set_up(&f, 2);
    llama2_preferences *p = new_preferences(f.ctx);
    for (int i = 0; i < DIALOGUES; i++) kinds[i] = i % 3 == 0;
    o.kinds = kinds;
    ck_ok(llama2_preferences_sample(p, f.a, f.b, f.tokenizer, f.dialogues, DIALOGUES, &o));
    ck_assert_int_eq(llama2_preferences_count(p), DIALOGUES);
    for (int i = 0; i < DIALOGUES; i++) {
        llama2_preference r = record_at(p, i);
        uint32_t w[4];
        char said[2][64];
        l2_philox(11, L2_RNG_PLACE, 100 + (uint64_t)i, 0, w);
        int b_first = w[0] & 1;
        first[b_first]++;
        ck_assert_str_eq(r.texts[0], f.prompts[i]);
        ck_assert_int_eq(r.chosen, -1);
        ck_assert_int_eq(r.rating, -1);
        ck_assert_int_eq(r.kind, kinds[i]);
        ck_assert_str_eq(r.models[b_first], "V1");
        ck_assert_str_eq(r.models[1 - b_first], "V2");
        ck_assert(r.temperatures[b_first] == 0.8 && r.temperatures[1 - b_first] == 1.2);
        ck_assert_str_eq(r.batch, "W1");
        ck_assert_str_eq(r.guideline, "g");
        ck_assert_uint_eq(strlen(r.id), 16);
        say(&f, f.a, 0.8, 11, 100, i, said[b_first]);
        say(&f, f.b, 1.2, 11, 100 + ((uint64_t)1 << 63), i, said[1 - b_first]);
        ck_assert_str_eq(r.responses[0], said[0]);
        ck_assert_str_eq(r.responses[1], said[1]);
    }
    ck_assert(first[0] > 10 && first[1] > 10);
    /* the same again has the same names */
    ck_fails(llama2_preferences_sample(p, f.a, f.b, f.tokenizer, f.dialogues, DIALOGUES, &o), LLAMA2_E_INVALID);
    ck_assert_int_eq(llama2_preferences_count(p), DIALOGUES);
    o.batch = "W2";
    ck_ok(llama2_preferences_sample(p, f.a, f.b, f.tokenizer, f.dialogues, DIALOGUES, &o));
    llama2_preferences_free(p);
    tear_down(&f);
}
END_TEST

/* At any number of threads, and in pieces. One model at one temperature gives two responses. */
START_TEST(same_bits)
{
    uint32_t crc = 0;
    for (int32_t threads = 1; threads <= 3; threads++)
        for (int pieces = 0; pieces < 2; pieces++) {
            fixture f;
            int differ = 0;
            llama2_preferences_sample_options o = small_options();
            set_up(&f, threads);
            llama2_preferences *p = new_preferences(f.ctx);
            o.temperature_b = 0.8;
            for (int i = 0; i < DIALOGUES; i += pieces ? 13 : DIALOGUES) {
                int n = pieces ? DIALOGUES - i < 13 ? DIALOGUES - i : 13 : DIALOGUES;
                o.first_sample_id = 7 + (uint64_t)i;
                ck_ok(llama2_preferences_sample(p, f.a, f.a, f.tokenizer, f.dialogues + i, n, &o));
            }
            for (int i = 0; i < DIALOGUES; i++) {
                llama2_preference r = record_at(p, i);
                differ += strcmp(r.responses[0], r.responses[1]) != 0;
            }
            ck_assert_int_gt(differ, DIALOGUES / 2);
            if (!crc) crc = preferences_crc(p);
            ck_assert_uint_eq(preferences_crc(p), crc);
            llama2_preferences_free(p);
            tear_down(&f);
        }
}
END_TEST

typedef struct watch {
    int64_t samples, tokens;
    int stop;
} watch;

static int32_t on_progress(void *user, const llama2_rollout_event *event)
{
    watch *w = user;
    ck_assert_int_eq(event->samples, 2 * DIALOGUES);
    ck_assert_int_ge(event->samples_done, w->samples);
    ck_assert_int_ge(event->tokens, w->tokens);
    w->samples = event->samples_done;
    w->tokens = event->tokens;
    return w->stop && event->samples_done > DIALOGUES;
}

START_TEST(failures_add_nothing)
{
    fixture f;
    watch w = {0};
    llama2_preferences_sample_options o = small_options();
    llama2_tokenizer_pieces pieces;
    llama2_tokenizer *large;
    const char *many[40];
    int32_t types[40];
    char names[40][4];
    set_up(&f, 1);
    llama2_preferences *p = new_preferences(f.ctx);
#define SAMPLE(code)                                                                                                   \
    do {                                                                                                               \
        ck_fails(llama2_preferences_sample(p, f.a, f.b, f.tokenizer, f.dialogues, DIALOGUES, &o), code);               \
        ck_assert_int_eq(llama2_preferences_count(p), 0);                                                              \
        o = small_options();                                                                                           \
    } while (0)
    /* what can be told is told before anything is sampled */
#define TOLD(field, value)                                                                                             \
    do {                                                                                                               \
        o.field = value;                                                                                               \
        o.progress = on_progress;                                                                                      \
        o.user = &w;                                                                                                   \
        SAMPLE(LLAMA2_E_INVALID);                                                                                      \
        ck_assert_int_eq(w.samples, 0);                                                                                \
    } while (0)
    static const int32_t kinds[DIALOGUES] = {[DIALOGUES - 1] = 7};
    TOLD(temperature_b, -1);
    TOLD(kinds, kinds);
    TOLD(guideline, "\xFF");
    TOLD(model_b, "\xFF");
    TOLD(first_sample_id, ((uint64_t)1 << 63) - DIALOGUES + 1);
    o.top_p = 2;
    SAMPLE(LLAMA2_E_INVALID);
    o.max_new_tokens = 160;
    SAMPLE(LLAMA2_E_INVALID);
    o.max_new_tokens = 155;
    SAMPLE(LLAMA2_E_CONTEXT);
    o.first_sample_id = (uint64_t)1 << 63;
    SAMPLE(LLAMA2_E_INVALID);
    o.batch = "\xFF";
    SAMPLE(LLAMA2_E_INVALID);
    o.progress = on_progress;
    o.user = &w;
    w.stop = 1;
    SAMPLE(LLAMA2_E_USER);
    f.texts[7][0] = "[INST]";
    SAMPLE(LLAMA2_E_INJECTION);
    ck_assert_msg(strstr(llama2_last_error(), "dialogue 7") != NULL, "%s", llama2_last_error());
    f.texts[7][0] = NULL;
    SAMPLE(LLAMA2_E_INVALID);
    f.texts[7][0] = "a";
    f.dialogues[8] = NULL;
    SAMPLE(LLAMA2_E_INVALID);
    f.dialogues[8] = &f.chats[8];
    f.chats[8].roles = &(const int32_t){LLAMA2_ROLE_SYSTEM};
    SAMPLE(LLAMA2_E_INVALID);
    f.chats[8].roles = one_role;
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "x%d", i);
        many[i] = i == 0 ? "<unk>" : names[i];
        types[i] = i == 0 ? LLAMA2_PIECE_UNKNOWN : LLAMA2_PIECE_NORMAL;
    }
    llama2_tokenizer_pieces_init(&pieces, sizeof pieces);
    pieces.n_pieces = 40;
    pieces.texts = many;
    pieces.types = types;
    ck_ok(llama2_tokenizer_create(f.ctx, &pieces, &large));
    o.tokenizer_b = large;
    SAMPLE(LLAMA2_E_MISMATCH);
    llama2_tokenizer_free(large);
    w = (watch){0};
    o.progress = on_progress;
    o.user = &w;
    ck_ok(llama2_preferences_sample(p, f.a, f.b, f.tokenizer, f.dialogues, DIALOGUES, &o));
    ck_assert_int_eq(w.samples, 2 * DIALOGUES);
    ck_assert_int_gt(w.tokens, 2 * DIALOGUES);
    llama2_preferences_free(p);
    tear_down(&f);
}
END_TEST

typedef struct meddler {
    const fixture *f;
    llama2_preferences *p;
    int calls, stop;
} meddler;

/* Calls back in with the collection that is sampled into. */
static int32_t meddle(void *user, const llama2_rollout_event *event)
{
    meddler *m = user;
    small_record r;
    llama2_annotation a;
    llama2_preferences_sample_options o = small_options();
    (void)event;
    small_record_init(&r, "a", "b", "a", 0);
    ck_fails(llama2_preferences_add(m->p, &r.r), LLAMA2_E_BUSY);
    llama2_annotation_init(&a, sizeof a);
    a.chosen = 1;
    ck_fails(llama2_preferences_annotate(m->p, 0, &a), LLAMA2_E_BUSY);
    ck_fails(llama2_preferences_sample(m->p, m->f->a, m->f->b, m->f->tokenizer, m->f->dialogues, 1, &o), LLAMA2_E_BUSY);
    ck_assert_int_eq(record_at(m->p, 0).chosen, 0);
    m->calls++;
    return m->stop;
}

/* What a callback had added would go with the records of a call that fails. */
START_TEST(a_callback_does_not_change_its_own_collection)
{
    fixture f;
    llama2_preferences_sample_options o = small_options();
    set_up(&f, 1);
    llama2_preferences *p = new_preferences(f.ctx);
    meddler m = {&f, p, 0, 1};
    o.progress = meddle;
    o.user = &m;
    add_choice(p, "b", "a", "b", 0, "x");
    ck_fails(llama2_preferences_sample(p, f.a, f.b, f.tokenizer, f.dialogues, 3, &o), LLAMA2_E_USER);
    ck_assert_int_eq(llama2_preferences_count(p), 1);
    add_choice(p, "b", "a", "b", 1, "y"); /* it is free again */
    m.stop = 0;
    ck_ok(llama2_preferences_sample(p, f.a, f.b, f.tokenizer, f.dialogues, 3, &o));
    ck_assert_int_eq(llama2_preferences_count(p), 5);
    add_choice(p, "b", "a", "b", 0, "z");
    ck_assert_int_gt(m.calls, 2);
    llama2_preferences_free(p);
    tear_down(&f);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("preference_sample");
    ADD_CASE(suite, "sampling", records_without_a_choice, same_bits, failures_add_nothing,
             a_callback_does_not_change_its_own_collection);
    return suite;
}
