#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 1024 };
static _Thread_local char message[MESSAGE_SIZE];

llama2_status l2_fail(llama2_status code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return code;
}

llama2_status l2_fail_in(llama2_status code, const char *format, ...)
{
    char before[MESSAGE_SIZE];
    memcpy(before, message, sizeof before);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof message) snprintf(message + n, sizeof message - (size_t)n, ": %s", before);
    return code;
}

const char *llama2_last_error(void)
{
    return message;
}

const char *llama2_status_name(llama2_status status)
{
    static const char *const names[] = {
        "LLAMA2_OK",         "LLAMA2_E_NOMEM",  "LLAMA2_E_INVALID", "LLAMA2_E_IO",        "LLAMA2_E_FORMAT",  "LLAMA2_E_TRUNCATED", "LLAMA2_E_LIMIT",
        "LLAMA2_E_UNSUPPORTED", "LLAMA2_E_MISMATCH", "LLAMA2_E_CORRUPT", "LLAMA2_E_BUSY", "LLAMA2_E_STATE",  "LLAMA2_E_USER",      "LLAMA2_E_CANCELLED",
        "LLAMA2_E_NUMERIC",  "LLAMA2_E_ABI",    "LLAMA2_E_NOT_FOUND", "LLAMA2_E_BUFFER",  "LLAMA2_E_FORKED",  "LLAMA2_E_CONTEXT",   "LLAMA2_E_INJECTION",
    };
    int64_t i = -(int64_t)status;
    return i >= 0 && i < (int64_t)(sizeof names / sizeof *names) ? names[i] : "unknown status";
}

const char *llama2_version(void)
{
    return "0.1.0";
}
