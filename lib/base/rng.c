#include "base/rng.h"

#include <math.h>

void l2_philox(uint64_t seed, uint32_t purpose, uint64_t id, uint32_t position, uint32_t out[4])
{
    uint32_t c0 = position, c1 = purpose, c2 = (uint32_t)id, c3 = (uint32_t)(id >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u; /* the golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* 53 bits of two words as a number in [0, 1). */
static double unit(uint32_t high, uint32_t low)
{
    uint64_t bits = ((uint64_t)high << 32 | low) >> 11;
    return (double)bits * 0x1p-53;
}

double l2_rng_uniform(uint64_t seed, uint32_t purpose, uint64_t id, uint32_t position)
{
    uint32_t w[4];
    l2_philox(seed, purpose, id, position, w);
    return unit(w[0], w[1]);
}

/*
 * Logarithm, sine and cosine in plain arithmetic: those of a C library differ in the last bit from one version and
 * processor to the next, and initial weights must not.
 */

/* ln x = e ln 2 + ln m = e ln 2 + 2 atanh s, m in [sqrt(1/2), sqrt(2)), s = (m - 1)/(m + 1), |s| < 0.172. */
static double natural_log(double x)
{
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    double s = (m - 1) / (m + 1), z = s * s, sum = 0;
    for (int k = 23; k >= 1; k -= 2) sum = sum * z + 1.0 / k;
    return e * 0.69314718055994531 + 2 * s * sum;
}

/* Of the angle 2 pi turn, turn in [0, 1): a quarter is split off exactly, |x| <= pi/4 is left for the series. */
static void sine_cosine(double turn, double *sine, double *cosine)
{
    int quarter = (int)(turn * 4 + 0.5);
    double x = (turn - quarter * 0.25) * 6.2831853071795865, z = x * x, s = 1, c = 1;
    for (int k = 18; k >= 2; k -= 2) {
        s = 1 - z / (k * (k + 1)) * s;
        c = 1 - z / (k * (k - 1)) * c;
    }
    s *= x;
    *sine = quarter & 1 ? c : s;
    *cosine = quarter & 1 ? -s : c;
    if (quarter & 2) {
        *sine = -*sine;
        *cosine = -*cosine;
    }
}

void l2_rng_normal4(uint64_t seed, uint32_t purpose, uint64_t id, uint32_t position, double out[4])
{
    uint32_t w[4];
    l2_philox(seed, purpose, id, position, w);
    for (int i = 0; i < 2; i++) {
        double sine, cosine, radius = sqrt(-2 * natural_log(((double)w[2 * i] + 0.5) * 0x1p-32));
        sine_cosine((double)w[2 * i + 1] * 0x1p-32, &sine, &cosine);
        out[2 * i] = radius * cosine;
        out[2 * i + 1] = radius * sine;
    }
}

uint64_t l2_rng_below(uint64_t seed, uint32_t purpose, uint64_t id, uint32_t position, uint64_t n)
{
    uint32_t w[4];
    l2_philox(seed, purpose, id, position, w);
    uint64_t x = (uint64_t)w[0] << 32 | w[1];
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)x * n) >> 64);
}
