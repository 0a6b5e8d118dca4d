/* A session's state: what it has read, its logits, its cache. */
#ifndef L2_INFER_SESSION_IO_H
#define L2_INFER_SESSION_IO_H

#include "format/checkpoint.h"
#include "infer/session.h"

/* `path` NULL: into the buffer, as l2_state_create_memory does. */
llama2_status l2_session_write(const llama2_session *session, const char *path, void *buffer, size_t capacity,
                               size_t *needed);

/* A new session of the model. `data` NULL: the file `path`. */
llama2_status l2_session_read(llama2_model *model, const char *path, const void *data, size_t size,
                              llama2_session **out);

#endif
