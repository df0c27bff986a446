/* The tokenizer classes of Transformers 5 for the supported families: which one a directory has,
 * and the defaults that it gives. */
#include <string.h>

#include "text_internal.h"

#define END "<|endoftext|>"
static const struct zf_tok_class classes[] = {
    {.name = "GPT2Tokenizer",
     .special = {[ZF_BOS] = END, [ZF_EOS] = END, [ZF_UNK] = END},
     .byte_form = &zf_form_gpt2,
     .build_parts = zf_parts_bytes},
    {.name = "GPTNeoXTokenizer",
     .special = {[ZF_BOS] = END, [ZF_EOS] = END, [ZF_UNK] = END, [ZF_PAD] = "<|padding|>"},
     .byte_form = &zf_form_neox,
     .build_parts = zf_parts_bytes},
    {.name = "Qwen2Tokenizer",
     .special = {[ZF_EOS] = END, [ZF_UNK] = END, [ZF_PAD] = END},
     .readd_special = 1,
     .byte_form = &zf_form_qwen2,
     .build_parts = zf_parts_bytes},
    {.name = "RobertaTokenizer",
     .special = {[ZF_BOS] = "<s>",
                 [ZF_EOS] = "</s>",
                 [ZF_UNK] = "<unk>",
                 [ZF_SEP] = "</s>",
                 [ZF_PAD] = "<pad>",
                 [ZF_CLS] = "<s>",
                 [ZF_MASK] = "<mask>"},
     .byte_form = &zf_form_roberta,
     .build_parts = zf_parts_bytes},
    {.name = "BertTokenizer",
     .alias = "DistilBertTokenizer",
     .special = {[ZF_UNK] = "[UNK]",
                 [ZF_SEP] = "[SEP]",
                 [ZF_PAD] = "[PAD]",
                 [ZF_CLS] = "[CLS]",
                 [ZF_MASK] = "[MASK]"},
     .build_parts = zf_parts_bert},
    {.name = "LlamaTokenizer",
     .special = {[ZF_BOS] = "<s>", [ZF_EOS] = "</s>", [ZF_UNK] = "<unk>"},
     .build_parts = zf_parts_llama,
     .keep_byte_level = 1},
    {.name = "CodeLlamaTokenizer",
     .special = {[ZF_BOS] = "<s>", [ZF_EOS] = "</s>", [ZF_UNK] = "<unk>"},
     .build_parts = zf_parts_code_llama},
    {.name = "GemmaTokenizer",
     .special = {[ZF_BOS] = "<bos>",
                 [ZF_EOS] = "<eos>",
                 [ZF_UNK] = "<unk>",
                 [ZF_PAD] = "<pad>",
                 [ZF_MASK] = "<mask>"},
     .build_parts = zf_parts_gemma},
};
enum { CLASSES = sizeof classes / sizeof *classes };

/* The class of a family; `override`: it replaces the class that the files name, which is known to
 * be wrong.  NULL: tokenizer.json is used as it is. */
static const struct {
  const char *model_type, *class;
  int override;
} families[] = {
    {"gpt2", "GPT2Tokenizer", 0},
    {"opt", "GPT2Tokenizer", 0},
    {"gpt_neox", "GPTNeoXTokenizer", 0},
    {"qwen2", "Qwen2Tokenizer", 1},
    {"qwen3", "Qwen2Tokenizer", 0},
    {"roberta", "RobertaTokenizer", 0},
    {"bert", "BertTokenizer", 0},
    {"distilbert", "BertTokenizer", 0},
    {"gemma", "GemmaTokenizer", 0},
    {"gemma2", "GemmaTokenizer", 0},
    {"gemma3", "GemmaTokenizer", 0},
    {"gemma3_text", "GemmaTokenizer", 0},
    {"mistral", NULL, 0},
    {"granite", NULL, 0},
    {"olmo2", NULL, 0},
    {"phi3", NULL, 0},
    {"stablelm", NULL, 0},
    {"modernbert", NULL, 0},
};
enum { FAMILIES = sizeof families / sizeof *families };

static int has_name(const struct zf_tok_class *class, const char *name, size_t len) {
  const char *const names[] = {class->name, class->alias};
  for (int i = 0; i < 2; i++)
    if (names[i] && strlen(names[i]) == len && !strncmp(names[i], name, len)) return 1;
  return 0;
}

/* "Fast" at the end of the name is ignored. */
const struct zf_tok_class *zf_tok_class_named(const char *name) {
  size_t len = name ? strlen(name) : 0;
  if (!len) return NULL;
  if (len > 4 && !strcmp(name + len - 4, "Fast")) len -= 4;
  for (int i = 0; i < CLASSES; i++)
    if (has_name(&classes[i], name, len)) return &classes[i];
  return NULL;
}

static const char *named_class(const struct zf_tok_settings *settings) {
  const char *name = json_string_value(json_object_get(settings->config, "tokenizer_class"));
  return name ? name
              : json_string_value(json_object_get(settings->model_config, "tokenizer_class"));
}

const struct zf_tok_class *zf_tok_class_of(const struct zf_tok_settings *settings) {
  const char *type = json_string_value(json_object_get(settings->model_config, "model_type"));
  const char *name = named_class(settings);
  if (!type) return zf_tok_class_named(name);
  for (int i = 0; i < FAMILIES; i++) {
    if (strcmp(families[i].model_type, type) != 0) continue;
    if (!families[i].class) return NULL;
    return zf_tok_class_named(name && !families[i].override ? name : families[i].class);
  }
  return zf_tok_class_named(name);
}

const struct zf_byte_form *zf_tok_form_of(const struct zf_tok_settings *settings) {
  const struct zf_tok_class *class =
      settings->class ? settings->class : zf_tok_class_named(named_class(settings));
  return class && class->byte_form ? class->byte_form : &zf_form_gpt2;
}
