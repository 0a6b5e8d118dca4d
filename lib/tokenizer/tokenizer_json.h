/* The parts of reading a tokenizer.json; errors say at which byte, and what is not supported by its name. */
#ifndef L2_TOKENIZER_TOKENIZER_JSON_H
#define L2_TOKENIZER_TOKENIZER_JSON_H

#include "base/json.h"
#include "tokenizer/tokenizer.h"

/* --- tokenizer_json_members.c: members of objects -------------------------------------------- */

/* A member of an object that is looked for, and the parser as it stands before its value. */
typedef struct l2_member {
    const char *name;
    int found;
    l2_json at;
} l2_member;

/* Finds the members of an object; `what` names the object where others are refused, NULL: they are passed over. */
llama2_status l2_find_members(l2_json *json, const char *what, l2_member *members, size_t n);
int l2_member_is_null(l2_member *m);
llama2_status l2_member_flag(l2_member m, int missing, int *out);
/* Text of a string of at most L2_MAX_PIECE bytes. */
llama2_status l2_unescape_piece(const l2_json_string *string, char *text, size_t *length);
llama2_status l2_unsupported_setting(const char *section, const l2_json *json, const l2_json_string *name);
llama2_status l2_member_type(l2_member *type, const char *section, l2_json_string *name);
/* A section that may only be null (`only` NULL) or of one type. */
llama2_status l2_expect_type(l2_member *m, const char *section, const char *only);

/* --- tokenizer_json_steps.c: pre_tokenizer, post_processor ----------------------------------- */

/* L2_PRETOKENIZER_*. */
llama2_status l2_read_pre_tokenizer(l2_member *pre, int *pretokenizer);
/* The special piece that is put before a text; bos->text stays NULL where there is none. */
llama2_status l2_read_post_processor(l2_member *post, l2_json_string *bos);

/* --- tokenizer_json_pieces.c: vocabulary and merges ------------------------------------------ */

/* Where the texts of pieces stand, by id. */
typedef struct l2_listing {
    const char *text;
    size_t size;
    size_t *at; /* offset of the text's opening quote + 1; 0: no such id yet */
    uint8_t *types;
    size_t n, room, bytes;
    int kinds_added; /* of pieces looked for in text: 1 not normalised, 2 normalised */
} l2_listing;

llama2_status l2_listing_string(const l2_listing *list, int64_t id, l2_json_string *out);
/* Ids have no gaps; the arrays are the caller's to free, also on failure. */
llama2_status l2_listing_read(llama2_context *ctx, l2_member *vocab, l2_member *added,
                              const llama2_tokenizer_options *options, l2_listing *list);
llama2_status l2_listing_add(llama2_tokenizer *tok, const l2_listing *list);
llama2_status l2_read_merges(l2_json json, llama2_tokenizer *tok);

/* --- tokenizer_json_sentencepiece.c: SentencePiece's BPE in a tokenizer.json ------------------ */

/* What must stand around its pieces: normalizers, or Metaspace. */
llama2_status l2_expect_sentencepiece(l2_member *normaliser, l2_member *pre, l2_member *decoder, int *metaspace);
/* Types of pieces that the file does not tell. */
llama2_status l2_type_sentencepiece(l2_listing *list, l2_member *unk);
/* Scores from merges, instead of l2_byte_level_finish. A tokenizer.model can't say what Metaspace does: such a
 * tokenizer is saved as the file that it came from. */
llama2_status l2_finish_sentencepiece(llama2_tokenizer *tok, const l2_listing *list, int metaspace);

/* --- tokenizer_config.c: special pieces ------------------------------------------------------- */

/* The control piece that a string names, or the unknown one; -1 where it is neither. */
llama2_status l2_find_special(const llama2_tokenizer *tok, const l2_json_string *string, int32_t *id);
llama2_status l2_tokenizer_config_read(llama2_tokenizer *tok, const char *config, size_t size);
/* Without a tokenizer_config.json: the names that models give them. */
void l2_guess_specials(llama2_tokenizer *tok);

#endif
