/* Comparisons as annotators get and give them back (docs/formats.md): records of the library as lines. */
#ifndef EXAMPLES_ANNOTATIONS_H
#define EXAMPLES_ANNOTATIONS_H

#include "common/records.h"

/* A record as a line; `dialogue` has its messages. */
json_t *annotation_line(const record *dialogue, const llama2_preference *p);
/* Adds the record of a line. NULL, or what is wrong. */
const char *annotations_add(llama2_preferences *all, const json_t *line);
/* Adds all records of a file. An id is that of the line with the annotator's name behind it, since several may have
 * been shown the same. False: `error` says which line and why. */
bool annotations_read(llama2_preferences *all, const char *path, char *error, size_t error_size);

#endif
