#include "annotate/server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BODY = 64 << 10,    /* bytes, where a route says nothing else */
    BODY_SECONDS = 30,  /* for all of it */
    IDLE_SECONDS = 15,  /* between two signs of life of a connection, streams aside */
    CONNECTIONS = 512,  /* more are not accepted */
    HEADERS = 32 << 10, /* bytes of memory a connection */
    RATE = 20,
    BURST = 60 /* requests a second of an annotator, and at once; those without session share one */
};

typedef struct stream_reader stream_reader;

struct server {
    server_settings set;
    struct MHD_Daemon *daemon;
    int port;
    pthread_mutex_t lock; /* of what follows */
    stream_reader *waiting;
    bool stopping;
    struct {
        int64_t who;
        double left, at;
    } buckets[256];
};

/* What is remembered of a request until it is answered. */
typedef struct pending {
    const route *route;
    char *body;
    size_t n, capacity;
    double begun;
} pending;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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
    return queue(c, MHD_HTTP_OK, response);
}

/* --- requests -------------------------------------------------------------------------------- */

static enum MHD_Result answer(struct MHD_Connection *c, reply *r)
{
    char cookie[256];
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
        snprintf(cookie, sizeof cookie, "session=%s; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000", r->cookie);
        MHD_add_response_header(response, MHD_HTTP_HEADER_SET_COOKIE, cookie);
    }
    return queue(c, r->status ? r->status : MHD_HTTP_OK, response);
}

static enum MHD_Result refuse(struct MHD_Connection *c, int status, const char *why)
{
    reply r = {0};
    reply_error(&r, status, "%s", why);
    return answer(c, &r);
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
    double at = seconds();
    pthread_mutex_lock(&s->lock);
    size_t i = (size_t)who % (sizeof s->buckets / sizeof *s->buckets);
    if (s->buckets[i].at <= 0 || s->buckets[i].who != who)
        s->buckets[i].left = BURST;
    else
        s->buckets[i].left += (at - s->buckets[i].at) * RATE;
    if (s->buckets[i].left > BURST) s->buckets[i].left = BURST;
    s->buckets[i].at = at;
    s->buckets[i].who = who;
    bool ok = s->buckets[i].left >= 1;
    if (ok) s->buckets[i].left -= 1;
    pthread_mutex_unlock(&s->lock);
    return ok;
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
    const bool changes = strcmp(r->method, "POST") == 0;
    const char *cookie = MHD_lookup_connection_value(c, MHD_COOKIE_KIND, "session");
    session who = {0};
    bool known = false;
    reply out = {0};
    if (cookie && !store_session(s->set.s, cookie, &who, &known))
        return refuse(c, MHD_HTTP_INTERNAL_SERVER_ERROR, store_error(s->set.s));
    if (!is_slow_enough(s, known ? who.annotator : 0))
        return refuse(c, MHD_HTTP_TOO_MANY_REQUESTS, "too many requests");
    if (!r->open && !known)
        return refuse(c, MHD_HTTP_UNAUTHORIZED, "no session: open the link that the station printed");
    if (changes && !r->open && !same_secret(header(c, "X-CSRF-Token"), who.csrf))
        return refuse(c, MHD_HTTP_FORBIDDEN, "the request does not come from the page");
    /* A form of another site cannot send this type. */
    if (changes && strcmp(header(c, MHD_HTTP_HEADER_CONTENT_TYPE), "application/json") != 0)
        return refuse(c, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "the body is not application/json");
    size_t n = strlen(r->path);
    request q = {.path = path + n, .who = known ? &who : NULL, .text = p->body ? p->body : "", .n_text = p->n};
    json_t *body = NULL;
    if (changes && r->limit == 0) {
        body = json_loadb(q.text, q.n_text, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(body)) {
            json_decref(body);
            return refuse(c, MHD_HTTP_BAD_REQUEST, "the body is no JSON object");
        }
    }
    q.body = body;
    r->answer(s->set.user, &q, &out);
    enum MHD_Result result = out.stream ? answer_stream(s, c, out.stream) : answer(c, &out);
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

static enum MHD_Result begin_request(server *s, struct MHD_Connection *c, const char *path, const char *method,
                                     pending **out)
{
    bool other_method;
    if (!is_our_host(header(c, MHD_HTTP_HEADER_HOST)))
        return refuse(c, MHD_HTTP_MISDIRECTED_REQUEST, "the station answers to localhost and addresses only");
    const route *r = find_route(s, method, path, &other_method);
    if (!r)
        return other_method ? refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "not with this method")
                            : refuse(c, MHD_HTTP_NOT_FOUND, "there is no such page");
    if (strtoull(header(c, MHD_HTTP_HEADER_CONTENT_LENGTH), NULL, 10) > (r->limit ? r->limit : BODY))
        return refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large");
    *out = calloc(1, sizeof **out);
    if (!*out) return MHD_NO;
    (*out)->route = r;
    (*out)->begun = seconds();
    return MHD_YES;
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
    if (p->n + *n > limit || seconds() - p->begun > BODY_SECONDS || !take(p, data, *n)) return MHD_NO;
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

server *server_start(app *a, const server_settings *set)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)set->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)set->port)};
    const bool is_v4 = inet_pton(AF_INET, set->address, &v4.sin_addr) == 1;
    if (!is_v4 && inet_pton(AF_INET6, set->address, &v6.sin6_addr) != 1) {
        app_fail(a, "%s is no numeric address", set->address);
        return NULL;
    }
    server *s = app_must(calloc(1, sizeof *s));
    s->set = *set;
    pthread_mutex_init(&s->lock, NULL);
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (is_v4 ? 0 : MHD_USE_IPv6),
        (uint16_t)set->port, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL,
        MHD_OPTION_SOCK_ADDR, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HEADERS, MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
        MHD_OPTION_END);
    const union MHD_DaemonInfo *info = s->daemon ? MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (info) {
        s->port = info->port;
        return s;
    }
    app_fail(a, "%s, port %d: cannot be listened on; is a station running there already?", set->address, set->port);
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
