/*
 * The chunked state file, little-endian:
 *
 *     header     "L2STATE\n", u32 version, u32 0
 *     payloads   each padded with zeros to a multiple of 8
 *     directory  a chunk: u64 offset, u64 length, u32 version, u32 flags, u32 crc (of payload and padding), u32 length
 * of names; names: kind, NUL, name, NUL, zeros to a multiple of 8 footer     u64 offset of the directory, u32 number of
 * chunks, u32 crc (of header, directory and this footer's first 12 bytes), "L2STEND\n"
 *
 * Every byte is covered by a checksum or has one right value.
 */
#include "base/alloc.h"
#include "base/checksum.h"
#include "format/bytes.h"
#include "format/checkpoint.h"
#include "format/sort.h"
#include <inttypes.h>
#include <string.h>

enum { VERSION = 1, HEADER = 16, ENTRY = 32, FOOTER = 24, MAX_NAMES = 4096 };

static const char head_magic[8] = {'L', '2', 'S', 'T', 'A', 'T', 'E', '\n'};
static const char foot_magic[8] = {'L', '2', 'S', 'T', 'E', 'N', 'D', '\n'};

static void make_header(unsigned char header[HEADER])
{
    memset(header, 0, HEADER);
    memcpy(header, head_magic, sizeof head_magic);
    l2_put_u32(header + 8, VERSION);
}

static size_t padded(size_t length)
{
    return (length + 7) / 8 * 8;
}

/* --- writing --------------------------------------------------------------------------------- */

static llama2_status write_header(l2_state_writer *writer)
{
    unsigned char header[HEADER];
    make_header(header);
    return l2_writer_write(&writer->file, header, sizeof header);
}

llama2_status l2_state_create(llama2_context *ctx, const char *path, l2_state_writer *out)
{
    *out = (l2_state_writer){.ctx = ctx};
    L2_TRY(l2_writer_open(ctx, path, &out->file));
    return write_header(out);
}

llama2_status l2_state_create_memory(llama2_context *ctx, void *buffer, size_t capacity, size_t *needed,
                                     l2_state_writer *out)
{
    *out = (l2_state_writer){.ctx = ctx};
    l2_writer_memory(ctx, buffer, capacity, needed, &out->file);
    return write_header(out);
}

llama2_status l2_state_begin(l2_state_writer *writer, const char *kind, const char *name, uint32_t version,
                             uint32_t flags)
{
    size_t kind_size = strlen(kind) + 1, name_size = strlen(name) + 1;
    if (writer->open) return l2_fail(LLAMA2_E_STATE, "chunk %s %s: the one before it has not ended", kind, name);
    if (kind_size == 1 || kind_size > MAX_NAMES / 2 || name_size > MAX_NAMES / 2)
        return l2_fail(LLAMA2_E_INVALID,
                       "chunk \"%.40s\" \"%.40s\": its kind is empty, or a name is longer than %d bytes", kind, name,
                       MAX_NAMES / 2);
    for (size_t i = 0; i < writer->n_chunks; i++)
        if (strcmp(writer->chunks[i].kind, kind) == 0 && strcmp(writer->chunks[i].name, name) == 0)
            return l2_fail(LLAMA2_E_INVALID, "chunk %s %s has been written already", kind, name);
    if (writer->n_chunks == writer->capacity) {
        size_t capacity = writer->capacity ? 2 * writer->capacity : 16;
        L2_TRY(l2_realloc(writer->ctx, writer->capacity, capacity, sizeof *writer->chunks, &writer->chunks));
        writer->capacity = capacity;
    }
    char *names;
    L2_TRY(l2_alloc(writer->ctx, kind_size + name_size, 1, &names));
    memcpy(names, kind, kind_size);
    memcpy(names + kind_size, name, name_size);
    writer->chunks[writer->n_chunks++] = (l2_chunk){
        .kind = names, .name = names + kind_size, .version = version, .flags = flags, .offset = writer->file.size};
    writer->open = 1;
    return LLAMA2_OK;
}

llama2_status l2_state_bytes(l2_state_writer *writer, const void *data, size_t size)
{
    if (!writer->open) return l2_fail(LLAMA2_E_STATE, "no chunk has begun");
    if (size == 0) return LLAMA2_OK;
    l2_chunk *chunk = &writer->chunks[writer->n_chunks - 1];
    chunk->crc = l2_crc32c(chunk->crc, data, size);
    chunk->length += size;
    return l2_writer_write(&writer->file, data, size);
}

