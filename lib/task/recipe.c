/* Reads recipes: settings, and parts that are a template or the name of a field. */
#include "task/recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "task/recipe_internal.h"

enum { MAX_RECIPE = 1 << 20 }; /* bytes */

static const struct zf_conf_key metric_keys[] = {
    {"metric", ZF_CONF_STR, .required = 1, .help = "its name"},
    {"aggregation", ZF_CONF_STR, .help = "how rows become one number; default: the metric's own"},
    {"higher_is_better", ZF_CONF_BOOL, .help = "no effect: the metric knows"},
    {0},
};

static const struct zf_conf_key meta_keys[] = {
    {"version", ZF_CONF_STR, .help = "of the task, reported with its numbers"},
    {0},
};

static const struct zf_conf_key keys[] = {
    {"task", ZF_CONF_STR, .required = 1, .help = "its name"},
    {"output_type", ZF_CONF_ENUM, .choices = "multiple_choice|loglikelihood|loglikelihood_rolling",
     .required = 1, .help = "what is asked of the model"},
    {"fields", ZF_CONF_STRS, .help = "fields that a row must have"},
    {"process_docs", ZF_CONF_STR, .help = "a step that prepares a row"},
    {"doc_to_text", ZF_CONF_STR, .default_text = "", .help = "context: a field or a template"},
    {"doc_to_choice", ZF_CONF_STRS,
     .help = "choices: a list, or a field or template that gives one"},
    {"doc_to_target", ZF_CONF_STR, .required = 1, .help = "the right choice, or the text to score"},
    {"target_delimiter", ZF_CONF_STR, .default_text = " ", .help = "between context and choice"},
    {"fewshot_delimiter", ZF_CONF_STR, .default_text = "\n\n", .help = "behind an example"},
    {"description", ZF_CONF_STR, .default_text = "", .help = "before everything: a template"},
    {"num_fewshot", ZF_CONF_INT, .min = 0, .max = ZF_RECIPE_SHOTS,
     .help = "examples before the question"},
    {"count_in", ZF_CONF_STR, .help = "rolling: the field whose words and bytes are counted"},
    {"metric_list", ZF_CONF_MAPS, .sub = metric_keys, .help = "what is reported"},
    {"metadata", ZF_CONF_MAPS, .single_map = 1, .sub = meta_keys, .help = "about the task"},
    {"tag", ZF_CONF_STRS, .help = "no effect"},
    {"task_alias", ZF_CONF_STR, .help = "no effect"},
    {"dataset_path", ZF_CONF_STR, .help = "no effect: rows come from --data"},
    {"dataset_name", ZF_CONF_STR, .help = "no effect"},
    {"training_split", ZF_CONF_STR, .help = "no effect"},
    {"validation_split", ZF_CONF_STR, .help = "no effect"},
    {"test_split", ZF_CONF_STR, .help = "no effect"},
    {"fewshot_split", ZF_CONF_STR, .help = "no effect"},
    {"should_decontaminate", ZF_CONF_BOOL, .help = "no effect"},
    {"doc_to_decontamination_query", ZF_CONF_STR, .help = "no effect"},
    {0},
};

/* --- reading --- */

static int looks_like_field(const char *text) {
  size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  return len > 0 && !text[len] && !(*text >= '0' && *text <= '9');
}

static int parse_part(struct zf_recipe *recipe, struct zf_recipe_part *part, const char *key,
                      const char *text) {
  char name[64];
  part->text = text;
  part->names_field = looks_like_field(text);
  snprintf(name, sizeof name, "%s", key);
  int rc = zf_jinja_parse_as(&part->jinja, text, name, ZF_JINJA_STRICT | ZF_JINJA_PLAIN);
  if (rc != ZF_EINVALID) return rc;
  char *message = zf_strdup(zf_error_message());
  rc = message ? zf_conf_error(recipe->conf, key, "%s", message) : ZF_ENOMEM;
  free(message);
  return rc;
}

static int parse_choices(struct zf_recipe *recipe) {
  recipe->nfixed = zf_conf_strs(recipe->conf, "doc_to_choice", &recipe->fixed);
  if (recipe->output != ZF_RECIPE_CHOICE) {
    if (!recipe->nfixed) return 0;
    return zf_conf_error(recipe->conf, "doc_to_choice", "only multiple_choice has choices");
  }
  if (!recipe->nfixed)
    return zf_conf_error(recipe->conf, "output_type", "multiple_choice needs doc_to_choice");
  if (recipe->nfixed > 1) return 0;
  const char *text = recipe->fixed[0];
  recipe->nfixed = 0;
  return parse_part(recipe, &recipe->choice, "doc_to_choice", text);
}

