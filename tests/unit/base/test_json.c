#include "fixture.h"

#include "base/alloc.h"
#include "base/json.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The whole text as one value, checked. */
static llama2_status check(const char *text, size_t length)
{
    l2_json j;
    l2_json_begin(&j, text, length);
    L2_TRY(l2_json_skip(&j));
    return l2_json_end(&j);
}

START_TEST(test_good)
{
    static const char *const good[] = {
        "0",           "-0",
        "1e5",         "-12.5E-3",
        "1E+2",        "\"\"",
        "\"a\"",       "true",
        "false",       "null",
        "[]",          "{}",
        " [ 1 , 2 ] ", "{\"a\":1,\"b\":[{}]}",
        "\t\n\r 1",    "\"\\u0000\\ud83d\\ude00\\\\\\\"\\/\\b\\f\\n\\r\\t\"",
        "\"\x7f\"",    "\"\xF0\x9F\x98\x80\"",
        "[[[[]]]]",    "{\"a\":{\"b\":{}},\"a\":1}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) ck_ok(check(good[i], strlen(good[i])));
}
END_TEST

START_TEST(test_bad)
{
    static const struct {
        const char *text;
        llama2_status code;
        const char *where; /* in the message */
    } bad[] = {
        {"", LLAMA2_E_TRUNCATED, "byte 0"},
        {" ", LLAMA2_E_TRUNCATED, "byte 1"},
        {"[", LLAMA2_E_TRUNCATED, "byte 1"},
        {"[1", LLAMA2_E_TRUNCATED, "byte 2"},
        {"[1,", LLAMA2_E_TRUNCATED, "byte 3"},
        {"{\"a\"", LLAMA2_E_TRUNCATED, "byte 4"},
        {"{\"a\":", LLAMA2_E_TRUNCATED, "byte 5"},
        {"\"abc", LLAMA2_E_TRUNCATED, "byte 4"},
        {"-", LLAMA2_E_TRUNCATED, "byte 1"},
        {"1.", LLAMA2_E_TRUNCATED, "byte 2"},
        {"1e", LLAMA2_E_TRUNCATED, "byte 2"},
        {"1e+", LLAMA2_E_TRUNCATED, "byte 3"},
        {"tru", LLAMA2_E_FORMAT, "byte 0"},
        {"trux", LLAMA2_E_FORMAT, "byte 0"},
        {"[1,]", LLAMA2_E_FORMAT, "byte 3"},
        {"[,1]", LLAMA2_E_FORMAT, "byte 1"},
        {"[1 2]", LLAMA2_E_FORMAT, "byte 3"},
        {"[1}", LLAMA2_E_FORMAT, "byte 2"},
        {"{1:2}", LLAMA2_E_FORMAT, "byte 1"},
        {"{\"a\":1,}", LLAMA2_E_FORMAT, "byte 7"},
        {"{\"a\" 1}", LLAMA2_E_FORMAT, "byte 5"},
        {"{\"a\":1]", LLAMA2_E_FORMAT, "byte 6"},
        {"{\"a\":}", LLAMA2_E_FORMAT, "byte 5"},
        {"]", LLAMA2_E_FORMAT, "byte 0"},
        {"[1]]", LLAMA2_E_FORMAT, "byte 3"},
        {"1 2", LLAMA2_E_FORMAT, "byte 2"},
        {"01", LLAMA2_E_FORMAT, "byte 1"},
        {"-01", LLAMA2_E_FORMAT, "byte 2"},
        {"+1", LLAMA2_E_FORMAT, "byte 0"},
        {".5", LLAMA2_E_FORMAT, "byte 0"},
        {"1.e1", LLAMA2_E_FORMAT, "byte 2"},
        {"- 1", LLAMA2_E_FORMAT, "byte 1"},
        {"0x10", LLAMA2_E_FORMAT, "byte 1"},
        {"NaN", LLAMA2_E_FORMAT, "byte 0"},
        {"Infinity", LLAMA2_E_FORMAT, "byte 0"},
        {"'a'", LLAMA2_E_FORMAT, "byte 0"},
        {"\xEF\xBB\xBF"
         "1",
         LLAMA2_E_FORMAT, "byte 0"},
        {"\"\n\"", LLAMA2_E_FORMAT, "byte 1"},
        {"\"a\x1f\"", LLAMA2_E_FORMAT, "byte 2"},
        {"\"\\x\"", LLAMA2_E_FORMAT, "byte 1"},
        {"\"\\u12g4\"", LLAMA2_E_FORMAT, "byte 1"},
        {"\"\\ud800\"", LLAMA2_E_FORMAT, "byte 1"},
        {"\"\\udc00\"", LLAMA2_E_FORMAT, "byte 1"},
        {"\"\\ud800\\u0041\"", LLAMA2_E_FORMAT, "byte 1"},
        {"\"\\ud800\\ud800\"", LLAMA2_E_FORMAT, "byte 1"},
        {"\"a\xFF\"", LLAMA2_E_FORMAT, "byte 2"},
        {"\"\xC0\x80\"", LLAMA2_E_FORMAT, "byte 1"},
        {"\"\xED\xA0\x80\"", LLAMA2_E_FORMAT, "byte 1"},
        {"\"\xF4\x90\x80\x80\"", LLAMA2_E_FORMAT, "byte 1"},
        {"/* */1", LLAMA2_E_FORMAT, "byte 0"},
        {"1\v", LLAMA2_E_FORMAT, "byte 1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        /* In memory of its own size, so that AddressSanitizer sees a read past the end. */
        size_t n = strlen(bad[i].text);
        char *text = malloc(n ? n : 1);
        memcpy(text, bad[i].text, n);
        llama2_status status = check(text, n);
        ck_assert_msg(status == bad[i].code, "%s: %s, expected %s", bad[i].text, llama2_status_name(status),
                      llama2_status_name(bad[i].code));
        ck_assert_msg(strstr(llama2_last_error(), bad[i].where) != NULL, "%s: \"%s\" does not say %s", bad[i].text,
                      llama2_last_error(), bad[i].where);
        free(text);
    }
    ck_fails(check("1\0", 2), LLAMA2_E_FORMAT);
    ck_fails(check("\"\0\"", 3), LLAMA2_E_FORMAT);
}
END_TEST

/* Every prefix of a valid text that ends in a bracket is refused, none is read past its end. */
START_TEST(test_prefixes)
{
    static const char text[] =
        "{\"a\\u00e4\\ud83d\\ude00\":[1,-2.5e-3,\"x\xC3\xA4\xF0\x9F\x98\x80\",true,false,null,{}],\"b\":{\"c\":[]}}";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        llama2_status status = check(copy, n);
        ck_assert_msg(status == LLAMA2_E_TRUNCATED || status == LLAMA2_E_FORMAT, "%zu bytes: %s", n,
                      llama2_status_name(status));
        free(copy);
    }
    ck_ok(check(text, sizeof text - 1));
}
END_TEST

START_TEST(test_depth)
{
    enum { DEEP = 1000000 };
    char *text = malloc(2 * DEEP);
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    ck_ok(check(text, 128));
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    ck_fails(check(text, 2 * DEEP), LLAMA2_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "byte 64"));
    for (size_t i = 0; i < 2 * DEEP; i++) text[i] = "{\"\":"[i % 4];
    ck_fails(check(text, 2 * DEEP), LLAMA2_E_LIMIT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "byte 256"));
    free(text);
}
END_TEST

