/* The forward pass that keeps values, and the walk back. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "back/back_internal.h"
#include "base/cpu.h"
#include "base/err.h"
#include "kern/tile.h"

/* --- memory --- */

static int64_t logits_rows(const struct zf_model *m, int64_t rows) {
  int64_t n = ZF_BACK_LOGITS / m->config.outputs;
  n = n < 16 ? 16 : n;
  return zf_back_min(n, rows);
}

/* Widest and longest of products. */
static int64_t widest(const struct zf_model *m) {
  int64_t n = m->config.outputs;
  for (int64_t i = 0; i < m->plan.nop; i++)
    if (m->plan.op[i].kind == ZF_OP_LINEAR)
      n = zf_back_max(n, zf_back_max(m->plan.op[i].width, m->plan.op[i].inputs));
  return n;
}

void zf_back_limits(struct zf_limits *lim, const struct zf_model *m) {
  int threads = zf_kern_nthreads();
  int64_t rows = zf_back_max(lim->tokens, lim->rows), wide = 0;
  for (int64_t i = 0; i < m->plan.nop; i++)
    if (m->plan.op[i].kind == ZF_OP_LINEAR)
      wide = zf_back_max(wide, zf_back_max(m->plan.op[i].width, m->plan.op[i].inputs));
  size_t n = zf_kern_workspace_size(threads, lim->compute, rows, wide);
  size_t head = zf_kern_workspace_size(threads, lim->compute, logits_rows(m, lim->rows), widest(m));
  size_t turned = zf_kern_workspace_size(threads, lim->compute, ZF_BACK_TURN, rows);
  if (head > n) n = head;
  lim->work = turned > n ? turned : n;
}

/* Floats of the parts of the arena. */
struct parts {
  int64_t kept, region, grad, turned, logits, curvature, stats, lse, attention;
};

static int64_t padded(int64_t n) {
  return (n + 15) / 16 * 16;
}

static int64_t gradients(const struct zf_model *m) {
  int64_t n = 0;
  for (int64_t i = 0; i < m->params.count; i++)
    if (m->params.param[i].trained) n += padded(m->params.param[i].count);
  return n;
}

static struct parts parts_of(const struct zf_tape *t, const struct zf_model *m,
                             const struct zf_limits *lim) {
  int64_t rows = zf_back_max(lim->tokens, lim->rows), piece = logits_rows(m, lim->rows);
  struct parts p = {.kept = t->kept, .region = t->region, .grad = gradients(m)};
  p.turned = ZF_BACK_TURN * zf_back_max(lim->tokens, lim->rows);
  int64_t deal = 3 * m->config.heads * m->config.head_dim * zf_kern_nthreads();
  if (m->config.family->qkv == ZF_QKV_HEADS) p.turned = zf_back_max(p.turned, deal);
  p.logits = piece * m->config.outputs;
  if (p.logits <= zf_forward_head_floats(m, lim)) p.logits = 0; /* they lie in X and H, free then */
  p.curvature = m->config.logit_cap > 0 ? piece * m->config.outputs : 0;
  p.stats = 2 * zf_back_max(rows * m->config.heads, rows);
  p.lse = piece;
  p.attention = zf_kern_nthreads() * zf_back_attention_scratch(lim->length, m->config.head_dim);
  return p;
}

static int64_t cost(int64_t floats) {
  return (int64_t)zf_arena_cost((size_t)floats * sizeof(float));
}

static int64_t scratch_bytes(const struct parts *p, const struct zf_limits *lim) {
  return cost(p->turned) + cost(p->logits) + cost(p->curvature) + cost(p->stats) + cost(p->lse) +
         cost(p->attention) + cost(lim->segments);
}

int zf_back_bytes(struct zf_back_bytes *out, const struct zf_model *m, const struct zf_limits *lim,
                  int checkpoint) {
  struct zf_tape t;
  int rc = zf_tape_new(&t, m, lim->tokens, lim->rows, checkpoint);
  if (rc) return rc;
  struct parts p = parts_of(&t, m, lim);
  out->values = cost(p.kept) + cost(p.region);
  out->gradients = cost(p.grad);
  out->scratch = scratch_bytes(&p, lim);
  const int64_t *width = m->plan.width, all = zf_forward_head_floats(m, lim);
  int64_t used = lim->tokens * (width[ZF_REG_X] + width[ZF_REG_H]);
  if (!p.logits) used = zf_back_max(used, logits_rows(m, lim->rows) * m->config.vocab);
  out->spare = used < all ? 4 * (all - used) : 0;
  zf_tape_free(&t);
  return 0;
}

