/* Inside of the tokenizer: the vocabulary and its index. Immutable once l2_vocabulary_finish() or
 * l2_byte_level_finish() has returned. */
#ifndef L2_TOKENIZER_TOKENIZER_H
#define L2_TOKENIZER_TOKENIZER_H

#include "base/files.h"
#include "base/status.h"
#include <llama2/chat.h>
#include <llama2/context.h>
#include <llama2/tokenizer.h>
#include <stdatomic.h>

/* U+2581, which stands for a space in pieces. */
#define L2_SPACE "\xE2\x96\x81"

enum {
    L2_MAX_PIECE = 8000,      /* bytes of a piece: sentencepiece's own limit is one less */
    L2_MAX_SPLIT_PIECE = 512, /* bytes of one of SentencePiece's whose merges are looked for, by hashing all splits */
    L2_MAX_SEGMENT = 1 << 30, /* bytes of a stretch of text that can't be cut */
    L2_CLASS_SPACE = 128,     /* class of U+2581; ASCII is a class a character, the rest share 129 ... 255 */
};

typedef struct l2_slot {
    uint32_t tag; /* low half of the hash */
    int32_t id;   /* -1: free */
} l2_slot;

/* A merge of byte-level BPE, or of a tokenizer.json. */
typedef struct l2_pair {
    int32_t left, right; /* left -1: free */
    int32_t joined;
    float score; /* -rank: exact, ranks are below 2^24. Of pairs with one score the leftmost in the text goes first */
} l2_pair;

/* A piece that text becomes wherever it holds it. */
typedef struct l2_user_defined {
    const char *text;
    uint32_t length;
    int32_t prefix; /* index of the longest other one that it begins with, -1: none */
} l2_user_defined;

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
    uint64_t secret;    /* of the hashes: random, so that nobody can make a file of pieces that collide */
    l2_slot *slots;     /* text -> id, linear probing */
    uint32_t n_slots;
    size_t longest; /* bytes of the longest piece that text can become */
    int32_t bos, eos, unk, pad;
    int32_t byte_ids[256];
    int32_t ascii_ids[128]; /* pieces of one ASCII character, -1: none */
    int adds_bos;           /* the model's texts begin with BOS */
    int byte_fallback, add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
    int prefix_unless_space; /* a text that begins with a space gets no dummy prefix: a tokenizer.json's Metaspace */
    int has_unused;
    int32_t n_user_defined;
    l2_user_defined *user_defined;                         /* n_user_defined, in the order of their bytes */
    uint8_t user_defined_first[256];                       /* first bytes of user-defined pieces */
    char *bos_piece, *eos_piece, *pad_piece, *unk_surface; /* NUL-terminated */
    /* Bit b of row a: some piece has a character of class a before one of class b. Where the bit is 0 no piece spans,
     * so text can be cut there. */
    uint8_t joins[256][32];
    int pretokenizer;  /* L2_PRETOKENIZER_*: byte-level BPE; NONE: SentencePiece */
    int ignore_merges; /* a stretch that is a piece is that piece, whatever the merges say */
    int lacks_bytes;   /* some of byte_ids are -1: such bytes of a text are dropped */
    l2_pair *pairs;    /* byte-level BPE only: open addressing, n_pair_slots a power of two */
    uint32_t n_pair_slots, n_pairs;
    int32_t chat_format;     /* L2_CHAT_* */
    char *chat_template;     /* as the file has it; NULL: none */
    char *chat_system;       /* ChatML: the system message of a dialogue that has none; NULL: none */
    char *chat_date;         /* Llama 3.1: what the template takes for today; NULL: it names no date */
    unsigned char *original; /* the file, when loaded */
    size_t original_size;
};

static inline size_t l2_piece_length(const llama2_tokenizer *tok, int32_t id)
{
    return tok->offsets[id + 1] - tok->offsets[id] - 1;
}

