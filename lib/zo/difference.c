/* The table of differences. */
#include "zo/difference.h"

const struct zf_difference *const zf_differences[ZF_DIFFERENCES] = {
    [ZF_DIFFERENCE_CENTRAL] = &zf_difference_central,
    [ZF_DIFFERENCE_ONE_SIDED] = &zf_difference_one_sided,
    [ZF_DIFFERENCE_BATCHED] = &zf_difference_batched,
    [ZF_DIFFERENCE_CURVATURE] = &zf_difference_curvature,
    [ZF_DIFFERENCE_BAYES] = &zf_difference_bayes,
    [ZF_DIFFERENCE_ANCHOR] = &zf_difference_anchor,
    [ZF_DIFFERENCE_POPULATION] = &zf_difference_population,
    [ZF_DIFFERENCE_CONSERVATIVE] = &zf_difference_conservative,
};
