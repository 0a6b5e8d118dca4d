/* Reading: one pass over the text, no tree. */
#include "base/json.h"

#include "base/utf8.h"

#include <math.h>
#include <string.h>

void l2_json_begin(l2_json *json, const char *text, size_t length)
{
    memset(json, 0, sizeof *json);
    json->text = text;
    json->length = length;
}

static llama2_status fail_at(const l2_json *j, const char *expected)
{
    if (j->at >= j->length) return l2_fail(LLAMA2_E_TRUNCATED, "JSON ends at byte %zu, expected %s", j->at, expected);
    unsigned char c = (unsigned char)j->text[j->at];
    if (c >= 0x20 && c < 0x7F)
        return l2_fail(LLAMA2_E_FORMAT, "JSON byte %zu is '%c', expected %s", j->at, c, expected);
    return l2_fail(LLAMA2_E_FORMAT, "JSON byte %zu is 0x%02x, expected %s", j->at, c, expected);
}

static void skip_space(l2_json *j)
{
    while (j->at < j->length) {
        char c = j->text[j->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
        j->at++;
    }
}

static int next_is(l2_json *j, char c)
{
    skip_space(j);
    return j->at < j->length && j->text[j->at] == c;
}

llama2_status l2_json_peek(l2_json *j, int *type)
{
    skip_space(j);
    char c = j->at < j->length ? j->text[j->at] : 0;
    if (c == '{' || c == '[' || c == '"' || c == 't' || c == 'f' || c == 'n')
        *type = c;
    else if (c == '-' || (c >= '0' && c <= '9'))
        *type = L2_JSON_NUMBER;
    else
        return fail_at(j, "a value");
    return LLAMA2_OK;
}

llama2_status l2_json_enter(l2_json *j, int type)
{
    if (!next_is(j, (char)type)) return fail_at(j, type == L2_JSON_OBJECT ? "an object" : "an array");
    if (j->depth == L2_JSON_DEPTH)
        return l2_fail(LLAMA2_E_LIMIT, "JSON byte %zu: nested deeper than %d", j->at, L2_JSON_DEPTH);
    j->stack[j->depth] = (char)type;
    j->first[j->depth++] = 1;
    j->at++;
    return LLAMA2_OK;
}

/* Passes the comma before the next element, or the closing. */
static llama2_status next_item(l2_json *j, int *more)
{
    char close = j->stack[j->depth - 1] == '{' ? '}' : ']';
    int first = j->first[j->depth - 1];
    if (next_is(j, close)) {
        j->at++;
        j->depth--;
        *more = 0;
        return LLAMA2_OK;
    }
    if (!first) {
        if (!next_is(j, ',')) return fail_at(j, close == '}' ? "',' or '}'" : "',' or ']'");
        j->at++;
    }
    j->first[j->depth - 1] = 0;
    *more = 1;
    return LLAMA2_OK;
}

llama2_status l2_json_next_member(l2_json *j, l2_json_string *key, int *more)
{
    L2_TRY(next_item(j, more));
    if (!*more) return LLAMA2_OK;
    L2_TRY(l2_json_read_string(j, key));
    if (!next_is(j, ':')) return fail_at(j, "':'");
    j->at++;
    return LLAMA2_OK;
}

llama2_status l2_json_next_element(l2_json *j, int *more)
{
    return next_item(j, more);
}

/* Four hexadecimal digits; -1 if they are not. */
static int32_t hex4(const char *text, size_t length)
{
    int32_t value = 0;
    if (length < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The escape at text[0] == '\\': its length, and the code point it stands for. 0: it is none. */
static size_t read_escape(const char *text, size_t length, uint32_t *code_point)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (length < 2) return 0;
    const char *found = text[1] ? strchr(letters, text[1]) : NULL;
    if (found) {
        *code_point = (unsigned char)values[found - letters];
        return 2;
    }
    int32_t high = text[1] == 'u' ? hex4(text + 2, length - 2) : -1;
    if (high < 0 || (high >= 0xDC00 && high < 0xE000)) return 0;
    *code_point = (uint32_t)high;
    if (high < 0xD800 || high >= 0xDC00) return 6;
    /* Half of a surrogate pair: the other half must follow. */
    if (length < 12 || text[6] != '\\' || text[7] != 'u') return 0;
    int32_t low = hex4(text + 8, length - 8);
    if (low < 0xDC00 || low >= 0xE000) return 0;
    *code_point = 0x10000 + (((uint32_t)high - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    return 12;
}

llama2_status l2_json_read_string(l2_json *j, l2_json_string *out)
{
    if (!next_is(j, '"')) return fail_at(j, "a string");
    size_t begin = ++j->at;
    out->escaped = 0;
    while (j->at < j->length && j->text[j->at] != '"') {
        unsigned char c = (unsigned char)j->text[j->at];
        size_t n = 1;
        uint32_t code_point;
        if (c < 0x20) return fail_at(j, "a character of a string");
        if (c == '\\') {
            n = read_escape(j->text + j->at, j->length - j->at, &code_point);
            if (n == 0) return l2_fail(LLAMA2_E_FORMAT, "JSON byte %zu: not a valid escape", j->at);
            out->escaped = 1;
        } else if (c >= 0x80) {
            n = (size_t)l2_utf8_decode(j->text + j->at, j->length - j->at, NULL);
            if (n == 0) return l2_fail(LLAMA2_E_FORMAT, "JSON byte %zu: not valid UTF-8", j->at);
        }
        j->at += n;
    }
    if (j->at >= j->length) return fail_at(j, "the end of a string");
    out->text = j->text + begin;
    out->length = j->at - begin;
    j->at++;
    return LLAMA2_OK;
}

static size_t digits(l2_json *j)
{
    size_t n = 0;
    for (; j->at < j->length && j->text[j->at] >= '0' && j->text[j->at] <= '9'; j->at++) n++;
    return n;
}

/* Passes over a number by the grammar of RFC 8259. */
static llama2_status scan_number(l2_json *j, size_t *begin, int *integer)
{
    skip_space(j);
    *begin = j->at;
    *integer = 1;
    if (next_is(j, '-')) j->at++;
    size_t zero = j->at;
    if (digits(j) == 0) return fail_at(j, "a digit");
    if (j->text[zero] == '0' && j->at > zero + 1) {
        j->at = zero + 1;
        return fail_at(j, "no digit after a leading zero");
    }
    if (j->at < j->length && j->text[j->at] == '.') {
        j->at++;
        *integer = 0;
        if (digits(j) == 0) return fail_at(j, "a digit");
    }
    if (j->at < j->length && (j->text[j->at] == 'e' || j->text[j->at] == 'E')) {
        j->at++;
        *integer = 0;
        if (j->at < j->length && (j->text[j->at] == '+' || j->text[j->at] == '-')) j->at++;
        if (digits(j) == 0) return fail_at(j, "a digit");
    }
    return LLAMA2_OK;
}

llama2_status l2_json_read_int(l2_json *j, int64_t *out)
{
    size_t begin;
    int integer;
    L2_TRY(scan_number(j, &begin, &integer));
    if (!integer) return l2_fail(LLAMA2_E_FORMAT, "JSON byte %zu: expected an integer", begin);
    int negative = j->text[begin] == '-';
    int64_t value = 0;
    for (size_t i = begin + (size_t)negative; i < j->at; i++) {
        int64_t digit = j->text[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value))
            return l2_fail(LLAMA2_E_LIMIT, "JSON byte %zu: the integer does not fit 64 bits", begin);
    }
    if (!negative && value == INT64_MIN)
        return l2_fail(LLAMA2_E_LIMIT, "JSON byte %zu: the integer does not fit 64 bits", begin);
    *out = negative ? value : -value;
    return LLAMA2_OK;
}

enum { MOST_NUMBER = 128 };

llama2_status l2_json_read_double(l2_json *j, double *out)
{
    size_t begin;
    int integer;
    char text[MOST_NUMBER];
    L2_TRY(scan_number(j, &begin, &integer));
    size_t n = j->at - begin;
    if (n >= sizeof text)
        return l2_fail(LLAMA2_E_LIMIT, "JSON byte %zu: a number of %zu characters, the limit is %d", begin, n,
                       MOST_NUMBER - 1);
    memcpy(text, j->text + begin, n);
    text[n] = 0;
    double value = l2_parse_double(text);
    if (!isfinite(value)) return l2_fail(LLAMA2_E_LIMIT, "JSON byte %zu: the number is too large", begin);
    *out = value;
    return LLAMA2_OK;
}

static llama2_status read_word(l2_json *j, const char *word)
{
    size_t n = strlen(word);
    skip_space(j);
    if (j->length - j->at < n || memcmp(j->text + j->at, word, n) != 0) return fail_at(j, word);
    j->at += n;
    return LLAMA2_OK;
}

llama2_status l2_json_read_bool(l2_json *j, int *out)
{
    *out = next_is(j, 't');
    return read_word(j, *out ? "true" : "false");
}

/* Any value that is no container. */
static llama2_status skip_scalar(l2_json *j, int type)
{
    l2_json_string string;
    size_t begin;
    int ignored;
    switch (type) {
    case L2_JSON_STRING: return l2_json_read_string(j, &string);
    case L2_JSON_NUMBER: return scan_number(j, &begin, &ignored);
    case L2_JSON_NULL: return read_word(j, "null");
    default: return l2_json_read_bool(j, &ignored);
    }
}

llama2_status l2_json_skip(l2_json *j)
{
    int outer = j->depth;
    do {
        int type, more = 1;
        l2_json_string key;
        L2_TRY(l2_json_peek(j, &type));
        if (type == L2_JSON_OBJECT || type == L2_JSON_ARRAY)
            L2_TRY(l2_json_enter(j, type));
        else
            L2_TRY(skip_scalar(j, type));
        /* On to the next value of the innermost open container, closing those that end here. */
        while (j->depth > outer) {
            L2_TRY(j->stack[j->depth - 1] == '{' ? l2_json_next_member(j, &key, &more)
                                                 : l2_json_next_element(j, &more));
            if (more) break;
        }
    } while (j->depth > outer);
    return LLAMA2_OK;
}

llama2_status l2_json_end(l2_json *j)
{
    skip_space(j);
    return j->at == j->length ? LLAMA2_OK : fail_at(j, "nothing more");
}

/* The next character of a string that has been read: its UTF-8 in `bytes`, *at moved on. */
static int next_character(const l2_json_string *s, size_t *at, char bytes[4])
{
    uint32_t code_point;
    if (s->text[*at] == '\\') {
        *at += read_escape(s->text + *at, s->length - *at, &code_point);
        return l2_utf8_encode(code_point, bytes);
    }
    bytes[0] = s->text[(*at)++];
    return 1;
}

int l2_json_equal(const l2_json_string *s, const char *text)
{
    size_t length = strlen(text), done = 0;
    char bytes[4];
    if (!s->escaped) return length == s->length && memcmp(text, s->text, length) == 0;
    for (size_t at = 0; at < s->length;) {
        size_t n = (size_t)next_character(s, &at, bytes);
        if (n > length - done || memcmp(text + done, bytes, n) != 0) return 0;
        done += n;
    }
    return done == length;
}

llama2_status l2_json_unescape(const l2_json_string *s, char *out, size_t capacity, size_t *length)
{
    size_t done = 0;
    char bytes[4];
    for (size_t at = 0; at < s->length;) {
        size_t n = (size_t)next_character(s, &at, bytes);
        if (done + n <= capacity) memcpy(out + done, bytes, n);
        done += n;
    }
    *length = done;
    return done <= capacity ? LLAMA2_OK
                            : l2_fail(LLAMA2_E_BUFFER, "a string takes %zu bytes, the buffer has %zu", done, capacity);
}
