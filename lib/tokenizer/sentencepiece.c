/*
 * tokenizer.model: sentencepiece's ModelProto in the protobuf wire format. A bounded pull parser: no length is believed
 * before it is compared with the bytes that remain, and nothing is allocated before the whole file was walked through
 * once.
 */
#include "base/alloc.h"
#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer.h"
#include <string.h>

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum { BPE = 2 };

/* A message: data[at .. end); offsets in messages count from the start of the file. */
typedef struct wire {
    const unsigned char *data;
    size_t at, end;
    const char *name;
} wire;

typedef struct field {
    uint32_t number;
    int type;
    size_t offset;  /* of the tag */
    uint64_t value; /* VARINT, FIXED32, FIXED64 */
    size_t length;  /* BYTES: data[start .. start + length) */
    size_t start;
} field;

static llama2_status read_varint(wire *w, uint64_t *out)
{
    uint64_t value = 0;
    size_t start = w->at;
    for (int i = 0; i < 10; ++i) {
        if (w->at == w->end)
            return l2_fail(LLAMA2_E_TRUNCATED, "tokenizer.model: %s ends within the number at byte %zu", w->name,
                           start);
        unsigned char byte = w->data[w->at++];
        if (i == 9 && byte > 1) break;
        value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            *out = value;
            return LLAMA2_OK;
        }
    }
    return l2_fail(LLAMA2_E_FORMAT, "tokenizer.model: the number at byte %zu has more than 64 bits or 10 bytes", start);
}

static llama2_status read_fixed(wire *w, size_t n, uint64_t *out)
{
    if (w->end - w->at < n)
        return l2_fail(LLAMA2_E_TRUNCATED, "tokenizer.model: %s ends within the %zu-byte number at byte %zu", w->name,
                       n, w->at);
    uint64_t value = 0;
    for (size_t i = 0; i < n; ++i) value |= (uint64_t)w->data[w->at + i] << (8 * i);
    w->at += n;
    *out = value;
    return LLAMA2_OK;
}

/* The next field; *more is 0 at the end of the message. */
static llama2_status next_field(wire *w, field *f, int *more)
{
    uint64_t tag;
    *more = w->at < w->end;
    if (!*more) return LLAMA2_OK;
    f->offset = w->at;
    L2_TRY(read_varint(w, &tag));
    if (tag >> 3 == 0 || tag >> 3 > 536870911)
        return l2_fail(LLAMA2_E_FORMAT, "tokenizer.model: no valid field at byte %zu of %s", f->offset, w->name);
    f->number = (uint32_t)(tag >> 3);
    f->type = (int)(tag & 7);
    switch (f->type) {
    case VARINT: return read_varint(w, &f->value);
    case FIXED64: return read_fixed(w, 8, &f->value);
    case FIXED32: return read_fixed(w, 4, &f->value);
    case BYTES:
        L2_TRY(read_varint(w, &f->value));
        if (f->value > w->end - w->at)
            return l2_fail(LLAMA2_E_TRUNCATED,
                           "tokenizer.model: field %u at byte %zu of %s claims %llu bytes, but %zu remain",
                           (unsigned)f->number, f->offset, w->name, (unsigned long long)f->value, w->end - w->at);
        f->length = (size_t)f->value;
        f->start = w->at;
        w->at += f->length;
        return LLAMA2_OK;
    default:
        return l2_fail(LLAMA2_E_FORMAT,
                       "tokenizer.model: field %u at byte %zu of %s has the wire type %d, expected 0, 1, 2 or 5",
                       (unsigned)f->number, f->offset, w->name, f->type);
    }
}

static wire inside(const wire *outer, const field *f, const char *name)
{
    return (wire){outer->data, f->start, f->start + f->length, name};
}

static llama2_status expect(const wire *w, const field *f, int type)
{
    if (f->type == type) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_FORMAT, "tokenizer.model: field %u at byte %zu of %s has the wire type %d, expected %d",
                   (unsigned)f->number, f->offset, w->name, f->type, type);
}

typedef struct piece {
    const char *text;
    size_t length, offset;
    float score;
    int32_t type;
} piece;

