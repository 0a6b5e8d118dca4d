/*
 * The zip archives that torch.save writes: stored entries, sizes in zip64 where they need it. The directory is checked
 * whole when an archive is opened, against the headers of the entries too: they lie inside the file, apart from each
 * other, under different names.
 */
#ifndef L2_FORMAT_TORCH_ZIP_H
#define L2_FORMAT_TORCH_ZIP_H

#include "base/files.h"

typedef struct l2_zip_entry {
    const char *name; /* valid UTF-8 without a NUL; no NUL follows it */
    const unsigned char *header, *data;
    uint64_t size;
    uint32_t name_length;
    uint32_t crc; /* of the data; 0 where its writer computed none */
} l2_zip_entry;

/* The bytes stay the caller's and must outlive the archive. */
typedef struct l2_torch_zip {
    llama2_context *ctx;
    l2_zip_entry *entries; /* sorted by name */
    size_t n_entries;
} l2_torch_zip;

/*
 * On failure *out is zeroed; closing that is fine. Errors: TRUNCATED (no directory at the end; an entry ends past it),
 * UNSUPPORTED (deflated, encrypted, in several parts), FORMAT.
 */
llama2_status l2_torch_zip_parse(llama2_context *ctx, const void *data, size_t size, l2_torch_zip *out);
void l2_torch_zip_close(l2_torch_zip *zip);

/* NULL where there is no such entry; sets no message. */
const l2_zip_entry *l2_torch_zip_find(const l2_torch_zip *zip, const char *name);

/* CORRUPT where the data have another CRC than the directory says. They are read once, and what is mapped of `view`
 * (may be NULL) is let go behind. */
llama2_status l2_zip_entry_check(const l2_zip_entry *entry, const l2_file_view *view);

#endif
