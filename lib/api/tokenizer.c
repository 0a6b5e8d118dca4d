/* include/llama2/tokenizer.h: arguments checked, options completed; the work is done in lib/tokenizer/. */
#include "base/context.h"
#include "base/files.h"
#include "base/options.h"
#include "tokenizer/tokenizer.h"

static const llama2_tokenizer_options option_defaults = {
    .struct_size = sizeof option_defaults, .max_pieces = 1 << 20, .max_bytes = UINT64_C(256) << 20};
static const llama2_tokenizer_pieces piece_defaults = {.struct_size = sizeof piece_defaults, .add_dummy_prefix = 1};

_Static_assert(sizeof(llama2_tokenizer_options) == 16, "ABI");
_Static_assert(sizeof(void *) != 8 || sizeof(llama2_tokenizer_pieces) == 72, "ABI");
_Static_assert(LLAMA2_PIECE_NORMAL == 1 && LLAMA2_PIECE_UNKNOWN == 2 && LLAMA2_PIECE_CONTROL == 3 &&
                   LLAMA2_PIECE_USER_DEFINED == 4 && LLAMA2_PIECE_UNUSED == 5 && LLAMA2_PIECE_BYTE == 6,
               "ABI");
_Static_assert(LLAMA2_ENCODE_BOS == 1 && LLAMA2_ENCODE_EOS == 2 && LLAMA2_DECODE_SPECIALS == 1 &&
                   LLAMA2_DECODE_CONTINUE == 2 && LLAMA2_DECODE_BYTES == 4,
               "ABI");

void llama2_tokenizer_options_init(llama2_tokenizer_options *options, size_t size)
{
    l2_options_init(options, size, &option_defaults, sizeof option_defaults);
}

void llama2_tokenizer_pieces_init(llama2_tokenizer_pieces *pieces, size_t size)
{
    l2_options_init(pieces, size, &piece_defaults, sizeof piece_defaults);
}

/* --- making ---------------------------------------------------------------------------------- */

static llama2_status read_options(const llama2_tokenizer_options *options, llama2_tokenizer_options *full)
{
    *full = option_defaults;
    L2_TRY(l2_options_read(options, full, sizeof *full, "llama2_tokenizer_options"));
    if (full->max_pieces <= 0)
        return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_options: max_pieces is %d, expected > 0",
                       (int)full->max_pieces);
    return LLAMA2_OK;
}

llama2_status llama2_tokenizer_load(llama2_context *ctx, const char *path, const llama2_tokenizer_options *options,
                                    llama2_tokenizer **out)
{
    llama2_tokenizer_options full;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_load: out is NULL");
    *out = NULL;
    if (!ctx || !path) return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_load: %s is NULL", ctx ? "path" : "ctx");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(read_options(options, &full));
    return l2_tokenizer_load(ctx, path, &full, out);
}

llama2_status llama2_tokenizer_load_memory(llama2_context *ctx, const void *data, size_t size,
                                           const llama2_tokenizer_options *options, llama2_tokenizer **out)
{
    llama2_tokenizer_options full;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_load_memory: out is NULL");
    *out = NULL;
    if (!ctx || (!data && size))
        return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_load_memory: %s is NULL", ctx ? "data" : "ctx");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(read_options(options, &full));
    return l2_tokenizer_parse(ctx, data, size, &full, out);
}

llama2_status llama2_tokenizer_load_host(llama2_context *ctx, const llama2_host_file *file,
                                         const llama2_tokenizer_options *options, llama2_tokenizer **out)
{
    llama2_tokenizer_options full;
    l2_file_view view;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_load_host: out is NULL");
    *out = NULL;
    if (!ctx) return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_load_host: ctx is NULL");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(read_options(options, &full));
    L2_TRY(l2_file_of_host(ctx, file, full.max_bytes, &view));
    llama2_status status = l2_tokenizer_parse(ctx, view.data, view.size, &full, out);
    l2_file_release(ctx, &view);
    return status;
}

llama2_status llama2_tokenizer_create(llama2_context *ctx, const llama2_tokenizer_pieces *pieces,
                                      llama2_tokenizer **out)
{
    llama2_tokenizer_pieces full = piece_defaults;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_create: out is NULL");
    *out = NULL;
    if (!ctx || !pieces)
        return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_create: %s is NULL", ctx ? "pieces" : "ctx");
    L2_TRY(l2_context_check(ctx));
    L2_TRY(l2_options_read(pieces, &full, sizeof full, "llama2_tokenizer_pieces"));
    return l2_pieces_read(ctx, &full, out);
}

