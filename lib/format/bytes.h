/* Little-endian numbers in byte order of the file, whatever the alignment. */
#ifndef L2_FORMAT_BYTES_H
#define L2_FORMAT_BYTES_H

#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the file formats store arrays as they lie in the memory of a little-endian machine"
#endif

static inline uint32_t l2_get_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t l2_get_u64(const unsigned char *p)
{
    return l2_get_u32(p) | (uint64_t)l2_get_u32(p + 4) << 32;
}

static inline void l2_put_u32(unsigned char *p, uint32_t value)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(value >> 8 * i);
}

static inline void l2_put_u64(unsigned char *p, uint64_t value)
{
    l2_put_u32(p, (uint32_t)value);
    l2_put_u32(p + 4, (uint32_t)(value >> 32));
}

#endif
