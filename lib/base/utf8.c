#include "base/utf8.h"

int l2_utf8_decode(const char *text, size_t length, uint32_t *code_point)
{
    const unsigned char *b = (const unsigned char *)text;
    if (length == 0) return 0;
    int n = b[0] < 0x80                   ? 1
            : b[0] >= 0xC2 && b[0] < 0xE0 ? 2
            : b[0] >= 0xE0 && b[0] < 0xF0 ? 3
            : b[0] >= 0xF0 && b[0] < 0xF5 ? 4
                                          : 0;
    if (n == 0 || (size_t)n > length) return 0;
    uint32_t c = n == 1 ? b[0] : b[0] & (0xFFu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((b[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (b[i] & 0x3F);
    }
    /* Overlong forms, surrogates, beyond Unicode. */
    if ((n == 3 && (c < 0x800 || (c >= 0xD800 && c < 0xE000))) || (n == 4 && (c < 0x10000 || c > 0x10FFFF))) return 0;
    if (code_point) *code_point = c;
    return n;
}

int l2_utf8_encode(uint32_t c, char out[4])
{
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 0;
    int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    if (n == 1) {
        out[0] = (char)c;
        return 1;
    }
    for (int i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)((0xF00u >> n & 0xF0u) | c);
    return n;
}

size_t l2_utf8_valid_prefix(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        int n = l2_utf8_decode(text + at, length - at, NULL);
        if (n == 0) break;
        at += (size_t)n;
    }
    return at;
}
