/*
 * What the tests of files share: a folder of their own, an allocator that counts and fails, a table of file operations
 * that fails, and files as bytes. A test runs in a process of its own, so the counters are plain globals.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include "base/context.h"
#include "base/files.h"
#include "check_main.h"
#include <errno.h>
#include <llama2/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- memory: the allocation number fail_at (from 0) fails, or all from it on ----------------- */

static struct {
    long live, calls, fail_at;
    int for_ever;
    size_t bytes, peak;
} memory = {.fail_at = -1};

static inline void *count_alloc(void *user, size_t size, size_t alignment)
{
    (void)user;
    long call = memory.calls++;
    if (memory.fail_at >= 0 && (call == memory.fail_at || (memory.for_ever && call > memory.fail_at))) return NULL;
    unsigned char *block = aligned_alloc(alignment, alignment + (size + alignment - 1) / alignment * alignment);
    if (!block) return NULL;
    memcpy(block, &size, sizeof size);
    memory.live++;
    memory.bytes += size;
    if (memory.bytes > memory.peak) memory.peak = memory.bytes;
    return block + alignment;
}

static inline void count_dealloc(void *user, void *ptr)
{
    size_t size;
    (void)user;
    if (!ptr) return;
    memcpy(&size, (unsigned char *)ptr - 64, sizeof size);
    memory.bytes -= size;
    memory.live--;
    free((unsigned char *)ptr - 64);
}

/* --- files: the operation number fail_at fails, or all from it on ---------------------------- */

static struct {
    long calls, fail_at;
    int for_ever, error;
    int stingy; /* read and write do a few bytes at a time; these, open and fsync are interrupted now and then */
} disk = {.fail_at = -1, .error = EIO};

static inline int disk_fails(void)
{
    long call = disk.calls++;
    if (disk.fail_at < 0 || call < disk.fail_at || (call > disk.fail_at && !disk.for_ever)) return 0;
    errno = disk.error;
    return 1;
}

static inline int disk_interrupts(void)
{
    static unsigned n;
    if (!disk.stingy || n++ % 5) return 0;
    errno = EINTR;
    return 1;
}

static inline int disk_open(const char *path, int flags, mode_t mode)
{
    return disk_fails() || disk_interrupts() ? -1 : l2_posix_files.open(path, flags, mode);
}
static inline int disk_close(int fd)
{
    int failed = disk_fails(), result = l2_posix_files.close(fd);
    if (failed) errno = disk.error;
    return failed ? -1 : result;
}
static inline ssize_t disk_read(int fd, void *buffer, size_t count)
{
    if (disk_fails() || disk_interrupts()) return -1;
    return l2_posix_files.read(fd, buffer, disk.stingy && count > 100 ? 100 : count);
}
static inline ssize_t disk_write(int fd, const void *buffer, size_t count)
{
    if (disk_fails() || disk_interrupts()) return -1;
    return l2_posix_files.write(fd, buffer, disk.stingy && count > 100 ? 100 : count);
}
/* Counted and failed, but not done: thousands of real syncs would only wait for the disk. */
static inline int disk_fsync(int fd)
{
    (void)fd;
    return disk_fails() || disk_interrupts() ? -1 : 0;
}
static inline int disk_fstat(int fd, struct stat *st)
{
    return disk_fails() ? -1 : l2_posix_files.fstat(fd, st);
}
static inline int disk_flock(int fd, int operation)
{
    return disk_fails() ? -1 : l2_posix_files.flock(fd, operation);
}
static inline int disk_ftruncate(int fd, off_t length)
{
    return disk_fails() ? -1 : l2_posix_files.ftruncate(fd, length);
}
static inline int disk_rename(const char *from, const char *to)
{
    return disk_fails() ? -1 : l2_posix_files.rename(from, to);
}
static inline int disk_unlink(const char *path)
{
    return disk_fails() ? -1 : l2_posix_files.unlink(path);
}
static inline int disk_mkdir(const char *path, mode_t mode)
{
    return disk_fails() ? -1 : l2_posix_files.mkdir(path, mode);
}
static inline int disk_rmdir(const char *path)
{
    return disk_fails() ? -1 : l2_posix_files.rmdir(path);
}
static inline struct dirent *disk_readdir(DIR *dir)
{
    return disk_fails() ? NULL : l2_posix_files.readdir(dir);
}
static inline void *disk_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    return disk_fails() ? (void *)-1 : l2_posix_files.mmap(addr, length, prot, flags, fd, offset);
}
static inline int disk_munmap(void *addr, size_t length)
{
    return l2_posix_files.munmap(addr, length);
}

