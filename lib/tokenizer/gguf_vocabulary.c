/* The vocabulary in a GGUF's metadata, keys tokenizer.ggml.*: SentencePiece ("llama") or byte-level BPE ("gpt2").
 * Reading and writing. */
#include "base/alloc.h"
#include "format/gguf.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"
#include <stdio.h>
#include <string.h>

/* An array of the length of the tokens; NULL where the file has none. */
static llama2_status find_array(const l2_gguf *file, const char *key, uint64_t n, const l2_gguf_value **out)
{
    *out = l2_gguf_find(file, key);
    if (!*out || ((*out)->type == L2_GGUF_ARRAY && (*out)->count == n)) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_FORMAT, "%s: expected an array of %llu, as many as tokens", key, (unsigned long long)n);
}

static llama2_status add_pieces(llama2_tokenizer *tok, const l2_gguf_value *tokens, const float *scores,
                                const int32_t *types)
{
    l2_gguf_cursor cursor;
    const char *text;
    size_t length;
    L2_TRY(l2_gguf_strings(tokens, &cursor));
    for (size_t i = 0; l2_gguf_next(&cursor, &text, &length); ++i) {
        int32_t type = types ? types[i] : LLAMA2_PIECE_NORMAL;
        L2_TRY(l2_vocabulary_add(tok, text, length, scores ? scores[i] : 0, type));
        if (type == LLAMA2_PIECE_BYTE) tok->byte_fallback = 1;
    }
    return LLAMA2_OK;
}

static llama2_status read_pieces(llama2_context *ctx, const l2_gguf *file, const llama2_tokenizer_options *options,
                                 llama2_tokenizer **out)
{
    const l2_gguf_value *tokens, *score_values, *type_values;
    l2_gguf_cursor cursor;
    const char *text;
    size_t length, bytes = 0;
    float *scores = NULL;
    int32_t *types = NULL;
    llama2_status status;
    L2_TRY(l2_gguf_require(file, "tokenizer.ggml.tokens", &tokens));
    L2_TRY(l2_gguf_strings(tokens, &cursor));
    if (tokens->count == 0) return l2_fail(LLAMA2_E_FORMAT, "tokenizer.ggml.tokens: no pieces");
    if (tokens->count > (uint64_t)options->max_pieces)
        return l2_fail(LLAMA2_E_LIMIT,
                       "tokenizer.ggml.tokens: %llu pieces; llama2_tokenizer_options.max_pieces allows %d",
                       (unsigned long long)tokens->count, (int)options->max_pieces);
    while (l2_gguf_next(&cursor, &text, &length)) bytes += length;
    L2_TRY(find_array(file, "tokenizer.ggml.scores", tokens->count, &score_values));
    L2_TRY(find_array(file, "tokenizer.ggml.token_type", tokens->count, &type_values));
    L2_CHECK(l2_vocabulary_begin(ctx, (int32_t)tokens->count, bytes, out));
    if (score_values) {
        L2_CHECK(l2_alloc(ctx, (size_t)tokens->count, sizeof *scores, &scores));
        L2_CHECK(l2_gguf_floats(score_values, scores));
    }
    if (type_values) {
        L2_CHECK(l2_alloc(ctx, (size_t)tokens->count, sizeof *types, &types));
        L2_CHECK(l2_gguf_int32s(type_values, types));
    }
    status = add_pieces(*out, tokens, scores, types);
    if (status < 0) status = l2_fail_in(status, "tokenizer.ggml.tokens");
done:
    l2_free(ctx, scores);
    l2_free(ctx, types);
    return status;
}

/* The id of a special piece; *id stays where the file names none. */
static llama2_status read_id(const llama2_tokenizer *tok, const l2_gguf *file, const char *key, int32_t *id)
{
    const l2_gguf_value *value = l2_gguf_find(file, key);
    int64_t n;
    if (!value) return LLAMA2_OK;
    L2_TRY(l2_gguf_int(value, &n));
    if (n < 0 || n >= tok->n_pieces)
        return l2_fail(LLAMA2_E_FORMAT, "%s is %lld, expected 0 to %d", key, (long long)n, (int)tok->n_pieces - 1);
    *id = (int32_t)n;
    return LLAMA2_OK;
}

static llama2_status read_flag(const l2_gguf *file, const char *key, int *flag)
{
    const l2_gguf_value *value = l2_gguf_find(file, key);
    return value ? l2_gguf_bool(value, flag) : LLAMA2_OK;
}

