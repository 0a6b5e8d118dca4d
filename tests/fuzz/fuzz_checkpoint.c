/* Any bytes as a state file. Its checksum of the directory is put right, so that the fuzzer gets past it. */
#include "base/checksum.h"
#include "base/context.h"
#include "format/bytes.h"
#include "format/checkpoint.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static llama2_context *ctx;

static void mend(unsigned char *bytes, size_t size)
{
    enum { HEADER = 16, FOOTER = 24 };
    if (size < HEADER + FOOTER) return;
    memcpy(bytes, "L2STATE\n\1\0\0\0\0\0\0\0", HEADER);
    memcpy(bytes + size - 8, "L2STEND\n", 8);
    uint64_t directory = l2_get_u64(bytes + size - FOOTER);
    if (directory < HEADER || directory > size - FOOTER) return;
    uint32_t crc = l2_crc32c(l2_crc32c(0, bytes, HEADER), bytes + directory, (size_t)(size - directory - 12));
    l2_put_u32(bytes + size - 12, crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const l2_chunk_kind known[] = {{"a", 1}};
    l2_state_reader reader;
    unsigned char *bytes = malloc(size + 1);
    if (!bytes || (!ctx && llama2_context_create(NULL, &ctx) < 0)) {
        free(bytes);
        return 0;
    }
    memcpy(bytes, data, size);
    mend(bytes, size);
    if (l2_state_parse(ctx, bytes, size, known, 1, &reader) == LLAMA2_OK) {
        for (size_t i = 0; i < reader.n_chunks; i++) {
            l2_cursor cursor;
            uint64_t value;
            l2_cursor_begin(&reader, &reader.chunks[i], &cursor);
            while (l2_cursor_u64(&cursor, &value) == LLAMA2_OK) {
            }
        }
        l2_state_close(&reader);
    }
    free(bytes);
    return 0;
}
