#include "annotate/station.h"

#include "annotate/pages.h"
#include "annotate/statistics.h"
#include "common/plot.h"
#include "common/records.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT = 16 << 10, REASON = 200, LINES = 32 << 20 }; /* bytes, the last of an import */

static const char *text_in(const json_t *body, const char *key)
{
    const char *text = json_string_value(json_object_get(body, key));
    return text ? text : "";
}

static void reply_json(reply *r, json_t *json)
{
    if (json)
        r->json = json;
    else
        reply_error(r, 500, "no memory");
}

static void reply_store(reply *r)
{
    reply_error(r, 507, "nothing was changed: %s", store_error());
}

/* --- pages ----------------------------------------------------------------------------------- */

static void reply_text(reply *r, const char *text, const char *type)
{
    r->text = app_must(strdup(text));
    r->type = type;
}

static void page(void *user, const request *q, reply *r)
{
    (void)user, (void)q;
    reply_text(r, page_html, "text/html; charset=utf-8");
}

static void script(void *user, const request *q, reply *r)
{
    (void)user, (void)q;
    reply_text(r, page_js, "text/javascript; charset=utf-8");
}

static void style(void *user, const request *q, reply *r)
{
    (void)user, (void)q;
    reply_text(r, page_css, "text/css; charset=utf-8");
}

static void icon(void *user, const request *q, reply *r)
{
    (void)user, (void)q;
    reply_text(r,
               "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='7' height='16' rx='2' "
               "fill='#2b6a9b'/><rect x='9' width='7' height='16' rx='2' fill='#b9cfdf'/></svg>",
               "image/svg+xml");
}

/* --- who ------------------------------------------------------------------------------------- */

/* A name as it is shown: no blanks at its ends, no control characters, not too long. */
static bool read_name(const char *from, char name[STORE_NAME])
{
    while (*from == ' ') from++;
    size_t n = strlen(from);
    while (n > 0 && from[n - 1] == ' ') n--;
    if (n == 0 || n >= STORE_NAME) return false;
    for (size_t i = 0; i < n; i++)
        if (iscntrl((unsigned char)from[i])) return false;
    memcpy(name, from, n);
    name[n] = 0;
    return true;
}

static json_t *state_of(station *t, const session *who)
{
    json_t *progress = store_progress(t->s, who->annotator, t->kind, t->batch);
    if (!progress) return NULL;
    json_object_set_new(progress, "target", json_integer(t->target));
    return json_pack("{s:s, s:s, s:b, s:b, s:{s:I, s:s}, s:s, s:o}", "name", who->name, "csrf", who->csrf, "is_owner",
                     who->owner, "is_safety", t->kind == LLAMA2_KIND_SAFETY, "guideline", "version",
                     (json_int_t)t->version, "text", t->guideline, "batch", t->batch, "progress", progress);
}

static void state(void *user, const request *q, reply *r)
{
    station *t = user;
    json_t *o = q->who ? state_of(t, q->who) : json_pack("{s:n}", "name"); /* the page asks for a name then */
    o ? reply_json(r, o) : reply_store(r);
}

static void join(void *user, const request *q, reply *r)
{
    station *t = user;
    static _Thread_local session who; /* its cookie is read after this */
    char name[STORE_NAME];
    bool known;
    if (!read_name(text_in(q->body, "name"), name)) {
        reply_error(r, 422, "a name has 1 to %d bytes, and no control characters", STORE_NAME - 1);
        return;
    }
    if (!store_join(t->s, text_in(q->body, "token"), name, &who, &known)) {
        reply_store(r);
        return;
    }
    if (!known) {
        reply_error(r, 403, "this link was used before, or never given out: ask for another one");
        return;
    }
    json_t *o = state_of(t, &who);
    r->cookie = who.cookie;
    o ? reply_json(r, o) : reply_store(r);
}

