/* A vocabulary of SentencePiece's kind whose pieces the host gives, one by one. */
#include "tokenizer/tokenizer.h"
#include <string.h>

static size_t length_of(const llama2_tokenizer_pieces *p, int32_t i)
{
    return p->lengths ? p->lengths[i] : strlen(p->texts[i]);
}

static llama2_status check(const llama2_tokenizer_pieces *p, size_t *bytes)
{
    if (p->n_pieces <= 0)
        return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_pieces: n_pieces is %d, expected > 0", (int)p->n_pieces);
    if (!p->texts || !p->types)
        return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_pieces: %s is NULL", p->texts ? "types" : "texts");
    for (int32_t i = 0; i < p->n_pieces; ++i) {
        if (!p->texts[i])
            return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_pieces: the text of piece %d is NULL", (int)i);
        size_t length = length_of(p, i);
        if (length > L2_MAX_PIECE)
            return l2_fail(LLAMA2_E_LIMIT, "llama2_tokenizer_pieces: piece %d has %zu bytes, at most %d are possible",
                           (int)i, length, L2_MAX_PIECE);
        *bytes += length;
    }
    return LLAMA2_OK;
}

static llama2_status fill(llama2_tokenizer *tok, const llama2_tokenizer_pieces *p)
{
    for (int32_t i = 0; i < p->n_pieces; ++i) {
        L2_TRY(l2_vocabulary_add(tok, p->texts[i], length_of(p, i), p->scores ? p->scores[i] : 0, p->types[i]));
        if (p->types[i] == LLAMA2_PIECE_BYTE) tok->byte_fallback = 1;
    }
    L2_TRY(l2_vocabulary_name_specials(tok, p->bos_piece, p->eos_piece, p->pad_piece));
    tok->add_dummy_prefix = p->add_dummy_prefix != 0;
    tok->remove_extra_whitespaces = p->remove_extra_whitespaces != 0;
    return l2_vocabulary_finish(tok);
}

llama2_status l2_pieces_read(llama2_context *ctx, const llama2_tokenizer_pieces *pieces, llama2_tokenizer **out)
{
    llama2_tokenizer *tok;
    size_t bytes = 0;
    L2_TRY(check(pieces, &bytes));
    L2_TRY(l2_vocabulary_begin(ctx, pieces->n_pieces, bytes, &tok));
    llama2_status status = fill(tok, pieces);
    if (status < 0) {
        l2_vocabulary_free(tok);
        if (status == LLAMA2_E_FORMAT) status = LLAMA2_E_INVALID; /* an argument, not a file */
        return l2_fail_in(status, "llama2_tokenizer_create");
    }
    *out = tok;
    return LLAMA2_OK;
}
