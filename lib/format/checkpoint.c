/* Folders of checkpoints: how a step comes to be valid, which one is opened, which are removed. */
#include "format/checkpoint.h"
#include "base/alloc.h"
#include "base/context.h"
#include "base/json.h"
#include "format/manifest.h"
#include "format/sort.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 64 };

static const char temporary_prefix[] = ".tmp-step-";

typedef struct entry {
    int64_t step;
    int old; /* step-N.old: replaced by a step-N, when the replacing was interrupted */
} entry;

static void entry_name(entry e, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "step-%012" PRId64 "%s", e.step, e.old ? ".old" : "");
}

/* Is this exactly the name of a step? */
static int parse_name(const char *name, entry *out)
{
    char exact[NAME_SIZE];
    if (strncmp(name, "step-", 5) != 0) return 0;
    int64_t step = 0;
    const char *at = name + 5;
    for (; *at >= '0' && *at <= '9'; at++) {
        int digit = *at - '0';
        if (step > (INT64_MAX - digit) / 10) return 0;
        step = 10 * step + digit;
    }
    *out = (entry){step, *at != 0};
    entry_name(*out, exact);
    return strcmp(exact, name) == 0;
}

/* Newest first; of one step the one that replaced before the one that was replaced. */
static int newest_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->step != y->step) return x->step > y->step ? -1 : 1;
    return x->old - y->old;
}

static llama2_status entry_path(llama2_context *ctx, const char *root, entry e, char **out)
{
    char name[NAME_SIZE];
    entry_name(e, name);
    return l2_path_join(ctx, root, name, out);
}

/* All step folders of root, valid or not. */
static llama2_status list_entries(llama2_context *ctx, const char *root, entry **out, size_t *n)
{
    llama2_status status = LLAMA2_OK;
    entry *entries = NULL, e;
    size_t count = 0, capacity = 0;
    *out = NULL;
    *n = 0;
    DIR *dir = opendir(root);
    if (!dir && errno == ENOENT) return LLAMA2_OK;
    if (!dir) return l2_fail(LLAMA2_E_IO, "%s: can't be listed: %s", root, l2_strerror(errno));
    for (const char *name;;) {
        L2_CHECK(l2_folder_next(ctx, dir, root, &name));
        if (!name) break;
        if (!parse_name(name, &e)) continue;
        if (count == capacity) {
            size_t more = capacity ? 2 * capacity : 16;
            L2_CHECK(l2_realloc(ctx, capacity, more, sizeof *entries, &entries));
            capacity = more;
        }
        entries[count++] = e;
    }
    l2_sort(entries, count, sizeof *entries, newest_first);
    *out = entries;
    *n = count;
done:
    closedir(dir);
    if (status < 0) l2_free(ctx, entries);
    return status;
}

static llama2_status move(llama2_context *ctx, const char *from, const char *to)
{
    if (ctx->files->rename(from, to) == 0) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_IO, "%s can't be renamed to %s: %s", from, to, l2_strerror(errno));
}

/* Does this status say something of the checkpoint, and not of the process? */
static int says_invalid(llama2_status status)
{
    return status < 0 && status != LLAMA2_E_NOMEM && status != LLAMA2_E_CANCELLED && status != LLAMA2_E_FORKED;
}

/* May the checkpoint go for it? What can't be read now may be read next time, or by a newer library. */
static int says_damaged(llama2_status status)
{
    return says_invalid(status) && status != LLAMA2_E_IO && status != LLAMA2_E_UNSUPPORTED;
}

/* --- writing --------------------------------------------------------------------------------- */

static llama2_status temporary_path(llama2_context *ctx, const char *root, int64_t step, const char *suffix, char **out)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s%012" PRId64 "%s", temporary_prefix, step, suffix);
    return l2_path_join(ctx, root, name, out);
}

/* Nothing depends on it: that it stays is a pity, and no failure. */
static void discard(llama2_context *ctx, const char *temporary)
{
    if (l2_remove_tree(ctx, temporary) < 0)
        l2_log(ctx, LLAMA2_LOG_WARN, "a removed checkpoint remains: %s", llama2_last_error());
}

/* Of those of the step that could not be removed, by this save or another, none is in the way. */
static llama2_status free_path(llama2_context *ctx, const char *root, int64_t step, char **out)
{
    for (int i = 0;; i++) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, ".removed-%d", i);
        L2_TRY(temporary_path(ctx, root, step, suffix, out));
        if (l2_path_kind(*out) == 0) return LLAMA2_OK;
        l2_free(ctx, *out);
        *out = NULL;
    }
}