static void invite(void *user, const request *q, reply *r)
{
    station *t = user;
    char token[STORE_TOKEN];
    (void)q;
    if (store_invite(t->s, false, token))
        reply_json(r, json_pack("{s:s}", "token", token));
    else
        reply_store(r);
}

/* --- items ----------------------------------------------------------------------------------- */

/* Answers with the item; its responses are on their way where they are not there. */
static void reply_item(station *t, const session *who, int64_t id, reply *r)
{
    char wrong[1024];
    json_t *item = store_item(t->s, who->annotator, id);
    if (!item) {
        reply_store(r);
    } else if (json_is_null(item)) {
        json_decref(item);
        reply_error(r, 404, "there is no such comparison");
    } else {
        const json_t *responses = json_object_get(item, "responses");
        bool whole = json_is_string(json_array_get(responses, 0)) && json_is_string(json_array_get(responses, 1));
        if (whole || generator_want(t->g, id, item, wrong, sizeof wrong)) {
            reply_json(r, json_pack("{s:o}", "item", item));
        } else {
            json_decref(item);
            reply_error(r, 503, "%s", wrong);
        }
    }
}

/* What the annotator has open, or comes next, as an item; 0: nothing, -1: failed. */
static int64_t next_item(station *t, const session *who)
{
    json_t *found = store_open_item(t->s, who->annotator, t->kind, t->overlap);
    int64_t id = found ? json_integer_value(json_object_get(found, "id")) : -1,
            prompt = json_integer_value(json_object_get(found, "prompt"));
    if (prompt > 0) {
        json_object_del(found, "prompt");
        id = store_add_item(t->s, who->annotator, t->kind, found, prompt, 0, t->batch);
    }
    json_decref(found);
    return id;
}

/* Whether it waited for a model that could answer it, which this one cannot: it is skipped then. */
static bool is_hopeless(station *t, const session *who, int64_t id)
{
    bool known = false;
    json_t *item = store_item(t->s, who->annotator, id);
    const json_t *responses = json_object_get(item, "responses");
    bool whole = json_is_string(json_array_get(responses, 0)) && json_is_string(json_array_get(responses, 1));
    const char *wrong = item && !whole ? generator_check(t->g, item) : NULL;
    json_decref(item);
    return wrong && store_skip(t->s, who->annotator, t->kind, id, wrong, t->batch, &known) && known;
}

static void next(void *user, const request *q, reply *r)
{
    station *t = user;
    int64_t id;
    do id = next_item(t, q->who);
    while (id > 0 && is_hopeless(t, q->who, id));
    if (id < 0)
        reply_store(r);
    else if (id == 0)
        reply_json(r, json_pack("{s:n}", "item"));
    else
        reply_item(t, q->who, id, r);
}

/* The dialogue that goes on from an item, with the response that was chosen. NULL: it has none. */
static json_t *go_on(station *t, const session *who, int64_t parent)
{
    json_t *item = store_item(t->s, who->annotator, parent), *messages = NULL;
    const char *chosen = json_string_value(json_object_get(item, "choice"));
    if (chosen) {
        const json_t *said = json_array_get(json_object_get(item, "responses"), strcmp(chosen, record_choices[1]) == 0);
        messages = json_deep_copy(json_object_get(item, "messages"));
        json_array_append_new(messages, json_pack("{s:s, s:O}", "role", "assistant", "content", said));
    }
    json_decref(item);
    return messages;
}