llama2_status l2_state_u32(l2_state_writer *writer, uint32_t value)
{
    unsigned char bytes[4];
    l2_put_u32(bytes, value);
    return l2_state_bytes(writer, bytes, sizeof bytes);
}

llama2_status l2_state_u64(l2_state_writer *writer, uint64_t value)
{
    unsigned char bytes[8];
    l2_put_u64(bytes, value);
    return l2_state_bytes(writer, bytes, sizeof bytes);
}

llama2_status l2_state_i64(l2_state_writer *writer, int64_t value)
{
    return l2_state_u64(writer, (uint64_t)value);
}

llama2_status l2_state_f64(l2_state_writer *writer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return l2_state_u64(writer, bits);
}

llama2_status l2_state_f32s(l2_state_writer *writer, const float *values, size_t count)
{
    return l2_state_bytes(writer, values, count * sizeof *values);
}

llama2_status l2_state_i32s(l2_state_writer *writer, const int32_t *values, size_t count)
{
    return l2_state_bytes(writer, values, count * sizeof *values);
}

llama2_status l2_state_i64s(l2_state_writer *writer, const int64_t *values, size_t count)
{
    return l2_state_bytes(writer, values, count * sizeof *values);
}

llama2_status l2_state_end(l2_state_writer *writer)
{
    static const unsigned char zeros[8] = {0};
    if (!writer->open) return l2_fail(LLAMA2_E_STATE, "no chunk has begun");
    l2_chunk *chunk = &writer->chunks[writer->n_chunks - 1];
    size_t padding = (size_t)(-chunk->length & 7);
    chunk->crc = l2_crc32c(chunk->crc, zeros, padding);
    writer->open = 0;
    return padding ? l2_writer_write(&writer->file, zeros, padding) : LLAMA2_OK;
}

static llama2_status write_entry(l2_state_writer *writer, const l2_chunk *chunk, uint32_t *crc)
{
    unsigned char entry[ENTRY + MAX_NAMES + 8] = {0};
    size_t kind_size = strlen(chunk->kind) + 1, names = kind_size + strlen(chunk->name) + 1;
    l2_put_u64(entry, chunk->offset);
    l2_put_u64(entry + 8, chunk->length);
    l2_put_u32(entry + 16, chunk->version);
    l2_put_u32(entry + 20, chunk->flags);
    l2_put_u32(entry + 24, chunk->crc);
    l2_put_u32(entry + 28, (uint32_t)names);
    memcpy(entry + ENTRY, chunk->kind, names); /* the name lies behind the kind */
    *crc = l2_crc32c(*crc, entry, ENTRY + padded(names));
    return l2_writer_write(&writer->file, entry, ENTRY + padded(names));
}

llama2_status l2_state_commit(l2_state_writer *writer)
{
    unsigned char header[HEADER], footer[FOOTER];
    if (writer->open) return l2_fail(LLAMA2_E_STATE, "the last chunk has not ended");
    make_header(header);
    uint32_t crc = l2_crc32c(0, header, sizeof header);
    l2_put_u64(footer, writer->file.size);
    for (size_t i = 0; i < writer->n_chunks; i++) L2_TRY(write_entry(writer, &writer->chunks[i], &crc));
    l2_put_u32(footer + 8, (uint32_t)writer->n_chunks);
    l2_put_u32(footer + 12, l2_crc32c(crc, footer, 12));
    memcpy(footer + 16, foot_magic, sizeof foot_magic);
    L2_TRY(l2_writer_write(&writer->file, footer, sizeof footer));
    return l2_writer_commit(&writer->file);
}

void l2_state_abort(l2_state_writer *writer)
{
    if (!writer->ctx) return;
    l2_writer_abort(&writer->file);
    for (size_t i = 0; i < writer->n_chunks; i++) l2_free(writer->ctx, (void *)writer->chunks[i].kind);
    l2_free(writer->ctx, writer->chunks);
    memset(writer, 0, sizeof *writer);
}

