#include "base/files.h"

#include "base/alloc.h"
#include "base/checksum.h"
#include "base/context.h"
#include "base/options.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BUFFER_SIZE = 1 << 20, PIECE_OF_HOST = 16 << 20, AROUND = 1 << 16 };

static int posix_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

const l2_file_ops l2_posix_files = {posix_open, close,  read,  write, fsync,   fstat, flock, ftruncate,
                                    rename,     unlink, mkdir, rmdir, readdir, mmap,  munmap};

/* The message of a failed system call on a file, whose errno stays. */
static llama2_status fail_io(const char *path, const char *doing)
{
    int code = errno;
    llama2_status status = l2_fail(code == ENOENT || code == ENOTDIR ? LLAMA2_E_NOT_FOUND : LLAMA2_E_IO,
                                   "%s: cannot %s: %s", path, doing, l2_strerror(code));
    errno = code;
    return status;
}

static llama2_status not_regular(const char *path)
{
    return l2_fail(LLAMA2_E_IO, "%s: is not a regular file", path);
}

/* "" would be found nowhere, or with a name behind it in the current folder. */
static llama2_status check_path(const char *path)
{
    return *path ? LLAMA2_OK : l2_fail(LLAMA2_E_INVALID, "the path is empty; the current folder is \".\"");
}

