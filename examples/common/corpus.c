#include "common/corpus.h"

#include "common/replace.h"
#include "common/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool corpus_tokenise(app *a, const llama2_tokenizer *tokenizer, const char *text_path, const char *shard_path)
{
    size_t size;
    int64_t n;
    llama2_shard_writer *writer = NULL;
    char *text = app_read(a, text_path, &size);
    int32_t *ids = text ? app_encode(a, tokenizer, text, size, app_document_flags(tokenizer), &n) : NULL;
    bool ok =
        ids &&
        app_try(a, llama2_shard_writer_create(a->ctx, shard_path, llama2_tokenizer_vocab_size(tokenizer), &writer),
                text_path) &&
        app_try(a, llama2_shard_writer_append(writer, ids, n), text_path) &&
        app_try(a, llama2_shard_writer_finish(writer), text_path);
    llama2_shard_writer_free(writer);
    free(ids);
    free(text);
    return ok;
}

/* A shard says so in its first bytes; everything else is text. */
static bool is_shard(const char *path)
{
    char head[8] = "";
    FILE *f = fopen(path, "rbe");
    size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    if (f) fclose(f);
    return n == sizeof head && memcmp(head, "L2SHARD\n", sizeof head) == 0;
}

enum { ORIGIN = 4400 };

/* By its pieces, and by what it makes of a text: merges, places to cut, what is put before and behind. */
static uint64_t hash_tokenizer(const llama2_tokenizer *tokenizer)
{
    static const char probe[] =
        " The 1234 quick\n\nbrown foxes' jumps...  over\tthe LAZY dog\xE2\x80\x99s d\xC3\xA9j\xC3\xA0 vu";
    int32_t ids[2 * sizeof probe];
    int64_t n = 0;
    uint64_t hash = 0;
    if (llama2_tokenizer_encode(tokenizer, probe, sizeof probe - 1, app_document_flags(tokenizer) | LLAMA2_ENCODE_EOS,
                                ids, 2 * sizeof probe, &n) >= 0)
        hash = run_hash(hash, ids, (size_t)n * sizeof *ids);
    for (int32_t i = 0; i < llama2_tokenizer_vocab_size(tokenizer); i++) {
        const char *text;
        size_t length;
        float score;
        int32_t type;
        if (llama2_tokenizer_piece(tokenizer, i, &text, &length, &score, &type) < 0) continue;
        hash = run_hash(run_hash(hash, &score, sizeof score), &type, sizeof type);
        hash = run_hash(hash, text, length + 1); /* with its NUL */
    }
    return hash;
}

/* What a shard is made from, as it is written down beside it. */
static void describe_origin(const llama2_tokenizer *tokenizer, const char *path, const struct stat *s,
                            char origin[ORIGIN])
{
    snprintf(origin, ORIGIN, "%s: %lld bytes, changed at %lld.%09ld, tokenizer %016llx\n", path, (long long)s->st_size,
             (long long)s->st_mtim.tv_sec, s->st_mtim.tv_nsec, (unsigned long long)hash_tokenizer(tokenizer));
}

static bool holds(const char *path, const char *text)
{
    char there[ORIGIN] = "";
    FILE *f = fopen(path, "rbe");
    if (!f) return false;
    there[fread(there, 1, sizeof there - 1, f)] = 0;
    fclose(f);
    return strcmp(there, text) == 0;
}

/* Unless the shard is there, of this text as it is and of this tokenizer. */
static bool make_shard(app *a, const llama2_tokenizer *tokenizer, const char *path, const struct stat *s,
                       const char *made)
{
    char origin[ORIGIN], beside[4200], error[4300];
    describe_origin(tokenizer, path, s, origin);
    snprintf(beside, sizeof beside, "%s.from", made);
    if (holds(beside, origin) && is_shard(made)) return true;
    remove(beside); /* a shard that is replaced is no longer of what this says */
    return corpus_tokenise(a, tokenizer, path, made) &&
           (replace_file(beside, origin, strlen(origin), error, sizeof error) || app_fail(a, "%s", error));
}

