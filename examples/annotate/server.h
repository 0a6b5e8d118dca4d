/*
 * HTTP for the station, over libmicrohttpd: one thread serves all connections, on one address. What every request must
 * pass before a route sees it: a Host that is ours (against DNS rebinding), a body that is not too large and comes in
 * time, for all but the first page a session's cookie, for all that changes something the session's CSRF token and
 * JSON, and a rate that a person can reach.
 */
#ifndef EXAMPLES_ANNOTATE_SERVER_H
#define EXAMPLES_ANNOTATE_SERVER_H

#include "annotate/store.h"
#include "common/app.h"

typedef struct server server;

typedef struct request {
    const char *path;   /* what follows the route's own path: a number, "" */
    const session *who; /* NULL: a route that needs none, and there is none */
    const json_t *body; /* of a POST, an object */
    const char *text;   /* the same as it came: for lines */
    size_t n_text;
} request;

/* What a route answers: JSON, which is taken over, or a text of some type, which is freed. */
typedef struct reply {
    int status; /* 200 where it is 0 */
    json_t *json;
    char *text;
    const char *type;
    const char *cookie; /* a new session's */
    int64_t stream;     /* of this item: what is said as it comes, by server_settings.stream */
} reply;

typedef void (*route_fn)(void *user, const request *q, reply *r);

typedef struct route {
    const char *method, *path; /* "/api/items/" with the slash: what follows is in request.path */
    route_fn answer;
    bool open;    /* needs no session */
    size_t limit; /* bytes of the body; 0: 64 KiB */
} route;

typedef struct server_settings {
    const char *address; /* numeric */
    int port;            /* 0: any that is free */
    const route *routes; /* until one without a method */
    store *s;
    void *user; /* of the routes */
    /* The next events of a stream, to be freed, NULL: nothing yet. *position is the stream's own memory, 0 at first;
     * *ended: this was the last. */
    char *(*stream)(void *user, int64_t item, uint64_t position[2], bool *ended);
} server_settings;

server *server_start(app *a, const server_settings *set); /* NULL: failed */
void server_stop(server *s);
int server_port(const server *s);
/* There is something new for those who listen to streams. From any thread. */
void server_news(server *s);

/* For the routes. */
void reply_error(reply *r, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
