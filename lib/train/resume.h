/* What a run needs to go on bit for bit, in the folders of format/checkpoint.h. */
#ifndef L2_TRAIN_RESUME_H
#define L2_TRAIN_RESUME_H

#include "format/checkpoint.h"
#include "infer/rollouts.h"
#include "train/trainer.h"
#include <llama2/checkpoint.h>

struct llama2_checkpoint {
    llama2_context *ctx;
    int writing, failed, committed;
    int64_t step;
    l2_checkpoint_writer folder; /* writing */
    l2_state_writer state;
    l2_checkpoint_reader from; /* reading */
    l2_state_reader reader;
};

llama2_status l2_resume_begin(llama2_context *ctx, const char *root, int64_t step, llama2_checkpoint **out);
llama2_status l2_resume_add_trainer(llama2_checkpoint *checkpoint, const char *name, const llama2_trainer *trainer);
llama2_status l2_resume_add_rollouts(llama2_checkpoint *checkpoint, const char *name, const llama2_rollouts *rollouts);
llama2_status l2_resume_add_bytes(llama2_checkpoint *checkpoint, const char *name, const void *data, size_t size);
llama2_status l2_resume_commit(llama2_checkpoint *checkpoint, int32_t keep);

llama2_status l2_resume_open(llama2_context *ctx, const char *root, int64_t step, llama2_checkpoint **out);
llama2_status l2_resume_get_trainer(llama2_checkpoint *checkpoint, const char *name, llama2_trainer *trainer);
llama2_status l2_resume_get_rollouts(llama2_checkpoint *checkpoint, const char *name, llama2_rollouts **out);
llama2_status l2_resume_get_bytes(llama2_checkpoint *checkpoint, const char *name, void *buffer, size_t capacity,
                                  size_t *needed);
void l2_resume_free(llama2_checkpoint *checkpoint);

#endif
