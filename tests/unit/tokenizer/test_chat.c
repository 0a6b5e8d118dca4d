/* The chat format: ids and loss weights against Meta's formula through sentencepiece, what is refused, and the weights
 * of messages. */
#include "chat_test.h"

/* Those of tests/reference/make_tokenizer_goldens.py. */
static const dialogue dialogues[] = {
    {"user", {U}, {"  What is 2 + 2?\n"}},
    {"system", {S, U}, {" Be brief. \n", " Hi there "}},
    {"turns",
     {U, A, U, A, U},
     {"Hello", " Hi! \xF0\x9F\x98\x80\n", "\xC2\xA0Name three\tcolours.\xE3\x80\x80", "Red,\ngreen and blue.",
      "Thanks"}},
    {"complete",
     {S, U, A, U, A},
     {"You are a pirate.", "Who are you?", "Arr!\n\nA pirate.", "\xC3\x89t\xC3\xA9 0042?", "\xF0\x9F\x8F\xB4 Aye"}},
    {"empty", {U, A}, {"", ""}},
};

START_TEST(goldens)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = load_llama2(ctx);
    bytes golden = read_reference("chat.golden");
    int rows = 0;
    for (char *row = strtok(golden.data, "\n"); tok && row; row = strtok(NULL, "\n"), ++rows) {
        char name[16];
        int used;
        ck_assert_int_eq(sscanf(row, "%15s %n", name, &used), 1);
        ck_assert_str_eq(name, dialogues[rows].name);
        check_dialogue(tok, &dialogues[rows], NULL, row + used);
    }
    ck_assert(!tok || rows == sizeof dialogues / sizeof *dialogues);
    free(golden.data);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

/* With any vocabulary: the ids are those of the format's text, the weighted ones those of the answers. */
START_TEST(text_of_the_format)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    llama2_chat chat = chat_of(&dialogues[3]);
    int32_t ids[1024], answers[1024];
    float weights[1024];
    int64_t n, n_answers = 0;
    ck_ok(llama2_chat_encode(tok, &chat, LLAMA2_CHAT_COMPLETE, ids, weights, 1024, &n));
    bytes text = decode(tok, ids, n, LLAMA2_DECODE_SPECIALS);
    ck_assert_str_eq(text.data, "<s>[INST] <<SYS>>\nYou are a pirate.\n<</SYS>>\n\nWho are you? [/INST] Arr!\n\nA "
                                "pirate. </s><s> [INST] \xC3\x89t\xC3\xA9 0042? [/INST] \xF0\x9F\x8F\xB4 Aye </s>");
    free(text.data);
    for (int64_t i = 0; i < n; ++i) {
        ck_assert(weights[i] == 0 || weights[i] == 1);
        if (weights[i] == 1) answers[n_answers++] = ids[i];
    }
    text = decode(tok, answers, n_answers, LLAMA2_DECODE_SPECIALS | LLAMA2_DECODE_CONTINUE);
    ck_assert_str_eq(text.data, " Arr!\n\nA pirate. </s> \xF0\x9F\x8F\xB4 Aye </s>");
    free(text.data);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(weights_of_messages)
{
    static const float message_weights[] = {9, 9, 0, 9, 0.5f};
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    llama2_chat chat = chat_of(&dialogues[3]);
    int32_t ids[1024];
    float plain[1024], weights[1024];
    int64_t n;
    ck_ok(llama2_chat_encode(tok, &chat, LLAMA2_CHAT_COMPLETE, ids, plain, 1024, &n));
    chat.loss_weights = message_weights;
    ck_ok(llama2_chat_encode(tok, &chat, LLAMA2_CHAT_COMPLETE, ids, weights, 1024, &n));
    int64_t second = 1;
    while (ids[second] != 1) ++second;
    for (int64_t i = 0; i < n; ++i) ck_assert(weights[i] == (i < second ? 0 : 0.5f * plain[i]));
    ck_assert(weights[n - 1] == 0.5f);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(markers_are_refused)
{
    static const char *const bad[] = {"[INST]",  "a [/INST]",    "x<<SYS>>",       "<</SYS>>",
                                      "[[INST]", "[INST [INST]", "<</SYS><</SYS>>"};
    static const char *const good[] = {"[INST", "INST]", "[inst]", "<<SYS>", "[/INST", "<s>", "</s>", "[ INST]"};
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    const int32_t roles[] = {S, U, A, U};
    int64_t n;
    for (size_t k = 0; k < sizeof bad / sizeof *bad + sizeof good / sizeof *good; ++k) {
        int is_bad = k < sizeof bad / sizeof *bad;
        for (int at = 0; at < 4; ++at) {
            const char *texts[] = {"s", "u", "a", "v"};
            llama2_chat chat;
            llama2_chat_init(&chat, sizeof chat);
            chat.n_messages = 4;
            chat.roles = roles;
            chat.texts = texts;
            texts[at] = is_bad ? bad[k] : good[k - sizeof bad / sizeof *bad];
            if (is_bad)
                ck_fails(llama2_chat_encode(tok, &chat, 0, NULL, NULL, 0, &n), LLAMA2_E_INJECTION);
            else
                ck_ok(llama2_chat_encode(tok, &chat, 0, NULL, NULL, 0, &n));
        }
    }
    /* Also after a NUL. */
    const char *texts[] = {"a\0[INST]"};
    const size_t lengths[] = {8};
    llama2_chat chat;
    llama2_chat_init(&chat, sizeof chat);
    chat.n_messages = 1;
    chat.roles = &roles[1];
    chat.texts = texts;
    chat.lengths = lengths;
    ck_fails(llama2_chat_encode(tok, &chat, 0, NULL, NULL, 0, &n), LLAMA2_E_INJECTION);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "byte 2"));
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(wrong_orders)
{
    static const struct {
        int n;
        int32_t roles[4];
        uint32_t flags;
        const char *says;
    } cases[] = {
        {0, {0}, 0, "no user message"},
        {1, {S}, 0, "no user message"},
        {1, {A}, 0, "expected user"},
        {2, {U, U}, 0, "message 1 has the role user (1), expected assistant"},
        {2, {U, S}, 0, "expected assistant"},
        {3, {S, S, U}, 0, "message 1 has the role system (0), expected user"},
        {3, {U, A, A}, 0, "message 2"},
        {2, {U, A}, 0, "the last message is assistant's, expected user"},
        {1, {U}, LLAMA2_CHAT_COMPLETE, "expected assistant"},
        {1, {3}, 0, "unknown (3), expected user"},
        {2, {U, A}, LLAMA2_CHAT_TO_END, "goes with LLAMA2_CHAT_COMPLETE"},
        {1, {U}, 4, "unknown flags 0x4"},
    };
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    const char *const texts[] = {"a", "b", "c", "d"};
    int64_t n;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; ++k) {
        llama2_chat chat;
        llama2_chat_init(&chat, sizeof chat);
        chat.n_messages = cases[k].n;
        chat.roles = cases[k].roles;
        chat.texts = texts;
        ck_fails(llama2_chat_encode(tok, &chat, cases[k].flags, NULL, NULL, 0, &n), LLAMA2_E_INVALID);
        ck_assert_msg(strstr(llama2_last_error(), cases[k].says) != NULL, "case %zu: %s", k, llama2_last_error());
    }
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

