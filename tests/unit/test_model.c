/* Opening, saving and resetting checkpoints; what is said of broken ones. */
#include <math.h>

#include "base/buf.h"
#include "base/file.h"
#include "fmt/json.h"
#include "kern/kern_internal.h"
#include "unit/models.h"
#include "unit/zo_steps.h"

/* Copies that can be spoilt are of family "llama-gelu" (F16, one file), or of another of the same
 * names. */
#define SOURCE FAMILIES_DIR "llama-gelu"

static const char *source = SOURCE;

struct spoil {
  const struct zf_st *st;
  const int64_t *from;  /* tensor of the source for each one written */
  const char *nan_name; /* its element `element` becomes a NaN, or infinite */
  int64_t element;
};

static int fill(void *ctx, int64_t i, FILE *f) {
  const struct spoil *x = ctx;
  const struct zf_st_tensor *t = &x->st->tensor[x->from[i]];
  unsigned char *d = zf_malloc(t->bytes);
  ck_assert_ptr_nonnull(d);
  memcpy(d, t->data, t->bytes);
  static const char *const not_finite[ZF_DTYPES] = {
      [ZF_F32] = "\0\0\x80\x7f", [ZF_F16] = "\x01\xfc", [ZF_BF16] = "\x80\xff"};
  size_t size = zf_dtype_info((enum zf_dtype)t->type)->size;
  if (x->nan_name && !strcmp(t->name, x->nan_name))
    memcpy(d + size * (size_t)x->element, not_finite[t->type], size);
  fwrite(d, 1, t->bytes, f);
  free(d);
  return 0;
}

/* Writes DIR without tensor `drop`, with `flat` reshaped to one dimension. */
static const char *spoilt(const char *name, const char *drop, const char *flat,
                          const char *nan_name, int64_t element) {
  const char *dir = tmp_path(name);
  struct zf_st *st;
  struct zf_st_out out[64];
  int64_t from[64], n = 0;
  char path[600];
  ck_ok(zf_mkdirs(dir));
  ck_ok(zf_st_open(&st, source));
  for (int64_t i = 0; i < st->count; i++) {
    const struct zf_st_tensor *t = &st->tensor[i];
    if (drop && !strcmp(t->name, drop)) continue;
    out[n] = (struct zf_st_out){.name = t->name, .type = (enum zf_dtype)t->type, .ndim = t->ndim};
    memcpy(out[n].shape, t->shape, sizeof out[n].shape);
    if (flat && !strcmp(t->name, flat)) {
      out[n].ndim = 1;
      out[n].shape[0] = t->count;
    }
    from[n++] = i;
  }
  struct spoil x = {st, from, nan_name, element};
  snprintf(path, sizeof path, "%s/model.safetensors", dir);
  ck_ok(zf_st_write(path, out, n, NULL, 0, fill, &x));
  zf_st_free(st);
  char from_config[600];
  snprintf(from_config, sizeof from_config, "%s/config.json", source);
  snprintf(path, sizeof path, "%s/config.json", dir);
  ck_ok(zf_copy_file(from_config, path));
  return dir;
}

static int opens(const char *dir, const struct zf_model_opts *o) {
  struct zf_model *m;
  int rc = zf_model_open(&m, dir, o);
  if (rc) ck_assert_ptr_null(m);
  zf_model_free(m);
  return rc;
}

START_TEST(test_missing) {
  const char *dir = spoilt("missing", "model.layers.0.mlp.up_proj.weight", NULL, NULL, 0);
  ck_fails(opens(dir, &as_stored), ZF_EINVALID,
           "tensor 'model.layers.0.mlp.up_proj.weight' is missing");
  ck_assert(strstr(zf_error_message(), dir) != NULL);
}
END_TEST

/* An untied head is named as it is in the file, without the body's prefix. */
START_TEST(test_missing_head) {
  const char *dir = spoilt("headless", NULL, NULL, NULL, 0);
  char path[600];
  json_t *c;
  snprintf(path, sizeof path, "%s/config.json", dir);
  ck_ok(zf_json_load(&c, path));
  json_object_set_new(c, "tie_word_embeddings", json_false());
  ck_assert_int_eq(json_dump_file(c, path, 0), 0);
  json_decref(c);
  ck_fails(opens(dir, &as_stored), ZF_EINVALID, "tensor 'lm_head.weight' is missing");
}
END_TEST

