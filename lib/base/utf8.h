/* UTF-8: decoding with exact treatment of invalid input. */
#ifndef L2_BASE_UTF8_H
#define L2_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the well-formed character at `text` (1..4), or 0 where the bytes are invalid or cut off. *code_point may be
 * NULL. */
int l2_utf8_decode(const char *text, size_t length, uint32_t *code_point);

/* Writes 1..4 bytes; returns their number, 0 for a surrogate or a value above U+10FFFF. */
int l2_utf8_encode(uint32_t code_point, char out[4]);

/* Bytes of `text` that form whole, valid characters from the start. == length when all is valid. */
size_t l2_utf8_valid_prefix(const char *text, size_t length);

#endif
