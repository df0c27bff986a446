/* One step over tiny matrices in blocks against numpy (tests/golden/gguf/make_updates.py): the weights that
 * a stream sees, the update, the f16 scales of the result, the integers of Q8_0. */
#include <jansson.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "fmt/json.h"
#include "kern/kern.h"
#include "unit/unit.h"

#define GOLDEN "tests/golden/gguf/updates.json"

static json_t *golden;
static void *workspace;

static void begin(void) {
  zf_kern_init(zf_cpu_flags());
  zf_kern_threads(1);
  workspace = aligned_alloc(64, (zf_kern_workspace_size(1) + 63) / 64 * 64);
  ck_assert_ptr_nonnull(workspace);
  zf_kern_workspace(workspace);
  ck_ok(zf_json_load(&golden, GOLDEN));
}

static void end(void) {
  json_decref(golden);
  free(workspace);
}

/* The bytes of a key in hexadecimal; the caller frees. */
static void *bytes_of(const json_t *of, const char *key, size_t *len) {
  const char *hex = json_string_value(json_object_get(of, key));
  ck_assert_ptr_nonnull(hex);
  *len = strlen(hex) / 2;
  unsigned char *out = zf_malloc(*len + 1);
  ck_assert_ptr_nonnull(out);
  for (size_t i = 0; i < *len; i++) {
    unsigned byte;
    ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
    out[i] = (unsigned char)byte;
  }
  return out;
}

static int64_t integer(const json_t *of, const char *key) {
  return json_integer_value(json_object_get(of, key));
}

static float number(const json_t *of, const char *key) {
  return (float)json_real_value(json_object_get(of, key));
}

static struct zf_noise direction_of(const json_t *of) {
  return (struct zf_noise){.seed = (uint64_t)integer(of, "seed"),
                           .step = (uint32_t)integer(of, "step"),
                           .param = (uint32_t)integer(of, "param"),
                           .kind = ZF_RADEMACHER};
}

static void update_along(void *data, enum zf_dtype type, int64_t count, const json_t *of) {
  struct zf_noise noise = direction_of(of), round = noise;
  float coefficient = number(of, "coefficient");
  round.use = ZF_USE_ROUNDING;
  struct zf_update_step step = {
      .direction = &noise, .coefficient = &coefficient, .terms = 1, .round = round, .keep = 1};
  struct zf_update update = {.step = &step, .steps = 1};
  zf_update(data, type, count, &update);
}

static enum zf_dtype type_named(const char *name) {
  int type = 0;
  while (type < ZF_DTYPES_READ && strcmp(zf_dtype_info((enum zf_dtype)type)->name, name) != 0)
    type++;
  ck_assert_int_lt(type, ZF_DTYPES_READ);
  return (enum zf_dtype)type;
}

static void same_values(const float *want, const float *got, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    ck_assert_msg(want[i] == got[i], "element %lld: %.9g, not %.9g", (long long)i, (double)got[i],
                  (double)want[i]);
}

/* Row r of a table with changed scales as the stream sees it. */
static void check_seen(const json_t *of, const struct zf_weight *weight) {
  size_t len;
  struct zf_streams streams = {.count = 1, .eps = {number(of, "eps")}};
  float *want = bytes_of(of, "seen", &len), *row = zf_calloc(weight->in, sizeof *row);
  ck_assert_int_eq((int64_t)len, 4 * weight->out * weight->in);
  for (int32_t r = 0; r < weight->out; r++) {
    zf_gather(row, weight->in, &r, 1, weight, &streams, 0);
    same_values(want + r * weight->in, row, weight->in);
  }
  free(row);
  free(want);
}

/* The scales of a result: rounded as lib/model/gguf_result.c rounds them. */
static void check_result(const json_t *of, const struct zf_weight *weight, const float *change,
                         int64_t scales) {
  size_t len;
  const struct zf_dtype_info *info = zf_dtype_info(weight->type);
  struct zf_noise round = {.use = ZF_USE_ROUNDING, .param = (uint32_t)integer(of, "param")};
  uint16_t *want = bytes_of(of, "scales", &len), *got = zf_calloc(scales, sizeof *got);
  float *value = zf_calloc(scales, sizeof *value);
  ck_assert_int_eq((int64_t)len, 2 * scales);
  for (int64_t i = 0; i < scales; i++) {
    uint16_t half;
    memcpy(&half,
           (const char *)weight->data + (size_t)(i / info->nscale) * info->size +
               info->scale[i % info->nscale],
           sizeof half);
    value[i] = fmaf(change[i], zf_f16_to_f32(half), zf_f16_to_f32(half));
  }
  zf_round(got, ZF_F16, value, &round, 0, scales);
  ck_assert_mem_eq(want, got, len);
  free(value);
  free(got);
  free(want);
}

START_TEST(scales_as_numpy) {
  const json_t *of = json_array_get(json_object_get(golden, "scales"), (size_t)_i);
  size_t len, changes;
  struct zf_noise noise = direction_of(of);
  void *data = bytes_of(of, "blocks", &len);
  float *change = bytes_of(of, "change", &changes), *after = bytes_of(of, "after", &changes);
  struct zf_weight weight = {.data = data,
                             .type = type_named(json_string_value(json_object_get(of, "type"))),
                             .out = integer(of, "rows"),
                             .in = integer(of, "columns"),
                             .output_stride = integer(of, "columns"),
                             .input_stride = 1,
                             .noise = &noise,
                             .scale_change = change};
  int64_t scales = zf_dtype_scales(weight.type, weight.out * weight.in);
  ck_assert_int_eq((int64_t)changes, 4 * scales);
  check_seen(of, &weight);
  update_along(change, ZF_F32, scales, of);
  ck_assert_mem_eq(after, change, changes);
  check_result(of, &weight, change, scales);
  free(after);
  free(change);
  free(data);
}
END_TEST

START_TEST(integers_as_numpy) {
  const json_t *of = json_object_get(golden, "integers");
  size_t len, also;
  unsigned char *blocks = bytes_of(of, "blocks", &len), *after = bytes_of(of, "after", &also);
  ck_assert_int_eq((int64_t)len, (int64_t)also);
  ck_assert_mem_ne(after, blocks, len);
  update_along(blocks, ZF_Q8_0, integer(of, "count"), of);
  ck_assert_mem_eq(after, blocks, len);
  free(after);
  free(blocks);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("block_update");
  TCase *tests = tcase_create("block_update");
  tcase_add_unchecked_fixture(tests, begin, end);
  tcase_add_loop_test(tests, scales_as_numpy, 0, 6);
  tcase_add_test(tests, integers_as_numpy);
  suite_add_tcase(suite, tests);
  return unit_run(suite);
}
