/*
 * Attention, forward and backward: GFLOP/s of the causal products (4 Dh a visible pair and head forward, 10 Dh
 * backward), and their share of the peak of fused multiply-adds that is measured in the same round. Medians of the
 * rounds. With one thread the time is that of the processor, so that neighbours disturb less.
 *
 * attention [THREADS [ISA]]
 */
#include "math/ops.h"
#include "base/context.h"
#include "math/kernels.h"
#include "base/threads.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(const llama2_context *ctx)
{
    struct timespec t;
    clock_gettime(l2_workers(ctx) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *numbers(int64_t n, uint32_t seed)
{
    float *p = aligned_alloc(64, ((size_t)n * sizeof *p + 63) / 64 * 64);
    if (!p) exit(1);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    return p;
}

/* The peak: a tile whose operands stay in the L1 cache and whose chain is long. */
enum { PEAK_K = 128, PEAK_REPEATS = 4000, PEAK_FLOATS = PEAK_K * (6 + 64) + 6 * 64 };

typedef struct peak_job {
    const l2_kernels *kernels;
    float *memory;
} peak_job;

static void peak_task(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const peak_job *job = arg;
    float *b = job->memory + task * PEAK_FLOATS, *a = b + PEAK_K * 64, *c = a + PEAK_K * 6;
    for (int i = 0; i < PEAK_REPEATS; i++) job->kernels->gemm_tile(PEAK_K, a, 1, 6, b, 64, c, 64, 6, 64, 0);
}

static double peak(llama2_context *ctx, float *memory)
{
    peak_job job = {ctx->kernels_f32, memory};
    int32_t workers = l2_workers(ctx);
    double start = now(ctx);
    l2_parallel(ctx, workers, peak_task, &job);
    return 2.0 * 6 * 64 * PEAK_K * PEAK_REPEATS * workers / (now(ctx) - start) * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *x, int n)
{
    double sorted[64];
    memcpy(sorted, x, (size_t)n * sizeof *x);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return sorted[n / 2];
}

static void measure(llama2_context *ctx, float *memory, int32_t n_sequences, int64_t length, int64_t heads,
                    int64_t kv_heads, int64_t dh)
{
    enum { ROUNDS = 11 };
    int64_t n = length * n_sequences, offsets[65];
    for (int32_t s = 0; s <= n_sequences; s++) offsets[s] = s * length;
    l2_packing packing = {n_sequences, offsets};
    l2_tensor q = l2_tensor_3d(LLAMA2_F32, numbers(n * heads * dh, 1), n, heads, dh), o = q, d_o = q, dq = q;
    l2_tensor k = l2_tensor_3d(LLAMA2_F32, numbers(n * kv_heads * dh, 2), n, kv_heads, dh), v = k, dk = k, dv = k;
    l2_tensor lse = l2_tensor_2d(LLAMA2_F32, numbers(n * heads, 7), n, heads);
    l2_tensor *rest[] = {&o, &d_o, &dq, &v, &dk, &dv};
    for (uint32_t i = 0; i < 6; i++) rest[i]->data = numbers(l2_tensor_size(rest[i]), 3 + i);

    double pairs = (double)n_sequences * (double)(heads * dh) * (double)length * (double)(length + 1) / 2 * 1e-9;
    double forward[ROUNDS], backward[ROUNDS], forward_share[ROUNDS], backward_share[ROUNDS];
    int failed = 0;
    for (int i = -2; i < ROUNDS; i++) {
        double roof = peak(ctx, memory), start = now(ctx);
        failed |= l2_op_attention_forward(ctx, &q, &k, &v, &packing, &o, &lse) < 0;
        double middle = now(ctx);
        failed |= l2_op_attention_backward(ctx, &q, &k, &v, &o, &lse, &d_o, &packing, &dq, &dk, &dv) < 0;
        if (i < 0) continue;
        forward[i] = 4 * pairs / (middle - start);
        backward[i] = 10 * pairs / (now(ctx) - middle);
        forward_share[i] = 100 * forward[i] / roof;
        backward_share[i] = 100 * backward[i] / roof;
    }
    if (failed) exit(1);
    printf(
        "%2d x %5lld  H %2lld KVH %2lld Dh %3lld   forward %6.1f GFLOP/s %3.0f %%   backward %6.1f GFLOP/s %3.0f %%\n",
        n_sequences, (long long)length, (long long)heads, (long long)kv_heads, (long long)dh, median(forward, ROUNDS),
        median(forward_share, ROUNDS), median(backward, ROUNDS), median(backward_share, ROUNDS));
    free(q.data);
    free(k.data);
    free(lse.data);
    for (int i = 0; i < 6; i++) free(rest[i]->data);
}

int main(int argc, char **argv)
{
    llama2_context_options options;
    llama2_context_options_init(&options, sizeof options);
    if (argc > 1) options.n_threads = atoi(argv[1]);
    if (argc > 2) options.isa = atoi(argv[2]);
    llama2_context *ctx;
    if (llama2_context_create(&options, &ctx) < 0) {
        fprintf(stderr, "attention: %s\n", llama2_last_error());
        return 1;
    }
    float *memory = numbers((int64_t)PEAK_FLOATS * l2_workers(ctx), 1);
    peak(ctx, memory);
    printf("%s: peak %.1f GFLOP/s\n", llama2_context_describe(ctx), peak(ctx, memory));
    measure(ctx, memory, 8, 64, 9, 3, 64);
    measure(ctx, memory, 8, 256, 9, 3, 64);
    measure(ctx, memory, 1, 512, 9, 3, 64);
    measure(ctx, memory, 1, 2048, 9, 3, 64);
    measure(ctx, memory, 1, 512, 32, 4, 64);
    measure(ctx, memory, 1, 2048, 32, 4, 64);
    measure(ctx, memory, 1, 2048, 16, 16, 128);
    free(memory);
    llama2_context_free(ctx);
    return 0;
}
