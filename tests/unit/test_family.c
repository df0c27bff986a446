/* config.json: sizes, rules and their defaults by family, and every mistake with its message. */
#include <math.h>

#include "fmt/json.h"
#include "kern/kern.h"
#include "model/family.h"
#include "unit/unit.h"

#define LLAMA_SIZES                                                                                \
  "\"vocab_size\": 97, \"hidden_size\": 24, \"num_hidden_layers\": 2, "                            \
  "\"num_attention_heads\": 6, \"intermediate_size\": 40, \"max_position_embeddings\": 32"
#define LLAMA "{\"model_type\": \"llama\", " LLAMA_SIZES
#define ROPE(body) LLAMA ", \"rope_scaling\": {" body "}}"

static int parse(struct zf_config *c, const char *text) {
  return zf_config_parse(c, text, strlen(text), "config.json");
}

START_TEST(test_defaults) {
  struct zf_config c;
  ck_ok(parse(&c, LLAMA "}"));
  ck_assert_str_eq(c.family->model_type, "llama");
  ck_assert_int_eq(c.head_dim, 4);
  ck_assert_int_eq(c.kv_heads, 6);
  ck_assert_int_eq(c.embed_dim, 24);
  ck_assert_int_eq(c.context, 32);
  ck_assert_int_eq(c.act, ZF_ACT_SILU);
  ck_assert(c.norm_eps == 1e-6 && c.rope[0].theta == 10000 && c.rope[0].kind == ZF_ROPE_PLAIN);
  ck_assert(!c.tied && !c.qkv_bias && !c.o_bias && !c.mlp_bias && c.final_norm && c.affine);
  ck_assert(c.bos == -1 && c.eos == -1);
  ck_assert_int_eq(zf_config_rot(&c), 4);
}
END_TEST

START_TEST(test_keys) {
  struct zf_config c;
  ck_ok(parse(&c, LLAMA ", \"num_key_value_heads\": 2, \"head_dim\": 10, \"hidden_act\": \"gelu\", "
                        "\"rms_norm_eps\": 1e-5, \"tie_word_embeddings\": true, "
                        "\"attention_bias\": true, \"bos_token_id\": 1, "
                        "\"eos_token_id\": [7, 8], \"rope_theta\": 500000}"));
  ck_assert_int_eq(c.kv_heads, 2);
  ck_assert_int_eq(c.head_dim, 10);
  ck_assert_int_eq(c.act, ZF_ACT_GELU_ERF);
  ck_assert(c.norm_eps == 1e-5 && c.tied && c.qkv_bias && c.o_bias && !c.mlp_bias);
  ck_assert(c.bos == 1 && c.eos == 7 && c.rope[0].theta == 500000);
  ck_ok(parse(&c, LLAMA ", \"num_key_value_heads\": null, \"head_dim\": null, "
                        "\"rope_scaling\": null, \"eos_token_id\": null}"));
  ck_assert(c.kv_heads == 6 && c.head_dim == 4 && c.eos == -1);
}
END_TEST

/* Every activation has a name, and no two the same. */
START_TEST(test_act_names) {
  for (int a = 0; a < ZF_ACTS; a++) {
    ck_assert_ptr_nonnull(zf_act_names[a]);
    for (int b = 0; b < a; b++) ck_assert_str_ne(zf_act_names[a], zf_act_names[b]);
  }
}
END_TEST

