/*
 * A block of any quantised type is small integers q and, for every 16 of them, a scale and a minimum:
 *
 *     x = scale * q - minimum        (minimum +0 where the type has none: subtracting it changes no bit of a product)
 *
 * Types differ in where the bits of q lie (a table) and in how scales are packed (a function). The layouts are those of
 * the structs block_* in ggml's ggml-common.h.
 */
#include "format/quantised.h"
#include "base/threads.h"
#include "format/joined.h"
#include "format/quantise.h"
#include "math/half.h"
#include "math/tensor.h"
#include <string.h>

enum { GROUP = 16, MAX_BLOCK = L2_MAX_BLOCK };

/*
 * Bits of the integers: `bytes` bytes from `at` on, in runs. A run of r bytes gives the lowest `bits` bits of its r
 * bytes, then the next ones of the same bytes, and so on.
 */
typedef struct field {
    uint16_t at, bytes;
    uint8_t run, bits, up; /* up: by how much they are shifted in q */
} field;

typedef void (*unpack_scales)(const unsigned char *block, int n_groups, float *scale, float *minimum);
typedef void (*pack_scales)(unsigned char *block, const l2_fitted *fitted);

typedef struct layout {
    int32_t type;
    uint16_t elements, bytes;
    field low, high; /* high.bytes 0: none */
    int8_t bias;     /* subtracted from what the bits say */
    unpack_scales scales;
    pack_scales pack; /* NULL: is not written */
} layout;

static float f16(const unsigned char *p)
{
    return l2_f32_from_f16((uint16_t)(p[0] | p[1] << 8));
}

static void put_f16(unsigned char *p, float x)
{
    uint16_t half = l2_f16_from_f32(x);
    p[0] = (unsigned char)half;
    p[1] = (unsigned char)(half >> 8);
}

/* One scale: f16. */
static void one_scale(const unsigned char *block, int n_groups, float *scale, float *minimum)
{
    for (int g = 0; g < n_groups; g++) scale[g] = f16(block), minimum[g] = 0;
}

static void pack_one_scale(unsigned char *block, const l2_fitted *fitted)
{
    put_f16(block, fitted->unit);
}

/* f16 scale, f16 offset that is added. */
static void scale_and_offset(const unsigned char *block, int n_groups, float *scale, float *minimum)
{
    for (int g = 0; g < n_groups; g++) scale[g] = f16(block), minimum[g] = -f16(block + 2);
}

/* 16 bytes of 4 bits scale and 4 bits minimum; at their end the f16 units of both. */
static void scales_q2_k(const unsigned char *block, int n_groups, float *scale, float *minimum)
{
    float unit = f16(block + 80), unit_of_minimum = f16(block + 82);
    for (int g = 0; g < n_groups; g++) {
        scale[g] = unit * (float)(block[g] & 15);
        minimum[g] = unit_of_minimum * (float)(block[g] >> 4);
    }
}

/* 12 bytes of 16 scales of 6 bits: 4 low bits in 8 bytes, 2 high bits in 4; biased by 32. f16 unit at the end. */
static void scales_q3_k(const unsigned char *block, int n_groups, float *scale, float *minimum)
{
    const unsigned char *low = block + 96, *high = low + 8;
    float unit = f16(block + 108);
    for (int g = 0; g < n_groups; g++) {
        int s = (low[g % 8] >> g / 8 * 4 & 15) | (high[g % 4] >> g / 4 * 2 & 3) << 4;
        scale[g] = unit * (float)(s - 32);
        minimum[g] = 0;
    }
}

/*
 * f16 units, then 12 bytes of 8 scales and 8 minima of 6 bits, each for 32 elements. Bytes 0 .. 3 hold scales 0 .. 3
 * and on top the two high bits of scales 4 .. 7; bytes 4 .. 7 the same of the minima; bytes 8 .. 11 the four low bits
 * of scales 4 .. 7 and, on top, of those minima.
 */
