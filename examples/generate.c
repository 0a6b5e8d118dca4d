/* llama2-generate: goes on from a prompt, or answers it, and prints the text as it comes. */
#include "common/stream.h"

#include <string.h>

int main(int argc, char **argv)
{
    stream_settings s = STREAM_DEFAULTS;
    const char *prompt = NULL, *system = NULL;
    bool chat = false;
    const args_option options[] = {
        {"prompt", ARGS_TEXT, &prompt, "TEXT", "the text to go on from; with --chat the user's message", 0, 0},
        {"chat", ARGS_FLAG, &chat, NULL, "the prompt in the model's chat format", 0, 0},
        {"system", ARGS_TEXT, &system, "TEXT", "a system message (with --chat)", 0, 0},
        STREAM_OPTIONS(s),
        {"session", ARGS_TEXT, &s.session, "FILE",
         "goes on with what this file knows of the prompt, and saves prompt and text there", 0, 0},
        {"json", ARGS_FLAG, &s.json, NULL, "a line a token, {\"id\", \"piece\", \"logprob\"}, and one with the text", 0,
         0},
        {"top-logprobs", ARGS_INTEGER, &s.top_logprobs, "N", "with --json: \"top\", the N likeliest at each token", 1,
         1000},
        {0},
    };
    const args_program program = {
        .name = "llama2-generate",
        .summary = "Generates text from a prompt and prints it as it comes.",
        .usage = "--model DIR --prompt TEXT [--chat] [--system TEXT] [--session FILE] [--json [--top-logprobs N]]\n"
                 "       " STREAM_USAGE,
        .options = options,
        .notes =
            "What is printed is the new text alone, with a line end behind it. The same seed gives the same text. "
            "Log-probabilities are the model's own at\nthe temperature, whatever penalties, bias and --top-k, --top-p, "
            "--min-p make of them. With --json the last line has \"text\", \"tokens\" and \"end\":\neos, stop, length "
            "or context. The weights stay in their file as they are, quantised ones too: the text is that of the same "
            "weights in fp32."};
    app a;
    stream g = {0};
    int status = app_parse(&a, &program, argc, argv);
    if (status != ARGS_GO) return status;
    if (!a.args.model) return args_usage(&program, "--model is missing");
    if (!prompt) return args_usage(&program, "--prompt is missing");
    if (system && !chat) return args_usage(&program, "--system needs --chat");
    if (s.top_logprobs && !s.json) return args_usage(&program, "--top-logprobs needs --json");
    int64_t n = 0;
    int32_t *ids = NULL;
    bool ok = app_begin(&a) && stream_open(&g, &a, &s);
    if (ok && chat) {
        int32_t roles[2] = {LLAMA2_ROLE_SYSTEM, LLAMA2_ROLE_USER};
        const char *texts[2] = {system, prompt};
        int skip = system == NULL;
        ids = stream_encode_chat(&g, roles + skip, texts + skip, 2 - skip, &n);
    } else if (ok) {
        uint32_t flags = llama2_tokenizer_adds_bos(g.tokenizer) ? LLAMA2_ENCODE_BOS : 0;
        ids = app_encode(&a, g.tokenizer, prompt, strlen(prompt), flags, &n);
    }
    ok = ok && ids && stream_answer(&g, ids, n, chat ? 0 : LLAMA2_DECODE_CONTINUE, NULL) && stream_save(&g);
    if (g.printed) putchar('\n');
    stream_close(&g, ids);
    return app_end(&a, ok);
}
