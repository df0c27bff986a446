/* steps.log: the run as a few bytes a step (DESIGN promise 4; MeZO, section 2.1: a run is its
 * seeds and projected gradients).  The log and the base model suffice to rebuild the weights of
 * every step, without data and without a forward pass.
 *
 * Little endian.  Header of H bytes:
 *
 *   0  8  magic "zoftlog\n"
 *   8  4  version (2 to 5)      12 4  H, a multiple of 4, at most ZF_LOG_MAXHEAD
 *  16  4  bytes of a record     20 4  probes q
 *  24  8  seed                  32 8  eps (f64)
 *  40  8  weight decay (f64)    48 4  direction (enum zf_noise_kind)   52 4  noise id (ZF_NOISE_ID)
 *  56 16  arithmetic of the products, zero-padded text ("f32")
 *  72 16  hash of the base weights as held (XXH3-128, big-endian digest): names, dtypes, values
 *  88 16  hash of the data files    104 16  hash of the settings a run keeps (conf.h: `later`)
 * 120 16  hash of the tokenizer files
 * 136  8  dtype that trained weights are held in, zero-padded text; "scales" or "integers": the base is a
 *         GGUF file that is trained itself (model.h, enum zf_blocks), other trained weights are f32
 * 144  8  dtype of the others; empty: the file's
 * 152  4  bytes of the text that follows
 * 156     globs over tensor names that choose the trained parameters, one a line; zeros up to H - 4,
 *         or to H - 20 where the base has a new head (model.h: labels)
 * H-20 4  its labels           H-16 4  enum zf_problem          H-12 8  its seed
 * H-4  4  CRC-32C of the header before it
 *
 * A run with directions by example or another rule than SGD has version 3, which programs that know
 * neither refuse.  Its header has 40 bytes more, which end at H - 4, or at H - 20 with a new head:
 *
 *   0  8  examples n of a batch; 0: one direction for the batch     8 4  enum zf_zo_rule     12 4  zero
 *  16  8  beta1 (f64)           24 8  beta2 (f64)           32 8  adam_eps (f64); all 0 with SGD
 *
 * A run that trains an adapter over the base has version 4: these 40 bytes always, and in front of them
 *
 *   0 16  hash of the adapter with which the run begins: names, dtypes, values
 *  16  4  enum zf_adapter_train: the parts that are trained      20  4  zero
 *
 * Its records' hashes are of the adapter alone.
 *
 * Other directions, differences or rules (zo.h) have version 5: the 24 bytes of an adapter always, zeros
 * where there is none, and in front of them 80 bytes of the method:
 *
 *   0  4  enum zf_zo_form     4  4  enum zf_zo_difference     8  8  rank       16  8  refresh
 *  24  8  keep (f64)         32  8  alpha                    40  8  cone       48  8  clip
 *  56  8  trust              64  4  window                   68 12  zeros
 *
 * Then records of one size, 36 + 24 q + 4 q n bytes (60 at q = 1, n = 0), of two kinds:
 *
 *   0  4  step (1, 2, ...)       4  4  kind (enum zf_log_kind)
 *
 *      a step                                    a mark
 *   8  8  seed                                   8 16  hash of all weights after that step, as held
 *  16  8  lr (f64)                              24  8  end of a run: 1 + the step whose weights
 *  24  8  batch: place of its first example            are its result; else 0
 *  32 24q loss at +eps, at -eps, projected
 *         gradient g (f64 each) of each probe
 *    4qn  g_pi (f32) of each example of the
 *         first probe, of the second, ...
 *
 *  32+24q+4qn  4  CRC-32C of the record so far, begun with the header's CRC
 *
 * With version 5 a step's record has from byte 32 on its losses (f64 each), in the order of the difference,
 * then its terms: a coefficient (f64; f32 where directions are by example) of each direction in order; or,
 * where a method uses directions of other steps, 16 bytes a term: coefficient (f64), step (4), probe (2),
 * 1 + example or 0 (2).
 *
 * seed, step, lr and the g's rebuild the update of the step (zo.h): all g_p, or all g_pi.  Steps have no gaps.  A mark follows its step, at keyframes and at the end of a run.  The header has
 * the run's seed and eps; the first records of a branch (zoft train --fork) come from another run
 * and may have others.
 *
 * A record is written (write) before the weights it describes change: a log is never behind a
 * checkpoint, and a process that is killed loses only the current step.  It is synced to the disk
 * (fdatasync) as soon as that takes at most a hundredth of the run's time: at once where steps are
 * long, after a few steps where they are short; and at every keyframe, checkpoint and end. */