START_TEST(test_wrong_shape) {
  const char *dir = spoilt("shape", NULL, "model.layers.0.self_attn.q_proj.weight", NULL, 0);
  ck_fails(opens(dir, &as_stored), ZF_EINVALID,
           "model.safetensors: tensor 'model.layers.0.self_attn.q_proj.weight': expected shape "
           "[24, 24] by config.json, found [576]");
}
END_TEST

/* In each dtype, mapped as it is or converted, alone and on two threads. */
START_TEST(test_not_finite) {
  static const char *const from[ZF_DTYPES] = {
      [ZF_F32] = FAMILIES_DIR "llama", [ZF_F16] = SOURCE, [ZF_BF16] = FAMILIES_DIR "qwen3"};
  static const char *const what[ZF_DTYPES] = {"41 is inf,", "nan,", "41 is -inf,"};
  const char *name = "model.layers.0.mlp.gate_proj.weight";
  source = from[_i];
  const char *dir = spoilt("nan", NULL, NULL, name, 41);
  struct zf_model_opts f32 = {.dtype = ZF_F32};
  for (int n = 1; n <= 2; n++) {
    zf_kern_threads(n);
    zf_kern_set_min_work(0);
    ck_fails(opens(dir, &as_stored), ZF_EINVALID, "gate_proj.weight': element 41 is ");
    ck_assert(strstr(zf_error_message(), "not a finite number") != NULL);
    ck_assert(strstr(zf_error_message(), what[_i]) != NULL);
    ck_fails(opens(dir, &f32), ZF_EINVALID, "element 41 is ");
  }
}
END_TEST

START_TEST(test_dtype) {
  const char *dir = spoilt("dtype", NULL, NULL, NULL, 0);
  char path[600], *text;
  size_t len;
  snprintf(path, sizeof path, "%s/model.safetensors", dir);
  ck_ok(zf_read_file(&text, &len, path, 1 << 24));
  char *at = strstr(text + 8, "\"model.norm.weight\":{\"dtype\":\"F16\"");
  ck_assert_ptr_nonnull(at);
  at[strlen("\"model.norm.weight\":{\"dtype\":\"")] = 'I';
  ck_ok(zf_write_file(path, text, len));
  free(text);
  ck_fails(opens(dir, &as_stored), ZF_EINVALID,
           "tensor 'model.norm.weight': dtype I16 is not supported; supported are F32, F16, BF16");
}
END_TEST

START_TEST(test_no_files) {
  const char *dir = tmp_path("empty");
  char path[600];
  ck_ok(zf_mkdirs(dir));
  ck_fails(opens(dir, &as_stored), ZF_EUSAGE, "config.json");
  snprintf(path, sizeof path, "%s/config.json", dir);
  ck_ok(zf_copy_file(SOURCE "/config.json", path));
  ck_fails(opens(dir, &as_stored), ZF_EUSAGE, "safetensors");
}
END_TEST

START_TEST(test_globs) {
  const char *good[] = {"*mlp*", "model.norm.weight"}, *bad[] = {"*mlp*", "*c_attn*"};
  struct zf_model_opts o = {.dtype = -1, .trainable = good, .ntrainable = 2};
  struct zf_model *m;
  ck_ok(zf_model_open(&m, SOURCE, &o));
  for (int64_t i = 0; i < m->params.count; i++) {
    const struct zf_param *p = &m->params.param[i];
    int want = strstr(p->name, "mlp") || !strcmp(p->name, "model.norm.weight");
    ck_assert_int_eq(p->trained, want);
    ck_assert_int_eq(p->type, want ? ZF_F32 : ZF_F16);
    ck_assert_uint_eq(p->id, (uint32_t)i);
  }
  ck_assert_int_eq(m->copied, zf_params_bytes(&m->params, 1));
  ck_assert_int_eq(m->mapped + m->copied, zf_params_bytes(&m->params, 0));
  zf_model_free(m);
  o.trainable = bad;
  ck_fails(opens(SOURCE, &o), ZF_EUSAGE, "trainable: '*c_attn*' matches no tensor");
}
END_TEST

