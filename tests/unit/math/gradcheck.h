/*
 * What tests of ops share: contexts for each instruction set, reproducible numbers, comparison of bits, and the check
 * of a hand-written gradient against central differences in double.
 */
#ifndef GRADCHECK_H
#define GRADCHECK_H

#include "check_main.h"
#include "base/context.h"
#include "math/tensor.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* NULL where the processor lacks the instruction set. */
static inline llama2_context *test_context(int32_t isa, int32_t n_threads)
{
    llama2_context_options options;
    llama2_context_options_init(&options, sizeof options);
    options.isa = isa;
    options.n_threads = n_threads;
    llama2_context *ctx = NULL;
    llama2_status status = llama2_context_create(&options, &ctx);
    ck_assert_msg(status == LLAMA2_OK || status == LLAMA2_E_UNSUPPORTED, "context: %s", llama2_last_error());
    return ctx;
}

/* Uniform in [-1, 1), a pure function of (seed, i). Exactly representable in float. */
static inline double test_random(uint64_t seed, uint64_t i)
{
    uint64_t z = (seed + 1) * 0x9e3779b97f4a7c15u + (i + 1) * 0xd1342543de82ef95u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 40) / 8388608.0 - 1.0;
}

static inline void *test_alloc(int64_t count, size_t size)
{
    void *p = calloc((size_t)(count > 0 ? count : 1), size);
    ck_assert_ptr_nonnull(p);
    return p;
}

/* n random numbers of F32 or F64, times `scale`; free() them. */
static inline void *test_numbers(int32_t dtype, int64_t n, uint64_t seed, double scale)
{
    void *p = test_alloc(n, l2_dtype_size(dtype));
    for (int64_t i = 0; i < n; i++) {
        double x = scale * test_random(seed, (uint64_t)i);
        if (dtype == LLAMA2_F64)
            ((double *)p)[i] = x;
        else
            ((float *)p)[i] = (float)x;
    }
    return p;
}

/* Check writes a note at every assertion that is passed: in a loop over many elements only a failing one may come to
 * it. */
#define ck_each(condition, ...)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) ck_abort_msg(__VA_ARGS__);                                                                   \
    } while (0)

static inline void ck_same_bits(const char *what, const void *a, const void *b, int64_t count, size_t size)
{
    if (memcmp(a, b, (size_t)count * size) == 0) return;
    for (int64_t i = 0; i < count; i++) {
        ck_assert_msg(memcmp((const char *)a + (size_t)i * size, (const char *)b + (size_t)i * size, size) == 0,
                      "%s: element %lld of %lld differs: %.17g, %.17g", what, (long long)i, (long long)count,
                      size == 8   ? ((const double *)a)[i]
                      : size == 4 ? (double)((const float *)a)[i]
                                  : 0.0,
                      size == 8   ? ((const double *)b)[i]
                      : size == 4 ? (double)((const float *)b)[i]
                                  : 0.0);
    }
}

/* The loss as a function of everything in `user`; x below is memory that it reads. */
typedef double (*gradcheck_loss)(void *user);

/*
 * Compares grad[0..n) with (L(x + h e_i) - L(x - h e_i)) / 2h, at all elements or at `most` of them spread evenly, as
 * ||difference|| / ||numeric|| (the differences' own error, some 1e-10 of the loss, is allowed for). A loss of order 1
 * gives about 1e-9.
 */
static inline void gradcheck(const char *what, gradcheck_loss loss, void *user, double *x, const double *grad,
                             int64_t n, int64_t most, double tolerance)
{
    double difference = 0, norm = 0, base = fabs(loss(user));
    int64_t step = n > most ? n / most : 1;
    for (int64_t i = 0; i < n; i += step) {
        double keep = x[i], h = 1e-5 * (1 + fabs(keep));
        x[i] = keep + h;
        double up = loss(user);
        x[i] = keep - h;
        double down = loss(user);
        x[i] = keep;
        double numeric = (up - down) / (2 * h);
        difference += (numeric - grad[i]) * (numeric - grad[i]);
        norm += numeric * numeric;
    }
    ck_assert_msg(isfinite(difference) && sqrt(difference) <= tolerance * sqrt(norm) + 1e-9 * (1 + base),
                  "%s: gradient is off by %.3g, its norm is %.3g", what, sqrt(difference), sqrt(norm));
}

#endif
