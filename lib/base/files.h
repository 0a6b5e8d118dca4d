/*
 * Files, through a table of operations that tests replace to let each call fail. Reading maps a file or reads it whole;
 * writing is atomic: into a temporary file in the same folder, synced, renamed, folder synced.
 */
#ifndef L2_BASE_FILES_H
#define L2_BASE_FILES_H

#include "base/status.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Semantics and errno as of the POSIX functions of the same names. */
typedef struct l2_file_ops {
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *buffer, size_t count);
    ssize_t (*write)(int fd, const void *buffer, size_t count);
    int (*fsync)(int fd);
    int (*fstat)(int fd, struct stat *st);
    int (*flock)(int fd, int operation);
    int (*ftruncate)(int fd, off_t length);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
    struct dirent *(*readdir)(DIR *dir);
    void *(*mmap)(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
    int (*munmap)(void *addr, size_t length);
} l2_file_ops;

extern const l2_file_ops l2_posix_files;

enum { L2_VIEW_READ = 0, L2_VIEW_MAPPED = 1, L2_VIEW_HOST = 2 };

/* A file as bytes: mapped where that works, else read into memory, or the host's own. Read-only. */
typedef struct l2_file_view {
    const unsigned char *data;
    size_t size;
    int kind; /* L2_VIEW_* */
} l2_file_view;

llama2_status l2_file_map(llama2_context *ctx, const char *path, l2_file_view *out);
/* Never mapped. More than `limit` bytes are LIMIT, before anything is allocated. */
llama2_status l2_file_read(llama2_context *ctx, const char *path, uint64_t limit, l2_file_view *out);
void l2_file_release(llama2_context *ctx, l2_file_view *view);
/* Bytes that are not needed soon: those of a mapped view take no memory until they are read again. What does not begin
 * in the view is not touched. */
void l2_file_forget(const l2_file_view *view, const unsigned char *data, size_t size);

/* For what reads a file piece by piece; closing is the caller's. `size` may be NULL. Errors: NOT_FOUND, IO (also for
 * what is no regular file). */
llama2_status l2_file_open(llama2_context *ctx, const char *path, int *fd, size_t *size);
llama2_status l2_file_sync(llama2_context *ctx, int fd, const char *path);

/* The host's memory as it is, or what its callback reads, allocated; more than `limit` bytes are LIMIT. Errors: ABI,
 * INVALID, LIMIT, NOMEM, USER. */
llama2_status l2_file_of_host(llama2_context *ctx, const llama2_host_file *file, uint64_t limit, l2_file_view *out);

/* What a format makes of the bytes of a file. */
typedef llama2_status (*l2_parse_fn)(void *format, const unsigned char *bytes, size_t size);

/* Opens a file as *view, mapped or read (in_memory), and parses it; messages of `parse` get the path before them. The
 * view is the caller's to release, after a failure too. */
llama2_status l2_file_parse(llama2_context *ctx, const char *path, int in_memory, l2_file_view *view, l2_parse_fn parse,
                            void *format);

/* 1 a regular file, 2 a folder, 0 nothing there or something else. */
int l2_path_kind(const char *path);

/* "folder/name", allocated. */
llama2_status l2_path_join(llama2_context *ctx, const char *folder, const char *name, char **out);

/* Makes the folder and its missing parents, which are on the disk then. An existing one is fine. */
llama2_status l2_make_folder(llama2_context *ctx, const char *path);

/* The next name in an open folder, but "." and ".."; NULL at its end. */
llama2_status l2_folder_next(llama2_context *ctx, DIR *dir, const char *path, const char **name);

/* Removes a file or a folder with all that is in it. One that is not there is fine. */
llama2_status l2_remove_tree(llama2_context *ctx, const char *path);

/* fsync of a folder, so that a rename in it is on the disk. */
llama2_status l2_sync_folder(llama2_context *ctx, const char *path);

/* A folder held open, to be known again: while it is, one that another makes in its place is not `ours`. */
llama2_status l2_folder_hold(llama2_context *ctx, const char *path, int *fd);
/* Does that path still lead to the folder that is held? */
llama2_status l2_folder_stands(int fd, const char *path, int *stands);
/* Is the open file or folder what is at that path, and no link to it? Nothing is a forked child's. */
int l2_is_ours(const llama2_context *ctx, int fd, const char *path);

/* An older file that is to go, moved to a name that nothing reads (path.replaced) until that is settled. Only begin
 * needs memory. Nothing is synced. */
typedef struct l2_aside {
    llama2_context *ctx;
    char *path, *name;
    int used, moved;
} l2_aside;

llama2_status l2_aside_begin(llama2_context *ctx, const char *path, l2_aside *out);
llama2_status l2_aside_move(l2_aside *aside); /* none there is fine */
void l2_aside_put_back(l2_aside *aside);      /* in place of what stands there now */
void l2_aside_end(l2_aside *aside);           /* removes it; fine on a zeroed one */

/*
 * Atomic writer. After any failure call l2_writer_abort (fine on a zeroed writer, and after commit). `crc` is the
 * CRC32C of what has been written so far, `size` its length.
 */
typedef struct l2_writer {
    llama2_context *ctx;
    unsigned char *memory; /* l2_writer_memory */
    size_t room, *needed;
    char *path, *temporary;
    int fd;
    unsigned char *buffer;
    size_t used;
    int synced; /* since the last write */
    uint64_t size;
    uint32_t crc;
    l2_aside older; /* l2_writer_commit_before */
} l2_writer;

/* BUSY where another writer is at the same path. */
llama2_status l2_writer_open(llama2_context *ctx, const char *path, l2_writer *out);
/* Into a buffer instead: what does not fit is only counted. Commit writes *needed, and fails with BUFFER where it is
 * more than the capacity, unless the buffer is NULL. */
void l2_writer_memory(llama2_context *ctx, void *buffer, size_t capacity, size_t *needed, l2_writer *out);
llama2_status l2_writer_write(l2_writer *writer, const void *data, size_t length);
/* What has been written is on the disk, under its temporary name: commit has but to rename it. */
llama2_status l2_writer_sync(l2_writer *writer);
/* After a failure the older file is as it was; only where the last step fails, syncing the folder, it is the new
 * one. */
llama2_status l2_writer_commit(l2_writer *writer);
/* Commits a file that `next` (or NULL), which is committed later, describes: the older file at next's path is gone
 * before this one is in place, so that it is never read with this one. It is back where this one is not. */
llama2_status l2_writer_commit_before(l2_writer *writer, l2_writer *next);
void l2_writer_abort(l2_writer *writer);

/* A whole file, atomically. */
llama2_status l2_write_file(llama2_context *ctx, const char *path, const void *data, size_t length);

#endif
