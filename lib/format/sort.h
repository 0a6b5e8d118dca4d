/* Sorting that is n log n on any input and takes no memory: what files declare decides the input. */
#ifndef L2_FORMAT_SORT_H
#define L2_FORMAT_SORT_H

#include <stddef.h>

/* Negative, 0 or positive, as for qsort. */
typedef int (*l2_compare)(const void *a, const void *b);

/* Heapsort of n elements of `size` <= 256 bytes. Equal elements come in no particular order. */
void l2_sort(void *base, size_t n, size_t size, l2_compare compare);

/* The element that compares equal to `key` (passed first), or NULL. */
void *l2_search(const void *key, const void *base, size_t n, size_t size, l2_compare compare);

/* By bytes, a text before those that begin with it. */
int l2_compare_text(const char *a, size_t a_length, const char *b, size_t b_length);

#endif
