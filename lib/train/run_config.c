#include "train/run_config.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "train/settings.h"

static const char name[] = "config.yaml";

/* --- reading --- */

/* FILE of "FILE:LINE:COLUMN"; NULL: the value comes from no file. */
static int file_of(char **file, const char *origin) {
  *file = NULL;
  const char *end = strrchr(origin, ':');
  while (end && end > origin && end[-1] != ':') end--; /* the line's digits */
  if (!end || end == origin) return 0;
  *file = zf_strndup(origin, (size_t)(end - 1 - origin));
  return *file ? 0 : ZF_ENOMEM;
}

int zf_run_config_dir(char **dir, const struct zf_conf *conf, const char *key) {
  char *file, *mark = NULL;
  int rc = file_of(&file, zf_conf_origin(conf, key));
  *dir = NULL;
  if (rc || !file) return rc;
  char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
  if (!strcmp(base, name)) {
    *dir = !slash ? zf_strdup(".") : zf_strndup(file, slash == file ? 1 : (size_t)(slash - file));
    mark = *dir ? zf_path_join(*dir, "run.json") : NULL;
    rc = mark ? 0 : ZF_ENOMEM;
  }
  if (rc || (mark && !zf_exists(mark))) {
    free(*dir);
    *dir = NULL;
  }
  free(mark);
  free(file);
  return rc;
}

/* --- writing --- */

/* key=PATH, absolute where the path is there; else as it is: ORG/NAME is no path. */
static int set_absolute(struct zf_conf *to, const struct zf_conf *conf, const char *key) {
  const char *text = zf_conf_str(conf, key);
  char *real = text ? realpath(text, NULL) : NULL;
  char *word = real ? zf_asprintf("%s=%s", key, real) : NULL;
  int rc = !real ? 0 : word ? zf_conf_word(to, word) : ZF_ENOMEM;
  free(word);
  free(real);
  return rc;
}

int zf_run_config_write(const struct zf_conf *conf, const char *run) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  struct zf_conf *own = NULL;
  struct zf_buf text = {0};
  char *path = zf_path_join(run, name);
  int rc = path ? zf_conf_dump(conf, &text, 0) : ZF_ENOMEM;
  if (!rc) rc = zf_conf_new(&own, tables, 1);
  if (!rc) rc = zf_conf_text(own, text.data, text.len, path);
  if (!rc) rc = zf_conf_word(own, "output_dir=.");
  if (!rc) rc = set_absolute(own, conf, "base_model");
  if (!rc) rc = set_absolute(own, conf, "data_dir");
  zf_buf_clear(&text);
  if (!rc) rc = zf_conf_dump(own, &text, 0);
  if (!rc) rc = zf_write_file(path, text.data, text.len);
  zf_conf_free(own);
  zf_buf_free(&text);
  free(path);
  return rc;
}
