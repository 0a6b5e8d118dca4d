/*
 * llama2-bench: what the machine can do, and which share of it the library reaches: products, a training step, prefill,
 * decode, rollouts. Roofs are measured before each round of what is held against them: rate and share are medians over
 * the rounds, the share of the paired ratios, so that a loud neighbour disturbs both sides; "best" is the best round
 * against the highest roof. Products alone are not in the public API: for them, and for the roofs, this program is
 * linked with the static library and its own headers.
 */
#include "common/args.h"
#include "common/progress.h"
#include "math/gemm.h"
#include "roofs.h"

#include <llama2/llama2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__GNUC__)
extern char *openblas_get_corename(void) __attribute__((weak));
#endif

enum { MOST_ROUNDS = 31, MEMORY = 1 << 28, PROMPT = 512, DECODED = 32, SAMPLES = 16, SAMPLED = 32 };

typedef struct bench {
    const args_program *program;
    args_common args;
    const char *engine, *size;
    bool quick;
    int64_t rounds, batch, length;
    llama2_context *ctx;
    void *memory; /* to read for the roof; the products' operands too */
    llama2_config config;
    llama2_model *model;
    llama2_trainer *trainer; /* of the training steps */
    int64_t product_size;
    double body, head; /* weights that are multiplied: of the layers, of the output */
} bench;

typedef bool (*bench_case)(bench *b, double *seconds);

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int64_t n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

/* The fastest run within a third of a second, at least one: as the roofs are measured. */
static bool fastest(bench *b, bench_case run, double *seconds)
{
    double began = progress_now(), once;
    *seconds = INFINITY;
    do {
        if (!run(b, &once)) return false;
        *seconds = fmin(*seconds, once);
    } while (progress_now() - began < 0.3);
    return true;
}

/* Times a case: `flops` operations and `bytes` that must be read give the shortest time that the roofs allow. units:
 * what the rate counts. */
static bool measure(bench *b, const char *name, bench_case run, double flops, double bytes, double units,
                    const char *unit)
{
    double rates[MOST_ROUNDS], shares[MOST_ROUNDS], warm, seconds, least = INFINITY, allowed = INFINITY;
    if (!run(b, &warm) || !run(b, &warm)) return false;
    for (int64_t i = 0; i < b->rounds; i++) {
        double arithmetic = flops > 0 ? flops / roof_flops(b->ctx, warm) : 0,
               reading = bytes > 0 ? bytes / roof_read(b->ctx, b->memory, MEMORY, warm) : 0;
        if (!fastest(b, run, &seconds)) return false;
        rates[i] = units / seconds;
        shares[i] = 100 * fmax(arithmetic, reading) / seconds;
        least = fmin(least, seconds);
        allowed = fmin(allowed, fmax(arithmetic, reading));
    }
    printf("  %-44s %9.1f %-9s %4.0f %%   best %4.0f %%\n", name, median(rates, b->rounds), unit,
           median(shares, b->rounds), 100 * allowed / least);
    fflush(stdout);
    return true;
}

/* --- cases ----------------------------------------------------------------------------------- */

static bool product(bench *b, double *seconds)
{
    int64_t n = b->product_size;
    const float *x = b->memory, *w = x + n * n;
    float *y = (float *)b->memory + 2 * n * n;
    double began = progress_now();
    l2_gemm(b->ctx, LLAMA2_F32, n, n, n, (l2_matrix){x, n, 1}, (l2_matrix){w, 1, n}, y, n, 0);
    *seconds = progress_now() - began;
    return true;
}

static int32_t *tokens(const bench *b, int64_t n)
{
    int32_t *t = malloc((size_t)n * sizeof *t);
    for (int64_t i = 0; t && i < n; i++) t[i] = (int32_t)((i * 7919 + 13) % b->config.vocab_size);
    return t;
}

static bool training(bench *b, double *seconds)
{
    int64_t n = b->batch * b->length, offsets[65];
    int32_t *ids = tokens(b, n);
    llama2_step_metrics m = {.struct_size = sizeof m};
    for (int64_t i = 0; i <= b->batch; i++) offsets[i] = i * b->length;
    llama2_batch batch = {sizeof batch, (int32_t)b->batch, n, ids, offsets, NULL};
    double began = progress_now();
    bool ok = ids && llama2_pretrain_step(b->trainer, &batch, &m) >= 0;
    *seconds = progress_now() - began;
    free(ids);
    return ok;
}

static bool prefill(bench *b, double *seconds)
{
    llama2_session *session = NULL;
    int32_t *ids = tokens(b, PROMPT);
    bool ok = ids && llama2_session_create(b->model, &session) >= 0;
    double began = progress_now();
    ok = ok && llama2_session_feed(session, ids, PROMPT) >= 0;
    *seconds = progress_now() - began;
    llama2_session_free(session);
    free(ids);
    return ok;
}

