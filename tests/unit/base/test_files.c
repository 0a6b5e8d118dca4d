#include "fixture.h"

#include "base/alloc.h"
#include "base/checksum.h"
#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- file operations that fail --------------------------------------------------------------- */

enum { OPEN, CLOSE, READ, WRITE, FSYNC, FSTAT, FLOCK, FTRUNCATE, RENAME, UNLINK, MKDIR, RMDIR, READDIR, MMAP, N_OPS };

static struct {
    int op, at, code; /* call number `at` (from 1) of `op` fails with `code` */
    int interrupts;   /* so many calls of each kind end with EINTR first */
    size_t most;      /* bytes a read or write moves; 0: all */
    int calls[N_OPS], interrupted[N_OPS];
} fault;

static int fails(int op)
{
    if (fault.interrupted[op] < fault.interrupts && (op == OPEN || op == READ || op == WRITE || op == FSYNC)) {
        fault.interrupted[op]++;
        errno = EINTR;
        return 1;
    }
    fault.calls[op]++;
    if (op != fault.op || fault.calls[op] != fault.at) return 0;
    errno = fault.code;
    return 1;
}

static size_t shortened(size_t n)
{
    return fault.most && n > fault.most ? fault.most : n;
}

static int f_open(const char *path, int flags, mode_t mode)
{
    return fails(OPEN) ? -1 : open(path, flags, mode);
}
static int f_close(int fd)
{
    int failed = fails(CLOSE), code = errno;
    int result = close(fd);
    errno = code;
    return failed ? -1 : result;
}
static ssize_t f_read(int fd, void *buffer, size_t n)
{
    return fails(READ) ? -1 : read(fd, buffer, shortened(n));
}
static ssize_t f_write(int fd, const void *buffer, size_t n)
{
    return fails(WRITE) ? -1 : write(fd, buffer, shortened(n));
}
static int f_fsync(int fd)
{
    return fails(FSYNC) ? -1 : fsync(fd);
}
static int f_fstat(int fd, struct stat *st)
{
    return fails(FSTAT) ? -1 : fstat(fd, st);
}
static int f_flock(int fd, int operation)
{
    return fails(FLOCK) ? -1 : flock(fd, operation);
}
static int f_ftruncate(int fd, off_t length)
{
    return fails(FTRUNCATE) ? -1 : ftruncate(fd, length);
}
static int f_rename(const char *from, const char *to)
{
    return fails(RENAME) ? -1 : rename(from, to);
}
static int f_unlink(const char *path)
{
    return fails(UNLINK) ? -1 : unlink(path);
}
static int f_mkdir(const char *path, mode_t mode)
{
    return fails(MKDIR) ? -1 : mkdir(path, mode);
}
static int f_rmdir(const char *path)
{
    return fails(RMDIR) ? -1 : rmdir(path);
}
static struct dirent *f_readdir(DIR *dir)
{
    return fails(READDIR) ? NULL : readdir(dir);
}
static void *f_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    return fails(MMAP) ? MAP_FAILED : mmap(addr, length, prot, flags, fd, offset);
}

static const l2_file_ops faulty = {f_open,   f_close,  f_read,  f_write, f_fsync,   f_fstat, f_flock, f_ftruncate,
                                   f_rename, f_unlink, f_mkdir, f_rmdir, f_readdir, f_mmap,  munmap};

static void no_fault(void)
{
    memset(&fault, 0, sizeof fault);
    fault.op = -1;
}

/* --- fixture --------------------------------------------------------------------------------- */

static llama2_context *ctx;
static fault_allocator memory;
static char folder[64], path[128];

