/* Intervals over a few runs. */
#ifndef EXAMPLES_STUDENT_H
#define EXAMPLES_STUDENT_H

#include <math.h>

/* 97.5 % quantile of Student's t; above ten degrees of freedom by its expansion, within 0.002. */
static inline double student_quantile(int freedom)
{
    static const double t[] = {INFINITY, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228};
    double n = freedom;
    return freedom <= 10 ? t[freedom] : 1.96 + 2.3723 / n + 2.8225 / (n * n);
}

#endif
