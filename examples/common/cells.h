/* The cells of a report's table, one after the other, as they are written. */
#ifndef EXAMPLES_CELLS_H
#define EXAMPLES_CELLS_H

#include "common/report.h"

enum { CELLS_LENGTH = 160, CELLS_MOST = 640 }; /* more are left out */

typedef struct cells {
    char text[CELLS_MOST][CELLS_LENGTH];
    size_t n;
} cells;

__attribute__((format(printf, 2, 3))) void cells_put(cells *c, const char *format, ...);
void cells_show(const cells *c, report *r, const char *name, const char *title, const char *const *columns,
                size_t n_columns);

#endif
