/* Adapters that must be refused, each with its message; dtypes; patterns of module names. */
#include "unit/unit.h"

#include <jansson.h>

#include "base/buf.h"
#include "base/file.h"
#include "fmt/json.h"
#include "peft/adapter_file.h"

/* --- made files ------------------------------------------------------------------------------ */

static int fill_ramp(void *ctx, int64_t index, FILE *out) {
  const int64_t *count = ctx;
  for (int64_t i = 0; i < count[index]; i++) {
    float value = (float)(i + 1);
    fwrite(&value, sizeof value, 1, out);
  }
  return 0;
}

/* A safetensors file with f32 tensors "NAME ROWS COLUMNS", COLUMNS 0: one dimension; values 1, 2, ...
 * The caller frees. */
static char *make_tensors(const char *words, size_t *len) {
  struct zf_st_out tensor[8] = {0};
  char name[8][120], *bytes;
  int64_t count[8];
  int n = 0, used;
  long rows, columns;
  for (const char *at = words; sscanf(at, " %119s %ld %ld%n", name[n], &rows, &columns, &used) == 3;
       at += used, n++) {
    tensor[n] =
        (struct zf_st_out){.name = name[n], .ndim = columns ? 2 : 1, .shape = {rows, columns}};
    count[n] = rows * (columns ? columns : 1);
  }
  const char *path = tmp_path("made.safetensors");
  ck_ok(zf_st_write(path, tensor, n, NULL, 0, fill_ramp, count));
  ck_ok(zf_read_file(&bytes, len, path, 1 << 20));
  return bytes;
}

#define P "base_model.model."
#define PAIR P "m.lora_A.weight 2 3 " P "m.lora_B.weight 4 2 "
#define LORA2 "{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":[\"m\"]"

