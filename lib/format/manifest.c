#include "format/manifest.h"
#include "base/alloc.h"
#include "base/checksum.h"
#include "base/context.h"
#include "base/files.h"
#include "base/json.h"
#include "format/sort.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 4 << 20, PIECE = 256 << 10, MAX_DEPTH = 8, MAX_MANIFEST = 1 << 30 };

static const char manifest_name[] = "MANIFEST";

/* --- reading files in blocks ----------------------------------------------------------------- */

typedef llama2_status (*block_fn)(void *user, uint32_t crc);

static llama2_status read_piece(llama2_context *ctx, int fd, const char *path, unsigned char *buffer, size_t *length)
{
    for (*length = 0; *length < PIECE;) {
        ssize_t n = ctx->files->read(fd, buffer + *length, PIECE - *length);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return l2_fail(LLAMA2_E_IO, "%s: can't be read: %s", path, l2_strerror(errno));
        if (n == 0) break;
        *length += (size_t)n;
    }
    return LLAMA2_OK;
}

/* Calls `block` with the CRC of each 4 MiB; the last may be shorter. `buffer`: PIECE bytes. */
static llama2_status read_blocks(llama2_context *ctx, int fd, const char *path, unsigned char *buffer, block_fn block,
                                 void *user, uint64_t *size)
{
    uint32_t crc = 0;
    size_t n;
    *size = 0;
    do {
        L2_TRY(l2_context_check(ctx));
        L2_TRY(read_piece(ctx, fd, path, buffer, &n));
        crc = l2_crc32c(crc, buffer, n);
        *size += n;
        int ends = n < PIECE;
        if (*size && (*size % BLOCK == 0 ? n > 0 : ends)) {
            L2_TRY(block(user, crc));
            crc = 0;
        }
    } while (n == PIECE);
    return LLAMA2_OK;
}

/* --- writing --------------------------------------------------------------------------------- */

typedef struct file_list {
    llama2_context *ctx;
    const char *folder;
    char **names; /* relative to the folder */
    size_t n, capacity;
} file_list;

static llama2_status walk(file_list *list, const char *relative, int depth);

/* Takes `name`, a path below the folder, over. */
static llama2_status add_file(file_list *list, char *name)
{
    llama2_status status = LLAMA2_OK;
    if (strchr(name, '\n')) L2_CHECK(l2_fail(LLAMA2_E_INVALID, "a file of a checkpoint has a line break in its name"));
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 16;
        L2_CHECK(l2_realloc(list->ctx, list->capacity, capacity, sizeof *list->names, &list->names));
        list->capacity = capacity;
    }
    list->names[list->n++] = name;
    return LLAMA2_OK;
done:
    l2_free(list->ctx, name);
    return status;
}

static llama2_status walk_entry(file_list *list, const char *relative, const char *entry, int depth)
{
    llama2_status status;
    char *name = NULL, *path = NULL;
    if (relative)
        L2_CHECK(l2_path_join(list->ctx, relative, entry, &name));
    else
        L2_CHECK(l2_strndup(list->ctx, entry, strlen(entry), &name));
    L2_CHECK(l2_path_join(list->ctx, list->folder, name, &path));
    int kind = l2_path_kind(path);
    if (kind == 1) {
        char *taken = name;
        name = NULL;
        L2_CHECK(add_file(list, taken));
    } else if (kind == 2) {
        L2_CHECK(walk(list, name, depth + 1));
    } else {
        L2_CHECK(l2_fail(LLAMA2_E_INVALID, "%s is neither a file nor a folder", path));
    }
done:
    l2_free(list->ctx, name);
    l2_free(list->ctx, path);
    return status;
}

/* Collects the files of a folder (relative NULL: the top) and those below, and syncs the folders. */
static llama2_status walk(file_list *list, const char *relative, int depth)
{
    llama2_status status = LLAMA2_OK;
    char *joined = NULL;
    DIR *dir = NULL;
    if (depth > MAX_DEPTH) return l2_fail(LLAMA2_E_LIMIT, "%s: folders nest deeper than %d", relative, MAX_DEPTH);
    if (relative) L2_CHECK(l2_path_join(list->ctx, list->folder, relative, &joined));
    const char *path = joined ? joined : list->folder;
    dir = opendir(path);
    if (!dir) L2_CHECK(l2_fail(LLAMA2_E_IO, "%s: can't be listed: %s", path, l2_strerror(errno)));
    for (const char *entry;;) {
        L2_CHECK(l2_folder_next(list->ctx, dir, path, &entry));
        if (!entry) break;
        if (!relative && strcmp(entry, manifest_name) == 0) continue;
        L2_CHECK(walk_entry(list, relative, entry, depth));
    }
    L2_CHECK(l2_sync_folder(list->ctx, path));
done:
    if (dir) closedir(dir);
    l2_free(list->ctx, joined);
    return status;
}

