/* Writing GGUF: metadata grow in memory, tensors pass through it a band of rows at a time. */
#include "base/alloc.h"
#include "base/context.h"
#include "base/threads.h"
#include "format/bytes.h"
#include "format/joined.h"
#include "format/quantised.h"
#include <inttypes.h>
#include <string.h>

enum { VERSION = 3, ALIGNMENT = 32, ELEMENTS_A_BAND = 1 << 20, ELEMENTS_A_TASK = 1 << 14 };

/* --- metadata -------------------------------------------------------------------------------- */

static void put_u32(l2_text *text, uint32_t value)
{
    unsigned char bytes[4];
    l2_put_u32(bytes, value);
    l2_text_add(text, (const char *)bytes, sizeof bytes);
}

static void put_u64(l2_text *text, uint64_t value)
{
    unsigned char bytes[8];
    l2_put_u64(bytes, value);
    l2_text_add(text, (const char *)bytes, sizeof bytes);
}

static void put_text(l2_text *text, const char *bytes, size_t length)
{
    put_u64(text, length);
    l2_text_add(text, bytes, length);
}

static void begin_value(l2_gguf_metadata *metadata, const char *key, size_t length, int32_t type)
{
    put_text(&metadata->text, key, length);
    put_u32(&metadata->text, (uint32_t)type);
    metadata->count++;
}

static void put_key(l2_gguf_metadata *metadata, const char *key, int32_t type)
{
    begin_value(metadata, key, strlen(key), type);
}

void l2_gguf_metadata_begin(l2_gguf_metadata *metadata, llama2_context *ctx)
{
    l2_text_begin(&metadata->text, ctx);
    metadata->count = 0;
}

void l2_gguf_metadata_free(l2_gguf_metadata *metadata)
{
    l2_text_free(&metadata->text);
}

void l2_gguf_put_u32(l2_gguf_metadata *metadata, const char *key, uint32_t value)
{
    put_key(metadata, key, L2_GGUF_U32);
    put_u32(&metadata->text, value);
}

void l2_gguf_put_f32(l2_gguf_metadata *metadata, const char *key, float value)
{
    put_key(metadata, key, L2_GGUF_F32);
    l2_gguf_put_element_f32(metadata, value);
}

void l2_gguf_put_bool(l2_gguf_metadata *metadata, const char *key, int value)
{
    put_key(metadata, key, L2_GGUF_BOOL);
    l2_text_add(&metadata->text, value ? "\1" : "\0", 1);
}

void l2_gguf_put_string(l2_gguf_metadata *metadata, const char *key, const char *text, size_t length)
{
    put_key(metadata, key, L2_GGUF_STRING);
    put_text(&metadata->text, text, length);
}

void l2_gguf_put_value(l2_gguf_metadata *metadata, const l2_gguf_value *value)
{
    const unsigned char *end = value->data;
    int32_t type = value->type == L2_GGUF_ARRAY ? value->element : value->type;
    begin_value(metadata, value->key, value->key_length, value->type);
    if (value->type == L2_GGUF_STRING) {
        put_text(&metadata->text, (const char *)value->data, (size_t)value->count);
        return;
    }
    if (value->type == L2_GGUF_ARRAY) {
        put_u32(&metadata->text, (uint32_t)value->element);
        put_u64(&metadata->text, value->count);
    }
    for (uint64_t i = 0; i < value->count; i++) end += l2_gguf_value_size(type, end);
    l2_text_add(&metadata->text, (const char *)value->data, (size_t)(end - value->data));
}

void l2_gguf_put_array(l2_gguf_metadata *metadata, const char *key, int32_t element, uint64_t count)
{
    put_key(metadata, key, L2_GGUF_ARRAY);
    put_u32(&metadata->text, (uint32_t)element);
    put_u64(&metadata->text, count);
}

void l2_gguf_put_element(l2_gguf_metadata *metadata, const char *text, size_t length)
{
    put_text(&metadata->text, text, length);
}

void l2_gguf_put_element_f32(l2_gguf_metadata *metadata, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_u32(&metadata->text, bits);
}

void l2_gguf_put_element_i32(l2_gguf_metadata *metadata, int32_t value)
{
    put_u32(&metadata->text, (uint32_t)value);
}

/* --- tensors --------------------------------------------------------------------------------- */

llama2_status l2_gguf_entry_size(const l2_gguf_entry *entry, uint64_t *out)
{
    uint32_t elements, bytes;
    const char *type = l2_quantises(entry->type) ? l2_ggml_type(entry->type, &elements, &bytes) : NULL;
    if (!entry->name[0] || memchr(entry->name, 0, sizeof entry->name) == NULL)
        return l2_fail(LLAMA2_E_INVALID, "the name of a tensor has 1 to %d bytes", L2_GGUF_MAX_NAME - 1);
    if (!type) return l2_fail(LLAMA2_E_INVALID, "tensor %s: type %d can't be written", entry->name, (int)entry->type);
    if (entry->rows <= 0 || entry->columns <= 0 || entry->columns % elements || entry->n_dims < 1 ||
        entry->n_dims > 2 || (entry->n_dims == 1 && entry->rows != 1) || entry->columns > INT64_MAX / 8 / entry->rows)
        return l2_fail(LLAMA2_E_INVALID, "tensor %s: %d dimensions, (%" PRId64 ", %" PRId64 "), can't be %s",
                       entry->name, (int)entry->n_dims, entry->rows, entry->columns, type);
    if (entry->head_dim < 0 || entry->head_dim % 2 || (entry->head_dim > 0 && entry->rows % entry->head_dim))
        return l2_fail(LLAMA2_E_INVALID, "tensor %s: %" PRId64 " rows are no heads of %" PRId64, entry->name,
                       entry->rows, entry->head_dim);
    *out = (uint64_t)entry->rows * ((uint64_t)entry->columns / elements * bytes);
    return LLAMA2_OK;
}