static const struct {
  const char *config, *tensors, *message; /* NULL: it is read */
} mutations[] = {
    {LORA2 "}", PAIR, NULL},
    {LORA2 ",\"use_qalora\":false,\"new_key\":null,\"other\":[],\"eva_config\":{\"rho\":2}}", PAIR,
     NULL},
    {"[]", PAIR, "adapter_config.json: expected an object, found an array"},
    {"{", PAIR, "adapter_config.json:1:1:"},
    {"{}", PAIR, "key 'peft_type' is missing"},
    {"{\"peft_type\":\"LOHA\"}", PAIR,
     "peft_type 'LOHA' is not supported; supported are LORA, IA3"},
    {"{\"peft_type\":7}", PAIR, "key 'peft_type': expected a string, found an integer"},
    {LORA2 ",\"use_qalora\":true}", PAIR, "key 'use_qalora' is set"},
    {LORA2 ",\"layer_replication\":[[0,1]]}", PAIR, "key 'layer_replication' is set"},
    {LORA2 ",\"megatron_config\":{\"a\":1}}", PAIR, "key 'megatron_config' is set"},
    {LORA2 ",\"alora_invocation_tokens\":[5]}", PAIR, "key 'alora_invocation_tokens' is set"},
    {LORA2 ",\"target_parameters\":[\"x\"]}", PAIR, "key 'target_parameters' is set"},
    {LORA2 ",\"lora_bias\":true}", PAIR, "key 'lora_bias' is set"},
    {LORA2 ",\"ensure_weight_tying\":true}", PAIR, "key 'ensure_weight_tying' is set"},
    {LORA2 ",\"kasa_config\":{\"a\":1}}", PAIR, "key 'kasa_config' is set"},
    {LORA2 ",\"bias\":\"some\"}", PAIR, "key 'bias' is 'some': expected none, all or lora_only"},
    {LORA2 ",\"bias\":true}", PAIR, "key 'bias': expected a string, found true"},
    {LORA2 ",\"init_lora_weights\":\"pissa\"}", PAIR, "init_lora_weights is 'pissa'"},
    {LORA2 ",\"init_lora_weights\":3}", PAIR, "expected true, false or a string, found an integer"},
    {LORA2 ",\"lora_alpha\":\"x\"}", PAIR, "key 'lora_alpha': expected a number, found a string"},
    {LORA2 ",\"lora_alpha\":NaN}", PAIR, "key 'lora_alpha'"},
    {LORA2 ",\"lora_alpha\":1e999}", PAIR, "key 'lora_alpha'"},
    {LORA2 ",\"modules_to_save\":\"m\"}", PAIR, "key 'modules_to_save': expected a list"},
    {LORA2 ",\"exclude_modules\":[1]}", PAIR, "key 'exclude_modules': expected a list of strings"},
    {LORA2 ",\"layers_to_transform\":[-1]}", PAIR, "expected integers that are not negative"},
    {LORA2 ",\"rank_pattern\":{\"m\":2.5}}", PAIR, "key 'rank_pattern': expected integers"},
    {LORA2 ",\"rank_pattern\":{\"m\":0}}", PAIR, "key 'rank_pattern' is 0: expected 1 to"},
    {LORA2 ",\"rank_pattern\":{\"(\":2}}", PAIR, "rank_pattern: pattern '(':"},
    {LORA2 ",\"rank_pattern\":{\"m\":3}}", PAIR, "has the shape [2, 3]: expected [3, 3], by r"},
    {LORA2 ",\"trainable_token_indices\":{\"a\":[1],\"b\":[2]}}", PAIR, "names 2 embeddings"},
    {LORA2 ",\"trainable_token_indices\":[1]}", PAIR, "but no trainable_tokens_delta"},
    {LORA2 ",\"use_dora\":true}", PAIR, "use_dora is true, but lora_magnitude_vector is missing"},
    {LORA2 "}", PAIR P "m.lora_magnitude_vector 4 0", "but use_dora is false"},
    {LORA2 ",\"use_dora\":true}", PAIR P "m.lora_magnitude_vector 3 0", "the rows of B"},
    {"{\"peft_type\":\"LORA\",\"r\":0}", PAIR, "key 'r' is 0: expected 1 to"},
    {"{\"peft_type\":\"LORA\"}", PAIR, "has the shape [2, 3]: expected [8, 3]"},
    {LORA2 "}", P "m.lora_A.weight 2 3", "lora_A of 'm' stands alone: its lora_B is missing"},
    {LORA2 "}", P "m.lora_B.weight 4 2", "lora_B of 'm' stands alone: its lora_A is missing"},
    {LORA2 "}", P "m.lora_A.weight 2 3 " P "m.lora_B.weight 4 3", "has the shape [4, 3]"},
    {LORA2 "}", P "m.lora_A.weight 2 0 " P "m.lora_B.weight 4 2",
     "has the shape [2]: expected [2, 1]"},
    {LORA2 "}", PAIR P "m.weight 4 3", "'base_model.model.m.weight' is none of a LORA adapter"},
    {LORA2 "}", PAIR P "m.bias 4 0", "'base_model.model.m.bias' is none"},
    {LORA2 ",\"bias\":\"all\"}", PAIR P "m.bias 4 0", NULL},
    {LORA2 ",\"bias\":\"all\"}", PAIR P "m.lora_B.bias 4 0", "is none of a LORA adapter"},
    {LORA2 ",\"modules_to_save\":[\"n\"]}", PAIR P "n.weight 4 3", NULL},
    {LORA2 ",\"modules_to_save\":[\"n\"]}", PAIR P "nn.weight 4 3", "is none of a LORA adapter"},
    {LORA2 "}", PAIR P "m.ia3_l 4 1", "'base_model.model.m.ia3_l' is none of a LORA adapter"},
    {LORA2 "}", PAIR "other.lora_A.weight 2 3", "'other.lora_A.weight' is none"},
    {LORA2 "}", PAIR P "m.base_layer.bias 4 0 " P "m.bias 4 0", "is none of a LORA adapter"},
    {LORA2 ",\"bias\":\"all\"}", PAIR P "m.base_layer.bias 4 0 " P "m.bias 4 0", "stands twice"},
    {LORA2 "}", PAIR P "m.lora_embedding_A 2 3 " P "m.lora_embedding_B 4 2",
     "the module also has a lora_embedding_A"},
    {LORA2 "}", "", "the adapter holds no tensors"},
    {"{\"peft_type\":\"IA3\"}", P "m.ia3_l 4 1", NULL},
    {"{\"peft_type\":\"IA3\",\"feedforward_modules\":[\"m\"]}", P "m.ia3_l 4 1",
     "expected [1, 4], as feedforward_modules names the module"},
    {"{\"peft_type\":\"IA3\",\"feedforward_modules\":[\"m\"]}", P "xm.ia3_l 1 4", NULL},
    {"{\"peft_type\":\"IA3\"}", P "m.ia3_l 1 4", "does not name the module"},
    {"{\"peft_type\":\"IA3\",\"feedforward_modules\":\"(\"}", P "m.ia3_l 1 4", "pattern '('"},
    {"{\"peft_type\":\"PROMPT_TUNING\"}", "prompt_embeddings 2 3",
     "'num_virtual_tokens' is missing"},
    {"{\"peft_type\":\"PROMPT_TUNING\",\"num_virtual_tokens\":3,\"token_dim\":3}",
     "prompt_embeddings 2 3", "has the shape [2, 3]: expected [3, 3]"},
    {"{\"peft_type\":\"PROMPT_TUNING\",\"num_virtual_tokens\":2,\"token_dim\":3}", P "m.ia3_l 1 4",
     "is none of a PROMPT_TUNING adapter"},
    {"{\"peft_type\":\"PROMPT_TUNING\",\"num_virtual_tokens\":2,\"num_transformer_submodules\":2}",
     "prompt_embeddings 2 3", "num_transformer_submodules is 2"},
    {"{\"peft_type\":\"PREFIX_TUNING\",\"num_virtual_tokens\":2,\"token_dim\":3,\"num_layers\":2}",
     "prompt_embeddings 2 6", "expected [2, 12]"},
    {"{\"peft_type\":\"VERA\",\"r\":2}", P "m.vera_lambda_b 4 0 " P "m.vera_lambda_d 2 0",
     "the projection vera_A is missing"},
    {"{\"peft_type\":\"VERA\",\"r\":2,\"save_projection\":false}",
     P "m.vera_lambda_b 4 0 " P "m.vera_lambda_d 2 0", "save_projection is false"},
    {"{\"peft_type\":\"VERA\",\"r\":2}",
     P "m.vera_lambda_b 5 0 " P "m.vera_lambda_d 2 0 base_model.vera_A 2 3 base_model.vera_B 4 2",
     "longer than vera_B has rows"},
    {"{\"peft_type\":\"VERA\",\"r\":2}",
     P "m.vera_lambda_b 4 0 base_model.vera_A 2 3 base_model.vera_B 4 2",
     "its vera_lambda_d is missing"},
    {"{\"peft_type\":\"VERA\",\"r\":2}",
     P "m.vera_lambda_b 4 0 " P "m.vera_lambda_d 3 0 base_model.vera_A 2 3 base_model.vera_B 4 2",
     "its length is not r"},
    {"{\"peft_type\":\"TRAINABLE_TOKENS\"}", P "m.trainable_tokens_delta 2 3", "'token_indices'"},
    {"{\"peft_type\":\"TRAINABLE_TOKENS\",\"token_indices\":[1]}", P "m.trainable_tokens_delta 2 3",
     "expected [1, 3], a row for each token index"},
};
enum { MUTATIONS = sizeof mutations / sizeof *mutations };