static int open_retry(const l2_file_ops *f, const char *path, int flags, mode_t mode)
{
    int fd;
    do fd = f->open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* O_NONBLOCK, since opening a FIFO would wait for a writer. */
llama2_status l2_file_open(llama2_context *ctx, const char *path, int *fd, size_t *size)
{
    struct stat st;
    L2_TRY(check_path(path));
    *fd = open_retry(ctx->files, path, O_RDONLY | O_NONBLOCK, 0);
    if (*fd < 0) return fail_io(path, "open");
    llama2_status status = LLAMA2_OK;
    if (ctx->files->fstat(*fd, &st) != 0)
        status = fail_io(path, "stat");
    else if (!S_ISREG(st.st_mode))
        status = not_regular(path);
    else if (size)
        *size = (size_t)st.st_size;
    if (status == LLAMA2_OK) return status;
    ctx->files->close(*fd);
    *fd = -1;
    return status;
}

llama2_status l2_file_sync(llama2_context *ctx, int fd, const char *path)
{
    int failed;
    do failed = ctx->files->fsync(fd);
    while (failed && errno == EINTR);
    return failed ? fail_io(path, "sync") : LLAMA2_OK;
}

static llama2_status read_all(llama2_context *ctx, const char *path, int fd, size_t size, l2_file_view *out)
{
    unsigned char *data;
    size_t done = 0;
    L2_TRY(l2_alloc(ctx, size, 1, &data));
    while (done < size) {
        ssize_t n = ctx->files->read(fd, data + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            llama2_status status = fail_io(path, "read");
            l2_free(ctx, data);
            return status;
        }
        if (n == 0) {
            l2_free(ctx, data);
            return l2_fail(LLAMA2_E_TRUNCATED, "%s: ends at byte %zu while being read, %zu were there", path, done,
                           size);
        }
        done += (size_t)n;
    }
    *out = (l2_file_view){data, size, L2_VIEW_READ};
    return LLAMA2_OK;
}

llama2_status l2_file_read(llama2_context *ctx, const char *path, uint64_t limit, l2_file_view *out)
{
    int fd;
    size_t size;
    memset(out, 0, sizeof *out);
    L2_TRY(l2_file_open(ctx, path, &fd, &size));
    llama2_status status = size <= limit ? read_all(ctx, path, fd, size, out)
                                         : l2_fail(LLAMA2_E_LIMIT, "%s: %zu bytes, at most %llu are read", path, size,
                                                   (unsigned long long)limit);
    ctx->files->close(fd);
    return status;
}

llama2_status l2_file_map(llama2_context *ctx, const char *path, l2_file_view *out)
{
    int fd;
    size_t size;
    memset(out, 0, sizeof *out);
    L2_TRY(l2_file_open(ctx, path, &fd, &size));
    void *data = size > 0 ? ctx->files->mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    llama2_status status = LLAMA2_OK;
    if (data != MAP_FAILED)
        *out = (l2_file_view){data, size, L2_VIEW_MAPPED};
    else
        status = read_all(ctx, path, fd, size, out);
    ctx->files->close(fd);
    return status;
}

void l2_file_release(llama2_context *ctx, l2_file_view *view)
{
    if (!view->data) return;
    if (view->kind == L2_VIEW_MAPPED)
        ctx->files->munmap((void *)(uintptr_t)view->data, view->size);
    else if (view->kind == L2_VIEW_READ)
        l2_free(ctx, (void *)(uintptr_t)view->data);
    memset(view, 0, sizeof *view);
}

static llama2_status read_host(llama2_context *ctx, const llama2_host_file *file, l2_file_view *out)
{
    unsigned char *data;
    L2_TRY(l2_alloc(ctx, (size_t)file->size, 1, &data));
    for (uint64_t at = 0, n; at < file->size; at += n) {
        n = file->size - at < PIECE_OF_HOST ? file->size - at : PIECE_OF_HOST;
        llama2_status status = l2_context_check(ctx);
        int32_t failed = status < 0 ? 0 : file->read(file->user, at, n, data + at);
        if (failed)
            status = l2_fail(LLAMA2_E_USER, "llama2_host_file.read returned %d for %llu bytes at byte %llu", failed,
                             (unsigned long long)n, (unsigned long long)at);
        if (status == LLAMA2_OK) continue;
        l2_free(ctx, data);
        return status;
    }
    *out = (l2_file_view){data, (size_t)file->size, L2_VIEW_READ};
    return LLAMA2_OK;
}

llama2_status l2_file_of_host(llama2_context *ctx, const llama2_host_file *file, uint64_t limit, l2_file_view *out)
{
    llama2_host_file full = {.struct_size = sizeof full};
    memset(out, 0, sizeof *out);
    if (!file) return l2_fail(LLAMA2_E_INVALID, "llama2_host_file: is NULL");
    L2_TRY(l2_options_read(file, &full, sizeof full, "llama2_host_file"));
    if (!full.data == !full.read && full.size)
        return l2_fail(LLAMA2_E_INVALID, "llama2_host_file: %s; one of them gives the bytes",
                       full.data ? "data and read are both set" : "data and read are both NULL");
    if (full.size > limit || full.size > PTRDIFF_MAX)
        return l2_fail(LLAMA2_E_LIMIT, "llama2_host_file: %llu bytes, at most %llu are allowed",
                       (unsigned long long)full.size, (unsigned long long)(limit < PTRDIFF_MAX ? limit : PTRDIFF_MAX));
    if (full.read) return read_host(ctx, &full, out);
    *out = (l2_file_view){full.data, (size_t)full.size, L2_VIEW_HOST};
    return LLAMA2_OK;
}

llama2_status l2_file_parse(llama2_context *ctx, const char *path, int in_memory, l2_file_view *view, l2_parse_fn parse,
                            void *format)
{
    L2_TRY(in_memory ? l2_file_read(ctx, path, UINT64_MAX, view) : l2_file_map(ctx, path, view));
    llama2_status status = parse(format, view->data, view->size);
    return status < 0 ? l2_fail_in(status, "%s", path) : status;
}

void l2_file_forget(const l2_file_view *view, const unsigned char *data, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (view->kind != L2_VIEW_MAPPED || data < view->data || data >= view->data + view->size) return;
    size_t begin = (size_t)(data - view->data), end = begin + size;
    /* The system maps pages around one that is missing, on Linux the 64 KiB that it lies in: those before `data`,
     * though let go already, came back with its first. */
    begin = begin > AROUND ? (begin - AROUND) / page * page : 0;
    end = end / page * page;
    /* Of a mapped file this drops pages that come back from the file; of memory it would drop the contents. */
    if (end > begin) madvise((void *)(uintptr_t)(view->data + begin), end - begin, MADV_DONTNEED);
}

int l2_path_kind(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) return 0;
    return S_ISREG(st.st_mode) ? 1 : S_ISDIR(st.st_mode) ? 2 : 0;
}

