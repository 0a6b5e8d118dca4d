/* Kernels in portable C, double: what gradient checks run on. */
#define L2_REAL double
#define L2_REAL_IS_DOUBLE
#define L2_TABLE      l2_kernels_double
#define L2_TABLE_NAME "double"
#include "math/kernel/table.h"
