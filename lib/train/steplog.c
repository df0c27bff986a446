#include "train/steplog.h"

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

enum { TEXT = 156, VERSION = 2, RULE_VERSION = 3 }; /* 3: the header has the fields of a rule */

/* zf_log_sync_maybe waits for this many times the cost of the last sync. */
enum { SYNC_SHARE = 100 };

static const char magic[8] = "zoftlog\n";

struct zf_log {
  int fd;
  char *path;
  struct zf_zo zo;
  unsigned char *record; /* bytes of the record that is written */
  uint32_t head_crc;
  int64_t size;        /* bytes of header and complete records */
  int dirty;           /* some bytes are not synced */
  double synced;       /* when the last sync ended */
  double sync_seconds; /* its duration */
};

int64_t zf_log_record_size(const struct zf_zo *zo) {
  return 36 + 24 * (int64_t)zo->probes + 4 * zo->probes * zo->examples;
}

enum { NEW_HEAD = 16, RULE = 40 }; /* bytes about a new head, about a rule */

static int has_rule(const struct zf_zo *zo) {
  return zo->examples || zo->rule != ZF_RULE_SGD;
}

int64_t zf_log_head_size(const struct zf_log_head *head) {
  return (TEXT + (int64_t)strlen(head->globs) + 4 + 3) / 4 * 4 + (has_rule(&head->zo) ? RULE : 0) +
         (head->labels ? NEW_HEAD : 0);
}

static void put(unsigned char *bytes, uint64_t value, int count) {
  for (int i = 0; i < count; i++) bytes[i] = (unsigned char)(value >> 8 * i);
}

static void put_f64(unsigned char *bytes, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  put(bytes, bits, 8);
}

/* An empty text gives zeros. */
static void put_hex(unsigned char *bytes, const char *hex) {
  for (int i = 0; i < 16; i++) {
    unsigned byte = 0;
    if (hex[0]) sscanf(hex + 2 * i, "%2x", &byte);
    bytes[i] = (unsigned char)byte;
  }
}

