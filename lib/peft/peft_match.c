/* Which modules a config names, and with which rank and scale: PEFT's rules. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "peft/peft_config.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MATCH_STEPS = 1000000, HEAP_KB = 16384 };

static int compile(pcre2_code **code, const char *text, const char *shown) {
  int error = 0;
  size_t at = 0;
  char reason[160];
  *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
                        PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &at, NULL);
  if (*code) return 0;
  pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
  return zf_error(ZF_EINVALID, "pattern '%.200s': %s", shown, reason);
}

/* Matches a pattern at the start of the path.  group: NULL, or gets what the group "idx" matched, the
 * caller's to free. */
static int match_regex(int *yes, const char *regex, const char *module, const char *shown,
                       char **group) {
  pcre2_code *code = NULL;
  int rc = compile(&code, regex, shown);
  if (rc) return rc;
  pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
  pcre2_match_context *context = pcre2_match_context_create(NULL);
  if (!data || !context) {
    rc = zf_error(ZF_ENOMEM, "out of memory for a pattern");
    goto fail;
  }
  pcre2_set_match_limit(context, MATCH_STEPS);
  pcre2_set_heap_limit(context, HEAP_KB);
  int found = pcre2_match(code, (PCRE2_SPTR)module, PCRE2_ZERO_TERMINATED, 0, PCRE2_ANCHORED, data,
                          context);
  *yes = found > 0;
  if (found < 0 && found != PCRE2_ERROR_NOMATCH)
    rc = zf_error(ZF_EINVALID, "pattern '%.200s' takes too long over '%.200s'", shown, module);
  int index = group && found > 0 ? pcre2_substring_number_from_name(code, (PCRE2_SPTR) "idx") : 0;
  if (index > 0 && index < found) {
    const size_t *range = pcre2_get_ovector_pointer(data) + 2 * index;
    if (!(*group = zf_strndup(module + range[0], range[1] - range[0]))) rc = ZF_ENOMEM;
  }
fail:
  pcre2_match_context_free(context);
  pcre2_match_data_free(data);
  pcre2_code_free(code);
  return rc;
}

/* Matches before + pattern + after. */
static int match_within(int *yes, const char *before, const char *pattern, const char *after,
                        const char *module, char **group) {
  char *regex = zf_asprintf("%s%s%s", before, pattern, after);
  int rc = regex ? match_regex(yes, regex, module, pattern, group) : ZF_ENOMEM;
  free(regex);
  return rc;
}

static int is_named(const char *module, const char *name) {
  size_t module_len = strlen(module), len = strlen(name);
  if (module_len < len || strcmp(module + module_len - len, name) != 0) return 0;
  return module_len == len || module[module_len - len - 1] == '.';
}

int zf_peft_names_match(int *yes, const struct zf_peft_names *names, const char *module) {
  *yes = names->pattern && !strcmp(names->pattern, "all-linear");
  if (*yes) return 0;
  if (names->pattern) return match_within(yes, "(?:", names->pattern, ")\\z", module, NULL);
  for (int64_t i = 0; i < names->count; i++)
    if (is_named(module, names->name[i])) *yes = 1;
  return 0;
}

int zf_peft_is_feedforward(int *yes, const struct zf_peft_config *config, const char *module) {
  const struct zf_peft_names *names = &config->feedforward;
  size_t module_len = strlen(module);
  if (names->pattern) return zf_peft_names_match(yes, names, module);
  *yes = 0;
  for (int64_t i = 0; i < names->count; i++) {
    size_t len = strlen(names->name[i]);
    if (len <= module_len && !strcmp(module + module_len - len, names->name[i])) *yes = 1;
  }
  return 0;
}

/* --- layers --- */

