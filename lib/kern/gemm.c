/* The driver of the matrix product, the same for every arithmetic (struct zf_product).
 *
 * y [rows, out] is cut over threads into ranges of columns in units of 16, and of rows when
 * there are fewer units than threads.  All threads turn rows of x into cells, each its share;
 * then a thread walks its part so:
 *
 *   for up to NC columns           panels of nr columns, side by side in work.panel
 *     for a chunk of the inner dimension
 *       pack: read W once, make z once, write a panel set for each stream
 *       for each stream, for ROWS rows: panels x rows -> y, where one chunk is all there is,
 *         or -> work.c, which holds the sums of all rows and goes to y after the last chunk
 *
 * Few rows of x take another way where W is not perturbed: it is multiplied as it lies,
 * for packing would cost more than the product.
 *
 * Neither the cut nor the tiles change the order of additions of an element.  Goto and van
 * de Geijn, "Anatomy of high-performance matrix multiplication", 2008, is where panels come
 * from; rows of x are read in place here. */
#include <omp.h>
#include <string.h>

#include "kern/kern_internal.h"

enum {
  ROWS = 48, /* rows of x that stay near while the panels pass */
  DEPTH = 64 /* of the piece of a panel that is made in f32 first, unless a group is deeper */
};

struct job {
  float *y;
  const float *x, *bias;
  int64_t ldy, ldx, ldb, T;
  const struct zf_weight *w;
  const struct zf_streams *st;
  int accumulate;
  const struct zf_product *p;
  const uint32_t *cell; /* rows of x, ldc apart: x itself or the shared part of the workspace */
  int64_t ldc;
};

static const void *element(const struct zf_weight *weight, int64_t o, int64_t i) {
  return (const char *)weight->data + zf_dtype_bytes(weight->type, o * weight->so + i * weight->si);
}

struct zf_weight zf_weight_part(const struct zf_weight *weight, int64_t o, int64_t n) {
  struct zf_weight part = *weight;
  part.data = (const char *)weight->data + zf_dtype_bytes(weight->type, o * weight->so);
  part.first = weight->first + o * weight->so;
  part.out = n;
  return part;
}

/* Rows o0..o0+n (n <= 16) of W, which run along k, as f32: in place or widened into wk->w. */
static const float *strip(const struct zf_weight *weight, struct zf_thread_space *wk, int64_t o0,
                          int64_t n, int64_t k0, int64_t k, int64_t *ld) {
  *ld = weight->so;
  if (weight->type == ZF_F32) return element(weight, o0, k0);
  *ld = ZF_KC;
  for (int64_t o = 0; o < n; o++)
    zf_kern.expand(wk->weights + o * ZF_KC, element(weight, o0 + o, k0), weight->type, k);
  return wk->weights;
}

/* Cell of panel set s where row k of a panel of `width` columns begins, the panel at column
 * `at` of the set. */
static uint32_t *cell_of(const struct job *job, const struct zf_thread_space *wk, int s,
                         int64_t deep, int64_t at, int64_t width, int64_t k) {
  return (uint32_t *)wk->panel[s] + at * deep + zf_kern_depth(job->p, k) * width;
}

/* Panel sets there are. */
static int panels(const struct job *job) {
  return job->w->noise ? job->st->count : 1;
}

/* Inputs k0..k0+k (k <= KC) of columns o0..o0+n (n <= 16), where W's rows run along k, by `pack`
 * into to[s] of width w, for each stream. */
static void pack_some(const struct job *job, struct zf_thread_space *wk,
                      const struct zf_product *product, void *const to[ZF_MAXSTREAM], int64_t width,
                      int64_t o0, int64_t n, int64_t k0, int64_t k) {
  const struct zf_weight *weight = job->w;
  int64_t ld;
  const float *src = strip(weight, wk, o0, n, k0, k, &ld), *z = weight->noise ? wk->noise : NULL;
  for (int64_t o = 0; z && o < n; o++)
    zf_kern.noise(wk->noise + o * ZF_KC, weight->noise, weight->first + (o0 + o) * weight->so + k0,
                  k);
  for (int s = 0; s < panels(job); s++)
    product->pack(to[s], width, src, ld, z, job->st->eps[s], n, k);
}

