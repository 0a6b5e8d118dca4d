/* Status codes and the thread-local message. */
#ifndef L2_BASE_STATUS_H
#define L2_BASE_STATUS_H

#include <llama2/types.h>
#include <stdarg.h>

#if defined(__GNUC__)
#define L2_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define L2_PRINTF(fmt, args)
#endif

/* Sets this thread's message and returns `code`. The message says what, where, and what would have been right. */
llama2_status l2_fail(llama2_status code, const char *format, ...) L2_PRINTF(2, 3);

/* Puts "context: " before the present message (a path, a tensor's name) and returns `code`. */
llama2_status l2_fail_in(llama2_status code, const char *format, ...) L2_PRINTF(2, 3);

/* vsnprintf, "." in any locale. */
int l2_format(char *text, size_t size, const char *format, va_list args);

/* strerror for any thread, in English in any locale; the text lives until the next call on this thread. */
const char *l2_strerror(int code);

/* Leaves the function when `expr` fails. Only where nothing has to be freed. */
#define L2_TRY(expr)                                                                                                   \
    do {                                                                                                               \
        llama2_status l2_try_status = (expr);                                                                          \
        if (l2_try_status < 0) return l2_try_status;                                                                   \
    } while (0)

/* Sets `status` and jumps to `done` when `expr` fails: for functions that clean up. */
#define L2_CHECK(expr)                                                                                                 \
    do {                                                                                                               \
        status = (expr);                                                                                               \
        if (status < 0) goto done;                                                                                     \
    } while (0)

#endif
