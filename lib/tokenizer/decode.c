/* Ids into text. Bytes wait until they are a character; what can't become one is U+FFFD, byte by byte. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

llama2_status l2_decode_check(uint32_t flags, const char *call)
{
    if (flags & ~(uint32_t)(LLAMA2_DECODE_SPECIALS | LLAMA2_DECODE_CONTINUE | LLAMA2_DECODE_BYTES))
        return l2_fail(LLAMA2_E_INVALID, "%s: unknown flags %#x", call, (unsigned)flags);
    return LLAMA2_OK;
}

void l2_decode_begin(l2_decode_state *state, uint32_t flags)
{
    *state = (l2_decode_state){.flags = flags, .at_start = !(flags & LLAMA2_DECODE_CONTINUE)};
}

/* Can more bytes make a valid character of these? (Unicode, table 3-7) */
static int may_continue(const unsigned char *bytes, int n)
{
    unsigned lead = bytes[0];
    int length = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1;
    if (n >= length) return 0;
    for (int i = 1; i < n; ++i) {
        unsigned low = 0x80, high = 0xBF;
        if (i == 1) {
            if (lead == 0xE0) low = 0xA0;
            if (lead == 0xED) high = 0x9F;
            if (lead == 0xF0) low = 0x90;
            if (lead == 0xF4) high = 0x8F;
        }
        if (bytes[i] < low || bytes[i] > high) return 0;
    }
    return 1;
}

/* Puts what is decided of the held bytes; at the end of the bytes everything is. */
static void settle(l2_decode_state *state, int at_end, l2_decode_put put, void *user)
{
    while (state->n_held > 0) {
        int n = l2_utf8_decode((const char *)state->held, (size_t)state->n_held, NULL);
        if (n == 0 && !at_end && may_continue(state->held, state->n_held)) break;
        if (n || state->flags & LLAMA2_DECODE_BYTES)
            put(user, (const char *)state->held, n ? (size_t)n : 1);
        else
            put(user, "\xEF\xBF\xBD", 3);
        if (n == 0) n = 1;
        state->n_held -= n;
        memmove(state->held, state->held + n, (size_t)state->n_held);
        state->any_text = 1;
    }
}

void l2_decode_end(l2_decode_state *state, l2_decode_put put, void *user)
{
    settle(state, 1, put, user);
}

/* Any bytes: whole characters at once, others through those that are held. */
static void take_bytes(l2_decode_state *state, const char *text, size_t length, l2_decode_put put, void *user)
{
    while (length > 0) {
        size_t n = state->n_held ? 0 : l2_utf8_valid_prefix(text, length);
        if (n) {
            put(user, text, n);
        } else {
            n = 1;
            state->held[state->n_held++] = (unsigned char)*text;
            settle(state, 0, put, user);
        }
        text += n;
        length -= n;
    }
}

void l2_decode_step(const llama2_tokenizer *tok, l2_decode_state *state, int32_t id, l2_decode_put put, void *user)
{
    int type = tok->types[id];
    const char *text = tok->shown + tok->shown_at[id];
    size_t length = tok->shown_at[id + 1] - tok->shown_at[id];
    if (type == LLAMA2_PIECE_CONTROL && state->flags & LLAMA2_DECODE_SPECIALS) {
        text = tok->bytes + tok->offsets[id];
        length = l2_piece_length(tok, id);
    }
    if (tok->pretokenizer) {
        take_bytes(state, text, length, put, user);
        return;
    }
    if (type == LLAMA2_PIECE_BYTE) {
        state->held[state->n_held++] =
            (unsigned char)l2_byte_of_piece(tok->bytes + tok->offsets[id], l2_piece_length(tok, id));
        settle(state, 0, put, user);
        return;
    }
    settle(state, 1, put, user);
    if (state->space_dropped || state->any_text) state->at_start = 0;
    state->space_dropped = 0;
    if (type == LLAMA2_PIECE_CONTROL) {
        if (length) put(user, text, length);
        return;
    }
    /* The dummy prefix goes: once, or every leading space where encoding would have dropped them. */
    int begins_with_space =
        type != LLAMA2_PIECE_UNKNOWN && memcmp(tok->bytes + tok->offsets[id], L2_SPACE, strlen(L2_SPACE)) == 0;
    if (begins_with_space && state->at_start && (tok->add_dummy_prefix || tok->remove_extra_whitespaces)) {
        ++text;
        --length;
        state->space_dropped = !tok->remove_extra_whitespaces;
    }
    if (!length) return;
    state->any_text = 1;
    put(user, text, length);
}

void l2_decode_keep(void *user, const char *text, size_t length)
{
    l2_decoded *out = user;
    size_t room = out->length < out->capacity ? out->capacity - out->length : 0;
    if (length && room) memcpy(out->text + out->length, text, length < room ? length : room);
    out->length += length;
}

void l2_decode(const llama2_tokenizer *tok, const int32_t *ids, int64_t n, uint32_t flags, l2_decoded *out)
{
    l2_decode_state state;
    l2_decode_begin(&state, flags);
    for (int64_t i = 0; i < n; ++i)
        if (ids[i] < tok->n_pieces) l2_decode_step(tok, &state, ids[i], l2_decode_keep, out);
    l2_decode_end(&state, l2_decode_keep, out);
}

/* --- token by token -------------------------------------------------------------------------- */

/* Bytes of text that one id can become at most: held-back bytes, and U+FFFD for each byte of its own. */
static size_t most_text(const llama2_tokenizer *tok)
{
    size_t longest = strlen(tok->unk_surface);
    for (int32_t id = 0; id < tok->n_pieces; ++id)
        if (l2_piece_length(tok, id) > longest) longest = l2_piece_length(tok, id);
    return 3 * longest + 16;
}

llama2_status l2_decoder_create(llama2_tokenizer *tok, uint32_t flags, llama2_decoder **out)
{
    llama2_decoder *decoder;
    size_t capacity = most_text(tok);
    L2_TRY(l2_alloc(tok->ctx, sizeof *decoder + capacity + 1, 1, &decoder));
    decoder->tokenizer = l2_tokenizer_retain(tok);
    decoder->out = (l2_decoded){decoder->text, capacity, 0};
    l2_decode_begin(&decoder->state, flags);
    *out = decoder;
    return LLAMA2_OK;
}

void l2_decoder_free(llama2_decoder *decoder)
{
    if (!decoder) return;
    llama2_tokenizer *tok = decoder->tokenizer;
    l2_free(tok->ctx, decoder);
    l2_tokenizer_release(tok);
}

void l2_decoder_push(llama2_decoder *decoder, int32_t id)
{
    decoder->out.length = 0;
    l2_decode_step(decoder->tokenizer, &decoder->state, id, l2_decode_keep, &decoder->out);
    decoder->text[decoder->out.length] = 0;
}

void l2_decoder_finish(llama2_decoder *decoder)
{
    decoder->out.length = 0;
    l2_decode_end(&decoder->state, l2_decode_keep, &decoder->out);
    decoder->text[decoder->out.length] = 0;
    l2_decode_begin(&decoder->state, decoder->state.flags);
}