/* Removes a step so that an interruption leaves nothing that looks like one. */
static llama2_status remove_step(llama2_context *ctx, const char *root, entry e)
{
    llama2_status status;
    char *path = NULL, *temporary = NULL;
    L2_CHECK(entry_path(ctx, root, e, &path));
    L2_CHECK(free_path(ctx, root, e.step, &temporary));
    L2_CHECK(move(ctx, path, temporary));
    discard(ctx, temporary);
done:
    l2_free(ctx, path);
    l2_free(ctx, temporary);
    return status;
}

/*
 * An interrupted replacement of a step: what was replaced goes, unless what replaced it is missing or damaged. Where
 * that can't be read both stay, but if there must be `room` for a third: then it goes if the other is whole.
 */
static llama2_status settle_old(llama2_context *ctx, const char *root, int64_t step, int room)
{
    llama2_status status;
    char *path = NULL, *old = NULL;
    int keeps_old = 1, unreadable;
    L2_CHECK(entry_path(ctx, root, (entry){step, 0}, &path));
    L2_CHECK(entry_path(ctx, root, (entry){step, 1}, &old));
    if (l2_path_kind(path) == 2) {
        status = l2_manifest_verify(ctx, path, step, 1);
        unreadable = says_invalid(status) && !says_damaged(status);
        if (unreadable && !room) {
            l2_log(ctx, LLAMA2_LOG_WARN, "checkpoint left beside what it replaced: %s", llama2_last_error());
            status = LLAMA2_OK;
            goto done;
        }
        keeps_old = status < 0;
        if (unreadable) {
            status = l2_manifest_verify(ctx, old, step, 1);
            keeps_old = status == LLAMA2_OK;
        }
        if (status < 0 && !says_damaged(status)) goto done;
        L2_CHECK(remove_step(ctx, root, (entry){step, !keeps_old}));
    }
    if (keeps_old) L2_CHECK(move(ctx, old, path));
done:
    l2_free(ctx, path);
    l2_free(ctx, old);
    return status;
}

static llama2_status remove_temporaries(llama2_context *ctx, const char *root)
{
    llama2_status status = LLAMA2_OK;
    DIR *dir = opendir(root);
    if (!dir) return l2_fail(LLAMA2_E_IO, "%s: can't be listed: %s", root, l2_strerror(errno));
    for (const char *name;;) {
        char *path;
        L2_CHECK(l2_folder_next(ctx, dir, root, &name));
        if (!name) break;
        if (strncmp(name, temporary_prefix, sizeof temporary_prefix - 1) != 0) continue;
        L2_CHECK(l2_path_join(ctx, root, name, &path));
        discard(ctx, path);
        l2_free(ctx, path);
    }
done:
    closedir(dir);
    return status;
}

static llama2_status clean_up(llama2_context *ctx, const char *root)
{
    llama2_status status;
    entry *entries = NULL;
    size_t n;
    L2_CHECK(remove_temporaries(ctx, root));
    L2_CHECK(list_entries(ctx, root, &entries, &n));
    for (size_t i = 0; i < n; i++)
        if (entries[i].old) L2_CHECK(settle_old(ctx, root, entries[i].step, 0));
done:
    l2_free(ctx, entries);
    return status;
}

llama2_status l2_checkpoint_begin(llama2_context *ctx, const char *root, int64_t step, l2_checkpoint_writer *out)
{
    llama2_status status;
    memset(out, 0, sizeof *out);
    if (step < 0) return l2_fail(LLAMA2_E_INVALID, "step %" PRId64 ": steps count from 0", step);
    out->ctx = ctx;
    out->step = step;
    out->fd = -1;
    L2_CHECK(l2_make_folder(ctx, root));
    L2_CHECK(clean_up(ctx, root));
    L2_CHECK(l2_strndup(ctx, root, strlen(root), &out->root));
    L2_CHECK(temporary_path(ctx, root, step, "", &out->path));
    L2_CHECK(l2_remove_tree(ctx, out->path));
    L2_CHECK(l2_make_folder(ctx, out->path));
    status = l2_folder_hold(ctx, out->path, &out->fd);
    if (status < 0) l2_remove_tree(ctx, out->path);
done:
    if (status < 0) l2_checkpoint_abort(out);
    return status;
}

