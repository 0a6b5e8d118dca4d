#include "gguf_file.h"
#include "format/quantised.h"
#include "format/safetensors.h"
#include <math.h>

static const uint64_t vector[] = {4}, matrix[] = {32, 2};

/* --- good files ------------------------------------------------------------------------------ */

/* One key of each kind, two tensors, one of them not at the alignment's first place. */
static gguf_file sample(uint32_t version)
{
    static const float scores[] = {0, -1.5f, 2};
    gguf_file f = {0};
    put_header(&f, 2, 18);
    l2_put_u32(f.bytes + 4, version);
    put_key(&f, "u8", L2_GGUF_U8), put_u8(&f, 200);
    put_key(&f, "i8", L2_GGUF_I8), put_u8(&f, 200);
    put_key(&f, "u16", L2_GGUF_U16), put(&f, "\xff\xfe", 2);
    put_key(&f, "i16", L2_GGUF_I16), put(&f, "\xff\xfe", 2);
    put_key_u32(&f, "u32", 0xfffffffe);
    put_key(&f, "i32", L2_GGUF_I32), put_u32(&f, 0xfffffffe);
    put_key(&f, "u64", L2_GGUF_U64), put_u64(&f, INT64_MAX);
    put_key(&f, "i64", L2_GGUF_I64), put_u64(&f, UINT64_MAX);
    put_key(&f, "huge", L2_GGUF_U64), put_u64(&f, UINT64_MAX);
    put_key_f32(&f, "f32", 0.1f);
    put_key(&f, "f64", L2_GGUF_F64), put(&f, &(double){0.1}, 8);
    put_key(&f, "yes", L2_GGUF_BOOL), put_u8(&f, 1);
    put_key_string(&f, "text", "llama");
    put_array(&f, "texts", L2_GGUF_STRING, 3), put_text(&f, "a"), put_text(&f, ""), put_text(&f, "\xe2\x96\x81");
    put_array(&f, "scores", L2_GGUF_F32, 3), put(&f, scores, sizeof scores);
    put_array(&f, "types", L2_GGUF_I32, 2), put_u32(&f, 7), put_u32(&f, UINT32_MAX);
    put_array(&f, "merges", L2_GGUF_U32, 2), put_u32(&f, 7), put_u32(&f, UINT32_MAX);
    put_key_u32(&f, "general.alignment", 64);
    put_tensor(&f, "w", 2, matrix, L2_GGML_Q8_0, 64);
    put_tensor(&f, "gain", 1, vector, L2_GGML_F32, 0);
    put_padding(&f, 64);
    put(&f, (const float[]){1, 2, 3, 4}, 16);
    put_padding(&f, 64);
    for (int row = 0; row < 2; row++) {
        put_u8(&f, 0), put_u8(&f, 0x38); /* 0.5 */
        for (int i = 0; i < 32; i++) put_u8(&f, (unsigned)(i - 16 + 100 * row));
    }
    return f;
}

static int64_t get_int(const l2_gguf *file, const char *key)
{
    int64_t value = 0;
    const l2_gguf_value *v;
    ck_ok(l2_gguf_require(file, key, &v));
    ck_ok(l2_gguf_int(v, &value));
    return value;
}

static void check_values(const l2_gguf *file)
{
    double number;
    int truth;
    const char *text;
    size_t length;
    ck_assert_int_eq(get_int(file, "u8"), 200);
    ck_assert_int_eq(get_int(file, "i8"), -56);
    ck_assert_int_eq(get_int(file, "u16"), 0xfeff);
    ck_assert_int_eq(get_int(file, "i16"), -257);
    ck_assert_int_eq(get_int(file, "u32"), 0xfffffffe);
    ck_assert_int_eq(get_int(file, "i32"), -2);
    ck_assert_int_eq(get_int(file, "u64"), INT64_MAX);
    ck_assert_int_eq(get_int(file, "i64"), -1);
    ck_ok(l2_gguf_double(l2_gguf_find(file, "f32"), &number));
    ck_assert(number == (double)0.1f);
    ck_ok(l2_gguf_double(l2_gguf_find(file, "f64"), &number));
    ck_assert(number == 0.1);
    ck_ok(l2_gguf_bool(l2_gguf_find(file, "yes"), &truth));
    ck_assert_int_eq(truth, 1);
    ck_ok(l2_gguf_string(l2_gguf_find(file, "text"), &text, &length));
    ck_assert(length == 5 && memcmp(text, "llama", 5) == 0);
    ck_assert(l2_gguf_string_is(l2_gguf_find(file, "text"), "llama"));
    ck_assert(!l2_gguf_string_is(l2_gguf_find(file, "text"), "llam"));
    ck_assert(!l2_gguf_string_is(l2_gguf_find(file, "u8"), "l"));
}

