/* The answer templates of llama2-distill for the risk categories of section 4.2, and what stands in for other words. */
#include "check_main.h"
#include "distill/preprompts.h"

#include <string.h>

/* A category with words of which each of its texts has one, and no text of another category any. */
typedef struct category {
    const char *risk, *words[3];
} category;

static const category categories[] = {
    {"illicit", {"a crime", "against the law"}},
    {"hateful", {"insult or demean", "hurting oneself"}},
    {"unqualified", {"professional advice", "qualified professional", "name the professional"}},
};
enum { CATEGORIES = sizeof categories / sizeof *categories, MOST = 32 };

static int has_word_of(const char *text, const category *c)
{
    for (int k = 0; k < 3; k++)
        if (c->words[k] && strstr(text, c->words[k])) return 1;
    return 0;
}

/* How many texts a category has until they come round, by identity. */
static size_t texts_of(const char *risk)
{
    size_t n = 1;
    while (n < MOST && strcmp(preprompts_get(risk, n), preprompts_get(risk, 0)) != 0) n++;
    ck_assert_uint_lt(n, MOST);
    return n;
}

START_TEST(a_category_has_templates_of_its_own)
{
    const category *c = &categories[_i];
    size_t n = texts_of(c->risk);
    ck_assert_uint_ge(n, 2);
    for (size_t i = 0; i < n; i++) {
        const char *text = preprompts_get(c->risk, i);
        for (size_t k = 0; k < CATEGORIES; k++)
            ck_assert_msg(has_word_of(text, &categories[k]) == (k == (size_t)_i), "%s %zu against %s: %s", c->risk, i,
                          categories[k].risk, text);
        for (size_t k = 0; k < i; k++) ck_assert_str_ne(text, preprompts_get(c->risk, k));
    }
}
END_TEST

/* Any number is a text, and all come equally often: the program passes 64 bits of a hash. */
START_TEST(texts_come_round)
{
    for (size_t k = 0; k <= CATEGORIES; k++) {
        const char *risk = k < CATEGORIES ? categories[k].risk : NULL;
        size_t n = texts_of(risk);
        for (size_t i = 0; i < 3 * n; i++) ck_assert_str_eq(preprompts_get(risk, i), preprompts_get(risk, i % n));
        ck_assert_str_eq(preprompts_get(risk, SIZE_MAX), preprompts_get(risk, SIZE_MAX % n));
    }
}
END_TEST

/* docs/formats.md: "missing, or another word: general preprompts". */
START_TEST(other_words_get_general_ones)
{
    static const char *const others[] = {"", "general", "Illicit", "illicit ", "hate", "unqualified advice"};
    size_t n = texts_of(NULL);
    ck_assert_uint_ge(n, 5); /* a new way to say it each time */
    for (size_t i = 0; i < n; i++) {
        const char *text = preprompts_get(NULL, i);
        for (size_t k = 0; k < CATEGORIES; k++) ck_assert_msg(!has_word_of(text, &categories[k]), "%s", text);
        for (size_t k = 0; k < sizeof others / sizeof *others; k++)
            ck_assert_str_eq(preprompts_get(others[k], i), text);
        for (size_t k = 0; k < i; k++) ck_assert_str_ne(text, preprompts_get(NULL, k));
    }
}
END_TEST

/* A system message: it tells the model who it is, and markers of the chat format would be refused in it. */
START_TEST(they_are_system_messages)
{
    for (size_t k = 0; k <= CATEGORIES; k++) {
        const char *risk = k < CATEGORIES ? categories[k].risk : NULL;
        for (size_t i = 0; i < texts_of(risk); i++) {
            const char *text = preprompts_get(risk, i);
            ck_assert_msg(strncmp(text, "You are a", 9) == 0 && strstr(text, " assistant"), "%s", text);
            ck_assert_msg(text[strlen(text) - 1] == '.' && !strpbrk(text, "[]<>") && !strstr(text, "  "), "%s", text);
        }
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("preprompts");
    TCase *tc = tcase_create("categories");
    tcase_add_loop_test(tc, a_category_has_templates_of_its_own, 0, CATEGORIES);
    suite_add_tcase(suite, tc);
    ADD_CASE(suite, "texts", texts_come_round, other_words_get_general_ones, they_are_system_messages);
    return suite;
}
