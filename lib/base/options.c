#include "base/options.h"

#include <string.h>

/* A struct_size above this was never set: it is not followed into memory that isn't the caller's. */
enum { MOST_BYTES = 65536 };

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
    return l2_fail(LLAMA2_E_ABI, "%s: struct_size is %u; set it to sizeof(%s) or call its init function", name, size,
                   name);
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
