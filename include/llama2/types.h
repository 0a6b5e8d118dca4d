/*
 * libllama2: what every other header needs: version, status codes, data types, the rules of the ABI.
 *
 * Conventions that hold for every function of the library:
 *
 * - A function that can fail returns llama2_status: 0 (LLAMA2_OK) or a negative code whose value never changes;
 *   llama2_last_error() then says what went wrong and what would have been right. On failure outputs are untouched,
 *   with three exceptions: a handle output is set to NULL; a call that failed at work (NOMEM, CANCELLED, LIMIT) may
 *   have filled a part of an array; with LLAMA2_E_BUFFER *needed is set, and what the buffer holds is not defined.
 * - Handles are opaque. llama2_x_free(NULL) does nothing. Children hold references on their parents, so handles can
 *   be freed in any order.
 * - An options struct begins with `uint32_t struct_size`. Fill it with llama2_x_options_init(&o, sizeof o), then
 *   change what you want; passing NULL as `options` or `sampling` means all defaults. Structs only ever grow at their
 *   end; the library reads the bytes that both sides know and refuses (LLAMA2_E_ABI) a newer caller's non-zero field
 *   that it does not know.
 * - Text is UTF-8, given as pointer and length. A path is not empty; relative ones begin in the current folder.
 * - Buffers are (buffer, capacity, *needed). *needed (may be NULL) is what the whole takes. A capacity that is below it
 *   is LLAMA2_E_BUFFER, but buffer NULL with capacity 0 only counts and is LLAMA2_OK.
 * - Unless stated otherwise a handle may be used by one thread at a time; different handles, and one model that is not
 *   being trained, may be used by many threads at once.
 * - A callback that reports progress or reads a file runs in the middle of a call. It may cancel the context, and read
 *   other handles. With the handles of the running call it may do nothing, but use a model that is not being trained;
 *   calls that would change them return LLAMA2_E_BUSY where the library can tell. It frees none of them, and does not
 *   drop the last reference to a model, tokenizer or context that they need. One that allocates, logs or runs tasks
 *   calls nothing of the library.
 * - The library never prints, exits, aborts, installs signal handlers, reads the locale or keeps global state.
 */
#ifndef LLAMA2_TYPES_H
#define LLAMA2_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifndef LLAMA2_API
#if defined(LLAMA2_BUILDING) && defined(__GNUC__)
#define LLAMA2_API __attribute__((visibility("default")))
#else
#define LLAMA2_API
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this header. llama2_version() tells that of the library that is loaded. */
enum { LLAMA2_VERSION_MAJOR = 0, LLAMA2_VERSION_MINOR = 1, LLAMA2_VERSION_PATCH = 0 };

/* "0.1.0"; static storage. Since 0.1. */
LLAMA2_API const char *llama2_version(void);

/* 0 or one of the negative codes below. */
typedef int32_t llama2_status;

enum {
    LLAMA2_OK = 0,
    LLAMA2_E_NOMEM = -1,       /* an allocation failed */
    LLAMA2_E_INVALID = -2,     /* an argument is out of its range, or NULL where it may not be */
    LLAMA2_E_IO = -3,          /* the operating system refused a file operation */
    LLAMA2_E_FORMAT = -4,      /* malformed input */
    LLAMA2_E_TRUNCATED = -5,   /* input ends too early */
    LLAMA2_E_LIMIT = -6,       /* input exceeds a documented limit */
    LLAMA2_E_UNSUPPORTED = -7, /* well-formed, but not something this build can do */
    LLAMA2_E_MISMATCH = -8,    /* two things do not fit each other (a tensor's shape and the config, two models) */
    LLAMA2_E_CORRUPT = -9,     /* a checksum does not match */
    LLAMA2_E_BUSY = -10,       /* the handle is in use in a way that excludes this call; a file is being written */
    LLAMA2_E_STATE = -11,      /* the call is not possible in the handle's present state */
    LLAMA2_E_USER = -12,       /* a callback of the host returned non-zero */
    LLAMA2_E_CANCELLED = -13,  /* llama2_context_cancel() was called */
    LLAMA2_E_NUMERIC = -14,    /* a loss or gradient was not finite */
    LLAMA2_E_ABI = -15,        /* struct_size is wrong, or an unknown or reserved field is set */
    LLAMA2_E_NOT_FOUND = -16,  /* no such file, tensor, step, name */
    LLAMA2_E_BUFFER = -17,     /* the caller's buffer is too small; *needed says how much */
    LLAMA2_E_FORKED = -18,     /* the context was made before fork() */
    LLAMA2_E_CONTEXT = -19,    /* the sequence would exceed the model's context length */
    LLAMA2_E_INJECTION = -20   /* chat markers in user content */
};

/* Name of a status, "LLAMA2_E_IO"; static storage; never NULL. Since 0.1. */
LLAMA2_API const char *llama2_status_name(llama2_status status);

/*
 * The message of the last failing call on this thread; "" if there was none. The pointer stays valid for the thread's
 * life, the text until the next call of the library on the same thread: one that succeeds may have got over a failure
 * of its own (a damaged checkpoint that was passed over), whose message is left. Since 0.1.
 */
LLAMA2_API const char *llama2_last_error(void);

/* Element types of tensors. */
enum { LLAMA2_F32 = 0, LLAMA2_F64 = 1, LLAMA2_BF16 = 2, LLAMA2_F16 = 3 };
/* Types of weights in blocks, which only GGUF files have. */
enum { LLAMA2_Q8_0 = 4, LLAMA2_Q4_0 = 5, LLAMA2_Q4_K = 6, LLAMA2_Q6_K = 7 };

/* Reads `length` bytes from `offset` on into `buffer`; what is asked for lies within the file. 0, or any other number
 * to end the call with LLAMA2_E_USER. Called from the thread of the call. */
typedef int32_t (*llama2_read_fn)(void *user, uint64_t offset, uint64_t length, void *buffer);

/* A file that is the host's: in its memory (a model linked into the program, say), or read by its callback (from an
 * archive, over a network, decrypted). Set struct_size, the rest to zero, then these; both of data and read, or
 * neither, is INVALID where there are bytes. */
typedef struct llama2_host_file {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    uint64_t size;    /* bytes */
    const void *data; /* all of them; NULL: `read` is called, for pieces in rising order */
    llama2_read_fn read;
    void *user;
} llama2_host_file;

typedef struct llama2_context llama2_context;
typedef struct llama2_tokenizer llama2_tokenizer;
typedef struct llama2_model llama2_model;
typedef struct llama2_session llama2_session;
typedef struct llama2_optimizer llama2_optimizer;
typedef struct llama2_reward_model llama2_reward_model;
typedef struct llama2_trainer llama2_trainer;
typedef struct llama2_packer llama2_packer;
typedef struct llama2_rollouts llama2_rollouts;
typedef struct llama2_pool llama2_pool;
typedef struct llama2_preferences llama2_preferences;
typedef struct llama2_comparisons llama2_comparisons;
typedef struct llama2_gatt llama2_gatt;
typedef struct llama2_mixture llama2_mixture;
typedef struct llama2_shards llama2_shards;
typedef struct llama2_checkpoint llama2_checkpoint;

#ifdef __cplusplus
}
#endif

#endif