static void scales_q45_k(const unsigned char *block, int n_groups, float *scale, float *minimum)
{
    const unsigned char *packed = block + 4;
    float unit = f16(block), unit_of_minimum = f16(block + 2);
    for (int g = 0; g < n_groups; g++) {
        int i = g / 2 % 4, second = g / 2 >= 4;
        int s = second ? (packed[8 + i] & 15) | packed[i] >> 6 << 4 : packed[i] & 63;
        int m = second ? packed[8 + i] >> 4 | packed[4 + i] >> 6 << 4 : packed[4 + i] & 63;
        scale[g] = unit * (float)s;
        minimum[g] = unit_of_minimum * (float)m;
    }
}

static void pack_q45_k(unsigned char *block, const l2_fitted *fitted)
{
    unsigned char *packed = block + 4;
    put_f16(block, fitted->unit);
    put_f16(block + 2, fitted->unit_of_minimum);
    for (int i = 0; i < 4; i++) {
        int s = fitted->scale[4 + i], m = fitted->minimum[4 + i];
        packed[i] = (unsigned char)(fitted->scale[i] | s >> 4 << 6);
        packed[4 + i] = (unsigned char)(fitted->minimum[i] | m >> 4 << 6);
        packed[8 + i] = (unsigned char)((s & 15) | (m & 15) << 4);
    }
}

/* 16 scales of 8 bits with a sign, f16 unit at the end. */
static void scales_q6_k(const unsigned char *block, int n_groups, float *scale, float *minimum)
{
    float unit = f16(block + 208);
    for (int g = 0; g < n_groups; g++) scale[g] = unit * (float)(int8_t)block[192 + g], minimum[g] = 0;
}

static void pack_q6_k(unsigned char *block, const l2_fitted *fitted)
{
    put_f16(block + 208, fitted->unit);
    for (int g = 0; g < 16; g++) block[192 + g] = (unsigned char)fitted->scale[g];
}

static const layout layouts[] = {
    {L2_GGML_Q4_0, 32, 18, {2, 16, 16, 4, 0}, {0}, 8, one_scale, pack_one_scale},
    {L2_GGML_Q4_1, 32, 20, {4, 16, 16, 4, 0}, {0}, 0, scale_and_offset, NULL},
    {L2_GGML_Q5_0, 32, 22, {6, 16, 16, 4, 0}, {2, 4, 1, 1, 4}, 16, one_scale, pack_one_scale},
    {L2_GGML_Q5_1, 32, 24, {8, 16, 16, 4, 0}, {4, 4, 1, 1, 4}, 0, scale_and_offset, NULL},
    {L2_GGML_Q8_0, 32, 34, {2, 32, 32, 8, 0}, {0}, 0, one_scale, pack_one_scale},
    {L2_GGML_IQ4_NL, 32, 18, {2, 16, 16, 4, 0}, {0}, 0, one_scale, NULL},
    {L2_GGML_Q2_K, 256, 84, {16, 64, 32, 2, 0}, {0}, 0, scales_q2_k, NULL},
    {L2_GGML_Q3_K, 256, 110, {32, 64, 32, 2, 0}, {0, 32, 32, 1, 2}, 4, scales_q3_k, NULL},
    {L2_GGML_Q4_K, 256, 144, {16, 128, 32, 4, 0}, {0}, 0, scales_q45_k, pack_q45_k},
    {L2_GGML_Q5_K, 256, 176, {48, 128, 32, 4, 0}, {16, 32, 32, 1, 4}, 0, scales_q45_k, NULL},
    {L2_GGML_Q6_K, 256, 210, {0, 128, 64, 4, 0}, {128, 64, 32, 2, 4}, 32, scales_q6_k, pack_q6_k},
};

