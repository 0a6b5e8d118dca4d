/* What a KV cache depends on: the config, and a sample of each tensor. Training changes every weight of a tensor. */
#include "model/model.h"

#include "base/alloc.h"
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

/* Three rows of a matrix, all of a gain, as the numbers that products see: the same whether they are converted or as
 * stored. */
static llama2_status of_param(const llama2_model *m, const l2_param *p, void *room, uint32_t *crc)
{
    int64_t n = p->decay ? 1 : p->rows, last = p->rows - n;
    for (int64_t k = 0; k < (p->decay ? 3 : 1); k++) {
        L2_TRY(l2_model_read_rows(m, p, last * k / 2, n, m->dtype, room));
        *crc = l2_crc32c(*crc, room, (size_t)(n * p->columns) * l2_dtype_size(m->dtype));
    }
    return LLAMA2_OK;
}

llama2_status l2_model_fingerprint(const llama2_model *m, uint64_t *out)
{
    llama2_status status = LLAMA2_OK;
    uint32_t crc = l2_crc32c(0, &m->dtype, sizeof m->dtype);
    int64_t longest = 0;
    void *room;
    for (int32_t i = 0; i < m->n_params; i++) {
        int64_t n = m->params[i].decay ? m->params[i].columns : m->params[i].rows;
        if (n > longest) longest = n;
    }
    L2_TRY(l2_scratch_get(m->ctx, (size_t)longest * l2_dtype_size(m->dtype), &room));
    for (int32_t i = 0; i < m->n_params && status >= 0; i++) status = of_param(m, &m->params[i], room, &crc);
    l2_scratch_put(m->ctx, room);
    *out = (uint64_t)of_config(&m->config) << 32 | crc;
    return status;
}
