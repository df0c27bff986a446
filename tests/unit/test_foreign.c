/* What other tools leave where a model is expected. */
#include "base/file.h"
#include "unit/models.h"
#include "unit/remake.h"

static const char *dir_with(const char *file, const char *content) {
  static char dir[512];
  static int n;
  char path[600], name[20];
  snprintf(name, sizeof name, "d%d", n++);
  snprintf(dir, sizeof dir, "%s", tmp_path(name));
  ck_ok(zf_mkdirs(dir));
  snprintf(path, sizeof path, "%s/%s", dir, file);
  ck_ok(zf_write_file(path, content, strlen(content)));
  return dir;
}

START_TEST(test_directories) {
  static const char *const t[][2] = {
      {"adapter_config.json",
       "holds a PEFT adapter, no model (adapter_config.json): give its base model here, and "},
      {"pytorch_model.bin",
       "holds weights as a PyTorch pickle (pytorch_model.bin): convert it with Transformers"},
      {"consolidated.00.pth", "holds weights in Meta's own layout"},
      {"tf_model.h5", "holds weights of TensorFlow"},
      {"model-q4_0.gguf", "holds a GGUF file and no Hugging Face model: give the file, "},
  };
  struct zf_model *m;
  for (size_t i = 0; i < sizeof t / sizeof *t; i++)
    ck_fails(zf_model_open(&m, dir_with(t[i][0], "x"), &as_stored), ZF_EUSAGE, t[i][1]);
  ck_fails(zf_model_open(&m, dir_with("notes.txt", "x"), &as_stored), ZF_EUSAGE,
           "config.json: cannot open");
}
END_TEST

/* With a config.json the weights' absence is told in the same words. */
START_TEST(test_pickle_beside_config) {
  struct zf_model *m;
  char path[600];
  const char *dir = remake("pickle", &(struct remake){FAMILIES_DIR "llama"});
  snprintf(path, sizeof path, "%s/model.safetensors", dir);
  ck_assert_int_eq(remove(path), 0);
  snprintf(path, sizeof path, "%s/pytorch_model.bin", dir);
  ck_ok(zf_write_file(path, "x", 1));
  ck_fails(zf_model_open(&m, dir, &as_stored), ZF_EUSAGE,
           "holds weights as a PyTorch pickle (pytorch_model.bin)");
}
END_TEST

static const struct {
  const char *config, *message;
} quantised[] = {
    {"{\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4}}",
     "key 'quantization_config': the weights are quantised by gptq: zoft reads F32, F16 and BF16"},
    {"{\"quantization_config\": {\"quant_method\": \"awq\"}}", "quantised by awq"},
    {"{\"quantization_config\": {\"load_in_4bit\": true}}", "quantised by bitsandbytes"},
    {"{\"quantization_config\": {}}", "quantised by an unnamed method"},
    {"{\"quantization\": {\"group_size\": 64, \"bits\": 4}}",
     "key 'quantization': the weights are quantised by MLX"},
};

START_TEST(test_quantised) {
  struct zf_model *m;
  const char *dir =
      remake("quantised", &(struct remake){FAMILIES_DIR "llama", .config = quantised[_i].config});
  ck_fails(zf_model_open(&m, dir, &as_stored), ZF_EINVALID, quantised[_i].message);
}
END_TEST

START_TEST(test_blob) {
  char *dir;
  const char *path = tmp_path("sha256-0123abcd");
  ck_ok(zf_write_file(path, "GGUF\3\0\0\0", 8));
  ck_fails(zf_model_find(&dir, path), ZF_EUSAGE,
           "a GGUF file by its first bytes, as Ollama stores them: give it");
  ck_ok(zf_write_file(path, "what", 4));
  ck_fails(zf_model_find(&dir, path), ZF_EUSAGE, "expected a model directory");
}
END_TEST

int main(void) {
  Suite *s = suite_create("foreign");
  TCase *t = tcase_create("foreign");
  tcase_add_test(t, test_directories);
  tcase_add_test(t, test_pickle_beside_config);
  tcase_add_loop_test(t, test_quantised, 0, sizeof quantised / sizeof *quantised);
  tcase_add_test(t, test_blob);
  suite_add_tcase(s, t);
  return unit_run(s);
}
