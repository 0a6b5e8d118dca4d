/*
 * Defines one table of kernels. The including file has chosen L2_REAL and the instruction set (math/simd.h), and says L2_TABLE, the table's symbol, and
 * L2_TABLE_NAME, its name.
 */
#include "math/kernels.h"
#include "math/kernel/adamw.h"
#include "math/kernel/attention.h"
#include "math/kernel/elementwise.h"
#include "math/kernel/embedding.h"
#include "math/kernel/gemm.h"
#include "math/kernel/head.h"
#include "math/kernel/rmsnorm.h"
#include "math/kernel/rope.h"
#include "math/kernel/swiglu.h"
#include "math/kernel/unpack.h"

const l2_kernels L2_TABLE = {
    .name = L2_TABLE_NAME,
    .gemm_tile = gemm_tile,
    .gemm_pack_b = gemm_pack_b,
    .gemm_pack_a = gemm_pack_a,
    .panel = GEMM_PANEL,
    .gemm_few = gemm_few,
    .gemm_some = gemm_some,
    .unpack = unpack_stored,
    .head_forward = head_forward,
    .head_backward = head_backward,
    .head_probabilities = head_probabilities,
    .adamw = adamw,
    .f32_from_bf16 = f32_from_bf16,
    .bf16_from_f32 = bf16_from_f32,
    .f32_from_f16 = f32_from_f16,
    .f16_from_f32 = f16_from_f32,
    .exponential = exponential,
    .sum_squares = sum_squares,
    .embedding_backward = embedding_backward,
    .rmsnorm_forward = rmsnorm_forward,
    .rmsnorm_backward = rmsnorm_backward,
    .rmsnorm_backward_gain = rmsnorm_backward_gain,
    .rope = rope,
    .swiglu_forward = swiglu_forward,
    .swiglu_backward = swiglu_backward,
    .attention_store = attention_store,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .attention_add = attention_add,
};
