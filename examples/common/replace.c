#include "common/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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

bool replace_file(const char *path, const char *bytes, size_t length, char *error, size_t error_size)
{
    char part[4104];
    int used = snprintf(part, sizeof part, "%s.part", path);
    if (used < 0 || (size_t)used >= sizeof part)
        return snprintf(error, error_size, "%.200s...: the path is too long", path), false;
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = fd >= 0 && write_all(fd, bytes, length) && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0 && close(fd) != 0 && good) good = false, why = errno;
    if (good && rename(part, path) != 0) good = false, why = errno;
    if (good) return true;
    if (fd >= 0) unlink(part);
    snprintf(error, error_size, "%s: %s", path, strerror(why));
    return false;
}
