/* Kernels in portable C, fp32: what the other instruction sets must equal bit for bit. */
#define L2_REAL       float
#define L2_TABLE      l2_kernels_scalar
#define L2_TABLE_NAME "scalar"
#include "math/kernel/table.h"