START_TEST(test_mutations) {
  struct zf_adapter_file *file = NULL;
  size_t len;
  char *bytes = make_tensors(mutations[_i].tensors, &len);
  const char *config = mutations[_i].config;
  int rc = zf_adapter_file_parse(&file, config, strlen(config), bytes, len, "dir");
  const char *message = mutations[_i].message;
  ck_assert_msg(!message == !rc, "%s %s: %d: %s", config, mutations[_i].tensors, rc,
                zf_error_message());
  if (message) {
    ck_assert_int_eq(rc, ZF_EINVALID);
    ck_assert_ptr_null(file);
    ck_assert_msg(strstr(zf_error_message(), message) != NULL, "%s %s: '%s' lacks '%s'", config,
                  mutations[_i].tensors, zf_error_message(), message);
  }
  zf_adapter_file_free(file);
  free(bytes);
}
END_TEST

#define MLX "{\"lora_parameters\":{\"rank\":2,\"scale\":10.0,\"dropout\":0.0}"
static const struct {
  const char *config, *tensors, *message;
} mlx_mutations[] = {
    {MLX "}", "m.lora_a 3 2 m.lora_b 2 4", NULL},
    {"[]", "m.lora_a 3 2 m.lora_b 2 4", "expected an object, found an array"},
    {"{}", "m.lora_a 3 2 m.lora_b 2 4", "key 'lora_parameters': expected an object, found nothing"},
    {"{\"lora_parameters\":{\"rank\":2}}", "m.lora_a 3 2 m.lora_b 2 4", "key 'scale'"},
    {"{\"lora_parameters\":{\"scale\":2}}", "m.lora_a 3 2 m.lora_b 2 4", "key 'rank'"},
    {MLX ",\"fine_tune_type\":\"full\"}", "m.weight 3 2", "fine_tune_type 'full' is not supported"},
    {MLX "}", "m.lora_a 3 2", "lora_A of 'm' stands alone"},
    {MLX "}", "m.lora_a 3 3 m.lora_b 3 4", "has the shape [3, 3]: expected [2, 3]"},
    {MLX "}", "m.lora_a 3 0 m.lora_b 2 4", "1 dimensions: expected 2"},
    {MLX "}", "m.weight 3 2", "'m.weight' is none of an MLX LoRA adapter"},
    {MLX "}", "x.embed_tokens.lora_a 3 2 x.embed_tokens.lora_b 2 4", "name the base"},
    {MLX ",\"fine_tune_type\":\"dora\"}", "m.lora_a 3 2 m.lora_b 2 4",
     "magnitude_vector is missing"},
};

