#include "common/jsonl.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

struct jsonl_reader {
    gzFile file; /* zlib passes through what is not compressed */
    char *path, *line;
    size_t capacity;
    uint64_t number;
    bool failed;
    char error[512];
};

struct jsonl_writer {
    FILE *file;
    bool failed;
};

int jsonl_fail(jsonl_reader *r, const char *format, ...)
{
    va_list list;
    int used = snprintf(r->error, sizeof r->error, "%.300s:%llu: ", r->path, (unsigned long long)r->number);
    va_start(list, format);
    vsnprintf(r->error + used, sizeof r->error - (size_t)used, format, list);
    va_end(list);
    r->failed = true;
    return JSONL_ERROR;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

jsonl_reader *jsonl_open(const char *path, char *error, size_t error_size)
{
    jsonl_reader *r = calloc(1, sizeof *r);
    if (r) {
        r->path = strdup(path);
        r->capacity = 4096;
        r->line = malloc(r->capacity);
        errno = 0;
        r->file = gzopen(path, "rbe");
    }
    if (!r || !r->path || !r->line || !r->file) {
        snprintf(error, error_size, "%s: %s", path, errno ? strerror(errno) : "out of memory");
        jsonl_close(r);
        return NULL;
    }
    gzbuffer(r->file, 1 << 17);
    return r;
}

/* Grows the buffer; false at the limit or without memory. */
static bool grow(jsonl_reader *r)
{
    if (r->capacity >= (size_t)JSONL_MAX_LINE + 2)
        return jsonl_fail(r, "the line is longer than %d MiB", JSONL_MAX_LINE >> 20), false;
    size_t capacity = r->capacity * 2 < (size_t)JSONL_MAX_LINE + 2 ? r->capacity * 2 : (size_t)JSONL_MAX_LINE + 2;
    char *line = realloc(r->line, capacity);
    if (!line) return jsonl_fail(r, "out of memory"), false;
    r->line = line;
    r->capacity = capacity;
    return true;
}

/* One line without its end into r->line. gzgets() hides bytes 0, which no JSON contains, so bytes are read singly. */
static int read_line(jsonl_reader *r, size_t *length)
{
    size_t n = 0;
    int c;
    r->number++;
    if (r->number == 1 && ends_with(r->path, ".gz") && gzdirect(r->file))
        return jsonl_fail(r, "the file is not compressed with gzip");
    while ((c = gzgetc(r->file)) != -1 && c != '\n') {
        if (n + 1 >= r->capacity && !grow(r)) return JSONL_ERROR;
        r->line[n++] = (char)c;
    }
    if (c == -1) {
        int code = 0;
        const char *message = gzerror(r->file, &code);
        if (code != Z_OK && code != Z_STREAM_END)
            return jsonl_fail(r, "%s",
                              code == Z_ERRNO       ? strerror(errno)
                              : code == Z_BUF_ERROR ? "the gzip file ends too early"
                                                    : message);
        if (n == 0) return JSONL_END;
    }
    if (n && r->line[n - 1] == '\r') n--;
    *length = n;
    return JSONL_LINE;
}

int jsonl_next(jsonl_reader *r, json_t **line)
{
    *line = NULL;
    if (r->failed) return JSONL_ERROR;
    for (;;) {
        size_t length = 0;
        int status = read_line(r, &length);
        if (status != JSONL_LINE) return status;
        if (r->number == 1 && length >= 3 && memcmp(r->line, "\xEF\xBB\xBF", 3) == 0)
            return jsonl_fail(r, "the file begins with a byte order mark; expected UTF-8 without one");
        size_t blank = 0;
        while (blank < length && (r->line[blank] == ' ' || r->line[blank] == '\t')) blank++;
        if (blank == length) continue;
        json_error_t why; /* jansson refuses invalid UTF-8, duplicate keys by the flag, and what follows the value */
        *line = json_loadb(r->line, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
        return *line ? JSONL_LINE : jsonl_fail(r, "%s (byte %d)", why.text, why.position);
    }
}

int jsonl_rewind(jsonl_reader *r)
{
    r->failed = false;
    r->error[0] = 0;
    if (gzrewind(r->file) != 0) return jsonl_fail(r, "the file cannot be read again from its start");
    r->number = 0;
    return JSONL_END;
}

uint64_t jsonl_line_number(const jsonl_reader *r)
{
    return r->number;
}

const char *jsonl_error(const jsonl_reader *r)
{
    return r->error;
}

void jsonl_close(jsonl_reader *r)
{
    if (!r) return;
    if (r->file) gzclose(r->file);
    free(r->line);
    free(r->path);
    free(r);
}

jsonl_writer *jsonl_create(const char *path, bool append, char *error, size_t error_size)
{
    jsonl_writer *w = calloc(1, sizeof *w);
    if (w) w->file = fopen(path, append ? "ae" : "we");
    if (!w || !w->file) {
        snprintf(error, error_size, "%s: %s", path, w ? strerror(errno) : "out of memory");
        free(w);
        return NULL;
    }
    return w;
}

bool jsonl_append(jsonl_writer *w, json_t *line)
{
    /* 9 digits give back every float; reals keep their point, so that 1.0 stays a real */
    bool good = line && json_dumpf(line, w->file, JSON_COMPACT | JSON_REAL_PRECISION(9) | JSON_ENCODE_ANY) == 0;
    json_decref(line);
    good = good && fputc('\n', w->file) != EOF && fflush(w->file) == 0;
    if (!good) w->failed = true;
    return good;
}

bool jsonl_sync(jsonl_writer *w)
{
    return !w->failed && (fsync(fileno(w->file)) == 0 || errno == EINVAL || errno == EROFS); /* as of a pipe */
}

bool jsonl_finish(jsonl_writer *w)
{
    if (!w) return true;
    bool good = jsonl_sync(w);
    good = fclose(w->file) == 0 && good;
    free(w);
    return good;
}
