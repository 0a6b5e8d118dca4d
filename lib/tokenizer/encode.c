/*
 * Text into ids. SentencePiece: normalisation (spaces become U+2581, invalid bytes U+FFFD), cut wherever no piece can
 * span, each segment merged by itself. Byte-level BPE: added pieces are found, what is between them is cut by the
 * pre-tokeniser. Ordinary words come again and again, so in a long text the ids of short segments are remembered, but
 * not where it matters from which bytes an id comes.
 */
#include "base/alloc.h"
#include "base/context.h"
#include "base/utf8.h"
#include "tokenizer/merge.h"
#include "tokenizer/pretokenize.h"
#include <string.h>

enum { CACHED_BYTES = 30, CACHED_IDS = 8, CACHE_FROM = 1024, CACHE_MOST = 16384, CHECK_EVERY = 1 << 20 };

typedef struct cached {
    uint8_t length, n; /* length 0: free */
    char text[CACHED_BYTES];
    int32_t ids[CACHED_IDS];
} cached;

/* Bytes [begin, end) of the text. */
typedef struct origin {
    size_t begin, end;
} origin;

typedef struct encoder {
    const llama2_tokenizer *tok;
    l2_ids *out;
    const char *text;
    char *segment; /* normalised text from the last cut on */
    size_t used, room;
    int tracks;      /* origins of ids are wanted */
    int in_segment;  /* tokens lie in the segment, else in the text itself */
    origin *origins; /* of the segment's bytes, as many as its room; only where they are wanted */
    unsigned before; /* class of the segment's last character */
    l2_merge_space space;
    cached *cache;
    size_t cache_mask;
    int32_t recent[CACHED_IDS]; /* ids of the segment being merged */
    int n_recent;
    int after_unknown;   /* the last id is UNK: another joins it */
    uint64_t done, mark; /* normalised bytes that have become ids; tokens that end up to `mark` are counted */
    int64_t n_before;
    size_t spaces, spaces_at; /* with remove_extra_whitespaces: held back, since those at the end go; the first one's
                                 place in the text */
} encoder;

static void push_id(encoder *e, int32_t id)
{
    l2_ids_push(e->out, id);
    if (e->n_recent < CACHED_IDS) e->recent[e->n_recent] = id;
    ++e->n_recent;
}

/* Where the last id comes from: `text` is what it stands for. */
static void put_origin(encoder *e, const char *text, size_t length, int joins)
{
    l2_ids *out = e->out;
    size_t at = (size_t)(text - (e->in_segment ? e->segment : e->text));
    origin from = {at, at + length};
    if (e->in_segment) from = (origin){e->origins[at].begin, e->origins[at + length - 1].end};
    if (out->count > out->capacity) return;
    if (out->begins && !joins) out->begins[out->count - 1] = from.begin;
    if (out->ends) out->ends[out->count - 1] = from.end;
}

static void emit_token(void *user, int32_t id, const char *text, size_t length)
{
    encoder *e = user;
    const llama2_tokenizer *tok = e->tok;
    if (id >= 0) {
        push_id(e, id);
        if (e->tracks) put_origin(e, text, length, 0);
        e->after_unknown = 0;
    } else if (tok->byte_fallback) {
        for (size_t i = 0; i < length; ++i) {
            push_id(e, tok->byte_ids[(unsigned char)text[i]]);
            if (e->tracks) put_origin(e, text + i, 1, 0);
        }
    } else {
        if (!e->after_unknown) push_id(e, tok->unk);
        if (e->tracks) put_origin(e, text, length, e->after_unknown);
        e->after_unknown = 1;
        e->n_recent = CACHED_IDS + 1; /* depends on what came before: not to be remembered */
    }
    e->done += length;
    if (e->done <= e->mark) e->n_before = e->out->count;
}

static cached *find_cached(encoder *e, const char *text, size_t length)
{
    uint64_t h = length * UINT64_C(0x9E3779B97F4A7C15), v;
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        memcpy(&v, text + i, 8);
        h = (h ^ v) * UINT64_C(0xD6E8FEB86659FD93);
        h ^= h >> 31;
    }
    for (v = 0; i < length; ++i) v = v << 8 | (unsigned char)text[i];
    h = (h ^ v) * UINT64_C(0xD6E8FEB86659FD93);
    return &e->cache[(h >> 40) & e->cache_mask];
}

