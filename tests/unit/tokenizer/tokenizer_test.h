/* What the tokenizer's tests share: a tiny vocabulary, files of tests/reference/tokenizer, and an allocator that counts
 * and fails. */
#ifndef TOKENIZER_TEST_H
#define TOKENIZER_TEST_H

#include "base/checksum.h"
#include "check_main.h"
#include <llama2/chat.h>
#include <llama2/context.h>
#include <llama2/tokenizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE "\xE2\x96\x81"

typedef struct bytes {
    char *data;
    size_t size;
} bytes;

/* A whole file with a NUL after it; to be freed. */
static inline bytes read_whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s: can't be opened", path);
    bytes b = {malloc(1 << 16), 0};
    size_t room = 1 << 16, n;
    while ((n = fread(b.data + b.size, 1, room - b.size - 1, file)) > 0) {
        b.size += n;
        if (b.size == room - 1) b.data = realloc(b.data, room *= 2);
    }
    fclose(file);
    b.data[b.size] = 0;
    return b;
}

static inline bytes read_reference(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/reference/tokenizer/%s", LLAMA2_TEST_SOURCE, name);
    return read_whole(path);
}

static inline uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* --- a context whose allocator counts, and fails from call number `fail_at` on (0: never) ---- */

typedef struct counting {
    long calls, fail_at, live;
    int fail_once;
    size_t now, peak;
} counting;

static inline void *counting_alloc(void *user, size_t size, size_t alignment)
{
    counting *c = user;
    ++c->calls;
    if (c->fail_at && (c->fail_once ? c->calls == c->fail_at : c->calls >= c->fail_at)) return NULL;
    size_t whole = (size + alignment - 1) / alignment * alignment + alignment;
    char *block = aligned_alloc(alignment, whole);
    if (!block) return NULL;
    memcpy(block, &size, sizeof size);
    ++c->live;
    c->now += size;
    if (c->now > c->peak) c->peak = c->now;
    return block + alignment;
}

static inline void counting_dealloc(void *user, void *ptr)
{
    counting *c = user;
    if (!ptr) return;
    char *block = (char *)ptr - 64; /* the library aligns everything to 64 */
    size_t size;
    memcpy(&size, block, sizeof size);
    --c->live;
    c->now -= size;
    free(block);
}

static inline llama2_status counting_context(counting *c, llama2_context **out)
{
    llama2_context_options options;
    llama2_context_options_init(&options, sizeof options);
    options.n_threads = 1;
    options.alloc = counting_alloc;
    options.dealloc = counting_dealloc;
    options.alloc_user = c;
    return llama2_context_create(&options, out);
}

/* --- a tiny vocabulary: unk, BOS, EOS, 256 bytes, then these --------------------------------- */

static const char *const tiny_texts[] = {
    SPACE, "a", "b", "c",  "t",  "h",  "e",   "n",       "[",        "]",         "I",         "N",       "S",
    "T",   "/", "é", "ab", "bc", "th", "the", SPACE "t", SPACE "th", SPACE "the", SPACE SPACE, SPACE "a", "abc"};
enum { TINY_FIRST = 259, TINY_PIECES = TINY_FIRST + sizeof tiny_texts / sizeof *tiny_texts };

/* Piece arrays of the tiny vocabulary; storage is the caller's. */
typedef struct tiny {
    char byte_texts[256][8];
    const char *texts[TINY_PIECES];
    float scores[TINY_PIECES];
    int32_t types[TINY_PIECES];
    llama2_tokenizer_pieces pieces;
} tiny;

static inline void fill_tiny(tiny *t)
{
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    for (int i = 0; i < TINY_PIECES; ++i) {
        t->scores[i] = 0;
        t->types[i] = i == 0           ? LLAMA2_PIECE_UNKNOWN
                      : i < 3          ? LLAMA2_PIECE_CONTROL
                      : i < TINY_FIRST ? LLAMA2_PIECE_BYTE
                                       : LLAMA2_PIECE_NORMAL;
        if (i < 3) {
            t->texts[i] = special[i];
        } else if (i < TINY_FIRST) {
            snprintf(t->byte_texts[i - 3], 8, "<0x%02X>", (unsigned)(i - 3) & 255u);
            t->texts[i] = t->byte_texts[i - 3];
        } else {
            t->texts[i] = tiny_texts[i - TINY_FIRST];
            t->scores[i] = -(float)(i - TINY_FIRST);
        }
    }
    llama2_tokenizer_pieces_init(&t->pieces, sizeof t->pieces);
    t->pieces.n_pieces = TINY_PIECES;
    t->pieces.texts = t->texts;
    t->pieces.scores = t->scores;
    t->pieces.types = t->types;
}

static inline llama2_context *make_context(void)
{
    llama2_context_options options;
    llama2_context *ctx;
    llama2_context_options_init(&options, sizeof options);
    options.n_threads = 1;
    ck_ok(llama2_context_create(&options, &ctx));
    return ctx;
}

static inline llama2_tokenizer *make_tiny(llama2_context *ctx)
{
    tiny t;
    llama2_tokenizer *tok;
    fill_tiny(&t);
    ck_ok(llama2_tokenizer_create(ctx, &t.pieces, &tok));
    return tok;
}

/* Llama 2's tokenizer, or NULL after saying why the test is skipped. */
static inline llama2_tokenizer *load_llama2(llama2_context *ctx)
{
    const char *path = data_file("llama2-tokenizer.model");
    llama2_tokenizer *tok;
    if (!path) return NULL;
    ck_ok(llama2_tokenizer_load(ctx, path, NULL, &tok));
    return tok;
}

/* Ids of a text, to be freed. */
static inline int32_t *encode(const llama2_tokenizer *tok, const char *text, size_t length, int64_t *n)
{
    int64_t room = 3 * (int64_t)length + 5;
    int32_t *ids = malloc((size_t)room * sizeof *ids);
    ck_ok(llama2_tokenizer_encode(tok, text, length, 0, ids, room, n));
    return ids;
}

/* Text of ids, to be freed. */
static inline bytes decode(const llama2_tokenizer *tok, const int32_t *ids, int64_t n, uint32_t flags)
{
    bytes b;
    ck_ok(llama2_tokenizer_decode(tok, ids, n, flags, NULL, 0, &b.size));
    b.data = malloc(b.size + 1);
    ck_ok(llama2_tokenizer_decode(tok, ids, n, flags, b.data, b.size, &b.size));
    b.data[b.size] = 0;
    return b;
}

#endif
