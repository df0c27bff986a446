#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "data_internal.h"
#include "model/model.h"

enum { UNLIMITED = 1 << 30 }; /* a sequence_len that no example reaches */

static int is_config(const char *path) {
  size_t len = strlen(path);
  return len > 5 && (!strcmp(path + len - 5, ".yaml") || !strcmp(path + len - 4, ".yml"));
}

/* Sets a key of datasets.0 when it has this name, else a key of the config. */
static int set_word(struct zf_conf *conf, const char *word) {
  const struct zf_conf_key *key = zf_train_keys;
  size_t len = strcspn(word, "=");
  while (strcmp(key->name, "datasets") != 0) key++;
  for (key = key->sub; key->name; key++) {
    if (strlen(key->name) != len || strncmp(key->name, word, len) != 0) continue;
    char *full = zf_asprintf("datasets.0.%s", word);
    int rc = full ? zf_conf_word(conf, full) : ZF_ENOMEM;
    free(full);
    return rc;
  }
  return zf_conf_word(conf, word);
}

/* The config of a single file. */
static int describe(struct zf_conf *conf, const struct zc_args *args) {
  char *model = zf_asprintf("base_model=%s", zc_data_options.tokenizer);
  char *path = zf_asprintf("datasets.0.path=%s", args->word[1]);
  const char *const words[] = {model, "learning_rate=0", path, "datasets.0.type=text"};
  int rc = model && path ? 0 : ZF_ENOMEM;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (!rc) rc = zf_conf_word(conf, words[i]);
  for (int i = 0; i < args->nset; i++)
    if (!rc) rc = set_word(conf, args->set[i]);
  free(model);
  free(path);
  return rc;
}

static int read_config(struct zf_conf *conf, const struct zc_args *args) {
  int rc = zf_conf_file(conf, args->word[1]);
  for (int i = 0; i < args->nset; i++)
    if (!rc) rc = zf_conf_word(conf, args->set[i]);
  return rc;
}

static int open_tokenizer(struct zc_source *source) {
  const char *name = zc_data_options.tokenizer ? zc_data_options.tokenizer : source->set.base_model;
  char *dir = NULL;
  int rc = zf_model_find(&dir, name);
  if (!rc) rc = zf_tok_open(&source->tok, dir);
  if (!rc && source->set.train[0].spec.type == ZF_TASK_CHAT)
    rc = zf_chat_open(&source->set.chat, dir, zf_tok_special_texts(source->tok),
                      source->set.chat_template);
  free(dir);
  source->length = zc_data_options.given.length ? zc_data_options.length : source->set.sequence_len;
  source->set.sequence_len = 0;
  return rc ? rc : zf_run_data_resolve(&source->set, source->tok, UNLIMITED);
}

int zc_source_open(struct zc_source *source, const struct zc_args *args) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  memset(source, 0, sizeof *source);
  int config = source->config = is_config(args->word[1]);
  if (!config && !zc_data_options.tokenizer) {
    if (args->nset)
      return zf_error(ZF_EUSAGE, "'%s' has no effect: without --tokenizer rows are not encoded",
                      args->set[0]);
    source->plain.path = (char *)args->word[1];
    return 0;
  }
  int rc = zf_conf_new(&source->conf, tables, 1);
  if (!rc) rc = config ? read_config(source->conf, args) : describe(source->conf, args);
  if (!rc) rc = zf_conf_check(source->conf);
  if (!rc) rc = zf_settings_fill(&source->set, source->conf);
  if (!rc && !config) { /* the path is relative to the working directory, not to data_dir */
    free(source->set.train[0].path);
    if (!(source->set.train[0].path = zf_strdup(args->word[1]))) rc = ZF_ENOMEM;
  }
  return rc ? rc : open_tokenizer(source);
}

void zc_source_close(struct zc_source *source) {
  zf_settings_free(&source->set);
  zf_conf_free(source->conf);
  zf_tok_free(source->tok);
}

const struct zf_data_file *zc_source_file(const struct zc_source *source, int64_t index,
                                          const char **set) {
  const struct zf_settings *settings = &source->set;
  const struct {
    const char *name;
    const struct zf_data_file *file;
    int64_t count;
  } sets[] = {{"training", settings->train, settings->ntrain},
              {"dev", settings->val, settings->nval},
              {"test", settings->test, settings->ntest}};
  *set = "";
  if (!source->config && index) return NULL;
  if (!source->config) return source->conf ? settings->train : &source->plain;
  for (size_t part = 0; part < sizeof sets / sizeof *sets; part++) {
    *set = sets[part].name;
    if (index < sets[part].count) return &sets[part].file[index];
    index -= sets[part].count;
  }
  return NULL;
}
