/*
 * Tokenizer (section 2.2.2): SentencePiece BPE with byte fallback, the same ids and the same text as sentencepiece's
 * own programs, for any bytes; and byte-level BPE, as GPT-2, Llama 3 and SmolLM2 have it, with the ids of Hugging
 * Face's `tokenizers` where special pieces are not looked for in text.
 *
 * A tokenizer never changes after it was made and is reference counted: many threads may use one handle at once. It
 * keeps its context alive. A decoder belongs to one thread at a time.
 */
#ifndef LLAMA2_TOKENIZER_H
#define LLAMA2_TOKENIZER_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Types of pieces, the values of sentencepiece's own format. */
enum {
    LLAMA2_PIECE_NORMAL = 1,
    LLAMA2_PIECE_UNKNOWN = 2,      /* what a character without pieces becomes; exactly one */
    LLAMA2_PIECE_CONTROL = 3,      /* BOS, EOS and the like: never made from text, not shown when decoding */
    LLAMA2_PIECE_USER_DEFINED = 4, /* always one token wherever its text occurs */
    LLAMA2_PIECE_UNUSED = 5,       /* takes part in merging, but is taken apart again */
    LLAMA2_PIECE_BYTE = 6          /* "<0x00>" ... "<0xFF>": all 256 or none */
};

/* Bits of llama2_tokenizer_encode's flags. */
enum {
    LLAMA2_ENCODE_BOS = 1, /* BOS first */
    LLAMA2_ENCODE_EOS = 2  /* EOS last */
};

/* Bits of llama2_tokenizer_decode's and llama2_decoder_create's flags. */
enum {
    LLAMA2_DECODE_SPECIALS = 1, /* control pieces are shown by their text ("</s>") */
    LLAMA2_DECODE_CONTINUE = 2, /* the ids go on after earlier text: a space that begins them stays */
    LLAMA2_DECODE_BYTES = 4     /* bytes that form no character come out as they are, not as U+FFFD */
};

typedef struct llama2_tokenizer_options {
    uint32_t struct_size;
    int32_t max_pieces; /* a larger vocabulary is LLAMA2_E_LIMIT; default 1048576 */
    uint64_t max_bytes; /* a larger file is LLAMA2_E_LIMIT; default 256 MiB */
} llama2_tokenizer_options;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_tokenizer_options_init(llama2_tokenizer_options *options, size_t size);

/*
 * Reads the tokenizer of a file, which is recognised by its content, or of a folder:
 *
 * - tokenizer.model, sentencepiece's protobuf file: BPE models without a normalisation table, as Llama's.
 * - tokenizer.model of Llama 3 as Meta releases it, in tiktoken's format: 128000 lines of base64 and rank. The 256
 *   special pieces after them are those of Meta's code since Llama 3.1; Llama 3's own had more of them reserved. The
 *   chat format is Llama 3's.
 * - tokenizer.json, Hugging Face's file: byte-level BPE with the pre-tokeniser of GPT-2, Llama 3 or SmolLM2, or what a
 *   tokenizer.model of Llama 2 becomes there: with normalizers, or with Metaspace, which puts no space before a text
 *   that begins with one. Its post_processor may name BOS, with which texts then begin; else BOS and add_bos_token, and
 *   always EOS, PAD, UNK and the chat template, come from tokenizer_config.json (and chat_template.jinja) beside it.
 *   Without one a BOS that was not named is the first of "<|begin_of_text|>", "<|endoftext|>" and "<s>" that the
 *   vocabulary has, and begins no text; EOS is that of "<|end_of_text|>", "<|endoftext|>" and "</s>", PAD -1, UNK what
 *   the file itself says.
 * - A GGUF file: tokenizer.ggml.model "llama" (SentencePiece), or "gpt2" with tokenizer.ggml.pre "gpt-2", "llama-bpe"
 *   or "smollm". max_bytes does not count for it.
 * - llama2.c's tokenizer.bin, as it is made from a SentencePiece model with byte fallback; for a model of llama2.c, the
 *   one in its folder.
 * - A folder: tokenizer.model in it, else tokenizer.json.
 *
 * What would change ids and is not known (unigram, normalisers, other regular expressions, ...) is refused by name.
 * `options` may be NULL. Errors: NOT_FOUND, IO, FORMAT, TRUNCATED, LIMIT, UNSUPPORTED, NOMEM; the message says where.
 * Since 0.1.
 */
LLAMA2_API llama2_status llama2_tokenizer_load(llama2_context *ctx, const char *path,
                                               const llama2_tokenizer_options *options, llama2_tokenizer **out);

/* The same from the bytes of such a file, which are copied, as if nothing stood beside it: special pieces of a
 * tokenizer.json are as said above for one without tokenizer_config.json, and only a GGUF and a file in tiktoken's
 * format have a chat template. Since 0.1. */
