/* The names of a row's fields: which one is the instruction, which one holds the messages.
 *
 * A NULL member means the default name.  A missing field is an error that names the fields of the row. */
#ifndef ZF_TASK_FIELDS_H
#define ZF_TASK_FIELDS_H

#include <jansson.h>
#include <stdint.h>

#include "base/cplusplus.h"
#include "task/jinja.h"
#include "task/template.h"

ZF_BEGIN_DECLS

struct zf_fields {
  /* type alpaca: instruction, input, output, system */
  const char *instruction, *input, *output, *system;
  const char
      *system_prompt; /* for rows without a system text; NULL: Alpaca's own sentence, or nothing
                                with a format */
  const char *format; /* the text before the output: a template over {instruction}, {input}
                                and {system}; NULL: Alpaca's */
  const char *no_input_format; /* for rows without an input; NULL: format */
  /* type chat: messages, and in each role, content */
  const char *messages, *role, *content;
  const char *const *roles; /* "FROM=TO": the template's name for a role of the data */
  int64_t nroles;
};

/* ZF_EINVALID: the field is missing; the message names the nearest field of the row, or all. */
int zf_field_missing(const json_t *row, const char *key);

/* Appends the text of an instruction; its output is the target.  Alpaca (Taori et al. 2023):
 *
 *   Below is an instruction that describes a task[, paired with an input ...].\n\n   or a system text
 *   ### Instruction:\n{instruction}\n\n[### Input:\n{input}\n\n]### Response:\n{output}
 *
 * A format replaces both lines; a system text stands before it as it is, unless the format has {system}
 * itself.  The formats are those of `fields`, parsed; NULL: none. */
struct zf_alpaca {
  const struct zf_fields *fields;
  const struct zf_template *format, *no_input;
};
int zf_alpaca_row(const struct zf_alpaca *alpaca, const json_t *row, struct zf_buf *out,
                  struct zf_text_spans *spans);

/* The messages of a row as a list of {role, content}, which the caller releases: those in the field that
 * `fields` names, else "messages", else "conversations" of {from, value} (ShareGPT).  ZF_EINVALID. */
int zf_messages_row(json_t **out, const struct zf_fields *fields, const json_t *row);

ZF_END_DECLS

#endif
