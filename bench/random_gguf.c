/*
 * Writes a GGUF file of a Llama with random weights, straight as blocks of a type, so that a 7B takes seconds: for
 * measuring speed and memory of what nobody wants to download. The vocabulary is made up too; any text can be encoded
 * with it.
 *
 * random_gguf FILE [7b | 1b | 135m [TYPE]]        TYPE: a name of ggml's, such as Q4_0 (default), Q8_0, Q6_K, BF16
 */
#include "format/bytes.h"
#include "format/gguf.h"
#include "math/half.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape {
    const char *name;
    uint32_t vocab_size, dim, n_layers, n_heads, n_kv_heads, ffn_dim, context;
} shape;

static const shape shapes[] = {{"7b", 32000, 4096, 32, 32, 32, 11008, 4096},
                               {"1b", 32000, 2048, 22, 32, 4, 5632, 2048},
                               {"135m", 49152, 576, 30, 9, 3, 1536, 2048}};

typedef struct output {
    FILE *file;
    const char *path;
    uint64_t size, n_tensors, offset, state;
    int32_t type;
} output;

static void put(output *o, const void *bytes, size_t n)
{
    if (fwrite(bytes, 1, n, o->file) != n) {
        perror(o->path);
        exit(1);
    }
    o->size += n;
}

static void put_u32(output *o, uint32_t value)
{
    unsigned char bytes[4];
    l2_put_u32(bytes, value);
    put(o, bytes, sizeof bytes);
}

static void put_u64(output *o, uint64_t value)
{
    unsigned char bytes[8];
    l2_put_u64(bytes, value);
    put(o, bytes, sizeof bytes);
}

static void put_text(output *o, const char *text)
{
    put_u64(o, strlen(text));
    put(o, text, strlen(text));
}

static void put_key(output *o, const char *key, uint32_t type)
{
    put_text(o, key);
    put_u32(o, type);
}

static void put_number(output *o, const char *key, uint32_t value)
{
    put_key(o, key, L2_GGUF_U32);
    put_u32(o, value);
}

static void put_real(output *o, const char *key, float value)
{
    put_key(o, key, L2_GGUF_F32);
    put_u32(o, l2_f32_bits(value));
}

static void put_string(output *o, const char *key, const char *value)
{
    put_key(o, key, L2_GGUF_STRING);
    put_text(o, value);
}

static void put_array(output *o, const char *key, uint32_t element, uint64_t count)
{
    put_key(o, key, L2_GGUF_ARRAY);
    put_u32(o, element);
    put_u64(o, count);
}

/* --- a vocabulary ------------------------------------------------------------------------------ */

enum { SPECIALS = 3, BYTES = 256, LETTERS = 26, NORMAL = 1, UNKNOWN = 2, CONTROL = 3, BYTE = 6 };

/* <unk> <s> </s>, the bytes, then a, b, ..., z, aa, ab, ...: numerals in base 26 without a zero. */
static void piece(uint32_t id, char text[16])
{
    static const char *const specials[SPECIALS] = {"<unk>", "<s>", "</s>"};
    char reversed[16];
    int n = 0, at = 0;
    if (id < SPECIALS)
        strcpy(text, specials[id]);
    else if (id < SPECIALS + BYTES)
        sprintf(text, "<0x%02X>", id - SPECIALS);
    else {
        for (uint32_t rest = id - SPECIALS - BYTES + 1; rest > 0; rest = (rest - 1) / LETTERS)
            reversed[n++] = (char)('a' + (rest - 1) % LETTERS);
        while (n > 0) text[at++] = reversed[--n];
        text[at] = 0;
    }
}

