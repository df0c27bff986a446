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

static int log_failed(const struct zf_log *l, const char *what) {
  return zf_error(ZF_EIO, "%s: cannot %s: %s", l->path, what, strerror(errno ? errno : EIO));
}

static void log_free(struct zf_log *l) {
  if (l->fd >= 0) close(l->fd);
  free(l->path);
  free(l);
}

/* Opens the file whose header is written; `size` bytes of it are to stay. */
static int open_end(struct zf_log *l, int64_t size) {
  l->fd = zf_open_fd(l->path, O_WRONLY);
  if (l->fd < 0) return log_failed(l, "open");
  if (flock(l->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
    return zf_error(ZF_EIO, "%s: another process is writing it", l->path);
  if (ftruncate(l->fd, (off_t)size) || lseek(l->fd, (off_t)size, SEEK_SET) < 0)
    return log_failed(l, "cut");
  l->size = size;
  l->dirty = 1;
  return zf_log_sync(l);
}

static int log_make(struct zf_log **out, const char *path, const struct zf_log_head *head,
                    int64_t size) {
  unsigned char h[ZF_LOG_MAXHEAD];
  *out = NULL;
  struct zf_log *l = zf_calloc(1, sizeof *l);
  if (!l) return ZF_ENOMEM;
  l->fd = -1;
  l->path = zf_strdup(path);
  l->probes = head->zo.probes;
  l->head_crc = make_head(h, head);
  int rc = l->path ? 0 : ZF_ENOMEM;
  int64_t n = zf_log_head_size(head);
  if (!rc && !size) rc = zf_write_file(path, h, (size_t)n);
  if (!rc) rc = open_end(l, size ? size : n);
  if (rc)
    log_free(l);
  else
    *out = l;
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
static int write_whole(struct zf_log *l, const unsigned char *p, size_t n) {
  int err = zf_write_all(l->fd, p, n);
  if (err) {
    errno = err;
    int rc = log_failed(l, "write");
    if (!ftruncate(l->fd, (off_t)l->size)) lseek(l->fd, (off_t)l->size, SEEK_SET);
    return rc;
  }
  l->size += (int64_t)n;
  l->dirty = 1;
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

int zf_log_append(struct zf_log *l, const struct zf_log_rec *rec, const struct zf_zo_probe *probe) {
  unsigned char r[MAX_RECORD] = {0};
  size_t n = (size_t)zf_log_record_size(l->probes);
  put(r, rec->step, 4);
  put(r + 4, rec->kind, 4);
  if (rec->kind == ZF_LOG_STEP)
    make_step(r, rec, probe, l->probes);
  else
    make_mark(r, rec);
  put(r + n - 4, zf_crc32c(l->head_crc, r, n - 4), 4);
  return write_whole(l, r, n);
}

int zf_log_sync(struct zf_log *l) {
  if (!l->dirty) return 0;
  double start = zf_now();
  int err = zf_sync_fd(l->fd);
  if (err) {
    errno = err;
    return log_failed(l, "sync");
  }
  l->dirty = 0;
  l->synced = zf_now();
  l->sync_costs = l->synced - start;
  return 0;
}

int zf_log_sync_maybe(struct zf_log *l) {
  return zf_now() - l->synced < SYNC_SHARE * l->sync_costs ? 0 : zf_log_sync(l);
}

int zf_log_close(struct zf_log *l) {
  if (!l) return 0;
  int rc = zf_log_sync(l);
  log_free(l);
  return rc;
}

/* --- reading --- */

struct zf_log_reader {
  struct zf_map map;
  struct zf_bytes b;
  char *path;
  int probes;
  uint32_t head_crc;
  uint32_t step;  /* the last one read */
  int64_t number; /* records read */
};

/* Whether there is one the size tells. */
static int read_new_head(struct zf_log_head *head, const unsigned char *h, size_t size) {
  struct zf_bytes b = {h, size, 0};
  uint32_t labels = 0, problem = 0;
  if ((int64_t)size != zf_log_head_size(head) + NEW_HEAD) return 0;
  b.pos = size - 4 - NEW_HEAD;
  zf_bytes_u32(&b, &labels);
  zf_bytes_u32(&b, &problem);
  zf_bytes_u64(&b, &head->head_seed);
  head->labels = labels;
  head->problem = (int)problem;
  return labels < 1 || labels > 1 << 24 || problem >= ZF_PROBLEMS;
}

/* The fields of a header whose checksum is right; nonzero: they make no sense. */
static int read_fields(struct zf_log_head *head, const unsigned char *h, size_t size) {
  struct zf_bytes b = {h, size, 16};
  uint32_t record = 0, q = 0, dir = 0, noise = 0, text = 0;
  zf_bytes_u32(&b, &record);
  zf_bytes_u32(&b, &q);
  zf_bytes_u64(&b, &head->zo.seed);
  zf_bytes_f64(&b, &head->zo.eps);
  zf_bytes_f64(&b, &head->decay);
  zf_bytes_u32(&b, &dir);
  zf_bytes_u32(&b, &noise);
  memcpy(head->kernels, h + 56, 16);
  get_hex(head->base, h + 72);
  get_hex(head->data, h + 88);
  get_hex(head->config, h + 104);
  get_hex(head->tok, h + 120);
  head->trained = get_dtype(h + 136, 0);
  head->others = get_dtype(h + 144, 1);
  b.pos = 152;
  zf_bytes_u32(&b, &text);
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

static int read_head(struct zf_log_reader *r, struct zf_log_head *head) {
  const unsigned char *h = r->b.data;
  uint32_t version = 0, size = 0, noise = 0;
  memset(head, 0, sizeof *head);
  if (r->b.len < sizeof magic || memcmp(h, magic, sizeof magic) != 0)
    return zf_error(ZF_EINVALID, "%s: is not a step log", r->path);
  r->b.pos = sizeof magic;
  if (zf_bytes_u32(&r->b, &version) || zf_bytes_u32(&r->b, &size) || size > r->b.len)
    return zf_error(ZF_EINVALID, "%s: too short for a step log", r->path);
  if (version == 1)
    return zf_error(ZF_EINVALID, "%s: version 1: this program reads version %d", r->path, VERSION);
  if (size < TEXT + 4 || size > ZF_LOG_MAXHEAD || size % 4)
    return zf_error(ZF_EINVALID, "%s: the header is damaged (its size)", r->path);
  r->b.pos = size - 4;
  zf_bytes_u32(&r->b, &r->head_crc);
  if (r->head_crc != zf_crc32c(0, h, size - 4))
    return zf_error(ZF_EINVALID, "%s: the header is damaged (checksum)", r->path);
  r->b.pos = 52;
  zf_bytes_u32(&r->b, &noise);
  r->b.pos = size;
  if (version != VERSION || noise != ZF_NOISE_ID)
    return zf_error(ZF_EINVALID,
                    "%s: version %u, noise %u: this program reads version %d, noise %d", r->path,
                    version, noise, VERSION, ZF_NOISE_ID);
  if (read_fields(head, h, size))
    return zf_error(ZF_EINVALID, "%s: the header makes no sense", r->path);
  r->probes = head->zo.probes;
  return 0;
}

/* A reader without its bytes yet. */
static struct zf_log_reader *new_reader(const char *name) {
  struct zf_log_reader *r = zf_calloc(1, sizeof *r);
  if (!r) return NULL;
  r->path = zf_strdup(name);
  if (r->path) return r;
  free(r);
  return NULL;
}

static int begin(struct zf_log_reader **out, struct zf_log_reader *r, const void *data, size_t len,
                 struct zf_log_head *head) {
  r->b = (struct zf_bytes){data, len, 0};
  int rc = read_head(r, head);
  if (rc)
    zf_log_reader_free(r);
  else
    *out = r;
  return rc;
}

int zf_log_open(struct zf_log_reader **out, const char *path, struct zf_log_head *head) {
  *out = NULL;
  struct zf_log_reader *r = new_reader(path);
  if (!r) return ZF_ENOMEM;
  int rc = zf_map_open(&r->map, path);
  if (!rc) return begin(out, r, r->map.data, r->map.len, head);
  zf_log_reader_free(r);
  return rc;
}

int zf_log_parse(struct zf_log_reader **out, const void *data, size_t len, const char *name,
                 struct zf_log_head *head) {
  *out = NULL;
  struct zf_log_reader *r = new_reader(name);
  return r ? begin(out, r, data, len, head) : ZF_ENOMEM;
}

/* A whole record at p: is its checksum right? */
static int is_good(const struct zf_log_reader *r, const unsigned char *p, size_t n) {
  struct zf_bytes b = {p, n, n - 4};
  uint32_t crc = 0;
  zf_bytes_u32(&b, &crc);
  return crc == zf_crc32c(r->head_crc, p, n - 4);
}

static int bad_record(const struct zf_log_reader *r, const char *what) {
  return zf_error(ZF_EINVALID, "%s: record %lld at byte %zu %s", r->path, (long long)r->number + 1,
                  r->b.pos, what);
}

/* Nonzero: all is finite.  A run ends before it writes another. */
static int read_step(struct zf_bytes *b, struct zf_log_rec *rec, struct zf_zo_probe *probe,
                     int probes) {
  zf_bytes_u64(b, &rec->seed);
  zf_bytes_f64(b, &rec->lr);
  zf_bytes_u64(b, &rec->batch);
  int finite = isfinite(rec->lr);
  for (int i = 0; i < probes; i++) {
    zf_bytes_f64(b, &probe[i].plus);
    zf_bytes_f64(b, &probe[i].minus);
    zf_bytes_f64(b, &probe[i].projected_gradient);
    finite &= isfinite(probe[i].plus) && isfinite(probe[i].minus) &&
              isfinite(probe[i].projected_gradient);
  }
  return finite;
}

int zf_log_next(struct zf_log_reader *r, struct zf_log_rec *rec, struct zf_zo_probe *probe,
                int *more) {
  size_t n = (size_t)zf_log_record_size(r->probes), left = r->b.len - r->b.pos;
  const unsigned char *p = r->b.data + r->b.pos;
  char text[96];
  uint32_t kind = 0;
  memset(rec, 0, sizeof *rec);
  *more = left > 0;
  if (!left) return 0;
  if (left < n) {
    snprintf(text, sizeof text, "is torn: %zu of %zu bytes", left, n);
    return bad_record(r, text);
  }
  if (!is_good(r, p, n)) return bad_record(r, "is damaged (checksum)");
  struct zf_bytes b = {p, n, 0};
  zf_bytes_u32(&b, &rec->step);
  zf_bytes_u32(&b, &kind);
  if (kind > ZF_LOG_MARK) return bad_record(r, "is of no known kind");
  rec->kind = (enum zf_log_kind)kind;
  if (rec->step != r->step + (kind == ZF_LOG_STEP)) {
    snprintf(text, sizeof text, "is of step %u: steps are missing or out of order", rec->step);
    return bad_record(r, text);
  }
  if (kind == ZF_LOG_MARK) {
    get_hex(rec->hash, p + 8);
    b.pos = 24;
    zf_bytes_u64(&b, &rec->result);
    if (rec->result > rec->step + 1ull) return bad_record(r, "names a result that is to come");
  } else if (!read_step(&b, rec, probe, r->probes)) {
    return bad_record(r, "holds a number that is not finite");
  }
  r->step = rec->step;
  r->b.pos += n;
  r->number++;
  return 0;
}

int64_t zf_log_offset(const struct zf_log_reader *r) {
  return (int64_t)r->b.pos;
}

uint32_t zf_log_id(const struct zf_log_reader *r) {
  return r->head_crc;
}

/* Bytes may be missing before a good record, so any byte may begin one; a step's number that could
 * stand there is looked for before a checksum is made. */
int zf_log_torn(const struct zf_log_reader *r) {
  size_t n = (size_t)zf_log_record_size(r->probes);
  for (size_t at = r->b.pos + 1; at + n <= r->b.len; at++) {
    struct zf_bytes b = {r->b.data, r->b.len, at};
    uint32_t step = 0, kind = 0;
    zf_bytes_u32(&b, &step);
    zf_bytes_u32(&b, &kind);
    if (kind <= ZF_LOG_MARK && step >= r->step && step - r->step <= r->b.len / n &&
        is_good(r, r->b.data + at, n))
      return 0;
  }
  return 1;
}

void zf_log_reader_free(struct zf_log_reader *r) {
  if (!r) return;
  zf_map_close(&r->map);
  free(r->path);
  free(r);
}
