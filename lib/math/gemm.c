/*
 * Matrix products: blocking and threads around the kernels of kernel/gemm.h.
 *
 * c is cut into blocks, one a task. A task walks k in steps of L2_GEMM_BLOCK: it packs 64 columns of the step's b
 * (transposed where b's columns are what lies contiguous), and its a where rows lie side by side or the kernels want
 * it, and runs tiles of 6 x 64 over them, whose sums are added to c step by step. No other blocking is seen in the
 * bits.
 *
 * Few rows times a weight, as when decoding, read the weight where it lies: a task is some of its rows. Several weights
 * that multiply the same rows are one parallel region then, since its beginning and end cost more than a small product.
 *
 * A stored weight is made fp32 where a dense one is packed, a panel at a time. With few or some rows a task is some of
 * its rows too, and a step in k is shorter than a block, so that the panel is in L1 when it is multiplied.
 */
#include "math/gemm.h"
#include "base/alloc.h"
#include "base/context.h"
#include "base/threads.h"
#include "math/kernels.h"
#include "math/stored.h"
#include "math/tensor.h"

enum {
    DEPTH = L2_GEMM_BLOCK, /* of a step in k: 6 rows of a stay in L1, a panel of b in L2 */
    BLOCK_ROWS = 384,      /* most of c in one task */
    BLOCK_COLUMNS = 512,
    EDGE_TIME = 16,      /* multiply-adds in the time that an element of a or b takes to be read and packed */
    DIRECT_ROWS = 12,    /* with at most this many rows a row-major b is read in place */
    FEW_UNIT = 16,       /* what the columns of a task of the path for few rows are an odd multiple of */
    FEW_BYTES = 1 << 19, /* and what of the weight it reads, more or less: its beginning can't be fetched ahead */
    SOME_COLUMNS = 48,   /* most of a task of the path for some rows, and what it is a multiple of */
    SOME_UNIT = 12,
    SOME_LANES = 16,    /* what the number of its rows is rounded to */
    SMALL = 1 << 18,    /* multiply-adds, or the time of as many, that are not worth waking a thread for */
    SPARE_COLUMNS = 16, /* of a panel where there is no scratch memory but the stack */
    STORED_UNIT = 32,   /* what the columns of a task of the path for stored weights are a multiple of */
    AHEAD = 512         /* elements of a stored row between what is used and what is fetched */
};

typedef struct gemm_job {
    const l2_kernels *kernels;
    int64_t m, k;
    l2_matrix a;
    int32_t n_parts;
    const l2_gemm_part *parts;
    int64_t n, ldc; /* of the part that is being computed in blocks, as b and c */
    l2_matrix b;
    const l2_stored *stored;
    char *c, *scratch;
    size_t size, scratch_size;       /* of an element; of a worker's share */
    int64_t panel_columns, ld_panel; /* of b: packed at a time; side by side in a packed row */
    int64_t block_rows, block_columns, column_blocks;
    int mode, pack_a, pack_b;
} gemm_job;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
static int64_t round_up(int64_t a, int64_t unit)
{
    return ceil_div(a, unit) * unit;
}

static const char *element(const gemm_job *job, l2_matrix x, int64_t row, int64_t column)
{
    return (const char *)x.data + (size_t)(row * x.row_stride + column * x.column_stride) * job->size;
}

/* gcc takes a function that does nothing but prefetch for one that does nothing, unless it is inlined. */
#if defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

/* Brings the next tile of c to the cache while the present one is computed. */
ALWAYS_INLINE void prefetch_tile(const gemm_job *job, int64_t i, int64_t rows, int64_t j, int columns)
{
#if defined(__GNUC__)
    for (int64_t r = i; r < i + L2_TILE_ROWS && r < rows; r++) {
        const char *c = job->c + (size_t)(r * job->ldc + j) * job->size;
        for (size_t at = 0; at < (size_t)columns * job->size; at += 64) __builtin_prefetch(c + at, 1);
    }
#else
    (void)job, (void)i, (void)rows, (void)j, (void)columns;
#endif
}