static void set_up(void)
{
    memset(&memory, 0, sizeof memory);
    ctx = make_context(&memory, 1);
    ctx->files = &faulty;
    no_fault();
    strcpy(folder, "test_files.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
}

static int open_files(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) return 0;
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static int entries(void)
{
    int n = -2;
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static void tear_down(void)
{
    no_fault();
    ck_ok(l2_remove_tree(ctx, folder));
    ck_assert_int_eq(l2_path_kind(folder), 0);
    llama2_context_free(ctx);
    ck_assert_int_eq(atomic_load(&memory.live), 0);
}

static unsigned char *noise(size_t n)
{
    unsigned char *p = malloc(n + 1);
    for (size_t i = 0; i < n; i++) p[i] = (unsigned char)(i * 31 + i / 251);
    return p;
}

static void holds(const void *data, size_t n)
{
    l2_file_view v;
    const l2_file_ops *before = ctx->files;
    ctx->files = &l2_posix_files;
    ck_ok(l2_file_read(ctx, path, UINT64_MAX, &v));
    ck_assert_uint_eq(v.size, n);
    ck_assert(memcmp(v.data, data, n) == 0);
    l2_file_release(ctx, &v);
    ctx->files = before;
}

/* --- tests ----------------------------------------------------------------------------------- */

START_TEST(test_write_and_view)
{
    static const size_t sizes[] = {0, 1, 4096, 1 << 20, (1 << 20) + 1, 3000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *data = noise(sizes[i]);
        ck_ok(l2_write_file(ctx, path, data, sizes[i]));
        holds(data, sizes[i]);
        l2_file_view v;
        ck_ok(l2_file_map(ctx, path, &v));
        ck_assert_int_eq(v.kind, sizes[i] > 0 ? L2_VIEW_MAPPED : L2_VIEW_READ);
        ck_assert_uint_eq(v.size, sizes[i]);
        ck_assert(memcmp(v.data, data, sizes[i]) == 0);
        l2_file_release(ctx, &v);
        l2_file_release(ctx, &v);
        ck_assert_int_eq(entries(), 1);
        free(data);
    }
}
END_TEST

START_TEST(test_map_falls_back)
{
    l2_file_view v;
    ck_ok(l2_write_file(ctx, path, "bytes", 5));
    fault.op = MMAP;
    fault.at = 1;
    fault.code = ENODEV;
    ck_ok(l2_file_map(ctx, path, &v));
    ck_assert_int_eq(v.kind, L2_VIEW_READ);
    ck_assert_mem_eq(v.data, "bytes", 5);
    l2_file_release(ctx, &v);
}
END_TEST

START_TEST(test_short_and_interrupted)
{
    unsigned char *data = noise(20000);
    no_fault();
    fault.most = 7;
    fault.interrupts = 3;
    ck_ok(l2_write_file(ctx, path, data, 20000));
    l2_file_view v;
    memset(fault.interrupted, 0, sizeof fault.interrupted);
    ck_ok(l2_file_read(ctx, path, UINT64_MAX, &v));
    ck_assert_uint_eq(v.size, 20000);
    ck_assert(memcmp(v.data, data, 20000) == 0);
    l2_file_release(ctx, &v);
    free(data);
}
END_TEST

/* What a killed run moved aside, and put nothing in place of, is all that there is of it: it goes only with a success.
 */
START_TEST(test_left_aside)
{
    for (int fails = 0; fails < 2; fails++) {
        char *name;
        l2_aside a;
        ck_ok(l2_path_join(ctx, folder, "file.replaced", &name));
        ck_ok(l2_write_file(ctx, name, "x", 1));
        ck_ok(l2_aside_begin(ctx, path, &a));
        ck_ok(l2_aside_move(&a));
        if (fails) l2_aside_put_back(&a);
        l2_aside_end(&a);
        ck_assert_int_eq(l2_path_kind(name), fails);
        ck_assert_int_eq(l2_path_kind(path), 0);
        l2_free(ctx, name);
    }
}
END_TEST

/* A file system that syncs no folders. */
START_TEST(test_folders_that_cannot_be_synced)
{
    no_fault();
    fault.op = FSYNC;
    fault.at = 2; /* after the file's */
    fault.code = EINVAL;
    ck_ok(l2_write_file(ctx, path, "new", 3));
    ck_assert_int_eq(fault.calls[FSYNC], 2);
    holds("new", 3);
    fault.at = 3;
    ck_fails(l2_write_file(ctx, path, "x", 1), LLAMA2_E_IO); /* of the file itself it is a failure */
    holds("new", 3);
}
END_TEST

START_TEST(test_writer_crc)
{
    unsigned char *data = noise(3000000);
    l2_writer w;
    ck_ok(l2_writer_open(ctx, path, &w));
    for (size_t at = 0, step = 1; at < 3000000; at += step, step = step * 2 < 3000000 - at ? step * 2 : 3000000 - at) {
        ck_ok(l2_writer_write(&w, data + at, step));
        ck_assert_uint_eq(w.size, at + step);
        ck_assert_uint_eq(w.crc, l2_crc32c(0, data, at + step));
        if (at + step >= 3000000) break;
    }
    ck_ok(l2_writer_commit(&w));
    l2_writer_abort(&w);
    holds(data, 3000000);
    free(data);
}
END_TEST

/* Each operation fails in turn while a file is replaced: the old file stays, nothing else lies about, nothing leaks. */
START_TEST(test_failed_replacement)
{
    static const struct {
        int op, code;
    } cases[] = {{OPEN, EACCES}, {OPEN, EMFILE},  {FSTAT, EIO}, {FTRUNCATE, EIO},
                 {WRITE, EIO},   {WRITE, ENOSPC}, {FSYNC, EIO}, {RENAME, EIO}};
    static const int times[N_OPS] = {[OPEN] = 2 /* the folder too */, [WRITE] = 3 /* blocks */};
    unsigned char *data = noise(2500000);
    ck_ok(l2_write_file(ctx, path, "old", 3));
    int fds = open_files();
    long live = atomic_load(&memory.live);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int at = 1; at == 1 || at <= times[cases[i].op]; at++) {
            no_fault();
            fault.op = cases[i].op;
            fault.at = at;
            fault.code = cases[i].code;
            ck_fails(l2_write_file(ctx, path, data, 2500000), LLAMA2_E_IO);
            ck_assert_ptr_nonnull(strstr(llama2_last_error(), folder));
            if (cases[i].op != OPEN || at == 1) ck_assert_ptr_nonnull(strstr(llama2_last_error(), "file"));
            ck_assert_ptr_nonnull(strstr(llama2_last_error(), strerror(cases[i].code)));
            holds("old", 3);
            ck_assert_int_eq(entries(), 1);
            ck_assert_int_eq(open_files(), fds);
            ck_assert_int_eq(atomic_load(&memory.live), live);
        }
    }
    /* The folder's sync comes after the rename: the new file is there, but the caller hears that it may not last. That
     * it can't be closed is no failure: it has been synced. */
    for (int op = 0; op < 2; op++) {
        no_fault();
        ck_ok(l2_write_file(ctx, path, "old", 3));
        no_fault();
        fault.op = op ? CLOSE : FSYNC;
        fault.at = op ? 1 : 2;
        fault.code = EIO;
        ck_assert_int_eq(l2_write_file(ctx, path, data, 2500000), op ? LLAMA2_OK : LLAMA2_E_IO);
        holds(data, 2500000);
        ck_assert_int_eq(open_files(), fds);
    }
    free(data);
}
END_TEST