static void check_arrays(const l2_gguf *file)
{
    l2_gguf_cursor strings;
    const char *text;
    size_t length;
    float scores[3];
    int32_t types[2];
    static const size_t lengths[] = {1, 0, 3};
    ck_ok(l2_gguf_strings(l2_gguf_find(file, "texts"), &strings));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(l2_gguf_next(&strings, &text, &length), 1);
        ck_assert_uint_eq(length, lengths[i]);
        if (i == 2) ck_assert_mem_eq(text, "\xe2\x96\x81", 3);
    }
    ck_assert_int_eq(l2_gguf_next(&strings, &text, &length), 0);
    ck_assert_uint_eq(l2_gguf_find(file, "scores")->count, 3);
    ck_ok(l2_gguf_floats(l2_gguf_find(file, "scores"), scores));
    ck_assert(scores[0] == 0 && scores[1] == -1.5f && scores[2] == 2);
    ck_ok(l2_gguf_int32s(l2_gguf_find(file, "types"), types));
    ck_assert(types[0] == 7 && types[1] == -1);
    ck_fails(l2_gguf_int32s(l2_gguf_find(file, "merges"), types), LLAMA2_E_FORMAT);
}

static void check_wrong_types(const l2_gguf *file)
{
    int64_t integer;
    double number;
    int truth;
    const char *text;
    size_t length;
    l2_gguf_cursor strings;
    float scores[3];
    int32_t types[3];
    const l2_gguf_value *v;
    ck_fails(l2_gguf_require(file, "none", &v), LLAMA2_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "none"));
    ck_fails(l2_gguf_int(l2_gguf_find(file, "huge"), &integer), LLAMA2_E_FORMAT);
    ck_fails(l2_gguf_int(l2_gguf_find(file, "yes"), &integer), LLAMA2_E_FORMAT);
    ck_fails(l2_gguf_int(l2_gguf_find(file, "types"), &integer), LLAMA2_E_FORMAT);
    ck_fails(l2_gguf_double(l2_gguf_find(file, "u8"), &number), LLAMA2_E_FORMAT);
    ck_fails(l2_gguf_bool(l2_gguf_find(file, "u8"), &truth), LLAMA2_E_FORMAT);
    ck_fails(l2_gguf_string(l2_gguf_find(file, "texts"), &text, &length), LLAMA2_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "texts is array of string"));
    ck_fails(l2_gguf_strings(l2_gguf_find(file, "text"), &strings), LLAMA2_E_FORMAT);
    ck_fails(l2_gguf_floats(l2_gguf_find(file, "types"), scores), LLAMA2_E_FORMAT);
    ck_fails(l2_gguf_int32s(l2_gguf_find(file, "scores"), types), LLAMA2_E_FORMAT);
}

static void check_tensors(const l2_gguf *file)
{
    float gain[4], w[64];
    double wide[64];
    const l2_gguf_tensor *t = l2_gguf_find_tensor(file, "w");
    ck_assert_ptr_nonnull(t);
    ck_assert(t->type == L2_GGML_Q8_0 && t->n_dims == 2 && t->shape[0] == 2 && t->shape[1] == 32 && t->size == 68);
    ck_assert_int_eq(l2_gguf_count(t), 64);
    ck_ok(l2_gguf_read(ctx, t, 0, LLAMA2_F32, w));
    ck_ok(l2_gguf_read(ctx, t, 0, LLAMA2_F64, wide));
    for (int i = 0; i < 64; i++) ck_assert_float_eq(w[i], 0.5f * (float)(i % 32 - 16 + i / 32 * 100));
    for (int i = 0; i < 64; i++) ck_assert(wide[i] == (double)w[i]);
    ck_fails(l2_gguf_read(ctx, t, 4, LLAMA2_F32, w), LLAMA2_E_INVALID);
    ck_ok(l2_gguf_read(ctx, l2_gguf_find_tensor(file, "gain"), 0, LLAMA2_F32, gain));
    ck_assert(gain[0] == 1 && gain[3] == 4);
    ck_assert_ptr_null(l2_gguf_find_tensor(file, "gai"));
    ck_assert_ptr_null(l2_gguf_find_tensor(file, "gains"));
    ck_assert_ptr_null(l2_gguf_find(file, ""));
}

START_TEST(test_good_files)
{
    for (uint32_t version = 2; version <= 3; version++) {
        l2_gguf file;
        gguf_file f = sample(version);
        spill(at("a.gguf"), f.bytes, f.size);
        ck_ok(l2_gguf_open(ctx, at("a.gguf"), (int)version - 2, &file));
        ck_assert_uint_eq(file.version, version);
        ck_assert(file.n_values == 18 && file.n_tensors == 2);
        check_values(&file);
        check_arrays(&file);
        check_wrong_types(&file);
        check_tensors(&file);
        l2_gguf_close(&file);
        l2_gguf_close(&file);
        free(f.bytes);
    }
}
END_TEST

