#include "annotate/server.h"

#include "common/progress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BODY = 64 << 10,    /* bytes, where a route says nothing else */
    BODY_SECONDS = 30,  /* for all of it */
    IDLE_SECONDS = 15,  /* between two signs of life of a connection, streams aside */
    CONNECTIONS = 512,  /* more are not accepted */
    HEADERS = 32 << 10, /* bytes of memory a connection */
    RATE = 20,          /* requests a second of an annotator; those without session share one */
    BURST = 60,         /* that may come at once */
    BUCKETS = 256,      /* annotators beyond so many share */
};

typedef struct stream_reader stream_reader;

/* What is left of the requests that may come at once. */
typedef struct bucket {
    double left, at;
} bucket;

struct server {
    server_settings set;
    struct MHD_Daemon *daemon;
    int port;
    bucket buckets[BUCKETS]; /* by annotator; more than BUCKETS of them share */
    pthread_mutex_t lock;    /* of what follows */
    stream_reader *waiting;
    bool stopping;
};

/* What is remembered of a request until it is answered. */
typedef struct pending {
    const route *route;
    session who;
    bool known; /* who it is */
    char *body;
    size_t n, capacity;
    double begun;
} pending;

/* --- answers --------------------------------------------------------------------------------- */

void reply_error(reply *r, int status, const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    json_decref(r->json);
    free(r->text);
    json_t *shown = json_string(text);
    *r = (reply){.status = status,
                 .json = json_pack("{s:o}", "error", shown ? shown : json_string("what went wrong is no UTF-8"))};
}

