#include "format/torch_pth.h"
#include "base/alloc.h"
#include "format/sort.h"
#include "math/tensor.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME(tensor) (tensor)->name_length > 64 ? 64 : (int)(tensor)->name_length, (tensor)->name

enum { MAX_PATH_IN_ZIP = 512 };

/* The folder that torch puts everything in: what stands before the only name of the form <folder>/data.pkl. */
static const l2_zip_entry *find_pickle(const l2_torch_zip *zip)
{
    static const char file[] = "/data.pkl";
    const size_t length = sizeof file - 1;
    for (size_t i = 0; i < zip->n_entries; i++) {
        const l2_zip_entry *e = &zip->entries[i];
        if (e->name_length > length && e->name_length <= MAX_PATH_IN_ZIP / 2 &&
            memcmp(e->name + e->name_length - length, file, length) == 0 &&
            !memchr(e->name, '/', e->name_length - length))
            return e;
    }
    return NULL;
}

/* Another entry of the folder of the pickle. */
static const l2_zip_entry *find_beside(const l2_torch_zip *zip, const l2_zip_entry *pickle, const char *name,
                                       size_t length)
{
    char path[MAX_PATH_IN_ZIP];
    if (length > MAX_PATH_IN_ZIP / 2 - 1) return NULL;
    int folder = (int)pickle->name_length - (int)sizeof "data.pkl" + 1;
    snprintf(path, sizeof path, "%.*s%.*s", folder, pickle->name, (int)length, name);
    return l2_torch_zip_find(zip, path);
}

static llama2_status check_byte_order(const l2_torch_zip *zip, const l2_zip_entry *pickle)
{
    const l2_zip_entry *order = find_beside(zip, pickle, "byteorder", sizeof "byteorder" - 1);
    if (!order || (order->size == 6 && memcmp(order->data, "little", 6) == 0)) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_UNSUPPORTED, "byteorder is \"%.*s\", only \"little\" is supported",
                   order->size > 16 ? 16 : (int)order->size, (const char *)order->data);
}

static llama2_status place(const l2_torch_zip *zip, const l2_zip_entry *pickle, l2_torch_tensor *t)
{
    char name[MAX_PATH_IN_ZIP / 4];
    snprintf(name, sizeof name, "data/%.*s", t->storage_length > 100 ? 100 : (int)t->storage_length, t->storage);
    t->entry = find_beside(zip, pickle, name, strlen(name));
    if (!t->entry || t->storage_length > 100)
        return l2_fail(LLAMA2_E_FORMAT, "its storage \"%s\" is not in the file", name);
    size_t size = l2_dtype_size(t->dtype);
    if (t->entry->size % size || t->entry->size / size != (uint64_t)t->storage_count)
        return l2_fail(LLAMA2_E_FORMAT,
                       "its storage \"%s\" of %" PRId64 " elements of %zu bytes has %" PRIu64 " bytes in the file",
                       name, t->storage_count, size, t->entry->size);
    t->data = t->entry->data + (size_t)t->offset * size;
    return LLAMA2_OK;
}

static int by_place(const void *a, const void *b)
{
    const l2_torch_tensor *x = *(const l2_torch_tensor *const *)a, *y = *(const l2_torch_tensor *const *)b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static int same_view(const l2_torch_tensor *a, const l2_torch_tensor *b)
{
    return a->data == b->data && a->dtype == b->dtype && a->n_dims == b->n_dims &&
           memcmp(a->shape, b->shape, sizeof a->shape) == 0 && memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

/* Tied weights are one view under two names. Other overlaps no model has, and they would let a small file claim much
 * memory. */
static llama2_status check_apart(const l2_torch_file *file)
{
    const l2_torch_tensor **order;
    llama2_status status = LLAMA2_OK;
    size_t n = 0;
    L2_TRY(l2_alloc(file->ctx, file->n_tensors, sizeof *order, &order));
    for (size_t i = 0; i < file->n_tensors; i++)
        if (file->tensors[i].extent) order[n++] = &file->tensors[i];
    l2_sort(order, n, sizeof *order, by_place);
    for (size_t i = 1; i < n && status == LLAMA2_OK; i++) {
        const l2_torch_tensor *a = order[i - 1], *b = order[i];
        if (b->data < a->data + (size_t)a->extent * l2_dtype_size(a->dtype) && !same_view(a, b))
            status = l2_fail(LLAMA2_E_UNSUPPORTED, "tensors \"%.*s\" and \"%.*s\" overlap in their storage", NAME(a),
                             NAME(b));
    }
    l2_free(file->ctx, order);
    return status;
}

static llama2_status parse(void *format, const unsigned char *data, size_t size)
{
    l2_torch_file *file = format;
    L2_TRY(l2_torch_zip_parse(file->ctx, data, size, &file->zip));
    const l2_zip_entry *pickle = find_pickle(&file->zip);
    if (!pickle)
        return l2_fail(LLAMA2_E_FORMAT, "is a zip archive, but no file of torch.save: it has no <folder>/data.pkl");
    L2_TRY(check_byte_order(&file->zip, pickle));
    L2_TRY(l2_zip_entry_check(pickle, NULL));
    llama2_status status =
        l2_pickle_read(file->ctx, pickle->data, (size_t)pickle->size, &file->tensors, &file->n_tensors);
    if (status < 0) return l2_fail_in(status, "data.pkl");
    for (size_t i = 0; i < file->n_tensors; i++) {
        status = place(&file->zip, pickle, &file->tensors[i]);
        if (status < 0) return l2_fail_in(status, "tensor \"%.*s\"", NAME(&file->tensors[i]));
    }
    return check_apart(file);
}

llama2_status l2_torch_parse(llama2_context *ctx, const void *data, size_t size, l2_torch_file *out)
{
    *out = (l2_torch_file){.ctx = ctx};
    llama2_status status = parse(out, data, size);
    if (status < 0) l2_torch_close(out);
    return status;
}

llama2_status l2_torch_open(llama2_context *ctx, const char *path, int in_memory, l2_torch_file *out)
{
    *out = (l2_torch_file){.ctx = ctx};
    llama2_status status = l2_file_parse(ctx, path, in_memory, &out->view, parse, out);
    if (status < 0) l2_torch_close(out);
    return status;
}

void l2_torch_close(l2_torch_file *file)
{
    if (!file->ctx) return;
    l2_free(file->ctx, file->tensors);
    l2_torch_zip_close(&file->zip);
    if (file->view.data) l2_file_release(file->ctx, &file->view);
    memset(file, 0, sizeof *file);
}

static int name_to_tensor(const void *name, const void *element)
{
    const l2_torch_tensor *t = element;
    return l2_compare_text(name, strlen(name), t->name, t->name_length);
}

const l2_torch_tensor *l2_torch_find(const l2_torch_file *file, const char *name)
{
    return l2_search(name, file->tensors, file->n_tensors, sizeof *file->tensors, name_to_tensor);
}