/* What the 4 bits of IQ4_NL stand for. */
static const int8_t iq4_nl[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static void add_bits(const unsigned char *block, const field *f, uint8_t *q)
{
    const unsigned mask = (1u << f->bits) - 1;
    for (const unsigned char *p = block + f->at, *end = p + f->bytes; p < end; p += f->run)
        for (unsigned shift = 0; shift < 8; shift += f->bits)
            for (unsigned i = 0; i < f->run; i++) *q++ |= (uint8_t)((p[i] >> shift & mask) << f->up);
}

static void put_bits(unsigned char *block, const field *f, const uint8_t *q)
{
    const unsigned mask = (1u << f->bits) - 1;
    for (unsigned char *p = block + f->at, *end = p + f->bytes; p < end; p += f->run)
        for (unsigned shift = 0; shift < 8; shift += f->bits)
            for (unsigned i = 0; i < f->run; i++) p[i] |= (unsigned char)(((unsigned)*q++ >> f->up & mask) << shift);
}

static void dequantise_block(const layout *l, const unsigned char *block, float *out)
{
    uint8_t q[MAX_BLOCK] = {0};
    float scale[MAX_BLOCK / GROUP], minimum[MAX_BLOCK / GROUP];
    add_bits(block, &l->low, q);
    add_bits(block, &l->high, q);
    if (l->type == L2_GGML_IQ4_NL)
        for (int i = 0; i < l->elements; i++) q[i] = (uint8_t)iq4_nl[q[i]];
    l->scales(block, l->elements / GROUP, scale, minimum);
    /* The sign of 8 bits is that of Q8_0 and IQ4_NL; the others have at most 6 bits. */
    for (int i = 0; i < l->elements; i++)
        out[i] = scale[i / GROUP] * (float)((int8_t)q[i] - l->bias) - minimum[i / GROUP];
}

static void quantise_block(const layout *l, const float *x, unsigned char *block)
{
    l2_fitted fitted;
    uint8_t q[MAX_BLOCK];
    if (l->scales == scales_q45_k)
        l2_fit_scales_and_minima(x, l->elements, &fitted);
    else if (l->scales == scales_q6_k)
        l2_fit_scales(x, l->elements, &fitted);
    else if (l->bias)
        l2_fit_one_scale(x, l->elements, -l->bias, l->bias - 1, &fitted);
    else
        l2_fit_one_scale(x, l->elements, -127, 127, &fitted);
    for (int i = 0; i < l->elements; i++) q[i] = (uint8_t)(fitted.q[i] + l->bias);
    memset(block, 0, l->bytes);
    put_bits(block, &l->low, q);
    put_bits(block, &l->high, q);
    l->pack(block, &fitted);
}

static const layout *find_layout(int32_t type)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].type == type) return &layouts[i];
    return NULL;
}

int l2_dequantises(int32_t type)
{
    return type == L2_GGML_F32 || type == L2_GGML_F16 || type == L2_GGML_BF16 || find_layout(type);
}

llama2_status l2_dequantise(int32_t type, const unsigned char *data, int64_t count, float *out)
{
    const layout *l = find_layout(type);
    if (!l2_dequantises(type)) {
        const char *name = l2_ggml_type(type, NULL, NULL);
        return l2_fail(LLAMA2_E_UNSUPPORTED, "type %s (%d) can't be read as numbers", name ? name : "unknown", type);
    }
    if (count < 0 || (l && count % l->elements))
        return l2_fail(LLAMA2_E_INVALID, "%lld elements are no whole blocks of %s", (long long)count,
                       l2_ggml_type(type, NULL, NULL));
    if (count == 0) return LLAMA2_OK;
    if (l)
        for (int64_t i = 0; i < count; i += l->elements, data += l->bytes) dequantise_block(l, data, out + i);
    else if (type == L2_GGML_F32)
        memcpy(out, data, (size_t)count * sizeof *out);
    else
        for (int64_t i = 0; i < count; i++) {
            uint16_t half = (uint16_t)(data[2 * i] | data[2 * i + 1] << 8);
            out[i] = type == L2_GGML_F16 ? l2_f32_from_f16(half) : l2_f32_from_bf16(half);
        }
    return LLAMA2_OK;
}

int l2_quantises(int32_t type)
{
    const layout *l = find_layout(type);
    return l ? l->pack != NULL : l2_dequantises(type);
}

static void put_halves(int32_t type, const float *x, int64_t count, unsigned char *out)
{
    for (int64_t i = 0; i < count; i++) {
        uint16_t half = type == L2_GGML_F16 ? l2_f16_from_f32(x[i]) : l2_bf16_from_f32(x[i]);
        out[2 * i] = (unsigned char)half;
        out[2 * i + 1] = (unsigned char)(half >> 8);
    }
}