static void use_cached(encoder *e, const cached *hit)
{
    l2_ids *out = e->out;
    if (out->count + hit->n <= out->capacity) {
        memcpy(out->ids + out->count, hit->ids, hit->n * sizeof *hit->ids);
        out->count += hit->n;
    } else {
        for (int i = 0; i < hit->n; ++i) push_id(e, hit->ids[i]);
    }
    e->after_unknown = 0;
    e->done += hit->length;
    if (e->done <= e->mark) e->n_before = out->count;
}

static llama2_status merge_new(encoder *e, const char *text, size_t length)
{
    int32_t whole = e->tok->ignore_merges ? l2_byte_level_find(e->tok, text, length) : -1;
    if (whole < 0) return l2_merge(e->tok, &e->space, text, length, emit_token, e);
    emit_token(e, whole, text, length);
    return LLAMA2_OK;
}

static llama2_status merge_segment(encoder *e, const char *text, size_t length)
{
    int astride = e->done < e->mark && e->done + length > e->mark;
    if (!e->cache || length > CACHED_BYTES || astride) return merge_new(e, text, length);
    cached *slot = find_cached(e, text, length);
    if (slot->length == length && memcmp(slot->text, text, length) == 0) {
        use_cached(e, slot);
        return LLAMA2_OK;
    }
    e->n_recent = 0;
    L2_TRY(merge_new(e, text, length));
    if (e->n_recent > CACHED_IDS) return LLAMA2_OK;
    slot->length = (uint8_t)length;
    slot->n = (uint8_t)e->n_recent;
    memcpy(slot->text, text, length);
    memcpy(slot->ids, e->recent, (size_t)e->n_recent * sizeof *e->recent);
    return LLAMA2_OK;
}

static llama2_status flush(encoder *e)
{
    size_t length = e->used;
    e->used = 0;
    return length ? merge_segment(e, e->segment, length) : LLAMA2_OK;
}

static llama2_status grow_segment(encoder *e)
{
    if (e->room >= L2_MAX_SEGMENT)
        return l2_fail(LLAMA2_E_LIMIT, "text: %d bytes without a place where it can be cut; encode it in parts",
                       L2_MAX_SEGMENT);
    size_t room = e->room ? 2 * e->room : 4096;
    if (e->tracks) L2_TRY(l2_realloc(e->tok->ctx, e->room, room, sizeof *e->origins, &e->origins));
    L2_TRY(l2_realloc(e->tok->ctx, e->room, room, 1, &e->segment));
    e->room = room;
    return LLAMA2_OK;
}

static inline llama2_status append(encoder *e, const char *text, size_t n, unsigned class)
{
    if (!(e->tok->joins[e->before][class / 8] >> (class % 8) & 1)) L2_TRY(flush(e));
    if (e->used + n > e->room) L2_TRY(grow_segment(e));
    for (size_t i = 0; i < n; ++i) e->segment[e->used + i] = text[i];
    e->used += n;
    e->before = class;
    return LLAMA2_OK;
}

/* The bytes in order, as far as both reach: a space has one byte, its U+2581 three. */
static llama2_status put_char(encoder *e, const char *text, size_t n, unsigned class, origin from)
{
    L2_TRY(append(e, text, n, class));
    if (!e->tracks) return LLAMA2_OK;
    for (size_t i = 0; i < n; ++i, ++from.begin) {
        if (from.begin > from.end) from.begin = from.end;
        size_t end = i + 1 == n || from.begin == from.end ? from.end : from.begin + 1;
        e->origins[e->used - n + i] = (origin){from.begin, end};
    }
    return LLAMA2_OK;
}

static llama2_status put_space(encoder *e, origin from)
{
    return e->tok->escape_whitespaces ? put_char(e, L2_SPACE, 3, L2_CLASS_SPACE, from) : put_char(e, " ", 1, ' ', from);
}

/* A character of the normalised text. */
static llama2_status put_normal(encoder *e, const char *text, size_t n, origin from)
{
    const llama2_tokenizer *tok = e->tok;
    unsigned class = l2_char_class(text, n);
    if (tok->remove_extra_whitespaces) {
        if (class == (tok->escape_whitespaces ? (unsigned)L2_CLASS_SPACE : (unsigned)' ')) {
            if (!e->spaces++) e->spaces_at = from.begin;
            return LLAMA2_OK;
        }
        for (; e->spaces; --e->spaces, ++e->spaces_at)
            L2_TRY(put_space(e, (origin){e->spaces_at, e->spaces > 1 ? e->spaces_at + 1 : from.begin}));
    }
    return put_char(e, text, n, class, from);
}

