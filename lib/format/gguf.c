#include "format/gguf.h"
#include "base/alloc.h"
#include "base/context.h"
#include "base/utf8.h"
#include "format/bytes.h"
#include "format/sort.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char magic[4] = {'G', 'G', 'U', 'F'};
enum { HEADER = 24, DEFAULT_ALIGNMENT = 32, QUOTED = 64 };

/* The least that one of them takes in the file: lengths and types, a key of one byte, a value of one. */
enum { LEAST_VALUE = 8 + 1 + 4 + 1, LEAST_TENSOR = 8 + 1 + 4 + 4 + 8 };

/* Bytes of a scalar, in the order of L2_GGUF_*; 0: of no fixed size. */
static const struct value_type {
    const char *name;
    uint32_t size;
} value_types[] = {
    {"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8},
};
enum { N_VALUE_TYPES = sizeof value_types / sizeof *value_types };

/* Blocks of ggml's types: a block of `elements` takes `bytes`. */
static const struct tensor_type {
    const char *name;
    int32_t type;
    uint16_t elements, bytes;
} tensor_types[] = {
    {"F32", L2_GGML_F32, 1, 4},
    {"F16", L2_GGML_F16, 1, 2},
    {"BF16", L2_GGML_BF16, 1, 2},
    {"Q4_0", L2_GGML_Q4_0, 32, 2 + 16},
    {"Q4_1", L2_GGML_Q4_1, 32, 4 + 16},
    {"Q5_0", L2_GGML_Q5_0, 32, 2 + 4 + 16},
    {"Q5_1", L2_GGML_Q5_1, 32, 4 + 4 + 16},
    {"Q8_0", L2_GGML_Q8_0, 32, 2 + 32},
    {"Q2_K", L2_GGML_Q2_K, 256, 16 + 64 + 4},
    {"Q3_K", L2_GGML_Q3_K, 256, 32 + 64 + 12 + 2},
    {"Q4_K", L2_GGML_Q4_K, 256, 4 + 12 + 128},
    {"Q5_K", L2_GGML_Q5_K, 256, 4 + 12 + 32 + 128},
    {"Q6_K", L2_GGML_Q6_K, 256, 128 + 64 + 16 + 2},
    {"IQ4_NL", L2_GGML_IQ4_NL, 32, 2 + 16},
    {"Q8_1", 9, 32, 4 + 32},
    {"Q8_K", 15, 256, 4 + 256 + 32},
    {"IQ2_XXS", 16, 256, 66},
    {"IQ2_XS", 17, 256, 74},
    {"IQ3_XXS", 18, 256, 98},
    {"IQ1_S", 19, 256, 50},
    {"IQ3_S", 21, 256, 110},
    {"IQ2_S", 22, 256, 82},
    {"IQ4_XS", 23, 256, 136},
    {"I8", 24, 1, 1},
    {"I16", 25, 1, 2},
    {"I32", 26, 1, 4},
    {"I64", 27, 1, 8},
    {"F64", L2_GGML_F64, 1, 8},
    {"IQ1_M", 29, 256, 56},
    {"TQ1_0", 34, 256, 54},
    {"TQ2_0", 35, 256, 66},
    {"MXFP4", 39, 32, 17},
};

const char *l2_ggml_type(int32_t type, uint32_t *elements, uint32_t *bytes)
{
    for (size_t i = 0; i < sizeof tensor_types / sizeof *tensor_types; i++) {
        if (tensor_types[i].type != type) continue;
        if (elements) *elements = tensor_types[i].elements;
        if (bytes) *bytes = tensor_types[i].bytes;
        return tensor_types[i].name;
    }
    return NULL;
}

/* --- bytes ----------------------------------------------------------------------------------- */

typedef struct reader {
    const unsigned char *bytes;
    size_t size, at;
} reader;

/* `count` things of `each` bytes must follow; the product can't wrap. */
static llama2_status need(const reader *r, uint64_t count, uint64_t each, const char *what)
{
    if (count <= (r->size - r->at) / each) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_TRUNCATED,
                   "byte %zu: %" PRIu64 " %s of at least %" PRIu64 " bytes each should follow, %zu bytes do", r->at,
                   count, what, each, r->size - r->at);
}