START_TEST(test_odd_but_good)
{
    l2_gguf file;
    gguf_file f = {0};
    put_header(&f, 0, 0);
    ck_ok(l2_gguf_parse(ctx, f.bytes, f.size, &file));
    ck_assert(file.n_values == 0 && file.n_tensors == 0 && !l2_gguf_find(&file, "a"));
    l2_gguf_close(&file);
    /* An empty array, a scalar, a type that is listed and not read, a hole between tensors, bytes after the last. */
    f.size = 0;
    put_header(&f, 2, 1);
    put_array(&f, "empty", L2_GGUF_STRING, 0);
    put_tensor(&f, "scalar", 0, NULL, L2_GGML_F32, 0);
    put_tensor(&f, "x", 1, (const uint64_t[]){256}, 16, 96);
    put_padding(&f, 32);
    put_zeros(&f, 96 + 66 + 7);
    ck_ok(l2_gguf_parse(ctx, f.bytes, f.size, &file));
    ck_assert_uint_eq(l2_gguf_find(&file, "empty")->count, 0);
    ck_assert_int_eq(l2_gguf_count(l2_gguf_find_tensor(&file, "scalar")), 1);
    float out[256];
    ck_ok(l2_gguf_read(ctx, l2_gguf_find_tensor(&file, "scalar"), 0, LLAMA2_F32, out));
    ck_fails(l2_gguf_read(ctx, l2_gguf_find_tensor(&file, "x"), 0, LLAMA2_F32, out), LLAMA2_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "IQ2_XXS"));
    l2_gguf_close(&file);
    free(f.bytes);
}
END_TEST

START_TEST(test_recognised_by_its_content)
{
    int yes;
    spill_text(at("a"), "GGUFx");
    spill_text(at("b"), "GGU");
    spill_text(at("c"), "{\"model\":1}");
    ck_ok(l2_gguf_recognise(ctx, at("a"), &yes));
    ck_assert_int_eq(yes, 1);
    ck_ok(l2_gguf_recognise(ctx, at("b"), &yes));
    ck_assert_int_eq(yes, 0);
    ck_ok(l2_gguf_recognise(ctx, at("c"), &yes));
    ck_assert_int_eq(yes, 0);
    ck_ok(l2_gguf_recognise(ctx, at("none"), &yes));
    ck_assert_int_eq(yes, 0);
    ck_ok(l2_gguf_recognise(ctx, folder, &yes));
    ck_assert_int_eq(yes, 0);
}
END_TEST

/* --- bad files ------------------------------------------------------------------------------- */

enum bad {
    BAD_MAGIC,
    EMPTY,
    CUT_MAGIC,
    CUT_VERSION,
    CUT_COUNTS,
    VERSION_0,
    VERSION_1,
    VERSION_4,
    SWAPPED,
    SWAPPED_MAGIC,
    KEYS_2_64,
    KEYS_2_61,
    KEYS_ONE_TOO_MANY,
    TENSORS_2_64,
    TENSORS_2_60,
    TENSORS_ONE_TOO_MANY,
    KEY_LENGTH_2_64,
    KEY_LENGTH_WRAPS,
    KEY_TOO_LONG,
    KEY_EMPTY,
    KEY_NUL,
    KEY_NO_UTF8,
    KEY_TWICE,
    TYPE_13,
    TYPE_2_31,
    TYPE_MISSING,
    VALUE_CUT,
    BOOL_2,
    BOOLS_2,
    STRING_LENGTH_2_64,
    STRING_CUT,
    ARRAY_IN_ARRAY,
    ARRAY_TYPE_99,
    ARRAY_2_64,
    ARRAY_WRAPS_8,
    ARRAY_WRAPS_4,
    STRINGS_2_64,
    STRINGS_WRAP,
    STRINGS_SECOND_CUT,
    ALIGNMENT_0,
    ALIGNMENT_13,
    ALIGNMENT_U64,
    ALIGNMENT_STRING,
    ALIGNMENT_2_31,
    NAME_EMPTY,
    NAME_65,
    NAME_NUL,
    NAME_TWICE,
    DIMS_5,
    DIMS_2_32,
    DIM_0,
    DIM_NEGATIVE,
    PRODUCT_WRAPS,
    PRODUCT_WRAPS_TO_4,
    BYTES_WRAP,
    TENSOR_TYPE_4,
    TENSOR_TYPE_999,
    TENSOR_TYPE_2_31,
    ROW_33,
    ROW_K_128,
    OFFSET_UNALIGNED,
    OFFSET_PAST_END,
    OFFSET_2_64,
    OFFSET_WRAPS,
    DATA_CUT,
    DATA_MISSING,
    OVERLAP,
    OVERLAP_SAME,
    OVERLAP_INSIDE,
    N_BAD
};

