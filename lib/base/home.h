/* Paths as a shell writes them. */
#ifndef ZF_BASE_HOME_H
#define ZF_BASE_HOME_H

/* The path with a leading ~ or ~USER as that home directory; a copy of it where there is none.
 * NULL: out of memory. */
char *zf_path_home(const char *path);

/* That, and $NAME and ${NAME} as the environment has them, as Python's expandvars: a name that it
 * lacks stays. */
char *zf_path_expand(const char *path);

#endif
