/*
 * A step's folder has a Hugging Face folder for each trainer and a file "state" with a chunk "trainer" for each,
 * "rollouts" and "bytes".
 *
 * Chunk "trainer": u32 dtype, u32 bad updates in a row, u64 elements, i64 updates of the optimizer, i64 step, i64
 * tokens, i64 bad updates; m, then v; for a model in double the weights too, since the folder's are fp32, else those of
 * a value head, which counts among the elements; at the end a value head's f64 shift and scale. Options are not in it:
 * they are the host's.
 */
#include "train/resume.h"
#include "base/alloc.h"
#include "infer/rollouts_io.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { TRAINER_VERSION = 1, BYTES_VERSION = 1, MAX_NAME = 64 };
static const char trainer_kind[] = "trainer", bytes_kind[] = "bytes", state_name[] = "state";

/* --- writing --------------------------------------------------------------------------------- */

static llama2_status check_name(const char *name)
{
    size_t length = strlen(name);
    size_t good = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    if (length >= 1 && length <= MAX_NAME && good == length) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_INVALID, "checkpoint: \"%.64s\" is no name: 1 to %d of A-Z a-z 0-9 - _", name, MAX_NAME);
}

/* A trainer's becomes a folder's: these letters can't leave it, but could hit a file of ours. */
static llama2_status check_trainer_name(const char *name)
{
    L2_TRY(check_name(name));
    if (strcmp(name, state_name) != 0 && strcmp(name, "MANIFEST") != 0) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_INVALID, "checkpoint: a trainer can't be named \"%s\", a file of the checkpoint is", name);
}

llama2_status l2_resume_begin(llama2_context *ctx, const char *root, int64_t step, llama2_checkpoint **out)
{
    llama2_status status = LLAMA2_OK;
    llama2_checkpoint *checkpoint = NULL;
    char *path = NULL;
    *out = NULL;
    L2_TRY(l2_calloc(ctx, 1, sizeof *checkpoint, &checkpoint));
    checkpoint->ctx = l2_context_retain(ctx);
    checkpoint->writing = 1;
    checkpoint->step = step;
    L2_CHECK(l2_checkpoint_begin(ctx, root, step, &checkpoint->folder));
    L2_CHECK(l2_path_join(ctx, checkpoint->folder.path, state_name, &path));
    L2_CHECK(l2_state_create(ctx, path, &checkpoint->state));
    *out = checkpoint;
    checkpoint = NULL;
done:
    l2_free(ctx, path);
    l2_resume_free(checkpoint);
    return status;
}

static llama2_status check_writing(const llama2_checkpoint *checkpoint)
{
    if (!checkpoint->writing)
        return l2_fail(LLAMA2_E_STATE,
                       "checkpoint: it was opened for reading; llama2_checkpoint_begin makes one to write");
    if (checkpoint->committed) return l2_fail(LLAMA2_E_STATE, "checkpoint: it has been committed already");
    if (checkpoint->failed)
        return l2_fail(LLAMA2_E_STATE, "checkpoint: an earlier call on it failed: free it and begin again");
    return l2_checkpoint_check(&checkpoint->folder);
}

/* An arena of the trainer, as it is. */
static llama2_status write_arena(l2_state_writer *w, int32_t dtype, const void *arena, int64_t n)
{
    if (dtype == LLAMA2_F32) return l2_state_f32s(w, arena, (size_t)n);
    for (int64_t i = 0; i < n; i++) L2_TRY(l2_state_f64(w, ((const double *)arena)[i]));
    return LLAMA2_OK;
}

/* The weights that the folder does not have to the bit: those of a value head, or all. */
static l2_tensor not_in_folder(const llama2_trainer *t)
{
    const llama2_model *model = t->model;
    int64_t first = model->dtype == LLAMA2_F32 ? model->n_elements : 0;
    char *weights = model->weights;
    return l2_tensor_1d(model->dtype, weights + (size_t)first * l2_dtype_size(model->dtype), t->n_elements - first);
}