static void hold(const char *name, const char *expected)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    holds(expected, strlen(expected));
}

static void write_name(const char *name, const char *text)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_ok(l2_write_file(ctx, path, text, strlen(text)));
}

static llama2_status write_both(void)
{
    l2_writer data, about = {0};
    snprintf(path, sizeof path, "%s/data", folder);
    llama2_status status = l2_writer_open(ctx, path, &data);
    snprintf(path, sizeof path, "%s/about", folder);
    if (status >= 0) status = l2_writer_open(ctx, path, &about);
    if (status >= 0) status = l2_writer_write(&data, "new", 3);
    if (status >= 0) status = l2_writer_write(&about, "of new", 6);
    if (status >= 0) status = l2_writer_commit_before(&data, &about);
    if (status >= 0) status = l2_writer_commit(&about);
    l2_writer_abort(&data);
    l2_writer_abort(&about);
    return status;
}

/* A file and one that describes it: each operation fails in turn, and the old ones are both there, or the new ones, or
 * the new one without a description. Nothing else lies about, also of what a killed run left. */
START_TEST(test_described_replacement)
{
    static const int ops[] = {OPEN, WRITE, FSYNC, FSTAT, FTRUNCATE, RENAME, UNLINK};
    int fds = open_files(), old = 0, neither = 0;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        int done = 0;
        for (int at = 1; !done; at++) {
            no_fault();
            write_name("data", "old");
            write_name("about", "of old");
            if (at % 2) write_name("about.replaced", "left over");
            no_fault();
            fault.op = ops[i];
            fault.at = at;
            fault.code = EIO;
            llama2_status status = write_both();
            done = fault.calls[ops[i]] < at;
            no_fault();
            ck_assert(status == LLAMA2_E_IO || status == LLAMA2_OK);
            ck_assert_int_eq(open_files(), fds);
            snprintf(path, sizeof path, "%s/about", folder);
            if (l2_path_kind(path) == 0) {
                ck_assert_int_lt(status, 0);
                hold("data", "new");
                ck_assert_int_eq(entries(), 1);
                neither++;
                continue;
            }
            l2_file_view v;
            ck_ok(l2_file_read(ctx, path, 100, &v));
            int is_old = v.size == 6 && memcmp(v.data, "of old", 6) == 0;
            l2_file_release(ctx, &v);
            hold("data", is_old ? "old" : "new");
            hold("about", is_old ? "of old" : "of new");
            ck_assert(is_old ? status < 0 : status == LLAMA2_OK || ops[i] == FSYNC);
            old += is_old;
            snprintf(path, sizeof path, "%s/about.replaced", folder);
            if (is_old || ops[i] == UNLINK) unlink(path); /* what this save has not come to yet */
            ck_assert_int_eq(entries(), 2);
        }
    }
    ck_assert_int_gt(old, neither);
    ck_assert_int_gt(neither, 0);
}
END_TEST