/* Every name of Transformers' table: its values, or refused. */
START_TEST(test_acts) {
  struct zf_config c;
  char text[600];
  json_t *root, *want;
  const char *name;
  int refused = 0;
  ck_ok(zf_json_load(&root, "tests/golden/config/acts.json"));
  const json_t *places = json_object_get(root, "x");
  zf_kern_init(0);
  json_object_foreach(json_object_get(root, "y"), name, want) {
    snprintf(text, sizeof text, LLAMA ", \"hidden_act\": \"%s\"}", name);
    if (!strcmp(name, "prelu") || !strcmp(name, "xielu") || !strcmp(name, "sqrtsoftplus")) {
      ck_fails(parse(&c, text), ZF_EINVALID, "is not supported; supported are silu, swish, gelu");
      refused++;
      continue;
    }
    ck_ok(parse(&c, text));
    for (size_t i = 0; i < json_array_size(places); i++) {
      float x = (float)json_number_value(json_array_get(places, i));
      double y = json_number_value(json_array_get(want, i));
      zf_act(&x, 1, NULL, 0, 1, 1, (enum zf_act)c.act);
      ck_assert_msg(fabs((double)x - y) <= 2e-6 * fmax(1, fabs(y)), "%s(%zu): %g, not %g", name, i,
                    (double)x, y);
    }
  }
  ck_assert_int_eq(refused, 3);
  json_decref(root);
}
END_TEST

START_TEST(test_families) {
  struct zf_config c;
  ck_ok(parse(&c, "{\"model_type\": \"qwen3\", \"num_key_value_heads\": 2, " LLAMA_SIZES "}"));
  ck_assert_int_eq(c.head_dim, 128);
  ck_ok(parse(&c, "{\"model_type\": \"qwen2\", \"num_key_value_heads\": null, " LLAMA_SIZES "}"));
  ck_assert(c.qkv_bias && !c.o_bias && c.head_dim == 4);
  ck_ok(parse(&c, "{\"model_type\": \"gpt2\", \"vocab_size\": 9, \"n_embd\": 8, \"n_layer\": 1, "
                  "\"n_head\": 2, \"n_positions\": 16, \"n_inner\": null}"));
  ck_assert(c.ffn == 32 && c.tied && !c.unit_scale && c.act == ZF_ACT_GELU_TANH);
  ck_assert_int_eq(zf_config_rot(&c), 0);
  ck_ok(parse(&c, "{\"model_type\": \"gpt2\", \"vocab_size\": 9, \"n_embd\": 8, \"n_layer\": 1, "
                  "\"n_head\": 2, \"n_positions\": 16, \"n_inner\": 12, "
                  "\"scale_attn_weights\": false, \"tie_word_embeddings\": false}"));
  ck_assert(c.ffn == 12 && !c.tied && c.unit_scale);
  ck_ok(parse(&c, "{\"model_type\": \"opt\", \"vocab_size\": 9, \"hidden_size\": 8, "
                  "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"ffn_dim\": 16, "
                  "\"max_position_embeddings\": 16, \"word_embed_proj_dim\": 4, "
                  "\"do_layer_norm_before\": false}"));
  ck_assert(c.post_norm && !c.final_norm && c.embed_dim == 4 && c.qkv_bias && c.tied);
}
END_TEST

START_TEST(test_window) {
  static const char *const mistral =
      "{\"model_type\": \"mistral\", \"num_key_value_heads\": 2, " LLAMA_SIZES "%s}";
  static const char *const qwen =
      "{\"model_type\": \"qwen2\", \"num_key_value_heads\": 2, " LLAMA_SIZES "%s}";
  static const struct {
    const char *base, *more;
    int64_t window;
  } t[] = {
      {mistral, ", \"sliding_window\": 8", 8},
      {mistral, ", \"sliding_window\": 64", 64},
      {mistral, ", \"sliding_window\": null", 0},
      {qwen, ", \"sliding_window\": 8", 0},
      {qwen, ", \"sliding_window\": 8, \"use_sliding_window\": true", 8},
      {qwen, ", \"sliding_window\": null, \"use_sliding_window\": true", 0},
  };
  char text[1024];
  struct zf_config c;
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    snprintf(text, sizeof text, t[i].base, t[i].more);
    ck_ok(parse(&c, text));
    ck_assert_int_eq(c.context, 32);
    ck_assert_int_eq(c.window, t[i].window);
  }
  /* Absent: 4096. */
  ck_ok(parse(&c, "{\"model_type\": \"mistral\", \"num_key_value_heads\": 2, \"vocab_size\": 97, "
                  "\"hidden_size\": 24, "
                  "\"num_hidden_layers\": 2, \"num_attention_heads\": 6, "
                  "\"intermediate_size\": 40, \"max_position_embeddings\": 32768}"));
  ck_assert_int_eq(c.context, 32768);
  ck_assert_int_eq(c.window, 4096);
  snprintf(text, sizeof text, mistral, ", \"sliding_window\": 0");
  ck_fails(parse(&c, text), ZF_EINVALID, "key 'sliding_window': expected 1 or more, found 0");
}
END_TEST

