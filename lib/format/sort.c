#include "format/sort.h"
#include <string.h>

/* Lets the element at `root` sink in the heap of n elements. */
static void sink(unsigned char *base, size_t root, size_t n, size_t size, l2_compare compare)
{
    unsigned char element[256];
    memcpy(element, base + root * size, size);
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && compare(base + child * size, base + (child + 1) * size) < 0) child++;
        if (compare(element, base + child * size) >= 0) break;
        memcpy(base + root * size, base + child * size, size);
    }
    memcpy(base + root * size, element, size);
}

void l2_sort(void *data, size_t n, size_t size, l2_compare compare)
{
    unsigned char *base = data, element[256];
    for (size_t i = n / 2; i-- > 0;) sink(base, i, n, size, compare);
    for (size_t end = n; end-- > 1;) {
        memcpy(element, base, size);
        memcpy(base, base + end * size, size);
        memcpy(base + end * size, element, size);
        sink(base, 0, end, size, compare);
    }
}

void *l2_search(const void *key, const void *data, size_t n, size_t size, l2_compare compare)
{
    const unsigned char *base = data;
    for (size_t low = 0, high = n; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = compare(key, base + middle * size);
        if (order == 0) return (void *)(base + middle * size);
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

int l2_compare_text(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}