/* A head of two million dimensions: nothing of its size lies on the stack. */
START_TEST(test_huge_head) {
  static const char config[] =
      "{\"model_type\": \"llama\", \"vocab_size\": 2, \"hidden_size\": 1, \"num_hidden_layers\": "
      "1, "
      "\"num_attention_heads\": 1, \"head_dim\": 2097152, \"intermediate_size\": 1, "
      "\"max_position_embeddings\": 4, \"tie_word_embeddings\": true}";
  struct zf_config c;
  struct zf_rope_conf *r = &c.rope[0];
  ck_ok(zf_config_parse(&c, config, sizeof config - 1, "config.json"));
  struct zf_model m = {.config = c};
  struct zf_limits lim = {
      .tokens = 1, .rows = 1, .segments = 1, .length = 1, .ids = 1, .streams = 1};
  struct zf_forward *f;
  ck_ok(zf_plan_build(&m.plan, &c));
  ck_ok(zf_forward_new(&f, &m, &lim));
  ck_assert(r->theta == 10000);
  zf_forward_free(f);
  zf_plan_free(&m.plan);
}
END_TEST

/* --- saving --- */

static void hash(const struct zf_model *m, char out[33]) {
  ck_ok(zf_model_hash(m, out));
}

/* Some training: every trained weight moves. */
static void disturb(struct zf_model *m) {
  struct zf_zo zo = {.seed = 1, .eps = 1, .probes = 1};
  struct zf_zo_estimate estimate = new_estimate(&zo);
  ck_ok(zf_zo_open(&m->params, &zo));
  set_term(&estimate, &zo, 1, 0, 1);
  update_step(&m->params, &zo, 1, &estimate, 0.01, 0);
  zf_zo_close(&m->params);
  free_estimate(&estimate);
}

START_TEST(test_save) {
  struct zf_model *a = open_family(_i, "*", -1), *b;
  struct zf_model_opts all = {.dtype = ZF_F32};
  const char *dir = tmp_path("saved");
  char before[33], after[33], path[600];
  json_t *c;
  disturb(a);
  hash(a, before);
  ck_ok(zf_model_save(a, dir, -1, NULL, 0));
  b = open_model(dir, &all);
  hash(b, after);
  ck_assert_str_eq(before, after);
  ck_assert_int_eq(b->ignored, 0);
  snprintf(path, sizeof path, "%s/config.json", dir);
  ck_ok(zf_json_load(&c, path));
  ck_assert_str_eq(json_string_value(json_object_get(c, "dtype")), "float32");
  ck_assert_ptr_null(json_object_get(c, "torch_dtype"));
  json_decref(c);
  zf_model_free(a);
  zf_model_free(b);
}
END_TEST

/* Parts beside the language model are saved as they came, whatever dtype the rest is saved in. */
START_TEST(test_save_carried) {
  struct zf_model *m = open_model(FAMILIES_DIR "gemma3", &as_stored);
  const char *dir = tmp_path("carried");
  struct zf_st *st;
  int64_t carried = 0;
  ck_ok(zf_model_save(m, dir, ZF_BF16, NULL, 0));
  ck_ok(zf_st_open(&st, dir));
  for (int64_t i = 0; i < m->st->count; i++) {
    const struct zf_st_tensor *t = &m->st->tensor[i], *u;
    if (!zf_family_carries(m->config.family, t->name)) continue;
    carried++;
    ck_assert_ptr_nonnull(u = zf_st_find(st, t->name));
    ck_assert_int_eq(u->type, t->type);
    ck_assert_uint_eq(u->bytes, t->bytes);
    ck_assert_mem_eq(u->data, t->data, t->bytes);
  }
  ck_assert_int_eq(carried, 34);
  ck_assert_int_eq(st->count, m->params.count + carried);
  ck_assert_int_eq(m->ignored, 0);
  zf_st_free(st);
  zf_model_free(m);
}
END_TEST

/* Saved as a half format: each value rounded to nearest, and config.json says so. */
START_TEST(test_save_half) {
  struct zf_model *a = open_family(0, "*", -1), *b;
  const char *dir = tmp_path("half");
  char path[600];
  json_t *c;
  disturb(a);
  ck_ok(zf_model_save(a, dir, _i, NULL, 0));
  b = open_model(dir, &as_stored);
  for (int64_t i = 0; i < a->params.count; i++) {
    const struct zf_param *p = &a->params.param[i], *q = &b->params.param[i];
    ck_assert_int_eq(q->type, _i);
    for (int64_t e = 0; e < p->count; e++) {
      uint16_t h;
      zf_from_f32(&h, (const float *)p->data + e, q->type, 1);
      ck_assert_mem_eq(&h, (const uint16_t *)q->data + e, 2);
    }
  }
  snprintf(path, sizeof path, "%s/config.json", dir);
  ck_ok(zf_json_load(&c, path));
  ck_assert_str_eq(json_string_value(json_object_get(c, "dtype")),
                   _i == ZF_F16 ? "float16" : "bfloat16");
  json_decref(c);
  zf_model_free(a);
  zf_model_free(b);
}
END_TEST