llama2_status llama2_tokenizer_save(const llama2_tokenizer *tokenizer, const char *path)
{
    if (!tokenizer || !path)
        return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_save: %s is NULL", tokenizer ? "path" : "tokenizer");
    L2_TRY(l2_context_check(tokenizer->ctx));
    return l2_tokenizer_save(tokenizer, path);
}

llama2_tokenizer *llama2_tokenizer_retain(llama2_tokenizer *tokenizer)
{
    return tokenizer ? l2_tokenizer_retain(tokenizer) : NULL;
}

void llama2_tokenizer_free(llama2_tokenizer *tokenizer)
{
    l2_tokenizer_release(tokenizer);
}

/* --- the vocabulary -------------------------------------------------------------------------- */

int32_t llama2_tokenizer_vocab_size(const llama2_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->n_pieces : 0;
}

int32_t llama2_tokenizer_bos(const llama2_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->bos : -1;
}

int32_t llama2_tokenizer_adds_bos(const llama2_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->adds_bos : 0;
}

int32_t llama2_tokenizer_eos(const llama2_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->eos : -1;
}

int32_t llama2_tokenizer_unk(const llama2_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->unk : -1;
}

int32_t llama2_tokenizer_pad(const llama2_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->pad : -1;
}

static llama2_status check_id(const llama2_tokenizer *tok, int32_t id, const char *call)
{
    if (id >= 0 && id < tok->n_pieces) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_INVALID, "%s: id %d, expected 0 to %d", call, (int)id, (int)tok->n_pieces - 1);
}

llama2_status llama2_tokenizer_piece(const llama2_tokenizer *tokenizer, int32_t id, const char **text, size_t *length,
                                     float *score, int32_t *type)
{
    if (!tokenizer) return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_piece: tokenizer is NULL");
    L2_TRY(check_id(tokenizer, id, "llama2_tokenizer_piece"));
    if (text) *text = tokenizer->bytes + tokenizer->offsets[id];
    if (length) *length = l2_piece_length(tokenizer, id);
    if (score) *score = tokenizer->scores[id];
    if (type) *type = tokenizer->types[id];
    return LLAMA2_OK;
}

llama2_status llama2_tokenizer_find(const llama2_tokenizer *tokenizer, const char *text, size_t length, int32_t *id)
{
    if (!tokenizer || !id || (!text && length))
        return l2_fail(LLAMA2_E_INVALID, "llama2_tokenizer_find: tokenizer, text or id is NULL");
    int32_t found = length ? l2_vocabulary_find(tokenizer, text, length) : -1;
    if (found < 0)
        return l2_fail(LLAMA2_E_NOT_FOUND, "llama2_tokenizer_find: no piece \"%.*s\"; a space is %s in pieces",
                       (int)(length < 60 ? length : 60), text ? text : "",
                       tokenizer->pretokenizer ? "U+0120" : "U+2581");
    *id = found;
    return LLAMA2_OK;
}

/* --- text and ids ---------------------------------------------------------------------------- */

static llama2_status too_small(const char *call, int64_t capacity, int64_t needed, const char *unit)
{
    return l2_fail(LLAMA2_E_BUFFER, "%s: room for %lld %s, %lld are needed", call, (long long)capacity, unit,
                   (long long)needed);
}

static llama2_status check_encode(const char *call, const llama2_tokenizer *tok, const char *text, size_t length,
                                  uint32_t flags, const int32_t *ids, int64_t capacity)
{
    if (!tok || (!text && length)) return l2_fail(LLAMA2_E_INVALID, "%s: %s is NULL", call, tok ? "text" : "tokenizer");
    if (capacity < 0 || (!ids && capacity))
        return l2_fail(LLAMA2_E_INVALID, "%s: capacity %lld does not fit ids; NULL goes with 0", call,
                       (long long)capacity);
    if (flags & ~(uint32_t)(LLAMA2_ENCODE_BOS | LLAMA2_ENCODE_EOS))
        return l2_fail(LLAMA2_E_INVALID, "%s: unknown flags %#x", call, (unsigned)flags);
    if (((flags & LLAMA2_ENCODE_BOS) && tok->bos < 0) || ((flags & LLAMA2_ENCODE_EOS) && tok->eos < 0))
        return l2_fail(LLAMA2_E_STATE, "%s: the flags ask for BOS or EOS, which this vocabulary does not have", call);
    return l2_context_check(tok->ctx);
}

