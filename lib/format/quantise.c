/*
 * The integers and scales of a block that lose least: the minimum of
 *
 *     E = sum_i w_i (x_i - (s q_i - m))²
 *
 * over the integers q, the scale s and the minimum m (0 where a type has none). For given s and m the best q is the
 * nearest integer within its range; for given q the best s and m solve a linear system. Taking turns from several
 * starts finds a minimum that is hardly ever beaten. Large numbers weigh more: outputs depend most on them.
 *
 * Sums run over LANES interleaved lanes, so that the compiler can use vectors and the bits are the same wherever it
 * does.
 */
#include "format/quantise.h"
#include "math/half.h"
#include <math.h>

enum { LANES = 8, GROUP = 16, WIDE_GROUP = 32 };

/* To the nearest integer, for |x| below 2^22: there the unit of 1.5 * 2^23 is 1. */
static inline float nearest(float x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

static inline float limit(float x, float lowest, float highest)
{
    x = x < lowest ? lowest : x;
    return x > highest ? highest : x;
}

static double sum(const float *lanes)
{
    return (double)((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           (double)((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/*
 * The number nearest to most / divisor that fp16 has, or the next larger one where `reach` of it do not make `most`:
 * below 2^-14 its steps of 2^-24 are coarse, and rounded down, to 0 even, a unit would leave numbers out of reach. The
 * product is exact for a reach of at most 13 bits.
 */
static float find_unit(float most, float divisor, float reach)
{
    uint16_t unit = l2_f16_from_f32(most / divisor);
    if (fabsf(l2_f32_from_f16(unit)) * reach < fabsf(most)) unit++;
    return l2_f32_from_f16(unit);
}

/* The number of largest magnitude, with its sign. */
static float extreme(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    return most;
}

/* --- one scale: x = s q ---------------------------------------------------------------------- */

typedef struct group {
    const float *x, *w;
    int n;
    float lowest, highest;
} group;

/* The best scale for the q that `scale` gives; *gain: what it takes from sum w x². */
static float improve_scale(const group *g, float scale, double *gain)
{
    float xq[LANES] = {0}, qq[LANES] = {0}, inverse = 1 / scale;
    for (int i = 0; i < g->n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            float x = g->x[i + k], q = nearest(limit(x * inverse, g->lowest, g->highest));
            float wq = g->w[i + k] * q;
            xq[k] += wq * x;
            qq[k] += wq * q;
        }
    double wxq = sum(xq), wqq = sum(qq);
    *gain = wqq > 0 ? wxq * wxq / wqq : 0;
    return wqq > 0 ? (float)(wxq / wqq) : 0;
}

/* Starts: the extreme number becomes an integer near the end of the range, of either sign. The best goes on. */
static float fit_scale(const group *g)
{
    enum { STEPS = 6, TURNS = 3 };
    float most = extreme(g->x, g->n), best = 0;
    double gain, best_gain = 0;
    if (fabsf(most) < 0x1p-100f) return 0;
    for (int side = 0; side < 2; side++)
        for (int step = -STEPS; step <= STEPS; step++) {
            float end = side ? g->highest : g->lowest;
            float scale = improve_scale(g, most / (end * (1 + 0.025f * (float)step)), &gain);
            if (gain > best_gain) best_gain = gain, best = scale;
        }
    for (int turn = 0; turn < TURNS && best != 0; turn++) {
        float scale = improve_scale(g, best, &gain);
        if (gain <= best_gain) break;
        best_gain = gain, best = scale;
    }
    return best;
}

static void quantise(const float *x, int n, float scale, float minimum, float lowest, float highest, int16_t *q)
{
    float inverse = scale != 0 ? 1 / scale : 0;
    for (int i = 0; i < n; i++) q[i] = (int16_t)nearest(limit((x[i] + minimum) * inverse, lowest, highest));
}

static void weigh(const float *x, int n, float *w)
{
    float squares[LANES] = {0};
    for (int i = 0; i < n; i += LANES)
        for (int k = 0; k < LANES; k++) squares[k] += x[i + k] * x[i + k];
    float typical = sqrtf((float)sum(squares) / (float)n);
    for (int i = 0; i < n; i++) w[i] = typical + fabsf(x[i]);
}

void l2_fit_one_scale(const float *x, int n, int lowest, int highest, l2_fitted *out)
{
    float w[L2_MAX_BLOCK];
    weigh(x, n, w);
    group g = {x, w, n, (float)lowest, (float)highest};
    out->unit = find_unit(fit_scale(&g), 1, 1 + 0.5f / g.highest);
    quantise(x, n, out->unit, 0, g.lowest, g.highest, out->q);
}

/* --- a scale of 8 bits a group --------------------------------------------------------------- */

void l2_fit_scales(const float *x, int n, l2_fitted *out)
{
    float w[L2_MAX_BLOCK], scale[L2_MAX_GROUPS];
    weigh(x, n, w);
    for (int i = 0; i < n; i += GROUP) scale[i / GROUP] = fit_scale(&(group){x + i, w + i, GROUP, -32, 31});
    out->unit = find_unit(extreme(scale, n / GROUP), -128, 128.5f);
    quantise(scale, n / GROUP, out->unit, 0, -128, 127, out->scale);
    for (int i = 0; i < n; i += GROUP)
        quantise(x + i, GROUP, out->unit * (float)out->scale[i / GROUP], 0, -32, 31, out->q + i);
}

/* --- a scale and a minimum of 6 bits a group: x = s q - m, s and m not negative -------------- */

enum { HIGHEST = 15, HIGHEST_SCALE = 63 };

typedef struct affine {
    float scale, minimum;
    double error;
} affine;

static inline float nearest_q(float x, const affine *a, float inverse)
{
    return nearest(limit((x + a->minimum) * inverse, 0, HIGHEST));
}

static double affine_error(const float *x, const float *w, const affine *a)
{
    float squares[LANES] = {0}, inverse = a->scale > 0 ? 1 / a->scale : 0;
    for (int i = 0; i < WIDE_GROUP; i += LANES)
        for (int k = 0; k < LANES; k++) {
            float d = x[i + k] - (a->scale * nearest_q(x[i + k], a, inverse) - a->minimum);
            squares[k] += w[i + k] * d * d;
        }
    return sum(squares);
}

/*
 * The best scale and minimum for the q that `a` gives, and their error with these q: with S_ab = sum w a b,
 *
 *     (S_qq  -S_q ) (s)   ( S_xq)
 *     (-S_q   S_1 ) (m) = (-S_x )
 */
static affine improve_affine(const float *x, const float *w, const affine *a)
{
    float lanes_x[LANES] = {0}, lanes_q[LANES] = {0}, lanes_1[LANES] = {0}, lanes_xx[LANES] = {0},
          lanes_xq[LANES] = {0}, lanes_qq[LANES] = {0}, inverse = 1 / a->scale;
    for (int i = 0; i < WIDE_GROUP; i += LANES)
        for (int k = 0; k < LANES; k++) {
            float q = nearest_q(x[i + k], a, inverse), wx = w[i + k] * x[i + k], wq = w[i + k] * q;
            lanes_1[k] += w[i + k];
            lanes_x[k] += wx;
            lanes_q[k] += wq;
            lanes_xx[k] += wx * x[i + k];
            lanes_xq[k] += wx * q;
            lanes_qq[k] += wq * q;
        }
    double s1 = sum(lanes_1), sx = sum(lanes_x), sq = sum(lanes_q), sxq = sum(lanes_xq), sqq = sum(lanes_qq);
    double determinant = s1 * sqq - sq * sq, s = 0, m = -1;
    if (determinant > 0) {
        s = (s1 * sxq - sx * sq) / determinant;
        m = (sq * sxq - sqq * sx) / determinant;
    }
    if (m < 0) {
        m = 0;
        s = sqq > 0 ? sxq / sqq : 0;
    }
    if (s < 0) s = 0;
    double error = sum(lanes_xx) - 2 * s * sxq + 2 * m * sx + s * s * sqq - 2 * s * m * sq + m * m * s1;
    return (affine){(float)s, (float)m, error};
}

static affine fit_affine(const float *x, const float *w)
{
    enum { STEPS = 8, TURNS = 3 };
    float low = 0, high = x[0];
    for (int i = 0; i < WIDE_GROUP; i++) {
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    affine best = {.minimum = -low};
    best.error = affine_error(x, w, &best);
    if (high - low < 0x1p-100f) return best;
    for (int step = -STEPS; step <= STEPS; step++) {
        affine a = {.scale = (high - low) / ((float)HIGHEST + 0.4f * (float)step), .minimum = -low};
        a = improve_affine(x, w, &a);
        if (a.error < best.error) best = a;
    }
    for (int turn = 0; turn < TURNS && best.scale > 0; turn++) {
        affine a = improve_affine(x, w, &best);
        if (a.error >= best.error) break;
        best = a;
    }
    return best;
}

/* The pair of integers near the numbers wanted that loses least. */
static void round_affine(const float *x, const float *w, const affine *wanted, l2_fitted *out, int at)
{
    float s = out->unit > 0 ? nearest(wanted->scale / out->unit) : 0;
    float m = out->unit_of_minimum > 0 ? nearest(wanted->minimum / out->unit_of_minimum) : 0;
    s = limit(s, 0, HIGHEST_SCALE + 1);
    m = limit(m, 0, HIGHEST_SCALE + 1);
    double least = HUGE_VAL;
    affine best = {0};
    for (float i = s - 1; i <= s + 1; i++)
        for (float k = m - 1; k <= m + 1; k++) {
            if (i < 0 || i > HIGHEST_SCALE || k < 0 || k > HIGHEST_SCALE) continue;
            affine a = {.scale = out->unit * i, .minimum = out->unit_of_minimum * k};
            double error = affine_error(x, w, &a);
            if (error >= least) continue;
            least = error;
            best = a;
            out->scale[at] = (int16_t)i;
            out->minimum[at] = (int16_t)k;
        }
    quantise(x, WIDE_GROUP, best.scale, best.minimum, 0, HIGHEST, out->q + at * WIDE_GROUP);
}

void l2_fit_scales_and_minima(const float *x, int n, l2_fitted *out)
{
    float w[L2_MAX_BLOCK], most_scale = 0, most_minimum = 0;
    affine wanted[L2_MAX_BLOCK / WIDE_GROUP];
    weigh(x, n, w);
    for (int i = 0; i < n / WIDE_GROUP; i++) {
        wanted[i] = fit_affine(x + i * WIDE_GROUP, w + i * WIDE_GROUP);
        if (wanted[i].scale > most_scale) most_scale = wanted[i].scale;
        if (wanted[i].minimum > most_minimum) most_minimum = wanted[i].minimum;
    }
    out->unit = find_unit(most_scale, HIGHEST_SCALE, HIGHEST_SCALE + 1.5f);
    out->unit_of_minimum = find_unit(most_minimum, HIGHEST_SCALE, HIGHEST_SCALE + 1.5f);
    for (int i = 0; i < n / WIDE_GROUP; i++) round_affine(x + i * WIDE_GROUP, w + i * WIDE_GROUP, &wanted[i], out, i);
}