static llama2_status read_piece(const wire *outer, const field *message, piece *out)
{
    wire w = inside(outer, message, "a piece");
    field f;
    int more;
    *out = (piece){"", 0, message->offset, 0, LLAMA2_PIECE_NORMAL};
    for (;;) {
        L2_TRY(next_field(&w, &f, &more));
        if (!more) return LLAMA2_OK;
        if (f.number == 1) {
            L2_TRY(expect(&w, &f, BYTES));
            out->text = (const char *)w.data + f.start;
            out->length = f.length;
        } else if (f.number == 2) {
            L2_TRY(expect(&w, &f, FIXED32));
            uint32_t bits = (uint32_t)f.value;
            memcpy(&out->score, &bits, sizeof bits);
        } else if (f.number == 3) {
            L2_TRY(expect(&w, &f, VARINT));
            out->type = f.value > 127 ? 127 : (int32_t)f.value;
        }
    }
}

/* What the trainer and normaliser sections say, with the defaults of sentencepiece_model.proto. Texts point into the
 * file. */
typedef struct settings {
    uint64_t model_type, byte_fallback, whitespace_as_suffix;
    uint64_t add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
    const char *bos, *eos, *pad, *surface, *name;
    size_t n_bos, n_eos, n_pad, n_surface, n_name, charsmap, denormaliser;
    int has_trainer, has_normaliser;
} settings;

typedef struct numbered {
    uint32_t number;
    uint64_t *value; /* a varint, or */
    const char **text;
    size_t *length;
} numbered;

static llama2_status read_settings(const wire *outer, const field *message, const char *name, const numbered *known,
                                   size_t n_known)
{
    wire w = inside(outer, message, name);
    field f;
    int more;
    for (;;) {
        L2_TRY(next_field(&w, &f, &more));
        if (!more) return LLAMA2_OK;
        for (size_t i = 0; i < n_known; ++i) {
            if (known[i].number != f.number) continue;
            L2_TRY(expect(&w, &f, known[i].value ? VARINT : BYTES));
            if (known[i].value) *known[i].value = f.value;
            if (known[i].text) *known[i].text = (const char *)w.data + f.start;
            if (known[i].length) *known[i].length = f.length;
        }
    }
}

static llama2_status read_section(const wire *w, const field *f, settings *s)
{
    const numbered trainer[] = {{3, &s->model_type, NULL, NULL},     {24, &s->whitespace_as_suffix, NULL, NULL},
                                {35, &s->byte_fallback, NULL, NULL}, {44, NULL, &s->surface, &s->n_surface},
                                {46, NULL, &s->bos, &s->n_bos},      {47, NULL, &s->eos, &s->n_eos},
                                {48, NULL, &s->pad, &s->n_pad}};
    const numbered normaliser[] = {{1, NULL, &s->name, &s->n_name},
                                   {2, NULL, NULL, &s->charsmap},
                                   {3, &s->add_dummy_prefix, NULL, NULL},
                                   {4, &s->remove_extra_whitespaces, NULL, NULL},
                                   {5, &s->escape_whitespaces, NULL, NULL}};
    const numbered denormaliser[] = {{2, NULL, NULL, &s->denormaliser}};
    switch (f->number) {
    case 2:
        s->has_trainer = 1;
        L2_TRY(expect(w, f, BYTES));
        return read_settings(w, f, "trainer_spec", trainer, sizeof trainer / sizeof *trainer);
    case 3:
        s->has_normaliser = 1;
        L2_TRY(expect(w, f, BYTES));
        return read_settings(w, f, "normalizer_spec", normaliser, sizeof normaliser / sizeof *normaliser);
    case 5: L2_TRY(expect(w, f, BYTES)); return read_settings(w, f, "denormalizer_spec", denormaliser, 1);
    default: return LLAMA2_OK;
    }
}

static llama2_status check_settings(const settings *s)
{
    static const char *const kinds[] = {"unigram", "unigram", "BPE", "word", "char"};
    if (!s->has_trainer || !s->has_normaliser)
        return l2_fail(LLAMA2_E_TRUNCATED, "tokenizer.model: no %s; the file is cut off, or not a sentencepiece model",
                       s->has_trainer ? "normalizer_spec" : "trainer_spec");
    if (s->model_type != BPE)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "tokenizer.model: model type %llu (%s) is not supported, only 2 (BPE)",
                       (unsigned long long)s->model_type, s->model_type <= 4 ? kinds[s->model_type] : "unknown");
    if (s->charsmap)
        return l2_fail(
            LLAMA2_E_UNSUPPORTED,
            "tokenizer.model: the normaliser \"%.*s\" with a table of %zu bytes is not supported, only \"identity\"",
            (int)(s->n_name < 40 ? s->n_name : 40), s->name, s->charsmap);
    if (s->denormaliser) return l2_fail(LLAMA2_E_UNSUPPORTED, "tokenizer.model: a denormaliser table is not supported");
    if (s->whitespace_as_suffix)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "tokenizer.model: treat_whitespace_as_suffix is not supported");
    return LLAMA2_OK;
}

