/* What the files of filters share. */
#ifndef ZF_TASK_JINJA_FILTER_INTERNAL_H
#define ZF_TASK_JINJA_FILTER_INTERNAL_H

#include "jinja_internal.h"

/* A filter: `in` and the arguments to *out.  ZF_EINVALID. */
typedef int zj_filter_fn(struct zj_env *env, struct zj_value *out, const struct zj_value *in,
                         const struct zj_args *args);

/* jinja_filter_list.c: filters of lists and mappings, each by Jinja's name. */
zj_filter_fn zj_filter_length, zj_filter_first, zj_filter_last, zj_filter_list, zj_filter_reverse,
    zj_filter_join, zj_filter_items, zj_filter_sort, zj_filter_dictsort, zj_filter_unique,
    zj_filter_min, zj_filter_max, zj_filter_sum, zj_filter_map, zj_filter_select, zj_filter_reject,
    zj_filter_selectattr, zj_filter_rejectattr;

#endif