static llama2_status read_u32(reader *r, uint32_t *out)
{
    L2_TRY(need(r, 1, 4, "number"));
    *out = l2_get_u32(r->bytes + r->at);
    r->at += 4;
    return LLAMA2_OK;
}

static llama2_status read_u64(reader *r, uint64_t *out)
{
    L2_TRY(need(r, 1, 8, "number"));
    *out = l2_get_u64(r->bytes + r->at);
    r->at += 8;
    return LLAMA2_OK;
}

static llama2_status read_text(reader *r, const unsigned char **text, uint64_t *length)
{
    L2_TRY(read_u64(r, length));
    if (*length > r->size - r->at)
        return l2_fail(LLAMA2_E_TRUNCATED, "byte %zu: a string of %" PRIu64 " bytes should follow, %zu bytes do", r->at,
                       *length, r->size - r->at);
    *text = r->bytes + r->at;
    r->at += (size_t)*length;
    return LLAMA2_OK;
}

/* A key or the name of a tensor. */
static llama2_status read_name(reader *r, const char *what, uint32_t limit, const char **name, uint32_t *name_length)
{
    const unsigned char *text = NULL;
    uint64_t length = 0;
    size_t begin = r->at;
    L2_TRY(read_text(r, &text, &length));
    if (length > limit)
        return l2_fail(LLAMA2_E_LIMIT, "byte %zu: %s of %" PRIu64 " bytes, at most %" PRIu32 " are allowed", begin,
                       what, length, limit);
    *name = (const char *)text;
    *name_length = (uint32_t)length;
    if (length == 0) return l2_fail(LLAMA2_E_FORMAT, "byte %zu: %s is empty", begin, what);
    if (memchr(text, 0, *name_length) || l2_utf8_valid_prefix(*name, *name_length) != *name_length)
        return l2_fail(LLAMA2_E_FORMAT, "byte %zu: %s \"%.*s\" is no UTF-8 text without NUL", begin, what,
                       *name_length > QUOTED ? QUOTED : (int)*name_length, *name);
    return LLAMA2_OK;
}

/* --- metadata -------------------------------------------------------------------------------- */

/* How messages name a key. */
#define KEY(value) (value)->key_length > QUOTED ? QUOTED : (int)(value)->key_length, (value)->key

static int by_key(const void *a, const void *b)
{
    const l2_gguf_value *x = a, *y = b;
    return l2_compare_text(x->key, x->key_length, y->key, y->key_length);
}

static int key_to_value(const void *key, const void *element)
{
    const l2_gguf_value *value = element;
    return l2_compare_text(key, strlen(key), value->key, value->key_length);
}

static llama2_status check_bools(const reader *r, const l2_gguf_value *value)
{
    for (uint64_t i = 0; i < value->count; i++)
        if (value->data[i] > 1)
            return l2_fail(LLAMA2_E_FORMAT, "byte %zu: a bool is %d, expected 0 or 1",
                           (size_t)(value->data - r->bytes) + (size_t)i, value->data[i]);
    return LLAMA2_OK;
}

/* `count` values of a type that is no array. */
static llama2_status read_elements(reader *r, int32_t type, l2_gguf_value *value)
{
    uint32_t size = value_types[type].size;
    L2_TRY(need(r, value->count, size ? size : 8, "elements"));
    value->data = r->bytes + r->at;
    if (size) {
        r->at += (size_t)value->count * size;
        return type == L2_GGUF_BOOL ? check_bools(r, value) : LLAMA2_OK;
    }
    for (uint64_t i = 0; i < value->count; i++) {
        const unsigned char *text;
        uint64_t length;
        L2_TRY(read_text(r, &text, &length));
    }
    return LLAMA2_OK;
}

static llama2_status read_type(reader *r, int32_t *type)
{
    uint32_t number;
    L2_TRY(read_u32(r, &number));
    if (number >= N_VALUE_TYPES)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: value type %" PRIu32 " is unknown, 0 .. %d are known",
                       r->at - 4, number, N_VALUE_TYPES - 1);
    *type = (int32_t)number;
    return LLAMA2_OK;
}

