/* Any format to any other: model and tokenizer together, which no layer below sees both of. */
#ifndef L2_CONVERT_CONVERT_H
#define L2_CONVERT_CONVERT_H

#include "model/model.h"
#include "tokenizer/tokenizer.h"
#include <llama2/convert.h>

/* Options are complete. */
llama2_status l2_convert(llama2_context *ctx, const char *from, const char *to, const llama2_convert_options *options);
llama2_status l2_model_save_gguf(const llama2_model *model, const llama2_tokenizer *tokenizer, const char *path,
                                 const llama2_convert_options *options);

#endif