/* Packs columns o0..o0+n (n <= 16) where W's rows run along k, for each stream; they are columns
 * `c` on of the panel at `at`. */
static void pack_strip(const struct job *job, struct zf_thread_space *wk, int64_t at, int64_t width,
                       int64_t c, int64_t o0, int64_t n, int64_t k0, int64_t k) {
  int64_t deep = zf_kern_depth(job->p, k);
  void *to[ZF_MAXSTREAM];
  for (int64_t i = 0; i < k; i += ZF_KC) {
    for (int s = 0; s < ZF_MAXSTREAM; s++) to[s] = cell_of(job, wk, s, deep, at, width, i) + c;
    pack_some(job, wk, job->p, to, width, o0, n, k0 + i, zf_kern_min(k - i, ZF_KC));
  }
}

/* The same by f32's pack and fold, group after group. */
static void pack_groups(const struct job *job, struct zf_thread_space *wk, int64_t at,
                        int64_t width, int64_t c, int64_t o0, int64_t n, int64_t k0, int64_t k) {
  int64_t deep = zf_kern_depth(job->p, k), group = job->p->group;
  void *to[ZF_MAXSTREAM];
  for (int64_t g = 0; g < k; g += group) {
    int64_t part = zf_kern_min(k - g, group);
    for (int64_t i = 0; i < part; i += ZF_KC) {
      for (int s = 0; s < ZF_MAXSTREAM; s++) to[s] = wk->chunk[s] + i * ZF_LANES;
      pack_some(job, wk, &zf_kern.product[ZF_COMPUTE_F32], to, ZF_LANES, o0, n, k0 + g + i,
                zf_kern_min(part - i, ZF_KC));
    }
    for (int s = 0; s < panels(job); s++)
      job->p->fold(cell_of(job, wk, s, deep, at, width, g) + c, width, wk->chunk[s], ZF_LANES,
                   ZF_LANES, part);
  }
}

/* Rows k0..k0+k of W, perturbed for each stream, where they run along columns: n of them, zeros
 * up to `width`. */
static void direct_rows(const struct job *job, float *const to[ZF_MAXSTREAM], int64_t width,
                        int64_t o0, int64_t n, int64_t k0, int64_t k) {
  const struct zf_weight *weight = job->w;
  float z[ZF_MAXNR];
  for (int64_t i = 0; i < k; i++) {
    float *row = to[0] + i * width;
    zf_kern.expand(row, element(weight, o0, k0 + i), weight->type, n);
    memset(row + n, 0, (size_t)(width - n) * sizeof *row);
    if (!weight->noise) continue;
    zf_kern.noise(z, weight->noise, weight->first + o0 + (k0 + i) * weight->si, n);
    for (int s = job->st->count - 1; s >= 0; s--) { /* the first stream last: it holds W */
      float *out = to[s] + i * width;
      memset(out + n, 0, (size_t)(width - n) * sizeof *out);
      zf_kern.mix(out, row, z, job->st->eps[s], n);
    }
  }
}

/* Packs a panel of `width` columns, the first n real, where W's rows run along columns. */
static void pack_direct(const struct job *job, struct zf_thread_space *wk, int64_t at,
                        int64_t width, int64_t o0, int64_t n, int64_t k0, int64_t k) {
  float *to[ZF_MAXSTREAM] = {wk->chunk[0], wk->chunk[1]};
  int64_t depth = job->p->group ? job->p->group : DEPTH;
  for (int64_t i = 0; i < k; i += depth) {
    int64_t part = zf_kern_min(k - i, depth);
    for (int s = 0; !job->p->fold && s < job->st->count; s++)
      to[s] = (float *)wk->panel[s] + at * k + i * width;
    direct_rows(job, to, width, o0, n, k0 + i, part);
    for (int s = 0; job->p->fold && s < panels(job); s++)
      job->p->fold(cell_of(job, wk, s, zf_kern_depth(job->p, k), at, width, i), width, to[s], width,
                   width, part);
  }
}

