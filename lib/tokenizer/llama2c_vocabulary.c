/*
 * The vocabulary in llama2.c's tokenizer.bin: the length of the longest piece as int32, then for each piece its score
 * as fp32, its length as int32 and its text. Pieces are in the order of SentencePiece's: <unk>, BOS, EOS, 256 bytes,
 * the rest; spaces stand as such, not as U+2581, and BOS and EOS have line feeds around them.
 */
#include "base/alloc.h"
#include "format/bytes.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

enum { FIRST_BYTE = 3, N_SPECIAL = FIRST_BYTE + 256 };

static const char *const special[FIRST_BYTE] = {"<unk>", "<s>", "</s>"};

typedef struct piece {
    const char *text;
    size_t length;
    float score;
} piece;

/* The next piece; 0 at the end, -1 where the file is none of this format. */
static int next_piece(const unsigned char *data, size_t size, size_t *at, piece *p)
{
    if (*at == size) return 0;
    if (size - *at < 8) return -1;
    p->length = l2_get_u32(data + *at + 4);
    memcpy(&p->score, data + *at, 4);
    if (p->length > size - *at - 8) return -1;
    p->text = (const char *)data + *at + 8;
    *at += 8 + p->length;
    return 1;
}

/* Do the pieces fill the file, the longest of them as long as it says? No other format's file does. */
static int survey(const unsigned char *data, size_t size, size_t *n_pieces, size_t *bytes)
{
    piece p;
    size_t at = 4, longest = 0;
    int more;
    *n_pieces = *bytes = 0;
    if (size < 4) return 0;
    while ((more = next_piece(data, size, &at, &p)) > 0) {
        if (p.length > longest) longest = p.length;
        *bytes += p.length;
        for (size_t i = 0; i < p.length; ++i) *bytes += p.text[i] == ' ' ? 2 : 0; /* as U+2581 */
        ++*n_pieces;
    }
    return more == 0 && *n_pieces > 0 && longest == l2_get_u32(data);
}

int l2_llama2c_recognise(const unsigned char *data, size_t size)
{
    size_t n, bytes;
    return survey(data, size, &n, &bytes);
}

/* " a" -> U+2581 "a"; `out` has room for thrice the length. */
static size_t restore_spaces(const piece *p, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < p->length; ++i) {
        if (p->text[i] != ' ') {
            out[n++] = p->text[i];
            continue;
        }
        memcpy(out + n, L2_SPACE, 3);
        n += 3;
    }
    return n;
}

static llama2_status add_special(llama2_tokenizer *tok, const piece *p)
{
    int32_t id = tok->n_pieces;
    const char *name = special[id];
    size_t n = strlen(name), framed = id > 0 && p->length == n + 2 && p->text[0] == '\n' && p->text[n + 1] == '\n';
    if ((p->length != n && !framed) || memcmp(p->text + framed, name, n) != 0)
        return l2_fail(LLAMA2_E_FORMAT, "piece %d is not %s", (int)id, name);
    return l2_vocabulary_add(tok, name, n, p->score, id == 0 ? LLAMA2_PIECE_UNKNOWN : LLAMA2_PIECE_CONTROL);
}

static llama2_status fill(llama2_tokenizer *tok, const unsigned char *data, size_t size, char *room)
{
    piece p;
    size_t at = 4;
    while (next_piece(data, size, &at, &p) > 0) {
        if (tok->n_pieces < FIRST_BYTE) {
            L2_TRY(add_special(tok, &p));
            continue;
        }
        int32_t type = tok->n_pieces < N_SPECIAL ? LLAMA2_PIECE_BYTE : LLAMA2_PIECE_NORMAL;
        if (p.length > L2_MAX_PIECE)
            return l2_fail(LLAMA2_E_LIMIT, "piece %d has %zu bytes, at most %d are possible", (int)tok->n_pieces,
                           p.length, L2_MAX_PIECE);
        L2_TRY(l2_vocabulary_add(tok, room, restore_spaces(&p, room), p.score, type));
    }
    tok->byte_fallback = 1;
    tok->remove_extra_whitespaces = 0;
    L2_TRY(l2_strndup(tok->ctx, special[1], strlen(special[1]), &tok->bos_piece));
    L2_TRY(l2_strndup(tok->ctx, special[2], strlen(special[2]), &tok->eos_piece));
    L2_TRY(l2_strndup(tok->ctx, "<pad>", 5, &tok->pad_piece));
    L2_TRY(l2_strndup(tok->ctx, " \xE2\x81\x87 ", 5, &tok->unk_surface));
    return l2_vocabulary_finish(tok);
}

llama2_status l2_llama2c_read(llama2_context *ctx, const unsigned char *data, size_t size,
                              const llama2_tokenizer_options *options, llama2_tokenizer **out)
{
    size_t n_pieces, bytes;
    char *room = NULL;
    llama2_tokenizer *tok = NULL;
    llama2_status status;
    *out = NULL;
    if (!survey(data, size, &n_pieces, &bytes)) return l2_fail(LLAMA2_E_FORMAT, "is no tokenizer.bin of llama2.c");
    if (size > options->max_bytes)
        return l2_fail(LLAMA2_E_LIMIT, "tokenizer.bin: %zu bytes; llama2_tokenizer_options.max_bytes allows %llu", size,
                       (unsigned long long)options->max_bytes);
    if (n_pieces > (size_t)options->max_pieces)
        return l2_fail(LLAMA2_E_LIMIT, "tokenizer.bin: %zu pieces; llama2_tokenizer_options.max_pieces allows %d",
                       n_pieces, (int)options->max_pieces);
    L2_CHECK(l2_alloc(ctx, 3 * L2_MAX_PIECE, 1, &room));
    L2_CHECK(l2_vocabulary_begin(ctx, (int32_t)n_pieces, bytes, &tok));
    status = fill(tok, data, size, room);
    if (status < 0) {
        l2_fail_in(status, "tokenizer.bin");
        goto done;
    }
    *out = tok;
    tok = NULL;
done:
    l2_free(ctx, room);
    l2_vocabulary_free(tok);
    return status;
}