/* The first walk: all sections, and how much the pieces take. */
static llama2_status survey(wire w, const llama2_tokenizer_options *options, settings *s, int32_t *n_pieces,
                            size_t *bytes)
{
    field f;
    piece p;
    int more;
    *n_pieces = 0;
    *bytes = 0;
    for (;;) {
        L2_TRY(next_field(&w, &f, &more));
        if (!more) break;
        if (f.number != 1) {
            L2_TRY(read_section(&w, &f, s));
            continue;
        }
        L2_TRY(expect(&w, &f, BYTES));
        L2_TRY(read_piece(&w, &f, &p));
        if (*n_pieces == options->max_pieces)
            return l2_fail(LLAMA2_E_LIMIT,
                           "tokenizer.model: more than %d pieces (at byte %zu); llama2_tokenizer_options.max_pieces "
                           "allows that many",
                           (int)options->max_pieces, f.offset);
        ++*n_pieces;
        *bytes += p.length;
    }
    L2_TRY(check_settings(s));
    if (*n_pieces == 0) return l2_fail(LLAMA2_E_FORMAT, "tokenizer.model: no pieces");
    return LLAMA2_OK;
}

static llama2_status copy_text(llama2_context *ctx, const char *text, size_t length, const char *if_empty, char **out)
{
    if (!length && if_empty) return l2_strndup(ctx, if_empty, strlen(if_empty), out);
    return l2_strndup(ctx, text, length, out);
}

static llama2_status fill(wire w, const settings *s, llama2_tokenizer *tok)
{
    llama2_context *ctx = tok->ctx;
    field f;
    piece p;
    int more;
    for (;;) {
        L2_TRY(next_field(&w, &f, &more));
        if (!more) break;
        if (f.number != 1) continue;
        L2_TRY(read_piece(&w, &f, &p));
        llama2_status status = l2_vocabulary_add(tok, p.text, p.length, p.score, p.type);
        if (status < 0) return l2_fail_in(status, "tokenizer.model: byte %zu", p.offset);
    }
    tok->byte_fallback = s->byte_fallback != 0;
    tok->add_dummy_prefix = s->add_dummy_prefix != 0;
    tok->remove_extra_whitespaces = s->remove_extra_whitespaces != 0;
    tok->escape_whitespaces = s->escape_whitespaces != 0;
    if (l2_utf8_valid_prefix(s->surface, s->n_surface) != s->n_surface)
        return l2_fail(LLAMA2_E_FORMAT, "tokenizer.model: unk_surface is not UTF-8");
    L2_TRY(copy_text(ctx, s->bos, s->n_bos, "<s>", &tok->bos_piece));
    L2_TRY(copy_text(ctx, s->eos, s->n_eos, "</s>", &tok->eos_piece));
    L2_TRY(copy_text(ctx, s->pad, s->n_pad, "<pad>", &tok->pad_piece));
    L2_TRY(copy_text(ctx, s->surface, s->n_surface, NULL, &tok->unk_surface));
    llama2_status status = l2_vocabulary_finish(tok);
    return status < 0 ? l2_fail_in(status, "tokenizer.model") : status;
}

