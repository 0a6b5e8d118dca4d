/*
 * A bounded pull parser for JSON: no tree, no recursion, no allocation that depends on what the input claims. The text
 * must be valid UTF-8 (RFC 8259); depth is limited to L2_JSON_DEPTH. Errors carry the byte offset. And a small writer.
 */
#ifndef L2_BASE_JSON_H
#define L2_BASE_JSON_H

#include "base/files.h"

enum { L2_JSON_DEPTH = 64 };

enum {
    L2_JSON_OBJECT = '{',
    L2_JSON_ARRAY = '[',
    L2_JSON_STRING = '"',
    L2_JSON_NUMBER = '0',
    L2_JSON_TRUE = 't',
    L2_JSON_FALSE = 'f',
    L2_JSON_NULL = 'n'
};

typedef struct l2_json {
    const char *text;
    size_t length, at;
    int depth;
    char stack[L2_JSON_DEPTH]; /* '{' or '[' */
    char first[L2_JSON_DEPTH]; /* no element of this container has been read yet */
} l2_json;

/* A string as it stands in the text, escapes unresolved. */
typedef struct l2_json_string {
    const char *text;
    size_t length;
    int escaped; /* has a backslash */
} l2_json_string;

void l2_json_begin(l2_json *json, const char *text, size_t length);

/* Type of the coming value, without consuming it: one of L2_JSON_*, or an error. */
llama2_status l2_json_peek(l2_json *json, int *type);

/*
 * l2_json_enter(json, '{' or '[') consumes the opening; then, until *more is 0, l2_json_next_member /
 * l2_json_next_element, each followed by reading the value or l2_json_skip. The closing is consumed by the call that
 * sets *more to 0.
 */
llama2_status l2_json_enter(l2_json *json, int type);
llama2_status l2_json_next_member(l2_json *json, l2_json_string *key, int *more);
llama2_status l2_json_next_element(l2_json *json, int *more);

llama2_status l2_json_read_string(l2_json *json, l2_json_string *out);
llama2_status l2_json_read_int(l2_json *json, int64_t *out); /* a fraction or exponent is an error */
llama2_status l2_json_read_double(l2_json *json, double *out);
llama2_status l2_json_read_bool(l2_json *json, int *out);
llama2_status l2_json_skip(l2_json *json); /* any value, checked as it is passed over */

/* Only white space may follow. */
llama2_status l2_json_end(l2_json *json);

/* Does the (possibly escaped) string equal `text`? */
int l2_json_equal(const l2_json_string *string, const char *text);

/* Resolves escapes into at most `capacity` bytes; *length is what it takes. LLAMA2_E_BUFFER when too small. */
llama2_status l2_json_unescape(const l2_json_string *string, char *out, size_t capacity, size_t *length);

/* strtod on a NUL-terminated number, "." in any locale. */
double l2_parse_double(const char *text);

/* Growing text for writing JSON and the like. A failure is kept: check `status` once at the end. */
typedef struct l2_text {
    llama2_context *ctx;
    char *data; /* NUL-terminated once anything was written */
    size_t length, capacity;
    llama2_status status;
} l2_text;

void l2_text_begin(l2_text *text, llama2_context *ctx);
void l2_text_add(l2_text *text, const char *bytes, size_t length);
void l2_text_format(l2_text *text, const char *format, ...) L2_PRINTF(2, 3); /* "." in any locale */
void l2_text_json_string(l2_text *text, const char *bytes, size_t length); /* with quotes; the bytes are valid UTF-8 */
void l2_text_double(l2_text *text, double value); /* shortest that reads back equal, "." in any locale */
/* Into a file of a folder, as l2_write_file; or its failure. prepare: as l2_writer_sync leaves it, to be committed. */
llama2_status l2_text_prepare(const l2_text *text, const char *folder, const char *name, l2_writer *out);
llama2_status l2_text_write(const l2_text *text, const char *folder, const char *name);
void l2_text_free(l2_text *text);

#endif
