/* The model card of an exported run: where it comes from, what it reached, how it is made again. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "export_job.h"
#include "fmt/json.h"
#include "train/rundir.h"

enum { LIMIT = 1 << 20 };

static const char *const facts[][2] = {{"method", "method"},
                                       {"step", "steps"},
                                       {"seed", "seed"},
                                       {"parameters", "parameters"},
                                       {"trained_parameters", "trained parameters"},
                                       {"base_hash", "hash of the base's weights"},
                                       {"data_hash", "hash of the data"},
                                       {"zoft", "zoft"},
                                       {"cpu", "processor"},
                                       {"peak_rss_bytes", "peak memory, bytes"}};

static const char *const scores[][2] = {{"dev_start", "dev, before"},
                                        {"dev_end", "dev, after"},
                                        {"test_start", "test, before"},
                                        {"test_end", "test, after"}};

static void put_value(struct zf_buf *buf, const json_t *value) {
  if (json_is_string(value)) zf_buf_puts(buf, json_string_value(value));
  if (json_is_integer(value)) zf_buf_printf(buf, "%lld", (long long)json_integer_value(value));
  if (json_is_real(value)) zf_buf_printf(buf, "%.4g", json_real_value(value));
}

static void put_facts(struct zf_buf *buf, const json_t *run) {
  zf_buf_puts(buf, "| | |\n|---|---|\n");
  for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
    const json_t *value = json_object_get(run, facts[i][0]);
    if (!value || json_is_null(value)) continue;
    zf_buf_printf(buf, "| %s | ", facts[i][1]);
    put_value(buf, value);
    zf_buf_puts(buf, " |\n");
  }
}

/* Every number that the run has for a set. */
static void put_scores(struct zf_buf *buf, const json_t *run) {
  const char *key;
  json_t *value;
  zf_buf_puts(buf, "\n| set | metric | value |\n|---|---|---|\n");
  for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
    json_object_foreach(json_object_get(run, scores[i][0]), key, value) {
      if (!json_is_number(value)) continue;
      zf_buf_printf(buf, "| %s | %s | ", scores[i][1], key);
      put_value(buf, value);
      zf_buf_puts(buf, " |\n");
    }
}

static int put_config(struct zf_buf *buf, const char *source) {
  char *path = zf_path_join(source, "config.yaml"), *text = NULL;
  int rc = path ? zf_read_file(&text, NULL, path, LIMIT) : ZF_ENOMEM;
  if (!rc)
    zf_buf_printf(buf,
                  "\nTo make it again, save this as `config.yaml` and run `zoft train config.yaml "
                  "output_dir=DIR`:\n\n```yaml\n%s```\n",
                  text);
  free(text);
  free(path);
  return rc;
}

/* The card that is there already, of an adapter, or a head of its own. */
static int put_head(struct zf_buf *buf, const char *path) {
  char *text = NULL;
  if (!zf_exists(path)) {
    zf_buf_puts(buf, "---\nlibrary_name: transformers\ntags: [zoft, zeroth-order]\n---\n");
    return 0;
  }
  int rc = zf_read_file(&text, NULL, path, LIMIT);
  if (!rc) zf_buf_puts(buf, text);
  free(text);
  return rc;
}

static int put_card(struct zf_buf *buf, const char *source, const char *run_json,
                    const char *path) {
  json_t *run = NULL;
  int rc = zf_json_load(&run, run_json);
  if (!rc) rc = put_head(buf, path);
  if (rc) {
    json_decref(run);
    return rc;
  }
  zf_buf_puts(buf, "\n# Trained by zoft\n\n");
  put_facts(buf, run);
  put_scores(buf, run);
  json_decref(run);
  return put_config(buf, source);
}

int zc_export_card(const char *source, const char *dir) {
  if (!zf_is_dir(source) || !zf_rundir_begun(source)) return 0;
  struct zf_buf buf = {0};
  char *run_json = zf_path_join(source, "run.json"), *path = zf_path_join(dir, "README.md");
  int rc = run_json && path ? put_card(&buf, source, run_json, path) : ZF_ENOMEM;
  if (!rc) rc = zf_buf_ok(&buf);
  if (!rc) rc = zf_write_file(path, buf.data, buf.len);
  zf_buf_free(&buf);
  free(path);
  free(run_json);
  return rc;
}