START_TEST(test_mlx_mutations) {
  struct zf_adapter_file *file = NULL;
  size_t len;
  char *bytes = make_tensors(mlx_mutations[_i].tensors, &len);
  const char *config = mlx_mutations[_i].config, *message = mlx_mutations[_i].message;
  int rc = zf_adapter_file_parse_mlx(&file, config, strlen(config), bytes, len, "dir", NULL);
  ck_assert_msg(!message == !rc, "%s: %d: %s", config, rc, zf_error_message());
  if (message)
    ck_assert_msg(strstr(zf_error_message(), message) != NULL, "'%s' lacks '%s'",
                  zf_error_message(), message);
  else
    ck_assert_double_eq(file->config.alpha, 20);
  zf_adapter_file_free(file);
  free(bytes);
}
END_TEST

/* Values that are not finite, a dtype without support, and f16 and bf16. */
START_TEST(test_dtypes) {
  static const struct {
    const char *dtype, *bytes; /* of one value */
    int size;
    double value;
    const char *message;
  } cases[] = {
      {"F32", "\0\0\xc0\x7f", 4, 0, "value 0 is not a finite number"},
      {"F16", "\x00\x7c", 2, 0, "value 0 is not a finite number"},
      {"F16", "\x00\x3e", 2, 1.5, NULL},
      {"BF16", "\xc0\x3f", 2, 1.5, NULL},
      {"I64", "\0\0\0\0\0\0\0\0", 8, 0, "dtype I64 has no support"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct zf_adapter_file *file = NULL;
    struct zf_buf head = {0}, bytes = {0};
    const char *config = "{\"peft_type\":\"IA3\"}";
    /* an odd length of the header leaves the values unaligned */
    zf_buf_printf(&head,
                  "{\"" P "m.ia3_l\":{\"dtype\":\"%s\",\"shape\":[1,1],\"data_offsets\":[0,%d]}}",
                  cases[i].dtype, cases[i].size);
    if (head.len % 2 == 0) zf_buf_putc(&head, ' ');
    for (int j = 0; j < 8; j++) zf_buf_putc(&bytes, (char)(head.len >> 8 * j & 255));
    zf_buf_add(&bytes, head.data, head.len);
    zf_buf_add(&bytes, cases[i].bytes, (size_t)cases[i].size);
    int rc = zf_adapter_file_parse(&file, config, strlen(config), bytes.data, bytes.len, "dir");
    ck_assert_int_eq(rc, cases[i].message ? ZF_EINVALID : 0);
    if (cases[i].message)
      ck_assert(strstr(zf_error_message(), cases[i].message) != NULL);
    else
      ck_assert_double_eq(file->tensor[0].data[0], cases[i].value);
    zf_adapter_file_free(file);
    zf_buf_free(&head);
    zf_buf_free(&bytes);
  }
}
END_TEST

/* --- patterns -------------------------------------------------------------------------------- */

START_TEST(test_patterns) {
  struct zf_adapter_file *file = NULL;
  struct zf_peft_config copy;
  int64_t rank;
  double scale;
  int yes;
  ck_ok(zf_adapter_file_read(&file, "tests/golden/peft/lora_patterns", NULL));
  ck_ok(zf_peft_config_copy(&copy, &file->config));
  zf_adapter_file_free(file);
  ck_ok(zf_peft_rank(&rank, &copy, "model.layers.0.self_attn.q_proj"));
  ck_assert_int_eq(rank, 3);
  ck_ok(zf_peft_rank(&rank, &copy, "model.layers.10.self_attn.q_proj"));
  ck_assert_int_eq(rank, 2);
  ck_ok(zf_peft_scale(&scale, &copy, "model.layers.0.self_attn.k_proj"));
  ck_assert_double_eq(scale, 4.25);
  ck_ok(zf_peft_targets(&yes, &copy, "model.layers.0.self_attn.k_proj"));
  ck_assert_int_eq(yes, 1);
  ck_ok(zf_peft_targets(&yes, &copy, "model.layers.1.self_attn.k_proj")); /* excluded */
  ck_assert_int_eq(yes, 0);
  ck_ok(zf_peft_targets(&yes, &copy, "model.layers.1.self_attn.v_proj"));
  ck_assert_int_eq(yes, 0);
  zf_peft_config_free(&copy);
}
END_TEST

/* Paths are compared without a regular expression, with the same result. */
static const struct {
  const char *pattern, *module;
  int64_t rank; /* 7: the pattern matches, 2: it does not */
} ranks[] = {
    {"q_proj", "model.layers.0.self_attn.q_proj", 7},
    {"proj", "model.layers.0.self_attn.q_proj", 2},
    {"self_attn.q_proj", "model.layers.0.self_attn.q_proj", 7},
    {"self_attn.q_proj", "model.layers.0.self_attnXq_proj", 7},
    {"self_attn\\.q_proj", "model.layers.0.self_attnXq_proj", 2},
    {"self_attn\\.q_proj", "model.layers.0.self_attn.q_proj", 7},
    {"^model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj", 7},
    {"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj", 7},
    {"model.layers.1.self_attn.q_proj", "model.layers.0.self_attn.q_proj", 2},
    {"self_attn", "model.layers.0.self_attn.q_proj", 2},
    {"[qk]_proj", "model.layers.0.self_attn.q_proj", 7},
    {"[qk]_pro", "model.layers.0.self_attn.q_proj", 2},
    {"layers.0.self_attn.*", "model.layers.0.self_attn.q_proj", 7},
    {"model.model.layers.0.self_attn.q_proj", "layers.0.self_attn.q_proj", 2},
};

START_TEST(test_ranks) {
  struct zf_peft_config config;
  json_t *obj = json_pack("{s:s, s:i, s:{s:i, s:i}}", "peft_type", "LORA", "r", 2, "rank_pattern",
                          ranks[_i].pattern, 7, ".*\\.lm_head", 3);
  int64_t rank;
  ck_ok(zf_peft_config_read(&config, obj, "config"));
  ck_ok(zf_peft_rank(&rank, &config, ranks[_i].module));
  ck_assert_int_eq(rank, ranks[_i].rank);
  ck_ok(zf_peft_rank(&rank, &config, "x.lm_head"));
  ck_assert_int_eq(rank, 3);
  zf_peft_config_free(&config);
  json_decref(obj);
}
END_TEST

/* A pattern that would backtrack without end is stopped. */
START_TEST(test_slow_pattern) {
  struct zf_peft_names names = {.pattern = "(a+)+[bd]"};
  int yes;
  ck_fails(zf_peft_names_match(&yes, &names, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"),
           ZF_EINVALID, "takes too long");
}
END_TEST

int main(void) {
  Suite *s = suite_create("adapter_broken");
  TCase *tc = tcase_create("all");
  tcase_add_loop_test(tc, test_mutations, 0, MUTATIONS);
  tcase_add_loop_test(tc, test_mlx_mutations, 0, sizeof mlx_mutations / sizeof *mlx_mutations);
  tcase_add_test(tc, test_dtypes);
  tcase_add_test(tc, test_patterns);
  tcase_add_loop_test(tc, test_ranks, 0, sizeof ranks / sizeof *ranks);
  tcase_add_test(tc, test_slow_pattern);
  suite_add_tcase(s, tc);
  return unit_run(s);
}
