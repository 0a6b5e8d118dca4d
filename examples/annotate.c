/* llama2-annotate: a station where annotators compare two responses (section 3.2.1 of the paper), in a browser. */
#include "annotate/guidelines.h"
#include "annotate/station.h"
#include "common/records.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct annotate {
    app a;
    const char *model_b, *db, *mode, *host, *names[2], *batch, *guideline;
    args_list prompts;
    int64_t port, max_new_tokens, target, overlap;
    double temperatures[2], top_p;
    llama2_model *models[2];
    llama2_tokenizer *tokenizers[2];
    station t;
    pthread_mutex_t lock; /* of t.http */
} annotate;

/* The year and week, as in the paper's batches. */
static const char *this_week(void)
{
    static char text[16];
    time_t at = time(NULL);
    struct tm parts;
    localtime_r(&at, &parts);
    strftime(text, sizeof text, "%G-W%V", &parts);
    return text;
}

static bool load(annotate *s)
{
    app *a = &s->a;
    if (!app_load_to_read(a, a->args.model, &s->models[0], &s->tokenizers[0])) return false;
    if (s->model_b) return app_load_to_read(a, s->model_b, &s->models[1], &s->tokenizers[1]);
    s->models[1] = llama2_model_retain(s->models[0]);
    s->tokenizers[1] = llama2_tokenizer_retain(s->tokenizers[0]);
    return true;
}

/* Those that neither model could answer are left out. */
static bool queue_prompts(annotate *s)
{
    char error[1024];
    records all = {0};
    size_t n_added = 0, n_left_out = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < s->prompts.count; i++)
        ok =
            records_read(&all, s->prompts.items[i], RECORD_PROMPT, error, sizeof error) || app_fail(&s->a, "%s", error);
    bool begun = ok && (store_begin(s->t.s) || app_fail(&s->a, "%s", store_error())); /* all of them, or none */
    ok = ok && begun;
    for (size_t i = 0; ok && i < all.n; i++) {
        json_t *dialogue = record_line(&all.items[i], NULL);
        bool added = false, fits = !generator_check(s->t.g, dialogue);
        if (app_interrupted()) ok = false; /* which says nothing of the dialogue */
        if (ok && fits)
            ok = store_queue(s->t.s, s->t.kind, dialogue, "file", &added) || app_fail(&s->a, "%s", store_error());
        json_decref(dialogue);
        n_added += added;
        n_left_out += !fits;
    }
    if (begun && !store_end(s->t.s, ok) && ok) ok = app_fail(&s->a, "%s", store_error());
    if (ok && s->prompts.count > 0 && !s->a.args.quiet)
        fprintf(stderr, "prompts: %zu new, %zu were there before, %zu left out that the model cannot answer\n", n_added,
                all.n - n_added - n_left_out, n_left_out);
    records_free(&all);
    return ok;
}

static bool open_guideline(annotate *s)
{
    char *text = NULL;
    size_t size;
    if (s->guideline && !(text = app_read(&s->a, s->guideline, &size))) return false;
    s->t.guideline = text ? text : app_must(strdup(guidelines[s->t.kind]));
    if (!args_is_text(s->t.guideline)) return app_fail(&s->a, "%s: is no UTF-8", s->guideline);
    s->t.version = store_guideline(s->t.s, s->t.kind, s->t.guideline);
    return s->t.version > 0 || app_fail(&s->a, "%s", store_error());
}

static void on_news(void *user)
{
    annotate *s = user;
    pthread_mutex_lock(&s->lock);
    if (s->t.http) server_news(s->t.http);
    pthread_mutex_unlock(&s->lock);
}

static bool start_generator(annotate *s)
{
    generator_settings g = {
        .top_p = s->top_p, .max_new_tokens = s->max_new_tokens, .seed = s->a.args.seed, .news = on_news, .user = s};
    for (int v = 0; v < 2; v++) {
        g.models[v] = s->models[v];
        g.tokenizers[v] = s->tokenizers[v];
        g.names[v] = s->names[v] ? s->names[v] : v == 1 && s->model_b ? s->model_b : s->a.args.model;
        g.temperatures[v] = s->temperatures[v];
    }
    s->t.g = generator_start(&s->a, s->t.s, &g);
    return s->t.g != NULL;
}

static bool start_server(annotate *s)
{
    char token[STORE_TOKEN];
    const bool v6 = strchr(s->host, ':') != NULL;
    pthread_mutex_lock(&s->lock); /* the generator may have news before the server is there */
    s->t.http = server_start(&s->a, &(server_settings){.address = s->host,
                                                       .port = (int)s->port,
                                                       .routes = station_routes,
                                                       .s = s->t.s,
                                                       .user = &s->t,
                                                       .stream = station_stream});
    pthread_mutex_unlock(&s->lock);
    if (!s->t.http) return false;
    if (!store_invite(s->t.s, true, token)) return app_fail(&s->a, "%s", store_error());
    printf("http://%s%s%s:%d/#%s\n", v6 ? "[" : "", s->host, v6 ? "]" : "", server_port(s->t.http), token);
    fflush(stdout);
    if (!s->a.args.quiet)
        fprintf(stderr, "The link is good for one browser, once, within a day; who is in makes links for others. "
                        "Ctrl-C ends the station.\n");
    return true;
}

