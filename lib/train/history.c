#include "train/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"

/* Room for as many records as the file can hold. */
static int make_room(struct zf_history *h, const char *path) {
  struct zf_map m;
  int rc = zf_map_open(&m, path);
  if (rc) return rc;
  int q = h->head.zo.probes;
  int64_t most = (int64_t)m.len / zf_log_record_size(q) + 1;
  zf_map_close(&m);
  h->step = zf_calloc(most, sizeof *h->step);
  h->probe = zf_calloc(most * q, sizeof *h->probe);
  h->mark = zf_calloc(most, sizeof *h->mark);
  return h->step && h->probe && h->mark ? 0 : ZF_ENOMEM;
}

static void take(struct zf_history *h, const struct zf_log_rec *rec, int64_t offset) {
  if (rec->kind == ZF_LOG_STEP) {
    h->step[h->count++] = *rec;
    h->size = offset;
    h->result = -1; /* it went on */
    return;
  }
  if (rec->result) h->result = (int64_t)rec->result - 1;
  struct zf_history_mark_entry *m = &h->mark[h->nmark++];
  m->step = rec->step;
  memcpy(m->hash, rec->hash, sizeof m->hash);
}

static void read_records(struct zf_history *h, struct zf_log_reader *r) {
  struct zf_log_rec rec;
  int more = 1, rc, q = h->head.zo.probes;
  h->size = zf_log_offset(r);
  while (!(rc = zf_log_next(r, &rec, h->probe + h->count * q, &more)) && more)
    take(h, &rec, zf_log_offset(r));
  if (!rc) return;
  snprintf(h->problem, sizeof h->problem, "%s", zf_error_message());
  zf_error_clear();
  h->end = zf_log_torn(r) ? ZF_LOG_TORN : ZF_LOG_DAMAGED;
}

int zf_history_load(struct zf_history *h, const char *path) {
  struct zf_log_reader *r = NULL;
  memset(h, 0, sizeof *h);
  int rc = zf_log_open(&r, path, &h->head);
  if (rc) return rc;
  h->id = zf_log_id(r);
  h->result = -1;
  h->path = zf_strdup(path);
  rc = h->path ? make_room(h, path) : ZF_ENOMEM;
  if (!rc) read_records(h, r);
  zf_log_reader_free(r);
  if (rc) zf_history_free(h);
  return rc;
}

void zf_history_free(struct zf_history *h) {
  free(h->path);
  free(h->step);
  free(h->probe);
  free(h->mark);
  memset(h, 0, sizeof *h);
}

const char *zf_history_mark(const struct zf_history *h, int64_t step) {
  for (int64_t i = 0; i < h->nmark; i++)
    if (h->mark[i].step == step) return h->mark[i].hash;
  return NULL;
}

int zf_history_reach(const struct zf_history *h, int64_t to) {
  if (to <= h->count) return 0;
  if (h->end != ZF_LOG_WHOLE)
    return zf_error(ZF_EINVALID, "%s; the %lld steps before it are whole", h->problem,
                    (long long)h->count);
  return zf_error(ZF_EUSAGE, "%s: has %lld steps, not %lld", h->path, (long long)h->count,
                  (long long)to);
}