/* Each mistake, and what the sentence about it holds. */
static const struct {
  const char *text, *part;
} bad[] = {
    {"[1]", "expected an object, found an array"},
    {"{\"model_type\": ", "config.json:1:"},
    {"{\"vocab_size\": 3}", "key 'model_type' is missing"},
    {"{\"model_type\": 3}", "key 'model_type': expected a string, found an integer"},
    {"{\"model_type\": \"rwkv\"}",
     "model_type 'rwkv' is not supported; supported are llama, mistral, qwen2, qwen3, gpt2, opt"},
    {"{\"model_type\": \"llama\"}", "key 'vocab_size' is missing"},
    {"{\"model_type\": \"llama\", \"vocab_size\": null}", "key 'vocab_size' is null"},
    {"{\"model_type\": \"llama\", \"vocab_size\": \"97\"}",
     "key 'vocab_size': expected an integer, found a string"},
    {"{\"model_type\": \"llama\", \"vocab_size\": 0}", "expected 1 to 16777216, found 0"},
    {"{\"model_type\": \"llama\", \"vocab_size\": -5}", "found -5"},
    {"{\"model_type\": \"llama\", \"vocab_size\": 16777217}", "found 16777217"},
    {"{\"model_type\": \"llama\", \"vocab_size\": 7, \"hidden_size\": 24, "
     "\"num_hidden_layers\": 4097}",
     "key 'num_hidden_layers': expected 1 to 4096"},
    {"{\"model_type\": \"llama\", \"vocab_size\": 7, \"hidden_size\": 24, "
     "\"num_hidden_layers\": 2, \"num_attention_heads\": 5}",
     "hidden_size 24 is not a multiple of num_attention_heads 5"},
    {LLAMA ", \"num_key_value_heads\": 4}", "6 heads cannot share 4 key/value heads evenly"},
    {LLAMA ", \"num_key_value_heads\": 12}", "6 heads cannot share 12"},
    {LLAMA ", \"head_dim\": 0}", "key 'head_dim': expected 1 to"},
    {LLAMA ", \"head_dim\": 16777216}", "6 heads of 16777216 are too many"},
    {LLAMA ", \"head_dim\": 5}", "head_dim 5 cannot be rotated in pairs"},
    {LLAMA ", \"hidden_act\": \"xielu\"}",
     "'xielu' is not supported; supported are silu, swish, gelu"},
    {LLAMA ", \"rms_norm_eps\": -1}", "key 'rms_norm_eps': expected 0 to 1"},
    {LLAMA ", \"tie_word_embeddings\": 1}", "expected true or false, found an integer"},
    {LLAMA ", \"eos_token_id\": \"x\"}", "key 'eos_token_id': expected a token id"},
    {LLAMA ", \"rope_theta\": 0}", "key 'rope_theta': expected a number above 0, found 0"},
    {LLAMA ", \"rope_scaling\": 3}", "key 'rope_scaling': expected an object, found an integer"},
    {LLAMA ", \"rope_parameters\": []}", "key 'rope_parameters': expected an object"},
    {LLAMA ", \"partial_rotary_factor\": 1.5}", "'partial_rotary_factor': expected above 0 to 1"},
    {ROPE("\"type\": \"mrope\", \"factor\": 4"),
     "rope scaling 'mrope' is not supported; supported are default, linear, dynamic, llama3, yarn"},
    {ROPE("\"type\": \"linear\""), "rope scaling 'linear' needs the key 'factor'"},
    {ROPE("\"type\": \"dynamic\", \"factor\": 0.5"),
     "dynamic rope scaling needs a factor of 1 or more"},
    {ROPE("\"type\": \"linear\", \"factor\": 0"), "key 'factor': expected a number above 0"},
    {ROPE("\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
          "\"high_freq_factor\": 4"),
     "'llama3' needs the key 'original_max_position_embeddings'"},
    {ROPE("\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
          "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 16"),
     "high_freq_factor 4 is not above low_freq_factor 4"},
};

