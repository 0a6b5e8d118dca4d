/*
 * A program built against one version of the headers, run with libraries of others (appended.sh). With APPENDED its
 * headers have one more field, `appended`, in llama2_trainer_options, llama2_step_metrics and llama2_batch. Prints what
 * it got; `set` as argument sets the option.
 */
#include <llama2/llama2.h>
#include <stdio.h>
#include <string.h>

enum { GUARD = 0x5a };

/* A struct between bytes that nobody may touch. */
#define GUARDED(type)                                                                                                  \
    struct {                                                                                                           \
        unsigned char before[64];                                                                                      \
        type value;                                                                                                    \
        unsigned char after[64];                                                                                       \
    }

static int intact(const unsigned char *bytes)
{
    for (int i = 0; i < 64; i++)
        if (bytes[i] != GUARD) return 0;
    return 1;
}

static int failed(const char *call, llama2_status status)
{
    if (status == LLAMA2_OK) return 0;
    printf("%s %s: %s\n", call, llama2_status_name(status), llama2_last_error());
    return 1;
}

static int run(int set)
{
    llama2_context *ctx = NULL;
    llama2_config config;
    llama2_model *model = NULL;
    llama2_optimizer *optimizer = NULL;
    llama2_trainer *trainer = NULL;
    GUARDED(llama2_trainer_options) options;
    GUARDED(llama2_step_metrics) step;
    memset(&options, GUARD, sizeof options);
    memset(&step, GUARD, sizeof step);
    llama2_trainer_options_init(&options.value, sizeof options.value);
    options.value.warmup_steps = 2;
#ifdef APPENDED
    if (set) options.value.appended = 3;
#else
    (void)set;
#endif
    llama2_config_init(&config, sizeof config);
    config.vocab_size = 11, config.dim = 8, config.n_layers = 1, config.n_heads = 2, config.n_kv_heads = 1,
    config.head_dim = 4, config.ffn_dim = 8;
    const int32_t tokens[] = {3, 1, 4, 1, 5, 9};
    const int64_t offsets[] = {0, 3, 6};
    llama2_batch batch = {
        .struct_size = sizeof batch, .n_sequences = 2, .n_tokens = 6, .tokens = tokens, .offsets = offsets};
    step.value.struct_size = sizeof step.value;

    int bad = failed("context_create", llama2_context_create(NULL, &ctx)) ||
              failed("model_create", llama2_model_create(ctx, &config, NULL, &model)) ||
              failed("optimizer_create", llama2_optimizer_create(ctx, NULL, &optimizer)) ||
              failed("trainer_create", llama2_trainer_create(ctx, model, optimizer, &options.value, &trainer)) ||
              failed("sft_step", llama2_sft_step(trainer, &batch, &step.value));
    if (!bad) {
        printf("step %d tokens %d lr %g struct_size %s", (int)step.value.step, (int)step.value.tokens, step.value.lr,
               step.value.struct_size == sizeof step.value ? "kept" : "changed");
#ifdef APPENDED
        printf(" appended %g", step.value.appended);
#endif
        printf("\n");
    }
    if (!intact(options.before) || !intact(options.after) || !intact(step.before) || !intact(step.after))
        printf("bytes outside a struct were written\n");
    llama2_trainer_free(trainer), llama2_optimizer_free(optimizer), llama2_model_free(model), llama2_context_free(ctx);
    return bad;
}

int main(int argc, char **argv)
{
    return run(argc > 1 && strcmp(argv[1], "set") == 0);
}
