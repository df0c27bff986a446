#include "compress/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct mapping {
  void *data; /* NULL: none */
  off_t at;   /* in the file */
  size_t bytes;
};

struct replaced {
  struct mapping used, reserved;
  enum zf_dtype type;  /* of the reserved values */
  struct zf_param old; /* as the checkpoint has it */
};

struct zf_overlay {
  struct zf_model *model;
  int file;
  off_t end;                 /* of the file: a multiple of the page size */
  struct replaced *replaced; /* [params.count] */
};

/* The end of the file moves back where it was the mapping's. */
static void release(struct zf_overlay *overlay, struct mapping *mapping) {
  if (!mapping->data) return;
  munmap(mapping->data, mapping->bytes);
  if (mapping->at + (off_t)mapping->bytes == overlay->end) overlay->end = mapping->at;
  *mapping = (struct mapping){0};
}

static void free_overlay(void *data) {
  struct zf_overlay *overlay = data;
  for (int64_t i = 0; overlay->replaced && i < overlay->model->params.count; i++) {
    release(overlay, &overlay->replaced[i].reserved);
    release(overlay, &overlay->replaced[i].used);
  }
  if (overlay->file >= 0) close(overlay->file);
  free(overlay->replaced);
  free(overlay);
}

int zf_overlay_new(struct zf_overlay **out, struct zf_model *model, const char *directory) {
  struct zf_overlay *overlay = *out = zf_calloc(1, sizeof *overlay);
  if (!overlay) return ZF_ENOMEM;
  *overlay = (struct zf_overlay){.model = model, .file = zf_scratch_file(directory)};
  overlay->replaced = zf_calloc(model->params.count, sizeof *overlay->replaced);
  if (overlay->file >= 0 && overlay->replaced) {
    for (int64_t i = 0; i < model->params.count; i++)
      overlay->replaced[i].old = model->params.param[i];
    return zf_model_own(model, overlay, free_overlay);
  }
  int rc = overlay->file >= 0 ? ZF_ENOMEM : overlay->file;
  free_overlay(overlay);
  *out = NULL;
  return rc;
}

/* Writes zeros, so that a full disk is an error here, and no signal when the mapping is written. */
static int write_zeros(int file, off_t at, size_t bytes) {
  static const char zeros[1 << 16];
  while (bytes) {
    ssize_t count = pwrite(file, zeros, bytes < sizeof zeros ? bytes : sizeof zeros, at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0)
      return zf_error(ZF_EIO, "cannot write the temporary file of new values: %s", strerror(errno));
    at += count;
    bytes -= (size_t)count;
  }
  return 0;
}

int zf_overlay_reserve(struct zf_overlay *overlay, int32_t number, enum zf_dtype type,
                       void **data) {
  struct replaced *replaced = &overlay->replaced[number];
  size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = zf_dtype_bytes(type, replaced->old.count),
         room = (bytes + page - 1) / page * page;
  release(overlay, &replaced->reserved);
  int rc = write_zeros(overlay->file, overlay->end, room);
  if (rc) return rc;
  void *map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, overlay->file, overlay->end);
  if (map == MAP_FAILED)
    return zf_error(ZF_EIO, "cannot map the temporary file of new values: %s", strerror(errno));
  replaced->reserved = (struct mapping){map, overlay->end, room};
  replaced->type = type;
  overlay->end += (off_t)room;
  *data = map;
  return 0;
}

void zf_overlay_use(struct zf_overlay *overlay, int32_t number) {
  struct replaced *replaced = &overlay->replaced[number];
  struct zf_param *param = &overlay->model->params.param[number];
  release(overlay, &replaced->used);
  replaced->used = replaced->reserved;
  replaced->reserved = (struct mapping){0};
  param->data = replaced->used.data;
  param->type = replaced->type;
  param->transposed = replaced->old.transposed && zf_dtype_info(param->type)->block == 1;
  int turned = replaced->old.transposed && !param->transposed;
  for (int i = 0; i < 2; i++) param->shape[i] = replaced->old.shape[turned ? 1 - i : i];
}

void zf_overlay_revert(struct zf_overlay *overlay, int32_t number) {
  release(overlay, &overlay->replaced[number].reserved);
  release(overlay, &overlay->replaced[number].used);
  overlay->model->params.param[number] = overlay->replaced[number].old;
}

void zf_overlay_drop(struct zf_overlay *overlay) {
  for (int64_t i = 0; i < overlay->model->params.count; i++) {
    const struct mapping *used = &overlay->replaced[i].used;
    if (used->data) madvise(used->data, used->bytes, MADV_DONTNEED);
  }
}
