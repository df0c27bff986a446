/* The keys of data sets, and the settings that they fill. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "train/run_config.h"
#include "train/settings_internal.h"

const struct zf_conf_key zf_data_keys[] = {
    {"path", ZF_CONF_STR, NULL,
     ".jsonl, .json, .csv, .tsv or .txt file, .gz or .zst behind it; relative to data_dir",
     .path = ZF_CONF_PATH, .required = 1, .also = "file|file_name|data_file"},
    {"sample_by", ZF_CONF_ENUM, NULL,
     "rows of a .txt file, blank lines never; unset: paragraphs for type text, lines for others",
     .choices = "line|paragraph|document"},
    {"type", ZF_CONF_ENUM, NULL, "what a row is (others inherit the first file's)",
     .choices = ZF_TASK_TYPES},
    {"prompt", ZF_CONF_STR, NULL, "template of the prompt, as \"{text} It was\"",
     .also = "prompt_format|input_template"},
    {"options", ZF_CONF_STRS, NULL,
     "for each label in order: a template; masked: a word; labels: a name; preference: templates "
     "of "
     "the better and the worse text ([{chosen}, {rejected}])",
     .also = "label_words|verbalizer|choices|answer_choices|classes"},
    {"label", ZF_CONF_STR, NULL, "classification: the field that holds the label (label)",
     .also = "label_column|label_field|field_label"},
    {"labels", ZF_CONF_STRS, NULL, "classification: the field's values in option order (0, 1, ...)",
     .also = "label_values|class_names"},
    {"problem_type", ZF_CONF_ENUM, NULL,
     "labels: what they mean (auto: as the model's config.json says, else one label of several)",
     .choices = "auto|" ZF_PROBLEM_WORDS},
    {"completion", ZF_CONF_STR, NULL, "completion: template of the target text ({completion})",
     .also = "response|target|output_template"},
    {"answers", ZF_CONF_STR, NULL,
     "completion: the field of the right answers, a text or a list, for objectives over generated "
     "text "
     "(unset: the completion)"},
    {"text", ZF_CONF_STR, NULL, "text: template of the text ({text})",
     .also = "text_column|text_field|dataset_text_field|field_text"},
    {"field_instruction", ZF_CONF_STR, NULL, "alpaca: the field of the instruction (instruction)"},
    {"field_input", ZF_CONF_STR, NULL, "alpaca: of the input (input, which a row may lack)"},
    {"field_output", ZF_CONF_STR, NULL, "alpaca: of the output (output)"},
    {"field_system", ZF_CONF_STR, NULL,
     "alpaca: of the system text (system, which a row may lack)"},
    {"system_prompt", ZF_CONF_STR, NULL,
     "alpaca: system text of rows without one (Alpaca's sentence; with a format: none)"},
    {"format", ZF_CONF_STR, NULL,
     "alpaca: template of the text before the output, as \"[INST] {instruction} {input} [/INST]\""},
    {"no_input_format", ZF_CONF_STR, NULL, "alpaca: the same for rows without an input (format)"},
    {"field_messages", ZF_CONF_STR, NULL,
     "chat: the field of the messages (messages, conversations)"},
    {"message_field_role", ZF_CONF_STR, NULL, "chat: a message's field of the role (role)"},
    {"message_field_content", ZF_CONF_STR, NULL, "chat: of the content (content)"},
    {"roles", ZF_CONF_STRS, NULL,
     "chat: the template's names of the data's roles, as [human=user, bot=assistant]"},
    {"weight", ZF_CONF_NUM, NULL,
     "datasets: its share of the training examples is this over the sum of all weights (unset "
     "everywhere: every row once an epoch)",
     .min = 1e-9, .max = 1e9},
    {0},
};

int zf_settings_choice(const struct zf_conf *conf, const char *key, const char *words) {
  const char *value = zf_conf_str(conf, key);
  size_t len = strlen(value);
  for (int i = 0; *words; i++) {
    size_t word_len = strcspn(words, "|");
    if (word_len == len && !strncmp(words, value, len)) return i;
    words += word_len + (words[word_len] == '|');
  }
  return -1;
}

/* Fills the names of fields; a field of another type than the file's is an error. */
static int fill_fields(struct zf_fields *fields, const struct zf_conf *item,
                       enum zf_task_type type) {
  const struct {
    const char *key, **to;
    enum zf_task_type type;
  } texts[] = {{"field_instruction", &fields->instruction, ZF_TASK_ALPACA},
               {"field_input", &fields->input, ZF_TASK_ALPACA},
               {"field_output", &fields->output, ZF_TASK_ALPACA},
               {"field_system", &fields->system, ZF_TASK_ALPACA},
               {"system_prompt", &fields->system_prompt, ZF_TASK_ALPACA},
               {"format", &fields->format, ZF_TASK_ALPACA},
               {"no_input_format", &fields->no_input_format, ZF_TASK_ALPACA},
               {"field_messages", &fields->messages, ZF_TASK_CHAT},
               {"message_field_role", &fields->role, ZF_TASK_CHAT},
               {"message_field_content", &fields->content, ZF_TASK_CHAT},
               {"roles", NULL, ZF_TASK_CHAT}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    if (!zf_conf_has(item, texts[i].key)) continue;
    if (texts[i].type != type)
      return zf_conf_error(item, texts[i].key, "'%s' has no effect: only type %s has it",
                           texts[i].key, texts[i].type == ZF_TASK_CHAT ? "chat" : "alpaca");
    if (texts[i].to) *texts[i].to = zf_conf_str(item, texts[i].key);
  }
  if (zf_conf_has(item, "roles")) fields->nroles = zf_conf_strs(item, "roles", &fields->roles);
  for (int64_t i = 0; i < fields->nroles; i++) {
    const char *to = strchr(fields->roles[i], '=');
    if (!to || to == fields->roles[i] || !to[1])
      return zf_conf_error(item, "roles", "'roles' expects FROM=TO, found '%s'", fields->roles[i]);
  }
  if (fields->no_input_format && !fields->format)
    return zf_conf_error(item, zf_conf_has(item, "no_input_format") ? "no_input_format" : "path",
                         "'no_input_format' needs a 'format', too");
  return 0;
}