llama2_status l2_checkpoint_check(const l2_checkpoint_writer *writer)
{
    L2_TRY(l2_context_check_fork(writer->ctx));
    if (l2_is_ours(writer->ctx, writer->fd, writer->path)) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_STATE, "checkpoint: another one was begun in %s, which removed this one", writer->root);
}

void l2_checkpoint_abort(l2_checkpoint_writer *writer)
{
    if (!writer->ctx) return;
    if (writer->fd >= 0) {
        /* if that fails the next begin does it */
        if (l2_is_ours(writer->ctx, writer->fd, writer->path)) l2_remove_tree(writer->ctx, writer->path);
        writer->ctx->files->close(writer->fd);
    }
    l2_free(writer->ctx, writer->path);
    l2_free(writer->ctx, writer->root);
    memset(writer, 0, sizeof *writer);
}

/* Gives the finished folder its name. A step of that name moves aside, and back if this fails. */
static llama2_status put_in_place(const l2_checkpoint_writer *writer, const char *path, const char *old)
{
    llama2_context *ctx = writer->ctx;
    int replaces = l2_path_kind(path) == 2;
    if (replaces) L2_TRY(move(ctx, path, old));
    llama2_status status = move(ctx, writer->path, path);
    int moved = status >= 0;
    if (moved) status = l2_sync_folder(ctx, writer->root);
    if (status >= 0) return status;
    /* Readers and the next begin know what .old means if this fails too. */
    if (moved) ctx->files->rename(path, writer->path);
    if (replaces) ctx->files->rename(old, path);
    return status;
}

/* Removes what is older than the keep newest valid steps up to this one. */
static llama2_status prune(llama2_context *ctx, const char *root, int64_t step, int32_t keep)
{
    llama2_status status;
    entry *entries = NULL;
    size_t n;
    int32_t valid = 0;
    L2_CHECK(list_entries(ctx, root, &entries, &n));
    for (size_t i = 0; i < n; i++) {
        char *path;
        if (entries[i].step > step || entries[i].old) continue;
        if (valid >= keep) {
            L2_CHECK(remove_step(ctx, root, entries[i]));
            continue;
        }
        L2_CHECK(entry_path(ctx, root, entries[i], &path));
        valid += l2_manifest_verify(ctx, path, entries[i].step, 0) == LLAMA2_OK;
        l2_free(ctx, path);
    }
done:
    l2_free(ctx, entries);
    return status;
}

llama2_status l2_checkpoint_commit(l2_checkpoint_writer *writer, int32_t keep)
{
    llama2_status status;
    llama2_context *ctx = writer->ctx;
    char *path = NULL, *old = NULL;
    if (!ctx) return l2_fail(LLAMA2_E_STATE, "this checkpoint was committed or aborted before");
    if (keep < 2) L2_CHECK(l2_fail(LLAMA2_E_INVALID, "keep is %d: at least 2 checkpoints are kept", (int)keep));
    L2_CHECK(l2_checkpoint_check(writer));
    L2_CHECK(entry_path(ctx, writer->root, (entry){writer->step, 0}, &path));
    L2_CHECK(entry_path(ctx, writer->root, (entry){writer->step, 1}, &old));
    L2_CHECK(l2_manifest_write(ctx, writer->path, writer->step));
    L2_CHECK(l2_manifest_verify(ctx, writer->path, writer->step, 1));
    if (l2_path_kind(old) == 2) L2_CHECK(settle_old(ctx, writer->root, writer->step, 1));
    L2_CHECK(l2_checkpoint_check(writer)); /* another may have begun meanwhile */
    L2_CHECK(put_in_place(writer, path, old));
    /* The checkpoint is there. That an old one can't be removed is a pity, and no failure. */
    llama2_status removed =
        l2_path_kind(old) == 2 ? remove_step(ctx, writer->root, (entry){writer->step, 1}) : LLAMA2_OK;
    if (removed == LLAMA2_OK) removed = prune(ctx, writer->root, writer->step, keep);
    if (removed < 0) l2_log(ctx, LLAMA2_LOG_WARN, "old checkpoints remain: %s", llama2_last_error());
done:
    l2_free(ctx, path);
    l2_free(ctx, old);
    l2_checkpoint_abort(writer);
    return status;
}

/* --- reading --------------------------------------------------------------------------------- */

