#include "check_main.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void add_case(Suite *suite, const char *name, const TTest *const *tests)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 120);
    for (; *tests; tests++) tcase_add_test(tc, *tests);
    suite_add_tcase(suite, tc);
}

const char *data_file(const char *name)
{
    static char path[4096];
    const char *folder = getenv("LLAMA2_TEST_DATA");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "../shared/data", name);
    if (access(path, R_OK) == 0) return path;
    printf("skipped: %s is not there (set LLAMA2_TEST_DATA to the folder with real data)\n", path);
    return NULL;
}

int main(void)
{
    SRunner *runner = srunner_create(test_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
