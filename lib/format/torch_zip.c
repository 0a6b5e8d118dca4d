#include "format/torch_zip.h"
#include "base/alloc.h"
#include "base/checksum.h"
#include "base/utf8.h"
#include "format/bytes.h"
#include "format/sort.h"
#include <inttypes.h>
#include <string.h>

/* APPNOTE.TXT, PKWARE's description of the format: signatures, and bytes of the fixed part of each record. */
enum { LOCAL = 30, CENTRAL = 46, END = 22, END_64 = 56, LOCATOR_64 = 20 };
static const unsigned char local_magic[4] = {'P', 'K', 3, 4}, central_magic[4] = {'P', 'K', 1, 2},
                           end_magic[4] = {'P', 'K', 5, 6}, end_64_magic[4] = {'P', 'K', 6, 6},
                           locator_magic[4] = {'P', 'K', 6, 7};

enum { PIECE = 4 << 20 }; /* of data that are checked, before pages are let go */
enum { ENCRYPTED = 1, SIZES_FOLLOW = 8, STORED = 0, DEFLATED = 8, EXTRA_64 = 1 };

#define NAME(entry) (entry)->name_length > 64 ? 64 : (int)(entry)->name_length, (entry)->name

typedef struct archive {
    const unsigned char *bytes;
    size_t size;
    uint64_t n_entries, directory, directory_size; /* bytes [directory, directory + directory_size) of the file */
} archive;

static uint32_t get_u16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static int is(const unsigned char *p, const unsigned char magic[4])
{
    return memcmp(p, magic, 4) == 0;
}

/* --- where the directory is ------------------------------------------------------------------ */

/* A number of the short record: it says nothing, or the same as the long one. */
static int agrees(uint64_t brief, uint64_t unknown, uint64_t full)
{
    return brief == unknown || brief == full;
}

/* The directory ends at `at`, where its own end is described. */
static llama2_status check_end(const archive *a, uint64_t at)
{
    if (a->directory > at || a->directory_size != at - a->directory)
        return l2_fail(LLAMA2_E_FORMAT,
                       "byte %" PRIu64 ": the directory is said to have %" PRIu64 " bytes from byte %" PRIu64
                       " on, which do not end here",
                       at, a->directory_size, a->directory);
    return LLAMA2_OK;
}

/* The record of zip64 stands right before its locator, the locator right before the short record at `end`. */
static llama2_status read_end_64(archive *a, uint64_t end)
{
    const unsigned char *locator = a->bytes + end - LOCATOR_64;
    if (end < LOCATOR_64 + END_64 || l2_get_u64(locator + 8) != end - LOCATOR_64 - END_64)
        return l2_fail(LLAMA2_E_FORMAT,
                       "byte %" PRIu64 ": the zip64 directory's end is said to be at byte %" PRIu64
                       ", expected right before this",
                       end - LOCATOR_64, l2_get_u64(locator + 8));
    const unsigned char *p = locator - END_64, *brief = a->bytes + end;
    uint64_t at = end - LOCATOR_64 - END_64;
    if (!is(p, end_64_magic) || l2_get_u64(p + 4) != END_64 - 12)
        return l2_fail(LLAMA2_E_FORMAT, "byte %" PRIu64 ": is no end of a zip64 directory", at);
    if (l2_get_u32(p + 16) || l2_get_u32(p + 20) || l2_get_u64(p + 24) != l2_get_u64(p + 32))
        return l2_fail(LLAMA2_E_UNSUPPORTED, "byte %" PRIu64 ": an archive in several parts", at);
    a->n_entries = l2_get_u64(p + 32);
    a->directory_size = l2_get_u64(p + 40);
    a->directory = l2_get_u64(p + 48);
    if (!agrees(get_u16(brief + 10), 0xffff, a->n_entries) ||
        !agrees(l2_get_u32(brief + 12), 0xffffffff, a->directory_size) ||
        !agrees(l2_get_u32(brief + 16), 0xffffffff, a->directory))
        return l2_fail(LLAMA2_E_FORMAT, "byte %" PRIu64 ": the two ends of the directory, zip64 and not, disagree", at);
    return check_end(a, at);
}

/* torch writes no comment, so the end of the directory is the end of the file. */
static llama2_status find_directory(archive *a)
{
    if (a->size < END || !is(a->bytes + a->size - END, end_magic)) {
        if (a->size < 4 || !is(a->bytes, local_magic))
            return l2_fail(LLAMA2_E_FORMAT, "is no file of torch.save: it does not begin as a zip archive");
        return l2_fail(LLAMA2_E_TRUNCATED, "%zu bytes do not end with the directory of a zip archive", a->size);
    }
    uint64_t end = a->size - END;
    const unsigned char *p = a->bytes + end;
    if (get_u16(p + 20)) return l2_fail(LLAMA2_E_TRUNCATED, "the comment that should end the archive is cut off");
    if (get_u16(p + 4) || get_u16(p + 6) || get_u16(p + 8) != get_u16(p + 10))
        return l2_fail(LLAMA2_E_UNSUPPORTED, "byte %" PRIu64 ": an archive in several parts", end);
    if (end >= LOCATOR_64 && is(p - LOCATOR_64, locator_magic)) return read_end_64(a, end);
    a->n_entries = get_u16(p + 10);
    a->directory_size = l2_get_u32(p + 12);
    a->directory = l2_get_u32(p + 16);
    return check_end(a, end);
}

