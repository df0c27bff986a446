/* The start of a run by another method: `start: probe`. */
#ifndef ZC_TRAIN_START_H
#define ZC_TRAIN_START_H

#include "conf/conf.h"
#include "opt.h"
#include "train/loop.h"

/* Where `start` names a method: trains by it into OUTPUT_DIR.start, from the same config, and makes that model
 * the base of `conf`.  A resumed run takes the model that is there.  auto: only where the data suit a
 * probe and no adapter is trained. */
int zc_train_start(struct zf_conf *conf, const struct zc_args *args, int resume,
                   const struct zf_train_events *events);

#endif
