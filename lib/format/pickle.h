/*
 * The pickle in a file of torch.save, as far as state dicts of plain tensors need it. Nothing is imported, called or
 * executed: the machine knows collections.OrderedDict, torch._utils._rebuild_tensor_v2 and three types of storage, and
 * refuses every other global, opcode and call by its name. Its stack, memo and objects have fixed limits; no step
 * recurses.
 */
#ifndef L2_FORMAT_PICKLE_H
#define L2_FORMAT_PICKLE_H

#include "base/status.h"

enum { L2_TORCH_MAX_DIMS = 4 };

/* What the machine takes at most: some 2,000 tensors; the largest Llama has 1,138. */
enum {
    L2_PICKLE_MAX_STACK = 4096,
    L2_PICKLE_MAX_MEMO = 24576,
    L2_PICKLE_MAX_CELLS = 40960, /* elements of all tuples, and one a tuple */
    L2_PICKLE_MAX_TENSORS = 2048,
    L2_PICKLE_MAX_ITEMS = 4096 /* of all dicts */
};

struct l2_zip_entry;

/* A tensor of the outermost dict: a view of a storage, inside it, no two of its elements in the same place. Text points
 * into the pickle, without a NUL after it. */
typedef struct l2_torch_tensor {
    const char *name, *storage; /* its key; the key of its storage */
    uint32_t name_length, storage_length;
    int32_t dtype; /* of the storage: LLAMA2_F32, _F16 or _BF16 */
    int32_t n_dims;
    int64_t shape[L2_TORCH_MAX_DIMS], stride[L2_TORCH_MAX_DIMS];
    int64_t offset, extent; /* elements of the storage: the first one, and how many from it to the last one */
    int64_t storage_count;  /* elements */
    /* Set by torch_pth.c: the first element, the storage. */
    const unsigned char *data;
    const struct l2_zip_entry *entry;
} l2_torch_tensor;

/* The tensors, allocated, sorted by name. Errors: UNSUPPORTED (a global, an opcode, an object that is no tensor),
 * LIMIT, TRUNCATED, FORMAT; the message has the byte of the pickle. */
llama2_status l2_pickle_read(llama2_context *ctx, const void *data, size_t size, l2_torch_tensor **out,
                             size_t *n_tensors);

#endif