/* NULL for -1. */
static inline const char *l2_piece_text(const llama2_tokenizer *tok, int32_t id)
{
    return id >= 0 ? tok->bytes + tok->offsets[id] : NULL;
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
/* "<0x41>" -> 0x41; -1: not of this form. */
int l2_byte_of_piece(const char *text, size_t length);
/* The special texts: pieces for BOS, EOS and padding, which there need not be (NULL: SentencePiece's own), and what an
 * unknown one is shown as. */
llama2_status l2_vocabulary_name_specials(llama2_tokenizer *tok, const char *bos, const char *eos, const char *pad);
void l2_vocabulary_free(llama2_tokenizer *tok);
llama2_tokenizer *l2_tokenizer_retain(llama2_tokenizer *tok);
void l2_tokenizer_release(llama2_tokenizer *tok);

/* Id of the piece of any type with this text, -1: none. */
int32_t l2_vocabulary_find(const llama2_tokenizer *tok, const char *text, size_t length);
/* The same for control pieces, and for those that text can become. */
int32_t l2_vocabulary_find_control(const llama2_tokenizer *tok, const char *text);
int32_t l2_vocabulary_find_text(const llama2_tokenizer *tok, const char *text, size_t length);

/* --- user_defined.c -------------------------------------------------------------------------- */

/* After the last piece: makes the index. */
llama2_status l2_user_defined_finish(llama2_tokenizer *tok);
/* Bytes of the longest user-defined piece at the start of `text`, 0: none. */
size_t l2_user_defined_at(const llama2_tokenizer *tok, const char *text, size_t length);

/* --- byte_level_bpe.c ------------------------------------------------------------------------ */

/* Room for n_merges merges. */
llama2_status l2_merges_begin(llama2_tokenizer *tok, size_t n_merges);
/* Appends the merge of two pieces, given by their texts. The message names the merge. */
llama2_status l2_merges_add(llama2_tokenizer *tok, const char *left, size_t n_left, const char *right, size_t n_right);
/* The same for a pair that there is not yet, by ids and score; room is the caller's care. */
void l2_merges_put(llama2_tokenizer *tok, l2_pair pair);
/* The slot where a pair belongs, if it is free. A random odd multiplier sends any two numbers of 32 + log2(slots) bits
 * to one with a probability of at most 2 / slots (Dietzfelbinger et al. 1997). */
static inline uint32_t l2_pair_slot(const llama2_tokenizer *tok, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (uint32_t)(pair * (tok->secret | 1) >> 32) & (tok->n_pair_slots - 1);
}

/* The piece that the two make, -1: none; *score says how early. */
static inline int32_t l2_merges_find(const llama2_tokenizer *tok, int32_t left, int32_t right, float *score)
{
    for (uint32_t i = l2_pair_slot(tok, left, right);; i = (i + 1) & (tok->n_pair_slots - 1)) {
        const l2_pair *pair = &tok->pairs[i];
        if (pair->left < 0) return -1;
        if (pair->left != left || pair->right != right) continue;
        *score = pair->score;
        return pair->joined;
    }
}
/* All n_pairs merges in their order, of one rank those with the lower left id first; the array is the caller's. */
llama2_status l2_merges_by_rank(const llama2_tokenizer *tok, l2_pair **out);
/* After the last piece and merge, with `pretokenizer` and the ids of special pieces set. */
llama2_status l2_byte_level_finish(llama2_tokenizer *tok);
/* The characters by which pieces show bytes, at most two bytes each; returns how many they are. */
size_t l2_byte_level_show(const char *text, size_t length, char *shown);
/* The piece of a whole stretch of text, -1: none. */
int32_t l2_byte_level_find(const llama2_tokenizer *tok, const char *text, size_t length);

/* --- tokenizer_json.c, tokenizer_config.c, tokenizer_json_write.c ----------------------------- */

/* The bytes of a tokenizer.json, and of the tokenizer_config.json beside it (NULL: none). */
llama2_status l2_tokenizer_json_read(llama2_context *ctx, const char *data, size_t size, const char *config,
                                     size_t config_size, const llama2_tokenizer_options *options,
                                     llama2_tokenizer **out);
/* The chat template alone, for a vocabulary in another file. */
llama2_status l2_tokenizer_config_template(llama2_tokenizer *tok, const char *config, size_t size);
/* The bytes of both files, allocated from the tokenizer's context. */
llama2_status l2_tokenizer_json_write(const llama2_tokenizer *tok, char **data, size_t *size);
llama2_status l2_tokenizer_config_write(const llama2_tokenizer *tok, char **data, size_t *size);

/* --- gguf_vocabulary.c ----------------------------------------------------------------------- */

struct l2_gguf;
struct l2_gguf_metadata;
llama2_status l2_gguf_vocabulary_read(llama2_context *ctx, const struct l2_gguf *file,
                                      const llama2_tokenizer_options *options, llama2_tokenizer **out);

/* Ids of a model's config, -1: none. */
typedef struct l2_gguf_ids {
    int32_t bos, pad;
    const int32_t *eos;
    int32_t n_eos;
} l2_gguf_ids;

/*
 * The keys of a tokenizer (NULL: those that say there is none) for an embedding of n_rows; `ids` for what the tokenizer
 * does not name. Of several tokens that end a text three have keys; llama.cpp and the library find others by their
 * text. Errors: MISMATCH (more pieces than rows), UNSUPPORTED (what the keys can't say), NOMEM.
 */
llama2_status l2_gguf_vocabulary_write(const llama2_tokenizer *tok, int32_t n_rows, const l2_gguf_ids *ids,
                                       struct l2_gguf_metadata *out);

/* --- llama2c_vocabulary.c -------------------------------------------------------------------- */

/* Is this the tokenizer.bin of llama2.c, which has no magic number? */
int l2_llama2c_recognise(const unsigned char *data, size_t size);
llama2_status l2_llama2c_read(llama2_context *ctx, const unsigned char *data, size_t size,
                              const llama2_tokenizer_options *options, llama2_tokenizer **out);
/* Is this a model of llama2.c, whose tokenizer lies beside it? By the rule of model/io_llama2c.c. */
int l2_llama2c_is_model(const unsigned char *data, size_t size);
/* The bytes of a tokenizer.bin with n_rows pieces, as many as the model's embedding has rows, allocated from the
 * tokenizer's context. Errors: UNSUPPORTED (another kind of tokenizer, or order of pieces), MISMATCH (more pieces). */
llama2_status l2_llama2c_write(const llama2_tokenizer *tok, int32_t n_rows, char **data, size_t *size);

/* --- pieces.c -------------------------------------------------------------------------------- */

/* `pieces` is complete, but for what it points to. */
llama2_status l2_pieces_read(llama2_context *ctx, const llama2_tokenizer_pieces *pieces, llama2_tokenizer **out);

/* --- tiktoken.c ------------------------------------------------------------------------------- */

/* Does the first line look like base64, a space and a number? */
int l2_tiktoken_recognise(const char *data, size_t size);
llama2_status l2_tiktoken_read(llama2_context *ctx, const char *data, size_t size,
                               const llama2_tokenizer_options *options, llama2_tokenizer **out);

/* --- load.c ---------------------------------------------------------------------------------- */

/* Any file that a tokenizer is in, or a folder with one, told apart by content. */
llama2_status l2_tokenizer_load(llama2_context *ctx, const char *path, const llama2_tokenizer_options *options,
                                llama2_tokenizer **out);
llama2_status l2_tokenizer_parse(llama2_context *ctx, const void *data, size_t size,
                                 const llama2_tokenizer_options *options, llama2_tokenizer **out);
llama2_status l2_tokenizer_save(const llama2_tokenizer *tok, const char *path);

/*
 * A folder's tokenizer, replaced: prepare writes the new files (tok NULL: none) under temporary names, retract moves
 * the older ones out of the way, commit gives the new ones their names. A folder that is cut off in between has no
 * tokenizer, never the files of two. After a failure of retract or commit put_back makes all as it was; end, which is
 * fine after a failed prepare, removes what is left over.
 */
enum { L2_TOKENIZER_FILES = 4 };

typedef struct l2_tokenizer_files {
    llama2_context *ctx;
    l2_writer newer[L2_TOKENIZER_FILES]; /* zeroed: not written */
    l2_aside older[L2_TOKENIZER_FILES];
    int placed[L2_TOKENIZER_FILES];
    int changes; /* 0: all files are as they would be, and stay */
} l2_tokenizer_files;

llama2_status l2_tokenizer_files_prepare(llama2_context *ctx, const llama2_tokenizer *tok, const char *folder,
                                         l2_tokenizer_files *out);
llama2_status l2_tokenizer_files_retract(l2_tokenizer_files *files); /* not synced; puts back itself */
llama2_status l2_tokenizer_files_commit(l2_tokenizer_files *files);
void l2_tokenizer_files_put_back(l2_tokenizer_files *files);
void l2_tokenizer_files_end(l2_tokenizer_files *files);

/* A file in the folder that `path` is in, allocated. */
llama2_status l2_path_beside(llama2_context *ctx, const char *path, const char *name, char **out);

/* --- sentencepiece.c ------------------------------------------------------------------------- */

llama2_status l2_sentencepiece_read(llama2_context *ctx, const unsigned char *data, size_t size,
                                    const llama2_tokenizer_options *options, llama2_tokenizer **out);
/* The bytes of a tokenizer.model, allocated from the tokenizer's context. */
llama2_status l2_sentencepiece_write(const llama2_tokenizer *tok, char **data, size_t *size);

/* --- sentencepiece_merges.c ------------------------------------------------------------------ */

/* Does a list of merges, with what a tokenizer.json says around it, make the same of any text? */
llama2_status l2_sentencepiece_has_merges(const llama2_tokenizer *tok, int *yes);
/* That list, in its order; the array is the caller's. */
llama2_status l2_sentencepiece_merges(const llama2_tokenizer *tok, l2_pair **out, uint32_t *n);

/* --- encode.c, decode.c ---------------------------------------------------------------------- */

/* Where ids go, and which bytes of the text each comes from (NULL: not wanted). What does not fit is counted only. */
typedef struct l2_ids {
    int32_t *ids;
    int64_t capacity, count;
    size_t *begins, *ends;
} l2_ids;

static inline void l2_ids_push(l2_ids *out, int32_t id)
{
    if (out->count < out->capacity) out->ids[out->count] = id;
    ++out->count;
}

/*
 * Appends the ids of a text (without BOS and EOS). *n_before (may be NULL): how many of them end within the first
 * `mark` bytes of the text, which must be the end of a character.
 */
llama2_status l2_encode(const llama2_tokenizer *tok, const char *text, size_t length, l2_ids *out, size_t mark,
                        int64_t *n_before);
/* The ids of a whole text with BOS and EOS, as LLAMA2_ENCODE_* of `flags` ask; the vocabulary has them. */
llama2_status l2_encode_framed(const llama2_tokenizer *tok, const char *text, size_t length, uint32_t flags,
                               l2_ids *out);

/* State of decoding between ids. */
typedef struct l2_decode_state {
    uint32_t flags;
    int at_start;      /* a leading space is still to be dropped */
    int space_dropped; /* the last piece that is not a byte lost its leading space */
    int any_text;
    unsigned char held[4]; /* bytes that may become a character */
    int n_held;
} l2_decode_state;

typedef void (*l2_decode_put)(void *user, const char *text, size_t length);

/* INVALID for flags that are not LLAMA2_DECODE_*; the message begins with `call`. */
llama2_status l2_decode_check(uint32_t flags, const char *call);
void l2_decode_begin(l2_decode_state *state, uint32_t flags);
/* One id in [0, n_pieces): its text goes to `put`, perhaps in several parts. */
void l2_decode_step(const llama2_tokenizer *tok, l2_decode_state *state, int32_t id, l2_decode_put put, void *user);
/* What is still held back. */
void l2_decode_end(l2_decode_state *state, l2_decode_put put, void *user);

/* Where text goes. What does not fit is counted only. */
typedef struct l2_decoded {
    char *text;
    size_t capacity, length;
} l2_decoded;

/* The l2_decode_put of an l2_decoded. */
void l2_decode_keep(void *user, const char *text, size_t length);
/* All ids at once; those that are no piece's are no text. */
void l2_decode(const llama2_tokenizer *tok, const int32_t *ids, int64_t n, uint32_t flags, l2_decoded *out);

struct llama2_decoder {
    llama2_tokenizer *tokenizer;
    l2_decode_state state;
    l2_decoded out; /* of the last call */
    char text[];    /* room for the longest piece with what was held back before it, and a NUL */
};

llama2_status l2_decoder_create(llama2_tokenizer *tok, uint32_t flags, llama2_decoder **out);
void l2_decoder_free(llama2_decoder *decoder);
/* The text of one id in [0, n_pieces); what is still held back, and the begin of another text. */
void l2_decoder_push(llama2_decoder *decoder, int32_t id);
void l2_decoder_finish(llama2_decoder *decoder);

/* --- chat.c, chat_template.c ----------------------------------------------------------------- */

/* What llama2_tokenizer's `chat_format` holds. */
enum { L2_CHAT_LLAMA2 = 0, L2_CHAT_ML, L2_CHAT_LLAMA3, L2_CHAT_ZEPHYR, L2_CHAT_UNKNOWN };

/* Sets the chat format from the text of a Jinja template, which is copied; NULL: none. */
llama2_status l2_chat_template_set(llama2_tokenizer *tok, const char *text, size_t length);
/* Sets Llama 3's template, for files that have none. */
llama2_status l2_chat_template_llama3(llama2_tokenizer *tok);
/* "ChatML"; "unknown" for a template that is not recognised, "none" where a byte-level vocabulary has no template. */
const char *l2_chat_name(const llama2_tokenizer *tok);

llama2_status l2_chat_encode(const llama2_tokenizer *tok, const llama2_chat *chat, uint32_t flags, l2_ids *out,
                             float *weights);

#endif