LLAMA2_API llama2_status llama2_tokenizer_load_memory(llama2_context *ctx, const void *data, size_t size,
                                                      const llama2_tokenizer_options *options, llama2_tokenizer **out);

/* The same from a file of the host, which need not stay after the call. max_bytes counts for a GGUF too. Errors: USER
 * (file->read failed), those of llama2_tokenizer_load. Since 0.1. */
LLAMA2_API llama2_status llama2_tokenizer_load_host(llama2_context *ctx, const llama2_host_file *file,
                                                    const llama2_tokenizer_options *options, llama2_tokenizer **out);

/*
 * A vocabulary of the host's own. Piece i has id i. A space is U+2581 (E2 96 81) in pieces. Merging joins the two
 * neighbours whose joined text is the piece with the highest score, the leftmost among equals, until no joined text is
 * a piece.
 */
typedef struct llama2_tokenizer_pieces {
    uint32_t struct_size;
    int32_t n_pieces;
    const char *const *texts; /* UTF-8, not empty, no NUL, no two alike */
    const size_t *lengths;    /* bytes; NULL: the texts end with NUL */
    const float *scores;      /* NULL: all 0; not NaN */
    const int32_t *types;     /* LLAMA2_PIECE_* */
    const char *bos_piece; /* text of the control piece that is BOS, ends with NUL; NULL (default): "<s>". Without such
                              a piece the id is -1 */
    const char *eos_piece; /* NULL (default): "</s>" */
    const char *pad_piece; /* NULL (default): "<pad>" */
    int32_t add_dummy_prefix;         /* 1 (default): a text begins with a space of its own, which decoding removes */
    int32_t remove_extra_whitespaces; /* 1: runs of spaces become one, spaces at both ends go; 0 (default) */
} llama2_tokenizer_pieces;

/* Writes the defaults into at most `size` bytes. Since 0.1. */
LLAMA2_API void llama2_tokenizer_pieces_init(llama2_tokenizer_pieces *pieces, size_t size);

/* Makes a tokenizer from pieces, which are copied. Errors: INVALID, LIMIT, NOMEM; the message names the piece. Since
 * 0.1. */
LLAMA2_API llama2_status llama2_tokenizer_create(llama2_context *ctx, const llama2_tokenizer_pieces *pieces,
                                                 llama2_tokenizer **out);

/* Writes a tokenizer.model that sentencepiece reads, atomically; a tokenizer.model that was loaded comes out byte for
 * byte. A byte-level BPE, and one with Metaspace, becomes a tokenizer.json. An existing folder as `path`: that file in
 * it and a tokenizer_config.json with the chat template; beside a tokenizer.model also the tokenizer.json that gives
 * the same ids in transformers and tokenizers, where there is one (byte pieces, and no user-defined or unused ones, nor
 * equal scores but those of runs of one character). A file of these that an earlier save of another tokenizer left is
 * removed. In a folder an error leaves the older tokenizer as it was; a save that is cut off, that one, the new one or
 * none. Since 0.1. */
LLAMA2_API llama2_status llama2_tokenizer_save(const llama2_tokenizer *tokenizer, const char *path);

/* Another reference to the same tokenizer, to be freed in its own time. Since 0.1. */
LLAMA2_API llama2_tokenizer *llama2_tokenizer_retain(llama2_tokenizer *tokenizer);
LLAMA2_API void llama2_tokenizer_free(llama2_tokenizer *tokenizer);

/* Number of pieces: ids are 0 .. vocab_size - 1. Since 0.1. */
LLAMA2_API int32_t llama2_tokenizer_vocab_size(const llama2_tokenizer *tokenizer);

/* Ids of special pieces, -1 where the vocabulary has none. Since 0.1. */
LLAMA2_API int32_t llama2_tokenizer_bos(const llama2_tokenizer *tokenizer);
LLAMA2_API int32_t llama2_tokenizer_eos(const llama2_tokenizer *tokenizer);
LLAMA2_API int32_t llama2_tokenizer_unk(const llama2_tokenizer *tokenizer);
LLAMA2_API int32_t llama2_tokenizer_pad(const llama2_tokenizer *tokenizer);

/* 1 where the model's texts begin with BOS, so that LLAMA2_ENCODE_BOS belongs to a text that begins a sequence; 0 where
 * they do not, as SmolLM2's, though there may be a BOS. Since 0.1. */
LLAMA2_API int32_t llama2_tokenizer_adds_bos(const llama2_tokenizer *tokenizer);

/* A piece as it stands in the vocabulary; each output may be NULL. *text is valid as long as the tokenizer and has a
 * NUL after its *length bytes. Errors: INVALID for an id out of range. Since 0.1. */
LLAMA2_API llama2_status llama2_tokenizer_piece(const llama2_tokenizer *tokenizer, int32_t id, const char **text,
                                                size_t *length, float *score, int32_t *type);