/* Rows i0 .. i0 + rows of c over one panel of b: tiles of at most 6 rows, of nearly equal height unless a is packed in
 * sixes. */
static void run_panel(const gemm_job *job, int64_t i0, int64_t rows, int64_t p0, int64_t depth, const char *packed_a,
                      const char *panel, int64_t ld_panel, int64_t j, int columns, int mode)
{
    int64_t tiles = ceil_div(rows, L2_TILE_ROWS);
    for (int64_t t = 0; t < tiles; t++) {
        int64_t i = packed_a ? t * L2_TILE_ROWS : t * rows / tiles;
        int64_t end = packed_a ? smaller(i + L2_TILE_ROWS, rows) : (t + 1) * rows / tiles;
        const char *a = packed_a ? packed_a + (size_t)(i * depth) * job->size : element(job, job->a, i0 + i, p0);
        char *c = job->c + (size_t)((i0 + i) * job->ldc + j) * job->size;
        prefetch_tile(job, i0 + end, i0 + rows, j, columns);
        job->kernels->gemm_tile(depth, a, packed_a ? 1 : job->a.row_stride,
                                packed_a ? L2_TILE_ROWS : job->a.column_stride, panel, ld_panel, c, job->ldc,
                                (int)(end - i), columns, mode);
    }
}

static void set_part(gemm_job *job, const l2_gemm_part *part)
{
    job->n = part->n;
    job->b = part->b;
    job->stored = part->stored;
    job->c = part->c;
    job->ldc = part->ldc;
}

/* What elements [first, first + n) of stored rows are made of, more or less. */
ALWAYS_INLINE void prefetch_rows(const gemm_job *job, const unsigned char *const *rows, int64_t n_rows, int64_t first,
                                 int64_t n)
{
#if defined(__GNUC__)
    int64_t row_bytes = (int64_t)job->stored->row_bytes, unit = row_bytes * L2_UNPACK_UNIT / job->k;
    int64_t from = first * unit / L2_UNPACK_UNIT, to = smaller((first + n) * unit / L2_UNPACK_UNIT, row_bytes);
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t at = from; at < to; at += 64) __builtin_prefetch(rows[i] + at);
#else
    (void)job, (void)rows, (void)n_rows, (void)first, (void)n;
#endif
}

/*
 * Rows of a stored b are too many short streams for the hardware to fetch ahead: what the panel AHEAD elements further
 * on in the rows is made of, or beyond their end the panel of the next rows.
 */
ALWAYS_INLINE void prefetch_panel(const gemm_job *job, const unsigned char *const *rows, int64_t p0, int64_t depth,
                                  int64_t j, int64_t n)
{
    const unsigned char *next[L2_TILE_COLUMNS];
    int64_t ahead = p0 + AHEAD;
    if (ahead >= job->k) {
        ahead -= job->k;
        if (ahead >= job->k || j + L2_TILE_COLUMNS >= job->n) return;
        l2_stored_rows(job->stored, j + L2_TILE_COLUMNS, n, job->n - 1, next);
        rows = next;
    }
    prefetch_rows(job, rows, n, ahead, depth);
}

/* Past the last row of a stored b it is read once more; nothing comes of those columns. */
static void unpack_panel(const gemm_job *job, int64_t p0, int64_t depth, int64_t j, int columns, char *panel)
{
    const unsigned char *rows[L2_TILE_COLUMNS];
    int64_t n = round_up(columns, L2_UNPACK_ROWS);
    l2_stored_rows(job->stored, j, n, job->n - 1, rows);
    prefetch_panel(job, rows, p0, depth, j, n);
    for (int64_t i = 0; i < n; i += L2_UNPACK_ROWS)
        job->kernels->unpack(job->stored->type, rows + i, p0, depth,
                             panel + (size_t)(i * (job->ld_panel < columns ? depth : 1)) * job->size);
}

