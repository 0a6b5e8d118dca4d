#include "check_main.h"

#include "base/utf8.h"

#include <string.h>

START_TEST(test_every_code_point)
{
    for (uint32_t c = 0; c <= 0x110010; c++) {
        char bytes[5] = "\x7f\x7f\x7f\x7f";
        uint32_t back = 0;
        int n = l2_utf8_encode(c, bytes);
        int expected = c < 0x80                                      ? 1
                       : c < 0x800                                   ? 2
                       : (c >= 0xD800 && c < 0xE000) || c > 0x10FFFF ? 0
                       : c < 0x10000                                 ? 3
                                                                     : 4;
        /* One check a code point: a passed one has its cost, too. */
        int right = n == expected;
        if (n > 0)
            right = right && l2_utf8_decode(bytes, (size_t)n, &back) == n && back == c &&
                    l2_utf8_decode(bytes, 4, NULL) == n && l2_utf8_decode(bytes, (size_t)n - 1, NULL) == 0;
        if (!right) ck_abort_msg("U+%04X: %d bytes, expected %d; read back as U+%04X", c, n, expected, back);
    }
}
END_TEST

/* Well-formed sequences of table 3-7 of the Unicode standard, by all first two bytes. */
START_TEST(test_first_two_bytes)
{
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            unsigned char bytes[4] = {(unsigned char)a, (unsigned char)b, 0x80, 0xBF};
            int second = b >= 0x80 && b <= 0xBF;
            int expected = a < 0x80                                       ? 1
                           : a >= 0xC2 && a <= 0xDF && second             ? 2
                           : a == 0xE0 && b >= 0xA0 && b <= 0xBF          ? 3
                           : a == 0xED && b >= 0x80 && b <= 0x9F          ? 3
                           : a > 0xE0 && a <= 0xEF && a != 0xED && second ? 3
                           : a == 0xF0 && b >= 0x90 && b <= 0xBF          ? 4
                           : a >= 0xF1 && a <= 0xF3 && second             ? 4
                           : a == 0xF4 && b >= 0x80 && b <= 0x8F          ? 4
                                                                          : 0;
            ck_assert_int_eq(l2_utf8_decode((const char *)bytes, 4, NULL), expected);
        }
}
END_TEST

START_TEST(test_later_bytes)
{
    static const char *const bad[] = {"\xE2\x82\x28",     "\xE2\x28\xAC", "\xF0\x9F\x98\x28",
                                      "\xF0\x9F\x28\x80", "\xE2\x82\xC0", "\xF0\x9F\x98\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(l2_utf8_decode(bad[i], strlen(bad[i]), NULL), 0);
    ck_assert_int_eq(l2_utf8_decode("", 0, NULL), 0);
}
END_TEST

START_TEST(test_valid_prefix)
{
    static const char text[] = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z";
    static const size_t whole[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    for (size_t n = 0; n < sizeof text; n++) ck_assert_uint_eq(l2_utf8_valid_prefix(text, n), whole[n]);
    ck_assert_uint_eq(l2_utf8_valid_prefix("ab\xFFz", 4), 2);
    ck_assert_uint_eq(l2_utf8_valid_prefix("a\0b", 3), 3);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("base/utf8");
    ADD_CASE(s, "utf8", test_every_code_point, test_first_two_bytes, test_later_bytes, test_valid_prefix);
    return s;
}
