/* Examples as the model sees them. */
#ifndef ZF_CMD_SHOW_H
#define ZF_CMD_SHOW_H

#include "task/dataset.h"

/* A line for each sequence of example i, its targets in colour on a terminal, else between marks. */
void zc_show_example(const struct zf_tok *tok, const struct zf_dataset *dataset, int64_t index);

#endif