llama2_status l2_path_join(llama2_context *ctx, const char *folder, const char *name, char **out)
{
    L2_TRY(check_path(folder));
    size_t a = strlen(folder), b = strlen(name), slash = folder[a - 1] != '/';
    L2_TRY(l2_alloc(ctx, a + slash + b + 1, 1, out));
    memcpy(*out, folder, a);
    if (slash) (*out)[a] = '/';
    memcpy(*out + a + slash, name, b + 1);
    return LLAMA2_OK;
}

llama2_status l2_folder_hold(llama2_context *ctx, const char *path, int *fd)
{
    *fd = open_retry(ctx->files, path, O_RDONLY | O_DIRECTORY, 0);
    return *fd < 0 ? fail_io(path, "open the folder") : LLAMA2_OK;
}

/* Syncs a folder that is held, and lets it go. There are file systems that sync no folders. */
static llama2_status sync_held(llama2_context *ctx, int fd, const char *path)
{
    llama2_status status = l2_file_sync(ctx, fd, path);
    int unknown = status < 0 && errno == EINVAL;
    ctx->files->close(fd);
    return unknown ? LLAMA2_OK : status;
}

llama2_status l2_sync_folder(llama2_context *ctx, const char *path)
{
    int fd;
    L2_TRY(l2_folder_hold(ctx, path, &fd));
    return sync_held(ctx, fd, path);
}

/* Holds the folder that `path` lies in. */
static llama2_status hold_parent(llama2_context *ctx, char *path, int *fd)
{
    char *slash = strrchr(path, '/');
    if (!slash) return l2_folder_hold(ctx, ".", fd);
    if (slash == path) return l2_folder_hold(ctx, "/", fd);
    *slash = 0;
    llama2_status status = l2_folder_hold(ctx, path, fd);
    *slash = '/';
    return status;
}

static llama2_status sync_parent(llama2_context *ctx, char *path)
{
    int fd;
    L2_TRY(hold_parent(ctx, path, &fd));
    return sync_held(ctx, fd, path);
}

/* mkdir, and the entry in its parent is on the disk; but for a parent that may be written into and not read. */
static llama2_status make_one(llama2_context *ctx, char *path)
{
    int fd;
    if (ctx->files->mkdir(path, 0777) != 0) {
        /* On a read-only file system an existing one gives an errno of its own. */
        int code = errno, exists = l2_path_kind(path) == 2;
        errno = code;
        return exists ? LLAMA2_OK : fail_io(path, "make the folder");
    }
    llama2_status status = hold_parent(ctx, path, &fd);
    if (status < 0 && errno == EACCES) return LLAMA2_OK;
    if (status >= 0) status = sync_held(ctx, fd, path);
    if (status < 0) ctx->files->rmdir(path); /* or the next call would find it, and not sync */
    return status;
}

llama2_status l2_make_folder(llama2_context *ctx, const char *path)
{
    char *copy;
    L2_TRY(check_path(path));
    L2_TRY(l2_strndup(ctx, path, strlen(path), &copy));
    llama2_status status = LLAMA2_OK;
    for (char *p = copy; status >= 0 && *p; p++) {
        /* Each parent, then the folder itself. */
        if (p[1] != '/' && p[1] != 0) continue;
        char after = p[1];
        p[1] = 0;
        if (strcmp(copy, "/") != 0) status = make_one(ctx, copy);
        p[1] = after;
    }
    l2_free(ctx, copy);
    return status;
}

llama2_status l2_folder_stands(int fd, const char *path, int *stands)
{
    struct stat ours, there;
    *stands = 0;
    if (fstat(fd, &ours) != 0) return fail_io(path, "stat");
    if (stat(path, &there) != 0) return errno == ENOENT || errno == ENOTDIR ? LLAMA2_OK : fail_io(path, "stat");
    *stands = ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
    return LLAMA2_OK;
}

