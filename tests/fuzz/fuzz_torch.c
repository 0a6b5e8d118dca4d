/* Any bytes as a file of torch.save, and as the pickle in one: a status, and all numbers of
 * what is accepted can be read. */
#include "base/alloc.h"
#include "base/context.h"
#include "format/joined.h"
#include "format/torch_pth.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static llama2_context *ctx;

static void read_numbers(const l2_torch_tensor *t)
{
    if (t->n_dims < 1 || t->n_dims > 2 || !t->extent) return;
    int64_t rows = t->shape[0], columns = t->n_dims > 1 ? t->shape[1] : 1;
    l2_part part = {t->data, t->stride[0], t->n_dims > 1 ? t->stride[1] : 1, t->dtype};
    l2_joined whole = {&part, 1, L2_JOIN_ROWS, rows, columns, rows % 2 ? 0 : rows};
    double *out = malloc((size_t)(rows * columns) * sizeof *out); /* no two elements are in one place of the file */
    if (out) l2_joined_read(ctx, &whole, 0, rows, LLAMA2_F64, out);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    l2_torch_file file;
    l2_torch_tensor *tensors;
    size_t n;
    if (!ctx && llama2_context_create(NULL, &ctx) < 0) return 0;
    if (l2_pickle_read(ctx, data, size, &tensors, &n) == LLAMA2_OK) l2_free(ctx, tensors);
    if (l2_torch_parse(ctx, data, size, &file) < 0) return 0;
    for (size_t i = 0; i < file.n_tensors; i++) {
        l2_zip_entry_check(file.tensors[i].entry, &file.view);
        read_numbers(&file.tensors[i]);
    }
    l2_torch_close(&file);
    return 0;
}
