/* Any bytes as a GGUF file: a status, and all that an accepted file declares can be found and read. */
#include "base/context.h"
#include "format/quantised.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static llama2_context *ctx;
static volatile unsigned touched; /* so that reads are not optimised away */

static void read_array(const l2_gguf_value *v)
{
    l2_gguf_cursor strings;
    const char *text;
    size_t length;
    if (l2_gguf_strings(v, &strings) == LLAMA2_OK)
        while (l2_gguf_next(&strings, &text, &length))
            touched += length ? (unsigned char)text[0] + (unsigned char)text[length - 1] : 0u;
    int32_t *out = malloc((size_t)v->count * sizeof *out + 1);
    if (out && v->element != L2_GGUF_STRING) {
        l2_gguf_floats(v, (float *)(void *)out);
        l2_gguf_int32s(v, out);
    }
    free(out);
}

static void read_value(const l2_gguf *file, const l2_gguf_value *v)
{
    int64_t integer;
    double number;
    int truth;
    const char *text;
    size_t length;
    char *key = calloc(v->key_length + 1u, 1);
    if (!key) return;
    memcpy(key, v->key, v->key_length);
    if (l2_gguf_find(file, key) != v) abort();
    free(key);
    l2_gguf_int(v, &integer);
    l2_gguf_double(v, &number);
    l2_gguf_bool(v, &truth);
    l2_gguf_string(v, &text, &length);
    if (v->type == L2_GGUF_ARRAY) read_array(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    l2_gguf file;
    if (!ctx && llama2_context_create(NULL, &ctx) < 0) return 0;
    if (l2_gguf_parse(ctx, data, size, &file) < 0) return 0;
    for (size_t i = 0; i < file.n_values; i++) read_value(&file, &file.values[i]);
    for (size_t i = 0; i < file.n_tensors; i++) {
        const l2_gguf_tensor *t = &file.tensors[i];
        double *out = malloc((size_t)l2_gguf_count(t) * sizeof *out + 1);
        if (out) l2_gguf_read(ctx, t, 0, LLAMA2_F64, out);
        free(out);
    }
    l2_gguf_close(&file);
    return 0;
}