static bool decode(bench *b, double *seconds)
{
    llama2_session *session = NULL;
    llama2_sampling sampling;
    int32_t token = 1;
    llama2_sampling_init(&sampling, sizeof sampling);
    sampling.temperature = 0;
    bool ok = llama2_session_create(b->model, &session) >= 0 && llama2_session_feed(session, &token, 1) >= 0;
    double began = progress_now();
    for (int i = 0; ok && i < DECODED; i++)
        ok = llama2_session_sample(session, &sampling, &token, NULL) >= 0 &&
             llama2_session_feed(session, &token, 1) >= 0;
    *seconds = progress_now() - began;
    llama2_session_free(session);
    return ok;
}

static bool rollout(bench *b, double *seconds)
{
    int32_t ids[1] = {1};
    int64_t offsets[2] = {0, 1};
    llama2_batch prompts = {sizeof prompts, 1, 1, ids, offsets, NULL};
    llama2_rollouts *rollouts = NULL;
    llama2_rollout_options o;
    llama2_rollout_options_init(&o, sizeof o);
    o.samples_per_prompt = SAMPLES;
    o.max_new_tokens = SAMPLED;
    double began = progress_now();
    bool ok = llama2_rollout(b->model, &prompts, &o, &rollouts) >= 0;
    *seconds = progress_now() - began;
    llama2_rollouts_free(rollouts);
    return ok;
}

/* --- runs ------------------------------------------------------------------------------------ */

static bool open_model(bench *b, const char *size)
{
    llama2_config *c = &b->config;
    llama2_config_init(c, sizeof *c);
    bool small = strcmp(size, "15m") == 0;
    c->dim = small ? 288 : 768;
    c->n_layers = c->n_heads = c->n_kv_heads = small ? 6 : 12;
    c->ffn_dim = small ? 768 : 2048;
    c->max_seq_len = 1024;
    c->bos_id = c->eos_id = c->pad_id = -1; /* nothing ends early */
    b->head = (double)c->vocab_size * c->dim;
    b->body = (double)c->n_layers * (4.0 * c->dim * c->dim + 3.0 * c->dim * c->ffn_dim);
    return llama2_model_create(b->ctx, c, NULL, &b->model) >= 0;
}

static bool open_trainer(bench *b)
{
    llama2_optimizer *optimizer = NULL;
    bool ok = llama2_optimizer_create(b->ctx, NULL, &optimizer) >= 0 &&
              llama2_trainer_create(b->ctx, b->model, optimizer, NULL, &b->trainer) >= 0;
    llama2_optimizer_free(optimizer);
    return ok;
}

/* Operations: 2 a weight and token forward, twice that backward; attention sees half of what stands in its square.
 * Generating computes the output of last tokens alone. */
static bool model_cases(bench *b, const char *size)
{
    char name[64];
    if (!open_model(b, size)) return false;
    double ld = (double)b->config.n_layers * b->config.dim, weights = b->body + b->head,
           n = (double)(b->batch * b->length), kv = 8 * ld;
    snprintf(name, sizeof name, "%s: prefill of %d tokens", size, PROMPT);
    bool ok = measure(b, name, prefill, PROMPT * (2 * b->body + 2 * ld * PROMPT) + 2 * b->head, 0, PROMPT, "tokens/s");
    snprintf(name, sizeof name, "%s: decode, one sequence", size);
    ok = ok && measure(b, name, decode, 0, DECODED * (4 * weights + kv * DECODED / 2), DECODED, "tokens/s");
    snprintf(name, sizeof name, "%s: rollout, %d sequences", size, SAMPLES);
    ok = ok && measure(b, name, rollout, SAMPLES * SAMPLED * 2 * weights,
                       SAMPLED * (4 * weights + SAMPLES * kv * SAMPLED / 2), SAMPLES * SAMPLED, "tokens/s");
    snprintf(name, sizeof name, "%s: training step, %d x %d tokens", size, (int)b->batch, (int)b->length);
    ok = ok && open_trainer(b) &&
         measure(b, name, training, n * (6 * weights + 6 * ld * (double)b->length), 0, n, "tokens/s");
    llama2_trainer_free(b->trainer);
    b->trainer = NULL;
    llama2_model_free(b->model);
    b->model = NULL;
    return ok;
}

static bool run_engine(bench *b, int32_t gemm, const char *name)
{
    llama2_context_options o;
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = (int32_t)b->args.threads;
    o.seed = b->args.seed;
    o.gemm = gemm;
    if (llama2_context_create(&o, &b->ctx) < 0) return false;
    printf("%s%s%s\n  roofs: %.0f GFLOP/s of multiply-adds, %.1f GB/s of reading\n", llama2_context_describe(b->ctx),
           *name ? ", " : "", name, 1e-9 * roof_flops(b->ctx, 0), 1e-9 * roof_read(b->ctx, b->memory, MEMORY, 0));
    bool ok = true;
    for (int64_t size = 512; ok && size <= (b->quick ? 512 : 2048); size *= 2) {
        char label[64];
        double flops = 2.0 * (double)size * (double)size * (double)size;
        b->product_size = size;
        snprintf(label, sizeof label, "product, %d x %d x %d", (int)size, (int)size, (int)size);
        ok = measure(b, label, product, flops, 0, 1e-9 * flops, "GFLOP/s");
    }
    const bool both = strcmp(b->size, "both") == 0;
    if (ok && (both || strcmp(b->size, "15m") == 0)) ok = model_cases(b, "15m");
    if (ok && (both || strcmp(b->size, "110m") == 0)) ok = model_cases(b, "110m");
    llama2_context_free(b->ctx);
    b->ctx = NULL;
    return ok;
}