static llama2_status open_newest(llama2_context *ctx, const char *root, l2_checkpoint_reader *out)
{
    llama2_status status, why = LLAMA2_OK;
    entry *entries = NULL;
    size_t n, unreadable = 0;
    L2_CHECK(list_entries(ctx, root, &entries, &n));
    for (size_t i = 0; i < n; i++) {
        L2_CHECK(entry_path(ctx, root, entries[i], &out->path));
        status = l2_manifest_verify(ctx, out->path, entries[i].step, 1);
        out->step = entries[i].step;
        if (status == LLAMA2_OK || !says_invalid(status)) goto done;
        l2_log(ctx, LLAMA2_LOG_WARN, "checkpoint passed over: %s", llama2_last_error());
        out->passed_over++;
        int away = l2_path_kind(out->path) == 0; /* a link to what is not there now */
        if (away || !says_damaged(status)) {
            unreadable++;
            if (why != LLAMA2_E_IO) why = away ? LLAMA2_E_IO : status;
        }
        l2_free(ctx, out->path);
        out->path = NULL;
    }
    if (unreadable) /* a run must not begin anew beside checkpoints that can be read next time */
        L2_CHECK(l2_fail(why, "%s: no checkpoint is valid, and %zu of %zu can't be read", root, unreadable, n));
    status = n ? l2_fail_in(LLAMA2_E_NOT_FOUND, "%s: none of %zu checkpoints is valid, nor is the oldest", root, n)
               : l2_fail(LLAMA2_E_NOT_FOUND, "%s has no checkpoint, a folder step-000000000000 or the like", root);
done:
    l2_free(ctx, entries);
    return status;
}

/* The path of a step that is there. */
static llama2_status find_entry(llama2_context *ctx, const char *root, entry e, char **out)
{
    L2_TRY(entry_path(ctx, root, e, out));
    struct stat link;
    errno = 0; /* and stays so where something else is there */
    if (l2_path_kind(*out) == 2) return LLAMA2_OK;
    int code = errno;
    int missing = code == 0 || ((code == ENOENT || code == ENOTDIR) && lstat(*out, &link) != 0);
    llama2_status status = missing ? l2_fail(LLAMA2_E_NOT_FOUND, "%s: there is no such checkpoint", *out)
                                   : l2_fail(LLAMA2_E_IO, "%s: cannot stat: %s", *out, l2_strerror(code));
    l2_free(ctx, *out);
    *out = NULL;
    return status;
}

static llama2_status open_named(llama2_context *ctx, const char *root, int64_t step, l2_checkpoint_reader *out)
{
    out->step = step;
    llama2_status status = find_entry(ctx, root, (entry){step, 0}, &out->path);
    if (status == LLAMA2_E_NOT_FOUND) /* perhaps cut off between its two renames */
        status = find_entry(ctx, root, (entry){step, 1}, &out->path);
    if (status == LLAMA2_E_NOT_FOUND)
        return l2_fail(LLAMA2_E_NOT_FOUND, "%s has no checkpoint of step %" PRId64, root, step);
    return status < 0 ? status : l2_manifest_verify(ctx, out->path, step, 1);
}

llama2_status l2_checkpoint_open(llama2_context *ctx, const char *root, int64_t step, l2_checkpoint_reader *out)
{
    memset(out, 0, sizeof *out);
    if (step < -1) return l2_fail(LLAMA2_E_INVALID, "step %" PRId64 ": steps count from 0, -1 is the newest", step);
    out->ctx = ctx;
    out->fd = -1;
    llama2_status status = step < 0 ? open_newest(ctx, root, out) : open_named(ctx, root, step, out);
    if (status >= 0) status = l2_folder_hold(ctx, out->path, &out->fd);
    if (status < 0) l2_checkpoint_close(out);
    return status;
}

llama2_status l2_checkpoint_stands(const l2_checkpoint_reader *reader)
{
    int same = 0;
    llama2_status status = l2_folder_stands(reader->fd, reader->path, &same);
    if (status < 0 || same) return status;
    return l2_fail(LLAMA2_E_STATE, "%s has been replaced or removed since it was opened", reader->path);
}

void l2_checkpoint_close(l2_checkpoint_reader *reader)
{
    if (!reader->ctx) return;
    if (reader->fd >= 0) reader->ctx->files->close(reader->fd);
    l2_free(reader->ctx, reader->path);
    memset(reader, 0, sizeof *reader);
}