static void pack_panel(const gemm_job *job, int64_t p0, int64_t depth, int64_t j, int columns, char *panel)
{
    if (job->stored)
        unpack_panel(job, p0, depth, j, columns, panel);
    else
        job->kernels->gemm_pack_b(depth, columns, element(job, job->b, p0, j), job->b.row_stride, job->b.column_stride,
                                  panel, job->ld_panel);
}

/* A task with its memory: a panel of b, and one of a behind it where a is packed. */
static void run_block(const gemm_job *job, int32_t task, char *panel)
{
    int64_t i0 = task / job->column_blocks * job->block_rows, rows = smaller(job->block_rows, job->m - i0);
    int64_t j0 = task % job->column_blocks * job->block_columns, j1 = smaller(j0 + job->block_columns, job->n);
    char *packed_a = job->pack_a ? panel + (size_t)(DEPTH * L2_TILE_COLUMNS) * job->size : NULL;
    for (int64_t p0 = 0; p0 == 0 || p0 < job->k; p0 += DEPTH) {
        int64_t depth = smaller(DEPTH, job->k - p0);
        int mode = p0 > 0 && job->mode == L2_GEMM_ZERO ? L2_GEMM_ADD : job->mode;
        if (packed_a)
            job->kernels->gemm_pack_a(depth, rows, element(job, job->a, i0, p0), job->a.row_stride,
                                      job->a.column_stride, packed_a);
        for (int64_t j = j0; j < j1; j += job->panel_columns) {
            int columns = (int)smaller(job->panel_columns, j1 - j);
            if (job->pack_b) pack_panel(job, p0, depth, j, columns, panel);
            run_panel(job, i0, rows, p0, depth, packed_a, job->pack_b ? panel : element(job, job->b, p0, j),
                      job->pack_b ? job->ld_panel : job->b.row_stride, j, columns, mode);
        }
    }
}

static void run_in_scratch(void *arg, int32_t task, int32_t worker)
{
    const gemm_job *job = arg;
    run_block(job, task, job->scratch ? job->scratch + (size_t)worker * job->scratch_size : NULL);
}

static void run_on_stack(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    double panel[DEPTH * SPARE_COLUMNS];
    run_block(arg, task, (char *)panel);
}

/* --- few or some rows times a weight: all parts in one parallel region ------------------------------ */

static int64_t tasks_of(const gemm_job *job, const l2_gemm_part *part)
{
    return ceil_div(part->n, job->block_columns);
}

static int32_t count_column_tasks(const gemm_job *job)
{
    int64_t n = 0;
    for (int32_t i = 0; i < job->n_parts; i++) n += tasks_of(job, &job->parts[i]);
    return (int32_t)n;
}

/* What a task is about: some columns of one part's c, which are rows of its weight. */
typedef struct columns {
    const l2_gemm_part *part;
    int64_t first, n;
} columns;

static columns columns_of(const gemm_job *job, int64_t task)
{
    const l2_gemm_part *part = job->parts;
    for (; task >= tasks_of(job, part); part++) task -= tasks_of(job, part);
    int64_t first = task * job->block_columns;
    return (columns){part, first, smaller(job->block_columns, part->n - first)};
}

static char *row_of_c(const gemm_job *job, columns t, int64_t row)
{
    return (char *)t.part->c + (size_t)(row * t.part->ldc + t.first) * job->size;
}

/* Rows i .. i + m of c, at most L2_FEW_ROWS. */
static void compute_few(const gemm_job *job, columns t, int64_t i, int64_t m)
{
    job->kernels->gemm_few(job->k, element(job, job->a, i, 0), job->a.row_stride, element(job, t.part->b, 0, t.first),
                           t.part->b.column_stride, row_of_c(job, t, i), t.part->ldc, (int)m, t.n,
                           job->mode == L2_GEMM_ADD);
}

static void run_few(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const gemm_job *job = arg;
    compute_few(job, columns_of(job, task), 0, job->m);
}

