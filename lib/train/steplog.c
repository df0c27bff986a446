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

enum { TEXT = 156, VERSION = 2, MAX_RECORD = 36 + 24 * ZF_ZO_MAXPROBES };

/* A sync waits until this many times its cost has passed. */
enum { SYNC_SHARE = 100 };

static const char magic[8] = "zoftlog\n";

struct zf_log {
  int fd;
  char *path;
  int probes;
  uint32_t head_crc;
  int64_t size;              /* bytes of whole records */
  int dirty;                 /* written and not synced */
  double synced, sync_costs; /* when the last sync ended, what it took */
};

int64_t zf_log_record_size(int probes) {
  return 36 + 24 * (int64_t)probes;
}

enum { NEW_HEAD = 16 }; /* bytes about a new head */

int64_t zf_log_head_size(const struct zf_log_head *head) {
  return (TEXT + (int64_t)strlen(head->globs) + 4 + 3) / 4 * 4 + (head->labels ? NEW_HEAD : 0);
}

static void put(unsigned char *p, uint64_t v, int n) {
  for (int i = 0; i < n; i++) p[i] = (unsigned char)(v >> 8 * i);
}

static void put_f64(unsigned char *p, double v) {
  uint64_t u;
  memcpy(&u, &v, sizeof u);
  put(p, u, 8);
}

static void put_hex(unsigned char *p, const char *hex) {
  for (int i = 0; i < 16; i++) {
    unsigned v = 0;
    if (hex[0]) sscanf(hex + 2 * i, "%2x", &v);
    p[i] = (unsigned char)v;
  }
}

