/*
 * The machine's roofs, measured in the same run as what is compared with them: fused multiply-adds in fp32 with all
 * vector units busy, and reading memory. Both on the context's threads, and over as long a time as what is held against
 * them: no processor keeps up what it does in its best milliseconds.
 */
#ifndef BENCH_ROOFS_H
#define BENCH_ROOFS_H

#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static inline double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The same, but with one thread the time of the processor, which neighbours disturb less. */
static inline double seconds_of(const llama2_context *ctx)
{
    struct timespec t;
    clock_gettime(l2_workers(ctx) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best of as many runs as `time` allows, at least three: a roof, and what is held against it, are what the machine can
 * do when it is left alone. */
static inline double best_time(void (*run)(void *), void *arg, double time)
{
    double best = INFINITY, begin = seconds();
    for (int i = 0; i < 3 || seconds() - begin < time; i++) {
        double start = seconds();
        run(arg);
        double t = seconds() - start;
        if (t < best) best = t;
    }
    return best;
}

enum { ROOF_CHAINS = 10, ROOF_STEPS = 10000, ROOF_TASKS = 32, ROOF_STREAMS = 4 };

#if defined(__x86_64__)

__attribute__((target("avx512f"))) static inline double roof_chains_avx512(void)
{
    __m512 acc[ROOF_CHAINS], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    for (int i = 0; i < ROOF_CHAINS; i++) acc[i] = _mm512_set1_ps((float)i);
    for (int s = 0; s < ROOF_STEPS; s++) {
#pragma GCC unroll 10
        for (int i = 0; i < ROOF_CHAINS; i++) acc[i] = _mm512_fmadd_ps(acc[i], a, b);
    }
    float lanes[16], sum = 0;
    for (int i = 0; i < ROOF_CHAINS; i++) {
        _mm512_storeu_ps(lanes, acc[i]);
        sum += lanes[0];
    }
    return (double)sum;
}

__attribute__((target("avx2,fma"))) static inline double roof_chains_avx2(void)
{
    __m256 acc[ROOF_CHAINS], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (int i = 0; i < ROOF_CHAINS; i++) acc[i] = _mm256_set1_ps((float)i);
    for (int s = 0; s < ROOF_STEPS; s++) {
#pragma GCC unroll 10
        for (int i = 0; i < ROOF_CHAINS; i++) acc[i] = _mm256_fmadd_ps(acc[i], a, b);
    }
    float lanes[8], sum = 0;
    for (int i = 0; i < ROOF_CHAINS; i++) {
        _mm256_storeu_ps(lanes, acc[i]);
        sum += lanes[0];
    }
    return (double)sum;
}

#endif

static inline double roof_chains_scalar(void)
{
    float acc[ROOF_CHAINS], sum = 0;
    for (int i = 0; i < ROOF_CHAINS; i++) acc[i] = (float)i;
    for (int s = 0; s < ROOF_STEPS; s++) {
        for (int i = 0; i < ROOF_CHAINS; i++) acc[i] = fmaf(acc[i], 0.999f, 0.001f);
    }
    for (int i = 0; i < ROOF_CHAINS; i++) sum += acc[i];
    return (double)sum;
}

typedef struct roof_job {
    llama2_context *ctx;
    double (*chains)(void);
    int repeats;
    const uint64_t *memory;
    size_t words;
    volatile double sink[ROOF_TASKS];
} roof_job;

static inline void roof_chains_task(void *arg, int32_t task, int32_t worker)
{
    roof_job *job = arg;
    (void)worker;
    for (int i = 0; i < job->repeats; i++) job->sink[task] = job->chains();
}

static inline void roof_read_task(void *arg, int32_t task, int32_t worker)
{
    roof_job *job = arg;
    (void)worker;
    size_t length = job->words / (ROOF_TASKS * ROOF_STREAMS);
    const uint64_t *p = job->memory + length * ROOF_STREAMS * (size_t)task;
    uint64_t sum[ROOF_STREAMS][8] = {{0}}; /* of a line each */
    for (size_t i = 0; i + 8 <= length; i += 8) {
        for (int s = 0; s < ROOF_STREAMS; s++) {
            const uint64_t *line = p + (size_t)s * length + i;
            __builtin_prefetch(line + 128, 0, 2);
            for (int j = 0; j < 8; j++) sum[s][j] += line[j];
        }
    }
    uint64_t all = 0;
    for (int i = 0; i < ROOF_STREAMS * 8; i++) all += sum[i / 8][i % 8];
    job->sink[task] = (double)all;
}

static inline void roof_run_chains(void *arg)
{
    l2_parallel(((roof_job *)arg)->ctx, ROOF_TASKS, roof_chains_task, arg);
}
static inline void roof_run_read(void *arg)
{
    roof_job *job = arg;
    for (int i = 0; i < job->repeats; i++) l2_parallel(job->ctx, ROOF_TASKS, roof_read_task, job);
}

/* Floating-point operations a second, a multiply-add being two, with the context's instruction set; the best of runs
 * that take `stretch` seconds each, or a quarter of a second. */
static inline double roof_flops(llama2_context *ctx, double stretch)
{
    roof_job job = {.ctx = ctx, .chains = roof_chains_scalar, .repeats = 1};
    double lanes = 1;
#if defined(__x86_64__)
    if (ctx->kernels_f32 == &l2_kernels_avx512) job.chains = roof_chains_avx512, lanes = 16;
    if (ctx->kernels_f32 == &l2_kernels_avx2) job.chains = roof_chains_avx2, lanes = 8;
#endif
    job.repeats = 1 + (int)(fmin(stretch, 0.25) / best_time(roof_run_chains, &job, 0.02));
    double work = 2 * lanes * ROOF_CHAINS * (double)ROOF_STEPS * ROOF_TASKS * job.repeats;
    return work / best_time(roof_run_chains, &job, 0.3);
}

/* Bytes a second, over memory far larger than the caches that the caller has filled; the best of runs that take
 * `stretch` seconds each, or a quarter of a second. */
static inline double roof_read(llama2_context *ctx, const void *memory, size_t bytes, double stretch)
{
    roof_job job = {.ctx = ctx, .repeats = 1, .memory = memory, .words = bytes / 8};
    job.repeats = 1 + (int)(fmin(stretch, 0.25) / best_time(roof_run_read, &job, 0.02));
    return (double)bytes * job.repeats / best_time(roof_run_read, &job, 0.5);
}

/* Memory as the library's own: in huge pages where the system has them. NULL: there is not so much. */
static inline void *roof_memory(size_t bytes)
{
    const size_t page = (size_t)2 << 20;
    bytes = (bytes + page - 1) / page * page;
    void *p = aligned_alloc(page, bytes);
#if defined(MADV_HUGEPAGE)
    if (p) madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

#endif
