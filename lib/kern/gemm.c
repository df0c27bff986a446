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

static const void *element(const struct zf_weight *w, int64_t o, int64_t i) {
  return (const char *)w->data + zf_dtype_bytes(w->type, o * w->so + i * w->si);
}

struct zf_weight zf_weight_part(const struct zf_weight *w, int64_t o, int64_t n) {
  struct zf_weight part = *w;
  part.data = (const char *)w->data + zf_dtype_bytes(w->type, o * w->so);
  part.first = w->first + o * w->so;
  part.out = n;
  return part;
}

/* Rows o0..o0+n (n <= 16) of W, which run along k, as f32: in place or widened into wk->w. */
static const float *strip(const struct zf_weight *w, struct zf_thread_space *wk, int64_t o0,
                          int64_t n, int64_t k0, int64_t k, int64_t *ld) {
  *ld = w->so;
  if (w->type == ZF_F32) return element(w, o0, k0);
  *ld = ZF_KC;
  for (int64_t o = 0; o < n; o++)
    zf_kern.expand(wk->weights + o * ZF_KC, element(w, o0 + o, k0), w->type, k);
  return wk->weights;
}

/* Cell of panel set s where row k of a panel of `width` columns begins, the panel at column
 * `at` of the set. */
static uint32_t *cell_of(const struct job *j, const struct zf_thread_space *wk, int s, int64_t deep,
                         int64_t at, int64_t width, int64_t k) {
  return (uint32_t *)wk->panel[s] + at * deep + zf_kern_depth(j->p, k) * width;
}

/* Panel sets there are. */
static int panels(const struct job *j) {
  return j->w->noise ? j->st->count : 1;
}

/* Inputs k0..k0+k (k <= KC) of columns o0..o0+n (n <= 16), where W's rows run along k, by `pack`
 * into to[s] of width w, for each stream. */
static void pack_some(const struct job *j, struct zf_thread_space *wk, const struct zf_product *p,
                      void *const to[ZF_MAXSTREAM], int64_t width, int64_t o0, int64_t n,
                      int64_t k0, int64_t k) {
  const struct zf_weight *w = j->w;
  int64_t ld;
  const float *src = strip(w, wk, o0, n, k0, k, &ld), *z = w->noise ? wk->noise : NULL;
  for (int64_t o = 0; z && o < n; o++)
    zf_kern.noise(wk->noise + o * ZF_KC, w->noise, w->first + (o0 + o) * w->so + k0, k);
  for (int s = 0; s < panels(j); s++) p->pack(to[s], width, src, ld, z, j->st->eps[s], n, k);
}

/* Packs columns o0..o0+n (n <= 16) where W's rows run along k, for each stream; they are columns
 * `c` on of the panel at `at`. */
static void pack_strip(const struct job *j, struct zf_thread_space *wk, int64_t at, int64_t width,
                       int64_t c, int64_t o0, int64_t n, int64_t k0, int64_t k) {
  int64_t deep = zf_kern_depth(j->p, k);
  void *to[ZF_MAXSTREAM];
  for (int64_t i = 0; i < k; i += ZF_KC) {
    for (int s = 0; s < ZF_MAXSTREAM; s++) to[s] = cell_of(j, wk, s, deep, at, width, i) + c;
    pack_some(j, wk, j->p, to, width, o0, n, k0 + i, zf_kern_min(k - i, ZF_KC));
  }
}

/* The same by f32's pack and fold, group after group. */
static void pack_groups(const struct job *j, struct zf_thread_space *wk, int64_t at, int64_t width,
                        int64_t c, int64_t o0, int64_t n, int64_t k0, int64_t k) {
  int64_t deep = zf_kern_depth(j->p, k), group = j->p->group;
  void *to[ZF_MAXSTREAM];
  for (int64_t g = 0; g < k; g += group) {
    int64_t part = zf_kern_min(k - g, group);
    for (int64_t i = 0; i < part; i += ZF_KC) {
      for (int s = 0; s < ZF_MAXSTREAM; s++) to[s] = wk->chunk[s] + i * ZF_LANES;
      pack_some(j, wk, &zf_kern.product[ZF_COMPUTE_F32], to, ZF_LANES, o0, n, k0 + g + i,
                zf_kern_min(part - i, ZF_KC));
    }
    for (int s = 0; s < panels(j); s++)
      j->p->fold(cell_of(j, wk, s, deep, at, width, g) + c, width, wk->chunk[s], ZF_LANES, ZF_LANES,
                 part);
  }
}

/* Rows k0..k0+k of W, perturbed for each stream, where they run along columns: n of them, zeros
 * up to `width`. */
