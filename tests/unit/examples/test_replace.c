/* Files of the programs that are replaced as a whole. */
#include "check_main.h"
#include "common/replace.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[32], path[64], part[72], error[300];

static void set_up(void)
{
    strcpy(folder, "test_replace.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(part, sizeof part, "%s.part", path);
}

static void tear_down(void)
{
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0); /* and nothing else lies about */
}

static bool replace(const char *text)
{
    return replace_file(path, text, strlen(text), error, sizeof error);
}

static void check_holds(const char *name, const char *text)
{
    char bytes[64] = "";
    FILE *f = fopen(name, "r");
    ck_assert_ptr_nonnull(f);
    bytes[fread(bytes, 1, sizeof bytes - 1, f)] = 0;
    fclose(f);
    ck_assert_str_eq(bytes, text);
}

START_TEST(a_second_writer_hears_of_the_first)
{
    ck_assert(replace("old"));
    int first = open(part, O_WRONLY | O_CREAT, 0666);
    ck_assert(first >= 0 && flock(first, LOCK_EX) == 0);
    ck_assert_int_eq(write(first, "of the first", 12), 12);
    ck_assert(!replace("of the second"));
    ck_assert_ptr_nonnull(strstr(error, path));
    ck_assert_ptr_nonnull(strstr(error, "busy"));
    check_holds(part, "of the first");
    check_holds(path, "old");
    close(first); /* as the end of its process does: what it has left is in nobody's way */
    ck_assert(replace("new"));
    check_holds(path, "new");
}
END_TEST

START_TEST(a_failure_leaves_the_old_one)
{
    ck_assert_int_eq(mkdir(path, 0777), 0); /* which no file replaces */
    ck_assert(!replace("new"));
    ck_assert_int_ne(access(part, F_OK), 0);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(symlink("elsewhere", part), 0); /* not written through */
    ck_assert(!replace("new"));
    ck_assert_int_eq(unlink(part), 0);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("examples/replace");
    TCase *tc = tcase_create("writers");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, a_second_writer_hears_of_the_first);
    tcase_add_test(tc, a_failure_leaves_the_old_one);
    suite_add_tcase(suite, tc);
    return suite;
}
