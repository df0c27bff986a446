#include "train/steplog.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"

enum { HEAD = 160, VERSION = 1, MAX_RECORD = 28 + 24 * ZF_ZO_MAXPROBES };

static const char magic[8] = "zoftlog\n";

struct zf_log {
  FILE *f;
  char *path;
  int probes;
  uint32_t head_crc;
};

int64_t zf_log_record_size(int probes) {
  return 28 + 24 * (int64_t)probes;
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

static uint32_t make_head(unsigned char h[HEAD], const struct zf_log_head *head) {
  memset(h, 0, HEAD);
  memcpy(h, magic, sizeof magic);
  put(h + 8, VERSION, 4);
  put(h + 12, HEAD, 4);
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
  uint32_t crc = zf_crc32c(0, h, HEAD - 4);
  put(h + HEAD - 4, crc, 4);
  return crc;
}

static int log_failed(const struct zf_log *l) {
  return zf_error(ZF_EIO, "%s: cannot write: %s", l->path, strerror(errno ? errno : EIO));
}

int zf_log_create(struct zf_log **out, const char *path, const struct zf_log_head *head) {
  unsigned char h[HEAD];
  *out = NULL;
  struct zf_log *l = zf_calloc(1, sizeof *l);
  if (!l) return ZF_ENOMEM;
  int rc = 0;
  l->path = zf_strdup(path);
  l->probes = head->zo.probes;
  l->head_crc = make_head(h, head);
  l->f = l->path ? fopen(path, "wb") : NULL;
  if (!l->path)
    rc = ZF_ENOMEM;
  else if (!l->f)
    rc = zf_error(ZF_EIO, "%s: cannot create: %s", path, strerror(errno));
  else if (fwrite(h, 1, HEAD, l->f) != HEAD)
    rc = log_failed(l);
  if (!rc) rc = zf_log_sync(l);
  if (rc) {
    if (l->f) fclose(l->f);
    free(l->path);
    free(l);
    return rc;
  }
  *out = l;
  return 0;
}

int zf_log_append(struct zf_log *l, const struct zf_log_step *step,
                  const struct zf_zo_probe *probe) {
  unsigned char r[MAX_RECORD] = {0};
  size_t n = (size_t)zf_log_record_size(l->probes);
  put(r, step->step, 4);
  put_f64(r + 4, step->lr);
  put(r + 12, step->batch, 8);
  for (int p = 0; p < l->probes; p++) {
    put_f64(r + 20 + 24 * p, probe[p].plus);
    put_f64(r + 28 + 24 * p, probe[p].minus);
    put_f64(r + 36 + 24 * p, probe[p].g);
  }
  put(r + n - 8, zf_crc32c(l->head_crc, r, n - 8), 4);
  if (fwrite(r, 1, n, l->f) != n || fflush(l->f)) return log_failed(l);
  return 0;
}

int zf_log_sync(struct zf_log *l) {
  if (fflush(l->f) || fsync(fileno(l->f))) return log_failed(l);
  return 0;
}

int zf_log_close(struct zf_log *l) {
  if (!l) return 0;
  int rc = zf_log_sync(l);
  if (fclose(l->f) && !rc) rc = log_failed(l);
  free(l->path);
  free(l);
  return rc;
}

/* --- reading --- */

struct zf_log_reader {
  struct zf_map map;
  struct zf_bytes b;
  char *path;
  int probes;
  uint32_t head_crc;
  int64_t number; /* records read */
};

static int read_head(struct zf_log_reader *r, struct zf_log_head *head) {
  const unsigned char *h;
  memset(head, 0, sizeof *head);
  if (r->b.len < HEAD) return zf_error(ZF_EINVALID, "%s: too short for a step log", r->path);
  zf_bytes_take(&r->b, HEAD, &h);
  struct zf_bytes b = {h, HEAD, 8};
  uint32_t version = 0, size = 0, record = 0, q = 0, dir = 0, noise = 0;
  zf_bytes_u32(&b, &version);
  zf_bytes_u32(&b, &size);
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
  b.pos = HEAD - 4;
  zf_bytes_u32(&b, &r->head_crc);
  if (memcmp(h, magic, sizeof magic) != 0)
    return zf_error(ZF_EINVALID, "%s: is not a step log", r->path);
  if (r->head_crc != zf_crc32c(0, h, HEAD - 4))
    return zf_error(ZF_EINVALID, "%s: the header is damaged (checksum)", r->path);
  if (version != VERSION || size != HEAD || noise != ZF_NOISE_ID)
    return zf_error(ZF_EINVALID,
                    "%s: version %u, noise %u: this program reads version %d, noise %d", r->path,
                    version, noise, VERSION, ZF_NOISE_ID);
  if (q < 1 || q > ZF_ZO_MAXPROBES || record != zf_log_record_size((int)q) || dir > ZF_RADEMACHER ||
      !(head->zo.eps > 0) || !isfinite(head->zo.eps))
    return zf_error(ZF_EINVALID, "%s: the header makes no sense", r->path);
  r->probes = head->zo.probes = (int)q;
  head->zo.direction = (int)dir;
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

int zf_log_next(struct zf_log_reader *r, struct zf_log_step *step, struct zf_zo_probe *probe,
                int *more) {
  size_t n = (size_t)zf_log_record_size(r->probes);
  size_t left = r->b.len - r->b.pos;
  *more = left > 0;
  if (!left) return 0;
  const unsigned char *p;
  if (left < n)
    return zf_error(ZF_EINVALID, "%s: record %lld is torn: %zu of %zu bytes", r->path,
                    (long long)r->number + 1, left, n);
  zf_bytes_take(&r->b, n, &p);
  struct zf_bytes b = {p, n, 0};
  uint32_t crc = 0, zero = 0;
  zf_bytes_u32(&b, &step->step);
  zf_bytes_f64(&b, &step->lr);
  zf_bytes_u64(&b, &step->batch);
  for (int i = 0; i < r->probes; i++) {
    zf_bytes_f64(&b, &probe[i].plus);
    zf_bytes_f64(&b, &probe[i].minus);
    zf_bytes_f64(&b, &probe[i].g);
  }
  zf_bytes_u32(&b, &crc);
  zf_bytes_u32(&b, &zero);
  if (crc != zf_crc32c(r->head_crc, p, n - 8) || zero)
    return zf_error(ZF_EINVALID, "%s: record %lld is damaged (checksum)", r->path,
                    (long long)r->number + 1);
  if (step->step != (uint32_t)r->number + 1)
    return zf_error(ZF_EINVALID, "%s: record %lld is of step %u: steps are missing or out of order",
                    r->path, (long long)r->number + 1, step->step);
  r->number++;
  return 0;
}

void zf_log_reader_free(struct zf_log_reader *r) {
  if (!r) return;
  zf_map_close(&r->map);
  free(r->path);
  free(r);
}