static void prompt(void *user, const request *q, reply *r)
{
    station *t = user;
    const char *text = text_in(q->body, "text");
    int64_t parent = json_integer_value(json_object_get(q->body, "parent"));
    size_t n = strlen(text);
    if (n == 0 || n > PROMPT) {
        reply_error(r, 422, n == 0 ? "the prompt is empty" : "the prompt is longer than %d bytes", PROMPT);
        return;
    }
    json_t *messages = parent ? go_on(t, q->who, parent) : json_array();
    if (!messages) {
        reply_error(r, 404, "there is no chosen response to go on from");
        return;
    }
    json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "user", "content", text));
    json_t *dialogue = json_pack("{s:o}", "messages", messages);
    const char *wrong = generator_check(t->g, dialogue);
    if (wrong) {
        reply_error(r, 422, "%s", wrong);
    } else {
        /* What he has open is the same where his page heard no answer and asks again; else it comes first. */
        json_t *open = store_current(t->s, q->who->annotator, t->kind);
        int64_t id = open ? json_integer_value(json_object_get(open, "id")) : -1;
        json_decref(open);
        if (id == 0) id = store_add_item(t->s, q->who->annotator, t->kind, dialogue, 0, parent, t->batch);
        id < 0 ? reply_store(r) : reply_item(t, q->who, id, r);
    }
    json_decref(dialogue);
}

/* The number in "ID/what"; 0: none. *what: what follows it. */
static int64_t item_in(const char *path, const char **what)
{
    char *end;
    long long id = *path >= '1' && *path <= '9' ? strtoll(path, &end, 10) : 0;
    *what = id > 0 && *end == '/' ? end + 1 : "";
    return id > 0 && *end == '/' ? id : 0;
}

static void choose(station *t, const request *q, int64_t item, reply *r)
{
    bool known;
    choice c = {.chosen = record_word(q->body, "choice", record_choices, 2),
                .rating = record_word(q->body, "rating", record_ratings, 4),
                .bin = record_word(q->body, "bin", record_bins, 4),
                .guideline = t->version,
                .seconds = json_number_value(json_object_get(q->body, "seconds")),
                .batch = t->batch};
    const bool labelled = t->kind == LLAMA2_KIND_SAFETY;
    if (c.chosen < 0 || c.rating < 0 || (labelled ? c.bin < 0 : c.bin != -1))
        reply_error(r, 422, "a choice needs which response, by how much%s",
                    labelled ? ", and which are safe" : ", and nothing about safety");
    else if (!(c.seconds >= 0 && c.seconds < 1e7))
        reply_error(r, 422, "the time is none");
    else if (!store_choose(t->s, q->who->annotator, t->kind, item, &c, &known))
        reply_store(r);
    else if (!known)
        reply_error(r, 404, "there is no such comparison, or it has not both responses yet");
    else
        state(t, q, r);
}

static void skip(station *t, const request *q, int64_t item, reply *r)
{
    const char *reason = text_in(q->body, "reason");
    bool known;
    if (!*reason || strlen(reason) > REASON)
        reply_error(r, 422, "to skip needs a reason, of at most %d bytes", REASON);
    else if (!store_skip(t->s, q->who->annotator, t->kind, item, reason, t->batch, &known))
        reply_store(r);
    else if (!known)
        reply_error(r, 404, "there is no such comparison");
    else {
        generator_forget(t->g, item); /* nobody else has it open before it has both responses */
        state(t, q, r);
    }
}

static void item_post(void *user, const request *q, reply *r)
{
    const char *what;
    int64_t item = item_in(q->path, &what);
    if (item && strcmp(what, "choice") == 0)
        choose(user, q, item, r);
    else if (item && strcmp(what, "skip") == 0)
        skip(user, q, item, r);
    else
        reply_error(r, 404, "there is no such page");
}

static void item_get(void *user, const request *q, reply *r)
{
    station *t = user;
    const char *what;
    int64_t id = item_in(q->path, &what);
    if (!id || strcmp(what, "stream") != 0) {
        reply_error(r, 404, "there is no such page");
        return;
    }
    reply_item(t, q->who, id, r); /* his, and on its way */
    if (r->status) return;
    json_decref(r->json);
    *r = (reply){.stream = id};
}

