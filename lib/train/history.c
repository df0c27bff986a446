#include "train/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"

/* Allocates for the largest number of records that the file can hold. */
static int alloc_records(struct zf_history *history, const char *path) {
  struct zf_map map;
  int rc = zf_map_open(&map, path);
  if (rc) return rc;
  const struct zf_zo *zo = &history->head.zo;
  int64_t max = (int64_t)map.len / zf_log_record_size(zo) + 1;
  zf_map_close(&map);
  history->step = zf_calloc(max, sizeof *history->step);
  history->loss = zf_calloc(max * zf_zo_losses(zo), sizeof *history->loss);
  history->term = zf_calloc(max * zf_zo_terms(zo), sizeof *history->term);
  history->mark = zf_calloc(max, sizeof *history->mark);
  return history->step && history->loss && history->term && history->mark ? 0 : ZF_ENOMEM;
}

static void add_record(struct zf_history *history, const struct zf_log_rec *rec, int64_t offset) {
  if (rec->kind == ZF_LOG_STEP) {
    history->step[history->count++] = *rec;
    history->size = offset;
    history->result = -1; /* the run has continued after an end */
    return;
  }
  if (rec->result) history->result = (int64_t)rec->result - 1;
  struct zf_history_entry *mark = &history->mark[history->nmark++];
  mark->step = rec->step;
  memcpy(mark->hash, rec->hash, sizeof mark->hash);
}

static void read_records(struct zf_history *history, struct zf_log_reader *reader) {
  struct zf_log_rec rec;
  int more = 1, rc;
  history->size = zf_log_offset(reader);
  for (;;) {
    struct zf_zo_estimate next = zf_history_estimate(history, history->count + 1);
    rc = zf_log_next(reader, &rec, &next, &more);
    if (rc || !more) break;
    add_record(history, &rec, zf_log_offset(reader));
  }
  if (!rc) return;
  snprintf(history->problem, sizeof history->problem, "%s", zf_error_message());
  zf_error_clear();
  history->end = zf_log_torn(reader) ? ZF_LOG_TORN : ZF_LOG_DAMAGED;
}

int zf_history_load(struct zf_history *history, const char *path) {
  struct zf_log_reader *reader = NULL;
  memset(history, 0, sizeof *history);
  int rc = zf_log_open(&reader, path, &history->head);
  if (rc) return rc;
  history->id = zf_log_id(reader);
  history->result = -1;
  history->path = zf_strdup(path);
  rc = history->path ? alloc_records(history, path) : ZF_ENOMEM;
  if (!rc) read_records(history, reader);
  zf_log_reader_free(reader);
  if (rc) zf_history_free(history);
  return rc;
}

void zf_history_free(struct zf_history *history) {
  free(history->path);
  free(history->step);
  free(history->loss);
  free(history->term);
  free(history->mark);
  memset(history, 0, sizeof *history);
}

struct zf_zo_estimate zf_history_estimate(const struct zf_history *history, int64_t step) {
  const struct zf_zo *zo = &history->head.zo;
  return (struct zf_zo_estimate){history->loss + (step - 1) * zf_zo_losses(zo),
                                 history->term + (step - 1) * zf_zo_terms(zo)};
}

const char *zf_history_mark(const struct zf_history *history, int64_t step) {
  for (int64_t i = 0; i < history->nmark; i++)
    if (history->mark[i].step == step) return history->mark[i].hash;
  return NULL;
}

int zf_history_reach(const struct zf_history *history, int64_t to) {
  if (to <= history->count) return 0;
  if (history->end != ZF_LOG_WHOLE)
    return zf_error(ZF_EINVALID, "%s; the %lld steps before it are whole", history->problem,
                    (long long)history->count);
  return zf_error(ZF_EUSAGE, "%s: has %lld steps, not %lld", history->path,
                  (long long)history->count, (long long)to);
}