static void direct_rows(const struct job *j, float *const to[ZF_MAXSTREAM], int64_t width,
                        int64_t o0, int64_t n, int64_t k0, int64_t k) {
  const struct zf_weight *w = j->w;
  float z[ZF_MAXNR];
  for (int64_t i = 0; i < k; i++) {
    float *row = to[0] + i * width;
    zf_kern.expand(row, element(w, o0, k0 + i), w->type, n);
    memset(row + n, 0, (size_t)(width - n) * sizeof *row);
    if (!w->noise) continue;
    zf_kern.noise(z, w->noise, w->first + o0 + (k0 + i) * w->si, n);
    for (int s = j->st->count - 1; s >= 0; s--) { /* the first stream last: it holds W */
      float *out = to[s] + i * width;
      memset(out + n, 0, (size_t)(width - n) * sizeof *out);
      zf_kern.mix(out, row, z, j->st->eps[s], n);
    }
  }
}

/* Packs a panel of `width` columns, the first n real, where W's rows run along columns. */
static void pack_direct(const struct job *j, struct zf_thread_space *wk, int64_t at, int64_t width,
                        int64_t o0, int64_t n, int64_t k0, int64_t k) {
  float *to[ZF_MAXSTREAM] = {wk->chunk[0], wk->chunk[1]};
  int64_t depth = j->p->group ? j->p->group : DEPTH;
  for (int64_t i = 0; i < k; i += depth) {
    int64_t part = zf_kern_min(k - i, depth);
    for (int s = 0; !j->p->fold && s < j->st->count; s++)
      to[s] = (float *)wk->panel[s] + at * k + i * width;
    direct_rows(j, to, width, o0, n, k0 + i, part);
    for (int s = 0; j->p->fold && s < panels(j); s++)
      j->p->fold(cell_of(j, wk, s, zf_kern_depth(j->p, k), at, width, i), width, to[s], width,
                 width, part);
  }
}

/* Packs columns o0..o0+n (n <= NC) as panels one after another. */
static void pack(const struct job *j, struct zf_thread_space *wk, int64_t o0, int64_t n, int64_t k0,
                 int64_t k) {
  for (int64_t p = 0; p < n; p += j->p->nr) {
    int64_t real = zf_kern_min(n - p, j->p->nr), width = zf_kern_round_up(real);
    if (j->w->si != 1) {
      pack_direct(j, wk, p, width, o0 + p, real, k0, k);
      continue;
    }
    for (int64_t c = 0; c < real; c += ZF_LANES)
      (j->p->pack ? pack_strip : pack_groups)(j, wk, p, width, c, o0 + p + c,
                                              zf_kern_min(real - c, ZF_LANES), k0, k);
  }
}

/* Multiplies `rows` rows of stream s, from row r on, by the panels: into c, its rows ldc apart. */
static void multiply_rows(const struct job *j, const struct zf_thread_space *wk, float *c,
                          int64_t ldc, int s, int64_t r, int64_t rows, int64_t n, int64_t k0,
                          int64_t k, enum zf_mul_mode mode) {
  const struct zf_product *pr = j->p;
  for (int64_t p = 0; p < n; p += pr->nr) {
    int64_t width = zf_kern_round_up(zf_kern_min(n - p, pr->nr));
    pr->mul(c + p, ldc, j->cell + r * j->ldc + zf_kern_depth(pr, k0), j->ldc, rows,
            cell_of(j, wk, j->w->noise ? s : 0, zf_kern_depth(j->p, k), p, width, 0), width, width,
            k, mode);
  }
}

/* Multiplies rows t0..t1 of stream s by the panels, and finishes them after the last chunk. */
static void multiply(const struct job *j, const struct zf_thread_space *wk, float *c, int s,
                     int64_t t0, int64_t t1, int64_t o0, int64_t n, int64_t k0, int64_t k) {
  const float *bias = j->bias ? j->bias + s * j->ldb + o0 : NULL;
  int last = k0 + k == j->w->in, only = last && !k0, plain = only && !bias && n % ZF_LANES == 0;
  for (int64_t t = t0; t < t1; t += ROWS, c += only ? 0 : ROWS * ZF_NC) {
    int64_t rows = zf_kern_min(t1 - t, ROWS), r = s * j->T + t;
    float *y = j->y + r * j->ldy + o0;
    if (plain) {
      multiply_rows(j, wk, y, j->ldy, s, r, rows, n, k0, k,
                    j->accumulate ? ZF_MUL_ADD : ZF_MUL_SET);
      continue;
    }
    multiply_rows(j, wk, c, ZF_NC, s, r, rows, n, k0, k, k0 ? ZF_MUL_ADD : ZF_MUL_SET);
    if (last) zf_kern.finish(y, j->ldy, c, bias, rows, n, j->accumulate);
  }
}

/* Columns o0..o0+n of rows t0..t1 of every stream; they fit work.c. */
static void block(const struct job *j, struct zf_thread_space *wk, int64_t o0, int64_t n,
                  int64_t t0, int64_t t1) {
  for (int64_t k0 = 0; k0 < j->w->in; k0 += j->p->kc) {
    int64_t k = zf_kern_min(j->w->in - k0, j->p->kc);
    pack(j, wk, o0, n, k0, k);
    for (int s = 0; s < j->st->count; s++)
      multiply(j, wk, wk->sums + s * (t1 - t0) * ZF_NC, s, t0, t1, o0, n, k0, k);
  }
}

