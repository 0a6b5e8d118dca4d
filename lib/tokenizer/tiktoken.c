/*
 * Llama 3's tokenizer.model, which is in tiktoken's format: a line a piece, its bytes in base64, a space and its rank,
 * which is its id. Two neighbours merge where their bytes together are a piece, the lowest rank first, and a stretch
 * that is a piece is that piece. Meta's code has what the file does not say: the pre-tokeniser, and 256 special pieces
 * that follow the last rank.
 */
#include "base/alloc.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"
#include <stdio.h>
#include <string.h>

enum {
    LLAMA3_PIECES = 128000,
    N_SPECIAL = 256,
    SPECIAL_BYTES = 40, /* of one of them at most */
    MOST_BYTES = 512,   /* of a piece; Llama 3's longest has 128 */
    SHOWN_BYTES = 2 * MOST_BYTES,
    MOST_SPLITS = 16 /* of a piece into two, on average; of Llama 3's there are 2.2 */
};

/* The first of the special pieces, by position; the others are reserved. Llama 3's own list had some of them reserved
 * too. */
static const char *const named[] = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|finetune_right_pad_id|>",
                                    "<|step_id|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eom_id|>",
                                    "<|eot_id|>",
                                    "<|python_tag|>",
                                    "<|image|>"};
enum { BEGIN_OF_TEXT = 0, END_OF_TEXT = 1, PAD = 4, N_NAMED = sizeof named / sizeof *named };

typedef struct reader {
    const char *data;
    size_t size, at;
    long line; /* from 1 on; its rank is one less */
} reader;

/* Value of a character of base64, -1: none. */
static int base64_value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static llama2_status ends_within(const reader *r)
{
    return l2_fail(LLAMA2_E_TRUNCATED, "line %ld: the file ends within it; expected base64, a space and the rank",
                   r->line);
}

/* Groups of four characters up to a space, the last one perhaps with one or two '=' for bytes that it lacks. */
static llama2_status read_base64(reader *r, char *bytes, size_t *n)
{
    *n = 0;
    for (int lacks = 0; r->at < r->size && r->data[r->at] != ' '; r->at += 4) {
        uint32_t group = 0;
        if (lacks) return l2_fail(LLAMA2_E_FORMAT, "line %ld: base64 goes on after '='", r->line);
        for (size_t i = 0; i < 4; ++i) {
            if (r->at + i == r->size) return ends_within(r);
            char c = r->data[r->at + i];
            int value = base64_value(c);
            lacks += c == '=';
            if (c == '=' ? i < 2 : value < 0 || lacks)
                return l2_fail(LLAMA2_E_FORMAT, "line %ld: byte %zu: 0x%02X is no base64 here", r->line, r->at + i,
                               (unsigned)(unsigned char)c);
            group = group << 6 | (c == '=' ? 0 : (uint32_t)value);
        }
        if (lacks && group & (lacks == 1 ? 0xFFu : 0xFFFFu))
            return l2_fail(LLAMA2_E_FORMAT, "line %ld: base64 with bits set that belong to no byte", r->line);
        if (*n + 3 > MOST_BYTES)
            return l2_fail(LLAMA2_E_LIMIT, "line %ld: a piece of more than %d bytes", r->line, MOST_BYTES - 3);
        for (int i = 0; i < 3 - lacks; ++i) bytes[(*n)++] = (char)(group >> (16 - 8 * i) & 0xFF);
    }
    if (r->at == r->size) return ends_within(r);
    ++r->at;
    return *n ? LLAMA2_OK : l2_fail(LLAMA2_E_FORMAT, "line %ld: an empty piece", r->line);
}

/* Ranks count up from 0: each must be the id that its line gives it. */
static llama2_status read_rank(reader *r)
{
    char wanted[24];
    const char *found = r->data + r->at, *end = memchr(found, '\n', r->size - r->at);
    size_t length = end ? (size_t)(end - found) : r->size - r->at;
    size_t n = (size_t)snprintf(wanted, sizeof wanted, "%ld", r->line - 1);
    if (!end && length < n && memcmp(found, wanted, length) == 0) return ends_within(r);
    if (length != n || memcmp(found, wanted, n) != 0)
        return l2_fail(LLAMA2_E_FORMAT, "line %ld: rank \"%.*s\", expected %s: ranks count up from 0", r->line,
                       (int)(length < 20 ? length : 20), found, wanted);
    r->at += length + (end != NULL);
    return LLAMA2_OK;
}

/* *n: bytes of the next piece, 0 at the end. */
static llama2_status next_piece(reader *r, char bytes[MOST_BYTES], size_t *n)
{
    *n = 0;
    if (r->at == r->size) return LLAMA2_OK;
    ++r->line;
    L2_TRY(read_base64(r, bytes, n));
    return read_rank(r);
}

/* How many pieces there are, and the bytes by which they are shown. */
static llama2_status survey(const char *data, size_t size, size_t *n_pieces, size_t *shown)
{
    reader r = {data, size, 0, 0};
    char bytes[MOST_BYTES], text[SHOWN_BYTES];
    size_t n;
    *n_pieces = *shown = 0;
    for (;; ++*n_pieces) {
        L2_TRY(next_piece(&r, bytes, &n));
        if (!n) return LLAMA2_OK;
        *shown += l2_byte_level_show(bytes, n, text);
    }
}

int l2_tiktoken_recognise(const char *data, size_t size)
{
    size_t n = 0;
    while (n < size && n < 4 * MOST_BYTES && base64_value(data[n]) >= 0) ++n;
    if (!n) return 0;
    while (n < size && data[n] == '=') ++n;
    return size - n >= 2 && data[n] == ' ' && data[n + 1] >= '0' && data[n + 1] <= '9';
}