static void get_hex(char *hex, const unsigned char *bytes) {
  for (int i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

static void put_dtype(unsigned char *bytes, int type) {
  const char *name = type < 0 ? "" : zf_dtype_info((enum zf_dtype)type)->name;
  memcpy(bytes, name, strnlen(name, 8));
}

/* The dtype with this name; -1: the text is empty; -2: any other text. */
static int get_dtype(const unsigned char *bytes) {
  char name[9] = {0};
  memcpy(name, bytes, 8);
  int type = zf_dtype_by_name(name);
  if (type >= 0) return type;
  return name[0] ? -2 : -1;
}

static void put_rule(unsigned char *bytes, const struct zf_zo *zo) {
  put(bytes, (uint64_t)zo->examples, 8);
  put(bytes + 8, (uint64_t)zo->rule, 4);
  if (zo->rule == ZF_RULE_SGD) return;
  put_f64(bytes + 16, zo->beta1);
  put_f64(bytes + 24, zo->beta2);
  put_f64(bytes + 32, zo->adam_eps);
}

/* Fills bytes[0..ZF_LOG_MAXHEAD) and returns the CRC. */
static uint32_t make_head(unsigned char *bytes, const struct zf_log_head *head) {
  int64_t size = zf_log_head_size(head);
  memset(bytes, 0, ZF_LOG_MAXHEAD);
  memcpy(bytes, magic, sizeof magic);
  put(bytes + 8, has_rule(&head->zo) ? RULE_VERSION : VERSION, 4);
  put(bytes + 12, (uint64_t)size, 4);
  put(bytes + 16, (uint64_t)zf_log_record_size(&head->zo), 4);
  put(bytes + 20, (uint64_t)head->zo.probes, 4);
  put(bytes + 24, head->zo.seed, 8);
  put_f64(bytes + 32, head->zo.eps);
  put_f64(bytes + 40, head->decay);
  put(bytes + 48, (uint64_t)head->zo.direction, 4);
  put(bytes + 52, ZF_NOISE_ID, 4);
  memcpy(bytes + 56, head->kernels, strnlen(head->kernels, 16));
  put_hex(bytes + 72, head->base);
  put_hex(bytes + 88, head->data);
  put_hex(bytes + 104, head->config);
  put_hex(bytes + 120, head->tok);
  put_dtype(bytes + 136, head->trained);
  put_dtype(bytes + 144, head->others);
  put(bytes + 152, strlen(head->globs), 4);
  memcpy(bytes + TEXT, head->globs, strlen(head->globs));
  if (has_rule(&head->zo))
    put_rule(bytes + size - 4 - (head->labels ? NEW_HEAD : 0) - RULE, &head->zo);
  if (head->labels) {
    unsigned char *new_head = bytes + size - 4 - NEW_HEAD;
    put(new_head, (uint64_t)head->labels, 4);
    put(new_head + 4, (uint64_t)head->problem, 4);
    put(new_head + 8, head->head_seed, 8);
  }
  uint32_t crc = zf_crc32c(0, bytes, (size_t)size - 4);
  put(bytes + size - 4, crc, 4);
  return crc;
}

uint32_t zf_log_head_id(const struct zf_log_head *head) {
  unsigned char bytes[ZF_LOG_MAXHEAD];
  return make_head(bytes, head);
}

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
  log->record = zf_malloc((size_t)zf_log_record_size(&log->zo));
  log->head_crc = make_head(bytes, head);
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

static void put_f32(unsigned char *bytes, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  put(bytes, bits, 4);
}

static void make_step(unsigned char *bytes, const struct zf_log_rec *rec,
                      const struct zf_zo_estimate *estimate, const struct zf_zo *zo) {
  const struct zf_zo_probe *probe = estimate->probe;
  unsigned char *examples = bytes + 32 + 24 * zo->probes;
  put(bytes + 8, rec->seed, 8);
  put_f64(bytes + 16, rec->lr);
  put(bytes + 24, rec->batch, 8);
  for (int i = 0; i < zo->probes; i++) {
    put_f64(bytes + 32 + 24 * i, probe[i].plus);
    put_f64(bytes + 40 + 24 * i, probe[i].minus);
    put_f64(bytes + 48 + 24 * i, probe[i].projected_gradient);
  }
  for (int64_t i = 0; i < zo->probes * zo->examples; i++)
    put_f32(examples + 4 * i, estimate->example[i]);
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
    make_step(bytes, rec, estimate, &log->zo);
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
  uint32_t head_crc;
  uint32_t step;  /* the last one read */
  int64_t number; /* records read */
};

/* Reads the fields of a new head; the header's size tells whether it has them.  Nonzero: they are
 * invalid. */
static int read_new_head(struct zf_log_head *head, const unsigned char *data, size_t size) {
  struct zf_bytes bytes = {data, size, 0};
  uint32_t labels = 0, problem = 0;
  if ((int64_t)size != zf_log_head_size(head) + NEW_HEAD) return 0;
  bytes.pos = size - 4 - NEW_HEAD;
  zf_bytes_u32(&bytes, &labels);
  zf_bytes_u32(&bytes, &problem);
  zf_bytes_u64(&bytes, &head->head_seed);
  head->labels = labels;
  head->problem = (int)problem;
  return labels < 1 || labels > 1 << 24 || problem >= ZF_PROBLEMS;
}

/* Reads the fields of a rule, which begin at byte `at`.  Nonzero: they are invalid, or say no more
 * than a header without them. */
static int read_rule(struct zf_zo *zo, const unsigned char *data, size_t size, size_t at) {
  struct zf_bytes bytes = {data, size, at};
  uint64_t examples = 0;
  uint32_t rule = 0, zero = 0;
  if (at + RULE + 4 > size) return 1;
  zf_bytes_u64(&bytes, &examples);
  zf_bytes_u32(&bytes, &rule);
  zf_bytes_u32(&bytes, &zero);
  zf_bytes_f64(&bytes, &zo->beta1);
  zf_bytes_f64(&bytes, &zo->beta2);
  zf_bytes_f64(&bytes, &zo->adam_eps);
  if (examples > ZF_NOISE_EXAMPLES || rule >= ZF_RULES || zero) return 1;
  zo->examples = (int64_t)examples;
  zo->rule = (int)rule;
  if (rule == ZF_RULE_SGD)
    return !examples || zo->beta1 != 0 || zo->beta2 != 0 || zo->adam_eps != 0;
  int rc = zf_zo_check(zo);
  zf_error_clear();
  return rc;
}

/* Reads the fields of a header whose checksum is right.  Nonzero: they are invalid. */
static int read_fields(struct zf_log_head *head, const unsigned char *data, size_t size,
                       uint32_t version) {
  struct zf_bytes bytes = {data, size, 16};
  uint32_t record_size = 0, probes = 0, direction = 0, noise = 0, text_len = 0;
  zf_bytes_u32(&bytes, &record_size);
  zf_bytes_u32(&bytes, &probes);
  zf_bytes_u64(&bytes, &head->zo.seed);
  zf_bytes_f64(&bytes, &head->zo.eps);
  zf_bytes_f64(&bytes, &head->decay);
  zf_bytes_u32(&bytes, &direction);
  zf_bytes_u32(&bytes, &noise);
  memcpy(head->kernels, data + 56, 16);
  get_hex(head->base, data + 72);
  get_hex(head->data, data + 88);
  get_hex(head->config, data + 104);
  get_hex(head->tok, data + 120);
  head->trained = get_dtype(data + 136);
  head->others = get_dtype(data + 144);
  bytes.pos = 152;
  zf_bytes_u32(&bytes, &text_len);
  if (text_len >= ZF_LOG_GLOBS || text_len > size - 4 - TEXT || memchr(data + TEXT, 0, text_len))
    return 1;
  memcpy(head->globs, data + TEXT, text_len);
  if (version == RULE_VERSION &&
      read_rule(&head->zo, data, size, (size_t)zf_log_head_size(head) - 4))
    return 1;
  if (read_new_head(head, data, size)) return 1;
  head->zo.probes = (int)probes;
  head->zo.direction = (int)direction;
  return probes < 1 || probes > ZF_ZO_MAXPROBES || record_size != zf_log_record_size(&head->zo) ||
         direction > ZF_RADEMACHER || !(head->zo.eps > 0) || !isfinite(head->zo.eps) ||
         !isfinite(head->decay) || head->trained < 0 || head->others < -1 ||
         (int64_t)size != zf_log_head_size(head);
}

static int read_head(struct zf_log_reader *reader, struct zf_log_head *head) {
  const unsigned char *data = reader->bytes.data;
  uint32_t version = 0, size = 0, noise = 0;
  memset(head, 0, sizeof *head);
  if (reader->bytes.len < sizeof magic || memcmp(data, magic, sizeof magic) != 0)
    return zf_error(ZF_EINVALID, "%s: is not a step log", reader->path);
  reader->bytes.pos = sizeof magic;
  if (zf_bytes_u32(&reader->bytes, &version) || zf_bytes_u32(&reader->bytes, &size) ||
      size > reader->bytes.len)
    return zf_error(ZF_EINVALID, "%s: too short for a step log", reader->path);
  if (version == 1)
    return zf_error(ZF_EINVALID, "%s: version 1: this program reads versions %d and %d",
                    reader->path, VERSION, RULE_VERSION);
  if (size < TEXT + 4 || size > ZF_LOG_MAXHEAD || size % 4)
    return zf_error(ZF_EINVALID, "%s: the header is damaged (its size)", reader->path);
  reader->bytes.pos = size - 4;
  zf_bytes_u32(&reader->bytes, &reader->head_crc);
  if (reader->head_crc != zf_crc32c(0, data, size - 4))
    return zf_error(ZF_EINVALID, "%s: the header is damaged (checksum)", reader->path);
  reader->bytes.pos = 52;
  zf_bytes_u32(&reader->bytes, &noise);
  reader->bytes.pos = size;
  if ((version != VERSION && version != RULE_VERSION) || noise != ZF_NOISE_ID)
    return zf_error(ZF_EINVALID,
                    "%s: version %u, noise %u: this program reads versions %d and %d, noise %d",
                    reader->path, version, noise, VERSION, RULE_VERSION, ZF_NOISE_ID);
  if (read_fields(head, data, size, version))
    return zf_error(ZF_EINVALID, "%s: the header has a field out of range", reader->path);
  reader->zo = head->zo;
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

/* 1 where all numbers are finite.  A run stops before it writes others. */
static int read_step(struct zf_bytes *bytes, struct zf_log_rec *rec,
                     const struct zf_zo_estimate *estimate, const struct zf_zo *zo) {
  struct zf_zo_probe *probe = estimate->probe;
  zf_bytes_u64(bytes, &rec->seed);
  zf_bytes_f64(bytes, &rec->lr);
  zf_bytes_u64(bytes, &rec->batch);
  int finite = isfinite(rec->lr);
  for (int i = 0; i < zo->probes; i++) {
    zf_bytes_f64(bytes, &probe[i].plus);
    zf_bytes_f64(bytes, &probe[i].minus);
    zf_bytes_f64(bytes, &probe[i].projected_gradient);
    finite &= isfinite(probe[i].plus) && isfinite(probe[i].minus) &&
              isfinite(probe[i].projected_gradient);
  }
  for (int64_t i = 0; i < zo->probes * zo->examples; i++) {
    uint32_t bits = 0;
    float gradient;
    zf_bytes_u32(bytes, &bits);
    memcpy(&gradient, &bits, sizeof gradient);
    finite &= isfinite(gradient) != 0;
    if (estimate->example) estimate->example[i] = gradient;
  }
  return finite;
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
    return read_step(&bytes, rec, estimate, &reader->zo)
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
