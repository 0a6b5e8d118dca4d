/*
 * llama2-shard: text files into shards of tokens, which llama2_shards_add_source maps. BOS before each document, or EOS
 * after it where the model's texts do not begin with BOS; a document is a file or, with --blank-lines, what stands
 * between blank lines. A held-out part is taken from the end of each file.
 */
#include "common/app.h"
#include "common/progress.h"

#include <stdlib.h>
#include <sys/stat.h>

typedef struct sharder {
    app app;
    llama2_tokenizer *tokenizer;
    llama2_shard_writer *out, *holdout;
    progress bar;
    uint64_t bytes_done;
    bool blank_lines;
} sharder;

static bool add_document(sharder *s, llama2_shard_writer *writer, const char *text, size_t length)
{
    int64_t n;
    if (length == 0) return true;
    int32_t *ids = app_encode(&s->app, s->tokenizer, text, length, app_document_flags(s->tokenizer), &n);
    bool ok = ids && app_try(&s->app, llama2_shard_writer_append(writer, ids, n), "writing the shard");
    free(ids);
    return ok;
}

/* Length of the document at `text`, up to a blank line, and *skip, where the next one begins. */
static size_t document_length(const char *text, size_t length, size_t *skip)
{
    for (size_t i = 0; i + 1 < length; i++) {
        if (text[i] != '\n' || text[i + 1] != '\n') continue;
        for (*skip = i; *skip < length && text[*skip] == '\n';) ++*skip;
        return i;
    }
    *skip = length;
    return length;
}

static bool add_text(sharder *s, llama2_shard_writer *writer, const char *text, size_t length)
{
    while (length) {
        size_t skip = length, document = s->blank_lines ? document_length(text, length, &skip) : length;
        if (!add_document(s, writer, text, document)) return false;
        text += skip;
        length -= skip;
        s->bytes_done += skip;
        progress_update(&s->bar, s->bytes_done, NULL);
    }
    return true;
}

/* Where the held-out part begins: at the start of a line. */
static size_t split_at(const char *text, size_t length, double fraction)
{
    size_t at = length - (size_t)((double)length * fraction);
    while (at < length && at > 0 && text[at - 1] != '\n') at++;
    return at;
}

static bool add_file(sharder *s, const char *path, double holdout)
{
    size_t length;
    char *text = app_read(&s->app, path, &length);
    if (!text) return false;
    size_t split = s->holdout ? split_at(text, length, holdout) : length;
    bool ok = add_text(s, s->out, text, split) && add_text(s, s->holdout, text + split, length - split);
    free(text);
    return ok;
}

/* Of all files; 0: unknown, since one is a pipe. */
static uint64_t total_bytes(const args_list *files)
{
    uint64_t total = 0;
    for (size_t i = 0; i < files->count; i++) {
        struct stat st;
        if (stat(files->items[i], &st) != 0 || !S_ISREG(st.st_mode)) return 0;
        total += (uint64_t)st.st_size;
    }
    return total;
}

static bool shard(sharder *s, const char *out, const char *holdout_out, double holdout)
{
    app *a = &s->app;
    const args_list *files = &a->args.rest;
    if (!app_load(a, a->args.model, NULL, &s->tokenizer)) return false;
    int64_t vocab_size = llama2_tokenizer_vocab_size(s->tokenizer);
    if (!app_try(a, llama2_shard_writer_create(a->ctx, out, vocab_size, &s->out), out)) return false;
    if (holdout_out &&
        !app_try(a, llama2_shard_writer_create(a->ctx, holdout_out, vocab_size, &s->holdout), holdout_out))
        return false;
    progress_start(&s->bar, "shard", "bytes", total_bytes(files), 0, a->args.quiet);
    bool ok = true;
    for (size_t i = 0; i < files->count && ok; i++) ok = add_file(s, files->items[i], holdout);
    progress_finish(&s->bar, NULL);
    return ok && app_try(a, llama2_shard_writer_finish(s->out), out) &&
           (!s->holdout || app_try(a, llama2_shard_writer_finish(s->holdout), holdout_out));
}

static bool print(sharder *s)
{
    json_t *line = json_object();
    json_object_set_new(line, "tokens", json_integer(llama2_shard_writer_tokens(s->out)));
    json_object_set_new(line, "holdout_tokens", json_integer(s->holdout ? llama2_shard_writer_tokens(s->holdout) : 0));
    json_object_set_new(line, "vocab_size", json_integer(llama2_tokenizer_vocab_size(s->tokenizer)));
    return app_print(&s->app, line);
}

int main(int argc, char **argv)
{
    const char *out = NULL, *holdout_out = NULL;
    double holdout = 0.1;
    sharder s = {0};
    const args_option options[] = {
        {"out", ARGS_TEXT, &out, "FILE", "the shard to write", 0, 0},
        {"holdout", ARGS_REAL, &holdout, "FRACTION",
         "part at the end of each file that goes to --holdout-out; default 0.1", 0, 1},
        {"holdout-out", ARGS_TEXT, &holdout_out, "FILE", "shard of the held-out part; without it nothing is held out",
         0, 0},
        {"blank-lines", ARGS_FLAG, &s.blank_lines, NULL, "a blank line ends a document; else each file is one", 0, 0},
        {0},
    };
    const args_program program = {"llama2-shard",
                                  "Turns text files into a shard of tokens. \"-\" is standard input.",
                                  "--model PATH --out FILE FILE...",
                                  options,
                                  1,
                                  ARGS_MAX,
                                  NULL};
    int status = app_parse(&s.app, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!s.app.args.model || !out) return args_usage(&program, "--model and --out are needed");
    bool ok = app_begin(&s.app) && shard(&s, out, holdout_out, holdout) && print(&s);
    llama2_shard_writer_free(s.out);
    llama2_shard_writer_free(s.holdout);
    llama2_tokenizer_free(s.tokenizer);
    return app_end(&s.app, ok);
}
