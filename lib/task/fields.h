/* Rows whose fields have names of their own: which field is the instruction, which the messages.
 *
 * NULL members stand for the usual names.  What a row lacks is an error that says what it has. */
#ifndef ZF_TASK_FIELDS_H
#define ZF_TASK_FIELDS_H

#include <jansson.h>
#include <stdint.h>

#include "task/jinja.h"
#include "task/template.h"

struct zf_fields {
  /* type alpaca: instruction, input, output, system */
  const char *instruction, *input, *output, *system;
  const char *system_prompt; /* where the row has no system text; NULL: Alpaca's own sentence, or
                                nothing beside a format */
  const char *format; /* what stands before the output: a template over {instruction}, {input}
                                and {system}; NULL: Alpaca's */
  const char *no_input_format; /* of rows without an input; NULL: format */
  /* type chat: messages, and in each role, content */
  const char *messages, *role, *content;
  const char *const *roles; /* "FROM=TO": what a role of the data is called in the template */
  int64_t nroles;
};

/* ZF_EINVALID: the field is missing, with the nearest that the row has, or all. */
int zf_field_missing(const json_t *row, const char *key);

/* An instruction's text, its output the target.  Taori et al. 2023, Alpaca:
 *
 *   Below is an instruction that describes a task[, paired with an input ...].\n\n   or a system text
 *   ### Instruction:\n{instruction}\n\n[### Input:\n{input}\n\n]### Response:\n{output}
 *
 * With a format its text takes the place of both lines; a system text stands before it as it is,
 * unless the format has {system} itself.  The formats are f's, parsed (NULL: none). */
struct zf_alpaca {
  const struct zf_fields *fields;
  const struct zf_template *format, *no_input;
};
int zf_alpaca_row(const struct zf_alpaca *alpaca, const json_t *row, struct zf_buf *out,
                  struct zf_text_spans *spans);

/* The messages of a row as a list of {role, content} that the caller releases: field "messages", or
 * "conversations" of {from, value} (ShareGPT), or those that f names.  ZF_EINVALID. */
int zf_messages_row(json_t **out, const struct zf_fields *fields, const json_t *row);

#endif