START_TEST(test_mistakes) {
  struct zf_config c;
  ck_fails(parse(&c, bad[_i].text), ZF_EINVALID, bad[_i].part);
  ck_assert_msg(strncmp(zf_error_message(), "config.json", 11) == 0, "%s", zf_error_message());
}
END_TEST

START_TEST(test_no_file) {
  struct zf_config c;
  ck_fails(zf_config_load(&c, "/no/such/dir"), ZF_EUSAGE, "/no/such/dir/config.json");
}
END_TEST

/* Llama 3.1's numbers: wavelengths below 8192/4 stay, above 8192/1 are 8 times as long, and between
 * s = (8192/wavelength - 1) / 3 blends. */
START_TEST(test_llama3_freqs) {
  struct zf_rope_conf r = {.kind = ZF_ROPE_LLAMA3,
                           .theta = 500000,
                           .factor = 8,
                           .low = 1,
                           .high = 4,
                           .original = 8192,
                           .partial = 1};
  double f[64];
  int kept = 0, cut = 0, between = 0;
  zf_rope_freqs(f, 128, &r, 0);
  for (int i = 0; i < 64; i++) {
    double plain = pow(500000, -i / 64.0), wave = 2 * 3.14159265358979323846 / plain;
    double s = (8192 / wave - 1) / 3, want = plain;
    if (s <= 0)
      want = plain / 8, cut++;
    else if (s < 1)
      want = plain * (s + (1 - s) / 8), between++;
    else
      kept++;
    ck_assert_double_eq_tol(f[i] / want, 1, 1e-12);
  }
  ck_assert(kept > 0 && cut > 0 && between > 0);
  r.kind = ZF_ROPE_LINEAR;
  zf_rope_freqs(f, 128, &r, 0);
  ck_assert_double_eq_tol(f[1] * 8, pow(500000, -1 / 64.0), 1e-12);
  r.kind = ZF_ROPE_DYNAMIC; /* twice the original length, factor 8: the base times 9^(128/126) */
  zf_rope_freqs(f, 128, &r, 8192);
  ck_assert_double_eq_tol(f[1], pow(500000, -1 / 64.0), 1e-12);
  zf_rope_freqs(f, 128, &r, 16384);
  ck_assert_double_eq_tol(f[1], pow(500000 * pow(9, 128.0 / 126), -1 / 64.0), 1e-12);
}
END_TEST

/* A classifier that pools otherwise is refused, not read as if it did not. */
START_TEST(test_pooling) {
  static const char sizes[] =
      "\"model_type\": \"modernbert\", \"vocab_size\": 50, \"hidden_size\": 16,"
      " \"intermediate_size\": 24, \"num_hidden_layers\": 1, \"num_attention_heads\": 2,"
      " \"max_position_embeddings\": 32";
  struct zf_config c;
  char text[600];
  static const char *const pool[] = {"", ", \"classifier_pooling\": \"cls\"",
                                     ", \"classifier_pooling\": \"mean\""};
  static const char *const arch[] = {"ModernBertForMaskedLM",
                                     "ModernBertForSequenceClassification"};
  for (int a = 0; a < 2; a++)
    for (int p = 0; p < 3; p++) {
      snprintf(text, sizeof text, "{\"architectures\": [\"%s\"], %s%s}", arch[a], sizes, pool[p]);
      if (a && p == 2)
        ck_fails(parse(&c, text), ZF_EINVALID,
                 "key 'classifier_pooling': expected \"cls\", the first token, found mean");
      else
        ck_ok(parse(&c, text));
    }
}
END_TEST