static void get_hex(char *hex, const unsigned char *p) {
  for (int i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", p[i]);
}

static void put_dtype(unsigned char *p, int type) {
  const char *name = type < 0 ? "" : zf_dtype_info((enum zf_dtype)type)->name;
  memcpy(p, name, strnlen(name, 8));
}

/* A name of the table, or with `none` nothing at all (-1); -2: another text. */
static int get_dtype(const unsigned char *p, int none) {
  char name[9] = {0};
  memcpy(name, p, 8);
  int type = zf_dtype_by_name(name);
  return type >= 0 ? type : none && !name[0] ? -1 : -2;
}

/* Fills h[0..ZF_LOG_MAXHEAD) and returns the CRC. */
static uint32_t make_head(unsigned char *h, const struct zf_log_head *head) {
  int64_t size = zf_log_head_size(head);
  memset(h, 0, ZF_LOG_MAXHEAD);
  memcpy(h, magic, sizeof magic);
  put(h + 8, VERSION, 4);
  put(h + 12, (uint64_t)size, 4);
  put(h + 16, (uint64_t)zf_log_record_size(head->zo.probes), 4);
  put(h + 20, (uint64_t)head->zo.probes, 4);
  put(h + 24, head->zo.seed, 8);
  put_f64(h + 32, head->zo.eps);
  put_f64(h + 40, head->decay);
  put(h + 48, (uint64_t)head->zo.direction, 4);
  put(h + 52, ZF_NOISE_ID, 4);
  memcpy(h + 56, head->kernels, strnlen(head->kernels, 16));
  put_hex(h + 72, head->base);
  put_hex(h + 88, head->data);
  put_hex(h + 104, head->config);
  put_hex(h + 120, head->tok);
  put_dtype(h + 136, head->trained);
  put_dtype(h + 144, head->others);
  put(h + 152, strlen(head->globs), 4);
  memcpy(h + TEXT, head->globs, strlen(head->globs));
  if (head->labels) {
    unsigned char *p = h + size - 4 - NEW_HEAD;
    put(p, (uint64_t)head->labels, 4);
    put(p + 4, (uint64_t)head->problem, 4);
    put(p + 8, head->head_seed, 8);
  }
  uint32_t crc = zf_crc32c(0, h, (size_t)size - 4);
  put(h + size - 4, crc, 4);
  return crc;
}

uint32_t zf_log_head_id(const struct zf_log_head *head) {
  unsigned char h[ZF_LOG_MAXHEAD];
  return make_head(h, head);
}

/* --- writing --- */

static int log_failed(const struct zf_log *log, const char *what) {
  return zf_error(ZF_EIO, "%s: cannot %s: %s", log->path, what, strerror(errno ? errno : EIO));
}

static void log_free(struct zf_log *log) {
  if (log->fd >= 0) close(log->fd);
  free(log->path);
  free(log);
}

/* Opens the file whose header is written; `size` bytes of it are to stay. */
static int open_end(struct zf_log *log, int64_t size) {
  log->fd = zf_open_fd(log->path, O_WRONLY);
  if (log->fd < 0) return log_failed(log, "open");
  if (flock(log->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
    return zf_error(ZF_EIO, "%s: another process is writing it", log->path);
  if (ftruncate(log->fd, (off_t)size) || lseek(log->fd, (off_t)size, SEEK_SET) < 0)
    return log_failed(log, "cut");
  log->size = size;
  log->dirty = 1;
  return zf_log_sync(log);
}

static int log_make(struct zf_log **out, const char *path, const struct zf_log_head *head,
                    int64_t size) {
  unsigned char h[ZF_LOG_MAXHEAD];
  *out = NULL;
  struct zf_log *log = zf_calloc(1, sizeof *log);
  if (!log) return ZF_ENOMEM;
  log->fd = -1;
  log->path = zf_strdup(path);
  log->probes = head->zo.probes;
  log->head_crc = make_head(h, head);
  int rc = log->path ? 0 : ZF_ENOMEM;
  int64_t n = zf_log_head_size(head);
  if (!rc && !size) rc = zf_write_file(path, h, (size_t)n);
  if (!rc) rc = open_end(log, size ? size : n);
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

/* All of it, or the file is cut back to the records that are whole. */
static int write_whole(struct zf_log *log, const unsigned char *p, size_t len) {
  int err = zf_write_all(log->fd, p, len);
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

static void make_step(unsigned char *r, const struct zf_log_rec *rec,
                      const struct zf_zo_probe *probe, int probes) {
  put(r + 8, rec->seed, 8);
  put_f64(r + 16, rec->lr);
  put(r + 24, rec->batch, 8);
  for (int p = 0; p < probes; p++) {
    put_f64(r + 32 + 24 * p, probe[p].plus);
    put_f64(r + 40 + 24 * p, probe[p].minus);
    put_f64(r + 48 + 24 * p, probe[p].projected_gradient);
  }
}

static void make_mark(unsigned char *r, const struct zf_log_rec *rec) {
  put_hex(r + 8, rec->hash);
  put(r + 24, rec->result, 8);
}

int zf_log_append(struct zf_log *log, const struct zf_log_rec *rec,
                  const struct zf_zo_probe *probe) {
  unsigned char r[MAX_RECORD] = {0};
  size_t n = (size_t)zf_log_record_size(log->probes);
  put(r, rec->step, 4);
  put(r + 4, rec->kind, 4);
  if (rec->kind == ZF_LOG_STEP)
    make_step(r, rec, probe, log->probes);
  else
    make_mark(r, rec);
  put(r + n - 4, zf_crc32c(log->head_crc, r, n - 4), 4);
  return write_whole(log, r, n);
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
  log->sync_costs = log->synced - start;
  return 0;
}

int zf_log_sync_maybe(struct zf_log *log) {
  return zf_now() - log->synced < SYNC_SHARE * log->sync_costs ? 0 : zf_log_sync(log);
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
  int probes;
  uint32_t head_crc;
  uint32_t step;  /* the last one read */
  int64_t number; /* records read */
};

/* Whether there is one the size tells. */
static int read_new_head(struct zf_log_head *head, const unsigned char *h, size_t size) {
  struct zf_bytes bytes = {h, size, 0};
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

/* The fields of a header whose checksum is right; nonzero: they make no sense. */
static int read_fields(struct zf_log_head *head, const unsigned char *h, size_t size) {
  struct zf_bytes bytes = {h, size, 16};
  uint32_t record = 0, q = 0, dir = 0, noise = 0, text = 0;
  zf_bytes_u32(&bytes, &record);
  zf_bytes_u32(&bytes, &q);
  zf_bytes_u64(&bytes, &head->zo.seed);
  zf_bytes_f64(&bytes, &head->zo.eps);
  zf_bytes_f64(&bytes, &head->decay);
  zf_bytes_u32(&bytes, &dir);
  zf_bytes_u32(&bytes, &noise);
  memcpy(head->kernels, h + 56, 16);
  get_hex(head->base, h + 72);
  get_hex(head->data, h + 88);
  get_hex(head->config, h + 104);
  get_hex(head->tok, h + 120);
  head->trained = get_dtype(h + 136, 0);
  head->others = get_dtype(h + 144, 1);
  bytes.pos = 152;
  zf_bytes_u32(&bytes, &text);
  if (text >= ZF_LOG_GLOBS || text > size - 4 - TEXT || memchr(h + TEXT, 0, text)) return 1;
  memcpy(head->globs, h + TEXT, text);
  if (read_new_head(head, h, size)) return 1;
  head->zo.probes = (int)q;
  head->zo.direction = (int)dir;
  return q < 1 || q > ZF_ZO_MAXPROBES || record != zf_log_record_size((int)q) ||
         dir > ZF_RADEMACHER || !(head->zo.eps > 0) || !isfinite(head->zo.eps) ||
         !isfinite(head->decay) || head->trained < 0 || head->others < -1 ||
         (int64_t)size != zf_log_head_size(head);
}

static int read_head(struct zf_log_reader *reader, struct zf_log_head *head) {
  const unsigned char *h = reader->bytes.data;
  uint32_t version = 0, size = 0, noise = 0;
  memset(head, 0, sizeof *head);
  if (reader->bytes.len < sizeof magic || memcmp(h, magic, sizeof magic) != 0)
    return zf_error(ZF_EINVALID, "%s: is not a step log", reader->path);
  reader->bytes.pos = sizeof magic;
  if (zf_bytes_u32(&reader->bytes, &version) || zf_bytes_u32(&reader->bytes, &size) ||
      size > reader->bytes.len)
    return zf_error(ZF_EINVALID, "%s: too short for a step log", reader->path);
  if (version == 1)
    return zf_error(ZF_EINVALID, "%s: version 1: this program reads version %d", reader->path,
                    VERSION);
  if (size < TEXT + 4 || size > ZF_LOG_MAXHEAD || size % 4)
    return zf_error(ZF_EINVALID, "%s: the header is damaged (its size)", reader->path);
  reader->bytes.pos = size - 4;
  zf_bytes_u32(&reader->bytes, &reader->head_crc);
  if (reader->head_crc != zf_crc32c(0, h, size - 4))
    return zf_error(ZF_EINVALID, "%s: the header is damaged (checksum)", reader->path);
  reader->bytes.pos = 52;
  zf_bytes_u32(&reader->bytes, &noise);
  reader->bytes.pos = size;
  if (version != VERSION || noise != ZF_NOISE_ID)
    return zf_error(ZF_EINVALID,
                    "%s: version %u, noise %u: this program reads version %d, noise %d",
                    reader->path, version, noise, VERSION, ZF_NOISE_ID);
  if (read_fields(head, h, size))
    return zf_error(ZF_EINVALID, "%s: the header makes no sense", reader->path);
  reader->probes = head->zo.probes;
  return 0;
}

/* A reader without its bytes yet. */
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

/* A whole record at p: is its checksum right? */
static int is_good(const struct zf_log_reader *reader, const unsigned char *p, size_t len) {
  struct zf_bytes bytes = {p, len, len - 4};
  uint32_t crc = 0;
  zf_bytes_u32(&bytes, &crc);
  return crc == zf_crc32c(reader->head_crc, p, len - 4);
}

static int bad_record(const struct zf_log_reader *reader, const char *what) {
  return zf_error(ZF_EINVALID, "%s: record %lld at byte %zu %s", reader->path,
                  (long long)reader->number + 1, reader->bytes.pos, what);
}

/* Nonzero: all is finite.  A run ends before it writes another. */
static int read_step(struct zf_bytes *bytes, struct zf_log_rec *rec, struct zf_zo_probe *probe,
                     int probes) {
  zf_bytes_u64(bytes, &rec->seed);
  zf_bytes_f64(bytes, &rec->lr);
  zf_bytes_u64(bytes, &rec->batch);
  int finite = isfinite(rec->lr);
  for (int i = 0; i < probes; i++) {
    zf_bytes_f64(bytes, &probe[i].plus);
    zf_bytes_f64(bytes, &probe[i].minus);
    zf_bytes_f64(bytes, &probe[i].projected_gradient);
    finite &= isfinite(probe[i].plus) && isfinite(probe[i].minus) &&
              isfinite(probe[i].projected_gradient);
  }
  return finite;
}

int zf_log_next(struct zf_log_reader *reader, struct zf_log_rec *rec, struct zf_zo_probe *probe,
                int *more) {
  size_t n = (size_t)zf_log_record_size(reader->probes),
         left = reader->bytes.len - reader->bytes.pos;
  const unsigned char *p = reader->bytes.data + reader->bytes.pos;
  char text[96];
  uint32_t kind = 0;
  memset(rec, 0, sizeof *rec);
  *more = left > 0;
  if (!left) return 0;
  if (left < n) {
    snprintf(text, sizeof text, "is torn: %zu of %zu bytes", left, n);
    return bad_record(reader, text);
  }
  if (!is_good(reader, p, n)) return bad_record(reader, "is damaged (checksum)");
  struct zf_bytes bytes = {p, n, 0};
  zf_bytes_u32(&bytes, &rec->step);
  zf_bytes_u32(&bytes, &kind);
  if (kind > ZF_LOG_MARK) return bad_record(reader, "is of no known kind");
  rec->kind = (enum zf_log_kind)kind;
  if (rec->step != reader->step + (kind == ZF_LOG_STEP)) {
    snprintf(text, sizeof text, "is of step %u: steps are missing or out of order", rec->step);
    return bad_record(reader, text);
  }
  if (kind == ZF_LOG_MARK) {
    get_hex(rec->hash, p + 8);
    bytes.pos = 24;
    zf_bytes_u64(&bytes, &rec->result);
    if (rec->result > rec->step + 1ull) return bad_record(reader, "names a result that is to come");
  } else if (!read_step(&bytes, rec, probe, reader->probes)) {
    return bad_record(reader, "holds a number that is not finite");
  }
  reader->step = rec->step;
  reader->bytes.pos += n;
  reader->number++;
  return 0;
}

int64_t zf_log_offset(const struct zf_log_reader *reader) {
  return (int64_t)reader->bytes.pos;
}

uint32_t zf_log_id(const struct zf_log_reader *reader) {
  return reader->head_crc;
}

/* Bytes may be missing before a good record, so any byte may begin one; a step's number that could
 * stand there is looked for before a checksum is made. */
int zf_log_torn(const struct zf_log_reader *reader) {
  size_t n = (size_t)zf_log_record_size(reader->probes);
  for (size_t at = reader->bytes.pos + 1; at + n <= reader->bytes.len; at++) {
    struct zf_bytes bytes = {reader->bytes.data, reader->bytes.len, at};
    uint32_t step = 0, kind = 0;
    zf_bytes_u32(&bytes, &step);
    zf_bytes_u32(&bytes, &kind);
    if (kind <= ZF_LOG_MARK && step >= reader->step &&
        step - reader->step <= reader->bytes.len / n && is_good(reader, reader->bytes.data + at, n))
      return 0;
  }
  return 1;
}

void zf_log_reader_free(struct zf_log_reader *reader) {
  if (!reader) return;
  zf_map_close(&reader->map);
  free(reader->path);
  free(reader);
}