static llama2_status read_value(reader *r, l2_gguf_value *value)
{
    L2_TRY(read_type(r, &value->type));
    value->element = -1;
    value->count = 1;
    if (value->type == L2_GGUF_STRING) return read_text(r, &value->data, &value->count);
    if (value->type != L2_GGUF_ARRAY) return read_elements(r, value->type, value);
    L2_TRY(read_type(r, &value->element));
    if (value->element == L2_GGUF_ARRAY)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: an array of arrays", r->at - 4);
    L2_TRY(read_u64(r, &value->count));
    return read_elements(r, value->element, value);
}

static llama2_status read_values(l2_gguf *file, reader *r, uint64_t n)
{
    L2_TRY(need(r, n, LEAST_VALUE, "keys"));
    L2_TRY(l2_calloc(file->ctx, (size_t)n, sizeof *file->values, &file->values));
    file->n_values = (size_t)n;
    for (size_t i = 0; i < file->n_values; i++) {
        l2_gguf_value *value = &file->values[i];
        L2_TRY(read_name(r, "the key", L2_GGUF_MAX_KEY, &value->key, &value->key_length));
        llama2_status status = read_value(r, value);
        if (status < 0) return l2_fail_in(status, "key %.*s", KEY(value));
    }
    l2_sort(file->values, file->n_values, sizeof *file->values, by_key);
    for (size_t i = 1; i < file->n_values; i++)
        if (by_key(&file->values[i - 1], &file->values[i]) == 0)
            return l2_fail(LLAMA2_E_FORMAT, "key %.*s stands twice", KEY(&file->values[i]));
    return LLAMA2_OK;
}

const l2_gguf_value *l2_gguf_find(const l2_gguf *file, const char *key)
{
    return l2_search(key, file->values, file->n_values, sizeof *file->values, key_to_value);
}

llama2_status l2_gguf_require(const l2_gguf *file, const char *key, const l2_gguf_value **out)
{
    *out = l2_gguf_find(file, key);
    return *out ? LLAMA2_OK : l2_fail(LLAMA2_E_FORMAT, "lacks the key %s", key);
}

static llama2_status wrong_type(const l2_gguf_value *value, const char *expected)
{
    const char *of = value->type == L2_GGUF_ARRAY ? " of " : "";
    return l2_fail(LLAMA2_E_FORMAT, "key %.*s is %s%s%s, expected %s", KEY(value), value_types[value->type].name, of,
                   *of ? value_types[value->element].name : "", expected);
}

const char *l2_gguf_value_type(int32_t type)
{
    return value_types[type].name;
}

size_t l2_gguf_value_size(int32_t type, const unsigned char *data)
{
    return type == L2_GGUF_STRING ? 8 + (size_t)l2_get_u64(data) : value_types[type].size;
}

llama2_status l2_gguf_int(const l2_gguf_value *value, int64_t *out)
{
    const unsigned char *p = value->data;
    switch (value->type) {
    case L2_GGUF_U8: *out = p[0]; break;
    case L2_GGUF_I8: *out = (int8_t)p[0]; break;
    case L2_GGUF_U16: *out = p[0] | p[1] << 8; break;
    case L2_GGUF_I16: *out = (int16_t)(p[0] | p[1] << 8); break;
    case L2_GGUF_U32: *out = l2_get_u32(p); break;
    case L2_GGUF_I32: *out = (int32_t)l2_get_u32(p); break;
    case L2_GGUF_I64: *out = (int64_t)l2_get_u64(p); break;
    case L2_GGUF_U64:
        if (l2_get_u64(p) > INT64_MAX)
            return l2_fail(LLAMA2_E_FORMAT, "key %.*s is %" PRIu64 ", above 2^63 - 1", KEY(value), l2_get_u64(p));
        *out = (int64_t)l2_get_u64(p);
        break;
    default: return wrong_type(value, "an integer");
    }
    return LLAMA2_OK;
}

static float get_f32(const unsigned char *p)
{
    float x;
    memcpy(&x, p, sizeof x);
    return x;
}

llama2_status l2_gguf_double(const l2_gguf_value *value, double *out)
{
    if (value->type == L2_GGUF_F32)
        *out = (double)get_f32(value->data);
    else if (value->type == L2_GGUF_F64)
        memcpy(out, value->data, sizeof *out);
    else
        return wrong_type(value, "f32 or f64");
    return LLAMA2_OK;
}

llama2_status l2_gguf_bool(const l2_gguf_value *value, int *out)
{
    if (value->type != L2_GGUF_BOOL) return wrong_type(value, "bool");
    *out = value->data[0];
    return LLAMA2_OK;
}