static llama2_status add_block(void *user, uint32_t crc)
{
    l2_text_format(user, "%08" PRIx32 "\n", crc);
    return LLAMA2_OK;
}

/* Syncs the file and adds its lines. */
static llama2_status describe_file(const file_list *list, const char *name, unsigned char *buffer, l2_text *text)
{
    llama2_status status;
    llama2_context *ctx = list->ctx;
    char *path;
    int fd = -1;
    uint64_t size;
    l2_text blocks;
    l2_text_begin(&blocks, ctx);
    L2_TRY(l2_path_join(ctx, list->folder, name, &path));
    L2_CHECK(l2_file_open(ctx, path, &fd, NULL));
    L2_CHECK(l2_file_sync(ctx, fd, path));
    L2_CHECK(read_blocks(ctx, fd, path, buffer, add_block, &blocks, &size));
    L2_CHECK(blocks.status);
    l2_text_format(text, "file %" PRIu64 " %s\n", size, name);
    l2_text_add(text, blocks.length ? blocks.data : "", blocks.length);
    status = text->status;
done:
    if (fd >= 0) ctx->files->close(fd);
    l2_text_free(&blocks);
    l2_free(ctx, path);
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

llama2_status l2_manifest_write(llama2_context *ctx, const char *folder, int64_t step)
{
    llama2_status status;
    file_list list = {.ctx = ctx, .folder = folder};
    unsigned char *buffer = NULL;
    l2_text text;
    l2_text_begin(&text, ctx);
    L2_CHECK(walk(&list, NULL, 0));
    l2_sort(list.names, list.n, sizeof *list.names, by_text);
    L2_CHECK(l2_alloc(ctx, PIECE, 1, &buffer));
    l2_text_format(&text, "llama2-checkpoint 1\nstep %" PRId64 "\n", step);
    for (size_t i = 0; i < list.n; i++) L2_CHECK(describe_file(&list, list.names[i], buffer, &text));
    L2_CHECK(text.status);
    l2_text_format(&text, "crc32c %08" PRIx32 "\n", l2_crc32c(0, text.data, text.length));
    status = l2_text_write(&text, folder, manifest_name);
done:
    for (size_t i = 0; i < list.n; i++) l2_free(ctx, list.names[i]);
    l2_free(ctx, list.names);
    l2_free(ctx, buffer);
    l2_text_free(&text);
    return status;
}

/* --- verifying ------------------------------------------------------------------------------- */

/* The text that is left, and the line it stands at. */
typedef struct lines {
    const char *at, *end;
    int64_t number;
} lines;

static llama2_status bad_line(const lines *l, const char *expected)
{
    return l2_fail(LLAMA2_E_FORMAT, "line %" PRId64 " is not %s", l->number, expected);
}

/* A decimal number without sign or leading zeros, and the character after it. */
static int take_number(lines *l, char after, uint64_t *out)
{
    const char *first = l->at;
    uint64_t value = 0;
    for (; l->at < l->end && *l->at >= '0' && *l->at <= '9'; l->at++) {
        uint64_t digit = (uint64_t)(*l->at - '0');
        if (value > (INT64_MAX - digit) / 10) return 0;
        value = 10 * value + digit;
    }
    if (l->at == first || (*first == '0' && l->at - first > 1) || l->at == l->end || *l->at != after) return 0;
    l->at++;
    *out = value;
    return 1;
}

static int take_text(lines *l, const char *text)
{
    size_t length = strlen(text);
    if ((size_t)(l->end - l->at) < length || memcmp(l->at, text, length) != 0) return 0;
    l->at += length;
    return 1;
}

/* Compares blocks with the lines that follow. */
static llama2_status check_block(void *user, uint32_t crc)
{
    lines *l = user;
    char expected[16];
    snprintf(expected, sizeof expected, "%08" PRIx32 "\n", crc);
    if (!take_text(l, expected))
        return l2_fail(LLAMA2_E_CORRUPT, "a block of 4 MiB does not match its checksum in line %" PRId64, l->number);
    l->number++;
    return LLAMA2_OK;
}

static llama2_status skip_blocks(lines *l, uint64_t size)
{
    uint64_t n = size / BLOCK + (size % BLOCK != 0);
    if (n > (uint64_t)(l->end - l->at) / 9)
        return l2_fail(LLAMA2_E_FORMAT, "the checksums of %" PRIu64 " blocks do not follow line %" PRId64, n,
                       l->number);
    l->at += 9 * n;
    l->number += (int64_t)n;
    return LLAMA2_OK;
}

static llama2_status check_file(llama2_context *ctx, const char *path, uint64_t size, lines *l, unsigned char *buffer)
{
    llama2_status status;
    int fd;
    size_t there;
    uint64_t read = 0;
    L2_TRY(l2_file_open(ctx, path, &fd, &there));
    if (there != size)
        L2_CHECK(l2_fail(there < size ? LLAMA2_E_TRUNCATED : LLAMA2_E_CORRUPT,
                         "%s has %zu bytes, %" PRIu64 " were written", path, there, size));
    lines after = *l;
    L2_CHECK(skip_blocks(&after, size));
    if (buffer) {
        status = read_blocks(ctx, fd, path, buffer, check_block, l, &read);
        if (status == LLAMA2_E_CORRUPT) l2_fail_in(status, "%s", path);
        if (status < 0) goto done;
        if (l->at != after.at)
            L2_CHECK(l2_fail(LLAMA2_E_CORRUPT, "%s: %" PRIu64 " bytes were read of %" PRIu64, path, read, size));
    }
    *l = after;
    status = LLAMA2_OK;
done:
    ctx->files->close(fd);
    return status;
}

/* No name leads out of the folder, and none is another's in other words, by ".", ".." or nothing between slashes: the
 * checksum says that the text is what was written, not by whom. */
static int is_inside(const char *name)
{
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += part != name;
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.')) return 0;
    }
    return 1;
}

