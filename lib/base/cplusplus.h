/* Marks declarations as C for C++ compilers: every public header puts its functions between the two. */
#ifndef ZF_BASE_CPLUSPLUS_H
#define ZF_BASE_CPLUSPLUS_H

#ifdef __cplusplus
#define ZF_BEGIN_DECLS extern "C" {
#define ZF_END_DECLS }
#else
#define ZF_BEGIN_DECLS
#define ZF_END_DECLS
#endif

#endif