/* What stands at the temporary name and is no file neither makes the writer wait nor goes. */
START_TEST(test_fifo_in_the_way)
{
    char temporary[140];
    struct stat st;
    snprintf(temporary, sizeof temporary, "%s.partial", path);
    ck_assert_int_eq(mkfifo(temporary, 0600), 0);
    int fds = open_files();
    for (int read = 0; read < 2; read++) {
        int reader = read ? open(temporary, O_RDONLY | O_NONBLOCK) : -1;
        ck_fails(l2_write_file(ctx, path, "new", 3), LLAMA2_E_IO);
        ck_assert_ptr_nonnull(strstr(llama2_last_error(), "file.partial: is not a regular file"));
        if (read) close(reader);
        ck_assert(lstat(temporary, &st) == 0 && S_ISFIFO(st.st_mode));
        ck_assert_int_eq(open_files(), fds);
    }
}
END_TEST

START_TEST(test_failed_lock)
{
    ck_ok(l2_write_file(ctx, path, "old", 3));
    no_fault();
    fault.op = FLOCK;
    fault.at = 1;
    fault.code = EWOULDBLOCK;
    int fds = open_files();
    ck_fails(l2_write_file(ctx, path, "new", 3), LLAMA2_E_BUSY);
    ck_assert_int_eq(entries(), 2); /* the temporary file is another's */
    ck_assert_int_eq(open_files(), fds);
    holds("old", 3);
    no_fault();
    fault.op = FLOCK;
    fault.at = 1;
    fault.code = ENOLCK; /* the file system has none */
    ck_ok(l2_write_file(ctx, path, "new", 3));
    ck_assert_int_eq(fault.calls[FLOCK], 1);
    ck_assert_int_eq(entries(), 1);
    holds("new", 3);
}
END_TEST

START_TEST(test_larger_than_the_limit)
{
    l2_file_view v;
    ck_ok(l2_write_file(ctx, path, "bytes", 5));
    ck_ok(l2_file_read(ctx, path, 5, &v));
    l2_file_release(ctx, &v);
    ck_fails(l2_file_read(ctx, path, 4, &v), LLAMA2_E_LIMIT);
    ck_assert_int_eq(truncate(path, (off_t)100 << 30), 0);
    int fds = open_files();
    long calls = atomic_load(&memory.calls);
    ck_fails(l2_file_read(ctx, path, 16 << 20, &v), LLAMA2_E_LIMIT);
    ck_assert_ptr_null(v.data);
    ck_assert_int_eq(atomic_load(&memory.calls), calls);
    ck_assert_int_eq(open_files(), fds);
}
END_TEST

