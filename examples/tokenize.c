/* llama2-tokenize: text into ids and back. */
#include "common/app.h"
#include <errno.h>
#include <llama2/context.h>
#include <llama2/tokenizer.h>
#include <stdlib.h>
#include <string.h>

typedef struct state {
    const args_program *program;
    llama2_tokenizer *tokenizer;
    uint32_t flags;
    int32_t *ids;
    size_t *ranges; /* with --offsets: as many beginnings, then as many ends */
    int64_t room;
    char *text;
    size_t text_room;
    long line; /* of standard input */
    bool whole, offsets;
} state;

static int out_of_memory(const state *s)
{
    return args_error(s->program, "out of memory");
}

/* Grows the buffers of ids to n; 0 when there is no memory. */
static int reserve_ids(state *s, int64_t n)
{
    if (n <= s->room) return 1;
    int64_t room = n > 2 * s->room ? n : 2 * s->room;
    int32_t *ids = realloc(s->ids, (size_t)room * sizeof *ids);
    if (!ids) return 0;
    s->ids = ids;
    size_t *ranges = s->offsets ? realloc(s->ranges, (size_t)room * 2 * sizeof *ranges) : NULL;
    if (s->offsets && !ranges) return 0;
    s->ranges = ranges;
    s->room = room;
    return 1;
}

static llama2_status encode_into(state *s, const char *text, size_t length, int64_t *n)
{
    if (!s->offsets) return llama2_tokenizer_encode(s->tokenizer, text, length, s->flags, s->ids, s->room, n);
    return llama2_tokenizer_encode_offsets(s->tokenizer, text, length, s->flags, s->ids, s->ranges, s->ranges + s->room,
                                           s->room, n);
}

/* One text: its ids in one line. */
static int encode(state *s, const char *text, size_t length)
{
    int64_t n;
    if (!reserve_ids(s, (int64_t)length + 8)) return out_of_memory(s);
    llama2_status status = encode_into(s, text, length, &n);
    if (status == LLAMA2_E_BUFFER) {
        if (!reserve_ids(s, n)) return out_of_memory(s);
        status = encode_into(s, text, length, &n);
    }
    if (status < 0) return args_failed(s->program, "encoding");
    for (int64_t i = 0; i < n; ++i) {
        printf(i ? " %d" : "%d", (int)s->ids[i]);
        if (s->offsets) printf(":%zu-%zu", s->ranges[i], s->ranges[s->room + i]);
    }
    putchar('\n');
    return ARGS_OK;
}

/* Numbers between white space into s->ids. */
static int read_ids(state *s, const char *text, size_t length, int64_t *n)
{
    *n = 0;
    for (const char *at = text, *end = text + length;;) {
        for (; at < end && strchr(" \t\r\n", *at); ++at) s->line += s->whole && *at == '\n';
        if (at >= end) return ARGS_OK;
        char *after;
        errno = 0;
        long id = strtol(at, &after, 10);
        if (after == at || errno || id < INT32_MIN || id > INT32_MAX || !strchr(" \t\r\n", *after))
            return args_error(s->program, "line %ld: \"%.*s\" is not an id; expected whole numbers separated by spaces",
                              s->line, (int)strcspn(at, " \t\r\n"), at);
        if (!reserve_ids(s, *n + 1)) return out_of_memory(s);
        s->ids[(*n)++] = (int32_t)id;
        at = after;
    }
}

static int decode(state *s, const char *text, size_t length)
{
    int64_t n;
    size_t size;
    int failed = read_ids(s, text, length, &n);
    if (failed) return failed;
    llama2_status status = llama2_tokenizer_decode(s->tokenizer, s->ids, n, 0, s->text, s->text_room, &size);
    if (status == LLAMA2_E_BUFFER || (status == LLAMA2_OK && size > s->text_room)) {
        char *larger = realloc(s->text, size);
        if (!larger) return out_of_memory(s);
        s->text = larger;
        s->text_room = size;
        status = llama2_tokenizer_decode(s->tokenizer, s->ids, n, 0, s->text, s->text_room, &size);
    }
    if (status < 0) return args_failed(s->program, "decoding");
    fwrite(s->text, 1, size, stdout);
    return ARGS_OK;
}