/* --- entries --------------------------------------------------------------------------------- */

/* Sizes and place of an entry, as read so far; what is 2^32 - 1 stands in the zip64 field, in this order. */
typedef struct sizes {
    uint64_t full, stored, place;
} sizes;

static llama2_status read_extra_64(const unsigned char *extra, size_t length, sizes *s)
{
    uint64_t *const numbers[] = {&s->full, &s->stored, &s->place};
    size_t at = 0, field = 0;
    if (s->full != 0xffffffff && s->stored != 0xffffffff && s->place != 0xffffffff) return LLAMA2_OK;
    for (; length - at >= 4; at += 4 + field) {
        field = get_u16(extra + at + 2);
        if (field > length - at - 4) return l2_fail(LLAMA2_E_FORMAT, "its extra fields end within one");
        if (get_u16(extra + at) != EXTRA_64) continue;
        const unsigned char *p = extra + at + 4;
        for (int i = 0; i < 3; i++) {
            if (*numbers[i] != 0xffffffff) continue;
            if (field < 8) return l2_fail(LLAMA2_E_FORMAT, "its zip64 sizes are cut off");
            *numbers[i] = l2_get_u64(p);
            p += 8;
            field -= 8;
        }
        return LLAMA2_OK;
    }
    return l2_fail(LLAMA2_E_FORMAT, "sizes are said to be in a zip64 field, which is not there");
}

static int is_safe(const char *name, size_t length)
{
    if (name[0] == '/' || memchr(name, 0, length) || memchr(name, '\\', length)) return 0;
    for (size_t i = 0; i + 1 < length; i++)
        if ((i == 0 || name[i - 1] == '/') && name[i] == '.' && name[i + 1] == '.' &&
            (i + 2 == length || name[i + 2] == '/'))
            return 0;
    return l2_utf8_valid_prefix(name, length) == length;
}

static llama2_status check_flags(uint32_t flags, uint32_t method)
{
    if (flags & ENCRYPTED) return l2_fail(LLAMA2_E_UNSUPPORTED, "is encrypted");
    if (method != STORED)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "is compressed (method %" PRIu32 "%s); torch.save stores as it is", method,
                       method == DEFLATED ? ", deflated" : "");
    return LLAMA2_OK;
}

/* The header before the data, which has to say what the directory says; a size of 0 where it follows the data. */
static llama2_status read_local(const archive *a, const sizes *s, uint32_t flags, l2_zip_entry *entry)
{
    int inside = s->place <= a->directory && a->directory - s->place >= LOCAL;
    const unsigned char *p = inside ? a->bytes + s->place : NULL;
    if (!p || !is(p, local_magic)) return l2_fail(LLAMA2_E_FORMAT, "no header is at byte %" PRIu64, s->place);
    uint64_t header = LOCAL + (uint64_t)get_u16(p + 26) + get_u16(p + 28);
    uint32_t full = l2_get_u32(p + 22), stored = l2_get_u32(p + 18);
    if (header > a->directory - s->place || s->full > a->directory - s->place - header)
        return l2_fail(LLAMA2_E_TRUNCATED,
                       "its %" PRIu64 " bytes from byte %" PRIu64 " on exceed the %" PRIu64 " before the directory",
                       s->full, s->place + header, a->directory);
    if (get_u16(p + 26) != entry->name_length || memcmp(p + LOCAL, entry->name, entry->name_length) != 0)
        return l2_fail(LLAMA2_E_FORMAT, "the header at byte %" PRIu64 " has another name", s->place);
    L2_TRY(check_flags(get_u16(p + 6), get_u16(p + 8)));
    int later = (flags & SIZES_FOLLOW) && full == 0 && stored == 0;
    if (!later && (!agrees(full, 0xffffffff, s->full) || !agrees(stored, 0xffffffff, s->full)))
        return l2_fail(LLAMA2_E_FORMAT, "the header at byte %" PRIu64 " says %" PRIu32 " bytes, the directory %" PRIu64,
                       s->place, full, s->full);
    entry->header = p;
    entry->data = p + header;
    entry->size = s->full;
    return LLAMA2_OK;
}