/* A header and one key, whose type and value the caller adds. */
static void one_key(gguf_file *f, const char *key)
{
    put_header(f, 0, 1);
    put_text(f, key);
}

/* A file of one tensor with enough data. */
static void one_tensor(gguf_file *f, uint32_t n_dims, const uint64_t *dims, uint32_t type, uint64_t offset)
{
    put_header(f, 1, 0);
    put_tensor(f, "t", n_dims, dims, type, offset);
    put_padding(f, 32);
    put_zeros(f, 256);
}

static void two_tensors(gguf_file *f, uint64_t elements, uint64_t second)
{
    put_header(f, 2, 0);
    put_tensor(f, "a", 1, &elements, L2_GGML_F32, 0);
    put_tensor(f, "b", 1, vector, L2_GGML_F32, second);
    put_padding(f, 32);
    put_zeros(f, 512);
}

static void one_array(gguf_file *f, uint32_t element, uint64_t count)
{
    put_header(f, 0, 1);
    put_array(f, "k", element, count);
    put_zeros(f, 40);
}

typedef struct expected {
    llama2_status code;
    const char *message;
} expected;

#define FORMAT(message)      ((expected){LLAMA2_E_FORMAT, message})
#define TRUNCATED(message)   ((expected){LLAMA2_E_TRUNCATED, message})
#define LIMIT(message)       ((expected){LLAMA2_E_LIMIT, message})
#define UNSUPPORTED(message) ((expected){LLAMA2_E_UNSUPPORTED, message})

static expected bad_header(gguf_file *f, enum bad which)
{
    put_header(f, 0, 0);
    switch (which) {
    case BAD_MAGIC: f->bytes[0] = 'g'; return FORMAT("does not begin with \"GGUF\"");
    case EMPTY: f->size = 0; return TRUNCATED("0 bytes");
    case CUT_MAGIC: f->size = 3; return TRUNCATED("3 bytes");
    case CUT_VERSION: f->size = 7; return TRUNCATED("byte 4");
    case CUT_COUNTS: f->size = 23; return TRUNCATED("byte 16");
    case VERSION_0: l2_put_u32(f->bytes + 4, 0); return UNSUPPORTED("version 0;");
    case VERSION_1: l2_put_u32(f->bytes + 4, 1); return UNSUPPORTED("version 1;");
    case VERSION_4: l2_put_u32(f->bytes + 4, 4); return UNSUPPORTED("version 4;");
    case SWAPPED: l2_put_u32(f->bytes + 4, 3u << 24); return UNSUPPORTED("big-endian");
    case SWAPPED_MAGIC: memcpy(f->bytes, "FUGG", 4); return FORMAT("GGUF");
    case KEYS_2_64: l2_put_u64(f->bytes + 16, UINT64_MAX); return TRUNCATED("byte 24: 18446744073709551615 keys");
    case KEYS_2_61: l2_put_u64(f->bytes + 16, UINT64_MAX / 8); return TRUNCATED("keys");
    case KEYS_ONE_TOO_MANY:
        put_key_u32(f, "a", 1);
        l2_put_u64(f->bytes + 16, 2);
        put_zeros(f, 10); /* 27 bytes follow, two keys take at least 28 */
        return TRUNCATED("byte 24: 2 keys");
    case TENSORS_2_64: l2_put_u64(f->bytes + 8, UINT64_MAX); return TRUNCATED("byte 24: 18446744073709551615 tensor");
    case TENSORS_2_60: l2_put_u64(f->bytes + 8, UINT64_MAX / 16); return TRUNCATED("tensor infos");
    default:
        l2_put_u64(f->bytes + 8, 2);
        put_tensor(f, "t", 1, vector, L2_GGML_F32, 0);
        put_zeros(f, 16);
        return TRUNCATED("byte 24: 2 tensor infos");
    }
}

