/* Texts and shards as one source of sequences; a text is tokenised once into a shard beside the run. */
#ifndef EXAMPLES_CORPUS_H
#define EXAMPLES_CORPUS_H

#include "common/app.h"

typedef struct corpus {
    llama2_shards *shards;
    int64_t length;
    uint64_t windows;     /* sequences of one pass over the first source */
    uint64_t fingerprint; /* of the sources' tokens and weights */
    int32_t *tokens;      /* of the batch that was read last */
    int64_t *offsets;
    int64_t room;
    llama2_batch batch;
} corpus;

/* weights: as many as files, or none: by size. Texts become folder/<name>-<i>.shard, unless that is there, made
 * from the same file as it is now by the same tokenizer: folder/<name>-<i>.shard.from says so. */
bool corpus_open(app *a, const llama2_tokenizer *tokenizer, const args_list *files, const args_list *weights,
                 int64_t length, const char *folder, const char *name, corpus *out);
/* Sequences first .. first + n - 1 into out->batch. */
bool corpus_read(app *a, corpus *c, uint64_t first, int64_t n);
void corpus_close(corpus *c);

/* A text as one shard: BOS and its tokens, as llama2-shard makes it. */
bool corpus_tokenise(app *a, const llama2_tokenizer *tokenizer, const char *text_path, const char *shard_path);

#endif
