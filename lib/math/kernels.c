/* Which table of kernels: by what the processor and the operating system support. */
#include "math/kernels.h"
#include "base/context.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Conversions of fp16; not every compiler's __builtin_cpu_supports knows the name. */
static int has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

const l2_kernels *l2_kernels_select(int32_t isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (avx512 && (isa == LLAMA2_ISA_AVX512 || isa == LLAMA2_ISA_AUTO)) return &l2_kernels_avx512;
    if (avx2 && (isa == LLAMA2_ISA_AVX2 || isa == LLAMA2_ISA_AUTO)) return &l2_kernels_avx2;
#endif
    return isa == LLAMA2_ISA_SCALAR || isa == LLAMA2_ISA_AUTO ? &l2_kernels_scalar : NULL;
}

const l2_kernels *l2_kernels_of(const llama2_context *ctx, int32_t dtype)
{
    return dtype == LLAMA2_F64 ? ctx->kernels_f64 : ctx->kernels_f32;
}
