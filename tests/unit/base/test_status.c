#include "check_main.h"

#include "base/status.h"
#include "base/utf8.h"

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

START_TEST(test_message)
{
    ck_assert_int_eq(l2_fail(LLAMA2_E_FORMAT, "byte %d is %s", 7, "odd"), LLAMA2_E_FORMAT);
    ck_assert_str_eq(llama2_last_error(), "byte 7 is odd");
    ck_assert_int_eq(l2_fail_in(LLAMA2_E_IO, "file %s", "a"), LLAMA2_E_IO);
    ck_assert_str_eq(llama2_last_error(), "file a: byte 7 is odd");
    /* The present message as an argument. */
    l2_fail(LLAMA2_E_IO, "again: %s", llama2_last_error());
    ck_assert_str_eq(llama2_last_error(), "again: file a: byte 7 is odd");
    l2_fail_in(LLAMA2_E_IO, "%s", llama2_last_error());
    ck_assert_str_eq(llama2_last_error(), "again: file a: byte 7 is odd: again: file a: byte 7 is odd");
}
END_TEST

START_TEST(test_long_message)
{
    char text[5000];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3) memcpy(text + i, "\xE2\x82\xAC", 4);
        l2_fail(LLAMA2_E_IO, "%s", text);
        size_t length = strlen(llama2_last_error());
        ck_assert_uint_gt(length, 500);
        ck_assert_uint_lt(length, 1100);
        ck_assert_uint_eq(l2_utf8_valid_prefix(llama2_last_error(), length), length);
        ck_assert_ptr_null(strchr(llama2_last_error(), '?'));
        for (int i = 0; i < 3; i++) l2_fail_in(LLAMA2_E_IO, "%s", i == 2 ? text : "prefix");
        length = strlen(llama2_last_error());
        ck_assert_uint_lt(length, 1100);
        ck_assert_uint_eq(l2_utf8_valid_prefix(llama2_last_error(), length), length);
    }
}
END_TEST

START_TEST(test_message_is_clean)
{
    l2_fail(LLAMA2_E_FORMAT, "a\x1b[2J\xff\xc3(\n\xc3\xa4");
    ck_assert_str_eq(llama2_last_error(), "a?[2J?"
                                          "?(?\xc3\xa4");
}
END_TEST

/* Only where the machine has a locale with another decimal point. */
START_TEST(test_other_locales)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ps_AF.UTF-8", "ps_AF"};
    char before[16], after[16];
    int found = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++) found = setlocale(LC_ALL, names[i]) != NULL;
    if (!found) puts("skipped: no locale with another decimal point");
    snprintf(before, sizeof before, "%.1f", 0.5);
    l2_fail(LLAMA2_E_INVALID, "temperature is %g", 0.25);
    ck_assert_str_eq(llama2_last_error(), "temperature is 0.25");
    l2_fail_in(LLAMA2_E_INVALID, "at %g", 1.5);
    ck_assert_str_eq(llama2_last_error(), "at 1.5: temperature is 0.25");
    ck_assert_str_eq(l2_strerror(ENOENT), "No such file or directory");
    snprintf(after, sizeof after, "%.1f", 0.5);
    ck_assert_str_eq(before, after); /* the host's locale is back */
    setlocale(LC_ALL, "C");
}
END_TEST

static void *other_thread(void *arg)
{
    (void)arg;
    if (llama2_last_error()[0]) return "not empty";
    l2_fail(LLAMA2_E_IO, "theirs");
    return NULL;
}

START_TEST(test_thread_local)
{
    pthread_t thread;
    void *complaint;
    l2_fail(LLAMA2_E_IO, "mine");
    ck_assert_int_eq(pthread_create(&thread, NULL, other_thread, NULL), 0);
    pthread_join(thread, &complaint);
    ck_assert_ptr_null(complaint);
    ck_assert_str_eq(llama2_last_error(), "mine");
}
END_TEST

START_TEST(test_names)
{
    ck_assert_str_eq(llama2_status_name(LLAMA2_OK), "LLAMA2_OK");
    ck_assert_str_eq(llama2_status_name(LLAMA2_E_NOMEM), "LLAMA2_E_NOMEM");
    ck_assert_str_eq(llama2_status_name(LLAMA2_E_CORRUPT), "LLAMA2_E_CORRUPT");
    ck_assert_str_eq(llama2_status_name(LLAMA2_E_NUMERIC), "LLAMA2_E_NUMERIC");
    ck_assert_str_eq(llama2_status_name(LLAMA2_E_FORKED), "LLAMA2_E_FORKED");
    ck_assert_str_eq(llama2_status_name(LLAMA2_E_INJECTION), "LLAMA2_E_INJECTION");
    for (llama2_status s = -20; s <= 0; s++)
        for (llama2_status t = -20; t < s; t++) ck_assert_str_ne(llama2_status_name(s), llama2_status_name(t));
    static const llama2_status unknown[] = {1, -21, INT32_MIN, INT32_MAX};
    for (int i = 0; i < 4; i++) ck_assert_str_eq(llama2_status_name(unknown[i]), "unknown status");
}
END_TEST

START_TEST(test_version)
{
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", LLAMA2_VERSION_MAJOR, LLAMA2_VERSION_MINOR, LLAMA2_VERSION_PATCH);
    ck_assert_str_eq(llama2_version(), text);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("base/status");
    ADD_CASE(s, "status", test_message, test_long_message, test_message_is_clean, test_other_locales, test_thread_local,
             test_names, test_version);
    return s;
}