START_TEST(test_walk)
{
    static const char text[] = " {\"n\":[1,2,3], \"s\":\"a\\u0062\", \"skip\":{\"x\":[1,{\"y\":\"]\"}]}, \"d\":-2.5, "
                               "\"t\":true,\"f\":false,\"e\":[]} ";
    l2_json j;
    l2_json_string key, s = {0};
    int more, type, seen = 0, flag = 9;
    int64_t n, sum = 0;
    double d = 0;
    l2_json_begin(&j, text, sizeof text - 1);
    ck_ok(l2_json_peek(&j, &type));
    ck_assert_int_eq(type, L2_JSON_OBJECT);
    ck_ok(l2_json_enter(&j, L2_JSON_OBJECT));
    for (;;) {
        ck_ok(l2_json_next_member(&j, &key, &more));
        if (!more) break;
        seen++;
        ck_ok(l2_json_peek(&j, &type));
        if (l2_json_equal(&key, "n") || l2_json_equal(&key, "e")) {
            ck_assert_int_eq(type, L2_JSON_ARRAY);
            ck_ok(l2_json_enter(&j, L2_JSON_ARRAY));
            for (;;) {
                ck_ok(l2_json_next_element(&j, &more));
                if (!more) break;
                ck_ok(l2_json_read_int(&j, &n));
                sum = sum * 10 + n;
            }
        } else if (l2_json_equal(&key, "s")) {
            ck_ok(l2_json_read_string(&j, &s));
        } else if (l2_json_equal(&key, "d")) {
            ck_assert_int_eq(type, L2_JSON_NUMBER);
            ck_ok(l2_json_read_double(&j, &d));
        } else if (l2_json_equal(&key, "t") || l2_json_equal(&key, "f")) {
            ck_ok(l2_json_read_bool(&j, &flag));
            ck_assert_int_eq(flag, type == L2_JSON_TRUE);
        } else {
            ck_ok(l2_json_skip(&j));
        }
    }
    ck_ok(l2_json_end(&j));
    ck_assert_int_eq(seen, 7);
    ck_assert_int_eq(sum, 123);
    ck_assert(d == -2.5);
    ck_assert(s.escaped && l2_json_equal(&s, "ab") && !l2_json_equal(&s, "abc") && !l2_json_equal(&s, "a") &&
              !l2_json_equal(&s, "ac"));
}
END_TEST