/* The second of two writers of one path hears of the first, whose file comes out whole. */
START_TEST(test_two_writers)
{
    char temporary[140];
    l2_writer first, second;
    snprintf(temporary, sizeof temporary, "%s.partial", path);
    int fds = open_files();
    ck_ok(l2_writer_open(ctx, path, &first));
    ck_ok(l2_writer_write(&first, "first", 5));
    ck_fails(l2_write_file(ctx, path, "second", 6), LLAMA2_E_BUSY);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), path));
    ck_ok(l2_writer_commit(&first));
    holds("first", 5);
    ck_ok(l2_writer_open(ctx, path, &first));
    fault.op = OPEN; /* one that fails leaves the other's temporary file alone, too */
    fault.at = fault.calls[OPEN] + 1;
    fault.code = EMFILE;
    ck_fails(l2_writer_open(ctx, path, &second), LLAMA2_E_IO);
    ck_assert_int_eq(l2_path_kind(temporary), 1);
    l2_writer_abort(&first);
    ck_assert_int_eq(entries(), 1);
    ck_assert_int_eq(open_files(), fds);

    /* what a killed run has left is in nobody's way */
    FILE *left = fopen(temporary, "w");
    ck_assert_ptr_nonnull(left);
    fputs("what a killed run has left", left);
    fclose(left);
    ck_ok(l2_write_file(ctx, path, "third", 5));
    holds("third", 5);
    ck_assert_int_eq(entries(), 1);
}
END_TEST

typedef struct many_writes {
    pthread_t thread;
    char letter;
    int written, wrong;
} many_writes;

enum { LETTERS = 50000 };

static void *write_often(void *arg)
{
    many_writes *m = arg;
    char *data = malloc(LETTERS);
    memset(data, m->letter, LETTERS);
    for (int i = 0; i < 300; i++) {
        llama2_status status = l2_write_file(ctx, path, data, LETTERS);
        m->written += status == LLAMA2_OK;
        m->wrong += status != LLAMA2_OK && status != LLAMA2_E_BUSY;
    }
    free(data);
    return NULL;
}

static int do_nothing(int fd)
{
    (void)fd;
    return 0;
}

/* Whatever order they come in, the file is one writer's as a whole. */
START_TEST(test_many_writers)
{
    l2_file_ops unsynced = l2_posix_files; /* for speed */
    many_writes m[4];
    unsynced.fsync = do_nothing;
    ctx->files = &unsynced;
    ck_ok(l2_write_file(ctx, path, "", 0));
    for (int i = 0; i < 4; i++) {
        m[i] = (many_writes){.letter = (char)('a' + i)};
        ck_assert_int_eq(pthread_create(&m[i].thread, NULL, write_often, &m[i]), 0);
    }
    for (int i = 0; i < 1000; i++) {
        l2_file_view v;
        ck_ok(l2_file_read(ctx, path, UINT64_MAX, &v));
        ck_assert(v.size == 0 || (v.size == LETTERS && memcmp(v.data, v.data + 1, LETTERS - 1) == 0));
        l2_file_release(ctx, &v);
    }
    for (int i = 0, written = 0; i < 4; i++) {
        pthread_join(m[i].thread, NULL);
        written += m[i].written;
        ck_assert_int_eq(m[i].wrong, 0);
        ck_assert(i < 3 || written > 0);
    }
    ck_assert_int_eq(entries(), 1);
    ctx->files = &faulty;
}
END_TEST