#ifndef ZF_TRAIN_STEPLOG_H
#define ZF_TRAIN_STEPLOG_H

#include <stdint.h>

#include "base/cplusplus.h"
#include "fmt/problem.h"
#include "zo/zo.h"

ZF_BEGIN_DECLS

enum {
  ZF_NOISE_ID = 2 /* version of z as rng/noise.h describes it */,
  ZF_LOG_MAXHEAD = 8192,
  ZF_LOG_GLOBS = 4096
};

struct zf_log_head {
  struct zf_zo zo;
  double decay;
  char kernels[17];
  char base[33], data[33], config[33], tok[33]; /* hex */
  int trained, others; /* enum zf_dtype of trained weights, of the rest; others -1: as stored */
  int blocks;          /* enum zf_blocks of a GGUF base that is trained itself */
  int64_t labels;      /* of a new head; 0: the base's head is used */
  int problem;         /* enum zf_problem, with labels */
  uint64_t head_seed;
  char adapter
      [33]; /* hash of the adapter at the start, hex; empty: the base's weights are trained */
  int adapter_train;        /* enum zf_adapter_train */
  char globs[ZF_LOG_GLOBS]; /* a line each, the last one without a line break */
};

enum zf_log_kind { ZF_LOG_STEP, ZF_LOG_MARK };

struct zf_log_rec {
  enum zf_log_kind kind;
  uint32_t step;
  uint64_t seed, batch; /* of a step */
  double lr;
  char hash[33];   /* of a mark */
  uint64_t result; /* of a mark: end of a run, see above */
};

struct zf_log;

/* Creates a log with this header, which is written under another name and renamed.  ZF_EIO. */
int zf_log_create(struct zf_log **out, const char *path, const struct zf_log_head *head);
/* Opens a log to append, cut to its first `size` bytes.  ZF_EIO: another process writes it. */
int zf_log_reopen(struct zf_log **out, const char *path, const struct zf_log_head *head,
                  int64_t size);
/* Appends a record by write(); estimate: of a step, NULL for a mark.  After ZF_EIO the file ends with a
 * complete record, unless cutting it back fails, too. */
int zf_log_append(struct zf_log *log, const struct zf_log_rec *rec,
                  const struct zf_zo_estimate *estimate);
/* Syncs the log to the disk; _maybe only where the cost is within its share of the time. */
int zf_log_sync(struct zf_log *log);
int zf_log_sync_maybe(struct zf_log *log);
int zf_log_close(struct zf_log *log);               /* syncs; takes NULL */
int64_t zf_log_record_size(const struct zf_zo *zo); /* of a log with this header's zo */
int64_t zf_log_head_size(const struct zf_log_head *head);
uint32_t zf_log_head_id(const struct zf_log_head *head); /* its CRC: names the log */

/* Opens a log and reads its header.  ZF_EINVALID: the header is damaged, or of another version. */
struct zf_log_reader;
int zf_log_open(struct zf_log_reader **out, const char *path, struct zf_log_head *head);
/* The same from memory, which outlives the reader; `name` is for messages. */
int zf_log_parse(struct zf_log_reader **out, const void *data, size_t len, const char *name,
                 struct zf_log_head *head);
/* Reads the next record; of a step also the estimate.  *more = 0 at a clean end.  ZF_EINVALID: the record is torn or damaged; the message names its number and byte. */
int zf_log_next(struct zf_log_reader *reader, struct zf_log_rec *rec,
                const struct zf_zo_estimate *estimate, int *more);
int64_t zf_log_offset(const struct zf_log_reader *reader); /* byte where the next record begins */
uint32_t zf_log_id(const struct zf_log_reader *reader);    /* the header's CRC */
/* After an error of zf_log_next: 1 where the bad record is a torn tail: no good record follows. */
int zf_log_torn(const struct zf_log_reader *reader);
void zf_log_reader_free(struct zf_log_reader *reader); /* takes NULL */

ZF_END_DECLS

#endif