/* --- a context and a folder for a test ------------------------------------------------------- */

static llama2_context *ctx;
static char folder[64];
static l2_file_ops failing_files;
static int warnings;

static inline void count_log(void *user, int32_t level, const char *message, size_t length)
{
    (void)user, (void)message, (void)length;
    warnings += level == LLAMA2_LOG_WARN;
}

static inline void setup(void)
{
    llama2_context_options options;
    llama2_context_options_init(&options, sizeof options);
    options.n_threads = 1;
    options.alloc = count_alloc;
    options.dealloc = count_dealloc;
    options.log = count_log;
    ck_ok(llama2_context_create(&options, &ctx));
    failing_files = l2_posix_files;
    failing_files.open = disk_open;
    failing_files.close = disk_close;
    failing_files.read = disk_read;
    failing_files.write = disk_write;
    failing_files.fsync = disk_fsync;
    failing_files.fstat = disk_fstat;
    failing_files.flock = disk_flock;
    failing_files.ftruncate = disk_ftruncate;
    failing_files.rename = disk_rename;
    failing_files.unlink = disk_unlink;
    failing_files.mkdir = disk_mkdir;
    failing_files.rmdir = disk_rmdir;
    failing_files.readdir = disk_readdir;
    failing_files.mmap = disk_mmap;
    failing_files.munmap = disk_munmap;
    ctx->files = &failing_files;
    strcpy(folder, "test-files-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static inline void teardown(void)
{
    memory.fail_at = disk.fail_at = -1;
    disk.stingy = 0;
    ck_ok(l2_remove_tree(ctx, folder));
    llama2_context_free(ctx);
    ck_assert_int_eq(memory.live, 0);
}

/* A path in the folder; a few at a time stay valid. */
static inline const char *at(const char *name)
{
    static char paths[8][256];
    static unsigned n;
    char *path = paths[n++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline size_t slurp(const char *path, unsigned char *buffer, size_t capacity)
{
    FILE *f = fopen(path, "rb");
    if (!f) return (size_t)-1;
    size_t n = fread(buffer, 1, capacity, f);
    fclose(f);
    return n;
}

static inline void spill(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, size, f), size);
    fclose(f);
}

static inline void spill_text(const char *path, const char *text)
{
    spill(path, text, strlen(text));
}

/* Loads the model at `path` with each operation on files and each allocation failing once, and for ever. */
static inline void fail_each_load(const char *path)
{
    for (int mode = 0; mode < 4; mode++) {
        int done = 0;
        for (long n = 0; !done; n++) {
            llama2_model *m;
            long live = memory.live;
            memory.calls = disk.calls = 0;
            memory.for_ever = disk.for_ever = mode % 2;
            *(mode / 2 ? &memory.fail_at : &disk.fail_at) = n;
            llama2_status status = llama2_model_load(ctx, path, NULL, &m);
            done = mode / 2 ? memory.calls <= n : disk.calls <= n;
            memory.fail_at = disk.fail_at = -1;
            if (done) ck_ok(status);
            ck_assert(status == LLAMA2_OK || (!m && (status == LLAMA2_E_NOMEM || status == LLAMA2_E_IO)));
            llama2_model_free(m);
            ck_assert_int_eq(memory.live, live);
        }
    }
}

#endif