llama2_status l2_gguf_string(const l2_gguf_value *value, const char **text, size_t *length)
{
    if (value->type != L2_GGUF_STRING) return wrong_type(value, "string");
    *text = (const char *)value->data;
    *length = (size_t)value->count;
    return LLAMA2_OK;
}

int l2_gguf_string_is(const l2_gguf_value *value, const char *text)
{
    return value->type == L2_GGUF_STRING && value->count == strlen(text) &&
           memcmp(value->data, text, (size_t)value->count) == 0;
}

llama2_status l2_gguf_strings(const l2_gguf_value *value, l2_gguf_cursor *out)
{
    if (value->element != L2_GGUF_STRING) return wrong_type(value, "array of string");
    *out = (l2_gguf_cursor){value->data, value->count};
    return LLAMA2_OK;
}

int l2_gguf_next(l2_gguf_cursor *cursor, const char **text, size_t *length)
{
    if (cursor->left == 0) return 0;
    *length = (size_t)l2_get_u64(cursor->at);
    *text = (const char *)cursor->at + 8;
    cursor->at += 8 + *length;
    cursor->left--;
    return 1;
}

llama2_status l2_gguf_floats(const l2_gguf_value *value, float *out)
{
    if (value->element != L2_GGUF_F32) return wrong_type(value, "array of f32");
    memcpy(out, value->data, (size_t)value->count * sizeof *out);
    return LLAMA2_OK;
}

llama2_status l2_gguf_int32s(const l2_gguf_value *value, int32_t *out)
{
    if (value->element != L2_GGUF_I32 && value->element != L2_GGUF_U32) return wrong_type(value, "array of i32 or u32");
    for (uint64_t i = 0; i < value->count; i++) {
        uint32_t x = l2_get_u32(value->data + 4 * i);
        if (x > INT32_MAX && value->element == L2_GGUF_U32)
            return l2_fail(LLAMA2_E_FORMAT, "key %.*s: element %" PRIu64 " is %" PRIu32 ", above 2^31 - 1", KEY(value),
                           i, x);
        out[i] = (int32_t)x;
    }
    return LLAMA2_OK;
}

/* --- tensors --------------------------------------------------------------------------------- */

#define NAME(tensor) (int)(tensor)->name_length, (tensor)->name

static int by_name(const void *a, const void *b)
{
    const l2_gguf_tensor *x = a, *y = b;
    return l2_compare_text(x->name, x->name_length, y->name, y->name_length);
}

