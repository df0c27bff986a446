#include "train/run_config.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "train/settings_internal.h"

static const char config_name[] = "config.yaml";

/* --- reading --- */

/* Does the value come from a file named config.yaml? */
static int from_config_yaml(const struct zf_conf *conf, const char *key) {
  const char *origin = zf_conf_origin(conf, key), *slash = strrchr(origin, '/');
  const char *base = slash ? slash + 1 : origin;
  size_t len = strlen(config_name);
  return !strncmp(base, config_name, len) && base[len] == ':';
}

int zf_run_config_dir(char **dir, const struct zf_conf *conf, const char *key) {
  *dir = NULL;
  if (!from_config_yaml(conf, key)) return 0;
  int rc = zf_conf_origin_dir(dir, conf, key);
  if (rc || !*dir) return rc;
  char *run_json = zf_path_join(*dir, "run.json");
  if (run_json && zf_exists(run_json)) {
    free(run_json);
    return 0;
  }
  rc = run_json ? 0 : ZF_ENOMEM;
  free(run_json);
  free(*dir);
  *dir = NULL;
  return rc;
}

/* --- writing --- */

/* Sets key=PATH with an absolute path.  A path that does not exist stays as it is: it may be
 * ORG/NAME. */
static int set_absolute(struct zf_conf *to, const struct zf_conf *conf, const char *key) {
  const char *text = zf_conf_str(conf, key);
  char *real = text ? realpath(text, NULL) : NULL;
  if (!real) return 0;
  char *word = zf_asprintf("%s=%s", key, real);
  int rc = word ? zf_conf_word(to, word) : ZF_ENOMEM;
  free(word);
  free(real);
  return rc;
}

static int set_output(struct zf_conf *to, const char *output_dir) {
  char *word = zf_asprintf("output_dir=%s", output_dir);
  int rc = word ? zf_conf_word(to, word) : ZF_ENOMEM;
  free(word);
  return rc;
}

/* Copies the settings to *saved with absolute paths; `text` is scratch. */
static int copy_settings(struct zf_conf **saved, const struct zf_conf *conf, struct zf_buf *text,
                         const char *path, const char *output_dir) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  int rc;
  if ((rc = zf_conf_dump(conf, text, 0))) return rc;
  if ((rc = zf_conf_new(saved, tables, 1))) return rc;
  if ((rc = zf_conf_text(*saved, text->data, text->len, path))) return rc;
  if ((rc = set_output(*saved, output_dir))) return rc;
  if ((rc = set_absolute(*saved, conf, "base_model"))) return rc;
  if ((rc = set_absolute(*saved, conf, "teacher"))) return rc;
  const char *adapter = zf_conf_str(conf, "adapter");
  if (adapter && zf_settings_adapter_is_path(adapter) &&
      (rc = set_absolute(*saved, conf, "adapter")))
    return rc;
  return set_absolute(*saved, conf, "data_dir");
}

int zf_run_config_save(const struct zf_conf *conf, const char *path, const char *output_dir) {
  struct zf_conf *saved = NULL;
  struct zf_buf text = {0};
  int rc = copy_settings(&saved, conf, &text, path, output_dir);
  zf_buf_clear(&text);
  if (!rc) rc = zf_conf_dump(saved, &text, 0);
  if (!rc) rc = zf_write_file(path, text.data, text.len);
  zf_conf_free(saved);
  zf_buf_free(&text);
  return rc;
}

int zf_run_config_write(const struct zf_conf *conf, const char *run) {
  char *path = zf_path_join(run, config_name);
  int rc = path ? zf_run_config_save(conf, path, ".") : ZF_ENOMEM;
  free(path);
  return rc;
}