START_TEST(test_failed_reading)
{
    static const struct {
        int op, code;
    } cases[] = {{OPEN, EACCES}, {FSTAT, EIO}, {READ, EIO}};
    ck_ok(l2_write_file(ctx, path, "bytes", 5));
    int fds = open_files();
    long live = atomic_load(&memory.live);
    for (size_t i = 0; i < 3; i++) {
        l2_file_view v = {(const unsigned char *)"", 9, 1};
        no_fault();
        fault.op = cases[i].op;
        fault.at = 1;
        fault.code = cases[i].code;
        ck_fails(l2_file_read(ctx, path, UINT64_MAX, &v), LLAMA2_E_IO);
        ck_assert_ptr_null(v.data);
        l2_file_release(ctx, &v);
        ck_assert_int_eq(open_files(), fds);
        ck_assert_int_eq(atomic_load(&memory.live), live);
    }
}
END_TEST

START_TEST(test_writer_without_memory)
{
    int fds = open_files();
    ck_ok(l2_write_file(ctx, path, "old", 3));
    for (long n = 1;; n++) {
        memory.fail_at = atomic_load(&memory.calls) + n;
        llama2_status status = l2_write_file(ctx, path, "new", 3);
        if (status == LLAMA2_OK) {
            ck_assert_int_gt(n, 3);
            break;
        }
        ck_assert_int_eq(status, LLAMA2_E_NOMEM);
        memory.fail_at = 0;
        holds("old", 3);
        ck_assert_int_eq(open_files(), fds);
    }
    memory.fail_at = 0;
    holds("new", 3);
}
END_TEST

START_TEST(test_not_there)
{
    l2_file_view v;
    ck_fails(l2_file_map(ctx, "test_files.nowhere", &v), LLAMA2_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(llama2_last_error(), "test_files.nowhere"));
    ck_fails(l2_file_map(ctx, folder, &v), LLAMA2_E_IO);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_fails(l2_file_map(ctx, path, &v), LLAMA2_E_IO); /* and doesn't wait for a writer */
    ck_assert_int_eq(l2_path_kind(path), 0);
    ck_assert_int_eq(l2_path_kind(folder), 2);
    ck_fails(l2_sync_folder(ctx, "test_files.nowhere"), LLAMA2_E_NOT_FOUND);
    ck_ok(l2_sync_folder(ctx, folder));
    l2_writer zeroed = {0};
    l2_writer_abort(&zeroed);
    ck_fails(l2_write_file(ctx, "test_files.nowhere/file", "x", 1), LLAMA2_E_NOT_FOUND);
}
END_TEST

/* With a name behind it an empty path would be the current folder. */
START_TEST(test_empty_path)
{
    l2_file_view v;
    char *joined;
    ck_fails(l2_file_map(ctx, "", &v), LLAMA2_E_INVALID);
    ck_fails(l2_path_join(ctx, "", "name", &joined), LLAMA2_E_INVALID);
    ck_fails(l2_make_folder(ctx, ""), LLAMA2_E_INVALID);
    ck_fails(l2_write_file(ctx, "", "x", 1), LLAMA2_E_INVALID);
    ck_assert_int_eq(l2_path_kind(".partial"), 0);
}
END_TEST