/* Templates, and the field of the label. */
static void fill_texts(struct zf_data_spec *spec, const struct zf_conf *item) {
  const struct {
    const char *key, **to;
  } texts[] = {{"prompt", &spec->prompt},
               {"completion", &spec->completion},
               {"text", &spec->text},
               {"answers", &spec->answers},
               {"label", &spec->label}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (zf_conf_has(item, texts[i].key)) *texts[i].to = zf_conf_str(item, texts[i].key);
}

static int fill_problem(struct zf_data_spec *spec, const struct zf_conf *item) {
  if (!zf_conf_has(item, "problem_type")) return 0;
  int problem = zf_settings_choice(item, "problem_type", "auto|" ZF_PROBLEM_WORDS) - 1;
  spec->problem_given = problem >= 0;
  spec->problem = spec->problem_given ? (enum zf_problem)problem : ZF_PROBLEM_SINGLE;
  if (!spec->problem_given || spec->type == ZF_TASK_LABELS) return 0;
  return zf_conf_error(item, "problem_type",
                       "'problem_type' has no effect: only type labels has it");
}

/* Two options, whose defaults are the usual fields. */
static int fill_preference(struct zf_data_spec *spec, const struct zf_conf *item) {
  static const char *const pair[] = {"{chosen}", "{rejected}"};
  if (!spec->prompt) spec->prompt = "{prompt}";
  if (!spec->options) {
    spec->options = pair;
    spec->noptions = 2;
  }
  if (spec->noptions != 2)
    return zf_conf_error(
        item, zf_conf_has(item, "options") ? "options" : "path",
        "type preference has two options, the better text and the worse one; found "
        "%lld",
        (long long)spec->noptions);
  if (spec->label || spec->labels)
    return zf_conf_error(item, zf_conf_has(item, "label") ? "label" : "path",
                         "type preference has no label: its first option is the better one");
  return 0;
}

/* Fills a file's settings; `first` (NULL: none) gives those that the entry does not set. */
static int fill_file(struct zf_data_file *file, const struct zf_conf *item,
                     const struct zf_settings *settings, const struct zf_data_spec *first) {
  struct zf_data_spec *spec = &file->spec;
  int rc;
  if (first) *spec = *first;
  if (zf_conf_has(item, "type"))
    spec->type = (enum zf_task_type)zf_settings_choice(item, "type", ZF_TASK_TYPES);
  else if (!first)
    return zf_conf_error(item, "path",
                         "the first file needs a 'type': classification, completion, masked, "
                         "labels, preference, text, chat, alpaca or input_output");
  fill_texts(spec, item);
  if ((rc = fill_fields(&spec->fields, item, spec->type))) return rc;
  if (zf_conf_has(item, "options")) spec->noptions = zf_conf_strs(item, "options", &spec->options);
  if (zf_conf_has(item, "labels")) spec->nlabels = zf_conf_strs(item, "labels", &spec->labels);
  if (spec->type == ZF_TASK_PREFERENCE && (rc = fill_preference(spec, item))) return rc;
  if (spec->answers && spec->type != ZF_TASK_COMPLETION)
    return zf_conf_error(item, zf_conf_has(item, "answers") ? "answers" : "path",
                         "'answers' has no effect: only type completion has it");
  if (zf_task_has_options(spec->type) && !spec->prompt)
    return zf_conf_error(item, "path", "a choice of options needs a 'prompt'");
  if ((rc = fill_problem(spec, item))) return rc;
  if (!spec->options)
    spec->noptions = spec->problem_given && spec->problem == ZF_PROBLEM_REGRESSION;
  if (zf_task_has_options(spec->type) && !spec->options && spec->type != ZF_TASK_LABELS)
    return zf_conf_error(item, "path", "a choice needs 'options'");
  file->sample_by = spec->type == ZF_TASK_TEXT ? ZF_SAMPLE_PARAGRAPH : ZF_SAMPLE_LINE;
  if (zf_conf_has(item, "sample_by"))
    file->sample_by =
        (enum zf_sample_by)zf_settings_choice(item, "sample_by", "line|paragraph|document");
  file->path = zf_path_join(settings->data_dir, zf_conf_str(item, "path"));
  return file->path ? 0 : ZF_ENOMEM;
}

static int fill_files(struct zf_data_file **files, int64_t *count, const struct zf_conf *conf,
                      const char *key, const struct zf_settings *settings,
                      const struct zf_data_spec *first) {
  *count = zf_conf_maps(conf, key);
  struct zf_data_file *file = *files = zf_calloc(*count, sizeof *file);
  if (!file) return ZF_ENOMEM;
  for (int64_t i = 0; i < *count; i++) {
    const struct zf_data_spec *from = i ? &file[0].spec : first;
    int rc = fill_file(&file[i], zf_conf_map(conf, key, i), settings, from);
    if (rc) return rc;
    if (file[i].spec.type != file[0].spec.type || (first && file[i].spec.type != first->type))
      return zf_conf_error(zf_conf_map(conf, key, i), "path",
                           "all files of a run have one type: this file's type differs");
  }
  return 0;
}

/* Either all training files have a weight, or none has. */
static int fill_weights(struct zf_settings *settings, const struct zf_conf *conf) {
  static const char *const other[] = {"val_datasets", "test_datasets"};
  for (int i = 0; i < 2; i++)
    for (int64_t j = 0; j < zf_conf_maps(conf, other[i]); j++)
      if (zf_conf_has(zf_conf_map(conf, other[i], j), "weight"))
        return zf_conf_error(zf_conf_map(conf, other[i], j), "weight",
                             "'weight' has no effect: every row of %s is scored once", other[i]);
  for (int64_t i = 0; i < settings->ntrain; i++) {
    const struct zf_conf *item = zf_conf_map(conf, "datasets", i);
    settings->train[i].weight = zf_conf_num(item, "weight", 0);
    if ((settings->train[i].weight > 0) != (settings->train[0].weight > 0))
      return zf_conf_error(
          item, "path", "either every entry of datasets has a 'weight' or none: this one %s",
          settings->train[i].weight > 0 ? "has, the first has not" : "has not, the first has");
  }
  return 0;
}

static void fill_spec(struct zf_data_spec *spec, const struct zf_conf *conf) {
  spec->train_on_inputs = zf_conf_bool(conf, "train_on_inputs");
  spec->excess = (enum zf_excess)zf_settings_choice(conf, "excess_length_strategy",
                                                    "truncate|drop|raise|split");
}

/* A run keeps the template with which it began.  Settings from the config.yaml of its directory mean
 * the copy there, even if the original file has moved or changed. */
static int find_template(struct zf_settings *settings, const struct zf_conf *conf) {
  char *dir = NULL;
  settings->chat_template = zf_conf_str(conf, "chat_template");
  if (!settings->chat_template || zf_chat_builtin(settings->chat_template)) return 0;
  int rc = zf_run_config_dir(&dir, conf, "chat_template");
  if (!rc && dir && !(settings->own_template = zf_path_join(dir, "chat_template.jinja")))
    rc = ZF_ENOMEM;
  if (settings->own_template && zf_exists(settings->own_template))
    settings->chat_template = settings->own_template;
  free(dir);
  return rc;
}

int zf_settings_find_data(struct zf_conf *conf) {
  if (strcmp(zf_conf_origin(conf, "data_dir"), "default") || zf_conf_maps(conf, "datasets") < 1)
    return 0;
  const struct zf_conf *first = zf_conf_map(conf, "datasets", 0);
  const char *path = zf_conf_str(first, "path"), *usual = zf_conf_str(conf, "data_dir");
  char *config_dir, *config_data = NULL, *word = NULL;
  if (!path || *path == '/') return 0;
  int rc = zf_conf_origin_dir(&config_dir, first, "path");
  if (config_dir && !(config_data = zf_path_join(config_dir, usual))) rc = ZF_ENOMEM;
  const char *const dirs[] = {usual, ".", config_dir, config_data};
  for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
    if (rc) break;
    char *file = dirs[i] ? zf_path_join(dirs[i], path) : NULL;
    int found = file && zf_exists(file);
    free(file);
    if (!found) continue;
    if (i > 0) word = zf_asprintf("data_dir=%s", dirs[i]);
    if (i > 0) rc = word ? zf_conf_word(conf, word) : ZF_ENOMEM;
    break;
  }
  free(word);
  free(config_data);
  free(config_dir);
  return rc;
}

