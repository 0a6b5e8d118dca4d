/* Growing text: the writing half of base/json.h. */
#include "base/alloc.h"
#include "base/c_locale.h"
#include "base/files.h"
#include "base/json.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double l2_parse_double(const char *text)
{
    locale_t before = l2_enter_c_locale();
    double value = strtod(text, NULL);
    l2_leave_c_locale(before);
    return value;
}

void l2_text_begin(l2_text *text, llama2_context *ctx)
{
    memset(text, 0, sizeof *text);
    text->ctx = ctx;
}

void l2_text_free(l2_text *text)
{
    if (text->ctx) l2_free(text->ctx, text->data);
    memset(text, 0, sizeof *text);
}

llama2_status l2_text_prepare(const l2_text *text, const char *folder, const char *name, l2_writer *out)
{
    char *path;
    L2_TRY(text->status);
    L2_TRY(l2_path_join(text->ctx, folder, name, &path));
    llama2_status status = l2_writer_open(text->ctx, path, out);
    if (status >= 0) status = l2_writer_write(out, text->data, text->length);
    if (status >= 0) status = l2_writer_sync(out);
    if (status < 0) l2_writer_abort(out);
    l2_free(text->ctx, path);
    return status;
}

llama2_status l2_text_write(const l2_text *text, const char *folder, const char *name)
{
    l2_writer writer;
    L2_TRY(l2_text_prepare(text, folder, name, &writer));
    return l2_writer_commit(&writer);
}

/* Room for n more bytes and a NUL. */
static int reserve(l2_text *t, size_t n)
{
    if (t->status < 0) return 0;
    size_t needed = t->length + n + 1;
    if (needed <= t->capacity) return 1;
    size_t capacity = needed > 2 * t->capacity ? needed + 256 : 2 * t->capacity;
    t->status = l2_realloc(t->ctx, t->length, capacity, 1, &t->data);
    if (t->status < 0) return 0;
    t->capacity = capacity;
    return 1;
}

void l2_text_add(l2_text *t, const char *bytes, size_t n)
{
    if (!reserve(t, n)) return;
    memcpy(t->data + t->length, bytes, n);
    t->length += n;
    t->data[t->length] = 0;
}

void l2_text_format(l2_text *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    locale_t before = l2_enter_c_locale();
    int n = vsnprintf(NULL, 0, format, args);
    if (n >= 0 && reserve(t, (size_t)n)) {
        vsnprintf(t->data + t->length, (size_t)n + 1, format, again);
        t->length += (size_t)n;
    }
    l2_leave_c_locale(before);
    va_end(again);
    va_end(args);
}

void l2_text_json_string(l2_text *t, const char *bytes, size_t n)
{
    static const char named[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    l2_text_add(t, "\"", 1);
    for (size_t i = 0, begin = 0; i <= n; i++) {
        unsigned char c = i < n ? (unsigned char)bytes[i] : 0;
        if (i < n && c >= 0x20 && c != '"' && c != '\\') continue;
        l2_text_add(t, bytes + begin, i - begin);
        begin = i + 1;
        if (i == n) break;
        const char *found = c ? strchr(named, c) : NULL;
        if (found)
            l2_text_format(t, "\\%c", letters[found - named]);
        else
            l2_text_format(t, "\\u%04x", c);
    }
    l2_text_add(t, "\"", 1);
}

void l2_text_double(l2_text *t, double value)
{
    char text[40];
    if (!isfinite(value)) {
        l2_text_add(t, "null", 4); /* JSON has no other way */
        return;
    }
    /* 15 digits give back whatever has at most 15, without zeros at the end; subnormal numbers carry fewer. */
    locale_t before = l2_enter_c_locale();
    for (int precision = fabs(value) >= DBL_MIN ? 15 : 1; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value) break;
    }
    l2_leave_c_locale(before);
    l2_text_add(t, text, strlen(text));
}