static void put_vocabulary(output *o, uint32_t n)
{
    char text[16];
    put_string(o, "tokenizer.ggml.model", "llama");
    put_array(o, "tokenizer.ggml.tokens", L2_GGUF_STRING, n);
    for (uint32_t i = 0; i < n; i++) {
        piece(i, text);
        put_text(o, text);
    }
    put_array(o, "tokenizer.ggml.scores", L2_GGUF_F32, n);
    for (uint32_t i = 0; i < n; i++) put_u32(o, l2_f32_bits(i < SPECIALS + BYTES ? 0 : -(float)i));
    put_array(o, "tokenizer.ggml.token_type", L2_GGUF_I32, n);
    for (uint32_t i = 0; i < n; i++)
        put_u32(o, i == 0 ? UNKNOWN : i < SPECIALS ? CONTROL : i < SPECIALS + BYTES ? BYTE : NORMAL);
    put_number(o, "tokenizer.ggml.bos_token_id", 1);
    put_number(o, "tokenizer.ggml.eos_token_id", 2);
}

/* --- tensors ------------------------------------------------------------------------------------- */

static uint32_t next(output *o)
{
    o->state = o->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(o->state >> 32);
}

/* Where the fp16 units of a block are, and what makes the numbers 0.02 or so. */
static int units_of(int32_t type, int at[2], float *unit)
{
    at[0] = 0, at[1] = 2;
    switch (type) {
    case L2_GGML_Q4_0: *unit = 0.0043f; return 1;
    case L2_GGML_Q5_0: *unit = 0.0022f; return 1;
    case L2_GGML_Q8_0: *unit = 0.00027f; return 1;
    case L2_GGML_IQ4_NL: *unit = 0.0003f; return 1;
    case L2_GGML_Q6_K: at[0] = 208, *unit = 0.00002f; return 1;
    case L2_GGML_Q3_K: at[0] = 108, *unit = 0.0005f; return 1;
    case L2_GGML_Q4_K: *unit = 0.00007f; return 1;
    case L2_GGML_Q5_K: *unit = 0.000035f; return 1;
    default: return 0;
    }
}

static void put_row(output *o, uint64_t columns)
{
    static unsigned char row[1 << 17];
    uint32_t elements, bytes;
    int at[2];
    float unit = 0;
    l2_ggml_type(o->type, &elements, &bytes);
    size_t size = (size_t)(columns / elements * bytes);
    int plain = o->type == L2_GGML_F16 || o->type == L2_GGML_BF16, units = units_of(o->type, at, &unit);
    for (size_t i = 0; i + 4 <= size + 3; i += 4) l2_put_u32(row + i, next(o));
    for (size_t i = 0; units && i < size; i += bytes) {
        uint16_t half = l2_f16_from_f32(unit);
        row[i + (size_t)at[0]] = (unsigned char)half;
        row[i + (size_t)at[0] + 1] = (unsigned char)(half >> 8);
        if (o->type == L2_GGML_Q4_K || o->type == L2_GGML_Q5_K) memset(row + i + at[1], 0, 2);
    }
    for (size_t i = 0; plain && i < size; i += 2) {
        float x = 0.02f * ((float)row[i] / 128 - 1);
        uint16_t half = o->type == L2_GGML_F16 ? l2_f16_from_f32(x) : l2_bf16_from_f32(x);
        row[i] = (unsigned char)half;
        row[i + 1] = (unsigned char)(half >> 8);
    }
    put(o, row, size);
}

static uint64_t padded(uint64_t size)
{
    return (size + 31) / 32 * 32;
}

/* Two passes over the tensors: `data` 0 writes their infos, 1 themselves. A gain has no rows. */
static void tensor(output *o, int data, const char *name, uint64_t columns, uint64_t rows)
{
    uint32_t elements, bytes;
    l2_ggml_type(o->type, &elements, &bytes);
    uint64_t size = rows ? columns / elements * bytes * rows : 4 * columns;
    if (!data) {
        o->n_tensors++;
        put_text(o, name);
        put_u32(o, rows ? 2 : 1);
        put_u64(o, columns);
        if (rows) put_u64(o, rows);
        put_u32(o, (uint32_t)(rows ? o->type : L2_GGML_F32));
        put_u64(o, o->offset);
        o->offset += padded(size);
        return;
    }
    for (uint64_t i = 0; i < rows; i++) put_row(o, columns);
    for (uint64_t i = 0; !rows && i < columns; i++) put_u32(o, l2_f32_bits(1));
    while (o->size % 32) put(o, "", 1);
}

