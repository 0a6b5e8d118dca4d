#include "base/options.h"

#include <llama2/llama2.h>
#include <string.h>

/* A struct_size above this was never set: it is not followed into memory that isn't the caller's. */
enum { MOST_BYTES = 65536 };

/* The reserved fields of what hosts fill in: 0, so that they can be given a meaning. tests/abi/test_struct_size.c
 * knows when one is missing. */
#define RESERVED(type)                                                                                                 \
    {                                                                                                                  \
#type, offsetof(type, reserved)                                                                                \
    }
static const struct {
    const char *name;
    size_t at; /* of an int32_t */
} reserved[] = {
    RESERVED(llama2_comparisons_options),
    RESERVED(llama2_config),
    RESERVED(llama2_convert_options),
    RESERVED(llama2_gatt_options),
    RESERVED(llama2_host_file),
    RESERVED(llama2_model_options),
    RESERVED(llama2_optimizer_options),
    RESERVED(llama2_pool_add_options),
    RESERVED(llama2_ppo_options),
    RESERVED(llama2_preference),
    RESERVED(llama2_preferences_sample_options),
    RESERVED(llama2_rollout_options),
};

void l2_options_init(void *options, size_t size, const void *defaults, size_t known)
{
    if (!options || size < sizeof(uint32_t)) return;
    uint32_t struct_size = (uint32_t)size;
    memset(options, 0, size);
    memcpy(options, defaults, size < known ? size : known);
    memcpy(options, &struct_size, sizeof struct_size);
}

static llama2_status check_size(uint32_t size, const char *name)
{
    if (size >= 8 && size <= MOST_BYTES && size % 8 == 0) return LLAMA2_OK;
    return l2_fail(LLAMA2_E_ABI,
                   "%s: struct_size is %u; set it to sizeof(%s), as its init function does where it has one", name,
                   size, name);
}

static llama2_status check_reserved(const unsigned char *options, uint32_t size, const char *name)
{
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        int32_t value = 0;
        if (strcmp(reserved[i].name, name) != 0) continue;
        if (reserved[i].at < size) memcpy(&value, options + reserved[i].at, sizeof value);
        if (value) return l2_fail(LLAMA2_E_ABI, "%s: reserved is %d, expected 0", name, (int)value);
    }
    return LLAMA2_OK;
}

llama2_status l2_options_read(const void *options, void *full, size_t known, const char *name)
{
    uint32_t size;
    if (!options) return LLAMA2_OK;
    memcpy(&size, options, sizeof size);
    L2_TRY(check_size(size, name));
    const unsigned char *bytes = options;
    for (size_t i = known; i < size; i++)
        if (bytes[i])
            return l2_fail(LLAMA2_E_ABI,
                           "%s: byte %zu is set, this library knows %zu bytes: the program was built for a newer one",
                           name, i, known);
    L2_TRY(check_reserved(bytes, size, name));
    uint32_t own = (uint32_t)known;
    memcpy(full, options, size < known ? size : known);
    memcpy(full, &own, sizeof own);
    return LLAMA2_OK;
}

llama2_status l2_struct_check(const void *out, const char *name)
{
    uint32_t size;
    if (!out) return LLAMA2_OK;
    memcpy(&size, out, sizeof size);
    return check_size(size, name);
}

llama2_status l2_struct_write(void *out, const void *full, size_t known, const char *name)
{
    uint32_t size;
    if (!out) return l2_fail(LLAMA2_E_INVALID, "%s: the struct to write is NULL", name);
    memcpy(&size, out, sizeof size);
    L2_TRY(check_size(size, name));
    memset((char *)out + sizeof size, 0, size - sizeof size);
    memcpy((char *)out + sizeof size, (const char *)full + sizeof size, (size < known ? size : known) - sizeof size);
    return LLAMA2_OK;
}
