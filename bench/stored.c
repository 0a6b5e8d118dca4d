/*
 * A model that lies on the disk: how long it takes until the first token, how fast it reads and writes, how much
 * memory. With weights as stored, or converted to fp32; a process each, since memory is its peak.
 *
 * stored [--threads N] [--converted] [--prompt TOKENS] [--tokens N] MODEL
 */
#include "models.h"
#include "roofs.h"
#include <string.h>

static double least(double a, double b)
{
    return a < b ? a : b;
}

int main(int argc, char **argv)
{
    int32_t threads = 0;
    int64_t length = 128, answer = 16;
    const char *path = NULL;
    llama2_model_options options;
    llama2_model_options_init(&options, sizeof options);
    options.weights = LLAMA2_WEIGHTS_AS_STORED;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--converted") == 0)
            options.weights = LLAMA2_WEIGHTS_CONVERTED;
        else if (strcmp(argv[i], "--threads") == 0)
            threads = atoi(value), i++;
        else if (strcmp(argv[i], "--prompt") == 0)
            length = atoll(value), i++;
        else if (strcmp(argv[i], "--tokens") == 0)
            answer = atoll(value), i++;
        else
            path = argv[i];
    }
    if (!path || length < 1 || answer < 1) {
        fputs("stored [--threads N] [--converted] [--prompt TOKENS] [--tokens N] MODEL\n", stderr);
        return 2;
    }
    llama2_context *ctx = bench_context(threads);
    llama2_model *model;
    llama2_session *session;
    llama2_sampling greedy;
    llama2_config c = {.struct_size = sizeof c};
    llama2_sampling_init(&greedy, sizeof greedy);
    greedy.temperature = 0;
    double begin = seconds_of(ctx), best = 1e9;
    must(llama2_model_load(ctx, path, &options, &model));
    double loaded = seconds_of(ctx);
    must(llama2_model_config(model, &c));
    bench_shape shape = {.vocab_size = c.vocab_size};
    int32_t *tokens = bench_tokens(&shape, length), token;
    must(llama2_session_create(model, &session));
    must(llama2_session_feed(session, tokens, length));
    must(llama2_session_sample(session, &greedy, &token, NULL));
    double first = seconds_of(ctx);
    for (int64_t i = 0; i < answer; i++) {
        double start = seconds_of(ctx);
        must(llama2_session_feed(session, &token, 1));
        must(llama2_session_sample(session, &greedy, &token, NULL));
        best = least(best, seconds_of(ctx) - start);
    }
    double end = seconds_of(ctx);
    printf("{\"load_s\": %.3f, \"first_token_s\": %.3f, \"prompt_tokens_s\": %.1f, \"decode_tokens_s\": %.2f, "
           "\"best_decode_tokens_s\": %.2f, \"peak_mib\": %.0f}\n",
           loaded - begin, first - begin, (double)length / (first - loaded), (double)answer / (end - first), 1 / best,
           peak_memory());
    free(tokens);
    llama2_session_free(session);
    llama2_model_free(model);
    llama2_context_free(ctx);
    return 0;
}
