#include "common/cells.h"

#include <stdarg.h>
#include <stdio.h>

void cells_put(cells *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (c->n < CELLS_MOST) vsnprintf(c->text[c->n++], CELLS_LENGTH, format, args);
    va_end(args);
}

void cells_show(const cells *c, report *r, const char *name, const char *title, const char *const *columns,
                size_t n_columns)
{
    const char *table[CELLS_MOST];
    for (size_t i = 0; i < c->n; i++) table[i] = c->text[i];
    report_add_table(r, name, title, columns, n_columns, table, c->n / n_columns);
}
