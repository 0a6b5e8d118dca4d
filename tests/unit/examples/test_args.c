#include "check_main.h"
#include "common/args.h"
#include "common/progress.h"
#include <stdlib.h>
#include <string.h>

static int64_t steps;
static double rate;
static const char *out_folder;
static bool verbose;
static args_list data;

static const args_option OPTIONS[] = {
    {"steps", ARGS_INTEGER, &steps, "N", "steps to take", 1, 1000},
    {"rate", ARGS_REAL, &rate, "X", "learning rate", 0, 0},
    {"out", ARGS_TEXT, &out_folder, "DIR", "folder", 0, 0},
    {"verbose", ARGS_FLAG, &verbose, NULL, "say more", 0, 0},
    {"data", ARGS_LIST, &data, "FILE", "a file; may be repeated", 0, 0},
    {0},
};
static const args_program PROGRAM = {"llama2-try", "Tries things.", "[FILE]", OPTIONS, 0, 1, "A note."};

static char out_text[8192], err_text[2048];
static args_common common;

/* Parses words separated by spaces. */
static int parse(const args_program *program, const char *words)
{
    static char copy[512];
    char *argv[32] = {(char *)"llama2-try"}, *save = NULL;
    int argc = 1;
    steps = 7, rate = 0.5, out_folder = "here", verbose = false;
    memset(&data, 0, sizeof data);
    memset(out_text, 0, sizeof out_text);
    memset(err_text, 0, sizeof err_text);
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) argv[argc++] = word;
    FILE *out = fmemopen(out_text, sizeof out_text - 1, "w"), *err = fmemopen(err_text, sizeof err_text - 1, "w");
    int status = args_parse_to(program, &common, argc, argv, out, err);
    fclose(out);
    fclose(err);
    return status;
}

START_TEST(values_and_defaults)
{
    ck_assert_int_eq(parse(&PROGRAM, ""), ARGS_GO);
    ck_assert_int_eq(steps, 7);
    ck_assert_str_eq(out_folder, "here");
    ck_assert(!common.quiet && !common.seed_given && common.threads == 0 && common.model == NULL);
    ck_assert_int_eq(parse(&PROGRAM,
                           "--steps 3 --rate=-1e-3 --verbose --out x --out=y --data a --data b in.txt --threads 2 "
                           "--seed 18446744073709551615 --model m --quiet"),
                     ARGS_GO);
    ck_assert_int_eq(steps, 3);
    ck_assert_double_eq(rate, -1e-3);
    ck_assert_str_eq(out_folder, "y");
    ck_assert(verbose && common.quiet && common.seed_given);
    ck_assert_uint_eq(common.threads, 2);
    ck_assert(common.seed == UINT64_MAX);
    ck_assert_str_eq(common.model, "m");
    ck_assert_uint_eq(data.count, 2);
    ck_assert_str_eq(data.items[1], "b");
    ck_assert_uint_eq(common.rest.count, 1);
    ck_assert_str_eq(common.rest.items[0], "in.txt");
}
END_TEST

START_TEST(dashes)
{
    ck_assert_int_eq(parse(&PROGRAM, "-- --steps"), ARGS_GO);
    ck_assert_str_eq(common.rest.items[0], "--steps");
    ck_assert_int_eq(parse(&PROGRAM, "-"), ARGS_GO);
    ck_assert_str_eq(common.rest.items[0], "-");
    ck_assert_int_eq(parse(&PROGRAM, "--out --verbose"), ARGS_GO); /* a value is whatever follows */
    ck_assert_str_eq(out_folder, "--verbose");
}
END_TEST

START_TEST(usage_errors)
{
    static const char *const WRONG[][2] = {
        {"--stps 3", "--stps"},
        {"--steps", "--steps needs a value"},
        {"--steps 3x", "expected an integer"},
        {"--steps 0", "from 1 to 1000"},
        {"--steps 1001", "1001"},
        {"--steps 99999999999999999999", "expected an integer"},
        {"--rate nan", "expected a number"},
        {"--rate 1e999", "expected a number"},
        {"--verbose=1", "takes no value"},
        {"-v", "two dashes"},
        {"a b", "unexpected argument 'b'"},
        {"--seed -1", "--seed -1"},
        {"--seed x", "2^64"},
        {"--threads -1", "--threads"},
        {"--step 3", "--step"},
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        ck_assert_msg(parse(&PROGRAM, WRONG[i][0]) == ARGS_USAGE, "%s was accepted", WRONG[i][0]);
        ck_assert_msg(strstr(err_text, WRONG[i][1]) && strstr(err_text, "llama2-try: ") == err_text, "%s: %s",
                      WRONG[i][0], err_text);
        ck_assert_msg(out_text[0] == 0, "%s printed on standard output", WRONG[i][0]);
    }
    args_program strict = PROGRAM;
    strict.minimum_rest = 1;
    ck_assert_int_eq(parse(&strict, ""), ARGS_USAGE);
    ck_assert(strstr(err_text, "expected 1 argument, found 0"));
}
END_TEST

