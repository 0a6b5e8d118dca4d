#include "check_main.h"

#include "base/checksum.h"

#include <stdlib.h>
#include <string.h>

/* The definition, a bit at a time. */
static uint32_t by_bits(uint32_t polynomial, uint32_t crc, const unsigned char *p, size_t n)
{
    crc = ~crc;
    for (; n > 0; n--, p++) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
    }
    return ~crc;
}

/* RFC 3720, B.4, and the check value of the catalogue of CRCs. */
START_TEST(test_known_answers)
{
    unsigned char bytes[32];
    uint32_t (*const functions[])(uint32_t, const void *, size_t) = {l2_crc32c, l2_crc32c_portable};
    for (int f = 0; f < 2; f++) {
        ck_assert_uint_eq(functions[f](0, "123456789", 9), 0xE3069283);
        ck_assert_uint_eq(functions[f](0, NULL, 0), 0);
        memset(bytes, 0, 32);
        ck_assert_uint_eq(functions[f](0, bytes, 32), 0x8A9136AA);
        memset(bytes, 0xFF, 32);
        ck_assert_uint_eq(functions[f](0, bytes, 32), 0x62A8AB43);
        for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)i;
        ck_assert_uint_eq(functions[f](0, bytes, 32), 0x46DD794E);
        for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)(31 - i);
        ck_assert_uint_eq(functions[f](0, bytes, 32), 0x113FDB5C);
    }
    ck_assert_uint_eq(l2_crc32(0, "123456789", 9), 0xCBF43926);
}
END_TEST

static unsigned char *noise(size_t n)
{
    unsigned char *p = malloc(n);
    uint32_t x = 12345;
    for (size_t i = 0; i < n; i++) p[i] = (unsigned char)((x = x * 1664525u + 1013904223u) >> 24);
    return p;
}

START_TEST(test_every_length)
{
    unsigned char *p = noise(20000);
    for (size_t n = 0; n < 13000; n += n < 300 || (n > 3000 && n < 3200) || (n > 6100 && n < 6200) ? 1 : 97)
        for (size_t shift = 0; shift < 3; shift++) {
            uint32_t expected = by_bits(0x82F63B78u, 7, p + shift, n);
            ck_assert_uint_eq(l2_crc32c(7, p + shift, n), expected);
            ck_assert_uint_eq(l2_crc32c_portable(7, p + shift, n), expected);
            ck_assert_uint_eq(l2_crc32(7, p + shift, n), by_bits(0xEDB88320u, 7, p + shift, n));
        }
    free(p);
}
END_TEST

START_TEST(test_continued)
{
    unsigned char *p = noise(10000);
    uint32_t whole = l2_crc32c(0, p, 10000);
    for (size_t cut = 0; cut <= 10000; cut += 111) {
        ck_assert_uint_eq(l2_crc32c(l2_crc32c(0, p, cut), p + cut, 10000 - cut), whole);
        ck_assert_uint_eq(l2_crc32c_portable(l2_crc32c(0, p, cut), p + cut, 10000 - cut), whole);
    }
    free(p);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("base/checksum");
    ADD_CASE(s, "checksum", test_known_answers, test_every_length, test_continued);
    return s;
}