/* What the text begins with, normalised but for its spaces: a user-defined piece, a character, or U+FFFD for an invalid
 * byte. Returns the bytes it takes. */
static size_t next_part(const llama2_tokenizer *tok, const char *text, size_t length, const char **part,
                        size_t *part_length)
{
    size_t n = l2_user_defined_at(tok, text, length);
    if (!n) n = (size_t)l2_utf8_decode(text, length, NULL);
    *part = n ? text : "\xEF\xBF\xBD";
    *part_length = n ? n : 3;
    return n ? n : 1;
}

/* Spaces within `part`, the first ones dropped after a space where extra spaces go. `from` has as many bytes, but one
 * where the part is U+FFFD for it. */
static llama2_status put_part(encoder *e, const char *part, size_t length, origin from, int *after_space)
{
    const llama2_tokenizer *tok = e->tok;
    size_t first = 0;
    while (*after_space && first < length && part[first] == ' ') ++first;
    for (size_t i = first, n; i < length; i += n) {
        n = l2_char_length((unsigned char)part[i]);
        origin of_char = {from.begin + i, from.begin + i + n < from.end ? from.begin + i + n : from.end};
        if (part[i] == ' ' && tok->escape_whitespaces)
            L2_TRY(put_normal(e, L2_SPACE, 3, of_char));
        else
            L2_TRY(put_normal(e, part + i, n, of_char));
    }
    if (first < length) *after_space = tok->remove_extra_whitespaces && part[length - 1] == ' ';
    return LLAMA2_OK;
}

/* Characters up to `end`; `text` is the whole text, so that a character may be cut off at `length` only. */
static llama2_status put_text(encoder *e, const char *text, size_t length, size_t *at, size_t end, int *after_space)
{
    const llama2_tokenizer *tok = e->tok;
    int plain = !tok->n_user_defined && !tok->remove_extra_whitespaces && tok->escape_whitespaces && !e->tracks;
    while (*at < end) {
        unsigned char c = (unsigned char)text[*at];
        if (plain && c < 0x80) {
            if (c == ' ')
                L2_TRY(append(e, L2_SPACE, 3, L2_CLASS_SPACE));
            else
                L2_TRY(append(e, text + *at, 1, c));
            ++*at;
        } else {
            const char *part;
            size_t part_length, taken = next_part(tok, text + *at, length - *at, &part, &part_length);
            L2_TRY(put_part(e, part, part_length, (origin){*at, *at + taken}, after_space));
            *at += taken;
        }
    }
    return LLAMA2_OK;
}

static llama2_status make_cache(encoder *e, size_t length)
{
    if (length < CACHE_FROM || e->tok->has_unused || e->tracks) return LLAMA2_OK;
    size_t n = 64;
    while (n < CACHE_MOST && n < length / 16) n *= 2;
    L2_TRY(l2_scratch_get(e->tok->ctx, n * sizeof *e->cache, &e->cache));
    for (size_t i = 0; i < n; ++i) e->cache[i].length = 0;
    e->cache_mask = n - 1;
    return LLAMA2_OK;
}

static int has_dummy_prefix(const llama2_tokenizer *tok, const char *text, size_t length)
{
    if (!tok->prefix_unless_space) return tok->add_dummy_prefix;
    return *text != ' ' && (length < strlen(L2_SPACE) || memcmp(text, L2_SPACE, strlen(L2_SPACE)) != 0);
}

static llama2_status encode_all(encoder *e, const char *text, size_t length, size_t mark)
{
    const llama2_tokenizer *tok = e->tok;
    size_t at = 0;
    e->in_segment = 1;
    int after_space = tok->remove_extra_whitespaces;
    if (tok->remove_extra_whitespaces)
        while (at < length && text[at] == ' ' && l2_user_defined_at(tok, text + at, length - at) <= 1) ++at;
    if (at == length) return LLAMA2_OK;
    if (has_dummy_prefix(tok, text, length))
        L2_TRY(
            put_normal(e, tok->escape_whitespaces ? L2_SPACE : " ", tok->escape_whitespaces ? 3 : 1, (origin){at, at}));
    while (at < length) {
        size_t end = length - at > CHECK_EVERY ? at + CHECK_EVERY : length;
        if (at < mark && mark < end) end = mark;
        L2_TRY(put_text(e, text, length, &at, end, &after_space));
        if (at >= mark && e->mark == UINT64_MAX) e->mark = e->done + e->used;
        L2_TRY(l2_context_check(tok->ctx));
    }
    return flush(e);
}

