/* A hash of texts with a secret. Whoever does not know that can't make a file of texts that collide; no result depends
 * on it, only the time that such a file takes. */
#ifndef L2_BASE_HASH_H
#define L2_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A hash of v under h, which begins as the secret. Two products: after one a difference in the highest bits of v is
 * known whatever h is, and the next v could undo it. */
static inline uint64_t l2_hash_mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15);
    return (h ^ (h >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
}

static inline uint64_t l2_hash_text(uint64_t secret, const char *text, size_t n)
{
    uint64_t h = n ^ secret, v;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&v, text + i, 8);
        h = l2_hash_mix(h, v);
    }
    v = 0;
    for (size_t k = 0; i + k < n; ++k) v |= (uint64_t)(unsigned char)text[i + k] << (8 * k);
    if (i < n) h = l2_hash_mix(h, v);
    return h ^ (h >> 32);
}

/* A new secret, for `owner`. */
uint64_t l2_hash_secret(const void *owner);

#endif
