/*
 * What every unit test shares: the program's main, and how a test says that it is skipped. A test file defines `Suite
 * *test_suite(void)`.
 */
#ifndef CHECK_MAIN_H
#define CHECK_MAIN_H

#include <check.h>
#include <llama2/types.h>

Suite *test_suite(void);

/* A case with these tests (NULL-terminated), 120 s each. */
void add_case(Suite *suite, const char *name, const TTest *const *tests);
#define ADD_CASE(suite, name, ...) add_case(suite, name, (const TTest *const[]){__VA_ARGS__, NULL})

/* Status checks that print the library's message. */
#define ck_ok(expr)                                                                                                    \
    do {                                                                                                               \
        llama2_status ck_status = (expr);                                                                              \
        ck_assert_msg(ck_status == LLAMA2_OK, "%s: %s: %s", #expr, llama2_status_name(ck_status),                      \
                      llama2_last_error());                                                                            \
    } while (0)
#define ck_fails(expr, code)                                                                                           \
    do {                                                                                                               \
        llama2_status ck_status = (expr);                                                                              \
        ck_assert_msg(ck_status == (code), "%s: %s, expected %s", #expr, llama2_status_name(ck_status),                \
                      llama2_status_name(code));                                                                       \
        ck_assert_msg(llama2_last_error()[0] != 0, "%s: no message", #expr);                                           \
    } while (0)

/* Path of a file of real data, or NULL after printing why the test is skipped. Static storage, one path at a time. */
const char *data_file(const char *name);

#endif