/* OpenBLAS chooses its core type when it is loaded, and takes a processor that it does not know for an old one: this
 * program once more, told which. */
static bool run_told(char **argv)
{
    fflush(stdout);
    pid_t child = fork();
    int status = 0;
    if (child == 0) {
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

static bool run_cblas(bench *b, int argc, char **argv)
{
    char name[64] = "";
    bool told = getenv("OPENBLAS_CORETYPE") != NULL, old = false;
    if (!l2_gemm_has_cblas()) return true;
#if defined(__GNUC__)
    if (openblas_get_corename) {
        snprintf(name, sizeof name, "OpenBLAS as %.24s%s", openblas_get_corename(), told ? "" : ", as it comes");
        old = is_one_of(openblas_get_corename(), "Haswell", "Zen", "Sandybridge");
    }
#endif
    if (!run_engine(b, LLAMA2_GEMM_CBLAS, name)) return false;
#if defined(__x86_64__)
    if (!told && old && __builtin_cpu_supports("avx512f")) {
        char **again = calloc((size_t)argc + 2, sizeof *again);
        if (!again) return true;
        memcpy(again, argv, (size_t)argc * sizeof *again);
        again[argc] = (char *)(uintptr_t) "--engine=cblas";
        bool ok = run_told(again);
        free(again);
        return ok;
    }
#endif
    (void)argc, (void)argv, (void)old;
    return true;
}

int main(int argc, char **argv)
{
    bench b = {.engine = "all", .size = "both", .rounds = 7, .batch = 4, .length = 512};
    const args_option options[] = {
        {"quick", ARGS_FLAG, &b.quick, NULL, "the small model, three rounds, short training batches", 0, 0},
        {"size", ARGS_TEXT, &b.size, "NAME", "15m, 110m or both (both)", 0, 0},
        {"engine", ARGS_TEXT, &b.engine, "NAME", "builtin, cblas or all (all)", 0, 0},
        {"rounds", ARGS_INTEGER, &b.rounds, "N", "rounds of each case (7)", 1, MOST_ROUNDS},
        {"batch", ARGS_INTEGER, &b.batch, "N", "sequences of a training step (4)", 1, 64},
        {"length", ARGS_INTEGER, &b.length, "N", "tokens of each (512)", 2, 1024},
        {0},
    };
    const args_program program = {.name = "llama2-bench",
                                  .summary = "Measures the machine's roofs, then products, prefill, decode, rollouts "
                                             "and training steps as shares of them.",
                                  .usage = "[--quick] [--size NAME] [--engine NAME] [--threads N]",
                                  .options = options,
                                  .notes = "Models have random weights; --model is not used. Takes up to 5 GB of "
                                           "memory. Operations of a step: 6 N + 6 L d T a token, N the weights\n"
                                           "that are multiplied; decode must read every weight once a token. A product "
                                           "by OpenBLAS runs on OpenBLAS' own threads."};
    b.program = &program;
    int status = args_parse(&program, &b.args, argc, argv);
    if (status != ARGS_GO) return status;
    if (!is_one_of(b.size, "15m", "110m", "both"))
        return args_usage(&program, "--size %s: expected 15m, 110m or both", b.size);
    if (!is_one_of(b.engine, "builtin", "cblas", "all"))
        return args_usage(&program, "--engine %s: expected builtin, cblas or all", b.engine);
    if (b.quick) b.size = strcmp(b.size, "both") == 0 ? "15m" : b.size, b.rounds = 3, b.batch = 2, b.length = 256;
    b.memory = roof_memory(MEMORY);
    if (!b.memory) return args_error(&program, "out of memory");
    for (size_t i = 0; i < MEMORY / sizeof(float); i++) ((float *)b.memory)[i] = (float)(i % 1021) / 1021 - 0.5f;
    bool ok = true;
    if (strcmp(b.engine, "cblas") != 0) ok = run_engine(&b, LLAMA2_GEMM_BUILTIN, "");
    if (ok && strcmp(b.engine, "builtin") != 0) ok = run_cblas(&b, argc, argv);
    if (!ok)
        status = args_failed(&program, "stopped");
    else
        status = ARGS_OK;
    llama2_model_free(b.model);
    llama2_context_free(b.ctx);
    free(b.memory);
    return status;
}
