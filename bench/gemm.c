/*
 * fp32 products beside the roofs of the same run: the three layouts of training at n = 512, 1024, 2048, and few rows
 * times a large weight, as in decoding. With a CBLAS in the build also that, as it comes; OpenBLAS chooses its core
 * type when it is loaded, so where it names an old one, run again with OPENBLAS_CORETYPE=SkylakeX (or what fits) in the
 * environment.
 */
#include "roofs.h"
#include "math/gemm.h"
#include <stdio.h>

#if defined(__GNUC__)
extern char *openblas_get_corename(void) __attribute__((weak));
#endif

typedef struct product {
    llama2_context *ctx;
    int64_t m, n, k;
    l2_matrix a, b;
    float *c;
    int accumulate;
} product;

static void run_product(void *arg)
{
    product *p = arg;
    l2_gemm(p->ctx, LLAMA2_F32, p->m, p->n, p->k, p->a, p->b, p->c, p->n, p->accumulate);
}

static double flops(product p)
{
    return 2.0 * (double)p.m * (double)p.n * (double)p.k / best_time(run_product, &p, 0.4);
}

static float *numbers(int64_t n)
{
    float *p = roof_memory((size_t)n * sizeof *p);
    if (!p) exit(1);
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (float)(state >> 8) / 8388608.0f - 1;
    }
    return p;
}

static llama2_context *context(int32_t n_threads, int32_t gemm)
{
    llama2_context_options options;
    llama2_context_options_init(&options, sizeof options);
    options.n_threads = n_threads;
    options.gemm = gemm;
    llama2_context *ctx;
    if (llama2_context_create(&options, &ctx) < 0) {
        fprintf(stderr, "%s\n", llama2_last_error());
        exit(1);
    }
    return ctx;
}

/* y = x W^T, dx = dy W, dW += dy^T x, all matrices n x n. */
static void squares(llama2_context *ctx, const char *engine, double peak, const float *x, const float *w, float *y)
{
    for (int64_t n = 512; n <= 2048; n *= 2) {
        l2_matrix rows = {x, n, 1}, columns = {x, 1, n}, weight = {w, n, 1}, transposed = {w, 1, n};
        double forward = flops((product){ctx, n, n, n, rows, transposed, y, 0});
        double dx = flops((product){ctx, n, n, n, rows, weight, y, 0});
        double dw = flops((product){ctx, n, n, n, columns, weight, y, 1});
        printf("%-28s n %4d   y = x W' %6.0f GFLOP/s %3.0f %%   dx %6.0f %3.0f %%   dW %6.0f %3.0f %%\n", engine,
               (int)n, forward * 1e-9, 100 * forward / peak, dx * 1e-9, 100 * dx / peak, dw * 1e-9, 100 * dw / peak);
    }
}

/* The roof of m rows is that of the memory or of the arithmetic, whichever is lower. */
static void few_rows(llama2_context *ctx, double peak, double read, const float *x, const float *w, float *y)
{
    enum { N = 8192, K = 4096 };
    for (int64_t m = 1; m <= 32; m *= 2) {
        double rate = flops((product){ctx, m, N, K, {x, K, 1}, {w, 1, K}, y, 0}), bytes = rate / (double)(2 * m) * 4;
        double roof = fmin(read, peak / (double)(2 * m) * 4);
        printf("%-28s %2d rows x (%d, %d)'   %6.1f GB/s, %3.0f %% of its roof\n", llama2_context_describe(ctx), (int)m,
               N, K, bytes * 1e-9, 100 * bytes / roof);
    }
}

int main(void)
{
    enum { MEMORY = 1 << 26 };
    float *w = numbers(MEMORY), *x = numbers(2048 * 2048), *y = numbers(2048 * 2048);
    llama2_context *all = context(0, LLAMA2_GEMM_BUILTIN);
    int32_t most = llama2_context_threads(all);
    double peak = 0;
    for (int32_t threads = 1; threads <= most; threads = threads < most && 2 * threads > most ? most : 2 * threads) {
        llama2_context *ctx = context(threads, LLAMA2_GEMM_BUILTIN);
        peak = roof_flops(ctx, 0.02);
        double read = roof_read(ctx, w, sizeof *w * MEMORY, 0);
        printf("%s: %.0f GFLOP/s, memory %.1f GB/s\n", llama2_context_describe(ctx), peak * 1e-9, read * 1e-9);
        squares(ctx, llama2_context_describe(ctx), peak, x, w, y);
        few_rows(ctx, peak, read, x, w, y);
        llama2_context_free(ctx);
    }
    if (l2_gemm_has_cblas()) {
        char name[64] = "cblas, as it comes";
#if defined(__GNUC__)
        if (openblas_get_corename) snprintf(name, sizeof name, "OpenBLAS as %.16s", openblas_get_corename());
#endif
        llama2_context *ctx = context(0, LLAMA2_GEMM_CBLAS);
        squares(ctx, name, peak, x, w, y);
        llama2_context_free(ctx);
    }
    llama2_context_free(all);
    free(w), free(x), free(y);
    return 0;
}
