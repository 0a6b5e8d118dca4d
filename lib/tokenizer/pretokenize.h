/*
 * Pre-tokenisers of byte-level BPE: text is cut into stretches that merging never crosses. In the models' files they
 * are regular expressions; here each is a scanner of one pass, so that time is linear for any text.
 */
#ifndef L2_TOKENIZER_PRETOKENIZE_H
#define L2_TOKENIZER_PRETOKENIZE_H

#include <stddef.h>
#include <stdint.h>

/* What llama2_tokenizer's `pretokenizer` holds. */
enum {
    L2_PRETOKENIZER_NONE = 0, /* not a byte-level vocabulary */
    L2_PRETOKENIZER_GPT2,     /* L2_REGEX_GPT2 */
    L2_PRETOKENIZER_LLAMA3,   /* L2_REGEX_LLAMA3 */
    L2_PRETOKENIZER_SMOLLM    /* each number by itself, then as GPT-2's between them */
};

/* As they stand in tokenizer.json; others are refused. */
#define L2_REGEX_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define L2_REGEX_LLAMA3                                                                                                \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"           \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* Classes of characters. A byte that is not UTF-8 is one character of class OTHER. */
enum { L2_OTHER = 0, L2_LETTER = 1, L2_NUMBER = 2, L2_SPACE_CLASS = 3 };

/* Class of the character at `text`, and how many bytes it has; length > 0. */
unsigned l2_unicode_class(const char *text, size_t length, size_t *bytes);

/* Bytes of the stretch that `text` begins with, > 0; length > 0. The text before it has no influence. */
size_t l2_pretoken(int pretokenizer, const char *text, size_t length);

#endif
