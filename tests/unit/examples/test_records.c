#include "check_main.h"
#include "common/examples.h"
#include "common/records.h"
#include "common/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROOM = 256 };

static llama2_context *ctx;
static llama2_tokenizer *tokenizer;
static records all;
static char error[1024];

static void setup(void)
{
    ck_assert_int_eq(llama2_context_create(NULL, &ctx), 0);
    ck_assert_int_eq(
        llama2_tokenizer_load_memory(ctx, world_tokenizer_model, world_tokenizer_model_size, NULL, &tokenizer), 0);
}

static void teardown(void)
{
    records_free(&all);
    llama2_tokenizer_free(tokenizer);
    llama2_context_free(ctx);
}

static bool read_lines(const char *lines, record_kind kind)
{
    char path[] = "/tmp/llama2-records-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, lines, strlen(lines)), (ssize_t)strlen(lines));
    close(fd);
    bool good = records_read(&all, path, kind, error, sizeof error);
    unlink(path);
    return good;
}

static const char two_turns[] = "{\"messages\": [{\"role\": \"system\", \"content\": \"be kind.\"}, {\"role\": "
                                "\"user\", \"content\": \"who has a cat?\"},"
                                " {\"role\": \"assistant\", \"content\": \"sam has a cat.\"}, {\"role\": \"user\", "
                                "\"content\": \"who likes white?\"},"
                                " {\"role\": \"assistant\", \"content\": \"ben likes white.\"}]}\n";

/* The text of the tokens that have a weight. */
static void weighted(const int32_t *tokens, const float *weights, int64_t n, char text[ROOM])
{
    int32_t kept[ROOM];
    size_t length;
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++)
        if (weights[i] > 0) kept[k++] = tokens[i];
    ck_assert_int_eq(llama2_tokenizer_decode(tokenizer, kept, k, LLAMA2_DECODE_SPECIALS, text, ROOM - 1, &length), 0);
    text[length] = 0;
}

START_TEST(weights_of_answers)
{
    int32_t tokens[ROOM];
    float weights[ROOM];
    char text[ROOM];
    ck_assert_msg(read_lines(two_turns, RECORD_DEMONSTRATION), "%s", error);
    const record *r = &all.items[0];
    int64_t n = record_encode_turns(tokenizer, r, r->answer, 1, tokens, weights, ROOM);
    ck_assert_int_gt(n, 0);
    weighted(tokens, weights, n, text);
    ck_assert_msg(strstr(text, "sam has a cat.") && strstr(text, "ben likes white.") && !strstr(text, "who"), "%s",
                  text);
    ck_assert_int_eq(record_encode(tokenizer, r, r->answer, tokens, weights, ROOM), n);
    weighted(tokens, weights, n, text);
    ck_assert_msg(!strstr(text, "sam") && strstr(text, "ben likes white."), "%s", text);
}
END_TEST

/* A line may say that its last answer alone is learnt. */
START_TEST(only_the_last_answer_where_a_line_says_so)
{
    char lines[1024], text[ROOM];
    int64_t left_out;
    app a = {.args = {.quiet = true}};
    example_set set = {0};
    for (int last = 0; last < 2; last++) {
        snprintf(lines, sizeof lines, "{\"train\": \"%s\", %s", last ? "last" : "all", two_turns + 1);
        ck_assert_msg(read_lines(lines, RECORD_DEMONSTRATION), "%s", error);
    }
    ck_assert(examples_encode(&a, tokenizer, &all, 1, ROOM, &set, &left_out));
    ck_assert_uint_eq(set.n, 2);
    weighted(set.items[0].tokens, set.items[0].weights, set.items[0].n, text);
    ck_assert_msg(strstr(text, "sam has a cat.") && strstr(text, "ben likes white."), "%s", text);
    weighted(set.items[1].tokens, set.items[1].weights, set.items[1].n, text);
    ck_assert_msg(!strstr(text, "sam") && strstr(text, "ben likes white."), "%s", text);
    json_t *line = record_line_last(&all.items[0], "so.");
    ck_assert_str_eq(json_string_value(json_object_get(line, "train")), "last");
    json_decref(line);
    examples_free(&set);
}
END_TEST

