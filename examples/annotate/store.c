#include "annotate/store.h"

#include "common/records.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct store {
    sqlite3 *db;
    pthread_mutex_t lock; /* a call is one transaction; recursive: calls within store_begin() and store_end() are */
    int depth;
    uint64_t secret;
};

static _Thread_local char message[1024];

const char *store_error(void)
{
    return message;
}

static bool fail(store *s, const char *what)
{
    snprintf(message, sizeof message, "%s: %s", what, sqlite3_errmsg(s->db));
    return false;
}

/* --- SQL ------------------------------------------------------------------------------------- */

/* types: what follows, a letter each: i int64_t, d double, t text (NULL: NULL), j JSON as text. */
static bool bind(sqlite3_stmt *q, const char *types, va_list ap)
{
    bool ok = true;
    for (int i = 1; ok && types[i - 1]; i++) {
        if (types[i - 1] == 'i') ok = sqlite3_bind_int64(q, i, va_arg(ap, int64_t)) == SQLITE_OK;
        if (types[i - 1] == 'd') ok = sqlite3_bind_double(q, i, va_arg(ap, double)) == SQLITE_OK;
        if (types[i - 1] == 't')
            ok = sqlite3_bind_text(q, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT) == SQLITE_OK;
        if (types[i - 1] == 'j') {
            char *text = json_dumps(va_arg(ap, const json_t *), JSON_COMPACT | JSON_SORT_KEYS);
            ok = text && sqlite3_bind_text(q, i, text, -1, SQLITE_TRANSIENT) == SQLITE_OK;
            free(text);
        }
    }
    return ok;
}

static json_t *cell(sqlite3_stmt *q, int i)
{
    switch (sqlite3_column_type(q, i)) {
    case SQLITE_INTEGER: return json_integer(sqlite3_column_int64(q, i));
    case SQLITE_FLOAT: return json_real(sqlite3_column_double(q, i));
    case SQLITE_TEXT: {
        const char *text = (const char *)sqlite3_column_text(q, i);
        return json_stringn(text, (size_t)sqlite3_column_bytes(q, i));
    }
    default: return json_null();
    }
}

/* The rows as objects by the names of the columns; NULL: failed. */
static json_t *vask(store *s, const char *sql, const char *types, va_list ap)
{
    sqlite3_stmt *q = NULL;
    json_t *rows = json_array();
    bool ok = rows && sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) == SQLITE_OK && bind(q, types, ap);
    int status = SQLITE_DONE;
    while (ok && (status = sqlite3_step(q)) == SQLITE_ROW) {
        json_t *row = json_object();
        for (int i = 0; i < sqlite3_column_count(q); i++)
            json_object_set_new(row, sqlite3_column_name(q, i), cell(q, i));
        ok = json_array_append_new(rows, row) == 0;
    }
    ok = ok && status == SQLITE_DONE;
    if (!ok) fail(s, "database");
    sqlite3_finalize(q);
    if (ok) return rows;
    json_decref(rows);
    return NULL;
}

static json_t *ask(store *s, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    json_t *rows = vask(s, sql, types, ap);
    va_end(ap);
    return rows;
}

static bool tell(store *s, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    json_t *rows = vask(s, sql, types, ap);
    va_end(ap);
    json_decref(rows);
    return rows != NULL;
}

/* The first row, null where there is none; takes the rows over. */
static json_t *first(json_t *rows)
{
    json_t *row = json_incref(json_array_size(rows) ? json_array_get(rows, 0) : json_null());
    json_decref(rows);
    return row;
}

static int64_t integer(const json_t *row, const char *column)
{
    return json_integer_value(json_object_get(row, column));
}

static bool begin(store *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->depth > 0 || tell(s, "BEGIN IMMEDIATE", "")) {
        s->depth++;
        return true;
    }
    pthread_mutex_unlock(&s->lock);
    return false;
}