int zf_settings_fill_data(struct zf_settings *settings, const struct zf_conf *conf) {
  settings->data_dir = zf_conf_str(conf, "data_dir");
  int rc = fill_files(&settings->train, &settings->ntrain, conf, "datasets", settings, NULL);
  if (rc) return rc;
  if (settings->ntrain == 0)
    return zf_conf_error(conf, "datasets", "'datasets' is empty: name a training file");
  if ((rc = fill_files(&settings->val, &settings->nval, conf, "val_datasets", settings,
                       &settings->train[0].spec)))
    return rc;
  if ((rc = fill_files(&settings->test, &settings->ntest, conf, "test_datasets", settings,
                       &settings->train[0].spec)))
    return rc;
  if ((rc = fill_weights(settings, conf))) return rc;
  struct zf_data_file *set[] = {settings->train, settings->val, settings->test};
  int64_t count[] = {settings->ntrain, settings->nval, settings->ntest};
  for (int i = 0; i < 3; i++)
    for (int64_t j = 0; j < count[i]; j++) fill_spec(&set[i][j].spec, conf);
  if ((rc = find_template(settings, conf))) return rc;
  if (settings->chat_template && settings->train[0].spec.type != ZF_TASK_CHAT)
    return zf_conf_error(conf, "chat_template",
                         "'chat_template' has no effect: only type chat has it");
  settings->val_set_size = zf_conf_num(conf, "val_set_size", 0);
  if (settings->nval && settings->val_set_size > 0)
    return zf_conf_error(conf, "val_set_size",
                         "'val_set_size' has no effect: val_datasets names the dev files");
  settings->deduplicate = zf_conf_bool(conf, "dataset_exact_deduplication");
  settings->streaming = zf_conf_bool(conf, "streaming");
  if (settings->streaming && settings->train[0].spec.excess == ZF_EXCESS_SPLIT)
    return zf_conf_error(
        conf, "streaming",
        "'streaming' cannot be used with excess_length_strategy split: the parts of "
        "each text would have to be counted before the first step");
  settings->num_train = zf_conf_int(conf, "num_train", 0);
  settings->num_eval = zf_conf_int(conf, "num_eval", 0);
  static const int eos[] = {-1, 1, 0};
  settings->add_eos = eos[zf_settings_choice(conf, "add_eos", "auto|true|false")];
  return 0;
}
