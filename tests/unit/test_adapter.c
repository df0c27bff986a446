/* Adapters over tiny base models: logits against those of Transformers with PEFT
 * (tests/golden/adapters/make_adapters.py). */
#include <dirent.h>

#include "peft/adapter.h"
#include "unit/models.h"

#define ADAPTERS "tests/golden/adapters/"

/* As in test_published: Transformers' f32 logits are themselves up to 3e-5 away from its f64 ones. */
static const double LOGITS = 2e-4;

static const int32_t ids[] = {3, 17, 5, 9, 22, 1, 14, 8, 3};
enum { N = sizeof ids / sizeof *ids };

static const char *const bases[] = {"llama", "qwen2", "qwen3",    "gemma3_text", "phi3",
                                    "gpt2",  "opt",   "gpt_neox", "bert"};
static const char *const methods[] = {"lora", "lora_all", "dora",   "embedding", "bias",  "ia3",
                                      "ln",   "vera",     "prompt", "prefix",    "tokens"};
enum { BASES = sizeof bases / sizeof *bases, METHODS = sizeof methods / sizeof *methods };

static struct zf_model *open_base(const char *base) {
  char path[256];
  snprintf(path, sizeof path, ADAPTERS "%s/base", base);
  return open_model(path, &as_stored);
}

static float *golden_logits(const char *dir, int64_t *count) {
  char path[300];
  struct zf_st *st;
  snprintf(path, sizeof path, "%s/logits.safetensors", dir);
  ck_ok(zf_st_open(&st, path));
  *count = st->tensor[0].count;
  float *logits = zf_calloc(*count, sizeof *logits);
  zf_to_f32(logits, st->tensor[0].data, ZF_F32, *count);
  zf_st_free(st);
  return logits;
}

static void check_logits(const char *dir, const float *got, const float *want, int64_t count) {
  double worst = 0;
  for (int64_t i = 0; i < count; i++) worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
  ck_assert_msg(worst <= LOGITS, "%s: logits differ by %g", dir, worst);
}

START_TEST(test_logits) {
  const char *base = bases[_i / METHODS], *method = methods[_i % METHODS];
  char dir[256];
  int64_t count;
  snprintf(dir, sizeof dir, ADAPTERS "%s/%s", base, method);
  if (!zf_adapter_probe(dir)) return; /* a method that PEFT does not have for the family */
  begin_kernels();
  struct zf_model *model = open_base(base);
  float *want = golden_logits(dir, &count);
  ck_ok(zf_adapter_use(model, dir, NULL));
  float *got = logits_of(model, ids, N);
  check_logits(dir, got, want, count);
  free(got);
  free(want);
  zf_model_free(model);
}
END_TEST

static Suite *suite(void) {
  Suite *s = suite_create("adapter");
  TCase *t = tcase_create("adapter");
  tcase_add_loop_test(t, test_logits, 0, BASES * METHODS);
  suite_add_tcase(s, t);
  return s;
}

int main(void) {
  return unit_run(suite());
}