/* The id of the piece with exactly this text. Errors: NOT_FOUND. Since 0.1. */
LLAMA2_API llama2_status llama2_tokenizer_find(const llama2_tokenizer *tokenizer, const char *text, size_t length,
                                               int32_t *id);

/*
 * Text into ids. Any bytes will do: NUL is a character like others, a byte that is not UTF-8 counts as U+FFFD. Text
 * never makes a control piece. Byte-level BPE has no U+FFFD: such a byte is a symbol of its own, and comes back with
 * LLAMA2_DECODE_BYTES; bytes that a vocabulary has no piece for (SmolLM2 lacks 21, most of them never in UTF-8) are
 * dropped. `flags`: LLAMA2_ENCODE_*. *needed (may be NULL) is the number of ids, also when `capacity` was too small
 * (LLAMA2_E_BUFFER; what `ids` then holds is not defined); ids NULL with capacity 0 only counts, and is no error.
 * length + 4 ids are enough for most texts, 3 * length + 5 for any. Time is n log n at worst. Working memory is small,
 * except for a stretch without any place where no piece can span (a million letters without a space): up to 40 bytes
 * for each of its bytes, and LLAMA2_E_LIMIT from 1 GiB on. Errors: BUFFER, NOMEM, LIMIT, CANCELLED; STATE when a flag
 * asks for a piece that the vocabulary lacks. Since 0.1.
 */
LLAMA2_API llama2_status llama2_tokenizer_encode(const llama2_tokenizer *tokenizer, const char *text, size_t length,
                                                 uint32_t flags, int32_t *ids, int64_t capacity, int64_t *needed);

/*
 * The same, and where each id comes from: ids[i] stands for the bytes [begins[i], ends[i]) of `text`. `begins` and
 * `ends` have room for `capacity` each; either may be NULL.
 *
 * Ranges never go back, and ends[i] <= begins[i + 1]: put together they are the text, but for bytes that became no id
 * (those that the vocabulary has no piece for, where they stand between ids; with remove_extra_whitespaces the spaces
 * at both ends). A piece that begins with a space has that space in its range. BOS, EOS and a dummy prefix that is an
 * id of its own have an empty range; the dummy prefix adds nothing to the range of a longer piece. Each byte of a
 * character that became several ids is in the range of one of them, so a range may begin or end within a character:
 * `tokenizers` gives each of these ids the whole character, and counts in characters. A byte that is not UTF-8 and
 * became the pieces of U+FFFD is the first one's. Several unknown characters that became one id are all in its range,
 * and so is a run of spaces that became one.
 *
 * Takes up to thrice the time of llama2_tokenizer_encode, and 16 bytes more for each byte of a stretch that can't be
 * cut. Errors: as there. Since 0.1.
 */
LLAMA2_API llama2_status llama2_tokenizer_encode_offsets(const llama2_tokenizer *tokenizer, const char *text,
                                                         size_t length, uint32_t flags, int32_t *ids, size_t *begins,
                                                         size_t *ends, int64_t capacity, int64_t *needed);

/*
 * Ids into text: valid UTF-8 (byte pieces that form no character become U+FFFD, each), without a NUL at its end.
 * `flags`: LLAMA2_DECODE_*. *needed (may be NULL) is the number of bytes; buffer and capacity as in encode. Errors:
 * BUFFER, INVALID for an id out of range. Since 0.1.
 */
LLAMA2_API llama2_status llama2_tokenizer_decode(const llama2_tokenizer *tokenizer, const int32_t *ids, int64_t n,
                                                 uint32_t flags, char *buffer, size_t capacity, size_t *needed);

/*
 * Decoding token by token: what the pushes and the finish give, put together, is what llama2_tokenizer_decode gives.
 * Never half a character: the bytes of one are held back until it is complete.
 */
typedef struct llama2_decoder llama2_decoder;

/* The decoder keeps the tokenizer alive. `flags`: LLAMA2_DECODE_*. Since 0.1. */
LLAMA2_API llama2_status llama2_decoder_create(llama2_tokenizer *tokenizer, uint32_t flags, llama2_decoder **out);
LLAMA2_API void llama2_decoder_free(llama2_decoder *decoder);

/* Takes the next id; *text and *length (possibly 0) are the text that is complete now, NUL-terminated, valid until the
 * next call on the decoder. Errors: INVALID for an id out of range; the decoder then stays as it was. Since 0.1. */
LLAMA2_API llama2_status llama2_decoder_push(llama2_decoder *decoder, int32_t id, const char **text, size_t *length);

/* The end of the ids: gives what was held back and makes the decoder ready for another text. Since 0.1. */
LLAMA2_API llama2_status llama2_decoder_finish(llama2_decoder *decoder, const char **text, size_t *length);

#ifdef __cplusplus
}
#endif

#endif