static int64_t tasks_of_bytes(llama2_context *ctx, const gemm_job *job, int64_t n)
{
    return larger(n * job->k * (int64_t)job->size / FEW_BYTES, 2 * (int64_t)l2_workers(ctx));
}

/* An odd number of units a task: kernel/gemm.h reads rows side by side that are that number apart, and a power of two
 * would make a multiple of 4096 bytes of most. */
static void few_rows(llama2_context *ctx, gemm_job *job, int64_t n, int small)
{
    int64_t units = ceil_div(ceil_div(n, tasks_of_bytes(ctx, job, n)), FEW_UNIT);
    job->block_columns = small ? n : ((units - 1) | 1) * FEW_UNIT;
    l2_parallel(ctx, count_column_tasks(job), run_few, job);
}

/* job->block_rows of the rows, whose transpose is in the scratch memory; up to 8 that are left over are few. */
static void run_some(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    const gemm_job *job = arg;
    columns t = columns_of(job, task);
    int64_t first = smaller(job->block_rows, job->m);
    job->kernels->gemm_some(job->k, job->scratch, job->block_rows, element(job, t.part->b, 0, t.first),
                            t.part->b.column_stride, row_of_c(job, t, 0), t.part->ldc, (int)first, t.n,
                            job->mode == L2_GEMM_ADD);
    if (first < job->m) compute_few(job, t, first, job->m - first);
}

/* Returns 0, and nothing was done, where there is no scratch memory. */
static int some_rows(llama2_context *ctx, gemm_job *job, int64_t n, int small)
{
    int64_t left = job->m % SOME_LANES;
    job->block_rows = left <= L2_FEW_ROWS ? job->m - left : round_up(job->m, SOME_LANES);
    if (l2_scratch_get(ctx, (size_t)(job->k * job->block_rows) * job->size, &job->scratch) < 0) return 0;
    job->kernels->gemm_pack_b(job->k, (int)smaller(job->block_rows, job->m), job->a.data, 1, job->a.row_stride,
                              job->scratch, job->block_rows);
    int64_t tasks = 4 * (int64_t)l2_workers(ctx);
    job->block_columns = small ? n : smaller(SOME_COLUMNS, round_up(ceil_div(n, tasks), SOME_UNIT));
    l2_parallel(ctx, count_column_tasks(job), run_some, job);
    l2_scratch_put(ctx, job->scratch);
    return 1;
}

/* --- few or some rows times stored weights --------------------------------------------------- */

/* Of a block of k, beside those before it: rows of c, not of its stride. */
typedef struct stored_sums {
    float panel[L2_UNPACK_UNIT * L2_TILE_COLUMNS], sums[L2_SOME_ROWS * L2_TILE_COLUMNS];
} stored_sums;

/* c (+)= the sums of a block. */
static void add_sums(const gemm_job *job, const float *sums, int64_t j, int64_t width, int add)
{
    for (int64_t i = 0; i < job->m; i++) {
        float *c = (float *)(void *)job->c + i * job->ldc + j;
        const float *sum = sums + i * L2_TILE_COLUMNS;
        for (int64_t v = 0; v < width; v++) c[v] = add ? c[v] + sum[v] : sum[v];
    }
}

/* Up to 64 columns, which are rows of the weight, from end to end. */
static void run_stored_panel(const gemm_job *job, int64_t j, int width, stored_sums *s)
{
    gemm_job block = *job; /* whose c are the sums */
    block.c = (char *)s->sums;
    block.ldc = L2_TILE_COLUMNS;
    /* The panel, and what is fetched ahead of types of a byte or more, stay in L1. */
    int64_t step = (int64_t)job->stored->row_bytes < job->k ? L2_UNPACK_UNIT : L2_UNPACK_UNIT / 2;
    for (int64_t p0 = 0; p0 < job->k; p0 += DEPTH) {
        int64_t end = smaller(p0 + DEPTH, job->k);
        for (int64_t p = p0; p < end; p += step) {
            int64_t depth = smaller(step, end - p);
            unpack_panel(job, p, depth, j, width, (char *)s->panel);
            run_panel(&block, 0, job->m, p, depth, NULL, (char *)s->panel, job->ld_panel, 0, width,
                      p > p0 ? L2_GEMM_CONTINUE : L2_GEMM_ZERO);
        }
        add_sums(job, s->sums, j, width, p0 > 0 || job->mode == L2_GEMM_ADD);
    }
}

