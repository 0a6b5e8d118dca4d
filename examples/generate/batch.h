/* llama2-generate --data: many prompts at once. */
#ifndef EXAMPLES_GENERATE_BATCH_H
#define EXAMPLES_GENERATE_BATCH_H

#include "common/stream.h"

typedef struct batch_settings {
    args_list data;  /* files of prompts */
    int64_t samples; /* of each prompt */
    bool chat;       /* prompts are dialogues, else text to go on from */
} batch_settings;

/* Samples from all prompts; a line of JSON for each sample, in the order of the prompts, as they are done. */
bool batch_generate(stream *g, const batch_settings *set);

#endif