static llama2_status read_template(llama2_tokenizer *tok, const l2_gguf *file)
{
    const l2_gguf_value *value = l2_gguf_find(file, "tokenizer.chat_template");
    const char *text;
    size_t length;
    if (!value) return LLAMA2_OK;
    L2_TRY(l2_gguf_string(value, &text, &length));
    return l2_chat_template_set(tok, text, length);
}

/* --- byte-level BPE -------------------------------------------------------------------------- */

static llama2_status read_pretokenizer(llama2_tokenizer *tok, const l2_gguf *file)
{
    const l2_gguf_value *value = l2_gguf_find(file, "tokenizer.ggml.pre");
    const char *text;
    size_t length;
    if (!value) return l2_fail(LLAMA2_E_UNSUPPORTED, "there is no tokenizer.ggml.pre, so how text is cut is not known");
    if (l2_gguf_string_is(value, "gpt-2")) {
        tok->pretokenizer = L2_PRETOKENIZER_GPT2;
    } else if (l2_gguf_string_is(value, "smollm")) {
        tok->pretokenizer = L2_PRETOKENIZER_SMOLLM;
    } else if (l2_gguf_string_is(value, "llama-bpe")) {
        tok->pretokenizer = L2_PRETOKENIZER_LLAMA3;
        tok->ignore_merges = tok->adds_bos = 1; /* what the name stands for besides */
    } else {
        L2_TRY(l2_gguf_string(value, &text, &length));
        return l2_fail(LLAMA2_E_UNSUPPORTED,
                       "tokenizer.ggml.pre \"%.*s\" is not supported, only gpt-2, llama-bpe and smollm",
                       (int)(length < 60 ? length : 60), text);
    }
    return LLAMA2_OK;
}

static llama2_status read_merges(llama2_tokenizer *tok, const l2_gguf *file)
{
    const l2_gguf_value *value;
    l2_gguf_cursor cursor;
    const char *text;
    size_t length;
    L2_TRY(l2_gguf_require(file, "tokenizer.ggml.merges", &value));
    L2_TRY(l2_gguf_strings(value, &cursor));
    L2_TRY(l2_merges_begin(tok, (size_t)value->count));
    while (l2_gguf_next(&cursor, &text, &length)) {
        const char *space = length ? memchr(text, ' ', length) : NULL;
        size_t left = space ? (size_t)(space - text) : 0, right = space ? length - left - 1 : 0;
        if (!space || memchr(space + 1, ' ', right) || left > L2_MAX_PIECE || right > L2_MAX_PIECE)
            return l2_fail(LLAMA2_E_FORMAT, "tokenizer.ggml.merges: merge %u is not of the form \"left right\"",
                           (unsigned)tok->n_pairs);
        llama2_status status = l2_merges_add(tok, text, left, space + 1, right);
        if (status < 0) return l2_fail_in(status, "tokenizer.ggml.merges");
    }
    return LLAMA2_OK;
}

static llama2_status finish_byte_level(llama2_tokenizer *tok, const l2_gguf *file)
{
    L2_TRY(read_pretokenizer(tok, file));
    L2_TRY(read_merges(tok, file));
    return l2_byte_level_finish(tok);
}

/* --- SentencePiece --------------------------------------------------------------------------- */

static llama2_status finish_sentencepiece(llama2_tokenizer *tok, const l2_gguf *file)
{
    int32_t bos = -1, eos = -1, pad = -1;
    const l2_gguf_value *charsmap = l2_gguf_find(file, "tokenizer.ggml.precompiled_charsmap");
    if (charsmap && charsmap->count > 0)
        return l2_fail(LLAMA2_E_UNSUPPORTED,
                       "tokenizer.ggml.precompiled_charsmap: a normaliser table is not supported");
    L2_TRY(read_id(tok, file, "tokenizer.ggml.bos_token_id", &bos));
    L2_TRY(read_id(tok, file, "tokenizer.ggml.eos_token_id", &eos));
    L2_TRY(read_id(tok, file, "tokenizer.ggml.padding_token_id", &pad));
    L2_TRY(l2_vocabulary_name_specials(tok, l2_piece_text(tok, bos), l2_piece_text(tok, eos), l2_piece_text(tok, pad)));
    tok->remove_extra_whitespaces = 0;
    L2_TRY(read_flag(file, "tokenizer.ggml.add_space_prefix", &tok->add_dummy_prefix));
    L2_TRY(read_flag(file, "tokenizer.ggml.remove_extra_whitespaces", &tok->remove_extra_whitespaces));
    return l2_vocabulary_finish(tok);
}