/* --- byte-level BPE -------------------------------------------------------------------------- */

/* A stretch without the bytes that the vocabulary lacks: what is left of it merges as if they were not there. */
static llama2_status merge_without_lacking(encoder *e, const char *text, size_t length)
{
    const int32_t *ids = e->tok->byte_ids;
    size_t end = (size_t)e->done + length, i = 0;
    while (i < length && ids[(unsigned char)text[i]] >= 0) ++i;
    if (i == length) return merge_segment(e, text, length);
    while (e->room < length) L2_TRY(grow_segment(e));
    for (i = 0; i < length; ++i) {
        if (ids[(unsigned char)text[i]] < 0) continue;
        size_t at = (size_t)(text + i - e->text);
        if (e->tracks) e->origins[e->used] = (origin){at, at + 1};
        e->segment[e->used++] = text[i];
    }
    e->in_segment = 1;
    L2_TRY(flush(e));
    e->in_segment = 0;
    e->done = end;
    if (e->done <= e->mark) e->n_before = e->out->count;
    return LLAMA2_OK;
}

/* Where the first added piece at or after `at` begins, and its bytes; the end of the text and 0 where there is none. */
static size_t find_added(const llama2_tokenizer *tok, const char *text, size_t length, size_t at, size_t *n)
{
    *n = 0;
    if (!tok->n_user_defined) return length;
    for (; at < length; ++at)
        if ((*n = l2_user_defined_at(tok, text + at, length - at)) > 0) return at;
    return length;
}

static llama2_status encode_stretches(encoder *e, const char *text, size_t length)
{
    const llama2_tokenizer *tok = e->tok;
    size_t checked = 0;
    for (size_t at = 0; at < length;) {
        size_t n, added = find_added(tok, text, length, at, &n);
        while (at < added) {
            size_t stretch = l2_pretoken(tok->pretokenizer, text + at, added - at);
            if (stretch > L2_MAX_SEGMENT)
                return l2_fail(LLAMA2_E_LIMIT,
                               "text: %zu bytes without a place where it can be cut; encode it in parts", stretch);
            L2_TRY(tok->lacks_bytes ? merge_without_lacking(e, text + at, stretch)
                                    : merge_segment(e, text + at, stretch));
            at += stretch;
            if (at - checked < CHECK_EVERY) continue;
            checked = at;
            L2_TRY(l2_context_check(tok->ctx));
        }
        if (n) emit_token(e, l2_vocabulary_find(tok, text + at, n), text + at, n);
        at += n;
    }
    return LLAMA2_OK;
}

llama2_status l2_encode(const llama2_tokenizer *tok, const char *text, size_t length, l2_ids *out, size_t mark,
                        int64_t *n_before)
{
    encoder e = {.tok = tok, .out = out, .text = text, .mark = UINT64_MAX, .n_before = out->count};
    e.tracks = out->begins || out->ends;
    llama2_status status;
    L2_CHECK(make_cache(&e, length));
    if (tok->pretokenizer) {
        e.mark = mark;
        L2_CHECK(encode_stretches(&e, text, length));
    } else {
        L2_CHECK(encode_all(&e, text, length, mark));
    }
    if (n_before) *n_before = e.n_before;
done:
    l2_scratch_put(tok->ctx, e.cache);
    l2_merge_space_free(tok->ctx, &e.space);
    l2_free(tok->ctx, e.origins);
    l2_free(tok->ctx, e.segment);
    return status;
}

/* BOS or EOS, which no byte of the text stands for. */
static void push_special(l2_ids *out, int32_t id, size_t at)
{
    if (out->begins && out->count < out->capacity) out->begins[out->count] = at;
    if (out->ends && out->count < out->capacity) out->ends[out->count] = at;
    l2_ids_push(out, id);
}

llama2_status l2_encode_framed(const llama2_tokenizer *tok, const char *text, size_t length, uint32_t flags,
                               l2_ids *out)
{
    if (flags & LLAMA2_ENCODE_BOS) push_special(out, tok->bos, 0);
    L2_TRY(l2_encode(tok, text, length, out, SIZE_MAX, NULL));
    if (flags & LLAMA2_ENCODE_EOS) push_special(out, tok->eos, length);
    return LLAMA2_OK;
}