llama2_status l2_quantise(int32_t type, const float *x, int64_t count, unsigned char *out)
{
    const layout *l = find_layout(type);
    const char *name = l2_ggml_type(type, NULL, NULL);
    if (!l2_quantises(type))
        return l2_fail(LLAMA2_E_UNSUPPORTED, "type %s (%d) can't be written", name ? name : "unknown", type);
    if (count < 0 || (l && count % l->elements))
        return l2_fail(LLAMA2_E_INVALID, "%lld elements are no whole blocks of %s", (long long)count, name);
    if (type == L2_GGML_F32) {
        if (count) memcpy(out, x, (size_t)count * sizeof *x);
        return LLAMA2_OK;
    }
    if (type != L2_GGML_BF16)
        for (int64_t i = 0; i < count; i++)
            if (!(fabsf(x[i]) < 65520))
                return l2_fail(LLAMA2_E_NUMERIC, "element %lld is %g; %s holds finite numbers up to 65504",
                               (long long)i, (double)x[i], name);
    if (l)
        for (int64_t i = 0; i < count; i += l->elements, out += l->bytes) quantise_block(l, x + i, out);
    else
        put_halves(type, x, count, out);
    return LLAMA2_OK;
}

/* --- tensors --------------------------------------------------------------------------------- */

typedef struct read_job {
    const l2_gguf_tensor *tensor;
    int64_t rows, columns, rows_a_task, head_dim;
    size_t row_bytes;
    int32_t dtype;
    char *out;
} read_job;

static void read_row(const read_job *job, const unsigned char *from, char *to)
{
    float piece[MAX_BLOCK]; /* whole blocks of any type, since rows are */
    uint32_t elements = 1, bytes = 0;
    if (job->dtype == LLAMA2_F32) {
        l2_dequantise(job->tensor->type, from, job->columns, (float *)(void *)to);
        return;
    }
    double *wide = (double *)(void *)to;
    l2_ggml_type(job->tensor->type, &elements, &bytes);
    for (int64_t at = 0, n; at < job->columns; at += n) {
        n = job->columns - at < MAX_BLOCK ? job->columns - at : MAX_BLOCK;
        l2_dequantise(job->tensor->type, from, n, piece);
        from += (size_t)n / elements * bytes;
        for (int64_t i = 0; i < n; i++) wide[at + i] = (double)piece[i];
    }
}

static void read_rows(void *arg, int32_t task, int32_t worker)
{
    const read_job *job = arg;
    (void)worker;
    int64_t begin = task * job->rows_a_task;
    int64_t end = job->rows - begin < job->rows_a_task ? job->rows : begin + job->rows_a_task;
    for (int64_t i = begin; i < end; i++) {
        int64_t from = job->head_dim ? l2_rotary_row_of(i, job->head_dim) : i;
        read_row(job, job->tensor->data + (size_t)from * job->row_bytes,
                 job->out + (size_t)(i * job->columns) * l2_dtype_size(job->dtype));
    }
}

llama2_status l2_gguf_read(llama2_context *ctx, const l2_gguf_tensor *tensor, int64_t head_dim, int32_t dtype,
                           void *out)
{
    enum { ELEMENTS_A_TASK = 1 << 16, MAX_TASKS = 1 << 20 };
    float none;
    L2_TRY(l2_dequantise(tensor->type, NULL, 0, &none)); /* no task can fail */
    read_job job = {.tensor = tensor, .head_dim = head_dim, .dtype = dtype, .out = out};
    job.columns = tensor->n_dims ? tensor->shape[tensor->n_dims - 1] : 1;
    job.rows = l2_gguf_count(tensor) / job.columns;
    job.row_bytes = (size_t)(tensor->size / (uint64_t)job.rows);
    if (head_dim && (head_dim % 2 || job.rows % head_dim))
        return l2_fail(LLAMA2_E_INVALID, "%lld rows are no heads of %lld", (long long)job.rows, (long long)head_dim);
    job.rows_a_task = job.rows / MAX_TASKS + ELEMENTS_A_TASK / job.columns + 1;
    l2_parallel(ctx, (int32_t)((job.rows + job.rows_a_task - 1) / job.rows_a_task), read_rows, &job);
    return LLAMA2_OK;
}