/* Packs columns o0..o0+n (n <= NC) as panels one after another. */
static void pack(const struct job *job, struct zf_thread_space *wk, int64_t o0, int64_t n,
                 int64_t k0, int64_t k) {
  for (int64_t p = 0; p < n; p += job->p->nr) {
    int64_t real = zf_kern_min(n - p, job->p->nr), width = zf_kern_round_up(real);
    if (job->w->si != 1) {
      pack_direct(job, wk, p, width, o0 + p, real, k0, k);
      continue;
    }
    for (int64_t c = 0; c < real; c += ZF_LANES)
      (job->p->pack ? pack_strip : pack_groups)(job, wk, p, width, c, o0 + p + c,
                                                zf_kern_min(real - c, ZF_LANES), k0, k);
  }
}

/* Multiplies `rows` rows of stream s, from row r on, by the panels: into c, its rows ldc apart. */
static void multiply_rows(const struct job *job, const struct zf_thread_space *wk, float *c,
                          int64_t ldc, int s, int64_t r, int64_t rows, int64_t n, int64_t k0,
                          int64_t k, enum zf_mul_mode mode) {
  const struct zf_product *pr = job->p;
  for (int64_t p = 0; p < n; p += pr->nr) {
    int64_t width = zf_kern_round_up(zf_kern_min(n - p, pr->nr));
    pr->mul(c + p, ldc, job->cell + r * job->ldc + zf_kern_depth(pr, k0), job->ldc, rows,
            cell_of(job, wk, job->w->noise ? s : 0, zf_kern_depth(job->p, k), p, width, 0), width,
            width, k, mode);
  }
}

/* Multiplies rows t0..t1 of stream s by the panels, and finishes them after the last chunk. */
static void multiply(const struct job *job, const struct zf_thread_space *wk, float *c, int s,
                     int64_t t0, int64_t t1, int64_t o0, int64_t n, int64_t k0, int64_t k) {
  const float *bias = job->bias ? job->bias + s * job->ldb + o0 : NULL;
  int last = k0 + k == job->w->in, only = last && !k0, plain = only && !bias && n % ZF_LANES == 0;
  for (int64_t t = t0; t < t1; t += ROWS, c += only ? 0 : ROWS * ZF_NC) {
    int64_t rows = zf_kern_min(t1 - t, ROWS), r = s * job->T + t;
    float *y = job->y + r * job->ldy + o0;
    if (plain) {
      multiply_rows(job, wk, y, job->ldy, s, r, rows, n, k0, k,
                    job->accumulate ? ZF_MUL_ADD : ZF_MUL_SET);
      continue;
    }
    multiply_rows(job, wk, c, ZF_NC, s, r, rows, n, k0, k, k0 ? ZF_MUL_ADD : ZF_MUL_SET);
    if (last) zf_kern.finish(y, job->ldy, c, bias, rows, n, job->accumulate);
  }
}

/* Columns o0..o0+n of rows t0..t1 of every stream; they fit work.c. */
static void block(const struct job *job, struct zf_thread_space *wk, int64_t o0, int64_t n,
                  int64_t t0, int64_t t1) {
  for (int64_t k0 = 0; k0 < job->w->in; k0 += job->p->kc) {
    int64_t k = zf_kern_min(job->w->in - k0, job->p->kc);
    pack(job, wk, o0, n, k0, k);
    for (int s = 0; s < job->st->count; s++)
      multiply(job, wk, wk->sums + s * (t1 - t0) * ZF_NC, s, t0, t1, o0, n, k0, k);
  }
}

/* Columns o0..o1 of all rows, few of them, by W as it lies: strips where its rows run along k;
 * where they run along columns f32 is a panel already.  What is left is packed. */