llama2_status l2_sentencepiece_read(llama2_context *ctx, const unsigned char *data, size_t size,
                                    const llama2_tokenizer_options *options, llama2_tokenizer **out)
{
    static const char surface[] = " \xE2\x81\x87 ";
    settings s = {.model_type = 1,
                  .add_dummy_prefix = 1,
                  .remove_extra_whitespaces = 1,
                  .escape_whitespaces = 1,
                  .bos = "",
                  .eos = "",
                  .pad = "",
                  .name = "",
                  .surface = surface,
                  .n_surface = sizeof surface - 1};
    wire w = {data, 0, size, "the file"};
    int32_t n_pieces;
    size_t bytes;
    llama2_tokenizer *tok = NULL;
    llama2_status status;
    *out = NULL;
    if (size > options->max_bytes)
        return l2_fail(LLAMA2_E_LIMIT, "tokenizer.model: %zu bytes; llama2_tokenizer_options.max_bytes allows %llu",
                       size, (unsigned long long)options->max_bytes);
    L2_TRY(survey(w, options, &s, &n_pieces, &bytes));
    L2_TRY(l2_vocabulary_begin(ctx, n_pieces, bytes, &tok));
    L2_CHECK(fill(w, &s, tok));
    L2_CHECK(l2_alloc(ctx, size, 1, &tok->original));
    memcpy(tok->original, data, size);
    tok->original_size = size;
    *out = tok;
    tok = NULL;
done:
    l2_vocabulary_free(tok);
    return status;
}

/* --- writing --------------------------------------------------------------------------------- */

static void put_varint(l2_text *text, uint64_t value)
{
    char bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) bytes[n++] = (char)(0x80 | (value & 0x7F));
    bytes[n++] = (char)value;
    l2_text_add(text, bytes, n);
}

static void put_number(l2_text *text, uint32_t number, int64_t value)
{
    put_varint(text, (uint64_t)number << 3 | VARINT);
    put_varint(text, (uint64_t)value);
}

static void put_bytes(l2_text *text, uint32_t number, const char *bytes, size_t length)
{
    put_varint(text, (uint64_t)number << 3 | BYTES);
    put_varint(text, length);
    l2_text_add(text, bytes, length);
}

static void put_section(l2_text *text, uint32_t number, l2_text *section)
{
    if (section->status < 0 && text->status == LLAMA2_OK) text->status = section->status;
    put_bytes(text, number, section->data ? section->data : "", section->length);
    section->length = 0;
}

static void put_piece(const llama2_tokenizer *tok, int32_t id, l2_text *text, l2_text *section)
{
    uint32_t bits;
    memcpy(&bits, &tok->scores[id], sizeof bits);
    const char score[] = {2 << 3 | FIXED32, (char)bits, (char)(bits >> 8), (char)(bits >> 16), (char)(bits >> 24)};
    put_bytes(section, 1, tok->bytes + tok->offsets[id], l2_piece_length(tok, id));
    l2_text_add(section, score, sizeof score);
    if (tok->types[id] != LLAMA2_PIECE_NORMAL) put_number(section, 3, tok->types[id]);
    put_section(text, 1, section);
}

llama2_status l2_sentencepiece_write(const llama2_tokenizer *tok, char **data, size_t *size)
{
    l2_text text, section;
    l2_text_begin(&text, tok->ctx);
    l2_text_begin(&section, tok->ctx);
    for (int32_t id = 0; id < tok->n_pieces; ++id) put_piece(tok, id, &text, &section);
    put_number(&section, 3, BPE);
    put_number(&section, 4, tok->n_pieces);
    put_number(&section, 35, tok->byte_fallback);
    put_number(&section, 40, tok->unk);
    put_number(&section, 41, tok->bos);
    put_number(&section, 42, tok->eos);
    put_number(&section, 43, tok->pad);
    put_bytes(&section, 44, tok->unk_surface, strlen(tok->unk_surface));
    put_bytes(&section, 45, tok->bytes + tok->offsets[tok->unk], l2_piece_length(tok, tok->unk));
    put_bytes(&section, 46, tok->bos_piece, strlen(tok->bos_piece));
    put_bytes(&section, 47, tok->eos_piece, strlen(tok->eos_piece));
    put_bytes(&section, 48, tok->pad_piece, strlen(tok->pad_piece));
    put_section(&text, 2, &section);
    put_bytes(&section, 1, "identity", 8);
    put_bytes(&section, 2, "", 0);
    put_number(&section, 3, tok->add_dummy_prefix);
    put_number(&section, 4, tok->remove_extra_whitespaces);
    put_number(&section, 5, tok->escape_whitespaces);
    put_section(&text, 3, &section);
    l2_text_free(&section);
    llama2_status status = text.status;
    if (status < 0) {
        l2_text_free(&text);
        return status;
    }
    *data = text.data;
    *size = text.length;
    return LLAMA2_OK;
}
