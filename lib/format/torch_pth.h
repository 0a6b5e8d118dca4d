/*
 * A file of torch.save that holds a state dict: a zip archive of one pickle and the storages, as raw numbers. All but
 * the numbers is checked when the file is opened.
 *
 *     l2_torch_file file;
 *     L2_TRY(l2_torch_open(ctx, path, 0, &file));
 *     const l2_torch_tensor *t = l2_torch_find(&file, "norm.weight");     // NULL: not there
 *     L2_CHECK(l2_zip_entry_check(t->entry, &file.view));                 // the CRC of its storage
 *     ... t->data[t->stride[0] * i] ...                                   // through format/joined.h
 *     l2_torch_close(&file);
 */
#ifndef L2_FORMAT_TORCH_PTH_H
#define L2_FORMAT_TORCH_PTH_H

#include "base/files.h"
#include "format/pickle.h"
#include "format/torch_zip.h"

typedef struct l2_torch_file {
    llama2_context *ctx;
    l2_file_view view;
    l2_torch_zip zip;
    l2_torch_tensor *tensors; /* sorted by name; two either share nothing or are the same view of a storage */
    size_t n_tensors;
} l2_torch_file;

/* in_memory as for GGUF. On failure *out is zeroed; closing that is fine. Errors: IO, NOT_FOUND, those of
 * l2_torch_zip_parse and l2_pickle_read; FORMAT (no pickle, storages that are not there or of another size), CORRUPT
 * (the pickle's CRC), UNSUPPORTED (big-endian; tensors that overlap). */
llama2_status l2_torch_open(llama2_context *ctx, const char *path, int in_memory, l2_torch_file *out);
/* The same on bytes that the caller keeps. */
llama2_status l2_torch_parse(llama2_context *ctx, const void *data, size_t size, l2_torch_file *out);
void l2_torch_close(l2_torch_file *file);

/* NULL where there is no such tensor; sets no message. */
const l2_torch_tensor *l2_torch_find(const l2_torch_file *file, const char *name);

#endif
