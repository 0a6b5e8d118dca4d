/*
 * MANIFEST: what a checkpoint's folder must contain. Text, so that it can be read by eye:
 *
 *     llama2-checkpoint 1
 *     step 100
 *     file <size> <name>       for each file, in the order of names, each once
 *     <8 hexadecimal digits>   CRC32C, for each 4 MiB begun of the file
 *     crc32c <8 digits>        of all that stands above
 */
#ifndef L2_FORMAT_MANIFEST_H
#define L2_FORMAT_MANIFEST_H

#include "base/status.h"

/* Syncs all files and folders in `folder` and writes its MANIFEST, synced too. */
llama2_status l2_manifest_write(llama2_context *ctx, const char *folder, int64_t step);

/* Checks the folder against its MANIFEST: sizes, and with `deep` all bytes. NOT_FOUND without a MANIFEST;
 * CORRUPT, TRUNCATED, FORMAT, IO. */
llama2_status l2_manifest_verify(llama2_context *ctx, const char *folder, int64_t step, int deep);

#endif