static llama2_status fill(llama2_tokenizer *tok, const l2_gguf *file, const l2_gguf_value *model)
{
    const char *text;
    size_t length;
    if (l2_gguf_string_is(model, "gpt2")) {
        L2_TRY(finish_byte_level(tok, file));
    } else if (l2_gguf_string_is(model, "llama")) {
        L2_TRY(finish_sentencepiece(tok, file));
    } else {
        L2_TRY(l2_gguf_string(model, &text, &length));
        return l2_fail(LLAMA2_E_UNSUPPORTED, "tokenizer.ggml.model \"%.*s\" is not supported, only llama and gpt2",
                       (int)(length < 60 ? length : 60), text);
    }
    L2_TRY(read_id(tok, file, "tokenizer.ggml.bos_token_id", &tok->bos));
    L2_TRY(read_id(tok, file, "tokenizer.ggml.eos_token_id", &tok->eos));
    L2_TRY(read_id(tok, file, "tokenizer.ggml.padding_token_id", &tok->pad));
    if (tok->unk < 0) L2_TRY(read_id(tok, file, "tokenizer.ggml.unknown_token_id", &tok->unk));
    L2_TRY(read_flag(file, "tokenizer.ggml.add_bos_token", &tok->adds_bos));
    tok->adds_bos = tok->adds_bos && tok->bos >= 0;
    return read_template(tok, file);
}

llama2_status l2_gguf_vocabulary_read(llama2_context *ctx, const l2_gguf *file, const llama2_tokenizer_options *options,
                                      llama2_tokenizer **out)
{
    const l2_gguf_value *model;
    llama2_tokenizer *tok = NULL;
    llama2_status status;
    *out = NULL;
    model = l2_gguf_find(file, "tokenizer.ggml.model");
    if (!model || l2_gguf_string_is(model, "none"))
        L2_CHECK(l2_fail(LLAMA2_E_NOT_FOUND, "the file has no tokenizer: tokenizer.ggml.model is %s",
                         model ? "\"none\"" : "missing"));
    L2_CHECK(read_pieces(ctx, file, options, &tok));
    L2_CHECK(fill(tok, file, model));
    *out = tok;
    tok = NULL;
done:
    l2_vocabulary_free(tok);
    return status;
}

/* --- writing --------------------------------------------------------------------------------- */

static const char *name_pretokenizer(const llama2_tokenizer *tok)
{
    switch (tok->pretokenizer) {
    case L2_PRETOKENIZER_GPT2: return tok->ignore_merges ? NULL : "gpt-2";
    case L2_PRETOKENIZER_SMOLLM: return tok->ignore_merges ? NULL : "smollm";
    case L2_PRETOKENIZER_LLAMA3: return tok->ignore_merges ? "llama-bpe" : NULL;
    default: return NULL;
    }
}

static void put_text(l2_gguf_metadata *m, const char *key, const char *text)
{
    l2_gguf_put_string(m, key, text, strlen(text));
}

/* Rows of the embedding that no piece belongs to get a name, as llama.cpp's converter gives them. */
static void put_pieces(l2_gguf_metadata *m, const llama2_tokenizer *tok, int32_t n_rows)
{
    char pad[32];
    l2_gguf_put_array(m, "tokenizer.ggml.tokens", L2_GGUF_STRING, (uint64_t)n_rows);
    for (int32_t id = 0; id < tok->n_pieces; ++id)
        l2_gguf_put_element(m, tok->bytes + tok->offsets[id], l2_piece_length(tok, id));
    for (int32_t id = tok->n_pieces; id < n_rows; ++id)
        l2_gguf_put_element(m, pad, (size_t)snprintf(pad, sizeof pad, "[PAD%d]", (int)id));
    l2_gguf_put_array(m, "tokenizer.ggml.token_type", L2_GGUF_I32, (uint64_t)n_rows);
    for (int32_t id = 0; id < n_rows; ++id)
        l2_gguf_put_element_i32(m, id < tok->n_pieces ? tok->types[id] : LLAMA2_PIECE_UNUSED);
}

