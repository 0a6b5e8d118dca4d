#include "check_main.h"
#include "common/jsonl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static char folder[64], path[128], error[512];

static void in_folder(const char *name)
{
    if (!folder[0]) {
        strcpy(folder, "/tmp/llama2-jsonl-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(folder));
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
}

static void clear(void)
{
    unlink(path);
    rmdir(folder);
    folder[0] = 0;
}

static void write_file(const char *name, const char *bytes, size_t length)
{
    in_folder(name);
    FILE *file = fopen(path, "w");
    ck_assert_uint_eq(fwrite(bytes, 1, length, file), length);
    fclose(file);
}
#define WRITE(name, text) write_file(name, text, sizeof(text) - 1)

static void expect_error(const char *message)
{
    json_t *line = NULL;
    int status;
    jsonl_reader *r = jsonl_open(path, error, sizeof error);
    ck_assert_ptr_nonnull(r);
    while ((status = jsonl_next(r, &line)) == JSONL_LINE) json_decref(line);
    ck_assert_int_eq(status, JSONL_ERROR);
    ck_assert_msg(strstr(jsonl_error(r), message) != NULL, "'%s' lacks '%s'", jsonl_error(r), message);
    ck_assert_msg(strstr(jsonl_error(r), path) == jsonl_error(r), "%s", jsonl_error(r));
    ck_assert_int_eq(jsonl_next(r, &line), JSONL_ERROR);
    jsonl_close(r);
    clear();
}

static void expect_three(void)
{
    json_t *line = NULL;
    jsonl_reader *r = jsonl_open(path, error, sizeof error);
    ck_assert_msg(r != NULL, "%s", error);
    for (int pass = 0; pass < 2; pass++) {
        static const uint64_t NUMBERS[] = {1, 3, 4};
        for (json_int_t i = 0; i < 3; i++) {
            ck_assert_msg(jsonl_next(r, &line) == JSONL_LINE, "%s", jsonl_error(r));
            ck_assert_int_eq(json_integer_value(json_object_get(line, "a")), i);
            ck_assert_uint_eq(jsonl_line_number(r), NUMBERS[i]);
            json_decref(line);
        }
        ck_assert_int_eq(jsonl_next(r, &line), JSONL_END);
        ck_assert_ptr_null(line);
        ck_assert_int_eq(jsonl_rewind(r), JSONL_END);
    }
    jsonl_close(r);
    clear();
}

static const char THREE[] =
    "{\"a\":0}\r\n \t\n{\"a\": 1, \"t\": \"\xC3\xA9\"}\n{\"a\":2}"; /* no end of line at the end */

START_TEST(plain_lines)
{
    WRITE("three.jsonl", THREE);
    expect_three();
}
END_TEST

START_TEST(compressed_lines)
{
    in_folder("three.jsonl.gz");
    gzFile file = gzopen(path, "wb");
    ck_assert_int_eq(gzwrite(file, THREE, sizeof THREE - 1), (int)sizeof THREE - 1);
    gzclose(file);
    expect_three();
}
END_TEST

START_TEST(bad_lines)
{
    WRITE("bom.jsonl", "\xEF\xBB\xBF{}\n");
    expect_error(":1: the file begins with a byte order mark");
    WRITE("utf8.jsonl", "{}\n{\"a\":\"\xC3(\"}\n");
    expect_error(":2: ");
    WRITE("surrogate.jsonl", "{\"a\":\"\xED\xA0\x80\"}\n");
    expect_error(":1: ");
    WRITE("cut.jsonl", "{}\n\n{\"a\":\n");
    expect_error(":3: ");
    WRITE("two.jsonl", "{} {}\n");
    expect_error(":1: ");
    WRITE("twice.jsonl", "{\"a\":1,\"a\":2}\n");
    expect_error("duplicate");
    WRITE("zero.jsonl", "{\"a\0b\":1}\n");
    expect_error(":1: ");
    WRITE("plain.jsonl.gz", "{}\n");
    expect_error("not compressed");
}
END_TEST

START_TEST(cut_gzip)
{
    char bytes[4096];
    in_folder("cut.jsonl.gz");
    gzFile file = gzopen(path, "wb");
    for (int i = 0; i < 1000; i++) gzprintf(file, "{\"a\":%d}\n", i * 7919);
    gzclose(file);
    FILE *in = fopen(path, "r");
    size_t length = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    ck_assert_int_eq(truncate(path, (off_t)length / 2), 0);
    expect_error("");
}
END_TEST

START_TEST(long_line)
{
    in_folder("long.jsonl.gz"); /* 65 MiB of blanks are small when compressed */
    static char blanks[1 << 20];
    memset(blanks, ' ', sizeof blanks);
    gzFile file = gzopen(path, "wb1");
    for (int i = 0; i < 65; i++) gzwrite(file, blanks, sizeof blanks);
    gzclose(file);
    expect_error("longer than 64 MiB");
}
END_TEST

START_TEST(missing_file)
{
    ck_assert_ptr_null(jsonl_open("/nonexistent/x.jsonl", error, sizeof error));
    ck_assert_str_eq(error, "/nonexistent/x.jsonl: No such file or directory");
    ck_assert_ptr_null(jsonl_create("/nonexistent/x.jsonl", false, error, sizeof error));
    ck_assert_str_eq(error, "/nonexistent/x.jsonl: No such file or directory");
    jsonl_close(NULL);
}
END_TEST

START_TEST(callers_error)
{
    json_t *line;
    WRITE("own.jsonl", "{}\n{}\n");
    jsonl_reader *r = jsonl_open(path, error, sizeof error);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(jsonl_next(r, &line), JSONL_LINE);
        json_decref(line);
    }
    ck_assert_int_eq(jsonl_fail(r, "no \"%s\"", "prompt"), JSONL_ERROR);
    ck_assert(strstr(jsonl_error(r), "own.jsonl:2: no \"prompt\"") != NULL);
    jsonl_close(r);
    clear();
}
END_TEST

START_TEST(append)
{
    char text[256] = {0};
    in_folder("metrics.jsonl");
    jsonl_writer *w = jsonl_create(path, false, error, sizeof error);
    ck_assert_ptr_nonnull(w);
    ck_assert(jsonl_append(w, json_pack("{s:i,s:f}", "step", 1, "loss", 0.1)));
    FILE *in = fopen(path, "r"); /* flushed: others see it at once */
    ck_assert_ptr_nonnull(fgets(text, sizeof text, in));
    fclose(in);
    ck_assert_str_eq(text, "{\"step\":1,\"loss\":0.1}\n");
    ck_assert(jsonl_finish(w));
    w = jsonl_create(path, true, error, sizeof error);
    ck_assert(jsonl_append(w, json_pack("{s:i}", "step", 2)));
    ck_assert(!jsonl_append(w, NULL)); /* a line that could not be built is not lost silently */
    ck_assert(!jsonl_finish(w));
    in = fopen(path, "r");
    size_t length = fread(text, 1, sizeof text - 1, in);
    fclose(in);
    text[length] = 0;
    ck_assert_str_eq(text, "{\"step\":1,\"loss\":0.1}\n{\"step\":2}\n");
    clear();
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("jsonl");
    ADD_CASE(suite, "read", plain_lines, compressed_lines, bad_lines, cut_gzip, long_line, missing_file, callers_error);
    ADD_CASE(suite, "write", append);
    return suite;
}
