/* Reading elements as numbers, and writing files. */
#include "base/alloc.h"
#include "base/json.h"
#include "format/bytes.h"
#include "format/safetensors.h"
#include "format/sort.h"
#include "math/ops.h"
#include <inttypes.h>
#include <string.h>

enum { PIECE = 16384 }; /* elements that are converted at a time */

static int is_float(int32_t dtype)
{
    return dtype >= LLAMA2_F32 && dtype <= LLAMA2_F16;
}

static llama2_status convert(llama2_context *ctx, int32_t from_dtype, void *from, int32_t to_dtype, void *to,
                             int64_t count)
{
    l2_tensor x = l2_tensor_1d(from_dtype, from, count), y = l2_tensor_1d(to_dtype, to, count);
    return l2_op_copy(ctx, &x, &y);
}

llama2_status l2_st_read(llama2_context *ctx, const l2_st_tensor *tensor, int64_t first, int64_t count, int32_t dtype,
                         void *out)
{
    llama2_status status = LLAMA2_OK;
    void *piece = NULL;
    if (!is_float(tensor->dtype))
        return l2_fail(LLAMA2_E_UNSUPPORTED, "tensor %s is %s; F32, BF16, F16 and F64 can be read", tensor->name,
                       l2_st_dtype_name(tensor->dtype));
    if (first < 0 || count < 0 || first > l2_st_count(tensor) - count)
        return l2_fail(LLAMA2_E_INVALID, "tensor %s has %" PRId64 " elements: none at [%" PRId64 ", +%" PRId64 ")",
                       tensor->name, l2_st_count(tensor), first, count);
    size_t size = l2_dtype_size(tensor->dtype);
    const unsigned char *data = tensor->data + (size_t)first * size;
    if (tensor->dtype == dtype) {
        if (count) memcpy(out, data, (size_t)count * size);
        return LLAMA2_OK;
    }
    L2_TRY(l2_alloc(ctx, PIECE, size, &piece)); /* aligned, as the file's bytes need not be */
    for (int64_t done = 0; done < count; done += PIECE) {
        int64_t n = count - done < PIECE ? count - done : PIECE;
        memcpy(piece, data + (size_t)done * size, (size_t)n * size);
        L2_CHECK(convert(ctx, tensor->dtype, piece, dtype, (char *)out + (size_t)done * l2_dtype_size(dtype), n));
    }
done:
    l2_free(ctx, piece);
    return status;
}