/* --- reading --------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const l2_chunk *x = a, *y = b;
    int order = strcmp(x->kind, y->kind);
    return order ? order : strcmp(x->name, y->name);
}

static const l2_chunk_kind *find_kind(const l2_chunk *chunk, const l2_chunk_kind *known, size_t n_known)
{
    for (size_t i = 0; i < n_known; i++)
        if (strcmp(known[i].kind, chunk->kind) == 0) return &known[i];
    return NULL;
}

/* Of the first chunk that is required and can't be read. has_known: the file has chunks of kinds that are known. Where
 * one kind alone is, a file without it is one of something else; else it may come from a newer library. */
static llama2_status refuse(const l2_chunk *chunk, const l2_chunk_kind *known, size_t n_known, int has_known)
{
    const l2_chunk_kind *kind = find_kind(chunk, known, n_known);
    if (kind)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "chunk %.60s %.60s has version %" PRIu32 ", up to %" PRIu32 " can be read",
                       chunk->kind, chunk->name, chunk->version, kind->version);
    if (has_known || n_known > 1)
        return l2_fail(LLAMA2_E_UNSUPPORTED,
                       "chunk %.60s %.60s is required and of a kind that this version does not know", chunk->kind,
                       chunk->name);
    return l2_fail(LLAMA2_E_FORMAT, "a state file of another kind: it has %.60s in place of %.60s", chunk->kind,
                   known[0].kind);
}

/* The entry at *at, which moves on. `end`: where the directory ends. Its checksum has been verified, but not who wrote
 * it. */
static llama2_status read_entry(const unsigned char *data, uint64_t *at, uint64_t end, l2_chunk *out)
{
    if (end - *at < ENTRY) return l2_fail(LLAMA2_E_FORMAT, "the directory ends inside the entry at byte %" PRIu64, *at);
    const unsigned char *entry = data + *at;
    uint32_t names = l2_get_u32(entry + 28);
    if (names > MAX_NAMES || padded(names) > end - *at - ENTRY)
        return l2_fail(LLAMA2_E_FORMAT, "the entry at byte %" PRIu64 " claims names of %" PRIu32 " bytes", *at, names);
    const char *kind = (const char *)entry + ENTRY;
    const char *kind_end = names ? memchr(kind, 0, names) : NULL;
    if (!kind_end || kind_end == kind ||
        memchr(kind_end + 1, 0, names - (size_t)(kind_end - kind) - 1) != kind + names - 1)
        return l2_fail(LLAMA2_E_FORMAT, "the entry at byte %" PRIu64 " has no proper names", *at);
    *out = (l2_chunk){.kind = kind,
                      .name = kind_end + 1,
                      .offset = l2_get_u64(entry),
                      .length = l2_get_u64(entry + 8),
                      .version = l2_get_u32(entry + 16),
                      .flags = l2_get_u32(entry + 20),
                      .crc = l2_get_u32(entry + 24)};
    *at += ENTRY + padded(names);
    return LLAMA2_OK;
}

/* Payloads follow each other from the header to the directory; `end` is where the one before ended. */
static llama2_status check_payload(const unsigned char *data, const l2_chunk *chunk, uint64_t *end, uint64_t directory)
{
    if (chunk->offset != *end || chunk->length > directory - *end ||
        (-chunk->length & 7) > directory - *end - chunk->length)
        return l2_fail(LLAMA2_E_FORMAT,
                       "chunk %.60s %.60s claims bytes [%" PRIu64 ", +%" PRIu64 "), the one before it ends at %" PRIu64
                       " and the directory begins at %" PRIu64,
                       chunk->kind, chunk->name, chunk->offset, chunk->length, *end, directory);
    uint64_t size = chunk->length + (-chunk->length & 7);
    if (l2_crc32c(0, data + *end, (size_t)size) != chunk->crc)
        return l2_fail(LLAMA2_E_CORRUPT, "chunk %.60s %.60s at byte %" PRIu64 " does not match its checksum",
                       chunk->kind, chunk->name, *end);
    *end += size;
    return LLAMA2_OK;
}

