/*
 * libFuzzer: a tokenizer.model, tokenizer.json or GGUF of any bytes, then text and ids of any bytes through it. The
 * input is <2 bytes: length of the model><model><text>; a length of 0 takes a fixed vocabulary, 65535 lines in
 * tiktoken's format that go on after one for each byte. Checked besides the sanitizers: decoded text is valid UTF-8,
 * pushes give what decoding at once gives, encoding is repeatable, ranges of ids are in order and within the text.
 */
#include "base/utf8.h"
#include <llama2/chat.h>
#include <llama2/context.h>
#include <llama2/tokenizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE_A                                                                                                        \
    "\xE2\x96\x81"                                                                                                     \
    "a" /* U+2581 stands for a space */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "fuzz_tokenizer: %s\n", what);
    abort();
}

static llama2_tokenizer *fixed_vocabulary(llama2_context *ctx)
{
    static const char *const texts[] = {"<unk>", "<s>", "</s>", "\xE2\x96\x81", "a",  "b",   "ab",           SPACE_A,
                                        "aa",    "aab", "[x]",  "\xC3\xA9",     "ba", "bab", "a\xE2\x96\x81"};
    static const int32_t types[] = {2, 3, 3, 1, 1, 1, 1, 1, 1, 5, 4, 1, 5, 1, 1};
    static const float scores[] = {0, 0, 0, -1, -1, -1, -2, -3, -3, -2, 0, -4, -1, 5, -6};
    llama2_tokenizer_pieces pieces;
    llama2_tokenizer *tok;
    llama2_tokenizer_pieces_init(&pieces, sizeof pieces);
    pieces.n_pieces = sizeof texts / sizeof *texts;
    pieces.texts = texts;
    pieces.types = types;
    pieces.scores = scores;
    require(llama2_tokenizer_create(ctx, &pieces, &tok) == LLAMA2_OK, llama2_last_error());
    return tok;
}

static void check_decoding(llama2_tokenizer *tok, const int32_t *ids, int64_t n, uint32_t flags)
{
    size_t size, at = 0, length;
    const char *text;
    llama2_decoder *decoder;
    require(llama2_tokenizer_decode(tok, ids, n, flags, NULL, 0, &size) == LLAMA2_OK, "decode counts");
    char *whole = malloc(size + 1);
    require(llama2_tokenizer_decode(tok, ids, n, flags, whole, size, &size) == LLAMA2_OK, "decode");
    require(flags & LLAMA2_DECODE_BYTES || l2_utf8_valid_prefix(whole, size) == size, "decoded text is not UTF-8");
    require(llama2_decoder_create(tok, flags, &decoder) == LLAMA2_OK, "decoder");
    for (int64_t i = 0; i <= n; ++i) {
        require((i < n ? llama2_decoder_push(decoder, ids[i], &text, &length)
                       : llama2_decoder_finish(decoder, &text, &length)) == LLAMA2_OK,
                "push");
        require(at + length <= size && memcmp(whole + at, text, length) == 0, "pushes differ from decode");
        at += length;
    }
    require(at == size, "pushes are shorter than decode");
    llama2_decoder_free(decoder);
    free(whole);
}

static void check_ranges(const llama2_tokenizer *tok, const char *text, size_t length, const int32_t *ids, int64_t n)
{
    size_t *begins = malloc(2 * (size_t)(n + 1) * sizeof *begins), *ends = begins + n + 1, at = 0;
    int32_t *again = malloc((size_t)(n + 1) * sizeof *again);
    int64_t m;
    require(llama2_tokenizer_encode_offsets(tok, text, length, 0, again, begins, ends, n, &m) == LLAMA2_OK, "ranges");
    require(m == n && memcmp(again, ids, (size_t)n * sizeof *ids) == 0, "ids with ranges are others");
    for (int64_t i = 0; i < n; at = ends[i++]) require(at <= begins[i] && begins[i] <= ends[i], "ranges go back");
    require(at <= length, "ranges leave the text");
    free(again);
    free(begins);
}

static void check_text(llama2_tokenizer *tok, const char *text, size_t length)
{
    int64_t room = 3 * (int64_t)length + 5, n, again;
    int32_t *ids = malloc((size_t)room * sizeof *ids), vocab = llama2_tokenizer_vocab_size(tok);
    require(llama2_tokenizer_encode(tok, text, length, 0, ids, room, &n) == LLAMA2_OK, "encode");
    require(llama2_tokenizer_encode(tok, text, length, 0, NULL, 0, &again) == LLAMA2_OK && n == again,
            "encode counts otherwise");
    check_ranges(tok, text, length, ids, n);
    check_decoding(tok, ids, n, 0);
    for (int64_t i = 0; i < (int64_t)length; ++i) ids[i] = (int32_t)((uint8_t)text[i] * 131u % (uint32_t)vocab);
    check_decoding(tok, ids, (int64_t)length, (uint32_t)length & 7);
    const int32_t roles[] = {LLAMA2_ROLE_SYSTEM, LLAMA2_ROLE_USER, LLAMA2_ROLE_ASSISTANT};
    const char *const texts[] = {text, text, text};
    const size_t lengths[] = {length / 2, length, length / 3};
    llama2_chat chat;
    llama2_chat_init(&chat, sizeof chat);
    chat.n_messages = 3;
    chat.roles = roles;
    chat.texts = texts;
    chat.lengths = lengths;
    llama2_chat_encode(tok, &chat, LLAMA2_CHAT_COMPLETE, NULL, NULL, 0, &n);
    free(ids);
}

/* Never Llama 3's 128000 lines: refused at the latest when all lines are read and their merges found. */
static void check_tiktoken(llama2_context *ctx, const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *file = malloc(256 * 16 + size);
    size_t n = 0;
    llama2_tokenizer *tok;
    for (int i = 0; i < 256; ++i) n += (size_t)sprintf(file + n, "%c%c== %d\n", digits[i >> 2], digits[i << 4 & 63], i);
    memcpy(file + n, data, size);
    require(llama2_tokenizer_load_memory(ctx, file, n + size, NULL, &tok) < 0 && tok == NULL && llama2_last_error()[0],
            "tiktoken");
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    llama2_context_options options;
    llama2_context *ctx;
    llama2_tokenizer *tok = NULL;
    if (size < 2) return 0;
    size_t model = (size_t)data[0] | (size_t)data[1] << 8;
    int tiktoken = model == 65535;
    if (model > size - 2) model = size - 2;
    llama2_context_options_init(&options, sizeof options);
    options.n_threads = 1;
    require(llama2_context_create(&options, &ctx) == LLAMA2_OK, "context");
    if (model == 0) tok = fixed_vocabulary(ctx);
    if (tiktoken) check_tiktoken(ctx, data + 2, size - 2);
    if (model > 0 && llama2_tokenizer_load_memory(ctx, data + 2, model, NULL, &tok) < 0)
        require(tok == NULL && llama2_last_error()[0], "a failure without a message");
    if (tok) check_text(tok, (const char *)data + 2 + model, size - 2 - model);
    llama2_tokenizer_free(tok);
    llama2_context_free(ctx);
    return 0;
}
