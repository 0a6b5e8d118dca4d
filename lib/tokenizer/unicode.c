/* Classes of characters: \p{L}, \p{N} and \s of Unicode 16.0, by binary search in the places where the class changes.
 */
#include "base/utf8.h"
#include "tokenizer/pretokenize.h"

static const uint32_t changes[] = {
#include "tokenizer/unicode_classes.inc"
};

static unsigned ascii_class(unsigned char c)
{
    if ((c | 32) >= 'a' && (c | 32) <= 'z') return L2_LETTER;
    if (c >= '0' && c <= '9') return L2_NUMBER;
    return c == ' ' || (c >= 9 && c <= 13) ? L2_SPACE_CLASS : L2_OTHER;
}

unsigned l2_unicode_class(const char *text, size_t length, size_t *bytes)
{
    unsigned char lead = (unsigned char)text[0];
    uint32_t code;
    *bytes = 1;
    if (lead < 0x80) return ascii_class(lead);
    int n = l2_utf8_decode(text, length, &code);
    if (n == 0) return L2_OTHER;
    *bytes = (size_t)n;
    size_t low = 0, high = sizeof changes / sizeof *changes; /* changes[low] <= code < changes[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (changes[middle] >> 2 <= code)
            low = middle;
        else
            high = middle;
    }
    return changes[low] & 3;
}
