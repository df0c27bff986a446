/* Paths as a shell expands them. */
#ifndef ZF_BASE_HOME_H
#define ZF_BASE_HOME_H

#include "base/cplusplus.h"

ZF_BEGIN_DECLS

/* The path with a leading ~ or ~USER replaced by that home directory; an unknown one is kept.  The
 * caller frees; NULL: out of memory. */
char *zf_path_home(const char *path);

/* The same, and $NAME and ${NAME} replaced by the environment's values, as Python's expandvars
 * does: an unknown name is kept. */
char *zf_path_expand(const char *path);

ZF_END_DECLS

#endif