static llama2_status write_trainer(llama2_checkpoint *checkpoint, const char *name, const llama2_trainer *t)
{
    l2_state_writer *w = &checkpoint->state;
    const llama2_model *model = t->model;
    const llama2_optimizer *o = t->optimizer;
    char *path;
    L2_TRY(l2_path_join(checkpoint->ctx, checkpoint->folder.path, name, &path));
    llama2_status status = l2_model_write(model, path, LLAMA2_F32, t->reward_model ? t->reward_model->shift : 0,
                                          t->reward_model ? t->reward_model->scale : 1, NULL, NULL);
    l2_free(checkpoint->ctx, path);
    L2_TRY(status);
    L2_TRY(l2_state_begin(w, trainer_kind, name, TRAINER_VERSION, L2_CHUNK_REQUIRED));
    L2_TRY(l2_state_u32(w, (uint32_t)model->dtype));
    L2_TRY(l2_state_u32(w, (uint32_t)t->bad_in_a_row));
    L2_TRY(l2_state_u64(w, (uint64_t)t->n_elements));
    L2_TRY(l2_state_i64(w, o->updates));
    L2_TRY(l2_state_i64(w, t->step));
    L2_TRY(l2_state_i64(w, t->total_tokens));
    L2_TRY(l2_state_i64(w, t->bad_total));
    L2_TRY(write_arena(w, model->dtype, o->m, t->n_elements));
    L2_TRY(write_arena(w, model->dtype, o->v, t->n_elements));
    l2_tensor rest = not_in_folder(t);
    L2_TRY(write_arena(w, model->dtype, rest.data, rest.shape[0]));
    const llama2_reward_model *head = t->options.value_head;
    if (head) {
        L2_TRY(l2_state_f64(w, head->shift));
        L2_TRY(l2_state_f64(w, head->scale));
    }
    return l2_state_end(w);
}

llama2_status l2_resume_add_trainer(llama2_checkpoint *checkpoint, const char *name, const llama2_trainer *trainer)
{
    L2_TRY(check_writing(checkpoint));
    L2_TRY(check_trainer_name(name));
    L2_TRY(l2_context_check(checkpoint->ctx));
    if (trainer->accumulated) {
        return l2_fail(LLAMA2_E_STATE,
                       "checkpoint: trainer \"%s\" has gradients that no update has used; save after "
                       "llama2_trainer_update or llama2_trainer_clear",
                       name);
    }
    L2_TRY(l2_model_enter(trainer->model, L2_READS));
    llama2_status status = write_trainer(checkpoint, name, trainer);
    l2_model_leave(trainer->model, L2_READS);
    if (status < 0) checkpoint->failed = 1;
    return status;
}

llama2_status l2_resume_add_rollouts(llama2_checkpoint *checkpoint, const char *name, const llama2_rollouts *rollouts)
{
    L2_TRY(check_writing(checkpoint));
    L2_TRY(check_name(name));
    llama2_status status = l2_rollouts_write(rollouts, &checkpoint->state, name);
    if (status < 0) checkpoint->failed = 1;
    return status;
}

llama2_status l2_resume_add_bytes(llama2_checkpoint *checkpoint, const char *name, const void *data, size_t size)
{
    L2_TRY(check_writing(checkpoint));
    L2_TRY(check_name(name));
    llama2_status status = l2_state_begin(&checkpoint->state, bytes_kind, name, BYTES_VERSION, L2_CHUNK_REQUIRED);
    if (status >= 0) status = l2_state_bytes(&checkpoint->state, data, size);
    if (status >= 0) status = l2_state_end(&checkpoint->state);
    if (status < 0) checkpoint->failed = 1;
    return status;
}

llama2_status l2_resume_commit(llama2_checkpoint *checkpoint, int32_t keep)
{
    L2_TRY(check_writing(checkpoint));
    if (keep < 2)
        return l2_fail(LLAMA2_E_INVALID, "checkpoint: keep is %" PRId32 ": at least the 2 newest steps stay", keep);
    checkpoint->failed = 1;
    L2_TRY(l2_state_commit(&checkpoint->state));
    L2_TRY(l2_checkpoint_commit(&checkpoint->folder, keep));
    checkpoint->failed = 0;
    checkpoint->committed = 1;
    return LLAMA2_OK;
}

void l2_resume_free(llama2_checkpoint *checkpoint)
{
    if (!checkpoint) return;
    llama2_context *ctx = checkpoint->ctx;
    if (checkpoint->writing) {
        if (checkpoint->state.ctx) l2_state_abort(&checkpoint->state);
        l2_checkpoint_abort(&checkpoint->folder);
    } else {
        l2_state_close(&checkpoint->reader);
        l2_checkpoint_close(&checkpoint->from);
    }
    l2_free(ctx, checkpoint);
    l2_context_release(ctx);
}

/* --- reading --------------------------------------------------------------------------------- */