static int is_at(const struct stat *ours, const char *path)
{
    struct stat there;
    return lstat(path, &there) == 0 && ours->st_ino == there.st_ino && ours->st_dev == there.st_dev;
}

int l2_is_ours(const llama2_context *ctx, int fd, const char *path)
{
    struct stat ours;
    return getpid() == ctx->pid && fstat(fd, &ours) == 0 && is_at(&ours, path);
}

/* readdir's NULL is the end, or an error that it does not tell from that. */
llama2_status l2_folder_next(llama2_context *ctx, DIR *dir, const char *path, const char **name)
{
    struct dirent *entry;
    do {
        errno = 0;
        entry = ctx->files->readdir(dir);
    } while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    *name = entry ? entry->d_name : NULL;
    return entry || errno == 0 ? LLAMA2_OK : fail_io(path, "list");
}

enum { MOST_PATH = 4096 };

/* Deepest first; `path` has room for MOST_PATH bytes. Links are removed, not followed. */
static llama2_status remove_at(llama2_context *ctx, char *path)
{
    struct stat st;
    size_t length = strlen(path);
    if (lstat(path, &st) != 0) return errno == ENOENT ? LLAMA2_OK : fail_io(path, "stat");
    if (!S_ISDIR(st.st_mode))
        return ctx->files->unlink(path) != 0 && errno != ENOENT ? fail_io(path, "remove") : LLAMA2_OK;
    DIR *dir = opendir(path);
    if (!dir) return fail_io(path, "open the folder");
    llama2_status status;
    const char *name;
    while ((status = l2_folder_next(ctx, dir, path, &name)) >= 0 && name) {
        if (length + 1 + strlen(name) >= MOST_PATH) {
            status = l2_fail(LLAMA2_E_LIMIT, "%s/%s: the path is longer than %d bytes", path, name, MOST_PATH);
            break;
        }
        snprintf(path + length, MOST_PATH - length, "/%s", name);
        status = remove_at(ctx, path);
        path[length] = 0;
        if (status < 0) break;
    }
    closedir(dir);
    if (status >= 0 && ctx->files->rmdir(path) != 0 && errno != ENOENT) status = fail_io(path, "remove the folder");
    return status;
}

llama2_status l2_remove_tree(llama2_context *ctx, const char *path)
{
    char work[MOST_PATH];
    if (strlen(path) >= sizeof work)
        return l2_fail(LLAMA2_E_LIMIT, "%s: the path is longer than %d bytes", path, MOST_PATH);
    memcpy(work, path, strlen(path) + 1);
    return remove_at(ctx, work);
}

/* --- what is to be replaced ------------------------------------------------------------------ */

/* path and a suffix, allocated. */
static llama2_status add_suffix(llama2_context *ctx, const char *path, const char *suffix, char **out)
{
    size_t length = strlen(path), more = strlen(suffix) + 1;
    L2_TRY(l2_alloc(ctx, length + more, 1, out));
    memcpy(*out, path, length);
    memcpy(*out + length, suffix, more);
    return LLAMA2_OK;
}

llama2_status l2_aside_begin(llama2_context *ctx, const char *path, l2_aside *out)
{
    *out = (l2_aside){.ctx = ctx};
    L2_TRY(l2_strndup(ctx, path, strlen(path), &out->path));
    llama2_status status = add_suffix(ctx, path, ".replaced", &out->name);
    if (status < 0) l2_aside_end(out);
    return status;
}

llama2_status l2_aside_move(l2_aside *a)
{
    L2_TRY(l2_context_check_fork(a->ctx));
    if (l2_path_kind(a->path) == 2) return l2_fail(LLAMA2_E_IO, "%s: is a folder", a->path);
    int moved = a->ctx->files->rename(a->path, a->name) == 0;
    if (!moved && errno != ENOENT) return fail_io(a->path, "move aside");
    a->used = 1;
    a->moved |= moved;
    return LLAMA2_OK;
}

void l2_aside_put_back(l2_aside *a)
{
    if (!a->used || getpid() != a->ctx->pid) return;
    if (a->moved) a->ctx->files->rename(a->name, a->path);
    /* What could not be put back stays aside, as what a killed run left there: it is all that there is of it. */
    a->used = a->moved = 0;
}