static int check_types(const struct zf_model *m, const struct zf_limits *lim) {
  if (lim->compute == ZF_COMPUTE_INT8)
    return zf_error(ZF_EUSAGE,
                    "backpropagation computes in f32 or bf16: int8 is too coarse for gradients");
  for (int64_t i = 0; i < m->params.count; i++)
    if (m->params.param[i].trained && m->params.param[i].type != ZF_F32)
      return zf_error(ZF_EUSAGE,
                      "backpropagation trains weights in f32, and '%s' is held as %s: leave dtype "
                      "at auto",
                      m->params.param[i].name, zf_dtype_info(m->params.param[i].type)->name);
  return 0;
}

static int place(struct zf_back *k) {
  struct parts p = parts_of(&k->tape, k->model, &k->lim);
  size_t all =
      (size_t)(cost(p.kept) + cost(p.region) + cost(p.grad)) + (size_t)scratch_bytes(&p, &k->lim);
  int rc = zf_arena_init(&k->arena, all);
  if (rc) return rc;
  k->kept = zf_arena_array(&k->arena, p.kept, 4);
  k->region = zf_arena_array(&k->arena, p.region, 4);
  k->grad = zf_arena_array(&k->arena, p.grad, 4);
  k->rotated = zf_arena_array(&k->arena, p.turned, 4);
  k->logits =
      p.logits ? zf_arena_array(&k->arena, p.logits, 4) : zf_forward_own(k->forward, ZF_REG_X);
  k->cap_derivative = zf_arena_array(&k->arena, p.curvature, 4);
  k->stats = zf_arena_array(&k->arena, p.stats, 4);
  k->lse = zf_arena_array(&k->arena, p.lse, 4);
  k->attention = zf_arena_array(&k->arena, p.attention, 4);
  k->unit = zf_arena_array(&k->arena, k->lim.segments, 4);
  k->ngrad = p.grad;
  k->piece = logits_rows(k->model, k->lim.rows);
  if (!k->kept || !k->region || !k->grad || !k->rotated || !k->logits || !k->cap_derivative ||
      !k->stats || !k->lse || !k->attention || !k->unit)
    return ZF_ENOMEM;
  int64_t at = 0;
  for (int64_t i = 0; i < k->model->params.count; i++) {
    const struct zf_param *w = &k->model->params.param[i];
    k->at[i] = w->trained ? at : -1;
    if (w->trained) at += padded(w->count);
  }
  for (int r = 0; r < ZF_REGS; r++) {
    k->gradient[r] = zf_forward_own(k->forward, (enum zf_reg)r);
    k->ld[r] = k->model->plan.width[r];
  }
  return 0;
}

int zf_back_new(struct zf_back **out, const struct zf_model *m, struct zf_forward *f,
                int checkpoint) {
  *out = NULL;
  int rc = check_types(m, zf_forward_limits(f));
  if (rc) return rc;
  struct zf_back *k = zf_calloc(1, sizeof *k);
  if (!k) return ZF_ENOMEM;
  k->model = m;
  k->forward = f;
  k->lim = *zf_forward_limits(f);
  k->rows = zf_back_rows_for(zf_cpu_flags());
  assert(k->lim.work > 0);
  k->at = zf_calloc(m->params.count, sizeof *k->at);
  rc = k->at ? zf_tape_new(&k->tape, m, k->lim.tokens, k->lim.rows, checkpoint) : ZF_ENOMEM;
  if (!rc) rc = place(k);
  if (rc) {
    zf_back_free(k);
    return rc;
  }
  *out = k;
  return 0;
}

void zf_back_free(struct zf_back *k) {
  if (!k) return;
  zf_arena_free(&k->arena);
  zf_tape_free(&k->tape);
  free(k->at);
  free(k);
}

float *zf_back_value(const struct zf_back *k, int32_t v) {
  const struct zf_value *x = &k->tape.value[v];
  return (x->kept ? k->kept : k->region) + x->at;
}

float *zf_back_gradient(struct zf_back *k, int64_t number) {
  return number >= 0 && k->at[number] >= 0 ? k->grad + k->at[number] : NULL;
}

float *zf_back_all(struct zf_back *k, int64_t *n) {
  *n = k->ngrad;
  return k->grad;
}

double zf_back_norm(struct zf_back *k) {
  enum { PIECE = 1 << 14, MOST = 256 };
  double part[MOST], sum = 0;
  for (int64_t at = 0; at < k->ngrad; at += (int64_t)PIECE * MOST) {
    int64_t n = (zf_back_min(k->ngrad - at, (int64_t)PIECE * MOST) + PIECE - 1) / PIECE;
    int team = zf_tile_team(n * PIECE);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
    for (int64_t i = 0; i < n; i++)
      part[i] =
          k->rows->square(k->grad + at + i * PIECE, zf_back_min(PIECE, k->ngrad - at - i * PIECE));
    for (int64_t i = 0; i < n; i++) sum += part[i];
  }
  return sqrt(sum);
}

/* --- forward --- */

static void copy_rows(float *to, int64_t ldto, const float *from, int64_t ld, int64_t T,
                      int64_t n) {
  int team = zf_tile_team(T * n);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t t = 0; t < T; t++) memcpy(to + t * ldto, from + t * ld, sizeof *to * (size_t)n);
}

