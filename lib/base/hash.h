/* Checksums: CRC-32C for records, XXH3-128 for the identity of files and weights. */
#ifndef ZF_BASE_HASH_H
#define ZF_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

/* CRC-32C (Castagnoli, reflected, polynomial 0x1EDC6F41) of `len` bytes,
 * continuing from `crc` (0 to begin).  "123456789" gives 0xE3069283. */
uint32_t zf_crc32c(uint32_t crc, const void *data, size_t len);

/* A 128-bit content hash (XXH3), fed in any number of calls.  Not for security. */
struct zf_hash;
int zf_hash_new(struct zf_hash **out);
void zf_hash_add(struct zf_hash *hash, const void *data, size_t len);
void zf_hash_hex(const struct zf_hash *hash, char out[33]); /* lower-case hex */
void zf_hash_free(struct zf_hash *hash);

/* The hash of a whole file. */
int zf_hash_file(char out[33], const char *path);

ZF_END_DECLS

#endif
