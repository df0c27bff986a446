/* What a head of labels is trained for: config.json's problem_type, and the data's. */
#ifndef ZF_FMT_PROBLEM_H
#define ZF_FMT_PROBLEM_H

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum zf_problem {
  ZF_PROBLEM_SINGLE,     /* one label of several: cross-entropy */
  ZF_PROBLEM_MULTI,      /* any number of them: a sigmoid each, binary cross-entropy */
  ZF_PROBLEM_REGRESSION, /* a number: squared error */
  ZF_PROBLEMS
};
#define ZF_PROBLEM_WORDS "single_label_classification|multi_label_classification|regression"

extern const char *const zf_problem_names[ZF_PROBLEMS];

ZF_END_DECLS

#endif
