/* llama2-chat: a dialogue on the terminal, or line by line through a pipe. */
#include "common/stream.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 512 };

typedef struct dialogue {
    int32_t n, roles[MOST];
    char *texts[MOST];
} dialogue;

static void add(dialogue *d, int32_t role, const char *text)
{
    d->roles[d->n] = role;
    d->texts[d->n++] = app_must(strdup(text));
}

static void drop(dialogue *d, int32_t first, int32_t n)
{
    for (int32_t i = first; i < first + n; i++) free(d->texts[i]);
    for (int32_t i = first; i + n < d->n; i++) {
        d->texts[i] = d->texts[i + n];
        d->roles[i] = d->roles[i + n];
    }
    d->n -= n;
}

/* The dialogue as ids with room for an answer: the earliest turns are forgotten first. */
static int32_t *encode(stream *g, dialogue *d, int64_t *n)
{
    int32_t system = d->n > 0 && d->roles[0] == LLAMA2_ROLE_SYSTEM;
    int64_t room = g->context - (g->set->max_tokens < g->context / 4 ? g->set->max_tokens : g->context / 4);
    for (;;) {
        int32_t *ids = stream_encode_chat(g, d->roles, (const char *const *)d->texts, d->n, n);
        if (!ids || *n <= room || d->n - system < 3) return ids;
        free(ids);
        drop(d, system, 2);
    }
}

static bool turn(stream *g, dialogue *d, const char *message)
{
    int64_t n;
    char *answer = NULL;
    if (d->n + 2 > MOST) drop(d, d->roles[0] == LLAMA2_ROLE_SYSTEM, 2);
    add(d, LLAMA2_ROLE_USER, message);
    int32_t *ids = encode(g, d, &n);
    if (!ids || n > g->context) { /* a message that cannot be said, or is too long, ends nothing */
        fprintf(stderr, "%s: %s\n", g->a->program->name,
                ids ? "the message is longer than the context of the model" : llama2_last_error());
        free(ids);
        drop(d, d->n - 1, 1);
        return true;
    }
    bool ok = stream_answer(g, ids, n, 0, &answer);
    putchar('\n');
    fflush(stdout);
    if (ok) add(d, LLAMA2_ROLE_ASSISTANT, answer);
    free(answer);
    free(ids);
    return ok;
}

static bool converse(stream *g, const char *system)
{
    dialogue d = {0};
    char *line = NULL;
    size_t room = 0;
    ssize_t length = 0;
    bool ok = true, terminal = isatty(STDIN_FILENO) == 1;
    if (system) add(&d, LLAMA2_ROLE_SYSTEM, system);
    while (ok) {
        if (terminal) fputs("> ", stderr);
        if ((length = getline(&line, &room, stdin)) < 0) break;
        while (length > 0 && strchr("\r\n \t", line[length - 1])) line[--length] = 0;
        if (length == 0) continue;
        if (strcmp(line, "/quit") == 0) break;
        if (strcmp(line, "/reset") == 0)
            drop(&d, system != NULL, d.n - (system != NULL));
        else
            ok = turn(g, &d, line);
    }
    ok = ok && !app_interrupted();
    drop(&d, 0, d.n);
    free(line);
    return ok;
}

int main(int argc, char **argv)
{
    stream_settings s = STREAM_DEFAULTS;
    const char *system = NULL;
    const args_option options[] = {
        {"system", ARGS_TEXT, &system, "TEXT", "a system message", 0, 0}, STREAM_OPTIONS(s), {0}};
    const args_program program = {
        .name = "llama2-chat",
        .summary = "Talks with a chat model: each line of standard input is a message, each answer a line or more of "
                   "standard output.",
        .usage = "--model DIR [--system TEXT]\n       " STREAM_USAGE,
        .options = options,
        .notes = "/reset forgets the dialogue, /quit or the end of the input ends it. Where the context is full the "
                 "earliest turns are forgotten.\n"
                 "A model's weights stay in their file as they are, quantised ones too."};
    app a;
    stream g = {0};
    int status = app_parse(&a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!a.args.model) return args_usage(&program, "--model is missing");
    bool ok = app_begin(&a) && stream_open(&g, &a, &s) && converse(&g, system);
    stream_close(&g);
    return app_end(&a, ok);
}
