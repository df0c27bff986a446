/* Prints examples as token sequences with their targets. */
#ifndef ZF_CMD_SHOW_H
#define ZF_CMD_SHOW_H

#include "task/dataset.h"

/* Prints a line for each sequence of an example.  Targets are in colour on a terminal, else between « and
 * ». */
void zc_show_example(const struct zf_tok *tok, const struct zf_dataset *dataset, int64_t index);

#endif