START_TEST(help_and_version)
{
    static const char *const SHOWN[] = {"Usage: llama2-try [FILE]",
                                        "--steps N",
                                        "--verbose",
                                        "--model PATH",
                                        "--threads N",
                                        "--seed N",
                                        "--quiet",
                                        "--help",
                                        "--version",
                                        "A note."};
    ck_assert_int_eq(parse(&PROGRAM, "--help"), ARGS_OK);
    for (size_t i = 0; i < sizeof SHOWN / sizeof *SHOWN; i++)
        ck_assert_msg(strstr(out_text, SHOWN[i]) != NULL, "no %s", SHOWN[i]);
    ck_assert_int_eq(parse(&PROGRAM, "--version"), ARGS_OK);
    ck_assert_str_eq(out_text, "llama2-try 0.1.0\n");
    ck_assert_str_eq(err_text, "");
}
END_TEST

START_TEST(progress_texts)
{
    static const struct {
        double value;
        const char *text;
    } DURATIONS[] = {{0, "0.0s"}, {59.94, "59.9s"}, {59.96, "1m 00s"}, {3599.9, "1h 00m"}, {-1, "?"}, {7260, "2h 01m"}},
      COUNTS[] = {{0, "0"},          {999, "999"},  {1000, "1.00k"}, {12345, "12.3k"},
                  {999600, "1.00M"}, {0.5, "0.50"}, {3.2e9, "3.20G"}};
    char text[256];
    for (size_t i = 0; i < sizeof DURATIONS / sizeof *DURATIONS; i++) {
        progress_duration(DURATIONS[i].value, text, sizeof text);
        ck_assert_str_eq(text, DURATIONS[i].text);
    }
    for (size_t i = 0; i < sizeof COUNTS / sizeof *COUNTS; i++) {
        progress_count(COUNTS[i].value, text, sizeof text);
        ck_assert_str_eq(text, COUNTS[i].text);
    }
    progress p;
    progress_start(&p, "train", "tokens", 1000, 200, true);
    p.done = 600;
    progress_line(&p, p.started + 4, "loss 2.00", text, sizeof text);
    ck_assert_str_eq(text, "train [##############----------]  60%  600/1.00k tokens  100/s  4.0s left  loss 2.00");
    p.total = 0;
    progress_line(&p, p.started + 4, NULL, text, sizeof text);
    ck_assert_str_eq(text, "train  600 tokens  100/s");
}
END_TEST

START_TEST(progress_rates)
{
    char text[4096] = {0};
    progress p;
    progress_start(&p, "loop", "steps", 100000, 0, false);
    p.stream = fmemopen(text, sizeof text - 1, "w");
    p.terminal = true;
    p.last_drawn = p.started - 1;
    for (uint64_t i = 0; i < 100000; i++) progress_update(&p, i + 1, NULL);
    progress_finish(&p, "done");
    fclose(p.stream);
    size_t drawn = 0;
    for (const char *at = text; *at; at++) drawn += *at == '\r';
    ck_assert_uint_ge(drawn, 1);
    ck_assert_msg((double)drawn <= 3 + 10 * (progress_now() - p.started), "%zu redraws", drawn);
    ck_assert(strstr(text, "loop: 100k steps in ") != NULL);
    memset(text, 0, sizeof text);
    progress_start(&p, "loop", "steps", 10, 0, true);
    p.stream = fmemopen(text, sizeof text - 1, "w");
    progress_update(&p, 10, NULL);
    progress_say(&p, "hello");
    progress_finish(&p, NULL);
    fclose(p.stream);
    ck_assert_str_eq(text, "");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("args");
    ADD_CASE(suite, "args", values_and_defaults, dashes, usage_errors, help_and_version);
    ADD_CASE(suite, "progress", progress_texts, progress_rates);
    return suite;
}