static void tensors(output *o, int data, const shape *s)
{
    uint64_t d = s->dim, kv = d * s->n_kv_heads / s->n_heads, f = s->ffn_dim;
    const struct {
        const char *name;
        uint64_t columns, rows;
    } of_layer[] = {{"attn_norm", d, 0}, {"attn_q", d, d},      {"attn_k", d, kv},
                    {"attn_v", d, kv},   {"attn_output", d, d}, {"ffn_norm", d, 0},
                    {"ffn_gate", d, f},  {"ffn_up", d, f},      {"ffn_down", f, d}};
    char name[64];
    tensor(o, data, "token_embd.weight", d, s->vocab_size);
    tensor(o, data, "output.weight", d, s->vocab_size);
    tensor(o, data, "output_norm.weight", d, 0);
    for (uint32_t layer = 0; layer < s->n_layers; layer++)
        for (size_t i = 0; i < sizeof of_layer / sizeof *of_layer; i++) {
            snprintf(name, sizeof name, "blk.%u.%s.weight", layer, of_layer[i].name);
            tensor(o, data, name, of_layer[i].columns, of_layer[i].rows);
        }
}

static void write_model(output *o, const shape *s)
{
    put(o, "GGUF", 4);
    put_u32(o, 3);
    put_u64(o, 3 + 9 * (uint64_t)s->n_layers);
    put_u64(o, 16);
    put_string(o, "general.architecture", "llama");
    put_string(o, "general.name", "random");
    put_number(o, "llama.block_count", s->n_layers);
    put_number(o, "llama.context_length", s->context);
    put_number(o, "llama.embedding_length", s->dim);
    put_number(o, "llama.feed_forward_length", s->ffn_dim);
    put_number(o, "llama.attention.head_count", s->n_heads);
    put_number(o, "llama.attention.head_count_kv", s->n_kv_heads);
    put_number(o, "llama.rope.dimension_count", s->dim / s->n_heads);
    put_real(o, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    put_vocabulary(o, s->vocab_size);
    tensors(o, 0, s);
    while (o->size % 32) put(o, "", 1);
    tensors(o, 1, s);
}

static int32_t type_of(const char *name)
{
    for (int32_t type = 0; type < 64; type++) {
        int at[2];
        float unit;
        const char *known = l2_ggml_type(type, NULL, NULL);
        int writes = type == L2_GGML_F16 || type == L2_GGML_BF16 || units_of(type, at, &unit);
        if (known && writes && strcmp(known, name) == 0) return type;
    }
    return -1;
}

int main(int argc, char **argv)
{
    const shape *s = NULL;
    const char *which = argc > 2 ? argv[2] : "7b";
    output o = {.path = argc > 1 ? argv[1] : "", .state = 1, .type = type_of(argc > 3 ? argv[3] : "Q4_0")};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, which) == 0) s = &shapes[i];
    uint32_t elements = 1;
    if (o.type >= 0) l2_ggml_type(o.type, &elements, NULL);
    if (argc < 2 || !s || o.type < 0 || s->dim % elements || s->ffn_dim % elements) {
        fputs("random_gguf FILE [7b | 1b | 135m [Q4_0 | Q5_0 | Q8_0 | Q3_K | Q4_K | Q5_K | Q6_K | IQ4_NL | F16 | "
              "BF16]]; types "
              "named K don't fit 135m\n",
              stderr);
        return 2;
    }
    o.file = fopen(o.path, "wbe");
    if (!o.file) {
        perror(o.path);
        return 1;
    }
    write_model(&o, s);
    if (fclose(o.file) != 0) {
        perror(o.path);
        return 1;
    }
    printf("%s: %.2f GB\n", o.path, (double)o.size * 1e-9);
    return 0;
}