START_TEST(test_folders)
{
    char *deep, *joined;
    ck_ok(l2_path_join(ctx, folder, "a/b//c/", &deep));
    ck_ok(l2_make_folder(ctx, deep));
    ck_ok(l2_make_folder(ctx, deep));
    ck_assert_int_eq(l2_path_kind(deep), 2);
    ck_ok(l2_path_join(ctx, deep, "file", &joined));
    ck_assert_ptr_nonnull(strstr(joined, "a/b//c/file"));
    ck_ok(l2_write_file(ctx, joined, "x", 1));
    ck_assert_int_eq(l2_path_kind(joined), 1);
    ck_fails(l2_make_folder(ctx, joined), LLAMA2_E_IO);
    /* A link is removed, what it points at is not. */
    char outside[64], link_path[128];
    strcpy(outside, "test_files.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(outside));
    snprintf(link_path, sizeof link_path, "%s/a/link", folder);
    ck_assert_int_eq(symlink(outside, link_path), 0);
    ck_ok(l2_remove_tree(ctx, folder));
    ck_assert_int_eq(l2_path_kind(folder), 0);
    ck_assert_int_eq(l2_path_kind(outside), 2);
    ck_ok(l2_remove_tree(ctx, outside));
    ck_ok(l2_remove_tree(ctx, folder));
    ck_ok(l2_remove_tree(ctx, outside));
    l2_free(ctx, joined);
    l2_free(ctx, deep);
}
END_TEST

START_TEST(test_failed_folders)
{
    static const struct {
        int op, at;
    } cases[] = {{UNLINK, 1}, {RMDIR, 1}, {RMDIR, 2}, {READDIR, 1}, {READDIR, 2}};
    char *deep;
    ck_ok(l2_path_join(ctx, folder, "a/b", &deep));
    for (int at = 1; at <= 2; at++) {
        no_fault();
        fault.op = MKDIR;
        fault.at = at + 1;
        fault.code = ENOSPC;
        ck_fails(l2_make_folder(ctx, deep), LLAMA2_E_IO);
        ck_assert_ptr_nonnull(strstr(llama2_last_error(), strerror(ENOSPC)));
    }
    /* For each one that is made its parent is synced; where that fails it is not there: the next call does it. */
    no_fault();
    fault.op = FSYNC;
    fault.at = 2;
    fault.code = EIO;
    ck_ok(l2_remove_tree(ctx, folder));
    ck_fails(l2_make_folder(ctx, deep), LLAMA2_E_IO);
    ck_assert_int_eq(fault.calls[FSYNC], 2);
    ck_ok(l2_make_folder(ctx, deep));
    ck_assert_int_eq(fault.calls[FSYNC], 4);
    ck_ok(l2_make_folder(ctx, deep));
    ck_assert_int_eq(fault.calls[FSYNC], 4);
    /* A file system that syncs no folders, and a parent that can't be read, are no failures. */
    static const int tolerated[][2] = {{FSYNC, EINVAL}, {OPEN, EACCES}};
    for (size_t i = 0; i < 2; i++) {
        no_fault();
        ck_ok(l2_remove_tree(ctx, folder));
        no_fault();
        fault.op = tolerated[i][0];
        fault.at = 1;
        fault.code = tolerated[i][1];
        ck_ok(l2_make_folder(ctx, deep));
        ck_assert_int_eq(l2_path_kind(deep), 2);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(path, sizeof path, "%s/a/b/file", folder);
        no_fault();
        ck_ok(l2_make_folder(ctx, deep));
        ck_ok(l2_write_file(ctx, path, "x", 1));
        int fds = open_files();
        no_fault();
        fault.op = cases[i].op;
        fault.at = cases[i].at;
        fault.code = EIO;
        ck_fails(l2_remove_tree(ctx, folder), LLAMA2_E_IO);
        ck_assert(cases[i].op != READDIR || strstr(llama2_last_error(), "cannot list"));
        ck_assert_int_eq(open_files(), fds);
    }
    l2_free(ctx, deep);
}
END_TEST

Suite *test_suite(void)
{
    Suite *s = suite_create("base/files");
    TCase *tc = tcase_create("files");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_write_and_view);
    tcase_add_test(tc, test_map_falls_back);
    tcase_add_test(tc, test_short_and_interrupted);
    tcase_add_test(tc, test_writer_crc);
    tcase_add_test(tc, test_failed_replacement);
    tcase_add_test(tc, test_described_replacement);
    tcase_add_test(tc, test_fifo_in_the_way);
    tcase_add_test(tc, test_failed_lock);
    tcase_add_test(tc, test_larger_than_the_limit);
    tcase_add_test(tc, test_two_writers);
    tcase_add_test(tc, test_many_writers);
    tcase_add_test(tc, test_failed_reading);
    tcase_add_test(tc, test_writer_without_memory);
    tcase_add_test(tc, test_not_there);
    tcase_add_test(tc, test_empty_path);
    tcase_add_test(tc, test_folders);
    tcase_add_test(tc, test_failed_folders);
    tcase_add_test(tc, test_left_aside);
    tcase_add_test(tc, test_folders_that_cannot_be_synced);
    suite_add_tcase(s, tc);
    return s;
}