static int by_place(const void *a, const void *b)
{
    const l2_gguf_tensor *x = a, *y = b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static int name_to_tensor(const void *name, const void *element)
{
    const l2_gguf_tensor *tensor = element;
    return l2_compare_text(name, strlen(name), tensor->name, tensor->name_length);
}

const l2_gguf_tensor *l2_gguf_find_tensor(const l2_gguf *file, const char *name)
{
    return l2_search(name, file->tensors, file->n_tensors, sizeof *file->tensors, name_to_tensor);
}

int64_t l2_gguf_count(const l2_gguf_tensor *tensor)
{
    int64_t count = 1;
    for (int32_t i = 0; i < tensor->n_dims; i++) count *= tensor->shape[i];
    return count;
}

static llama2_status read_shape(reader *r, l2_gguf_tensor *tensor)
{
    uint32_t n_dims;
    int64_t count = 1;
    L2_TRY(read_u32(r, &n_dims));
    if (n_dims > L2_GGUF_MAX_DIMS)
        return l2_fail(LLAMA2_E_LIMIT, "byte %zu: %" PRIu32 " dimensions, at most %d are supported", r->at - 4, n_dims,
                       L2_GGUF_MAX_DIMS);
    tensor->n_dims = (int32_t)n_dims;
    for (uint32_t i = n_dims; i-- > 0;) {
        uint64_t extent;
        L2_TRY(read_u64(r, &extent));
        if (extent < 1 || extent > INT64_MAX)
            return l2_fail(LLAMA2_E_FORMAT, "byte %zu: a dimension is %" PRId64, r->at - 8, (int64_t)extent);
        if ((uint64_t)count > INT64_MAX / extent)
            return l2_fail(LLAMA2_E_FORMAT, "byte %zu: the product of the dimensions exceeds 2^63", r->at - 8);
        tensor->shape[i] = (int64_t)extent;
        count *= (int64_t)extent;
    }
    return LLAMA2_OK;
}

static llama2_status read_tensor_type(reader *r, l2_gguf_tensor *tensor)
{
    uint32_t number, elements, bytes;
    L2_TRY(read_u32(r, &number));
    tensor->type = number > INT32_MAX ? -1 : (int32_t)number;
    const char *type = l2_ggml_type(tensor->type, &elements, &bytes);
    if (!type) return l2_fail(LLAMA2_E_UNSUPPORTED, "byte %zu: tensor type %" PRIu32 " is unknown", r->at - 4, number);
    int64_t row = tensor->n_dims ? tensor->shape[tensor->n_dims - 1] : 1;
    if (row % elements)
        return l2_fail(LLAMA2_E_FORMAT, "rows of %" PRId64 " are no multiple of the %" PRIu32 " of a block of %s", row,
                       elements, type);
    uint64_t blocks = (uint64_t)l2_gguf_count(tensor) / elements;
    if (blocks > INT64_MAX / bytes) return l2_fail(LLAMA2_E_FORMAT, "its size exceeds 2^63 bytes");
    tensor->size = blocks * bytes;
    return LLAMA2_OK;
}

/* The place within the data, whose begin is not known yet, comes back in *offset. */
static llama2_status read_tensor(reader *r, uint32_t alignment, l2_gguf_tensor *tensor, uint64_t *offset)
{
    L2_TRY(read_shape(r, tensor));
    L2_TRY(read_tensor_type(r, tensor));
    L2_TRY(read_u64(r, offset));
    if (*offset % alignment)
        return l2_fail(LLAMA2_E_FORMAT, "byte %zu: its offset %" PRIu64 " is no multiple of the alignment of %" PRIu32,
                       r->at - 8, *offset, alignment);
    /* An offset past the end of the file is past the end of the data; else it can be a pointer until that is known. */
    if (*offset > r->size || tensor->size > r->size - *offset)
        return l2_fail(LLAMA2_E_TRUNCATED, "its %" PRIu64 " bytes at offset %" PRIu64 " exceed the file of %zu bytes",
                       tensor->size, *offset, r->size);
    tensor->data = r->bytes + *offset;
    return LLAMA2_OK;
}

/* Moves the tensors from offsets to their places. */
static llama2_status place(l2_gguf *file, const reader *r, uint32_t alignment)
{
    uint64_t begin = ((uint64_t)r->at + alignment - 1) / alignment * alignment; /* sizes are far below 2^64 */
    const l2_gguf_tensor *before = NULL;
    l2_sort(file->tensors, file->n_tensors, sizeof *file->tensors, by_place);
    for (size_t i = 0; i < file->n_tensors; before = &file->tensors[i++]) {
        l2_gguf_tensor *tensor = &file->tensors[i];
        uint64_t at = (uint64_t)(tensor->data - r->bytes) + begin;
        if (at > r->size || tensor->size > r->size - at)
            return l2_fail(LLAMA2_E_TRUNCATED,
                           "tensor %.*s: its %" PRIu64 " bytes from byte %" PRIu64 " on exceed the file of %zu bytes",
                           NAME(tensor), tensor->size, at, r->size);
        tensor->data = r->bytes + at;
        if (before && tensor->data < before->data + before->size)
            return l2_fail(LLAMA2_E_FORMAT, "tensors %.*s and %.*s overlap at byte %" PRIu64, NAME(before),
                           NAME(tensor), at);
    }
    return LLAMA2_OK;
}

static llama2_status read_alignment(const l2_gguf *file, uint32_t *out)
{
    const l2_gguf_value *value = l2_gguf_find(file, "general.alignment");
    *out = DEFAULT_ALIGNMENT;
    if (!value) return LLAMA2_OK;
    if (value->type != L2_GGUF_U32) return wrong_type(value, "u32");
    *out = l2_get_u32(value->data);
    if (*out == 0 || (*out & (*out - 1)))
        return l2_fail(LLAMA2_E_FORMAT, "general.alignment is %" PRIu32 ", expected a power of two", *out);
    return LLAMA2_OK;
}

static llama2_status read_tensors(l2_gguf *file, reader *r, uint64_t n)
{
    uint32_t alignment;
    L2_TRY(read_alignment(file, &alignment));
    L2_TRY(need(r, n, LEAST_TENSOR, "tensor infos"));
    L2_TRY(l2_calloc(file->ctx, (size_t)n, sizeof *file->tensors, &file->tensors));
    file->n_tensors = (size_t)n;
    for (size_t i = 0; i < file->n_tensors; i++) {
        l2_gguf_tensor *tensor = &file->tensors[i];
        uint64_t offset;
        L2_TRY(read_name(r, "the name of a tensor", L2_GGUF_MAX_NAME, &tensor->name, &tensor->name_length));
        llama2_status status = read_tensor(r, alignment, tensor, &offset);
        if (status < 0) return l2_fail_in(status, "tensor %.*s", NAME(tensor));
    }
    L2_TRY(place(file, r, alignment));
    l2_sort(file->tensors, file->n_tensors, sizeof *file->tensors, by_name);
    for (size_t i = 1; i < file->n_tensors; i++)
        if (by_name(&file->tensors[i - 1], &file->tensors[i]) == 0)
            return l2_fail(LLAMA2_E_FORMAT, "tensor %.*s stands twice", NAME(&file->tensors[i]));
    return LLAMA2_OK;
}

/* --- the file -------------------------------------------------------------------------------- */

static llama2_status parse(void *format, const unsigned char *bytes, size_t size)
{
    l2_gguf *file = format;
    reader r = {bytes, size, sizeof magic};
    uint64_t n_tensors, n_values;
    if (size < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0) {
        if (size < sizeof magic && memcmp(bytes, magic, size) == 0)
            return l2_fail(LLAMA2_E_TRUNCATED, "%zu bytes are no GGUF file, whose header has %d", size, HEADER);
        return l2_fail(LLAMA2_E_FORMAT, "is no GGUF file: it does not begin with \"GGUF\"");
    }
    L2_TRY(read_u32(&r, &file->version));
    if (file->version != 2 && file->version != 3)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "byte 4: version %" PRIu32 "%s; versions 2 and 3, little-endian, are read",
                       file->version, file->version && !(file->version & 0xffffu) ? " (a big-endian file)" : "");
    L2_TRY(read_u64(&r, &n_tensors));
    L2_TRY(read_u64(&r, &n_values));
    L2_TRY(read_values(file, &r, n_values));
    return read_tensors(file, &r, n_tensors);
}

