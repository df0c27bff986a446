/* The training methods, as a table. */
#ifndef ZF_TRAIN_METHOD_H
#define ZF_TRAIN_METHOD_H

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

enum zf_method {
  ZF_METHOD_MEZO,
  ZF_METHOD_SGD,
  ZF_METHOD_MOMENTUM,
  ZF_METHOD_ADAMW,
  ZF_METHOD_PROBE,     /* the head in closed form, from one pass over the data */
  ZF_METHOD_INFERENCE, /* no training: the baseline of benchmarks */
  ZF_METHODS
};

struct zf_method_info {
  const char *name; /* value of the setting `method` */
  int streams;      /* of its forward pass */
  int trains;       /* it changes weights */
  int rule;         /* enum zf_optim_rule of backpropagation; -1: no backpropagation */
  int logs;         /* it writes a step log, from which a run is resumed */
};

const struct zf_method_info *zf_method_info(enum zf_method method);
#define ZF_METHOD_WORDS "mezo|sgd|sgd_momentum|adamw|probe"

ZF_END_DECLS

#endif
