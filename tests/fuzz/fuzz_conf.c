/* Settings: a YAML text, and after a line "%%" one key=value word a line.  What is
 * accepted is dumped, read back and dumped to the same text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct zf_conf_key inner[] = {
    {.name = "x", .type = ZF_CONF_STR},
    {.name = "n", .type = ZF_CONF_INT, .min = -5, .max = 5},
    {.name = NULL},
};

static const struct zf_conf_key item[] = {
    {.name = "path", .type = ZF_CONF_STR, .required = 1},
    {.name = "fields", .type = ZF_CONF_STRS, .default_text = "a, b"},
    {.name = "deep", .type = ZF_CONF_MAPS, .sub = inner},
    {.name = NULL},
};

static const struct zf_conf_key top[] = {
    {.name = "flag", .type = ZF_CONF_BOOL, .default_text = "no"},
    {.name = "steps", .type = ZF_CONF_INT, .choices = "auto|null"},
    {.name = "rate", .type = ZF_CONF_NUM, .min = 0, .max = 1e30},
    {.name = "text", .type = ZF_CONF_STR},
    {.name = "kind", .type = ZF_CONF_ENUM, .choices = "one|two|no", .default_text = "one"},
    {.name = "limit", .type = ZF_CONF_BYTES},
    {.name = "names", .type = ZF_CONF_STRS},
    {.name = "sets", .type = ZF_CONF_MAPS, .sub = item},
    {.name = NULL},
};

static struct zf_conf *fresh(void) {
  const struct zf_conf_key *table = top;
  struct zf_conf *c;
  if (zf_conf_new(&c, &table, 1)) abort();
  return c;
}

/* The text up to the line "%%", and the words behind it. */
static int read_all(struct zf_conf *c, char *text, size_t size) {
  char *words = strstr(text, "\n%%\n");
  if (words) {
    size = (size_t)(words - text) + 1;
    words += 4;
  }
  if (zf_conf_text(c, text, size, "fuzz.yaml")) return -1;
  for (char *save, *w = words ? strtok_r(words, "\n", &save) : NULL; w;
       w = strtok_r(NULL, "\n", &save))
    if (zf_conf_word(c, w)) return -1;
  return 0;
}

static void round_trip(const struct zf_conf *c) {
  struct zf_buf one = {0}, two = {0}, with = {0}, json = {0};
  struct zf_conf *again = fresh();
  if (zf_conf_dump(c, &one, 0) || zf_conf_dump(c, &with, 1)) abort();
  if (zf_conf_text(again, with.data, with.len, "again.yaml")) abort();
  if (zf_conf_dump(again, &two, 0) || strcmp(one.data, two.data)) abort();
  if (zf_conf_dump_json(c, &json)) abort();
  zf_conf_free(again);
  zf_buf_free(&one);
  zf_buf_free(&two);
  zf_buf_free(&with);
  zf_buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct zf_conf *c = fresh();
  char *text = malloc(size + 1);
  if (!text) return 0;
  memcpy(text, data, size);
  text[size] = 0;
  if (!read_all(c, text, size)) {
    zf_conf_check(c);
    round_trip(c);
  }
  free(text);
  zf_conf_free(c);
  return 0;
}
