/* The matrix product on NEON: tiles of 6 rows by 16 columns, whose sums take 24 of the 32
 * registers, the panel's line four.  A panel of 16 KiB stays in the first cache. */
#include "kern/arm/vec_neon.h"

#include "kern/kern_internal.h"

enum { MR = 6 };

struct sums {
  zv s[MR];
};

/* One step of k.  This and `tile` are called with constant m only, so that loops unroll and
 * sums live in registers. */
static inline __attribute__((always_inline)) void step(struct sums *t, const float *x, int64_t ldx,
                                                       const float *panel, int m) {
  zv b = zv_load(panel);
#pragma GCC unroll 6
  for (int r = 0; r < m; r++)
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) t->s[r].v[v] = vfmaq_n_f32(t->s[r].v[v], b.v[v], x[r * ldx]);
}

static inline __attribute__((always_inline)) void
tile(float *c, const float *x, int64_t ldx, const float *panel, int64_t k, int add, int m) {
  struct sums t;
  int64_t i = 0;
#pragma GCC unroll 6
  for (int r = 0; r < m; r++) t.s[r] = zv_zero();
  for (; i + 16 <= k; i += 16) {
#pragma GCC unroll 6
    for (int r = 0; r < m; r++) __builtin_prefetch(x + (m + r) * ldx + i); /* the tile below */
    for (int64_t e = i + 16, f = i; f < e; f++, panel += 16) step(&t, x + f, ldx, panel, m);
  }
  for (; i < k; i++, panel += 16) step(&t, x + i, ldx, panel, m);
#pragma GCC unroll 6
  for (int r = 0; r < m; r++) {
    float *p = c + r * ZF_NC;
    zv_store(p, add ? zv_add(zv_load(p), t.s[r]) : t.s[r]);
  }
}

static void mul_neon(float *c, const float *x, int64_t ldx, int64_t rows, const float *panel,
                     int64_t w, int64_t k, int add) {
  (void)w; /* 16 */
  for (; rows >= MR; rows -= MR, c += MR * ZF_NC, x += MR * ldx) tile(c, x, ldx, panel, k, add, MR);
  switch (rows) {
    case 5:
      tile(c, x, ldx, panel, k, add, 5);
      break;
    case 4:
      tile(c, x, ldx, panel, k, add, 4);
      break;
    case 3:
      tile(c, x, ldx, panel, k, add, 3);
      break;
    case 2:
      tile(c, x, ldx, panel, k, add, 2);
      break;
    case 1:
      tile(c, x, ldx, panel, k, add, 1);
      break;
  }
}

/* Four elements of a row of W, the first m real, with noise. */
static inline float32x4_t row4(const float *src, const float *z, float eps, int64_t m) {
  float w[4] = {0}, n[4] = {0};
  if (m >= 4) {
    float32x4_t v = vld1q_f32(src);
    return z ? vfmaq_f32(v, vld1q_f32(z), vdupq_n_f32(eps)) : v;
  }
  for (int64_t i = 0; i < m; i++) w[i] = src[i];
  for (int64_t i = 0; z && i < m; i++) n[i] = z[i];
  return z ? vfmaq_f32(vld1q_f32(w), vld1q_f32(n), vdupq_n_f32(eps)) : vld1q_f32(w);
}

static void pack_neon(float *panel, int64_t w, const float *src, int64_t ld, const float *z,
                      float eps, int64_t n, int64_t k) {
  for (int64_t i = 0; i < k; i += 4)
    for (int64_t j = 0; j < 16; j += 4) {
      float32x4_t r[4], o[4];
      for (int64_t c = j; c < j + 4; c++)
        r[c - j] = c < n ? row4(src + c * ld + i, z ? z + c * ZF_KC + i : NULL, eps, k - i)
                         : vdupq_n_f32(0);
      zv_transpose_block(o, r);
      for (int64_t e = 0; e < 4 && i + e < k; e++) vst1q_f32(panel + (i + e) * w + j, o[e]);
    }
}

static void finish_neon(float *y, int64_t ldy, const float *c, const float *bias, int64_t rows,
                        int64_t n, int accumulate) {
  for (int64_t r = 0; r < rows; r++, y += ldy, c += ZF_NC)
    for (int64_t j = 0; j < n; j += 16) {
      int64_t m = n - j < 16 ? n - j : 16;
      zv v = zv_load(c + j);
      if (bias) v = zv_add(v, zv_load_n(bias + j, m));
      if (accumulate) v = zv_add(zv_load_n(y + j, m), v);
      zv_store_n(y + j, v, m);
    }
}

void zf_kern_init_gemm_neon(struct zf_kern_table *t) {
  t->name = "neon";
  t->nr = 16;
  t->pack = pack_neon;
  t->mul = mul_neon;
  t->finish = finish_neon;
}
