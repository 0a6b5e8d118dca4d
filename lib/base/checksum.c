#include "base/checksum.h"

#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

/*
 * Eight bytes at a time. table[k][b] is what byte b does to the CRC when k more bytes follow it. A CRC is linear: a row
 * follows from its eight powers of two, which ROW spreads over all sums.
 */
#define SUM0(v, a)                   (v), (v) ^ (a)
#define SUM1(v, a, b)                SUM0(v, a), SUM0((v) ^ (b), a)
#define SUM2(v, a, b, c)             SUM1(v, a, b), SUM1((v) ^ (c), a, b)
#define SUM3(v, a, b, c, d)          SUM2(v, a, b, c), SUM2((v) ^ (d), a, b, c)
#define SUM4(v, a, b, c, d, e)       SUM3(v, a, b, c, d), SUM3((v) ^ (e), a, b, c, d)
#define SUM5(v, a, b, c, d, e, f)    SUM4(v, a, b, c, d, e), SUM4((v) ^ (f), a, b, c, d, e)
#define SUM6(v, a, b, c, d, e, f, g) SUM5(v, a, b, c, d, e, f), SUM5((v) ^ (g), a, b, c, d, e, f)
#define ROW(a, b, c, d, e, f, g, h)                                                                                    \
    {                                                                                                                  \
        SUM6(0u, a, b, c, d, e, f, g), SUM6(h, a, b, c, d, e, f, g)                                                    \
    }

/* clang-format off */
static const uint32_t castagnoli[8][256] = {
    ROW(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
    ROW(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
    ROW(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
    ROW(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
    ROW(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
    ROW(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
    ROW(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
    ROW(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};
static const uint32_t ieee[8][256] = {
    ROW(0x77073096, 0xee0e612c, 0x076dc419, 0x0edb8832, 0x1db71064, 0x3b6e20c8, 0x76dc4190, 0xedb88320),
    ROW(0x191b3141, 0x32366282, 0x646cc504, 0xc8d98a08, 0x4ac21251, 0x958424a2, 0xf0794f05, 0x3b83984b),
    ROW(0x01c26a37, 0x0384d46e, 0x0709a8dc, 0x0e1351b8, 0x1c26a370, 0x384d46e0, 0x709a8dc0, 0xe1351b80),
    ROW(0xb8bc6765, 0xaa09c88b, 0x8f629757, 0xc5b428ef, 0x5019579f, 0xa032af3e, 0x9b14583d, 0xed59b63b),
    ROW(0x3d6029b0, 0x7ac05360, 0xf580a6c0, 0x30704bc1, 0x60e09782, 0xc1c12f04, 0x58f35849, 0xb1e6b092),
    ROW(0xcb5cd3a5, 0x4dc8a10b, 0x9b914216, 0xec53826d, 0x03d6029b, 0x07ac0536, 0x0f580a6c, 0x1eb014d8),
    ROW(0xa6770bb4, 0x979f1129, 0xf44f2413, 0x33ef4e67, 0x67de9cce, 0xcfbd399c, 0x440b7579, 0x8816eaf2),
    ROW(0xccaa009e, 0x4225077d, 0x844a0efa, 0xd3e51bb5, 0x7cbb312b, 0xf9766256, 0x299dc2ed, 0x533b85da),
};
/* clang-format on */

static uint32_t word32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t by_table(const uint32_t table[8][256], uint32_t crc, const unsigned char *p, size_t length)
{
    crc = ~crc;
    for (; length >= 8; p += 8, length -= 8) {
        uint32_t a = crc ^ word32(p), b = word32(p + 4);
        crc = table[7][a & 255] ^ table[6][a >> 8 & 255] ^ table[5][a >> 16 & 255] ^ table[4][a >> 24] ^
              table[3][b & 255] ^ table[2][b >> 8 & 255] ^ table[1][b >> 16 & 255] ^ table[0][b >> 24];
    }
    while (length--) crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
    return ~crc;
}

uint32_t l2_crc32c_portable(uint32_t crc, const void *data, size_t length)
{
    return by_table(castagnoli, crc, data, length);
}

uint32_t l2_crc32(uint32_t crc, const void *data, size_t length)
{
    return by_table(ieee, crc, data, length);
}

#if defined(__x86_64__)
/* Bytes of each of the three streams below. */
enum { STREAM = 1024 };

static uint64_t word64(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* crc * x^(8n) mod P, for k = x^(8n - 33) mod P: the product of carryless multiplication, reduced by the instruction.
 */
__attribute__((target("sse4.2,pclmul"))) static uint64_t moved(uint64_t crc, uint32_t k)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi64_si128((long long)k), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

/* The instruction has a latency of three cycles and one starts each cycle, so three streams go side by side. */
__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_sse42(uint32_t crc, const unsigned char *p, size_t n)
{
    uint64_t a = crc;
    for (; n >= 3 * STREAM; p += 3 * STREAM, n -= 3 * STREAM) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < STREAM; i += 8) {
            a = _mm_crc32_u64(a, word64(p + i));
            b = _mm_crc32_u64(b, word64(p + STREAM + i));
            c = _mm_crc32_u64(c, word64(p + 2 * STREAM + i));
        }
        a = moved(a, 0xa51b6135) ^ moved(b, 0x170076fa) ^ c;
    }
    for (; n >= 8; p += 8, n -= 8) a = _mm_crc32_u64(a, word64(p));
    crc = (uint32_t)a;
    while (n--) crc = _mm_crc32_u8(crc, *p++);
    return crc;
}
#endif

uint32_t l2_crc32c(uint32_t crc, const void *data, size_t length)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) return ~crc_sse42(~crc, data, length);
#endif
    return l2_crc32c_portable(crc, data, length);
}