static llama2_status put_byte_level(l2_gguf_metadata *m, const llama2_tokenizer *tok, int32_t n_rows)
{
    const char *pre = name_pretokenizer(tok);
    l2_pair *by_rank;
    l2_text merge;
    if (!pre)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "GGUF has no name for this pre-tokeniser %s ignore_merges",
                       tok->ignore_merges ? "with" : "without");
    put_text(m, "tokenizer.ggml.model", "gpt2");
    put_text(m, "tokenizer.ggml.pre", pre);
    put_pieces(m, tok, n_rows);
    L2_TRY(l2_merges_by_rank(tok, &by_rank));
    l2_text_begin(&merge, tok->ctx);
    l2_gguf_put_array(m, "tokenizer.ggml.merges", L2_GGUF_STRING, tok->n_pairs);
    for (uint32_t i = 0; i < tok->n_pairs; ++i) {
        merge.length = 0;
        l2_text_format(&merge, "%s %s", tok->bytes + tok->offsets[by_rank[i].left],
                       tok->bytes + tok->offsets[by_rank[i].right]);
        if (merge.status == LLAMA2_OK) l2_gguf_put_element(m, merge.data, merge.length);
    }
    llama2_status status = merge.status;
    l2_text_free(&merge);
    l2_free(tok->ctx, by_rank);
    return status;
}

static llama2_status put_sentencepiece(l2_gguf_metadata *m, const llama2_tokenizer *tok, int32_t n_rows)
{
    enum { PAD_SCORE = -10000 };
    if (!tok->escape_whitespaces)
        return l2_fail(LLAMA2_E_UNSUPPORTED,
                       "a vocabulary with spaces as such, not as U+2581, can't be in a GGUF file");
    put_text(m, "tokenizer.ggml.model", "llama");
    put_text(m, "tokenizer.ggml.pre", "default");
    put_pieces(m, tok, n_rows);
    l2_gguf_put_array(m, "tokenizer.ggml.scores", L2_GGUF_F32, (uint64_t)n_rows);
    for (int32_t id = 0; id < n_rows; ++id)
        l2_gguf_put_element_f32(m, id < tok->n_pieces ? tok->scores[id] : (float)PAD_SCORE);
    l2_gguf_put_bool(m, "tokenizer.ggml.add_space_prefix", tok->add_dummy_prefix);
    l2_gguf_put_bool(m, "tokenizer.ggml.remove_extra_whitespaces", tok->remove_extra_whitespaces);
    return LLAMA2_OK;
}

static void put_id(l2_gguf_metadata *m, const char *key, int32_t id)
{
    if (id >= 0) l2_gguf_put_u32(m, key, (uint32_t)id);
}

/* The tokenizer's own comes first: it ends a turn where several end a text. */
static void put_eos(l2_gguf_metadata *m, int32_t own, const l2_gguf_ids *ids)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    size_t n = own >= 0;
    if (own >= 0) put_id(m, keys[0], own);
    for (int32_t i = 0; i < ids->n_eos && n < 3; i++)
        if (ids->eos[i] != own) put_id(m, keys[n++], ids->eos[i]);
}

llama2_status l2_gguf_vocabulary_write(const llama2_tokenizer *tok, int32_t n_rows, const l2_gguf_ids *ids,
                                       l2_gguf_metadata *out)
{
    if (tok && tok->n_pieces > n_rows)
        return l2_fail(LLAMA2_E_MISMATCH, "the tokenizer has %d pieces, the model's vocabulary %d", (int)tok->n_pieces,
                       (int)n_rows);
    if (!tok)
        put_text(out, "tokenizer.ggml.model", "none");
    else
        L2_TRY(tok->pretokenizer ? put_byte_level(out, tok, n_rows) : put_sentencepiece(out, tok, n_rows));
    put_id(out, "tokenizer.ggml.bos_token_id", tok && tok->bos >= 0 ? tok->bos : ids->bos);
    put_id(out, "tokenizer.ggml.padding_token_id", tok && tok->pad >= 0 ? tok->pad : ids->pad);
    put_eos(out, tok ? tok->eos : -1, ids);
    if (tok) {
        put_id(out, "tokenizer.ggml.unknown_token_id", tok->unk);
        l2_gguf_put_bool(out, "tokenizer.ggml.add_bos_token", tok->adds_bos);
        l2_gguf_put_bool(out, "tokenizer.ggml.add_eos_token", 0);
        if (tok->chat_template) put_text(out, "tokenizer.chat_template", tok->chat_template);
    }
    return out->text.status;
}