/* What a killed run left there goes, too, where nothing was put back. */
void l2_aside_end(l2_aside *a)
{
    if (!a->ctx) return;
    if (a->used && getpid() == a->ctx->pid) a->ctx->files->unlink(a->name);
    l2_free(a->ctx, a->path);
    l2_free(a->ctx, a->name);
    memset(a, 0, sizeof *a);
}

/* --- atomic writer --------------------------------------------------------------------------- */

/*
 * What a killed run has left is written anew, what another writer is at is not: a temporary file is its writer's from
 * here until it is renamed or removed, by a lock that ends with the process. Where the file system has no locks (some
 * that are mounted over a network) the host has to see to it.
 */
static llama2_status open_temporary(l2_writer *w)
{
    enum { MOST_TRIES = 100 };
    const l2_file_ops *f = w->ctx->files;
    struct stat ours;
    for (int i = 0; i < MOST_TRIES; i++) {
        /* O_NONBLOCK, since opening a FIFO would wait for a reader; it is ENXIO then. */
        w->fd = open_retry(f, w->temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0666);
        if (w->fd < 0) return errno == ENXIO ? not_regular(w->temporary) : fail_io(w->temporary, "create");
        int locked = f->flock(w->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (locked)
            i = MOST_TRIES;
        else if (f->fstat(w->fd, &ours) != 0)
            return fail_io(w->temporary, "stat");
        /* Between the two calls another writer may have renamed the file, which is then at `path`, or removed it. */
        else if (S_ISREG(ours.st_mode) && is_at(&ours, w->temporary))
            return f->ftruncate(w->fd, 0) == 0 ? LLAMA2_OK : fail_io(w->temporary, "truncate");
        f->close(w->fd);
        w->fd = -1;
        if (!locked && !S_ISREG(ours.st_mode)) return not_regular(w->temporary);
    }
    return l2_fail(LLAMA2_E_BUSY, "%s: is being written by another thread or process, which has %s locked", w->path,
                   w->temporary);
}

llama2_status l2_writer_open(llama2_context *ctx, const char *path, l2_writer *w)
{
    llama2_status status;
    memset(w, 0, sizeof *w);
    L2_TRY(check_path(path));
    w->ctx = ctx;
    w->fd = -1;
    L2_CHECK(l2_strndup(ctx, path, strlen(path), &w->path));
    L2_CHECK(add_suffix(ctx, path, ".partial", &w->temporary));
    L2_CHECK(l2_alloc(ctx, BUFFER_SIZE, 1, &w->buffer));
    status = open_temporary(w);
done:
    if (status < 0) l2_writer_abort(w);
    return status;
}

void l2_writer_memory(llama2_context *ctx, void *buffer, size_t capacity, size_t *needed, l2_writer *w)
{
    *w = (l2_writer){.ctx = ctx, .memory = buffer, .room = capacity, .needed = needed, .fd = -1};
}

/* Keeps what fits. */
static void write_memory(l2_writer *w, const void *data, size_t length)
{
    if (w->size < w->room) memcpy(w->memory + w->size, data, w->room - w->size < length ? w->room - w->size : length);
    w->size += length;
}

static llama2_status flush(l2_writer *w)
{
    L2_TRY(l2_context_check_fork(w->ctx));
    for (size_t done = 0; done < w->used;) {
        ssize_t n = w->ctx->files->write(w->fd, w->buffer + done, w->used - done);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC;
        if (n <= 0) return fail_io(w->temporary, "write");
        done += (size_t)n;
    }
    w->used = 0;
    return LLAMA2_OK;
}

llama2_status l2_writer_write(l2_writer *w, const void *data, size_t length)
{
    const unsigned char *bytes = data;
    w->crc = l2_crc32c(w->crc, data, length);
    if (w->needed) {
        write_memory(w, data, length);
        return LLAMA2_OK;
    }
    w->size += length;
    w->synced = 0;
    while (length > 0) {
        size_t n = BUFFER_SIZE - w->used < length ? BUFFER_SIZE - w->used : length;
        memcpy(w->buffer + w->used, bytes, n);
        w->used += n;
        bytes += n;
        length -= n;
        if (w->used == BUFFER_SIZE) L2_TRY(flush(w));
    }
    return LLAMA2_OK;
}

llama2_status l2_writer_sync(l2_writer *w)
{
    int failed;
    L2_TRY(flush(w));
    if (w->synced) return LLAMA2_OK;
    do failed = w->ctx->files->fsync(w->fd);
    while (failed && errno == EINTR);
    w->synced = !failed;
    return failed ? fail_io(w->temporary, "sync") : LLAMA2_OK;
}

static llama2_status commit_memory(const l2_writer *w)
{
    *w->needed = w->size;
    if (!w->memory || w->size <= w->room) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_BUFFER, "%llu bytes are needed, the buffer has %zu", (unsigned long long)w->size, w->room);
}