static llama2_status check_frame(const unsigned char *data, size_t size, uint64_t *directory, uint32_t *n_chunks)
{
    if (size >= sizeof head_magic && memcmp(data, head_magic, sizeof head_magic) != 0)
        return l2_fail(LLAMA2_E_FORMAT, "this is no state file: it does not begin with L2STATE");
    if (size < HEADER + FOOTER) return l2_fail(LLAMA2_E_TRUNCATED, "%zu bytes are too few for a state file", size);
    uint32_t version = l2_get_u32(data + 8);
    if (version != VERSION)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "a state file of version %" PRIu32 "; %d can be read", version, VERSION);
    const unsigned char *footer = data + size - FOOTER;
    if (memcmp(footer + 16, foot_magic, sizeof foot_magic) != 0)
        return l2_fail(LLAMA2_E_TRUNCATED,
                       "the file does not end with L2STEND at byte %zu: it was cut off, or damaged there", size - 8);
    *directory = l2_get_u64(footer);
    *n_chunks = l2_get_u32(footer + 8);
    if (*directory < HEADER || *directory > size - FOOTER)
        return l2_fail(LLAMA2_E_CORRUPT, "the footer places the directory at byte %" PRIu64 " of %zu", *directory,
                       size);
    uint32_t crc = l2_crc32c(0, data, HEADER);
    crc = l2_crc32c(crc, data + *directory, (size_t)(size - FOOTER - *directory));
    if (l2_crc32c(crc, footer, 12) != l2_get_u32(footer + 12))
        return l2_fail(LLAMA2_E_CORRUPT, "the directory at byte %" PRIu64 " does not match its checksum", *directory);
    if (*n_chunks > (size - FOOTER - *directory) / ENTRY)
        return l2_fail(LLAMA2_E_FORMAT, "the directory claims %" PRIu32 " chunks, more than its %" PRIu64 " bytes hold",
                       *n_chunks, size - FOOTER - *directory);
    return LLAMA2_OK;
}

static llama2_status parse(l2_state_reader *reader, const unsigned char *data, size_t size, const l2_chunk_kind *known,
                           size_t n_known)
{
    uint64_t directory = 0, payload_end = HEADER;
    uint32_t n_chunks = 0;
    l2_chunk unreadable = {0};
    int has_known = 0;
    L2_TRY(check_frame(data, size, &directory, &n_chunks));
    L2_TRY(l2_alloc(reader->ctx, n_chunks, sizeof *reader->chunks, &reader->chunks));
    uint64_t at = directory, end = size - FOOTER;
    for (uint32_t i = 0; i < n_chunks; i++) {
        l2_chunk *chunk = &reader->chunks[reader->n_chunks];
        L2_TRY(read_entry(data, &at, end, chunk));
        L2_TRY(check_payload(data, chunk, &payload_end, directory));
        const l2_chunk_kind *kind = find_kind(chunk, known, n_known);
        has_known |= kind != NULL;
        if (kind && chunk->version <= kind->version)
            reader->n_chunks++;
        else if ((chunk->flags & L2_CHUNK_REQUIRED) && !unreadable.kind)
            unreadable = *chunk;
    }
    if (unreadable.kind) return refuse(&unreadable, known, n_known, has_known);
    if (at != end || payload_end != directory)
        return l2_fail(LLAMA2_E_FORMAT,
                       "bytes between the last chunk and the directory at %" PRIu64
                       ", or after its last entry at %" PRIu64,
                       directory, at);
    l2_sort(reader->chunks, reader->n_chunks, sizeof *reader->chunks, by_name);
    for (size_t i = 1; i < reader->n_chunks; i++)
        if (by_name(&reader->chunks[i - 1], &reader->chunks[i]) == 0)
            return l2_fail(LLAMA2_E_FORMAT, "chunk %.60s %.60s stands twice", reader->chunks[i].kind,
                           reader->chunks[i].name);
    return LLAMA2_OK;
}

llama2_status l2_state_parse(llama2_context *ctx, const void *data, size_t size, const l2_chunk_kind *known,
                             size_t n_known, l2_state_reader *out)
{
    memset(out, 0, sizeof *out);
    out->ctx = ctx;
    llama2_status status = parse(out, data, size, known, n_known);
    if (status < 0)
        l2_state_close(out);
    else
        out->data = data;
    return status;
}

llama2_status l2_state_open(llama2_context *ctx, const char *path, const l2_chunk_kind *known, size_t n_known,
                            l2_state_reader *out)
{
    l2_file_view view;
    memset(out, 0, sizeof *out);
    L2_TRY(l2_file_map(ctx, path, &view));
    llama2_status status = l2_state_parse(ctx, view.data, view.size, known, n_known, out);
    if (status < 0) {
        l2_fail_in(status, "%s", path);
        l2_file_release(ctx, &view);
        return status;
    }
    out->view = view;
    return status;
}

