/* CRC32C (Castagnoli), with the processor's instruction where it has one; and CRC-32 (IEEE 802.3), that of zip files,
 * by tables. */
#ifndef L2_BASE_CHECKSUM_H
#define L2_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin) over `length` bytes. */
uint32_t l2_crc32c(uint32_t crc, const void *data, size_t length);

/* The same without the instruction. */
uint32_t l2_crc32c_portable(uint32_t crc, const void *data, size_t length);

/* As l2_crc32c, with the other polynomial. */
uint32_t l2_crc32(uint32_t crc, const void *data, size_t length);

#endif
