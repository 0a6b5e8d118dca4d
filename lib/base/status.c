#include "base/status.h"

#include "base/c_locale.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 1024 };
static _Thread_local char message[MESSAGE_SIZE];

/* Messages quote bad input: what is no UTF-8 or controls a terminal becomes '?'. A character that the end cuts is
 * dropped. */
static void keep(const char *text)
{
    size_t length = strlen(text), out = 0;
    for (size_t at = 0; at < length;) {
        size_t n = (size_t)l2_utf8_decode(text + at, length - at, NULL);
        unsigned char c = (unsigned char)text[at];
        if (n == 0 && length == MESSAGE_SIZE - 1 && length - at < 4 && c >= 0xC2) break;
        if (n == 0 || c < 0x20 || c == 0x7F) {
            message[out++] = '?';
            at++;
        } else {
            memcpy(message + out, text + at, n);
            out += n;
            at += n;
        }
    }
    message[out] = 0;
}

int l2_format(char *text, size_t size, const char *format, va_list args)
{
    locale_t before = l2_enter_c_locale();
    int n = vsnprintf(text, size, format, args);
    l2_leave_c_locale(before);
    return n;
}

llama2_status l2_fail(llama2_status code, const char *format, ...)
{
    char text[MESSAGE_SIZE]; /* an argument may be the present message */
    va_list args;
    va_start(args, format);
    int n = l2_format(text, sizeof text, format, args);
    va_end(args);
    keep(n >= 0 ? text : format);
    return code;
}

llama2_status l2_fail_in(llama2_status code, const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    int n = l2_format(text, sizeof text, format, args);
    va_end(args);
    if (n < 0) return code;
    size_t used = strlen(text), room = sizeof text - 1 - used, more = strlen(message) + 2;
    if (room > 2) {
        memcpy(text + used, ": ", 2);
        memcpy(text + used + 2, message, (more < room ? more : room) - 2);
        text[used + (more < room ? more : room)] = 0;
    }
    keep(text);
    return code;
}

const char *l2_strerror(int code)
{
    locale_t c = l2_c_locale();
    return c ? strerror_l(code, c) : "no text for it";
}

const char *llama2_last_error(void)
{
    return message;
}

const char *llama2_status_name(llama2_status status)
{
    static const char *const names[] = {
        "LLAMA2_OK",          "LLAMA2_E_NOMEM",     "LLAMA2_E_INVALID",     "LLAMA2_E_IO",        "LLAMA2_E_FORMAT",
        "LLAMA2_E_TRUNCATED", "LLAMA2_E_LIMIT",     "LLAMA2_E_UNSUPPORTED", "LLAMA2_E_MISMATCH",  "LLAMA2_E_CORRUPT",
        "LLAMA2_E_BUSY",      "LLAMA2_E_STATE",     "LLAMA2_E_USER",        "LLAMA2_E_CANCELLED", "LLAMA2_E_NUMERIC",
        "LLAMA2_E_ABI",       "LLAMA2_E_NOT_FOUND", "LLAMA2_E_BUFFER",      "LLAMA2_E_FORKED",    "LLAMA2_E_CONTEXT",
        "LLAMA2_E_INJECTION",
    };
    int64_t i = -(int64_t)status;
    return i >= 0 && i < (int64_t)(sizeof names / sizeof *names) ? names[i] : "unknown status";
}

const char *llama2_version(void)
{
    return "0.1.0";
}