START_TEST(test_reset_and_reload) {
  static const char *const globs[] = {"*mlp*"};
  struct zf_model_opts o = {
      .dtype = -1, .trained = (enum zf_dtype)_i, .trainable = globs, .ntrainable = 1};
  struct zf_model *m = open_model(FAMILIES_DIR "qwen2", &o);
  struct zf_st *st;
  const char *dir = tmp_path("reload");
  char start[33], moved[33], now[33];
  hash(m, start);
  disturb(m);
  hash(m, moved);
  ck_assert_str_ne(start, moved);
  ck_ok(zf_model_save(m, dir, -1, NULL, 0));
  zf_model_reset(m);
  hash(m, now);
  ck_assert_str_eq(now, start);
  ck_ok(zf_st_open(&st, dir));
  ck_ok(zf_model_reload(m, st));
  zf_st_free(st);
  hash(m, now);
  ck_assert_str_eq(now, moved);
  ck_ok(zf_st_open(&st, FAMILIES_DIR "opt"));
  ck_fails(zf_model_reload(m, st), ZF_EINVALID, ", as the run saved them");
  zf_st_free(st);
  zf_model_free(m);
}
END_TEST

/* A save over a model's own directory: the mapped source stays readable. */
START_TEST(test_save_over) {
  const char *dir = spoilt("over", NULL, NULL, NULL, 0);
  struct zf_model *m = open_model(dir, &as_stored), *n;
  char before[33], after[33];
  hash(m, before);
  ck_ok(zf_model_save(m, dir, -1, NULL, 0));
  hash(m, after);
  ck_assert_str_eq(before, after);
  n = open_model(dir, &as_stored);
  hash(n, after);
  ck_assert_str_eq(before, after);
  zf_model_free(m);
  zf_model_free(n);
}
END_TEST

/* --- finding --- */

START_TEST(test_find) {
  char *dir, path[600];
  const char *root = tmp_path("hub");
  ck_ok(zf_model_find(&dir, SOURCE));
  ck_assert_str_eq(dir, SOURCE);
  free(dir);
  ck_ok(zf_model_find(&dir, SOURCE "/model.safetensors"));
  ck_assert_str_eq(dir, SOURCE);
  free(dir);
  ck_fails(zf_model_find(&dir, SOURCE "/config.json"), ZF_EUSAGE,
           "a .safetensors file inside one, or a .gguf file");
  ck_fails(zf_model_find(&dir, "./nowhere"), ZF_EUSAGE, "./nowhere: no such model directory");
  setenv("HF_HUB_CACHE", root, 1);
  ck_fails(zf_model_find(&dir, "org/name"), ZF_EUSAGE, "not in the Hugging Face cache");
  ck_fails(zf_model_find(&dir, "gpt2"), ZF_EUSAGE,
           "gpt2: no such directory, and not in the Hugging Face cache");
  ck_fails(zf_model_find(&dir, "a/b/c"), ZF_EUSAGE, "a/b/c: no such model directory");
  snprintf(path, sizeof path, "%s/gone", root);
  ck_ok(zf_mkdirs(root));
  ck_assert_int_eq(symlink("nowhere", path), 0);
  ck_fails(zf_model_find(&dir, path), ZF_EINVALID,
           "/gone: is a link to nowhere, which does not exist");
}
END_TEST

static void put(const char *root, const char *name, const char *text) {
  char path[700];
  snprintf(path, sizeof path, "%s/%s", root, name);
  *strrchr(path, '/') = 0;
  ck_ok(zf_mkdirs(path));
  snprintf(path, sizeof path, "%s/%s", root, name);
  ck_ok(zf_write_file(path, text, strlen(text)));
}

