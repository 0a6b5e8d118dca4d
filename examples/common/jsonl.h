/*
 * JSON Lines: one JSON value a line, UTF-8 without a byte order mark; a *.gz file is read as well. Also appending
 * metrics.
 *
 *     jsonl_reader *reader = jsonl_open(path, error, sizeof error);
 *     json_t *line;
 *     while ((status = jsonl_next(reader, &line)) == JSONL_LINE) { ...; json_decref(line); }
 *     if (status == JSONL_ERROR) puts(jsonl_error(reader));       // "data.jsonl:12: ..."
 *     jsonl_close(reader);
 */
#ifndef EXAMPLES_JSONL_H
#define EXAMPLES_JSONL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSONL_MAX_LINE = 64 << 20 }; /* bytes */
enum { JSONL_ERROR = -1, JSONL_END = 0, JSONL_LINE = 1 };

typedef struct jsonl_reader jsonl_reader;

/* NULL and a message if the file cannot be opened. */
jsonl_reader *jsonl_open(const char *path, char *error, size_t error_size);

/* The next line that is not blank, as a new reference. After an error the reader gives errors only. */
int jsonl_next(jsonl_reader *reader, json_t **line);

/* Back to the first line. */
int jsonl_rewind(jsonl_reader *reader);

/* Number of the line that jsonl_next() gave last, from 1. */
uint64_t jsonl_line_number(const jsonl_reader *reader);

/* Message of the last error, with path and line number; "" if there was none. Lives as long as the reader. */
const char *jsonl_error(const jsonl_reader *reader);

/* Marks the present line as wrong in the words of the caller: jsonl_error() then says "path:line: message". Returns
 * JSONL_ERROR. */
int jsonl_fail(jsonl_reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));

void jsonl_close(jsonl_reader *reader);

/* Appends one line to a file that the writer holds open and flushes it, so that others can follow a run. */
typedef struct jsonl_writer jsonl_writer;
jsonl_writer *jsonl_create(const char *path, bool append, char *error, size_t error_size);

/* Takes over the reference, as json_array_append_new() does. False if it could not be written. */
bool jsonl_append(jsonl_writer *writer, json_t *line);

/* What was appended is on the disk. */
bool jsonl_sync(jsonl_writer *writer);

/* False if the file could not be written to its end. */
bool jsonl_finish(jsonl_writer *writer);

#endif
