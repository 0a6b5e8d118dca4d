/*
 * llama2-shard: text files into shards of tokens, which llama2_shards_add_source maps. BOS before each document, or EOS
 * after it where the model's texts do not begin with BOS; a document is a file or, with --blank-lines, what stands
 * between blank lines. A held-out part is taken from the end of each file.
 */
#include "common/app.h"
#include "common/progress.h"

#include <llama2/context.h>
#include <llama2/shards.h>
#include <llama2/tokenizer.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct sharder {
    llama2_context *ctx;
    llama2_tokenizer *tokenizer;
    llama2_shard_writer *out, *holdout;
    int32_t *ids;
    int64_t capacity;
    progress bar;
    uint64_t bytes_done;
} sharder;

static uint64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

/* A whole file; NULL when it can't be read. */
static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    size_t size = (size_t)file_size(path);
    char *text = file ? malloc(size + 1) : NULL;
    int whole = text && (*length = fread(text, 1, size, file)) == size && !ferror(file);
    if (file) fclose(file);
    if (whole) return text;
    free(text);
    return NULL;
}

static llama2_status add_document(sharder *s, llama2_shard_writer *writer, const char *text, size_t length)
{
    int64_t needed = 0;
    uint32_t flags = app_document_flags(s->tokenizer);
    if (length == 0) return LLAMA2_OK;
    llama2_status status = llama2_tokenizer_encode(s->tokenizer, text, length, flags, s->ids, s->capacity, &needed);
    if (status == LLAMA2_E_BUFFER || (status == LLAMA2_OK && needed > s->capacity)) {
        int32_t *ids = realloc(s->ids, (size_t)needed * sizeof *ids);
        if (!ids) return LLAMA2_E_NOMEM;
        s->ids = ids;
        s->capacity = needed;
        status = llama2_tokenizer_encode(s->tokenizer, text, length, flags, s->ids, s->capacity, &needed);
    }
    return status < 0 ? status : llama2_shard_writer_append(writer, s->ids, needed);
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

static llama2_status add_text(sharder *s, llama2_shard_writer *writer, const char *text, size_t length,
                              bool blank_lines)
{
    while (length) {
        size_t skip = length, document = blank_lines ? document_length(text, length, &skip) : length;
        llama2_status status = add_document(s, writer, text, document);
        if (status < 0) return status;
        text += skip;
        length -= skip;
        s->bytes_done += skip;
        progress_update(&s->bar, s->bytes_done, NULL);
    }
    return LLAMA2_OK;
}

/* Where the held-out part begins: at the start of a line. */
static size_t split_at(const char *text, size_t length, double fraction)
{
    size_t at = length - (size_t)((double)length * fraction);
    while (at < length && at > 0 && text[at - 1] != '\n') at++;
    return at;
}

int main(int argc, char **argv)
{
    const char *out = NULL, *holdout_out = NULL;
    double holdout = 0.1;
    bool blank_lines = false;
    const args_option options[] = {
        {"out", ARGS_TEXT, &out, "FILE", "the shard to write", 0, 0},
        {"holdout", ARGS_REAL, &holdout, "FRACTION",
         "part at the end of each file that goes to --holdout-out; default 0.1", 0, 1},
        {"holdout-out", ARGS_TEXT, &holdout_out, "FILE", "shard of the held-out part; without it nothing is held out",
         0, 0},
        {"blank-lines", ARGS_FLAG, &blank_lines, NULL, "a blank line ends a document; else each file is one", 0, 0},
        {0},
    };
    const args_program program = {"llama2-shard",
                                  "Turns text files into a shard of tokens.",
                                  "--model PATH --out FILE FILE...",
                                  options,
                                  1,
                                  ARGS_MAX,
                                  NULL};
    args_common common;
    sharder s = {0};
    uint64_t total = 0;
    int status = args_parse(&program, &common, argc, argv), result = 0;
    if (status != ARGS_GO) return status;
    if (!common.model || !out) return args_usage(&program, "--model and --out are needed");
    for (size_t i = 0; i < common.rest.count; i++) total += file_size(common.rest.items[i]);

    const char *doing = "llama2_context_create";
    llama2_status failed = llama2_context_create(NULL, &s.ctx);
    if (failed >= 0) failed = llama2_tokenizer_load(s.ctx, doing = common.model, NULL, &s.tokenizer);
    int64_t vocab_size = s.tokenizer ? llama2_tokenizer_vocab_size(s.tokenizer) : 0;
    if (failed >= 0) failed = llama2_shard_writer_create(s.ctx, doing = out, vocab_size, &s.out);
    if (failed >= 0 && holdout_out)
        failed = llama2_shard_writer_create(s.ctx, doing = holdout_out, vocab_size, &s.holdout);
    progress_start(&s.bar, "shard", "bytes", total, 0, common.quiet);
    for (size_t i = 0; i < common.rest.count && failed >= 0; i++) {
        size_t length = 0;
        char *text = read_file(doing = common.rest.items[i], &length);
        if (!text) {
            result = args_error(&program, "%s: can't be read", doing);
            break;
        }
        size_t split = s.holdout ? split_at(text, length, holdout) : length;
        failed = add_text(&s, s.out, text, split, blank_lines);
        if (failed >= 0 && s.holdout) failed = add_text(&s, s.holdout, text + split, length - split, blank_lines);
        free(text);
    }
    if (failed >= 0 && !result) failed = llama2_shard_writer_finish((doing = out, s.out));
    if (failed >= 0 && !result && s.holdout) failed = llama2_shard_writer_finish((doing = holdout_out, s.holdout));
    progress_finish(&s.bar, NULL);
    if (failed < 0)
        result = args_failed(&program, doing);
    else if (!result) {
        printf("{\"tokens\": %lld, \"holdout_tokens\": %lld, \"vocab_size\": %lld}\n",
               (long long)llama2_shard_writer_tokens(s.out), (long long)llama2_shard_writer_tokens(s.holdout),
               (long long)vocab_size);
    }
    llama2_shard_writer_free(s.out);
    llama2_shard_writer_free(s.holdout);
    llama2_tokenizer_free(s.tokenizer);
    llama2_context_free(s.ctx);
    free(s.ids);
    return result;
}
