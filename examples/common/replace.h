/* Writing a file so that whoever reads it finds the old one or the new one, and after a failure the old one. */
#ifndef EXAMPLES_REPLACE_H
#define EXAMPLES_REPLACE_H

#include <stdbool.h>
#include <stddef.h>

/* By way of PATH.part and rename. False: `error` says why; also where another program is writing the same file. */
bool replace_file(const char *path, const char *bytes, size_t length, char *error, size_t error_size);

#endif
