/*
 * The vocabulary in llama2.c's tokenizer.bin: the length of the longest piece as int32, then for each piece its score
 * as fp32, its length as int32 and its text. Pieces are in the order of SentencePiece's: <unk>, BOS, EOS, 256 bytes,
 * the rest; spaces stand as such, not as U+2581, and BOS and EOS have line feeds around them.
 */
#include "base/alloc.h"
#include "base/json.h"
#include "format/bytes.h"
#include "tokenizer/tokenizer.h"
#include <stdio.h>
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
    L2_TRY(l2_vocabulary_name_specials(tok, special[1], special[2], NULL));
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

int l2_llama2c_is_model(const unsigned char *data, size_t size)
{
    double h[7]; /* dim, hidden, layers, heads, heads of keys, vocabulary, length: products of them are exact */
    if (size < 28 || l2_get_u32(data) == 0) return 0;
    for (int i = 0; i < 7; ++i) h[i] = (int32_t)l2_get_u32(data + 4 * i);
    double head = h[0] / h[3], vocabulary = h[5] < 0 ? -2 * h[5] : h[5], queries = h[0] * h[0],
           keys = h[0] * head * h[4];
    double layer = 2 * h[0] + 2 * queries + 2 * keys + 3 * h[0] * h[1];
    return 28 + 4 * (vocabulary * h[0] + h[2] * layer + h[0] + h[6] * head) == (double)size;
}

/* --- writing --------------------------------------------------------------------------------- */

/* What llama2.c takes for granted. */
static llama2_status check_writable(const llama2_tokenizer *tok, int32_t n_rows)
{
    int plain = tok->pretokenizer == 0 && tok->byte_fallback && tok->add_dummy_prefix && !tok->prefix_unless_space &&
                !tok->remove_extra_whitespaces && tok->escape_whitespaces;
    if (!plain || tok->n_pieces < N_SPECIAL || tok->unk != 0 || tok->bos != 1 || tok->eos != 2)
        return l2_fail(LLAMA2_E_UNSUPPORTED,
                       "a tokenizer.bin of llama2.c holds SentencePiece's BPE with byte fallback, "
                       "<unk>, BOS and EOS first");
    if (tok->n_pieces > n_rows)
        return l2_fail(LLAMA2_E_MISMATCH, "the tokenizer has %d pieces, the model a vocabulary of %d",
                       (int)tok->n_pieces, (int)n_rows);
    for (int32_t id = FIRST_BYTE; id < tok->n_pieces; ++id) {
        int is_byte = tok->types[id] == LLAMA2_PIECE_BYTE;
        int fits = id < N_SPECIAL ? is_byte && tok->byte_ids[id - FIRST_BYTE] == id
                                  : tok->types[id] == LLAMA2_PIECE_NORMAL || tok->types[id] == LLAMA2_PIECE_UNUSED;
        if (!fits)
            return l2_fail(LLAMA2_E_UNSUPPORTED,
                           "piece %d, \"%s\": a tokenizer.bin of llama2.c holds 256 bytes, then normal pieces", (int)id,
                           tok->bytes + tok->offsets[id]);
    }
    return LLAMA2_OK;
}

/* Returns the bytes that its text has there. */
static size_t put_piece(l2_text *out, const piece *p)
{
    unsigned char head[8];
    l2_text text;
    l2_text_begin(&text, out->ctx);
    for (size_t i = 0; i < p->length; ++i) {
        int is_space = p->length - i >= 3 && memcmp(p->text + i, L2_SPACE, 3) == 0;
        l2_text_add(&text, is_space ? " " : p->text + i, 1);
        i += is_space ? 2 : 0;
    }
    size_t n = text.length;
    memcpy(head, &p->score, 4);
    l2_put_u32(head + 4, (uint32_t)n);
    l2_text_add(out, (const char *)head, sizeof head);
    l2_text_add(out, text.data, n);
    if (text.status < 0) out->status = text.status;
    l2_text_free(&text);
    return n;
}

llama2_status l2_llama2c_write(const llama2_tokenizer *tok, int32_t n_rows, char **data, size_t *size)
{
    static const char *const framed[] = {"<unk>", "\n<s>\n", "\n</s>\n"};
    const float never = -1e10f; /* where llama2.c looks for the best merge from */
    l2_text text;
    size_t longest = 0;
    L2_TRY(check_writable(tok, n_rows));
    l2_text_begin(&text, tok->ctx);
    l2_text_add(&text, "\0\0\0", 4);
    for (int32_t id = 0; id < n_rows; ++id) {
        char pad[16];
        piece p = {pad, 0, never};
        snprintf(pad, sizeof pad, "[PAD%d]", (int)id);
        if (id < tok->n_pieces) p.text = id < FIRST_BYTE ? framed[id] : tok->bytes + tok->offsets[id];
        if (id < tok->n_pieces && tok->types[id] != LLAMA2_PIECE_UNUSED) p.score = tok->scores[id];
        p.length = strlen(p.text); /* no piece has a NUL */
        size_t n = put_piece(&text, &p);
        if (n > longest) longest = n;
    }
    if (text.status < 0) {
        llama2_status status = text.status;
        l2_text_free(&text);
        return status;
    }
    l2_put_u32((unsigned char *)text.data, (uint32_t)longest);
    *data = text.data;
    *size = text.length;
    return LLAMA2_OK;
}
