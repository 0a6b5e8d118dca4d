#include "format/safetensors.h"
#include "base/alloc.h"
#include "base/context.h"
#include "base/json.h"
#include "format/bytes.h"
#include "format/sort.h"
#include "math/tensor.h"
#include <inttypes.h>
#include <string.h>

static const struct dtype {
    const char *name;
    int32_t dtype;
    uint32_t size;
} dtypes[] = {
    {"F32", LLAMA2_F32, 4},        {"BF16", LLAMA2_BF16, 2},      {"F16", LLAMA2_F16, 2},
    {"F64", LLAMA2_F64, 8},        {"BOOL", L2_ST_BOOL, 1},       {"U8", L2_ST_U8, 1},
    {"I8", L2_ST_I8, 1},           {"I16", L2_ST_I16, 2},         {"U16", L2_ST_U16, 2},
    {"I32", L2_ST_I32, 4},         {"U32", L2_ST_U32, 4},         {"I64", L2_ST_I64, 8},
    {"U64", L2_ST_U64, 8},         {"F8_E4M3", L2_ST_F8_E4M3, 1}, {"F8_E5M2", L2_ST_F8_E5M2, 1},
    {"F8_E8M0", L2_ST_F8_E8M0, 1}, {"C64", L2_ST_C64, 8},
};

static const struct dtype *find_dtype(int32_t dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == dtype) return &dtypes[i];
    return NULL;
}

const char *l2_st_dtype_name(int32_t dtype)
{
    const struct dtype *found = find_dtype(dtype);
    return found ? found->name : NULL;
}

size_t l2_st_dtype_size(int32_t dtype)
{
    const struct dtype *found = find_dtype(dtype);
    return found ? found->size : 0;
}

