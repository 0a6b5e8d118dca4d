/*
 * Reading a prompt of 512 tokens, decoding one sequence and several at once (rollouts), in fp32, beside their roofs
 * measured in the same rounds:
 *
 *     prefill   peak of fused multiply-adds / (2 N + 2 L d T)
 *     decode    batch 1: memory bandwidth / bytes of weights and KV cache; batch B: that times B, or the peak,
 * whichever is lower
 *
 * Best of the rounds.
 *
 * generation [THREADS [tiny | 15m | 110m | 135m]]
 */
#include "models.h"
#include "roofs.h"
#include "base/alloc.h"

enum { PROMPT = 512, ANSWER = 32, ROUNDS = 5, MEMORY = 1 << 27 };

typedef struct roofs {
    double flops, read;
} roofs;

static roofs measure_roofs(llama2_context *ctx, const void *memory)
{
    return (roofs){roof_flops(ctx, 0.25), roof_read(ctx, memory, MEMORY, 0)};
}

/* Seconds of an answer to each of n prompts of `length` tokens. */
static double rollout(llama2_context *ctx, llama2_model *model, const int32_t *tokens, int32_t n, int64_t length,
                      int32_t answer)
{
    int64_t offsets[65];
    llama2_rollouts *rollouts;
    llama2_rollout_options options;
    for (int32_t i = 0; i <= n; i++) offsets[i] = i * length;
    llama2_batch prompts = {sizeof prompts, n, n * length, tokens, offsets, NULL};
    llama2_rollout_options_init(&options, sizeof options);
    options.max_new_tokens = answer;
    double start = seconds_of(ctx);
    must(llama2_rollout(model, &prompts, &options, &rollouts));
    double time = seconds_of(ctx) - start;
    llama2_rollouts_free(rollouts);
    return time;
}

/* One sequence: a prompt, then ANSWER tokens after it. */
static void run_session(llama2_context *ctx, llama2_model *model, const int32_t *tokens, double *prefill,
                        double *decode)
{
    llama2_session *session;
    must(llama2_session_create(model, &session));
    double start = seconds_of(ctx);
    must(llama2_session_feed(session, tokens, PROMPT));
    *prefill = fmin(*prefill, seconds_of(ctx) - start);
    for (int32_t i = 0; i < ANSWER; i++) {
        int32_t token;
        start = seconds_of(ctx);
        must(llama2_session_sample(session, NULL, &token, NULL));
        must(llama2_session_feed(session, &token, 1));
        *decode = fmin(*decode, seconds_of(ctx) - start);
    }
    llama2_session_free(session);
}

static double kv_bytes(const bench_shape *s, double length)
{
    return 8.0 * length * s->n_layers * s->dim * s->n_kv_heads / s->n_heads;
}

static void measure(llama2_context *ctx, const bench_shape *s, const void *memory)
{
    static const int32_t batches[] = {8, 16, 32};
    llama2_model *model = bench_model(ctx, s);
    int32_t *tokens = bench_tokens(s, 64 * PROMPT);
    double prefill = INFINITY, decode = INFINITY, batch[3] = {INFINITY, INFINITY, INFINITY};
    roofs best = {0, 0};
    for (int round = 0; round < ROUNDS; round++) {
        roofs r = measure_roofs(ctx, memory);
        best = (roofs){fmax(best.flops, r.flops), fmax(best.read, r.read)};
        run_session(ctx, model, tokens, &prefill, &decode);
        for (int b = 0; b < 3; b++) {
            double begin = rollout(ctx, model, tokens, batches[b], 16, 1);
            batch[b] = fmin(batch[b], (rollout(ctx, model, tokens, batches[b], 16, 1 + ANSWER) - begin) / ANSWER);
        }
    }
    double weights = 4 * all_weights(s),
           work = PROMPT * (2 * trunk_weights(s) + 2.0 * s->n_layers * s->dim * PROMPT) + weights / 2;
    printf("%s: peak %.0f GFLOP/s, memory %.1f GB/s\n", s->name, best.flops * 1e-9, best.read * 1e-9);
    printf("  prefill %4d           %8.2f ms  %7.0f tokens/s  %3.0f %% of its roof\n", PROMPT, 1e3 * prefill,
           PROMPT / prefill, 100 * work / prefill / best.flops);
    printf("  decode, 1 sequence     %8.3f ms  %7.0f tokens/s  %3.0f %%\n", 1e3 * decode, 1 / decode,
           100 * (weights + kv_bytes(s, PROMPT + ANSWER / 2)) / decode / best.read);
    for (int b = 0; b < 3; b++) {
        double n = batches[b],
               roof = fmax((weights + n * kv_bytes(s, 16 + ANSWER / 2)) / best.read, n * weights / 2 / best.flops);
        printf("  decode, %2.0f sequences   %8.3f ms  %7.0f tokens/s  %3.0f %%\n", n, 1e3 * batch[b], n / batch[b],
               100 * roof / batch[b]);
    }
    fflush(stdout);
    free(tokens);
    llama2_model_free(model);
}

int main(int argc, char **argv)
{
    llama2_context *ctx = bench_context(argc > 1 ? atoi(argv[1]) : 0);
    const char *which = argc > 2 ? argv[2] : "";
    void *memory;
    must(l2_alloc(ctx, MEMORY, 1, &memory)); /* as the weights are: in huge pages where the system has them */
    memset(memory, 1, MEMORY);
    printf("%s\n", llama2_context_describe(ctx));
    if (!*which || strcmp(which, "tiny") == 0) measure(ctx, &bench_tiny, memory);
    if (!*which || strcmp(which, "15m") == 0) measure(ctx, &bench_15m, memory);
    if (!*which || strcmp(which, "110m") == 0) measure(ctx, &bench_110m, memory);
    if (!*which || strcmp(which, "135m") == 0) measure(ctx, &bench_135m, memory);
    l2_free(ctx, memory);
    llama2_context_free(ctx);
    return 0;
}
