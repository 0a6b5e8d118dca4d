/*
 * Any bytes as a model's folder, of Hugging Face or of Meta: a status, and all numbers of a model that is accepted can
 * be read, converted, as stored and in one pass. The input is <1 byte: odd for Hugging Face; bit 1: Meta's with two
 * shards of the same bytes><2 bytes: length of the JSON><config.json or params.json><the weights>. The folder is made
 * where the fuzzer runs.
 */
#include "base/context.h"
#include "model/model.h"
#include <llama2/llama2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static llama2_context *ctx;
static char folder[32];

static void put(const char *name, const void *data, size_t size)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) abort();
}

static void read_all(const llama2_model *m)
{
    for (int32_t i = 0; i < m->n_params; i++) {
        const l2_param *p = &m->params[i];
        float *out = malloc((size_t)(p->rows * p->columns) * sizeof *out);
        if (out) l2_model_read_rows(m, p, 0, p->rows, LLAMA2_F32, out);
        l2_model_forget_rows(m, p, 0, p->rows);
        if (out) l2_model_read_rows(m, p, p->rows / 2, p->rows - p->rows / 2, LLAMA2_F32, out);
        free(out);
    }
}

static void try_loads(void)
{
    static const int32_t weights[] = {LLAMA2_WEIGHTS_CONVERTED, LLAMA2_WEIGHTS_AS_STORED};
    double shift, scale;
    llama2_model *m;
    for (int i = 0; i < 3; i++) {
        const llama2_model_options o = {
            .struct_size = sizeof o, .dtype = LLAMA2_F32, .weights = weights[i < 2 ? i : 0]};
        llama2_status status =
            i < 2 ? llama2_model_load(ctx, folder, &o, &m) : l2_model_open(ctx, folder, &m, &shift, &scale);
        if (status < 0 && (m || !llama2_last_error()[0])) abort();
        if (m) read_all(m);
        llama2_model_free(m);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!ctx && llama2_context_create(NULL, &ctx) < 0) return 0;
    if (size < 3) return 0;
    size_t json = (size_t)data[1] | (size_t)data[2] << 8, rest;
    if (json > size - 3) json = size - 3;
    rest = size - 3 - json;
    strcpy(folder, "fuzz-folder-XXXXXX");
    if (!mkdtemp(folder)) abort();
    put(data[0] & 1 ? "config.json" : "params.json", data + 3, json);
    put(data[0] & 1 ? "model.safetensors" : "consolidated.00.pth", data + 3 + json, rest);
    if ((data[0] & 3) == 2) put("consolidated.01.pth", data + 3 + json, rest);
    try_loads();
    if (l2_remove_tree(ctx, folder) < 0) abort();
    return 0;
}