int64_t l2_st_count(const l2_st_tensor *tensor)
{
    int64_t count = tensor->size > 0; /* else a dimension is 0, and the product of the others anything */
    for (int32_t i = 0; i < tensor->n_dims && count; i++) count *= tensor->shape[i];
    return count;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const l2_st_tensor *)a)->name, ((const l2_st_tensor *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const l2_st_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

static int name_to_tensor(const void *key, const void *element)
{
    return strcmp(key, ((const l2_st_tensor *)element)->name);
}

const l2_st_tensor *l2_safetensors_find(const l2_safetensors *file, const char *name)
{
    return l2_search(name, file->tensors, file->n_tensors, sizeof *file->tensors, name_to_tensor);
}

/* --- the header ------------------------------------------------------------------------------ */

static llama2_status read_dtype(l2_json *json, const char *name, int32_t *out)
{
    l2_json_string text;
    L2_TRY(l2_json_read_string(json, &text));
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (!l2_json_equal(&text, dtypes[i].name)) continue;
        *out = dtypes[i].dtype;
        return LLAMA2_OK;
    }
    return l2_fail(LLAMA2_E_UNSUPPORTED, "tensor %s: unknown dtype \"%.*s\"; F32, BF16 and F16 are supported", name,
                   text.length > 32 ? 32 : (int)text.length, text.text);
}

static llama2_status read_shape(l2_json *json, l2_st_tensor *tensor)
{
    int more;
    tensor->n_dims = 0;
    L2_TRY(l2_json_enter(json, L2_JSON_ARRAY));
    for (;;) {
        int64_t extent;
        L2_TRY(l2_json_next_element(json, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(l2_json_read_int(json, &extent));
        if (extent < 0)
            return l2_fail(LLAMA2_E_FORMAT, "tensor %s: dimension %" PRId64 " is negative", tensor->name, extent);
        if (tensor->n_dims == L2_ST_MAX_DIMS)
            return l2_fail(LLAMA2_E_LIMIT, "tensor %s has more than %d dimensions", tensor->name, L2_ST_MAX_DIMS);
        tensor->shape[tensor->n_dims++] = extent;
    }
}

static llama2_status read_offsets(l2_json *json, const char *name, int64_t offsets[2])
{
    int more, n = 0;
    L2_TRY(l2_json_enter(json, L2_JSON_ARRAY));
    for (;;) {
        int64_t value;
        L2_TRY(l2_json_next_element(json, &more));
        if (!more) break;
        L2_TRY(l2_json_read_int(json, &value));
        if (n == 2) return l2_fail(LLAMA2_E_FORMAT, "tensor %s: data_offsets has more than two values", name);
        offsets[n++] = value;
    }
    if (n != 2) return l2_fail(LLAMA2_E_FORMAT, "tensor %s: data_offsets has %d values instead of two", name, n);
    if (offsets[0] < 0 || offsets[1] < offsets[0])
        return l2_fail(LLAMA2_E_FORMAT, "tensor %s: data_offsets [%" PRId64 ", %" PRId64 "] is no range", name,
                       offsets[0], offsets[1]);
    return LLAMA2_OK;
}

/* Does the shape fill the range exactly? Products are checked before they can wrap. */
static llama2_status check_size(const l2_st_tensor *tensor)
{
    uint64_t bytes = l2_st_dtype_size(tensor->dtype);
    for (int32_t i = 0; i < tensor->n_dims; i++)
        if (tensor->shape[i] == 0) bytes = 0;
    for (int32_t i = 0; i < tensor->n_dims && bytes; i++) {
        if (bytes > INT64_MAX / (uint64_t)tensor->shape[i])
            return l2_fail(LLAMA2_E_FORMAT, "tensor %s: the product of its dimensions exceeds 2^63 bytes",
                           tensor->name);
        bytes *= (uint64_t)tensor->shape[i];
    }
    if (bytes != tensor->size)
        return l2_fail(LLAMA2_E_FORMAT, "tensor %s: its shape takes %" PRIu64 " bytes, its data_offsets span %" PRIu64,
                       tensor->name, bytes, tensor->size);
    return LLAMA2_OK;
}

static llama2_status read_tensor(l2_json *json, const unsigned char *data, uint64_t size, l2_st_tensor *tensor)
{
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };
    int more, seen = 0;
    int64_t offsets[2] = {0, 0};
    L2_TRY(l2_json_enter(json, L2_JSON_OBJECT));
    for (;;) {
        l2_json_string key;
        L2_TRY(l2_json_next_member(json, &key, &more));
        if (!more) break;
        int field = l2_json_equal(&key, "dtype")          ? DTYPE
                    : l2_json_equal(&key, "shape")        ? SHAPE
                    : l2_json_equal(&key, "data_offsets") ? OFFSETS
                                                          : 0;
        if (field == 0 || (seen & field))
            return l2_fail(LLAMA2_E_FORMAT, "tensor %s: %s key \"%.*s\" at header byte %zu", tensor->name,
                           field ? "repeated" : "unknown", key.length > 32 ? 32 : (int)key.length, key.text, json->at);
        seen |= field;
        if (field == DTYPE)
            L2_TRY(read_dtype(json, tensor->name, &tensor->dtype));
        else if (field == SHAPE)
            L2_TRY(read_shape(json, tensor));
        else
            L2_TRY(read_offsets(json, tensor->name, offsets));
    }
    if (seen != (DTYPE | SHAPE | OFFSETS))
        return l2_fail(LLAMA2_E_FORMAT, "tensor %s lacks \"%s\"", tensor->name,
                       !(seen & DTYPE)   ? "dtype"
                       : !(seen & SHAPE) ? "shape"
                                         : "data_offsets");
    if ((uint64_t)offsets[1] > size)
        return l2_fail(LLAMA2_E_TRUNCATED,
                       "tensor %s ends at byte %" PRId64 " of the data, of which there are %" PRIu64, tensor->name,
                       offsets[1], size);
    tensor->data = data + offsets[0];
    tensor->size = (uint64_t)(offsets[1] - offsets[0]);
    return check_size(tensor);
}

/* {"key": "text", ...} */
static llama2_status skip_metadata(l2_json *json)
{
    int more;
    l2_json_string text;
    L2_TRY(l2_json_enter(json, L2_JSON_OBJECT));
    for (;;) {
        L2_TRY(l2_json_next_member(json, &text, &more));
        if (!more) return LLAMA2_OK;
        L2_TRY(l2_json_read_string(json, &text));
    }
}

/* Number of tensors and bytes of their names, so that memory is what the header really needs. */
static llama2_status count_tensors(const char *header, size_t length, size_t *n_tensors, size_t *names_size)
{
    l2_json json;
    int more, metadata = 0;
    l2_json_begin(&json, header, length);
    L2_TRY(l2_json_enter(&json, L2_JSON_OBJECT));
    for (;;) {
        l2_json_string key;
        L2_TRY(l2_json_next_member(&json, &key, &more));
        if (!more) break;
        if (l2_json_equal(&key, "__metadata__")) {
            if (metadata++) return l2_fail(LLAMA2_E_FORMAT, "\"__metadata__\" stands twice in the header");
            L2_TRY(skip_metadata(&json));
        } else {
            *n_tensors += 1;
            *names_size += key.length + 1; /* resolving escapes never makes a text longer */
            L2_TRY(l2_json_skip(&json));
        }
    }
    return l2_json_end(&json);
}

static llama2_status read_header(l2_safetensors *file, const char *header, size_t length, const unsigned char *data,
                                 uint64_t size)
{
    l2_json json;
    int more;
    char *name = file->names;
    size_t n = 0;
    l2_json_begin(&json, header, length);
    L2_TRY(l2_json_enter(&json, L2_JSON_OBJECT));
    for (;;) {
        l2_json_string key;
        L2_TRY(l2_json_next_member(&json, &key, &more));
        if (!more) return LLAMA2_OK;
        if (l2_json_equal(&key, "__metadata__")) {
            L2_TRY(l2_json_skip(&json));
            continue;
        }
        size_t name_length;
        L2_TRY(l2_json_unescape(&key, name, key.length, &name_length));
        name[name_length] = 0;
        if (strlen(name) != name_length)
            return l2_fail(LLAMA2_E_FORMAT, "the tensor name \"%s\" has a NUL after it", name);
        l2_st_tensor *tensor = &file->tensors[n++];
        memset(tensor, 0, sizeof *tensor);
        tensor->name = name;
        name += name_length + 1;
        L2_TRY(read_tensor(&json, data, size, tensor));
    }
}

/* The tensors must tile the data without hole or overlap, in any order. */
static llama2_status check_places(l2_safetensors *file, const unsigned char *data, uint64_t size)
{
    const unsigned char *end = data;
    l2_sort(file->tensors, file->n_tensors, sizeof *file->tensors, by_place);
    for (size_t i = 0; i < file->n_tensors; i++) {
        const l2_st_tensor *tensor = &file->tensors[i];
        if (tensor->data != end)
            return l2_fail(
                LLAMA2_E_FORMAT, "tensor %s begins at byte %td of the data, %s the end of the one before it at %td",
                tensor->name, tensor->data - data, tensor->data < end ? "before" : "a hole after", end - data);
        end += tensor->size;
    }
    if (end != data + size)
        return l2_fail(LLAMA2_E_FORMAT, "%td bytes follow the last tensor, which ends at byte %td of the data",
                       data + size - end, end - data);
    return LLAMA2_OK;
}

static llama2_status check_names(l2_safetensors *file)
{
    l2_sort(file->tensors, file->n_tensors, sizeof *file->tensors, by_name);
    for (size_t i = 1; i < file->n_tensors; i++)
        if (by_name(&file->tensors[i - 1], &file->tensors[i]) == 0)
            return l2_fail(LLAMA2_E_FORMAT, "tensor %s stands twice in the header", file->tensors[i].name);
    return LLAMA2_OK;
}

static llama2_status parse(void *format, const unsigned char *bytes, size_t size)
{
    l2_safetensors *file = format;
    size_t names_size = 0;
    if (size < 8)
        return l2_fail(LLAMA2_E_TRUNCATED, "%zu bytes are no safetensors file, which begins with 8 bytes of length",
                       size);
    uint64_t length = l2_get_u64(bytes);
    if (length > L2_ST_MAX_HEADER)
        return l2_fail(LLAMA2_E_LIMIT, "the header claims %" PRIu64 " bytes, at most %d are allowed", length,
                       L2_ST_MAX_HEADER);
    if (length > size - 8)
        return l2_fail(LLAMA2_E_TRUNCATED, "the header claims %" PRIu64 " bytes, %zu follow", length, size - 8);
    const char *header = (const char *)bytes + 8;
    if (length == 0 || header[0] != '{')
        return l2_fail(LLAMA2_E_FORMAT, "the header does not begin with '{' at byte 8");
    L2_TRY(count_tensors(header, (size_t)length, &file->n_tensors, &names_size));
    L2_TRY(l2_alloc(file->ctx, names_size, 1, &file->names));
    /* Of more members than this one among the first is no tensor, and reading ends there. */
    static const char shortest[] = "\"\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,0]}";
    size_t most = (size_t)length / (sizeof shortest - 1) + 1;
    L2_TRY(l2_alloc(file->ctx, file->n_tensors < most ? file->n_tensors : most, sizeof *file->tensors, &file->tensors));
    const unsigned char *data = bytes + 8 + length;
    uint64_t data_size = size - 8 - length;
    L2_TRY(read_header(file, header, (size_t)length, data, data_size));
    L2_TRY(check_places(file, data, data_size));
    return check_names(file);
}

llama2_status l2_safetensors_parse(llama2_context *ctx, const void *data, size_t size, l2_safetensors *out)
{
    memset(out, 0, sizeof *out);
    out->ctx = ctx;
    llama2_status status = parse(out, data, size);
    if (status < 0) l2_safetensors_close(out);
    return status;
}

llama2_status l2_safetensors_open(llama2_context *ctx, const char *path, int in_memory, l2_safetensors *out)
{
    *out = (l2_safetensors){.ctx = ctx};
    llama2_status status = l2_file_parse(ctx, path, in_memory, &out->view, parse, out);
    if (status < 0) l2_safetensors_close(out);
    return status;
}

void l2_safetensors_close(l2_safetensors *file)
{
    if (!file->ctx) return;
    l2_free(file->ctx, file->tensors);
    l2_free(file->ctx, file->names);
    if (file->view.data) l2_file_release(file->ctx, &file->view);
    memset(file, 0, sizeof *file);
}