llama2_status l2_gguf_parse(llama2_context *ctx, const void *data, size_t size, l2_gguf *out)
{
    memset(out, 0, sizeof *out);
    out->ctx = ctx;
    llama2_status status = parse(out, data, size);
    if (status < 0) l2_gguf_close(out);
    return status;
}

llama2_status l2_gguf_open(llama2_context *ctx, const char *path, int in_memory, l2_gguf *out)
{
    *out = (l2_gguf){.ctx = ctx};
    llama2_status status = l2_file_parse(ctx, path, in_memory, &out->view, parse, out);
    if (status < 0) l2_gguf_close(out);
    return status;
}

void l2_gguf_close(l2_gguf *file)
{
    if (!file->ctx) return;
    l2_free(file->ctx, file->values);
    l2_free(file->ctx, file->tensors);
    if (file->view.data) l2_file_release(file->ctx, &file->view);
    memset(file, 0, sizeof *file);
}

llama2_status l2_gguf_recognise(llama2_context *ctx, const char *path, int *yes)
{
    char begin[sizeof magic];
    size_t done = 0;
    int failed = 0, fd;
    *yes = 0;
    if (l2_path_kind(path) != 1) return LLAMA2_OK;
    L2_TRY(l2_file_open(ctx, path, &fd, NULL));
    while (done < sizeof begin) {
        ssize_t n = ctx->files->read(fd, begin + done, sizeof begin - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            failed = n < 0 ? errno : 0;
            break;
        }
        done += (size_t)n;
    }
    ctx->files->close(fd);
    if (failed) return l2_fail(LLAMA2_E_IO, "%s: cannot read: %s", path, l2_strerror(failed));
    *yes = done == sizeof begin && memcmp(begin, magic, sizeof magic) == 0;
    return LLAMA2_OK;
}
