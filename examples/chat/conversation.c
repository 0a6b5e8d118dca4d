#include "chat/conversation.h"

#include "common/replace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void conversation_add(conversation *c, int32_t role, const char *text)
{
    c->roles[c->n] = role;
    c->texts[c->n++] = app_must(strdup(text));
}

void conversation_drop(conversation *c, int32_t first, int32_t n)
{
    for (int32_t i = first; i < first + n; i++) free(c->texts[i]);
    for (int32_t i = first; i + n < c->n; i++) {
        c->texts[i] = c->texts[i + n];
        c->roles[i] = c->roles[i + n];
    }
    c->n -= n;
}

int32_t conversation_first(const conversation *c)
{
    return c->n > 0 && c->roles[0] == LLAMA2_ROLE_SYSTEM;
}

/* A line with more than "messages" was written by something else, which would lose it. */
static bool is_own(app *a, const char *file)
{
    char error[1024];
    jsonl_reader *reader = jsonl_open(file, error, sizeof error);
    json_t *line = NULL;
    if (!reader) return app_fail(a, "%s", error);
    bool ok = true;
    while (ok && jsonl_next(reader, &line) == JSONL_LINE) {
        ok = json_object_size(line) == 1 && json_object_get(line, "messages");
        json_decref(line);
    }
    jsonl_close(reader);
    return ok || app_fail(a, "%s: is no conversation of llama2-chat, which is one line with \"messages\" alone", file);
}

static bool load(conversation *c, app *a, const char *file)
{
    char error[1024];
    records all = {0};
    bool ok = records_read(&all, file, RECORD_DEMONSTRATION, error, sizeof error) || app_fail(a, "%s", error);
    ok = ok && is_own(a, file);
    if (ok && all.n > 1) ok = app_fail(a, "%s: has %zu dialogues, a conversation is one", file, all.n);
    for (int32_t i = 0; ok && all.n && i < all.items->n_messages; i++)
        conversation_add(c, all.items->roles[i], all.items->texts[i]);
    if (ok && all.n) conversation_add(c, LLAMA2_ROLE_ASSISTANT, all.items->answer);
    records_free(&all);
    return ok;
}

bool conversation_open(conversation *c, app *a, const char *file, const char *system)
{
    *c = (conversation){.file = file};
    if (file && (access(file, F_OK) == 0 || errno != ENOENT) && !load(c, a, file)) return false;
    if (system && c->n == 0) conversation_add(c, LLAMA2_ROLE_SYSTEM, system);
    if (system && (!conversation_first(c) || strcmp(c->texts[0], system) != 0))
        return app_fail(a, "%s: begins with another system message, or with none", file);
    return true;
}

bool conversation_save(const conversation *c, app *a)
{
    char error[4200];
    const record r = {.n_messages = c->n, .roles = (int32_t *)c->roles, .texts = (char **)c->texts};
    if (!c->file) return true;
    json_t *line = record_line(&r, NULL);
    char *text = app_must(json_dumps(line, JSON_COMPACT)), *whole = app_must(malloc(strlen(text) + 2));
    size_t length = c->n > conversation_first(c) ? (size_t)sprintf(whole, "%s\n", text) : 0;
    bool ok = replace_file(c->file, whole, length, error, sizeof error) || app_fail(a, "%s", error);
    free(whole);
    free(text);
    json_decref(line);
    return ok;
}