/* Ends what begin() began: all of it, or, unless ok, nothing. */
static bool end(store *s, bool ok)
{
    if (--s->depth == 0) {
        ok = ok && tell(s, "COMMIT", "");
        if (!ok) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

bool store_begin(store *s)
{
    return begin(s);
}

bool store_end(store *s, bool ok)
{
    return end(s, ok);
}

static int64_t now(void)
{
    return (int64_t)time(NULL);
}

static bool draw(void *bytes, size_t n)
{
    if (getrandom(bytes, n, 0) == (ssize_t)n) return true;
    snprintf(message, sizeof message, "the system gives no random numbers");
    return false;
}

/* --- the file -------------------------------------------------------------------------------- */

enum { VERSION = 1, INVITATION = 24 * 3600 /* seconds that it is good for */ };

static const char schema[] =
    "CREATE TABLE annotators(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, at INTEGER NOT NULL);"
    "CREATE TABLE secret(value INTEGER NOT NULL);"
    "CREATE TABLE invitations(token TEXT PRIMARY KEY, owner INTEGER NOT NULL, at INTEGER NOT NULL);"
    "CREATE TABLE sessions(cookie TEXT PRIMARY KEY, csrf TEXT NOT NULL, annotator INTEGER NOT NULL REFERENCES "
    "annotators, owner INTEGER NOT NULL, at INTEGER NOT NULL);"
    "CREATE TABLE guidelines(kind INTEGER NOT NULL, version INTEGER NOT NULL, text TEXT NOT NULL, at INTEGER NOT NULL,"
    " PRIMARY KEY(kind, version));"
    "CREATE TABLE prompts(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, dialogue TEXT NOT NULL, source TEXT, at "
    "INTEGER NOT NULL, UNIQUE(kind, dialogue));"
    "CREATE TABLE items(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, dialogue TEXT NOT NULL, prompt INTEGER "
    "REFERENCES"
    " prompts, parent INTEGER REFERENCES items, model0 TEXT, model1 TEXT, temperature0 REAL,"
    " temperature1 REAL, response0 TEXT, response1 TEXT, batch TEXT, name TEXT NOT NULL UNIQUE, at INTEGER NOT NULL);"
    "CREATE INDEX items_of ON items(prompt);"
    /* Prompts that nobody has at the moment: what one skipped may be for another. */
    "CREATE VIEW waiting AS SELECT id, kind, dialogue FROM prompts WHERE NOT EXISTS (SELECT 1 FROM items LEFT JOIN "
    "choices ON choices.item = items.id AND counts WHERE items.prompt = prompts.id AND choices.skipped IS NULL);"
    /* Who is to choose, or has chosen, in which item. */
    "CREATE TABLE shown(item INTEGER NOT NULL REFERENCES items, annotator INTEGER NOT NULL REFERENCES annotators,"
    " open INTEGER NOT NULL, PRIMARY KEY(item, annotator));"
    "CREATE INDEX shown_open ON shown(annotator) WHERE open;"
    "CREATE TABLE choices(id INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL REFERENCES items, annotator "
    "INTEGER"
    " NOT NULL REFERENCES annotators, chosen INTEGER, rating INTEGER, bin INTEGER, skipped TEXT, seconds REAL,"
    " guideline INTEGER, batch TEXT, counts INTEGER NOT NULL DEFAULT 1, at INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX choices_counting ON choices(item, annotator) WHERE counts;"
    "CREATE INDEX choices_of ON choices(annotator, id) WHERE counts;";

static bool make_schema(store *s)
{
    char version[64];
    int64_t secret;
    json_t *row = ask(s, "PRAGMA user_version", "");
    if (!row) return false;
    row = first(row);
    int64_t found = integer(row, "user_version");
    json_decref(row);
    if (found == VERSION) return true;
    if (found != 0) {
        snprintf(message, sizeof message, "of version %lld, this program knows %d", (long long)found, VERSION);
        return false;
    }
    snprintf(version, sizeof version, "PRAGMA user_version = %d", VERSION);
    if (!draw(&secret, sizeof secret) || !begin(s)) return false;
    return end(s, (sqlite3_exec(s->db, schema, NULL, NULL, NULL) == SQLITE_OK || fail(s, "database")) &&
                      tell(s, "INSERT INTO secret VALUES(?)", "i", secret) && tell(s, version, ""));
}

static bool read_secret(store *s)
{
    json_t *row = ask(s, "SELECT value FROM secret", "");
    row = row ? first(row) : NULL;
    s->secret = (uint64_t)integer(row, "value");
    json_decref(row);
    return row != NULL;
}

uint64_t store_secret(const store *s)
{
    return s->secret;
}

store *store_open(const char *path, char *error, size_t error_size)
{
    store *s = calloc(1, sizeof *s);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    if (s) pthread_mutex_init(&s->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    if (file < 0 || !s) {
        snprintf(error, error_size, "%s: %s", path, s ? "cannot be opened" : "no memory");
        free(s);
        return NULL;
    }
    close(file);
    bool ok = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL) == SQLITE_OK ||
              fail(s, "opening");
    if (ok) sqlite3_busy_timeout(s->db, 5000);
    /* FULL: a choice that was answered is on the disk, whatever ends the machine. */
    ok = ok && tell(s, "PRAGMA journal_mode = WAL", "") && tell(s, "PRAGMA synchronous = FULL", "") &&
         tell(s, "PRAGMA foreign_keys = ON", "") && make_schema(s) && read_secret(s) &&
         tell(s, "DELETE FROM invitations WHERE at < ?", "i", now() - INVITATION);
    if (ok) return s;
    snprintf(error, error_size, "%s: %s", path, message);
    store_close(s);
    return NULL;
}

void store_close(store *s)
{
    if (!s) return;
    sqlite3_close(s->db);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- who ------------------------------------------------------------------------------------- */

static bool make_token(char token[STORE_TOKEN])
{
    unsigned char bytes[(STORE_TOKEN - 1) / 2];
    if (!draw(bytes, sizeof bytes)) return false;
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(token + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

bool store_invite(store *s, bool owner, char token[STORE_TOKEN])
{
    return make_token(token) && begin(s) &&
           end(s, tell(s, "INSERT INTO invitations VALUES(?, ?, ?)", "tii", token, (int64_t)owner, now()));
}

/* Who has this name, from now on; -1: failed. */
static int64_t annotator_id(store *s, const char *name)
{
    json_t *row = tell(s, "INSERT INTO annotators(name, at) VALUES(?, ?) ON CONFLICT DO NOTHING", "ti", name, now())
                      ? ask(s, "SELECT id FROM annotators WHERE name = ?", "t", name)
                      : NULL;
    row = row ? first(row) : NULL;
    int64_t id = row ? integer(row, "id") : -1;
    json_decref(row);
    return id;
}

bool store_join(store *s, const char *token, const char *name, session *out, bool *known)
{
    *out = (session){0};
    *known = false;
    if (!make_token(out->cookie) || !make_token(out->csrf) || !begin(s)) return false;
    json_t *row =
        ask(s, "DELETE FROM invitations WHERE token = ? AND at >= ? RETURNING owner", "ti", token, now() - INVITATION);
    bool ok = row != NULL;
    row = ok ? first(row) : NULL;
    *known = json_is_object(row);
    out->owner = integer(row, "owner") != 0;
    json_decref(row);
    if (!*known) return end(s, ok);
    out->annotator = annotator_id(s, name);
    snprintf(out->name, sizeof out->name, "%s", name);
    return end(s, out->annotator > 0 && tell(s, "INSERT INTO sessions VALUES(?, ?, ?, ?, ?)", "ttiii", out->cookie,
                                             out->csrf, out->annotator, (int64_t)out->owner, now()));
}

bool store_session(store *s, const char *cookie, session *out, bool *known)
{
    *out = (session){0};
    *known = false;
    if (!begin(s)) return false;
    json_t *row =
        ask(s,
            "SELECT annotator, name, csrf, owner FROM sessions JOIN annotators ON annotators.id = annotator WHERE "
            "cookie = ?",
            "t", cookie);
    if (!end(s, row != NULL)) {
        json_decref(row);
        return false;
    }
    row = first(row);
    *known = json_is_object(row);
    if (*known) {
        out->annotator = integer(row, "annotator");
        out->owner = integer(row, "owner") != 0;
        snprintf(out->name, sizeof out->name, "%s", json_string_value(json_object_get(row, "name")));
        snprintf(out->csrf, sizeof out->csrf, "%s", json_string_value(json_object_get(row, "csrf")));
        snprintf(out->cookie, sizeof out->cookie, "%s", cookie);
    }
    json_decref(row);
    return true;
}

/* --- guidelines, prompts --------------------------------------------------------------------- */

static int64_t newest_guideline(store *s, int32_t kind)
{
    json_t *row =
        ask(s, "SELECT coalesce(max(version), 0) AS version FROM guidelines WHERE kind = ?", "i", (int64_t)kind);
    if (!row) return -1;
    row = first(row);
    int64_t version = integer(row, "version");
    json_decref(row);
    return version;
}

int64_t store_guideline(store *s, int32_t kind, const char *text)
{
    if (!begin(s)) return -1;
    int64_t version = newest_guideline(s, kind);
    json_t *same = version < 0 ? NULL
                               : ask(s, "SELECT 1 FROM guidelines WHERE kind = ? AND version = ? AND text = ?", "iit",
                                     (int64_t)kind, version, text);
    bool ok = same != NULL;
    if (ok && json_array_size(same) == 0)
        ok = tell(s, "INSERT INTO guidelines VALUES(?, ?, ?, ?)", "iiti", (int64_t)kind, ++version, text, now());
    json_decref(same);
    return end(s, ok) ? version : -1;
}

bool store_queue(store *s, int32_t kind, const json_t *dialogue, const char *source, bool *added)
{
    if (!begin(s)) return false;
    bool ok = tell(s, "INSERT INTO prompts(kind, dialogue, source, at) VALUES(?, ?, ?, ?) ON CONFLICT DO NOTHING",
                   "ijti", (int64_t)kind, dialogue, source, now());
    *added = ok && sqlite3_changes(s->db) == 1;
    return end(s, ok);
}

/* --- items ----------------------------------------------------------------------------------- */

/* What the page gets of an item: never where a response comes from. */
#define ITEM                                                                                                           \
    "SELECT items.id, items.kind, items.parent, dialogue, response0, response1, chosen, rating, bin, skipped FROM "    \
    "items"                                                                                                            \
    " JOIN shown ON shown.item = items.id LEFT JOIN choices ON choices.item = items.id AND choices.annotator ="        \
    " shown.annotator AND counts WHERE shown.annotator = ?"

static json_t *word(const char *const *words, json_t *number)
{
    return json_is_integer(number) ? json_string(words[json_integer_value(number)]) : json_null();
}

/* A row in the words of the data files; takes it over. */
static json_t *shown_item(json_t *row)
{
    if (!json_is_object(row)) return row;
    const char *dialogue = json_string_value(json_object_get(row, "dialogue"));
    json_t *item = json_loads(dialogue, 0, NULL);
    json_object_set(item, "id", json_object_get(row, "id"));
    json_object_set(item, "parent", json_object_get(row, "parent"));
    json_object_set_new(item, "is_safety", json_boolean(integer(row, "kind") == LLAMA2_KIND_SAFETY));
    json_object_set_new(item, "responses",
                        json_pack("[O, O]", json_object_get(row, "response0"), json_object_get(row, "response1")));
    json_object_set_new(item, "choice", word(record_choices, json_object_get(row, "chosen")));
    json_object_set_new(item, "rating", word(record_ratings, json_object_get(row, "rating")));
    json_object_set_new(item, "bin", word(record_bins, json_object_get(row, "bin")));
    json_object_set(item, "skipped", json_object_get(row, "skipped"));
    json_decref(row);
    return item;
}

static bool show_to(store *s, int64_t item, int64_t annotator)
{
    return tell(s, "INSERT INTO shown VALUES(?, ?, 1)", "ii", item, annotator);
}

int64_t store_add_item(store *s, int64_t annotator, int32_t kind, const json_t *dialogue, int64_t prompt,
                       int64_t parent, const char *batch)
{
    char name[STORE_TOKEN];
    if (!make_token(name) || !begin(s)) return -1;
    name[16] = 0;
    bool ok = tell(s,
                   "INSERT INTO items(kind, dialogue, prompt, parent, batch, name, at) VALUES(?, ?, nullif(?, 0), "
                   "nullif(?, 0), ?, ?, ?)",
                   "ijiitti", (int64_t)kind, dialogue, prompt, parent, batch, name, now());
    int64_t id = ok ? sqlite3_last_insert_rowid(s->db) : -1;
    return end(s, ok && show_to(s, id, annotator)) ? id : -1;
}

bool store_answer(store *s, int64_t item, const variants *from)
{
    return begin(s) &&
           end(s, tell(s,
                       "UPDATE items SET model0 = ?, model1 = ?, temperature0 = ?, temperature1 = ?, response0 "
                       "= NULL, response1 = NULL WHERE id = ? AND (response0 IS NULL OR response1 IS NULL)",
                       "ttddi", from->models[0], from->models[1], from->temperatures[0], from->temperatures[1], item));
}

bool store_respond(store *s, int64_t item, int which, const char *text)
{
    return begin(s) && end(s, which == 0 ? tell(s, "UPDATE items SET response0 = ? WHERE id = ?", "ti", text, item)
                                         : tell(s, "UPDATE items SET response1 = ? WHERE id = ?", "ti", text, item));
}

char *store_response(store *s, int64_t item, int which)
{
    if (!begin(s)) return NULL;
    json_t *row = ask(s, "SELECT CASE ? WHEN 0 THEN response0 ELSE response1 END AS text FROM items WHERE id = ?", "ii",
                      (int64_t)which, item);
    bool ok = end(s, row != NULL);
    row = row ? first(row) : NULL;
    const char *text = ok ? json_string_value(json_object_get(row, "text")) : NULL;
    char *copy = text ? strdup(text) : NULL;
    json_decref(row);
    return copy;
}

/* An item that is there already, shown to this annotator too; 0: there is none. */
static int64_t show_old(store *s, int64_t annotator, int32_t kind, bool second_opinion)
{
    static const char *const sql[] = {
        "SELECT id AS item FROM items WHERE kind = ? AND response0 IS NOT NULL AND response1 IS NOT NULL AND NOT "
        "EXISTS "
        "(SELECT 1 FROM shown WHERE shown.item = items.id) AND ? ORDER BY id LIMIT 1",
        "SELECT item FROM choices JOIN items ON items.id = item WHERE counts AND chosen IS NOT NULL AND kind = ? AND "
        "(SELECT count(*) FROM shown WHERE shown.item = items.id) = 1 AND choices.annotator <> ? ORDER BY choices.id "
        "LIMIT "
        "1"};
    json_t *row = ask(s, sql[second_opinion], "ii", (int64_t)kind, annotator);
    if (!row) return -1;
    row = first(row);
    int64_t item = integer(row, "item");
    json_decref(row);
    return item == 0 || show_to(s, item, annotator) ? item : -1;
}

static json_t *open_rows(store *s, int64_t annotator, int32_t kind)
{
    return ask(s, ITEM " AND open AND kind = ? ORDER BY items.id LIMIT 1", "ii", annotator, (int64_t)kind);
}

json_t *store_current(store *s, int64_t annotator, int32_t kind)
{
    if (!begin(s)) return NULL;
    json_t *rows = open_rows(s, annotator, kind);
    if (end(s, rows != NULL)) return shown_item(first(rows));
    json_decref(rows);
    return NULL;
}

json_t *store_open_item(store *s, int64_t annotator, int32_t kind, int64_t overlap)
{
    if (!begin(s)) return NULL;
    json_t *rows = open_rows(s, annotator, kind);
    bool ok = rows != NULL;
    if (ok && json_array_size(rows) == 0) {
        json_t *row = ask(s, "SELECT count(*) AS n FROM shown WHERE annotator = ?", "i", annotator);
        row = row ? first(row) : NULL;
        int64_t n = integer(row, "n"), item = 0;
        ok = row != NULL;
        if (ok && overlap > 0 && n % overlap == overlap - 1) item = show_old(s, annotator, kind, true);
        if (ok && item == 0) item = show_old(s, annotator, kind, false);
        ok = ok && item >= 0;
        json_decref(row);
        if (ok && item > 0) {
            json_decref(rows);
            rows = ask(s, ITEM " AND items.id = ?", "ii", annotator, item);
            ok = rows != NULL;
        }
    }
    json_t *found = ok ? shown_item(first(rows)) : NULL;
    if (ok && json_is_null(found)) {
        /* A prompt that waits, and that he has not skipped. */
        json_t *row =
            ask(s,
                "SELECT id, dialogue FROM waiting WHERE kind = ? AND NOT EXISTS (SELECT 1 FROM shown JOIN items "
                "ON items.id = item WHERE annotator = ? AND items.prompt = waiting.id) ORDER BY id LIMIT 1",
                "ii", (int64_t)kind, annotator);
        ok = row != NULL;
        row = ok ? first(row) : NULL;
        if (json_is_object(row)) {
            found = json_loads(json_string_value(json_object_get(row, "dialogue")), 0, NULL);
            json_object_set(found, "prompt", json_object_get(row, "id"));
        }
        json_decref(row);
    }
    if (end(s, ok)) return found;
    json_decref(found);
    return NULL;
}

json_t *store_item(store *s, int64_t annotator, int64_t item)
{
    if (!begin(s)) return NULL;
    json_t *rows = ask(s, ITEM " AND items.id = ?", "ii", annotator, item);
    if (end(s, rows != NULL)) return shown_item(first(rows));
    json_decref(rows);
    return NULL;
}

/* --- choices --------------------------------------------------------------------------------- */

/* What he said of the item before counts no more; it is closed. */
static bool replace(store *s, int64_t annotator, int64_t item)
{
    return tell(s, "UPDATE choices SET counts = 0 WHERE item = ? AND annotator = ? AND counts", "ii", item,
                annotator) &&
           tell(s, "UPDATE shown SET open = 0 WHERE item = ? AND annotator = ?", "ii", item, annotator);
}

/* Whether he was shown the item, of this kind, and it has both responses or need not. False: failed. */
static bool can_choose(store *s, int64_t annotator, int32_t kind, int64_t item, bool whole, bool *known)
{
    json_t *rows =
        ask(s,
            "SELECT 1 FROM shown JOIN items ON items.id = item WHERE item = ? AND annotator = ? AND kind = ? AND "
            "(NOT ? OR (response0 IS NOT NULL AND response1 IS NOT NULL))",
            "iiii", item, annotator, (int64_t)kind, (int64_t)whole);
    *known = json_array_size(rows) == 1;
    json_decref(rows);
    return rows != NULL;
}

bool store_choose(store *s, int64_t annotator, int32_t kind, int64_t item, const choice *c, bool *known)
{
    if (!begin(s)) return false;
    bool ok = can_choose(s, annotator, kind, item, true, known);
    if (ok && *known)
        ok =
            replace(s, annotator, item) &&
            tell(
                s,
                "INSERT INTO choices(item, annotator, chosen, rating, bin, seconds, guideline, batch, at) VALUES(?, ?, "
                "?, ?, nullif(?, -1), ?, ?, ?, ?)",
                "iiiiiditi", item, annotator, (int64_t)c->chosen, (int64_t)c->rating, (int64_t)c->bin, c->seconds,
                c->guideline, c->batch, now());
    return end(s, ok);
}

bool store_skip(store *s, int64_t annotator, int32_t kind, int64_t item, const char *reason, const char *batch,
                bool *known)
{
    if (!begin(s)) return false;
    bool ok = can_choose(s, annotator, kind, item, false, known);
    if (ok && *known)
        ok = replace(s, annotator, item) &&
             tell(s, "INSERT INTO choices(item, annotator, skipped, batch, at) VALUES(?, ?, ?, ?, ?)", "iitti", item,
                  annotator, reason, batch, now());
    return end(s, ok);
}

/* The last thing that he said of a kind, as far as it counts. */
#define LAST                                                                                                           \
    "SELECT choices.id AS id, item FROM choices JOIN items ON items.id = item WHERE annotator = ? AND kind = ? AND "   \
    "counts"                                                                                                           \
    " ORDER BY choices.id DESC LIMIT 1"

bool store_undo(store *s, int64_t annotator, int32_t kind, int64_t item, bool *known)
{
    *known = false;
    if (!begin(s)) return false;
    json_t *row = ask(s, LAST, "ii", annotator, (int64_t)kind);
    bool ok = row != NULL;
    row = ok ? first(row) : NULL;
    *known = item > 0 && integer(row, "item") == item;
    if (*known)
        ok = tell(s, "UPDATE choices SET counts = 0 WHERE id = ?", "i", integer(row, "id")) &&
             /* What he had open meanwhile waits behind it. */
             tell(s, "UPDATE shown SET open = 1 WHERE item = ? AND annotator = ?", "ii", item, annotator);
    json_decref(row);
    return end(s, ok);
}

/* --- what there is --------------------------------------------------------------------------- */

json_t *store_history(store *s, int64_t annotator, int32_t kind, int64_t most)
{
    if (!begin(s)) return NULL;
    json_t *rows = ask(s, ITEM " AND kind = ? AND choices.id IS NOT NULL ORDER BY choices.id DESC LIMIT ?", "iii",
                       annotator, (int64_t)kind, most);
    if (!end(s, rows != NULL)) {
        json_decref(rows);
        return NULL;
    }
    json_t *items = json_array();
    for (size_t i = 0; i < json_array_size(rows); i++)
        json_array_append_new(items, shown_item(json_incref(json_array_get(rows, i))));
    json_decref(rows);
    return items;
}

json_t *store_progress(store *s, int64_t annotator, int32_t kind, const char *batch)
{
    if (!begin(s)) return NULL;
    json_t *row =
        ask(s,
            "SELECT count(chosen) AS chosen, count(skipped) AS skipped, count(CASE WHEN choices.annotator = ?1 "
            "AND chosen IS NOT NULL THEN 1 END) AS mine, (SELECT count(*) FROM waiting WHERE kind = ?2) AS waiting "
            "FROM choices JOIN items ON items.id = item WHERE counts AND kind = ?2 AND "
            "choices.batch = ?3",
            "iit", annotator, (int64_t)kind, batch);
    json_t *last = row ? ask(s, LAST, "ii", annotator, (int64_t)kind) : NULL;
    bool ok = end(s, last != NULL);
    row = row ? first(row) : NULL;
    last = last ? first(last) : NULL;
    if (ok) json_object_set_new(row, "last", json_integer(integer(last, "item")));
    json_decref(last);
    if (ok) return row;
    json_decref(row);
    return NULL;
}

/* --- lines ----------------------------------------------------------------------------------- */

/* A row of the export as a line of docs/formats.md; takes it over. */
static json_t *line_of(json_t *row)
{
    json_t *line = json_object(), *dialogue = json_loads(json_string_value(json_object_get(row, "dialogue")), 0, NULL);
    json_object_set(line, "id", json_object_get(row, "name"));
    json_object_update(line, dialogue);
    json_decref(dialogue);
    json_object_set_new(line, "is_safety", json_boolean(integer(row, "kind") == LLAMA2_KIND_SAFETY));
    json_object_set_new(line, "responses",
                        json_pack("[O, O]", json_object_get(row, "response0"), json_object_get(row, "response1")));
    json_object_set_new(line, "choice", word(record_choices, json_object_get(row, "chosen")));
    json_object_set_new(line, "rating", word(record_ratings, json_object_get(row, "rating")));
    json_object_set_new(line, "bin", word(record_bins, json_object_get(row, "bin")));
    json_object_set(line, "annotator", json_object_get(row, "annotator"));
    json_object_set(line, "batch", json_object_get(row, "batch"));
    json_object_set(line, "guideline", json_object_get(row, "guideline"));
    json_object_set_new(line, "models",
                        json_pack("[O, O]", json_object_get(row, "model0"), json_object_get(row, "model1")));
    json_object_set_new(
        line, "temperatures",
        json_pack("[O, O]", json_object_get(row, "temperature0"), json_object_get(row, "temperature1")));
    if (json_is_string(json_object_get(row, "skipped")))
        json_object_set(line, "skipped", json_object_get(row, "skipped"));
    if (json_is_number(json_object_get(row, "seconds")))
        json_object_set(line, "seconds", json_object_get(row, "seconds"));
    json_object_set(line, "at", json_object_get(row, "at"));
    json_decref(row);
    return line;
}

bool store_export(store *s, bool (*line)(void *user, json_t *line), void *user)
{
    /* In pieces, so that a long export holds up no annotator; what is said meanwhile comes at the end. */
    enum { PIECE = 256 };
    for (int64_t after = 0;;) {
        if (!begin(s)) return false;
        json_t *rows =
            ask(s,
                "SELECT choices.id AS number, choices.item, items.name, items.kind, dialogue, response0, "
                "response1, chosen, rating, bin, skipped, annotators.name AS annotator, choices.batch, CASE "
                "WHEN guideline THEN CASE items.kind WHEN 1 THEN 'safety ' ELSE 'helpfulness ' END || guideline "
                "END AS guideline, model0, model1, temperature0, temperature1, seconds, choices.at FROM choices "
                "JOIN items ON items.id = choices.item JOIN annotators ON annotators.id = choices.annotator "
                "WHERE counts AND response0 IS NOT NULL AND response1 IS NOT NULL AND choices.id > ? ORDER BY "
                "choices.id LIMIT ?",
                "ii", after, (int64_t)PIECE);
        if (!end(s, rows != NULL)) {
            json_decref(rows);
            return false;
        }
        size_t n = json_array_size(rows);
        bool ok = true;
        for (size_t i = 0; ok && i < n; i++) {
            json_t *row = json_array_get(rows, i);
            after = integer(row, "number");
            ok = line(user, line_of(json_incref(row)));
        }
        json_decref(rows);
        if (!ok || n < PIECE) return ok;
    }
}

/* The text of an element of a list, NULL where it is none. */
static const char *text_of(const json_t *line, const char *key, size_t k)
{
    return json_string_value(json_array_get(json_object_get(line, key), k));
}

static double temperature_of(const json_t *line, size_t k)
{
    const json_t *degree = json_array_get(json_object_get(line, "temperatures"), k);
    return json_is_number(degree) ? json_number_value(degree) : -1;
}

/* The item of the line, made where it is missing; -1: failed. *added: whether it was. */
static int64_t import_item(store *s, const json_t *line, const record *r, const char *name, bool *added)
{
    json_t *dialogue = record_line(r, NULL);
    bool ok =
        tell(s,
             "INSERT INTO items(kind, dialogue, model0, model1, temperature0, temperature1, response0, response1, "
             "batch, name, at) VALUES(?, ?, ?, ?, nullif(?, -1.0), nullif(?, -1.0), ?, ?, ?, ?, ?) ON CONFLICT DO "
             "NOTHING",
             "ijttddtttti", (int64_t)(r->is_safety ? LLAMA2_KIND_SAFETY : LLAMA2_KIND_HELPFUL), dialogue,
             text_of(line, "models", 0), text_of(line, "models", 1), temperature_of(line, 0), temperature_of(line, 1),
             text_of(line, "responses", 0), text_of(line, "responses", 1),
             json_string_value(json_object_get(line, "batch")), name, now());
    *added = ok && sqlite3_changes(s->db) == 1;
    json_decref(dialogue);
    json_t *row = ok ? ask(s, "SELECT id FROM items WHERE name = ?", "t", name) : NULL;
    row = row ? first(row) : NULL;
    int64_t item = row ? integer(row, "id") : -1;
    json_decref(row);
    return item;
}

/* What somebody said of it, unless something is there. */
static bool import_choice(store *s, const json_t *line, int64_t item, const char *annotator, const choice *c,
                          bool *added)
{
    int64_t who = annotator_id(s, annotator);
    bool ok =
        who > 0 && tell(s, "INSERT INTO shown VALUES(?, ?, 0) ON CONFLICT DO NOTHING", "ii", item, who) &&
        tell(s,
             "INSERT INTO choices(item, annotator, chosen, rating, bin, batch, at) VALUES(?, ?, ?, nullif(?, -1), "
             "nullif(?, -1), ?, ?) ON CONFLICT DO NOTHING",
             "iiiiiti", item, who, (int64_t)c->chosen, (int64_t)c->rating, (int64_t)c->bin,
             json_string_value(json_object_get(line, "batch")), now());
    *added = ok && sqlite3_changes(s->db) == 1;
    return ok;
}

const char *store_import(store *s, const json_t *line, bool *added)
{
    const char *name = json_string_value(json_object_get(line, "id")),
               *annotator = json_string_value(json_object_get(line, "annotator")), *wrong;
    int32_t labels[2]; /* of the chosen response, and of the other */
    choice c = {.bin = -1};
    records dialogue = {0};
    *added = false;
    if (json_is_string(json_object_get(line, "skipped")))
        return NULL; /* nothing was chosen, and it is not to wait again */
    if (!name) return "has no \"id\"";
    if (!text_of(line, "responses", 0) || !text_of(line, "responses", 1)) return "has no two \"responses\"";
    if ((wrong = record_annotation(line, &c.chosen, &c.rating, &labels[0], &labels[1])) != NULL) return wrong;
    if (c.chosen >= 0 && (!annotator || !*annotator || strlen(annotator) >= STORE_NAME))
        return "has no name of an annotator";
    if ((wrong = records_add_prompt(&dialogue, line)) != NULL) return wrong;
    if (labels[0] >= 0 && labels[1] >= 0)
        c.bin = labels[0] == labels[1] ? (labels[0] ? LLAMA2_BIN_BOTH_SAFE : LLAMA2_BIN_BOTH_UNSAFE)
                                       : (labels[0] ? LLAMA2_BIN_CHOSEN_SAFE : LLAMA2_BIN_OTHER_SAFE);
    bool ok = begin(s);
    if (ok) {
        int64_t item = import_item(s, line, &dialogue.items[0], name, added);
        ok = item > 0 && (c.chosen < 0 || import_choice(s, line, item, annotator, &c, added));
        ok = end(s, ok);
    }
    records_free(&dialogue);
    return ok ? NULL : message;
}