/* Standard input line by line. */
static int run_lines(state *s, bool back)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    int status = ARGS_OK;
    while (status == ARGS_OK && (length = getline(&line, &room, stdin)) >= 0) {
        ++s->line;
        if (length > 0 && line[length - 1] == '\n') line[--length] = 0;
        status = back ? decode(s, line, (size_t)length) : encode(s, line, (size_t)length);
        if (back && status == ARGS_OK) putchar('\n');
    }
    free(line);
    return status;
}

/* Standard input as one text. */
static int run_whole(state *s, bool back)
{
    size_t room = 1 << 16, size = 0, n;
    char *text = malloc(room);
    while (text && (n = fread(text + size, 1, room - size - 1, stdin)) > 0) {
        size += n;
        if (size < room - 1) continue;
        char *larger = realloc(text, room *= 2);
        if (!larger) free(text);
        text = larger;
    }
    if (!text) return out_of_memory(s);
    text[size] = 0;
    s->line = 1;
    s->whole = true;
    int status = back ? decode(s, text, size) : encode(s, text, size);
    free(text);
    return status;
}

static int run(state *s, const args_common *common, bool lines, bool back)
{
    llama2_context_options options;
    llama2_context *ctx = NULL;
    int status;
    llama2_context_options_init(&options, sizeof options);
    options.n_threads = common->threads ? (int32_t)common->threads : 1;
    options.seed = common->seed;
    if (llama2_context_create(&options, &ctx) < 0) {
        status = args_failed(s->program, "context");
    } else if (llama2_tokenizer_load(ctx, common->model, NULL, &s->tokenizer) < 0) {
        status = args_failed(s->program, "tokenizer");
    } else {
        status = lines ? run_lines(s, back) : run_whole(s, back);
        if (status == ARGS_OK && ferror(stdin))
            status = args_error(s->program, "reading standard input: %s", strerror(errno));
        if (!args_flushed(stdout) && status == ARGS_OK)
            status = args_error(s->program, "standard output could not be written");
    }
    llama2_tokenizer_free(s->tokenizer);
    llama2_context_free(ctx);
    free(s->ids);
    free(s->ranges);
    free(s->text);
    return status;
}

int main(int argc, char **argv)
{
    bool lines = false, bos = false, back = false, offsets = false;
    const args_option options[] = {
        {"lines", ARGS_FLAG, &lines, NULL, "each line is a text of its own", 0, 0},
        {"bos", ARGS_FLAG, &bos, NULL, "BOS before each text (--decode never shows it)", 0, 0},
        {"offsets", ARGS_FLAG, &offsets, NULL, "each id with the bytes of its text that it stands for, as 15043:0-5", 0,
         0},
        {"decode", ARGS_FLAG, &back, NULL, "ids into text", 0, 0},
        {0},
    };
    const args_program program = {
        .name = "llama2-tokenize",
        .summary = "Turns text on standard input into ids separated by spaces, and back.",
        .usage = "--model PATH [--lines] [--bos] [--offsets | --decode]",
        .options = options,
        .notes =
            "PATH is a tokenizer.model, a tokenizer.json, a GGUF file, or a folder that holds one of the first two.",
    };
    args_common common;
    int status = args_parse(&program, &common, argc, argv);
    if (status != ARGS_GO) return status;
    if (!common.model) return args_usage(&program, "--model is missing");
    if (offsets && back) return args_usage(&program, "--offsets is for text into ids, not with --decode");
    state s = {.program = &program, .flags = bos ? LLAMA2_ENCODE_BOS : 0, .offsets = offsets};
    return run(&s, &common, lines, back);
}