static void finds(const char *name, const char *root, const char *want) {
  char *dir, path[700];
  ck_ok(zf_model_find(&dir, name));
  snprintf(path, sizeof path, "%s/%s", root, want);
  ck_assert_str_eq(dir, path);
  free(dir);
}

/* Where the library's variables put the cache, each over those behind it. */
START_TEST(test_cache_roots) {
  static const char *const variable[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                         "XDG_CACHE_HOME", "TRANSFORMERS_CACHE"};
  static const char *const under[] = {"", "", "/hub", "/huggingface/hub", ""};
  char home[500], root[700], value[600];
  snprintf(home, sizeof home, "%s", tmp_path("home"));
  for (int i = 0; i < 5; i++) unsetenv(variable[i]);
  setenv("HOME", home, 1);
  snprintf(root, sizeof root, "%s/.cache/huggingface/hub", home);
  put(root, "models--gpt2/refs/main", "abc");
  put(root, "models--gpt2/snapshots/abc/config.json", "{}");
  finds("gpt2", root, "models--gpt2/snapshots/abc");
  for (int i = 4; i >= 0; i--) { /* the last first, so that each is over those before it */
    snprintf(value, sizeof value, "~/c%d", i);
    setenv(variable[i], i == 1 ? "$HOME/c1" : value, 1);
    snprintf(root, sizeof root, "%s/c%d%s", home, i, under[i]);
    if (i < 4) {
      char *dir;
      ck_fails(zf_model_find(&dir, "org/name"), i == 3 ? ZF_EUSAGE : ZF_EUSAGE,
               "not in the Hugging Face cache");
    }
    put(root, "models--org--name/refs/main", "abc\n");
    put(root, "models--org--name/snapshots/abc/config.json", "{}");
    finds("org/name", root, "models--org--name/snapshots/abc");
    char gone[900];
    snprintf(gone, sizeof gone, "%s/models--org--name", root);
    snprintf(value, sizeof value, "%s/away%d", home, i);
    ck_assert_int_eq(rename(gone, value), 0);
  }
}
END_TEST

/* What an interrupted or cleaned cache leaves. */
START_TEST(test_cache_broken) {
  char *dir, path[700];
  const char *root = tmp_path("broken");
  setenv("HF_HUB_CACHE", root, 1);
  put(root, "models--a--b/blobs/x", "");
  ck_fails(
      zf_model_find(&dir, "a/b"), ZF_EINVALID,
      "models--a--b: has no refs/main, which names the snapshot to use: fetch the model again");
  put(root, "models--a--b/snapshots/old/config.json", "{}");
  ck_fails(zf_model_find(&dir, "a/b"), ZF_EINVALID,
           ", or give the directory of the snapshot that exists: ");
  put(root, "models--a--b/refs/main", "new");
  ck_fails(zf_model_find(&dir, "a/b"), ZF_EINVALID,
           "refs/main names the snapshot new, which does not exist");
  put(root, "models--a--b/refs/main", "../../x");
  ck_fails(zf_model_find(&dir, "a/b"), ZF_EINVALID, "expected the name of a snapshot");
  put(root, "models--a--b/refs/main", "old");
  snprintf(path, sizeof path, "%s/models--a--b/snapshots/old/pytorch_model.bin", root);
  ck_assert_int_eq(symlink("../../blobs/none", path), 0);
  finds("a/b", root, "models--a--b/snapshots/old"); /* nobody reads it */
  snprintf(path, sizeof path, "%s/models--a--b/snapshots/old/model-00001-of-00002.safetensors",
           root);
  ck_assert_int_eq(symlink("../../blobs/none", path), 0);
  ck_fails(zf_model_find(&dir, "a/b"), ZF_EINVALID,
           "model-00001-of-00002.safetensors: is a link to ../../blobs/none, which does not exist: "
           "fetch the model again");
}
END_TEST

