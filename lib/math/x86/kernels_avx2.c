/* Kernels for AVX2 with FMA and F16C. */
#define L2_REAL float
#define L2_SIMD_AVX2
#define L2_TABLE      l2_kernels_avx2
#define L2_TABLE_NAME "avx2"
#include "math/kernel/table.h"
