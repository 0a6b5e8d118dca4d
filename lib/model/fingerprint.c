/* What a KV cache depends on: the config, and a sample of each tensor. Training changes every weight of a tensor. */
#include "model/model.h"

#include "base/checksum.h"

enum { SAMPLE = 256 };

/* Trailing zeros are left out: a field that is appended to the struct later, and is 0, changes nothing. */
static uint32_t of_config(const llama2_config *config)
{
    llama2_config c = *config;
    c.struct_size = 0;
    c.max_seq_len = c.bos_id = c.eos_id = c.pad_id = 0;
    c.init_std = 0;
    const unsigned char *bytes = (const unsigned char *)&c;
    size_t n = sizeof c;
    while (n > 0 && bytes[n - 1] == 0) n--;
    return l2_crc32c(0, bytes, n);
}

uint64_t l2_model_fingerprint(const llama2_model *m)
{
    uint32_t crc = l2_crc32c(0, &m->dtype, sizeof m->dtype);
    size_t size = l2_dtype_size(m->dtype);
    for (int32_t i = 0; i < m->n_params; i++) {
        int64_t n = m->params[i].rows * m->params[i].columns, count = n < SAMPLE ? n : SAMPLE;
        for (int64_t k = 0; k < 3; k++) {
            int64_t first = m->params[i].offset + (n - count) / 2 * k;
            crc = l2_crc32c(crc, (const char *)m->weights + (size_t)first * size, (size_t)count * size);
        }
    }
    return (uint64_t)of_config(&m->config) << 32 | crc;
}
