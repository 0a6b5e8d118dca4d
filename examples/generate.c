/* llama2-generate: goes on from a prompt, or answers it, and prints the text as it comes; or does it for all prompts of
 * files at once. */
#include "generate/batch.h"

#include <stdlib.h>

/* One prompt, in the session. */
static bool answer(stream *g, const char *prompt, bool chat, const char *system)
{
    int64_t n = 0;
    const int32_t roles[2] = {LLAMA2_ROLE_SYSTEM, LLAMA2_ROLE_USER};
    const char *texts[2] = {system, prompt};
    int skip = system == NULL;
    int32_t *ids =
        chat ? stream_encode_chat(g, roles + skip, texts + skip, 2 - skip, &n) : stream_encode_text(g, prompt, &n);
    bool ok = ids && stream_answer(g, ids, n, chat ? 0 : LLAMA2_DECODE_CONTINUE, NULL) && stream_save(g);
    free(ids);
    return ok;
}

int main(int argc, char **argv)
{
    stream_settings s = STREAM_DEFAULTS;
    const char *prompt = NULL, *system = NULL;
    batch_settings many = {.samples = 1};
    const args_option options[] = {
        {"prompt", ARGS_TEXT, &prompt, "TEXT", "the text to go on from; with --chat the user's message", 0, 0},
        {"data", ARGS_LIST, &many.data, "FILE",
         "prompts, JSON Lines (docs/formats.md), many at once; a line of JSON for each answer; may be given several "
         "times",
         0, 0},
        {"samples", ARGS_INTEGER, &many.samples, "K", "with --data: answers to each prompt (1)", 1, 1e6},
        {"chat", ARGS_FLAG, &many.chat, NULL, "the prompt in the model's chat format", 0, 0},
        {"system", ARGS_TEXT, &system, "TEXT", "a system message (with --chat)", 0, 0},
        STREAM_OPTIONS(s),
        {"session", ARGS_TEXT, &s.session, "FILE",
         "goes on with what this file knows of the prompt, and saves prompt and text there", 0, 0},
        {"json", ARGS_FLAG, &s.json, NULL,
         "a line a token, {\"id\", \"piece\", \"logprob\"}, and one with the text; with --data: \"ids\" and "
         "\"logprobs\" too",
         0, 0},
        {"top-logprobs", ARGS_INTEGER, &s.top_logprobs, "N", "with --json: \"top\", the N likeliest at each token", 1,
         1000},
        {0},
    };
    const args_program program = {
        .name = "llama2-generate",
        .summary = "Generates text from a prompt and prints it as it comes; or from many prompts at once.",
        .usage = "--model DIR --prompt TEXT [--chat] [--system TEXT] [--session FILE] [--json [--top-logprobs N]]\n"
                 "       llama2-generate --model DIR --data FILE [--samples K] [--chat] [--json]\n"
                 "       " STREAM_USAGE,
        .options = options,
        .notes =
            "What is printed is the new text alone, with a line end behind it. The same seed gives the same text. "
            "Log-probabilities are the model's own at\nthe temperature, whatever penalties, bias and --top-k, --top-p, "
            "--min-p make of them. With --json the last line has \"text\", \"tokens\" and \"end\":\neos, stop, length "
            "or context; with --data every line has these, \"prompt\" and \"sample\" (numbers, from 0) and "
            "\"logprob\", the sum. The weights stay in their file as they are, quantised ones too: the text is that of "
            "the same "
            "weights in fp32."};
    app a;
    stream g = {0};
    int status = app_parse(&a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!a.args.model) return args_usage(&program, "--model is missing");
    bool batch = many.data.count > 0;
    if (!prompt && !batch) return args_usage(&program, "--prompt or --data is missing");
    if (batch && (prompt || system || s.session || s.top_logprobs))
        return args_usage(&program, "--data goes without --prompt, --system, --session and --top-logprobs");
    if (!batch && many.samples != 1) return args_usage(&program, "--samples needs --data");
    if (system && !many.chat) return args_usage(&program, "--system needs --chat");
    if (s.top_logprobs && !s.json) return args_usage(&program, "--top-logprobs needs --json");
    bool ok = app_begin(&a) && stream_open(&g, &a, &s) &&
              (batch ? batch_generate(&g, &many) : answer(&g, prompt, many.chat, system));
    if (g.printed) putchar('\n');
    stream_close(&g);
    return app_end(&a, ok);
}
