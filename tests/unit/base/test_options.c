#include "check_main.h"

#include "base/options.h"

#include <string.h>

typedef struct options {
    uint32_t struct_size;
    int32_t a;
    uint64_t b;
    double c;
} options;

static const options defaults = {sizeof defaults, 1, 2, 3};

START_TEST(test_init)
{
    unsigned char bytes[64];
    for (size_t size = 0; size <= sizeof bytes; size++) {
        memset(bytes, 0xAA, sizeof bytes);
        l2_options_init(bytes, size, &defaults, sizeof defaults);
        for (size_t i = size < 4 ? 0 : size; i < sizeof bytes; i++) ck_assert_uint_eq(bytes[i], 0xAA);
        if (size < 4) continue;
        uint32_t stored;
        memcpy(&stored, bytes, 4);
        ck_assert_uint_eq(stored, size);
        for (size_t i = 4; i < size; i++)
            ck_assert_uint_eq(bytes[i], i < sizeof defaults ? ((const unsigned char *)&defaults)[i] : 0);
    }
    l2_options_init(NULL, sizeof defaults, &defaults, sizeof defaults);
}
END_TEST

START_TEST(test_read)
{
    options o = defaults, given = {sizeof given, 10, 20, 30};
    ck_ok(l2_options_read(NULL, &o, sizeof o, "options"));
    ck_assert_mem_eq(&o, &defaults, sizeof o);
    ck_ok(l2_options_read(&given, &o, sizeof o, "options"));
    ck_assert_mem_eq(&o, &given, sizeof o);
    /* An older caller's: the rest keeps its defaults. */
    o = defaults;
    given.struct_size = 16;
    ck_ok(l2_options_read(&given, &o, sizeof o, "options"));
    ck_assert_uint_eq(o.struct_size, sizeof o);
    ck_assert_int_eq(o.a, 10);
    ck_assert_uint_eq(o.b, 20);
    ck_assert(o.c == 3);
}
END_TEST

START_TEST(test_bad_sizes)
{
    static const uint32_t bad[] = {0, 4, 7, 12, 20, 23, 25, 65537, 65544, 0xAAAAAAA8, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options o = defaults, given = {bad[i], 10, 20, 30};
        ck_fails(l2_options_read(&given, &o, sizeof o, "llama2_some_options"), LLAMA2_E_ABI);
        ck_assert_ptr_nonnull(strstr(llama2_last_error(), "llama2_some_options"));
        ck_assert_mem_eq(&o, &defaults, sizeof o);
        ck_fails(l2_struct_write(&given, &defaults, sizeof defaults, "llama2_some_options"), LLAMA2_E_ABI);
        ck_assert_int_eq(given.a, 10);
    }
}
END_TEST

START_TEST(test_unknown_tail)
{
    struct {
        options known;
        unsigned char tail[16];
    } given = {{40, 10, 20, 30}, {0}};
    options o = defaults;
    ck_ok(l2_options_read(&given, &o, sizeof o, "options"));
    ck_assert_int_eq(o.a, 10);
    for (size_t i = 0; i < 16; i++) {
        memset(given.tail, 0, 16);
        given.tail[i] = 1;
        o = defaults;
        ck_fails(l2_options_read(&given, &o, sizeof o, "options"), LLAMA2_E_ABI);
        ck_assert_mem_eq(&o, &defaults, sizeof o);
    }
}
END_TEST

START_TEST(test_write)
{
    for (uint32_t size = 8; size <= 48; size += 8) {
        unsigned char bytes[56];
        memset(bytes, 0xAA, sizeof bytes);
        memcpy(bytes, &size, 4);
        ck_ok(l2_struct_write(bytes, &defaults, sizeof defaults, "metrics"));
        ck_assert_mem_eq(bytes, &size, 4);
        for (size_t i = 4; i < sizeof bytes; i++)
            ck_assert_uint_eq(bytes[i], i >= size             ? 0xAA
                                        : i < sizeof defaults ? ((const unsigned char *)&defaults)[i]
                                                              : 0);
    }
    ck_fails(l2_struct_write(NULL, &defaults, sizeof defaults, "metrics"), LLAMA2_E_INVALID);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("base/options");
    ADD_CASE(s, "options", test_init, test_read, test_bad_sizes, test_unknown_tail, test_write);
    return s;
}
