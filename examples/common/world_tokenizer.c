#include "common/world.h"

const unsigned char world_tokenizer_model[] = {
#include "common/world_tokenizer.inc"
};
const size_t world_tokenizer_model_size = sizeof world_tokenizer_model;