static int parse_step(struct zf_recipe *recipe) {
  const char *name = zf_conf_str(recipe->conf, "process_docs");
  if (!name || (recipe->step = zf_doc_step(name))) return 0;
  const char *near = zf_doc_step_near(name);
  return zf_conf_error(recipe->conf, "process_docs", "there is no step '%.60s'%s%s%s", name,
                       near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static enum zf_recipe_output output_of(const char *name) {
  if (!strcmp(name, "multiple_choice")) return ZF_RECIPE_CHOICE;
  return strcmp(name, "loglikelihood") ? ZF_RECIPE_ROLLING : ZF_RECIPE_LIKELIHOOD;
}

/* Parses the part that a key of the recipe holds. */
static int parse_key(struct zf_recipe *recipe, struct zf_recipe_part *part, const char *key) {
  return parse_part(recipe, part, key, zf_conf_str(recipe->conf, key));
}

static int resolve(struct zf_recipe *recipe) {
  recipe->output = output_of(zf_conf_str(recipe->conf, "output_type"));
  recipe->delimiter = zf_conf_str(recipe->conf, "target_delimiter");
  recipe->shot_delimiter = zf_conf_str(recipe->conf, "fewshot_delimiter");
  recipe->choices_are_contexts = recipe->output == ZF_RECIPE_CHOICE ? -1 : 0;
  if (recipe->output != ZF_RECIPE_ROLLING && zf_conf_has(recipe->conf, "count_in"))
    return zf_conf_error(recipe->conf, "count_in",
                         "only loglikelihood_rolling counts words and bytes");
  int rc = parse_key(recipe, &recipe->text, "doc_to_text");
  if (!rc) rc = parse_key(recipe, &recipe->target, "doc_to_target");
  if (!rc) rc = parse_key(recipe, &recipe->description, "description");
  recipe->description.names_field = 0; /* a description of one word is that word */
  if (!rc) rc = parse_choices(recipe);
  return rc ? rc : parse_step(recipe);
}

int zf_recipe_parse(struct zf_recipe **out, const char *text, size_t len, const char *name) {
  const struct zf_conf_key *const tables[] = {keys};
  struct zf_recipe *recipe = *out = zf_calloc(1, sizeof *recipe);
  if (!recipe) return ZF_ENOMEM;
  int rc = zf_conf_new(&recipe->conf, tables, 1);
  if (!rc) rc = zf_conf_text(recipe->conf, text, len, name);
  if (!rc) rc = zf_conf_check(recipe->conf);
  if (!rc) rc = resolve(recipe);
  if (!rc) return 0;
  zf_recipe_free(recipe);
  *out = NULL;
  return rc;
}

static int open_file(struct zf_recipe **out, const char *path) {
  char *text;
  size_t len;
  int rc = zf_read_file(&text, &len, path, MAX_RECIPE);
  if (rc) return rc == ZF_EINVALID ? ZF_EUSAGE : rc;
  rc = zf_recipe_parse(out, text, len, path);
  free(text);
  return rc;
}

int zf_recipe_open(struct zf_recipe **out, const char *name) {
  const char *names[256];
  int64_t count = 0;
  *out = NULL;
  if (zf_glob("*.yaml", name) || zf_glob("*.yml", name)) return open_file(out, name);
  for (const struct zf_recipe_text *recipe_text = zf_recipe_texts; recipe_text->name;
       recipe_text++) {
    if (!strcmp(recipe_text->name, name))
      return zf_recipe_parse(out, recipe_text->text, strlen(recipe_text->text), name);
    if (count < 256) names[count++] = recipe_text->name;
  }
  const char *near = zf_nearest(name, names, count);
  if (near) return zf_error(ZF_EUSAGE, "there is no task '%.60s': did you mean '%s'?", name, near);
  return zf_error(ZF_EUSAGE,
                  "there is no task '%.60s': --list-tasks shows them; the name of a recipe file "
                  "ends in .yaml",
                  name);
}

void zf_recipe_free(struct zf_recipe *recipe) {
  if (!recipe) return;
  zf_jinja_free(recipe->text.jinja);
  zf_jinja_free(recipe->choice.jinja);
  zf_jinja_free(recipe->target.jinja);
  zf_jinja_free(recipe->description.jinja);
  zf_buf_free(&recipe->shots);
  zf_conf_free(recipe->conf);
  free(recipe);
}

const char *zf_recipe_name(const struct zf_recipe *recipe) {
  return zf_conf_str(recipe->conf, "task");
}

const char *zf_recipe_version(const struct zf_recipe *recipe) {
  if (zf_conf_maps(recipe->conf, "metadata") < 1) return NULL;
  return zf_conf_str(zf_conf_map(recipe->conf, "metadata", 0), "version");
}

enum zf_recipe_output zf_recipe_output(const struct zf_recipe *recipe) {
  return recipe->output;
}

int64_t zf_recipe_fields(const struct zf_recipe *recipe, const char *const **out) {
  return zf_conf_strs(recipe->conf, "fields", out);
}

void zf_recipe_unused(const struct zf_recipe *recipe, struct zf_buf *out) {
  for (const struct zf_conf_key *key = keys; key->name; key++)
    if (!strncmp(key->help, "no effect", 9) && zf_conf_has(recipe->conf, key->name))
      zf_buf_printf(out, "%s%s", out->len ? ", " : "", key->name);
}

int zf_recipe_metric(const struct zf_recipe *recipe, int64_t index, const char **metric,
                     const char **aggregation) {
  if (index >= zf_conf_maps(recipe->conf, "metric_list")) return 0;
  const struct zf_conf *conf = zf_conf_map(recipe->conf, "metric_list", index);
  *metric = zf_conf_str(conf, "metric");
  *aggregation = zf_conf_str(conf, "aggregation");
  return 1;
}
