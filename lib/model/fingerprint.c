/* What a KV cache depends on: the config, and a sample of each tensor. Training changes every weight of a tensor. */
#include "model/model.h"

#include "base/checksum.h"

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

/* Three rows of a matrix, all of a gain. */
static uint32_t of_param(uint32_t crc, const llama2_model *m, const l2_param *p)
{
    size_t row = (size_t)p->columns * l2_dtype_size(m->dtype);
    const char *data = l2_param_data(m, p);
    if (!p->decay) return l2_crc32c(crc, data, (size_t)p->rows * row);
    for (int64_t k = 0; k < 3; k++) crc = l2_crc32c(crc, data + (size_t)((p->rows - 1) * k / 2) * row, row);
    return crc;
}

uint64_t l2_model_fingerprint(const llama2_model *m)
{
    uint32_t crc = l2_crc32c(0, &m->dtype, sizeof m->dtype);
    for (int32_t i = 0; i < m->n_params; i++) crc = of_param(crc, m, &m->params[i]);
    return (uint64_t)of_config(&m->config) << 32 | crc;
}