static expected bad_key(gguf_file *f, enum bad which)
{
    switch (which) {
    case KEY_LENGTH_2_64:
    case KEY_LENGTH_WRAPS:
        put_header(f, 0, 1);
        put_u64(f, which == KEY_LENGTH_2_64 ? UINT64_MAX : UINT64_MAX - 7);
        put_zeros(f, 20);
        return TRUNCATED("byte 32: a string of 184467440737095516");
    case KEY_TOO_LONG:
        put_header(f, 0, 1);
        put_u64(f, L2_GGUF_MAX_KEY + 1);
        for (int i = 0; i <= L2_GGUF_MAX_KEY; i++) put_u8(f, 'k');
        put_u32(f, L2_GGUF_U8), put_u8(f, 0);
        return LIMIT("byte 24: the key of 65536 bytes");
    case KEY_EMPTY: one_key(f, ""), put_u32(f, L2_GGUF_U32), put_u32(f, 1); return FORMAT("byte 24: the key is empty");
    case KEY_NUL:
        put_header(f, 0, 1);
        put_u64(f, 3), put(f, "a\0b", 3), put_u32(f, L2_GGUF_U8), put_u8(f, 1);
        return FORMAT("without NUL");
    case KEY_NO_UTF8: one_key(f, "a\xff"), put_u32(f, L2_GGUF_U8), put_u8(f, 1); return FORMAT("no UTF-8");
    default:
        put_header(f, 0, 3);
        put_key_u32(f, "twice", 1), put_key_u32(f, "once", 1), put_key_u32(f, "twice", 1);
        return FORMAT("key twice stands twice");
    }
}

static expected bad_value(gguf_file *f, enum bad which)
{
    const uint32_t types[] = {13, 1u << 31};
    switch (which) {
    case TYPE_13:
    case TYPE_2_31:
        one_key(f, "k"), put_u32(f, types[which == TYPE_2_31]), put_u32(f, 0);
        return UNSUPPORTED("key k: byte 33: value type");
    case TYPE_MISSING: one_key(f, "a key"), put_u8(f, 0); return TRUNCATED("key a key: byte 37");
    case VALUE_CUT: one_key(f, "kkk"), put_u32(f, L2_GGUF_U64), put_u32(f, 0); return TRUNCATED("key kkk: byte 39");
    case BOOL_2: one_key(f, "k"), put_u32(f, L2_GGUF_BOOL), put_u8(f, 2); return FORMAT("key k: byte 37: a bool is 2");
    case BOOLS_2:
        put_header(f, 0, 1);
        put_array(f, "k", L2_GGUF_BOOL, 3), put_u8(f, 1), put_u8(f, 0), put_u8(f, 255);
        return FORMAT("byte 51: a bool is 255");
    case STRING_LENGTH_2_64:
        one_key(f, "k"), put_u32(f, L2_GGUF_STRING), put_u64(f, UINT64_MAX), put_zeros(f, 20);
        return TRUNCATED("key k: byte 45: a string of 18446744073709551615");
    case STRING_CUT:
        one_key(f, "k"), put_u32(f, L2_GGUF_STRING), put_u64(f, 5), put(f, "abcd", 4);
        return TRUNCATED("a string of 5 bytes should follow, 4 bytes do");
    case ARRAY_IN_ARRAY: one_array(f, L2_GGUF_ARRAY, 1); return UNSUPPORTED("key k: byte 37: an array of arrays");
    case ARRAY_TYPE_99: one_array(f, 99, 1); return UNSUPPORTED("value type 99");
    case ARRAY_2_64: one_array(f, L2_GGUF_U8, UINT64_MAX); return TRUNCATED("key k: byte 49: 18446744073709551615");
    case ARRAY_WRAPS_8: one_array(f, L2_GGUF_F64, (UINT64_MAX / 8) + 2); return TRUNCATED("elements");
    case ARRAY_WRAPS_4: one_array(f, L2_GGUF_I32, (UINT64_MAX / 4) + 1); return TRUNCATED("elements");
    case STRINGS_2_64: one_array(f, L2_GGUF_STRING, UINT64_MAX); return TRUNCATED("elements");
    case STRINGS_WRAP: one_array(f, L2_GGUF_STRING, UINT64_MAX / 8 + 1); return TRUNCATED("elements");
    default:
        put_header(f, 0, 1);
        put_array(f, "k", L2_GGUF_STRING, 2), put_text(f, "12345678"), put_u32(f, 0);
        return TRUNCATED("key k: byte 65");
    }
}

static expected bad_alignment(gguf_file *f, enum bad which)
{
    put_header(f, 1, 1);
    if (which == ALIGNMENT_U64)
        put_key(f, "general.alignment", L2_GGUF_U64), put_u64(f, 32);
    else if (which == ALIGNMENT_STRING)
        put_key_string(f, "general.alignment", "32");
    else
        put_key_u32(f, "general.alignment", which == ALIGNMENT_0 ? 0 : which == ALIGNMENT_13 ? 13 : 1u << 31);
    put_tensor(f, "t", 1, vector, L2_GGML_F32, 0);
    put_padding(f, 32);
    put_zeros(f, 64);
    return which == ALIGNMENT_0        ? FORMAT("general.alignment is 0")
           : which == ALIGNMENT_13     ? FORMAT("general.alignment is 13")
           : which == ALIGNMENT_U64    ? FORMAT("general.alignment is u64")
           : which == ALIGNMENT_STRING ? FORMAT("general.alignment is string")
                                       : TRUNCATED("tensor t: its 16 bytes from byte 2147483648 on");
}