static llama2_status make_header(const l2_gguf_metadata *metadata, const l2_gguf_entry *entries, size_t n,
                                 l2_text *text)
{
    uint64_t offset = 0, size;
    l2_text_add(text, "GGUF", 4);
    put_u32(text, VERSION);
    put_u64(text, n);
    put_u64(text, metadata->count);
    l2_text_add(text, metadata->text.data, metadata->text.length);
    for (size_t i = 0; i < n; i++) {
        const l2_gguf_entry *entry = &entries[i];
        L2_TRY(l2_gguf_entry_size(entry, &size));
        put_text(text, entry->name, strlen(entry->name));
        put_u32(text, (uint32_t)entry->n_dims);
        put_u64(text, (uint64_t)entry->columns); /* the fastest first */
        if (entry->n_dims == 2) put_u64(text, (uint64_t)entry->rows);
        put_u32(text, (uint32_t)entry->type);
        put_u64(text, offset);
        if (size > INT64_MAX - ALIGNMENT - offset)
            return l2_fail(LLAMA2_E_INVALID, "the tensors up to %s exceed 2^63 bytes", entry->name);
        offset += (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return text->status;
}

static llama2_status align(l2_writer *writer)
{
    static const char zeros[ALIGNMENT];
    return l2_writer_write(writer, zeros, (size_t)((ALIGNMENT - writer->size % ALIGNMENT) % ALIGNMENT));
}

typedef struct band {
    const l2_gguf_entry *entry;
    int64_t first, rows, rows_a_task;
    size_t row_bytes;
    float *numbers;
    unsigned char *blocks;
    llama2_status *status; /* a row */
} band;

/* Row `row` of the file's band. Two rows that are half a head apart come side by side. */
static llama2_status quantise_row(const band *b, int64_t row)
{
    int64_t head_dim = b->entry->head_dim, columns = b->entry->columns;
    int64_t from = head_dim ? l2_rotary_row(row, head_dim) : row;
    return l2_quantise(b->entry->type, b->numbers + from * columns, columns, b->blocks + (size_t)row * b->row_bytes);
}

static void quantise_rows(void *arg, int32_t task, int32_t worker)
{
    const band *b = arg;
    (void)worker;
    int64_t first = task * b->rows_a_task;
    int64_t end = b->rows - first < b->rows_a_task ? b->rows : first + b->rows_a_task;
    for (int64_t row = first; row < end; row++) b->status[row] = quantise_row(b, row);
}

static llama2_status write_band(llama2_context *ctx, l2_writer *writer, band *b)
{
    const l2_gguf_entry *entry = b->entry;
    L2_TRY(l2_context_check(ctx));
    L2_TRY(entry->fill(entry->user, b->first, b->rows, b->numbers));
    b->rows_a_task = ELEMENTS_A_TASK / entry->columns + 1;
    l2_parallel(ctx, (int32_t)((b->rows + b->rows_a_task - 1) / b->rows_a_task), quantise_rows, b);
    for (int64_t row = 0; row < b->rows; row++)
        if (b->status[row] < 0) /* the message may be another thread's: once more, for this one's */
            return l2_fail_in(quantise_row(b, row), "row %" PRId64, b->first + row);
    return l2_writer_write(writer, b->blocks, (size_t)b->rows * b->row_bytes);
}

static llama2_status write_tensor(llama2_context *ctx, l2_writer *writer, const l2_gguf_entry *entry)
{
    llama2_status status;
    uint64_t size;
    band b = {.entry = entry};
    L2_TRY(l2_gguf_entry_size(entry, &size));
    int64_t unit = entry->head_dim ? entry->head_dim : 1, most = ELEMENTS_A_BAND / entry->columns / unit * unit;
    if (most < unit) most = unit;
    if (most > entry->rows) most = entry->rows;
    b.row_bytes = (size_t)(size / (uint64_t)entry->rows);
    L2_CHECK(l2_alloc(ctx, (size_t)(most * entry->columns), sizeof *b.numbers, &b.numbers));
    L2_CHECK(l2_alloc(ctx, (size_t)most, b.row_bytes, &b.blocks));
    L2_CHECK(l2_calloc(ctx, (size_t)most, sizeof *b.status, &b.status));
    for (b.first = 0; b.first < entry->rows; b.first += b.rows) {
        b.rows = entry->rows - b.first < most ? entry->rows - b.first : most;
        L2_CHECK(write_band(ctx, writer, &b));
    }
    L2_CHECK(align(writer));
done:
    l2_free(ctx, b.numbers);
    l2_free(ctx, b.blocks);
    l2_free(ctx, b.status);
    return status < 0 ? l2_fail_in(status, "tensor %s", entry->name) : status;
}

llama2_status l2_gguf_write(llama2_context *ctx, const char *path, const l2_gguf_metadata *metadata,
                            const l2_gguf_entry *entries, size_t n_entries)
{
    llama2_status status = metadata->text.status;
    l2_text header;
    l2_writer writer = {0};
    if (status < 0) return status;
    l2_text_begin(&header, ctx);
    L2_CHECK(make_header(metadata, entries, n_entries, &header));
    L2_CHECK(l2_writer_open(ctx, path, &writer));
    L2_CHECK(l2_writer_write(&writer, header.data, header.length));
    L2_CHECK(align(&writer));
    for (size_t i = 0; i < n_entries; i++) L2_CHECK(write_tensor(ctx, &writer, &entries[i]));
    L2_CHECK(l2_writer_commit(&writer));
done:
    l2_writer_abort(&writer);
    l2_text_free(&header);
    return status < 0 ? l2_fail_in(status, "%s", path) : status;
}
