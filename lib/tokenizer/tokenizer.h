/* Inside of the tokenizer: the vocabulary and its index. Immutable once l2_vocabulary_finish() has returned. */
#ifndef L2_TOKENIZER_TOKENIZER_H
#define L2_TOKENIZER_TOKENIZER_H

#include "base/status.h"
#include <llama2/chat.h>
#include <llama2/context.h>
#include <llama2/tokenizer.h>
#include <stdatomic.h>

/* U+2581, which stands for a space in pieces. */
#define L2_SPACE "\xE2\x96\x81"

enum {
    L2_MAX_PIECE = 8000,      /* bytes of a piece: sentencepiece's own limit is one less */
    L2_MAX_SEGMENT = 1 << 30, /* bytes of a stretch of text that can't be cut */
    L2_CLASS_SPACE = 128,     /* class of U+2581; ASCII is a class a character, the rest share 129 ... 255 */
};

typedef struct l2_slot {
    uint32_t tag; /* low half of the hash */
    int32_t id;   /* -1: free */
} l2_slot;

struct llama2_tokenizer {
    atomic_int references;
    llama2_context *ctx;
    int32_t n_pieces;
    char *bytes;       /* text of all pieces, a NUL after each */
    uint32_t *offsets; /* n_pieces + 1, into bytes */
    float *scores;
    uint8_t *types;
    char *shown;        /* what decoding gives for each piece: U+2581 as a space, nothing for control pieces */
    uint32_t *shown_at; /* n_pieces + 1, into shown */
    l2_slot *slots;     /* text -> id, linear probing */
    uint32_t n_slots;
    size_t longest; /* bytes of the longest piece that text can become */
    int32_t bos, eos, unk, pad;
    int32_t byte_ids[256];
    int32_t ascii_ids[128]; /* pieces of one ASCII character, -1: none */
    int byte_fallback, add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
    int has_unused;
    int32_t n_user_defined;
    size_t longest_user_defined;
    uint8_t user_defined_first[256];                       /* first bytes of user-defined pieces */
    uint8_t user_defined_lengths[L2_MAX_PIECE / 8 + 1];    /* bit set of their lengths */
    char *bos_piece, *eos_piece, *pad_piece, *unk_surface; /* NUL-terminated */
    /* Bit b of row a: some piece has a character of class a before one of class b. Where the bit is 0 no piece spans,
     * so text can be cut there. */
    uint8_t joins[256][32];
    unsigned char *original; /* the file, when loaded */
    size_t original_size;
};

static inline size_t l2_piece_length(const llama2_tokenizer *tok, int32_t id)
{
    return tok->offsets[id + 1] - tok->offsets[id] - 1;
}

/* Is this a piece that text can become by merging? */
static inline int l2_piece_is_text(const llama2_tokenizer *tok, int32_t id)
{
    return tok->types[id] == LLAMA2_PIECE_NORMAL || tok->types[id] == LLAMA2_PIECE_USER_DEFINED ||
           tok->types[id] == LLAMA2_PIECE_UNUSED;
}

/* Bytes of the character that begins with `lead`, in valid UTF-8. */
static inline size_t l2_char_length(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Class of a valid character of `length` bytes. */
unsigned l2_char_class(const char *text, size_t length);

/* --- vocabulary.c ---------------------------------------------------------------------------- */

/* An empty vocabulary with room for n_pieces of `bytes` bytes in total (without their NULs). */
llama2_status l2_vocabulary_begin(llama2_context *ctx, int32_t n_pieces, size_t bytes, llama2_tokenizer **out);
/* Appends a piece; room is the caller's care. Checks the text, its type and score, and that there is no other like it.
 * The message names the piece. */
llama2_status l2_vocabulary_add(llama2_tokenizer *tok, const char *text, size_t length, float score, int32_t type);
/* After the last piece, with the flags and special texts set: checks what spans pieces and builds what encoding and
 * decoding need. */
llama2_status l2_vocabulary_finish(llama2_tokenizer *tok);
void l2_vocabulary_free(llama2_tokenizer *tok);

/* Id of the piece of any type with this text, -1: none. */
int32_t l2_vocabulary_find(const llama2_tokenizer *tok, const char *text, size_t length);
/* The same for pieces that text can become. */
int32_t l2_vocabulary_find_text(const llama2_tokenizer *tok, const char *text, size_t length);
/* Bytes of the longest user-defined piece at the start of `text`, 0: none. */
size_t l2_vocabulary_user_defined(const llama2_tokenizer *tok, const char *text, size_t length);

/* --- sentencepiece.c ------------------------------------------------------------------------- */

llama2_status l2_sentencepiece_read(llama2_context *ctx, const unsigned char *data, size_t size,
                                    const llama2_tokenizer_options *options, llama2_tokenizer **out);
/* The bytes of a tokenizer.model, allocated from the tokenizer's context. */
llama2_status l2_sentencepiece_write(const llama2_tokenizer *tok, char **data, size_t *size);

/* --- encode.c, decode.c ---------------------------------------------------------------------- */

/* Where ids go. What does not fit is counted only. */
typedef struct l2_ids {
    int32_t *ids;
    int64_t capacity, count;
} l2_ids;

/*
 * Appends the ids of a text (without BOS and EOS). *n_before (may be NULL): how many of them end within the first
 * `mark` bytes of the text, which must be the end of a character.
 */
llama2_status l2_encode(const llama2_tokenizer *tok, const char *text, size_t length, l2_ids *out, size_t mark,
                        int64_t *n_before);

/* State of decoding between ids. */
typedef struct l2_decode_state {
    uint32_t flags;
    int at_start;      /* a leading space is still to be dropped */
    int space_dropped; /* the last piece that is not a byte lost its leading space */
    int any_text;
    unsigned char held[4]; /* bytes that may become a character */
    int n_held;
} l2_decode_state;

enum { L2_HELD_ROOM = 16 }; /* bytes that held-back bytes can become at most, with room to spare */

void l2_decode_begin(l2_decode_state *state, uint32_t flags);
/*
 * One id in [0, n_pieces): text that comes before the piece's own goes to `held` (L2_HELD_ROOM bytes), its length to
 * *n_held; the piece's own is *text (valid as long as the tokenizer).
 */
void l2_decode_step(const llama2_tokenizer *tok, l2_decode_state *state, int32_t id, char *held, size_t *n_held,
                    const char **text, size_t *length);
/* What is still held back. */
size_t l2_decode_end(l2_decode_state *state, char *held);

/* --- chat.c ---------------------------------------------------------------------------------- */

llama2_status l2_chat_encode(const llama2_tokenizer *tok, const llama2_chat *chat, uint32_t flags, l2_ids *out,
                             float *weights);

#endif
