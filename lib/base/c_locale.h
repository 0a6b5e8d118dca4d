/* A stretch of this thread in the "C" locale, whatever the host has set: what a number or a message of the system looks
 * like is not the host's choice. */
#ifndef L2_BASE_C_LOCALE_H
#define L2_BASE_C_LOCALE_H

#include <locale.h>

/* A constant of the C library, which takes no memory. */
static inline locale_t l2_c_locale(void)
{
    return newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static inline locale_t l2_enter_c_locale(void)
{
    locale_t c = l2_c_locale();
    return c ? uselocale(c) : (locale_t)0;
}

static inline void l2_leave_c_locale(locale_t before)
{
    if (before) freelocale(uselocale(before));
}

#endif
