/* What the loop leaves under --out/state: a folder a step, and the manifest, a line for each step that is done. */
#include "common/replace.h"
#include "pipeline/loop.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *state_path(const loop *l, char path[4096], const char *format, ...)
{
    va_list args;
    int used = snprintf(path, 4096, "%s/state/", l->p->out);
    va_start(args, format);
    if (used > 0 && used < 4096) vsnprintf(path + used, 4096 - (size_t)used, format, args);
    va_end(args);
    return path;
}

static bool write_text(loop *l, const char *path, const char *text)
{
    char error[4300];
    return replace_file(path, text, strlen(text), error, sizeof error) || app_fail(&l->p->app, "%s", error);
}

/* Doubles come back with the same bits. */
static char *dump(const json_t *value)
{
    return app_must(json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(17)));
}

static bool write_lines(loop *l, const char *path, const json_t *array)
{
    size_t i, size = 0, room = 1 << 16;
    json_t *line;
    char *text = app_must(malloc(room));
    *text = 0;
    json_array_foreach(array, i, line)
    {
        char *one = dump(line);
        size_t length = strlen(one);
        while (size + length + 2 > room) text = app_must(realloc(text, room *= 2));
        memcpy(text + size, one, length);
        size += length;
        text[size++] = '\n';
        text[size] = 0;
        free(one);
    }
    bool ok = write_text(l, path, text);
    free(text);
    return ok;
}

bool state_write_lines(loop *l, const char *name, json_t *array)
{
    char path[4096];
    bool ok = write_lines(l, state_path(l, path, "%s/%s", l->steps[l->at].name, name), array);
    json_decref(array);
    return ok;
}

bool state_write_json(loop *l, const char *name, json_t *value)
{
    char path[4096], *text = dump(value);
    bool ok = write_text(l, state_path(l, path, "%s/%s", l->steps[l->at].name, name), text);
    free(text);
    json_decref(value);
    return ok;
}

json_t *state_read_json(loop *l, const char *path)
{
    json_error_t why;
    json_t *value = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!value) app_fail(&l->p->app, "%s: %s", path, why.text);
    return value;
}

/* The first line: what the steps depend on; without iterations: those of the ablations. */
static json_t *head(const loop *l)
{
    const char *model = l->p->app.args.model;
    json_t *line =
        json_pack("{s:s, s:s, s:I, s:I, s:b, s:b, s:b, s:b, s:s}", "model", model ? model : "", "library",
                  llama2_version(), "seed", (json_int_t)l->p->app.args.seed, "iterations", (json_int_t)l->iterations,
                  "last_version", l->last_version, "from_sft", l->from_sft, "shuffled", l->shuffled, "tiny", l->tiny,
                  "temperature_rule", temperature_rules[l->temperature]);
    if (l->margins) json_object_set_new(line, "margins", json_true()); /* else as in runs from before there were such */
    return line;
}

static bool write_manifest(loop *l)
{
    char path[4096];
    json_t *lines = json_array();
    json_array_append_new(lines, head(l));
    for (int i = 0; i < l->n_done; i++)
        json_array_append_new(lines, json_pack("{s:s, s:f}", "done", l->steps[i].name, "seconds", l->steps[i].seconds));
    bool ok = write_lines(l, state_path(l, path, "manifest.jsonl"), lines);
    json_decref(lines);
    return ok;
}

static bool read_manifest(loop *l, jsonl_reader *reader)
{
    json_t *line = NULL, *wanted = head(l);
    app *a = &l->p->app;
    int status = jsonl_next(reader, &line);
    bool same = status == JSONL_LINE && json_equal(line, wanted);
    json_decref(line);
    json_decref(wanted);
    if (status == JSONL_LINE && !same)
        return app_fail(a, "--resume: the run in %s was begun with another seed or other options; give it the same",
                        l->p->out);
    while (status == JSONL_LINE && (status = jsonl_next(reader, &line)) == JSONL_LINE) {
        const char *name = json_string_value(json_object_get(line, "done"));
        bool expected = name && l->n_done < l->n_steps && strcmp(name, l->steps[l->n_done].name) == 0;
        if (expected)
            l->steps[l->n_done++].seconds = json_real_value(json_object_get(line, "seconds"));
        else
            status = jsonl_fail(reader, "is not the step that comes next");
        json_decref(line);
    }
    return status == JSONL_END || app_fail(a, "%s", jsonl_error(reader));
}

bool state_open(loop *l)
{
    char path[4096], error[4300];
    app *a = &l->p->app;
    if (!app_make_folder(a, state_path(l, path, "%s", ""))) return false;
    bool there = access(state_path(l, path, "manifest.jsonl"), F_OK) == 0;
    if (!there && l->resume) return app_fail(a, "--resume: there is no %s", path);
    if (!there) return write_manifest(l);
    if (!l->resume)
        return app_fail(a, "%s is that of an earlier run: --resume goes on with it; for a new run choose another --out",
                        path);
    jsonl_reader *reader = jsonl_open(path, error, sizeof error);
    bool ok = reader ? read_manifest(l, reader) : app_fail(a, "%s", error);
    if (reader) jsonl_close(reader);
    if (ok && !a->args.quiet)
        fprintf(stderr, "%s: going on after %d of %d steps\n", a->program->name, l->n_done, l->n_steps);
    return ok;
}

bool state_done(loop *l, double seconds)
{
    l->steps[l->at].seconds = seconds;
    l->n_done = l->at + 1;
    return write_manifest(l);
}