START_TEST(test_wrong_type)
{
    l2_json j;
    int64_t n = 5;
    double d = 5;
    int b;
    l2_json_string s;
    l2_json_begin(&j, "\"x\"", 3);
    ck_fails(l2_json_read_int(&j, &n), LLAMA2_E_FORMAT);
    l2_json_begin(&j, "\"x\"", 3);
    ck_fails(l2_json_read_double(&j, &d), LLAMA2_E_FORMAT);
    l2_json_begin(&j, "\"x\"", 3);
    ck_fails(l2_json_read_bool(&j, &b), LLAMA2_E_FORMAT);
    l2_json_begin(&j, "1", 1);
    ck_fails(l2_json_read_string(&j, &s), LLAMA2_E_FORMAT);
    l2_json_begin(&j, "{}", 2);
    ck_fails(l2_json_enter(&j, L2_JSON_ARRAY), LLAMA2_E_FORMAT);
    ck_assert_int_eq(n, 5);
    ck_assert(d == 5);
}
END_TEST

static llama2_status read_int(const char *text, int64_t *n)
{
    l2_json j;
    l2_json_begin(&j, text, strlen(text));
    return l2_json_read_int(&j, n);
}

static llama2_status read_double(const char *text, double *d)
{
    l2_json j;
    l2_json_begin(&j, text, strlen(text));
    return l2_json_read_double(&j, d);
}

