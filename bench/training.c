/*
 * Training steps (AdamW, fp32, random tokens): tokens a second, the share of the peak of fused multiply-adds measured
 * in the same rounds at 6 N + 6 L d T operations a token (N the weights that multiply, T the sequence's length,
 * causal), where the time goes, and the peak of resident memory. Best of the rounds.
 *
 * training [THREADS [tiny | 15m | 110m]]
 */
#include "models.h"
#include "roofs.h"

enum { ROUNDS = 5 };

static double least(double a, double b)
{
    return a < b ? a : b;
}

static void measure(llama2_context *ctx, const bench_shape *s, int32_t n_sequences, int64_t length)
{
    int64_t n = n_sequences * length, *offsets = malloc((size_t)(n_sequences + 1) * sizeof *offsets);
    int32_t *tokens = bench_tokens(s, n);
    float *logprobs = malloc((size_t)n * sizeof *logprobs);
    if (!offsets || !logprobs) exit(1);
    for (int32_t i = 0; i <= n_sequences; i++) offsets[i] = i * length;
    llama2_batch batch = {sizeof batch, n_sequences, n, tokens, offsets, NULL};
    llama2_model *model = bench_model(ctx, s);
    llama2_optimizer *optimizer;
    llama2_trainer *trainer;
    must(llama2_optimizer_create(ctx, NULL, &optimizer));
    must(llama2_trainer_create(ctx, model, optimizer, NULL, &trainer));

    double forward = INFINITY, gradients = INFINITY, update = INFINITY, step = INFINITY, peak = 0;
    for (int round = -1; round < ROUNDS; round++) {
        llama2_step_metrics metrics = {.struct_size = sizeof metrics};
        double t[4];
        peak = fmax(peak, roof_flops(ctx, 0.25));
        for (int i = 0; i < ((double)n * all_weights(s) < 1e10 ? 8 : 1); i++) {
            t[0] = seconds_of(ctx);
            must(llama2_model_logprobs(model, &batch, 1, logprobs, NULL));
            t[1] = seconds_of(ctx);
            must(llama2_trainer_accumulate(trainer, &batch, NULL));
            t[2] = seconds_of(ctx);
            must(llama2_trainer_update(trainer, &metrics));
            t[3] = seconds_of(ctx);
            if (round < 0) continue;
            forward = least(forward, t[1] - t[0]);
            gradients = least(gradients, t[2] - t[1]);
            update = least(update, t[3] - t[2]);
            step = least(step, t[3] - t[1]);
        }
    }
    double flops = 6 * all_weights(s) + 6.0 * s->n_layers * s->dim * (double)length;
    printf("%-6s %2d x %4d  step %8.2f ms  %7.0f tokens/s  %3.0f %% of the peak   (forward alone %7.2f, both %7.2f, "
           "update %6.2f ms; %5.0f MiB)\n",
           s->name, n_sequences, (int)length, 1e3 * step, (double)n / step, 100 * flops * (double)n / step / peak,
           1e3 * forward, 1e3 * gradients, 1e3 * update, peak_memory());
    fflush(stdout);
    llama2_trainer_free(trainer);
    llama2_optimizer_free(optimizer);
    llama2_model_free(model);
    free(tokens), free(offsets), free(logprobs);
}

int main(int argc, char **argv)
{
    llama2_context *ctx = bench_context(argc > 1 ? atoi(argv[1]) : 0);
    const char *which = argc > 2 ? argv[2] : "";
    printf("%s: %.0f GFLOP/s\n", llama2_context_describe(ctx), roof_flops(ctx, 0.25) * 1e-9);
    if (!*which || strcmp(which, "tiny") == 0) measure(ctx, &bench_tiny, 32, 64);
    if (!*which || strcmp(which, "15m") == 0) measure(ctx, &bench_15m, 8, 256);
    if (!*which || strcmp(which, "110m") == 0) measure(ctx, &bench_110m, 4, 256);
    llama2_context_free(ctx);
    return 0;
}