/* Of the item that the page means, so that to ask twice takes back one thing. */
static void undo(void *user, const request *q, reply *r)
{
    station *t = user;
    int64_t item = json_integer_value(json_object_get(q->body, "item"));
    bool known;
    if (!store_undo(t->s, q->who->annotator, t->kind, item, &known)) {
        reply_store(r);
        return;
    }
    if (!known) { /* not the last thing: taken back already, perhaps, and open */
        json_t *open = store_current(t->s, q->who->annotator, t->kind);
        known = item > 0 && json_integer_value(json_object_get(open, "id")) == item;
        json_decref(open);
    }
    if (known)
        reply_item(t, q->who, item, r);
    else
        reply_error(r, 404, "there is nothing to take back");
}

static void history(void *user, const request *q, reply *r)
{
    station *t = user;
    json_t *items = store_history(t->s, q->who->annotator, t->kind, 200);
    items ? reply_json(r, json_pack("{s:o}", "items", items)) : reply_store(r);
}

static void statistics(void *user, const request *q, reply *r)
{
    station *t = user;
    char wrong[1024];
    json_t *o = statistics_json(t->a, t->s, t->kind, q->who->owner, wrong, sizeof wrong);
    if (o)
        reply_json(r, o);
    else
        reply_error(r, 500, "%s", wrong);
}

/* Where responses come from is for whom the station belongs to: others may still choose. */
static bool is_owner(const request *q, reply *r)
{
    if (q->who->owner) return true;
    reply_error(r, 403, "this is for who came by the station's own link");
    return false;
}

static void chart(void *user, const request *q, reply *r)
{
    station *t = user;
    char name[32], wrong[1024];
    const char *dot = strstr(q->path, ".svg");
    snprintf(name, sizeof name, "%.*s", dot ? (int)(dot - q->path) : 0, q->path);
    if (strcmp(name, "variants") == 0 && !is_owner(q, r)) return;
    r->text = statistics_chart(t->s, t->kind, name, wrong, sizeof wrong);
    r->type = "image/svg+xml";
    if (!r->text) reply_error(r, *wrong ? 500 : 404, "%s", *wrong ? wrong : "there is no such chart");
}

/* --- streams --------------------------------------------------------------------------------- */

/* {"which", "text"} for what is new of a response, {"which", "end": true} at its end. *position counts its bytes, and
 * is ENDED when it is over. */
enum { ENDED = -1 };

static char *event(char *events, json_t *o)
{
    char *line = json_dumps(o, JSON_COMPACT), *all = NULL;
    json_decref(o);
    if (line && asprintf(&all, "%sdata: %s\n\n", events ? events : "", line) < 0) all = NULL;
    free(line);
    free(events);
    return all;
}

char *station_stream(void *user, int64_t item, uint64_t position[2], bool *ended)
{
    station *t = user;
    char *events = NULL;
    for (int k = 0; k < 2; k++) {
        char *text, *whole = NULL;
        if (position[k] == (uint64_t)ENDED) continue;
        generator_state state = generator_text(t->g, item, k, position[k], &text);
        /* What is done has left the generator, perhaps before all of it was read here. */
        if (state == GENERATOR_UNKNOWN && (whole = store_response(t->s, item, k)) != NULL &&
            strlen(whole) > position[k])
            text = app_must(strdup(whole + position[k]));
        if (state == GENERATOR_UNKNOWN && !whole) state = GENERATOR_FAILED;
        free(whole);
        if (text && state != GENERATOR_FAILED) {
            events = event(events, json_pack("{s:i, s:s}", "which", k, "text", text));
            position[k] += strlen(text);
        }
        if (state != GENERATOR_GOES_ON) {
            position[k] = (uint64_t)ENDED;
            events = event(events, state == GENERATOR_FAILED
                                       ? json_pack("{s:i, s:s}", "which", k, "error", text ? text : "it is not there")
                                       : json_pack("{s:i, s:b}", "which", k, "end", 1));
        }
        free(text);
    }
    *ended = position[0] == (uint64_t)ENDED && position[1] == (uint64_t)ENDED;
    return events;
}