START_TEST(test_integers)
{
    int64_t n;
    ck_ok(read_int("9223372036854775807", &n));
    ck_assert(n == INT64_MAX);
    ck_ok(read_int("-9223372036854775808", &n));
    ck_assert(n == INT64_MIN);
    ck_ok(read_int("-0", &n));
    ck_assert(n == 0);
    ck_fails(read_int("9223372036854775808", &n), LLAMA2_E_LIMIT);
    ck_fails(read_int("-9223372036854775809", &n), LLAMA2_E_LIMIT);
    ck_fails(read_int("100000000000000000000000000000000", &n), LLAMA2_E_LIMIT);
    ck_fails(read_int("1.0", &n), LLAMA2_E_FORMAT);
    ck_fails(read_int("1e3", &n), LLAMA2_E_FORMAT);
}
END_TEST

START_TEST(test_doubles)
{
    double d;
    ck_ok(read_double("0.1", &d));
    ck_assert(d == 0.1);
    ck_ok(read_double("-1e-5", &d));
    ck_assert(d == -1e-5);
    ck_ok(read_double("1.7976931348623157e308", &d));
    ck_assert(d == DBL_MAX);
    ck_ok(read_double("1e-400", &d));
    ck_assert(d == 0);
    ck_fails(read_double("1e309", &d), LLAMA2_E_LIMIT);
    char text[5000];
    memset(text, '1', sizeof text);
    text[sizeof text - 1] = 0;
    ck_fails(read_double(text, &d), LLAMA2_E_LIMIT);
}
END_TEST

START_TEST(test_unescape)
{
    static const char text[] = "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\u20AC\\ud83d\\ude00\\u0000z\"";
    static const char expected[] = "\"\\/\b\f\n\r\t\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\0z";
    l2_json j;
    l2_json_string s;
    char out[64];
    size_t length = 0;
    l2_json_begin(&j, text, sizeof text - 1);
    ck_ok(l2_json_read_string(&j, &s));
    ck_ok(l2_json_unescape(&s, out, sizeof out, &length));
    ck_assert_uint_eq(length, sizeof expected - 1);
    ck_assert_mem_eq(out, expected, length);
    for (size_t capacity = 0; capacity < length; capacity++) {
        size_t needed = 0;
        memset(out, 0x55, sizeof out);
        ck_fails(l2_json_unescape(&s, out, capacity, &needed), LLAMA2_E_BUFFER);
        ck_assert_uint_eq(needed, length);
        for (size_t i = capacity; i < sizeof out; i++) ck_assert_int_eq(out[i], 0x55);
    }
}
END_TEST

/* --- writing --------------------------------------------------------------------------------- */

START_TEST(test_text)
{
    fault_allocator a = {0};
    llama2_context *ctx = make_context(&a, 1);
    l2_text t;
    l2_text_begin(&t, ctx);
    l2_text_format(&t, "{\"%s\":%d,", "a", 5);
    l2_text_json_string(&t, "\"\\\b\f\n\r\t\x01\x1f\0/\xC3\xA4\x7f", 14);
    l2_text_add(&t, "}", 1);
    ck_ok(t.status);
    ck_assert_str_eq(t.data, "{\"a\":5,\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\\u0000/\xC3\xA4\x7f\"}");
    ck_assert_uint_eq(t.length, strlen(t.data));
    l2_text_free(&t);
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&a.live), 0);
}
END_TEST

START_TEST(test_every_byte_round_trips)
{
    llama2_context *ctx = make_context(NULL, 1);
    char bytes[128], out[128];
    for (int i = 0; i < 128; i++) bytes[i] = (char)i;
    l2_text t;
    l2_json j;
    l2_json_string s;
    size_t length;
    l2_text_begin(&t, ctx);
    l2_text_json_string(&t, bytes, 128);
    ck_ok(t.status);
    l2_json_begin(&j, t.data, t.length);
    ck_ok(l2_json_read_string(&j, &s));
    ck_ok(l2_json_end(&j));
    ck_ok(l2_json_unescape(&s, out, sizeof out, &length));
    ck_assert_uint_eq(length, 128);
    ck_assert_mem_eq(out, bytes, 128);
    l2_text_free(&t);
    llama2_context_free(ctx);
}
END_TEST

