/* A session's state: what it has read, its logits, its cache. */
#ifndef L2_INFER_SESSION_IO_H
#define L2_INFER_SESSION_IO_H

#include "format/checkpoint.h"
#include "infer/session.h"

/* Into a writer that was just made by l2_state_create or l2_state_create_memory; it is spent either way. */
llama2_status l2_session_write(const llama2_session *session, l2_state_writer *writer);

/* A new session of the model. `data` NULL: the file `path`. */
llama2_status l2_session_read(llama2_model *model, const char *path, const void *data, size_t size,
                              llama2_session **out);

#endif
