/* Files of torch.save that a test puts together: pickles of state dicts, zip archives. */
#ifndef TORCH_FILE_H
#define TORCH_FILE_H

#include "base/checksum.h"
#include "gguf_file.h"

typedef gguf_file buffer;

/* --- pickles --------------------------------------------------------------------------------- */

static inline void pickle_text(buffer *p, const char *text)
{
    put_u8(p, 'X');
    put_u32(p, (uint32_t)strlen(text));
    put(p, text, strlen(text));
}

/* LONG1 of 8 bytes, whatever the number. */
static inline void pickle_int(buffer *p, int64_t number)
{
    put(p, "\x8a\x08", 2);
    put_u64(p, (uint64_t)number);
}

static inline void pickle_ints(buffer *p, const int64_t *numbers, int n)
{
    put_u8(p, '(');
    for (int i = 0; i < n; i++) pickle_int(p, numbers[i]);
    put_u8(p, 't');
}

typedef struct torch_tensor {
    const char *name, *type; /* "FloatStorage" */
    const char *storage;
    int64_t count, offset;
    int n_sizes, n_strides;
    int64_t sizes[6], strides[6];
} torch_tensor;

/* What torch pickles of a tensor. */
static inline void pickle_tensor(buffer *p, const torch_tensor *t)
{
    static const char rebuild[] = "ctorch._utils\n_rebuild_tensor_v2\n((", ordered[] =
                                                                               "\x89"
                                                                               "ccollections\nOrderedDict\n)RtR";
    put(p, rebuild, sizeof rebuild - 1);
    pickle_text(p, "storage");
    put(p, "ctorch\n", 7);
    put(p, t->type, strlen(t->type));
    put_u8(p, '\n');
    pickle_text(p, t->storage);
    pickle_text(p, "cpu");
    pickle_int(p, t->count);
    put(p, "tQ", 2);
    pickle_int(p, t->offset);
    pickle_ints(p, t->sizes, t->n_sizes);
    pickle_ints(p, t->strides, t->n_strides);
    put(p, ordered, sizeof ordered - 1);
}

static inline buffer pickle_dict(const torch_tensor *tensors, int n)
{
    buffer p = {0};
    put(&p, "\x80\x02}(", 4);
    for (int i = 0; i < n; i++) {
        pickle_text(&p, tensors[i].name);
        pickle_tensor(&p, &tensors[i]);
    }
    put(&p, "u.", 2);
    return p;
}

/* --- archives -------------------------------------------------------------------------------- */

/* What an archive is made of, and where its parts lie in `file` after archive_end(). */
typedef struct archive {
    buffer file, directory;
    unsigned n;
    size_t local[8], central[8]; /* records of the first entries */
    size_t end_64, locator, end;
} archive;

/* A stored entry as torch writes it: sizes after the data, data at a multiple of 64. */
static inline void archive_add(archive *a, const char *name, const void *data, size_t size)
{
    size_t at = a->file.size, length = strlen(name), padding = (64 - (at + 30 + length + 4) % 64) % 64;
    uint32_t crc = l2_crc32(0, data, size);
    if (a->n < 8) a->local[a->n] = at, a->central[a->n] = a->directory.size;
    a->n++;
    put(&a->file, "PK\3\4\0\0\x08\x08\0\0", 10);
    put_zeros(&a->file, 16);
    put_u8(&a->file, (unsigned)length & 255), put_u8(&a->file, (unsigned)length >> 8);
    put_u8(&a->file, (unsigned)padding + 4), put_u8(&a->file, 0);
    put(&a->file, name, length);
    put(&a->file, "FB", 2), put_u8(&a->file, (unsigned)padding), put_u8(&a->file, 0);
    put_zeros(&a->file, padding);
    put(&a->file, data, size);
    put(&a->file, "PK\7\x08", 4), put_u32(&a->file, crc);
    put_u32(&a->file, (uint32_t)size), put_u32(&a->file, (uint32_t)size);

    put(&a->directory, "PK\1\2\0\0\0\0\x08\x08\0\0", 12);
    put_u32(&a->directory, 0), put_u32(&a->directory, crc);
    put_u32(&a->directory, (uint32_t)size), put_u32(&a->directory, (uint32_t)size);
    put_u8(&a->directory, (unsigned)length & 255), put_u8(&a->directory, (unsigned)length >> 8);
    put_zeros(&a->directory, 12);
    put_u32(&a->directory, (uint32_t)at);
    put(&a->directory, name, length);
}

static inline void archive_end(archive *a)
{
    size_t begin = a->file.size, size = a->directory.size;
    put(&a->file, a->directory.bytes, size);
    for (int i = 0; i < 8; i++) a->central[i] += begin;
    a->end_64 = a->file.size;
    put(&a->file, "PK\6\6", 4), put_u64(&a->file, 44);
    put_u32(&a->file, 0), put_u32(&a->file, 0), put_u32(&a->file, 0);
    put_u64(&a->file, a->n), put_u64(&a->file, a->n), put_u64(&a->file, size), put_u64(&a->file, begin);
    a->locator = a->file.size;
    put(&a->file, "PK\6\7", 4), put_u32(&a->file, 0), put_u64(&a->file, a->end_64), put_u32(&a->file, 1);
    a->end = a->file.size;
    put(&a->file, "PK\5\6\0\0\0\0", 8);
    for (int i = 0; i < 2; i++) put_u8(&a->file, a->n & 255), put_u8(&a->file, a->n >> 8 & 255);
    put_u32(&a->file, (uint32_t)size), put_u32(&a->file, (uint32_t)begin);
    put_zeros(&a->file, 2);
    free(a->directory.bytes);
}

/* data.pkl and storages of `sizes` bytes under the keys "0", "1", ... with bytes 0 1 2 ... */
static inline archive torch_archive(const void *pickle, size_t size, const size_t *sizes, int n)
{
    archive a = {0};
    char name[32];
    archive_add(&a, "m/data.pkl", pickle, size);
    archive_add(&a, "m/byteorder", "little", 6);
    for (int i = 0; i < n; i++) {
        unsigned char *data = malloc(sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++) data[j] = (unsigned char)j;
        snprintf(name, sizeof name, "m/data/%d", i);
        archive_add(&a, name, data, sizes[i]);
        free(data);
    }
    archive_add(&a, "m/version", "3\n", 2);
    archive_end(&a);
    return a;
}

/* What a bad file gives. */
typedef struct expected {
    llama2_status code;
    const char *message;
} expected;

/* A copy without room after it, so that a sanitizer sees every byte that is read past the end. */
static inline unsigned char *exact(const buffer *b)
{
    unsigned char *copy = malloc(b->size ? b->size : 1);
    if (b->size) memcpy(copy, b->bytes, b->size);
    return copy;
}

#endif
