/* The vocabulary: pieces, the index from text to id, and the table of places where text can be cut. */
#include "tokenizer/tokenizer.h"
#include "base/alloc.h"
#include "base/context.h"
#include "base/hash.h"
#include "base/utf8.h"
#include <string.h>

static uint32_t first_slot(const llama2_tokenizer *tok, uint64_t hash)
{
    return (uint32_t)(((hash >> 32) * tok->n_slots) >> 32);
}

/* The slot that holds the text, or the free one where it belongs. */
static l2_slot *find_slot(const llama2_tokenizer *tok, const char *text, size_t length, uint64_t hash)
{
    uint32_t i = first_slot(tok, hash);
    for (;;) {
        l2_slot *slot = &tok->slots[i];
        if (slot->id < 0) return slot;
        if (slot->tag == (uint32_t)hash && l2_piece_length(tok, slot->id) == length &&
            memcmp(tok->bytes + tok->offsets[slot->id], text, length) == 0)
            return slot;
        if (++i == tok->n_slots) i = 0;
    }
}

int32_t l2_vocabulary_find(const llama2_tokenizer *tok, const char *text, size_t length)
{
    return find_slot(tok, text, length, l2_hash_text(tok->secret, text, length))->id;
}

int32_t l2_vocabulary_find_control(const llama2_tokenizer *tok, const char *text)
{
    int32_t id = l2_vocabulary_find(tok, text, strlen(text));
    return id >= 0 && tok->types[id] == LLAMA2_PIECE_CONTROL ? id : -1;
}

int32_t l2_vocabulary_find_text(const llama2_tokenizer *tok, const char *text, size_t length)
{
    if (length > tok->longest) return -1;
    int32_t id = l2_vocabulary_find(tok, text, length);
    return id >= 0 && l2_piece_is_text(tok, id) ? id : -1;
}

unsigned l2_char_class(const char *text, size_t length)
{
    if (length == 1) return (unsigned char)text[0];
    if (length == 3 && memcmp(text, L2_SPACE, 3) == 0) return L2_CLASS_SPACE;
    uint32_t code = 0;
    l2_utf8_decode(text, length, &code);
    return 129 + code % 127;
}

llama2_status l2_vocabulary_begin(llama2_context *ctx, int32_t n_pieces, size_t bytes, llama2_tokenizer **out)
{
    llama2_tokenizer *tok;
    llama2_status status;
    *out = NULL;
    size_t n = (size_t)n_pieces;
    if (bytes + n > UINT32_MAX) return l2_fail(LLAMA2_E_LIMIT, "vocabulary: %zu bytes of pieces, at most 4 GiB", bytes);
    L2_TRY(l2_calloc(ctx, 1, sizeof *tok, &tok));
    tok->ctx = l2_context_retain(ctx);
    atomic_init(&tok->references, 1);
    tok->n_slots = (uint32_t)(n + n / 4 + 1);
    tok->secret = l2_hash_secret(tok);
    L2_CHECK(l2_alloc(ctx, bytes + n, 1, &tok->bytes));
    L2_CHECK(l2_calloc(ctx, n + 1, sizeof *tok->offsets, &tok->offsets));
    L2_CHECK(l2_alloc(ctx, n, sizeof *tok->scores, &tok->scores));
    L2_CHECK(l2_alloc(ctx, n, sizeof *tok->types, &tok->types));
    L2_CHECK(l2_alloc(ctx, tok->n_slots, sizeof *tok->slots, &tok->slots));
    for (uint32_t i = 0; i < tok->n_slots; ++i) tok->slots[i] = (l2_slot){0, -1};
    tok->bos = tok->eos = tok->unk = tok->pad = -1;
    for (int i = 0; i < 256; ++i) tok->byte_ids[i] = -1;
    tok->add_dummy_prefix = tok->remove_extra_whitespaces = tok->escape_whitespaces = 1;
    *out = tok;
done:
    if (status < 0) l2_vocabulary_free(tok);
    return status;
}

void l2_vocabulary_free(llama2_tokenizer *tok)
{
    if (!tok) return;
    llama2_context *ctx = tok->ctx;
    void *const owned[] = {tok->bytes,       tok->offsets,     tok->scores,    tok->types,         tok->shown,
                           tok->shown_at,    tok->slots,       tok->bos_piece, tok->eos_piece,     tok->pad_piece,
                           tok->unk_surface, tok->original,    tok->pairs,     tok->chat_template, tok->chat_system,
                           tok->chat_date,   tok->user_defined};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; ++i) l2_free(ctx, owned[i]);
    l2_free(ctx, tok);
    l2_context_release(ctx);
}