/* *first: no earlier call did it. */
static llama2_status retract(l2_writer *w, int *first)
{
    if (!w->older.ctx) L2_TRY(l2_aside_begin(w->ctx, w->path, &w->older));
    int before = w->older.used;
    L2_TRY(l2_aside_move(&w->older));
    *first = !before;
    if (before || !w->older.moved) return LLAMA2_OK;
    llama2_status status = sync_parent(w->ctx, w->path);
    if (status < 0) l2_aside_put_back(&w->older);
    return status;
}

/* The file takes its place; then it is closed, not before: the lock ends there. What closing could say, syncing has. */
static llama2_status put_in_place(l2_writer *w)
{
    if (w->ctx->files->rename(w->temporary, w->path) != 0) return fail_io(w->path, "rename the new file to");
    l2_free(w->ctx, w->temporary);
    w->temporary = NULL; /* there is nothing to remove any more */
    w->ctx->files->close(w->fd);
    w->fd = -1;
    return LLAMA2_OK;
}

/* All that can fail and be undone comes before the file takes its place. */
static llama2_status commit_file(l2_writer *w, l2_writer *next)
{
    llama2_status status;
    int folder, first = 0;
    L2_TRY(l2_writer_sync(w));
    L2_TRY(hold_parent(w->ctx, w->path, &folder));
    if (!l2_is_ours(w->ctx, w->fd, w->temporary))
        L2_CHECK(l2_fail(LLAMA2_E_IO, "%s: was removed while it was being written", w->temporary));
    if (next) L2_CHECK(retract(next, &first));
    status = put_in_place(w);
    if (status < 0 && first) l2_aside_put_back(&next->older);
    if (status >= 0) return sync_held(w->ctx, folder, w->path);
done:
    w->ctx->files->close(folder);
    return status;
}

llama2_status l2_writer_commit_before(l2_writer *w, l2_writer *next)
{
    llama2_status status = w->needed ? commit_memory(w) : commit_file(w, next);
    l2_writer_abort(w);
    return status;
}

llama2_status l2_writer_commit(l2_writer *w)
{
    return l2_writer_commit_before(w, NULL);
}

void l2_writer_abort(l2_writer *w)
{
    if (!w->ctx) return;
    if (w->fd >= 0) { /* removed while the lock holds */
        if (w->temporary && l2_is_ours(w->ctx, w->fd, w->temporary)) w->ctx->files->unlink(w->temporary);
        w->ctx->files->close(w->fd);
    }
    l2_aside_end(&w->older);
    l2_free(w->ctx, w->buffer);
    l2_free(w->ctx, w->temporary);
    l2_free(w->ctx, w->path);
    memset(w, 0, sizeof *w);
}

llama2_status l2_write_file(llama2_context *ctx, const char *path, const void *data, size_t length)
{
    l2_writer w;
    L2_TRY(l2_writer_open(ctx, path, &w));
    llama2_status status = l2_writer_write(&w, data, length);
    if (status >= 0) return l2_writer_commit(&w);
    l2_writer_abort(&w);
    return status;
}