/* Blocks without rotary embedding: by a list, by an interval, by every fourth. */
START_TEST(test_nope) {
  static const struct {
    const char *keys, *no_rope; /* 1: without */
  } t[] = {{"", "000100"},
           {", \"no_rope_layers\": null, \"no_rope_layer_interval\": 2", "010101"},
           {", \"no_rope_layer_interval\": 3", "001001"},
           {", \"no_rope_layers\": [1, 0, 1, 1, 1, 0], \"no_rope_layer_interval\": 3", "010001"}};
  static const char sizes[] =
      "{\"model_type\": \"smollm3\", \"vocab_size\": 97, \"hidden_size\": 24, "
      "\"num_hidden_layers\": 6, "
      "\"num_attention_heads\": 4, \"intermediate_size\": 40, \"max_position_embeddings\": 32%s}";
  char text[600];
  struct zf_config c;
  for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
    snprintf(text, sizeof text, sizes, t[i].keys);
    ck_ok(parse(&c, text));
    for (int k = 0; k < 6; k++)
      ck_assert_int_eq(!!(c.layer[k] & ZF_LAYER_NOPE), t[i].no_rope[k] == '1');
  }
  snprintf(text, sizeof text, sizes, ", \"no_rope_layer_interval\": 0");
  ck_fails(parse(&c, text), ZF_EINVALID,
           "key 'no_rope_layer_interval': expected 1 or more, found 0");
}
END_TEST

/* Spellings that Transformers takes beside a family's own, and defaults of files without a length. */
START_TEST(test_spellings) {
  struct zf_config a, b;
  ck_ok(parse(&a, "{\"model_type\": \"gpt2\", \"vocab_size\": 9, \"n_embd\": 8, \"n_layer\": 1, "
                  "\"n_head\": 2, \"n_positions\": 16, \"n_ctx\": 7}"));
  ck_ok(parse(
      &b,
      "{\"model_type\": \"gpt2\", \"vocab_size\": 9, \"hidden_size\": 8, \"n_embd\": 64, "
      "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"max_position_embeddings\": 16}"));
  ck_assert_mem_eq(&a, &b, sizeof a);
  ck_ok(parse(
      &a, "{\"model_type\": \"llama\", \"vocab_size\": 9, \"hidden_size\": 8, "
          "\"num_hidden_layers\": 1, "
          "\"num_attention_heads\": 2, \"intermediate_size\": 8, \"max_sequence_length\": 99}"));
  ck_assert_int_eq(a.context, 2048);
  ck_ok(parse(&a, ROPE("\"type\": \"linear\", \"factor\": 2")));
  ck_ok(parse(&b, LLAMA ", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2}, "
                        "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 7}}"));
  ck_assert_mem_eq(&a, &b, sizeof a);
}
END_TEST

int main(void) {
  Suite *s = suite_create("family");
  TCase *t = tcase_create("family");
  tcase_add_test(t, test_pooling);
  tcase_add_test(t, test_defaults);
  tcase_add_test(t, test_keys);
  tcase_add_test(t, test_act_names);
  tcase_add_test(t, test_acts);
  tcase_add_test(t, test_families);
  tcase_add_test(t, test_spellings);
  tcase_add_test(t, test_window);
  tcase_add_test(t, test_nope);
  tcase_add_loop_test(t, test_mistakes, 0, sizeof bad / sizeof *bad);
  tcase_add_test(t, test_no_file);
  tcase_add_test(t, test_llama3_freqs);
  suite_add_tcase(s, t);
  return unit_run(s);
}