void l2_state_close(l2_state_reader *reader)
{
    if (!reader->ctx) return;
    l2_free(reader->ctx, reader->chunks);
    if (reader->view.data) l2_file_release(reader->ctx, &reader->view);
    memset(reader, 0, sizeof *reader);
}

const l2_chunk *l2_state_find(const l2_state_reader *reader, const char *kind, const char *name)
{
    l2_chunk key = {.kind = kind, .name = name};
    return l2_search(&key, reader->chunks, reader->n_chunks, sizeof *reader->chunks, by_name);
}

/* --- cursor ---------------------------------------------------------------------------------- */

void l2_cursor_begin(const l2_state_reader *reader, const l2_chunk *chunk, l2_cursor *out)
{
    *out = (l2_cursor){reader->data + chunk->offset, (size_t)chunk->length, 0, chunk->kind, chunk->name};
}

llama2_status l2_cursor_open(const l2_state_reader *reader, const char *kind, const char *name, l2_cursor *out)
{
    const l2_chunk *chunk = l2_state_find(reader, kind, name);
    if (!chunk) return l2_fail(LLAMA2_E_NOT_FOUND, "the state has no chunk %.60s %.60s", kind, name);
    l2_cursor_begin(reader, chunk, out);
    return LLAMA2_OK;
}

llama2_status l2_cursor_skip(l2_cursor *cursor, size_t size, const unsigned char **data)
{
    if (size > cursor->size - cursor->at)
        return l2_fail(LLAMA2_E_TRUNCATED, "chunk %.60s %.60s: %zu bytes are wanted at byte %zu of %zu", cursor->kind,
                       cursor->name, size, cursor->at, cursor->size);
    if (data) *data = cursor->data + cursor->at;
    cursor->at += size;
    return LLAMA2_OK;
}

llama2_status l2_cursor_bytes(l2_cursor *cursor, void *out, size_t size)
{
    const unsigned char *data = NULL;
    L2_TRY(l2_cursor_skip(cursor, size, &data));
    if (size) memcpy(out, data, size);
    return LLAMA2_OK;
}

llama2_status l2_cursor_u32(l2_cursor *cursor, uint32_t *out)
{
    const unsigned char *data = NULL;
    L2_TRY(l2_cursor_skip(cursor, 4, &data));
    *out = l2_get_u32(data);
    return LLAMA2_OK;
}

llama2_status l2_cursor_u64(l2_cursor *cursor, uint64_t *out)
{
    const unsigned char *data = NULL;
    L2_TRY(l2_cursor_skip(cursor, 8, &data));
    *out = l2_get_u64(data);
    return LLAMA2_OK;
}

llama2_status l2_cursor_i64(l2_cursor *cursor, int64_t *out)
{
    uint64_t value;
    L2_TRY(l2_cursor_u64(cursor, &value));
    *out = (int64_t)value;
    return LLAMA2_OK;
}

llama2_status l2_cursor_f64(l2_cursor *cursor, double *out)
{
    uint64_t value;
    L2_TRY(l2_cursor_u64(cursor, &value));
    memcpy(out, &value, sizeof value);
    return LLAMA2_OK;
}

/* count * size may not wrap. */
static llama2_status read_array(l2_cursor *cursor, void *out, size_t count, size_t size)
{
    return l2_cursor_bytes(cursor, out, count > SIZE_MAX / size ? SIZE_MAX : count * size);
}

llama2_status l2_cursor_f32s(l2_cursor *cursor, float *out, size_t count)
{
    return read_array(cursor, out, count, sizeof *out);
}

llama2_status l2_cursor_i32s(l2_cursor *cursor, int32_t *out, size_t count)
{
    return read_array(cursor, out, count, sizeof *out);
}

llama2_status l2_cursor_i64s(l2_cursor *cursor, int64_t *out, size_t count)
{
    return read_array(cursor, out, count, sizeof *out);
}

llama2_status l2_cursor_end(const l2_cursor *cursor)
{
    if (cursor->at == cursor->size) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_FORMAT, "chunk %.60s %.60s: %zu bytes are left after byte %zu", cursor->kind, cursor->name,
                   cursor->size - cursor->at, cursor->at);
}