/* Columns o0..o1 of all rows, few of them, by W as it lies: strips where its rows run along k;
 * where they run along columns f32 is a panel already.  What is left is packed. */
static void small_m(const struct job *j, struct zf_thread_space *wk, int64_t o0, int64_t o1) {
  const struct zf_weight *w = j->w;
  int64_t rows = j->st->count * j->T, n;
  for (int64_t o = o0; o < o1; o += n) {
    int lies = w->si != 1 && w->type == ZF_F32 && o1 - o >= ZF_LANES;
    n = zf_kern_min(o1 - o, ZF_LANES);
    if (w->si != 1) n = zf_kern_min(o1 - o, j->p->nr);
    if (lies) n = n / ZF_LANES * ZF_LANES;
    if (w->si != 1 && !lies) {
      block(j, wk, o, n, 0, j->T);
      continue;
    }
    for (int64_t k0 = 0; k0 < w->in; k0 += ZF_KC) {
      int64_t k = zf_kern_min(w->in - k0, ZF_KC), ld = w->si;
      const float *src = lies ? element(w, o, k0) : strip(w, wk, o, n, k0, k, &ld);
      if (lies)
        j->p->mul(wk->sums, ZF_NC, j->x + k0, j->ldx, rows, src, ld, n, k,
                  k0 ? ZF_MUL_ADD : ZF_MUL_SET);
      else
        j->p->thin(wk->sums, ZF_NC, j->x + k0, j->ldx, rows, src, ld, n, k, k0 > 0);
    }
    for (int s = 0; s < j->st->count; s++)
      zf_kern.finish(j->y + s * j->T * j->ldy + o, j->ldy, wk->sums + s * j->T * ZF_NC,
                     j->bias ? j->bias + s * j->ldb + o : NULL, j->T, n, j->accumulate);
  }
}

static void part(const struct job *j, struct zf_thread_space *wk, int64_t o0, int64_t o1,
                 int64_t t0, int64_t t1) {
  int64_t most = ZF_MAXROWS / j->st->count, k = zf_kern_min(j->w->in, j->p->kc);
  int64_t nc =
      2 * j->p->nr <= ZF_NC && zf_kern_depth(j->p, k) * ZF_NC <= ZF_PANEL ? ZF_NC : ZF_NC / 2;
  if (j->p->thin && !j->w->noise && t1 - t0 == j->T && j->st->count * j->T <= ZF_SMALL_M) {
    small_m(j, wk, o0, o1);
    return;
  }
  for (int64_t t = t0; t < t1; t += most)
    for (int64_t o = o0; o < o1; o += nc)
      block(j, wk, o, zf_kern_min(o1 - o, nc), t, zf_kern_min(t1, t + most));
}

/* Thread id's share of the rows of x, as cells. */
static void make_cells(const struct job *j, int id, int n) {
  int64_t rows = j->st->count * j->T;
  for (int64_t r = zf_kern_range_start(rows, id, n); r < zf_kern_range_start(rows, id + 1, n); r++)
    j->p->rows((uint32_t *)zf_kern_cells() + r * j->ldc, j->x + r * j->ldx, j->w->in);
}

/* ready: rows of x are cells already. */
static void run(struct job *j, int ready) {
  const struct zf_weight *w = j->w;
  const struct zf_product *p = j->p = &zf_kern.product[w->compute];
  j->cell = p->rows ? zf_kern_cells() : (const void *)j->x;
  j->ldc = p->rows ? zf_kern_row_cells(p, w->in) : j->ldx;
  int64_t units = zf_kern_round_up(w->out) / ZF_LANES;
  int team = zf_kern_team(w->out * w->in * (j->T * j->st->count + 8) / 8);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int id = omp_get_thread_num(), n = omp_get_num_threads();
    int cols = units < n ? (int)units : n, rows = n / cols;
    struct zf_thread_space wk = zf_kern_thread_space(id);
    if (p->rows && !ready) {
      make_cells(j, id, n);
#pragma omp barrier
    }
    if (id < cols * rows) {
      int64_t o0 = ZF_LANES * zf_kern_range_start(units, id % cols, cols);
      int64_t o1 = ZF_LANES * zf_kern_range_start(units, id % cols + 1, cols);
      part(j, &wk, o0, zf_kern_min(o1, w->out), zf_kern_range_start(j->T, id / cols, rows),
           zf_kern_range_start(j->T, id / cols + 1, rows));
    }
  }
}

void zf_gemm(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
             const struct zf_weight *w, const struct zf_streams *st, const float *bias, int64_t ldb,
             int accumulate) {
  struct job j = {y, x, bias, ldy, ldx, ldb, T, w, st, accumulate, NULL, NULL, 0};
  run(&j, 0);
}

void zf_gemm_reuse(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t T,
                   const struct zf_weight *w, const struct zf_streams *st, const float *bias,
                   int64_t ldb, int accumulate) {
  struct job j = {y, x, bias, ldy, ldx, ldb, T, w, st, accumulate, NULL, NULL, 0};
  run(&j, 1);
}
