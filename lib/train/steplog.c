#include "train/steplog_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"

/* zf_log_sync_maybe waits for this many times the cost of the last sync. */
enum { SYNC_SHARE = 100 };

struct zf_log {
  int fd;
  char *path;
  struct zf_zo zo;
  uint32_t version;
  unsigned char *record; /* bytes of the record that is written */
  uint32_t head_crc;
  int64_t size;        /* bytes of header and complete records */
  int dirty;           /* some bytes are not synced */
  double synced;       /* when the last sync ended */
  double sync_seconds; /* its duration */
};

/* --- writing --- */

static int log_failed(const struct zf_log *log, const char *what) {
  return zf_error(ZF_EIO, "%s: cannot %s: %s", log->path, what, strerror(errno ? errno : EIO));
}

static void log_free(struct zf_log *log) {
  if (log->fd >= 0) close(log->fd);
  free(log->record);
  free(log->path);
  free(log);
}

/* Opens the file, which has its header, to append after its first `size` bytes. */
static int open_end(struct zf_log *log, int64_t size) {
  log->fd = zf_open_fd(log->path, O_WRONLY);
  if (log->fd < 0) return log_failed(log, "open");
  if (flock(log->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
    return zf_error(ZF_EIO, "%s: another process writes it", log->path);
  if (ftruncate(log->fd, (off_t)size) || lseek(log->fd, (off_t)size, SEEK_SET) < 0)
    return log_failed(log, "cut");
  log->size = size;
  log->dirty = 1;
  return zf_log_sync(log);
}

/* size: bytes of an existing log to keep; 0: a new log. */
static int log_make(struct zf_log **out, const char *path, const struct zf_log_head *head,
                    int64_t size) {
  unsigned char bytes[ZF_LOG_MAXHEAD];
  *out = NULL;
  struct zf_log *log = zf_calloc(1, sizeof *log);
  if (!log) return ZF_ENOMEM;
  log->fd = -1;
  log->path = zf_strdup(path);
  log->zo = head->zo;
  log->version = zf_log_version_of(head);
  log->record = zf_malloc((size_t)zf_log_record_size(&log->zo));
  log->head_crc = zf_log_make_head(bytes, head);
  int rc = log->path && log->record ? 0 : ZF_ENOMEM;
  int64_t head_size = zf_log_head_size(head);
  if (!rc && !size) rc = zf_write_file(path, bytes, (size_t)head_size);
  if (!rc) rc = open_end(log, size ? size : head_size);
  if (rc)
    log_free(log);
  else
    *out = log;
  return rc;
}

int zf_log_create(struct zf_log **out, const char *path, const struct zf_log_head *head) {
  return log_make(out, path, head, 0);
}

int zf_log_reopen(struct zf_log **out, const char *path, const struct zf_log_head *head,
                  int64_t size) {
  return log_make(out, path, head, size);
}

/* Writes all bytes; after a failure cuts the file back to its complete records. */
static int write_whole(struct zf_log *log, const unsigned char *bytes, size_t len) {
  int err = zf_write_all(log->fd, bytes, len);
  if (err) {
    errno = err;
    int rc = log_failed(log, "write");
    if (!ftruncate(log->fd, (off_t)log->size)) lseek(log->fd, (off_t)log->size, SEEK_SET);
    return rc;
  }
  log->size += (int64_t)len;
  log->dirty = 1;
  return 0;
}

/* Records of MeZO: both losses and the projected gradient of each probe, then those of examples. */
static void make_probes(unsigned char *bytes, const struct zf_zo_estimate *estimate,
                        const struct zf_zo *zo) {
  unsigned char *examples = bytes + 24 * zo->probes;
  for (int i = 0; i < zo->probes; i++) {
    double plus = estimate->loss[2 * i], minus = estimate->loss[2 * i + 1];
    put_f64(bytes + 24 * i, plus);
    put_f64(bytes + 24 * i + 8, minus);
    put_f64(bytes + 24 * i + 16, zo->examples ? (plus - minus) / (2 * (double)(float)zo->eps)
                                              : estimate->term[i].coefficient);
  }
  for (int64_t i = 0; i < zo->probes * zo->examples; i++)
    put_f32(examples + 4 * i, (float)estimate->term[i].coefficient);
}

/* Losses, then terms. */
static void make_terms(unsigned char *bytes, const struct zf_zo_estimate *estimate,
                       const struct zf_zo *zo) {
  int64_t losses = zf_zo_losses(zo), terms = zf_zo_terms(zo);
  int elsewhere = zf_zo_explicit(zo);
  for (int64_t i = 0; i < losses; i++, bytes += 8) put_f64(bytes, estimate->loss[i]);
  for (int64_t i = 0; i < terms; i++) {
    const struct zf_zo_term *term = &estimate->term[i];
    if (zo->examples) {
      put_f32(bytes, (float)term->coefficient);
      bytes += 4;
      continue;
    }
    put_f64(bytes, term->coefficient);
    bytes += 8;
    if (!elsewhere) continue;
    put(bytes, term->step, 4);
    put(bytes + 4, term->probe, 2);
    put(bytes + 6, term->example, 2);
    bytes += 8;
  }
}

static void make_step(unsigned char *bytes, const struct zf_log_rec *rec,
                      const struct zf_zo_estimate *estimate, const struct zf_log *log) {
  put(bytes + 8, rec->seed, 8);
  put_f64(bytes + 16, rec->lr);
  put(bytes + 24, rec->batch, 8);
  (log->version < ZF_LOG_METHOD_VERSION ? make_probes : make_terms)(bytes + 32, estimate, &log->zo);
}

static void make_mark(unsigned char *bytes, const struct zf_log_rec *rec) {
  put_hex(bytes + 8, rec->hash);
  put(bytes + 24, rec->result, 8);
}

int zf_log_append(struct zf_log *log, const struct zf_log_rec *rec,
                  const struct zf_zo_estimate *estimate) {
  unsigned char *bytes = log->record;
  size_t size = (size_t)zf_log_record_size(&log->zo);
  memset(bytes, 0, size);
  put(bytes, rec->step, 4);
  put(bytes + 4, rec->kind, 4);
  if (rec->kind == ZF_LOG_STEP)
    make_step(bytes, rec, estimate, log);
  else
    make_mark(bytes, rec);
  put(bytes + size - 4, zf_crc32c(log->head_crc, bytes, size - 4), 4);
  return write_whole(log, bytes, size);
}

int zf_log_sync(struct zf_log *log) {
  if (!log->dirty) return 0;
  double start = zf_now();
  int err = zf_sync_fd(log->fd);
  if (err) {
    errno = err;
    return log_failed(log, "sync");
  }
  log->dirty = 0;
  log->synced = zf_now();
  log->sync_seconds = log->synced - start;
  return 0;
}

int zf_log_sync_maybe(struct zf_log *log) {
  return zf_now() - log->synced < SYNC_SHARE * log->sync_seconds ? 0 : zf_log_sync(log);
}

int zf_log_close(struct zf_log *log) {
  if (!log) return 0;
  int rc = zf_log_sync(log);
  log_free(log);
  return rc;
}

/* --- reading --- */

struct zf_log_reader {
  struct zf_map map;
  struct zf_bytes bytes;
  char *path;
  struct zf_zo zo;
  uint32_t version;
  uint32_t head_crc;
  uint32_t step;  /* the last one read */
  int64_t number; /* records read */
};

static int read_head(struct zf_log_reader *reader, struct zf_log_head *head) {
  const unsigned char *data = reader->bytes.data;
  uint32_t version = 0, size = 0, noise = 0;
  memset(head, 0, sizeof *head);
  if (reader->bytes.len < sizeof zf_log_magic ||
      memcmp(data, zf_log_magic, sizeof zf_log_magic) != 0)
    return zf_error(ZF_EINVALID, "%s: is not a step log", reader->path);
  reader->bytes.pos = sizeof zf_log_magic;
  if (zf_bytes_u32(&reader->bytes, &version) || zf_bytes_u32(&reader->bytes, &size) ||
      size > reader->bytes.len)
    return zf_error(ZF_EINVALID, "%s: too short for a step log", reader->path);
  if (version == 1)
    return zf_error(ZF_EINVALID, "%s: version 1: this program reads versions %d to %d",
                    reader->path, ZF_LOG_VERSION, ZF_LOG_METHOD_VERSION);
  if (size < ZF_LOG_TEXT + 4 || size > ZF_LOG_MAXHEAD || size % 4)
    return zf_error(ZF_EINVALID, "%s: the header is damaged (its size)", reader->path);
  reader->bytes.pos = size - 4;
  zf_bytes_u32(&reader->bytes, &reader->head_crc);
  if (reader->head_crc != zf_crc32c(0, data, size - 4))
    return zf_error(ZF_EINVALID, "%s: the header is damaged (checksum)", reader->path);
  reader->bytes.pos = 52;
  zf_bytes_u32(&reader->bytes, &noise);
  reader->bytes.pos = size;
  if (version < ZF_LOG_VERSION || version > ZF_LOG_METHOD_VERSION || noise != ZF_NOISE_ID)
    return zf_error(
        ZF_EINVALID, "%s: version %u, noise %u: this program reads versions %d to %d, noise %d",
        reader->path, version, noise, ZF_LOG_VERSION, ZF_LOG_METHOD_VERSION, ZF_NOISE_ID);
  if (zf_log_read_fields(head, data, size, version))
    return zf_error(ZF_EINVALID, "%s: the header has a field out of range", reader->path);
  reader->zo = head->zo;
  reader->version = version;
  return 0;
}

/* A reader that has no bytes yet. */
static struct zf_log_reader *new_reader(const char *name) {
  struct zf_log_reader *reader = zf_calloc(1, sizeof *reader);
  if (!reader) return NULL;
  reader->path = zf_strdup(name);
  if (reader->path) return reader;
  free(reader);
  return NULL;
}

static int begin(struct zf_log_reader **out, struct zf_log_reader *reader, const void *data,
                 size_t len, struct zf_log_head *head) {
  reader->bytes = (struct zf_bytes){data, len, 0};
  int rc = read_head(reader, head);
  if (rc)
    zf_log_reader_free(reader);
  else
    *out = reader;
  return rc;
}

int zf_log_open(struct zf_log_reader **out, const char *path, struct zf_log_head *head) {
  *out = NULL;
  struct zf_log_reader *reader = new_reader(path);
  if (!reader) return ZF_ENOMEM;
  int rc = zf_map_open(&reader->map, path);
  if (!rc) return begin(out, reader, reader->map.data, reader->map.len, head);
  zf_log_reader_free(reader);
  return rc;
}

int zf_log_parse(struct zf_log_reader **out, const void *data, size_t len, const char *name,
                 struct zf_log_head *head) {
  *out = NULL;
  struct zf_log_reader *reader = new_reader(name);
  return reader ? begin(out, reader, data, len, head) : ZF_ENOMEM;
}

/* 1 where the checksum of the record is right. */
static int is_good(const struct zf_log_reader *reader, const unsigned char *record, size_t len) {
  struct zf_bytes bytes = {record, len, len - 4};
  uint32_t crc = 0;
  zf_bytes_u32(&bytes, &crc);
  return crc == zf_crc32c(reader->head_crc, record, len - 4);
}

static int bad_record(const struct zf_log_reader *reader, const char *what) {
  return zf_error(ZF_EINVALID, "%s: record %lld at byte %zu %s", reader->path,
                  (long long)reader->number + 1, reader->bytes.pos, what);
}

static int read_f64(struct zf_bytes *bytes, double *value) {
  zf_bytes_f64(bytes, value);
  return isfinite(*value) != 0;
}

static int read_f32(struct zf_bytes *bytes, double *value) {
  uint32_t bits = 0;
  float number;
  zf_bytes_u32(bytes, &bits);
  memcpy(&number, &bits, sizeof number);
  *value = (double)number;
  return isfinite(number) != 0;
}

/* Sets steps, probes and examples of terms that are the step's own, in order. */
static void number_terms(const struct zf_zo_estimate *estimate, const struct zf_zo *zo,
                         uint32_t step) {
  int64_t terms = zf_zo_terms(zo);
  for (int64_t i = 0; i < terms; i++) {
    struct zf_zo_term *term = &estimate->term[i];
    term->step = step;
    term->probe = (uint16_t)(zo->examples ? i / zo->examples : i);
    term->example = (uint16_t)(zo->examples ? 1 + i % zo->examples : 0);
  }
}

static int read_probes(struct zf_bytes *bytes, const struct zf_zo_estimate *estimate,
                       const struct zf_zo *zo) {
  int finite = 1;
  double g;
  for (int i = 0; i < zo->probes; i++) {
    finite &= read_f64(bytes, &estimate->loss[2 * i]);
    finite &= read_f64(bytes, &estimate->loss[2 * i + 1]);
    finite &= read_f64(bytes, &g);
    if (!zo->examples) estimate->term[i].coefficient = g;
  }
  for (int64_t i = 0; i < zo->probes * zo->examples; i++)
    finite &= read_f32(bytes, &estimate->term[i].coefficient);
  return finite;
}

static int read_terms(struct zf_bytes *bytes, const struct zf_zo_estimate *estimate,
                      const struct zf_zo *zo) {
  int64_t losses = zf_zo_losses(zo), terms = zf_zo_terms(zo);
  int finite = 1;
  for (int64_t i = 0; i < losses; i++) finite &= read_f64(bytes, &estimate->loss[i]);
  for (int64_t i = 0; i < terms; i++) {
    struct zf_zo_term *term = &estimate->term[i];
    uint32_t where = 0;
    finite &=
        zo->examples ? read_f32(bytes, &term->coefficient) : read_f64(bytes, &term->coefficient);
    if (!zf_zo_explicit(zo)) continue;
    zf_bytes_u32(bytes, &term->step);
    zf_bytes_u32(bytes, &where);
    term->probe = (uint16_t)(where & 0xffff);
    term->example = (uint16_t)(where >> 16);
  }
  return finite;
}

/* 1 where all numbers are finite.  A run stops before it writes others. */
static int read_step(struct zf_bytes *bytes, struct zf_log_rec *rec,
                     const struct zf_zo_estimate *estimate, const struct zf_log_reader *reader) {
  const struct zf_zo *zo = &reader->zo;
  zf_bytes_u64(bytes, &rec->seed);
  zf_bytes_f64(bytes, &rec->lr);
  zf_bytes_u64(bytes, &rec->batch);
  if (!zf_zo_explicit(zo)) number_terms(estimate, zo, rec->step);
  int finite =
      (reader->version < ZF_LOG_METHOD_VERSION ? read_probes : read_terms)(bytes, estimate, zo);
  return finite && isfinite(rec->lr);
}

/* Reads the fields of a record whose checksum is right. */
static int read_record(const struct zf_log_reader *reader, struct zf_log_rec *rec,
                       const struct zf_zo_estimate *estimate, const unsigned char *record,
                       size_t size) {
  struct zf_bytes bytes = {record, size, 0};
  char text[96];
  uint32_t kind = 0;
  zf_bytes_u32(&bytes, &rec->step);
  zf_bytes_u32(&bytes, &kind);
  if (kind > ZF_LOG_MARK) return bad_record(reader, "is of no known kind");
  rec->kind = (enum zf_log_kind)kind;
  if (rec->step != reader->step + (kind == ZF_LOG_STEP)) {
    snprintf(text, sizeof text, "is of step %u: steps are missing or out of order", rec->step);
    return bad_record(reader, text);
  }
  if (kind == ZF_LOG_STEP)
    return read_step(&bytes, rec, estimate, reader)
               ? 0
               : bad_record(reader, "holds a number that is not finite");
  get_hex(rec->hash, record + 8);
  bytes.pos = 24;
  zf_bytes_u64(&bytes, &rec->result);
  return rec->result <= rec->step + 1ull ? 0 : bad_record(reader, "names a result of a later step");
}

int zf_log_next(struct zf_log_reader *reader, struct zf_log_rec *rec,
                const struct zf_zo_estimate *estimate, int *more) {
  size_t size = (size_t)zf_log_record_size(&reader->zo),
         remaining = reader->bytes.len - reader->bytes.pos;
  const unsigned char *record = reader->bytes.data + reader->bytes.pos;
  char text[96];
  memset(rec, 0, sizeof *rec);
  *more = remaining > 0;
  if (!remaining) return 0;
  if (remaining < size) {
    snprintf(text, sizeof text, "is torn: %zu of %zu bytes", remaining, size);
    return bad_record(reader, text);
  }
  if (!is_good(reader, record, size)) return bad_record(reader, "is damaged (checksum)");
  int rc = read_record(reader, rec, estimate, record, size);
  if (rc) return rc;
  reader->step = rec->step;
  reader->bytes.pos += size;
  reader->number++;
  return 0;
}

int64_t zf_log_offset(const struct zf_log_reader *reader) {
  return (int64_t)reader->bytes.pos;
}

uint32_t zf_log_id(const struct zf_log_reader *reader) {
  return reader->head_crc;
}

/* Bytes may be missing before a good record, so that it may begin at any byte.  A checksum is
 * computed only where the step and the kind are possible. */
int zf_log_torn(const struct zf_log_reader *reader) {
  size_t size = (size_t)zf_log_record_size(&reader->zo);
  for (size_t start = reader->bytes.pos + 1; start + size <= reader->bytes.len; start++) {
    struct zf_bytes bytes = {reader->bytes.data, reader->bytes.len, start};
    uint32_t step = 0, kind = 0;
    zf_bytes_u32(&bytes, &step);
    zf_bytes_u32(&bytes, &kind);
    if (kind > ZF_LOG_MARK || step < reader->step) continue;
    if (kind == ZF_LOG_STEP && !step) continue; /* zeros, of which a damaged file may have many */
    if (step - reader->step > reader->bytes.len / size) continue;
    if (is_good(reader, reader->bytes.data + start, size)) return 0;
  }
  return 1;
}

void zf_log_reader_free(struct zf_log_reader *reader) {
  if (!reader) return;
  zf_map_close(&reader->map);
  free(reader->path);
  free(reader);
}