/* *last: the name before (NULL: none), and then this one. */
static llama2_status check_entry(llama2_context *ctx, const char *folder, lines *l, char **last, unsigned char *buffer)
{
    llama2_status status;
    uint64_t size = 0;
    char *name = NULL, *path = NULL;
    if (!take_text(l, "file ") || !take_number(l, ' ', &size)) return bad_line(l, "\"file <size> <name>\"");
    const char *end = memchr(l->at, '\n', (size_t)(l->end - l->at));
    if (!end) return bad_line(l, "\"file <size> <name>\"");
    L2_CHECK(l2_strndup(ctx, l->at, (size_t)(end - l->at), &name));
    if (strlen(name) != (size_t)(end - l->at) || !is_inside(name))
        L2_CHECK(bad_line(l, "the name of a file in the folder"));
    if (*last && strcmp(*last, name) >= 0) /* each file is read once */
        L2_CHECK(bad_line(l, "a name after the one before it in the order of bytes"));
    l->at = end + 1;
    l->number++;
    L2_CHECK(l2_path_join(ctx, folder, name, &path));
    status = check_file(ctx, path, size, l, buffer);
    if (status == LLAMA2_E_NOT_FOUND) status = l2_fail(LLAMA2_E_CORRUPT, "%s is missing", path);
    l2_free(ctx, *last);
    *last = name;
    name = NULL;
done:
    l2_free(ctx, name);
    l2_free(ctx, path);
    return status;
}

static llama2_status check_frame(lines *l, int64_t step)
{
    enum { TAIL = 16 };
    char tail[TAIL + 8];
    uint64_t version = 0, written = 0;
    if (l->end - l->at < TAIL) return l2_fail(LLAMA2_E_TRUNCATED, "%td bytes are no manifest", l->end - l->at);
    l->end -= TAIL;
    snprintf(tail, sizeof tail, "crc32c %08" PRIx32 "\n", l2_crc32c(0, l->at, (size_t)(l->end - l->at)));
    if (memcmp(tail, l->end, TAIL) != 0)
        return l2_fail(LLAMA2_E_CORRUPT, "the last line is not the checksum of those above");
    if (!take_text(l, "llama2-checkpoint ") || !take_number(l, '\n', &version))
        return bad_line(l, "\"llama2-checkpoint 1\"");
    if (version != 1)
        return l2_fail(LLAMA2_E_UNSUPPORTED, "this is a checkpoint of format %" PRIu64 ", and 1 can be read", version);
    l->number = 2;
    if (!take_text(l, "step ") || !take_number(l, '\n', &written)) return bad_line(l, "\"step <number>\"");
    if (written != (uint64_t)step)
        return l2_fail(LLAMA2_E_MISMATCH, "this is step %" PRIu64 ", and not %" PRId64 " as its folder says", written,
                       step);
    l->number = 3;
    return LLAMA2_OK;
}

llama2_status l2_manifest_verify(llama2_context *ctx, const char *folder, int64_t step, int deep)
{
    llama2_status status;
    l2_file_view view = {0};
    unsigned char *buffer = NULL;
    char *path, *last = NULL;
    L2_TRY(l2_path_join(ctx, folder, manifest_name, &path));
    L2_CHECK(l2_file_read(ctx, path, MAX_MANIFEST, &view));
    if (deep) L2_CHECK(l2_alloc(ctx, PIECE, 1, &buffer));
    lines l = {(const char *)view.data, (const char *)view.data + view.size, 1};
    status = check_frame(&l, step);
    while (status == LLAMA2_OK && l.at < l.end) status = check_entry(ctx, folder, &l, &last, buffer);
    if (status < 0) l2_fail_in(status, "%s", path);
done:
    if (view.data) l2_file_release(ctx, &view);
    l2_free(ctx, buffer);
    l2_free(ctx, last);
    l2_free(ctx, path);
    return status;
}
