/* What the files of the step log share: steplog_head.c writes and reads the header, steplog.c the
 * records.  Numbers are little endian. */
#ifndef ZF_TRAIN_STEPLOG_INTERNAL_H
#define ZF_TRAIN_STEPLOG_INTERNAL_H

#include <stdio.h>
#include <string.h>

#include "train/steplog.h"

enum {
  ZF_LOG_VERSION = 2,
  ZF_LOG_RULE_VERSION = 3,    /* the header has the fields of a rule */
  ZF_LOG_ADAPTER_VERSION = 4, /* and those of an adapter */
  ZF_LOG_METHOD_VERSION = 5,  /* and those of a method; records are losses and terms */
  ZF_LOG_TEXT = 156           /* where the header's globs begin */
};

static const char zf_log_magic[8] = "zoftlog\n";

static inline void put(unsigned char *bytes, uint64_t value, int count) {
  for (int i = 0; i < count; i++) bytes[i] = (unsigned char)(value >> 8 * i);
}

static inline void put_f64(unsigned char *bytes, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  put(bytes, bits, 8);
}

/* An empty text gives zeros. */
static inline void put_hex(unsigned char *bytes, const char *hex) {
  for (int i = 0; i < 16; i++) {
    unsigned byte = 0;
    if (hex[0]) sscanf(hex + 2 * i, "%2x", &byte);
    bytes[i] = (unsigned char)byte;
  }
}

static inline void get_hex(char *hex, const unsigned char *bytes) {
  for (int i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

static inline void put_f32(unsigned char *bytes, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  put(bytes, bits, 4);
}

/* The version that a header needs. */
uint32_t zf_log_version_of(const struct zf_log_head *head);

/* Fills bytes[0..ZF_LOG_MAXHEAD) and returns the CRC. */
uint32_t zf_log_make_head(unsigned char *bytes, const struct zf_log_head *head);

/* Reads the fields of a header of `size` bytes whose checksum is right.  Nonzero: they are invalid. */
int zf_log_read_fields(struct zf_log_head *head, const unsigned char *data, size_t size,
                       uint32_t version);

#endif
