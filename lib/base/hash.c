#include "base/hash.h"

#include <stdio.h>
#include <xxhash.h>

#include "base/err.h"
#include "base/file.h"

/* Four tables, so that four bytes take one step.  They are made at the first use from the reflected
 * polynomial. */
static uint32_t table[4][256];
static int ready;

static void make_tables(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (0x82F63B78u & (0u - (crc & 1)));
    table[0][i] = crc;
  }
  for (int slice = 1; slice < 4; slice++)
    for (int i = 0; i < 256; i++)
      table[slice][i] = table[slice - 1][i] >> 8 ^ table[0][table[slice - 1][i] & 255];
  __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
}

uint32_t zf_crc32c(uint32_t crc, const void *data, size_t len) {
  /* Two threads may make the tables at the same time: they write the same values. */
  if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) make_tables();
  const unsigned char *bytes = data;
  crc = ~crc;
  for (; len >= 4; len -= 4, bytes += 4) {
    crc ^= (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
    crc = table[3][crc & 255] ^ table[2][crc >> 8 & 255] ^ table[1][crc >> 16 & 255] ^
          table[0][crc >> 24];
  }
  for (; len; len--) crc = crc >> 8 ^ table[0][(crc ^ *bytes++) & 255];
  return ~crc;
}

int zf_hash_new(struct zf_hash **out) {
  XXH3_state_t *state = XXH3_createState();
  *out = (struct zf_hash *)state;
  if (!state) return zf_error(ZF_ENOMEM, "out of memory for a hash state");
  XXH3_128bits_reset(state);
  return 0;
}

void zf_hash_add(struct zf_hash *hash, const void *data, size_t len) {
  XXH3_128bits_update((XXH3_state_t *)hash, data, len);
}

static void to_hex(char out[33], XXH128_hash_t hash) {
  snprintf(out, 33, "%016llx%016llx", (unsigned long long)hash.high64,
           (unsigned long long)hash.low64);
}

void zf_hash_hex(const struct zf_hash *hash, char out[33]) {
  to_hex(out, XXH3_128bits_digest((const XXH3_state_t *)hash));
}

void zf_hash_free(struct zf_hash *hash) {
  XXH3_freeState((XXH3_state_t *)hash);
}

/* The hash of a mapped file.  Its pages are given back as they are read. */
static void hash_map(struct zf_hash *hash, const struct zf_map *map) {
  enum { WINDOW = 4 << 20 };
  for (size_t at = 0, count; at < map->len; at += count) {
    count = map->len - at < WINDOW ? map->len - at : WINDOW;
    zf_hash_add(hash, map->data + at, count);
    zf_map_drop(map, 0, at + count);
  }
}

int zf_hash_file(char out[33], const char *path) {
  struct zf_map map;
  struct zf_hash *hash;
  int rc = zf_map_open(&map, path);
  if (rc) return rc;
  rc = zf_hash_new(&hash);
  if (!rc) {
    hash_map(hash, &map);
    zf_hash_hex(hash, out);
    zf_hash_free(hash);
  }
  zf_map_close(&map);
  return rc;
}
