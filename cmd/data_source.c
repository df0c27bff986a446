#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "data_internal.h"
#include "model/model.h"

enum { WHOLE = 1 << 30 }; /* a sequence_len that nothing reaches */

static int is_config(const char *path) {
  size_t n = strlen(path);
  return n > 5 && (!strcmp(path + n - 5, ".yaml") || !strcmp(path + n - 4, ".yml"));
}

/* Keys of an entry of datasets are so written without saying of which. */
static int set_word(struct zf_conf *c, const char *word) {
  const struct zf_conf_key *k = zf_train_keys;
  size_t n = strcspn(word, "=");
  while (strcmp(k->name, "datasets") != 0) k++;
  for (k = k->sub; k->name; k++) {
    if (strlen(k->name) != n || strncmp(k->name, word, n) != 0) continue;
    char *full = zf_asprintf("datasets.0.%s", word);
    int rc = full ? zf_conf_word(c, full) : ZF_ENOMEM;
    free(full);
    return rc;
  }
  return zf_conf_word(c, word);
}

/* A file alone: what a config would say about it. */
static int describe(struct zf_conf *c, const struct zc_args *a) {
  char *model = zf_asprintf("base_model=%s", zc_data_options.tokenizer);
  char *path = zf_asprintf("datasets.0.path=%s", a->word[1]);
  const char *first[] = {model, "learning_rate=0", path, "datasets.0.type=text"};
  int rc = model && path ? 0 : ZF_ENOMEM;
  for (size_t i = 0; !rc && i < sizeof first / sizeof *first; i++) rc = zf_conf_word(c, first[i]);
  for (int i = 0; !rc && i < a->nset; i++) rc = set_word(c, a->set[i]);
  free(model);
  free(path);
  return rc;
}

static int read_config(struct zf_conf *c, const struct zc_args *a) {
  int rc = zf_conf_file(c, a->word[1]);
  for (int i = 0; !rc && i < a->nset; i++) rc = zf_conf_word(c, a->set[i]);
  return rc;
}

static int open_tokenizer(struct zc_source *s) {
  const char *name = zc_data_options.tokenizer ? zc_data_options.tokenizer : s->set.base_model;
  char *dir = NULL;
  int rc = zf_model_find(&dir, name);
  if (!rc) rc = zf_tok_open(&s->tok, dir);
  if (!rc && s->set.train[0].spec.type == ZF_TASK_CHAT)
    rc = zf_chat_open(&s->set.chat, dir, zf_tok_named(s->tok), s->set.chat_template);
  free(dir);
  s->length = zc_data_options.given.length ? zc_data_options.length : s->set.sequence_len;
  s->set.sequence_len = 0;
  return rc ? rc : zf_run_data_resolve(&s->set, s->tok, WHOLE);
}

int zc_source_open(struct zc_source *s, const struct zc_args *a) {
  const struct zf_conf_key *const tables[] = {zf_train_keys};
  memset(s, 0, sizeof *s);
  int config = s->config = is_config(a->word[1]);
  if (!config && !zc_data_options.tokenizer) {
    if (a->nset)
      return zf_error(ZF_EUSAGE, "'%s' has no effect: without --tokenizer rows are not encoded",
                      a->set[0]);
    s->plain.path = (char *)a->word[1];
    return 0;
  }
  int rc = zf_conf_new(&s->conf, tables, 1);
  if (!rc) rc = config ? read_config(s->conf, a) : describe(s->conf, a);
  if (!rc) rc = zf_conf_check(s->conf);
  if (!rc) rc = zf_settings_fill(&s->set, s->conf);
  if (!rc && !config) { /* the path is from here, not from data_dir */
    free(s->set.train[0].path);
    if (!(s->set.train[0].path = zf_strdup(a->word[1]))) rc = ZF_ENOMEM;
  }
  return rc ? rc : open_tokenizer(s);
}

void zc_source_close(struct zc_source *s) {
  zf_settings_free(&s->set);
  zf_conf_free(s->conf);
  zf_tok_free(s->tok);
}

const struct zf_data_file *zc_source_file(const struct zc_source *s, int64_t i, const char **set) {
  const struct zf_settings *c = &s->set;
  const struct {
    const char *name;
    const struct zf_data_file *file;
    int64_t n;
  } sets[] = {
      {"training", c->train, c->ntrain}, {"dev", c->val, c->nval}, {"test", c->test, c->ntest}};
  *set = "";
  if (!s->config) return i ? NULL : s->conf ? c->train : &s->plain;
  for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
    *set = sets[k].name;
    if (i < sets[k].n) return &sets[k].file[i];
    i -= sets[k].n;
  }
  return NULL;
}