static bool serve(annotate *s)
{
    char error[1024];
    s->t.s = store_open(s->db, error, sizeof error);
    if (!s->t.s) return app_fail(&s->a, "%s", error);
    if (!load(s) || !open_guideline(s) || !start_generator(s) || !queue_prompts(s) || !start_server(s)) return false;
    app_defer(&s->a, true); /* a signal ends the station, not the responses on their way: they begin anew with it */
    /* The signal may reach any thread. */
    while (!app_interrupted()) nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    return true;
}

int main(int argc, char **argv)
{
    annotate s = {.host = "127.0.0.1",
                  .port = 8080,
                  .max_new_tokens = 256,
                  .temperatures = {0.7, 1.2},
                  .top_p = 1,
                  .overlap = 10};
    const args_option options[] = {
        {"model-b", ARGS_TEXT, &s.model_b, "DIR", "the model of the other response (default: --model)", 0, 0},
        {"db", ARGS_TEXT, &s.db, "FILE", "where everything is kept (SQLite); made where it is missing", 0, 0},
        {"mode", ARGS_TEXT, &s.mode, "KIND", "helpfulness or safety", 0, 0},
        {"prompts", ARGS_LIST, &s.prompts, "FILE",
         "prompts that wait for annotators, JSON Lines (docs/formats.md); may be given several times", 0, 0},
        {"guideline", ARGS_TEXT, &s.guideline, "FILE", "a text for annotators (default: one after the paper's)", 0, 0},
        {"batch", ARGS_TEXT, &s.batch, "TEXT", "what is collected together (default: this week)", 0, 0},
        {"target", ARGS_INTEGER, &s.target, "N", "choices wanted in the batch (0: any number)", 0, 1e9},
        {"overlap", ARGS_INTEGER, &s.overlap, "N",
         "every N-th comparison is one that another annotator has chosen in, for their agreement (10; 0: none)", 0,
         1e9},
        {"temperature", ARGS_REAL, &s.temperatures[0], "T", "of --model (0.7)", 0, 1000},
        {"temperature-b", ARGS_REAL, &s.temperatures[1], "T", "of --model-b (1.2)", 0, 1000},
        {"top-p", ARGS_REAL, &s.top_p, "P", "only the likeliest tokens whose probabilities reach P (1)", 1e-6, 1},
        {"max-new-tokens", ARGS_INTEGER, &s.max_new_tokens, "N", "longest response (256)", 1, 1e6},
        {"name", ARGS_TEXT, &s.names[0], "TEXT", "the version of --model (default: its path)", 0, 0},
        {"name-b", ARGS_TEXT, &s.names[1], "TEXT", "the version of --model-b", 0, 0},
        {"host", ARGS_TEXT, &s.host, "ADDRESS", "numeric address to listen on (127.0.0.1: this machine alone)", 0, 0},
        {"port", ARGS_INTEGER, &s.port, "N", "port (8080; 0: any that is free)", 0, 65535},
        {0},
    };
    const args_program program = {
        .name = "llama2-annotate",
        .summary = "Serves a page on which annotators compare two responses; what they choose goes to llama2-reward.",
        .usage = "--model DIR [--model-b DIR] --db FILE --mode helpfulness|safety [options]",
        .options = options,
        .notes =
            "The link is printed on standard output. Everything is in --db: a station that was killed goes on with "
            "it.\nOn another address than this machine's own, put a server with TLS in front."};
    int status = app_parse(&s.a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!s.a.args.model) return args_usage(&program, "--model is missing");
    if (!s.db) return args_usage(&program, "--db is missing");
    if (!s.mode) return args_usage(&program, "--mode is missing");
    if (strcmp(s.mode, "helpfulness") != 0 && strcmp(s.mode, "safety") != 0)
        return args_usage(&program, "--mode is neither helpfulness nor safety");
    s.t = (station){.a = &s.a,
                    .kind = strcmp(s.mode, "safety") == 0 ? LLAMA2_KIND_SAFETY : LLAMA2_KIND_HELPFUL,
                    .batch = s.batch ? s.batch : this_week(),
                    .target = s.target,
                    .overlap = s.overlap};
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a disk that is full: an answer, not an end */
    pthread_mutex_init(&s.lock, NULL);
    bool ok = app_begin(&s.a) && serve(&s);
    pthread_mutex_lock(&s.lock);
    server *http = s.t.http;
    s.t.http = NULL; /* there is no news for it any more */
    pthread_mutex_unlock(&s.lock);
    server_stop(http);
    generator_stop(s.t.g);
    store_close(s.t.s);
    free((char *)s.t.guideline);
    pthread_mutex_destroy(&s.lock);
    for (int v = 0; v < 2; v++) {
        llama2_model_free(s.models[v]);
        llama2_tokenizer_free(s.tokenizers[v]);
    }
    return app_end(&s.a, ok);
}
