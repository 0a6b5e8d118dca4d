/* The scanners. Each takes the alternatives of its regular expression in their order. */
#include "tokenizer/pretokenize.h"
#include <string.h>

typedef struct scan {
    const char *text;
    size_t length;
} scan;

/* Class of the character at `at`, -1 at the end. */
static int class_at(scan s, size_t at, size_t *bytes)
{
    *bytes = 0;
    return at < s.length ? (int)l2_unicode_class(s.text + at, s.length - at, bytes) : -1;
}

/* The end of a run of one class, of `most` characters at most. */
static size_t run_end(scan s, size_t at, int class, size_t most)
{
    size_t n;
    for (; most > 0 && class_at(s, at, &n) == class; --most) at += n;
    return at;
}

static int is_line_end(scan s, size_t at)
{
    return at < s.length && (s.text[at] == '\r' || s.text[at] == '\n');
}

static int letter_at(scan s, size_t at, int any_case)
{
    unsigned char c = at < s.length ? (unsigned char)s.text[at] : 0;
    return any_case && c >= 'A' && c <= 'Z' ? c + 32 : c;
}

/* Bytes of 's 't 're 've 'm 'll 'd at the start, 0: none. Without regard to case U+017F is an s too. */
static size_t contraction(scan s, int any_case)
{
    if (s.text[0] != '\'') return 0;
    int a = letter_at(s, 1, any_case), b = letter_at(s, 2, any_case);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return any_case && a == 0xC5 && b == 0xBF ? 3 : 0;
}

/*
 * \s+(?!\S)|\s+ on the run of white space at the start: all of it at the end of the text, else all but its last
 * character, which goes with what follows; a run of one character has nothing else to go to.
 */
static size_t white_space(scan s)
{
    size_t at = 0, last = 0, n;
    while (class_at(s, at, &n) == L2_SPACE_CLASS) {
        last = at;
        at += n;
    }
    return at == s.length || last == 0 ? at : last;
}

static size_t gpt2(scan s)
{
    size_t n = contraction(s, 0), begin = s.text[0] == ' ';
    if (n) return n;
    int class = class_at(s, begin, &n);
    if (class < 0 || class == L2_SPACE_CLASS) return white_space(s);
    return run_end(s, begin + n, class, SIZE_MAX);
}

/* Where `text` ends or its first number begins. */
static size_t smollm(scan s)
{
    size_t n, first = s.text[0] == ' ';
    if (class_at(s, 0, &n) == L2_NUMBER) return n;
    if (first && class_at(s, 1, &n) == L2_NUMBER) return 1; /* a space before a number is its own stretch */
    n = contraction(s, 0);
    if (n) return n;
    int class = class_at(s, first, &n);
    if (class >= 0 && class != L2_SPACE_CLASS) return run_end(s, first + n, class, SIZE_MAX);
    /* White space before a number is at the end of its part. */
    size_t end = run_end(s, 0, L2_SPACE_CLASS, SIZE_MAX);
    return class_at(s, end, &n) == L2_NUMBER ? end : white_space(s);
}

static size_t llama3(scan s)
{
    size_t n, after, end, begin;
    n = contraction(s, 1);
    if (n) return n;
    int class = class_at(s, 0, &n), next = class_at(s, n, &after);
    if (class == L2_LETTER) return run_end(s, n, L2_LETTER, SIZE_MAX);
    if (class == L2_NUMBER) return run_end(s, n, L2_NUMBER, 2);
    if (next == L2_LETTER && !is_line_end(s, 0)) return run_end(s, n + after, L2_LETTER, SIZE_MAX);
    if (class == L2_OTHER || (s.text[0] == ' ' && next == L2_OTHER)) {
        begin = class == L2_OTHER ? 0 : 1;
        end = run_end(s, begin, L2_OTHER, SIZE_MAX);
        while (is_line_end(s, end)) ++end;
        return end;
    }
    /* \s*[\r\n]+ reaches to the last line end of the run. */
    size_t lines = 0;
    for (end = 0; class_at(s, end, &n) == L2_SPACE_CLASS; end += n)
        if (is_line_end(s, end)) lines = end + 1;
    return lines ? lines : white_space(s);
}

size_t l2_pretoken(int pretokenizer, const char *text, size_t length)
{
    scan s = {text, length};
    switch (pretokenizer) {
    case L2_PRETOKENIZER_LLAMA3: return llama3(s);
    case L2_PRETOKENIZER_SMOLLM: return smollm(s);
    default: return gpt2(s);
    }
}
