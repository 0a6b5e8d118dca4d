/* Comparisons as lines for annotators, and back. */
#include "check_main.h"
#include "common/annotations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static llama2_context *ctx;
static llama2_preferences *all;
static char error[1024];

static void setup(void)
{
    ck_ok(llama2_context_create(NULL, &ctx));
    ck_ok(llama2_preferences_create(ctx, &all));
}

static void teardown(void)
{
    llama2_preferences_free(all);
    llama2_context_free(ctx);
}

static bool read_lines(const char *lines)
{
    char path[] = "/tmp/llama2-annotations-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, lines, strlen(lines)), (ssize_t)strlen(lines));
    close(fd);
    bool good = annotations_read(all, path, error, sizeof error);
    unlink(path);
    return good;
}

START_TEST(lines_there_and_back)
{
    static const char *const texts[] = {"be kind", "who?"}, *const responses[] = {"sam", ""},
                             *const models[] = {"V1", "V2"};
    static const int32_t roles[] = {LLAMA2_ROLE_SYSTEM, LLAMA2_ROLE_USER}, safe[] = {1, 0};
    static const double temperatures[] = {0.7, 1.2};
    records dialogue = {0};
    llama2_preference p;
    records_add(&dialogue, roles, texts, 2, NULL, NULL);
    llama2_preference_init(&p, sizeof p);
    p.n_messages = 2;
    p.roles = roles;
    p.texts = texts;
    p.responses = responses;
    p.models = models;
    p.temperatures = temperatures;
    p.safe = safe;
    p.kind = LLAMA2_KIND_SAFETY;
    p.id = "x";
    p.annotator = "ann";
    p.batch = "W1";
    p.guideline = "";
    for (int32_t chosen = -1; chosen < 2; chosen++) {
        llama2_preference q = {.struct_size = sizeof q};
        llama2_preferences_free(all);
        ck_ok(llama2_preferences_create(ctx, &all));
        p.chosen = chosen;
        p.rating = chosen < 0 ? -1 : LLAMA2_RATING_SLIGHTLY;
        json_t *line = annotation_line(&dialogue.items[0], &p);
        char *text = json_dumps(line, JSON_COMPACT);
        ck_assert_msg(read_lines(text), "%s: %s", text, error);
        free(text);
        json_decref(line);
        ck_ok(llama2_preferences_get(all, 0, &q));
        ck_assert_int_eq(q.n_messages, 2);
        ck_assert_str_eq(q.texts[0], "be kind");
        ck_assert_str_eq(q.texts[1], "who?");
        ck_assert_str_eq(q.responses[0], "sam");
        ck_assert_str_eq(q.responses[1], "");
        ck_assert_str_eq(q.models[1], "V2");
        ck_assert(q.temperatures[0] == 0.7 && q.temperatures[1] == 1.2);
        ck_assert_int_eq(q.kind, LLAMA2_KIND_SAFETY);
        ck_assert_int_eq(q.chosen, chosen);
        ck_assert_int_eq(q.rating, p.rating);
        ck_assert_int_eq(llama2_preference_bin(&q), llama2_preference_bin(&p));
        ck_assert_str_eq(q.id, "x ann");
        ck_assert_str_eq(q.annotator, "ann");
        ck_assert_str_eq(q.batch, "W1");
        ck_assert_str_eq(q.guideline, "");
    }
    records_free(&dialogue);
}
END_TEST

START_TEST(annotators_of_one_line)
{
    static const char format[] =
        "{\"id\": \"1\", \"prompt\": \"a\", \"responses\": [\"b\", \"c\"], \"choice\": \"%s\", "
        "\"annotator\": \"%s\"}\n";
    llama2_agreement g = {.struct_size = sizeof g};
    char line[512];
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line, format, i ? "first" : "second", i ? "ann" : "ben");
        ck_assert_msg(read_lines(line), "%s", error);
    }
    ck_ok(llama2_preferences_agreement(all, -1, &g));
    ck_assert(g.n_comparisons == 1 && g.n_annotations == 2 && g.share == 0);
    ck_assert(!read_lines(line)); /* the same line twice */
    ck_assert_msg(strstr(error, ":1: ") && strstr(error, "\"1 ann\""), "%s", error);
    ck_assert(!read_lines("{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n"));
    ck_assert_msg(strstr(error, "no \"responses\""), "%s", error);
    ck_assert(!read_lines("{\"responses\": [\"b\", \"c\"]}\n"));
    ck_assert_msg(strstr(error, "neither"), "%s", error);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("annotations");
    TCase *tests = tcase_create("annotations");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, lines_there_and_back);
    tcase_add_test(tests, annotators_of_one_line);
    suite_add_tcase(suite, tests);
    return suite;
}