static expected bad_name(gguf_file *f, enum bad which)
{
    static const char long_name[] = "65_bytes_5678901234567890123456789012345678901234567890123456789.";
    put_header(f, which == NAME_TWICE ? 3 : 1, 0);
    if (which == NAME_TWICE) {
        put_tensor(f, "t", 1, vector, L2_GGML_F32, 0);
        put_tensor(f, "u", 1, vector, L2_GGML_F32, 32);
        put_tensor(f, "t", 1, vector, L2_GGML_F32, 64);
    } else if (which == NAME_NUL) {
        put_u64(f, 3), put(f, "a\0b", 3), put_zeros(f, 40);
    } else {
        put_tensor(f, which == NAME_65 ? long_name : "", 1, vector, L2_GGML_F32, 0);
    }
    put_padding(f, 32);
    put_zeros(f, 128);
    return which == NAME_TWICE ? FORMAT("tensor t stands twice")
           : which == NAME_65  ? LIMIT("of 65 bytes")
           : which == NAME_NUL ? FORMAT("without NUL")
                               : FORMAT("byte 24: the name of a tensor is empty");
}

static expected bad_shape(gguf_file *f, enum bad which)
{
    const uint64_t ones[] = {1, 1, 1, 1, 1}, zero[] = {4, 0}, negative[] = {4, UINT64_MAX}, row_33[] = {33, 2};
    const uint64_t wraps[] = {UINT64_C(1) << 32, UINT64_C(1) << 32}, to_4[] = {UINT64_C(1) << 62, 4, 1},
                   bytes[] = {UINT64_C(1) << 61}, row_128[] = {128, 2};
    switch (which) {
    case DIMS_5: one_tensor(f, 5, ones, L2_GGML_F32, 0); return LIMIT("tensor t: byte 33: 5 dimensions");
    case DIMS_2_32:
        one_tensor(f, 4, ones, L2_GGML_F32, 0);
        l2_put_u32(f->bytes + 33, UINT32_MAX);
        return LIMIT("4294967295 dimensions");
    case DIM_0: one_tensor(f, 2, zero, L2_GGML_F32, 0); return FORMAT("tensor t: byte 45: a dimension is 0");
    case DIM_NEGATIVE: one_tensor(f, 2, negative, L2_GGML_F32, 0); return FORMAT("a dimension is -1");
    case PRODUCT_WRAPS: one_tensor(f, 2, wraps, L2_GGML_F32, 0); return FORMAT("exceeds 2^63");
    case PRODUCT_WRAPS_TO_4: one_tensor(f, 3, to_4, L2_GGML_F32, 0); return FORMAT("exceeds 2^63");
    case BYTES_WRAP: one_tensor(f, 1, bytes, L2_GGML_F32, 0); return FORMAT("size exceeds 2^63 bytes");
    case TENSOR_TYPE_4: one_tensor(f, 2, matrix, 4, 0); return UNSUPPORTED("tensor t: byte 53: tensor type 4 ");
    case TENSOR_TYPE_999: one_tensor(f, 2, matrix, 999, 0); return UNSUPPORTED("tensor type 999");
    case TENSOR_TYPE_2_31: one_tensor(f, 2, matrix, 1u << 31, 0); return UNSUPPORTED("tensor type 2147483648");
    case ROW_33: one_tensor(f, 2, row_33, L2_GGML_Q4_0, 0); return FORMAT("rows of 33 are no multiple");
    default: one_tensor(f, 2, row_128, L2_GGML_Q4_K, 0); return FORMAT("256 of a block of Q4_K");
    }
}

static expected bad_place(gguf_file *f, enum bad which)
{
    switch (which) {
    case OFFSET_UNALIGNED: one_tensor(f, 1, vector, L2_GGML_F32, 16); return FORMAT("tensor t: byte 49: its offset 16");
    case OFFSET_PAST_END: one_tensor(f, 1, vector, L2_GGML_F32, 256); return TRUNCATED("tensor t: its 16 bytes");
    case OFFSET_2_64:
        one_tensor(f, 1, vector, L2_GGML_F32, UINT64_MAX - 31);
        return TRUNCATED("tensor t: its 16 bytes at offset 18446744073709551584");
    case OFFSET_WRAPS: one_tensor(f, 1, vector, L2_GGML_F32, UINT64_MAX - 63); return TRUNCATED("exceed the file");
    case DATA_CUT:
        one_tensor(f, 2, matrix, L2_GGML_F32, 0), f->size--;
        return TRUNCATED("tensor t: its 256 bytes from byte 96 on exceed the file of 351 bytes");
    case DATA_MISSING: one_tensor(f, 2, matrix, L2_GGML_F32, 0), f->size = 57; return TRUNCATED("tensor t");
    case OVERLAP: two_tensors(f, 9, 32); return FORMAT("tensors a and b overlap");
    case OVERLAP_SAME: two_tensors(f, 4, 0); return FORMAT("overlap");
    default: two_tensors(f, 64, 64); return FORMAT("tensors a and b overlap");
    }
}

