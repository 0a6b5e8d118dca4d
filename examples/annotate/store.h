/*
 * What a station for annotators knows, in one SQLite file (WAL, every commit on disk before it is answered): annotators
 * and their sessions, guidelines by version, prompts that wait, items (a dialogue with two responses), and choices. A
 * choice is never overwritten: a later one, or an undo, says of it that it counts no more.
 *
 * Calls may come from any thread. What is asked for comes as JSON, a new reference; NULL, or false: failed, and
 * store_error() says why.
 */
#ifndef EXAMPLES_ANNOTATE_STORE_H
#define EXAMPLES_ANNOTATE_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_TOKEN = 33, STORE_NAME = 61 }; /* bytes, with the NUL */

typedef struct store store;

/* Opens the file, or makes it (readable by its owner alone). NULL: `error` says why. */
store *store_open(const char *path, char *error, size_t error_size);
void store_close(store *s);
const char *store_error(void); /* of this thread's last call */
/* Drawn when the file was made; nobody but the station knows it. */
uint64_t store_secret(const store *s);

/* What is done between is one transaction: all of it, or, unless ok, nothing. */
bool store_begin(store *s);
bool store_end(store *s, bool ok);

/* --- who ------------------------------------------------------------------------------------- */

typedef struct session {
    int64_t annotator;
    bool owner; /* came by the link of the station itself */
    char name[STORE_NAME], cookie[STORE_TOKEN], csrf[STORE_TOKEN];
} session;

/* A token for one annotator to join with, once, within a day. */
bool store_invite(store *s, bool owner, char token[STORE_TOKEN]);
/* Spends the token: a session of the annotator with this name, who may be new. *known: whether the token was good. */
bool store_join(store *s, const char *token, const char *name, session *out, bool *known);
/* The session of a cookie. */
bool store_session(store *s, const char *cookie, session *out, bool *known);

/* --- what is annotated ------------------------------------------------------------------------ */

/* The guideline of a kind (LLAMA2_KIND_*): a new version where the text is another than the newest one's. Its version,
 * -1: failed. */
int64_t store_guideline(store *s, int32_t kind, const char *text);

/* A prompt waits for an annotator, unless it did before. `dialogue`: {"messages": [...]}. *added: whether it is new. */
bool store_queue(store *s, int32_t kind, const json_t *dialogue, const char *source, bool *added);

/* A dialogue to be answered for this annotator; its id. `prompt`: which waits no more; 0: his own. `parent`: the item
 * that it goes on from, 0: none. -1: failed. */
int64_t store_add_item(store *s, int64_t annotator, int32_t kind, const json_t *dialogue, int64_t prompt,
                       int64_t parent, const char *batch);

/* Where responses come from: model and temperature of the first and the second. */
typedef struct variants {
    const char *models[2];
    double temperatures[2];
} variants;

/* Both responses are sampled now, again where that was broken off; then each of them, whole. */
bool store_answer(store *s, int64_t item, const variants *from);
bool store_respond(store *s, int64_t item, int which, const char *text);
/* A response that is whole, to be freed; NULL: it is not, or failed. */
char *store_response(store *s, int64_t item, int which);

/* What the annotator has open, as an item: {"id", "parent", "is_safety", "messages", "responses": [text or null, ...],
 * "choice", "rating", "bin", "skipped"}; null: nothing. */
json_t *store_current(store *s, int64_t annotator, int32_t kind);
/*
 * The same, or what comes next and is open then. Every `overlap`-th time (0: never) one that another annotator chose
 * in, and nobody else; else one that was imported with both responses and that nobody has seen; else a prompt that
 * waits: {"prompt": id, "messages"}; null: nothing.
 */
json_t *store_open_item(store *s, int64_t annotator, int32_t kind, int64_t overlap);
/* An item that he is or was shown, null: there is none. */
json_t *store_item(store *s, int64_t annotator, int64_t item);

typedef struct choice {
    int32_t chosen, rating, bin; /* as llama2_annotation; bin -1: not said */
    int64_t guideline;           /* its version */
    double seconds;              /* from the end of both responses to the choice */
    const char *batch;
} choice;

/* Sets, or changes, what the annotator says of an item of his. *known: there is such an item of the kind, with both
 * responses. */
bool store_choose(store *s, int64_t annotator, int32_t kind, int64_t item, const choice *c, bool *known);
bool store_skip(store *s, int64_t annotator, int32_t kind, int64_t item, const char *reason, const char *batch,
                bool *known);
/* Takes back what he said of the item, if that is the last thing that he said: it is open again. */
bool store_undo(store *s, int64_t annotator, int32_t kind, int64_t item, bool *known);

/* --- what there is --------------------------------------------------------------------------- */

/* The items that he has said something of, the newest first. */
json_t *store_history(store *s, int64_t annotator, int32_t kind, int64_t most);
/* {"chosen", "skipped", "mine", "waiting"} of a kind in a batch; "last": the item of the last thing that he said. */
json_t *store_progress(store *s, int64_t annotator, int32_t kind, const char *batch);

/* All that counts as lines of docs/formats.md, in the order in which it was said; and skipped items with both
 * responses. `line` takes the reference over; false ends it. */
bool store_export(store *s, bool (*line)(void *user, json_t *line), void *user);
/* A line as it was exported, here or elsewhere, or as llama2-collect prints it: without a choice it waits for an
 * annotator, if it was not skipped. NULL, or what is wrong with it; *added: whether it is new. */
const char *store_import(store *s, const json_t *line, bool *added);

#endif