/* The entry whose record is at *at of the directory; its name is known when this fails later. */
static llama2_status read_entry(const archive *a, uint64_t *at, l2_zip_entry *entry)
{
    const unsigned char *p = a->bytes + *at;
    uint64_t left = a->directory + a->directory_size - *at;
    if (left < CENTRAL || !is(p, central_magic))
        return l2_fail(LLAMA2_E_FORMAT, "byte %" PRIu64 ": is no entry of the directory", *at);
    uint64_t name = get_u16(p + 28), extra = get_u16(p + 30), comment = get_u16(p + 32);
    if (name == 0 || name + extra + comment > left - CENTRAL)
        return l2_fail(LLAMA2_E_FORMAT, "byte %" PRIu64 ": an entry without a name, or longer than the directory", *at);
    entry->name = (const char *)p + CENTRAL;
    entry->name_length = (uint32_t)name;
    if (!is_safe(entry->name, (size_t)name)) {
        entry->name = NULL;
        return l2_fail(LLAMA2_E_FORMAT,
                       "byte %" PRIu64 ": a name that is no UTF-8, has a NUL or leads out of the archive", *at);
    }
    sizes s = {l2_get_u32(p + 24), l2_get_u32(p + 20), l2_get_u32(p + 42)};
    entry->crc = l2_get_u32(p + 16);
    *at += CENTRAL + name + extra + comment;
    L2_TRY(check_flags(get_u16(p + 8), get_u16(p + 10)));
    L2_TRY(read_extra_64(p + CENTRAL + name, (size_t)extra, &s));
    if (s.full != s.stored)
        return l2_fail(LLAMA2_E_FORMAT, "is stored as it is, in %" PRIu64 " bytes of %" PRIu64, s.stored, s.full);
    return read_local(a, &s, get_u16(p + 8), entry);
}

static int by_name(const void *a, const void *b)
{
    const l2_zip_entry *x = a, *y = b;
    return l2_compare_text(x->name, x->name_length, y->name, y->name_length);
}

static int by_place(const void *a, const void *b)
{
    const l2_zip_entry *x = a, *y = b;
    return x->header < y->header ? -1 : x->header > y->header;
}

static int name_to_entry(const void *name, const void *element)
{
    const l2_zip_entry *entry = element;
    return l2_compare_text(name, strlen(name), entry->name, entry->name_length);
}

const l2_zip_entry *l2_torch_zip_find(const l2_torch_zip *zip, const char *name)
{
    return l2_search(name, zip->entries, zip->n_entries, sizeof *zip->entries, name_to_entry);
}

static llama2_status check_apart(l2_torch_zip *zip)
{
    l2_sort(zip->entries, zip->n_entries, sizeof *zip->entries, by_place);
    for (size_t i = 1; i < zip->n_entries; i++) {
        const l2_zip_entry *a = &zip->entries[i - 1], *b = &zip->entries[i];
        if (a->data + a->size > b->header)
            return l2_fail(LLAMA2_E_FORMAT, "the entries %.*s and %.*s overlap", NAME(a), NAME(b));
    }
    l2_sort(zip->entries, zip->n_entries, sizeof *zip->entries, by_name);
    for (size_t i = 1; i < zip->n_entries; i++)
        if (by_name(&zip->entries[i - 1], &zip->entries[i]) == 0)
            return l2_fail(LLAMA2_E_FORMAT, "the entry %.*s stands twice", NAME(&zip->entries[i]));
    return LLAMA2_OK;
}

static llama2_status parse(l2_torch_zip *zip, archive *a)
{
    L2_TRY(find_directory(a));
    if (a->n_entries > a->directory_size / CENTRAL)
        return l2_fail(LLAMA2_E_FORMAT, "a directory of %" PRIu64 " bytes can't have %" PRIu64 " entries",
                       a->directory_size, a->n_entries);
    L2_TRY(l2_calloc(zip->ctx, (size_t)a->n_entries, sizeof *zip->entries, &zip->entries));
    uint64_t at = a->directory;
    for (; zip->n_entries < a->n_entries; zip->n_entries++) {
        l2_zip_entry *entry = &zip->entries[zip->n_entries];
        llama2_status status = read_entry(a, &at, entry);
        if (status < 0) return entry->name ? l2_fail_in(status, "entry %.*s", NAME(entry)) : status;
    }
    if (at != a->directory + a->directory_size)
        return l2_fail(LLAMA2_E_FORMAT, "byte %" PRIu64 ": the directory goes on after its %" PRIu64 " entries", at,
                       a->n_entries);
    return check_apart(zip);
}

llama2_status l2_torch_zip_parse(llama2_context *ctx, const void *data, size_t size, l2_torch_zip *out)
{
    archive a = {.bytes = data, .size = size};
    *out = (l2_torch_zip){.ctx = ctx};
    llama2_status status = parse(out, &a);
    if (status < 0) l2_torch_zip_close(out);
    return status;
}

void l2_torch_zip_close(l2_torch_zip *zip)
{
    if (zip->ctx) l2_free(zip->ctx, zip->entries);
    memset(zip, 0, sizeof *zip);
}

llama2_status l2_zip_entry_check(const l2_zip_entry *entry, const l2_file_view *view)
{
    uint32_t crc = 0;
    if (!entry->crc) return LLAMA2_OK;
    for (size_t at = 0, size = (size_t)entry->size, n; at < size; at += n) {
        n = size - at < PIECE ? size - at : PIECE;
        crc = l2_crc32(crc, entry->data + at, n);
        if (view) l2_file_forget(view, entry->data + at, n);
    }
    if (crc == entry->crc) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_CORRUPT, "entry %.*s: its CRC is %08" PRIx32 ", the directory says %08" PRIx32, NAME(entry),
                   crc, entry->crc);
}
