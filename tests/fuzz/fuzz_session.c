/* Any bytes as a session's state, of a small model; the first chunk's checksum and the directory's are put right, so
 * that the fuzzer gets past them. */
#include "base/checksum.h"
#include "format/bytes.h"
#include <llama2/llama2.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static llama2_model *model;

static int set_up(void)
{
    llama2_context *ctx;
    llama2_config c;
    llama2_context_options o;
    llama2_context_options_init(&o, sizeof o);
    o.n_threads = 1;
    llama2_config_init(&c, sizeof c);
    c.vocab_size = 11, c.dim = 8, c.n_layers = 1, c.n_heads = 2, c.n_kv_heads = 1, c.head_dim = 4, c.ffn_dim = 8;
    c.max_seq_len = 80;
    return llama2_context_create(&o, &ctx) == LLAMA2_OK && llama2_model_create(ctx, &c, NULL, &model) == LLAMA2_OK;
}

/* The state of a session of 3 tokens with the fuzzer's bytes over its beginning, or over its end. */
static unsigned char *make(const uint8_t *data, size_t size, size_t *n)
{
    enum { HEADER = 16, FOOTER = 24, TEXT = 3 };
    static const int32_t tokens[TEXT] = {3, 1, 4};
    llama2_session *s;
    unsigned char *bytes = NULL;
    if (llama2_session_create(model, &s) < 0) return NULL;
    if (llama2_session_feed(s, tokens, TEXT) == LLAMA2_OK && llama2_session_save_memory(s, NULL, 0, n) == LLAMA2_OK &&
        (bytes = malloc(*n)))
        llama2_session_save_memory(s, bytes, *n, n);
    llama2_session_free(s);
    if (!bytes || size == 0) return bytes;
    size_t count = size - 1 < *n - HEADER ? size - 1 : *n - HEADER;
    memcpy(data[0] & 1 ? bytes + *n - count : bytes + HEADER, data + 1, count);
    memcpy(bytes + *n - 8, "L2STEND\n", 8);
    uint64_t directory = l2_get_u64(bytes + *n - FOOTER);
    if (directory < HEADER || directory > *n - FOOTER || *n - FOOTER - directory < 32) return bytes;
    uint64_t offset = l2_get_u64(bytes + directory), length = l2_get_u64(bytes + directory + 8);
    if (offset <= directory && length <= directory - offset)
        l2_put_u32(bytes + directory + 24, l2_crc32c(0, bytes + offset, (size_t)((length + 7) / 8 * 8)));
    l2_put_u32(bytes + *n - 12,
               l2_crc32c(l2_crc32c(0, bytes, HEADER), bytes + directory, (size_t)(*n - directory - 12)));
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n;
    llama2_session *s;
    if (!model && !set_up()) return 0;
    unsigned char *bytes = make(data, size, &n);
    int32_t token;
    if (bytes && llama2_session_load_memory(model, bytes, n, &s) == LLAMA2_OK) {
        llama2_session_sample(s, NULL, &token, NULL);
        llama2_session_feed(s, &(int32_t){5}, 1);
        llama2_session_free(s);
    }
    free(bytes);
    return 0;
}