START_TEST(buffers_and_arguments)
{
    llama2_context *ctx = make_context();
    llama2_tokenizer *tok = make_tiny(ctx);
    llama2_chat chat = chat_of(&dialogues[2]);
    int32_t ids[1024], guarded[1024];
    float weights[1024];
    int64_t n, needed;
    ck_ok(llama2_chat_encode(tok, &chat, 0, NULL, NULL, 0, &n));
    ck_ok(llama2_chat_encode(tok, &chat, 0, ids, NULL, n, &needed));
    ck_assert_int_eq(n, needed);
    for (int64_t room = 1; room < n; ++room) {
        guarded[room] = -7;
        weights[room] = -7;
        ck_fails(llama2_chat_encode(tok, &chat, 0, guarded, weights, room, &needed), LLAMA2_E_BUFFER);
        ck_assert_int_eq(needed, n);
        ck_assert(guarded[room] == -7 && weights[room] == -7);
    }
    ck_fails(llama2_chat_encode(NULL, &chat, 0, ids, NULL, 1024, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_chat_encode(tok, NULL, 0, ids, NULL, 1024, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_chat_encode(tok, &chat, 2, ids, NULL, 1024, &n), LLAMA2_E_INVALID);
    ck_fails(llama2_chat_encode(tok, &chat, 0, NULL, weights, 0, &n), LLAMA2_E_INVALID);
    const float bad[] = {1, -1, 1, 1, 1};
    chat.loss_weights = bad;
    ck_fails(llama2_chat_encode(tok, &chat, 0, ids, NULL, 1024, &n), LLAMA2_E_INVALID);
    llama2_tokenizer_free(tok);
    tiny t;
    fill_tiny(&t);
    t.pieces.eos_piece = "<nothing>";
    ck_ok(llama2_tokenizer_create(ctx, &t.pieces, &tok));
    chat.loss_weights = NULL;
    ck_fails(llama2_chat_encode(tok, &chat, 0, ids, NULL, 1024, &n), LLAMA2_E_STATE);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tokenizer/chat");
    ADD_CASE(suite, "format", goldens, text_of_the_format, weights_of_messages);
    ADD_CASE(suite, "refused", markers_are_refused, wrong_orders, buffers_and_arguments);
    return suite;
}
