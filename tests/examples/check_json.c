/*
 * check_json FILE KEY...: each line of the file is one JSON object, the last line has all keys, "a.b" being b in a. The
 * value of a key that ends in
 * "=VALUE" is that. Exit status 0, or 1 with a message.
 */
#include "common/jsonl.h"

#include <stdio.h>
#include <string.h>

static const json_t *look_up(const json_t *object, const char *key, size_t length)
{
    char name[128];
    const char *dot = memchr(key, '.', length);
    size_t n = dot ? (size_t)(dot - key) : length;
    snprintf(name, sizeof name, "%.*s", (int)n, key);
    const json_t *value = json_object_get(object, name);
    return dot && value ? look_up(value, dot + 1, length - n - 1) : value;
}

static int has(const json_t *line, const char *key)
{
    const char *equals = strchr(key, '=');
    const json_t *value = look_up(line, key, equals ? (size_t)(equals - key) : strlen(key));
    char text[128] = "";
    if (!value) return 0;
    if (!equals) return 1;
    json_dumpb(value, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
    return strcmp(text, equals + 1) == 0;
}

int main(int argc, char **argv)
{
    char error[1024] = "expected a file";
    jsonl_reader *reader = argc > 1 ? jsonl_open(argv[1], error, sizeof error) : NULL;
    json_t *line = NULL, *last = NULL;
    int status, wrong = 0;
    if (!reader) {
        fprintf(stderr, "check_json: %s\n", error);
        return 1;
    }
    while ((status = jsonl_next(reader, &line)) == JSONL_LINE) {
        if (!json_is_object(line))
            wrong = fprintf(stderr, "check_json: %s:%lu: not an object\n", argv[1],
                            (unsigned long)jsonl_line_number(reader));
        json_decref(last);
        last = line;
    }
    if (status == JSONL_ERROR) wrong = fprintf(stderr, "check_json: %s\n", jsonl_error(reader));
    if (!last) wrong = fprintf(stderr, "check_json: %s: no line\n", argv[1]);
    for (int i = 2; last && i < argc; i++)
        if (!has(last, argv[i])) wrong = fprintf(stderr, "check_json: %s: the last line has no %s\n", argv[1], argv[i]);
    json_decref(last);
    jsonl_close(reader);
    return wrong != 0;
}
