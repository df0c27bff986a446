/* Keys of config.json against Transformers' config classes (tests/golden/config/make_keys.py): a key that
 * changes a forward pass there changes the configuration here or is refused; a key that is left out
 * means what it means there. */
#include <jansson.h>

#include "base/buf.h"
#include "fmt/json.h"
#include "model/family.h"
#include "unit/unit.h"

static json_t *studies(json_t **root) {
  ck_ok(zf_json_load(root, "tests/golden/config/keys.json"));
  return json_object_get(*root, "studies");
}

static int parse(struct zf_config *c, const json_t *config) {
  char *text = json_dumps(config, JSON_COMPACT);
  memset(c, 0, sizeof *c);
  int rc = zf_config_parse(c, text, strlen(text), "config.json");
  free(text);
  c->bos = c->eos = -1; /* decided with the tokenizer's files */
  return rc;
}

static const char *name_of(const json_t *study) {
  static char text[100];
  snprintf(text, sizeof text, "%s, %s", json_string_value(json_object_get(study, "family")),
           json_string_value(json_object_get(study, "head")));
  return text;
}

/* The configuration with `key` set anew differs from `was`, or is refused. */
static int notices(const json_t *base, const struct zf_config *was, const char *key,
                   json_t *value) {
  struct zf_config now;
  json_t *config = json_deep_copy(base);
  json_object_set(config, key, value);
  if (!strcmp(key, "num_labels")) json_object_del(config, "id2label");
  int rc = parse(&now, config);
  json_decref(config);
  return rc == ZF_EINVALID || (!rc && memcmp(&now, was, sizeof now) != 0);
}

START_TEST(test_changes) {
  json_t *root, *study, *change, *all = studies(&root);
  size_t i, k, n = 0;
  struct zf_buf missed = {0};
  json_array_foreach(all, i, study) {
    struct zf_config was;
    const json_t *base = json_object_get(study, "base");
    ck_ok(parse(&was, base));
    json_array_foreach(json_object_get(study, "changes"), k, change) {
      const char *key = json_string_value(json_array_get(change, 0));
      n++;
      if (notices(base, &was, key, json_array_get(change, 1))) continue;
      char *value = json_dumps(json_array_get(change, 1), JSON_ENCODE_ANY);
      zf_buf_printf(&missed, "%s: %s = %s\n", name_of(study), key, value);
      free(value);
    }
  }
  ck_assert_msg(!missed.len, "these change a forward pass and are not noticed:\n%s", missed.data);
  ck_assert_uint_gt(n, 400);
  json_decref(root);
}
END_TEST

/* Each key left out of the class' own defaults: the same configuration, or a word about the key. */
START_TEST(test_defaults) {
  json_t *root, *study, *v, *rows = studies(&root);
  const char *key;
  size_t i;
  void *at;
  json_array_foreach(rows, i, study) {
    struct zf_config whole, part;
    json_t *all = json_deep_copy(json_object_get(study, "defaults"));
    json_object_set(all, "model_type", json_object_get(study, "family"));
    ck_ok(parse(&whole, all));
    json_object_foreach_safe(all, at, key, v) {
      json_t *less = json_deep_copy(all);
      if (!strcmp(key, "model_type")) {
        json_decref(less);
        continue;
      }
      json_object_del(less, key);
      int rc = parse(&part, less);
      int named = rc == ZF_EINVALID && strstr(zf_error_message(), key);
      ck_assert_msg(named || (!rc && !memcmp(&whole, &part, sizeof part)), "%s without %s: %s",
                    name_of(study), key, rc ? zf_error_message() : "another configuration");
      json_decref(less);
    }
    json_decref(all);
  }
  json_decref(root);
}
END_TEST

int main(void) {
  Suite *s = suite_create("config_keys");
  TCase *t = tcase_create("config_keys");
  tcase_set_timeout(t, 120);
  tcase_add_test(t, test_changes);
  tcase_add_test(t, test_defaults);
  suite_add_tcase(s, t);
  return unit_run(s);
}