/* --- files ----------------------------------------------------------------------------------- */

static bool add_line(void *user, json_t *line)
{
    plot_text *out = user;
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(line);
    if (text) plot_print(out, "%s\n", text);
    free(text);
    return text && !out->failed;
}

static void export(void *user, const request *q, reply *r)
{
    station *t = user;
    plot_text out = {0};
    if (!is_owner(q, r)) return;
    if (store_export(t->s, add_line, &out)) {
        r->text = out.data ? out.data : app_must(calloc(1, 1));
        r->type = "application/jsonl; charset=utf-8";
    } else {
        free(out.data);
        reply_store(r);
    }
}

/* What to do with each line of a body; NULL, or what is wrong. */
typedef const char *(*line_fn)(station *t, const json_t *line, bool *added);

/* All of them, or none. */
static void read_lines(station *t, const request *q, line_fn read, reply *r)
{
    int64_t n = 0, n_added = 0;
    const char *wrong = NULL;
    if (!store_begin(t->s)) {
        reply_store(r);
        return;
    }
    for (size_t at = 0; !wrong && at < q->n_text; n++) {
        const char *begin = q->text + at, *end = memchr(begin, '\n', q->n_text - at);
        size_t length = end ? (size_t)(end - begin) : q->n_text - at;
        bool added = false;
        at += length + 1;
        if (strspn(begin, " \t\r\n") >= length) continue;
        json_t *line = json_loadb(begin, length, 0, NULL);
        wrong = line ? read(t, line, &added) : "is no JSON";
        json_decref(line);
        n_added += added;
    }
    if (!store_end(t->s, !wrong) && !wrong)
        reply_store(r);
    else if (wrong)
        reply_error(r, wrong == store_error() ? 507 : 422, "line %lld: %s; nothing was added", (long long)n, wrong);
    else
        reply_json(r, json_pack("{s:I}", "added", (json_int_t)n_added));
}

static const char *queue_line(station *t, const json_t *line, bool *added)
{
    records checked = {0};
    const char *wrong = generator_check(t->g, line);
    if (!wrong) wrong = records_add_prompt(&checked, line);
    json_t *dialogue = wrong ? NULL : record_line(&checked.items[0], NULL);
    if (dialogue && !store_queue(t->s, t->kind, dialogue, "page", added)) wrong = store_error();
    json_decref(dialogue);
    records_free(&checked);
    return wrong;
}

static void queue(void *user, const request *q, reply *r)
{
    if (is_owner(q, r)) read_lines(user, q, queue_line, r);
}

static const char *import_line(station *t, const json_t *line, bool *added)
{
    return store_import(t->s, line, added);
}

static void import(void *user, const request *q, reply *r)
{
    if (is_owner(q, r)) read_lines(user, q, import_line, r);
}

const route station_routes[] = {
    {"GET", "/", page, true, 0},
    {"GET", "/page.js", script, true, 0},
    {"GET", "/page.css", style, true, 0},
    {"GET", "/icon.svg", icon, true, 0},
    {"POST", "/api/join", join, true, 0},
    {"POST", "/api/invite", invite, false, 0},
    {"GET", "/api/state", state, true, 0},
    {"POST", "/api/next", next, false, 0},
    {"POST", "/api/prompt", prompt, false, 0},
    {"GET", "/api/items/", item_get, false, 0},
    {"POST", "/api/items/", item_post, false, 0},
    {"POST", "/api/undo", undo, false, 0},
    {"GET", "/api/history", history, false, 0},
    {"GET", "/api/statistics", statistics, false, 0},
    {"GET", "/charts/", chart, false, 0},
    {"GET", "/export.jsonl", export, false, 0},
    {"POST", "/api/import", import, false, LINES},
    {"POST", "/api/queue", queue, false, LINES},
    {0},
};