/* The end of a shard has its number of tokens, and a checksum over those of all its tokens. */
static bool hash_shard(app *a, const char *path, uint64_t *hash)
{
    unsigned char end[24];
    FILE *f = fopen(path, "rbe");
    bool ok = f && fseek(f, -(long)sizeof end, SEEK_END) == 0 && fread(end, 1, sizeof end, f) == sizeof end;
    if (f) fclose(f);
    if (ok) *hash = run_hash(*hash, end, sizeof end);
    return ok || app_fail(a, "%s: cannot be read", path);
}

static bool add(app *a, const llama2_tokenizer *tokenizer, const char *path, double weight, const char *made, corpus *c)
{
    struct stat s;
    llama2_shards_source info = {.struct_size = sizeof info};
    if (stat(path, &s) != 0) return app_fail(a, "%s: %s", path, strerror(errno));
    if (!S_ISREG(s.st_mode)) return app_fail(a, "%s: is no regular file; llama2-shard reads pipes", path);
    if (!is_shard(path)) {
        if (!make_shard(a, tokenizer, path, &s, made)) return false;
        path = made;
        stat(path, &s);
    }
    if (weight == 0) weight = (double)s.st_size;
    if (!app_try(a, llama2_shards_add_source(c->shards, &path, 1, weight), "data") ||
        !app_try(a, llama2_shards_source_info(c->shards, llama2_shards_sources(c->shards) - 1, &info), "data") ||
        !hash_shard(a, path, &c->fingerprint))
        return false;
    if (c->windows == 0) c->windows = info.tokens / (uint64_t)c->length;
    c->fingerprint = run_hash(c->fingerprint, &weight, sizeof weight);
    return true;
}

bool corpus_open(app *a, const llama2_tokenizer *tokenizer, const args_list *files, const args_list *weights,
                 int64_t length, const char *folder, const char *name, corpus *c)
{
    llama2_shards_options o;
    char made[4096];
    llama2_shards_options_init(&o, sizeof o);
    o.length = length;
    o.seed = a->args.seed;
    *c = (corpus){.length = length};
    bool ok = app_try(a, llama2_shards_create(a->ctx, &o, &c->shards), "data");
    for (size_t i = 0; ok && i < files->count; i++) {
        char *end = NULL;
        double weight = weights->count ? strtod(weights->items[i], &end) : 0;
        snprintf(made, sizeof made, "%s/%s-%zu.shard", folder, name, i);
        if (end && (*end || !(weight > 0)))
            ok = app_fail(a, "--weight %s: expected a number above 0", weights->items[i]);
        ok = ok && add(a, tokenizer, files->items[i], weight, made, c);
    }
    if (ok && llama2_shards_vocab_size(c->shards) > llama2_tokenizer_vocab_size(tokenizer))
        return app_fail(a, "the shards have a vocabulary of %lld, the tokenizer of %d",
                        (long long)llama2_shards_vocab_size(c->shards), (int)llama2_tokenizer_vocab_size(tokenizer));
    return ok;
}

bool corpus_read(app *a, corpus *c, uint64_t first, int64_t n)
{
    if (n > c->room) {
        c->tokens = app_must(realloc(c->tokens, (size_t)(n * c->length) * sizeof *c->tokens));
        c->offsets = app_must(realloc(c->offsets, (size_t)(n + 1) * sizeof *c->offsets));
        c->room = n;
    }
    for (int64_t i = 0; i <= n; i++) c->offsets[i] = i * c->length;
    c->batch = (llama2_batch){sizeof c->batch, (int32_t)n, n * c->length, c->tokens, c->offsets, NULL};
    return app_try(a, llama2_shards_seek(c->shards, first), "data") &&
           app_try(a, llama2_shards_next(c->shards, n, c->tokens, NULL), "data");
}

void corpus_close(corpus *c)
{
    llama2_shards_free(c->shards);
    free(c->tokens);
    free(c->offsets);
}