static void small_m(const struct job *job, struct zf_thread_space *wk, int64_t o0, int64_t o1) {
  const struct zf_weight *weight = job->w;
  int64_t rows = job->st->count * job->T, n;
  for (int64_t o = o0; o < o1; o += n) {
    int lies = weight->si != 1 && weight->type == ZF_F32 && o1 - o >= ZF_LANES;
    n = zf_kern_min(o1 - o, ZF_LANES);
    if (weight->si != 1) n = zf_kern_min(o1 - o, job->p->nr);
    if (lies) n = n / ZF_LANES * ZF_LANES;
    if (weight->si != 1 && !lies) {
      block(job, wk, o, n, 0, job->T);
      continue;
    }
    for (int64_t k0 = 0; k0 < weight->in; k0 += ZF_KC) {
      int64_t k = zf_kern_min(weight->in - k0, ZF_KC), ld = weight->si;
      const float *src = lies ? element(weight, o, k0) : strip(weight, wk, o, n, k0, k, &ld);
      if (lies)
        job->p->mul(wk->sums, ZF_NC, job->x + k0, job->ldx, rows, src, ld, n, k,
                    k0 ? ZF_MUL_ADD : ZF_MUL_SET);
      else
        job->p->thin(wk->sums, ZF_NC, job->x + k0, job->ldx, rows, src, ld, n, k, k0 > 0);
    }
    for (int s = 0; s < job->st->count; s++)
      zf_kern.finish(job->y + s * job->T * job->ldy + o, job->ldy, wk->sums + s * job->T * ZF_NC,
                     job->bias ? job->bias + s * job->ldb + o : NULL, job->T, n, job->accumulate);
  }
}

static void part(const struct job *job, struct zf_thread_space *wk, int64_t o0, int64_t o1,
                 int64_t t0, int64_t t1) {
  int64_t most = ZF_MAXROWS / job->st->count, k = zf_kern_min(job->w->in, job->p->kc);
  int64_t nc =
      2 * job->p->nr <= ZF_NC && zf_kern_depth(job->p, k) * ZF_NC <= ZF_PANEL ? ZF_NC : ZF_NC / 2;
  if (job->p->thin && !job->w->noise && t1 - t0 == job->T &&
      job->st->count * job->T <= ZF_SMALL_M) {
    small_m(job, wk, o0, o1);
    return;
  }
  for (int64_t t = t0; t < t1; t += most)
    for (int64_t o = o0; o < o1; o += nc)
      block(job, wk, o, zf_kern_min(o1 - o, nc), t, zf_kern_min(t1, t + most));
}

/* Thread id's share of the rows of x, as cells. */
static void make_cells(const struct job *job, int id, int n) {
  int64_t rows = job->st->count * job->T;
  for (int64_t r = zf_kern_range_start(rows, id, n); r < zf_kern_range_start(rows, id + 1, n); r++)
    job->p->rows((uint32_t *)zf_kern_cells() + r * job->ldc, job->x + r * job->ldx, job->w->in);
}

/* ready: rows of x are cells already. */
static void run(struct job *job, int ready) {
  const struct zf_weight *weight = job->w;
  const struct zf_product *product = job->p = &zf_kern.product[weight->compute];
  job->cell = product->rows ? zf_kern_cells() : (const void *)job->x;
  job->ldc = product->rows ? zf_kern_row_cells(product, weight->in) : job->ldx;
  int64_t units = zf_kern_round_up(weight->out) / ZF_LANES;
  int team = zf_kern_team(weight->out * weight->in * (job->T * job->st->count + 8) / 8);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int id = omp_get_thread_num(), n = omp_get_num_threads();
    int cols = units < n ? (int)units : n, rows = n / cols;
    struct zf_thread_space wk = zf_kern_thread_space(id);
    if (product->rows && !ready) {
      make_cells(job, id, n);
#pragma omp barrier
    }
    if (id < cols * rows) {
      int64_t o0 = ZF_LANES * zf_kern_range_start(units, id % cols, cols);
      int64_t o1 = ZF_LANES * zf_kern_range_start(units, id % cols + 1, cols);
      part(job, &wk, o0, zf_kern_min(o1, weight->out), zf_kern_range_start(job->T, id / cols, rows),
           zf_kern_range_start(job->T, id / cols + 1, rows));
    }
  }
}

void zf_gemm(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
             const struct zf_weight *weight, const struct zf_streams *st, const float *bias,
             int64_t ldb, int accumulate) {
  struct job job = {y, x, bias, ldy, ldx, ldb, T, weight, st, accumulate, NULL, NULL, 0};
  run(&job, 0);
}

void zf_gemm_reuse(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
                   const struct zf_weight *weight, const struct zf_streams *st, const float *bias,
                   int64_t ldb, int accumulate) {
  struct job job = {y, x, bias, ldy, ldx, ldb, T, weight, st, accumulate, NULL, NULL, 0};
  run(&job, 1);
}