/* A prompt by itself, and dialogues that begin with it, go to the same side of a split. */
START_TEST(dialogues_that_begin_with_a_prompt)
{
    ck_assert_msg(read_lines("{\"prompt\": \"who has a cat?\"}\n{\"prompt\": \"who likes white?\"}\n"
                             "{\"messages\": [{\"role\": \"user\", \"content\": \"who has a cat?\"}, {\"role\": "
                             "\"assistant\", \"content\": \"who?\"}, {\"role\": \"user\", \"content\": \"sam.\"}]}\n",
                             RECORD_PROMPT),
                  "%s", error);
    ck_assert_msg(read_lines(two_turns, RECORD_DEMONSTRATION), "%s", error);
    uint64_t cat = record_first_prompt(&all.items[0]);
    ck_assert_uint_eq(cat, all.items[0].id);
    ck_assert_uint_ne(cat, record_first_prompt(&all.items[1]));
    ck_assert_uint_eq(cat, record_first_prompt(&all.items[2]));
    ck_assert_uint_ne(cat, all.items[2].id);
    ck_assert_uint_eq(cat, record_first_prompt(&all.items[3]));
}
END_TEST

START_TEST(dialogues_under_an_instruction)
{
    ck_assert_msg(
        read_lines("{\"turns\": [\"a\", \"b\"], \"instruction\": \"c\", \"kept_instruction\": \"d\"}\n"
                   "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": "
                   "\"b\"}]}\n{\"prompt\": \"a\"}\n",
                   RECORD_TURNS),
        "%s", error);
    ck_assert_uint_eq(all.n, 3);
    ck_assert(all.items[0].n_messages == 2 && all.items[1].n_messages == 2 && all.items[2].n_messages == 1);
    ck_assert(all.items[0].roles[1] == LLAMA2_ROLE_USER && all.items[1].roles[1] == LLAMA2_ROLE_ASSISTANT);
    ck_assert_str_eq(all.items[0].instruction, "c");
    ck_assert_str_eq(all.items[0].kept_instruction, "d");
    ck_assert(!all.items[1].instruction && !all.items[1].kept_instruction);
}
END_TEST

START_TEST(an_instruction_without_instances_is_an_error)
{
    ck_assert(!read_lines("{\"instruction\": \"a\", \"output\": \"b\"}\n", RECORD_DEMONSTRATION));
    ck_assert_msg(strstr(error, "instances") != NULL, "%s", error);
}
END_TEST

START_TEST(earliest_turn_is_lost_first)
{
    int32_t tokens[ROOM];
    float weights[ROOM];
    char text[ROOM];
    ck_assert_msg(read_lines(two_turns, RECORD_DEMONSTRATION), "%s", error);
    const record *r = &all.items[0];
    int64_t n = record_encode_turns(tokenizer, r, r->answer, 1, tokens, weights, ROOM);
    int64_t fewer = record_encode_turns(tokenizer, r, r->answer, 1, tokens, weights, n - 1);
    ck_assert(fewer > 0 && fewer < n);
    size_t length;
    ck_assert_int_eq(llama2_tokenizer_decode(tokenizer, tokens, fewer, 0, text, ROOM - 1, &length), 0);
    text[length] = 0;
    ck_assert_msg(strstr(text, "be kind.") && strstr(text, "ben likes") && !strstr(text, "sam"), "%s", text);
    ck_assert_int_eq(record_encode_turns(tokenizer, r, r->answer, 1, tokens, weights, 8), 0);
}
END_TEST

START_TEST(comparisons)
{
    ck_assert_msg(
        read_lines(
            "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\", \"rating\": \"slightly_better\", "
            "\"chosen_safe\": true}\n"
            "{\"chosen\": \"\\n\\nHuman: a\\n\\nAssistant: b\", \"rejected\": \"\\n\\nHuman: a\\n\\nAssistant: c\"}\n",
            RECORD_COMPARISON),
        "%s", error);
    ck_assert_uint_eq(all.n, 2);
    ck_assert_int_eq(all.items[0].rating, LLAMA2_RATING_SLIGHTLY);
    ck_assert_int_eq(all.items[0].chosen_safe, 1);
    ck_assert_int_eq(all.items[0].rejected_safe, -1);
    ck_assert_int_eq(all.items[1].rating, -1);
    ck_assert_str_eq(all.items[1].rejected + strspn(all.items[1].rejected, " "), "c");
}
END_TEST

/* Lines of llama2-collect: what has no choice is passed over. */
START_TEST(annotated_comparisons)
{
    ck_assert_msg(read_lines("{\"prompt\": \"a\", \"responses\": [\"b\", \"c\"], \"choice\": null}\n"
                             "{\"prompt\": \"a\", \"responses\": [\"b\", \"c\"], \"choice\": \"second\", \"rating\": "
                             "\"better\", \"bin\": \"other_safe\", \"is_safety\": true}\n"
                             "{\"prompt\": \"a\", \"responses\": [\"b\", \"c\"], \"choice\": \"first\"}\n",
                             RECORD_COMPARISON),
                  "%s", error);
    ck_assert_uint_eq(all.n, 2);
    ck_assert_str_eq(all.items[0].answer, "c");
    ck_assert_str_eq(all.items[0].rejected, "b");
    ck_assert_int_eq(all.items[0].rating, LLAMA2_RATING_BETTER);
    ck_assert(all.items[0].chosen_safe == 0 && all.items[0].rejected_safe == 1 && all.items[0].is_safety);
    ck_assert_str_eq(all.items[1].answer, "b");
    ck_assert(all.items[1].rating == -1 && all.items[1].chosen_safe == -1 && all.items[1].rejected_safe == -1);
}
END_TEST