llama2_tokenizer *l2_tokenizer_retain(llama2_tokenizer *tok)
{
    atomic_fetch_add_explicit(&tok->references, 1, memory_order_relaxed);
    return tok;
}

void l2_tokenizer_release(llama2_tokenizer *tok)
{
    if (tok && atomic_fetch_sub_explicit(&tok->references, 1, memory_order_acq_rel) == 1) l2_vocabulary_free(tok);
}

int l2_byte_of_piece(const char *text, size_t length)
{
    static const char digits[] = "0123456789ABCDEF";
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    const char *high = memchr(digits, text[3], 16), *low = memchr(digits, text[4], 16);
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

llama2_status l2_vocabulary_name_specials(llama2_tokenizer *tok, const char *bos, const char *eos, const char *pad)
{
    const char *texts[] = {bos ? bos : "<s>", eos ? eos : "</s>", pad ? pad : "<pad>", " \xE2\x81\x87 "};
    char **const names[] = {&tok->bos_piece, &tok->eos_piece, &tok->pad_piece, &tok->unk_surface};
    for (int i = 0; i < 4; ++i) L2_TRY(l2_strndup(tok->ctx, texts[i], strlen(texts[i]), names[i]));
    return LLAMA2_OK;
}

static llama2_status add_special(llama2_tokenizer *tok, int32_t id, const char *text, size_t length, int32_t type)
{
    if (type == LLAMA2_PIECE_UNKNOWN) {
        if (tok->unk >= 0)
            return l2_fail(LLAMA2_E_FORMAT,
                           "piece %d is of type unknown, but piece %d is already; there must be exactly one", (int)id,
                           (int)tok->unk);
        tok->unk = id;
    } else if (type == LLAMA2_PIECE_BYTE) {
        int byte = l2_byte_of_piece(text, length);
        if (byte < 0)
            return l2_fail(LLAMA2_E_FORMAT, "piece %d is of type byte, but its text is not of the form <0x41>",
                           (int)id);
        tok->byte_ids[byte] = id;
    } else if (type == LLAMA2_PIECE_USER_DEFINED) {
        ++tok->n_user_defined;
        tok->user_defined_first[(unsigned char)text[0]] = 1;
    } else if (type == LLAMA2_PIECE_UNUSED) {
        tok->has_unused = 1;
    }
    return LLAMA2_OK;
}

llama2_status l2_vocabulary_add(llama2_tokenizer *tok, const char *text, size_t length, float score, int32_t type)
{
    int32_t id = tok->n_pieces;
    if (length == 0) return l2_fail(LLAMA2_E_FORMAT, "piece %d is empty", (int)id);
    if (length > L2_MAX_PIECE)
        return l2_fail(LLAMA2_E_LIMIT, "piece %d has %zu bytes, at most %d are possible", (int)id, length,
                       L2_MAX_PIECE);
    if (memchr(text, 0, length)) return l2_fail(LLAMA2_E_FORMAT, "piece %d has a NUL in it", (int)id);
    size_t valid = l2_utf8_valid_prefix(text, length);
    if (valid != length) return l2_fail(LLAMA2_E_FORMAT, "piece %d is not UTF-8 at its byte %zu", (int)id, valid);
    if (score != score) return l2_fail(LLAMA2_E_FORMAT, "piece %d: its score is not a number", (int)id);
    if (type < LLAMA2_PIECE_NORMAL || type > LLAMA2_PIECE_BYTE)
        return l2_fail(LLAMA2_E_FORMAT, "piece %d: type %d, expected 1 (normal) to 6 (byte)", (int)id, (int)type);
    uint64_t hash = l2_hash_text(tok->secret, text, length);
    l2_slot *slot = find_slot(tok, text, length, hash);
    if (slot->id >= 0)
        return l2_fail(LLAMA2_E_FORMAT, "piece %d has the text of piece %d; no two may be alike", (int)id,
                       (int)slot->id);
    L2_TRY(add_special(tok, id, text, length, type));
    char *to = tok->bytes + tok->offsets[id];
    memcpy(to, text, length);
    to[length] = 0;
    tok->offsets[id + 1] = tok->offsets[id] + (uint32_t)length + 1;
    tok->scores[id] = score;
    tok->types[id] = (uint8_t)type;
    tok->n_pieces = id + 1;
    *slot = (l2_slot){(uint32_t)hash, id};
    if (l2_piece_is_text(tok, id) && length > tok->longest) tok->longest = length;
    return LLAMA2_OK;
}

static llama2_status check_bytes(llama2_tokenizer *tok)
{
    int found = 0, missing = -1;
    for (int i = 0; i < 256; ++i) {
        found += tok->byte_ids[i] >= 0;
        if (tok->byte_ids[i] < 0 && missing < 0) missing = i;
    }
    if (tok->byte_fallback && missing >= 0)
        return l2_fail(LLAMA2_E_FORMAT, "byte fallback needs 256 byte pieces, but <0x%02X> is missing",
                       (unsigned)missing);
    if (!tok->byte_fallback && found)
        return l2_fail(LLAMA2_E_FORMAT,
                       "%d byte pieces without byte fallback: there must be all 256 and the flag, or none", found);
    return LLAMA2_OK;
}

/* Marks the neighbours within each piece. */
static void build_joins(llama2_tokenizer *tok)
{
    for (int32_t id = 0; id < tok->n_pieces; ++id) {
        if (!l2_piece_is_text(tok, id)) continue;
        const char *text = tok->bytes + tok->offsets[id];
        size_t length = l2_piece_length(tok, id), at = l2_char_length((unsigned char)text[0]);
        unsigned before = l2_char_class(text, at);
        while (at < length) {
            size_t n = l2_char_length((unsigned char)text[at]);
            unsigned class = l2_char_class(text + at, n);
            tok->joins[before][class / 8] |= (uint8_t)(1u << (class % 8));
            before = class;
            at += n;
        }
    }
    /* Which parts an unused piece is taken apart into depends on all candidates of the whole text, so it may not be
     * cut. */
    if (tok->has_unused) memset(tok->joins, 0xFF, sizeof tok->joins);
}

static llama2_status build_shown(llama2_tokenizer *tok)
{
    size_t surface = strlen(tok->unk_surface);
    L2_TRY(l2_alloc(tok->ctx, tok->offsets[tok->n_pieces] + surface, 1, &tok->shown));
    L2_TRY(l2_alloc(tok->ctx, (size_t)tok->n_pieces + 1, sizeof *tok->shown_at, &tok->shown_at));
    char *to = tok->shown;
    for (int32_t id = 0; id < tok->n_pieces; ++id) {
        tok->shown_at[id] = (uint32_t)(to - tok->shown);
        const char *text = tok->bytes + tok->offsets[id];
        size_t length = l2_piece_length(tok, id);
        if (tok->types[id] == LLAMA2_PIECE_UNKNOWN) {
            memcpy(to, tok->unk_surface, surface);
            to += surface;
        } else if (tok->types[id] != LLAMA2_PIECE_CONTROL && tok->types[id] != LLAMA2_PIECE_BYTE) {
            for (size_t i = 0; i < length;) {
                int space = i + 3 <= length && memcmp(text + i, L2_SPACE, 3) == 0;
                *to++ = space ? ' ' : text[i];
                i += space ? 3 : 1;
            }
        }
    }
    tok->shown_at[tok->n_pieces] = (uint32_t)(to - tok->shown);
    return LLAMA2_OK;
}

llama2_status l2_vocabulary_finish(llama2_tokenizer *tok)
{
    if (tok->unk < 0) return l2_fail(LLAMA2_E_FORMAT, "no piece is of type unknown; there must be exactly one");
    L2_TRY(check_bytes(tok));
    tok->bos = l2_vocabulary_find_control(tok, tok->bos_piece);
    tok->eos = l2_vocabulary_find_control(tok, tok->eos_piece);
    tok->pad = l2_vocabulary_find_control(tok, tok->pad_piece);
    tok->adds_bos = tok->bos >= 0;
    for (int i = 0; i < 128; ++i) {
        char c = (char)i;
        tok->ascii_ids[i] = l2_vocabulary_find_text(tok, &c, 1);
    }
    build_joins(tok);
    L2_TRY(l2_user_defined_finish(tok));
    return build_shown(tok);
}
