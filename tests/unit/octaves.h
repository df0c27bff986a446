/* Where the rare octaves of noise.h's quantile are met first, in the noise of one key: element
 * first[k] has 2^k <= |s| < 2^(k+1), for k = 0 .. 16; the last one's |s| rounds to 2^31. */
#ifndef ZF_TESTS_UNIT_OCTAVES_H
#define ZF_TESTS_UNIT_OCTAVES_H

#include "rng/noise.h"

static const struct zf_noise octave_key = {.seed = 42, .step = 7, .probe = 1, .param = 3};

enum { OCTAVES = 18 };

static const int64_t octave_first[OCTAVES] = {
    908234703, 3749268516, 64290998, 112064581, 40576154, 57064105, 53287180, 18626423, 6982947,
    88482,     98579,      422939,   1804257,   621613,   119800,   60264,    45802,    35228069};

#endif