static void check_double(llama2_context *ctx, double value, const char *expected)
{
    l2_text t;
    double back = -1;
    l2_text_begin(&t, ctx);
    l2_text_double(&t, value);
    ck_ok(t.status);
    if (expected) ck_assert_str_eq(t.data, expected);
    ck_ok(read_double(t.data, &back));
    ck_assert_msg(memcmp(&back, &value, sizeof value) == 0, "%s is not %a", t.data, value);
    l2_text_free(&t);
}

static void check_doubles(llama2_context *ctx)
{
    check_double(ctx, 0, "0");
    check_double(ctx, -0.0, "-0");
    check_double(ctx, 1, "1");
    check_double(ctx, 0.1, "0.1");
    check_double(ctx, -2.5, "-2.5");
    check_double(ctx, 1.0 / 3, "0.3333333333333333");
    check_double(ctx, 0.1 + 0.2, "0.30000000000000004");
    check_double(ctx, 1e-5, "1e-05");
    check_double(ctx, 123456.789, "123456.789");
    check_double(ctx, 5e-324, "5e-324");
    check_double(ctx, DBL_MIN, NULL);
    check_double(ctx, DBL_MAX, "1.7976931348623157e+308");
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        double value;
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(&value, &x, sizeof value);
        if (isfinite(value)) check_double(ctx, value, NULL);
    }
}

START_TEST(test_write_doubles)
{
    llama2_context *ctx = make_context(NULL, 1);
    l2_text t;
    check_doubles(ctx);
    l2_text_begin(&t, ctx);
    l2_text_double(&t, NAN);
    l2_text_add(&t, " ", 1);
    l2_text_double(&t, -INFINITY);
    ck_assert_str_eq(t.data, "null null");
    l2_text_free(&t);
    llama2_context_free(ctx);
}
END_TEST

/* Only where the machine has a locale with another decimal point; the committed suite makes none. */
START_TEST(test_other_locales)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ps_AF.UTF-8", "ps_AF"};
    llama2_context *ctx = make_context(NULL, 1);
    int found = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!setlocale(LC_ALL, names[i])) continue;
        found++;
        char before[16], after[16];
        snprintf(before, sizeof before, "%.1f", 0.5);
        check_doubles(ctx);
        l2_text t;
        l2_text_begin(&t, ctx);
        l2_text_format(&t, "%.2f", 0.25);
        ck_assert_str_eq(t.data, "0.25");
        l2_text_free(&t);
        snprintf(after, sizeof after, "%.1f", 0.5);
        ck_assert_str_eq(before, after); /* the host's locale is back */
    }
    setlocale(LC_ALL, "C");
    if (!found) puts("skipped: no locale with another decimal point");
    llama2_context_free(ctx);
}
END_TEST

START_TEST(test_text_without_memory)
{
    fault_allocator a = {0};
    llama2_context *ctx = make_context(&a, 1);
    for (long n = 1;; n++) {
        l2_text t;
        a.fail_at = atomic_load(&a.calls) + n;
        l2_text_begin(&t, ctx);
        for (int i = 0; i < 200; i++) {
            l2_text_format(&t, "%d,", i);
            l2_text_double(&t, i / 7.0);
            l2_text_json_string(&t, "text", 4);
        }
        llama2_status status = t.status;
        l2_text_free(&t);
        if (status == LLAMA2_OK) {
            ck_assert_int_gt(n, 2);
            break;
        }
        ck_assert_int_eq(status, LLAMA2_E_NOMEM);
    }
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&a.live), 0);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("base/json");
    ADD_CASE(s, "check", test_good, test_bad, test_prefixes, test_depth);
    ADD_CASE(s, "read", test_walk, test_wrong_type, test_integers, test_doubles, test_unescape);
    ADD_CASE(s, "write", test_text, test_every_byte_round_trips, test_write_doubles, test_other_locales,
             test_text_without_memory);
    return s;
}