llama2_status l2_st_entry_size(const l2_st_entry *entry, uint64_t *out)
{
    if (!entry->name || !entry->name[0] || strcmp(entry->name, "__metadata__") == 0)
        return l2_fail(LLAMA2_E_INVALID, "a tensor needs a name, other than \"__metadata__\"");
    if (!is_float(entry->dtype) || !is_float(entry->source))
        return l2_fail(LLAMA2_E_INVALID, "tensor %s: dtype %d from %d; LLAMA2_F32, _F64, _BF16 and _F16 can be written",
                       entry->name, (int)entry->dtype, (int)entry->source);
    if (entry->n_dims < 0 || entry->n_dims > L2_ST_MAX_DIMS)
        return l2_fail(LLAMA2_E_INVALID, "tensor %s: %d dimensions, at most %d", entry->name, (int)entry->n_dims,
                       L2_ST_MAX_DIMS);
    uint64_t bytes = l2_dtype_size(entry->dtype);
    for (int32_t i = 0; i < entry->n_dims; i++) {
        if (entry->shape[i] <= 0 || bytes > (uint64_t)INT64_MAX / 8 / (uint64_t)entry->shape[i])
            return l2_fail(LLAMA2_E_INVALID, "tensor %s: dimension %d is %" PRId64, entry->name, (int)i,
                           entry->shape[i]);
        bytes *= (uint64_t)entry->shape[i];
    }
    if (!entry->data && !entry->fill)
        return l2_fail(LLAMA2_E_INVALID, "tensor %s has neither data nor fill", entry->name);
    *out = bytes;
    return LLAMA2_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static llama2_status check_unique(llama2_context *ctx, const l2_st_entry *entries, size_t n)
{
    const char **names;
    llama2_status status = LLAMA2_OK;
    L2_TRY(l2_alloc(ctx, n, sizeof *names, &names));
    for (size_t i = 0; i < n; i++) names[i] = entries[i].name;
    l2_sort(names, n, sizeof *names, by_text);
    for (size_t i = 1; i < n && status == LLAMA2_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = l2_fail(LLAMA2_E_INVALID, "tensor %s is to be written twice", names[i]);
    l2_free(ctx, names);
    return status;
}

static llama2_status make_header(llama2_context *ctx, const l2_st_entry *entries, size_t n, l2_text *text)
{
    uint64_t offset = 0;
    l2_text_begin(text, ctx);
    l2_text_format(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++) {
        uint64_t size;
        const l2_st_entry *entry = &entries[i];
        L2_TRY(l2_st_entry_size(entry, &size));
        l2_text_add(text, ",", 1);
        l2_text_json_string(text, entry->name, strlen(entry->name));
        l2_text_format(text, ":{\"dtype\":\"%s\",\"shape\":[", l2_st_dtype_name(entry->dtype));
        for (int32_t d = 0; d < entry->n_dims; d++) l2_text_format(text, "%s%" PRId64, d ? "," : "", entry->shape[d]);
        if (size > INT64_MAX - offset)
            return l2_fail(LLAMA2_E_INVALID, "the tensors up to %s exceed 2^63 bytes", entry->name);
        l2_text_format(text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset, offset + size);
        offset += size;
    }
    l2_text_add(text, "}", 1);
    while (text->status == LLAMA2_OK && text->length % 8) l2_text_add(text, " ", 1);
    if (text->status == LLAMA2_OK && text->length > L2_ST_MAX_HEADER)
        return l2_fail(LLAMA2_E_LIMIT, "the header takes %zu bytes, at most %d are allowed", text->length,
                       L2_ST_MAX_HEADER);
    return text->status;
}

/* `pieces` holds 2 * PIECE elements of 8 bytes: the source's, and those converted. */
static llama2_status write_tensor(llama2_context *ctx, l2_writer *writer, const l2_st_entry *entry,
                                  unsigned char *pieces)
{
    size_t size = l2_dtype_size(entry->source);
    uint64_t bytes;
    L2_TRY(l2_st_entry_size(entry, &bytes));
    int64_t count = (int64_t)(bytes / l2_dtype_size(entry->dtype));
    unsigned char *converted = pieces + PIECE * sizeof(double);
    for (int64_t first = 0; first < count; first += PIECE) {
        int64_t n = count - first < PIECE ? count - first : PIECE;
        const void *piece = pieces;
        if (entry->data && entry->source == entry->dtype)
            piece = (const char *)entry->data + (size_t)first * size;
        else if (entry->data)
            memcpy(pieces, (const char *)entry->data + (size_t)first * size, (size_t)n * size);
        else
            L2_TRY(entry->fill(entry->user, first, n, pieces));
        if (entry->source != entry->dtype) {
            L2_TRY(convert(ctx, entry->source, pieces, entry->dtype, converted, n));
            piece = converted;
        }
        L2_TRY(l2_writer_write(writer, piece, (size_t)n * l2_dtype_size(entry->dtype)));
    }
    return LLAMA2_OK;
}

llama2_status l2_safetensors_write(llama2_context *ctx, const char *path, const l2_st_entry *entries, size_t n_entries,
                                   l2_writer *described_by)
{
    llama2_status status;
    l2_text header = {0};
    l2_writer writer = {0};
    unsigned char *pieces = NULL, length[8];
    L2_CHECK(make_header(ctx, entries, n_entries, &header));
    L2_CHECK(check_unique(ctx, entries, n_entries));
    L2_CHECK(l2_alloc(ctx, 2 * PIECE, sizeof(double), &pieces));
    L2_CHECK(l2_writer_open(ctx, path, &writer));
    l2_put_u64(length, header.length);
    L2_CHECK(l2_writer_write(&writer, length, sizeof length));
    L2_CHECK(l2_writer_write(&writer, header.data, header.length));
    for (size_t i = 0; i < n_entries; i++) {
        status = write_tensor(ctx, &writer, &entries[i], pieces);
        if (status < 0) {
            l2_fail_in(status, "%s: tensor %s", path, entries[i].name);
            goto done;
        }
    }
    status = l2_writer_commit_before(&writer, described_by);
done:
    l2_writer_abort(&writer);
    l2_free(ctx, pieces);
    if (header.ctx) l2_text_free(&header);
    return status;
}
