/* The values of tokenizer.ggml.pre, in both directions: what a name means, and which name a tokenizer
 * has by its parts. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "fmt/json.h"
#include "text_internal.h"

/* A regular expression, then bytes; without an expression, GPT-2's.  Several names mean the same. */
#define CONTRACTED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORD "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define BLANKS "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define THE_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" BLANKS
#define PATH_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" BLANKS
/* A word in lower case, capitalised or in capitals, followed by `end`. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(end)                                                                                 \
  "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" end "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER       \
  "*" end "|"
/* The same cuts in tiktoken's spelling. */
#define CL100K                                                                                     \
  "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}+| "                            \
  "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
static const struct zf_gguf_pre pres[] = {
    {"gpt-2 phi-2", NULL, 0, 0, 0, 0},
    {"olmo mpt", NULL, 0, 1, 0, 0},
    {"smollm refact starcoder", NULL, 1, 0, 0, 0},
    {"llama-bpe llama3 llama-v3 falcon3 pixtral", CONTRACTED WORD "\\p{N}{1,3}" THE_REST, 0, 0, 1,
     1, CL100K},
    {"dbrx smaug-bpe", CONTRACTED WORD "\\p{N}{1,3}" THE_REST, 0, 0, 0, 0, CL100K},
    {"qwen2", CONTRACTED WORD "\\p{N}" THE_REST, 0, 1, 0, 0},
    {"stablelm2 deepseek-r1-qwen", CONTRACTED WORD "\\p{N}" THE_REST, 0, 0, 0, 0},
    {"tekken", CASED("") "\\p{N}" PATH_REST, 0, 0, 1, 1},
    {"gpt-4o llama4", CASED(CONTRACTED "?") "\\p{N}{1,3}" PATH_REST, 0, 0, 0, 0},
};
enum { PRES = sizeof pres / sizeof *pres };

/* Is `name` one of the words of `names`? */
static int lists_name(const char *names, const char *name) {
  size_t len = strlen(name);
  if (!len || strchr(name, ' ')) return 0;
  for (const char *at = strstr(names, name); at; at = strstr(at + 1, name))
    if ((at == names || at[-1] == ' ') && (!at[len] || at[len] == ' ')) return 1;
  return 0;
}

int zf_gguf_pre_find(const struct zf_gguf_pre **pre, const char *name, const char *path) {
  for (int i = 0; i < PRES; i++)
    if (name && lists_name(pres[i].names, name)) {
      *pre = &pres[i];
      return 0;
    }
  struct zf_buf known = {0};
  for (int i = 0; i < PRES; i++) zf_buf_printf(&known, "%s%s", i ? " " : "", pres[i].names);
  int rc = zf_error(ZF_EINVALID,
                    "%s: key 'tokenizer.ggml.pre': '%.60s' is not supported; "
                    "supported are %s",
                    path, name ? name : "(none)", known.failed ? "?" : known.data);
  zf_buf_free(&known);
  return rc;
}

/* --- by its parts ---------------------------------------------------------------------------- */

static int is_type(const json_t *part, const char *type) {
  const char *found = json_string_value(json_object_get(part, "type"));
  return found && !strcmp(found, type);
}

/* Bytes without a space in front; `regex`: cut by GPT-2's expression first. */
static int is_bytes(const json_t *part, int regex) {
  const json_t *cuts = json_object_get(part, "use_regex");
  return is_type(part, "ByteLevel") && !json_is_true(json_object_get(part, "add_prefix_space")) &&
         (cuts ? json_is_true(cuts) : 1) == regex;
}

/* The expression of a Split that keeps its matches as they are; NULL: it is another part. */
static const char *split_regex(const json_t *part) {
  const char *behavior = json_string_value(json_object_get(part, "behavior"));
  if (!is_type(part, "Split") || !behavior || strcmp(behavior, "Isolated") != 0 ||
      json_is_true(json_object_get(part, "invert")))
    return NULL;
  return json_string_value(json_object_get(json_object_get(part, "pattern"), "Regex"));
}

/* Fills the fields that the pre-tokenizer decides.  0: it has another form. */
static int read_form(struct zf_gguf_pre *form, const json_t *pretokenizer) {
  const json_t *list = json_object_get(pretokenizer, "pretokenizers");
  const json_t *first = json_array_get(list, 0), *second = json_array_get(list, 1);
  if (is_bytes(pretokenizer, 1)) return 1;
  if (is_type(pretokenizer, "Sequence") && json_array_size(list) == 1) return is_bytes(first, 1);
  if (!is_type(pretokenizer, "Sequence") || json_array_size(list) != 2) return 0;
  form->digits =
      is_type(first, "Digits") && json_is_true(json_object_get(first, "individual_digits"));
  if (form->digits) return is_bytes(second, 1);
  form->regex = split_regex(first);
  return form->regex && is_bytes(second, 0);
}

static int same_regex(const char *first, const char *second) {
  return first && second ? !strcmp(first, second) : first == second;
}

static int same_form(const struct zf_gguf_pre *pre, const struct zf_gguf_pre *form) {
  int regex =
      same_regex(pre->regex, form->regex) || (pre->also && same_regex(pre->also, form->regex));
  return regex && pre->digits == form->digits && pre->nfc == form->nfc &&
         pre->ignore_merges == form->ignore_merges;
}

/* Refuses a part of the tokenizer, whose definition the message shows. */
static int refuse(const json_t *part, const char *what, const char *where) {
  char *text = part ? json_dumps(part, JSON_COMPACT | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER) : NULL;
  int rc = zf_error(ZF_EUSAGE, "%s: %s: llama.cpp has no such form: %.300s", where, what,
                    text ? text : "none");
  free(text);
  return rc;
}

int zf_gguf_pre_of(const struct zf_gguf_pre **pre, const json_t *root, const char *where) {
  const json_t *normalizer = json_object_get(root, "normalizer"),
               *pretokenizer = json_object_get(root, "pre_tokenizer");
  struct zf_gguf_pre form = {.nfc = is_type(normalizer, "NFC")};
  int none =
      !json_is_object(normalizer) || (is_type(normalizer, "Sequence") &&
                                      !json_array_size(json_object_get(normalizer, "normalizers")));
  if (!form.nfc && !none) return refuse(normalizer, "normalizer", where);
  if (!read_form(&form, pretokenizer)) return refuse(pretokenizer, "pre_tokenizer", where);
  form.ignore_merges =
      json_is_true(json_object_get(json_object_get(root, "model"), "ignore_merges"));
  for (int i = 0; i < PRES; i++)
    if (same_form(&pres[i], &form)) {
      *pre = &pres[i];
      return 0;
    }
  if (form.ignore_merges || form.nfc)
    return zf_error(ZF_EUSAGE,
                    "%s: pre_tokenizer with%s%s: llama.cpp has no tokenizer of this form", where,
                    form.nfc ? " NFC" : "", form.ignore_merges ? " ignore_merges" : "");
  return refuse(pretokenizer, "pre_tokenizer", where);
}