START_TEST(wrong_lines_are_told)
{
    static const struct {
        record_kind kind;
        const char *line, *says;
    } wrong[] = {
        {RECORD_DEMONSTRATION, "\n{\"prompt\": \"a\"}\n", ":2: does not end with an answer"},
        {RECORD_DEMONSTRATION, "{\"messages\": [{\"role\": \"robot\", \"content\": \"a\"}]}\n", "needs \"role\""},
        {RECORD_DEMONSTRATION, "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}\n", "turns"},
        {RECORD_COMPARISON, "{\"prompt\": \"a\", \"chosen\": \"b\"}\n", "\"rejected\" is missing"},
        {RECORD_COMPARISON, "{\"prompt\": \"a\", \"responses\": [\"b\"]}\n", "two texts"},
        {RECORD_COMPARISON, "{\"prompt\": \"a\", \"responses\": [\"b\", \"c\"], \"choice\": \"frist\"}\n",
         "\"choice\""},
        {RECORD_COMPARISON, "{\"prompt\": \"a\", \"responses\": [\"b\", \"c\"], \"bin\": \"both_safe\"}\n", "without"},
        {RECORD_PROMPT, "{\"text\": \"a\"}\n", "neither"},
        {RECORD_DEMONSTRATION, "{\"prompt\": \"a\", \"response\": \"b\", \"train\": \"first\"}\n",
         "\"train\" is neither"},
        {RECORD_TURNS, "{\"turns\": \"a\"}\n", "not an array"},
        {RECORD_TURNS, "{\"turns\": []}\n", "empty"},
        {RECORD_TURNS, "{\"turns\": [1]}\n", "texts of the user"},
        {RECORD_TURNS, "{\"system\": \"a\", \"prompt\": \"b\"}\n", "a system message"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert(!read_lines(wrong[i].line, wrong[i].kind));
        ck_assert_msg(strstr(error, wrong[i].says), "%s does not say %s", error, wrong[i].says);
    }
}
END_TEST

START_TEST(prompts_with_equal_messages_are_the_same)
{
    ck_assert(read_lines(
        "{\"prompt\": \"a\", \"is_safety\": true}\n{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n"
        "{\"system\": \"a\", \"prompt\": \"a\"}\n",
        RECORD_PROMPT));
    ck_assert_uint_eq(all.items[0].id, all.items[1].id);
    ck_assert_uint_ne(all.items[0].id, all.items[2].id);
    ck_assert(all.items[0].is_safety && !all.items[1].is_safety);
    ck_assert(read_lines("{\"prompt\": \"a\", \"risk\": \"illicit\"}\n", RECORD_PROMPT));
    ck_assert_str_eq(all.items[3].risk, "illicit");
    ck_assert_ptr_null(all.items[0].risk);
}
END_TEST

START_TEST(orders_are_permutations)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        bool seen[37] = {false};
        size_t *order = app_shuffled(37, seed), *other = app_shuffled(37, seed + 1);
        for (size_t i = 0; i < 37; i++) {
            ck_assert(order[i] < 37 && !seen[order[i]]);
            seen[order[i]] = true;
        }
        ck_assert(memcmp(order, other, 37 * sizeof *order) != 0);
        free(order);
        free(other);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("records");
    TCase *tests = tcase_create("records");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, weights_of_answers);
    tcase_add_test(tests, only_the_last_answer_where_a_line_says_so);
    tcase_add_test(tests, dialogues_that_begin_with_a_prompt);
    tcase_add_test(tests, dialogues_under_an_instruction);
    tcase_add_test(tests, an_instruction_without_instances_is_an_error);
    tcase_add_test(tests, earliest_turn_is_lost_first);
    tcase_add_test(tests, comparisons);
    tcase_add_test(tests, annotated_comparisons);
    tcase_add_test(tests, wrong_lines_are_told);
    tcase_add_test(tests, prompts_with_equal_messages_are_the_same);
    tcase_add_test(tests, orders_are_permutations);
    suite_add_tcase(suite, tests);
    return suite;
}
