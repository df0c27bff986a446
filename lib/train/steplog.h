/* steps.log: the run as a few bytes a step (DESIGN promise 4; MeZO, section 2.1: a run is its
 * seeds and projected gradients).
 *
 * Little endian.  Header, 160 bytes:
 *
 *   0  8  magic "zoftlog\n"
 *   8  4  version (1)           12 4  bytes of the header (160)
 *  16  4  bytes of a record     20 4  probes q
 *  24  8  seed                  32 8  eps (f64)
 *  40  8  weight decay (f64)    48 4  direction (enum zf_noise_kind)   52 4  noise id (ZF_NOISE_ID)
 *  56 16  kernel family, zero-padded text
 *  72 16  hash of the base weights as held (XXH3-128, big-endian digest)
 *  88 16  hash of the data files     104 16  hash of the resolved config
 * 120 36  zero              156 4  CRC-32C of 0..156
 *
 * Then a record a step, 28 + 24 q bytes (52 at q = 1):
 *
 *   0  4  step (1, 2, ...)       4  8  lr (f64)      12 8  batch: place of its first example (u64)
 *  20  24 q   loss at +eps, loss at -eps, projected gradient g (f64 each) of each probe
 *  20+24q  4  CRC-32C of the record so far, begun with the header's CRC
 *  24+24q  4  zero
 *
 * step, lr and the g's rebuild the update of the step: w -= lr (1/q sum g_p z_p + decay w).  A
 * record is appended before the weights it describes are changed, so a log is never behind a
 * checkpoint. */
#ifndef ZF_TRAIN_STEPLOG_H
#define ZF_TRAIN_STEPLOG_H

#include <stdint.h>
#include <stdio.h>

#include "zo/zo.h"

enum { ZF_NOISE_ID = 2 }; /* what rng/noise.h describes; changes when z does */

struct zf_log_head {
  struct zf_zo zo;
  double decay;
  char kernels[17];
  char base[33], data[33], config[33]; /* hex */
};

struct zf_log_step {
  uint32_t step;
  double lr;
  uint64_t batch;
};

struct zf_log;

/* A new log, its header on disk; ZF_EIO. */
int zf_log_create(struct zf_log **out, const char *path, const struct zf_log_head *head);
/* Appends and hands the record to the system (not synced: zf_log_sync does that). */
int zf_log_append(struct zf_log *l, const struct zf_log_step *step,
                  const struct zf_zo_probe *probe);
int zf_log_sync(struct zf_log *l);
int zf_log_close(struct zf_log *l); /* syncs; takes NULL */
int64_t zf_log_record_size(int probes);

/* Reading, for inspection and replay: `probe` holds head.zo.probes of them.  *more = 0 at the clean
 * end.  A torn or damaged record is ZF_EINVALID and names it. */
struct zf_log_reader;
int zf_log_open(struct zf_log_reader **out, const char *path, struct zf_log_head *head);
/* The same from memory, which outlives the reader; `name` is for messages. */
int zf_log_parse(struct zf_log_reader **out, const void *data, size_t len, const char *name,
                 struct zf_log_head *head);
int zf_log_next(struct zf_log_reader *r, struct zf_log_step *step, struct zf_zo_probe *probe,
                int *more);
void zf_log_reader_free(struct zf_log_reader *r);

#endif