llama2_status l2_resume_open(llama2_context *ctx, const char *root, int64_t step, llama2_checkpoint **out)
{
    static const l2_chunk_kind known[] = {
        {trainer_kind, TRAINER_VERSION}, {L2_ROLLOUTS_KIND, L2_ROLLOUTS_VERSION}, {bytes_kind, BYTES_VERSION}};
    llama2_status status = LLAMA2_OK;
    llama2_checkpoint *checkpoint = NULL;
    char *path = NULL;
    *out = NULL;
    L2_TRY(l2_calloc(ctx, 1, sizeof *checkpoint, &checkpoint));
    checkpoint->ctx = l2_context_retain(ctx);
    L2_CHECK(l2_checkpoint_open(ctx, root, step, &checkpoint->from));
    checkpoint->step = checkpoint->from.step;
    L2_CHECK(l2_path_join(ctx, checkpoint->from.path, state_name, &path));
    L2_CHECK(l2_state_open(ctx, path, known, sizeof known / sizeof *known, &checkpoint->reader));
    *out = checkpoint;
    checkpoint = NULL;
done:
    l2_free(ctx, path);
    l2_resume_free(checkpoint);
    return status;
}

/* What `add` has put there under this name. */
static llama2_status find(const llama2_checkpoint *checkpoint, const char *kind, const char *name, l2_cursor *c)
{
    const l2_chunk *chunk = l2_state_find(&checkpoint->reader, kind, name);
    if (!chunk)
        return l2_fail(LLAMA2_E_NOT_FOUND, "checkpoint: %s has no %s \"%.64s\"", checkpoint->from.path, kind, name);
    l2_cursor_begin(&checkpoint->reader, chunk, c);
    return LLAMA2_OK;
}

static llama2_status check_reading(const llama2_checkpoint *checkpoint)
{
    if (checkpoint->writing)
        return l2_fail(LLAMA2_E_STATE, "checkpoint: it is being written; llama2_checkpoint_open makes one to read");
    return LLAMA2_OK;
}

typedef struct trainer_head {
    uint32_t dtype, bad_in_a_row;
    uint64_t n_elements;
    int64_t updates, step, total_tokens, bad_total;
    double shift, scale; /* of a value head */
} trainer_head;

/* At the end of the chunk. The cursor is a copy: nothing may change before these are known to be good. */
static llama2_status read_normalisation(l2_cursor c, trainer_head *h)
{
    L2_TRY(l2_cursor_skip(&c, c.size - c.at - 2 * sizeof(double), NULL));
    L2_TRY(l2_cursor_f64(&c, &h->shift));
    L2_TRY(l2_cursor_f64(&c, &h->scale));
    if (isfinite(h->shift) && isfinite(h->scale) && h->scale > 0) return LLAMA2_OK;
    return l2_fail(
        LLAMA2_E_FORMAT,
        "checkpoint: the value head of trainer \"%s\" has shift %g and scale %g; both must be finite, and the "
        "scale above 0",
        c.name, h->shift, h->scale);
}

static llama2_status read_head(l2_cursor *c, const llama2_trainer *t, trainer_head *h)
{
    const llama2_model *model = t->model;
    L2_TRY(l2_cursor_u32(c, &h->dtype));
    L2_TRY(l2_cursor_u32(c, &h->bad_in_a_row));
    L2_TRY(l2_cursor_u64(c, &h->n_elements));
    L2_TRY(l2_cursor_i64(c, &h->updates));
    L2_TRY(l2_cursor_i64(c, &h->step));
    L2_TRY(l2_cursor_i64(c, &h->total_tokens));
    L2_TRY(l2_cursor_i64(c, &h->bad_total));
    if (h->dtype != (uint32_t)model->dtype || h->n_elements != (uint64_t)t->n_elements) {
        return l2_fail(LLAMA2_E_MISMATCH,
                       "checkpoint: trainer \"%s\" has %" PRIu64 " weights of dtype %" PRIu32
                       ", the given one%s %" PRId64 " of dtype %" PRId32,
                       c->name, h->n_elements, h->dtype, t->options.value_head ? ", with its value head," : "",
                       t->n_elements, model->dtype);
    }
    size_t bytes = (size_t)(2 * t->n_elements + not_in_folder(t).shape[0]) * l2_dtype_size(model->dtype) +
                   (t->options.value_head ? 2 * sizeof(double) : 0);
    if (h->bad_in_a_row > INT32_MAX || h->updates < 0 || h->step < 0 || c->size - c->at != bytes) {
        return l2_fail(LLAMA2_E_FORMAT,
                       "checkpoint: the state of trainer \"%s\" has %zu bytes where %zu belong, or a negative count",
                       c->name, c->size - c->at, bytes);
    }
    return t->options.value_head ? read_normalisation(*c, h) : LLAMA2_OK;
}

