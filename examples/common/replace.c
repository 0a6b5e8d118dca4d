#include "common/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

/* PATH.part is its writer's until it is renamed or removed, by a lock that ends with the process: see lib/base/files.c.
 * -1: `errno` says why, EBUSY that another writer is at it. */
static int open_part(const char *part)
{
    struct stat ours, there;
    int fd = open(part, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) return -1;
    int why = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        why = EBUSY;
    else if (fstat(fd, &ours) != 0)
        why = errno;
    else if (lstat(part, &there) != 0 || ours.st_ino != there.st_ino || ours.st_dev != there.st_dev)
        why = EBUSY; /* it was another writer's, which has renamed it meanwhile */
    else if (ftruncate(fd, 0) != 0)
        why = errno;
    if (!why) return fd;
    close(fd);
    errno = why;
    return -1;
}

/* So that the rename is on the disk; there are file systems that sync no folders. */
static bool sync_folder_of(const char *path)
{
    char folder[4104];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash ? (n > 0 ? n : 1) : 1), slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno == EACCES; /* a folder that may be written into and not read */
    bool good = fsync(fd) == 0 || errno == EINVAL;
    int why = errno;
    close(fd);
    errno = why;
    return good;
}

bool replace_file(const char *path, const char *bytes, size_t length, char *error, size_t error_size)
{
    char part[4104];
    int used = snprintf(part, sizeof part, "%s.part", path);
    if (used < 0 || (size_t)used >= sizeof part)
        return snprintf(error, error_size, "%.200s...: the path is too long", path), false;
    int fd = open_part(part);
    bool good = fd >= 0 && write_all(fd, bytes, length) && fsync(fd) == 0 && rename(part, path) == 0;
    int why = errno;
    if (fd >= 0 && !good) unlink(part);
    if (good && !sync_folder_of(path)) good = false, why = errno;
    if (fd >= 0 && close(fd) != 0 && good) good = false, why = errno; /* not before the rename: the lock ends here */
    if (good) return true;
    snprintf(error, error_size, "%s: %s", path, strerror(why));
    return false;
}
