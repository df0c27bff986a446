/* Is a text UTF-8? */
#ifndef ZF_FMT_UTF8_H
#define ZF_FMT_UTF8_H

#include <stddef.h>
#include <stdint.h>

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

/* Offset of the first byte that begins no valid UTF-8 sequence (overlong forms,
 * surrogates and values beyond U+10FFFF are not valid), or -1 when all is well. */
int64_t zf_utf8_first_error(const void *data, size_t len);

ZF_END_DECLS

#endif
