/* llama2-chat: a dialogue on the terminal, or line by line through a pipe; with a file it goes on in the next run. */
#include "chat/conversation.h"
#include "common/prompts.h"
#include "common/stream.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void refuse(const stream *g, const char *why)
{
    fprintf(stderr, "%s: %s\n", g->a->program->name, why);
}

/* A message that cannot be said, or is too long, ends nothing, and nothing is forgotten for it. */
static bool fits(stream *g, const conversation *c, const char *message)
{
    const int32_t roles[] = {LLAMA2_ROLE_SYSTEM, LLAMA2_ROLE_USER};
    int32_t first = conversation_first(c);
    const char *texts[] = {first ? c->texts[0] : NULL, message};
    int64_t n = 0;
    int32_t *ids = stream_encode_chat(g, roles + 1 - first, texts + 1 - first, 1 + first, &n);
    bool ok = ids && n <= g->context;
    if (!ok) refuse(g, ids ? "the message is longer than the context of the model" : llama2_last_error());
    free(ids);
    return ok;
}

/* The dialogue as ids with room for an answer: the earliest turns are forgotten first. */
static int32_t *encode(stream *g, conversation *c, int64_t *n)
{
    int32_t first = conversation_first(c);
    int64_t room = g->context - (g->set->max_tokens < g->context / 4 ? g->set->max_tokens : g->context / 4);
    for (;;) {
        int32_t *ids = stream_encode_chat(g, c->roles, (const char *const *)c->texts, c->n, n);
        if (!ids || *n <= room || c->n - first < 3) return ids;
        free(ids);
        conversation_drop(c, first, 2);
    }
}

static bool turn(stream *g, conversation *c, const char *message)
{
    int64_t n;
    char *answer = NULL;
    if (!fits(g, c, message)) return true;
    if (c->n + 2 > RECORD_MESSAGES) conversation_drop(c, conversation_first(c), 2);
    conversation_add(c, LLAMA2_ROLE_USER, message);
    int32_t *ids = encode(g, c, &n);
    if (!ids) { /* something before it cannot be said */
        refuse(g, llama2_last_error());
        conversation_drop(c, c->n - 1, 1);
        return true;
    }
    bool ok = stream_answer(g, ids, n, 0, &answer);
    putchar('\n');
    fflush(stdout);
    bool marked = false;
    ok = ok && prompts_marked(g->a, g->tokenizer, answer, &marked);
    if (marked) {
        refuse(g, "the answer holds a marker of the chat format: it is forgotten, with its message");
        conversation_drop(c, c->n - 1, 1);
    } else if (ok) {
        conversation_add(c, LLAMA2_ROLE_ASSISTANT, answer);
    }
    free(answer);
    free(ids);
    return ok && conversation_save(c, g->a);
}

static bool converse(stream *g, conversation *c)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length = 0;
    bool ok = true, terminal = isatty(STDIN_FILENO) == 1;
    while (ok) {
        if (terminal) fputs("> ", stderr);
        if ((length = getline(&line, &room, stdin)) < 0) break;
        while (length > 0 && strchr("\r\n \t", line[length - 1])) line[--length] = 0;
        if (length == 0) continue;
        if (strcmp(line, "/quit") == 0) break;
        if (strcmp(line, "/reset") == 0) {
            conversation_drop(c, conversation_first(c), c->n - conversation_first(c));
            ok = conversation_save(c, g->a);
        } else if (!args_is_text(line)) {
            refuse(g, "the line is no UTF-8"); /* the file of --session could not say it */
        } else {
            ok = turn(g, c, line);
        }
    }
    free(line);
    return ok && !app_interrupted();
}

/* What has been read, which can be large: once, at the end. An answer that was interrupted does no harm: the next run
 * goes on from where the texts part. */
static bool save_state(stream *g, bool ok)
{
    if (app_interrupted()) llama2_context_resume(g->a->ctx);
    return (!ok && !app_interrupted()) || stream_save(g);
}

int main(int argc, char **argv)
{
    stream_settings s = STREAM_DEFAULTS;
    const char *system = NULL, *file = NULL;
    char state[4096];
    const args_option options[] = {
        {"system", ARGS_TEXT, &system, "TEXT", "a system message", 0, 0},
        {"session", ARGS_TEXT, &file, "FILE",
         "goes on with the conversation in this file, or begins one there; FILE.state is what the model has read", 0,
         0},
        STREAM_OPTIONS(s),
        {0}};
    const args_program program = {
        .name = "llama2-chat",
        .summary = "Talks with a chat model: each line of standard input is a message, each answer a line or more of "
                   "standard output.",
        .usage = "--model DIR [--system TEXT] [--session FILE]\n       " STREAM_USAGE,
        .options = options,
        .notes = "/reset forgets the dialogue, /quit or the end of the input ends it. Where the context is full the "
                 "earliest turns are forgotten.\n"
                 "The file of --session is written after each answer, FILE.state at the end; without FILE.state the "
                 "conversation is read again, by another model too.\n"
                 "A model's weights stay in their file as they are, quantised ones too."};
    app a;
    stream g = {0};
    conversation c = {0};
    int status = app_parse(&a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!a.args.model) return args_usage(&program, "--model is missing");
    if (file && snprintf(state, sizeof state, "%s.state", file) >= (int)sizeof state)
        return args_usage(&program, "--session: the path is too long");
    if (file) s.session = state;
    bool ok = app_begin(&a) && conversation_open(&c, &a, file, system) && stream_open(&g, &a, &s);
    if (ok) {
        ok = converse(&g, &c);
        ok = save_state(&g, ok) && ok;
    }
    conversation_drop(&c, 0, c.n);
    stream_close(&g);
    return app_end(&a, ok);
}
