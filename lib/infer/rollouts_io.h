/* Rollouts in a state file: a chunk of kind "rollouts", on its own or in a checkpoint. */
#ifndef L2_INFER_ROLLOUTS_IO_H
#define L2_INFER_ROLLOUTS_IO_H

#include "format/checkpoint.h"
#include "infer/rollouts.h"

#define L2_ROLLOUTS_KIND "rollouts"
enum { L2_ROLLOUTS_VERSION = 1 };

/* A whole chunk, begin to end. */
llama2_status l2_rollouts_write(const llama2_rollouts *rollouts, l2_state_writer *writer, const char *name);
llama2_status l2_rollouts_read(llama2_context *ctx, const l2_state_reader *reader, const char *name,
                               llama2_rollouts **out);

/* A file with this one chunk. */
llama2_status l2_rollouts_save(const llama2_rollouts *rollouts, const char *path);
llama2_status l2_rollouts_load(llama2_context *ctx, const char *path, llama2_rollouts **out);

#endif