/* *layer: the number of the layer that holds the module; -1: none. */
static int find_layer(int64_t *layer, const struct zf_peft_names *patterns, const char *module) {
  const char *any = "[^.]*", *single = patterns->pattern ? patterns->pattern : any;
  const char *const *pattern = patterns->count ? (const char *const *)patterns->name : &single;
  int64_t count = patterns->count ? patterns->count : 1;
  const char *before = single == any && !patterns->count ? ".*?\\.(?:" : "(?:^|.*?\\.)(?:";
  *layer = -1;
  for (int64_t i = 0; i < count; i++) {
    char *digits = NULL;
    int yes = 0,
        rc = match_within(&yes, before, pattern[i], ")\\.(?<idx>\\d+)\\.", module, &digits);
    if (rc) return rc;
    if (digits) *layer = strtoll(digits, NULL, 10);
    free(digits);
    if (yes) break;
  }
  return 0;
}

static int in_layers(int *yes, const struct zf_peft_config *config, const char *module) {
  int64_t layer;
  *yes = 1;
  if (!config->layer.count) return 0;
  int rc = find_layer(&layer, &config->layers_pattern, module);
  *yes = 0;
  for (int64_t i = 0; i < config->layer.count; i++)
    if (config->layer.value[i] == layer) *yes = 1;
  return rc;
}

/* 1 where the module, or a module that holds it, is trained as a whole. */
static int is_saved(const struct zf_peft_names *saved, const char *module) {
  for (int64_t i = 0; i < saved->count; i++) {
    size_t len = strlen(saved->name[i]);
    for (const char *at = strstr(module, saved->name[i]); at; at = strstr(at + 1, saved->name[i]))
      if ((at == module || at[-1] == '.') && (!at[len] || at[len] == '.')) return 1;
  }
  return 0;
}

int zf_peft_targets(int *yes, const struct zf_peft_config *config, const char *module) {
  int excluded = 0, rc = 0;
  *yes = 0;
  if (config->exclude.pattern || config->exclude.count)
    rc = zf_peft_names_match(&excluded, &config->exclude, module);
  if (rc || excluded || is_saved(&config->saved, module)) return rc;
  rc = zf_peft_names_match(yes, &config->target, module);
  if (rc || !*yes) return rc;
  return in_layers(yes, config, module);
}

/* --- rank and scale --- */

/* Patterns that are paths, as those of EVA's ranks, are compared without a regular expression: there is
 * one for each module.  1 or 0; -1: the pattern has an operator other than "." and "\\.". */
static int match_path(const char *pattern, const char *module) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  size_t len = 0, module_len = strlen(module);
  for (const char *at = pattern; *at; at++) {
    if (at[0] == '\\' && at[1] == '.') at++;
    if (*at != '.' && !strchr(plain, *at)) return -1;
    len++;
  }
  if (len > module_len) return 0;
  const char *end = module + module_len - len;
  if (end > module && end[-1] != '.') return 0;
  for (const char *at = pattern; *at; at++, end++) {
    int any = *at == '.';
    if (*at == '\\') at++;
    if (!any && *at != *end) return 0;
  }
  return 1;
}

static int find_pattern(double *value, const struct zf_peft_patterns *patterns,
                        const char *module) {
  for (int64_t i = 0; i < patterns->count; i++) {
    const char *pattern = patterns->pattern[i].pattern;
    int yes = match_path(pattern, module), rc = 0;
    if (yes < 0) rc = match_within(&yes, "(?:.*\\.)?(?:", pattern, ")$", module, NULL);
    if (rc) return rc;
    if (!yes) continue;
    *value = patterns->pattern[i].value;
    return 0;
  }
  return 0;
}

int zf_peft_rank(int64_t *rank, const struct zf_peft_config *config, const char *module) {
  double value = (double)config->r;
  int rc = find_pattern(&value, &config->rank_by, module);
  *rank = (int64_t)value;
  return rc;
}

int zf_peft_scale(double *scale, const struct zf_peft_config *config, const char *module) {
  int64_t rank = 0;
  double alpha = config->alpha;
  int rc = zf_peft_rank(&rank, config, module);
  if (!rc) rc = find_pattern(&alpha, &config->alpha_by, module);
  if (!rc) *scale = alpha / (config->rslora ? sqrt((double)rank) : (double)rank);
  return rc;
}