/* Reading weights back leaves no trace in the peak: a tensor's pages go while it is read. */
START_TEST(test_reset_in_place) {
  enum { VOCAB = 200000, WIDTH = 64 }; /* an embedding of 51 MB */
  static const char config[] =
      "{\"model_type\": \"llama\", \"vocab_size\": 200000, \"hidden_size\": 64, "
      "\"intermediate_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": 4, "
      "\"num_key_value_heads\": 4, \"max_position_embeddings\": 32, \"rms_norm_eps\": 1e-5, "
      "\"hidden_act\": \"silu\", \"tie_word_embeddings\": true}";
  static const char *const all[] = {"*"};
  struct zf_model_opts o = {.dtype = -1, .trained = ZF_F32, .trainable = all, .ntrainable = 1};
  char dir[512], json[512], saved[512];
  struct zf_st *st;
  snprintf(dir, sizeof dir, "%s", tmp_path("wide"));
  snprintf(json, sizeof json, "%s", tmp_path("wide.json"));
  snprintf(saved, sizeof saved, "%s", tmp_path("wide.safetensors"));
  ck_ok(zf_write_file(json, config, sizeof config - 1));
  ck_ok(zf_model_init(json, dir, 1, ZF_F32));
  struct zf_model *m = open_model(dir, &o);
  ck_ok(zf_model_save_trained(m, saved, NULL, 0));
  int64_t before = zf_peak_rss();
  zf_model_reset(m);
  ck_ok(zf_st_open(&st, saved));
  ck_ok(zf_model_reload(m, st));
  int64_t grown = zf_peak_rss() - before;
  ck_assert_msg(grown < 4 * VOCAB * WIDTH / 4, "the peak grew by %lld bytes", (long long)grown);
  zf_st_free(st);
  zf_model_free(m);
}
END_TEST

/* What is no number, or none in the file's dtype, is not written: nothing is. */
START_TEST(test_save_unfit) {
  struct zf_model *m = open_family(0, "*", ZF_F32);
  float *w = m->params.param[2].data, was = w[3];
  char dir[512], text[256];
  snprintf(dir, sizeof dir, "%s", tmp_path("unfit"));
  w[3] = 1e6f;
  w[4] = -70000;
  snprintf(text, sizeof text, "2 weights are too large for f16, the first of them in '%s'",
           m->params.param[2].name);
  ck_fails(zf_model_save(m, dir, ZF_F16, NULL, 0), ZF_EUSAGE, text);
  ck_assert_int_eq(zf_dir_empty(dir), 1);
  ck_ok(zf_model_finite(m, "here"));
  ck_ok(zf_model_save(m, dir, ZF_BF16, NULL, 0));
  ck_ok(zf_model_save(m, dir, -1, NULL, 0));
  w[3] = INFINITY;
  w[4] = NAN;
  snprintf(text, sizeof text, "2 weights are not finite numbers, the first of them in '%s'",
           m->params.param[2].name);
  for (int type = -1; type <= ZF_BF16; type++)
    ck_fails(zf_model_save(m, tmp_path("unfit2"), type, NULL, 0), ZF_EDIVERGED, text);
  ck_fails(zf_model_save_trained(m, tmp_path("unfit3"), NULL, 0), ZF_EDIVERGED, text);
  ck_fails(zf_model_finite(m, "here"), ZF_EDIVERGED, text);
  ck_assert_int_eq(zf_dir_empty(tmp_path("unfit2")), 1);
  ck_assert(!zf_exists(tmp_path("unfit3")));
  w[3] = w[4] = was;
  ck_ok(zf_model_save(m, dir, ZF_F16, NULL, 0));
  zf_model_free(m);
}
END_TEST

int main(void) {
  Suite *s = suite_create("model");
  TCase *t = tcase_create("model");
  begin_kernels();
  tcase_set_timeout(t, 120);
  tcase_add_test(t, test_missing);
  tcase_add_test(t, test_missing_head);
  tcase_add_test(t, test_wrong_shape);
  tcase_add_loop_test(t, test_not_finite, ZF_F32, ZF_BF16 + 1);
  tcase_add_test(t, test_dtype);
  tcase_add_test(t, test_no_files);
  tcase_add_test(t, test_globs);
  tcase_add_test(t, test_huge_head);
  tcase_add_loop_test(t, test_save, 0, NFAMILIES);
  tcase_add_test(t, test_save_carried);
  tcase_add_loop_test(t, test_save_half, ZF_F16, ZF_BF16 + 1);
  tcase_add_loop_test(t, test_reset_and_reload, 0, ZF_DTYPES);
  tcase_add_test(t, test_save_over);
  tcase_add_test(t, test_find);
  tcase_add_test(t, test_cache_roots);
  tcase_add_test(t, test_cache_broken);
  tcase_add_test(t, test_save_unfit);
  tcase_add_test(t, test_reset_in_place);
  suite_add_tcase(s, t);
  return unit_run(s);
}