static expected make_bad(gguf_file *f, enum bad which)
{
    if (which <= TENSORS_ONE_TOO_MANY) return bad_header(f, which);
    if (which <= KEY_TWICE) return bad_key(f, which);
    if (which <= STRINGS_SECOND_CUT) return bad_value(f, which);
    if (which <= ALIGNMENT_2_31) return bad_alignment(f, which);
    if (which <= NAME_TWICE) return bad_name(f, which);
    return which <= ROW_K_128 ? bad_shape(f, which) : bad_place(f, which);
}

START_TEST(test_bad_files)
{
    gguf_file f = {0};
    l2_gguf file;
    expected e = make_bad(&f, (enum bad)_i);
    unsigned char *exact = malloc(f.size + 1);
    memcpy(exact, f.bytes, f.size);
    exact = realloc(exact, f.size ? f.size : 1); /* so that ASan sees a read past the end */
    long live = memory.live;
    size_t before = memory.bytes;
    memory.peak = before;
    llama2_status status = l2_gguf_parse(ctx, exact, f.size, &file);
    ck_assert_msg(status == e.code && strstr(llama2_last_error(), e.message), "%s: %s; expected %s: %s",
                  llama2_status_name(status), llama2_last_error(), llama2_status_name(e.code), e.message);
    ck_assert_int_eq(memory.live, live);
    ck_assert_uint_le(memory.peak - before, 4 * f.size + (1 << 20));
    ck_assert(file.ctx == NULL && file.n_values == 0);
    free(exact);
    free(f.bytes);
}
END_TEST

/* Cut off at every byte: TRUNCATED each time. Any bit turned over: an error or a file, never a crash. */
START_TEST(test_truncation_and_flips)
{
    l2_gguf file;
    gguf_file f = sample(3);
    for (size_t n = 0; n < f.size; n++) {
        unsigned char *exact = malloc(n ? n : 1);
        memcpy(exact, f.bytes, n);
        ck_fails(l2_gguf_parse(ctx, exact, n, &file), LLAMA2_E_TRUNCATED);
        free(exact);
    }
    for (size_t bit = 0; bit < 8 * f.size; bit++) {
        f.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (l2_gguf_parse(ctx, f.bytes, f.size, &file) == LLAMA2_OK) l2_gguf_close(&file);
        f.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    free(f.bytes);
}
END_TEST

/* A million keys and as many tensors, in rising and falling order and all equal: memory within 4 x file + 1 MiB, time
 * far from quadratic. */
START_TEST(test_many)
{
    enum { N = 1000000 };
    char name[16];
    for (int kind = 0; kind < 3; kind++)
        for (int tensors = 0; tensors < 2; tensors++) {
            gguf_file f = {0};
            l2_gguf file;
            put_header(&f, tensors ? N : 0, tensors ? 0 : N);
            for (int i = 0; i < N; i++) {
                snprintf(name, sizeof name, "%06x", kind == 0 ? i : kind == 1 ? N - i : 7);
                if (tensors)
                    put_tensor(&f, name, 0, NULL, L2_GGML_F32, 32 * (uint64_t)i);
                else
                    put_key(&f, name, L2_GGUF_U8), put_u8(&f, 1);
            }
            size_t header = f.size;
            put_padding(&f, 32);
            put_zeros(&f, tensors ? 32 * (size_t)N : 0);
            size_t before = memory.bytes;
            memory.peak = before;
            llama2_status status = l2_gguf_parse(ctx, f.bytes, f.size, &file);
            ck_assert_int_eq(status, kind == 2 ? LLAMA2_E_FORMAT : LLAMA2_OK);
            ck_assert_uint_le(memory.peak - before, 4 * header + (1 << 20));
            l2_gguf_close(&file);
            free(f.bytes);
        }
}
END_TEST

START_TEST(test_each_failure_while_reading)
{
    gguf_file f = sample(3);
    spill(at("a"), f.bytes, f.size);
    for (int mode = 0; mode < 8; mode++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            l2_gguf file;
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            *(mode / 2 % 2 ? &memory.fail_at : &disk.fail_at) = n;
            llama2_status status = l2_gguf_open(ctx, at("a"), mode / 4, &file);
            done = mode / 2 % 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            l2_gguf_close(&file);
            if (done) ck_ok(status);
            ck_assert(status == LLAMA2_OK || status == LLAMA2_E_NOMEM || status == LLAMA2_E_IO);
            ck_assert_int_eq(memory.live, live);
        }
    }
    free(f.bytes);
}
END_TEST