static llama2_status encode(const char *call, const llama2_tokenizer *tok, const char *text, size_t length,
                            uint32_t flags, l2_ids *out, int64_t *needed)
{
    L2_TRY(check_encode(call, tok, text, length, flags, out->ids, out->capacity));
    L2_TRY(l2_encode_framed(tok, text, length, flags, out));
    if (needed) *needed = out->count;
    if (out->count > out->capacity && out->ids) return too_small(call, out->capacity, out->count, "ids");
    return LLAMA2_OK;
}

llama2_status llama2_tokenizer_encode(const llama2_tokenizer *tokenizer, const char *text, size_t length,
                                      uint32_t flags, int32_t *ids, int64_t capacity, int64_t *needed)
{
    l2_ids out = {.ids = ids, .capacity = capacity};
    return encode("llama2_tokenizer_encode", tokenizer, text, length, flags, &out, needed);
}

llama2_status llama2_tokenizer_encode_offsets(const llama2_tokenizer *tokenizer, const char *text, size_t length,
                                              uint32_t flags, int32_t *ids, size_t *begins, size_t *ends,
                                              int64_t capacity, int64_t *needed)
{
    l2_ids out = {.ids = ids, .capacity = capacity, .begins = begins, .ends = ends};
    return encode("llama2_tokenizer_encode_offsets", tokenizer, text, length, flags, &out, needed);
}

llama2_status llama2_tokenizer_decode(const llama2_tokenizer *tokenizer, const int32_t *ids, int64_t n, uint32_t flags,
                                      char *buffer, size_t capacity, size_t *needed)
{
    static const char call[] = "llama2_tokenizer_decode";
    if (!tokenizer || n < 0 || (!ids && n))
        return l2_fail(LLAMA2_E_INVALID, "%s: tokenizer or ids is NULL, or n (%lld) < 0", call, (long long)n);
    if (!buffer && capacity)
        return l2_fail(LLAMA2_E_INVALID, "%s: capacity %zu does not fit buffer; NULL goes with 0", call, capacity);
    L2_TRY(l2_decode_check(flags, call));
    for (int64_t i = 0; i < n; ++i)
        if (check_id(tokenizer, ids[i], call) < 0) return l2_fail_in(LLAMA2_E_INVALID, "ids[%lld]", (long long)i);
    l2_decoded out = {buffer, capacity, 0};
    l2_decode(tokenizer, ids, n, flags, &out);
    if (needed) *needed = out.length;
    if (out.length > capacity && buffer) return too_small(call, (int64_t)capacity, (int64_t)out.length, "bytes");
    return LLAMA2_OK;
}

/* --- decoding token by token ----------------------------------------------------------------- */

llama2_status llama2_decoder_create(llama2_tokenizer *tokenizer, uint32_t flags, llama2_decoder **out)
{
    if (!out) return l2_fail(LLAMA2_E_INVALID, "llama2_decoder_create: out is NULL");
    *out = NULL;
    if (!tokenizer) return l2_fail(LLAMA2_E_INVALID, "llama2_decoder_create: tokenizer is NULL");
    L2_TRY(l2_decode_check(flags, "llama2_decoder_create"));
    return l2_decoder_create(tokenizer, flags, out);
}

void llama2_decoder_free(llama2_decoder *decoder)
{
    l2_decoder_free(decoder);
}

llama2_status llama2_decoder_push(llama2_decoder *decoder, int32_t id, const char **text, size_t *length)
{
    if (!decoder || !text || !length)
        return l2_fail(LLAMA2_E_INVALID, "llama2_decoder_push: decoder, text or length is NULL");
    L2_TRY(check_id(decoder->tokenizer, id, "llama2_decoder_push"));
    l2_decoder_push(decoder, id);
    *text = decoder->text;
    *length = decoder->out.length;
    return LLAMA2_OK;
}

llama2_status llama2_decoder_finish(llama2_decoder *decoder, const char **text, size_t *length)
{
    if (!decoder || !text || !length)
        return l2_fail(LLAMA2_E_INVALID, "llama2_decoder_finish: decoder, text or length is NULL");
    l2_decoder_finish(decoder);
    *text = decoder->text;
    *length = decoder->out.length;
    return LLAMA2_OK;
}
