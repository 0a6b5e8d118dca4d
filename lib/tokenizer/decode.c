/* Ids into text. Bytes wait until they are a character; what can't become one is U+FFFD, byte by byte. */
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

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

/* Moves what is decided from the held bytes to `to`; at the end of the bytes everything is. */
static size_t settle(l2_decode_state *state, int at_end, char *to)
{
    size_t written = 0;
    while (state->n_held > 0) {
        int n = l2_utf8_decode((const char *)state->held, (size_t)state->n_held, NULL);
        if (n == 0 && !at_end && may_continue(state->held, state->n_held)) break;
        memcpy(to + written, n ? (const char *)state->held : "\xEF\xBF\xBD", n ? (size_t)n : 3);
        written += n ? (size_t)n : 3;
        if (n == 0) n = 1;
        state->n_held -= n;
        memmove(state->held, state->held + n, (size_t)state->n_held);
    }
    if (written) state->any_text = 1;
    return written;
}

size_t l2_decode_end(l2_decode_state *state, char *held)
{
    return settle(state, 1, held);
}

static void take_byte(const llama2_tokenizer *tok, l2_decode_state *state, int32_t id)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *text = tok->bytes + tok->offsets[id]; /* "<0x41>" */
    const char *high = strchr(digits, text[3]), *low = strchr(digits, text[4]);
    state->held[state->n_held++] = (unsigned char)((high - digits) * 16 + (low - digits));
}

void l2_decode_step(const llama2_tokenizer *tok, l2_decode_state *state, int32_t id, char *held, size_t *n_held,
                    const char **text, size_t *length)
{
    int type = tok->types[id];
    *text = tok->shown + tok->shown_at[id];
    *length = tok->shown_at[id + 1] - tok->shown_at[id];
    if (type == LLAMA2_PIECE_BYTE) {
        take_byte(tok, state, id);
        *n_held = settle(state, 0, held);
        return;
    }
    *n_held = settle(state, 1, held);
    if (state->space_dropped || state->any_text) state->at_start = 0;
    state->space_dropped = 0;
    if (type == LLAMA2_PIECE_CONTROL) {
        if (state->flags & LLAMA2_DECODE_SPECIALS) {
            *text = tok->bytes + tok->offsets[id];
            *length = l2_piece_length(tok, id);
        }
        return;
    }
    /* The dummy prefix goes: once, or every leading space where encoding would have dropped them. */
    int begins_with_space =
        type != LLAMA2_PIECE_UNKNOWN && memcmp(tok->bytes + tok->offsets[id], L2_SPACE, strlen(L2_SPACE)) == 0;
    if (begins_with_space && state->at_start && (tok->add_dummy_prefix || tok->remove_extra_whitespaces)) {
        ++*text;
        --*length;
        state->space_dropped = !tok->remove_extra_whitespaces;
    }
    if (*length) state->any_text = 1;
}
