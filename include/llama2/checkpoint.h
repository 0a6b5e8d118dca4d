/*
 * Checkpoints: everything that a run needs to go on bit for bit, in one folder a step, valid only when whole.
 *
 *     root/step-000000000100/MANIFEST            written last; checksums of all files
 *                            <name>/             a Hugging Face folder for each trainer
 *                            state               optimizer states, counters, rollouts, the host's bytes
 *
 * At least two steps are kept; an old one is removed only after the new one has been read back and verified. A root has
 * one writer at a time, in all programs together; readers are many.
 */
#ifndef LLAMA2_CHECKPOINT_H
#define LLAMA2_CHECKPOINT_H

#include "rollouts.h"
#include "trainer.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writing: begin, add what there is under names of the host's choice, commit. A name has 1 to 64 of A-Z a-z 0-9 - _; a
 * trainer's is neither "state" nor "MANIFEST". Trainers, rollouts and bytes have names of their own; one that is used
 * twice for the same kind is INVALID, rollouts with a number that is not finite are NUMERIC, and as after any call that
 * fails at work only llama2_checkpoint_free is left then. A trainer with gradients that no update has used is refused
 * (LLAMA2_E_STATE), which spoils nothing.
 *
 * begin makes the root and the folders above it where they are missing, and removes what was not committed of other
 * checkpoints in the root, as a program that ended leaves it: also that of a handle which is still writing, whose calls
 * are STATE from then on. Freeing without commit leaves no trace; a failure of any call leaves the older checkpoints as
 * they were. Since 0.1.
 */
LLAMA2_API llama2_status llama2_checkpoint_begin(llama2_context *ctx, const char *root, int64_t step,
                                                 llama2_checkpoint **out);
LLAMA2_API llama2_status llama2_checkpoint_add_trainer(llama2_checkpoint *checkpoint, const char *name,
                                                       const llama2_trainer *trainer);
LLAMA2_API llama2_status llama2_checkpoint_add_rollouts(llama2_checkpoint *checkpoint, const char *name,
                                                        const llama2_rollouts *rollouts);
LLAMA2_API llama2_status llama2_checkpoint_add_bytes(llama2_checkpoint *checkpoint, const char *name, const void *data,
                                                     size_t size);
/*
 * Of the valid steps up to this one the `keep` newest stay, at least 2; the older ones are removed. The trainers of one
 * that is open for reading can't be read any more once it is removed or replaced (STATE). Higher steps are not touched:
 * where a run of 300 steps goes back to 100 and commits 150, step -1 goes on opening 300. Resume 150 by its number, or
 * remove those above. Since 0.1.
 */
LLAMA2_API llama2_status llama2_checkpoint_commit(llama2_checkpoint *checkpoint, int32_t keep);

/* Reading: step -1 opens the newest valid one (an invalid newer one is logged as a warning); a named step never falls
 * back. NOT_FOUND when there is none, or for step -1 only damaged ones; where none is valid and there are some that
 * can't be read IO, or UNSUPPORTED if a newer library wrote them: a run must not begin anew for it. Since 0.1. */
LLAMA2_API llama2_status llama2_checkpoint_open(llama2_context *ctx, const char *root, int64_t step,
                                                llama2_checkpoint **out);
LLAMA2_API int64_t llama2_checkpoint_step(const llama2_checkpoint *checkpoint);
/* Weights, optimizer state and counters into a trainer of the same shape, with a value head if that one had one (else
 * MISMATCH); of a reward model and a value head shift and scale too. Options (the learning rate too) are the host's and
 * stay, and so do rope_theta, the scaling of its frequencies, norm_eps, the context length and the tokens that end a
 * text (llama2_model_set_eos_ids) of the model, which are not compared. STATE where the step has been removed or
 * replaced since it was opened: its moments don't go with other weights. On failure the trainer is as it was. These
 * three: NOT_FOUND for a name that has not been added. Since 0.1. */
LLAMA2_API llama2_status llama2_checkpoint_get_trainer(llama2_checkpoint *checkpoint, const char *name,
                                                       llama2_trainer *trainer);
LLAMA2_API llama2_status llama2_checkpoint_get_rollouts(llama2_checkpoint *checkpoint, const char *name,
                                                        llama2_rollouts **out);
LLAMA2_API llama2_status llama2_checkpoint_get_bytes(llama2_checkpoint *checkpoint, const char *name, void *buffer,
                                                     size_t capacity, size_t *needed);
LLAMA2_API void llama2_checkpoint_free(llama2_checkpoint *checkpoint);

#ifdef __cplusplus
}
#endif

#endif