static void put_headers(struct MHD_Response *response, const char *type)
{
    static const char *const headers[][2] = {
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "
         "'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cache-Control", "no-store"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        MHD_add_response_header(response, headers[i][0], headers[i][1]);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
}

static enum MHD_Result queue(struct MHD_Connection *c, int status, struct MHD_Response *response)
{
    enum MHD_Result result = MHD_queue_response(c, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

/* --- streams --------------------------------------------------------------------------------- */

struct stream_reader {
    server *s;
    struct MHD_Connection *connection;
    int64_t item;
    uint64_t position[2];
    char *text; /* that the connection has not taken yet */
    size_t at, n;
    bool ended;
    stream_reader *next;
};

static ssize_t read_stream(void *user, uint64_t position, char *buffer, size_t room)
{
    (void)position;
    stream_reader *r = user;
    server *s = r->s;
    ssize_t taken = 0;
    pthread_mutex_lock(&s->lock);
    if (!r->text && !r->ended && !s->stopping) {
        r->text = s->set.stream(s->set.user, r->item, r->position, &r->ended);
        r->at = 0;
        r->n = r->text ? strlen(r->text) : 0;
    }
    if (r->text) {
        size_t n = r->n - r->at < room ? r->n - r->at : room;
        memcpy(buffer, r->text + r->at, n);
        r->at += n;
        taken = (ssize_t)n;
        if (r->at == r->n) {
            free(r->text);
            r->text = NULL;
        }
    } else if (r->ended || s->stopping) {
        taken = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        r->next = s->waiting;
        s->waiting = r;
        MHD_suspend_connection(r->connection);
    }
    pthread_mutex_unlock(&s->lock);
    return taken;
}

static void resume_all(server *s)
{
    while (s->waiting) {
        struct MHD_Connection *c = s->waiting->connection; /* which may end, and its reader with it, when it goes on */
        s->waiting = s->waiting->next;
        MHD_resume_connection(c);
    }
}

void server_news(server *s)
{
    pthread_mutex_lock(&s->lock);
    resume_all(s);
    pthread_mutex_unlock(&s->lock);
}

static void free_stream(void *user)
{
    stream_reader *r = user;
    free(r->text);
    free(r);
}

static enum MHD_Result answer_stream(server *s, struct MHD_Connection *c, int64_t item)
{
    stream_reader *r = calloc(1, sizeof *r);
    if (!r) return MHD_NO;
    r->s = s;
    r->connection = c;
    r->item = item;
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 << 10, read_stream, r, free_stream);
    if (!response) {
        free_stream(r);
        return MHD_NO;
    }
    put_headers(response, "text/event-stream");
    MHD_add_response_header(response, "X-Accel-Buffering", "no"); /* nginx before us is not to collect it */
    return queue(c, MHD_HTTP_OK, response);
}

/* --- requests -------------------------------------------------------------------------------- */

/* Cookies know no port, and each station has sessions of its own. */
static void cookie_name(const server *s, char *name, size_t size)
{
    snprintf(name, size, "session-%d", s->port);
}

static enum MHD_Result answer(const server *s, struct MHD_Connection *c, reply *r)
{
    char cookie[256], name[32];
    const bool is_json = r->json != NULL;
    char *text = is_json ? json_dumps(r->json, JSON_COMPACT) : r->text;
    json_decref(r->json);
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (!response) {
        free(text);
        return MHD_NO;
    }
    put_headers(response, is_json || !r->type ? "application/json" : r->type);
    if (r->cookie) {
        /* Strict: no other site's link or form brings it along. */
        cookie_name(s, name, sizeof name);
        snprintf(cookie, sizeof cookie, "%s=%s; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000", name, r->cookie);
        MHD_add_response_header(response, MHD_HTTP_HEADER_SET_COOKIE, cookie);
    }
    return queue(c, r->status ? r->status : MHD_HTTP_OK, response);
}

static enum MHD_Result refuse(const server *s, struct MHD_Connection *c, int status, const char *why)
{
    reply r = {0};
    reply_error(&r, status, "%s", why);
    return answer(s, c, &r);
}

static const char *header(struct MHD_Connection *c, const char *name)
{
    const char *value = MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
    return value ? value : "";
}

/* A page of another site that makes a name of its own point here can send us requests, but under that name. */
static bool is_our_host(const char *host)
{
    char name[64];
    unsigned char address[sizeof(struct in6_addr)];
    size_t n = *host == '[' ? strcspn(host, "]") : strcspn(host, ":");
    const char *from = host + (*host == '[');
    n -= *host == '[';
    if (n == 0 || n >= sizeof name) return false;
    memcpy(name, from, n);
    name[n] = 0;
    return strcmp(name, "localhost") == 0 || inet_pton(AF_INET, name, address) == 1 ||
           inet_pton(AF_INET6, name, address) == 1;
}

static const route *find_route(const server *s, const char *method, const char *path, bool *other_method)
{
    *other_method = false;
    for (const route *r = s->set.routes; r->method; r++) {
        size_t n = strlen(r->path);
        bool here = n > 1 && r->path[n - 1] == '/' ? strncmp(path, r->path, n) == 0 : strcmp(path, r->path) == 0;
        if (here && strcmp(method, r->method) == 0) return r;
        *other_method = *other_method || here;
    }
    return NULL;
}

/* Whether this one may ask again so soon. */
static bool is_slow_enough(server *s, int64_t who)
{
    double at = progress_now();
    bucket *b = &s->buckets[(size_t)who % BUCKETS];
    b->left = b->at > 0 ? fmin(BURST, b->left + (at - b->at) * RATE) : BURST;
    b->at = at;
    if (b->left < 1) return false;
    b->left -= 1;
    return true;
}

/* Equal in a time that does not tell where they differ. */
static bool same_secret(const char *a, const char *b)
{
    unsigned char differ = strlen(a) != STORE_TOKEN - 1 || strlen(b) != STORE_TOKEN - 1;
    for (size_t i = 0; !differ && i < STORE_TOKEN - 1; i++) differ |= (unsigned char)(a[i] ^ b[i]);
    return !differ;
}

static enum MHD_Result dispatch(server *s, struct MHD_Connection *c, const char *path, pending *p)
{
    const route *r = p->route;
    reply out = {0};
    request q = {.path = path + strlen(r->path),
                 .who = p->known ? &p->who : NULL,
                 .text = p->body ? p->body : "",
                 .n_text = p->n};
    json_t *body = NULL;
    if (strcmp(r->method, "POST") == 0 && r->limit == 0) {
        body = json_loadb(q.text, q.n_text, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(body)) {
            json_decref(body);
            return refuse(s, c, MHD_HTTP_BAD_REQUEST, "the body is no JSON object");
        }
    }
    q.body = body;
    r->answer(s->set.user, &q, &out);
    enum MHD_Result result = out.stream ? answer_stream(s, c, out.stream) : answer(s, c, &out);
    json_decref(body);
    return result;
}

static bool take(pending *p, const char *data, size_t n)
{
    if (p->n + n + 1 > p->capacity) {
        size_t capacity = 2 * (p->n + n) + 1;
        char *grown = realloc(p->body, capacity);
        if (!grown) return false;
        p->body = grown;
        p->capacity = capacity;
    }
    memcpy(p->body + p->n, data, n);
    p->n += n;
    p->body[p->n] = 0;
    return true;
}

/* What the headers tell, before any of the body is taken: NULL, or why not. */
static const char *check(server *s, struct MHD_Connection *c, pending *p, int *status)
{
    const route *r = p->route;
    const bool changes = strcmp(r->method, "POST") == 0;
    char name[32];
    cookie_name(s, name, sizeof name);
    const char *cookie = MHD_lookup_connection_value(c, MHD_COOKIE_KIND, name);
    *status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    if (cookie && !store_session(s->set.s, cookie, &p->who, &p->known)) return store_error();
    *status = MHD_HTTP_TOO_MANY_REQUESTS;
    if (!is_slow_enough(s, p->known ? p->who.annotator : 0)) return "too many requests";
    *status = MHD_HTTP_UNAUTHORIZED;
    if (!r->open && !p->known) return "no session: open the link that the station printed";
    *status = MHD_HTTP_FORBIDDEN;
    if (changes && !r->open && !same_secret(header(c, "X-CSRF-Token"), p->who.csrf))
        return "the request does not come from the page";
    /* A form of another site cannot send this type. */
    *status = MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
    if (changes && strcmp(header(c, MHD_HTTP_HEADER_CONTENT_TYPE), "application/json") != 0)
        return "the body is not application/json";
    *status = MHD_HTTP_CONTENT_TOO_LARGE;
    if (strtoull(header(c, MHD_HTTP_HEADER_CONTENT_LENGTH), NULL, 10) > (r->limit ? r->limit : BODY))
        return "the body is too large";
    return NULL;
}

static enum MHD_Result begin_request(server *s, struct MHD_Connection *c, const char *path, const char *method,
                                     pending **out)
{
    bool other_method;
    int status;
    if (!is_our_host(header(c, MHD_HTTP_HEADER_HOST)))
        return refuse(s, c, MHD_HTTP_MISDIRECTED_REQUEST, "the station answers to localhost and addresses only");
    const route *r = find_route(s, method, path, &other_method);
    if (!r)
        return other_method ? refuse(s, c, MHD_HTTP_METHOD_NOT_ALLOWED, "not with this method")
                            : refuse(s, c, MHD_HTTP_NOT_FOUND, "there is no such page");
    *out = calloc(1, sizeof **out);
    if (!*out) return MHD_NO;
    (*out)->route = r;
    (*out)->begun = progress_now();
    const char *wrong = check(s, c, *out, &status);
    return wrong ? refuse(s, c, status, wrong) : MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *data, size_t *n, void **state)
{
    (void)version;
    server *s = user;
    pending *p = *state;
    if (!p) return begin_request(s, c, path, method, (pending **)state);
    if (*n == 0) return dispatch(s, c, path, p);
    size_t limit = p->route->limit ? p->route->limit : BODY;
    /* Of chunks the length is not known before: what is too much, or too slow, ends the connection. */
    if (p->n + *n > limit || progress_now() - p->begun > BODY_SECONDS || !take(p, data, *n)) return MHD_NO;
    *n = 0;
    return MHD_YES;
}

static void on_end(void *user, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
    (void)user, (void)c, (void)code;
    pending *p = *state;
    if (p) free(p->body);
    free(p);
    *state = NULL;
}

/* --- the server ------------------------------------------------------------------------------ */

static void say_nothing(void *user, const char *format, va_list ap)
{
    (void)user, (void)format, (void)ap;
}

/* A socket that listens, and its port; -1: failed. */
static int listen_on(app *a, const char *address, int port, int *actual)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {.v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}};
    socklen_t size = sizeof at.v4;
    if (inet_pton(AF_INET, address, &at.v4.sin_addr) != 1) {
        at.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        size = sizeof at.v6;
        if (inet_pton(AF_INET6, address, &at.v6.sin6_addr) != 1) {
            app_fail(a, "%s is no numeric address", address);
            return -1;
        }
    }
    /* REUSEADDR: a station that was killed is there again at once. */
    int s = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s >= 0 && setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0 && bind(s, &at.any, size) == 0 &&
        listen(s, CONNECTIONS) == 0 && getsockname(s, &at.any, &size) == 0) {
        *actual = ntohs(at.any.sa_family == AF_INET ? at.v4.sin_port : at.v6.sin6_port);
        return s;
    }
    app_fail(a, "%s, port %d: %s%s", address, port, strerror(errno),
             errno == EADDRINUSE ? "; is a station running there already?" : "");
    if (s >= 0) close(s);
    return -1;
}

server *server_start(app *a, const server_settings *set)
{
    int port, listening = listen_on(a, set->address, set->port, &port);
    if (listening < 0) return NULL;
    server *s = app_must(calloc(1, sizeof *s));
    s->set = *set;
    s->port = port;
    pthread_mutex_init(&s->lock, NULL);
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, s,
        MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL, MHD_OPTION_LISTEN_SOCKET, listening,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS, MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_END);
    if (s->daemon) return s;
    app_fail(a, "the server could not be started");
    close(listening);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

void server_stop(server *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    resume_all(s);
    pthread_mutex_unlock(&s->lock);
    MHD_stop_daemon(s->daemon);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int server_port(const server *s)
{
    return s->port;
}