/* The lengths have been checked, so that no read can fail. */
static llama2_status read_arena(l2_cursor *c, int32_t dtype, void *arena, int64_t n)
{
    if (dtype == LLAMA2_F32) return l2_cursor_f32s(c, arena, (size_t)n);
    for (int64_t i = 0; i < n; i++) L2_TRY(l2_cursor_f64(c, (double *)arena + i));
    return LLAMA2_OK;
}

static llama2_status same_shape(const llama2_model *a, const llama2_model *b, const char *name)
{
    if (a->head_kind == b->head_kind && l2_config_same_shape(&a->config, &b->config)) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_MISMATCH, "checkpoint: the model of trainer \"%s\" has another shape than the given one",
                   name);
}

/* Nothing has changed before this, and nothing in it can fail. */
static llama2_status restore(llama2_trainer *t, const trainer_head *h, const llama2_model *saved, l2_cursor *c)
{
    llama2_model *model = t->model;
    L2_TRY(l2_model_copy(model, saved));
    L2_TRY(read_arena(c, model->dtype, t->optimizer->m, t->n_elements));
    L2_TRY(read_arena(c, model->dtype, t->optimizer->v, t->n_elements));
    l2_tensor rest = not_in_folder(t);
    L2_TRY(read_arena(c, model->dtype, rest.data, rest.shape[0]));
    llama2_reward_model *head = t->options.value_head;
    if (head) {
        head->shift = h->shift;
        head->scale = h->scale;
    }
    t->optimizer->updates = h->updates;
    t->step = h->step;
    t->total_tokens = h->total_tokens;
    t->bad_total = h->bad_total;
    t->bad_in_a_row = (int32_t)h->bad_in_a_row;
    return LLAMA2_OK;
}

llama2_status l2_resume_get_trainer(llama2_checkpoint *checkpoint, const char *name, llama2_trainer *trainer)
{
    llama2_context *ctx = checkpoint->ctx;
    llama2_status status = LLAMA2_OK;
    llama2_model *saved = NULL;
    char *path = NULL;
    trainer_head head;
    l2_cursor c;
    double shift = 0, scale = 1;
    llama2_model_options options;
    L2_TRY(l2_model_options_read(NULL, &options));
    options.dtype = trainer->model->dtype;
    L2_TRY(check_reading(checkpoint));
    L2_TRY(check_trainer_name(name));
    L2_TRY(find(checkpoint, trainer_kind, name, &c));
    L2_TRY(read_head(&c, trainer, &head));
    L2_CHECK(l2_path_join(ctx, checkpoint->from.path, name, &path));
    status = l2_model_read(ctx, path, &options, trainer->model->head_kind, &saved, &shift, &scale);
    llama2_status stands = status == LLAMA2_E_CANCELLED ? LLAMA2_OK : l2_checkpoint_stands(&checkpoint->from);
    if (stands < 0) status = stands;
    if (status < 0) goto done; /* weights of another would not go with the moments of this one */
    L2_CHECK(same_shape(saved, trainer->model, name));
    L2_CHECK(l2_context_check_fork(ctx));
    L2_CHECK(l2_model_enter(trainer->model, L2_CHANGES));
    l2_trainer_forget(trainer);
    status = restore(trainer, &head, saved, &c);
    if (status >= 0 && trainer->reward_model) {
        trainer->reward_model->shift = shift;
        trainer->reward_model->scale = scale;
    }
    l2_model_leave(trainer->model, L2_CHANGES);
done:
    l2_model_release(saved);
    l2_free(ctx, path);
    return status;
}

llama2_status l2_resume_get_rollouts(llama2_checkpoint *checkpoint, const char *name, llama2_rollouts **out)
{
    l2_cursor c;
    *out = NULL;
    L2_TRY(check_reading(checkpoint));
    L2_TRY(find(checkpoint, L2_ROLLOUTS_KIND, name, &c));
    return l2_rollouts_read(checkpoint->ctx, &checkpoint->reader, name, out);
}

llama2_status l2_resume_get_bytes(llama2_checkpoint *checkpoint, const char *name, void *buffer, size_t capacity,
                                  size_t *needed)
{
    l2_cursor c;
    L2_TRY(check_reading(checkpoint));
    L2_TRY(find(checkpoint, bytes_kind, name, &c));
    if (needed) *needed = c.size;
    if (capacity < c.size)
        return l2_fail(LLAMA2_E_BUFFER, "checkpoint: \"%s\" has %zu bytes, the buffer %zu", name, c.size, capacity);
    return l2_cursor_bytes(&c, buffer, c.size);
}