static void run_stored(void *arg, int32_t task, int32_t worker)
{
    (void)worker;
    gemm_job job = *(const gemm_job *)arg;
    stored_sums s;
    columns t = columns_of(&job, task);
    set_part(&job, t.part);
    for (int64_t j = t.first, end = t.first + t.n; j < end; j += L2_TILE_COLUMNS)
        run_stored_panel(&job, j, (int)smaller(L2_TILE_COLUMNS, end - j), &s);
}

static void stored_rows(llama2_context *ctx, gemm_job *job, int64_t n, int small)
{
    int64_t tasks = smaller(tasks_of_bytes(ctx, job, n), 4 * (int64_t)l2_workers(ctx));
    job->block_columns = small ? n : round_up(ceil_div(n, tasks), STORED_UNIT);
    l2_parallel(ctx, count_column_tasks(job), run_stored, job);
}

/* Many rows of a where there is no scratch memory: some at a time. */
static void stored_in_pieces(llama2_context *ctx, const gemm_job *job, const l2_gemm_part *part)
{
    for (int64_t i = 0; i < job->m; i += L2_SOME_ROWS) {
        l2_matrix a = {element(job, job->a, i, 0), job->a.row_stride, job->a.column_stride};
        l2_gemm_part piece = *part;
        piece.c = (char *)part->c + (size_t)(i * part->ldc) * job->size;
        l2_gemm_parts(ctx, LLAMA2_F32, smaller(L2_SOME_ROWS, job->m - i), job->k, a, 1, &piece, job->mode);
    }
}

/* --- any product ------------------------------------------------------------------------------ */

/* What a task takes, in multiply-adds of a step in k: its products, and what it reads and packs of a and b. */
static int64_t task_time(int64_t height, int64_t width)
{
    return height * width + EDGE_TIME * (height + width);
}

/*
 * Large blocks read and pack little, small ones leave no worker idle at the end. Of the grids with up to 4 blocks a
 * worker (or the coarsest that there is), the one that is done first, if the workers take blocks in rounds and the last
 * round ends an eighth of a block late.
 */
static void choose_blocks(gemm_job *job, int64_t workers)
{
    int64_t coarsest = ceil_div(job->m, BLOCK_ROWS), best = INT64_MAX;
    for (int64_t each = 1; each <= 4; each++) {
        for (int64_t i = coarsest; i == coarsest || i <= each * workers; i += (i + 1) / 2) {
            int64_t j = larger(ceil_div(job->n, BLOCK_COLUMNS), ceil_div(each * workers, i));
            int64_t height = round_up(ceil_div(job->m, i), L2_TILE_ROWS);
            int64_t width = round_up(ceil_div(job->n, j), L2_TILE_COLUMNS);
            int64_t column_blocks = ceil_div(job->n, width), tasks = ceil_div(job->m, height) * column_blocks;
            int64_t time = (8 * ceil_div(tasks, workers) + 1) * task_time(height, width);
            if (time >= best) continue;
            best = time;
            job->block_rows = height;
            job->block_columns = width;
            job->column_blocks = column_blocks;
        }
    }
}

static int32_t count_tasks(const gemm_job *job)
{
    return (int32_t)(ceil_div(job->m, job->block_rows) * job->column_blocks);
}

