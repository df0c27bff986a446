/* How far weights held in fewer bits walk from those held in f32.
 *
 *   make build/drift && build/drift MODEL RUN [RUN2 ...]
 *
 * RUN is a run directory (or a log) with trained weights in f32 over the base model MODEL.  Its
 * steps are replayed in every dtype: the same updates, so that what differs is rounding alone. Each
 * RUN2 is a run of its own, in its own dtype, with its own projected gradients.  Prints, of the
 * weights w after the last step of each, |w - f32| / |f32| and, against the way that f32 went, |w -
 * f32| / |f32 - base|. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/file.h"
#include "train/replay.h"

static void need(int rc) {
  if (!rc) return;
  fprintf(stderr, "drift: %s\n", zf_error_message());
  exit(1);
}

static void load(struct zf_history *h, const char *run) {
  char *path = zf_is_dir(run) ? zf_path_join(run, "steps.log") : zf_strdup(run);
  need(path ? zf_history_load(h, path) : ZF_ENOMEM);
  free(path);
}

/* The base model with what the log trains held as `type`; after all its steps when `run`. */
static struct zf_model *weights(const char *dir, const struct zf_history *h, int type, int run) {
  static const char *const all[] = {"*"};
  struct zf_model_opts o = {
      .dtype = -1, .trained = (enum zf_dtype)type, .trainable = all, .ntrainable = 1};
  struct zf_model *m;
  need(zf_model_open(&m, dir, &o));
  if (run) need(zf_replay_steps(m, h, 0, h->count, NULL));
  return m;
}

/* Euclidean distance over all parameters; b NULL: the norm of a. */
static double distance(const struct zf_model *a, const struct zf_model *b) {
  enum { PIECE = 4096 };
  double sum = 0;
  for (int64_t p = 0; p < a->params.count; p++) {
    const struct zf_param *x = &a->params.param[p], *y = b ? &b->params.param[p] : NULL;
    for (int64_t i = 0; i < x->count; i += PIECE) {
      float u[PIECE], v[PIECE] = {0};
      int64_t n = x->count - i < PIECE ? x->count - i : PIECE;
      zf_to_f32(u, (char *)x->data + i * (int64_t)zf_dtype_info(x->type)->size, x->type, n);
      if (y) zf_to_f32(v, (char *)y->data + i * (int64_t)zf_dtype_info(y->type)->size, y->type, n);
      for (int64_t k = 0; k < n; k++) sum += ((double)u[k] - v[k]) * ((double)u[k] - v[k]);
    }
  }
  return sqrt(sum);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: drift MODEL RUN [RUN2 ...]\n");
    return 2;
  }
  struct zf_history h;
  zf_kern_init(zf_cpu_flags());
  zf_kern_threads(zf_cpu_cores());
  load(&h, argv[2]);
  struct zf_model *base = weights(argv[1], &h, ZF_F32, 0), *f32 = weights(argv[1], &h, ZF_F32, 1);
  double norm = distance(f32, NULL), way = distance(f32, base);
  printf("%lld steps, |f32| %.4g, |f32 - base| %.4g\n", (long long)h.count, norm, way);
  for (int t = 0; t < ZF_DTYPES; t++) {
    struct zf_model *m = weights(argv[1], &h, t, 1);
    double d = distance(m, f32);
    printf("same steps, %-4s  %.3e of |f32|, %.3e of the way\n",
           zf_dtype_info((enum zf_dtype)t)->name, d / norm, d / way);
    zf_model_free(m);
  }
  for (int i = 3; i < argc; i++) {
    struct zf_history own;
    load(&own, argv[i]);
    struct zf_model *m = weights(argv[1], &own, own.head.trained, 1);
    double d = distance(m, f32);
    printf("own steps,  %-4s  %.3e of |f32|, %.3e of the way\n",
           zf_dtype_info((enum zf_dtype)own.head.trained)->name, d / norm, d / way);
    zf_history_free(&own);
    zf_model_free(m);
  }
  zf_history_free(&h);
  zf_model_free(base);
  zf_model_free(f32);
  return 0;
}