/* --- the vocabulary -------------------------------------------------------------------------- */

static llama2_status add_pieces(llama2_tokenizer *tok, const char *data, size_t size)
{
    reader r = {data, size, 0, 0};
    char bytes[MOST_BYTES], text[SHOWN_BYTES];
    size_t n;
    for (;;) {
        L2_TRY(next_piece(&r, bytes, &n));
        if (!n) break;
        llama2_status status = l2_vocabulary_add(tok, text, l2_byte_level_show(bytes, n, text), 0, LLAMA2_PIECE_NORMAL);
        if (status < 0) return l2_fail_in(status, "line %ld", r.line);
    }
    for (unsigned i = 0; i < 256; ++i) {
        char byte = (char)i;
        if (l2_byte_level_find(tok, &byte, 1) < 0)
            return l2_fail(LLAMA2_E_FORMAT, "no piece is the byte 0x%02X; there must be one for each", i);
    }
    return LLAMA2_OK;
}

/* The next pair of pieces from byte *at of the text on that piece `id` can be made of; 0: no more. */
static int next_split(const llama2_tokenizer *tok, int32_t id, size_t *at, l2_pair *pair)
{
    const char *text = tok->bytes + tok->offsets[id];
    size_t length = l2_piece_length(tok, id);
    while (*at += l2_char_length((unsigned char)text[*at]), *at < length) {
        int32_t left = l2_vocabulary_find(tok, text, *at), right = -1;
        if (left >= 0) right = l2_vocabulary_find(tok, text + *at, length - *at);
        *pair = (l2_pair){left, right, id, -(float)id};
        if (right >= 0) return 1;
    }
    return 0;
}

static llama2_status add_merges(llama2_tokenizer *tok)
{
    size_t n_merges = 0;
    l2_pair pair;
    for (int32_t id = 0; id < tok->n_pieces; ++id) {
        for (size_t at = 0; next_split(tok, id, &at, &pair);) ++n_merges;
        if (n_merges > MOST_SPLITS * (size_t)tok->n_pieces)
            return l2_fail(LLAMA2_E_LIMIT, "the pieces are made of others in more than %d ways each", MOST_SPLITS);
    }
    L2_TRY(l2_merges_begin(tok, n_merges));
    for (int32_t id = 0; id < tok->n_pieces; ++id)
        for (size_t at = 0; next_split(tok, id, &at, &pair);) l2_merges_put(tok, pair);
    return LLAMA2_OK;
}

static llama2_status check_count(const llama2_tokenizer *tok)
{
    if (tok->n_pieces == LLAMA3_PIECES) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_UNSUPPORTED,
                   "%d pieces: Llama 3's file has %d; of others it isn't known how they cut text and which special "
                   "pieces follow",
                   (int)tok->n_pieces, LLAMA3_PIECES);
}

static llama2_status add_specials(llama2_tokenizer *tok)
{
    int32_t first = tok->n_pieces;
    for (int i = 0; i < N_SPECIAL; ++i) {
        char text[SPECIAL_BYTES];
        int n = i < N_NAMED ? snprintf(text, sizeof text, "%s", named[i])
                            : snprintf(text, sizeof text, "<|reserved_special_token_%d|>", i - N_NAMED + 2);
        L2_TRY(l2_vocabulary_add(tok, text, (size_t)n, 0, LLAMA2_PIECE_CONTROL));
    }
    tok->bos = first + BEGIN_OF_TEXT;
    tok->eos = first + END_OF_TEXT;
    tok->pad = first + PAD;
    tok->adds_bos = 1;
    return LLAMA2_OK;
}

static llama2_status fill(llama2_tokenizer *tok, const char *data, size_t size)
{
    tok->pretokenizer = L2_PRETOKENIZER_LLAMA3;
    tok->ignore_merges = 1;
    L2_TRY(add_pieces(tok, data, size));
    L2_TRY(check_count(tok)); /* before merges, which take longest */
    L2_TRY(add_merges(tok));
    L2_TRY(add_specials(tok));
    L2_TRY(l2_chat_template_llama3(tok));
    return l2_byte_level_finish(tok);
}

llama2_status l2_tiktoken_read(llama2_context *ctx, const char *data, size_t size,
                               const llama2_tokenizer_options *options, llama2_tokenizer **out)
{
    size_t n_pieces, bytes;
    llama2_tokenizer *tok = NULL;
    llama2_status status;
    *out = NULL;
    if (size > options->max_bytes)
        return l2_fail(LLAMA2_E_LIMIT, "tiktoken: %zu bytes; llama2_tokenizer_options.max_bytes allows %llu", size,
                       (unsigned long long)options->max_bytes);
    L2_CHECK(survey(data, size, &n_pieces, &bytes));
    if (n_pieces + N_SPECIAL > (size_t)options->max_pieces)
        L2_CHECK(l2_fail(LLAMA2_E_LIMIT,
                         "%zu pieces and %d special ones; llama2_tokenizer_options.max_pieces allows %d", n_pieces,
                         N_SPECIAL, (int)options->max_pieces));
    L2_CHECK(l2_vocabulary_begin(ctx, (int32_t)n_pieces + N_SPECIAL, bytes + N_SPECIAL * SPECIAL_BYTES, &tok));
    L2_CHECK(fill(tok, data, size));
    *out = tok;
    tok = NULL;
done:
    l2_vocabulary_free(tok);
    return status < 0 ? l2_fail_in(status, "tiktoken") : status;
}
