#include "base/hash.h"
#include <sys/random.h>
#include <time.h>

uint64_t l2_hash_secret(const void *owner)
{
    uint64_t secret;
    struct timespec t;
    if (getrandom(&secret, sizeof secret, GRND_NONBLOCK) == sizeof secret) return secret;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return l2_hash_mix((uint64_t)(uintptr_t)owner, (uint64_t)t.tv_nsec);
}
