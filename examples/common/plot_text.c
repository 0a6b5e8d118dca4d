#include "common/plot.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(plot_text *text, size_t more)
{
    if (text->failed) return false;
    if (text->length + more + 1 <= text->capacity) return true;
    size_t capacity = text->capacity ? text->capacity : 1024;
    while (capacity < text->length + more + 1) capacity *= 2;
    char *data = realloc(text->data, capacity);
    if (!data) return text->failed = true, false;
    text->data = data;
    text->capacity = capacity;
    return true;
}

static void put_bytes(plot_text *text, const char *bytes, size_t length)
{
    if (!reserve(text, length)) return;
    memcpy(text->data + text->length, bytes, length);
    text->data[text->length += length] = 0;
}

void plot_put(plot_text *text, const char *string)
{
    put_bytes(text, string, strlen(string));
}

void plot_print(plot_text *text, const char *format, ...)
{
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    int length = vsnprintf(NULL, 0, format, list);
    if (length >= 0 && reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
    va_end(list);
}

/* Length of the UTF-8 character at s (RFC 3629), 0 if there is none. */
static size_t character(const unsigned char *s)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
               : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
               : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) ||
        (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

void plot_utf8(plot_text *text, const char *string)
{
    while (string && *string) {
        size_t n = character((const unsigned char *)string);
        put_bytes(text, n ? string : "\xEF\xBF\xBD", n ? n : 3);
        string += n ? n : 1;
    }
}

void plot_escape(plot_text *text, const char *string)
{
    plot_text valid = {0};
    plot_utf8(&valid, string);
    if (valid.failed) text->failed = true;
    for (const char *at = valid.data; at && *at; at++) {
        unsigned char c = (unsigned char)*at;
        switch (c) {
        case '&': plot_put(text, "&amp;"); break;
        case '<': plot_put(text, "&lt;"); break;
        case '>': plot_put(text, "&gt;"); break;
        case '"': plot_put(text, "&quot;"); break;
        case '\'': plot_put(text, "&#39;"); break;
        default: put_bytes(text, (c < 32 && c != '\n') || c == 127 ? " " : at, 1);
        }
    }
    free(valid.data);
}