/* --- quantised types ------------------------------------------------------------------------- */

/* Bit for bit what the `gguf` package makes of the same blocks, extreme scales among them; a NaN is a NaN. */
START_TEST(test_types_of_ggml)
{
    static const int32_t types[] = {L2_GGML_F32,  L2_GGML_F16,  L2_GGML_BF16, L2_GGML_Q4_0,  L2_GGML_Q4_1,
                                    L2_GGML_Q5_0, L2_GGML_Q5_1, L2_GGML_Q8_0, L2_GGML_Q2_K,  L2_GGML_Q3_K,
                                    L2_GGML_Q4_K, L2_GGML_Q5_K, L2_GGML_Q6_K, L2_GGML_IQ4_NL};
    l2_safetensors goldens;
    char path[4096];
    snprintf(path, sizeof path, "%s/reference/gguf/blocks.safetensors", LLAMA2_TEST_SOURCE);
    ck_ok(l2_safetensors_open(ctx, path, 1, &goldens));
    ck_assert_uint_eq(goldens.n_tensors, 2 * sizeof types / sizeof *types);
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        uint32_t elements, bytes;
        const char *name = l2_ggml_type(types[k], &elements, &bytes);
        snprintf(path, sizeof path, "%s/blocks", name);
        const l2_st_tensor *blocks = l2_safetensors_find(&goldens, path);
        snprintf(path, sizeof path, "%s/values", name);
        const l2_st_tensor *values = l2_safetensors_find(&goldens, path);
        ck_assert(blocks && values);
        int64_t n = l2_st_count(values);
        ck_assert_int_eq(n * bytes, (int64_t)blocks->size * elements);
        float *want = malloc((size_t)n * sizeof *want), *got = malloc((size_t)n * sizeof *got);
        ck_ok(l2_st_read(ctx, values, 0, n, LLAMA2_F32, want));
        ck_ok(l2_dequantise(types[k], blocks->data, n, got));
        for (int64_t i = 0; i < n; i++)
            ck_assert_msg(memcmp(&got[i], &want[i], 4) == 0 || (isnan(got[i]) && isnan(want[i])),
                          "%s: element %d is %a, expected %a", name, (int)i, (double)got[i], (double)want[i]);
        if (elements > 1) ck_fails(l2_dequantise(types[k], blocks->data, n - 1, got), LLAMA2_E_INVALID);
        free(want);
        free(got);
    }
    l2_safetensors_close(&goldens);
}
END_TEST

/* Rows 0 1 | 2 3 | ... of each head become 0 2 ... | 1 3 .... */
START_TEST(test_rotary_pairs_are_parted)
{
    float rows[12][2], out[12][2];
    double wide[12][2];
    static const int order[] = {0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11};
    for (int i = 0; i < 24; i++) rows[i / 2][i % 2] = (float)i;
    l2_gguf_tensor t = {.name = "q", .name_length = 1, .type = L2_GGML_F32, .n_dims = 2, .shape = {12, 2}};
    t.data = (const unsigned char *)rows;
    t.size = sizeof rows;
    ck_ok(l2_gguf_read(ctx, &t, 6, LLAMA2_F32, out));
    ck_ok(l2_gguf_read(ctx, &t, 6, LLAMA2_F64, wide));
    for (int i = 0; i < 12; i++) {
        ck_assert_mem_eq(out[i], rows[order[i]], sizeof out[i]);
        ck_assert(wide[i][0] == (double)out[i][0] && wide[i][1] == (double)out[i][1]);
    }
    ck_fails(l2_gguf_read(ctx, &t, 8, LLAMA2_F32, out), LLAMA2_E_INVALID);
    ck_fails(l2_gguf_read(ctx, &t, 3, LLAMA2_F32, out), LLAMA2_E_INVALID);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("format/gguf");
    TCase *bad = tcase_create("bad files"), *rest = tcase_create("files");
    tcase_add_checked_fixture(bad, setup, teardown);
    tcase_add_checked_fixture(rest, setup, teardown);
    tcase_set_timeout(rest, 120);
    tcase_add_loop_test(bad, test_bad_files, 0, N_BAD);
    tcase_add_test(rest, test_good_files);
    tcase_add_test(rest, test_odd_but_good);
    tcase_add_test(rest, test_recognised_by_its_content);
    tcase_add_test(rest, test_truncation_and_flips);
    tcase_add_test(rest, test_many);
    tcase_add_test(rest, test_each_failure_while_reading);
    tcase_add_test(rest, test_types_of_ggml);
    tcase_add_test(rest, test_rotary_pairs_are_parted);
    suite_add_tcase(suite, bad);
    suite_add_tcase(suite, rest);
    return suite;
}
