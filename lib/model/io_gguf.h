/* GGUF files of models: names of their tensors, and writing. Reading: model/model.h. */
#ifndef L2_MODEL_IO_GGUF_H
#define L2_MODEL_IO_GGUF_H

#include "format/gguf.h"
#include "model/model.h"

/* io_gguf.c: what a parameter is called there, of which layer it is, and whether its rows are those of rotary pairs. */
llama2_status l2_gguf_name(const l2_param *param, char name[64], int32_t *layer, int *rotary);
/* What a file says of the model beyond its shape: name, licence and the like, the keys "general.*". */
void l2_gguf_put_general(const l2_gguf *file, l2_gguf_metadata *out);

/* io_gguf_write.c. type: L2_GGML_F32, F16, BF16, Q8_0, Q4_0, Q4_K or Q6_K, what most matrices become. `more`: keys that
 * stand after those of the architecture: general ones, those of a tokenizer, with the ids of special pieces. */
llama2_status l2_model_write_gguf(const llama2_model *model, const char *path, int32_t type,
                                  const l2_gguf_metadata *more, l2_model_step step, void *user);

#endif
