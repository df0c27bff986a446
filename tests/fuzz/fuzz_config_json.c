/* config.json from anywhere: read, and what it led to is within the bounds that sizes are
 * multiplied under; then planned. */
#include <stdlib.h>

#include "model/plan.h"

static void check(int ok) {
  if (!ok) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct zf_config c;
  struct zf_plan p;
  if (zf_config_parse(&c, (const char *)data, size, "config.json")) return 0;
  const int64_t most = 1 << 24;
  check(c.vocab > 0 && c.vocab <= most && c.hidden > 0 && c.hidden <= most);
  check(c.heads > 0 && c.head_dim > 0 && c.heads * c.head_dim <= most);
  check(c.kv_heads > 0 && c.heads % c.kv_heads == 0);
  check(c.ffn > 0 && c.ffn <= 4 * most && c.embed_dim > 0 && c.embed_dim <= most);
  int stretched = c.rope[0].kind == ZF_ROPE_DYNAMIC;
  check(c.context > 0 && c.context <= (stretched ? most : c.max_pos) && c.max_pos <= most);
  check(zf_config_rot(&c) <= c.head_dim && zf_config_rot(&c) % 2 == 0);
  if (c.layers > 16 || zf_plan_build(&p, &c)) return 0;
  check(p.body <= p.nop && p.head >= 0 && p.head < p.wanted_count);
  for (int64_t i = 0; i < p.nop; i++)
    check(p.op[i].weight < p.wanted_count && p.op[i].bias < p.wanted_count);
  zf_plan_free(&p);
  return 0;
}
