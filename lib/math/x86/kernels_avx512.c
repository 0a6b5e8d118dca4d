/* Kernels for AVX-512 (F, BW, VL, DQ). */
#define L2_REAL float
#define L2_SIMD_AVX512
#define L2_TABLE      l2_kernels_avx512
#define L2_TABLE_NAME "avx512"
#include "math/kernel/table.h"