static void run_blocks(llama2_context *ctx, gemm_job job, const l2_gemm_part *part, int small)
{
    int32_t workers = l2_workers(ctx);
    set_part(&job, part);
    choose_blocks(&job, small ? 1 : workers);
    job.pack_b = job.stored || job.b.column_stride != 1 || job.m > DIRECT_ROWS;
    job.pack_a = job.m > 1 && (job.a.column_stride != 1 || (job.pack_b && job.ld_panel < L2_TILE_COLUMNS));
    job.scratch_size = (size_t)DEPTH * job.size *
                       (size_t)(L2_TILE_COLUMNS + (job.pack_a ? round_up(job.block_rows, L2_TILE_ROWS) : 0));
    l2_task run = run_in_scratch;
    if ((job.pack_a || job.pack_b) && l2_scratch_get(ctx, job.scratch_size * (size_t)workers, &job.scratch) < 0) {
        if (job.stored) {
            stored_in_pieces(ctx, &job, part);
            return;
        }
        job.panel_columns = SPARE_COLUMNS; /* the same bits, more slowly: a product can't fail halfway through an op */
        job.ld_panel = SPARE_COLUMNS;
        job.pack_a = 0;
        run = run_on_stack;
    }
    l2_parallel(ctx, count_tasks(&job), run, &job);
    l2_scratch_put(ctx, job.scratch);
}

llama2_status l2_gemm_parts(llama2_context *ctx, int32_t dtype, int64_t m, int64_t k, l2_matrix a, int32_t n_parts,
                            const l2_gemm_part *parts, int mode)
{
    int64_t n = 0;
    int32_t stored = 0;
    int weight_rows = 1; /* each b is the transpose of a row-major matrix */
    for (int32_t i = 0; i < n_parts; i++) {
        n += parts[i].n;
        stored += parts[i].stored != NULL;
        weight_rows = weight_rows && (parts[i].stored || parts[i].b.column_stride != 1);
    }
    if (m == 0 || n == 0 || (k == 0 && mode != L2_GEMM_ZERO)) return LLAMA2_OK;
    if (stored > 0 && stored < n_parts) {
        for (int32_t i = 0; i < n_parts; i++) l2_gemm_parts(ctx, dtype, m, k, a, 1, &parts[i], mode);
        return LLAMA2_OK;
    }
    int blas = dtype == LLAMA2_F32 && ctx->gemm == LLAMA2_GEMM_CBLAS && !stored;
    int small = m <= BLOCK_ROWS && n <= SMALL && k <= SMALL && larger(m, EDGE_TIME) * n * k <= SMALL;
    gemm_job job = {.kernels = l2_kernels_of(ctx, dtype),
                    .m = m,
                    .k = k,
                    .a = a,
                    .n_parts = n_parts,
                    .parts = parts,
                    .panel_columns = L2_TILE_COLUMNS,
                    .ld_panel = l2_kernels_of(ctx, dtype)->panel,
                    .size = l2_dtype_size(dtype),
                    .mode = mode};
    int direct = !blas && mode != L2_GEMM_CONTINUE && weight_rows;
    if (stored && direct && m <= L2_SOME_ROWS && k > 0) {
        stored_rows(ctx, &job, n, small);
        return LLAMA2_OK;
    }
    if (!stored && direct && m <= L2_FEW_ROWS && (a.column_stride == 1 || k == 1)) {
        few_rows(ctx, &job, n, small);
        return LLAMA2_OK;
    }
    if (!stored && direct && m <= L2_SOME_ROWS && m > L2_FEW_ROWS && a.column_stride == 1 &&
        some_rows(ctx, &job, n, small))
        return LLAMA2_OK;
    for (const l2_gemm_part *p = parts; p < parts + n_parts; p++)
        if (!blas || !l2_gemm_cblas(m, p->n, k, a, p->b, p->c, p->ldc, mode != L2_GEMM_ZERO))
            run_blocks(ctx, job, p, small);
    return LLAMA2_OK;
}

llama2_status l2_gemm(llama2_context *ctx, int32_t dtype, int64_t m, int64_t n, int64_t k, l2_matrix a, l2_matrix b,
                      void *c, int64_t ldc, int mode)
{
    return l2_gemm_parts(ctx, dtype, m, k, a, 1, &(l2_gemm_part){.n = n, .b = b, .c = c, .ldc = ldc}, mode);
}
