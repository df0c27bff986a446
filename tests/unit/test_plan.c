/* Plans: whatever the family, operations stay within their registers, every wanted tensor is used,
 * and the arithmetic is what the sizes say. */
#include "unit/models.h"

static void load(struct zf_config *c, struct zf_plan *p, int family) {
  char dir[256];
  snprintf(dir, sizeof dir, FAMILIES_DIR "%s", families[family]);
  ck_ok(zf_config_load(c, dir));
  ck_ok(zf_plan_build(p, c));
}

/* Columns that an operation reads and writes. */
static void spans(const struct zf_config *c, const struct zf_op *op, int64_t *in, int64_t *out) {
  int64_t qw = c->heads * c->head_dim, kw = c->kv_heads * c->head_dim;
  *in = *out = op->width;
  if (op->kind == ZF_OP_EMBED) *in = 0;
  if (op->kind == ZF_OP_LINEAR) *in = op->inputs;
  if (op->kind == ZF_OP_HEADNORM || op->kind == ZF_OP_ROPE) *in = *out = op->heads * op->width;
  if (op->kind == ZF_OP_PERMUTE_HEADS) *in = *out = 3 * op->heads * op->width;
  if (op->kind == ZF_OP_ACT && op->gated) *in = 2 * op->width;
  if (op->kind == ZF_OP_ATTENTION) {
    *in = qw + 2 * kw;
    *out = qw;
  }
}

START_TEST(test_in_bounds) {
  struct zf_config c;
  struct zf_plan p;
  load(&c, &p, _i);
  for (int64_t i = 0; i < p.nop; i++) {
    const struct zf_op *op = &p.op[i];
    int64_t in, out;
    spans(&c, op, &in, &out);
    ck_assert_msg(op->src_col + in <= p.width[op->src], "operation %lld reads beyond",
                  (long long)i);
    ck_assert_msg(op->dst_col + out <= p.width[op->dst], "operation %lld writes beyond",
                  (long long)i);
    ck_assert((i < p.body) == (op->src <= ZF_REG_P && op->dst <= ZF_REG_P));
    if (op->kind == ZF_OP_LINEAR) ck_assert(op->src != op->dst || op->src == ZF_REG_Z);
    if (op->kind == ZF_OP_ATTENTION) ck_assert_int_ge(op->layer, 0);
    if (i >= p.body || op->kind == ZF_OP_EMBED) ck_assert_int_eq(op->layer, -1);
  }
  zf_plan_free(&p);
}
END_TEST

START_TEST(test_every_want) {
  struct zf_config c;
  struct zf_plan p;
  load(&c, &p, _i);
  int used[256] = {0};
  ck_assert_int_le(p.wanted_count, 256);
  for (int64_t i = 0; i < p.nop; i++) {
    if (p.op[i].weight >= 0) used[p.op[i].weight]++;
    if (p.op[i].bias >= 0) used[p.op[i].bias]++;
  }
  if (!c.tied) used[p.head]++;
  if (p.head_bias >= 0) used[p.head_bias]++;
  for (int64_t i = 0; i < p.wanted_count; i++) {
    ck_assert_msg(used[i] == 1, "%s is used %d times", p.wanted[i].name, used[i]);
    ck_assert(strpbrk(p.wanted[i].name, "#@") == NULL);
    ck_assert_int_eq(p.wanted[i].decayed, p.wanted[i].ndim == 2);
    ck_assert(p.wanted[i].ndim == 2 || p.wanted[i].shape[0] <= p.vec);
    for (int64_t j = 0; j < i; j++) ck_assert_str_ne(p.wanted[i].name, p.wanted[j].name);
  }
  ck_assert_int_eq(c.tied ? p.head == 0 : p.head == p.wanted_count - 1 - (p.head_bias >= 0), 1);
  zf_plan_free(&p);
}
END_TEST

/* Every matrix but the embedding and the positions is multiplied once a token; project_out and the
 * head once a row. */
START_TEST(test_macs) {
  struct zf_config c;
  struct zf_plan p;
  load(&c, &p, _i);
  double body = 0, tail = (double)(c.outputs * c.embed_dim);
  for (int64_t i = 0; i < p.wanted_count; i++) {
    const struct zf_wanted_tensor *w = &p.wanted[i];
    double n = (double)(w->shape[0] * w->shape[1]);
    if (w->ndim < 2 || strstr(w->name, "embed") || strstr(w->name, "wte") ||
        strstr(w->name, "wpe") || i == p.head)
      continue;
    if (strstr(w->name, "project_out") || w->outside_prefix)
      tail += n;
    else
      body += n;
  }
  ck_assert(zf_plan_macs(&p, 7, 3, c.outputs) == 7 * body + 3 * tail);
  zf_plan_free(&p);
}
END_TEST

START_TEST(test_scales) {
  struct zf_config c;
  struct zf_plan p;
  load(&c, &p, 7); /* gpt2: scale_attn_by_inverse_layer_idx */
  int n = 0;
  for (int64_t i = 0; i < p.nop; i++)
    if (p.op[i].kind == ZF_OP_ATTENTION) {
      n++;
      ck_assert(p.op[i].scale == (float)(1 / sqrt(8.0) / n));
      ck_assert_int_eq(p.op[i].layer, n - 1);
    }
  ck_assert_int_eq(n, c.layers);
  zf_plan_free(&p);
}
END_TEST

int main(void) {
  Suite *s = suite_create("plan");
  TCase *t = tcase_create("plan");
  tcase_add_loop_test(t, test_in_bounds, 0, NFAMILIES);
  tcase_add_loop_test(t, test_every_want, 0, NFAMILIES);
  tcase_add_loop_test(t, test_macs, 0, NFAMILIES);
  tcase_add_test(t, test_scales);
  suite_add_tcase(s, t);
  return unit_run(s);
}