/* act leaves its input as it was. */
static void run_act(struct zf_back *k, const struct zf_op *op, const struct zf_node *n, int64_t T) {
  const struct zf_value *from = &k->tape.value[n->src], *to = &k->tape.value[n->dst];
  float *src = zf_back_value(k, n->src), *dst = zf_back_value(k, n->dst);
  copy_rows(dst, to->ld, src, from->ld, T, op->width);
  zf_act(dst, to->ld, op->gated ? src + op->width : NULL, from->ld, T, op->width,
         (enum zf_act)op->act);
}

static void run_op(struct zf_back *k, int64_t i) {
  const struct zf_op *op = &k->model->plan.op[i];
  const struct zf_node *n = &k->tape.node[i];
  const struct zf_value *v = k->tape.value;
  int64_t T = i < k->model->plan.body ? k->batch->T : k->batch->R;
  if (op->kind == ZF_OP_ACT) {
    run_act(k, op, n, T);
    return;
  }
  if (n->src >= 0) zf_forward_bind(k->forward, op->src, zf_back_value(k, n->src), v[n->src].ld);
  if (n->side >= 0)
    copy_rows(zf_back_value(k, n->side), v[n->side].ld, zf_back_value(k, n->src) + op->src_col,
              v[n->src].ld, T, v[n->side].ld);
  if (n->old >= 0)
    copy_rows(zf_back_value(k, n->dst), v[n->dst].ld, zf_back_value(k, n->old), v[n->old].ld, T,
              v[n->dst].ld);
  float *keep = zf_back_value(k, n->dst);
  if (op->src != op->dst || n->src != n->dst) {
    if (op->src == op->dst && n->src >= 0) /* norm from one value of a register to the next */
      copy_rows(keep, v[n->dst].ld, zf_back_value(k, n->src), v[n->src].ld, T, op->width);
    zf_forward_bind(k->forward, op->dst, keep, v[n->dst].ld);
  }
  zf_forward_op(k->forward, op, k->batch);
}

static void run_segment(struct zf_back *k, int s) {
  for (int64_t i = k->tape.first[s]; i < k->tape.first[s + 1]; i++) run_op(k, i);
}

static void gather(struct zf_back *k) {
  int64_t C = k->model->config.hidden;
  const float *x = zf_back_value(k, k->tape.last_x);
  float *f = zf_back_value(k, k->tape.gathered);
  for (int64_t r = 0; r < k->batch->R; r++)
    memcpy(f + r * C, x + k->batch->row[r] * k->tape.value[k->tape.last_x].ld,
           sizeof *f * (size_t)C);
}

static enum zf_reg out_reg(const struct zf_back *k) {
  return k->model->plan.width[ZF_REG_G] ? ZF_REG_G : ZF_REG_F;
}

int zf_back_forward(struct zf_back *k, const struct zf_batch *b) {
  int rc = zf_forward_begin(k->forward, b);
  if (rc) return rc;
  const struct zf_plan *p = &k->model->plan;
  k->batch = b;
  for (int s = 0; s < k->tape.segments; s++) run_segment(k, s);
  gather(k);
  zf_forward_bind(k->forward, ZF_REG_F, zf_back_value(k, k->tape.gathered),
                  k->model->config.hidden);
  for (int64_t i = p->body; i < p->nop; i++) run_op(k, i);
  enum zf_reg r = out_reg(k);
  memset(k->gradient[r], 0, sizeof *k->gradient[r] * (size_t)(b->R * k->ld[r]));
  memset(k->live, 0, sizeof k->live);
  k->live[r] = 1;
  return 0;
}

/* --- backward --- */

/* dX from dF: rows may be asked for more than once. */
static void scatter(struct zf_back *k) {
  int64_t C = k->model->config.hidden;
  memset(k->gradient[ZF_REG_X], 0, sizeof(float) * (size_t)(k->batch->T * k->ld[ZF_REG_X]));
  for (int64_t r = 0; r < k->batch->R; r++)
    k->rows->add(k->gradient[ZF_REG_X] + k->batch->row[r] * k->ld[ZF_REG_X],
                 k->gradient[ZF_REG_F] + r * k->ld[ZF_REG_F], C);
  k->live[ZF_REG_X] = 1;
}

void zf_back_run(struct zf_back *k) {
  const struct zf_plan *p = &k->model->plan;
  const struct zf_tape *t = &k->tape;
  for (int64_t i = p->nop - 1; i >= p->body && i >= t->stop; i--) zf_back_op(k, i);
  if (t->stop >= p->body) return;
  scatter(k);
  for (int s = t->segments - 1; s >= 0; s--) {
    if (s < t->segments - 1 && t->first[s + 1] > t->stop) run_segment(k, s);
    for (int64_t i = t->first[s + 1] - 1; i >= t->first[s] && i >= t->stop; i--) zf_back_op(k, i);
  }
}
